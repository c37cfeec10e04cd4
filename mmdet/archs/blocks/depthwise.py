"""Inverted residual units: 1x1 to btn, depthwise k x k strided, 1x1 to out; with squeeze-excitation, quantised, and in 3-D.

The skip path exists only where a unit keeps its channels (average-pooled at stride 2); it is never projected.
"""

from mmdet.registry import NAS_BLOCKS

from ..structure import Block
from .base import Bits, BlockFamily, Unit, make_conv, make_unit


@NAS_BLOCKS.register_module('SuperResK1DWK1')
class SuperResK1DWK1(BlockFamily):
    """The inverted residual of MobileNet-like spaces."""

    name = 'SuperResK1DWK1'
    convs_per_unit = 3

    @classmethod
    def unit(cls, block: Block, index: int, in_channels: int, stride: int, bits: Bits) -> Unit:
        btn, out = block.btn, block.out_channels
        (a1, w1), (a2, w2), (a3, w3) = bits
        convs = (
            make_conv((in_channels, btn, 1, 1, 1, 1, a1, w1)),
            make_conv((btn, btn, block.kernel, stride, btn, block.kt, a2, w2)),
            make_conv((btn, out, 1, 1, 1, 1, a3, w3)),
        )
        residual = in_channels == out
        se_channels = 8 * max(1, round(btn * block.se_ratio) // 8) if cls.has_se else 0
        return make_unit((convs, residual, residual and stride == 2, None, se_channels))


@NAS_BLOCKS.register_module('SuperResK1DWSEK1')
class SuperResK1DWSEK1(SuperResK1DWK1):
    """With squeeze-excitation after the depthwise convolution, and SiLU."""

    name = 'SuperResK1DWSEK1'
    has_se = True
    activation = 'silu'


@NAS_BLOCKS.register_module('SuperQuantResK1DWK1')
class SuperQuantResK1DWK1(SuperResK1DWK1):
    """With quantised convolutions: every convolution has its own bit widths."""

    name = 'SuperQuantResK1DWK1'
    quantised = True


@NAS_BLOCKS.register_module('SuperRes3DK1DWK1')
class SuperRes3DK1DWK1(SuperResK1DWK1):
    """For video: the depthwise convolution is kt x k x k, of stride (1, s, s)."""

    name = 'SuperRes3DK1DWK1'
    dims = 3
