"""TIFF files: which of their many kinds which library reads rightly.

OpenCV gives wrong pixels, without an error, for planes of more than 8 bits (GDAL's ``INTERLEAVE=BAND``), for two channels of them and for three bands of
8 bits that are not called RGB, and knows neither 16-bit floating point nor newer compressions. So the tags are read first; such files go to Pillow or, if it
is installed, rasterio. None of them makes colours of more than 8 bits of a palette, inks, Lab, a sensor's pattern, or grey whose white is 0: these are refused.
"""

import importlib.util
import io
import os
import warnings
from typing import IO, Any

import cv2
import numpy as np
from mmengine.logging import print_log
from PIL import TiffImagePlugin

from mmdet_runtime.images import BrokenImageError

from ..errors import DataError
from .image_headers import (
    BITS,
    CHANNELS,
    COMPRESSION,
    ORIENTATION,
    PHOTOMETRIC,
    PLANES,
    SAMPLE_FORMAT,
    SUB_IFDS,
    SUBFILE,
    read_tiff_pages,
    read_tiff_tags,
)  # fmt: skip

_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_SAMPLES = {_UNSIGNED: 'unsigned integers', _SIGNED: 'integers', _FLOAT: 'floating point'}
_WHITE_IS_ZERO, _GREY, _RGB, _LINEAR_RAW = 0, 1, 2, 34892
PLAIN = (_GREY, _RGB, _LINEAR_RAW)  # the numbers in the file are those of grey or RGB
_COLORS = {_WHITE_IS_ZERO: 'grey whose white is 0', 3: 'a palette', 5: 'CMYK', 6: 'YCbCr', 8: 'CIELAB', 32803: "a sensor's pattern (raw)"}  # fmt: skip
_REDUCED, _MASK = 1, 4  # bits of the tag SUBFILE
_told: list[object] = []  # the file of which was said that it has more pages

# OpenCV prints lines about tags that it does not know, as those of every GeoTIFF, and about each broken file, which is an error here.
if 'OPENCV_LOG_LEVEL' not in os.environ:
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


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
    check_pages(io.BytesIO(data), name)
    bits, channels, photometric = max(_numbers(tags, BITS)), _numbers(tags, CHANNELS)[0], _numbers(tags, PHOTOMETRIC)[0]
    sample, separate = _numbers(tags, SAMPLE_FORMAT)[0], _numbers(tags, PLANES)[0] == 2 and channels > 1
    is_plain = photometric in PLAIN
    is_known = sample in _SAMPLES and channels <= 4 and (is_plain or (bits <= 8 and photometric < 10))
    bands = (
        photometric == _GREY and channels > 2
    )  # GDAL calls three bands of 16 bits so; the first three are taken as RGB
    by_opencv = is_known and channels != 2 and (sample, bits) != (_FLOAT, 16) and not (bands and bits <= 8)
    by_opencv &= not (separate and bits > 8)
    image = None
    if by_opencv:
        # Of pixels of more than 16 bits, it converts some to colours and others not; as they are stored, it reads them all.
        # Of bands, it makes grey where they are to be unchanged.
        if bits > 16:
            flags = cv2.IMREAD_UNCHANGED
        elif bands and flags == cv2.IMREAD_UNCHANGED:
            flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        if image is not None and bits >= 16 and image.dtype.itemsize * 8 != bits:
            image = None
        if image is not None and 8 < bits < 16 and image.dtype == np.uint16:
            image = np.right_shift(image, 16 - bits)  # it stretches 10, 12 and 14 bits to 16
    if image is None and is_known and bits <= 8 and sample == _UNSIGNED:
        image = _decode_by_pillow(data)
    by_rasterio = is_known and is_plain and _numbers(tags, ORIENTATION)[0] == 1 and has_rasterio()
    if image is None and by_rasterio:
        image = _decode_by_rasterio(data)
    if image is not None:
        return image
    kind = f'{channels} {"planes" if separate else "channels"} of {bits}-bit {_SAMPLES.get(sample, "complex numbers")}'
    color = '' if is_plain else f', {_COLORS.get(photometric, f"colours of kind {photometric}")}'
    received = f'{kind}{color}, compression {tags.get(COMPRESSION, 1)}'
    if by_opencv or by_rasterio:
        raise BrokenImageError(f'not a complete TIFF ({len(data)} bytes)', file=name, received=received)
    hint = 'rasterio reads it (the extra "geo"), or ' if is_known and is_plain and not has_rasterio() else ''
    message = f'this kind of TIFF cannot be read; {hint}convert it to grey or RGB pixels, interleaved'
    raise DataError(message, file=name, received=received)


def check_pages(file: IO[bytes], name: object) -> None:
    """Say, once in a process, that only the first page of a TIFF is read; reduced copies and masks are no pages.

    Raises:
        DataError: the first page is a reduced copy of what lies elsewhere in the file, as in the raw files of cameras.
    """
    pages = read_tiff_pages(file)
    first = next(pages, None)
    if first is None:
        return
    is_reduced = bool(_numbers(first, SUBFILE, 0)[0] & _REDUCED)
    if _told and not is_reduced:
        return
    is_more = any(not _numbers(tags, SUBFILE, 0)[0] & (_REDUCED | _MASK) for tags in pages)
    if is_reduced and (is_more or SUB_IFDS in first):
        message = 'its first page is a thumbnail of another one, which is not read; convert it to a plain TIFF'
        raise DataError(message, file=name)
    if is_more and not _told:
        _told.append(name)
        message = 'has several pages, of which only the first is read (said of the first such file only)'
        print_log(f'{name}: {message}', logger='current', level=30)


def _numbers(tags: Any, tag: int, default: int = 1) -> tuple[int, ...]:
    """The values of a tag; (default,) where it is missing or broken."""
    value = tags.get(tag, default)
    values = value if isinstance(value, tuple) else (value,)
    return values if values and all(isinstance(v, int) for v in values) else (default,)


def _decode_by_pillow(data: bytes) -> np.ndarray | None:
    """An 8-bit TIFF; None if Pillow cannot read it."""
    try:
        with TiffImagePlugin.TiffImageFile(io.BytesIO(data)) as image:
            grey = image.mode in ('1', 'L', 'LA')
            pixels = np.asarray(image.convert('L' if grey else 'RGB'))
    except Exception:  # Pillow's readers raise nearly anything for broken files
        return None
    return pixels.copy() if grey else pixels[..., ::-1].copy()


def _decode_by_rasterio(data: bytes) -> np.ndarray | None:
    """A TIFF of grey or RGB numbers; None if GDAL cannot read it, whose errors name a file in memory."""
    import rasterio
    from rasterio.io import MemoryFile

    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', rasterio.errors.NotGeoreferencedWarning)
            with MemoryFile(data) as file, file.open() as source:
                pixels = source.read([1] if source.count <= 2 else [3, 2, 1])
    except rasterio.errors.RasterioError:
        return None
    return pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))
