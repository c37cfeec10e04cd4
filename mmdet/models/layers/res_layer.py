"""One stage of a residual network."""

from typing import Any, Protocol

from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule, Sequential
from torch import Tensor, nn

from mmdet.errors import ArgumentError

from .conv import build_conv


class BlockType(Protocol):
    """Class of residual blocks, which map ``inplanes`` channels to ``planes * expansion``."""

    expansion: int

    def __call__(self, *args: Any, **kwargs: Any) -> nn.Module: ...


class ResLayer(Sequential):
    """`num_blocks` residual blocks; the first one has the stride, and a projection as its shortcut where stride or width change.

    The projection is a convolution and a norm, ``downsample.0`` and ``.1``. With `avg_down` an average pooling precedes them (ResNet-D,
    He et al., CVPR 2019, arXiv 1812.01187), so that they are ``.1`` and ``.2``.

    Args:
        block: class of the blocks.
        inplanes: input channels.
        planes: base width; the output has ``planes * block.expansion`` channels.
        num_blocks: number of blocks.
        stride: stride of the first block; the others have 1.
        avg_down: pool in the shortcut instead of giving its convolution a stride.
        conv_cfg, norm_cfg: configs of convolutions and norms.
        first_block_kwargs, block_kwargs: further arguments of the first block only, and of every block.
    """

    def __init__(
        self,
        block: BlockType,
        inplanes: int,
        planes: int,
        num_blocks: int,
        stride: int = 1,
        avg_down: bool = False,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        first_block_kwargs: dict | None = None,
        **block_kwargs: Any,
    ):
        norm_cfg = dict(type='BN') if norm_cfg is None else norm_cfg
        self.block, outplanes = block, planes * block.expansion
        downsample = None
        if stride != 1 or inplanes != outplanes:
            pool = [nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False)] if avg_down else []
            conv = build_conv(conv_cfg, inplanes, outplanes, 1, stride=1 if avg_down else stride, bias=False)
            downsample = nn.Sequential(*pool, conv, build_norm_layer(norm_cfg, outplanes)[1])
        common = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, **block_kwargs)
        blocks = [block(inplanes, planes, stride=stride, downsample=downsample, **common, **(first_block_kwargs or {}))]
        blocks += [block(outplanes, planes, stride=1, **common) for _ in range(1, num_blocks)]
        super().__init__(*blocks)


class SimplifiedBasicBlock(BaseModule):
    """Two 3x3 convolutions with a shortcut, no activation after their sum; with ``norm_cfg=None`` they have a bias instead of norms.

    Args:
        inplanes: input channels.
        planes: output channels.
        stride, dilation: of the first convolution.
        downsample: module of the shortcut, or None for the identity.
        style: not used.
        with_cp, dcn, plugins: must be False, None and None.
        conv_cfg, norm_cfg: configs of convolutions and norms.
        init_cfg: initialisation.

    Raises:
        ArgumentError: ``with_cp``, ``dcn`` or ``plugins`` is set.
    """

    expansion = 1

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        dilation: int = 1,
        downsample: nn.Module | None = None,
        style: str = 'pytorch',
        with_cp: bool = False,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = dict(type='BN'),  # noqa: B006  (read only)
        dcn: dict | None = None,
        plugins: list[dict] | None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        if dcn is not None or plugins is not None or with_cp:
            received = dict(dcn=dcn, plugins=plugins, with_cp=with_cp)
            raise ArgumentError('the block takes no dcn, plugins and with_cp', received=received)
        place = dict(stride=stride, padding=dilation, dilation=dilation)
        bias = norm_cfg is None
        self.conv1 = build_conv(conv_cfg, inplanes, planes, 3, bias=bias, **place)
        self.conv2 = build_conv(conv_cfg, planes, planes, 3, padding=1, bias=bias)
        self.norm_names = []
        for postfix in () if norm_cfg is None else (1, 2):
            name, norm = build_norm_layer(norm_cfg, planes, postfix=postfix)
            self.add_module(name, norm)
            self.norm_names.append(name)
        self.relu = nn.ReLU(inplace=True)
        self.downsample, self.stride, self.dilation, self.with_cp = downsample, stride, dilation, with_cp

    @property
    def norm1(self) -> nn.Module | None:
        """Norm after ``conv1``; None without norms."""
        return getattr(self, self.norm_names[0]) if self.norm_names else None

    @property
    def norm2(self) -> nn.Module | None:
        """Norm after ``conv2``; None without norms."""
        return getattr(self, self.norm_names[1]) if self.norm_names else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, inplanes, H, W) to (B, planes, H / stride, W / stride), rounded up."""
        identity = x if self.downsample is None else self.downsample(x)
        out = x
        for conv, norm, relu in ((self.conv1, self.norm1, self.relu), (self.conv2, self.norm2, None)):
            out = conv(out)
            out = out if norm is None else norm(out)
            out = out if relu is None else relu(out)
        return out + identity
