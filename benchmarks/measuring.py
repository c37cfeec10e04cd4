"""Functions that the benchmark scripts share: they write rows as they are measured, record failures as rows, and time work on a device.

A row is a dict with ``table`` and ``name``; a later row with the same two replaces an earlier one. The file holds one JSON object per line, so
that a script that is stopped leaves the rows that it has measured.
"""

import argparse
import contextlib
import gc
import json
import statistics
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import torch


class Rows:
    """Writes rows to a file, and prints them.

    Args:
        path: file to append to; None prints only.
        deadline: reading of ``time.monotonic()`` after which no measurement begins; :attr:`late` says when it has passed. It is absolute, and
            not a number of seconds, so that the time of the imports counts.
    """

    def __init__(self, path: str | None = None, deadline: float | None = None):
        self.path = Path(path) if path else None
        self.deadline = deadline

    def add(self, table: str, name: str, **figures) -> None:
        """Write one row; floats are rounded to four digits."""
        figures = {key: float(f'{value:.4g}') if isinstance(value, float) else value for key, value in figures.items()}
        shown = {key: value for key, value in figures.items() if key != 'traceback'}
        print(f'{table} | {name} | ' + ', '.join(f'{key} {value}' for key, value in shown.items()), flush=True)
        if self.path:
            with self.path.open('a', encoding='utf-8') as file:
                file.write(json.dumps(dict(table=table, name=name, **figures)) + '\n')

    @contextlib.contextmanager
    def attempt(self, table: str, name: str, figures: dict | None = None) -> Iterator[None]:
        """A block whose failure becomes a row with the error and its traceback, so that the next measurement goes on.

        Args:
            table, name: table and name of the row.
            figures: what was measured before the failure; read when it happens.
        """
        try:
            yield
        except Exception as error:  # whatever it is: it is reported, and the others are still to be measured
            text = traceback.format_exc()
            # The frames hold the tensors of the failed call, tens of GiB perhaps: the next measurement needs the memory.
            traceback.clear_frames(error.__traceback__)
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            message = f'{type(error).__name__}: {error}'[:300]
            self.add(table, name, **(figures or {}), error=message, traceback=text)

    @property
    def seconds_left(self) -> float:
        """Seconds until the deadline; infinite without one."""
        return float('inf') if self.deadline is None else self.deadline - time.monotonic()

    @property
    def late(self) -> bool:
        """Whether the deadline has passed."""
        return self.seconds_left <= 0


def add_row_arguments(parser: argparse.ArgumentParser) -> None:
    """``--rows``, ``--deadline`` and ``--peak-tflops``, as gpu_check.py hands them to every part."""
    parser.add_argument('--rows', help='append every figure to this file, a JSON object a line')
    parser.add_argument('--deadline', type=float, help='begin no measurement after this reading of the monotonic clock')
    parser.add_argument('--peak-tflops', type=float, help='the measured bf16 matrix rate, for the shares of it')


def synchronise(device: str | torch.device) -> None:
    """Wait for the work on a CUDA device; nothing on the CPU."""
    if torch.device(device).type == 'cuda':
        torch.cuda.synchronize(device)


def timed(
    function: Callable[[], object], device: str | torch.device, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Seconds of one call by a clock, the device's work included."""
    synchronise(device)
    start = clock()
    function()
    synchronise(device)
    return clock() - start


def median_seconds(
    function: Callable[[], object], device: str | torch.device, warmup: int = 1, times: int = 5,
    clock: Callable[[], float] = time.perf_counter,
) -> float:  # fmt: skip
    """Median of several calls, after those of the warm-up."""
    for _ in range(warmup):
        timed(function, device)
    return statistics.median(timed(function, device, clock) for _ in range(times))


def matrix_products(device: str, dtype: torch.dtype, size: int) -> list[Callable[[], object]]:
    """A product of two random square matrices by the kernels of torch that may be the fastest.

    Of int8 on a CPU that is oneDNN's linear layer with its weights packed. Of float32 it is MKL's product or, on CPUs of AMD, where that reaches two
    fifths of it, oneDNN's 1 x 1 convolution with its weights packed.
    """
    left, right = (torch.randn(size, size, device=device) for _ in range(2))
    if dtype != torch.int8:
        left, right = left.to(dtype), right.to(dtype)
        found = torch.empty_like(left)
        products: list[Callable[[], object]] = [lambda: torch.mm(left, right, out=found)]
        if (torch.device(device).type, dtype) == ('cpu', torch.float32) and torch.backends.mkldnn.is_available():
            image = left.t().reshape(1, size, -1, 8).contiguous(memory_format=torch.channels_last)
            where = (0, 0), (1, 1), (1, 1), 1  # padding, stride, dilation, groups
            kernel = torch.ops.mkldnn._reorder_convolution_weight(right[:, :, None, None], *where, image.shape)
            products.append(
                lambda: torch.ops.mkldnn._convolution_pointwise(image, kernel, None, *where, 'none', [], '')
            )
        return products
    if torch.device(device).type == 'cuda':
        first, second = left.to(dtype), right.to(dtype)
        return [lambda: torch._int_mm(first, second)]
    torch.backends.quantized.engine = 'onednn'
    with warnings.catch_warnings():  # of PyTorch: tensors of this kind will go
        warnings.simplefilter('ignore')
        packed = torch.ops.quantized.linear_prepack(torch.quantize_per_tensor(right, 0.05, 0, torch.qint8), None)
        features = torch.quantize_per_tensor(left, 0.05, 128, torch.quint8)
    return [lambda: torch.ops.quantized.linear(features, packed, 2.0, 128)]


def matrix_tflops(
    device: str, dtype: torch.dtype, size: int, count: int = 20, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Rate of a matrix product of two random ``size`` x ``size`` matrices, in TFLOP/s (of int8 TOP/s), by the fastest kernel; ``count`` products are timed together."""
    products = matrix_products(device, dtype, size)
    return max(_rate(product, device, size, count, clock) for product in products)


def _rate(
    product: Callable[[], object], device: str, size: int, count: int, clock: Callable[[], float]
) -> float:  # fmt: skip
    warm = time.perf_counter() + 0.5  # an idle card runs at a fraction of its clock
    while time.perf_counter() < warm:
        timed(product, device)

    def several():
        for _ in range(count):
            product()

    return count * 2 * size**3 / min(timed(several, device, clock) for _ in range(3)) / 1e12


def copy_gb_per_second(device: str, megabytes: int) -> float:
    """Bytes read and written a second by a copy on the device, in GB/s."""
    source = torch.randn(megabytes << 18, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / median_seconds(lambda: target.copy_(source), device, warmup=2, times=5) / 1e9


def allow_tf32(allowed: bool) -> None:
    """Let float32 matrix products and convolutions round their inputs to TF32, or forbid it."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def main() -> None:
    """Rates of the device at hand: the yardstick of the other scripts."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('--size', type=int, default=8192, help='of the matrices')
    add_row_arguments(parser)
    args = parser.parse_args()
    rows = Rows(args.rows, args.deadline)
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    name = torch.cuda.get_device_name() if device == 'cuda' else f'CPU, {torch.get_num_threads()} threads'
    for label, dtype, tf32 in (('bf16', torch.bfloat16, False), ('fp32', torch.float32, False), ('tf32', torch.float32, True)):  # fmt: skip
        with rows.attempt('device', label):
            allow_tf32(tf32)
            rows.add('device', label, device=name, tflops=matrix_tflops(device, dtype, args.size), size=args.size)
    with rows.attempt('device', 'copy'):
        rows.add('device', 'copy', device=name, gb_per_second=copy_gb_per_second(device, args.size // 4))


if __name__ == '__main__':
    main()
