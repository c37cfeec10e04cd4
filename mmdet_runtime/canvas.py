"""Pictures that are not simply resized before the network sees them: warped onto a canvas (NanoDet), or on a coloured ground (YOLOX, RTMDet)."""

from collections.abc import Sequence

import cv2
import numpy as np

from .checks import is_finite, is_int
from .errors import ConfigError
from .resizing import fit_size, resize_image, warp_matrix

FITS = ('centre', 'shrink', 'stretch')


class Canvas:
    """Where an image lies on what the network sees.

    Args:
        warp: how the image is warped onto a canvas of the stage's scale, see :func:`~mmdet_runtime.resizing.warp_matrix`; None resizes it, and
            puts it into the upper left corner.
        size: (w, h) of the canvas for a resized image; a side that is longer stays.
        square: make the canvas for a resized image as high as it is wide.
        color: of what lies beside the image, three numbers in the order of its channels (BGR).

    Raises:
        ConfigError: a value out of range.
    """

    def __init__(
        self,
        warp: str | None = None,
        size: Sequence[int] | None = None,
        square: bool = False,
        color: Sequence[float] = (0.0, 0.0, 0.0),
    ):
        if warp is not None and warp not in FITS:
            raise ConfigError(f'must be one of {FITS} or null', field='canvas.warp', received=warp)
        if size is not None and not (len(size) == 2 and all(is_int(side, 1) for side in size)):
            raise ConfigError('must be width and height, or null', field='canvas.size', received=size)
        if len(color) != 3 or not all(map(is_finite, color)):
            raise ConfigError('must be three numbers', field='canvas.color', received=color)
        self.warp, self.size, self.square, self.color = warp, size, square, tuple(color)

    def place(
        self, image_hw: tuple[int, int], scale_wh: tuple[int, int], keep_ratio: bool = True
    ) -> tuple[np.ndarray, tuple[int, int]]:
        """The matrix (3, 3) that takes pixels of the image to those of the canvas, and height and width of the canvas."""
        height, width = image_hw
        if self.warp is not None:
            matrix, (canvas_w, canvas_h) = warp_matrix((width, height), scale_wh, self.warp)
            return matrix, (canvas_h, canvas_w)
        new_w, new_h = fit_size((width, height), scale_wh) if keep_ratio else scale_wh
        least_w, least_h = self.size or (0, 0)
        canvas_h, canvas_w = max(new_h, least_h), max(new_w, least_w)
        if self.square:
            canvas_h = canvas_w = max(canvas_h, canvas_w)
        return np.diag([new_w / width, new_h / height, 1.0]), (canvas_h, canvas_w)

    def draw(self, image: np.ndarray, matrix: np.ndarray, canvas_hw: tuple[int, int]) -> np.ndarray:
        """The canvas with the image (h, w, 3) on it, in its dtype."""
        if self.warp is not None:
            return cv2.warpPerspective(image, matrix, canvas_hw[::-1], borderValue=self.color)
        height, width = (round(factor * side) for factor, side in zip((matrix[1, 1], matrix[0, 0]), image.shape))
        resized = resize_image(image, (height, width))
        return cv2.copyMakeBorder(
            resized, 0, canvas_hw[0] - height, 0, canvas_hw[1] - width, cv2.BORDER_CONSTANT, value=self.color
        )
