"""Optimizer constructors for vision transformers.

Both put all parameters with equal settings into one group. mmengine's default makes one group for each parameter; the
optimizer then updates one tensor at a time instead of whole lists, which costs hundreds of small kernels a step on a GPU.
"""

import re
from collections.abc import Iterable
from typing import Any

from mmengine.logging import print_log
from torch import nn

from mmdet.errors import ConfigError
from mmdet.registry import OPTIM_WRAPPER_CONSTRUCTORS

from .paramwise import DefaultOptimWrapperConstructor

_EMBEDDING = re.compile(r'(^|\.)backbone\.(pos_embed|cls_token|mask_token|visual_embed|patch_embed)(\.|$)')
_BLOCK = re.compile(r'(^|\.)backbone\.(?:blocks|layers)\.(\d+)\.')
# Of a backbone that knows its layers: biases, and tables and networks of positions (of Swin relative ones).
_UNDECAYED = re.compile(r'bias$|position|pos_embed')


def merge_param_groups(groups: Iterable[dict]) -> list[dict]:
    """Join groups whose settings (everything but ``params``) are equal, in order of first appearance.

    >>> merge_param_groups([dict(params=[1], lr=0.1), dict(params=[2]), dict(params=[3], lr=0.1)])
    [{'lr': 0.1, 'params': [1, 3]}, {'params': [2]}]
    """
    merged: dict[tuple, dict] = {}
    for group in groups:
        settings = {name: value for name, value in group.items() if name != 'params'}
        key = tuple(sorted((name, repr(value)) for name, value in settings.items()))
        joined = merged.setdefault(key, dict(settings, params=[]))
        joined['params'].extend(group['params'])
    return list(merged.values())


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class GroupedOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """The default constructor, with the same ``paramwise_cfg``, but parameters of equal settings share a group.

    ViT-Adapter's detectors use it with ``custom_keys`` of ``decay_mult=0`` for ``level_embed``, ``pos_embed``, ``norm``
    and ``bias``. A key matches anywhere in a parameter's full name: ``norm1`` and ``query_norm`` are covered, while a
    batch norm inside a ``Sequential`` (``spm.stem.1.weight``), the ``gn`` of a head, ``gamma`` and ``scale`` are decayed.
    """

    def add_params(
        self, params: list[dict], module: nn.Module, prefix: str = '', is_dcn_module: int | float | None = None
    ) -> None:
        """Add the groups of a module's parameters to ``params``."""
        if prefix:  # a call of the recursion below the model
            super().add_params(params, module, prefix=prefix, is_dcn_module=is_dcn_module)
            return
        single: list[dict] = []
        super().add_params(single, module, prefix=prefix, is_dcn_module=is_dcn_module)
        params.extend(merge_param_groups(single))


def layer_id(name: str, num_layers: int) -> int:
    """Layer of a detector's parameter: 0 for the embeddings, i + 1 for block i, ``num_layers`` + 1 for everything else.

    >>> [layer_id(name, 12) for name in ('backbone.pos_embed', 'backbone.blocks.0.norm1.weight', 'neck.x')]
    [0, 1, 13]
    """
    if _EMBEDDING.search(name):
        return 0
    block = _BLOCK.search(name)
    return num_layers + 1 if block is None else int(block.group(2)) + 1


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimizerConstructor(DefaultOptimWrapperConstructor):
    """Learning rates that shrink by a factor for each layer below the top (BEiT, https://arxiv.org/abs/2106.08254).

    lr = base lr * rate ** (num_layers + 1 - id). A backbone that knows its layers says the id of a parameter (``layer_of``) and their number
    (``num_layers``), as :class:`mmdet.models.backbones.TransformersBackbone` does; otherwise it is that of :func:`layer_id`. One-dimensional parameters
    and biases are not decayed; axes of length 1 do not count where the backbone knows its layers, and its positions are not decayed either. Elsewhere
    the position embedding, which has three dimensions, is decayed, as in the published configs.

    Args (of ``paramwise_cfg``):
        layer_decay_rate: factor in (0, 1].
        num_layers: number of transformer blocks; may be left out where the backbone knows it.

    Raises:
        ConfigError: an argument is missing, unknown or out of range, or the backbone has another number of layers than ``num_layers``.
    """

    def _validate_cfg(self) -> None:
        super()._validate_cfg()
        given = set(self.paramwise_cfg)
        if given - set(self._known_options()) or 'layer_decay_rate' not in given:
            raise ConfigError(
                'must hold layer_decay_rate and, unless the backbone knows it, num_layers',
                field='paramwise_cfg',
                received=sorted(given),
            )
        self.num_layers, self.rate = self.paramwise_cfg.get('num_layers'), self.paramwise_cfg['layer_decay_rate']
        if not 0 < self.rate <= 1:
            raise ConfigError('must be in (0, 1]', field='paramwise_cfg.layer_decay_rate', received=self.rate)
        if self.base_lr is None:
            raise ConfigError('must be given for layer-wise decay', field='optimizer.lr', received=None)

    def _known_options(self) -> tuple[str, ...]:
        return ('num_layers', 'layer_decay_rate')

    def add_params(
        self, params: list[dict], module: nn.Module, prefix: str = '', is_dcn_module: int | float | None = None
    ) -> None:
        """Add one group for each layer and decay setting, lowest layer first, groups with decay last within a layer."""
        telling = {f'{name}.': part for name, part in module.named_modules() if hasattr(part, 'layer_of')}
        self._check_count(telling)
        groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                start = next((start for start in telling if name.startswith(start)), None)
                if start is None:
                    place = -self._below_top(name), parameter.dim() > 1 and not name.endswith('.bias')
                else:
                    backbone, own_name = telling[start], name.removeprefix(start)
                    decayed = parameter.squeeze().dim() > 1 and not _UNDECAYED.search(own_name)
                    place = backbone.layer_of(own_name) - backbone.num_layers - 1, decayed
                groups.setdefault(place, []).append(parameter)
        for (height, decayed), parameters in sorted(groups.items(), key=lambda item: item[0]):
            group = dict(params=parameters, lr=self.base_lr * self.rate**-height)
            if not decayed:
                group['weight_decay'] = 0.0
            params.append(group)
            where = f'{-height} layers below the top' if height else 'above the layers'
            decay = 'decay' if decayed else 'no decay'
            print_log(f'{where}: {len(parameters)} tensors, lr {group["lr"]:.3g}, {decay}', logger='current')

    def _check_count(self, telling: dict[str, Any]) -> None:
        for start, backbone in telling.items():
            if self.num_layers not in (None, backbone.num_layers):
                message = f'must be {backbone.num_layers}, the layers of {start.rstrip(".")}, or be left out'
                raise ConfigError(message, field='paramwise_cfg.num_layers', received=self.num_layers)

    def _below_top(self, name: str) -> int:
        """Layers between a parameter and the top, by its name."""
        block = _BLOCK.search(name)
        if self.num_layers is None:
            if block or _EMBEDDING.search(name):
                message = f'must be the number of transformer blocks; the backbone does not say where {name} belongs'
                raise ConfigError(message, field='paramwise_cfg.num_layers', received=None)
            return 0
        if block and int(block.group(2)) >= self.num_layers:
            message = f'must be the number of transformer blocks; the model has {name}'
            raise ConfigError(message, field='paramwise_cfg.num_layers', received=self.num_layers)
        return self.num_layers + 1 - layer_id(name, self.num_layers)
