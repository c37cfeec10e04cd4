"""Pixels of more than 8 bits, and of floating point: the one rule by which they become 0..255, or are refused.

Nothing is cut to its upper byte. Which values of such an image are black and white is not written in the file (12-bit cameras write 0..4095
into 16 bits, thermal ones a narrow band of them), so whoever knows the camera states it as a *value range*:

=================  ==================================================================================================
``None``           only 8-bit pixels are taken; others are an error that names their type and the values in them
``(low, high)``    these two values become 0 and 255, the same for every image; what lies outside is clipped
``'full'``         the whole range of the type, such as 0..65535; 0..1 for floating point
``'minmax'``       from the smallest to the largest value of each image, of all its colours together
=================  ==================================================================================================

A value v becomes ``round(255 * (v - low) / (high - low))``. NaN becomes 0, as does every pixel of an image of one value under ``'minmax'``.
Pixels of 8 bits stay as they are under every rule.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Literal

import numpy as np

from .errors import ConfigError, DataError

ValueRange = Literal['full', 'minmax'] | tuple[float, float] | None

HOW_TO_STATE = (
    "state what they mean: value_range=(low, high), 'full' (the whole range of the type) or 'minmax' (of each image), "
    'in LoadImageFromFile of the pipeline or for DetInferencer (--value-range of image_demo.py)'
)
# Values that are converted at once: 16 MB as float32.
_BLOCK = 1 << 22


def check_value_range(value: Any) -> ValueRange:
    """The value range itself, two numbers as a tuple.

    Raises:
        ConfigError: it is neither None, ``'full'`` or ``'minmax'``, nor two finite numbers of which the first is smaller.
    """
    if value is None:
        return None
    if isinstance(value, str) and value in ('full', 'minmax'):
        return 'full' if value == 'full' else 'minmax'
    numbers = isinstance(value, list | tuple) and len(value) == 2
    if (
        numbers
        and all(isinstance(v, int | float | np.number) and np.isfinite(v) for v in value)
        and value[0] < value[1]
    ):
        return float(value[0]), float(value[1])
    message = "must be None, 'full', 'minmax', or two numbers (low, high) with low < high"
    raise ConfigError(message, field='value_range', received=value)


def to_uint8(pixels: np.ndarray, value_range: ValueRange, *, name: object = None) -> np.ndarray:
    """Pixels as uint8: the array itself if it has this type, else its values scaled by a value range.

    Args:
        pixels: an array of integers or of floating point; the alpha of (H, W, 4) has the whole range of its type under every rule.
        value_range: see above.
        name: what an error calls the image.

    Raises:
        DataError: pixels of another type without a value range, or of a type that is no number.
    """
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype.kind not in 'iuf':
        raise DataError('pixels must be integers or floating point', file=name, received=str(pixels.dtype))
    if value_range is None:
        low, high = finite_limits(pixels)
        message = f'its pixels are {pixels.dtype} (values {low:g}..{high:g}), not 8-bit; {HOW_TO_STATE}'
        raise DataError(message, file=name, field='value_range')
    if pixels.ndim == 3 and pixels.shape[2] == 4:  # BGRA: alpha is no brightness
        return np.dstack([to_uint8(pixels[..., :3], value_range), to_uint8(pixels[..., 3:], 'full')])
    return scale_to_uint8(pixels, *(limits_of(pixels.dtype, value_range) or finite_limits(pixels)))


def limits_of(dtype: np.dtype, value_range: ValueRange) -> tuple[float, float] | None:
    """The values that become 0 and 255; None for ``'minmax'``, where the image decides."""
    if isinstance(value_range, tuple):
        return value_range
    if value_range == 'full':
        return (0.0, 1.0) if dtype.kind == 'f' else (float(np.iinfo(dtype).min), float(np.iinfo(dtype).max))
    return None


def finite_limits(pixels: np.ndarray | Iterable[np.ndarray]) -> tuple[float, float]:
    """Smallest and largest value of an array, or of several together, NaN and infinity left out; (0, 0) where there is none."""
    low, high = np.inf, -np.inf
    for part in [pixels] if isinstance(pixels, np.ndarray) else pixels:
        for _, block in _blocks(part):
            found = block[np.isfinite(block)] if part.dtype.kind == 'f' else block
            if found.size:
                low, high = min(low, float(found.min())), max(high, float(found.max()))
    return (low, high) if low <= high else (0.0, 0.0)


def scale_to_uint8(pixels: np.ndarray, low: float, high: float) -> np.ndarray:
    """``round(255 * (pixels - low) / (high - low))``, clipped to 0..255, as uint8; zeros where ``high`` is ``low``."""
    result = np.zeros(pixels.shape, np.uint8)
    if high > low:
        # float32 holds every 16-bit value exactly; wider ones need float64.
        kind: Any = np.float32 if pixels.dtype.itemsize <= 2 else np.float64
        for rows, block in _blocks(pixels):
            # Divided before it is multiplied: nothing overflows where the limits are those of the type.
            scaled: np.ndarray = (block.astype(kind) / 2 - low / 2) / (high / 2 - low / 2) * 255
            result[rows] = np.rint(np.clip(np.nan_to_num(scaled, nan=0.0, posinf=255.0, neginf=0.0), 0, 255))
    return result


def _blocks(pixels: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """The array in blocks of rows, so that what is computed from it stays small beside it."""
    step = max(_BLOCK // max(pixels[:1].size, 1), 1)
    for start in range(0, len(pixels), step):
        yield slice(start, start + step), pixels[start : start + step]
