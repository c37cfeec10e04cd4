"""Checks of values that configs and files give, of :mod:`mmdet_runtime.checks`."""

from mmdet_runtime.checks import is_finite, is_int, is_number

__all__ = ['is_finite', 'is_int', 'is_number']
