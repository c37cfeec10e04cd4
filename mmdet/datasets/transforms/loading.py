"""First steps of a pipeline: they load pixels, boxes and masks."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from math import inf
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmdet.core.boxes import BaseBoxes, get_box_type
from mmdet.core.masks import BitmapMasks, PolygonMasks, mask_to_bitmap
from mmdet.errors import ConfigError, DataError
from mmdet.formats.images import BrokenImageError, check_decoder, decode_reduced
from mmdet.formats.pixels import HOW_TO_STATE, ValueRange, check_value_range, to_uint8
from mmdet.registry import BOX_TYPES, TRANSFORMS

from .arguments import check_choice, is_number
from .base import DetTransform, GeometricTransform
from .formatting import PackDetInputs
from .geometric import RandomFlip

COLOR_TYPES = ('color', 'color_ignore_orientation', 'grayscale', 'unchanged')
# What Python raises for objects that are no dicts, or hold no numbers or too large ones.
_FAULTS = (AttributeError, KeyError, TypeError, ValueError, OverflowError)


@TRANSFORMS.register_module()
class LoadImageFromFile(DetTransform):
    """Decode the image file ``results['img_path']``.

    Sets ``img`` (H, W, 3) uint8 BGR ((H, W) with ``color_type='grayscale'``), ``img_shape`` and ``ori_shape`` (h, w). If the sample states
    another size (``height``, ``width``), that is replaced by the size of the pixels and kept as ``stated_shape`` (h, w), and objects outside the
    pixels are left out of ``instances``; ``num_outside`` says how many of them were not ignored anyway.

    Args:
        to_float32: return float32 pixels (0..255) instead of uint8.
        color_type: ``'color'`` and ``'grayscale'`` turn the image upright by its EXIF orientation;
            ``'color_ignore_orientation'`` and ``'unchanged'`` do not, except for TIFF files. ``'unchanged'`` keeps alpha, and 16-bit and floating-point
            pixels as they are unless there is a ``value_range``.
        imdecode_backend: what decodes JPEGs: ``'cv2'``, or ``'simplejpeg'`` (also called ``'turbojpeg'``; the extra ``fast``), which is faster, with
            the same pixels. ``'simplejpeg-fast'`` is faster again, with pixels that differ a little. The files that are refused are the same.
        file_client_args: old name of ``backend_args``.
        ignore_empty: return None (the dataset draws another sample) instead of raising for an unreadable image.
        backend_args: mmengine file backend that fetches the bytes; None reads a local file.
        value_range: how pixels of more than 8 bits become 0..255: ``(low, high)``, ``'full'``, ``'minmax'``; see :mod:`mmdet.formats.pixels`. With None
            such an image is an error.
        reduced: decode a JPEG at a half, a quarter or an eighth of its sides where that is still no smaller than what the next transform
            that resizes makes of it. ``img`` is then smaller than ``img_shape`` and ``ori_shape``, which stay those of the file, and
            ``reduced_from`` says so until that transform. Only the pipeline of a data set does this; see :func:`settle_pipeline`. A number up to 1 is
            the part of that size that suffices: with 0.9, an image that is needed at (1067, 800) is taken at (1000, 750), and enlarged.
        cache_mb: keep decoded images, the first ones that fit into so many MiB, for later epochs; each loader worker has a cache of its own, and
            a file that changes meanwhile is not read again.

    Raises:
        DataError: a missing, truncated or broken file; OpenCV alone would return a partly grey image for some of these. A 16-bit or
            floating-point image without ``value_range``.
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
        value_range: ValueRange = None,
        reduced: bool | float = False,
        cache_mb: float = 0,
    ):
        self.to_float32 = to_float32
        self.color_type = check_choice('color_type', color_type, COLOR_TYPES)
        self.imdecode_backend = check_decoder(imdecode_backend, 'imdecode_backend')
        if not isinstance(reduced, bool) and not (is_number(reduced) and 0.5 < reduced <= 1):
            raise ConfigError('must be True, False, or a number in (0.5, 1]', field='reduced', received=reduced)
        self.reduced = reduced
        if not is_number(cache_mb) or not 0 <= cache_mb < inf:
            raise ConfigError('must be a number of at least 0', field='cache_mb', received=cache_mb)
        self.cache_mb = cache_mb
        self._cache: dict[str, tuple[np.ndarray, tuple[int, int]]] = {}
        self._cache_left = cache_mb * 2**20
        self._needed: Callable[[tuple[int, int]], tuple[float, float]] | None = None
        self.ignore_empty = ignore_empty
        if file_client_args and backend_args:
            raise ConfigError('is the old name of backend_args; give only one', field='file_client_args')
        self.backend_args = dict(backend_args or file_client_args or {}) or None
        self.value_range = check_value_range(value_range)

    def transform(self, results: dict) -> dict | None:
        path = results.get('img_path')
        if path is None:
            raise DataError('the sample names no image', record=results.get('img_id'), field='img_path')
        try:
            image, whole_hw = self._cache.get(str(path)) or self._decode(path)
        except BrokenImageError:
            if self.ignore_empty:
                return None
            raise
        if self._cache and image is self._cache.get(str(path), (None,))[0]:
            image = image.copy()  # a transform may write into its image
        if whole_hw != image.shape[:2]:
            results['reduced_from'] = whole_hw
        return self._set_image(results, image)

    def _decode(self, path: str) -> tuple[np.ndarray, tuple[int, int]]:
        found = decode_reduced(
            path,
            self._needed,
            flag=self.color_type,
            backend_args=self.backend_args,
            value_range=self.value_range,
            decoder=self.imdecode_backend,
        )
        if found[0].nbytes <= self._cache_left:
            self._cache_left -= found[0].nbytes
            self._cache[str(path)] = found
        return found

    def _set_image(self, results: dict, image: np.ndarray) -> dict:
        results['img'] = image.astype(np.float32) if self.to_float32 else image
        results['img_shape'] = results['ori_shape'] = shape = results.get('reduced_from') or image.shape[:2]
        stated = results.get('height'), results.get('width')
        if stated != shape and all(stated):
            self._replace_size(results, stated)
        return results

    @staticmethod
    def _replace_size(results: dict, stated: tuple) -> None:
        """Take the size of the pixels for the stated one, and leave out the objects that lie outside."""
        results['stated_shape'] = stated
        results['height'], results['width'] = height, width = results['ori_shape']
        instances = results.get('instances')
        if isinstance(instances, list | tuple):
            inside = [
                not (_is_box(item.get('bbox')) and _is_outside(item['bbox'], width, height)) for item in instances
            ]
            results['instances'] = [item for item, kept in zip(instances, inside) if kept]
            results['num_outside'] = sum(
                not kept and not item.get('ignore_flag', 0) for item, kept in zip(instances, inside)
            )


@TRANSFORMS.register_module()
class LoadImageFromNDArray(LoadImageFromFile):
    """Take the image from memory: ``results['img']`` is an array, (H, W), (H, W, 1), BGR (H, W, 3) or BGRA (H, W, 4).

    Grey becomes BGR (the reverse with ``color_type='grayscale'``) and alpha is dropped. Pixels of another type than uint8 are scaled by the
    ``value_range``; without one floating pixels are taken as 0..255, as float32, and others are an error. ``img_path`` becomes None if it is missing. The array itself is never written to.

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
        if self.value_range is not None:
            image = to_uint8(image, self.value_range, name='the array')
        elif image.dtype != np.uint8 and not np.issubdtype(image.dtype, np.floating):
            message = f'must hold uint8 or floating pixels; for others {HOW_TO_STATE}'
            raise DataError(message, field='img', received=str(image.dtype))
        if image.dtype not in (np.uint8, np.float32):
            image = image.astype(np.float32)
        grey = self.color_type == 'grayscale'
        to_grey = {3: cv2.COLOR_BGR2GRAY, 4: cv2.COLOR_BGRA2GRAY}
        code = (to_grey if grey else {1: cv2.COLOR_GRAY2BGR, 4: cv2.COLOR_BGRA2BGR}).get(channels)
        image = np.ascontiguousarray(
            image
        )  # OpenCV and torch do not take every view, for one the reversed channels of image[..., ::-1]
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
        **kwargs: see :class:`LoadImageFromFile`; arrays take ``to_float32``, ``color_type`` and ``value_range``.

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
        options = {key: value for key, value in kwargs.items() if key in ('to_float32', 'color_type', 'value_range')}
        self.from_ndarray = LoadImageFromNDArray(**options)
        self.value_range = self.from_file.value_range

    def transform(self, results: Any) -> dict | None:
        if isinstance(results, str | os.PathLike):
            results = dict(img_path=os.fspath(results))
        elif isinstance(results, np.ndarray):
            results = dict(img=results)
        elif not isinstance(results, dict):
            raise ConfigError('must be a path, an array or a dict', field='inputs', received=type(results).__name__)
        if results.get('img') is not None:
            return self.from_ndarray(results)
        return self.loader_of(results.get('img_path'))(results)

    def loader_of(self, path: object) -> LoadImageFromFile:
        """The loader of a path or of an address."""
        is_address = str(path).startswith(('http://', 'https://'))
        return self.from_address if is_address else self.from_file


@TRANSFORMS.register_module()
class LoadAnnotations(DetTransform):
    """Turn ``results['instances']`` into arrays, boxes and masks.

    Args:
        with_bbox: set ``gt_bboxes`` and ``gt_ignore_flags`` (N,) bool: new arrays at each call, so that later transforms may write to
            them.
        with_label: set ``gt_bboxes_labels`` (N,) int64, also a new array.
        with_mask: set ``gt_masks`` from the ``mask`` of each object: a list of polygons, or run lengths (a dict of the COCO API). An object
            without any polygon of three points gets an empty mask and is ignored.
        with_seg: must be False; segmentation maps are not supported.
        poly2mask: masks are ``BitmapMasks`` of uint8. False: ``PolygonMasks``, in which objects with run lengths are empty and ignored.
        box_type: kind of ``gt_bboxes``. None: an array (N, 4) float32, xyxy in pixels. ``'hbox'``: the same boxes as
            ``HorizontalBoxes``. A name registered by ``register_box``: boxes of that class, made of as many numbers as it has. ``'auto'``: an
            array, unless the dataset's pipeline holds transforms that are written for mmdetection (:func:`settle_box_type`).
        reduce_zero_label, ignore_index, imdecode_backend: accepted for mmdetection's configs; they concern segmentation maps only.
        backend_args: accepted, too.

    Raises:
        DataError: a box that is not four finite numbers, a label that is no number, a mask that is neither polygons nor run
            lengths of the image's size; names image and object.
    """

    def __init__(
        self,
        with_mask: bool = False,
        poly2mask: bool = True,
        box_type: str | None = 'auto',
        reduce_zero_label: bool = False,
        ignore_index: int = 255,
        *,
        with_bbox: bool = True,
        with_label: bool = True,
        with_seg: bool = False,
        imdecode_backend: str = 'cv2',
        backend_args: dict | None = None,
    ):
        if with_seg:
            message = 'must be False: segmentation maps are not supported'
            raise ConfigError(message, field='with_seg', received=with_seg)
        if box_type not in (None, 'auto') and str(box_type).lower() not in BOX_TYPES:
            raise ConfigError(f'must be None or one of {sorted(BOX_TYPES)}', field='box_type', received=box_type)
        self.with_bbox = with_bbox
        self.with_label = with_label
        self.with_mask = with_mask
        self.with_seg = with_seg
        self.poly2mask = poly2mask
        self.imdecode_backend = imdecode_backend
        self.backend_args = backend_args
        self.reduce_zero_label, self.ignore_index = reduce_zero_label, ignore_index
        self.box_type = box_type

    def transform(self, results: dict) -> dict:
        if self.with_bbox:
            self._load_bboxes(results)
        if self.with_label:
            self._load_labels(results)
        if self.with_mask:
            self._load_masks(results)
        return results

    # The next three are what subclasses written for mmdetection override.

    def _load_bboxes(self, results: dict) -> None:
        """Set ``gt_bboxes`` and ``gt_ignore_flags``."""
        instances = _instances(results)
        results['gt_bboxes'] = self._boxes(results, instances)
        results['gt_ignore_flags'] = np.array([bool(item.get('ignore_flag', 0)) for item in instances], bool)

    def _load_labels(self, results: dict) -> None:
        """Set ``gt_bboxes_labels``."""
        instances = _instances(results)
        try:
            labels = np.fromiter((item['bbox_label'] for item in instances), np.int64, len(instances))
        except _FAULTS as error:
            message = 'every object needs a whole number as class index'
            raise _first_fault(results, instances, 'bbox_label', _is_label, message) from error
        results['gt_bboxes_labels'] = labels

    def _load_masks(self, results: dict) -> None:
        """Set ``gt_masks``, and the ignore flag of each object without a mask."""
        results['gt_masks'], empty = self._masks(results, _instances(results))
        if 'gt_ignore_flags' in results:
            results['gt_ignore_flags'] |= empty

    def __repr__(self) -> str:
        names = ('with_bbox', 'with_label', 'with_mask', 'with_seg', 'poly2mask', 'imdecode_backend', 'backend_args')
        return f'{type(self).__name__}({", ".join(f"{name}={getattr(self, name)!r}" for name in names)})'

    def _boxes(self, results: dict, instances: Sequence[dict]) -> np.ndarray | BaseBoxes:
        kind = None if self.box_type in (None, 'auto') else get_box_type(self.box_type)[1]
        count = 4 if kind is None else kind.box_dim
        # One flat pass takes half the time of np.array(rows), but does not notice rows of a wrong length by itself.
        try:
            rows = [item['bbox'] for item in instances]
            flat = np.fromiter(chain.from_iterable(rows), np.float32, count * len(rows))
            if any(length != count for length in set(map(len, rows))) or not np.isfinite(flat).all():
                raise ValueError('a box that is not as many finite numbers')
        except _FAULTS as error:
            message = 'must be four finite numbers x1, y1, x2, y2' if count == 4 else f'must be {count} finite numbers'
            raise _first_fault(results, instances, 'bbox', lambda box: _is_box(box, count), message) from error
        boxes = flat.reshape(-1, count)
        return boxes if kind is None else kind(boxes, clone=False)

    def _masks(self, results: dict, instances: Sequence[dict]) -> tuple[BitmapMasks | PolygonMasks, np.ndarray]:
        """The masks, and (N,) bool: which objects have none that can be used."""
        height, width = results['ori_shape'] if 'ori_shape' in results else (results['height'], results['width'])
        masks: list[Any] = []
        empty = np.zeros(len(instances), bool)
        for index, item in enumerate(instances):
            mask: Any = item.get('mask')
            try:
                usable = mask if isinstance(mask, dict) else [np.asarray(one, np.float64) for one in mask]
                if isinstance(usable, list):
                    usable = [one for one in usable if one.ndim == 1 and len(one) % 2 == 0 and len(one) >= 6]
                empty[index] = not usable or (isinstance(usable, dict) and not self.poly2mask)
                if self.poly2mask:
                    masks.append(mask_to_bitmap(usable, height, width))
                else:
                    masks.append([np.zeros(6)] if empty[index] else usable)
            except _FAULTS as error:
                message = f'must be a list of polygons, or run lengths of the size ({height}, {width})'
                place = dict(file=results.get('img_path'), record=f'object {index}', field='mask')
                raise DataError(message, **place, received=mask) from error
        kind = BitmapMasks if self.poly2mask else PolygonMasks
        return kind(masks, height, width), empty


def lacks_mask(mask: Any, bitmaps: bool) -> bool:
    """Whether :class:`LoadAnnotations` ignores an object for its ``mask``: no polygon of three points, or run lengths where there are no bitmaps."""
    if isinstance(mask, dict):
        return not bitmaps
    return isinstance(mask, list) and not any(
        len(one) >= 6 and len(one) % 2 == 0 for one in mask if hasattr(one, '__len__')
    )


def flat_pipeline(steps: Iterable[Any]) -> Iterator[Any]:
    """The transforms of a built pipeline and those that they apply (``Compose``, ``RandomApply``, ``RandomChoice`` ...), in order."""
    for step in steps:
        if not isinstance(step, list | tuple):
            yield step
            step = getattr(step, 'transforms', ())
        if isinstance(step, list | tuple):
            yield from flat_pipeline(step)


def settle_pipeline(steps: Sequence[Any]) -> None:
    """Decide, in place, what depends on the transforms that follow: the kind of boxes (:func:`settle_box_type`), the size of reduced images, and whether
    an image is mirrored before it is packed or meanwhile, which saves writing and reading it once.

    Between ``LoadImageFromFile(reduced=True)`` and the transform that resizes may stand ``LoadAnnotations`` and transforms of colour.

    Raises:
        ConfigError: ``reduced=True``, and another transform stands there, or none resizes.
    """
    settle_box_type(steps)
    for step, following in zip(steps, [*steps[1:], None]):
        if type(step) is RandomFlip:
            step._gives_view = type(following) is PackDetInputs
    for index, loader in enumerate(steps):
        if isinstance(loader, LoadImageFromFile) and loader.reduced:
            later = (step for step in steps[index + 1 :] if not _keeps_size(step))
            step = next(later, None)
            resizer = vars(step).get('resize', step) if isinstance(step, GeometricTransform) else None
            kinds = [kind for kind in (type(step), type(resizer)) if kind.__module__.startswith('mmdet.')]
            needed = getattr(step, 'needed_wh', None)
            inherited = getattr(type(step), 'needed_wh', None) is GeometricTransform.needed_wh
            if needed is None or inherited or len(kinds) < 2:
                message = "needs one of this package's transforms that resize as the next one (after LoadAnnotations and colour)"
                received = None if step is None else type(step).__name__
                raise ConfigError(message, field='LoadImageFromFile.reduced', received=received)
            loader._needed = partial(_part_of, float(loader.reduced), needed)


def _part_of(
    part: float, needed: Callable[[tuple[int, int]], tuple[float, float]], image_wh: tuple[int, int]
) -> tuple[float, float]:
    width, height = needed(image_wh)
    return width * part, height * part


def _keeps_size(step: Any) -> bool:
    module = type(step).__module__
    return isinstance(step, LoadAnnotations) or module == f'{__package__}.color'


def settle_box_type(steps: Sequence[Any]) -> None:
    """Decide, in place, what ``LoadAnnotations`` without a ``box_type`` gives in a built pipeline.

    Transforms written for mmdetection expect objects (``results['gt_bboxes'].flip_(...)``), those written for this package arrays. So it
    gives ``HorizontalBoxes`` if the pipeline holds a transform of other code than this package and mmcv, unless that derives directly from
    ``DetTransform`` or ``GeometricTransform``. The package's own transforms take either.
    """
    flat = [step for step in flat_pipeline(steps) if isinstance(step, BaseTransform)]
    if any(
        type(step).__module__.split('.')[0] not in ('mmdet', 'mmcv')
        and not {DetTransform, GeometricTransform} & set(type(step).__bases__)
        for step in flat
    ):
        for step in flat:
            if isinstance(step, LoadAnnotations) and step.box_type == 'auto':
                step.box_type = 'hbox'


def _instances(results: dict) -> Sequence[dict]:
    instances = results.get('instances') or ()
    if not isinstance(instances, list | tuple):
        message, received = 'must be a list of objects', type(instances).__name__
        raise DataError(message, file=results.get('img_path'), field='instances', received=received)
    return instances


def _first_fault(
    results: dict, instances: Sequence[dict], field: str, is_sound: Callable[[Any], bool], message: str
) -> DataError:
    values = [item.get(field) if isinstance(item, dict) else item for item in instances]
    index = next((i for i, value in enumerate(values) if not is_sound(value)), None)
    value = None if index is None else values[index]
    return DataError(message, file=results.get('img_path'), record=f'object {index}', field=field, received=value)


def _is_label(value: Any) -> bool:
    return isinstance(value, int | np.integer) and bool(-(2**63) <= value < 2**63)


def _is_outside(xyxy: Sequence[float], width: int, height: int) -> bool:
    """Whether a box has no point in common with its image."""
    x1, y1, x2, y2 = xyxy
    return min(x2, width) <= max(x1, 0) or min(y2, height) <= max(y1, 0)


def _is_box(value: Any, count: int = 4) -> bool:
    try:
        box = np.asarray(value, np.float32)
    except (TypeError, ValueError, OverflowError):
        return False
    return box.shape == (count,) and bool(np.isfinite(box).all())
