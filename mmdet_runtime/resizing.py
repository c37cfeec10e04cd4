"""The rules by which images are resized and cut into tiles."""

import cv2
import numpy as np

from .errors import ModelInputError


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


def resize_image(image: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Bilinear resize of an (h, w, 3) image, as the ``Resize`` transform's; the image itself where it has the size already.

    Args:
        image: uint8, which OpenCV interpolates by integers and rounds, or float32, which keeps its fractions.
        size_hw: height and width wanted.

    Raises:
        ModelInputError: an image without pixels.
    """
    if min(image.shape[:2]) == 0:
        raise ModelInputError('an image needs pixels', field='image', received=image.shape)
    if image.shape[:2] == tuple(size_hw):
        return image
    return cv2.resize(image, size_hw[::-1], interpolation=cv2.INTER_LINEAR)


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
