"""JPEGs faster than by OpenCV: decoded by simplejpeg, and at a part of their sides where no more is needed.

simplejpeg calls libjpeg-turbo, as OpenCV does, but without the latter's detour: the pixels are the same. It is asked only for what it certainly reads
in the same way, and whatever it refuses is OpenCV's to judge, so that the same files are refused, with the same errors.
"""

import functools
import struct
from dataclasses import dataclass
from importlib.util import find_spec

import cv2
import numpy as np

from .errors import ConfigError

# All stand for libjpeg-turbo. 'turbojpeg' is its name in mmcv; 'simplejpeg-fast' is the only one that does not give the pixels of OpenCV.
DECODERS = {
    'cv2': 'cv2',
    'simplejpeg': 'simplejpeg',
    'turbojpeg': 'simplejpeg',
    'simplejpeg-fast': 'simplejpeg-fast',
}
# Bits of OpenCV's IMREAD_REDUCED_* flags: a half, a quarter, an eighth of each side.
REDUCED = {
    1: 0,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}
JPEG_START = b'\xff\xd8'
# Markers of segments that state the size: every start of a frame.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ORIENTATION = 0x0112


@dataclass(frozen=True)
class JpegHeader:
    """What stands before the pixels of a JPEG.

    Attributes:
        size_wh: width and height as stored.
        exif: the EXIF segments, each from its byte order on.
    """

    size_wh: tuple[int, int]
    exif: tuple[bytes, ...] = ()

    @functools.cached_property
    def orientation(self) -> int | None:
        """The EXIF orientation, 1..8; 1 where none is stated, and None where what is stated is doubtful."""
        return 1 if not self.exif else _orientation(self.exif[0]) if len(self.exif) == 1 else None


def read_jpeg(data: bytes) -> JpegHeader | None:
    """The header of a JPEG, in microseconds; None if the data is another format or broken before its pixels."""
    exif: list[bytes] = []
    place = 2 if data.startswith(JPEG_START) else len(data)
    while place + 9 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker in _FRAMES:
            height, width = struct.unpack_from('>HH', data, place + 5)
            return JpegHeader((width, height), tuple(exif)) if width and height else None
        if marker == 0xFF:  # a fill byte stands before a marker
            place += 1
            continue
        end = place + 2 + struct.unpack_from('>H', data, place + 2)[0]
        if marker == 0xE1 and data.startswith(b'Exif', place + 4):
            exif.append(data[place + 10 : end])
        place = end
    return None


def _orientation(exif: bytes) -> int | None:
    """The orientation in the first directory of a TIFF structure; None if that cannot be read, or holds it twice or as anything but one short number."""
    order = {b'II': '<', b'MM': '>'}.get(exif[:2])
    if order is None or len(exif) < 10:
        return None
    try:
        (start,) = struct.unpack_from(f'{order}I', exif, 4)
        (count,) = struct.unpack_from(f'{order}H', exif, start)
        entries = [struct.unpack_from(f'{order}HHIH', exif, start + 2 + 12 * i) for i in range(count)]
    except struct.error:
        return None
    found = [(kind, number, value) for tag, kind, number, value in entries if tag == _ORIENTATION]
    if not found:
        return 1
    kind, number, value = found[0]
    return value if len(found) == 1 and (kind, number) == (3, 1) and 1 <= value <= 8 else None


def check_decoder(name: object, field: str) -> str:
    """The decoder, ``'cv2'``, ``'simplejpeg'`` or ``'simplejpeg-fast'``, that a user calls ``name``; None is OpenCV.

    Raises:
        ConfigError: an unknown name, or the library is not installed.
    """
    decoder = DECODERS.get(str(name or 'cv2'))
    if decoder is None:
        raise ConfigError(f'must be one of {sorted(DECODERS)}', field=field, received=name)
    if decoder != 'cv2' and find_spec('simplejpeg') is None:
        message = 'simplejpeg (the extra "fast") is not installed: pip install simplejpeg, or take \'cv2\', which gives the same pixels'
        raise ConfigError(message, field=field, received=name)
    return decoder


@functools.cache
def default_decoder() -> str:
    """``'simplejpeg'`` where it is installed, else ``'cv2'``."""
    return 'cv2' if find_spec('simplejpeg') is None else 'simplejpeg'


def reduction(whole_wh: tuple[int, int], needed_wh: tuple[float, float]) -> int:
    """The largest of 1, 2, 4, 8 by which the sides of an image may be divided, rounded up, without falling below a size.

    >>> reduction((640, 480), (320, 200)), reduction((640, 480), (321, 1))
    (2, 1)
    """
    return next(k for k in (8, 4, 2, 1) if k == 1 or all(-(-a // k) >= b for a, b in zip(whole_wh, needed_wh)))


def decode_jpeg(data: bytes, size_wh: tuple[int, int], factor: int, fast: bool) -> np.ndarray | None:
    """The pixels (h, w, 3) BGR, as stored, by simplejpeg, at ``1 / factor`` of the sides, rounded up.

    Args:
        data: the file.
        size_wh: its size, of :func:`read_jpeg`.
        factor: 1, 2, 4 or 8.
        fast: take the library's faster inverse transform and plain upsampling of the colours, whose pixels differ by about one grey level on average.

    Returns:
        None where it does not read them: CMYK, or anything that it finds wrong.
    """
    import simplejpeg

    width, height = (-(-side // factor) for side in size_wh)
    try:
        return simplejpeg.decode_jpeg(data, 'BGR', fastdct=fast, fastupsample=fast, min_width=width, min_height=height)
    except ValueError:
        return None
