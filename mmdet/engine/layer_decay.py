"""Optimizer constructors for vision transformers.

Both put all parameters with equal settings into one group. mmengine's default makes one group for each parameter; the
optimizer then updates one tensor at a time instead of whole lists, which costs hundreds of small kernels a step on a GPU.
"""

import re
from collections.abc import Iterable

from mmengine.logging import print_log
from torch import nn

from mmdet.errors import ConfigError
from mmdet.registry import OPTIM_WRAPPER_CONSTRUCTORS

from .paramwise import DefaultOptimWrapperConstructor

_EMBEDDING = re.compile(r'(^|\.)backbone\.(pos_embed|cls_token|mask_token|visual_embed|patch_embed)(\.|$)')
_BLOCK = re.compile(r'(^|\.)backbone\.(?:blocks|layers)\.(\d+)\.')


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

    lr = base lr * rate ** (num_layers + 1 - id), with the id of :func:`layer_id`. One-dimensional parameters and biases
    are not decayed; the position embedding, which has three dimensions, is, as in the published configs.

    Args (of ``paramwise_cfg``):
        num_layers: number of transformer blocks.
        layer_decay_rate: factor in (0, 1].

    Raises:
        ConfigError: an argument is missing, unknown or out of range, or the backbone has more blocks than
            ``num_layers``.
    """

    def _validate_cfg(self) -> None:
        super()._validate_cfg()
        given = set(self.paramwise_cfg)
        if given != {'num_layers', 'layer_decay_rate'}:
            raise ConfigError(
                'must hold num_layers and layer_decay_rate', field='paramwise_cfg', received=sorted(given)
            )
        self.num_layers, self.rate = self.paramwise_cfg['num_layers'], self.paramwise_cfg['layer_decay_rate']
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
        groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
        for name, parameter in module.named_parameters():
            if not parameter.requires_grad:
                continue
            depth = layer_id(name, self.num_layers)
            if depth > self.num_layers + 1 or (depth == self.num_layers + 1 and _BLOCK.search(name)):
                raise ConfigError(
                    f'must be the number of transformer blocks; the model has {name}',
                    field='paramwise_cfg.num_layers',
                    received=self.num_layers,
                )
            decayed = parameter.dim() > 1 and not name.endswith('.bias')
            groups.setdefault((depth, decayed), []).append(parameter)
        for (depth, decayed), parameters in sorted(groups.items(), key=lambda item: item[0]):
            group = dict(params=parameters, lr=self.base_lr * self.rate ** (self.num_layers + 1 - depth))
            if not decayed:
                group['weight_decay'] = 0.0
            params.append(group)
            print_log(
                f'layer {depth}: {len(parameters)} tensors, lr {group["lr"]:.3g}, {"decay" if decayed else "no decay"}',
                logger='current',
            )
