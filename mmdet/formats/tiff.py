"""TIFF files: which of their many kinds which library reads rightly.

OpenCV gives wrong pixels, without an error, for planes of more than 8 bits (GDAL's ``INTERLEAVE=BAND``) and for two channels of them, and knows
neither 16-bit floating point nor newer compressions. So the tags are read first; such files go to Pillow or, if it is installed, rasterio.
"""

import importlib.util
import io
import warnings
from typing import Any

import cv2
import numpy as np
from PIL import TiffImagePlugin

from ..errors import DataError
from .image_headers import (
    BITS,
    CHANNELS,
    COMPRESSION,
    ORIENTATION,
    PLANES,
    SAMPLE_FORMAT,
    BrokenImageError,
    read_tiff_tags,
)  # fmt: skip

_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_SAMPLES = {_UNSIGNED: 'unsigned integers', _SIGNED: 'integers', _FLOAT: 'floating point'}


def has_rasterio() -> bool:
    """Whether rasterio, the extra ``geo``, is installed."""
    return importlib.util.find_spec('rasterio') is not None


def decode_tiff(data: bytes, flags: int, name: object) -> np.ndarray:
    """Pixels of a TIFF, grey (H, W), BGR (H, W, 3) or, as stored, BGRA (H, W, 4), of the type that is stored.

    Args:
        data: the whole file.
        flags: of ``cv2.imdecode``; they decide for the kinds that OpenCV reads rightly, with ``IMREAD_ANYDEPTH`` or ``IMREAD_UNCHANGED``.
        name: what an error calls the file.

    Raises:
        BrokenImageError: the file is damaged.
        DataError: a kind that no installed library reads: five channels, complex numbers, or one that takes rasterio.
    """
    tags = read_tiff_tags(io.BytesIO(data))
    if tags is None:
        raise BrokenImageError('not a complete TIFF: its tags cannot be read', file=name, received=data[:8])
    bits, channels = max(_numbers(tags, BITS)), _numbers(tags, CHANNELS)[0]
    sample, separate = _numbers(tags, SAMPLE_FORMAT)[0], _numbers(tags, PLANES)[0] == 2 and channels > 1
    is_known = sample in _SAMPLES and channels <= 4
    by_opencv = is_known and channels != 2 and not (separate and bits > 8) and (sample, bits) != (_FLOAT, 16)
    image = None
    if by_opencv:
        # Of pixels of more than 16 bits, it converts some to colours and others not; as they are stored, it reads them all.
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED if bits > 16 else flags)
        if image is not None and bits >= 16 and image.dtype.itemsize * 8 != bits:
            image = None
    if image is None and is_known and bits <= 8 and sample == _UNSIGNED:
        image = _decode_by_pillow(data)
    if image is None and is_known and _numbers(tags, ORIENTATION)[0] == 1 and has_rasterio():
        image = _decode_by_rasterio(data, name)
    if image is not None:
        return image
    kind = f'{channels} {"planes" if separate else "channels"} of {bits}-bit {_SAMPLES.get(sample, "complex numbers")}'
    received = f'{kind}, compression {tags.get(COMPRESSION, 1)}'
    if by_opencv:
        raise BrokenImageError(f'not a complete TIFF ({len(data)} bytes)', file=name, received=received)
    hint = 'rasterio reads it (the extra "geo"), or ' if is_known else ''
    message = f'this kind of TIFF cannot be read; {hint}convert it to grey or RGB pixels, interleaved'
    raise DataError(message, file=name, received=received)


def _numbers(tags: Any, tag: int) -> tuple[int, ...]:
    """The values of a tag; (1,), the default of all tags that are read here, where it is missing or broken."""
    value = tags.get(tag, 1)
    values = value if isinstance(value, tuple) else (value,)
    return values if values and all(isinstance(v, int) for v in values) else (1,)


def _decode_by_pillow(data: bytes) -> np.ndarray | None:
    """An 8-bit TIFF; None if Pillow cannot read it."""
    try:
        with TiffImagePlugin.TiffImageFile(io.BytesIO(data)) as image:
            grey = image.mode in ('1', 'L', 'LA')
            pixels = np.asarray(image.convert('L' if grey else 'RGB'))
    except Exception:  # Pillow's readers raise nearly anything for broken files
        return None
    return pixels.copy() if grey else pixels[..., ::-1].copy()


def _decode_by_rasterio(data: bytes, name: object) -> np.ndarray:
    import rasterio
    from rasterio.io import MemoryFile

    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', rasterio.errors.NotGeoreferencedWarning)
            with MemoryFile(data) as file, file.open() as source:
                pixels = source.read([1] if source.count <= 2 else [3, 2, 1])
    except rasterio.errors.RasterioError as error:
        raise BrokenImageError(f'not a complete TIFF ({error})', file=name) from error
    return pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))
