"""Statistics of measured times, of a whole model and of the stages of a composite detector."""

import numpy as np
import torch

from mmdet_runtime.timing import parts_table, sizes_line, time_figures

__all__ = ['part_figures', 'parts_table', 'sizes_line', 'synchronise', 'time_figures']


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


def synchronise(device: str | torch.device) -> None:
    """Wait until a CUDA device has finished its queue."""
    if torch.device(device).type == 'cuda':
        torch.cuda.synchronize(device)
