"""Statistics of measured times, as numbers and as a table."""

import contextlib
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence

import numpy as np

_KEPT = 1 << 16  # values of one name


class Clock:
    """Times of the steps of a computation, and sizes of what they handle.

    Attributes:
        times: the last seconds of each step, by name in the order in which they first ran.
        sizes: the last values of each quantity.
    """

    def __init__(self) -> None:
        self.times: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=_KEPT))
        self.sizes: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=_KEPT))

    @contextlib.contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Record how long the block takes; steps may lie within others."""
        times, start = self.times[name], time.perf_counter()
        try:
            yield
        finally:
            times.append(time.perf_counter() - start)

    def note(self, **sizes: float) -> None:
        """Record quantities."""
        for name, value in sizes.items():
            self.sizes[name].append(value)

    def clear(self) -> None:
        """Forget everything."""
        self.times.clear()
        self.sizes.clear()


def time_figures(seconds: Sequence[float]) -> dict[str, float]:
    """Median ``p50_ms``, 95th percentile ``p95_ms`` and ``mean_ms``, in milliseconds, of times in seconds; NaN for no times.

    >>> time_figures([0.001, 0.002, 0.003])
    {'p50_ms': 2.0, 'p95_ms': 2.9, 'mean_ms': 2.0}
    """
    milliseconds = 1000 * np.asarray(seconds, dtype=np.float64)
    if not milliseconds.size:  # a process that had no share of a small set
        milliseconds = np.array([np.nan])
    figures = (np.percentile(milliseconds, 50), np.percentile(milliseconds, 95), milliseconds.mean())
    return dict(zip(('p50_ms', 'p95_ms', 'mean_ms'), (round(float(figure), 6) for figure in figures)))


def sizes_line(sizes: dict[str, float]) -> str:
    """One line of the means of ``stage_sizes``.

    >>> sizes_line({'regions': 3.25, 'tiles': 12.0})
    'on average an image has regions 3.2, tiles 12.0'
    """
    return 'on average an image has ' + ', '.join(f'{name} {size:.1f}' for name, size in sizes.items())


def parts_table(parts: dict[str, dict[str, float]], unit: str = 'a batch') -> str:
    """Lines of a table: stage, median, 95th percentile, mean."""
    width = max([12, *map(len, parts)])
    lines = [f'{"stage":<{width}} {"p50":>10} {"p95":>10} {"mean":>10}   ms {unit}']
    for name, figures in parts.items():
        lines.append(
            f'{name:<{width}} ' + ' '.join(f'{figures[key]:>10.1f}' for key in ('p50_ms', 'p95_ms', 'mean_ms'))
        )
    return '\n'.join(lines)
