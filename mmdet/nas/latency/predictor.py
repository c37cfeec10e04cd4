"""``OpPredictor``: the latency of a network as a sum over its operators, which are interpolated in a library of measurements."""

import math
import os
from collections.abc import Iterable

from mmdet.registry import NAS_LATENCIES

from ...archs import Block, BlockMemo, Structure
from ...errors import ConfigError
from ..checks import check_integers
from .library import OpLibrary
from .ops import DEPTHWISE, Op, block_ops
from .surface import Surface


@NAS_LATENCIES.register_module('OpPredictor')
class OpPredictor:
    """Predicts the seconds per image of a structure.

    Regular convolutions are grouped by the ratio of input to output channels, and depthwise ones form one group. Each group is a
    :class:`~mmdet.nas.latency.surface.Surface` over (channels, side). Between the measured ratios and batch sizes times are interpolated linearly,
    and outside of them extrapolated.

    Args:
        library: a library, or the path of its file (:class:`~mmdet.nas.latency.library.OpLibrary`).
        batch_size: images per batch.
        image_size: side of the input in pixels.
        data_type: number format that the library was measured with; not used.
        device_name: device that the library was measured on; not used.

    Raises:
        ConfigError: an impossible argument.
        DataError: the library cannot be read.
    """

    def __init__(
        self,
        *,
        library: OpLibrary | str | os.PathLike,
        batch_size: int = 32,
        image_size: int = 224,
        data_type: str | None = None,
        device_name: str | None = None,
    ):
        check_integers('OpPredictor.', batch_size=batch_size, image_size=image_size)
        self.library = library if isinstance(library, OpLibrary) else OpLibrary.read(library)
        self.batch_size, self.image_size = batch_size, image_size
        self.data_type, self.device_name = data_type, device_name
        self._tables = {batch: OpTable(rows.items()) for batch, rows in sorted(self.library.times.items())}
        self._ops = BlockMemo(self.op_ms)
        self._blocks = BlockMemo(self._block_ms)

    def __call__(self, structure: Structure) -> float:
        """Seconds per image; infinite if the library lacks an operator, so that a search rejects the candidate."""
        blocks, side, total = self._blocks, self.image_size, 0.0
        for block in structure:
            for ms in blocks[block, side]:
                total += ms
            side = max(side // block.stride, 1)
        return total / self.batch_size / 1000

    def op_ms(self, op: Op) -> float:
        """Milliseconds of one operator at ``batch_size``; infinite if the library has nothing like it."""
        known = [(float(batch), ms) for batch, table in self._tables.items() if (ms := table(op)) is not None]
        if not known:
            return math.inf
        exact = dict(known).get(self.batch_size)
        return extrapolate(known, self.batch_size) if exact is None else exact

    def missing_ops(self, structure: Structure) -> list[Op]:
        """Operators of a structure that the library cannot predict, one for each :attr:`Op.key`."""
        missing: dict[tuple, Op] = {}
        side = self.image_size
        for block in structure:
            for op in block_ops(block, side):
                if math.isinf(self._ops[op]):
                    missing.setdefault(op.key, op)
            side = max(side // block.stride, 1)
        return list(missing.values())

    def check(self, structure: Structure) -> None:
        """Check that a structure can be predicted.

        Raises:
            ConfigError: the library lacks some of its operators; the text lists them.
        """
        missing = [op.key for op in self.missing_ops(structure)]
        if missing:
            known = sorted({op.key for rows in self.library.times.values() for op in rows})
            message = f'lacks operators (kind, stride, fused, kernel) of the structure: {missing}; it has {known}'
            raise ConfigError(message, file=self.library.source)

    def _block_ms(self, key: tuple[Block, int]) -> tuple[float, ...]:
        """Milliseconds of each operator of a block on an input of the given side."""
        block, side = key
        return tuple(self._ops[op] for op in block_ops(block, side))


class OpTable:
    """Interpolation of the operators measured with one batch size.

    Args:
        rows: pairs (operator, milliseconds).
    """

    def __init__(self, rows: Iterable[tuple[Op, float]]):
        groups: dict[tuple, dict[float, list]] = {}
        for op, ms in rows:
            channels = op.in_channels if op.kind == DEPTHWISE else op.out_channels
            groups.setdefault(op.key, {}).setdefault(channel_ratio(op), []).append(((channels, op.side), ms))
        self._groups = {
            key: {ratio: Surface(*zip(*group)) for ratio, group in sorted(by_ratio.items())}
            for key, by_ratio in groups.items()
        }

    def __call__(self, op: Op) -> float | None:
        """Milliseconds of an operator; None where nothing of its kind, stride, fusion and kernel was measured."""
        surfaces = self._groups.get(op.key, {})
        if (ratio := channel_ratio(op)) in surfaces:
            return surfaces[ratio](op.out_channels, op.side)
        known = [
            (ratio, surface(op.out_channels, op.side)) for ratio, surface in surfaces.items() if ratio != RGB_RATIO
        ]
        # More input channels cannot be faster, so a value that is not above the last one kept is noise. The first two are always kept.
        rising = known[:2]
        for point in known[2:]:
            if point[1] > rising[-1][1]:
                rising.append(point)
        # The exact ratio, unlike the cut ones by which operators are grouped.
        return extrapolate(rising, op.in_channels / op.out_channels) if rising else None


RGB_RATIO = 0.0


def channel_ratio(op: Op) -> float:
    """Input over output channels, cut after two decimals; 0 where the input has 3 channels (an image), 1 for depthwise operators."""
    if op.kind == DEPTHWISE:
        return 1.0
    return RGB_RATIO if op.in_channels == 3 else int(op.in_channels / op.out_channels * 100) / 100


def extrapolate(points: list[tuple[float, float]], x: float) -> float:
    """Like :func:`interpolate`, but proportional to the first point where there is only one, or where the value would be negative."""
    value = interpolate(points, x) if len(points) > 1 else -1.0
    return value if value >= 0 else points[0][1] * x / points[0][0]


def interpolate(points: list[tuple[float, float]], x: float) -> float:
    """Value at ``x`` of the piecewise linear function through two or more points (x, y) with ascending x; its end pieces continue outside."""
    index = 1
    while index < len(points) - 1 and x > points[index][0]:
        index += 1
    (x0, y0), (x1, y1) = points[index - 1], points[index]
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
