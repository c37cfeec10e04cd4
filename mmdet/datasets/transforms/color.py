"""Transforms of pixel values."""

from collections.abc import Sequence

import cv2
import numpy as np
from mmcv.transforms.utils import cache_randomness

from mmdet.errors import ConfigError, DataError
from mmdet.registry import TRANSFORMS

from .arguments import check_range, image_of, is_number, is_numbers
from .base import DetTransform

Step = float | None  # None leaves the step out
Order = Sequence[int] | np.ndarray | None


@TRANSFORMS.register_module()
class PhotoMetricDistortion(DetTransform):
    """Random brightness, contrast, saturation, hue and channel order, each with probability 1/2 (SSD, Liu et al. 2016).

    uint8 images stay uint8: values are rounded and saturated at 0 and 255 between the steps, and the hue turns by whole
    steps of two degrees. float32 images (0..255) are neither rounded nor clipped, as in mmdetection.

    Args:
        brightness_delta: limit, 0..255, of the value that is added, drawn uniformly from [-delta, delta].
        contrast_range: (low, high) of the factor of all channels.
        saturation_range: (low, high) of the factor of the saturation.
        hue_delta: limit in degrees, 0..360, of the turn of the hue, drawn uniformly from [-delta, delta].
        contrast_first: whether the contrast comes before the saturation (True) or after it; None: either, equally likely.
        swap_channels: whether the order of the channels changes.
        to_float32: convert the image first, so that nothing is clipped.

    Raises:
        DataError: an image that is not (H, W, 3), uint8 or float32.
    """

    def __init__(
        self,
        brightness_delta: float = 32,
        contrast_range: tuple[float, float] = (0.5, 1.5),
        saturation_range: tuple[float, float] = (0.5, 1.5),
        hue_delta: float = 18,
        *,
        contrast_first: bool | None = None,
        swap_channels: bool = True,
        to_float32: bool = False,
    ):
        for field, value, limit in (('brightness_delta', brightness_delta, 255), ('hue_delta', hue_delta, 360)):
            if not is_number(value) or not 0 <= value <= limit:
                raise ConfigError(f'must be a number in [0, {limit}]', field=field, received=value)
        self.brightness_delta = brightness_delta
        self.contrast_range = check_range('contrast_range', contrast_range)
        self.saturation_range = check_range('saturation_range', saturation_range)
        self.hue_delta = hue_delta
        self.contrast_first, self.swap_channels, self.to_float32 = contrast_first, swap_channels, to_float32

    @cache_randomness
    def draw(self) -> dict:
        """Parameters of one image, as :func:`distort_uint8` takes them; None where the step is left out."""

        def half_of_the_time(low: float, high: float) -> float | None:
            return np.random.uniform(low, high) if np.random.rand() < 0.5 else None

        return dict(
            brightness=half_of_the_time(-self.brightness_delta, self.brightness_delta),
            contrast=half_of_the_time(*self.contrast_range),
            # Contrast before hue and saturation gives another result than after them; both orders are equally likely.
            contrast_first=bool(np.random.randint(2)) if self.contrast_first is None else self.contrast_first,
            saturation=half_of_the_time(*self.saturation_range),
            hue=half_of_the_time(-self.hue_delta, self.hue_delta) or None,
            channels=np.random.permutation(3) if self.swap_channels and np.random.rand() < 0.5 else None,
        )

    def transform(self, results: dict) -> dict:
        image = image_of(results)
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype not in (np.uint8, np.float32):
            message, found = 'needs a BGR image (H, W, 3), uint8 or float32', (image.shape, str(image.dtype))
            raise DataError(message, file=results.get('img_path'), field='img', received=found)
        image = image.astype(np.float32) if self.to_float32 else image
        distort = distort_uint8 if image.dtype == np.uint8 else distort_float32
        results['img'] = distort(np.ascontiguousarray(image), **self.draw())
        return results


def _affine(image: np.ndarray, factor: float, offset: float = 0.0, channels: Order = None) -> np.ndarray:
    """``image[..., channels] * factor + offset``, rounded and saturated; one pass in half the time of a lookup table."""
    matrix = np.eye(3, 4)[[0, 1, 2] if channels is None else list(channels)] * factor
    matrix[:, 3] = offset
    return cv2.transform(image, matrix)


def _through_hsv(image: np.ndarray, tables: np.ndarray, rows: int = 64) -> np.ndarray:
    """Replace H, S and V of a BGR image by their entries in the columns of ``tables`` (1, 256, 3); returns BGR.

    Strips of ``rows`` rows stay in the processor's cache between the three passes: 10 ms instead of 14 for 1360 x 765.
    """
    out = np.empty_like(image)
    for top in range(0, len(image), rows):
        hsv = cv2.cvtColor(image[top : top + rows], cv2.COLOR_BGR2HSV)
        cv2.cvtColor(cv2.LUT(hsv, tables, hsv), cv2.COLOR_HSV2BGR, out[top : top + rows])
    return out


def distort_uint8(
    image: np.ndarray,
    brightness: Step,  # added to all channels
    contrast: Step,  # factor of all channels
    contrast_first: bool,  # whether the contrast comes before saturation and hue, or after them
    saturation: Step,  # factor of the saturation
    hue: Step,  # degrees, added to the hue
    channels: Order,  # order of the channels of the result
) -> np.ndarray:
    """Apply the steps of :class:`PhotoMetricDistortion` to (H, W, 3) uint8 BGR.

    The image must be contiguous. It is returned itself if all steps are left out, and never written to.
    """
    first = contrast if contrast is not None and contrast_first else 1.0
    last = contrast if contrast is not None and not contrast_first else 1.0
    if brightness is not None or first != 1:
        image = _affine(image, first, first * (brightness or 0.0))
    if saturation is not None or hue is not None:
        # OpenCV's H is 0..179 (two degrees a step), S and V are 0..255.
        tables = np.stack([np.arange(256.0)] * 3, axis=-1)  # (256, 3)
        if hue is not None:
            tables[:, 0] = np.rint(tables[:, 0] + hue / 2) % 180
        if saturation is not None:
            tables[:, 1] *= saturation
        image = _through_hsv(image, np.clip(np.rint(tables), 0, 255).astype(np.uint8)[None])
    if last != 1 or channels is not None:
        image = _affine(image, last, channels=channels)
    return image


def distort_float32(
    image: np.ndarray,
    brightness: Step,
    contrast: Step,
    contrast_first: bool,
    saturation: Step,
    hue: Step,
    channels: Order,
) -> np.ndarray:
    """As :func:`distort_uint8`, for float32 BGR values (0..255), without rounding or clipping."""
    if brightness is not None:
        image = image + np.float32(brightness)
    if contrast is not None and contrast_first:
        image = image * np.float32(contrast)
    if saturation is not None or hue is not None:
        # H is 0..360 degrees, S is 0..1, V keeps the scale of the image.
        hsv: np.ndarray = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
        if saturation is not None:
            hsv[..., 1] *= np.float32(saturation)
        if hue is not None:
            hsv[..., 0] = (hsv[..., 0] + np.float32(hue)) % 360
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
    if contrast is not None and not contrast_first:
        image = image * np.float32(contrast)
    return image if channels is None else image[..., channels]


@TRANSFORMS.register_module()
class YOLOXHSVRandomAug(DetTransform):
    """Shift hue, saturation and value by whole steps, each with probability 1/2 (YOLOX, arXiv 2107.08430).

    Args:
        hue_delta: limit, 0..180, of the shift of OpenCV's hue, whose steps are two degrees.
        saturation_delta, value_delta: limits, 0..255, of the other two.

    Raises:
        DataError: an image that is not (H, W, 3) uint8.
    """

    def __init__(self, hue_delta: int = 5, saturation_delta: int = 30, value_delta: int = 30):
        limits = (
            ('hue_delta', hue_delta, 180),
            ('saturation_delta', saturation_delta, 255),
            ('value_delta', value_delta, 255),
        )
        for field, value, limit in limits:
            if not is_number(value) or not 0 <= value <= limit:
                raise ConfigError(f'must be a number in [0, {limit}]', field=field, received=value)
        self.hue_delta, self.saturation_delta, self.value_delta = hue_delta, saturation_delta, value_delta

    def transform(self, results: dict) -> dict:
        image = image_of(results)
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            message, found = 'needs a BGR image (H, W, 3) uint8', (image.shape, str(image.dtype))
            raise DataError(message, file=results.get('img_path'), field='img', received=found)
        tables = np.arange(256)[:, None] + self._get_hsv_gains()  # (256, 3)
        tables[:, 0] %= 180
        tables = np.clip(tables, 0, 255).astype(np.uint8)
        results['img'] = _through_hsv(np.ascontiguousarray(image), tables[None])
        return results

    @cache_randomness
    def _get_hsv_gains(self) -> np.ndarray:
        """(3,) whole numbers that are added to hue, saturation and value."""
        shifts = np.random.uniform(-1, 1, 3) * (self.hue_delta, self.saturation_delta, self.value_delta)
        return (shifts * np.random.randint(0, 2, 3)).astype(np.int16)  # towards 0


@TRANSFORMS.register_module()
class Normalize(DetTransform):
    """Compute (pixel - mean) / std in float32, for old configs; others normalise on the device (``DetDataPreprocessor``).

    Sets ``img`` float32 and ``img_norm_cfg``.

    Args:
        mean: one number per channel, in RGB order if ``to_rgb``.
        std: one number > 0 per channel, in the same order.
        to_rgb: reverse the channels (BGR to RGB) first.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], to_rgb: bool = True):
        for field, value in (('mean', mean), ('std', std)):
            if not is_numbers(value, 3):
                raise ConfigError('must be three numbers', field=field, received=value)
        if min(std) <= 0:
            raise ConfigError('must be > 0', field='std', received=std)
        self.mean, self.std = np.array(mean, np.float32), np.array(std, np.float32)
        self.to_rgb = to_rgb

    def transform(self, results: dict) -> dict:
        image = image_of(results)
        if self.to_rgb:
            image = image[..., ::-1]
        results['img'] = np.ascontiguousarray((image.astype(np.float32) - self.mean) / self.std)
        results['img_norm_cfg'] = dict(mean=self.mean, std=self.std, to_rgb=self.to_rgb)
        return results
