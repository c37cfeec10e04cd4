"""Weighting and reducing losses under the names and signatures of mmdetection 3.x; the arithmetic is in :mod:`.reduction`."""

from torch import Tensor

from . import reduction as _reduction
from .reduction import check_reduction, weighted_loss

__all__ = ['reduce_loss', 'weight_reduce_loss', 'weighted_loss']


def reduce_loss(loss: Tensor, reduction: str) -> Tensor:
    """An element-wise loss as it is ('none'), its mean or its sum.

    Raises:
        ArgumentError: another ``reduction``.
    """
    return weight_reduce_loss(loss, reduction=reduction)


def weight_reduce_loss(
    loss: Tensor, weight: Tensor | None = None, reduction: str = 'mean', avg_factor: float | Tensor | None = None
) -> Tensor:
    """Weight an element-wise loss and reduce it.

    Args:
        loss: any shape.
        weight: broadcastable to ``loss``, or None.
        reduction: 'none', 'mean' or 'sum'.
        avg_factor: what 'mean' divides by instead of the number of elements; 'none' ignores it.

    Raises:
        ArgumentError: another ``reduction``.
        ValueError: an ``avg_factor`` with 'sum'.
    """
    check_reduction(reduction)
    return _reduction.reduce_loss(loss, weight, reduction, avg_factor)
