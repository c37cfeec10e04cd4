"""Focal loss (Lin et al., ICCV 2017, arXiv 1708.02002, eq. 5).

Naming: N samples, C classes; p the probability of a class, g = ``gamma``, a = ``alpha``.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from mmdet.errors import ArgumentError
from mmdet.registry import MODELS

from .reduction import WeightedLoss, check_reduction, fit_weight, reduce_loss


class NegativeFocal(torch.autograd.Function):
    """``(1 - a) p^g -ln(1 - p)`` of float32 logits, as if every entry were a negative; its gradient is made in the forward pass.

    Autograd would keep five maps of the size of the logits, this keeps one.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, gamma: float, alpha: float) -> Tensor:
        probability = logits.sigmoid()
        factor = probability.square() if gamma == 2 else probability.pow(gamma)
        factor.mul_(1 - alpha)
        loss = F.softplus(logits)
        if ctx.needs_input_grad[0]:
            # d/dx = (1 - a) p^g (g (1 - p) softplus(x) + p)
            ctx.save_for_backward(torch.rsub(probability, 1).mul_(loss).mul_(gamma).add_(probability).mul_(factor))
        return loss.mul_(factor)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (slope,) = ctx.saved_tensors
        return grad * slope, None, None


def focal_losses(
    pred: Tensor, target: Tensor, gamma: float = 2.0, alpha: float = 0.25, activated: bool = False
) -> Tensor:
    """The focal loss of every entry, in float32.

    Args:
        pred: (N, C) logits, or probabilities when ``activated``.
        target: (N,) labels, where one outside [0, C) is background; or soft or one-hot targets (N, C).
        gamma: focusing exponent; the modulating factor is not detached.
        alpha: weight of positives; negatives weigh ``1 - alpha``.
        activated: whether ``pred`` holds probabilities.

    Returns:
        (N, C).
    """
    # torch refuses BCE of probabilities under autocast, whatever their type.
    with torch.autocast(pred.device.type, enabled=False):
        pred = pred.float()
        if target.dim() == pred.dim():
            return _focal_of_soft(pred, target.float(), gamma, alpha, activated)
        rows = ((target >= 0) & (target < pred.size(1))).nonzero().squeeze(1)
        columns = target[rows]
        if activated:
            one_hot = torch.zeros_like(pred).index_put((rows, columns), pred.new_ones(()))
            return _focal_of_soft(pred, one_hot, gamma, alpha, activated)
        positive = pred[rows, columns]  # few
        positive = F.softplus(-positive) * (alpha * (-positive).sigmoid().pow(gamma))
        return NegativeFocal.apply(pred, gamma, alpha).index_put((rows, columns), positive)


def _focal_of_soft(pred: Tensor, target: Tensor, gamma: float, alpha: float, activated: bool) -> Tensor:
    probability = pred if activated else pred.sigmoid()
    cross_entropy = F.binary_cross_entropy if activated else F.binary_cross_entropy_with_logits
    miss = (1 - probability) * target + probability * (1 - target)
    factor = (alpha * target + (1 - alpha) * (1 - target)) * miss.pow(gamma)
    return cross_entropy(pred, target, reduction='none') * factor


def sigmoid_focal_loss(
    pred: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    gamma: float = 2.0,
    alpha: float = 0.25,
    reduction: str = 'mean',
    avg_factor: float | Tensor | None = None,
) -> Tensor:
    """:func:`focal_losses` of logits, weighted ((N,) or (N, C)) and reduced as by :func:`mmdet.models.losses.weight_reduce_loss`."""
    return _reduced(focal_losses(pred, target, gamma, alpha), weight, reduction, avg_factor)


# One arithmetic serves labels and soft targets on every device; mmdetection names its plain torch form separately.
py_sigmoid_focal_loss = sigmoid_focal_loss


def py_focal_loss_with_prob(
    pred: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    gamma: float = 2.0,
    alpha: float = 0.25,
    reduction: str = 'mean',
    avg_factor: float | Tensor | None = None,
) -> Tensor:
    """:func:`sigmoid_focal_loss` of probabilities."""
    return _reduced(focal_losses(pred, target, gamma, alpha, activated=True), weight, reduction, avg_factor)


def _reduced(loss: Tensor, weight: Tensor | None, reduction: str, avg_factor: float | Tensor | None) -> Tensor:
    check_reduction(reduction)
    return reduce_loss(loss, None if weight is None else fit_weight(weight, loss), reduction, avg_factor)


@MODELS.register_module()
class FocalLoss(WeightedLoss):
    """:func:`focal_losses` as a loss of a config.

    Args:
        use_sigmoid: must be True.
        gamma, alpha, activated: see :func:`focal_losses`.
        reduction, loss_weight: see :class:`WeightedLoss`.

    Raises:
        ArgumentError: ``use_sigmoid=False``.
    """

    def __init__(
        self,
        use_sigmoid: bool = True,
        gamma: float = 2.0,
        alpha: float = 0.25,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        activated: bool = False,
    ):
        super().__init__(reduction, loss_weight)
        if use_sigmoid is not True:
            raise ArgumentError(
                'only the focal loss of sigmoids is there; must be True', field='use_sigmoid', received=use_sigmoid
            )
        self.use_sigmoid, self.gamma, self.alpha, self.activated = use_sigmoid, gamma, alpha, activated

    def sample_losses(self, pred: Tensor, target: Tensor) -> Tensor:
        """See :func:`focal_losses`."""
        return focal_losses(pred, target, self.gamma, self.alpha, self.activated)
