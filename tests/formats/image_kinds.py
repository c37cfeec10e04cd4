"""Image files of every kind, made byte by byte where no library of the package writes them."""

import io
import struct
import zlib

import cv2
import numpy as np
from PIL import Image

HEIGHT, WIDTH = 48, 64
# 0..4095 from left to right: 12 bits, as aerial and thermal cameras write them into 16.
RAMP = np.rint(np.linspace(0, 4095, WIDTH)).astype(np.uint16)[None].repeat(HEIGHT, 0)


def opencv(suffix: str, pixels: np.ndarray) -> bytes:
    done, data = cv2.imencode(suffix, pixels)
    assert done
    return data.tobytes()


def pillow(kind: str, image: Image.Image, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(pixels: np.ndarray) -> bytes:
    """A 16-bit PNG of 1 to 4 channels, RGB order; OpenCV and Pillow write none with grey and alpha."""
    height, width, channels = pixels.shape
    raw = b''.join(b'\0' + row.astype('>u2').tobytes() for row in pixels)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))

    color = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    head = struct.pack('>IIBBBBB', width, height, 16, color, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + chunk(b'IDAT', zlib.compress(raw)) + chunk(b'IEND', b'')


def tiff(
    pixels: np.ndarray,
    *,
    planes: bool = False,
    orientation: int = 1,
    extra: int | None = None,
    more: dict | None = None,
) -> bytes:
    """An uncompressed little-endian TIFF of (H, W, C) numbers, RGB order; ``planes`` stores one channel after the other, ``more`` are other tags."""
    height, width, channels = pixels.shape
    order = pixels.transpose(2, 0, 1) if planes else pixels
    strips = [plane.tobytes() for plane in order] if planes else [order.tobytes()]
    bits, kind = pixels.dtype.itemsize * 8, {'u': 1, 'i': 2, 'f': 3}[pixels.dtype.kind]
    tags: dict[int, tuple[str, list[int]]] = {
        256: ('I', [width]), 257: ('I', [height]), 258: ('H', [bits] * channels), 259: ('H', [1]),
        262: ('H', [2 if channels in (3, 4) else 1]), 273: ('I', [0] * len(strips)), 274: ('H', [orientation]), 277: ('H', [channels]),
        278: ('I', [height]), 279: ('I', [len(strip) for strip in strips]), 284: ('H', [2 if planes else 1]), 339: ('H', [kind] * channels),
    }  # fmt: skip
    if extra is not None:
        tags[338] = ('H', [extra])
    tags.update({tag: ('I', [value]) for tag, value in (more or {}).items()})
    place = 8 + 2 + 12 * len(tags) + 4
    placed = {
        tag: place + sum(_size(tags[t]) for t in sorted(tags) if t < tag and _size(tags[t]) > 4) for tag in sorted(tags)
    }
    start = place + sum(_size(value) for value in tags.values() if _size(value) > 4)
    tags[273] = ('I', [start + sum(len(strip) for strip in strips[:i]) for i in range(len(strips))])
    entries, values = b'', b''
    for tag in sorted(tags):
        letter, numbers = tags[tag]
        data = struct.pack(f'<{len(numbers)}{letter}', *numbers)
        entries += struct.pack('<HHI', tag, {'H': 3, 'I': 4}[letter], len(numbers))
        entries += data.ljust(4, b'\0') if len(data) <= 4 else struct.pack('<I', placed[tag])
        values += data if len(data) > 4 else b''
    return b'II*\0' + struct.pack('<IH', 8, len(tags)) + entries + b'\0\0\0\0' + values + b''.join(strips)


def _size(entry: tuple[str, list[int]]) -> int:
    return struct.calcsize(entry[0]) * len(entry[1])
