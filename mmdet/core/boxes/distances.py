"""Boxes as four distances from a point: left, top, right, bottom (FCOS, ICCV 2019)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mmdet.errors import ArgumentError
from mmdet.registry import TASK_UTILS

from .base_bbox_coder import BaseBBoxCoder, MaxShape, check_pairs
from .horizontal_boxes import HorizontalBoxes
from .transforms import get_box_tensor

# Their path in earlier versions.
from .transforms import get_box_wh as get_box_wh
from .transforms import scale_boxes as scale_boxes


def bbox2distance(points: Tensor, bbox: Tensor, max_dis: float | None = None, eps: float = 0.1) -> Tensor:
    """Distances from points to the sides of their boxes.

    Args:
        points: (N, 2) x, y.
        bbox: (N, 4) xyxy in the unit of the points.
        max_dis: clamp the distances to [0, max_dis - eps]; None leaves them as they are (negative where the point lies outside the box).
        eps: see ``max_dis``; 0.1 keeps the right-hand bin of a distribution target inside its range.

    Returns:
        (N, 4) left, top, right, bottom.
    """
    distances = torch.cat([points - bbox[..., :2], bbox[..., 2:] - points], dim=-1)
    return distances if max_dis is None else distances.clamp(min=0, max=max_dis - eps)


def distance2bbox(points: Tensor, distance: Tensor, max_shape: MaxShape | None = None) -> Tensor:
    """Boxes from points and distances, the inverse of :func:`bbox2distance`.

    Args:
        points: (..., N, 2) x, y.
        distance: (..., N, 4) left, top, right, bottom.
        max_shape: (height, width); boxes are clipped to x in [0, width], y in [0, height]. Or one pair for each image of a batch (B, N, 4).

    Returns:
        (..., N, 4) xyxy.
    """
    boxes = torch.cat([points - distance[..., :2], points + distance[..., 2:]], dim=-1)
    return boxes if max_shape is None else clip_boxes(boxes, max_shape)


def clip_boxes(boxes: Tensor, img_shape: MaxShape) -> Tensor:
    """Clip xyxy boxes to x in [0, width], y in [0, height].

    Args:
        boxes: (..., 4).
        img_shape: (height, width, ...), or for ``boxes`` (B, ..., 4) one such row per image, or the heights (B,) and the widths (B,).

    Raises:
        ArgumentError: as many rows as images are not given.
    """
    if not isinstance(img_shape, Tensor) and isinstance(img_shape[0], Tensor):
        img_shape = torch.stack(list(img_shape[:2]), dim=-1)
    if isinstance(img_shape, Tensor) or isinstance(img_shape[0], Sequence):
        hw = torch.as_tensor(img_shape, dtype=boxes.dtype, device=boxes.device)[..., :2]  # (2,) or (B, 2)
        wh = hw.flip(-1)
        limit = torch.cat([wh, wh], dim=-1)  # width, height, width, height
        if limit.dim() > 1:
            if boxes.dim() < 3 or limit.shape[0] != boxes.shape[0]:
                received = (tuple(boxes.shape), tuple(limit.shape))
                raise ArgumentError(
                    'one size for each image of (B, ..., 4) boxes', field='img_shape', received=received
                )
            limit = limit.reshape(-1, *[1] * (boxes.dim() - 2), 4)
        return torch.minimum(boxes.clamp(min=0), limit)
    height, width = img_shape[:2]
    limit = boxes.new_tensor([width, height, width, height])
    return torch.minimum(boxes.clamp(min=0), limit)


@TASK_UTILS.register_module()
class DistancePointBBoxCoder(BaseBBoxCoder):
    """Encodes a box as its distances from a point.

    Args:
        clip_border: whether :meth:`decode` clips to ``max_shape``.
        **kwargs: see :class:`BaseBBoxCoder`.
    """

    def __init__(self, clip_border: bool = True, **kwargs: Any):
        super().__init__(**kwargs)
        self.clip_border = clip_border

    def encode(self, points: Tensor, gt_bboxes: Any, max_dis: float | None = None, eps: float = 0.1) -> Tensor:
        """(N, 2) points and (N, 4) boxes, a tensor xyxy or box objects, to (N, 4) distances, see :func:`bbox2distance`.

        Raises:
            ArgumentError: not equally many, or wrong columns.
        """
        gt_bboxes = get_box_tensor(gt_bboxes)
        check_pairs(points, gt_bboxes, 'gt_bboxes', columns=2)
        return bbox2distance(points, gt_bboxes, max_dis, eps)

    def decode(self, points: Tensor, pred_bboxes: Tensor, max_shape: MaxShape | None = None) -> Any:
        """(..., N, 2) points and (..., N, 4) distances to (..., N, 4) xyxy boxes, see :func:`distance2bbox`.

        Raises:
            ArgumentError: not equally many, or wrong columns.
        """
        check_pairs(points, pred_bboxes, 'pred_bboxes', columns=2)
        boxes = distance2bbox(points, pred_bboxes, max_shape if self.clip_border else None)
        return HorizontalBoxes(boxes, clone=False) if self.use_box_type else boxes
