"""Losses on the overlap of predicted and target boxes, all in float32.

Naming: N aligned pairs of boxes (x1, y1, x2, y2). A trailing ``_p`` belongs to the prediction, ``_t`` to the target.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from mmdet.core.boxes import bbox_overlaps
from mmdet.errors import ArgumentError
from mmdet.registry import MODELS

from .reduction import WeightedLoss, weighted_loss

_MODES = ('linear', 'square', 'log')


class _Pair(NamedTuple):
    """Aligned boxes and their overlap, each (N,)."""

    w_p: Tensor
    h_p: Tensor
    w_t: Tensor
    h_t: Tensor
    dx: Tensor  # centre of the target - centre of the prediction
    dy: Tensor
    hull_w: Tensor
    hull_h: Tensor
    iou: Tensor


def _pair(pred: Tensor, target: Tensor, eps: float) -> _Pair:
    """Measure (N, 4) boxes; ``eps`` is added to the union."""
    x1_p, y1_p, x2_p, y2_p = pred.float().unbind(-1)
    x1_t, y1_t, x2_t, y2_t = target.float().unbind(-1)
    w_p, h_p, w_t, h_t = x2_p - x1_p, y2_p - y1_p, x2_t - x1_t, y2_t - y1_t
    left, right, top, bottom = (torch.minimum(x1_p, x1_t), torch.maximum(x2_p, x2_t), torch.minimum(y1_p, y1_t), torch.maximum(y2_p, y2_t))  # fmt: skip
    inner_w = torch.minimum(x2_p, x2_t) - torch.maximum(x1_p, x1_t)
    inner_h = torch.minimum(y2_p, y2_t) - torch.maximum(y1_p, y1_t)
    intersection = inner_w.clamp(min=0) * inner_h.clamp(min=0)
    iou = intersection / (w_p * h_p + w_t * h_t - intersection + eps)
    dx, dy = ((x1_t + x2_t) - (x1_p + x2_p)) / 2, ((y1_t + y2_t) - (y1_p + y2_p)) / 2
    return _Pair(w_p, h_p, w_t, h_t, dx, dy, right - left, bottom - top, iou)


@weighted_loss
def iou_loss(pred: Tensor, target: Tensor, linear: bool = False, mode: str = 'log', eps: float = 1e-6) -> Tensor:
    """``-ln IoU`` (mode 'log', IoU at least ``eps``), ``1 - IoU`` ('linear') or ``1 - IoU**2`` ('square') of (N, 4) boxes: (N,).

    Args:
        pred, target: (N, 4) xyxy.
        linear: old form of ``mode='linear'``.
        mode: 'log', 'linear' or 'square'.
        eps: floor of the IoU.

    Raises:
        ArgumentError: another mode.
    """
    if mode not in _MODES:
        raise ArgumentError(f'must be one of {_MODES}', field='mode', received=mode)
    iou = bbox_overlaps(pred.float(), target.float(), is_aligned=True).clamp(min=eps)
    if linear or mode == 'linear':
        return 1 - iou
    return 1 - iou.square() if mode == 'square' else -iou.log()


@weighted_loss
def giou_loss(pred: Tensor, target: Tensor, eps: float = 1e-7) -> Tensor:
    """``1 - GIoU`` of (N, 4) boxes (Rezatofighi et al., CVPR 2019): (N,), in [0, 2]; ``eps`` is the floor of union and hull."""
    return 1 - bbox_overlaps(pred.float(), target.float(), 'giou', is_aligned=True, eps=eps)


@weighted_loss
def diou_loss(pred: Tensor, target: Tensor, eps: float = 1e-7) -> Tensor:
    """``1 - IoU +`` squared distance of the centres over the squared diagonal of the hull (Zheng et al., AAAI 2020, eq. 7): (N,)."""
    pair = _pair(pred, target, eps)
    return 1 - (pair.iou - _distance(pair, eps))


@weighted_loss
def ciou_loss(pred: Tensor, target: Tensor, eps: float = 1e-7) -> Tensor:
    """:func:`diou_loss` with the difference of the aspect ratios (Zheng et al., AAAI 2020, eq. 10): (N,), in [0, 2].

    The ratios count where the IoU exceeds 0.5, by a factor that gets no gradient.
    """
    pair = _pair(pred, target, eps)
    angle_t, angle_p = torch.atan(pair.w_t / (pair.h_t + eps)), torch.atan(pair.w_p / (pair.h_p + eps))
    ratio = 4 / math.pi**2 * (angle_t - angle_p).square()
    with torch.no_grad():
        alpha = (pair.iou > 0.5).float() * ratio / (1 - pair.iou + ratio)
    return 1 - (pair.iou - _distance(pair, eps) - alpha * ratio).clamp(-1, 1)


def _distance(pair: _Pair, eps: float) -> Tensor:
    return (pair.dx.square() + pair.dy.square()) / (pair.hull_w.square() + pair.hull_h.square() + eps)


@weighted_loss
def eiou_loss(pred: Tensor, target: Tensor, smooth_point: float = 0.1, eps: float = 1e-7) -> Tensor:
    """Smooth loss on the extended IoU (Peng and Yu, "A systematic IoU-related method", arXiv 2112.01747): (N,).

    The intersection is signed, so that boxes far apart still attract each other: where they miss each other on one or on both axes it is
    minus the area of the gap between them (both axes) or of the gap times the shared side.
    """
    x1_p, y1_p, x2_p, y2_p = pred.float().unbind(-1)
    x1_t, y1_t, x2_t, y2_t = target.float().unbind(-1)
    left, top = torch.minimum(x1_p, x1_t), torch.minimum(y1_p, y1_t)
    in_left, in_top = torch.maximum(x1_p, x1_t), torch.maximum(y1_p, y1_t)
    in_right, in_bottom = torch.minimum(x2_p, x2_t), torch.minimum(y2_p, y2_t)
    # The corners of the inner box in rising order, where the boxes miss each other.
    low_x, high_x = torch.minimum(in_left, in_right), torch.maximum(in_left, in_right)
    low_y, high_y = torch.minimum(in_top, in_bottom), torch.maximum(in_top, in_bottom)
    intersection = (
        (in_right - left) * (in_bottom - top)
        + (low_x - left) * (low_y - top)
        - (in_left - left) * (high_y - top)
        - (high_x - left) * (in_top - top)
    )
    union = (x2_p - x1_p) * (y2_p - y1_p) + (x2_t - x1_t) * (y2_t - y1_t) - intersection + eps
    miss = 1 - intersection / union
    return torch.where(miss < smooth_point, 0.5 * miss.square() / smooth_point, miss - 0.5 * smooth_point)


@weighted_loss
def siou_loss(pred: Tensor, target: Tensor, eps: float = 1e-7, neg_gamma: bool = False) -> Tensor:
    """``1 - IoU +`` half the costs of distance and shape (Gevorgyan, "SIoU Loss", arXiv 2205.12740): (N,), in [0, 2].

    Args:
        pred, target: (N, 4) xyxy.
        eps: added to divisors.
        neg_gamma: the negative exponent of the paper in the cost of the distance; False, the default of mmdetection, has the positive one,
            by which distance lowers the loss.
    """
    pair = _pair(pred, target, eps)
    dx, dy = pair.dx.abs() + eps, pair.dy.abs() + eps
    diagonal = torch.sqrt(dx.square() + dy.square())
    sine_of_x, sine_of_y = dy / diagonal, dx / diagonal
    sine = torch.where(sine_of_x > math.sin(math.pi / 4), sine_of_y, sine_of_x)
    angle = torch.cos(torch.asin(sine) * 2 - math.pi / 2)
    gamma = angle - 2 if neg_gamma else 2 - angle
    rho_x, rho_y = (dx / (pair.hull_w + eps)).square(), (dy / (pair.hull_h + eps)).square()
    distance = 2 - torch.exp(gamma * rho_x) - torch.exp(gamma * rho_y)
    shape = torch.zeros_like(distance)
    for side_p, side_t in ((pair.w_p, pair.w_t), (pair.h_p, pair.h_t)):
        omega = (side_p - side_t).abs() / (torch.maximum(side_p, side_t) + eps)
        shape = shape + (1 - torch.exp(-omega)).pow(4)
    return 1 - (pair.iou - 0.5 * (distance + shape)).clamp(-1, 1)


@weighted_loss
def bounded_iou_loss(pred: Tensor, target: Tensor, beta: float = 0.2, eps: float = 1e-3) -> Tensor:
    """Smooth L1, with ``beta``, of upper bounds of the IoU for each of x, y, w, h (Tychsen-Smith and Petersson, CVPR 2018): (N, 4)."""
    pair = _pair(pred, target.detach(), 0.0)
    bounds = []
    for shift, side in ((pair.dx.abs(), pair.w_t), (pair.dy.abs(), pair.h_t)):
        bounds.append(1 - ((side - 2 * shift) / (side + 2 * shift + eps)).clamp(min=0))
    for side_p, side_t in ((pair.w_p, pair.w_t), (pair.h_p, pair.h_t)):
        bounds.append(1 - torch.minimum(side_t / (side_p + eps), side_p / (side_t + eps)))
    miss = torch.stack(bounds, dim=-1)
    return torch.where(miss < beta, 0.5 * miss.square() / beta, miss - 0.5 * beta)


@MODELS.register_module()
class IoULoss(WeightedLoss):
    """:func:`iou_loss` as a loss of a config.

    Args:
        linear: old form of ``mode='linear'``.
        eps, mode: see :func:`iou_loss`.
        reduction, loss_weight: see :class:`WeightedLoss`.

    Raises:
        ArgumentError: an unknown mode.
    """

    def __init__(
        self,
        linear: bool = False,
        eps: float = 1e-6,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        mode: str = 'log',
    ):
        super().__init__(reduction, loss_weight)
        if mode not in _MODES:
            raise ArgumentError(f'must be one of {_MODES}', field='mode', received=mode)
        self.mode, self.linear, self.eps = 'linear' if linear else mode, linear, eps

    def sample_losses(self, pred: Tensor, target: Tensor) -> Tensor:
        """See :func:`iou_loss`."""
        return iou_loss(pred, target, reduction='none', mode=self.mode, eps=self.eps)


@MODELS.register_module()
class GIoULoss(WeightedLoss):
    """``1 - GIoU`` of aligned (N, 4) xyxy boxes, in float32 (Rezatofighi et al., CVPR 2019).

    Args:
        eps: floor of the union and of the enclosing area.
        reduction, loss_weight: see :class:`WeightedLoss`.
        offset: added to every width and height; 1 is the inclusive-pixel convention of mmdetection 1.x.
    """

    def __init__(self, eps: float = 1e-6, reduction: str = 'mean', loss_weight: float = 1.0, offset: float = 0.0):
        super().__init__(reduction, loss_weight)
        self.eps, self.offset = eps, offset

    def sample_losses(self, pred: Tensor, target: Tensor) -> Tensor:
        """``1 - GIoU`` of (N, 4) and (N, 4) boxes: (N,), in [0, 2]."""
        boxes = (pred.float(), target.float())
        return 1 - bbox_overlaps(*boxes, 'giou', is_aligned=True, eps=self.eps, offset=self.offset)


class _EpsLoss(WeightedLoss):
    """Base of the losses whose first argument is ``eps``."""

    def __init__(self, eps: float = 1e-6, reduction: str = 'mean', loss_weight: float = 1.0):
        super().__init__(reduction, loss_weight)
        self.eps = eps


@MODELS.register_module()
class DIoULoss(_EpsLoss):
    """:func:`diou_loss` as a loss of a config.

    Args:
        eps: see :func:`diou_loss`.
        reduction, loss_weight: see :class:`WeightedLoss`.
    """

    def sample_losses(self, pred: Tensor, target: Tensor) -> Tensor:
        """See :func:`diou_loss`."""
        return diou_loss(pred, target, reduction='none', eps=self.eps)


@MODELS.register_module()
class CIoULoss(_EpsLoss):
    """:func:`ciou_loss` as a loss of a config.

    Args:
        eps: see :func:`ciou_loss`.
        reduction, loss_weight: see :class:`WeightedLoss`.
    """

    def sample_losses(self, pred: Tensor, target: Tensor) -> Tensor:
        """See :func:`ciou_loss`."""
        return ciou_loss(pred, target, reduction='none', eps=self.eps)


@MODELS.register_module()
class EIoULoss(_EpsLoss):
    """:func:`eiou_loss` as a loss of a config.

    Args:
        eps, smooth_point: see :func:`eiou_loss`.
        reduction, loss_weight: see :class:`WeightedLoss`.
    """

    def __init__(self, eps: float = 1e-6, reduction: str = 'mean', loss_weight: float = 1.0, smooth_point: float = 0.1):
        super().__init__(eps, reduction, loss_weight)
        self.smooth_point = smooth_point

    def sample_losses(self, pred: Tensor, target: Tensor) -> Tensor:
        """See :func:`eiou_loss`."""
        return eiou_loss(pred, target, reduction='none', smooth_point=self.smooth_point, eps=self.eps)


@MODELS.register_module()
class SIoULoss(_EpsLoss):
    """:func:`siou_loss` as a loss of a config.

    Args:
        eps, neg_gamma: see :func:`siou_loss`.
        reduction, loss_weight: see :class:`WeightedLoss`.
    """

    def __init__(self, eps: float = 1e-6, reduction: str = 'mean', loss_weight: float = 1.0, neg_gamma: bool = False):
        super().__init__(eps, reduction, loss_weight)
        self.neg_gamma = neg_gamma

    def sample_losses(self, pred: Tensor, target: Tensor) -> Tensor:
        """See :func:`siou_loss`."""
        return siou_loss(pred, target, reduction='none', eps=self.eps, neg_gamma=self.neg_gamma)


@MODELS.register_module()
class BoundedIoULoss(WeightedLoss):
    """:func:`bounded_iou_loss` as a loss of a config.

    Args:
        beta, eps: see :func:`bounded_iou_loss`.
        reduction, loss_weight: see :class:`WeightedLoss`.
    """

    def __init__(self, beta: float = 0.2, eps: float = 1e-3, reduction: str = 'mean', loss_weight: float = 1.0):
        super().__init__(reduction, loss_weight)
        self.beta, self.eps = beta, eps

    def sample_losses(self, pred: Tensor, target: Tensor) -> Tensor:
        """See :func:`bounded_iou_loss`."""
        return bounded_iou_loss(pred, target, reduction='none', beta=self.beta, eps=self.eps)
