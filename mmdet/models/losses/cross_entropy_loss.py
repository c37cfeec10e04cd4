"""Cross-entropy of classes (softmax), of independent classes (sigmoid) and of masks.

Naming: N samples, C classes.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmdet.errors import ArgumentError
from mmdet.registry import MODELS

from .reduction import WeightedLoss, check_reduction, fit_weight, reduce_loss

_IGNORED = -100  # torch's own default
_Factor = float | Tensor | None


def cross_entropy(
    pred: Tensor,
    label: Tensor,
    weight: Tensor | None = None,
    reduction: str = 'mean',
    avg_factor: _Factor = None,
    class_weight: Tensor | None = None,
    ignore_index: int | None = _IGNORED,
    avg_non_ignore: bool = False,
) -> Tensor:
    """Softmax cross-entropy.

    Args:
        pred: (N, C, ...) logits.
        label: (N, ...) class indices.
        weight: of the shape of ``label``, or None.
        reduction, avg_factor: see :func:`mmdet.models.losses.weight_reduce_loss`.
        class_weight: (C,) factors of the classes.
        ignore_index: a label whose samples have a loss of 0; None: -100.
        avg_non_ignore: let 'mean' divide by the number of samples that are not ignored.
    """
    check_reduction(reduction)
    ignored = _IGNORED if ignore_index is None else ignore_index
    loss = F.cross_entropy(pred, label, weight=class_weight, reduction='none', ignore_index=ignored)
    if avg_factor is None and avg_non_ignore and reduction == 'mean':
        avg_factor = (label != ignored).sum()
    return reduce_loss(loss, None if weight is None else fit_weight(weight.float(), loss), reduction, avg_factor)


def binary_cross_entropy(
    pred: Tensor,
    label: Tensor,
    weight: Tensor | None = None,
    reduction: str = 'mean',
    avg_factor: _Factor = None,
    class_weight: Tensor | None = None,
    ignore_index: int | None = _IGNORED,
    avg_non_ignore: bool = False,
) -> Tensor:
    """Cross-entropy of sigmoids.

    Args:
        pred: (N, C) logits, or (N,).
        label: (N,) class indices of (N, C) logits, where one of at least C is background; or soft targets of the shape of ``pred``, negative ones
            ignored.
        weight: (N,) or the shape of ``pred``.
        reduction, avg_factor: see :func:`mmdet.models.losses.weight_reduce_loss`.
        class_weight: (C,) factors of the positives.
        ignore_index: a label that is ignored, as every negative one; None: -100.
        avg_non_ignore: let 'mean' divide by the number of elements that are not ignored.
    """
    check_reduction(reduction)
    ignored = _IGNORED if ignore_index is None else ignore_index
    valid = (label >= 0) & (label != ignored)
    target = label.to(pred.dtype)
    if label.dim() != pred.dim():
        rows = (valid & (label < pred.size(-1))).nonzero().squeeze(1)
        target = torch.zeros_like(pred).index_put((rows, label[rows]), pred.new_ones(()))
        valid = valid[:, None].expand_as(pred)
    loss = F.binary_cross_entropy_with_logits(pred, target, pos_weight=class_weight, reduction='none')
    if avg_factor is None and avg_non_ignore and reduction == 'mean':
        avg_factor = valid.sum()
    factor = valid.to(loss.dtype)
    return reduce_loss(loss, factor if weight is None else factor * fit_weight(weight, loss), reduction, avg_factor)


def mask_cross_entropy(
    pred: Tensor,
    target: Tensor,
    label: Tensor,
    reduction: str = 'mean',
    avg_factor: _Factor = None,
    class_weight: Tensor | None = None,
    ignore_index: int | None = None,
    **kwargs: Any,
) -> Tensor:
    """Cross-entropy of the sigmoids of each sample's own class.

    Args:
        pred: (N, C, ...) logits.
        target: (N, ...) in [0, 1].
        label: (N,) which of the C maps counts.
        reduction, avg_factor, ignore_index: must be 'mean', None and None.
        class_weight: factors of the elements, broadcastable to ``target``.
        **kwargs: accepted and not used.

    Returns:
        (1,) the mean.

    Raises:
        ArgumentError: another ``reduction``, an ``avg_factor`` or an ``ignore_index``.
    """
    if ignore_index is not None:
        raise ArgumentError('masks ignore no label; must be None', field='ignore_index', received=ignore_index)
    if reduction != 'mean' or avg_factor is not None:
        raise ArgumentError("masks take reduction='mean' and no avg_factor", received=(reduction, avg_factor))
    own = pred[torch.arange(len(pred), device=pred.device), label]
    return F.binary_cross_entropy_with_logits(own, target, weight=class_weight, reduction='mean')[None]


@MODELS.register_module()
class CrossEntropyLoss(WeightedLoss):
    """Cross-entropy as a loss of a config.

    Args:
        use_sigmoid: :func:`binary_cross_entropy` instead of :func:`cross_entropy`.
        use_mask: :func:`mask_cross_entropy`.
        reduction, loss_weight: see :class:`WeightedLoss`.
        class_weight: C factors.
        ignore_index, avg_non_ignore: see the functions.

    Raises:
        ArgumentError: both ``use_sigmoid`` and ``use_mask``.
    """

    def __init__(
        self,
        use_sigmoid: bool = False,
        use_mask: bool = False,
        reduction: str = 'mean',
        class_weight: Sequence[float] | None = None,
        ignore_index: int | None = None,
        loss_weight: float = 1.0,
        avg_non_ignore: bool = False,
    ):
        super().__init__(reduction, loss_weight)
        if use_sigmoid and use_mask:
            raise ArgumentError('use_sigmoid and use_mask cannot be given together')
        self.use_sigmoid, self.use_mask, self.class_weight = use_sigmoid, use_mask, class_weight
        self.ignore_index, self.avg_non_ignore = ignore_index, avg_non_ignore
        self.cls_criterion: Callable[..., Tensor] = cross_entropy
        if use_sigmoid or use_mask:
            self.cls_criterion = binary_cross_entropy if use_sigmoid else mask_cross_entropy

    def extra_repr(self) -> str:
        """The argument that decides which losses are averaged."""
        return f'avg_non_ignore={self.avg_non_ignore}'

    def forward(  # type: ignore[override]
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        avg_factor: _Factor = None,
        reduction_override: str | None = None,
        ignore_index: int | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Loss of N samples; ``ignore_index`` and ``reduction_override`` replace those of the constructor.

        Args:
            cls_score, label, weight, avg_factor: see the function of this loss; of masks the third argument holds the labels.
            **kwargs: further arguments of the function.
        """
        check_reduction(reduction_override)
        loss = self.cls_criterion(
            cls_score,
            label,
            weight,
            class_weight=None if self.class_weight is None else cls_score.new_tensor(self.class_weight),
            reduction=reduction_override or self.reduction,
            avg_factor=avg_factor,
            ignore_index=self.ignore_index if ignore_index is None else ignore_index,
            avg_non_ignore=self.avg_non_ignore,
            **kwargs,
        )
        return self.loss_weight * loss
