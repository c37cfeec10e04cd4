"""The budget ``max_feature``: bytes of the feature maps alive at once, which a microcontroller must hold in SRAM."""

from typing import Any

from mmdet.registry import NAS_BUDGETS

from ...archs import Block, BlockMemo, Structure, units_of
from .base import Budget, needs_frames

FULL_PRECISION_BITS = 32


@NAS_BUDGETS.register_module('max_feature')
class MaxFeatureBudget(Budget):
    """The largest sum of a convolution's input and output, in bytes.

    The output is stored with the bits that the next convolution reads. A depthwise convolution works in place, with a buffer of one channel. The
    input of a residual unit is held for the skip path during the second convolution. Convolutions without bit widths count 32 bits;
    squeeze-excitation and projections count nothing; a video network holds ``frames`` maps.
    """

    name = 'max_feature'

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self._blocks = BlockMemo(_peak_of_block)

    def __call__(self, structure: Structure) -> float:
        blocks, area = self._blocks, float(self.image_hw[0] * self.image_hw[1])
        peak, pending_bytes, pending_elements = 0.0, 0.0, 0.0
        last_bits = FULL_PRECISION_BITS
        for block in structure:
            inner, first_bits, last_bytes, last_elements, last_bits = blocks[block, area]
            peak = max(peak, inner, pending_bytes + pending_elements * first_bits / 8)
            pending_bytes, pending_elements = last_bytes, last_elements
            area /= block.stride**2
        return max(peak, pending_bytes + pending_elements * last_bits / 8) * (self.frames or 1)

    def check(self, structure: Structure) -> None:
        needs_frames(structure, self.frames, self.name)


def _peak_of_block(key: tuple[Block, float]) -> tuple[float, int, float, float, int]:
    """The peak inside a block on an input of the given number of pixels, and what its neighbours need to know.

    Returns:
        The largest sum, in bytes, over all convolutions but the last; the bits of the first convolution's input; of the last convolution, the
        bytes of its input and of the skip path, the elements of its output, and the bits of its input, in which a network's last output is stored.
    """
    block, area = key
    rows = []  # for each convolution: bits of its input, bytes held beside the output, elements of the output
    for unit in units_of(block):
        unit_area, first_bits = area, unit.convs[0].bits_a or FULL_PRECISION_BITS
        for index, conv in enumerate(unit.convs):
            bits = conv.bits_a or FULL_PRECISION_BITS
            held = area * conv.in_channels * bits / 8
            if unit.residual and index == 1:
                held += unit_area * block.out_channels // conv.stride**2 * first_bits / 8
            channels = 1 if conv.depthwise else conv.out_channels
            rows.append((bits, held, area * channels // conv.stride**2))
            area /= conv.stride**2
    inner = [held + elements * after[0] / 8 for (_, held, elements), after in zip(rows, rows[1:])]
    bits, held, elements = rows[-1]
    return max(inner, default=0.0), rows[0][0], held, elements, bits
