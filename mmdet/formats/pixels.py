"""Pixels of more than 8 bits, of :mod:`mmdet_runtime.pixels`."""

from mmdet_runtime.pixels import (
    HOW_TO_STATE,
    ValueRange,
    check_value_range,
    finite_limits,
    limits_of,
    scale_to_uint8,
    to_uint8,
)

__all__ = [
    'HOW_TO_STATE', 'ValueRange', 'check_value_range', 'finite_limits', 'limits_of', 'scale_to_uint8', 'to_uint8',
]  # fmt: skip
