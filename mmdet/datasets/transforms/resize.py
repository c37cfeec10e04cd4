"""Transforms that scale the image: Resize and its random and fixed-shape relatives."""

import copy
from math import inf

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmdet.errors import ConfigError
from mmdet.registry import TRANSFORMS

from .arguments import (
    check_choice,
    check_pad_value,
    check_range,
    check_size,
    clip_boxes,
    image_of,
    is_number,
    is_sequence,
)

INTERPOLATIONS = {
    'nearest': cv2.INTER_NEAREST,
    'bilinear': cv2.INTER_LINEAR,
    'bicubic': cv2.INTER_CUBIC,
    'area': cv2.INTER_AREA,
    'lanczos': cv2.INTER_LANCZOS4,
}


def fit_size(image_wh: tuple[int, int], limit: tuple[float, float]) -> tuple[int, int]:
    """Largest size with the aspect ratio of ``image_wh`` inside ``limit``, whose order does not matter (long and short
    edge).

    Sides are rounded half up, as in mmdetection, and never below one pixel.

        >>> fit_size((640, 480), (1333, 800)), fit_size((333, 500), (1333, 800))
        ((1067, 800), (800, 1201))
    """
    width, height = image_wh
    factor = min(max(limit) / max(width, height), min(limit) / min(width, height))
    return scaled_size(image_wh, (factor, factor))


def scaled_size(image_wh: tuple[int, int], factor_wh: tuple[float, float]) -> tuple[int, int]:
    """``image_wh`` times ``factor_wh``, rounded half up, at least one pixel a side."""
    return tuple(max(1, int(side * factor + 0.5)) for side, factor in zip(image_wh, factor_wh))


@TRANSFORMS.register_module()
class Resize(BaseTransform):
    """Scale image and boxes.

    Sets ``img``, ``img_shape`` (h, w), ``scale`` (w, h), ``scale_factor`` = (new_w / w, new_h / h), ``keep_ratio``
    and, where present, ``gt_bboxes``.

    Args:
        scale: target (w, h); with ``keep_ratio`` the limits of the long and the short edge in any order, of which one
            may be ``inf``. An int stands for a square.
        scale_factor: one factor, or (w, h) factors; instead of ``scale``.
        keep_ratio: keep the aspect ratio (:func:`fit_size`).
        clip_object_border: clip the boxes to the image.
        backend: only ``'cv2'``.
        interpolation: ``'nearest'``, ``'bilinear'``, ``'bicubic'``, ``'area'`` or ``'lanczos'``.
    """

    def __init__(
        self,
        scale: int | tuple[int, int] | None = None,
        scale_factor: float | tuple[float, float] | None = None,
        keep_ratio: bool = False,
        clip_object_border: bool = True,
        backend: str = 'cv2',
        interpolation: str = 'bilinear',
    ):
        if (scale is None) == (scale_factor is None):
            raise ConfigError(
                'give exactly one of scale and scale_factor', field='scale', received=(scale, scale_factor)
            )
        self.scale = None if scale is None else check_size('scale', scale, allow_unlimited=keep_ratio)
        self.scale_factor = None if scale_factor is None else self._check_factor(scale_factor)
        self.keep_ratio = keep_ratio
        self.clip_object_border = clip_object_border
        self.backend = check_choice('backend', backend, ('cv2',))
        self.interpolation = check_choice('interpolation', interpolation, INTERPOLATIONS)

    @staticmethod
    def _check_factor(value) -> tuple[float, float]:
        pair = (value, value) if is_number(value) else value
        if not is_sequence(pair) or len(pair) != 2 or not all(is_number(f) and 0 < f < inf for f in pair):
            raise ConfigError('must be one or two positive numbers', field='scale_factor', received=value)
        return tuple(pair)

    def transform(self, results: dict) -> dict:
        image = image_of(results)
        height, width = image.shape[:2]
        target = self.scale or scaled_size((width, height), self.scale_factor)
        new_w, new_h = fit_size((width, height), target) if self.keep_ratio else target
        if (new_w, new_h) != (width, height):
            image = cv2.resize(
                np.ascontiguousarray(image), (new_w, new_h), interpolation=INTERPOLATIONS[self.interpolation]
            )
        factor = (new_w / width, new_h / height)
        if results.get('gt_bboxes') is not None:
            boxes = results['gt_bboxes'] * np.array(factor * 2, np.float32)
            results['gt_bboxes'] = clip_boxes(boxes, (new_h, new_w)) if self.clip_object_border else boxes
        results.update(
            img=image, img_shape=(new_h, new_w), scale=target, scale_factor=factor, keep_ratio=self.keep_ratio
        )
        return results

    def __repr__(self):
        return (
            f'{type(self).__name__}(scale={self.scale}, scale_factor={self.scale_factor}, '
            f'keep_ratio={self.keep_ratio}, clip_object_border={self.clip_object_border}, '
            f'interpolation={self.interpolation!r})'
        )


@TRANSFORMS.register_module(name=['FixShapeResize', 'FixedShapeResize'])
class FixShapeResize(BaseTransform):
    """Bring every image to exactly (width, height).

    Args:
        width, height: size of the result in pixels.
        pad_val: number, one number a channel (BGR), or ``dict(img=...)``.
        keep_ratio: scale to fit inside and pad right and bottom; False distorts. The long edge need not be the width:
            an upright image in a wide frame is limited by the frame's height.
        clip_object_border, backend, interpolation: as for :class:`Resize`.
    """

    def __init__(
        self,
        width: int,
        height: int,
        pad_val=0,
        keep_ratio: bool = False,
        clip_object_border: bool = True,
        backend: str = 'cv2',
        interpolation: str = 'bilinear',
    ):
        self.width, self.height = check_size('width, height', (width, height))
        self.pad_val = check_pad_value('pad_val', pad_val)
        self.keep_ratio = keep_ratio
        self.resize = Resize(
            scale=(self.width, self.height),
            clip_object_border=clip_object_border,
            backend=backend,
            interpolation=interpolation,
        )

    def transform(self, results: dict) -> dict:
        height, width = image_of(results).shape[:2]
        frame = (self.width, self.height)
        if self.keep_ratio:
            factor = min(self.width / width, self.height / height)
            inside = scaled_size((width, height), (factor, factor))
            frame = tuple(min(side, limit) for side, limit in zip(inside, frame))
        resize = copy.copy(self.resize)  # one instance serves several threads
        resize.scale = frame
        results = resize(results)
        results['keep_ratio'] = self.keep_ratio
        results['img'] = pad_image(results['img'], (self.height, self.width), self.pad_val)
        results['img_shape'] = (self.height, self.width)
        return results


def pad_image(
    image: np.ndarray, target_hw: tuple[int, int], value=0, border_type: int = cv2.BORDER_CONSTANT
) -> np.ndarray:
    """Pad right and bottom to at least ``target_hw``; an image that is large enough comes back as it is."""
    bottom, right = (max(0, target - side) for target, side in zip(target_hw, image.shape[:2]))
    if not bottom and not right:
        return image
    if is_number(value):
        # OpenCV fills the channels that a shorter tuple leaves out with 0.
        value = (value,) * 4
    return cv2.copyMakeBorder(np.ascontiguousarray(image), 0, bottom, 0, right, border_type, value=value)


class _RandomScale(BaseTransform):
    """Draws ``scale`` anew for each image and hands it to a transform that has a ``scale`` attribute."""

    def __init__(self, first_scale, resize_type: str, resize_kwargs: dict):
        self.resize = TRANSFORMS.build(dict(type=resize_type, scale=first_scale, **resize_kwargs))

    def draw(self) -> tuple[int, int]:
        raise NotImplementedError

    def transform(self, results: dict) -> dict:
        self.resize.scale = self.draw()
        return self.resize(results)


@TRANSFORMS.register_module()
class RandomResize(_RandomScale):
    """Multi-scale training, "range" mode: each image is resized to a scale drawn at random.

    Args:
        scale: two tuples, between which the long and the short edge are drawn, independently, as whole numbers of the
            closed intervals; or one tuple together with ``ratio_range``.
        ratio_range: (low, high); one factor, uniform, for both edges of ``scale``.
        resize_type: the transform that resizes.
        **resize_kwargs: its other arguments (``keep_ratio=True`` ...).
    """

    def __init__(
        self, scale, ratio_range: tuple[float, float] | None = None, resize_type: str = 'Resize', **resize_kwargs
    ):
        if not is_sequence(scale) or len(scale) == 0:
            raise ConfigError('must be (w, h) with ratio_range, or [(w, h), (w, h)]', field='scale', received=scale)
        if is_number(scale[0]):
            self.scales = [check_size('scale', scale)]
            if ratio_range is None:
                raise ConfigError(
                    f'is needed beside the single scale {tuple(scale)}', field='ratio_range', received=None
                )
        elif len(scale) == 2:
            self.scales = [check_size('scale', one) for one in scale]
            if ratio_range is not None:
                raise ConfigError('must be None beside two scales', field='ratio_range', received=ratio_range)
        else:
            raise ConfigError('must be (w, h) with ratio_range, or [(w, h), (w, h)]', field='scale', received=scale)
        self.ratio_range = None if ratio_range is None else check_range('ratio_range', ratio_range, minimum=1e-6)
        super().__init__(self.scales[0], resize_type, resize_kwargs)

    def draw(self) -> tuple[int, int]:
        """One scale: (long, short) between two, (w, h) around one."""
        if self.ratio_range is not None:
            ratio = np.random.uniform(*self.ratio_range)
            return tuple(max(1, int(side * ratio)) for side in self.scales[0])
        edges = [sorted((pick(self.scales[0]), pick(self.scales[1]))) for pick in (max, min)]
        return tuple(int(np.random.randint(low, high + 1)) for low, high in edges)

    def __repr__(self):
        return f'{type(self).__name__}(scale={self.scales}, ratio_range={self.ratio_range}, resize={self.resize!r})'


@TRANSFORMS.register_module()
class RandomChoiceResize(_RandomScale):
    """Multi-scale training, "value" mode: each image is resized to one of ``scales``, all equally likely.

    Args:
        scales: at least one scale, each as ``Resize`` takes it.
        resize_type: the transform that resizes.
        **resize_kwargs: its other arguments.
    """

    def __init__(self, scales, resize_type: str = 'Resize', **resize_kwargs):
        if not is_sequence(scales) or len(scales) == 0:
            raise ConfigError('must be a list of at least one scale', field='scales', received=scales)
        unlimited = bool(resize_kwargs.get('keep_ratio', False))
        self.scales = [check_size('scales', one, allow_unlimited=unlimited) for one in scales]
        super().__init__(self.scales[0], resize_type, resize_kwargs)

    def draw(self) -> tuple[int, int]:
        return self.scales[np.random.randint(len(self.scales))]

    def transform(self, results: dict) -> dict:
        scale = self.draw()
        self.resize.scale = scale
        results = self.resize(results)
        results['scale_idx'] = self.scales.index(scale)
        return results

    def __repr__(self):
        return f'{type(self).__name__}(scales={self.scales}, resize={self.resize!r})'
