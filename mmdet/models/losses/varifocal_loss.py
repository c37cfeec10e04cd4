"""Varifocal loss (Zhang et al., "VarifocalNet", CVPR 2021, arXiv 2008.13367, eq. 2)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmdet.errors import ArgumentError
from mmdet.registry import MODELS

from .focal_loss import NegativeFocal
from .reduction import WeightedLoss, check_reduction, reduce_loss


def varifocal_losses(
    pred: Tensor, target: Tensor, alpha: float = 0.75, gamma: float = 2.0, iou_weighted: bool = True
) -> Tensor:
    """Binary cross-entropy against the IoU q of a positive, times q; of a negative (q = 0), times ``alpha * p ** gamma``.

    Args:
        pred: (N, C) logits; computed in float32.
        target: (N, C) the IoU at a positive's class, 0 elsewhere.
        alpha, gamma: weight and focusing exponent of the negatives; the modulating factor is not detached.
        iou_weighted: weigh positives by q; otherwise by 1.

    Returns:
        (N, C).

    Raises:
        ArgumentError: shapes that differ.
    """
    if pred.shape != target.shape:
        raise ArgumentError('pred and target must have one shape', received=(tuple(pred.shape), tuple(target.shape)))
    with torch.autocast(pred.device.type, enabled=False):
        pred, target = pred.float(), target.float()
        # Every entry as a negative first; the few positives are overwritten afterwards.
        rows, columns = (target > 0).nonzero(as_tuple=True)
        quality = target[rows, columns]
        positive = F.binary_cross_entropy_with_logits(pred[rows, columns], quality, reduction='none')
        positive = positive * quality if iou_weighted else positive
        return NegativeFocal.apply(pred, gamma, 1 - alpha).index_put((rows, columns), positive)


def varifocal_loss(
    pred: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    alpha: float = 0.75,
    gamma: float = 2.0,
    iou_weighted: bool = True,
    reduction: str = 'mean',
    avg_factor: float | Tensor | None = None,
) -> Tensor:
    """:func:`varifocal_losses`, weighted (broadcastable to (N, C)) and reduced as by :func:`mmdet.models.losses.weight_reduce_loss`."""
    check_reduction(reduction)
    return reduce_loss(varifocal_losses(pred, target, alpha, gamma, iou_weighted), weight, reduction, avg_factor)


@MODELS.register_module()
class VarifocalLoss(WeightedLoss):
    """:func:`varifocal_losses` as a loss of a config.

    Args:
        use_sigmoid: must be True.
        alpha, gamma, iou_weighted: see :func:`varifocal_losses`.
        reduction, loss_weight: see :class:`WeightedLoss`.

    Raises:
        ArgumentError: ``use_sigmoid=False``, or a negative ``alpha``.
    """

    def __init__(
        self,
        use_sigmoid: bool = True,
        alpha: float = 0.75,
        gamma: float = 2.0,
        iou_weighted: bool = True,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ):
        super().__init__(reduction, loss_weight)
        if use_sigmoid is not True:
            raise ArgumentError(
                'only the varifocal loss of sigmoids is there; must be True', field='use_sigmoid', received=use_sigmoid
            )
        if alpha < 0:
            raise ArgumentError('must be >= 0', field='alpha', received=alpha)
        self.use_sigmoid, self.alpha, self.gamma, self.iou_weighted = use_sigmoid, alpha, gamma, iou_weighted

    def sample_losses(self, pred: Tensor, target: Tensor) -> Tensor:
        """See :func:`varifocal_losses`."""
        return varifocal_losses(pred, target, self.alpha, self.gamma, self.iou_weighted)
