"""One stage of a residual network."""

from typing import Any, Protocol

from mmcv.cnn import build_norm_layer
from mmengine.model import Sequential
from torch import nn

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
