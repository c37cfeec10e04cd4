"""Losses on the overlap of predicted and target boxes."""

from torch import Tensor

from mmdet.core.boxes import bbox_overlaps
from mmdet.registry import MODELS

from .reduction import WeightedLoss


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
