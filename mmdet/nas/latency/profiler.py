"""Measures operators on this machine and writes a library file for :class:`~mmdet.nas.latency.predictor.OpPredictor`.

    python -m mmdet.nas.latency.profiler OUT [--device cuda] [--dtype float16] [--batch-sizes 32] [--max-side 320] [--max-channels 512]

An operator is a convolution with bias (batch norm is folded into it), the addition of a skip path where it is fused, and ReLU. The grid spans
channels, channel ratios and sides. If OUT exists, operators are added to it, and those that it holds are not measured again. Operators that fail,
for lack of memory for instance, are written with a time of -1.
"""

import argparse
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ...config.reading import reports_user_errors
from ...errors import ConfigError
from ...utils.files import LineFile
from ...utils.timing import synchronise
from .library import OpLibrary, op_line
from .ops import DEPTHWISE, REGULAR, Op

MAX_TENSOR = 128 * 240 * 240 * 128  # elements of a batch's input or output; larger ones are not measured
MAX_WORK = 78**2 * 3072**2 * 4  # multiply-adds of a batch


def op_grid(
    *,
    channels: Sequence[int],
    sides: Sequence[int],
    ratios: Sequence[float] = (0.25, 0.5, 1, 2, 4),
    kernels: Sequence[int] = (1, 3, 5),
    strides: Sequence[int] = (1, 2),
    fused: Sequence[int] = (0, 1),
    depthwise: bool = True,
    batch_size: int = 32,
) -> Iterator[Op]:
    """Operators to measure: every output width, with inputs in the given ratios and of 3 channels, at every side.

    Operators above the limits ``MAX_TENSOR`` and ``MAX_WORK`` are left out.

    Args:
        channels: output channels.
        sides: sides of the input in pixels.
        ratios: input over output channels; products that are not whole numbers are left out.
        kernels: kernel sides.
        strides: strides. Strided 1x1 convolutions are left out, because projections follow a pooling.
        fused: whether the addition of a skip path is fused, 0 or 1.
        depthwise: whether to measure depthwise convolutions, too (kernels above 1).
        batch_size: images per batch, for the size limits.
    """
    for kernel, stride, side in itertools.product(kernels, strides, sides):
        if kernel == 1 and stride == 2:
            continue
        ops = [
            Op(REGULAR, stride, add, kernel, int(ratio * out), side, out)
            for add, out, ratio in itertools.product(fused, channels, ratios)
            if ratio * out == int(ratio * out) >= 1
        ]
        if kernel > 1:
            ops += [Op(REGULAR, stride, add, kernel, 3, side, out) for add, out in itertools.product(fused, channels)]
        if kernel > 1 and depthwise:
            ops += [Op(DEPTHWISE, stride, 0, kernel, width, side, width) for width in channels]
        for op in ops:
            out_area = (side // stride) ** 2
            work = batch_size * out_area * op.out_channels * kernel**2 * (1 if op.kind == DEPTHWISE else op.in_channels)
            tensor = batch_size * max(side**2 * op.in_channels, out_area * op.out_channels)
            if tensor <= MAX_TENSOR and work <= MAX_WORK * batch_size:
                yield op


def log_spaced(smallest: int, largest: int, per_octave: int = 2, multiple: int = 8) -> list[int]:
    """Multiples of ``multiple``, ascending and spaced evenly in the logarithm, and ``largest``."""
    values, x = set(), float(smallest)
    while x < largest:
        values.add(multiple * round(x / multiple))
        x *= 2 ** (1 / per_octave)
    return sorted(value for value in values | {largest} if value > 0)


class OpProfiler:
    """Times single operators.

    Args:
        device: torch device.
        dtype: 'float32', 'float16' or 'bfloat16'.
        warmup: number of untimed runs before the timed ones.
        repeats: number of timed runs, of which the median is taken.

    Raises:
        ConfigError: an impossible argument.
    """

    def __init__(self, *, device: str = 'cpu', dtype: str = 'float32', warmup: int = 3, repeats: int = 10):
        if dtype not in ('float32', 'float16', 'bfloat16'):
            raise ConfigError("must be 'float32', 'float16' or 'bfloat16'", field='dtype', received=dtype)
        if repeats < 1 or warmup < 0:
            raise ConfigError('repeats must be >= 1, warmup >= 0', field='repeats', received=(repeats, warmup))
        self.device, self.dtype = torch.device(device), getattr(torch, dtype)
        self.warmup, self.repeats = warmup, repeats

    def measure(self, op: Op, batch_size: int) -> float:
        """Milliseconds of one operator on a batch; -1 if it failed."""
        groups = op.in_channels if op.kind == DEPTHWISE else 1
        try:
            options: dict[str, Any] = dict(device=self.device, dtype=self.dtype)
            x = torch.randn(batch_size, op.in_channels, op.side, op.side, **options)
            weight = torch.randn(op.out_channels, op.in_channels // groups, op.kernel, op.kernel, **options)
            bias = torch.randn(op.out_channels, **options)  # what folding batch norm leaves
            skip: Tensor | None = None

            def run() -> Tensor:
                y = functional.conv2d(x, weight, bias, op.stride, op.kernel // 2, 1, groups)
                return functional.relu_(y if skip is None else y.add_(skip))

            with torch.no_grad():
                if op.fused:
                    skip = torch.randn_like(run())
                for _ in range(self.warmup):
                    run()
                times = sorted(self._timed(run) for _ in range(self.repeats))
        except (RuntimeError, MemoryError):  # out of memory, or no kernel for this shape and type
            return -1.0
        return 1000 * times[len(times) // 2]

    def profile(
        self, ops: Iterable[Op], batch_size: int, path: str | Path, time_limit: float | None = None
    ) -> OpLibrary:
        """Measure operators, append each to a library file as soon as it is measured, and return the whole library of the file.

        Args:
            ops: operators; those that ``path`` already has, failed ones included, are skipped.
            batch_size: images per batch.
            path: library file, continued if it exists.
            time_limit: seconds after which to stop.
        """
        path, known = Path(path), set()
        if path.exists() and path.stat().st_size:
            OpLibrary.read(path)  # refuses a file of another kind before anything is appended to it
            known = {line.partition('}')[0] + '}' for line in path.read_text(encoding='utf-8').splitlines()}
        start = time.monotonic()
        with LineFile(path) as file:
            for op in ops:
                head = op_line(op, batch_size)
                if head in known:
                    continue
                if time_limit is not None and time.monotonic() - start > time_limit:
                    break
                file.append(op_line(op, batch_size, self.measure(op, batch_size)))
                known.add(head)
        return OpLibrary.read(path)

    def _timed(self, run: Callable[[], Tensor]) -> float:
        """Seconds of one run, with the device idle before and after."""
        synchronise(self.device)
        start = time.perf_counter()
        run()
        synchronise(self.device)
        return time.perf_counter() - start


@reports_user_errors
def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', help='library file; continued if it exists')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--dtype', default='float32', help='float32, float16 or bfloat16')
    parser.add_argument('--batch-sizes', type=int, nargs='+', default=[32])
    for option, default in (('min-side', 5), ('max-side', 320), ('min-channels', 8), ('max-channels', 512)):
        parser.add_argument(f'--{option}', type=int, default=default)
    parser.add_argument('--kernels', type=int, nargs='+', default=[1, 3, 5])
    parser.add_argument('--no-depthwise', action='store_true', help='leave depthwise convolutions out')
    parser.add_argument('--time-limit', type=float, metavar='SECONDS', help='stop after that long, per batch size')
    args = parser.parse_args(argv)
    profiler = OpProfiler(device=args.device, dtype=args.dtype)
    for batch_size in args.batch_sizes:
        ops = op_grid(
            channels=log_spaced(args.min_channels, args.max_channels),
            sides=log_spaced(args.min_side, args.max_side, multiple=1),
            kernels=args.kernels,
            depthwise=not args.no_depthwise,
            batch_size=batch_size,
        )
        library = profiler.profile(ops, batch_size, args.out, args.time_limit)
        print(f'{args.out}: batch {batch_size}: {len(library.times.get(batch_size, {}))} operators')


if __name__ == '__main__':
    main()
