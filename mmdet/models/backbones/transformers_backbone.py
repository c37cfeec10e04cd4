"""Backbones of the library transformers: ConvNeXt, Swin, HGNetV2, DINOv2, DINOv3, BEiT and the others that its ``AutoBackbone`` knows.

What a family of the library does is not listed here but found by a dry run, see :class:`Survey`. Naming: B images of H x W pixels, L layers.
"""

import contextlib
import dataclasses
import difflib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from torch import Tensor, nn

from mmdet.errors import CheckpointError, ConfigError, one_line
from mmdet.registry import MODELS
from mmdet.utils.checks import is_finite, is_int
from mmdet.utils.class_names import shown
from mmdet.utils.tracing import is_exporting

from ..utils.dry_run import new_leaves, strides_of, tensors_in
from ..utils.transformers_library import build_config, full_dict, load_pretrained, new_model, plain, quiet, traceable
from .freezing import FreezableBackbone
from .pretrained import pretrained_tensors

# Divided by every usual patch size and, after that, by every usual number of windows of a side.
_SURVEY_SIDE = 2**7 * 3 * 5 * 7
_MOST_WINDOWS = 16
_FIELD = 'backbone.model'
_OUTPUT_KEYS = ('out_indices', 'out_features')


# ------------------------------------------------------------------------------------------------ what a model of the library does


@dataclasses.dataclass(frozen=True)
class Survey:
    """What a dry run on the device ``meta`` finds out about a backbone of the library; names are those of its parameters.

    Attributes:
        channels, strides: of each map that is returned.
        multiple: what the sides of images must be multiples of for all maps to cover the image, and to lie on one another; 1 where the library
            rounds up.
        stages: number of the stage of a parameter: 0 for the stem, then the stages of the library, each layer of a plain ViT being one. What
            several stages use belongs to the first of them; a norm of outputs to the last stage whose output it is for.
        layers: number of the layer of a parameter, from the bottom: 0 for the stem, then one for each block; norms of outputs are not here.
        maps: positions of the returned maps that a parameter has an influence on; a parameter without any is not here.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    multiple: int
    stages: Mapping[str, int]
    layers: Mapping[str, int]
    maps: Mapping[str, frozenset[int]]


_surveys: dict[str, Survey] = {}


def survey(config: Any) -> Survey:
    """The survey of a config of the library, made once in a process.

    Raises:
        ConfigError: the library cannot build or run the model, or its maps have no strides.
    """
    key = json.dumps(config.to_dict(), sort_keys=True, default=str)
    if key not in _surveys:
        _surveys[key] = _make_survey(config)
    return _surveys[key]


def _make_survey(config: Any) -> Survey:
    with torch.device('meta'):
        # Some families make parameters of tensors that have a device already.
        model = new_model('AutoBackbone', config, _FIELD).eval().to('meta')
    size_hw = (_SURVEY_SIDE, 2 * _SURVEY_SIDE)
    try:
        found = _run(model, size_hw)
    except Exception as error:  # the library raises errors of many kinds
        message = f'cannot be used: it does not take images of every size ({type(error).__name__}: {one_line(error)})'
        raise ConfigError(message, field=_FIELD, received=config.model_type) from error
    strides = strides_of(found.feature_maps, size_hw)
    if strides is None:
        shapes = [tuple(one.shape[-2:]) for one in found.feature_maps]
        message = f'cannot be used: for images of {size_hw} it gives maps of {shapes}, which have no whole strides'
        raise ConfigError(message, field=_FIELD, received=config.model_type)
    first = _first_stage(config)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    stages: dict[str, int] = {}
    seen: set[Any] = set()
    for number, states in enumerate(found.hidden_states, start=first):
        stages.update((names[id(leaf)], number) for leaf in new_leaves(states, seen))
    stages = {name: stages[name] for name in names.values() if name in stages}
    sizes = {next(tensors_in(states)).numel() for states in found.hidden_states}
    layers = dict(stages) if len(sizes) == 1 else _layers_of_blocks(model, stages)
    maps: dict[str, set[int]] = defaultdict(set)
    for position, one in enumerate(found.feature_maps):
        for leaf in new_leaves(one, set()):
            maps[names[id(leaf)]].add(position)
    for name, positions in maps.items():
        stages.setdefault(name, config.out_indices[max(positions)] + first)
    return Survey(
        channels=tuple(one.shape[1] for one in found.feature_maps),
        strides=tuple(strides),
        multiple=_multiple(model, strides, config.model_type),
        stages=stages,
        layers=layers,
        maps={name: frozenset(positions) for name, positions in maps.items()},
    )


def _run(model: Any, size_hw: tuple[int, int]) -> Any:
    with torch.device('meta'), quiet():  # some families make tensors in their pass
        return model(torch.empty(1, 3, *size_hw), output_hidden_states=True)


def _first_stage(config: Any) -> int:
    """Number of the library's stage of index 0: most families count the stem as one."""
    return 0 if config.stage_names[0] == 'stem' else 1


def _multiple(model: Any, strides: Sequence[int], kind: str) -> int:
    """See :class:`Survey`: the smallest number of windows of a side, times the largest stride, that the model takes."""
    largest = max(strides)
    if _covers(model, strides, (5 * largest + 1, 3 * largest + 1)):
        return 1
    for side in range(largest, (_MOST_WINDOWS + 1) * largest, largest):
        if _covers(model, strides, (side, 3 * side)):
            return side
    message = f'cannot be used: it takes no images whose sides are multiples of {largest} to {_MOST_WINDOWS * largest}'
    raise ConfigError(message, field=_FIELD, received=kind)


def _covers(model: Any, strides: Sequence[int], size_hw: tuple[int, int]) -> bool:
    """Whether the maps of an image of this size have a cell for each of its pixels."""
    try:
        found = _run(model, size_hw).feature_maps
    except Exception:  # whatever the library raises: no such size
        return False
    height, width = size_hw
    return [tuple(one.shape[-2:]) for one in found] == [(-(-height // s), -(-width // s)) for s in strides]


def _layers_of_blocks(model: nn.Module, stages: Mapping[str, int]) -> dict[str, int]:
    """Layers of a pyramid: its blocks from the first to the last; what of a stage lies outside of its blocks goes with the first of them."""
    layers, top = {}, 0
    for number in sorted(set(stages.values())):
        blocks = {name: _block_of(model, name) for name, stage in stages.items() if stage == number}
        order = list(dict.fromkeys(block for block in blocks.values() if block)) if number else []
        for name, block in blocks.items():
            layers[name] = top + (order.index(block) if block in order else 0) + (number > 0)
        top += max(len(order), number > 0)
    return layers


def _block_of(model: nn.Module, name: str) -> str | None:
    """Name of the block that a parameter lies in: an element of the second list, the first being that of the stages, whose elements are alike."""
    words, found = name.split('.'), []
    for end in range(1, len(words) - 1):
        parent = model.get_submodule('.'.join(words[:end]))
        if isinstance(parent, nn.ModuleList | nn.Sequential) and len({type(child) for child in parent}) == 1:
            found.append('.'.join(words[: end + 1]))
    return found[1] if len(found) > 1 else None


# ------------------------------------------------------------------------------------------------ the backbone


@MODELS.register_module()
class TransformersBackbone(FreezableBackbone):
    """A backbone of the library transformers (the extra ``transformers``).

    ``out_channels`` is a list, which necks take their ``in_channels`` from; ``out_strides`` are the strides, which the detector compares with those
    of its head.

    Args:
        model: ``model_type`` and keys of the library's config, or ``from_pretrained``, a folder or an id of the hub, and keys that are others; see
            :func:`mmdet.models.utils.transformers_library.build_config`. With ``from_pretrained`` the weights are read when a training starts
            (``init_weights``).
        out_indices: the library's indices of the maps to return, ascending. 0 is the stem in most families, the first stage in PVT v2; a plain ViT has
            one for each layer. None: all stages of a pyramid, the last layer of a plain ViT.
        frozen_stages: the stem and this many stages get no gradient and stay in evaluation mode; 0 freezes the stem only, -1 nothing. Each layer of a
            plain ViT is a stage.
        norm_eval: keep every batch norm in evaluation mode.
        drop_path_rate: drop-path probability of the last block; None leaves it as the library's config has it.
        with_cp: recompute layers in the backward pass to save memory.
        load: ``'local'``, or ``'hub'``, which permits to fetch files from the hub.
        init_cfg: ``dict(type='Pretrained', checkpoint=...)`` reads the backbone of a checkpoint of this package, its ``prefix`` being
            ``backbone.`` by default.

    Raises:
        ConfigError: transformers is missing; a model type, key or value that it does not have; a family that cannot be a detector's backbone; an option
            that the family does not have.
    """

    def __init__(
        self,
        model: dict,
        out_indices: Sequence[int] | None = None,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        drop_path_rate: float | None = None,
        with_cp: bool = False,
        load: str = 'local',
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        self.given_config, self.load = plain(model), load
        config = _config(model, drop_path_rate, load)
        self.survey = _choose_maps(config, out_indices)
        self.out_indices: tuple[int, ...] = tuple(config.out_indices)
        self.out_channels, self.out_strides = list(self.survey.channels), list(self.survey.strides)
        self.model: Any = new_model('AutoBackbone', config, _FIELD)
        self._unread: frozenset[int] = frozenset()
        self.frozen_stages, self.norm_eval, self.with_cp = frozen_stages, norm_eval, with_cp
        self._check_frozen_stages()
        if with_cp:
            if not self.model.supports_gradient_checkpointing:
                message = f'transformers recomputes no layers of {config.model_type}: leave it out'
                raise ConfigError(message, field='backbone.with_cp', received=with_cp)
            self.model.activation_checkpointing_enable(dict(use_reentrant=False))
        self._freeze_stages()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) to one map (B, C, h, w) for each of ``out_indices``, h and w being H and W over the stride, rounded up.

        Where the library would cut the image at the right and the bottom, or fail, zeros are added there up to the next multiple that it takes.
        """
        multiple = self.survey.multiple
        right, bottom = -x.shape[3] % multiple, -x.shape[2] % multiple
        exporting = is_exporting()
        if multiple > 1 and (exporting or right or bottom):
            x = F.pad(x, (0, right, 0, bottom))
        with traceable(self.model) if exporting else contextlib.nullcontext():
            return tuple(self.model(x).feature_maps)

    # ---------------------------------------------------------------- freezing

    def _check_frozen_stages(self) -> None:
        given, last = self.frozen_stages, max(self.survey.stages.values())
        if not (is_int(given, -1) and given <= last):
            raise ConfigError(f'must be in [-1, {last}]', field='backbone.frozen_stages', received=given)
        if given == 0 and 0 not in self.survey.stages.values():
            message = f'{self.model.config.model_type} has no stem of its own to freeze; 1 freezes its first stage'
            raise ConfigError(message, field='backbone.frozen_stages', received=given)

    def ignore_maps(self, positions: Iterable[int]) -> None:
        """Say which of the returned maps nothing reads: parameters that only they depend on get no gradient, and are frozen."""
        self._unread = frozenset(positions)
        self._freeze_stages()

    def _is_frozen(self, name: str) -> bool:
        """Whether a parameter of the library's model is frozen: by ``frozen_stages``, or because no map that is read depends on it."""
        read = self.survey.maps.get(name, frozenset()) - self._unread
        return not read or self.survey.stages[name] <= self.frozen_stages

    def _frozen_modules(self) -> list[nn.Module]:
        found, left = [], [('', self.model)]
        while left:
            prefix, module = left.pop()
            frozen = [self._is_frozen(name) for name, _ in module.named_parameters(prefix)]
            if frozen and all(frozen):
                found.append(module)
            elif any(frozen):
                left.extend((f'{prefix}.{name}' if prefix else name, child) for name, child in module.named_children())
        return found

    def _freeze_stages(self) -> None:
        super()._freeze_stages()
        for name, parameter in self.model.named_parameters():
            if self._is_frozen(name):
                parameter.requires_grad_(False)

    # ---------------------------------------------------------------- layers, for LayerDecayOptimizerConstructor

    @property
    def num_layers(self) -> int:
        """Blocks, from the stem to the last map."""
        return max(self.survey.layers.values())

    def layer_of(self, name: str) -> int:
        """Layer of a parameter: 0 for the stem, i for block i counted from 1, ``num_layers`` + 1 for norms of outputs.

        Args:
            name: of the parameter, in this backbone.
        """
        return self.survey.layers.get(name.removeprefix('model.'), self.num_layers + 1)

    # ---------------------------------------------------------------- weights

    @property
    def published(self) -> str | None:
        """Folder or id of the published weights that the config names."""
        return self.given_config.get('from_pretrained')

    def full_config(self) -> dict:
        """``model`` with every key of the library's config, and its version: what builds this network later, without files or network."""
        source = {} if self.published is None else dict(from_pretrained=self.published)
        return source | {
            name: value for name, value in full_dict(self.model.config).items() if name not in _OUTPUT_KEYS
        }

    def init_weights(self) -> None:
        """Read the weights of ``from_pretrained``, or of ``init_cfg``; without either, those that the library has drawn stay.

        Raises:
            ConfigError: there is no such folder or model.
            CheckpointError: the file lacks a tensor of the network, norms of outputs excepted, or has one of another shape.
        """
        if self.init_cfg is not None:
            self._load_own(self.init_cfg)
        elif self.published is not None:
            self._load_published(self.published)
        self._is_init = True

    def _load_published(self, source: str) -> None:
        own_class = type(self.model).__name__  # AutoBackbone would look for a folder on the hub
        field = f'{_FIELD}.from_pretrained'
        found, names = load_pretrained(own_class, source, self.model.config, self.load, field)
        lacking = [name for name in (*names['missing'], *names['mismatched']) if name in self.survey.layers]
        if lacking:
            message = f'lacks {len(lacking)} tensors of the network, or has them in another shape, the first being {lacking[0]}'
            raise CheckpointError(message, file=source)
        self.model.load_state_dict(found.state_dict())
        new, rest = (shown(names[kind]) if names[kind] else 'none' for kind in ('missing', 'unexpected'))
        print_log(
            f'Weights of {source}: {len(found.state_dict())} tensors; new: {new}; not used: {rest}', logger='current'
        )

    def _load_own(self, init_cfg: Any) -> None:
        if not isinstance(init_cfg, Mapping) or init_cfg.get('type') != 'Pretrained' or 'checkpoint' not in init_cfg:
            message = "must be None or dict(type='Pretrained', checkpoint=...)"
            raise ConfigError(message, field='backbone.init_cfg', received=init_cfg)
        file = init_cfg['checkpoint']
        tensors = pretrained_tensors(file, init_cfg.get('prefix'))
        try:
            self.load_state_dict(tensors)
        except RuntimeError as error:
            raise CheckpointError(
                f'does not fit the backbone: {type(error).__name__}: {one_line(error)}', file=file
            ) from error
        print_log(f'{file}: {len(tensors)} tensors of the backbone loaded', logger='current')


def _config(model: dict, drop_path_rate: float | None, load: str) -> Any:
    """The library's config, as a backbone that is trained to detect wants it."""
    config = build_config(model, _FIELD, load)
    for name in _OUTPUT_KEYS:
        if name in model:
            message = 'give out_indices beside model, not in it'
            raise ConfigError(message, field=f'{_FIELD}.{name}', received=model[name])
    # The library is optional, and takes seconds.
    from transformers.models.auto.modeling_auto import MODEL_FOR_BACKBONE_MAPPING_NAMES as known

    if config.model_type not in known:
        near = difflib.get_close_matches(config.model_type, list(known)) or sorted(known)
        message = f'transformers has no backbone of this type; there are {", ".join(near)}'
        raise ConfigError(message, field=f'{_FIELD}.model_type', received=config.model_type)
    if not hasattr(config, 'stage_names'):
        raise ConfigError('is not one of transformers itself', field=f'{_FIELD}.model_type', received=config.model_type)
    if drop_path_rate is not None:
        if not hasattr(config, 'drop_path_rate'):
            message = f'{config.model_type} has no drop path: leave it out'
            raise ConfigError(message, field='backbone.drop_path_rate', received=drop_path_rate)
        if not (is_finite(drop_path_rate) and 0 <= drop_path_rate < 1):
            raise ConfigError('must be in [0, 1)', field='backbone.drop_path_rate', received=drop_path_rate)
        config.drop_path_rate = drop_path_rate
    if hasattr(config, 'pos_embed_rescale') and 'pos_embed_rescale' not in model:
        config.pos_embed_rescale = None  # DINOv3 moves its positions at random in training: for its own pretraining
    return config


def _choose_maps(config: Any, out_indices: Sequence[int] | None) -> Survey:
    """Set ``out_indices`` of a config of the library; returns its survey."""
    count, names = len(config.stage_names), ', '.join(f'{i} {name}' for i, name in enumerate(config.stage_names))
    if out_indices is not None:
        given = out_indices if isinstance(out_indices, (list, tuple)) else ()
        known = all(is_int(index, 0) and index < count for index in given)
        if not given or not known or list(given) != sorted(set(given)):
            raise ConfigError(
                f'must be ascending and some of {names}', field='backbone.out_indices', received=out_indices
            )
        config.out_indices = list(out_indices)
        return survey(config)
    config.out_indices = list(range(1 - _first_stage(config), count))
    found = survey(config)
    if len(set(found.strides)) > 1:
        return found
    config.out_indices = [count - 1]
    return survey(config)
