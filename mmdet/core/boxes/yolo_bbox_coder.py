"""Boxes as a place in a grid cell and the scale of an anchor (YOLOv3, arXiv 1804.02767, section 2.1)."""

from typing import Any

import torch
from torch import Tensor

from mmdet.registry import TASK_UTILS

from .base_bbox_coder import BaseBBoxCoder, check_pairs
from .horizontal_boxes import HorizontalBoxes
from .transforms import bbox_cxcywh_to_xyxy, bbox_xyxy_to_cxcywh, get_box_tensor


@TASK_UTILS.register_module()
class YOLOBBoxCoder(BaseBBoxCoder):
    """A box is the place of its centre in the cell, from 0 to 1 in x and y, and the logarithms of its sides over those of the anchor.

    The anchor's centre is the middle of the cell.

    Args:
        eps: targets of the place are in [eps, 1 - eps], and the ratio of the sides is at least eps.
        **kwargs: see :class:`BaseBBoxCoder`.
    """

    def __init__(self, eps: float = 1e-6, **kwargs: Any):
        super().__init__(**kwargs)
        self.eps = eps

    def encode(self, bboxes: Any, gt_bboxes: Any, stride: Tensor | float) -> Tensor:  # type: ignore[override]
        """Anchors (n, 4) and boxes (n, 4), tensors xyxy or box objects, to (n, 4) x, y, log w, log h.

        Args:
            bboxes: the anchors.
            gt_bboxes: the boxes.
            stride: side of the cells in pixels, one number or (n,).

        Raises:
            ArgumentError: not equally many, or not 4 columns.
        """
        bboxes, gt_bboxes = get_box_tensor(bboxes), get_box_tensor(gt_bboxes)
        check_pairs(bboxes, gt_bboxes, 'gt_bboxes')
        anchor, box = bbox_xyxy_to_cxcywh(bboxes), bbox_xyxy_to_cxcywh(gt_bboxes)
        place = ((box[..., :2] - anchor[..., :2]) / _column(stride) + 0.5).clamp(self.eps, 1 - self.eps)
        return torch.cat([place, (box[..., 2:] / anchor[..., 2:]).clamp(min=self.eps).log()], dim=-1)

    def decode(self, bboxes: Any, pred_bboxes: Tensor, stride: Tensor | float) -> Any:  # type: ignore[override]
        """The inverse of :meth:`encode`, for places in [0, 1] that a sigmoid went over already: (..., n, 4) xyxy, not clipped.

        Args:
            bboxes: (n, 4) anchors.
            pred_bboxes: (n, 4) or (B, n, 4).
            stride: side of the cells, one number, (n,) or (n, 1).
        """
        anchor = bbox_xyxy_to_cxcywh(get_box_tensor(bboxes))
        center = anchor[..., :2] + (pred_bboxes[..., :2] - 0.5) * _column(stride)
        boxes = bbox_cxcywh_to_xyxy(torch.cat([center, anchor[..., 2:] * pred_bboxes[..., 2:].exp()], dim=-1))
        return HorizontalBoxes(boxes, clone=False) if self.use_box_type else boxes


def _column(stride: Tensor | float) -> Tensor | float:
    """(n,) strides as (n, 1)."""
    return stride[:, None] if isinstance(stride, Tensor) and stride.dim() == 1 else stride
