"""Losses on the overlap of predicted and target boxes."""

from torch import Tensor

from mmdet.core.boxes import bbox_overlaps
from mmdet.registry import MODELS

from .reduction import WeightedLoss


@MODELS.register_module()
class GIoULoss(WeightedLoss):
    """``1 - GIoU`` of aligned boxes (Rezatofighi et al., CVPR 2019).

    Args:
        eps: floor of the union and of the enclosing area.
        reduction: 'none', 'mean' or 'sum'.
        loss_weight: factor of the result.
        offset: added to every width and height; 1 is the inclusive-pixel convention of mmdetection 1.x.
    """

    def __init__(self, eps: float = 1e-6, reduction: str = 'mean', loss_weight: float = 1.0, offset: float = 0.0):
        super().__init__(reduction, loss_weight)
        self.eps = eps
        self.offset = offset

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Loss of (N, 4) xyxy boxes.

        Args:
            pred: (N, 4).
            target: (N, 4).
            weight: (N,), or (N, 4), of which the mean is taken.
            avg_factor: what 'mean' divides by.
            reduction_override: instead of the constructor's ``reduction``.
        """
        loss = 1 - bbox_overlaps(
            pred.float(), target.float(), 'giou', is_aligned=True, eps=self.eps, offset=self.offset
        )
        if weight is not None and weight.dim() > 1:
            weight = weight.mean(-1)
        return self.reduce(loss, weight, avg_factor, reduction_override)
