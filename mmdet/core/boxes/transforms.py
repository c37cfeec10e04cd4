"""Functions of boxes, plain tensors or objects: conversion, flipping, scaling, projection.

Naming: n boxes; xyxy means x1, y1, x2, y2; cxcywh is centre and size; images are (height, width).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmdet.errors import ArgumentError

from .base_boxes import BaseBoxes

Boxes = Tensor | BaseBoxes


def get_box_tensor(boxes: Any) -> Tensor:
    """The tensor of an object of boxes; anything else is returned as it is."""
    return boxes.tensor if isinstance(boxes, BaseBoxes) else boxes


def cat_boxes(data_list: Sequence[Any], dim: int = 0) -> Any:
    """Tensors or boxes joined along ``dim``; the first decides which of the two. ValueError for an empty list."""
    if data_list and isinstance(data_list[0], BaseBoxes):
        return data_list[0].cat(data_list, dim=dim)
    return torch.cat(list(data_list), dim=dim)


def stack_boxes(data_list: Sequence[Any], dim: int = 0) -> Any:
    """Tensors or boxes joined along a new dimension; the first decides which of the two."""
    if data_list and isinstance(data_list[0], BaseBoxes):
        return data_list[0].stack(data_list, dim=dim)
    return torch.stack(list(data_list), dim=dim)


def scale_boxes(boxes: Any, scale_factor: Sequence[float]) -> Any:
    """Multiply boxes by (w, h) factors: tensors (..., 4k) in a new tensor; objects in place, and they are returned."""
    if isinstance(boxes, BaseBoxes):
        boxes.rescale_((scale_factor[0], scale_factor[1]))
        return boxes
    return boxes * boxes.new_tensor(tuple(scale_factor) * (boxes.size(-1) // 2))


def get_box_wh(boxes: Any) -> tuple[Tensor, Tensor]:
    """Widths and heights, each (...,), of boxes or of a tensor (..., 4) xyxy."""
    if isinstance(boxes, BaseBoxes):
        return boxes.widths, boxes.heights
    return boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1]


def empty_box_as(boxes: Any) -> Any:
    """No box, (0, D), as an object of the same class; a tensor (0, 4) for a tensor."""
    return boxes.empty_boxes() if isinstance(boxes, BaseBoxes) else boxes.new_zeros(0, 4)


def bbox_xyxy_to_cxcywh(bbox: Tensor) -> Tensor:
    """(..., 4) xyxy to centre x, centre y, width, height."""
    low, high = bbox[..., :2], bbox[..., 2:]
    return torch.cat([(low + high) / 2, high - low], dim=-1)


def bbox_cxcywh_to_xyxy(bbox: Tensor) -> Tensor:
    """(..., 4) centre x, centre y, width, height to xyxy."""
    center, half = bbox[..., :2], bbox[..., 2:] / 2
    return torch.cat([center - half, center + half], dim=-1)


def bbox_xyxy_to_cxcyah(bboxes: Tensor) -> Tensor:
    """(..., 4) xyxy to centre x, centre y, width / height, height."""
    cxcy, wh = bbox_xyxy_to_cxcywh(bboxes).split(2, dim=-1)
    return torch.cat([cxcy, wh[..., :1] / wh[..., 1:], wh[..., 1:]], dim=-1)


def bbox_cxcyah_to_xyxy(bboxes: Tensor) -> Tensor:
    """The inverse of :func:`bbox_xyxy_to_cxcyah`."""
    cxcy, ratio, height = bboxes.split((2, 1, 1), dim=-1)
    return bbox_cxcywh_to_xyxy(torch.cat([cxcy, ratio * height, height], dim=-1))


def corners_of(bboxes: Tensor) -> Tensor:
    """(..., 4) xyxy to (..., 4, 2): top left, top right, bottom left, bottom right."""
    return bboxes[..., [0, 1, 2, 1, 0, 3, 2, 3]].unflatten(-1, (4, 2))


def hull_of(corners: Tensor) -> Tensor:
    """The smallest xyxy boxes (..., 4) around corners (..., 4, 2)."""
    return torch.cat([corners.amin(-2), corners.amax(-2)], dim=-1)


def bbox2corner(bboxes: Tensor) -> Tensor:
    """Boxes (n, 4) xyxy as the rows of their corners, (4n, 2), in the order of :func:`corners_of`."""
    return corners_of(bboxes).reshape(-1, 2)


def corner2bbox(corners: Tensor) -> Tensor:
    """The inverse of :func:`bbox2corner`: (4n, 2) to the hulls (n, 4)."""
    return hull_of(corners.reshape(-1, 4, 2))


def bbox_flip(bboxes: Any, img_shape: Sequence[int], direction: str = 'horizontal') -> Any:
    """Mirror (..., 4k) xyxy boxes, tensor or array, in an image of (height, width): x1' = w - x2 and x2' = w - x1, and likewise for y.

    Raises:
        ArgumentError: a direction other than 'horizontal', 'vertical', 'diagonal' (both), or another last dimension; an AssertionError too.

    >>> bbox_flip(torch.tensor([[1.0, 2.0, 4.0, 8.0]]), (10, 20))
    tensor([[16.,  2., 19.,  8.]])
    """
    if direction not in ('horizontal', 'vertical', 'diagonal'):
        raise ArgumentError("must be 'horizontal', 'vertical' or 'diagonal'", field='direction', received=direction)
    if bboxes.shape[-1] % 4:
        raise ArgumentError('must be (..., 4k)', field='bboxes', received=tuple(bboxes.shape))
    height, width = img_shape[:2]
    flipped = bboxes.clone() if isinstance(bboxes, Tensor) else bboxes.copy()
    if direction != 'vertical':
        flipped[..., 0::4], flipped[..., 2::4] = width - bboxes[..., 2::4], width - bboxes[..., 0::4]
    if direction != 'horizontal':
        flipped[..., 1::4], flipped[..., 3::4] = height - bboxes[..., 3::4], height - bboxes[..., 1::4]
    return flipped


def _factors(bboxes: Tensor, scale_factor: Any) -> Tensor:
    """One factor, (w, h), or one for each of the four numbers, as a tensor (1,) or (4,)."""
    factors = bboxes.new_tensor(scale_factor).reshape(-1)
    return factors.repeat(2) if len(factors) == 2 else factors


def bbox_mapping(
    bboxes: Tensor, img_shape: Sequence[int], scale_factor: Any, flip: bool, flip_direction: str = 'horizontal'
) -> Tensor:
    """Boxes (..., 4) of the original image in a view of (height, width) ``img_shape``: scaled, then mirrored if ``flip``.

    ``scale_factor`` is one number, (w, h), or four numbers.
    """
    scaled = bboxes * _factors(bboxes, scale_factor)
    return bbox_flip(scaled, img_shape, flip_direction) if flip else scaled


def bbox_mapping_back(
    bboxes: Tensor, img_shape: Sequence[int], scale_factor: Any, flip: bool, flip_direction: str = 'horizontal'
) -> Tensor:
    """The inverse of :func:`bbox_mapping`."""
    unflipped = bbox_flip(bboxes, img_shape, flip_direction) if flip else bboxes
    return unflipped / _factors(bboxes, scale_factor)


def bbox_rescale(bboxes: Tensor, scale_factor: float = 1.0) -> Tensor:
    """Scale boxes (n, 4) xyxy about their centres; (n, 5) keep their first column, the image's index."""
    index, boxes = bboxes[:, :-4], bboxes[:, -4:]
    center, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) * (scale_factor / 2)
    return torch.cat([index, center - half, center + half], dim=-1)


def project_corners(bboxes: Tensor, matrix: Tensor) -> Tensor:
    """The upright hulls (..., 4) of boxes whose corners a homography (3, 3) maps."""
    corners = corners_of(bboxes)
    mapped = corners @ matrix[:, :2].T + matrix[:, 2]
    return hull_of(mapped[..., :2] / mapped[..., 2:])


def bbox_project(bboxes: Any, homography_matrix: Any, img_shape: Sequence[int] | None = None) -> Any:
    """The upright hulls of projected boxes, as a tensor or array like ``bboxes``.

    Args:
        bboxes: (..., 4) xyxy, tensor or array.
        homography_matrix: (3, 3), tensor or array.
        img_shape: (height, width) to which the result is clipped.
    """
    boxes = torch.as_tensor(bboxes)
    projected = project_corners(boxes, torch.as_tensor(homography_matrix, dtype=boxes.dtype, device=boxes.device))
    if img_shape is not None:
        projected[..., 0::2].clamp_(min=0, max=img_shape[1])
        projected[..., 1::2].clamp_(min=0, max=img_shape[0])
    return projected.numpy() if isinstance(bboxes, np.ndarray) else projected


def find_inside_bboxes(bboxes: Tensor, img_h: int, img_w: int) -> Tensor:
    """(n,) bool: xyxy boxes (n, 4) of which a part is inside the image."""
    x1, y1, x2, y2 = bboxes.unbind(-1)
    return (x1 < img_w) & (x2 > 0) & (y1 < img_h) & (y2 > 0)


def bbox2roi(bbox_list: Sequence[Any]) -> Tensor:
    """Boxes of B images, each (n_i, D), tensors or objects, as (sum n_i, 1 + D): the index of the image stands in front."""
    tensors = [get_box_tensor(boxes) for boxes in bbox_list]
    return torch.cat([torch.cat([t.new_full((len(t), 1), i), t], dim=-1) for i, t in enumerate(tensors)])


def roi2bbox(rois: Tensor) -> list[Tensor]:
    """The boxes of each image that has one, out of what :func:`bbox2roi` returns."""
    return [rois[rois[:, 0] == index, 1:] for index in rois[:, 0].unique(sorted=True)]


def bbox2result(bboxes: Any, labels: Any, num_classes: int) -> list[np.ndarray]:
    """Boxes (n, 4 or 5) by class: a list of ``num_classes`` arrays, of tensors or arrays."""
    boxes, classes = (
        value.detach().cpu().numpy() if isinstance(value, Tensor) else value for value in (bboxes, labels)
    )
    return [boxes[classes == label] for label in range(num_classes)]
