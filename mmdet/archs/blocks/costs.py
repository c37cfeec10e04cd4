"""Costs of one block: FLOPs and parameters, which the budgets add up over a structure, and the fan-ins that the entropy scores use.

The formulas are those of LightNAS 2.0: multiply-adds of the convolutions, two operations per output element for batch norm, and one for each
activation, each pooling and each addition of a projected skip path. Areas of feature maps are divided by the strides without rounding.
"""

from functools import lru_cache
from typing import NamedTuple

from ..structure import Block
from .base import Unit, family_of


class BlockCosts(NamedTuple):
    """Costs of one block.

    Attributes:
        flops_per_pixel: FLOPs divided by the number of pixels of the input (one frame). Areas shrink by exact factors of 4 and every FLOP count is
            proportional to an area, so ``flops_per_pixel * height * width`` is exact in double precision. As in LightNAS, a multiply-add of a
            quantised convolution counts ``bits_a * bits_w / 64``, and squeeze-excitation counts nothing.
        model_size: weights, scale and shift of batch norms, squeeze-excitation; without the steps of quantisers. A weight of a quantised
            convolution counts ``bits_w / 8``, its size in bytes, as in LightNAS's budget and in the published "params" of quantised networks.
        elements: ``model_size`` with every weight counted as 1, whatever its bits.
        fan_ins: pairs (number of units, fan-ins of one unit), one for each run of equal units. A fan-in is the number of input values that one
            output value of a convolution depends on: input channels per group times taps. Projections are left out.
    """

    flops_per_pixel: float
    model_size: float
    elements: int
    fan_ins: list[tuple[int, list[int]]]


@lru_cache(maxsize=4)
def costs_of(block: Block) -> BlockCosts:
    """All costs in one pass; the last few are cached, because several measures ask for the same block in turn."""
    area, flops, size, elements, fan_ins = 1.0, 0.0, 0.0, 0, []
    for unit, count in family_of(block.type).runs(block):  # only the first unit, a run of one, is strided
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
    """FLOPs per input pixel, see :class:`BlockCosts`."""
    return costs_of(block).flops_per_pixel


def model_size(block: Block) -> float:
    """Parameters, those of quantised convolutions by their size, see :class:`BlockCosts`."""
    return costs_of(block).model_size


def elements(block: Block) -> int:
    """Parameters, each counted as 1, see :class:`BlockCosts`."""
    return costs_of(block).elements


def squeeze_excitation_size(unit: Unit) -> int:
    """Parameters of a unit's squeeze-excitation: two 1x1 convolutions with batch norm each."""
    hidden, channels = unit.se_channels, unit.convs[-1].in_channels
    return 2 * (hidden * channels + hidden + channels) if hidden else 0
