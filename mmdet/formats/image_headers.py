"""What the header of an image file says, read without its pixels, and how large an image may be.

Pillow reads the headers, but not by ``Image.open``, which refuses images of more than 179 million pixels: the bound here is the memory.
"""

import io
import os
import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from PIL import Image, TiffImagePlugin

from mmdet_runtime.images import TIFF_STARTS
from mmdet_runtime.jpeg import read_jpeg

from ..errors import DataError
from ..utils.free_memory import available_memory

# OpenCV decodes no image with more pixels than this variable says; it reads the variable when it is imported. 2**30 pixels are 3.2 GB as 8-bit BGR.
LIMIT_VARIABLE = 'OPENCV_IO_MAX_IMAGE_PIXELS'
MAX_PIXELS = 2**30
# Images below this (200 MB as 8-bit BGR) are decoded without asking for the free memory.
_SMALL_PIXELS = 2**26
# EXIF orientations 5..8 exchange width and height.
_TRANSPOSED = (5, 6, 7, 8)
_PNG_START, _JPEG_START = b'\x89PNG\r\n\x1a\n', b'\xff\xd8'
# Not even a JPEG of one colour takes less than a byte for 500 pixels.
_JPEG_PIXELS_PER_BYTE = 500
# Tags of TIFF files.
SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, ORIENTATION, CHANNELS = 254, 256, 257, 258, 259, 262, 274, 277
PLANES, SUB_IFDS, EXTRA_SAMPLES, SAMPLE_FORMAT = 284, 330, 338, 339
# Pillow warns of a broken tag, without a file name; what matters of it is an error that names the file.
warnings.filterwarnings('ignore', module=r'PIL\.TiffImagePlugin')


@dataclass(frozen=True)
class ImageHeader:
    """Size and orientation of an image file.

    Attributes:
        kind: Pillow's name of the format, such as ``'JPEG'``.
        size_wh: width and height as stored.
        orientation: the EXIF orientation, 1..8; 1 where there is none.
    """

    kind: str
    size_wh: tuple[int, int]
    orientation: int = 1

    @property
    def upright_wh(self) -> tuple[int, int]:
        """Width and height of the image once it is turned by its orientation."""
        width, height = self.size_wh
        return (height, width) if self.orientation in _TRANSPOSED else (width, height)


def read_header(source: bytes | str | os.PathLike) -> ImageHeader | None:
    """The header of an image file or of its bytes; None if Pillow knows no such format or finds the header broken.

    Raises:
        OSError: the file cannot be read.
    """
    with io.BytesIO(source) if isinstance(source, bytes) else Path(source).open('rb') as file:
        tags = read_tiff_tags(file)
        if tags is not None:
            try:
                return ImageHeader('TIFF', (int(tags[WIDTH]), int(tags[HEIGHT])), int(tags.get(ORIENTATION, 1)))
            except (KeyError, TypeError, ValueError):
                return None
        return _read_png(file) or _open_with_pillow(file)


def read_jpeg_header(data: bytes) -> ImageHeader | None:
    """The header of a JPEG, read in microseconds unless it holds EXIF, which Pillow reads; None if the data is another format or broken."""
    found = read_jpeg(data)
    if found is None or not found.exif:
        return None if found is None else ImageHeader('JPEG', found.size_wh)
    return read_header(data)


def count_frames(data: bytes) -> int:
    """Pictures of an animated GIF, PNG or WebP; 1 for other files. (Pages of a TIFF are judged where it is decoded.)"""
    if not data.startswith((b'GIF8', b'RIFF')) and not (data.startswith(_PNG_START) and b'acTL' in data[:4096]):
        return 1
    try:
        with Image.open(io.BytesIO(data)) as image:
            return getattr(image, 'n_frames', 1)
    except Exception:  # Pillow's readers raise nearly anything; OpenCV has decoded the first picture
        return 1


def _read_png(file: IO[bytes]) -> ImageHeader | None:
    """The header of a PNG; None of other files. Pillow would decode the pixels to see whether an orientation follows them."""
    file.seek(0)
    start = file.read(24)
    if not start.startswith(_PNG_START) or len(start) < 24:
        return None
    width, height = struct.unpack_from('>II', start, 16)
    orientation, place = 1, 8
    while file.seek(place) and len(chunk := file.read(8)) == 8:
        length, name = struct.unpack('>I4s', chunk)
        if name == b'eXIf':
            exif = Image.Exif()
            try:
                exif.load(file.read(length))
                orientation = int(exif.get(ORIENTATION, 1))
            except Exception:  # Pillow's readers raise nearly anything for broken EXIF
                orientation = 1
        if name == b'IEND':
            break
        place += 12 + length
    return ImageHeader('PNG', (width, height), orientation) if width and height else None


def _open_with_pillow(file: IO[bytes]) -> ImageHeader | None:
    """``Image.open`` up to the size, without its limit."""
    Image.init()
    file.seek(0)
    start = file.read(16)
    for kind in Image.ID:
        factory, accepts = Image.OPEN[kind]
        try:
            if accepts is None or accepts(start) is True:
                file.seek(0)
                image = factory(file, b'')
                width, height = image.size
                return ImageHeader(kind, (width, height), image.getexif().get(ORIENTATION, 1))
        except Exception:  # Pillow's readers raise nearly anything for broken headers and EXIF
            continue
    return None


def read_tiff_tags(file: IO[bytes]) -> TiffImagePlugin.ImageFileDirectory_v2 | None:
    """The tags of the first image of a TIFF, also of one whose pixels Pillow cannot read; None if the file is no TIFF or has no tags."""
    return next(read_tiff_pages(file), None)


def read_tiff_pages(file: IO[bytes]) -> Iterator[TiffImagePlugin.ImageFileDirectory_v2]:
    """The tags of each page of a TIFF, one after the other, up to the first that is broken."""
    file.seek(0)
    start = file.read(16)
    place: int | None = None
    seen: set[int | None] = set()
    while start[:4] in TIFF_STARTS and place != 0 and place not in seen:
        seen.add(place)
        try:
            tags = TiffImagePlugin.ImageFileDirectory_v2(start if b'+' in start[2:4] else start[:8])
            file.seek(place or tags.next)
            tags.load(file)
        except Exception:  # as above
            return
        place = tags.next
        yield tags


def max_pixels() -> int:
    """The largest number of pixels that is decoded: ``OPENCV_IO_MAX_IMAGE_PIXELS``, or 2**30."""
    text = os.environ.get(LIMIT_VARIABLE, '')
    return int(text) if text.isdigit() else MAX_PIXELS


def check_memory(size_wh: tuple[int, int], name: object, bytes_per_pixel: int = 3) -> None:
    """Refuse an image that is too large to be decoded whole.

    Args:
        size_wh: its size in pixels.
        name: what the error calls it.
        bytes_per_pixel: of the decoded image.

    Raises:
        DataError: it has more pixels than :func:`max_pixels`, or needs more memory than is free.
    """
    width, height = size_wh
    pixels, limit = width * height, max_pixels()
    if pixels <= min(_SMALL_PIXELS, limit):
        return
    size = f'{width} x {height} pixels'
    tiles = 'or let DetInferencer read it by tiles from a TIFF or PNG file, which takes rasterio (the extra "geo")'
    if pixels > limit:
        message = (
            f'{size} are more than the {limit:,} that are decoded at once; set the environment variable '
            f'{LIMIT_VARIABLE} before Python starts if the memory suffices ({pixels * bytes_per_pixel / 1e9:.1f} GB), {tiles}'
        )
        raise DataError(message, file=name)
    free = available_memory()
    if free is not None and pixels * bytes_per_pixel > free:
        message = f'{size} need {pixels * bytes_per_pixel / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free; free some, {tiles}'
        raise DataError(message, file=name)


def check_bytes(data: bytes, name: object) -> None:
    """:func:`check_memory` for an encoded image; for the usual ones this takes a microsecond."""
    if data.startswith(_PNG_START) and len(data) >= 25:
        width, height, bits = struct.unpack_from('>IIB', data, 16)
        check_memory((width, height), name, _decoded_bytes(bits))
    elif not data.startswith(_JPEG_START) or len(data) * _JPEG_PIXELS_PER_BYTE > _SMALL_PIXELS:
        header = read_jpeg_header(data) or read_header(data)
        if header is not None:
            tags = read_tiff_tags(io.BytesIO(data))
            found = 8 if tags is None else tags.get(BITS, 8)
            numbers = [v for v in (found if isinstance(found, tuple) else (found,)) if isinstance(v, int)]
            check_memory(header.size_wh, name, _decoded_bytes(max(numbers, default=8)))


def _decoded_bytes(bits: int) -> int:
    """Bytes of a pixel of three channels; those of more than 8 bits are in memory beside the 8-bit ones that are made of them."""
    return 3 if bits <= 8 else 3 + 3 * -(-bits // 8)
