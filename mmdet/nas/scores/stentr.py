"""The score ``stentr``, for video networks (Wang et al., "Maximizing Spatio-Temporal Entropy of Deep 3D CNNs", ICLR 2023)."""

import math
from collections.abc import Sequence

from mmdet.registry import NAS_SCORES

from ...archs import Block, BlockMemo, Conv, Structure, family_of
from ..checks import check_integers
from .base import StageScore, log_terms


@NAS_SCORES.register_module('stentr')
class STEntropy(StageScore):
    """:class:`MadNas` with a factor for spatial kernels (k > 1), larger where the shape of the kernel resembles that of the feature map.

    The factor, on the fan-in, is -ln(1 - cos) of the angle between (frames, side, side) and (kt, k, k), with the side after the block's stride,
    rounded down. Image families are scored as a video of one frame.

    Args:
        multi_block_ratio: one weight for each stage.
        image_size: side of the input in pixels. The default is that of LightNAS, whatever the image size of the search.
        frames: frames of the input.
        ratio: factor on the result.
    """

    def __init__(
        self,
        *,
        multi_block_ratio: Sequence[float] = (0, 0, 0, 0, 1),
        image_size: int = 160,
        frames: int = 13,
        ratio: float = 1.0,
    ):
        super().__init__(multi_block_ratio=multi_block_ratio, ratio=ratio)
        check_integers(image_size=image_size, frames=frames)
        self.image_size, self.frames = image_size, frames
        self._blocks = BlockMemo(self._block_value)

    def _block_value(self, key: tuple[Block, int]) -> tuple[int, tuple[float, ...], float]:
        """Stride, log-terms of the units and ln of the output channels of a block with an output of the given side."""
        block, side = key
        frames = self.frames if family_of(block.type).dims == 3 else 1
        terms = log_terms(block, lambda conv: self.conv_term(conv, side, frames))
        return block.stride, terms, math.log(block.out_channels)

    @staticmethod
    def conv_term(conv: Conv, side: int, frames: int) -> float:
        """Log-term of one convolution on a feature map of ``frames`` times ``side`` by ``side`` pixels."""
        factor = 1.0
        if conv.kernel > 1:
            dot = frames * conv.kt + 2 * side * conv.kernel
            norms = math.sqrt(frames**2 + 2 * side**2) * math.sqrt(conv.kt**2 + 2 * conv.kernel**2)
            # Shapes that are exactly parallel would have an infinite factor; LightNAS has no bound.
            factor = -math.log(max(1 - dot / norms, 1e-12))
        return math.log(math.sqrt(conv.fan_in_channels * conv.taps * factor))

    def __call__(self, structure: Structure) -> float:
        blocks, side, values = self._blocks, self.image_size, []
        for block in structure:
            side = max(side // block.stride, 1)
            values.append(blocks[block, side])
        return self.ratio * self.weighted_stages(values)
