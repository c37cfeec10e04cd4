"""Transforms that paint over parts of the image."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmcv.transforms.utils import cache_randomness

from mmdet.core.boxes import BaseBoxes
from mmdet.errors import ConfigError
from mmdet.registry import TRANSFORMS
from mmdet.utils.checks import is_int

from .arguments import (
    check_pad_value,
    check_probability,
    check_range,
    image_of,
    is_numbers,
    is_sequence,
    select_objects,
)
from .base import DetTransform, GeometricTransform


def check_count(field: str, value: Any, minimum: int) -> tuple[int, int]:
    """Return ``value``, a whole number or the closed interval (low, high) of one, as an interval."""
    pair = value if is_sequence(value) else (value, value)
    if len(pair) != 2 or not all(is_int(count, minimum) for count in pair) or pair[0] > pair[1]:
        raise ConfigError(f'must be an integer >= {minimum} or (low, high) of these', field=field, received=value)
    return int(pair[0]), int(pair[1])


def draw_count(interval: tuple[int, int]) -> int:
    """A whole number of the closed interval; without a draw where there is only one."""
    low, high = interval
    return low if low == high else int(np.random.randint(low, high + 1))


def own_image(results: dict) -> np.ndarray:
    """The image, to be written to: loaded images belong to their sample. Copied only where memory is read-only."""
    image = image_of(results)
    return image if image.flags.writeable else image.copy()


@TRANSFORMS.register_module()
class RandomErasing(GeometricTransform):
    """Paint random patches over, and drop the objects that they cover (Zhong et al., AAAI 2020, arXiv 1708.04896).

    Args:
        n_patches: number of patches, or the closed interval from which it is drawn.
        ratio: sides of the patches as a share of the image's, a number in [0, 1] or the interval from which it is drawn.
        squared: one share for both sides; otherwise each has its own.
        bbox_erased_thr: objects of whose box the patches cover this share or more are dropped; pixels under two patches count twice.
        img_border_value: colour of the patches, a number or one per channel.
        mask_border_value, seg_ignore_label: accepted for mmdetection's configs.
    """

    def __init__(
        self,
        n_patches: int | Sequence[int],
        ratio: float | Sequence[float],
        squared: bool = True,
        bbox_erased_thr: float = 0.9,
        img_border_value: float | Sequence[float] = 128,
        mask_border_value: int = 0,
        seg_ignore_label: int = 255,
    ):
        self.n_patches = check_count('n_patches', n_patches, 0)
        self.ratio = check_range('ratio', ratio if is_sequence(ratio) else (ratio, ratio))
        if self.ratio[1] > 1:
            raise ConfigError('must be shares of the image in [0, 1]', field='ratio', received=ratio)
        self.squared = squared
        self.bbox_erased_thr = check_probability('bbox_erased_thr', bbox_erased_thr)
        self.img_border_value = check_pad_value('img_border_value', img_border_value)
        self.mask_border_value, self.seg_ignore_label = mask_border_value, seg_ignore_label

    @cache_randomness
    def draw(self, image_hw: tuple[int, int]) -> np.ndarray:
        """(n, 4) patches xyxy of one image, in whole pixels."""
        patches = []
        for _ in range(draw_count(self.n_patches)):
            first = self._draw_ratio()
            second = first if self.squared else self._draw_ratio()
            height, width = int(image_hw[0] * first), int(image_hw[1] * second)
            left = int(np.random.randint(0, image_hw[1] - width)) if width < image_hw[1] else 0
            top = int(np.random.randint(0, image_hw[0] - height)) if height < image_hw[0] else 0
            patches.append((left, top, left + width, top + height))
        return np.array(patches, np.float32).reshape(-1, 4)

    def _draw_ratio(self) -> float:
        low, high = self.ratio
        return low if low == high else float(np.random.random() * (high - low) + low)

    def transform(self, results: dict) -> dict:
        image = own_image(results)
        patches = self.draw(image.shape[:2])
        for left, top, right, bottom in patches.astype(int).tolist():
            image[top:bottom, left:right] = self.img_border_value
        results['img'] = image
        boxes = results.get('gt_bboxes')
        if boxes is not None and len(boxes) and len(patches):
            xyxy = boxes.tensor.numpy() if isinstance(boxes, BaseBoxes) else boxes
            corners = xyxy[:, None]  # (N, 1, 4)
            overlap = np.minimum(corners[..., 2:], patches[:, 2:]) - np.maximum(corners[..., :2], patches[:, :2])
            areas = (xyxy[:, 2:] - xyxy[:, :2]).prod(axis=1)
            erased = np.clip(overlap, 0, None).prod(-1).sum(1) / (areas + 1e-7)
            select_objects(results, erased < self.bbox_erased_thr)
        return results


@TRANSFORMS.register_module()
class CutOut(DetTransform):
    """Paint random holes into the image; objects stay as they are (DeVries and Taylor, arXiv 1708.04552).

    Args:
        n_holes: number of holes, or the closed interval from which it is drawn.
        cutout_shape: (w, h) of the holes in pixels, or a list of these, of which each hole gets one.
        cutout_ratio: the same as shares of the image, instead of ``cutout_shape``.
        fill_in: colour of the holes, a number or one per channel.
    """

    def __init__(
        self,
        n_holes: int | Sequence[int],
        cutout_shape: Any = None,
        cutout_ratio: Any = None,
        fill_in: float | Sequence[float] = (0, 0, 0),
    ):
        if (cutout_shape is None) == (cutout_ratio is None):
            message = 'give exactly one of cutout_shape and cutout_ratio'
            raise ConfigError(message, field='cutout_shape', received=(cutout_shape, cutout_ratio))
        self.n_holes = check_count('n_holes', n_holes, 0)
        field, given = ('cutout_ratio', cutout_ratio) if cutout_shape is None else ('cutout_shape', cutout_shape)
        candidates = [given] if is_numbers(given, 2) else list(given) if is_sequence(given) else []
        limit = 1 if cutout_shape is None else float('inf')
        if not candidates or not all(is_numbers(c, 2) and min(c) >= 0 and max(c) <= limit for c in candidates):
            raise ConfigError('must be (w, h) or a list of these', field=field, received=given)
        self.with_ratio, self.candidates = cutout_shape is None, candidates
        self.cutout_shape, self.cutout_ratio = cutout_shape, cutout_ratio
        self.fill_in = check_pad_value('fill_in', fill_in)

    def transform(self, results: dict) -> dict:
        image = own_image(results)
        height, width = image.shape[:2]
        for _ in range(draw_count(self.n_holes)):
            left, top = int(np.random.randint(0, width)), int(np.random.randint(0, height))
            several = len(self.candidates) > 1
            hole_w, hole_h = self.candidates[int(np.random.randint(0, len(self.candidates))) if several else 0]
            if self.with_ratio:
                hole_w, hole_h = hole_w * width, hole_h * height
            image[top : top + int(hole_h), left : left + int(hole_w)] = self.fill_in
        results['img'] = image
        return results
