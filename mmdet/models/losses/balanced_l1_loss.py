"""Balanced L1 loss (Pang et al., "Libra R-CNN", CVPR 2019, arXiv 1904.02701)."""

import math

import torch
from torch import Tensor

from mmdet.errors import ArgumentError
from mmdet.registry import MODELS

from .reduction import WeightedLoss, check_reduction, reduce_loss
from .smooth_l1_loss import check_shapes


def balanced_l1_loss(
    pred: Tensor, target: Tensor, beta: float = 1.0, alpha: float = 0.5, gamma: float = 1.5, reduction: str = 'mean'
) -> Tensor:
    """A loss whose gradient grows with the logarithm of small differences and is ``gamma`` beyond ``beta`` (eq. 8 and 9).

    Args:
        pred, target: of one shape; an empty target gives 0.
        beta: difference at which the loss becomes linear.
        alpha: gradient of the small differences.
        gamma: slope of the linear part.
        reduction: 'none', 'mean' or 'sum'.

    Raises:
        ArgumentError: ``beta`` not above 0, shapes that differ, or another ``reduction``.
    """
    check_reduction(reduction)
    if not beta > 0:
        raise ArgumentError('must be > 0', field='beta', received=beta)
    if target.numel() == 0:
        return pred.sum() * 0
    check_shapes(pred, target)
    difference = (pred - target).abs()
    b = math.exp(gamma / alpha) - 1
    curved = alpha / b * (b * difference + 1) * torch.log(b * difference / beta + 1) - alpha * difference
    loss = torch.where(difference < beta, curved, gamma * difference + gamma / b - alpha * beta)
    return reduce_loss(loss, None, reduction, None)


@MODELS.register_module()
class BalancedL1Loss(WeightedLoss):
    """:func:`balanced_l1_loss` as a loss of a config.

    Args:
        alpha, gamma, beta: see :func:`balanced_l1_loss`.
        reduction, loss_weight: see :class:`WeightedLoss`.
    """

    def __init__(
        self,
        alpha: float = 0.5,
        gamma: float = 1.5,
        beta: float = 1.0,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ):
        super().__init__(reduction, loss_weight)
        self.alpha, self.gamma, self.beta = alpha, gamma, beta

    def sample_losses(self, pred: Tensor, target: Tensor) -> Tensor:
        """See :func:`balanced_l1_loss`."""
        return balanced_l1_loss(pred, target, self.beta, self.alpha, self.gamma, reduction='none')
