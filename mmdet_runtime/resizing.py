"""The rules by which images are resized and cut into tiles."""

import math
from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from .errors import ConfigError, ModelInputError


def fit_size(image_wh: tuple[int, int], limit: tuple[float, float], max_zoom: float | None = None) -> tuple[int, int]:
    """Largest (w, h) with the aspect ratio of ``image_wh`` whose long and short edge keep to those of ``limit``.

    The order of the two limits does not matter. Sides are rounded half up, as in mmdetection, to at least one pixel. ``max_zoom`` limits the
    enlargement; None does not.

        >>> fit_size((640, 480), (1333, 800)), fit_size((333, 500), (1333, 800))
        ((1067, 800), (800, 1201))
    """
    factor = min(max(limit) / max(image_wh), min(limit) / min(image_wh))
    factor = factor if max_zoom is None else min(factor, max_zoom)
    return scaled_size(image_wh, (factor, factor))


def scaled_size(image_wh: tuple[int, int], factor_wh: tuple[float, float]) -> tuple[int, int]:
    """``image_wh`` times ``factor_wh``, rounded half up to at least one pixel a side."""
    width, height = (max(1, int(side * factor + 0.5)) for side, factor in zip(image_wh, factor_wh))
    return width, height


def rescale_size_hw(
    size_hw: tuple[int, int], scale_wh: tuple[int, int], max_zoom: float | None = None
) -> tuple[int, int]:
    """:func:`fit_size` of height and width.

    Args:
        size_hw: height and width of the image.
        scale_wh: the largest long and short side, in either order.
        max_zoom: limit of the enlargement; None for none.

    >>> rescale_size_hw((480, 640), (1333, 800))
    (800, 1067)
    >>> rescale_size_hw((480, 640), (1333, 800), max_zoom=1)
    (480, 640)
    """
    width, height = fit_size((size_hw[1], size_hw[0]), scale_wh, max_zoom)
    return height, width


def model_size_hw(
    size_hw: tuple[int, int], divisor: int = 1, least_side: int = 1, strides: Sequence[float] = (), cells: int = 0
) -> tuple[int, int]:
    """Height and width to which images are padded for a model that does not take all sizes.

    Args:
        size_hw: height and width of the images.
        divisor: sides are multiples of it.
        least_side: the smallest side in pixels.
        strides: of maps that together must have so many ``cells``; the shorter side grows until they have.
        cells: see there.

    >>> model_size_hw((60, 100), divisor=32)
    (64, 128)
    >>> model_size_hw((32, 32), divisor=32, strides=[16], cells=7)
    (64, 32)
    """
    height, width = (math.ceil(max(side, least_side) / divisor) * divisor for side in size_hw)
    while strides and sum(math.ceil(height / s) * math.ceil(width / s) for s in strides) < cells:
        step = max(divisor, int(min(strides)))
        height, width = (height + step, width) if height <= width else (height, width + step)
    return height, width


def resize_image(image: np.ndarray, size_hw: tuple[int, int], *, exact: bool = False) -> np.ndarray:
    """Bilinear resize of an (h, w, 3) image; the image itself where it has the size already.

    Args:
        image: uint8, or float32, which keeps its fractions.
        size_hw: height and width wanted.
        exact: how uint8 is interpolated. False: by integers, as the ``Resize`` transform does, which is often off by one grey level. True: in
            floating point and rounded at the end, as the stages of the toolbox's composite detectors do, with the same result; it takes longer.

    Raises:
        ModelInputError: an image without pixels.
    """
    if min(image.shape[:2]) == 0:
        raise ModelInputError('an image needs pixels', field='image', received=image.shape)
    if image.shape[:2] == tuple(size_hw):
        return image
    if exact and image.dtype == np.uint8:
        resized = cv2.resize(image.astype(np.float32), size_hw[::-1], interpolation=cv2.INTER_LINEAR)
        rounded = cv2.convertScaleAbs(resized)  # rounds half to even, and makes uint8 of it
        _round_as_torch(image, resized, rounded)
        return rounded
    return cv2.resize(image, size_hw[::-1], interpolation=cv2.INTER_LINEAR)


def _round_as_torch(image: np.ndarray, resized: np.ndarray, rounded: np.ndarray) -> None:
    """Round the values of a resized image that lie on a half, or close to it, to the side to which torch rounds them, in place.

    Its ``interpolate`` computes coordinates in 32 bits, OpenCV in 64, so that a value which is a half in exact arithmetic (one in a hundred where the
    factor is 5 / 12) ends above it in one and below it in the other. What is repeated here is the arithmetic of torch's kernel for several threads;
    that for one thread adds in another order, and rounds one value in some thousands of those otherwise.

    Args:
        image: (h, w, 3) uint8.
        resized, rounded: (h', w', 3) float32 and uint8.
    """
    (y0, y1, down), (x0, x1, right) = (_torch_places(*sides) for sides in zip(image.shape[:2], resized.shape[:2]))
    if not (down * 64 % 1).any() and not (right * 64 % 1).any():
        return  # nothing is rounded on the way: both are exact
    # A coordinate is off by up to one part in 2 ** 23 of the side, and a pixel more or less is 255 grey levels.
    near = 255 * sum(image.shape[:2]) / 2**23
    place = np.flatnonzero(cv2.absdiff(resized, rounded.astype(np.float32)).reshape(-1) >= 0.5 - near)
    y, x, channel = np.unravel_index(place, resized.shape)
    down, right = down[y], right[x]
    up, left = np.float32(1) - down, np.float32(1) - right
    upper, lower = (
        _fused(left, image[rows[y], x0[x], channel], right * image[rows[y], x1[x], channel].astype(np.float32))
        for rows in (y0, y1)
    )
    rounded.reshape(-1)[place] = np.rint(_fused(up, upper, down * lower))


def _fused(factor: np.ndarray, value: np.ndarray, added: np.ndarray) -> np.ndarray:
    """``factor * value + added`` in float32 with one rounding at the end, as processors compute it: float64 holds a product of two float32."""
    return (factor.astype(np.float64) * value + added).astype(np.float32)


def _torch_places(size: int, new: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each of ``new`` pixels the two of ``size`` that it lies between, and the weight of the second, float32, as torch computes them."""
    step = np.float32(size) / np.float32(new)
    place = np.maximum((np.float64(step) * (np.arange(new) + 0.5) - 0.5).astype(np.float32), 0)
    first = np.minimum(place.astype(np.int64), size - 1)
    return first, np.minimum(first + 1, size - 1), np.clip(place - first.astype(np.float32), 0, 1).astype(np.float32)


def has_ipp() -> bool:
    """Whether OpenCV holds Intel's IPP, as its packages for x86 processors do."""
    return hasattr(cv2, 'ipp') and cv2.ipp.useIPP()


def resize_by_ipp(image: np.ndarray, size_wh: tuple[int, int], interpolation: int = cv2.INTER_LINEAR) -> np.ndarray:
    """``cv2.resize``, computed by Intel's IPP where OpenCV holds it: bilinear in less than half the time.

    OpenCV interpolates 8-bit images with weights of 11 bits and is up to 0.77 of a grey level from the true value, IPP up to 0.51: about one pixel in
    nine differs, by one level. OpenCV notes the permission for each thread by itself.
    """
    cv2.ipp.setUseIPP_NotExact(True)
    try:
        return cv2.resize(image, size_wh, interpolation=interpolation)
    finally:
        cv2.ipp.setUseIPP_NotExact(False)


def warp_matrix(image_wh: tuple[int, int], canvas_wh: tuple[int, int], fit: str) -> tuple[np.ndarray, tuple[int, int]]:
    """The matrix (3, 3) by which an image comes onto a canvas, and the size (w, h) of the canvas: pixel (x, y) goes to (r x, r y), plus a shift.

    Args:
        image_wh, canvas_wh: sizes in pixels.
        fit: ``'centre'`` keeps the aspect ratio and puts the image into the middle; ``'shrink'`` keeps it and gives the canvas the size of the
            image, rounded down; ``'stretch'`` fills the canvas.

    >>> matrix, canvas_wh = warp_matrix((640, 480), (416, 416), 'centre')
    >>> matrix[:2].round(3).tolist(), canvas_wh
    ([[0.65, 0.0, 0.0], [0.0, 0.65, 52.0]], (416, 416))
    """
    image, canvas = np.array(image_wh), np.array(canvas_wh)
    if fit == 'stretch':
        return np.diag([*(canvas / image), 1]), (int(canvas[0]), int(canvas[1]))
    ratio = (canvas / image).min()
    if fit == 'shrink':
        # The ratio is that of the rounded canvas, in whose middle the image lies: it moves by a fraction of a pixel.
        canvas = np.maximum((ratio * image).astype(int), 1)
        ratio = (canvas / image).min()
    matrix = np.diag([ratio, ratio, 1])
    matrix[:2, 2] = (canvas - ratio * image) / 2
    return matrix, (int(canvas[0]), int(canvas[1]))


def slice_starts(length: int, tile: int, overlap: float) -> list[int]:
    """First pixels of the tiles that cover ``length`` pixels; the last one ends at the border.

    >>> slice_starts(1000, 400, 0.25)
    [0, 300, 600]
    >>> slice_starts(300, 400, 0.25)
    [0]
    """
    if length <= tile:
        return [0]
    return [*range(0, length - tile, max(int(tile * (1 - overlap)), 1)), length - tile]


def tile_windows(
    size_wh: tuple[int, int], tile_wh: tuple[int, int] | None, overlap: float
) -> Iterator[tuple[int, int, tuple[int, int]]]:
    """Left and upper edge, height and width of the tiles of an image, row by row; without a tile size, of the image as the only tile."""
    width, height = size_wh
    tile_w, tile_h = tile_wh or size_wh
    for y in slice_starts(height, tile_h, overlap):
        for x in slice_starts(width, tile_w, overlap):
            yield x, y, (min(tile_h, height), min(tile_w, width))


def check_tiles(tile_wh: Sequence[int] | None, overlap: float) -> tuple[int, int] | None:
    """The tile size as two numbers, or None.

    Raises:
        ConfigError: a tile without pixels, an overlap outside [0, 1).
    """
    if tile_wh is not None and (len(tile_wh) != 2 or min(tile_wh) < 1):
        raise ConfigError('must be two positive sizes (w, h), or None', field='tile_wh', received=tile_wh)
    if not 0 <= overlap < 1:
        raise ConfigError('must be in [0, 1)', field='overlap', received=overlap)
    return None if tile_wh is None else (int(tile_wh[0]), int(tile_wh[1]))
