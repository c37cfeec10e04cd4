"""``max_feature``: bytes of the feature maps alive at once, the SRAM that a microcontroller needs."""

from mmdet.registry import NAS_BUDGETS

from ...archs.blocks import units_of
from ...archs.structure import Block, BlockMemo, Structure
from .base import Budget, needs_frames

FULL_PRECISION_BITS = 32


@NAS_BUDGETS.register_module('max_feature')
class MaxFeatureBudget(Budget):
    """Largest sum of a convolution's input and output, in bytes.

    The output is stored in the bits that the next convolution reads. A depthwise convolution works in place, with one channel of buffer. The
    skip path of a residual unit is held during its second convolution. Convolutions without bit widths count 32 bits, squeeze-excitation and
    projections nothing; a video network holds ``frames`` maps.
    """

    name = 'max_feature'

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._blocks = BlockMemo(_peak_of_block)

    def __call__(self, structure: Structure) -> float:
        blocks, area = self._blocks, float(self.image_hw[0] * self.image_hw[1])
        peak, pending_bytes, pending_elements = 0.0, 0.0, 0
        last_bits = FULL_PRECISION_BITS
        for block in structure:
            inner, first_bits, last_bytes, last_elements, last_bits = blocks[block, area]
            peak = max(peak, inner, pending_bytes + pending_elements * first_bits / 8)
            pending_bytes, pending_elements = last_bytes, last_elements
            area /= block.stride**2
        return max(peak, pending_bytes + pending_elements * last_bits / 8) * (self.frames or 1)

    def check(self, structure: Structure) -> None:
        needs_frames(structure, self.frames, self.name)


def _peak_of_block(key: tuple[Block, float]) -> tuple[float, int, float, int, int]:
    """A block's own peak, and what its neighbours need.

    Args:
        key: block, pixels of its input.

    Returns:
        Peak over all convolutions but the last, bits of the first one's input, bytes of the last one's input (and skip path), elements of the
        last one's output, bits of the last one's input (what a network's last output is stored in).
    """
    block, area = key
    rows = []  # per convolution: bits of its input, bytes held beside the output, elements of the output
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
