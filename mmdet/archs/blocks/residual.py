"""Residual units of dense convolutions: bottleneck (K1KXK1) and basic (K1KX, KXKX).

At stride 2 the skip path is average-pooled before its projection. K1KXK1 projects the first unit of every block; the basic units project
only where the channels change.
"""

from mmdet.registry import NAS_BLOCKS

from ..structure import Block
from .base import Bits, BlockFamily, Conv, Unit, bottleneck_convs, make_conv, make_unit


class DenseResidual(BlockFamily):
    """Base of the dense families: two convolutions, a skip path in every unit, and its projection."""

    convs_per_unit = 2
    always_project_first = False
    first_is_spatial = False

    @classmethod
    def convs(cls, block: Block, in_channels: int, stride: int, bits: Bits) -> tuple[Conv, ...]:
        """The convolutions of a unit's main path."""
        (a1, w1), (a2, w2) = bits
        return (
            make_conv((in_channels, block.btn, block.kernel if cls.first_is_spatial else 1, 1, 1, 1, a1, w1)),
            make_conv((block.btn, block.out_channels, block.kernel, stride, 1, 1, a2, w2)),
        )

    @classmethod
    def unit(cls, block: Block, index: int, in_channels: int, stride: int, bits: Bits) -> Unit:
        out, projection = block.out_channels, None
        if in_channels != out or (cls.always_project_first and index == 0):
            projection = make_conv((in_channels, out, 1, 1, 1, 1, 0, 0))
        return make_unit((cls.convs(block, in_channels, stride, bits), True, stride == 2, projection, 0))


@NAS_BLOCKS.register_module()
class SuperResK1KXK1(DenseResidual):
    """1x1 to btn, k x k strided, 1x1 to out."""

    convs_per_unit = 3
    always_project_first = True
    convs = staticmethod(bottleneck_convs)


@NAS_BLOCKS.register_module()
class SuperResK1KX(DenseResidual):
    """1x1 to btn, k x k strided to out (DAMO-YOLO tiny and small)."""


@NAS_BLOCKS.register_module()
class SuperResKXKX(DenseResidual):
    """k x k to btn, k x k strided to out (DAMO-YOLO medium and large)."""

    first_is_spatial = True
