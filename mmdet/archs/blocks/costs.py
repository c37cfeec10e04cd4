"""What one block costs, from its units: the sums that the budgets add up over a structure, and what the entropies are made of.

Formulas are those of the reference (LightNAS 2.0): multiply-adds of the convolutions, two operations an output element for batch norm, one for
each activation, pooling and addition of a projected skip path; feature-map areas are divided without rounding.
"""

from functools import lru_cache
from typing import NamedTuple

from ..structure import Block
from .base import Unit, family_of


class BlockCosts(NamedTuple):
    """See the functions of the same names.

    Attributes:
        fan_ins: per run of equal units, how many, and the values that one output value of each convolution of the main path is made of: input
            channels per group times taps.
    """

    flops_per_pixel: float
    model_size: float
    elements: int
    fan_ins: list[tuple[int, list[int]]]


@lru_cache(maxsize=4)
def costs_of(block: Block) -> BlockCosts:
    """All in one pass; the last few blocks' are kept, because several measures ask for the same one in turn."""
    area, flops, size, elements, fan_ins = 1.0, 0.0, 0.0, 0, []
    for unit, count in family_of(block.type).runs(block):  # only the first unit is strided, so a run keeps its area
        convs, _, pooled, projection, se_channels = unit
        operations = convs[0][0] * area if pooled else 0.0
        tensors = squeeze_excitation_size(unit) if se_channels else 0
        saved, row = 0.0, []
        for i, o, k, stride, groups, kt, bits_a, bits_w in convs if projection is None else (*convs, projection):
            fan_in = i // groups * (k * k * kt)
            weights = fan_in * o
            if stride != 1:
                area /= stride * stride
            # convolution, batch norm, and the activation (or the addition, for a projection) that follows
            if bits_a:
                operations += (weights * (bits_a * bits_w / 64) + 3 * o) * area
                saved += weights * (1 - bits_w / 8)
            else:
                operations += (weights + 3 * o) * area
            tensors += weights + 2 * o
            row.append(fan_in)
        if projection is not None:
            row.pop()
        flops += operations * count
        size += (tensors - saved) * count
        elements += tensors * count
        fan_ins.append((count, row))
    return BlockCosts(flops, size, elements, fan_ins)


def flops_per_pixel(block: Block) -> float:
    """FLOPs divided by the number of pixels of the block's input (one frame).

    Areas shrink by exact factors of 4 and every FLOP count is proportional to an area, so ``flops_per_pixel(block) * height * width`` is exact
    in double precision. The multiply-adds of a quantised convolution count ``bits_a * bits_w / 64``, those of squeeze-excitation nothing, as in
    the reference.
    """
    return costs_of(block).flops_per_pixel


def model_size(block: Block) -> float:
    """Parameters without the quantiser's own: weights, batch-norm scale and shift, squeeze-excitation.

    Weights of a quantised convolution count ``bits_w / 8``, which makes it a size in bytes of the weights there (as the reference's budget, and
    the published "params" of quantised networks).
    """
    return costs_of(block).model_size


def elements(block: Block) -> int:
    """Elements of the weight and batch-norm tensors: :func:`model_size` with every weight counted once, whatever its bits."""
    return costs_of(block).elements


def squeeze_excitation_size(unit: Unit) -> int:
    """Parameters of a unit's squeeze-excitation: two 1x1 convolutions with batch norm each."""
    hidden, channels = unit.se_channels, unit.convs[-1].in_channels
    return 2 * (hidden * channels + hidden + channels) if hidden else 0
