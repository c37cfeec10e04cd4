"""Cut the regions out of an image, zoom them, and paste them into the mosaic.

Letters: R regions; C channels.
"""

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ..arrays import Array, float64_like, is_tensor, namespace
from ..errors import ModelInputError

if TYPE_CHECKING:
    from torch import Tensor


def pixel_regions(regions: Array) -> Array:
    """The map between image and mosaic by which tiles are pasted and boxes mapped: every column but the zoom is rounded down.

    Applying it twice changes nothing more, and regions of ``mode='exact'`` are not changed at all. A region with fractions loses up to
    one pixel of the image at its right and bottom, and leaves black seams, as in the original; tiles never come to overlap.

    Args:
        regions: (R, 7) x, y, w, h, X, Y, zoom; tensor or numpy.

    Returns:
        (R, 7), same kind, float64.
    """
    xp, regions = namespace(regions), float64_like(regions, regions).reshape(-1, 7)
    return xp.concatenate([xp.floor(regions[:, :6]), regions[:, 6:]], axis=1)


def render_mosaic(
    image: Array, regions: 'Tensor | np.ndarray', mosaic_w: float, mosaic_h: float, fill: float = 0, dtype: Any = None
) -> Array:
    """Mosaic of an image.

    Every region (rounded down, see :func:`pixel_regions`) is cut out, zoomed bilinearly with half-pixel centres and without
    antialiasing, and pasted at its place. Regions without a whole pixel are left out.

    Args:
        image: tensor (C, H, W) on any device, or numpy array (H, W, C) or (H, W); uint8 or floating point.
        regions: (R, 7) of :func:`UnifiedForegroundPacking`; tensor or numpy.
        mosaic_w, mosaic_h: size of the mosaic in pixels; rounded up.
        fill: value between the tiles.
        dtype: of the mosaic of an array, if not that of the image: a float32 mosaic of a uint8 image keeps the fractions between its pixels.

    Returns:
        mosaic of the image's kind and device, and of its dtype if no other is given: (C, ceil(mosaic_h), ceil(mosaic_w)), or (ceil(mosaic_h), ceil(mosaic_w), C).

    Raises:
        ModelInputError: wrong shape or dtype, or a region outside the image or the mosaic.
    """
    pixels: Any = image
    tiles: Any = regions
    as_tensor = is_tensor(image)
    if image.ndim not in ((3,) if as_tensor else (2, 3)):
        raise ModelInputError(
            'must be a (C, H, W) tensor or a (H, W[, C]) array', field='image', received=tuple(image.shape)
        )
    rows, columns = math.ceil(mosaic_h), math.ceil(mosaic_w)
    if as_tensor:
        floating, (height, width) = pixels.is_floating_point(), pixels.shape[-2:]
        mosaic: Any = pixels.new_full((pixels.shape[0], rows, columns), fill)
    else:
        floating, (height, width) = pixels.dtype.kind == 'f', pixels.shape[:2]
        mosaic = np.full((rows, columns, *pixels.shape[2:]), fill, dtype=dtype or pixels.dtype)
    if not floating and pixels.dtype != namespace(image).uint8:
        raise ModelInputError('must be uint8 or floating point', field='image', received=pixels.dtype)
    for number, (*whole, zoom) in enumerate(pixel_regions(tiles).tolist()):
        x, y, w, h, left, top = map(int, whole)
        right, bottom = left + int(w * zoom), top + int(h * zoom)
        if right == left or bottom == top:
            continue
        if min(x, y, left, top) < 0 or x + w > width or y + h > height or right > columns or bottom > rows:
            raise ModelInputError(
                f'must lie in the image, {width} x {height}, and its tile in the mosaic, {columns} x {rows}',
                record=f'region {number}', field='regions', received=[x, y, w, h, left, top, zoom],
            )  # fmt: skip
        if as_tensor:
            mosaic[:, top:bottom, left:right] = zoom_tensor(pixels[:, y : y + h, x : x + w], zoom)
        else:
            zoom_array(pixels[y : y + h, x : x + w], zoom, mosaic[top:bottom, left:right])
    return mosaic


def zoom_tensor(crop: 'Tensor', zoom: float) -> 'Tensor':
    """Bilinear zoom of (C, h, w) to (C, floor(h * zoom), floor(w * zoom)), half-pixel centres; uint8 is rounded at the end."""
    if zoom == 1:
        return crop
    torch = namespace(crop)
    work = crop if crop.dtype == torch.float64 else crop.float()
    # The coordinates follow the zoom given, not the ratio of the floored sizes, because boxes are mapped by the zoom.
    grown = torch.nn.functional.interpolate(
        work[None], scale_factor=zoom, mode='bilinear', align_corners=False, recompute_scale_factor=False
    )[0]
    if crop.dtype == torch.uint8:
        grown = grown.round_().clamp_(0, 255)
    return grown.to(crop.dtype)


def zoom_array(crop: np.ndarray, zoom: float, out: np.ndarray) -> None:
    """Bilinear zoom of (h, w[, C]) into its place, (floor(h * zoom), floor(w * zoom)[, C]), by OpenCV, half-pixel centres."""
    if zoom == 1:
        out[:] = crop
        return
    # OpenCV cannot zoom float16.
    work = crop.astype(np.float32 if out.dtype == np.float16 else out.dtype, copy=False)
    height, width = out.shape[:2]
    if zoom == int(zoom) and out.dtype == work.dtype and out.shape[2:] != (1,):
        cv2.resize(work, (width, height), dst=out, interpolation=cv2.INTER_LINEAR)  # no copy
        return
    # It rounds to the nearest size, and drops a channel axis of length 1.
    grown = cv2.resize(work, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_LINEAR)
    out[:] = grown.reshape(*grown.shape[:2], *crop.shape[2:])[:height, :width]


def paint_black(image: np.ndarray, rectangles: Iterable[Sequence[float]]) -> None:
    """Make every pixel of an image (h, w[, C]) black, in place, that a rectangle x, y, w, h touches.

    The objects in ignored regions have no labels: on a mosaic for training they would be learnt as background.
    """
    for x, y, w, h in rectangles:
        left, top = max(int(np.floor(x)), 0), max(int(np.floor(y)), 0)
        image[top : max(int(np.ceil(y + h)), 0), left : max(int(np.ceil(x + w)), 0)] = 0
