"""Blocks of a single convolution, for stem and head: convolution, batch norm, activation."""

from mmdet.registry import NAS_BLOCKS

from ..structure import Block
from .base import Bits, BlockFamily, Conv, Unit


@NAS_BLOCKS.register_module()
class ConvKXBNRELU(BlockFamily):
    """k x k convolution; the stem has k 3, the head of depthwise networks k 1."""

    is_super = False

    @classmethod
    def unit(cls, block: Block, index: int, in_channels: int, stride: int, bits: Bits) -> Unit:
        ((a, w),) = bits
        return Unit((Conv(in_channels, block.out_channels, block.kernel, stride, block.groups, block.kt, a, w),))


@NAS_BLOCKS.register_module()
class Conv3DKXBNRELU(ConvKXBNRELU):
    """kt x k x k convolution of stride (1, s, s)."""

    dims = 3
