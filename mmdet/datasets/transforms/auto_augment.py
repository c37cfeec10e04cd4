"""Operations of one magnitude and the policies made of them: AutoAugment (arXiv 1805.09501, for detection 1906.11172), RandAugment (1909.13719).

An operation is applied with probability ``prob``. Its magnitude goes from ``min_mag`` to ``max_mag`` with ``level`` from 0 to 10, or is drawn uniformly
where there is no level; it is rounded to one decimal, as in mmdetection.
"""

from abc import abstractmethod
from collections.abc import Sequence
from math import ceil, cos, radians, sin, tan

import cv2
import mmcv
import numpy as np

from mmdet.core.boxes import autocast_box_type
from mmdet.errors import ConfigError
from mmdet.registry import TRANSFORMS
from mmdet.utils.checks import is_int

from .arguments import (
    check_choice,
    check_pad_value,
    check_probability,
    image_of,
    is_number,
    is_sequence,
    record_homography,
)
from .base import DetTransform, GeometricTransform
from .resize import INTERPOLATIONS, warp_image
from .wrappers import Compose, RandomChoice

HIGHEST_LEVEL = 10
_VALUES = np.arange(256, dtype=np.uint8)[None]
_SMOOTH = np.array([[1.0, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13  # Pillow's filter of this name


def _look_up(image: np.ndarray, *tables: np.ndarray) -> np.ndarray:
    """Replace the values of an image by those of one table of 256 numbers, cut to whole ones, or of one for each channel."""
    columns = [np.ravel(table).astype(np.uint8) for table in tables]
    return cv2.LUT(image, columns[0] if len(columns) == 1 else np.stack(columns, axis=-1)[None])


def _histograms(image: np.ndarray) -> list[np.ndarray]:
    """(256,) numbers of pixels, for each channel."""
    return [cv2.calcHist([image], [channel], None, [256], [0, 256]).ravel().astype(int) for channel in range(3)]


def _mix(image: np.ndarray, other: np.ndarray, share: float) -> np.ndarray:
    """``share * image + (1 - share) * other`` of two uint8 images, in float32, cut to whole numbers in 0..255."""
    mixed = cv2.addWeighted(image, share, other, 1 - share, 0, dtype=cv2.CV_32F)
    return np.clip(mixed, 0, 255, out=mixed).astype(np.uint8)


class _Magnitude(DetTransform):
    """``prob``, ``level``, ``min_mag`` and ``max_mag`` of every operation."""

    def _start(self, prob: float, level: int | None, min_mag: float, max_mag: float) -> None:
        self.prob = check_probability('prob', prob)
        if level is not None and (not is_number(level) or not 0 <= level <= HIGHEST_LEVEL):
            raise ConfigError(f'must be None or in [0, {HIGHEST_LEVEL}]', field='level', received=level)
        if not is_number(min_mag) or not is_number(max_mag) or min_mag > max_mag:
            raise ConfigError('must not be above max_mag', field='min_mag', received=(min_mag, max_mag))
        self.level, self.min_mag, self.max_mag = level, min_mag, max_mag

    def draw_magnitude(self) -> float:
        """The magnitude of one image."""
        share = np.random.rand() if self.level is None else self.level / HIGHEST_LEVEL
        return round(share * (self.max_mag - self.min_mag) + self.min_mag, 1)


class ColorTransform(_Magnitude):
    """An operation on the pixels of uint8 BGR images; ``lowest`` and ``highest`` are the default range of its magnitude."""

    lowest, highest = 0.1, 1.9

    def __init__(
        self, prob: float = 1.0, level: int | None = None, min_mag: float | None = None, max_mag: float | None = None
    ):
        low, high = self.lowest if min_mag is None else min_mag, self.highest if max_mag is None else max_mag
        self._start(prob, level, low, high)

    @abstractmethod
    def change(self, image: np.ndarray, magnitude: float) -> np.ndarray:
        """The image, (H, W, 3) uint8, changed by ``magnitude``."""

    def transform(self, results: dict) -> dict:
        if np.random.rand() > self.prob:
            return results
        image = np.ascontiguousarray(image_of(results))
        results['img'] = self.change(image, self.draw_magnitude()).astype(image.dtype, copy=False)
        return results


class ValueTransform(ColorTransform):
    """An operation that replaces each value on its own; pixels are looked up in the table of the 256 results, which costs a fraction."""

    @abstractmethod
    def change_values(self, values: np.ndarray, magnitude: float) -> np.ndarray:
        """The results of ``values`` (1, 256)."""

    def change(self, image: np.ndarray, magnitude: float) -> np.ndarray:
        return _look_up(image, self.change_values(_VALUES, magnitude))


@TRANSFORMS.register_module()
class Color(ColorTransform):
    """Mix the image (magnitude 1) with its grey form (magnitude 0)."""

    def change(self, image: np.ndarray, magnitude: float) -> np.ndarray:
        return cv2.addWeighted(image, magnitude, mmcv.gray2bgr(mmcv.bgr2gray(image)), 1 - magnitude, 0)


@TRANSFORMS.register_module()
class Brightness(ValueTransform):
    """Mix the image (magnitude 1) with black (magnitude 0)."""

    def change_values(self, values: np.ndarray, magnitude: float) -> np.ndarray:
        return _mix(values, np.zeros_like(values), magnitude)


@TRANSFORMS.register_module()
class Contrast(ColorTransform):
    """Mix the image (magnitude 1) with its mean grey (magnitude 0)."""

    def change(self, image: np.ndarray, magnitude: float) -> np.ndarray:
        mean = round(cv2.mean(mmcv.bgr2gray(image))[0])
        return _look_up(image, _mix(_VALUES, np.full_like(_VALUES, mean), magnitude))


@TRANSFORMS.register_module()
class Sharpness(ColorTransform):
    """Mix the image (magnitude 1) with its smoothed form (magnitude 0)."""

    def change(self, image: np.ndarray, magnitude: float) -> np.ndarray:
        return _mix(image, cv2.filter2D(image, -1, _SMOOTH), magnitude)


@TRANSFORMS.register_module()
class Solarize(ValueTransform):
    """Invert the values that are not below the magnitude."""

    lowest, highest = 0.0, 256.0

    def change_values(self, values: np.ndarray, magnitude: float) -> np.ndarray:
        return mmcv.solarize(values, min(magnitude, 255.0))


@TRANSFORMS.register_module()
class SolarizeAdd(ValueTransform):
    """Add the magnitude to the values below 128."""

    lowest, highest = 0.0, 110.0

    def change_values(self, values: np.ndarray, magnitude: float) -> np.ndarray:
        return np.where(values < 128, np.minimum(values + float(magnitude), 255), values)


@TRANSFORMS.register_module()
class Posterize(ValueTransform):
    """Keep as many bits of each value as the magnitude, rounded up, says."""

    lowest, highest = 0.0, 4.0

    def change_values(self, values: np.ndarray, magnitude: float) -> np.ndarray:
        return mmcv.posterize(values, ceil(magnitude))


@TRANSFORMS.register_module()
class Equalize(ColorTransform):
    """Equalise the histogram of each channel."""

    def change(self, image: np.ndarray, magnitude: float) -> np.ndarray:
        return _look_up(image, *map(self._table, _histograms(image)))

    @staticmethod
    def _table(histogram: np.ndarray) -> np.ndarray:
        """(256,) for one channel, as Pillow computes it; values stay as they are where there is nothing to be spread."""
        found = histogram[histogram > 0]
        step = int(found[:-1].sum()) // 255
        if step == 0:
            return _VALUES
        below = np.cumsum(histogram) - histogram  # pixels of lower values
        return np.where(below > 0, np.minimum((below + step // 2) // step, 255), 0)


@TRANSFORMS.register_module()
class AutoContrast(ColorTransform):
    """Stretch each channel to the whole range."""

    def change(self, image: np.ndarray, magnitude: float) -> np.ndarray:
        return _look_up(image, *map(self._table, _histograms(image)))

    @staticmethod
    def _table(histogram: np.ndarray) -> np.ndarray:
        """(256,) for one channel; a channel of one value stays as it is."""
        low, high = np.flatnonzero(histogram)[[0, -1]].tolist()
        if low == high:
            return _VALUES
        scale = 255.0 / (high - low)
        return np.clip(_VALUES * scale - low * scale, 0, 255)


@TRANSFORMS.register_module()
class Invert(ColorTransform):
    """The negative."""

    def change(self, image: np.ndarray, magnitude: float) -> np.ndarray:
        return cv2.bitwise_not(image)


class GeomTransform(_Magnitude, GeometricTransform):
    """An affine operation on image and boxes. Boxes are clipped to the image; those that become empty are kept, as in mmdetection.

    Args:
        prob, level, min_mag, max_mag: see the module.
        reversal_prob: probability of the opposite direction.
        img_border_value: colour beside the image, a number or one per channel.
        mask_border_value, seg_ignore_label: accepted for mmdetection's configs.
        interpolation: ``'nearest'``, ``'bilinear'``, ``'bicubic'``, ``'area'`` or ``'lanczos'``.
    """

    lowest, highest = 0.0, 30.0

    def __init__(
        self,
        prob: float = 1.0,
        level: int | None = None,
        min_mag: float | None = None,
        max_mag: float | None = None,
        reversal_prob: float = 0.5,
        img_border_value: float | Sequence[float] = 128,
        mask_border_value: int = 0,
        seg_ignore_label: int = 255,
        interpolation: str = 'bilinear',
    ):
        low, high = self.lowest if min_mag is None else min_mag, self.highest if max_mag is None else max_mag
        self._start(prob, level, low, high)
        self.reversal_prob = check_probability('reversal_prob', reversal_prob)
        self.img_border_value = check_pad_value('img_border_value', img_border_value)
        self.mask_border_value, self.seg_ignore_label = mask_border_value, seg_ignore_label
        self.interpolation = check_choice('interpolation', interpolation, INTERPOLATIONS)

    @abstractmethod
    def matrix(self, magnitude: float, image_hw: tuple[int, int]) -> list[list[float]]:
        """(2, 3), from points (x, y, 1) of the image to those of the result."""

    @autocast_box_type()
    def transform(self, results: dict) -> dict:
        if np.random.rand() > self.prob:
            return results
        image = image_of(results)
        shape = image.shape[:2]
        magnitude = self.draw_magnitude()
        if np.random.rand() > self.reversal_prob:
            magnitude = -magnitude
        matrix = np.array([*self.matrix(magnitude, shape), [0, 0, 1]], np.float64)
        flag = INTERPOLATIONS[self.interpolation]
        results['img'] = warp_image(image, matrix[:2], shape[::-1], self.img_border_value, flag)
        if results.get('gt_bboxes') is not None:
            results['gt_bboxes'].project_(matrix)
            results['gt_bboxes'].clip_(shape)
        record_homography(results, matrix)
        return results


@TRANSFORMS.register_module()
class ShearX(GeomTransform):
    """Shear along x by an angle in degrees."""

    def matrix(self, magnitude: float, image_hw: tuple[int, int]) -> list[list[float]]:
        return [[1, tan(radians(magnitude)), 0], [0, 1, 0]]


@TRANSFORMS.register_module()
class ShearY(GeomTransform):
    """Shear along y by an angle in degrees."""

    def matrix(self, magnitude: float, image_hw: tuple[int, int]) -> list[list[float]]:
        return [[1, 0, 0], [tan(radians(magnitude)), 1, 0]]


@TRANSFORMS.register_module()
class Rotate(GeomTransform):
    """Turn about the middle by an angle in degrees, clockwise as one sees it."""

    def matrix(self, magnitude: float, image_hw: tuple[int, int]) -> list[list[float]]:
        angle, x, y = radians(magnitude), (image_hw[1] - 1) / 2, (image_hw[0] - 1) / 2
        c, s = cos(angle), sin(angle)
        return [[c, -s, x - c * x + s * y], [s, c, y - s * x - c * y]]


@TRANSFORMS.register_module()
class TranslateX(GeomTransform):
    """Shift to the right by a share of the width."""

    highest = 0.1

    def matrix(self, magnitude: float, image_hw: tuple[int, int]) -> list[list[float]]:
        return [[1, 0, int(magnitude * image_hw[1])], [0, 1, 0]]


@TRANSFORMS.register_module()
class TranslateY(GeomTransform):
    """Shift downwards by a share of the height."""

    highest = 0.1

    def matrix(self, magnitude: float, image_hw: tuple[int, int]) -> list[list[float]]:
        return [[1, 0, 0], [0, 1, int(magnitude * image_hw[0])]]


# Policy v0 of arXiv 1906.11172: (operation, probability, level) of the two steps of each.
_V0 = (
    ('Equalize', 0.8, 1, 'ShearY', 0.8, 4), ('Color', 0.4, 9, 'Equalize', 0.6, 3), ('Color', 0.4, 1, 'Rotate', 0.6, 8),
    ('Solarize', 0.8, 3, 'Equalize', 0.4, 7), ('Solarize', 0.4, 2, 'Solarize', 0.6, 2), ('Color', 0.2, 0, 'Equalize', 0.8, 8),
    ('Equalize', 0.4, 8, 'SolarizeAdd', 0.8, 3), ('ShearX', 0.2, 9, 'Rotate', 0.6, 8), ('Color', 0.6, 1, 'Equalize', 1.0, 2),
    ('Invert', 0.4, 9, 'Rotate', 0.6, 0), ('Equalize', 1.0, 9, 'ShearY', 0.6, 3), ('Color', 0.4, 7, 'Equalize', 0.6, 0),
    ('Posterize', 0.4, 6, 'AutoContrast', 0.4, 7), ('Solarize', 0.6, 8, 'Color', 0.6, 9), ('Solarize', 0.2, 4, 'Rotate', 0.8, 9),
    ('Rotate', 1.0, 7, 'TranslateY', 0.8, 9), ('ShearX', 0.0, 0, 'Solarize', 0.8, 4), ('ShearY', 0.8, 0, 'Color', 0.6, 4),
    ('Color', 1.0, 0, 'Rotate', 0.6, 2), ('Equalize', 0.8, 4, 'Equalize', 0.0, 8), ('Equalize', 1.0, 4, 'AutoContrast', 0.6, 2),
    ('ShearY', 0.4, 7, 'SolarizeAdd', 0.6, 7), ('Posterize', 0.8, 2, 'Solarize', 0.6, 10), ('Solarize', 0.6, 8, 'Equalize', 0.6, 1),
    ('Color', 0.8, 6, 'Rotate', 0.4, 5),
)  # fmt: skip


def _step(name: str, prob: float, level: int) -> dict:
    return dict(type=name, prob=prob, level=level)


AUTOAUG_POLICIES_V0 = [[_step(*row[:3]), _step(*row[3:])] for row in _V0]
RANDAUG_SPACE = [[dict(type=name)] for name in (
    'AutoContrast', 'Equalize', 'Invert', 'Rotate', 'Posterize', 'Solarize', 'SolarizeAdd', 'Color', 'Contrast', 'Brightness', 'Sharpness',
    'ShearX', 'ShearY', 'TranslateX', 'TranslateY',
)]  # fmt: skip


@TRANSFORMS.register_module()
class AutoAugment(RandomChoice):
    """Apply one policy, a list of transforms, chosen at random.

    Args:
        policies: the policies; by default the 25 of policy v0 for detection.
        prob: see :class:`RandomChoice`.
    """

    def __init__(self, policies: Sequence[Sequence[dict]] = AUTOAUG_POLICIES_V0, prob: Sequence[float] | None = None):
        if not is_sequence(policies) or not all(is_sequence(policy) and len(policy) for policy in policies):
            raise ConfigError('must be a list of lists of transforms', field='policies', received=policies)
        super().__init__(policies, prob)
        self.policies = policies


@TRANSFORMS.register_module()
class RandAugment(RandomChoice):
    """Apply ``aug_num`` different operations, chosen at random.

    Args:
        aug_space: the operations, each a list of transforms; by default all of this module, with random magnitudes.
        aug_num: how many are applied to each image.
        prob: see :class:`RandomChoice`.
    """

    def __init__(
        self, aug_space: Sequence[Sequence[dict]] = RANDAUG_SPACE, aug_num: int = 2, prob: Sequence[float] | None = None
    ):
        super().__init__(aug_space, prob)
        if not is_int(aug_num, 1) or aug_num > len(aug_space):
            raise ConfigError(f'must be an integer in [1, {len(aug_space)}]', field='aug_num', received=aug_num)
        self.aug_space, self.aug_num = aug_space, aug_num

    def transform(self, results: dict) -> dict | None:
        chosen = np.random.choice(len(self.transforms), self.aug_num, replace=False, p=self.prob)
        return Compose([self.transforms[index] for index in chosen])(results)
