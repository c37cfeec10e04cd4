"""Transforms that flip and pad the image."""

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from mmcv.transforms.utils import cache_randomness

from mmdet.core.boxes import autocast_box_type
from mmdet.core.boxes import bbox_flip as flip_boxes  # noqa: F401  (its earlier name)
from mmdet.errors import ConfigError
from mmdet.registry import TRANSFORMS

from .arguments import (
    check_choice,
    check_pad_value,
    check_probability,
    check_size,
    image_of,
    is_number,
    is_sequence,
    record_homography,
)
from .base import GeometricTransform
from .resize import pad_image

FLIP_CODES = {'horizontal': 1, 'vertical': 0, 'diagonal': -1}
PADDING_MODES = {
    'constant': cv2.BORDER_CONSTANT,
    'edge': cv2.BORDER_REPLICATE,
    'reflect': cv2.BORDER_REFLECT_101,
    'symmetric': cv2.BORDER_REFLECT,
}


@TRANSFORMS.register_module()
class RandomFlip(GeometricTransform):
    """Mirror image, boxes and masks at random; sets ``flip`` (bool) and ``flip_direction`` (str or None).

    Args:
        prob: probability of a flip, shared equally among the directions; or a list of one probability for each direction.
        direction: ``'horizontal'``, ``'vertical'`` or ``'diagonal'`` (both), or a list of these.
        swap_seg_labels: accepted for mmdetection's configs; it concerns segmentation maps only.
    """

    moves_masks = True

    def __init__(
        self,
        prob: float | Sequence[float] | None = None,
        direction: str | Sequence[str] = 'horizontal',
        swap_seg_labels: Sequence[int] | None = None,
    ):
        directions = [direction] if isinstance(direction, str) else direction
        if not is_sequence(directions) or len(directions) == 0:
            message = f'must be one of {sorted(FLIP_CODES)} or a list of these'
            raise ConfigError(message, field='direction', received=direction)
        self.direction = [check_choice('direction', name, FLIP_CODES) for name in directions]
        count = len(self.direction)
        if is_sequence(prob):
            probabilities = [check_probability('prob', value) for value in prob]
            if len(probabilities) != count or sum(probabilities) > 1 + 1e-9:
                message = f'must be one probability for each of the {count} directions, with a sum of at most 1'
                raise ConfigError(message, field='prob', received=list(prob))
        else:
            probabilities = [check_probability('prob', prob) / count] * count
        self.prob = probabilities
        self._gives_view = False  # see settle_pipeline
        self._upper = np.cumsum(probabilities)

    def draw(self) -> str | None:
        """The direction of the next image, or None for no flip."""
        return self._choose_direction()

    @cache_randomness
    def _choose_direction(self) -> str | None:
        """One random number decides. This method and those below are what subclasses written for mmdetection override."""
        chosen = int(np.searchsorted(self._upper, np.random.rand(), side='right'))
        return self.direction[chosen] if chosen < len(self.direction) else None

    def transform(self, results: dict) -> dict:
        self._flip_on_direction(results)
        return results

    def _flip_on_direction(self, results: dict) -> None:
        """Draw a direction, note it in ``flip`` and ``flip_direction``, and mirror the sample along it."""
        direction = self._choose_direction()
        results['flip'] = direction is not None
        results['flip_direction'] = direction
        if direction is not None:
            self._flip(results)

    @autocast_box_type()
    def _flip(self, results: dict) -> dict:
        """Mirror the sample, whose boxes are an object, in place along ``flip_direction``, and return it."""
        image, direction = image_of(results), results['flip_direction']
        if self._gives_view:
            axes = tuple(axis for axis, one in enumerate(('vertical', 'horizontal')) if direction in (one, 'diagonal'))
            results['img'] = np.flip(image, axes)
        else:
            results['img'] = cv2.flip(np.ascontiguousarray(image), FLIP_CODES[direction])
        if results.get('gt_bboxes') is not None:
            results['gt_bboxes'].flip_(image.shape[:2], direction)
        if results.get('gt_masks') is not None:
            results['gt_masks'] = results['gt_masks'].flip(direction)
        self._record_homography_matrix(results)
        return results

    def _record_homography_matrix(self, results: dict) -> None:
        """Note the flip in ``homography_matrix``."""
        height, width = results['img'].shape[:2]
        direction = results['flip_direction']
        x, y = (-1 if direction in (one, 'diagonal') else 1 for one in ('horizontal', 'vertical'))
        record_homography(results, [[x, 0, width * (x < 0)], [0, y, height * (y < 0)], [0, 0, 1]])


@TRANSFORMS.register_module()
class Pad(GeometricTransform):
    """Pad the image on the right and at the bottom, so that boxes keep their coordinates.

    Masks get the same frame. Sets ``img``, ``img_shape``, ``pad_shape`` (h, w), ``pad_fixed_size`` and ``pad_size_divisor``.

    Args:
        size: (w, h) to pad to; a side that is larger keeps its length.
        size_divisor: pad both sides to a multiple of this (after ``pad_to_square``).
        pad_to_square: pad the shorter side to the length of the longer one.
        pad_val: a number, one number per channel (BGR), or ``dict(img=..., masks=0)``.
        padding_mode: ``'constant'``, ``'edge'``, ``'reflect'`` (border pixel not repeated) or ``'symmetric'`` (repeated). Masks
            are padded with ``pad_val['masks']`` in every mode.
    """

    moves_masks = True

    def __init__(
        self,
        size: tuple[int, int] | None = None,
        size_divisor: int | None = None,
        pad_to_square: bool = False,
        pad_val: float | tuple[float, ...] | Mapping[str, Any] = 0,
        padding_mode: str = 'constant',
    ):
        if size is not None and (size_divisor is not None or pad_to_square):
            raise ConfigError('must be None beside size_divisor or pad_to_square', field='size', received=size)
        if size is None and size_divisor is None and not pad_to_square:
            raise ConfigError('give size, size_divisor or pad_to_square', field='size', received=None)
        self.size = None if size is None else check_size('size', size)
        if size_divisor is not None and (
            not is_number(size_divisor) or size_divisor < 1 or size_divisor != int(size_divisor)
        ):
            raise ConfigError('must be a whole number >= 1', field='size_divisor', received=size_divisor)
        self.size_divisor = size_divisor
        self.pad_to_square = pad_to_square
        self.pad_val = check_pad_value('pad_val', pad_val)
        self._mask_value = pad_val.get('masks', 0) if isinstance(pad_val, Mapping) else 0
        self.padding_mode = check_choice('padding_mode', padding_mode, PADDING_MODES)

    def transform(self, results: dict) -> dict:
        self._pad_img(results)
        self._pad_seg(results)
        self._pad_masks(results)
        record_homography(results, np.eye(3))
        return results

    def _pad_img(self, results: dict) -> None:
        """Pad ``img``, and set the other keys. This method and those below are what subclasses written for mmdetection override."""
        image = image_of(results)
        height, width = image.shape[:2]
        if self.size is not None:
            width, height = self.size
        if self.pad_to_square:
            height = width = max(height, width)
        if self.size_divisor is not None:
            height, width = (-(-side // self.size_divisor) * self.size_divisor for side in (height, width))
        image = pad_image(image, (height, width), self.pad_val, PADDING_MODES[self.padding_mode])
        results.update(img=image, img_shape=image.shape[:2], pad_shape=image.shape[:2])
        results.update(pad_fixed_size=self.size, pad_size_divisor=self.size_divisor)

    def _pad_seg(self, results: dict) -> None:
        """For subclasses that pad segmentation maps; here a sample with one is refused."""

    def _pad_masks(self, results: dict) -> None:
        """Pad ``gt_masks`` to ``pad_shape``."""
        if results.get('gt_masks') is not None:
            results['gt_masks'] = results['gt_masks'].pad(results['pad_shape'][:2], self._mask_value)
