"""A transform that applies transforms of the library albumentations."""

import difflib
import inspect
import os
import random
import warnings
from typing import Any

import numpy as np
from mmcv.transforms.utils import cache_randomness

from mmdet.core.boxes import HorizontalBoxes, autocast_box_type
from mmdet.errors import ConfigError, DataError
from mmdet.registry import TRANSFORMS

from .arguments import clip_boxes, has_area, image_of, is_number, is_sequence, select_objects
from .base import GeometricTransform
from .color import Normalize

MIN_SIDE = 1e-3
"""Boxes that are not wider and higher than this (pixels) are rounding noise of albumentations' 0..1 coordinates."""

KEYMAP = {'img': 'image', 'gt_bboxes': 'bboxes'}
LABEL_FIELDS = ('gt_bboxes_labels', 'gt_labels', 'gt_ignore_flags')
_INDEX = 'object_index'


def _albumentations() -> Any:
    os.environ.setdefault('NO_ALBUMENTATIONS_UPDATE', '1')  # else the import asks the network for newer versions
    try:
        import albumentations  # heavy: only for pipelines with Albu
    except ModuleNotFoundError as error:
        raise ConfigError(
            f'needs albumentations ({error}). It asks for a second OpenCV, which would overwrite the first; without that: '
            'pip install pydantic simsimd stringzilla && pip install --no-deps albumentations==2.0.8 albucore==0.0.24',
            field='Albu',
        ) from error
    return albumentations


@TRANSFORMS.register_module()
class Albu(GeometricTransform):
    """Apply transforms of albumentations 2.0 to the uint8 BGR image and its boxes.

    The random numbers of a call depend only on the global state of ``numpy.random``, hence on the sample's seed and not on
    the worker. Boxes are clipped to the image; objects that leave it (or fall below ``min_visibility`` ...) are dropped from
    boxes, labels and ignore flags alike. A rotated box becomes the axis-aligned hull of its corners.

    Names of the published UFPMP-Det configs that albumentations 2 changed are translated (``JpegCompression``,
    ``quality_lower``/``quality_upper``, ``always_apply``). Changes of behaviour are *not* undone: ``ShiftScaleRotate`` fills
    with black unless ``border_mode=4`` is given (albumentations 1 mirrored the image, with objects that have no label).

    Args:
        transforms: list of ``dict(type=name, **arguments)``; ``OneOf``, ``Sequential`` ... take a nested list as their
            own ``transforms``.
        bbox_params: ``dict(type='BboxParams', format='pascal_voc', label_fields=[...], min_area, min_visibility,
            min_width, min_height, ...)``. mmdetection's ``filter_lost_elements`` is accepted, and always in effect.
        keymap: mmdetection's names of image and boxes to albumentations'; only :data:`KEYMAP` is possible.
        update_pad_shape: also set ``pad_shape`` (h, w) to the new size.
        skip_img_without_anno: return None (the dataset draws another sample) if no object is left.
        after_normalize: ``dict(mean, std, to_rgb)`` for ``Normalize``, with the model's own values: as in the original
            UFPMP-Det code, the transforms see the normalised float image, and those of colour, compression and median clip
            it to [0, 1]. The result is turned back to BGR in 0..255 (float32, not rounded), because the model normalises
            once more. None: the transforms see uint8 pixels.

    Raises:
        DataError: boxes that are not axis-aligned.
        ConfigError: unknown transform or argument (close names are listed), or an image that is not uint8: on
            normalised floats albumentations would clip to [0, 1] without notice, so Albu must stand before Normalize.
    """

    def __init__(
        self,
        transforms: list[dict],
        bbox_params: dict | None = None,
        keymap: dict | None = None,
        update_pad_shape: bool = False,
        skip_img_without_anno: bool = False,
        after_normalize: dict | None = None,
    ):
        albumentations = _albumentations()

        if not is_sequence(transforms):
            raise ConfigError('must be a list of dict(type=...)', field='transforms', received=transforms)
        self.transforms = list(transforms)
        self.update_pad_shape = update_pad_shape
        self.skip_img_without_anno = skip_img_without_anno
        self.after_normalize = None if after_normalize is None else Normalize(**after_normalize)
        for ours, theirs in (keymap or {}).items():
            # mmdetection's configs name masks here although their samples hold none.
            if ours != 'gt_masks' and KEYMAP.get(ours) != theirs:
                raise ConfigError(f'may hold {KEYMAP} (and gt_masks)', field='keymap', received={ours: theirs})
        parts = [build_albumentation(item) for item in transforms]
        box_params = albumentations.BboxParams(**_box_arguments(bbox_params))
        with warnings.catch_warnings():
            # albumentations warns about box parameters beside transforms that change pixels only.
            warnings.filterwarnings('ignore', message='Got processor for bboxes')
            self.aug = albumentations.Compose(parts, bbox_params=box_params)

    @cache_randomness
    def draw(self) -> int:
        """The seed of what albumentations does to one image."""
        return int(np.random.randint(2**31))

    @autocast_box_type()
    def transform(self, results: dict) -> dict | None:
        image = image_of(results)
        if image.dtype != np.uint8:
            message = 'needs a uint8 image; put Albu before Normalize, and load without to_float32'
            raise ConfigError(message, field='img', received=str(image.dtype))
        seed = self.draw()
        # All parts share one generator: with a seed, each part would start its own from it, and their draws would
        # correlate.
        self.aug.set_random_state(np.random.default_rng(seed), random.Random(seed))

        boxes = results.get('gt_bboxes')
        inputs, index = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
        if boxes is not None:
            if not isinstance(boxes, HorizontalBoxes):
                raise DataError('Albu takes axis-aligned boxes', field='gt_bboxes', received=type(boxes).__name__)
            inputs = clip_boxes(boxes.numpy().astype(np.float32), image.shape[:2])
            index = np.flatnonzero(has_area(inputs, MIN_SIDE))
        if self.after_normalize is not None:
            image = self.after_normalize(dict(img=image))['img']
        output = self.aug(image=np.ascontiguousarray(image), bboxes=inputs[index], **{_INDEX: index})

        image = output['image']
        if self.after_normalize is not None:
            image = image * self.after_normalize.std + self.after_normalize.mean
            image = np.ascontiguousarray(image[..., ::-1]) if self.after_normalize.to_rgb else image
        results['img'], results['img_shape'] = image, image.shape[:2]
        if self.update_pad_shape:
            results['pad_shape'] = image.shape[:2]
        if boxes is None:
            return results
        new_boxes = np.asarray(output['bboxes'], np.float32).reshape(-1, 4)
        kept = np.asarray(output[_INDEX], np.int64).reshape(-1)
        clip_boxes(new_boxes, image.shape[:2])
        sound = has_area(new_boxes, MIN_SIDE)
        if not sound.any() and self.skip_img_without_anno:
            return None
        select_objects(results, kept[sound])
        results['gt_bboxes'] = HorizontalBoxes(new_boxes[sound])
        return results


def _box_arguments(bbox_params: dict | None) -> dict[str, Any]:
    """Arguments of ``albumentations.BboxParams``; the label field is an index into all per-object arrays."""
    albumentations = _albumentations()
    arguments = dict(bbox_params or {})
    for name, only, why in (('type', 'BboxParams', ''), ('format', 'pascal_voc', ': the boxes are x1, y1, x2, y2')):
        value = arguments.pop(name, only)
        if value != only:
            raise ConfigError(f'must be {only!r}{why}', field=f'bbox_params.{name}', received=value)
    arguments.pop('filter_lost_elements', None)
    for name in arguments.pop('label_fields', None) or ():
        if name not in LABEL_FIELDS:
            raise ConfigError(f'may name {list(LABEL_FIELDS)}', field='bbox_params.label_fields', received=name)
    _check_arguments('BboxParams', albumentations.BboxParams, arguments, 'bbox_params')
    return dict(format='pascal_voc', label_fields=[_INDEX], **arguments)


def build_albumentation(config: object) -> Any:
    """Build an albumentations transform from ``dict(type=name or class, **arguments)``, nested ones included.

    Raises:
        ConfigError: a type or an argument that albumentations does not know.
    """
    albumentations = _albumentations()

    if not isinstance(config, dict) or 'type' not in config:
        raise ConfigError('must be a dict with the key type', field='transforms', received=config)
    arguments = dict(config)
    kind = arguments.pop('type')
    if isinstance(kind, str):
        kind, arguments = _translate(kind, arguments)
        bases = (albumentations.BasicTransform, albumentations.BaseCompose)
        classes = inspect.getmembers(albumentations, inspect.isclass)
        known = {name: value for name, value in classes if issubclass(value, bases)}
        if kind not in known:
            close = difflib.get_close_matches(kind, known, n=5, cutoff=0.5)
            message = f'albumentations {albumentations.__version__} has no such transform; close names: {close}'
            raise ConfigError(message, field='type', received=kind)
        cls = known[kind]
    elif inspect.isclass(kind):
        cls, kind = kind, kind.__name__
    else:
        raise ConfigError('must be the name of an albumentations transform or a class', field='type', received=kind)
    if 'transforms' in arguments:
        arguments['transforms'] = [build_albumentation(item) for item in arguments['transforms']]
    _check_arguments(kind, cls, arguments, kind)
    # albumentations expects tuples of numbers, where config files may hold lists.
    for name, value in arguments.items():
        if isinstance(value, list) and value and all(map(is_number, value)):
            arguments[name] = tuple(value)
    with warnings.catch_warnings():
        # albumentations recommends Affine in place of ShiftScaleRotate; published configs are not to be changed.
        warnings.filterwarnings('ignore', message='.*Affine.*')
        try:
            return cls(**arguments)
        except (TypeError, ValueError) as error:
            message = f'albumentations refuses the arguments: {error}'
            raise ConfigError(message, field=kind, received=arguments) from error


def _translate(kind: str, arguments: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Translate a transform's name and arguments from albumentations 0.x and 1.x to 2.0."""
    kind = {'JpegCompression': 'ImageCompression'}.get(kind, kind)
    if arguments.pop('always_apply', False):
        arguments['p'] = 1.0
    if kind == 'ImageCompression' and {'quality_lower', 'quality_upper'} & set(arguments):
        arguments['quality_range'] = (arguments.pop('quality_lower', 99), arguments.pop('quality_upper', 100))
    return kind, arguments


def _check_arguments(kind: str, cls: type, arguments: dict[str, Any], field: str) -> None:
    # albumentations itself only warns about a misspelt argument, and then ignores it.
    parameters = inspect.signature(cls).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for name in arguments:
        if name not in parameters:
            raise ConfigError(f'{kind} has the arguments {list(parameters)}', field=field, received=name)
