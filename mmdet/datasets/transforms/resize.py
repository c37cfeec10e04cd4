"""Transforms that scale the image: to a given, a random, or an exact size with padding."""

import threading
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any

import cv2
import numpy as np
from mmcv.transforms.utils import cache_randomness

from mmdet.core.boxes import autocast_box_type
from mmdet.errors import ConfigError
from mmdet.registry import TRANSFORMS
from mmdet_runtime.resizing import fit_size, has_ipp, resize_by_ipp, scaled_size

from .arguments import (
    check_choice,
    check_limits,
    check_pad_value,
    check_pair,
    check_range,
    check_size,
    image_of,
    is_number,
    is_sequence,
    record_homography,
    whole_hw,
)
from .base import GeometricTransform

INTERPOLATIONS = {
    'nearest': cv2.INTER_NEAREST,
    'bilinear': cv2.INTER_LINEAR,
    'bicubic': cv2.INTER_CUBIC,
    'area': cv2.INTER_AREA,
    'lanczos': cv2.INTER_LANCZOS4,
}


@TRANSFORMS.register_module()
class Resize(GeometricTransform):
    """Scale image, boxes and masks (``img`` and, where present, ``gt_bboxes`` and ``gt_masks``).

    Also sets ``img_shape`` (h, w), ``scale`` (w, h), ``scale_factor`` = (new_w / w, new_h / h) and ``keep_ratio``.

    Args:
        scale: target (w, h) in pixels, or one number for a square. With ``keep_ratio`` the limits of the long and the
            short edge, in any order (:func:`fit_size`), one of which may be ``inf``.
        scale_factor: one factor, or (w, h) factors; instead of ``scale``.
        keep_ratio: keep the aspect ratio.
        clip_object_border: clip the boxes to the image.
        backend: ``'cv2'``, or ``'ipp'``: the library in OpenCV's packages for x86 processors that takes half the time, and gives pixels that differ
            by at most one grey level (:func:`~mmdet_runtime.resizing.resize_by_ipp`). For training; an exported detector resizes by ``'cv2'``.
        interpolation: ``'nearest'``, ``'bilinear'``, ``'bicubic'``, ``'area'`` or ``'lanczos'``; of the image. Bitmaps take the
            nearest pixel.
    """

    moves_masks = True

    def __init__(
        self,
        scale: float | tuple[float, float] | None = None,
        scale_factor: float | tuple[float, float] | None = None,
        keep_ratio: bool = False,
        clip_object_border: bool = True,
        backend: str = 'cv2',
        interpolation: str = 'bilinear',
    ):
        if (scale is None) == (scale_factor is None):
            message = 'give exactly one of scale and scale_factor'
            raise ConfigError(message, field='scale', received=(scale, scale_factor))
        check_scale = check_limits if keep_ratio else check_size
        self.scale = None if scale is None else check_scale('scale', scale)
        self.scale_factor = None
        if scale_factor is not None:
            allowed = 'one or two positive numbers'
            self.scale_factor = check_pair('scale_factor', scale_factor, lambda factor: 0 < factor < inf, allowed)
        self.keep_ratio = keep_ratio
        self.clip_object_border = clip_object_border
        self.backend = check_choice('backend', backend, ('cv2', 'ipp'))
        if backend == 'ipp' and not has_ipp():
            message = "OpenCV holds no IPP on this machine; take 'cv2', whose pixels differ by at most one grey level"
            raise ConfigError(message, field='backend', received=backend)
        self.interpolation = check_choice('interpolation', interpolation, INTERPOLATIONS)

    @autocast_box_type()
    def transform(self, results: dict) -> dict:
        if self.scale_factor is not None:
            height, width = whole_hw(results)
            return self.resize_to(results, scaled_size((width, height), self.scale_factor))
        assert self.scale is not None  # the constructor takes exactly one of the two
        return self.resize_to(results, self.scale)

    def fit(self, image_wh: tuple[int, int], scale: tuple[float, float]) -> tuple[int, int]:
        """The size (w, h) of an image of size ``image_wh`` with ``keep_ratio``."""
        return fit_size(image_wh, scale)

    def needed_wh(self, image_wh: tuple[int, int]) -> tuple[float, float]:
        if self.scale_factor is not None:
            return scaled_size(image_wh, self.scale_factor)
        assert self.scale is not None  # the constructor takes exactly one of the two
        return self.fit(image_wh, self.scale) if self.keep_ratio else self.scale

    def resize_to(self, results: dict, scale: tuple[float, float]) -> dict:
        """Resize the sample, whose boxes are an object, in place to ``scale``, as the argument of this name means it, and return it.

        It does so in the steps that subclasses written for mmdetection override, each of which reads what the earlier ones have set.
        """
        results['scale'] = scale
        self._resize_img(results)
        self._resize_bboxes(results)
        self._resize_masks(results)
        self._resize_seg(results)
        self._record_homography_matrix(results)
        return results

    def _resize_img(self, results: dict) -> None:
        """Resize ``img`` to ``scale``, and set ``img_shape``, ``scale_factor`` and ``keep_ratio``."""
        image, scale = image_of(results), results['scale']
        height, width = whole_hw(results)
        results.pop('reduced_from', None)
        new_w, new_h = self.fit((width, height), scale) if self.keep_ratio else (int(scale[0]), int(scale[1]))
        if (new_h, new_w) != image.shape[:2]:
            flag = INTERPOLATIONS[self.interpolation]
            resized = resize_by_ipp if self.backend == 'ipp' else cv2.resize
            image = resized(image, (new_w, new_h), interpolation=flag)
        results.update(img=image, img_shape=(new_h, new_w))
        results.update(scale_factor=(new_w / width, new_h / height), keep_ratio=self.keep_ratio)

    def _resize_bboxes(self, results: dict) -> None:
        """Multiply ``gt_bboxes``, an object, by ``scale_factor``, and clip them to ``img_shape``."""
        if results.get('gt_bboxes') is not None:
            results['gt_bboxes'].rescale_(results['scale_factor'])
            if self.clip_object_border:
                results['gt_bboxes'].clip_(results['img_shape'])

    def _resize_masks(self, results: dict) -> None:
        """Resize ``gt_masks`` to ``img_shape``."""
        if results.get('gt_masks') is not None:
            results['gt_masks'] = results['gt_masks'].resize(tuple(results['img_shape'][:2]))

    def _resize_seg(self, results: dict) -> None:
        """For subclasses that resize segmentation maps; here a sample with one is refused."""

    def _record_homography_matrix(self, results: dict) -> None:
        """Note ``scale_factor`` in ``homography_matrix``."""
        x, y = results['scale_factor']
        record_homography(results, [[x, 0, 0], [0, y, 0], [0, 0, 1]])


@TRANSFORMS.register_module()
class FixScaleResize(Resize):
    """:class:`Resize` whose sides, with ``keep_ratio``, are cut to whole pixels instead of rounded."""

    def fit(self, image_wh: tuple[int, int], scale: tuple[float, float]) -> tuple[int, int]:
        factor = min(max(scale) / max(image_wh), min(scale) / min(image_wh))
        width, height = (max(1, int(side * factor)) for side in image_wh)
        return width, height


@TRANSFORMS.register_module()
class ResizeShortestEdge(GeometricTransform):
    """Scale the image so that its short edge has a given length, and its long edge no more than another (detectron2's rule).

    The size that results, rounded, is handed to :class:`Resize`: with ``keep_ratio`` as limits, which may cost a pixel.

    Args:
        scale: length of the short edge, or (w, h) of which the smaller number is taken.
        max_size: limit of the long edge; None for no limit.
        resize_type: name of the transform that resizes.
        **resize_kwargs: its arguments.
    """

    moves_masks = True

    def __init__(
        self,
        scale: float | tuple[float, float],
        max_size: int | None = None,
        resize_type: str = 'Resize',
        **resize_kwargs: Any,
    ):
        self.scale = check_size('scale', scale)
        if max_size is not None:
            check_size('max_size', max_size)
        self.max_size = max_size
        self.resize = TRANSFORMS.build(dict(type=resize_type, scale=self.scale, **resize_kwargs))

    def transform(self, results: dict) -> dict:
        height, width = whole_hw(results)
        self._set_scale((width, height))
        return self.resize(results)

    def _set_scale(self, image_wh: tuple[int, int]) -> None:
        factor = min(self.scale) / min(image_wh)
        if self.max_size is not None:
            factor = min(factor, self.max_size / max(image_wh))
        self.resize.scale = scaled_size(image_wh, (factor, factor))

    def needed_wh(self, image_wh: tuple[int, int]) -> tuple[float, float]:
        self._set_scale(image_wh)
        return self.resize.needed_wh(image_wh)


@TRANSFORMS.register_module(name=['FixShapeResize', 'FixedShapeResize'])
class FixShapeResize(GeometricTransform):
    """Bring every image to exactly (width, height).

    Sets what :class:`Resize` sets; ``scale`` and ``scale_factor`` describe the image before padding.

    Args:
        width, height: size of the result in pixels.
        pad_val: number, one number a channel (BGR), or ``dict(img=...)``.
        keep_ratio: scale to fit inside, and pad on the right and at the bottom; False distorts. ``width`` limits the width
            and ``height`` the height; in :class:`Resize` the longer limit is that of the longer edge.
        clip_object_border, backend, interpolation: as for :class:`Resize`.
    """

    moves_masks = True

    def __init__(
        self,
        width: int,
        height: int,
        pad_val: float | tuple[float, ...] | Mapping[str, Any] = 0,
        keep_ratio: bool = False,
        clip_object_border: bool = True,
        backend: str = 'cv2',
        interpolation: str = 'bilinear',
    ):
        self.width, self.height = check_size('width, height', (width, height))
        self.pad_val = check_pad_value('pad_val', pad_val)
        self.keep_ratio = keep_ratio
        options: dict = dict(clip_object_border=clip_object_border, backend=backend, interpolation=interpolation)
        self.resize = Resize(scale=(self.width, self.height), **options)

    def needed_wh(self, image_wh: tuple[int, int]) -> tuple[float, float]:
        """Here the size of the image before it is padded."""
        if not self.keep_ratio:
            return self.width, self.height
        factor = min(self.width / image_wh[0], self.height / image_wh[1])
        inside_w, inside_h = scaled_size(image_wh, (factor, factor))
        return min(inside_w, self.width), min(inside_h, self.height)

    @autocast_box_type()
    def transform(self, results: dict) -> dict:
        height, width = whole_hw(results)
        results = self.resize.resize_to(results, self.needed_wh((width, height)))
        image = pad_image(results['img'], (self.height, self.width), self.pad_val)
        if results.get('gt_masks') is not None:
            results['gt_masks'] = results['gt_masks'].pad((self.height, self.width))
        results.update(img=image, img_shape=(self.height, self.width), keep_ratio=self.keep_ratio)
        return results


def pad_image(
    image: np.ndarray,
    target_hw: tuple[int, int],
    value: float | tuple[float, ...] = 0,
    border_type: int = cv2.BORDER_CONSTANT,
) -> np.ndarray:
    """Pad on the right and at the bottom to at least ``target_hw``; an image that is large enough is returned as it is."""
    bottom, right = (max(0, target - side) for target, side in zip(target_hw, image.shape[:2]))
    if not bottom and not right:
        return image
    if is_number(value):
        # OpenCV fills the channels that a shorter tuple leaves out with 0.
        value = (value,) * 4
    # The image may be a crop, a view of a larger array, which OpenCV reads without a copy.
    return cv2.copyMakeBorder(image, 0, bottom, 0, right, border_type, value=value)


def warp_image(
    image: np.ndarray,
    matrix: np.ndarray,
    size_wh: tuple[int, int],
    colour: float | tuple[float, ...],
    flag: int = cv2.INTER_LINEAR,
) -> np.ndarray:
    """Map an image by ``matrix`` (2, 3), of points (x, y, 1), onto a canvas of a ``colour``: the pixels of ``cv2.warpAffine``.

    OpenCV warps four channels in a third to the whole of the time of three. What the canvas shows of a BGR image gets a fourth one, unless so
    much of the image is shown in so little of the canvas that this does not pay: below 0.7 of its size, on a canvas of half its sides.
    """
    if is_number(colour):
        colour = (colour,) * 4
    image = np.ascontiguousarray(image)
    options: dict = dict(flags=flag, borderValue=colour)
    if image.dtype != np.uint8 or image.shape[2:] != (3,):
        return cv2.warpAffine(image, matrix, size_wh, **options)
    (height, width), (canvas_w, canvas_h) = image.shape[:2], size_wh
    corners = cv2.invertAffineTransform(matrix) @ [[0, canvas_w, 0, canvas_w], [0, 0, canvas_h, canvas_h], [1, 1, 1, 1]]
    # The largest filter, of lanczos, reads four pixels to either side.
    left, top = np.clip(np.floor(corners.min(axis=1)) - 4, 0, (width, height)).astype(int).tolist()
    right, bottom = np.clip(np.ceil(corners.max(axis=1)) + 5, 0, (width, height)).astype(int).tolist()
    shown, canvas = (right - left) * (bottom - top), canvas_w * canvas_h
    covered = min(canvas, shown * abs(matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0]))
    if covered < 0.3 * (shown + canvas):
        return cv2.warpAffine(image, matrix, size_wh, **options)
    padded, warped = _scratch('padded', height, width), _scratch('warped', canvas_h, canvas_w)
    window = slice(top, bottom), slice(left, right)
    cv2.cvtColor(image[window], cv2.COLOR_BGR2BGRA, dst=padded[window])
    return cv2.cvtColor(cv2.warpAffine(padded, matrix, size_wh, dst=warped, **options), cv2.COLOR_BGRA2BGR)


_SCRATCH = threading.local()


def _scratch(name: str, height: int, width: int) -> np.ndarray:
    """Memory (height, width, 4) uint8 that is used again by the next call of this thread: getting it from the system takes as long as the warp."""
    memory = getattr(_SCRATCH, name, None)
    if memory is None or memory.size < height * width * 4:
        memory = np.empty(height * width * 4, np.uint8)
        setattr(_SCRATCH, name, memory)
    return memory[: height * width * 4].reshape(height, width, 4)


class _RandomScale(GeometricTransform):
    """Base of the transforms that draw a scale for each image and set it as ``scale`` of the transform that resizes."""

    moves_masks = True  # by the transform that resizes, which refuses them if it does not
    resize: Any
    draw: Callable[[], tuple[float, float]]

    def transform(self, results: dict) -> dict:
        self.resize.scale = self.draw()
        return self.resize(results)

    def _largest(self) -> Sequence[tuple[float, float]]:
        """Scales of which one is the largest that can be drawn."""
        raise NotImplementedError

    def needed_wh(self, image_wh: tuple[int, int]) -> tuple[float, float]:
        found = []
        for scale in self._largest():
            self.resize.scale = scale
            found.append(self.resize.needed_wh(image_wh))
        return max(width for width, _ in found), max(height for _, height in found)

    def __repr__(self) -> str:
        return f'{super().__repr__()[:-1]}, resize={self.resize!r})'


@TRANSFORMS.register_module()
class RandomResize(_RandomScale):
    """Multi-scale training, "range" mode: each image is resized to a scale drawn at random.

    Args:
        scale: two pairs; the long and the short edge are drawn independently, as whole numbers from the closed interval
            between those of the pairs. Or one pair (w, h) together with ``ratio_range``.
        ratio_range: (low, high); both edges of ``scale`` are multiplied by one factor drawn uniformly from it.
        resize_type: the transform that resizes.
        **resize_kwargs: its other arguments (``keep_ratio=True`` ...).
    """

    def __init__(
        self,
        scale: Sequence[int] | Sequence[Sequence[int]],
        ratio_range: tuple[float, float] | None = None,
        resize_type: str = 'Resize',
        **resize_kwargs: Any,
    ):
        single = is_sequence(scale) and len(scale) > 0 and is_number(scale[0])
        if not single and (not is_sequence(scale) or len(scale) != 2):
            raise ConfigError('must be (w, h) with ratio_range, or [(w, h), (w, h)]', field='scale', received=scale)
        self.scale = [check_size('scale', one) for one in ([scale] if single else scale)]
        if single == (ratio_range is None):
            message = (
                f'is needed beside the single scale {tuple(scale)}' if single else 'must be None beside two scales'
            )
            raise ConfigError(message, field='ratio_range', received=ratio_range)
        self.ratio_range = None if ratio_range is None else check_range('ratio_range', ratio_range, minimum=1e-6)
        self.resize = TRANSFORMS.build(dict(type=resize_type, scale=self.scale[0], **resize_kwargs))

    def _largest(self) -> Sequence[tuple[float, float]]:
        if self.ratio_range is not None:
            width, height = self.scale[0]
            return [(max(1, int(width * self.ratio_range[1])), max(1, int(height * self.ratio_range[1])))]
        return [(max(map(max, self.scale)), max(map(min, self.scale)))]

    @cache_randomness
    def draw(self) -> tuple[int, int]:
        """One scale: (w, h) with a ratio range, else (long edge, short edge)."""
        if self.ratio_range is not None:
            ratio = np.random.uniform(*self.ratio_range)
            width, height = self.scale[0]
            return max(1, int(width * ratio)), max(1, int(height * ratio))
        long = sorted(max(scale) for scale in self.scale)
        short = sorted(min(scale) for scale in self.scale)
        return int(np.random.randint(long[0], long[1] + 1)), int(np.random.randint(short[0], short[1] + 1))


@TRANSFORMS.register_module()
class RandomChoiceResize(_RandomScale):
    """Multi-scale training, "value" mode: each image is resized to one of ``scales``, all equally likely.

    Sets what the transform that resizes sets, and ``scale_idx``, the index of the scale.

    Args:
        scales: at least one scale, each as ``Resize`` takes it.
        resize_type: the transform that resizes.
        **resize_kwargs: its other arguments.
    """

    def __init__(
        self, scales: Sequence[float | tuple[float, float]], resize_type: str = 'Resize', **resize_kwargs: Any
    ):
        if not is_sequence(scales) or len(scales) == 0:
            raise ConfigError('must be a list of at least one scale', field='scales', received=scales)
        check_scale = check_limits if resize_kwargs.get('keep_ratio', False) else check_size
        self.scales = [check_scale('scales', one) for one in scales]
        self.resize = TRANSFORMS.build(dict(type=resize_type, scale=self.scales[0], **resize_kwargs))

    def _largest(self) -> Sequence[tuple[float, float]]:
        return self.scales

    @cache_randomness
    def draw(self) -> tuple[float, float]:
        """One of the scales."""
        return self.scales[np.random.randint(len(self.scales))]

    def transform(self, results: dict) -> dict:
        results = super().transform(results)
        results['scale_idx'] = self.scales.index(self.resize.scale)
        return results
