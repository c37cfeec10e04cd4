"""What one block costs, from its units: the sums that the budgets add up over a structure.

Formulas are those of the reference (LightNAS 2.0): multiply-adds of the convolutions, two operations an output element for batch norm, one for
each activation, pooling and addition of a projected skip path; feature-map areas are divided without rounding.
"""

from ..structure import Block
from .base import Conv, Unit, unit_runs


def flops_per_pixel(block: Block) -> float:
    """FLOPs divided by the number of pixels of the block's input (one frame).

    Areas shrink by exact factors of 4 and every FLOP count is proportional to an area, so ``flops_per_pixel(block) * height * width`` is exact
    in double precision. The multiply-adds of a quantised convolution count ``bits_a * bits_w / 64``, those of squeeze-excitation nothing, as in
    the reference.
    """
    area, total = 1.0, 0.0
    for unit, count in unit_runs(block):  # only the first unit is strided, so a run keeps its area
        if unit.pooled:
            total += unit.convs[0].in_channels * area * count
        for conv in unit.convs:
            area /= conv.stride * conv.stride
            total += _conv_flops(conv) * area * count
        if unit.projection:
            total += _conv_flops(unit.projection) * area * count
    return total


def model_size(block: Block) -> float:
    """Parameters without the quantiser's own: weights, batch-norm scale and shift, squeeze-excitation.

    Weights of a quantised convolution count ``bits_w / 8``, which makes it a size in bytes of the weights there (as the reference's budget, and
    the published "params" of quantised networks).
    """
    total = 0.0
    for unit, count in unit_runs(block):
        size = squeeze_excitation_size(unit)
        for conv in all_convs(unit):
            size += (conv.weights * conv.bits_w / 8 if conv.bits_w else conv.weights) + 2 * conv.out_channels
        total += size * count
    return total


def elements(block: Block) -> int:
    """Elements of the weight and batch-norm tensors: :func:`model_size` with every weight counted once, whatever its bits."""
    return sum(
        count * (squeeze_excitation_size(unit) + sum(conv.weights + 2 * conv.out_channels for conv in all_convs(unit)))
        for unit, count in unit_runs(block)
    )


def squeeze_excitation_size(unit: Unit) -> int:
    """Parameters of a unit's squeeze-excitation: two 1x1 convolutions with batch norm each."""
    hidden, channels = unit.se_channels, unit.convs[-1].in_channels
    return 2 * (hidden * channels + hidden + channels) if hidden else 0


def all_convs(unit: Unit) -> tuple[Conv, ...]:
    """The unit's convolutions, its projection last."""
    return unit.convs if unit.projection is None else (*unit.convs, unit.projection)


def _conv_flops(conv: Conv) -> float:
    """Per output pixel: convolution, batch norm, and the activation (or the addition, for a projection) that follows."""
    precision = conv.bits_a * conv.bits_w / 64 if conv.bits_a else 1
    return conv.weights * precision + 3 * conv.out_channels
