"""Focal loss against Gaussian bumps (Law and Deng, "CornerNet", ECCV 2018, arXiv 1808.01244, eq. 1)."""

import torch
from torch import Tensor

from mmdet.registry import MODELS

from .reduction import WeightedLoss, check_reduction, fit_weight, reduce_loss, weighted_loss

_EPS = 1e-12


@weighted_loss
def gaussian_focal_loss(
    pred: Tensor,
    gaussian_target: Tensor,
    alpha: float = 2.0,
    gamma: float = 4.0,
    pos_weight: float = 1.0,
    neg_weight: float = 1.0,
) -> Tensor:
    """``(1 - p)^alpha -ln p`` where the target is 1, ``p^alpha (1 - target)^gamma -ln(1 - p)`` elsewhere.

    Args:
        pred: probabilities p, any shape.
        gaussian_target: the same shape, in [0, 1].
        alpha: focusing exponent.
        gamma: how much the surroundings of a centre are spared.
        pos_weight, neg_weight: factors of the two parts.
    """
    positive = -(pred + _EPS).log() * (1 - pred).pow(alpha) * gaussian_target.eq(1)
    return pos_weight * positive + neg_weight * _negative(pred, gaussian_target, alpha, gamma)


def _negative(pred: Tensor, target: Tensor, alpha: float, gamma: float) -> Tensor:
    return -(1 - pred + _EPS).log() * pred.pow(alpha) * (1 - target).pow(gamma)


def gaussian_focal_loss_with_pos_inds(
    pred: Tensor,
    gaussian_target: Tensor,
    pos_inds: Tensor,
    pos_labels: Tensor,
    alpha: float = 2.0,
    gamma: float = 4.0,
    pos_weight: float = 1.0,
    neg_weight: float = 1.0,
    reduction: str = 'mean',
    avg_factor: float | Tensor | None = None,
) -> Tensor:
    """The same loss of (N, C) probabilities whose positives are given by rows ``pos_inds`` (n,) and classes ``pos_labels`` (n,) (CenterNet2).

    Positives and negatives are reduced apart and added.
    """
    check_reduction(reduction)
    own = pred[pos_inds, pos_labels][:, None]
    positive = reduce_loss(-(own + _EPS).log() * (1 - own).pow(alpha), None, reduction, avg_factor)
    negative = reduce_loss(_negative(pred, gaussian_target, alpha, gamma), None, reduction, avg_factor)
    return pos_weight * positive + neg_weight * negative


@MODELS.register_module()
class GaussianFocalLoss(WeightedLoss):
    """:func:`gaussian_focal_loss` as a loss of a config.

    Args:
        alpha, gamma, pos_weight, neg_weight: see :func:`gaussian_focal_loss`.
        reduction, loss_weight: see :class:`WeightedLoss`.
    """

    def __init__(
        self,
        alpha: float = 2.0,
        gamma: float = 4.0,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        pos_weight: float = 1.0,
        neg_weight: float = 1.0,
    ):
        super().__init__(reduction, loss_weight)
        self.alpha, self.gamma, self.pos_weight, self.neg_weight = alpha, gamma, pos_weight, neg_weight

    def forward(  # type: ignore[override]
        self,
        pred: Tensor,
        target: Tensor,
        pos_inds: Tensor | None = None,
        pos_labels: Tensor | None = None,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Loss of probabilities ``pred``; with ``pos_inds`` and ``pos_labels`` that of :func:`gaussian_focal_loss_with_pos_inds`."""
        check_reduction(reduction_override)
        reduction = reduction_override or self.reduction
        options = dict(alpha=self.alpha, gamma=self.gamma, pos_weight=self.pos_weight, neg_weight=self.neg_weight)
        with torch.autocast(pred.device.type, enabled=False):
            pred, target = pred.float(), target.float()
            if pos_inds is not None and pos_labels is not None:
                loss = gaussian_focal_loss_with_pos_inds(
                    pred, target, pos_inds, pos_labels, reduction=reduction, avg_factor=avg_factor, **options
                )
            else:
                weight = None if weight is None else fit_weight(weight, pred)
                loss = gaussian_focal_loss(pred, target, weight, reduction, avg_factor, **options)
        return self.loss_weight * loss
