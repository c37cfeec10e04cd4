"""Checks of constructor arguments and small helpers that every transform of this folder uses."""

from collections.abc import Sequence
from math import isfinite
from numbers import Real

import numpy as np

from mmdet.errors import ConfigError, DataError

OBJECT_KEYS = ('gt_bboxes', 'gt_bboxes_labels', 'gt_ignore_flags')
"""Arrays of a sample that hold one row an object; a transform that drops objects must index all of them."""


def is_number(value) -> bool:
    """Whether ``value`` is a real number and not a bool."""
    return isinstance(value, Real) and not isinstance(value, bool | np.bool_)


def is_sequence(value) -> bool:
    return isinstance(value, Sequence | np.ndarray) and not isinstance(value, str)


def check_probability(field: str, value) -> float:
    """Return ``value`` if it is a number in [0, 1], else raise ConfigError."""
    if not is_number(value) or not 0 <= value <= 1:
        raise ConfigError('must be a number in [0, 1]', field=field, received=value)
    return value


def check_choice(field: str, value, allowed):
    """Return ``value`` if it is one of ``allowed``, else raise ConfigError listing them."""
    if not isinstance(value, str) or value not in allowed:
        raise ConfigError(f'must be one of {sorted(allowed)}', field=field, received=value)
    return value


def check_size(field: str, value, *, allow_unlimited: bool = False) -> tuple:
    """Return ``value`` as a pair of positive whole numbers; one number stands for a square.

    Args:
        field: name of the argument, for the message.
        value: an int or two ints.
        allow_unlimited: whether one of the two may be ``inf`` ("no limit on this edge").
    """
    if is_number(value):
        value = (value, value)
    unlimited = 'two positive whole numbers' + (' (one may be inf)' if allow_unlimited else '')
    if not is_sequence(value) or len(value) != 2 or not all(is_number(edge) and edge > 0 for edge in value):
        raise ConfigError(f'must be {unlimited}', field=field, received=value)
    finite = [edge for edge in value if isfinite(edge)]
    if len(finite) < (1 if allow_unlimited else 2) or any(edge != int(edge) for edge in finite):
        raise ConfigError(f'must be {unlimited}', field=field, received=value)
    return tuple(int(edge) if isfinite(edge) else edge for edge in value)


def check_range(field: str, value, *, minimum: float = 0.0) -> tuple[float, float]:
    """Return ``value`` as ``(low, high)`` with ``minimum <= low <= high < inf``, else raise ConfigError."""
    valid = is_sequence(value) and len(value) == 2 and all(is_number(end) and isfinite(end) for end in value)
    if not valid or not minimum <= value[0] <= value[1]:
        raise ConfigError(f'must be (low, high) with {minimum:g} <= low <= high', field=field, received=value)
    return value[0], value[1]


def check_pad_value(field: str, value):
    """Return the pad value of images as a number or a tuple of numbers (one a channel, BGR)."""
    if isinstance(value, dict):
        value = value.get('img', 0)
    if is_number(value):
        return value
    if is_sequence(value) and len(value) and all(is_number(channel) for channel in value):
        return tuple(value)
    raise ConfigError('must be a number, one number a channel, or dict(img=...) of these', field=field, received=value)


def image_of(results: dict) -> np.ndarray:
    """Return ``results['img']``; a pipeline that has not loaded one gets a DataError that says so."""
    image = results.get('img')
    if image is None:
        raise DataError(
            'the sample has no image; LoadImageFromFile must stand before this transform in the pipeline',
            file=results.get('img_path'),
            field='img',
            received=sorted(results),
        )
    return image


def select_objects(results: dict, keep: np.ndarray) -> None:
    """Keep the objects that ``keep`` (bool mask or indices, over N objects) names, in all per-object arrays alike."""
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
