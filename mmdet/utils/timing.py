"""Statistics of measured times, of a whole model and of the stages of a composite detector."""

from collections.abc import Sequence

import numpy as np
import torch


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


def part_figures(model: torch.nn.Module) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """Statistics of what a composite detector recorded while its ``record_times`` was on; leave it off during the warm-up.

    Returns:
        Times of the stages (see :func:`time_figures`) in the order in which they run, and means of ``stage_sizes``; both are empty for other
        models.
    """
    times, sizes = getattr(model, 'stage_times', {}), getattr(model, 'stage_sizes', {})
    return (
        {name: time_figures(values) for name, values in times.items()},
        {name: float(np.mean(values)) for name, values in sizes.items()},
    )


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


def synchronise(device: str | torch.device) -> None:
    """Wait until a CUDA device has finished its queue."""
    if torch.device(device).type == 'cuda':
        torch.cuda.synchronize(device)
