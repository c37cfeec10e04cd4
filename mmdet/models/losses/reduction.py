"""Weighting and normalising element-wise losses."""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

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


class WeightedLoss(nn.Module):
    """Base of the losses: a loss of each sample is weighted, reduced and multiplied by ``loss_weight``.

    Args:
        reduction: 'none', 'mean' or 'sum'.
        loss_weight: factor of the result.
    """

    def __init__(self, reduction: str = 'mean', loss_weight: float = 1.0):
        super().__init__()
        check_reduction(reduction)
        self.reduction, self.loss_weight = reduction, loss_weight

    @abstractmethod
    def sample_losses(self, pred: Tensor, target: Any) -> Tensor:
        """(N,) unweighted losses."""

    def forward(
        self,
        pred: Tensor,
        target: Any,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Loss of N samples.

        Args:
            pred, target: see the loss.
            weight: (N,) factors of the samples' losses, or (N, n), of which the mean over n is taken.
            avg_factor: what 'mean' divides by instead of N; an error with 'sum'.
            reduction_override: replaces the ``reduction`` of the constructor.
        """
        check_reduction(reduction_override)
        loss = self.sample_losses(pred, target)
        if weight is not None and weight.dim() > 1:
            weight = weight.mean(-1)
        return self.loss_weight * reduce_loss(loss, weight, reduction_override or self.reduction, avg_factor)
