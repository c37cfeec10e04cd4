"""The blocks that a TinyNAS structure is made of, as modules. Parameter names are those of the published weights.

A *unit* is a residual block, a *super block* a row of L units: the first carries stride and width, all share kernel and bottleneck. Every
convolution is without bias and followed by a norm (``conv1.conv1`` and ``conv1.bn1`` in the first of a unit's convolutions).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
import torch.utils.checkpoint
from mmcv.cnn import build_norm_layer
from mmengine.dist import get_world_size
from torch import Tensor, nn

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
class Family:
    """What tells the kinds of units apart.

    Attributes:
        searched_kernels: for each convolution, whether its kernel is the block's ``k`` (else 1). The second one carries the stride.
        depthwise: the second convolution is depthwise, and a unit that changes width has no shortcut.
        squeeze: squeeze-and-excitation after the depthwise convolution.
        project_first: the first unit's shortcut is projected even where the width stays.
        act: activation.
        dims: 2 for images, 3 for clips.
    """

    searched_kernels: tuple[bool, ...]
    depthwise: bool = False
    squeeze: bool = False
    project_first: bool = False
    act: str = 'relu'
    dims: int = 2


_K1DWK1 = (False, True, False)
SUPER_BLOCKS = {
    'SuperResK1KXK1': Family((False, True, False), project_first=True),
    'SuperResK1KX': Family((False, True)),
    'SuperResKXKX': Family((True, True)),
    'SuperResK1DWK1': Family(_K1DWK1, depthwise=True),
    'SuperResK1DWSEK1': Family(_K1DWK1, depthwise=True, squeeze=True, act='silu'),
    'SuperQuantResK1DWK1': Family(_K1DWK1, depthwise=True),
    'SuperRes3DK1DWK1': Family(_K1DWK1, depthwise=True, dims=3),
}
# Single convolutions and their dimensions.
CONV_BLOCKS = {'ConvKXBNRELU': 2, 'Conv3DKXBNRELU': 3}


@dataclass(frozen=True)
class BlockOptions:
    """What a network's user chooses, beside its structure.

    Attributes:
        norm_cfg: norm after every convolution.
        with_cp: recompute units in the backward pass.
        act: activation of all blocks that name none; None: the family's.
        drop_channel: dropout rate after a unit's convolutions.
        drop_path: probability that training skips a unit's convolutions for a sample.
        damo: DAMO-YOLO's shortcuts: none in strided units, projected only where the width changes.
        reparam: the second convolution trains with a parallel 1x1 one.
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
    """Convolution ``conv1`` without bias and norm ``bn1``; in 3-D stride 1 along time.

    Args:
        in_channels, out_channels: widths.
        kernel: side of the kernel.
        norm_cfg: config of the norm.
        kernel_t: extent along time; None: the input is an image.
        stride: spatial stride.
        groups: of the convolution.
        padding: spatial; None: keeps sizes at stride 1.
        bits: of activations and weight; None: not quantised.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        norm_cfg: dict,
        kernel_t: int | None = None,
        stride: int = 1,
        groups: int = 1,
        padding: int | None = None,
        bits: tuple[int, int] | None = None,
    ):
        super().__init__()
        padding = (kernel - 1) // 2 if padding is None else padding
        shape = dict(stride=stride, padding=padding, groups=groups, bias=False)
        if bits is not None:
            self.conv1 = LSQConv2d(in_channels, out_channels, kernel, bits_act=bits[0], bits_weight=bits[1], **shape)
        elif kernel_t is None:
            self.conv1 = nn.Conv2d(in_channels, out_channels, kernel, **shape)
        else:
            shape.update(stride=(1, stride, stride), padding=((kernel_t - 1) // 2, padding, padding))
            self.conv1 = nn.Conv3d(in_channels, out_channels, (kernel_t, kernel, kernel), **shape)
        if kernel_t is not None and norm_cfg.get('type') == 'BN':
            norm_cfg = dict(norm_cfg, type='BN3d')
        self.bn1 = build_norm_layer(norm_cfg, out_channels)[1]

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, [T,] H, W) to (N, out, [T,] h, w)."""
        return self.bn1(self.conv1(x))


class ConvBNAct(ConvBN):
    """:class:`ConvBN` and an activation: stem and head of a structure."""

    def __init__(self, *args, act: str = 'relu', **kwargs):
        super().__init__(*args, **kwargs)
        self.act = ACTIVATIONS[act]()

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, [T,] H, W) to (N, out, [T,] h, w)."""
        return self.act(super().forward(x))


class SqueezeExcite(nn.Module):
    """Channel gates from the global average (arXiv 1709.01507), with norms, as DeepMAD's networks have them.

    Args:
        channels: of the gated map.
        ratio: the inner width is about this share of them, a multiple of 8.
        norm_cfg: config of the norms.
    """

    def __init__(self, channels: int, ratio: float, norm_cfg: dict):
        super().__init__()
        inner = 8 * max(1, round(channels * ratio) // 8)
        self.conv1 = ConvBN(channels, inner, 1, norm_cfg=norm_cfg)
        self.act = nn.SiLU(inplace=True)
        self.conv2 = ConvBN(inner, channels, 1, norm_cfg=norm_cfg)

    @staticmethod
    def _conv_norm(layer: ConvBN, x: Tensor) -> Tensor:
        norm = layer.bn1
        sync = isinstance(norm, nn.SyncBatchNorm) and get_world_size() > 1
        if norm.training and x.size(0) == 1 and not sync and isinstance(norm, nn.modules.batchnorm._BatchNorm):
            # A single value a channel has no variance: use the running statistics.
            x = layer.conv1(x)
            return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.0, norm.eps)
        return layer(x)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        gate = self.act(self._conv_norm(self.conv1, F.adaptive_avg_pool2d(x, 1)))
        return x * self._conv_norm(self.conv2, gate).sigmoid()


class Unit(nn.Module):
    """One residual unit of any family; see :class:`Family`.

    Args:
        family: its kind.
        in_channels, btn_channels, out_channels: widths.
        kernel: of the searched convolutions.
        options: the user's choices.
        kernel_t: extent of the searched convolutions along time.
        stride: of the second convolution.
        first: whether it opens its super block.
        force_projection: project the first unit's shortcut whatever the family says.
        act: name of the activation.
        se_ratio: of squeeze-and-excitation.
        bits: (activation, weight) bits of each convolution; None: not quantised.
    """

    def __init__(
        self,
        family: Family,
        in_channels: int,
        btn_channels: int,
        out_channels: int,
        kernel: int,
        *,
        options: BlockOptions,
        kernel_t: int | None = None,
        stride: int = 1,
        first: bool = True,
        force_projection: bool = False,
        act: str = 'relu',
        se_ratio: float = 0.25,
        bits: list[tuple[int, int]] | None = None,
    ):
        super().__init__()
        self.options, self.stride, self.dims = options, stride, family.dims
        self.num_convs = len(family.searched_kernels)
        widths = [in_channels, *[btn_channels] * (self.num_convs - 1), out_channels]
        norm_cfg = options.norm_cfg
        point = None if kernel_t is None else 1
        for i, searched in enumerate(family.searched_kernels):
            second = i == 1
            layer = PlainAndPointwise if second and options.reparam and searched and not family.depthwise else ConvBN
            conv = layer(
                widths[i],
                widths[i + 1],
                kernel if searched else 1,
                norm_cfg=norm_cfg,
                kernel_t=kernel_t if searched else point,
                stride=stride if second else 1,
                groups=btn_channels if second and family.depthwise else 1,
                bits=None if bits is None else bits[i],
            )
            self.add_module(f'conv{i + 1}', conv)
        self.se = SqueezeExcite(btn_channels, se_ratio, norm_cfg) if family.squeeze else None
        self.act = ACTIVATIONS[act]()
        projected = in_channels != out_channels or (first and (family.project_first or force_projection))
        if options.damo:
            projected = in_channels != out_channels
            self.has_shortcut = stride == 1
        else:
            self.has_shortcut = not family.depthwise or in_channels == out_channels
            projected = projected and not family.depthwise
        if self.has_shortcut and projected:
            proj_bits = None if bits is None else bits[0]
            self.residual_proj = ConvBN(
                in_channels, out_channels, 1, norm_cfg=norm_cfg, kernel_t=point, bits=proj_bits
            )
        else:
            self.residual_proj = None

    def _shortcut(self, x: Tensor) -> Tensor:
        if self.stride == 2:
            # Rounding sizes up as the strided convolution does.
            if self.dims == 2:
                x = F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)
            else:
                x = F.avg_pool3d(x, (1, 2, 2), ceil_mode=True, count_include_pad=False)
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
            out = getattr(self, f'conv{i + 1}')(out)
            if i < self.num_convs - 1:
                out = self.act(out)
            if i == 1 and self.se is not None:
                out = self.se(out)
        out = F.dropout(out, self.options.drop_channel, self.training) if self.options.drop_channel else out
        if self.has_shortcut:
            out = self._drop_path(out) + self._shortcut(x)
        return self.act(out)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, [T,] H, W) to (N, out, [T,] ceil(H / stride), ceil(W / stride))."""
        if self.options.with_cp and x.requires_grad:
            return torch.utils.checkpoint.checkpoint(self._run, x, use_reentrant=False)
        return self._run(x)


class SuperBlock(nn.Module):
    """The units of one entry of a structure, in ``block_list``.

    Args:
        block: the entry, checked by :func:`~mmdet.models.layers.tinynas_structure.check_structure`.
        unit_options: the options of each of its L units.
    """

    def __init__(self, block: dict, unit_options: list[BlockOptions]):
        super().__init__()
        family = SUPER_BLOCKS[block['class']]
        convs = len(family.searched_kernels)
        self.block_list = nn.ModuleList()
        for i, options in enumerate(unit_options):
            bits = None
            if 'nbitsA' in block:
                span = slice(i * convs, (i + 1) * convs)
                bits = list(zip(block['nbitsA'][span], block['nbitsW'][span]))
            unit = Unit(
                family,
                block['in'] if i == 0 else block['out'],
                block['btn'],
                block['out'],
                block['k'],
                options=options,
                kernel_t=block.get('kt'),
                stride=block['s'] if i == 0 else 1,
                first=i == 0,
                force_projection=block.get('force_resproj_skip', False),
                act=block.get('act') or options.act or family.act,
                se_ratio=block.get('se_ratio', 0.25),
                bits=bits,
            )
            self.block_list.append(unit)
        self.spp = None
        if unit_options[0].spp:
            self.spp = SpatialPyramid(block['out'], norm_cfg=unit_options[0].norm_cfg, act=self.block_list[0].act)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, [T,] H, W) to (N, out, [T,] h, w)."""
        for i, unit in enumerate(self.block_list):
            x = unit(x)
            if i == 0 and self.spp is not None:
                x = self.spp(x)
        return x


def build_block(block: dict, unit_options: list[BlockOptions], in_channels: int | None = None) -> nn.Module:
    """Build one entry of a checked structure.

    Args:
        block: the entry.
        unit_options: options of each unit (one for a single convolution).
        in_channels: replaces the entry's ``in`` (a stem behind a space-to-depth layer).
    """
    if in_channels is not None:
        block = dict(block, **{'in': in_channels})
    if block['class'] in SUPER_BLOCKS:
        return SuperBlock(block, unit_options)
    options = unit_options[0]
    return ConvBNAct(
        block['in'],
        block['out'],
        block['k'],
        norm_cfg=options.norm_cfg,
        kernel_t=block.get('kt'),
        stride=block['s'],
        groups=block.get('g', 1),
        padding=block.get('p'),
        bits=(block['nbitsA'], block['nbitsW']) if 'nbitsA' in block else None,
        act=block.get('act') or options.act or 'relu',
    )
