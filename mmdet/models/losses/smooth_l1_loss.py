"""L1 and smooth L1 (Girshick, "Fast R-CNN", ICCV 2015), element by element; pred and target have one shape, most often (N, 4)."""

import torch.nn.functional as F
from torch import Tensor

from mmdet.errors import ArgumentError
from mmdet.registry import MODELS

from .reduction import WeightedLoss, weighted_loss


def check_shapes(pred: Tensor, target: Tensor) -> None:
    """Raise ArgumentError where two shapes differ."""
    if pred.shape != target.shape:
        raise ArgumentError('pred and target must have one shape', received=(tuple(pred.shape), tuple(target.shape)))


@weighted_loss
def l1_loss(pred: Tensor, target: Tensor) -> Tensor:
    """``|pred - target|``; 0, with a gradient of 0, where ``target`` is empty."""
    if target.numel() == 0:
        return pred.sum() * 0
    check_shapes(pred, target)
    return (pred - target).abs()


@weighted_loss
def smooth_l1_loss(pred: Tensor, target: Tensor, beta: float = 1.0) -> Tensor:
    """``d**2 / (2 beta)`` of differences d below ``beta``, ``d - beta / 2`` of larger ones; 0 where ``target`` is empty.

    Raises:
        ArgumentError: ``beta`` not above 0, or shapes that differ.
    """
    if not beta > 0:
        raise ArgumentError('must be > 0', field='beta', received=beta)
    if target.numel() == 0:
        return pred.sum() * 0
    check_shapes(pred, target)
    return F.smooth_l1_loss(pred, target, reduction='none', beta=beta)


@MODELS.register_module()
class L1Loss(WeightedLoss):
    """:func:`l1_loss` as a loss of a config; arguments as of :class:`WeightedLoss`."""

    def sample_losses(self, pred: Tensor, target: Tensor) -> Tensor:
        """See :func:`l1_loss`."""
        return l1_loss(pred, target, reduction='none')


@MODELS.register_module()
class SmoothL1Loss(WeightedLoss):
    """:func:`smooth_l1_loss` as a loss of a config.

    Args:
        beta: see :func:`smooth_l1_loss`.
        reduction, loss_weight: see :class:`WeightedLoss`.
    """

    def __init__(self, beta: float = 1.0, reduction: str = 'mean', loss_weight: float = 1.0):
        super().__init__(reduction, loss_weight)
        self.beta = beta

    def sample_losses(self, pred: Tensor, target: Tensor) -> Tensor:
        """See :func:`smooth_l1_loss`."""
        return smooth_l1_loss(pred, target, reduction='none', beta=self.beta)
