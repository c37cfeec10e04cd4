"""Strict image files: a picture is read, and written, whole or not at all.

Why not ``cv2.imread``: it returns a half-grey array for a truncated JPEG and says nothing. Here the end of the file is checked (a few bytes, no
second decode), and its bytes are decoded by ``cv2.imdecode``, which does refuse most damage. The toolbox reads further kinds of files in
:mod:`mmdet.formats.images`, by the same rules.
"""

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import cv2
import numpy as np

from .errors import DataError, MMDetError
from .files import write_bytes
from .jpeg import JPEG_START, REDUCED, decode_jpeg, default_decoder, read_jpeg, reduction
from .pixels import ValueRange, to_uint8

# Of the image files in a folder; of several files with one name, the one whose suffix comes first here is taken.
IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.ppm', '.jp2')

TIFF_STARTS = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')
# IMREAD_ANYDEPTH: without it OpenCV cuts 16-bit pixels to their upper byte.
DECODE_FLAGS = {
    'color': cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH,
    'color_ignore_orientation': cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION,
    'grayscale': cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH,
    'unchanged': cv2.IMREAD_UNCHANGED,
}
_JPEG_END = b'\xff\xd9'
_LARGEST = 1 << 26  # pixels
_PNG_START, _PNG_END = b'\x89PNG\r\n\x1a\n', b'IEND\xaeB`\x82'


class BrokenImageError(DataError):
    """An image file is missing, unreadable, truncated, corrupt or no image at all.

    A training set may skip such a file, while every other ``DataError`` has to stop the run.
    """


@dataclass(frozen=True)
class ReducedImage:
    """An image that was decoded at a part of its sides, as no more was needed.

    Attributes:
        pixels: (h, w, 3) uint8 BGR.
        factor: pixel (x, y) stands for ``factor`` x ``factor`` pixels of the image from (factor x, factor y) on.
        shape: height and width of the image, and 3.
    """

    pixels: np.ndarray
    factor: int
    shape: tuple[int, int, int]


Needed = Callable[[tuple[int, int]], tuple[float, float]]


@overload
def read_image(
    path: str | os.PathLike, value_range: ValueRange = None, *, decoder: str | None = None, needed: None = None
) -> np.ndarray: ...


@overload
def read_image(
    path: str | os.PathLike, value_range: ValueRange = None, *, decoder: str | None = None, needed: Needed | None
) -> np.ndarray | ReducedImage: ...


def read_image(
    path: str | os.PathLike,
    value_range: ValueRange = None,
    *,
    decoder: str | None = None,
    needed: Needed | None = None,
) -> np.ndarray | ReducedImage:
    """An image file as (H, W, 3) uint8 BGR, upright by its EXIF orientation.

    Args:
        path: the file; a TIFF is refused, as OpenCV reads many kinds of it wrongly (the toolbox reads them).
        value_range: how pixels of more than 8 bits become 0..255, see :mod:`~mmdet_runtime.pixels`; with None they are an error.
        decoder: of JPEGs, see :func:`~mmdet_runtime.jpeg.check_decoder`; None takes simplejpeg where it is installed, which gives the pixels of OpenCV.
        needed: function of the size (w, h) of the image: the size that suffices. A JPEG that can be decoded at a half, a quarter or an eighth of its
            sides without falling below it becomes a :class:`ReducedImage`. None: the whole size.

    Raises:
        BrokenImageError: the file is missing, empty, no image, or not complete.
        DataError: a TIFF, or pixels of more than 8 bits without a value range.
    """
    try:
        data = Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise BrokenImageError(f'cannot be read ({getattr(error, "strerror", None) or error})', file=path) from error
    return decode_image(data, path, value_range, decoder=decoder, needed=needed)


def decode_image(
    data: bytes,
    name: object,
    value_range: ValueRange = None,
    *,
    decoder: str | None = None,
    needed: Needed | None = None,
) -> np.ndarray | ReducedImage:
    """:func:`read_image` for the bytes of a file; ``name`` is what an error calls it."""
    if not data:
        raise BrokenImageError('the image file is empty', file=name)
    if data.startswith(TIFF_STARTS):
        raise DataError('TIFF files are not read here; convert it to JPEG or PNG', file=name)
    check_end(data, name)
    decoder = decoder or default_decoder()
    header = read_jpeg(data) if decoder != 'cv2' or needed is not None else None
    # What is larger is OpenCV's, which has a limit.
    upright = header is not None and header.orientation == 1 and header.size_wh[0] * header.size_wh[1] <= _LARGEST
    factor, image = 1, None
    if header is not None and upright:
        factor = 1 if needed is None else reduction(header.size_wh, needed(header.size_wh))
        if decoder != 'cv2':
            image = decode_jpeg(data, header.size_wh, factor, fast=decoder == 'simplejpeg-fast')
    try:
        if image is None:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), DECODE_FLAGS['color'] | REDUCED[factor])
    except cv2.error as error:
        raise BrokenImageError(f'the decoder refused the image ({error.err})', file=name) from error
    if image is None:
        message = f'not a complete image of a supported format ({len(data)} bytes)'
        raise BrokenImageError(message, file=name, received=data[:8])
    image = with_channels(to_uint8(image, value_range, name=name), 3)
    if factor == 1 or header is None:
        return image
    width, height = header.size_wh
    if image.shape[:2] != (-(-height // factor), -(-width // factor)):  # read otherwise than its header says
        return decode_image(data, name, value_range, decoder=decoder)
    return ReducedImage(image, factor, (height, width, 3))


def with_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """A decoded image of any number of channels as (H, W) for 1 and as (H, W, 3) for 3."""
    stored = 1 if image.ndim == 2 else image.shape[2]
    if stored == channels:
        return image.reshape(image.shape[:2]) if channels == 1 else image
    if channels == 3:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if stored == 1 else np.ascontiguousarray(image[..., :3])
    return cv2.cvtColor(image, {3: cv2.COLOR_BGR2GRAY, 4: cv2.COLOR_BGRA2GRAY}[stored])


def write_image_file(
    path: str | os.PathLike, image: np.ndarray, quality: int, *, error: type[MMDetError] = DataError
) -> None:
    """Write an image (H, W, 3) BGR or (H, W) in the format that the suffix names; its folder is made where it is missing.

    Args:
        path: the file.
        image: uint8 pixels.
        quality: of JPEG files, 1..100.
        error: type of the error where the image cannot be encoded.

    Raises:
        MMDetError: of the type ``error``: a file type that OpenCV does not write, or an image too large for it.
        DataError: the file cannot be written.
    """
    path = Path(path)
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if path.suffix.lower() in ('.jpg', '.jpeg') else []
    try:
        done, data = cv2.imencode(path.suffix, image, options)
    except cv2.error as failure:
        message = f'cannot be encoded ({failure.err}); use .jpg or .png'
        raise error(message, file=path, received=image.shape) from failure
    if not done:
        raise error('cannot be encoded', file=path, received=image.shape)
    write_bytes(path, data.tobytes())


def check_end(data: bytes, name: object) -> None:
    """Refuse a JPEG or PNG whose end is missing; this takes microseconds unless something follows the end marker."""
    if data.startswith(JPEG_START):
        if not data.endswith(_JPEG_END) and not _jpeg_is_complete(data):
            raise BrokenImageError(f'truncated JPEG: no end marker in {len(data)} bytes', file=name)
    elif data.startswith(_PNG_START) and _PNG_END not in data[-64:] and _PNG_END not in data:
        raise BrokenImageError(f'truncated PNG: no end chunk in {len(data)} bytes', file=name)


def _jpeg_is_complete(data: bytes) -> bool:
    """Follow the markers of a JPEG up to its end marker, after which any bytes may follow (padding, the video that a phone appends).

    A plain search would take the end marker of an embedded thumbnail for that of the image.
    """
    position = 2
    while True:
        position = data.find(b'\xff', position)
        if position < 0 or position + 1 >= len(data):
            return False
        marker = data[position + 1]
        if marker == 0xD9:
            return True
        if marker == 0xFF:  # fill byte
            position += 1
        elif marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD8:  # stuffed byte, restart: no length follows
            position += 2
        else:
            if position + 4 > len(data):
                return False
            position += 2 + struct.unpack_from('>H', data, position + 2)[0]
