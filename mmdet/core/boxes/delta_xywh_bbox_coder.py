"""Boxes as shift and scale of a prior (R-CNN, CVPR 2014, appendix C).

Naming: B images, n priors, C classes.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mmdet.registry import TASK_UTILS

from .base_bbox_coder import BaseBBoxCoder, MaxShape, check_pairs
from .distances import clip_boxes
from .horizontal_boxes import HorizontalBoxes
from .transforms import bbox_xyxy_to_cxcywh, get_box_tensor

_ZEROS, _ONES = (0.0, 0.0, 0.0, 0.0), (1.0, 1.0, 1.0, 1.0)
# Sides are at most 1000 / 16 times as long as those of their prior, so that the exponential stays finite (Detectron).
_WH_RATIO_CLIP = 16 / 1000


def bbox2delta(proposals: Tensor, gt: Tensor, means: Sequence[float] = _ZEROS, stds: Sequence[float] = _ONES) -> Tensor:
    """Shift of the centre in sides of the prior, and logarithm of the scale, of boxes (..., n, 4) xyxy against priors (..., n, 4) xyxy.

    Returns:
        (..., n, 4) dx, dy, dw, dh, minus ``means``, over ``stds``.
    """
    prior, box = bbox_xyxy_to_cxcywh(proposals.float()), bbox_xyxy_to_cxcywh(gt.float())
    shift = (box[..., :2] - prior[..., :2]) / prior[..., 2:]
    deltas = torch.cat([shift, (box[..., 2:] / prior[..., 2:]).log()], dim=-1)
    return (deltas - deltas.new_tensor(means)) / deltas.new_tensor(stds)


def delta2bbox(
    rois: Tensor,
    deltas: Tensor,
    means: Sequence[float] = _ZEROS,
    stds: Sequence[float] = _ONES,
    max_shape: MaxShape | None = None,
    wh_ratio_clip: float = _WH_RATIO_CLIP,
    clip_border: bool = True,
    add_ctr_clamp: bool = False,
    ctr_clamp: int = 32,
) -> Tensor:
    """The inverse of :func:`bbox2delta`.

    Args:
        rois: (n, 4) or (B, n, 4) xyxy priors.
        deltas: (n, 4 C) or (B, n, 4 C), class by class.
        means: see :func:`bbox2delta`.
        stds: see there.
        max_shape: (height, width), or one pair for each image of a batch; boxes are clipped to x in [0, width], y in [0, height].
        wh_ratio_clip: the scale of a side is between this and its reciprocal.
        clip_border: whether to clip to ``max_shape``.
        add_ctr_clamp: limit the shift to ``ctr_clamp`` pixels, and the scale from above only (YOLOF, CVPR 2021).
        ctr_clamp: see ``add_ctr_clamp``.

    Returns:
        (n, 4 C) or (B, n, 4 C) xyxy.
    """
    if deltas.numel() == 0:
        return deltas
    by_class = deltas.unflatten(-1, (-1, 4))  # (..., n, C, 4)
    by_class = by_class * by_class.new_tensor(stds) + by_class.new_tensor(means)
    prior = bbox_xyxy_to_cxcywh(rois)[..., None, :]  # (..., n, 1, 4)
    shift, scale = prior[..., 2:] * by_class[..., :2], by_class[..., 2:]
    limit = abs(math.log(wh_ratio_clip))
    if add_ctr_clamp:
        shift, scale = shift.clamp(-ctr_clamp, ctr_clamp), scale.clamp(max=limit)
    else:
        scale = scale.clamp(-limit, limit)
    center, half = prior[..., :2] + shift, prior[..., 2:] * scale.exp() * 0.5
    boxes = torch.cat([center - half, center + half], dim=-1)
    if clip_border and max_shape is not None:
        boxes = clip_boxes(boxes, max_shape)
    return boxes.flatten(-2)


@TASK_UTILS.register_module()
class DeltaXYWHBBoxCoder(BaseBBoxCoder):
    """:func:`bbox2delta` and :func:`delta2bbox` as a component of a config.

    Args:
        target_means: mean of each delta.
        target_stds: deviation of each delta.
        clip_border: see :func:`delta2bbox`.
        add_ctr_clamp: see there.
        ctr_clamp: see there.
        **kwargs: see :class:`BaseBBoxCoder`.
    """

    def __init__(
        self,
        target_means: Sequence[float] = _ZEROS,
        target_stds: Sequence[float] = _ONES,
        clip_border: bool = True,
        add_ctr_clamp: bool = False,
        ctr_clamp: int = 32,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.means, self.stds = target_means, target_stds
        self.clip_border, self.add_ctr_clamp, self.ctr_clamp = clip_border, add_ctr_clamp, ctr_clamp

    def encode(self, bboxes: Any, gt_bboxes: Any) -> Tensor:
        """Priors (n, 4) and boxes (n, 4), tensors xyxy or box objects, to deltas (n, 4).

        Raises:
            ArgumentError: not equally many, or not 4 columns.
        """
        bboxes, gt_bboxes = get_box_tensor(bboxes), get_box_tensor(gt_bboxes)
        check_pairs(bboxes, gt_bboxes, 'gt_bboxes')
        return bbox2delta(bboxes, gt_bboxes, self.means, self.stds)

    def decode(
        self,
        bboxes: Any,
        pred_bboxes: Tensor,
        max_shape: MaxShape | None = None,
        wh_ratio_clip: float = _WH_RATIO_CLIP,
    ) -> Any:
        """Priors and deltas, (n, 4) or (B, n, 4), to boxes; see :func:`delta2bbox`.

        Raises:
            ArgumentError: not equally many, or not 4 columns.
        """
        bboxes = get_box_tensor(bboxes)
        check_pairs(bboxes, pred_bboxes, 'pred_bboxes')
        options = (max_shape, wh_ratio_clip, self.clip_border, self.add_ctr_clamp, self.ctr_clamp)
        boxes = delta2bbox(bboxes, pred_bboxes, self.means, self.stds, *options)
        return HorizontalBoxes(boxes, clone=False) if self.use_box_type else boxes
