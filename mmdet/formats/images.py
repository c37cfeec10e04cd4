"""Strict image files: a picture is read, and written, whole or not at all.

Why not ``cv2.imread``: it returns a half-grey array for a truncated JPEG and says nothing. Here the file is read into memory, its end is
checked (a few bytes, no second decode) and then decoded by ``cv2.imdecode``, which does refuse most damage. Not detected is damage
*inside* the compressed data that leaves every marker in place; such an image decodes with wrong pixels.

Coordinates: arrays are (height, width, channels) uint8, BGR, turned upright by the EXIF orientation (of JPEG, PNG, WebP and TIFF).
Pixels of more than 8 bits become uint8 by the rule of :mod:`~mmdet.formats.pixels`.
"""

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from mmdet_runtime.images import (
    DECODE_FLAGS,
    IMAGE_SUFFIXES,
    TIFF_STARTS,
    BrokenImageError,
    check_end,
    with_channels,
    write_image_file,
)
from mmdet_runtime.jpeg import DECODERS, REDUCED, check_decoder, decode_jpeg, reduction

from ..errors import DataError
from ..utils.reading import check_file, read_file
from .image_headers import check_bytes, read_header, read_jpeg_header
from .pixels import ValueRange, to_uint8
from .tiff import decode_tiff

__all__ = [
    'DECODERS', 'IMAGE_SUFFIXES', 'BrokenImageError', 'check_decoder', 'decode_image', 'decode_reduced', 'image_size', 'images_by_stem', 'read_image_bytes', 'write_image_file',
]  # fmt: skip

_MISSING = 'no such image file; check data_root and data_prefix'
# Formats whose EXIF orientation OpenCV follows.
_TURNED = ('JPEG', 'MPO', 'PNG', 'WEBP', 'TIFF')


def read_image_bytes(path: str | os.PathLike, backend_args: dict | None = None) -> bytes:
    """Bytes of an image file.

    Args:
        path, backend_args: see :func:`~mmdet.utils.reading.read_file`.

    Raises:
        BrokenImageError: the file is missing, is no file, may not be read, or is empty.
        ConfigError: an address without ``backend_args``.
    """
    data = read_file(path, backend_args, error=BrokenImageError, missing=_MISSING)
    if not data:
        raise BrokenImageError('the image file is empty', file=path)
    return data


def decode_image(
    source: bytes | bytearray | memoryview | str | os.PathLike,
    *,
    flag: str = 'color',
    name: str | os.PathLike | None = None,
    backend_args: dict | None = None,
    value_range: ValueRange = None,
    decoder: str = 'cv2',
) -> np.ndarray:
    """Decode one image strictly.

    Args:
        source: the encoded bytes, or the path of the file.
        flag: ``'color'`` (uint8 BGR, upright by EXIF), ``'color_ignore_orientation'`` (not turned, except TIFF), ``'grayscale'``
            (uint8, (H, W)) or ``'unchanged'`` (alpha as stored, not turned, except TIFF; without a value range also the depth).
        name: what an error calls the image when ``source`` is bytes.
        backend_args: arguments of an mmengine file backend, for a path.
        value_range: how pixels of more than 8 bits become 0..255, see :mod:`~mmdet.formats.pixels`; with None they are an error.
        decoder: of :func:`check_decoder`. simplejpeg reads JPEGs in colour that need no turning, and gives the pixels of OpenCV; whatever it does
            not read, and every other file, is OpenCV's, so that the same files are refused. ``'simplejpeg-fast'`` does so with the library's faster
            inverse transform and plain upsampling of the colours, whose pixels differ by about one grey level on average.

    Returns:
        (H, W, 3) uint8 BGR for ``'color'``.

    Raises:
        BrokenImageError: the file is missing, empty, no image, truncated (no end marker, too little data) or refused by the decoder.
            The message names the file.
        DataError: pixels of more than 8 bits without a value range, a kind of TIFF that cannot be read (5 channels), or an image too large
            for the memory.
    """
    return decode_reduced(
        source, None, flag=flag, name=name, backend_args=backend_args, value_range=value_range, decoder=decoder
    )[0]


def decode_reduced(
    source: bytes | bytearray | memoryview | str | os.PathLike,
    needed: Callable[[tuple[int, int]], tuple[float, float]] | None,
    *,
    flag: str = 'color',
    name: str | os.PathLike | None = None,
    backend_args: dict | None = None,
    value_range: ValueRange = None,
    decoder: str = 'cv2',
) -> tuple[np.ndarray, tuple[int, int]]:
    """:func:`decode_image`, which decodes a JPEG at a half, a quarter or an eighth of its sides where no more is needed.

    The JPEG library averages the pixels while it decodes; sides are rounded up.

    Args:
        needed: function of the size (w, h) of the image, which gives the size that the result must not fall below. None: the whole size.

    Returns:
        The pixels, and the size (h, w) of the whole image.
    """
    if flag not in DECODE_FLAGS:
        raise ValueError(f'flag must be one of {sorted(DECODE_FLAGS)}. Received: {flag!r}')
    if isinstance(source, str | os.PathLike):
        name = source if name is None else name
        source = read_image_bytes(source, backend_args)
    name = '<bytes>' if name is None else name
    data = bytes(source)
    if not data:
        raise BrokenImageError('the image is empty (0 bytes)', file=name)
    check_end(data, name)
    check_bytes(data, name)
    header = None
    if flag.startswith('color') and (needed is not None or decoder != 'cv2'):
        header = read_jpeg_header(data)
    full_wh: tuple[int, int] | None = None
    factor = 1
    if header is not None and needed is not None:
        full_wh = header.upright_wh if flag == 'color' else header.size_wh
        factor = reduction(full_wh, needed(full_wh))
    image: np.ndarray | None = None
    if header is not None and decoder != 'cv2' and (header.orientation == 1 or flag != 'color'):
        image = decode_jpeg(data, header.size_wh, factor, fast=decoder == 'simplejpeg-fast')
    try:
        if data.startswith(TIFF_STARTS):
            image = decode_tiff(data, DECODE_FLAGS[flag], name)
        elif image is None:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), DECODE_FLAGS[flag] | REDUCED[factor])
    except cv2.error as error:
        raise BrokenImageError(f'the decoder refused the image ({error.err})', file=name) from error
    if image is None:
        message = f'not a complete image of a supported format ({len(data)} bytes)'
        raise BrokenImageError(message, file=name, received=data[:8])
    reduced_hw = None if full_wh is None else tuple(-(-side // factor) for side in full_wh[::-1])
    if factor > 1 and image.shape[:2] != reduced_hw:  # read otherwise than its header says
        return decode_reduced(data, None, flag=flag, name=name, value_range=value_range, decoder=decoder)
    if flag != 'unchanged':
        image = with_channels(to_uint8(image, value_range, name=name), 1 if flag == 'grayscale' else 3)
    elif value_range is not None:
        image = to_uint8(image, value_range, name=name)
    height, width = image.shape[:2] if full_wh is None or factor == 1 else full_wh[::-1]
    return image, (height, width)


def image_size(path: str | os.PathLike, backend_args: dict | None = None, *, flag: str = 'color') -> tuple[int, int]:
    """(width, height) of an image as :func:`decode_image` returns it, from the header alone (0.1 ms; the pixels are not checked).

    There is no limit to the size. An image whose header Pillow does not know is decoded.

    Args:
        path, backend_args, flag: as for :func:`decode_image`.

    Raises:
        BrokenImageError: no such file, or no image header in it.
    """
    if backend_args is None:
        check_file(path, error=BrokenImageError, missing=_MISSING)
    try:
        header = read_header(path if backend_args is None else read_image_bytes(path, backend_args))
    except OSError as error:
        raise BrokenImageError(f'cannot be read ({error.strerror or error})', file=path) from error
    if header is not None:
        as_stored = flag in ('unchanged', 'color_ignore_orientation') and header.kind != 'TIFF'
        return header.size_wh if as_stored or header.kind not in _TURNED else header.upright_wh
    try:
        height, width = decode_image(path, flag=flag, backend_args=backend_args, value_range='full').shape[:2]
    except BrokenImageError as error:
        raise BrokenImageError('no readable image header', file=path) from error
    return width, height


def images_by_stem(folder: str | os.PathLike) -> dict[str, Path]:
    """Name without suffix -> path of the image files of a folder, by name; of several with one name, the first of ``IMAGE_SUFFIXES``.

    Raises:
        DataError: no such folder.
    """
    try:
        names = sorted(os.listdir(folder))
    except (OSError, ValueError) as error:  # ValueError: NUL in the name
        raise DataError(f'no such image folder ({getattr(error, "strerror", None) or error})', file=folder) from error
    parts = [(*os.path.splitext(name), name) for name in names]
    found: dict[str, Path] = {}
    for suffix in IMAGE_SUFFIXES:
        for stem, own, name in parts:
            if own.lower() == suffix:
                found.setdefault(stem, Path(folder, name))
    return dict(sorted(found.items()))
