"""Boxes as distances from a prior's centre in sides of the prior: top, bottom, left, right (FSAF, CVPR 2019)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mmdet.registry import TASK_UTILS

from .base_bbox_coder import BaseBBoxCoder, MaxShape, check_pairs
from .distances import clip_boxes
from .horizontal_boxes import HorizontalBoxes
from .transforms import bbox_xyxy_to_cxcywh, get_box_tensor


def _unit(priors: Tensor, normalizer: Sequence[float] | float, normalize_by_wh: bool) -> Tensor:
    """(..., 4) the length of 1 in each direction, in pixels."""
    unit = torch.as_tensor(normalizer, dtype=priors.dtype, device=priors.device).expand(priors.shape)
    return unit * (priors[..., 2:] - priors[..., :2])[..., [1, 1, 0, 0]] if normalize_by_wh else unit


def bboxes2tblr(
    priors: Tensor, gts: Tensor, normalizer: Sequence[float] | float = 4.0, normalize_by_wh: bool = True
) -> Tensor:
    """Distances (..., n, 4) of the sides of boxes from the centres of priors, both (..., n, 4) xyxy.

    Args:
        priors: the priors.
        gts: the boxes.
        normalizer: by what the distances are divided, one number or one each.
        normalize_by_wh: divide by the prior's height or width too; otherwise distances are in pixels.
    """
    x, y = bbox_xyxy_to_cxcywh(priors)[..., :2].unbind(-1)
    x1, y1, x2, y2 = gts.unbind(-1)
    return torch.stack([y - y1, y2 - y, x - x1, x2 - x], dim=-1) / _unit(priors, normalizer, normalize_by_wh)


def tblr2bboxes(
    priors: Tensor,
    tblr: Tensor,
    normalizer: Sequence[float] | float = 4.0,
    normalize_by_wh: bool = True,
    max_shape: MaxShape | None = None,
    clip_border: bool = True,
) -> Tensor:
    """The inverse of :func:`bboxes2tblr`: (..., n, 4) xyxy, clipped to ``max_shape`` if that is given and ``clip_border`` is set."""
    x, y = bbox_xyxy_to_cxcywh(priors)[..., :2].unbind(-1)
    top, bottom, left, right = (tblr * _unit(priors, normalizer, normalize_by_wh)).unbind(-1)
    boxes = torch.stack([x - left, y - top, x + right, y + bottom], dim=-1)
    return clip_boxes(boxes, max_shape) if clip_border and max_shape is not None else boxes


@TASK_UTILS.register_module()
class TBLRBBoxCoder(BaseBBoxCoder):
    """:func:`bboxes2tblr` and :func:`tblr2bboxes` as a component of a config.

    Args:
        normalizer: see :func:`bboxes2tblr`.
        clip_border: whether :meth:`decode` clips to ``max_shape``.
        **kwargs: see :class:`BaseBBoxCoder`.
    """

    def __init__(self, normalizer: Sequence[float] | float = 4.0, clip_border: bool = True, **kwargs: Any):
        super().__init__(**kwargs)
        self.normalizer, self.clip_border = normalizer, clip_border

    def encode(self, bboxes: Any, gt_bboxes: Any) -> Tensor:
        """Priors (n, 4) and boxes (n, 4), tensors xyxy or box objects, to (n, 4) top, bottom, left, right.

        Raises:
            ArgumentError: not equally many, or not 4 columns.
        """
        bboxes, gt_bboxes = get_box_tensor(bboxes), get_box_tensor(gt_bboxes)
        check_pairs(bboxes, gt_bboxes, 'gt_bboxes')
        return bboxes2tblr(bboxes, gt_bboxes, self.normalizer)

    def decode(self, bboxes: Any, pred_bboxes: Tensor, max_shape: MaxShape | None = None) -> Any:
        """Priors and distances, (n, 4) or (B, n, 4), to boxes; see :func:`tblr2bboxes`.

        Raises:
            ArgumentError: not equally many, or not 4 columns.
        """
        bboxes = get_box_tensor(bboxes)
        check_pairs(bboxes, pred_bboxes, 'pred_bboxes')
        boxes = tblr2bboxes(bboxes, pred_bboxes, self.normalizer, max_shape=max_shape, clip_border=self.clip_border)
        return HorizontalBoxes(boxes, clone=False) if self.use_box_type else boxes
