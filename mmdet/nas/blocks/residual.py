"""Residual units of dense convolutions: bottleneck (K1KXK1) and basic (K1KX, KXKX).

At stride 2 the skip path is average-pooled before its projection. K1KXK1 projects the first unit of every stage; the basic units project
only where the channels change.
"""

from mmdet.registry import NAS_BLOCKS

from ..structure import Block
from .base import Bits, BlockFamily, Conv, Unit


class DenseResidual(BlockFamily):
    """What the dense families share."""

    always_project_first = False

    @classmethod
    def shapes(cls, block: Block, in_channels: int, stride: int) -> tuple[tuple[int, int, int, int], ...]:
        """(in, out, kernel, stride) of each convolution of a unit."""
        raise NotImplementedError

    @classmethod
    def unit(cls, block: Block, index: int, in_channels: int, stride: int, bits: Bits) -> Unit:
        shapes = cls.shapes(block, in_channels, stride)
        convs = tuple(Conv(i, o, k, s, 1, 1, a, w) for (i, o, k, s), (a, w) in zip(shapes, bits))
        projected = in_channels != block.out_channels or (cls.always_project_first and index == 0)
        projection = Conv(in_channels, block.out_channels, 1) if projected else None
        return Unit(convs, True, stride == 2, projection)


@NAS_BLOCKS.register_module('SuperResK1KXK1')
class SuperResK1KXK1(DenseResidual):
    """1x1 to btn, k x k strided, 1x1 to out."""

    name = 'SuperResK1KXK1'
    convs_per_unit = 3
    always_project_first = True

    @classmethod
    def shapes(cls, block: Block, in_channels: int, stride: int) -> tuple[tuple[int, int, int, int], ...]:
        btn, out, k = block.btn, block.out_channels, block.kernel
        return (in_channels, btn, 1, 1), (btn, btn, k, stride), (btn, out, 1, 1)


@NAS_BLOCKS.register_module('SuperResK1KX')
class SuperResK1KX(DenseResidual):
    """1x1 to btn, k x k strided to out (DAMO-YOLO tiny and small)."""

    name = 'SuperResK1KX'
    convs_per_unit = 2

    @classmethod
    def shapes(cls, block: Block, in_channels: int, stride: int) -> tuple[tuple[int, int, int, int], ...]:
        return (in_channels, block.btn, 1, 1), (block.btn, block.out_channels, block.kernel, stride)


@NAS_BLOCKS.register_module('SuperResKXKX')
class SuperResKXKX(DenseResidual):
    """k x k to btn, k x k strided to out (DAMO-YOLO medium and large)."""

    name = 'SuperResKXKX'
    convs_per_unit = 2

    @classmethod
    def shapes(cls, block: Block, in_channels: int, stride: int) -> tuple[tuple[int, int, int, int], ...]:
        k = block.kernel
        return (in_channels, block.btn, k, 1), (block.btn, block.out_channels, k, stride)
