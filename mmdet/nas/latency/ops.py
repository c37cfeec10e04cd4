"""The operators of a network whose latencies are added up."""

from typing import NamedTuple

from ...archs import Block, family_of, units_of
from ...errors import ConfigError

REGULAR, DEPTHWISE = 'Regular', 'Depthwise'


class Op(NamedTuple):
    """A convolution on a square feature map.

    Attributes:
        kind: 'Regular' or 'Depthwise'.
        stride: 1 or 2.
        fused: whether the addition of a skip path is fused into it (1) or not (0).
        kernel: side of the kernel.
        in_channels: input channels.
        side: side of the input in pixels.
        out_channels: output channels.
    """

    kind: str
    stride: int
    fused: int
    kernel: int
    in_channels: int
    side: int
    out_channels: int

    @property
    def key(self) -> tuple[str, int, int, int]:
        """(kind, stride, fused, kernel): a library predicts an operator only if it has measured others with the same key."""
        return self.kind, self.stride, self.fused, self.kernel


def block_ops(block: Block, side: int) -> list[Op]:
    """The operators of a block on an input of ``side`` by ``side`` pixels, in order.

    The last convolution of a residual unit is fused with the addition, a projection works at the unit's output size, and the two convolutions of a
    squeeze-excitation at one pixel. (LightNAS predicts no depthwise blocks: it fails on units without a skip path.)

    Raises:
        ConfigError: the block has grouped or 3-D convolutions, which libraries do not hold.
    """
    if family_of(block.type).dims != 2:
        message = 'the operator-level latency predictor knows 2-D convolutions only'
        raise ConfigError(message, field='latency', received=block.type)
    ops = []
    for unit in units_of(block):
        last = len(unit.convs) - 1
        for index, conv in enumerate(unit.convs):
            if conv.groups > 1 and not conv.depthwise:
                raise ConfigError('grouped convolutions are not predicted', field='latency', received=block)
            if index == last and (hidden := unit.se_channels):
                ops.append(Op(REGULAR, 1, 0, 1, conv.in_channels, 1, hidden))
                ops.append(Op(REGULAR, 1, 0, 1, hidden, 1, conv.in_channels))
            fused = int(index == last and unit.residual)
            kind = DEPTHWISE if conv.depthwise else REGULAR
            ops.append(Op(kind, conv.stride, fused, conv.kernel, conv.in_channels, side, conv.out_channels))
            side = max(side // conv.stride, 1)
        if projection := unit.projection:
            ops.append(Op(REGULAR, 1, 0, projection.kernel, projection.in_channels, side, projection.out_channels))
    return ops
