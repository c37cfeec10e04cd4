"""Foreground regions: expand the detected boxes, merge those that cover less together than apart, choose a zoom for each.

Letters: N boxes, R regions. Boxes are xyxy in pixels of the image.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..arrays import is_tensor
from ..errors import ConfigError, ModelInputError

if TYPE_CHECKING:
    from torch import Tensor

BoxesLike: TypeAlias = 'Tensor | np.ndarray | Sequence[Sequence[float]]'

FACTORS = (4, 2, 1)
"""Zoom of a region whose objects are small, middling, large."""

AREA_LIMITS = (32 * 32, 96 * 96)
"""Mean object areas (px^2) at which an object stops being small, and middling: COCO's size classes."""

_TOUCH = 1e-6  # pixels: rounding can let boxes that only touch pass the merging test, so the search must find them too
_BINS = 32  # columns and rows of the search for boxes near a region; more of them cost more to keep than they save
_MARGIN = np.array([-_TOUCH, -_TOUCH, _TOUCH, _TOUCH])


def as_boxes(boxes: BoxesLike) -> np.ndarray:
    """Checked copy, float64 (N, 4), of xyxy boxes: a numpy array, a nested list (also an empty one), or a tensor on any device.

    Raises:
        ModelInputError: wrong shape, a coordinate that is not finite, or a right (bottom) edge before the left (top) one.
    """
    if is_tensor(boxes):
        boxes = boxes.detach().cpu().double().numpy()
    try:
        boxes = np.array(boxes, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ModelInputError(f'must be numbers of the shape (N, 4), xyxy: {error}', field='boxes') from error
    if boxes.shape == (0,):
        return boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ModelInputError('must have the shape (N, 4), xyxy', field='boxes', received=boxes.shape)
    finite, ordered = np.isfinite(boxes), boxes[:, 2:] >= boxes[:, :2]
    for fine, rule in ((finite, 'coordinates must be finite'), (ordered, 'x2 >= x1 and y2 >= y1 are needed')):
        if not fine.all():
            row = int(fine.all(axis=1).argmin())
            raise ModelInputError(rule, record=f'box {row}', field='boxes', received=boxes[row].tolist())
    return boxes


def check_input_shape(input_shape: Any) -> tuple[int, int]:
    """``input_shape`` as (width, height), two positive integers.

    Raises:
        ConfigError: it is anything else.
    """
    try:
        width, height = input_shape
        if int(width) == width > 0 and int(height) == height > 0:
            return int(width), int(height)
    except (TypeError, ValueError, OverflowError):
        pass
    message = 'must be (width, height) of the image, positive whole numbers'
    raise ConfigError(message, field='input_shape', received=input_shape)


def expand_boxes(boxes: np.ndarray, scale: float, limit_wh: tuple[float, float]) -> np.ndarray:
    """Boxes enlarged about their centres and clipped to ``[0, limit]``.

    Args:
        boxes: (N, 4) xyxy.
        scale: multiplies width and height.
        limit_wh: largest x and largest y. The original method clips to (W - 1, H - 1).

    Returns:
        (N, 4) xyxy, same order.
    """
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2  # (N, 2)
    half = (boxes[:, 2:] - boxes[:, :2]) * (scale / 2)  # (N, 2)
    edges = np.concatenate([centre - half, centre + half], axis=1, dtype=np.float64)  # (N, 4)
    # Not np.clip, which takes three times as long for a hundred boxes.
    return np.minimum(np.maximum(edges, 0.0, out=edges), (*limit_wh, *limit_wh), out=edges)


def object_areas(boxes: np.ndarray) -> np.ndarray:
    """Areas (N,) that include both border pixels, ``(x2 - x1 + 1)(y2 - y1 + 1)``; the zooms are chosen by these areas."""
    return (boxes[:, 2] - boxes[:, 0] + 1) * (boxes[:, 3] - boxes[:, 1] + 1)


def estimate_factors(mean_area: np.ndarray) -> np.ndarray:
    """Zoom of every region, float64 (R,), from the mean area of its objects in px^2: 4 below 32^2, 2 below 96^2, 1 otherwise."""
    small, middling = AREA_LIMITS
    large_zoom, middling_zoom, no_zoom = map(float, FACTORS)
    return np.where(mean_area < small, large_zoom, np.where(mean_area < middling, middling_zoom, no_zoom))


def merge_boxes(
    boxes: np.ndarray, areas: np.ndarray, max_tile: float | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One greedy pass that merges two boxes where their common bounding box has less area than both together.

    Every box not yet absorbed takes its turn, in input order. It is compared with every other one, again in input order (earlier
    ones too, with the extent they have grown to), and absorbs it when the area of the common bounding box is strictly less than the
    sum of both areas. A box that was refused is not compared again in the same turn, and there is no second round, so the result
    depends on the order.

    Two boxes pass that test only if they overlap. For each of 32 columns and 32 rows of the image the search therefore keeps two sets
    of boxes, those that begin in it or before it, and those that end in it or after it, each set as the bits of one integer: four
    lookups and three ANDs leave the few boxes near a region. The result is exactly that of comparing all pairs.

    Args:
        boxes: (N, 4) xyxy, coordinates >= 0.
        areas: (N,) areas of the objects (not of the expanded boxes).
        max_tile: with a number, a merger is refused when the longer side, times the zoom for the mean area of all members,
            would exceed it. This keeps chains of small boxes from becoming one long strip.

    Returns:
        regions (R, 4) xyxy in the order of the boxes they grew from; mean object area (R,); region of each box, int64 (N,).
    """
    count = len(boxes)
    if count == 0:
        return np.zeros((0, 4)), np.zeros(0), np.zeros(0, dtype=np.int64)
    cell = np.maximum(boxes.max(axis=0)[[2, 3, 2, 3]] / _BINS, 1e-9)  # (4,) width and height of a cell, twice
    bins = np.minimum(np.maximum(((boxes + _MARGIN) / cell).astype(np.int64), 0), _BINS - 1)  # (N, 4)
    begins_x, ends_x, begins_y, ends_y = _cell_sets(bins)
    bins_of, extent = bins.tolist(), boxes.tolist()
    size = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).tolist()
    total, members = areas.tolist(), [1] * count
    absorbed_by = list(range(count))
    alive = (1 << count) - 1

    for m in range(count):
        own = 1 << m
        if not alive & own:
            continue
        bx1, by1, bx2, by2 = bins_of[m]
        near = alive & begins_x[bx2] & ends_x[bx1] & begins_y[by2] & ends_y[by1] & ~own
        if not near:
            continue
        x1, y1, x2, y2 = extent[m]
        area = size[m]
        grown = False
        while near:
            bit = near & -near
            near ^= bit
            k = bit.bit_length() - 1
            kx1, ky1, kx2, ky2 = extent[k]
            if x1 < kx1:
                kx1 = x1
            if y1 < ky1:
                ky1 = y1
            if x2 > kx2:
                kx2 = x2
            if y2 > ky2:
                ky2 = y2
            union = (kx2 - kx1) * (ky2 - ky1)
            if union >= area + size[k]:
                continue
            if max_tile is not None:
                mean = (total[m] + total[k]) / (members[m] + members[k])
                if max(kx2 - kx1, ky2 - ky1) * _factor(mean) > max_tile:
                    continue
            x1, y1, x2, y2, area, grown = kx1, ky1, kx2, ky2, union, True
            alive ^= bit
            absorbed_by[k] = m
            total[m] += total[k]
            members[m] += members[k]
            kbx1, kby1, kbx2, kby2 = bins_of[k]
            if kbx1 < bx1 or kby1 < by1 or kbx2 > bx2 or kby2 > by2:
                bx1, by1, bx2, by2 = min(bx1, kbx1), min(by1, kby1), max(bx2, kbx2), max(by2, kby2)
                near = alive & begins_x[bx2] & ends_x[bx1] & begins_y[by2] & ends_y[by1] & ~own
                near &= -bit  # only boxes after k: a turn does not go back
        if grown:
            extent[m], size[m] = (x1, y1, x2, y2), area
            ox1, oy1, ox2, oy2 = bins_of[m]
            bins_of[m] = (bx1, by1, bx2, by2)
            for c in range(bx1, ox1):
                begins_x[c] |= own
            for c in range(ox2 + 1, bx2 + 1):
                ends_x[c] |= own
            for c in range(by1, oy1):
                begins_y[c] |= own
            for c in range(oy2 + 1, by2 + 1):
                ends_y[c] |= own

    kept = [m for m, root in enumerate(absorbed_by) if root == m]
    roots = np.array(absorbed_by)
    while ((above := roots[roots]) != roots).any():  # a region that absorbed others can itself be absorbed
        roots = above
    regions = np.array([extent[m] for m in kept])
    mean_area = np.array([total[m] / members[m] for m in kept])
    return regions, mean_area, np.searchsorted(kept, roots)


def _factor(mean_area: float) -> float:
    """:func:`estimate_factors` of a single area."""
    return FACTORS[0] if mean_area < AREA_LIMITS[0] else FACTORS[1] if mean_area < AREA_LIMITS[1] else FACTORS[2]


def _cell_sets(bins: np.ndarray) -> list[list[int]]:
    """For every column and row of cells: the boxes that begin in it or before it, and those that end in it or after it.

    Args:
        bins: (N, 4) columns and rows of the cells of x1, y1, x2, y2.

    Returns:
        begins_x, ends_x, begins_y, ends_y: lists of ``_BINS`` sets, each an integer with box 0 in the lowest bit.
    """
    cells = np.arange(_BINS, dtype=np.uint8)[:, None]
    x1, y1, x2, y2 = bins.astype(np.uint8).T
    table = np.concatenate([x1 <= cells, x2 >= cells, y1 <= cells, y2 >= cells])  # (4 * bins, N)
    packed = np.packbits(table, axis=1, bitorder='little')
    data, step = packed.tobytes(), packed.shape[1]
    sets = [int.from_bytes(data[i : i + step], 'little') for i in range(0, len(data), step)]
    return [sets[i : i + _BINS] for i in range(0, 4 * _BINS, _BINS)]


def generate_regions(
    boxes: BoxesLike,
    scale: float = 1.5,
    input_shape: 'Sequence[int] | Tensor | None' = None,
    *,
    mode: str = 'reference',
    max_tile: float | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Foreground regions of one image.

    Args:
        boxes, scale, input_shape, mode: as in :func:`~mmdet_runtime.ufp.UnifiedForegroundPacking`.
        max_tile: see :func:`merge_boxes`.

    Returns:
        regions (R, 4) xyxy; mean object area (R,); region of each box, int64 (N,), -1 for boxes in none.
        Regions without area (a box without area, or outside the image) are dropped.

    Raises:
        ModelInputError: see :func:`as_boxes`.
        ConfigError: ``scale``, ``input_shape`` or ``mode`` is not valid.
    """
    boxes = as_boxes(boxes)
    width, height = check_input_shape(input_shape)
    if mode not in ('reference', 'exact'):
        raise ConfigError("must be 'reference' or 'exact'", field='mode', received=mode)
    if not (isinstance(scale, (int, float)) and math.isfinite(scale) and scale > 0):
        raise ConfigError('must be a positive number', field='scale', received=scale)
    limit = (width, height) if mode == 'exact' else (width - 1, height - 1)
    expanded = expand_boxes(boxes, scale, limit)
    regions, mean_area, member = merge_boxes(expanded, object_areas(boxes), max_tile)
    longer = regions[:, 2:] > regions[:, :2]  # (R, 2)
    if not longer.all():
        solid = longer.all(axis=1)  # (R,)
        renumbered = np.where(solid, np.cumsum(solid) - 1, -1)
        regions, mean_area, member = regions[solid], mean_area[solid], renumbered[member]
    if mode == 'exact':
        regions = np.concatenate([np.floor(regions[:, :2]), np.ceil(regions[:, 2:])], axis=1)
    return regions, mean_area, member
