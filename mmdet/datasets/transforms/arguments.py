"""Checks of constructor arguments, and small helpers that the transforms of this folder share."""

from collections.abc import Collection, Sequence
from math import isfinite, isinf
from numbers import Real
from typing import Any, TypeGuard

import numpy as np

from mmdet.errors import ConfigError, DataError

OBJECT_KEYS = ('gt_bboxes', 'gt_bboxes_labels', 'gt_ignore_flags')
"""Arrays of a sample that hold one row per object; a transform that drops objects must index all of them."""


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
    width, height = _check_edges(field, value, infinite=0, allowed='two positive whole numbers')
    return int(width), int(height)


def check_limits(field: str, value: object) -> tuple[float, float]:
    """As :func:`check_size`, but one of the two may be ``inf``: no limit on that edge."""
    return _check_edges(field, value, infinite=1, allowed='two positive whole numbers (one may be inf)')


def _check_edges(field: str, value: object, *, infinite: int, allowed: str) -> tuple[float, float]:
    pair = (value, value) if is_number(value) else value
    if (
        not is_numbers(pair, 2)
        or not all(edge > 0 and (isinf(edge) or edge == int(edge)) for edge in pair)
        or sum(map(isinf, pair)) > infinite
    ):
        raise ConfigError(f'must be {allowed}', field=field, received=value)
    first, second = (edge if isinf(edge) else int(edge) for edge in pair)
    return first, second


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
        raise DataError(
            'the sample has no image; LoadImageFromFile must stand before this transform in the pipeline',
            file=results.get('img_path'),
            field='img',
            received=sorted(results),
        )
    return image


def select_objects(results: dict[str, Any], keep: np.ndarray) -> None:
    """Index all per-object arrays of the sample, in place, with ``keep`` (bool mask (N,) or indices of objects)."""
    for key in OBJECT_KEYS:
        if results.get(key) is not None:
            results[key] = results[key][keep]


def clip_boxes(boxes: np.ndarray, image_hw: tuple[int, int]) -> np.ndarray:
    """Clip (N, 4) xyxy boxes in place to ``[0, w] x [0, h]`` and return them."""
    height, width = image_hw
    np.clip(boxes[:, 0::2], 0, width, out=boxes[:, 0::2])
    np.clip(boxes[:, 1::2], 0, height, out=boxes[:, 1::2])
    return boxes


def has_area(boxes: np.ndarray) -> np.ndarray:
    """Mask (N,) of the xyxy boxes whose width and height are both positive."""
    return (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
