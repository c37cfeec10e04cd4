"""Images that are too large to be decoded whole, read as tiles from top to bottom.

A 20,000 x 20,000 image takes 1.2 GB as 8-bit BGR, and so does every copy of it. rasterio (the extra ``geo``) reads TIFF, PNG and JPEG 2000 files row
by row, so that only one row of tiles is in memory. Its pixels are those of :func:`~mmdet.formats.images.decode_image`, except in a TIFF that is compressed as
JPEG, whose colours GDAL and OpenCV compute differently. Everything else is decoded whole.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import cv2
import numpy as np

from mmdet_runtime.images import BrokenImageError
from mmdet_runtime.resizing import slice_starts

from ..errors import ConfigError
from .image_headers import EXTRA_SAMPLES, PHOTOMETRIC, ImageHeader, read_header, read_tiff_tags
from .images import decode_image
from .pixels import ValueRange, finite_limits, limits_of, scale_to_uint8, to_uint8
from .tiff import PLAIN, check_pages, has_rasterio

# Larger images are read in rows where that is possible; 2**26 pixels take 200 MB as 8-bit BGR.
WHOLE_PIXELS = 2**26
_KINDS = ('TIFF', 'PNG', 'JPEG2000')
_CACHE_BYTES = 128 * 2**20  # of GDAL; a row of its blocks should fit
_LIMIT_ROWS = 512  # that are read at once to find the limits of all
_UNASSOCIATED_ALPHA = 2  # ExtraSamples of a TIFF: the colours are not yet multiplied by alpha


class TiledImage:
    """An image that is read in rows. A context manager; this class holds the whole image in memory.

    Args:
        pixels: (H, W, 3) uint8 BGR.

    Attributes:
        size_wh: width and height in pixels.
        whole: whether the whole image is in memory.
    """

    whole = True

    def __init__(self, pixels: np.ndarray):
        self._pixels = pixels
        height, width = pixels.shape[:2]
        self.size_wh = (width, height)

    def __enter__(self) -> 'TiledImage':
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass

    def read_rows(self, start: int, stop: int) -> np.ndarray:
        """Rows ``start`` to ``stop``, (stop - start, W, 3) uint8 BGR; they may be a view.

        Raises:
            BrokenImageError: the rows cannot be decoded.
        """
        return self._pixels[start:stop]

    def count_tiles(self, tile_wh: tuple[int, int], overlap: float) -> int:
        """Number of :meth:`tiles`."""
        across, down = (len(slice_starts(length, tile, overlap)) for length, tile in zip(self.size_wh, tile_wh))
        return across * down

    def tiles(self, tile_wh: tuple[int, int], overlap: float) -> Iterator[tuple[int, int, np.ndarray]]:
        """Tiles of a size, or smaller where the image is, row by row: left and upper edge, and (h, w, 3) uint8 BGR pixels (a view)."""
        (width, height), (tile_w, tile_h) = self.size_wh, tile_wh
        columns = slice_starts(width, tile_w, overlap)
        for y in slice_starts(height, tile_h, overlap):
            rows = self.read_rows(y, min(y + tile_h, height))
            for x in columns:
                yield x, y, rows[:, x : x + tile_w]

    def reduced(self, longest_side: int) -> tuple[np.ndarray, int]:
        """A picture of the image with no longer side than this, (h, w, 3) uint8 BGR, and the whole number that its sides are divided by.

        Each of its pixels is the mean of a square; what the whole number leaves at the right and lower edge is not in it.
        """
        width, height = self.size_wh
        factor = -(-max(width, height) // longest_side)
        if factor == 1:
            return self.read_rows(0, height), 1
        band = max(512 // factor, 1) * factor
        small_wh, whole_wh = (width // factor or 1, height // factor or 1), (width, height // factor * factor or height)
        parts = []
        for y in range(0, whole_wh[1], band):
            rows = self.read_rows(y, min(y + band, whole_wh[1]))[:, : small_wh[0] * factor]
            parts.append(cv2.resize(rows, (small_wh[0], len(rows) // factor or 1), interpolation=cv2.INTER_AREA))
        return np.concatenate(parts), factor


class _RasterImage(TiledImage):
    """An image file of which rasterio reads rows. Rows that were just read are kept, so that overlapping tiles decode each row once.

    Args:
        path: the file.
        header: its header.
        value_range: see :mod:`~mmdet.formats.pixels`.

    Raises:
        DataError: pixels of more than 8 bits without a value range.
        BrokenImageError: the file cannot be read.
    """

    whole = False

    def __init__(self, path: Path, header: ImageHeader, value_range: ValueRange):
        self._path = path
        self._stack = ExitStack()
        self._lock = threading.Lock()  # GDAL's data sets belong to one thread at a time
        self._start, self._rows = 0, np.zeros((0, header.size_wh[0], 3), np.uint8)
        self._source: Any = _open_raster(path, self._stack)
        with path.open('rb') as file:
            check_pages(file, path)
        self.size_wh = header.size_wh
        self._bands = [1] if self._source.count <= 2 else [3, 2, 1]
        self._alpha = 4 if self._source.count == 4 and _multiplies_alpha(path) else None
        dtype = np.dtype(self._source.dtypes[0])
        self._limits: tuple[float, float] | None = None
        if dtype != np.uint8:
            if value_range is None:
                to_uint8(self._decode(0, 1), None, name=path)  # raises the error
            self._limits = limits_of(dtype, value_range) or self._finite_limits()

    def __exit__(self, *failure: Any) -> None:
        with self._lock:  # a thread may still read ahead
            self._stack.close()

    def read_rows(self, start: int, stop: int) -> np.ndarray:
        with self._lock:
            end = self._start + len(self._rows)
            if self._start <= start < end < stop:
                rows = np.concatenate([self._rows[start - self._start :], self._as_bgr(end, stop)])
            elif self._start <= start and stop <= end:
                return self._rows[start - self._start : stop - self._start]
            else:
                self._rows = self._rows[:0]  # to have only one of the two in memory
                rows = self._as_bgr(start, stop)
            self._start, self._rows = start, rows
            return rows

    def _as_bgr(self, start: int, stop: int) -> np.ndarray:
        rows = self._decode(start, stop)
        if self._limits is not None:
            rows = scale_to_uint8(rows, *self._limits)
        elif self._alpha is not None:
            # As OpenCV decodes such TIFF files: transparent pixels are black.
            alpha = self._read([self._alpha], start, stop)[0].astype(np.uint16)
            rows = np.stack([(band * alpha + 127) // 255 for band in rows]).astype(np.uint8)
        return cv2.merge([*rows] * (3 // len(rows)))

    def _decode(self, start: int, stop: int) -> np.ndarray:
        """(1 or 3, stop - start, W) as stored."""
        return self._read(self._bands, start, stop)

    def _read(self, bands: list[int], start: int, stop: int) -> np.ndarray:
        from rasterio.errors import RasterioError
        from rasterio.windows import Window

        try:
            return self._source.read(bands, window=Window(0, start, self.size_wh[0], stop - start))
        except (RasterioError, OSError) as error:
            message = f'rows {start}..{stop} cannot be decoded ({error})'
            raise BrokenImageError(message, file=self._path) from error

    def _finite_limits(self) -> tuple[float, float]:
        """The smallest and the largest value, by reading the whole file once."""
        height = self.size_wh[1]
        starts = range(0, height, _LIMIT_ROWS)
        return finite_limits(self._decode(y, min(y + _LIMIT_ROWS, height)) for y in starts)


def open_tiled(
    image: str | os.PathLike | np.ndarray,
    *,
    value_range: ValueRange = None,
    whole_pixels: int = WHOLE_PIXELS,
    reader: Literal['auto', 'whole', 'rasterio'] = 'auto',
    backend_args: dict | None = None,
) -> TiledImage:
    """Open an image to be read by tiles.

    Args:
        image: a path, or the pixels (H, W, 3) BGR.
        value_range: see :mod:`~mmdet.formats.pixels`.
        whole_pixels: an image up to this size is decoded whole by ``'auto'``.
        reader: ``'auto'`` takes rasterio for larger files that it can read, where it is installed; ``'whole'`` never does, ``'rasterio'`` always.
        backend_args: for an address, whose file is decoded whole.

    Raises:
        BrokenImageError: the file is missing or broken.
        DataError: pixels of more than 8 bits without a value range, or an image that must be decoded whole and is too large for the memory.
        ConfigError: ``reader='rasterio'`` without rasterio, or for a file that it does not read.
    """
    if isinstance(image, np.ndarray):
        return TiledImage(to_uint8(image, value_range, name='the array'))
    if reader != 'whole' and backend_args is None and Path(image).is_file():
        header = read_header(image)
        if (
            header is not None
            and (reader == 'rasterio' or header.size_wh[0] * header.size_wh[1] > whole_pixels)
            and _is_readable(Path(image), header)
        ):
            return _RasterImage(Path(image), header, value_range)
    if reader == 'rasterio':
        message = 'rasterio (the extra "geo") is not installed, or the file is no TIFF, PNG or JPEG 2000 of grey or RGB pixels that stand upright'
        raise ConfigError(message, file=image, field='reader', received=reader)
    return TiledImage(decode_image(image, backend_args=backend_args, value_range=value_range))


def _is_readable(path: Path, header: ImageHeader) -> bool:
    """Whether rasterio gives the pixels that ``decode_image`` gives: of grey or RGB images, with or without alpha, that stand upright."""
    if header.kind not in _KINDS or header.orientation != 1 or not has_rasterio():
        return False
    with ExitStack() as stack:
        source = _open_raster(path, stack)
        colors = [color.name for color in source.colorinterp]
        space = source.tags(ns='IMAGE_STRUCTURE').get('SOURCE_COLOR_SPACE', 'RGB')
        bands = _tag(path, PHOTOMETRIC) in PLAIN  # without names, as GDAL writes them in a cloud-optimised GeoTIFF
        packed = 'NBITS' in source.tags(1, ns='IMAGE_STRUCTURE')  # 1, 2, 4 or 12 bits, which OpenCV scales
        return (
            (source.width, source.height) == header.size_wh
            and len(set(source.dtypes)) == 1
            and not packed
            and np.dtype(source.dtypes[0]).kind in 'iuf'
            and space in ('RGB', 'YCbCr')
            and (
                colors in (['gray'], ['gray', 'alpha'], ['gray', 'undefined'])
                or (bands and len(colors) in (3, 4) and {*colors} <= {'gray', 'undefined'})
                or (colors[:3] == ['red', 'green', 'blue'] and colors[3:] in ([], ['alpha'], ['undefined']))
            )
        )


def _open_raster(path: Path, stack: ExitStack) -> Any:
    """A data set of rasterio that ``stack`` closes."""
    import warnings

    import rasterio

    stack.enter_context(rasterio.Env(GDAL_CACHEMAX=_CACHE_BYTES, GDAL_PAM_ENABLED='NO'))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', rasterio.errors.NotGeoreferencedWarning)
            return stack.enter_context(rasterio.open(path))
    except rasterio.errors.RasterioError as error:
        raise BrokenImageError(f'rasterio cannot open it ({error})', file=path) from error


def _multiplies_alpha(path: Path) -> bool:
    """Whether OpenCV multiplies the colours of an 8-bit image by its alpha: of a TIFF whose colours are not multiplied yet."""
    extra = _tag(path, EXTRA_SAMPLES)
    return _UNASSOCIATED_ALPHA in (extra if isinstance(extra, tuple) else (extra,))


def _tag(path: Path, tag: int) -> Any:
    """The value of a tag of a TIFF; None where there is none."""
    with path.open('rb') as file:
        tags = read_tiff_tags(file)
    return None if tags is None else tags.get(tag)
