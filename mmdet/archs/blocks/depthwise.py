"""Inverted residual units: 1x1 to btn, depthwise k x k strided, 1x1 to out; with squeeze-excitation, quantised, and in 3-D.

The skip path exists only where a unit keeps its channels (average-pooled at stride 2); it is never projected.
"""

from mmdet.registry import NAS_BLOCKS

from ..structure import Block
from .base import Bits, BlockFamily, Unit, bottleneck_convs, make_unit


@NAS_BLOCKS.register_module()
class SuperResK1DWK1(BlockFamily):
    """The inverted residual of MobileNet-like spaces."""

    convs_per_unit = 3

    @classmethod
    def unit(cls, block: Block, index: int, in_channels: int, stride: int, bits: Bits) -> Unit:
        convs = bottleneck_convs(block, in_channels, stride, bits, block.btn)
        residual = in_channels == block.out_channels
        se_channels = 8 * max(1, round(block.btn * block.se_ratio) // 8) if cls.has_se else 0
        return make_unit((convs, residual, residual and stride == 2, None, se_channels))


@NAS_BLOCKS.register_module()
class SuperResK1DWSEK1(SuperResK1DWK1):
    """With squeeze-excitation after the depthwise convolution, and SiLU."""

    has_se = True
    activation = 'silu'


@NAS_BLOCKS.register_module()
class SuperQuantResK1DWK1(SuperResK1DWK1):
    """With quantised convolutions: every convolution has its own bit widths."""

    quantised = True


@NAS_BLOCKS.register_module()
class SuperRes3DK1DWK1(SuperResK1DWK1):
    """For video: the depthwise convolution is kt x k x k, of stride (1, s, s)."""

    dims = 3
