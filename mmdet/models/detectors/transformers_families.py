"""What the detectors of the library transformers have of their own: sizes of images, queries, weights of losses, parameters without a gradient."""

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from mmdet.errors import ConfigError
from mmdet.utils.class_names import shown

from ..inference import full_precision
from ..utils.dry_run import unread_parameters
from ..utils.transformers_library import quiet

_COUNTS = (
    'num_queries', 'two_stage_num_proposals', 'num_detection_tokens', 'group_detr', 'decoder_layers', 'num_feature_levels', 'd_model', 'hidden_size',
    'num_windows', 'patch_size', 'image_size',
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Family:
    """One model type; the functions take the library's config of it.

    Attributes:
        divisor: what the sides of images must be multiples of: the library cuts off the rest without a word, or fails.
        strides: of the maps among whose cells the queries are chosen, so that there must be as many; none where queries are learned.
        queries: how many there are.
        least_side: the smallest side in pixels, whatever the queries are.
        has_background: the last logit is that of no object, and scores are a softmax.
        loss_weights: of the parts of ``loss_dict``, by the beginning of their names, where the library gives them without.
        class_layers: names of the layers whose tensors depend on the number of classes.
        box_layers: names of the layers that compute boxes, where the library leaves them in half precision under autocast: 8 bits are 2.5 pixels at 640.
        unused: names of the parameters beside the backbone's that never have a gradient; DDP would wait for it.
    """

    divisor: Callable[[Any], int]
    queries: Callable[[Any], int] = lambda config: config.num_queries
    strides: Callable[[Any], Sequence[float]] = lambda config: []
    least_side: Callable[[Any], int] = lambda config: 1
    has_background: bool = False
    loss_weights: Callable[[Any], dict[str, float]] = lambda config: {}
    class_layers: str = r'\b(enc_out_)?class_embed\b'
    box_layers: str | None = None
    unused: Callable[[Any], str | None] = lambda config: None


def family_of(config: Any) -> Family:
    """The family of a config of the library; ConfigError for a type that none is of, and for counts below 1, which the library does not refuse."""
    if config.model_type not in FAMILIES:
        message = f'is no detector that is known here; must be one of {", ".join(FAMILIES)}'
        raise ConfigError(message, field='model.model_type', received=config.model_type)
    _check_counts(config, 'model')
    return FAMILIES[config.model_type]


def _check_counts(config: Any, field: str) -> None:
    """ConfigError for a number that must be 1 or more, in a config of the library or in those of its parts."""
    for name in _COUNTS:
        value = getattr(config, name, None)
        numbers = value if isinstance(value, (list, tuple)) else [value]
        least = _patch(config) if name == 'image_size' and hasattr(config, 'patch_size') else 1
        if any(isinstance(number, int) and number < least for number in numbers):
            raise ConfigError(f'must be {least} or more', field=f'{field}.{name}', received=value)
    for name in config.sub_configs:
        part = getattr(config, name, None)
        if part is not None:
            _check_counts(part, f'{field}.{name}')


def _patch(config: Any) -> int:
    size = config.patch_size
    return size if isinstance(size, int) else max(size)


def _levels(strides: Sequence[int], config: Any) -> list[int]:
    """Strides of the levels of a decoder: those of given maps, and of maps of twice the stride above them."""
    found = list(strides)
    while len(found) < config.num_feature_levels:
        found.append(found[-1] * 2)
    return found


def _projected(config: Any) -> list[float]:
    """Strides of the levels that a projector makes of the maps of a ViT."""
    scales = getattr(config, 'projector_scale_factors', None) or [1]
    return [_patch(config.backbone_config) / scale for scale in scales]


def _detr_weights(config: Any) -> dict[str, float]:
    classes = getattr(config, 'class_loss_coefficient', 1)  # a constant in the loss of the older models
    return dict(loss_ce=classes, loss_bbox=config.bbox_loss_coefficient, loss_giou=config.giou_loss_coefficient)


def _deformable_strides(config: Any) -> list[int]:
    """The maps of a ResNet have the strides 4, 8, 16, 32 under the indices 1 to 4."""
    return _levels([2 ** (index + 1) for index in config.backbone_config.out_indices], config)


def _deformable_unused(config: Any) -> str | None:
    """The library computes no loss of the first of two stages."""
    last = config.decoder_layers
    return rf'\.enc_output(_norm)?\.|(class|bbox)_embed\.{last}\.' if config.two_stage else None


_HYBRID = Family(
    divisor=lambda config: max(config.feat_strides),
    strides=lambda config: _levels(config.feat_strides, config),
    class_layers=r'\b(class_embed|enc_score_head|denoising_class_embed)\b',
)
_D_FINE = dataclasses.replace(_HYBRID, box_layers=r'\b(bbox_embed\.\d+|enc_bbox_head|pre_bbox_head|integral)$')
_RT_DETR = dataclasses.replace(_HYBRID, box_layers=r'\bbbox_embed\.\d+$|\benc_bbox_head$')
FAMILIES = {
    'd_fine': _D_FINE,
    'deimv2': _D_FINE,
    'rt_detr': _RT_DETR,
    'rt_detr_v2': _RT_DETR,
    'rf_detr': Family(
        divisor=lambda config: _patch(config.backbone_config) * config.backbone_config.num_windows,
        strides=_projected,
        loss_weights=_detr_weights,
    ),
    'lw_detr': Family(
        divisor=lambda config: _patch(config.backbone_config) * config.backbone_config.num_windows_side,
        strides=_projected,
        loss_weights=_detr_weights,
    ),
    'deformable_detr': Family(
        divisor=lambda config: 1,
        queries=lambda config: config.two_stage_num_proposals if config.two_stage else config.num_queries,
        strides=lambda config: _deformable_strides(config) if config.two_stage else [],
        # Positions of cells are divided by the size of the map less one: the last must have two.
        least_side=lambda config: _deformable_strides(config)[-1] + 1,
        loss_weights=_detr_weights,
        box_layers=r'\bbbox_embed\.\d+$',
        unused=_deformable_unused,
    ),
    'yolos': Family(
        divisor=_patch,
        queries=lambda config: config.num_detection_tokens,
        has_background=True,
        loss_weights=_detr_weights,
        class_layers=r'\bclass_labels_classifier\.layers\.2\b',
        box_layers=r'\bbbox_predictor$',
    ),
}


# ------------------------------------------------------------------------------------------------ changes of a built model


class _InFloat32:
    """Mixed into the class of a layer: it computes outside of autocast."""

    def forward(self, x: Tensor, *args: Tensor) -> Tensor:
        """As that of the layer, on float32."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float(), *(value.float() for value in args))  # type: ignore[misc]


class _LossInFloat32:
    """A loss of the library, outside of autocast: in half precision the sums over all queries would be rounded."""

    def __init__(self, function: Callable):
        self._function = function

    @full_precision
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the function returns."""
        return self._function(*args, **kwargs)


_kinds: dict[type, type] = {}


def adapt_model(model: nn.Module, family: Family, pretrained: bool) -> list[str]:
    """Change a model of the library as :class:`Family` says, in place; returns sentences about parameters that are trained otherwise than there.

    The class of a layer changes, and not its ``forward``, so that copies (averages of the weights) are changed by themselves.

    Args:
        model: of the library, with its ``config``.
        family: of the model.
        pretrained: whether published weights are read: only then the library's freezing of the first layers makes sense.
    """
    config: Any = model.config
    cast(Any, model).loss_function = _LossInFloat32(cast(Any, model).loss_function)
    for name, layer in model.named_modules():
        if family.box_layers is not None and re.search(family.box_layers, name):
            kind = type(layer)
            _kinds.setdefault(kind, type(kind.__name__, (_InFloat32, kind), {'__module__': __name__}))
            layer.__class__ = _kinds[kind]
    said = _release_backbone(model, pretrained) if config.model_type == 'deformable_detr' else []
    pattern = family.unused(config)
    unused = _unread_of_backbone(model, family)
    unused += [name for name, _ in model.named_parameters() if pattern is not None and re.search(pattern, name)]
    for name in unused:
        model.get_parameter(name).requires_grad_(False)
    return said + ([f'not trained, since the library gives them no gradient: {shown(unused)}'] if unused else [])


def _unread_of_backbone(model: nn.Module, family: Family) -> list[str]:
    """Parameters that no map of the backbone depends on: mask tokens of ViTs, the last norm of Swin, stages above the last map."""
    # The library is optional, and takes seconds.
    from transformers.backbone_utils import BackboneMixin

    side = 64 * family.divisor(model.config)
    for prefix, part in model.named_modules():
        if isinstance(part, BackboneMixin):
            with torch.device('meta'), quiet():  # some make tensors in their pass
                return [
                    f'{prefix}.{name}'
                    for name in unread_parameters(cast(nn.Module, part), torch.empty(1, 3, side, side))
                ]
    return []  # the ViT of YOLOS is no backbone of the library


def _release_backbone(model: nn.Module, pretrained: bool) -> list[str]:
    """Deformable DETR freezes all of a ResNet but ``stage.1`` to ``stage.3``, names that no ResNet of the library has: train these stages."""
    named = [(name, parameter) for name, parameter in model.named_parameters() if '.backbone.' in name]
    frozen = [parameter for _, parameter in named if not parameter.requires_grad]
    if len(frozen) < len(named):
        return []
    released = [p for name, p in named if not pretrained or re.search(r'\.stages\.[123]\.', name)]
    for parameter in released:
        parameter.requires_grad_(True)
    why = 'which the library freezes by mistake' if pretrained else 'without weights'
    return [f'{len(released)} of {len(named)} tensors of the backbone are trained, {why}']
