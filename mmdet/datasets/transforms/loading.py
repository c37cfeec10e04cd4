"""First steps of a pipeline: they load pixels and boxes into arrays."""

import os
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import cv2
import numpy as np

from mmdet.errors import ConfigError, DataError
from mmdet.formats.images import BrokenImageError, decode_image
from mmdet.registry import TRANSFORMS

from .arguments import check_choice
from .base import DetTransform

COLOR_TYPES = ('color', 'color_ignore_orientation', 'grayscale', 'unchanged')
# What Python raises for objects that are no dicts, or hold no numbers or too large ones.
_FAULTS = (AttributeError, KeyError, TypeError, ValueError, OverflowError)


@TRANSFORMS.register_module()
class LoadImageFromFile(DetTransform):
    """Decode the image file ``results['img_path']``.

    Sets ``img`` (H, W, 3) uint8 BGR ((H, W) with ``color_type='grayscale'``), ``img_shape`` and ``ori_shape`` (h, w).

    Args:
        to_float32: return float32 pixels (0..255) instead of uint8.
        color_type: ``'color'`` and ``'grayscale'`` turn the image upright by its EXIF orientation;
            ``'color_ignore_orientation'`` and ``'unchanged'`` do not.
        imdecode_backend: only ``'cv2'``, the decoder in use.
        file_client_args: old name of ``backend_args``.
        ignore_empty: return None (the dataset draws another sample) instead of raising for an unreadable image.
        backend_args: mmengine file backend that fetches the bytes; None reads a local file.

    Raises:
        DataError: a missing, truncated or broken file; OpenCV alone would return a partly grey image for some of these.
    """

    def __init__(
        self,
        to_float32: bool = False,
        color_type: str = 'color',
        imdecode_backend: str | None = 'cv2',
        file_client_args: dict | None = None,
        ignore_empty: bool = False,
        *,
        backend_args: dict | None = None,
    ):
        self.to_float32 = to_float32
        self.color_type = check_choice('color_type', color_type, COLOR_TYPES)
        self.imdecode_backend = check_choice('imdecode_backend', imdecode_backend or 'cv2', ('cv2',))
        self.ignore_empty = ignore_empty
        if file_client_args and backend_args:
            raise ConfigError('is the old name of backend_args; give only one', field='file_client_args')
        self.backend_args = dict(backend_args or file_client_args or {}) or None

    def transform(self, results: dict) -> dict | None:
        path = results.get('img_path')
        if path is None:
            raise DataError('the sample names no image', record=results.get('img_id'), field='img_path')
        try:
            image = decode_image(path, flag=self.color_type, backend_args=self.backend_args)
        except BrokenImageError:
            if self.ignore_empty:
                return None
            raise
        return self._set_image(results, image)

    def _set_image(self, results: dict, image: np.ndarray) -> dict:
        results['img'] = image.astype(np.float32) if self.to_float32 else image
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results


@TRANSFORMS.register_module()
class LoadImageFromNDArray(LoadImageFromFile):
    """Take the image from memory: ``results['img']`` is an array, (H, W), (H, W, 1), BGR (H, W, 3) or BGRA (H, W, 4).

    Grey becomes BGR (the reverse with ``color_type='grayscale'``) and alpha is dropped; floating pixels become float32.
    ``img_path`` becomes None if it is missing. The array itself is never written to.

    Raises:
        DataError: an array of another shape or dtype, or without pixels.
    """

    def transform(self, results: dict) -> dict:
        image = results.get('img')
        if not isinstance(image, np.ndarray):
            raise DataError('must be a numpy array', field='img', received=type(image).__name__)
        channels = 1 if image.ndim == 2 else image.shape[-1]
        if image.ndim not in (2, 3) or channels not in (1, 3, 4) or image.size == 0:
            raise DataError('must be (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)', field='img', received=image.shape)
        if image.dtype != np.uint8 and not np.issubdtype(image.dtype, np.floating):
            raise DataError('must hold uint8 or floating pixels', field='img', received=str(image.dtype))
        if image.dtype not in (np.uint8, np.float32):
            image = image.astype(np.float32)
        grey = self.color_type == 'grayscale'
        to_grey = {3: cv2.COLOR_BGR2GRAY, 4: cv2.COLOR_BGRA2GRAY}
        code = (to_grey if grey else {1: cv2.COLOR_GRAY2BGR, 4: cv2.COLOR_BGRA2BGR}).get(channels)
        image = np.ascontiguousarray(image)  # OpenCV and torch do not take every view, for one the reversed channels of image[..., ::-1]
        if code is not None:
            image = cv2.cvtColor(image, code)
        elif grey:
            image = image.reshape(image.shape[:2])
        results.setdefault('img_path', None)
        return self._set_image(results, image)


@TRANSFORMS.register_module()
class InferencerLoader(DetTransform):
    """First step of inference: it takes what a user gives, a path, an address (``http(s)://``), an array, or a sample dict with
    ``img_path`` or ``img``.

    Args:
        **kwargs: see :class:`LoadImageFromFile`; arrays take ``to_float32`` and ``color_type``.

    Raises:
        ConfigError: an object of another type.
        DataError: as the two loaders.
    """

    # An address that the caller gives is read; one in an annotation file needs backend_args in the config.
    _HTTP = dict(backend='http')

    def __init__(self, **kwargs: Any):
        self.from_file = LoadImageFromFile(**kwargs)
        self.from_address = self.from_file
        if self.from_file.backend_args is None:
            self.from_address = LoadImageFromFile(**{**kwargs, 'backend_args': self._HTTP})
        options = {key: value for key, value in kwargs.items() if key in ('to_float32', 'color_type')}
        self.from_ndarray = LoadImageFromNDArray(**options)

    def transform(self, results: Any) -> dict | None:
        if isinstance(results, str | os.PathLike):
            results = dict(img_path=os.fspath(results))
        elif isinstance(results, np.ndarray):
            results = dict(img=results)
        elif not isinstance(results, dict):
            raise ConfigError('must be a path, an array or a dict', field='inputs', received=type(results).__name__)
        if results.get('img') is not None:
            return self.from_ndarray(results)
        is_address = str(results.get('img_path')).startswith(('http://', 'https://'))
        return (self.from_address if is_address else self.from_file)(results)


@TRANSFORMS.register_module()
class LoadAnnotations(DetTransform):
    """Turn ``results['instances']`` into arrays.

    Args:
        with_bbox: set ``gt_bboxes`` (N, 4) float32, xyxy in pixels, and ``gt_ignore_flags`` (N,) bool: new arrays at each
            call, so that later transforms may write to them.
        with_label: set ``gt_bboxes_labels`` (N,) int64, also a new array.
        with_mask, with_seg: must be False; the toolbox detects boxes only.
        box_type: ``'hbox'`` (axis-aligned) or None; boxes are plain arrays in either case.
        poly2mask, reduce_zero_label, ignore_index, imdecode_backend, backend_args: accepted for mmdetection's configs;
            they concern masks only.

    Raises:
        DataError: a box that is not four finite numbers, or a label that is no number; names image and object.
    """

    def __init__(
        self,
        with_bbox: bool = True,
        with_label: bool = True,
        with_mask: bool = False,
        with_seg: bool = False,
        poly2mask: bool = True,
        box_type: str | None = 'hbox',
        reduce_zero_label: bool = False,
        ignore_index: int = 255,
        imdecode_backend: str = 'cv2',
        backend_args: dict | None = None,
    ):
        for field, value in (('with_mask', with_mask), ('with_seg', with_seg)):
            if value:
                raise ConfigError('must be False: masks are not supported, only boxes', field=field, received=value)
        check_choice('box_type', box_type or 'hbox', ('hbox',))
        self.with_bbox = with_bbox
        self.with_label = with_label

    def transform(self, results: dict) -> dict:
        instances = results.get('instances') or ()
        if not isinstance(instances, list | tuple):
            message, received = 'must be a list of objects', type(instances).__name__
            raise DataError(message, file=results.get('img_path'), field='instances', received=received)
        if self.with_bbox:
            results['gt_bboxes'] = self._boxes(results, instances)
            results['gt_ignore_flags'] = np.array([bool(item.get('ignore_flag', 0)) for item in instances], bool)
        if self.with_label:
            try:
                labels = np.fromiter((item['bbox_label'] for item in instances), np.int64, len(instances))
            except _FAULTS as error:
                message = 'every object needs a whole number as class index'
                raise _first_fault(results, instances, 'bbox_label', _is_label, message) from error
            results['gt_bboxes_labels'] = labels
        return results

    @staticmethod
    def _boxes(results: dict, instances: Sequence[dict]) -> np.ndarray:
        # One flat pass takes half the time of np.array(rows), but does not notice rows of a wrong length by itself.
        try:
            rows = [item['bbox'] for item in instances]
            flat = np.fromiter(chain.from_iterable(rows), np.float32, 4 * len(rows))
            if any(length != 4 for length in set(map(len, rows))) or not np.isfinite(flat).all():
                raise ValueError('a box that is not four finite numbers')
        except _FAULTS as error:
            message = 'must be four finite numbers x1, y1, x2, y2'
            raise _first_fault(results, instances, 'bbox', _is_box, message) from error
        return flat.reshape(-1, 4)


def _first_fault(
    results: dict, instances: Sequence[dict], field: str, is_sound: Callable[[Any], bool], message: str
) -> DataError:
    values = [item.get(field) if isinstance(item, dict) else item for item in instances]
    index = next((i for i, value in enumerate(values) if not is_sound(value)), None)
    value = None if index is None else values[index]
    return DataError(message, file=results.get('img_path'), record=f'object {index}', field=field, received=value)


def _is_label(value: Any) -> bool:
    return isinstance(value, int | np.integer) and bool(-(2**63) <= value < 2**63)


def _is_box(value: Any) -> bool:
    try:
        box = np.asarray(value, np.float32)
    except (TypeError, ValueError, OverflowError):
        return False
    return box.shape == (4,) and bool(np.isfinite(box).all())
