"""Unified foreground packing: from the boxes of one image to the tiles of its mosaic (UFPMP-Det, AAAI 2022, arXiv 2112.10415).

Letters: N boxes, R regions (tiles).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import Array, float64_like, is_tensor, namespace
from ..checks import is_finite
from ..errors import ConfigError, ModelInputError
from .guillotine import pack_guillotine
from .maxrects import pack_dense
from .regions import BoxesLike, check_input_shape, estimate_factors, generate_regions

if TYPE_CHECKING:
    from torch import Tensor

PACKINGS = ('guillotine', 'dense')
SCORE_RULES = ('max', 'sum')


def UnifiedForegroundPacking(  # noqa: N802 - the name that users of the method know
    boxes: BoxesLike,
    scale: float = 1.5,
    input_shape: 'Sequence[int] | Tensor | None' = None,
    *,
    mode: str = 'reference',
    packing: str = 'guillotine',
    max_side: float | None = None,
    scores: Any = None,
    min_score: float | None = None,
    score_rule: str = 'max',
    whole_zoom: float | None = None,
) -> tuple[Any, float, float]:
    """Cluster boxes into regions, choose a zoom for each region, and pack the zoomed regions into one roughly square mosaic.

    Args:
        boxes: (N, 4) xyxy in pixels of the image, a tensor on any device, a numpy array or a list. Their order matters: the
            clustering is one greedy pass. The original feeds class after class, by descending score within a class.
        scale: enlargement of every box before clustering.
        input_shape: (width, height) of the image; required.
        mode: ``'reference'``: regions are clipped to (W - 1, H - 1) and keep fractions, as in the original.
            ``'exact'``: clipped to (W, H) and widened to whole pixels, so that no pixel is lost when tiles are cut and pasted.
        packing: ``'guillotine'``, the original's, or ``'dense'``, which takes about ten times as long and gives a smaller mosaic.
        max_side: limit for width and height of the mosaic, usually the input size of the next detector. Boxes are then not merged
            to regions whose tiles would be longer; if the mosaic would still be too large, zooms are lowered, those of the regions
            with the largest zoomed objects first. None: no limit, as in the original.
        scores: (N,) confidences of the boxes; needed with ``min_score``.
        min_score: leave out the regions whose score is lower, before packing. None keeps all, as in the original.
        score_rule: the score of a region is the largest (``'max'``) or the sum (``'sum'``) of those of its boxes.
        whole_zoom: pack the whole image, zoomed by this, as one more tile, the last, where there is another. None does not.

    Returns:
        regions (R, 7): x, y, w, h in the image, X, Y in the mosaic, zoom. float64, not rounded; a tensor on the device of
        ``boxes`` if these are a tensor, a numpy array otherwise. A tile is w * zoom wide and h * zoom high.
        mosaic_w, mosaic_h: floats, right and bottom edge of the outermost tiles.
        Without boxes, or if no box has an area: no regions, 0.0, 0.0.

    Raises:
        ModelInputError: boxes of a wrong shape, not finite, or with x2 < x1 or y2 < y1; scores that are not one for each box.
        ConfigError: any other argument out of range, or ``min_score`` without scores.

    >>> regions, width, height = UnifiedForegroundPacking([[100, 100, 140, 130]], input_shape=(1920, 1080))
    >>> regions.tolist(), width, height
    ([[90.0, 92.5, 60.0, 45.0, 0.0, 0.0, 2.0]], 120.0, 90.0)
    """
    if packing not in PACKINGS:
        raise ConfigError(f'must be one of {PACKINGS}', field='packing', received=packing)
    if max_side is not None and not 1 <= max_side < float('inf'):
        raise ConfigError('must be None or a number of pixels >= 1', field='max_side', received=max_side)
    if score_rule not in SCORE_RULES:
        raise ConfigError(f'must be one of {SCORE_RULES}', field='score_rule', received=score_rule)
    if whole_zoom is not None and not 0 < whole_zoom < float('inf'):
        raise ConfigError('must be None or a positive number', field='whole_zoom', received=whole_zoom)
    if min_score is not None and not is_finite(min_score):
        raise ConfigError('must be None or a number', field='min_score', received=min_score)
    extents, mean_area, member = generate_regions(boxes, scale, input_shape, mode=mode, max_tile=max_side)
    if min_score is not None:
        keep = _region_scores(scores, member, len(extents), score_rule) >= min_score
        extents, mean_area = extents[keep], mean_area[keep]
    source = np.concatenate([extents[:, :2], extents[:, 2:] - extents[:, :2]], axis=1)  # (R, 4) xywh
    factors = estimate_factors(mean_area)  # (R,)
    if whole_zoom is not None and len(source):
        source = np.concatenate([source, whole_image(check_input_shape(input_shape))[:, :4]])
        factors, mean_area = np.append(factors, float(whole_zoom)), np.append(mean_area, np.inf)
    if max_side is None:
        tiles = source[:, 2:] * factors[:, None]  # (R, 2)
        positions = pack_tiles(tiles, packing)
    else:
        factors, positions = _pack_bounded(source[:, 2:], factors, mean_area, packing, float(max_side))
        tiles = source[:, 2:] * factors[:, None]
    mosaic_w, mosaic_h = mosaic_size(tiles, positions)
    regions = np.concatenate([source, positions, factors[:, None]], axis=1)  # (R, 7)
    return float64_like(regions, boxes), mosaic_w, mosaic_h


def check_packing(options: Any, field: str = 'ufp') -> dict[str, Any]:
    """Checked copy of arguments of :func:`UnifiedForegroundPacking` other than boxes, scores and ``input_shape``; None stands for none.

    Raises:
        ConfigError: an argument that it does not take, or a value that it refuses.
    """
    try:
        checked = dict(options or {})
        UnifiedForegroundPacking([[0, 0, 8, 8]], input_shape=(16, 16), scores=[1.0], **checked)
    except (TypeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        message = f'must be arguments of UnifiedForegroundPacking: {error}'
        raise ConfigError(message, field=field, received=options) from error
    return checked


def _region_scores(scores: Any, member: np.ndarray, regions: int, rule: str) -> np.ndarray:
    """Largest or summed score (R,) of the boxes of each region; ``member`` (N,) is the region of each box, -1 for none."""
    if scores is None:
        raise ConfigError('needs the scores of the boxes', field='min_score')
    values = float64_like(scores, None)
    if values.shape != member.shape:
        message = f'must hold one score for each of {len(member)} boxes'
        raise ModelInputError(message, field='scores', received=values.shape)
    found = np.full(regions, -np.inf if rule == 'max' else 0.0)
    inside = member >= 0
    (np.maximum if rule == 'max' else np.add).at(found, member[inside], values[inside])
    return found


def pack_images(
    boxes: Sequence[Any],
    input_shapes: Sequence[Sequence[int]],
    scale: float = 1.5,
    *,
    scores: Sequence[Any] | None = None,
    **options: Any,
) -> list[tuple[Any, float, float]]:
    """:func:`UnifiedForegroundPacking` of a batch; boxes on an accelerator are fetched once for all images.

    Args:
        boxes: per image (N, 4) xyxy.
        input_shapes: per image (width, height).
        scores: per image (N,), or None.
        scale, options: as in :func:`UnifiedForegroundPacking`.

    Returns:
        list of (regions, mosaic_w, mosaic_h).

    Raises:
        ModelInputError: numbers of images differ; also all errors of :func:`UnifiedForegroundPacking`.
    """
    if len(boxes) != len(input_shapes):
        message = f'must hold one (width, height) for each of {len(boxes)} images'
        raise ModelInputError(message, field='input_shapes', received=len(input_shapes))
    devices = {b.device if is_tensor(b) and b.ndim == 2 else None for b in boxes}
    given: Sequence[Any] = [None] * len(boxes) if scores is None else scores

    def pack(boxes: Sequence[Any]) -> list[tuple[Any, float, float]]:
        rows = zip(boxes, input_shapes, given)
        return [UnifiedForegroundPacking(b, scale, shape, scores=s, **options) for b, shape, s in rows]

    if len(devices) != 1 or {str(device) for device in devices} <= {'None', 'cpu'}:
        return pack(boxes)
    torch = namespace(boxes[0])
    counts = [len(b) for b in boxes]
    if scores is not None:
        given = torch.cat([s.detach().double() for s in scores]).cpu().split([len(s) for s in scores])
    packed = pack(torch.cat([b.detach().double() for b in boxes]).cpu().split(counts))
    regions = [rows for rows, _, _ in packed]
    moved = torch.cat(regions).to(devices.pop()).split([len(rows) for rows in regions])
    return [(rows, width, height) for rows, (_, width, height) in zip(moved, packed)]


def whole_image(input_shape: Sequence[int]) -> np.ndarray:
    """An image of size (width, height) as its own only region (1, 7), for images in which nothing was found. The mosaic is the image."""
    width, height = check_input_shape(input_shape)
    return np.array([[0.0, 0.0, width, height, 0.0, 0.0, 1.0]])


def pack_tiles(sizes: np.ndarray, packing: str = 'guillotine') -> np.ndarray:
    """Positions (R, 2) of the top-left corners of tiles with the widths and heights ``sizes`` (R, 2) in a roughly square mosaic."""
    positions = pack_guillotine(sizes)
    return pack_dense(sizes, positions) if packing == 'dense' and len(sizes) > 1 else positions


def mosaic_size(sizes: np.ndarray, positions: np.ndarray) -> tuple[float, float]:
    """Right and bottom edge of the outermost tiles; zeros without tiles."""
    if len(sizes) == 0:
        return 0.0, 0.0
    width, height = (positions + sizes).max(axis=0).tolist()
    return width, height


def fill_ratio(regions: Array, mosaic_w: float, mosaic_h: float) -> float:
    """Share of the mosaic that the tiles of ``regions`` (R, 7) cover; 0 without tiles."""
    covered = float((regions[:, 2] * regions[:, 3] * regions[:, 6] ** 2).sum())
    return covered / (mosaic_w * mosaic_h) if covered else 0.0


def _pack_bounded(
    sizes: np.ndarray, factors: np.ndarray, mean_area: np.ndarray, packing: str, max_side: float
) -> tuple[np.ndarray, np.ndarray]:
    """Zooms (R,) and positions (R, 2) with which the mosaic is at most ``max_side`` wide and high.

    The next detector would shrink a larger mosaic as a whole, small objects included. Instead the zooms of the regions with the
    largest zoomed objects are halved, as few as the excess area requires, until the tiles fit. Only when no zoom is left to halve
    are all tiles shrunk by the same factor.
    """
    if len(factors) == 0:
        return factors, np.zeros((0, 2))
    factors, longest = factors.copy(), sizes.max(axis=1)  # (R,)
    while (oversize := (factors > 1) & (longest * factors > max_side)).any():
        factors[oversize] /= 2
    factors = np.minimum(factors, max_side / longest)
    while True:
        tiles = sizes * factors[:, None]
        positions = pack_tiles(tiles, packing)
        excess = (positions + tiles).max() / max_side
        if excess <= 1:
            return factors, positions
        zoomed = np.flatnonzero(factors >= 2)
        if len(zoomed) == 0:
            # Rounding must not leave the last edge outside.
            shrink = (1 - 1e-12) / excess
            return factors * shrink, positions * shrink
        by_object = zoomed[np.argsort(-(mean_area[zoomed] * factors[zoomed] ** 2), kind='stable')]
        areas = tiles.prod(axis=1)  # (R,)
        # A halved zoom frees three quarters of the tile.
        freed = np.cumsum(areas[by_object]) * 0.75
        count = 1 + int(np.searchsorted(freed, areas.sum() * (1 - 1 / excess**2)))
        factors[by_object[:count]] /= 2
