"""Weighting and normalising element-wise losses."""

import torch
from torch import Tensor

_REDUCTIONS = ('none', 'mean', 'sum')
# Keeps an average over zero samples finite; the reference adds it since mmdetection 2.20.
_EPS = torch.finfo(torch.float32).eps


def check_reduction(reduction: str | None) -> None:
    """Raise AssertionError unless ``reduction`` is None, 'none', 'mean' or 'sum'."""
    assert reduction is None or reduction in _REDUCTIONS, (
        f'reduction must be one of {_REDUCTIONS}. Received: {reduction!r}'
    )


def reduce_loss(loss: Tensor, weight: Tensor | None, reduction: str, avg_factor: float | Tensor | None) -> Tensor:
    """Weight an element-wise loss and reduce it.

    Args:
        loss: any shape.
        weight: broadcastable to ``loss``, or None.
        reduction: 'none', 'mean' or 'sum'.
        avg_factor: what 'mean' divides by instead of the number of elements.

    Raises:
        ValueError: an ``avg_factor`` with reduction 'sum'.
    """
    if weight is not None:
        loss = loss * weight
    if reduction == 'none':
        return loss
    if avg_factor is None:
        return loss.mean() if reduction == 'mean' else loss.sum()
    if reduction == 'sum':
        raise ValueError("avg_factor cannot be used with reduction='sum'")
    return loss.sum() / (avg_factor + _EPS)
