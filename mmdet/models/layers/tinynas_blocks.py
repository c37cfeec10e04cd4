"""The blocks of a TinyNAS structure as modules, with the parameter names of the published weights.

The family of a block (:mod:`mmdet.archs.blocks`), from which scores and budgets are computed, also lists its modules: units with convolutions,
shortcut and squeeze-excitation. Every convolution has no bias and a norm after it: a unit's first ones are ``conv1.conv1`` and ``conv1.bn1``.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
import torch.utils.checkpoint
from mmcv.cnn import build_norm_layer
from mmengine.dist import get_world_size
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmdet.archs.blocks import Conv, family_of
from mmdet.archs.blocks import Unit as UnitPlan
from mmdet.archs.structure import Block

from .lsq import LSQConv2d
from .tinynas_damo import PlainAndPointwise, SpatialPyramid

ACTIVATIONS = {
    'relu': lambda: nn.ReLU(inplace=True),
    'relu6': lambda: nn.ReLU6(inplace=True),
    'silu': lambda: nn.SiLU(inplace=True),
    'swish': lambda: nn.SiLU(inplace=True),
    'sigmoid': nn.Sigmoid,
    'leakyrelu': lambda: nn.LeakyReLU(inplace=True),
    'learkyrelu': lambda: nn.LeakyReLU(inplace=True),  # as structure files of the reference spell it
}


@dataclass(frozen=True)
class BlockOptions:
    """Choices for a network that its structure does not determine.

    Attributes:
        norm_cfg: config of the norm after every convolution.
        with_cp: recompute units in the backward pass to save memory.
        act: activation of blocks that do not name one; None for that of their family.
        drop_channel: dropout rate after a unit's convolutions.
        drop_path: probability that a unit's convolutions are skipped for a sample in training.
        damo: use DAMO-YOLO's shortcuts: none in strided units, projected only where the width changes.
        reparam: train the second convolution of each unit with a parallel 1x1 one.
        spp: spatial pyramid pooling after the first unit.
    """

    norm_cfg: dict
    with_cp: bool = False
    act: str | None = None
    drop_channel: float = 0.0
    drop_path: float = 0.0
    damo: bool = False
    reparam: bool = False
    spp: bool = False


class ConvBN(nn.Module):
    """Convolution ``conv1`` without bias and norm ``bn1``; in 3-D the stride along time is 1.

    Args:
        conv: sizes, stride, groups and bits of the convolution; its kernel has odd sides.
        norm_cfg: config of the norm.
        dims: 2 for images, 3 for clips.
    """

    def __init__(self, conv: Conv, *, norm_cfg: dict, dims: int = 2):
        super().__init__()
        channels, kernel, stride, padding = conv[:2], conv.kernel, conv.stride, (conv.kernel - 1) // 2
        shape: dict[str, Any] = dict(stride=stride, padding=padding, groups=conv.groups, bias=False)
        self.conv1: nn.Module
        if conv.bits_a:
            self.conv1 = LSQConv2d(*channels, kernel, bits_act=conv.bits_a, bits_weight=conv.bits_w, **shape)
        elif dims == 2:
            self.conv1 = nn.Conv2d(*channels, kernel, **shape)
        else:
            shape.update(stride=(1, stride, stride), padding=((conv.kt - 1) // 2, padding, padding))
            self.conv1 = nn.Conv3d(*channels, (conv.kt, kernel, kernel), **shape)
        if dims == 3 and norm_cfg.get('type') == 'BN':
            norm_cfg = dict(norm_cfg, type='BN3d')
        self.bn1 = build_norm_layer(norm_cfg, conv.out_channels)[1]

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, [T,] H, W) to (N, out, [T,] h, w)."""
        return self.bn1(self.conv1(x))


class ConvBNAct(ConvBN):
    """:class:`ConvBN` and an activation: stem and head of a structure."""

    def __init__(self, *args: Any, act: str = 'relu', **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.act = ACTIVATIONS[act]()

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, [T,] H, W) to (N, out, [T,] h, w)."""
        return self.act(super().forward(x))


class SqueezeExcite(nn.Module):
    """Squeeze-excitation (arXiv 1709.01507) with a norm after each convolution, as in DeepMAD's networks.

    Args:
        channels: channels of the map.
        inner: hidden channels.
        norm_cfg: config of the norms.
    """

    def __init__(self, channels: int, inner: int, norm_cfg: dict):
        super().__init__()
        self.conv1 = ConvBN(Conv(channels, inner, 1), norm_cfg=norm_cfg)
        self.act = nn.SiLU(inplace=True)
        self.conv2 = ConvBN(Conv(inner, channels, 1), norm_cfg=norm_cfg)

    @staticmethod
    def _conv_norm(layer: ConvBN, x: Tensor) -> Tensor:
        norm = layer.bn1
        sync = isinstance(norm, nn.SyncBatchNorm) and get_world_size() > 1
        if not norm.training or x.size(0) > 1 or sync or not isinstance(norm, _BatchNorm):
            return layer(x)
        # A single value per channel has no variance, so the running statistics are used.
        x = layer.conv1(x)
        return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.0, norm.eps)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        gate = self.act(self._conv_norm(self.conv1, F.adaptive_avg_pool2d(x, 1)))
        return x * self._conv_norm(self.conv2, gate).sigmoid()


class Unit(nn.Module):
    """One residual unit of any family: ``conv1``, ``conv2``, ..., and ``residual_proj`` where its shortcut is projected.

    Args:
        plan: its convolutions, shortcut and squeeze-excitation.
        dims: 2 for images, 3 for clips.
        options: choices that the structure does not determine.
        act: name of the activation.
    """

    def __init__(self, plan: UnitPlan, *, dims: int, options: BlockOptions, act: str):
        super().__init__()
        self.options, self.dims, self.num_convs = options, dims, len(plan.convs)
        for i, conv in enumerate(plan.convs):
            layer = PlainAndPointwise if options.reparam and i == 1 and conv.kernel > 1 else ConvBN
            self.add_module(f'conv{i + 1}', layer(conv, norm_cfg=options.norm_cfg, dims=dims))
        self.se = None
        if plan.se_channels:
            self.se = SqueezeExcite(plan.convs[-1].in_channels, plan.se_channels, options.norm_cfg)
        self.act = ACTIVATIONS[act]()
        self.has_shortcut, self.pooled = plan.residual, plan.pooled
        projection = plan.projection
        if options.damo:
            self.has_shortcut = all(conv.stride == 1 for conv in plan.convs)
            first, width = plan.convs[0], plan.convs[-1].out_channels
            projection = first._replace(out_channels=width, kernel=1, kt=1, stride=1, groups=1)
            projection = None if first.in_channels == width else projection
        self.residual_proj = None
        if self.has_shortcut and projection is not None:
            self.residual_proj = ConvBN(projection, norm_cfg=options.norm_cfg, dims=dims)

    def _shortcut(self, x: Tensor) -> Tensor:
        if self.pooled:
            # Sizes are rounded up, as by the strided convolution.
            pool, window = (F.avg_pool2d, (2, 2)) if self.dims == 2 else (F.avg_pool3d, (1, 2, 2))
            x = pool(x, window, ceil_mode=True, count_include_pad=False)
        return x if self.residual_proj is None else self.residual_proj(x)

    def _drop_path(self, x: Tensor) -> Tensor:
        rate = self.options.drop_path
        if not self.training or rate == 0:
            return x
        keep = x.new_empty(x.size(0), *[1] * (x.dim() - 1)).bernoulli_(1 - rate)
        return x * keep / (1 - rate)

    def _run(self, x: Tensor) -> Tensor:
        out = x
        for i in range(self.num_convs):
            if i > 0:
                out = self.act(out)
            if i == self.num_convs - 1 and self.se is not None:
                out = self.se(out)
            out = getattr(self, f'conv{i + 1}')(out)
        if self.options.drop_channel:
            out = F.dropout(out, self.options.drop_channel, self.training)
        if self.has_shortcut:
            out = self._drop_path(out) + self._shortcut(x)
        return self.act(out)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, [T,] H, W) to (N, out, [T,] ceil(H / stride), ceil(W / stride))."""
        if self.options.with_cp and x.requires_grad:
            return torch.utils.checkpoint.checkpoint(self._run, x, use_reentrant=False)
        return self._run(x)


class SuperBlock(nn.Module):
    """The units of one block of a structure, in ``block_list``; arguments as of :class:`Unit`, one plan and options for each."""

    def __init__(self, plans: tuple[UnitPlan, ...], unit_options: list[BlockOptions], *, dims: int, act: str):
        super().__init__()
        self.block_list = nn.ModuleList(
            Unit(plan, dims=dims, options=options, act=act) for plan, options in zip(plans, unit_options)
        )
        self.spp = None
        if unit_options[0].spp:
            channels = plans[0].convs[-1].out_channels
            self.spp = SpatialPyramid(channels, norm_cfg=unit_options[0].norm_cfg, act=ACTIVATIONS[act]())

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, [T,] H, W) to (N, out, [T,] h, w)."""
        for i, unit in enumerate(self.block_list):
            x = unit(x)
            if i == 0 and self.spp is not None:
                x = self.spp(x)
        return x


def build_block(block: Block, unit_options: list[BlockOptions]) -> nn.Module:
    """The module of one block of a structure; ``unit_options`` holds one entry for each of its ``block.layers`` units."""
    family = family_of(block.type)
    plans, act = family.units(block), block.act or unit_options[0].act or family.activation
    if family.is_super:
        return SuperBlock(plans, unit_options, dims=family.dims, act=act)
    (plan,) = plans
    return ConvBNAct(plan.convs[0], norm_cfg=unit_options[0].norm_cfg, dims=family.dims, act=act)
