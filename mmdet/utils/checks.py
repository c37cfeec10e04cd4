"""Checks of values that configs and files give."""

from typing import TypeGuard


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
