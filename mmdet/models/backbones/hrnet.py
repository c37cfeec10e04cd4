"""HRNet (Wang et al., "Deep High-Resolution Representation Learning for Visual Recognition", TPAMI 2020, arXiv 1908.07919)."""

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule, ModuleList, Sequential
from torch import Tensor, nn

from mmdet.errors import ArgumentError
from mmdet.registry import MODELS

from ..layers.conv import build_conv
from ..layers.res_layer import BlockType, ResLayer
from .freezing import FreezableBackbone
from .resnet import BasicBlock, Bottleneck, pretrained_init


def _conv(
    options: dict, inplanes: int, planes: int, kernel_size: int = 3, stride: int = 1, relu: bool = True
) -> Sequential:
    """Convolution, norm and, with ``relu``, a ReLU, numbered from 0."""
    place = dict(stride=stride, padding=kernel_size // 2, bias=False)
    conv = build_conv(options['conv_cfg'], inplanes, planes, kernel_size, **place)
    return Sequential(conv, build_norm_layer(options['norm_cfg'], planes)[1], *([nn.ReLU()] if relu else []))


class HRModule(BaseModule):
    """Parallel branches, each at half the resolution of the one before, then their exchange: each output is the sum of all branches.

    A coarser branch is projected and enlarged (nearest neighbour), a finer one goes through one strided convolution for each halving.

    Args:
        block: class of the residual blocks.
        num_blocks: blocks of each branch.
        in_channels: channels of each input; afterwards those of each branch's output.
        num_channels: base width of each branch.
        multiscale_output: return all branches, otherwise only the finest.
        options: ``conv_cfg``, ``norm_cfg``, ``with_cp`` and ``zero_init_norm`` of the blocks.
    """

    def __init__(
        self,
        block: BlockType,
        num_blocks: Sequence[int],
        in_channels: Sequence[int],
        num_channels: Sequence[int],
        multiscale_output: bool = True,
        **options: Any,
    ):
        super().__init__()
        rows = list(zip(in_channels, num_channels, num_blocks))
        # mmengine's list, through which the blocks initialise themselves.
        self.branches = ModuleList(ResLayer(block, *row, **options) for row in rows)
        self.in_channels = widths = [width * block.expansion for width in num_channels]
        self.fuse_layers = nn.ModuleList()
        targets = 0 if len(widths) == 1 else len(widths) if multiscale_output else 1
        for target in range(targets):
            layers: list[nn.Module] = []
            for source, width in enumerate(widths):
                if source == target:
                    layers.append(nn.Identity())
                elif source > target:
                    layers.append(_conv(options, width, widths[target], 1, relu=False))
                else:
                    steps = [_conv(options, width, width, stride=2) for _ in range(target - source - 1)]
                    layers.append(Sequential(*steps, _conv(options, width, widths[target], stride=2, relu=False)))
            self.fuse_layers.append(nn.ModuleList(layers))

    def forward(self, x: list[Tensor]) -> list[Tensor]:
        """Maps of all branches, finest first, to as many, or to the finest alone."""
        x = [branch(part) for branch, part in zip(self.branches, x)]
        if not self.fuse_layers:
            return x
        outs = []
        for target, (own, layers) in enumerate(zip(x, self.fuse_layers)):  # all, or the finest alone
            parts = []
            for source, (part, layer) in enumerate(zip(x, layers.children())):
                part = layer(part)
                parts.append(F.interpolate(part, size=own.shape[2:], mode='nearest') if source > target else part)
            outs.append(F.relu(sum(parts[1:], parts[0])))
        return outs


@MODELS.register_module()
class HRNet(FreezableBackbone):
    """HRNet: up to four branches that run side by side and exchange what they found; strides 4, 8, 16, 32.

    Args:
        extra: ``stage1`` to ``stage4``, each ``dict(num_modules=..., num_branches=..., block='BASIC' or 'BOTTLENECK', num_blocks=(...),
            num_channels=(...))``, with one number of blocks and one width for each branch. ``stage1`` has one branch.
        in_channels: channels of the image.
        conv_cfg, norm_cfg: configs of convolutions and norms.
        norm_eval: keep every batch norm in eval mode (its statistics fixed).
        with_cp: recompute blocks in the backward pass to save memory.
        zero_init_residual: initialise the last norm of each block to 0.
        multiscale_output: return all branches of the last stage, otherwise only the finest.
        pretrained: old form of ``init_cfg=dict(type='Pretrained', checkpoint=pretrained)``.
        init_cfg: initialisation; default: Kaiming for convolutions, 1 for norms.

    Raises:
        ArgumentError: a stage is missing, or its numbers contradict each other; an AssertionError, too.
        KeyError: unknown ``block``.
    """

    blocks_dict: dict[str, BlockType] = {'BASIC': BasicBlock, 'BOTTLENECK': Bottleneck}

    def __init__(
        self,
        extra: dict,
        in_channels: int = 3,
        conv_cfg: dict | None = None,
        norm_cfg: dict = dict(type='BN'),  # noqa: B006  (read only)
        norm_eval: bool = True,
        with_cp: bool = False,
        zero_init_residual: bool = False,
        multiscale_output: bool = True,
        pretrained: str | None = None,
        init_cfg: dict | list | None = None,
    ):
        init_cfg, zero_init_residual = pretrained_init(pretrained, init_cfg, zero_init_residual)
        super().__init__(init_cfg)
        stages = [self._stage(extra, number) for number in range(1, 5)]
        self.extra, self.norm_eval = extra, norm_eval
        options: dict = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, with_cp=with_cp)
        options['zero_init_norm'] = zero_init_residual
        self.conv1 = build_conv(conv_cfg, in_channels, 64, 3, stride=2, padding=1, bias=False)
        self.norm1_name, norm1 = build_norm_layer(norm_cfg, 64, postfix=1)
        self.add_module(self.norm1_name, norm1)
        self.conv2 = build_conv(conv_cfg, 64, 64, 3, stride=2, padding=1, bias=False)
        self.norm2_name, norm2 = build_norm_layer(norm_cfg, 64, postfix=2)
        self.add_module(self.norm2_name, norm2)
        block, first = self.blocks_dict[stages[0]['block']], stages[0]
        self.layer1 = ResLayer(block, 64, first['num_channels'][0], first['num_blocks'][0], **options)
        widths = [first['num_channels'][0] * block.expansion]
        for number, stage in enumerate(stages[1:], 2):
            block, last = self.blocks_dict[stage['block']], number == 4
            wanted = [width * block.expansion for width in stage['num_channels']]
            self.add_module(f'transition{number - 1}', self._transition(options, widths, wanted))
            widths, modules = wanted, []
            for index in range(stage['num_modules']):
                all_branches = multiscale_output or not last or index < stage['num_modules'] - 1
                numbers = (stage['num_blocks'], widths, stage['num_channels'])
                modules.append(HRModule(block, *numbers, multiscale_output=all_branches, **options))
            self.add_module(f'stage{number}', Sequential(*modules))

    @staticmethod
    def _stage(extra: dict, number: int) -> dict:
        """One stage of ``extra``, checked."""
        field = f'extra.stage{number}'
        stage = extra.get(f'stage{number}') if isinstance(extra, dict) else None
        keys = ('num_modules', 'num_branches', 'block', 'num_blocks', 'num_channels')
        if not isinstance(stage, dict) or not set(keys) <= set(stage):
            raise ArgumentError(f'must be a dict of {keys}', field=field, received=stage)
        lengths = {len(stage['num_blocks']), len(stage['num_channels'])}
        if lengths != {stage['num_branches']}:
            message = 'num_blocks and num_channels need one number for each of num_branches'
            raise ArgumentError(message, field=field, received=stage)
        if number == 1 and stage['num_branches'] != 1:
            raise ArgumentError('must have one branch', field=field, received=stage)
        return stage

    @staticmethod
    def _transition(options: dict, before: list[int], after: list[int]) -> nn.ModuleList:
        """Layers between two stages: to other widths, and from the coarsest branch to new ones, each at half the resolution of the one before."""
        layers: list[nn.Module] = []
        for index, width in enumerate(after):
            if index < len(before):
                layers.append(nn.Identity() if before[index] == width else _conv(options, before[index], width))
                continue
            steps = index - len(before)
            halvings = [_conv(options, before[-1], before[-1], stride=2) for _ in range(steps)]
            layers.append(Sequential(*halvings, _conv(options, before[-1], width, stride=2)))
        return nn.ModuleList(layers)

    @property
    def norm1(self) -> nn.Module:
        """Norm after ``conv1``."""
        return getattr(self, self.norm1_name)

    @property
    def norm2(self) -> nn.Module:
        """Norm after ``conv2``."""
        return getattr(self, self.norm2_name)

    def _frozen_modules(self) -> list[nn.Module]:
        return []

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, in_channels, H, W) to one map (N, C_i, H / 2^(i + 2), W / 2^(i + 2)), rounded up, for each branch i of the last stage."""
        x = F.relu(self.norm1(self.conv1(x)))
        x = F.relu(self.norm2(self.conv2(x)))
        maps = [self.layer1(x)]
        for number in (2, 3, 4):
            layers = getattr(self, f'transition{number - 1}')
            maps = [layer(maps[min(index, len(maps) - 1)]) for index, layer in enumerate(layers)]
            maps = getattr(self, f'stage{number}')(maps)
        return tuple(maps)
