"""Checks of values that configs and files give, and of OpenCV."""

import math
from typing import TypeGuard

from .errors import ConfigError


def check_opencv() -> None:
    """Say how to get OpenCV where it is missing, or lacks the window libraries of the system: this distribution asks for it together with a backend.

    Raises:
        ConfigError: ``import cv2`` fails.
    """
    try:
        import cv2  # noqa: F401
    except ImportError as error:
        message = f'OpenCV is not installed or cannot be loaded ({error}): pip install opencv-python-headless'
        raise ConfigError(message, field='cv2') from error


def is_int(value: object, least: int | None = None) -> TypeGuard[int]:
    """Whether a value is an integer (a bool is none) and at least ``least``, if that is given.

    >>> is_int(3), is_int(0, least=1), is_int(True), is_int(3.0)
    (True, False, False, False)
    """
    return isinstance(value, int) and not isinstance(value, bool) and (least is None or value >= least)


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value is an integer or a float, NaN and infinity included; a bool is none.

    >>> is_number(3), is_number(0.5), is_number(False), is_number('3')
    (True, True, False, False)
    """
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_finite(value: object) -> TypeGuard[int | float]:
    """Whether a value is a number within the range of float64; a bool is none.

    >>> is_finite(3), is_finite(10**400), is_finite(float('nan')), is_finite(True)
    (True, False, False, False)
    """
    try:
        return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
    except OverflowError:
        return False
