"""Checks of constructor arguments, and what the transforms do to samples and boxes in the same way."""

from collections.abc import Callable, Collection, Sequence
from math import inf, isfinite
from numbers import Real
from typing import Any, TypeGuard

import numpy as np

from mmdet.errors import ConfigError, DataError

OBJECT_KEYS = ('gt_bboxes', 'gt_bboxes_labels', 'gt_ignore_flags', 'gt_masks')
"""What a sample holds of every object, one row each; a transform that drops objects has to index all of them."""


def is_number(value: object) -> TypeGuard[float]:
    """Whether ``value`` is a real number and not a bool."""
    return isinstance(value, Real) and not isinstance(value, bool | np.bool_)


def is_sequence(value: object) -> TypeGuard[Sequence]:
    """Whether ``value`` is a list, tuple or array; a string is not."""
    return isinstance(value, Sequence | np.ndarray) and not isinstance(value, str)


def is_numbers(value: object, count: int) -> TypeGuard[Sequence[float]]:
    """Whether ``value`` is a sequence of ``count`` real numbers."""
    return is_sequence(value) and len(value) == count and all(map(is_number, value))


def check_probability(field: str, value: object) -> float:
    """Return ``value`` if it is a number in [0, 1], else raise ConfigError."""
    if not is_number(value) or not 0 <= value <= 1:
        raise ConfigError('must be a number in [0, 1]', field=field, received=value)
    return value


def check_choice(field: str, value: object, allowed: Collection[str]) -> str:
    """Return ``value`` if it is one of ``allowed``, else raise ConfigError listing them."""
    if not isinstance(value, str) or value not in allowed:
        raise ConfigError(f'must be one of {sorted(allowed)}', field=field, received=value)
    return value


def check_size(field: str, value: object) -> tuple[int, int]:
    """Return ``value`` as a pair of positive whole numbers; one number stands for a square."""
    width, height = check_pair(field, value, _is_size, 'two positive whole numbers')
    return int(width), int(height)


def check_limits(field: str, value: object) -> tuple[float, float]:
    """As :func:`check_size`, but one of the two may be ``inf``: no limit on that edge."""
    allowed = 'two positive whole numbers (one may be inf)'
    first, second = check_pair(field, value, lambda edge: edge == inf or _is_size(edge), allowed)
    if first == second == inf:
        raise ConfigError(f'must be {allowed}', field=field, received=value)
    return (first if first == inf else int(first)), (second if second == inf else int(second))


def check_pair(field: str, value: object, is_sound: Callable[[float], bool], allowed: str) -> tuple[float, float]:
    """Return ``value`` as two sound numbers, where one number stands for both, else raise ConfigError with ``allowed``."""
    pair = (value, value) if is_number(value) else value
    if not is_numbers(pair, 2) or not all(map(is_sound, pair)):
        raise ConfigError(f'must be {allowed}', field=field, received=value)
    return pair[0], pair[1]


def _is_size(edge: float) -> bool:
    return 0 < edge < inf and edge == int(edge)


def check_range(field: str, value: object, *, minimum: float = 0.0) -> tuple[float, float]:
    """Return ``value`` as ``(low, high)`` with ``minimum <= low <= high < inf``, else raise ConfigError."""
    if not is_numbers(value, 2) or not all(map(isfinite, value)) or not minimum <= value[0] <= value[1]:
        raise ConfigError(f'must be (low, high) with {minimum:g} <= low <= high', field=field, received=value)
    return value[0], value[1]


def check_pad_value(field: str, value: object) -> float | tuple[float, ...]:
    """Return the pad value of images as a number or a tuple of numbers (one per channel, BGR)."""
    if isinstance(value, dict):
        value = value.get('img', 0)
    if is_number(value):
        return value
    if is_sequence(value) and len(value) and all(map(is_number, value)):
        return tuple(value)
    raise ConfigError('must be a number, one number a channel, or dict(img=...) of these', field=field, received=value)


def image_of(results: dict[str, Any]) -> np.ndarray:
    """Return ``results['img']``, or raise a DataError that names the missing loading transform."""
    image = results.get('img')
    if image is None:
        message = 'the sample has no image; LoadImageFromFile must stand before this transform in the pipeline'
        raise DataError(message, file=results.get('img_path'), field='img', received=sorted(results))
    return image


def whole_hw(results: dict[str, Any]) -> tuple[int, int]:
    """(h, w) of the image; of one that ``LoadImageFromFile(reduced=True)`` has loaded smaller than its file, the file's."""
    height, width = results.get('reduced_from') or image_of(results).shape[:2]
    return height, width


def record_homography(results: dict[str, Any], matrix: Sequence[Sequence[float]] | np.ndarray) -> None:
    """Put the (3, 3) ``matrix`` of a step before those of the earlier ones in ``results['homography_matrix']``, float32.

    The product maps points (x, y, 1) of the loaded image to the image as it is now.
    """
    step, before = np.array(matrix, np.float32), results.get('homography_matrix')
    results['homography_matrix'] = step if before is None else step @ before


def select_objects(results: dict[str, Any], keep: np.ndarray) -> None:
    """Index what the sample holds of every object, in place, with ``keep`` (bool mask (N,) or indices of objects)."""
    for key in OBJECT_KEYS:
        if results.get(key) is not None:
            results[key] = results[key][keep]


def clip_boxes(boxes: np.ndarray, image_hw: tuple[int, int]) -> np.ndarray:
    """Clip (N, 4) xyxy boxes in place to ``[0, w] x [0, h]`` and return them."""
    height, width = image_hw
    np.clip(boxes[:, 0::2], 0, width, out=boxes[:, 0::2])
    np.clip(boxes[:, 1::2], 0, height, out=boxes[:, 1::2])
    return boxes


def has_area(boxes: np.ndarray, above: float | tuple[float, ...] = 0) -> np.ndarray:
    """Mask (N,) of the xyxy boxes (N, 4) whose width and height are both above a number, or above the pair (w, h)."""
    return ((boxes[:, 2:] - boxes[:, :2]) > above).all(axis=1)
