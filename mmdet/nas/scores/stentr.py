"""``stentr``: the spatio-temporal entropy of video networks (Wang et al., "Maximizing spatio-temporal entropy of deep 3D CNNs", 2023)."""

import math
from collections.abc import Sequence

from mmdet.registry import NAS_SCORES

from ...archs.blocks import Conv, family_of
from ...archs.structure import Block, BlockMemo, Structure
from ...errors import ConfigError
from .base import StageScore, log_terms


@NAS_SCORES.register_module('stentr')
class STEntropy(StageScore):
    """:class:`MadNas` whose spatial kernels (k > 1) are weighted by how little their shape resembles the feature map's.

    The factor under the root is -ln(1 - cos) of the angle between (frames, side, side) and (kt, k, k), the side taken after the block's stride.
    Image families are scored as a video of one frame.

    Args:
        multi_block_ratio: weights of the stages.
        image_size: side of the input in pixels; the reference scores at 160 unless the score's own config says otherwise.
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
        for key, value in (('image_size', image_size), ('frames', frames)):
            if not isinstance(value, int) or value < 1:
                raise ConfigError('must be an integer >= 1', field=key, received=value)
        self.image_size, self.frames = image_size, frames
        self._blocks = BlockMemo(self._block_value)

    def _block_value(self, key: tuple[Block, int]) -> tuple[int, tuple[float, ...], float]:
        """Stride, log-terms and logarithm of the channels of a block whose output has the given side."""
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
            # shapes that are exactly parallel would have an infinite factor; the reference's formula has no bound either
            factor = -math.log(max(1 - dot / norms, 1e-12))
        return math.log(math.sqrt(conv.fan_in_channels * conv.taps * factor))

    def __call__(self, structure: Structure) -> float:
        blocks, side, values = self._blocks, self.image_size, []
        for block in structure:
            side = max(side // block.stride, 1)
            values.append(blocks[block, side])
        return self.ratio * self.weighted_stages(values)
