"""Weighting and normalising element-wise losses."""

import functools
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mmdet.errors import ArgumentError

_REDUCTIONS = ('none', 'mean', 'sum')
# Keeps an average over zero samples finite; the reference adds it since mmdetection 2.20.
_EPS = torch.finfo(torch.float32).eps


def check_reduction(reduction: str | None) -> None:
    """Raise ArgumentError unless ``reduction`` is None, 'none', 'mean' or 'sum'."""
    if reduction is not None and reduction not in _REDUCTIONS:
        raise ArgumentError(f'must be one of {_REDUCTIONS}', field='reduction', received=reduction)


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


def is_own_loss(loss: nn.Module) -> bool:
    """Whether a loss is one of this package's, which give a value for each row on ``reduction_override='none'``.

    Losses of plug-ins need not take that argument; mmdetection's heads hand them weights and ``avg_factor`` only.
    """
    return type(loss).__module__.partition('.')[0] == 'mmdet'


def loss_sum(loss: nn.Module, pred: Tensor, target: Tensor, weight: Tensor, avg_factor: float = 1.0) -> Tensor:
    """Sum of the weighted losses of rows, divided by ``avg_factor``; ``loss`` may be of other code. 0 without rows."""
    if is_own_loss(loss):
        return loss(pred, target, weight=weight, reduction_override='none').sum() / avg_factor
    if len(pred) == 0:
        return pred.sum()  # 0, and still part of the graph
    return loss(pred, target, weight=weight, avg_factor=avg_factor)


def weighted_loss(loss_func: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Turn ``f(pred, target, **options)``, an element-wise loss, into ``f(pred, target, weight, reduction, avg_factor, **options)``.

    Weight, reduction ('mean' by default) and ``avg_factor`` are those of :func:`reduce_loss`.
    """

    @functools.wraps(loss_func)
    def weighted(
        pred: Tensor,
        target: Any,
        weight: Tensor | None = None,
        reduction: str = 'mean',
        avg_factor: float | Tensor | None = None,
        **options: Any,
    ) -> Tensor:
        check_reduction(reduction)
        return reduce_loss(loss_func(pred, target, **options), weight, reduction, avg_factor)

    return weighted


def fit_weight(weight: Tensor, loss: Tensor) -> Tensor:
    """Bring the weights of samples, or of their columns, into a form that multiplies ``loss``.

    Args:
        weight: (N,), (N, n), or one number for each element of ``loss``.
        loss: (N,): weights of n columns are averaged; (N, n): a weight for the sample is spread over its columns.
    """
    if weight.dim() > loss.dim():
        return weight.mean(-1)
    if weight.dim() < loss.dim():
        every = weight.numel() == loss.numel() and len(weight) != len(loss)
        return weight.view_as(loss) if every else weight.reshape(*weight.shape, *[1] * (loss.dim() - weight.dim()))
    return weight


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
        """Unweighted losses: (N,), or (N, n) of a loss that keeps its columns apart."""

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
            weight: (N,) factors of the samples' losses, or (N, n); see :func:`fit_weight`.
            avg_factor: what 'mean' divides by instead of the number of elements; an error with 'sum'.
            reduction_override: replaces the ``reduction`` of the constructor.
        """
        check_reduction(reduction_override)
        loss = self.sample_losses(pred, target)
        if weight is not None:
            weight = fit_weight(weight, loss)
        return self.loss_weight * reduce_loss(loss, weight, reduction_override or self.reduction, avg_factor)
