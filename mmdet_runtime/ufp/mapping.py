"""Boxes from image to mosaic and back.

All functions use the same rounded map as the renderer, :func:`pixel_regions`, so a box lands where its pixels do. Apart from
:func:`match_rects`, :func:`source_rects` and :func:`tile_rects`, which take tensors or arrays, they take boxes and regions as tensors, numpy
arrays or lists. Results are tensors if the boxes are a tensor, numpy arrays otherwise.

Letters: K boxes, R regions, M matches of a box with a region. Boxes are xyxy.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import Array, float64_like, is_tensor, namespace
from ..errors import ModelInputError
from .mosaic import pixel_regions

MIN_OVERLAP = 0.9
"""A box belongs to a region if they share more than this part of the smaller of the two."""


def _of_any_kind(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function of float64 ``(boxes, regions, ...)`` of one kind take lists and other kinds too, and return boxes of the given floating dtype."""

    @functools.wraps(function)
    def wrapper(boxes: Any, regions: Any, *args: Any, **kwargs: Any) -> Any:
        given: Any = boxes if is_tensor(boxes) else np.array(boxes, ndmin=1)
        if given.shape == (0,):
            given = given.reshape(0, 4)
        regions = float64_like(regions, given)
        for value, columns, field in ((given, 4, 'boxes'), (regions, 7, 'regions')):
            if value.ndim != 2 or value.shape[1] != columns:
                raise ModelInputError(f'must have the shape (n, {columns})', field=field, received=tuple(value.shape))
        result = function(float64_like(given, given), pixel_regions(regions), *args, **kwargs)
        floating = given.is_floating_point() if is_tensor(given) else given.dtype.kind == 'f'

        def as_given(part: Any) -> Any:
            if not floating or part.dtype != namespace(part).float64:
                return part
            return part.to(given.dtype) if is_tensor(part) else part.astype(given.dtype, copy=False)

        return tuple(map(as_given, result)) if isinstance(result, tuple) else as_given(result)

    return wrapper


def source_rects(regions: Array) -> Array:
    """Rectangles of rounded regions (R, 7) in the image, (R, 4) xyxy."""
    return namespace(regions).concatenate([regions[:, :2], regions[:, :2] + regions[:, 2:4]], axis=1)


def tile_rects(regions: Array) -> Array:
    """Rectangles of rounded regions (R, 7) in the mosaic, (R, 4) xyxy."""
    ends = regions[:, 4:6] + regions[:, 2:4] * regions[:, 6:]
    return namespace(regions).concatenate([regions[:, 4:6], ends], axis=1)


@_of_any_kind
def image_to_mosaic(boxes: Array, regions: Array) -> Array:
    """Coordinates in the mosaic of boxes (K, 4) in the image, box i by region i of (K, 7). Nothing is clipped."""
    return (boxes - regions[:, [0, 1, 0, 1]]) * regions[:, 6:] + regions[:, [4, 5, 4, 5]]


@_of_any_kind
def mosaic_to_image(boxes: Array, regions: Array) -> Array:
    """Coordinates in the image of boxes (K, 4) in the mosaic, box i by region i of (K, 7). Nothing is clipped."""
    return (boxes - regions[:, [4, 5, 4, 5]]) / regions[:, 6:] + regions[:, [0, 1, 0, 1]]


def match_rects(boxes: Array, rects: Array, min_overlap: float = MIN_OVERLAP) -> tuple[Array, Array]:
    """Pairs of a rectangle and a box whose overlap, divided by the smaller of the two areas, exceeds ``min_overlap``.

    Args:
        boxes: (K, 4) xyxy.
        rects: (R, 4) xyxy, of the same kind.
        min_overlap: in [0, 1).

    Returns:
        indices of the rectangles and of the boxes, int64 (M,), sorted by rectangle, then by box. What has no area matches nothing.
    """
    xp = namespace(boxes)
    # One axis after the other: a reduction over an axis of length 2 takes five times as long.
    width, height = (
        xp.minimum(rects[:, None, axis + 2], boxes[:, axis + 2]) - xp.maximum(rects[:, None, axis], boxes[:, axis])
        for axis in (0, 1)
    )  # (R, K)
    rect, box = xp.where((width > 0) & (height > 0))  # few of all pairs, and the rest is computed for these alone
    shared = width[rect, box] * height[rect, box]
    box_areas, rect_areas = ((b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]) for b in (boxes, rects))
    smaller = xp.minimum(rect_areas[rect], box_areas[box])
    share = shared / smaller.clip(min=xp.finfo(smaller.dtype).tiny)
    matched = (smaller > 0) & (share > min_overlap)
    return rect[matched], box[matched]


@_of_any_kind
def boxes_to_mosaic(
    boxes: Array, regions: Array, min_overlap: float = MIN_OVERLAP, clip: bool = False
) -> tuple[Array, Array, Array]:
    """Map ground-truth boxes into the mosaic, once for every region that they belong to.

    A box belongs to a region if their overlap, divided by the smaller of both areas, exceeds ``min_overlap``. So a box cut by a
    region's edge is lost, a box in two regions is returned twice, and a huge box is returned once for every small region inside it.

    Args:
        boxes: (K, 4) xyxy in the image.
        regions: (R, 7) of :func:`UnifiedForegroundPacking`.
        min_overlap: see above; the original's rule is 0.9.
        clip: cut the boxes at the edge of their tiles. The original does not, but moves negative coordinates to 0.

    Returns:
        boxes (M, 4) xyxy in the mosaic; index of each into ``boxes``; index of its region. Sorted by region, then by box.
    """
    region, box = match_rects(boxes, source_rects(regions), min_overlap)
    rows, xp = regions[region], namespace(boxes)
    mapped = image_to_mosaic(boxes[box], rows)
    if clip:
        tiles = tile_rects(rows)
        mapped = xp.minimum(xp.maximum(mapped, tiles[:, [0, 1, 0, 1]]), tiles[:, [2, 3, 2, 3]])
    return mapped, box, region


@_of_any_kind
def boxes_to_image(boxes: Array, regions: Array, min_overlap: float = MIN_OVERLAP) -> tuple[Array, Array, Array]:
    """Map detections on the mosaic back into the image, once for every tile that they belong to.

    A box belongs to a tile by the rule of :func:`boxes_to_mosaic`: a detection across two tiles is lost, one around several small
    tiles is returned once for each.

    Args:
        boxes: (K, 4) xyxy in the mosaic.
        regions, min_overlap: as in :func:`boxes_to_mosaic`.

    Returns:
        boxes (M, 4) xyxy in the image, not rounded and not clipped; index of each into ``boxes``; index of its region. Sorted by
        region, then by box.
    """
    region, box = match_rects(boxes, tile_rects(regions), min_overlap)
    return mosaic_to_image(boxes[box], regions[region]), box, region


@dataclass(frozen=True)
class MovedBoxes:
    """Copies of an image's objects in its mosaic, cut at the edge of their tiles; see :func:`move_objects`.

    Attributes:
        bboxes: (M, 4) xyxy in the mosaic, float64.
        index: (M,) which object each is a copy of.
        visible: (M,) share of the object's area that the tile shows.
        cut: (M,) bool, whether the tile's edge cut the copy.
    """

    bboxes: np.ndarray
    index: np.ndarray
    visible: np.ndarray
    cut: np.ndarray

    def shown(self, min_visible: float = 0.0) -> np.ndarray:
        """(M,) bool: copies that have an area, of which the tile shows more than ``min_visible``."""
        return (self.bboxes[:, 2:] > self.bboxes[:, :2]).all(axis=1) & (self.visible > min_visible)


def move_objects(boxes: np.ndarray, regions: np.ndarray, min_overlap: float = MIN_OVERLAP) -> MovedBoxes:
    """The objects that a mosaic holds: for mosaics on disk and for those made during training.

    Args:
        boxes: (K, 4) xyxy in the image, numpy.
        regions, min_overlap: as in :func:`boxes_to_mosaic`, which says when an object belongs to a region.
    """
    boxes = np.asarray(boxes, dtype=np.float64)
    bboxes, index, region = boxes_to_mosaic(boxes, regions, min_overlap, clip=True)
    whole = image_to_mosaic(boxes[index], regions[region])
    sides, whole_sides = bboxes[:, 2:] - bboxes[:, :2], whole[:, 2:] - whole[:, :2]  # (M, 2)
    visible = sides.prod(axis=1) / whole_sides.prod(axis=1)  # boxes without area belong to no region
    return MovedBoxes(bboxes, index, visible, (np.abs(bboxes - whole) > 1e-6).any(axis=1))
