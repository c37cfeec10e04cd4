"""Resizing, and in training every other movement of the image, by one warp (RangiLyu/nanodet)."""

from collections.abc import Sequence
from math import cos, radians, sin, tan

import cv2
import numpy as np
from mmcv.transforms.utils import cache_randomness

from mmdet.core.boxes import autocast_box_type
from mmdet.errors import ConfigError
from mmdet.registry import TRANSFORMS
from mmdet_runtime.canvas import FITS
from mmdet_runtime.resizing import warp_matrix

from .arguments import (
    check_choice,
    check_pad_value,
    check_probability,
    check_range,
    check_size,
    image_of,
    is_number,
    record_homography,
    whole_hw,
)
from .base import GeometricTransform
from .mixing import finish


@TRANSFORMS.register_module()
class WarpResize(GeometricTransform):
    """Map the image onto a canvas by one matrix, so that its pixels are interpolated once.

    Pixel (x, y) goes to (r x, r y), without the half-pixel centres of ``Resize``. The random movements are about the middle of the image
    and come before the resize; those that are not asked for draw no random number.

    Args:
        scale: (w, h) of the canvas.
        fit: ``'centre'`` keeps the aspect ratio and puts the image into the middle of the canvas (NanoDet v0.x); ``'shrink'`` keeps it and
            gives the canvas the size of the image, rounded down (NanoDet v1 with ``keep_ratio``); ``'stretch'`` fills the canvas (Plus).
        zoom: (low, high) of the factor of the size.
        stretch: (low, high) of two factors, of the width and of the height.
        translate: the middle of the image is moved by up to this share of its sides.
        flip: probability of a horizontal flip.
        rotate, shear: limits in degrees of the turn and of both shears.
        perspective: limit of both coefficients of the perspective, per pixel.
        border_val: colour beside the image, one number for each channel.

    Sets ``img``, ``img_shape``, ``scale_factor`` (w, h) and ``pad_param`` (top, bottom, left, right), the pixels of the canvas beside the
    image, by which predictions are mapped back; both are those of the resize alone. Boxes are clipped to the canvas; objects outside are
    dropped.
    """

    def __init__(
        self,
        scale: tuple[int, int],
        fit: str = 'centre',
        *,
        zoom: tuple[float, float] = (1.0, 1.0),
        stretch: tuple[float, float] = (1.0, 1.0),
        translate: float = 0.0,
        flip: float = 0.0,
        rotate: float = 0.0,
        shear: float = 0.0,
        perspective: float = 0.0,
        border_val: float | Sequence[float] = 0,
    ):
        self.scale, self.fit = check_size('scale', scale), check_choice('fit', fit, FITS)
        self.zoom, self.stretch = check_range('zoom', zoom), check_range('stretch', stretch)
        for field, (low, _) in (('zoom', self.zoom), ('stretch', self.stretch)):
            if low == 0:
                raise ConfigError('must be above 0', field=field, received=low)
        self.translate, self.flip = check_probability('translate', translate), check_probability('flip', flip)
        for field, value, most in (('rotate', rotate, 180), ('shear', shear, 89), ('perspective', perspective, 1)):
            if not is_number(value) or not 0 <= value <= most:
                raise ConfigError(f'must be in [0, {most}]', field=field, received=value)
        self.rotate, self.shear, self.perspective = rotate, shear, perspective
        self.border_val = check_pad_value('border_val', border_val)

    @cache_randomness
    def draw(self, image_wh: tuple[int, int]) -> np.ndarray:
        """The matrix (3, 3) of the movements of one image, before the resize."""
        width, height = image_wh
        if not self._moves():
            return np.eye(3)

        def about(limit: float, middle: float = 0.0) -> float:
            return middle + (np.random.uniform(-limit, limit) if limit else 0.0)

        def within(limits: tuple[float, float]) -> float:
            return np.random.uniform(*limits) if limits[0] < limits[1] else limits[0]

        to_middle = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1]])
        view = np.array([[1, 0, 0], [0, 1, 0], [about(self.perspective), about(self.perspective), 1]])
        zoom, across, along = within(self.zoom), within(self.stretch), within(self.stretch)
        angle = radians(about(self.rotate))
        turn = np.array([[cos(angle), -sin(angle), 0], [sin(angle), cos(angle), 0], [0, 0, 1]])
        skew = np.array([[1, tan(radians(about(self.shear))), 0], [tan(radians(about(self.shear))), 1, 0], [0, 0, 1]])
        mirror = -1 if self.flip and np.random.rand() < self.flip else 1
        back = np.array(
            [[1, 0, about(self.translate, 0.5) * width], [0, 1, about(self.translate, 0.5) * height], [0, 0, 1]]
        )
        return (
            back @ np.diag([mirror, 1, 1]) @ skew @ turn @ np.diag([zoom * across, zoom * along, 1]) @ view @ to_middle
        )

    def _moves(self) -> bool:
        ranges = (self.zoom, self.stretch)
        limits = (self.translate, self.flip, self.rotate, self.shear, self.perspective)
        return any(limits) or any(pair != (1, 1) for pair in ranges)

    def resize(self, image_wh: tuple[int, int]) -> tuple[np.ndarray, tuple[int, int]]:
        """The matrix (3, 3) of the resize and the size (w, h) of the canvas.

        >>> matrix, canvas_wh = WarpResize((416, 416)).resize((640, 480))
        >>> matrix[:2].round(3).tolist(), canvas_wh
        ([[0.65, 0.0, 0.0], [0.0, 0.65, 52.0]], (416, 416))
        """
        return warp_matrix(image_wh, self.scale, self.fit)

    def needed_wh(self, image_wh: tuple[int, int]) -> tuple[float, float]:
        if self.perspective:
            return image_wh
        enlarged = self.zoom[1] * self.stretch[1] * (1 + tan(radians(self.shear)))
        width, height = self.resize(image_wh)[0].diagonal()[:2] * image_wh * enlarged
        return float(width), float(height)

    @autocast_box_type()
    def transform(self, results: dict) -> dict:
        image = image_of(results)
        height, width = whole_hw(results)
        resize, canvas_wh = self.resize((width, height))
        matrix = pixels = resize @ self.draw((width, height))
        if results.pop('reduced_from', None):
            # Pixel i of a reduced image is the mean of k pixels, of which the middle is k i + (k - 1) / 2.
            along, across = height / image.shape[0], width / image.shape[1]
            pixels = matrix @ np.array([[across, 0, (across - 1) / 2], [0, along, (along - 1) / 2], [0, 0, 1]])
        colour = (self.border_val,) * 4 if is_number(self.border_val) else self.border_val
        warped = cv2.warpPerspective(np.ascontiguousarray(image), pixels, canvas_wh, borderValue=colour)
        (scale_x, scale_y), (left, top) = resize.diagonal()[:2], resize[:2, 2]
        beside = (top, canvas_wh[1] - top - scale_y * height, left, canvas_wh[0] - left - scale_x * width)
        results.update(scale_factor=(float(scale_x), float(scale_y)), keep_ratio=self.fit != 'stretch')
        results['pad_param'] = tuple(float(side) for side in beside)
        record_homography(results, matrix)
        boxes = results.get('gt_bboxes')
        if boxes is not None:
            boxes = boxes.clone()
            boxes.project_(matrix)
        return finish(results, warped, boxes, True)
