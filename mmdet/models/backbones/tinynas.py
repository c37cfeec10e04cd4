"""Backbones from searched structures: those of MAE-DET, DeepMAD, Zen-NAS and DAMO-YOLO, and quantised networks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mmdet.archs.structure import stage_ends
from mmdet.errors import ConfigError
from mmdet.registry import MODELS

from ...archs.files import read_network
from ..layers.tinynas_blocks import ACTIVATIONS, BlockOptions, build_block
from ..layers.tinynas_damo import PlainAndPointwise, SpaceToDepth
from .freezing import FreezableBackbone


@MODELS.register_module()
class TinyNASBackbone(FreezableBackbone):
    """Backbone of a searched structure, which gives the feature maps of chosen stages.

    A stage ends just before a block of stride 2 and at the last block. With the usual strided stem, stage 0 is the stem (stride 2) and stages
    1 to 4 have strides 4, 8, 16, 32. ``out_channels`` and ``out_strides`` describe the outputs; a detector passes ``out_channels`` to its neck.

    Args:
        structure: path of a structure file, block dicts, or a value that holds them: see :func:`~mmdet.archs.files.build_structure`.
        structure_name: which structure, where there are several; None for the first.
        out_indices: stages whose outputs are returned, ascending.
        frozen_stages: stages 0 to this one get no gradient and stay in eval mode; -1 for none.
        norm_cfg: config of the norm after every convolution; default BN. SyncBN needs a GPU only in distributed training.
        norm_eval: keep every batch norm in eval mode.
        with_cp: recompute units in the backward pass to save memory.
        act: activation of blocks that do not name one; None for that of their family.
        drop_path_rate: stochastic depth (arXiv 1603.09382): the rate of the last unit, which grows linearly from 0 with depth.
        dropout_rate: dropout after the convolutions of a unit: the rate of the last unit, which grows the same way.
        use_focus: put space-to-depth before the stem. By default where the stem reads 12 channels, as in structures searched for DAMO-YOLO, which
            then take images of 3 channels.
        init_cfg: initialisation; default Kaiming for convolutions, 1 for norms.

    Raises:
        ConfigError: an impossible structure (the text names block index, key, what is allowed), or options that do not fit it.
    """

    dims = 2
    _damo = False

    def __init__(
        self,
        structure: Sequence[dict] | dict | str | Path,
        structure_name: str | None = None,
        out_indices: Sequence[int] = (1, 2, 3, 4),
        frozen_stages: int = -1,
        norm_cfg: dict | None = None,
        norm_eval: bool = False,
        with_cp: bool = False,
        act: str | None = None,
        drop_path_rate: float = 0.0,
        dropout_rate: float = 0.0,
        use_focus: bool | None = None,
        init_cfg: dict | list | None = None,
        **unknown: Any,
    ):
        norms = dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm'])
        super().__init__(init_cfg or [dict(type='Kaiming', layer=['Conv2d', 'Conv3d']), norms])
        if unknown:
            message = 'unknown arguments; a config that replaces the backbone of its base needs backbone=dict(_delete_=True, ...)'
            raise ConfigError(message, field=type(self).__name__, received=sorted(unknown))
        self.structure = read_network(structure, structure_name, self.dims)
        self.stage_ends = stage_ends(self.structure)
        self._check_outputs(out_indices)
        self.out_indices = tuple(out_indices)
        last_stage = len(self.stage_ends) - 1
        if not -1 <= frozen_stages <= last_stage:
            raise ConfigError(f'must be in -1..{last_stage}', field='frozen_stages', received=frozen_stages)
        if act is not None and act not in ACTIVATIONS:
            raise ConfigError(f'must be None or one of {sorted(ACTIVATIONS)}', field='act', received=act)
        for field, rate in (('drop_path_rate', drop_path_rate), ('dropout_rate', dropout_rate)):
            if not 0 <= rate < 1:
                raise ConfigError('must be in [0, 1)', field=field, received=rate)
        self.frozen_stages, self.norm_eval = frozen_stages, norm_eval
        self.focus = self._focus(use_focus)
        norm_cfg = dict(type='BN') if norm_cfg is None else dict(norm_cfg)
        common: dict[str, Any] = dict(norm_cfg=norm_cfg, with_cp=with_cp, act=act, damo=self._damo)
        self.block_list = nn.ModuleList()
        units, last = 0, max(sum(block.layers for block in self.structure) - 1, 1)
        for index, block in enumerate(self.structure):
            common.update(self._block_options(index))
            options = [
                BlockOptions(drop_path=drop_path_rate * i / last, drop_channel=dropout_rate * i / last, **common)
                for i in range(units, units + block.layers)
            ]
            units += block.layers
            self.block_list.append(build_block(block, options))
        # The strided block of stage j halves the map on top of what the stem does.
        stem_stride = self.structure[0].stride * (2 if self.focus is not None else 1)
        self.out_channels = [self.structure[self.stage_ends[stage]].out_channels for stage in self.out_indices]
        self.out_strides = [stem_stride * 2**stage for stage in self.out_indices]
        self._freeze_stages()

    def _check_outputs(self, out_indices: Sequence[int]) -> None:
        ends = self.stage_ends
        outputs = list(out_indices) if isinstance(out_indices, (list, tuple)) else []
        valid = all(type(stage) is int and 0 <= stage < len(ends) for stage in outputs)
        if not outputs or not valid or sorted(set(outputs)) != outputs:
            message = f'must be ascending stages in 0..{len(ends) - 1}; the structure has {len(ends)}, ending at blocks {ends}'
            raise ConfigError(message, field='out_indices', received=out_indices)

    def _focus(self, use_focus: bool | None) -> nn.Module | None:
        """The space-to-depth layer before the stem, or None. With it the stem reads 12 channels, whatever its block says."""
        stem = self.structure[0]
        single = stem.type == 'ConvKXBNRELU'
        if use_focus is None:
            use_focus = single and stem.in_channels == 12
        if not use_focus:
            return None
        record = 'structure, block 0'
        if not single:
            message = 'space-to-depth needs a stem of class ConvKXBNRELU'
            raise ConfigError(message, record=record, field='class', received=stem.type)
        if stem.in_channels not in (3, 12):
            message = 'space-to-depth takes images of 3 channels: must be 3 or 12'
            raise ConfigError(message, record=record, field='in', received=stem.in_channels)
        self.structure = (stem._replace(in_channels=12), *self.structure[1:])
        return SpaceToDepth()

    def _block_options(self, index: int) -> dict:
        """Options that differ from block to block."""
        return {}

    def _frozen_modules(self) -> list[nn.Module]:
        if self.frozen_stages < 0:
            return []
        return list(self.block_list[: self.stage_ends[self.frozen_stages] + 1])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, C, H, W) to a tuple of (N, C_j, H / stride_j, W / stride_j), sizes rounded up, one for each of `out_indices`."""
        if self.focus is not None:
            x = self.focus(x)
        outputs, returned = [], [self.stage_ends[stage] for stage in self.out_indices]
        for index, block in enumerate(self.block_list[: returned[-1] + 1]):
            x = block(x)
            if index in returned:
                outputs.append(x)
        return tuple(outputs)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        # In published detectors a wrapper module holds the network: backbone.<name>.block_list.0...
        for key in [key for key in state_dict if key.startswith(prefix)]:
            wrapper, dot, rest = key[len(prefix) :].partition('.')
            if dot and wrapper != 'block_list' and rest.startswith('block_list.'):
                state_dict[prefix + rest] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *args)


@MODELS.register_module()
class DAMOYOLOBackbone(TinyNASBackbone):
    """Backbone of DAMO-YOLO (arXiv 2211.15444).

    The image is rearranged to 12 channels at half its size, strided units have no shortcut, and shortcuts are projected only where the width
    changes. By default the maps of stages 2, 3, 4 (strides 8, 16, 32) are returned.

    Args:
        structure: as in :class:`TinyNASBackbone`; its stem may name 3 or 12 input channels.
        with_spp: spatial pyramid pooling after the first unit of the last block.
        reparam: train the second convolution of each unit with a parallel 1x1 one; :meth:`fuse` merges them.
        out_indices, use_focus, act, **kwargs: arguments of :class:`TinyNASBackbone`.

    Raises:
        ConfigError: as :class:`TinyNASBackbone`, and for options that the last block cannot take.
    """

    _damo = True

    def __init__(
        self,
        structure: Sequence[dict] | dict | str | Path,
        out_indices: Sequence[int] = (2, 3, 4),
        with_spp: bool = False,
        use_focus: bool | None = True,
        act: str | None = 'relu',
        reparam: bool = False,
        **kwargs: Any,
    ):
        self.with_spp, self.reparam = with_spp, reparam
        super().__init__(structure, out_indices=out_indices, use_focus=use_focus, act=act, **kwargs)

    def _block_options(self, index: int) -> dict:
        block = self.structure[index]
        if self.reparam and block.bits_a:
            raise ConfigError('quantised blocks cannot be re-parameterised', field='reparam', received=self.reparam)
        last = index == len(self.structure) - 1
        if last and self.with_spp and not block.btn:
            record = f'structure, block {index}'
            raise ConfigError(
                'with_spp needs a super block at the end', record=record, field='class', received=block.type
            )
        return dict(reparam=self.reparam, spp=self.with_spp and last)

    def fuse(self) -> 'DAMOYOLOBackbone':
        """Merge re-parameterised convolutions for inference, which does not change outputs in eval mode. Returns the backbone itself."""
        for module in self.modules():
            if isinstance(module, PlainAndPointwise):
                module.fuse()
        return self
