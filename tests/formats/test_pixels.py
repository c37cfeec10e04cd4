"""16-bit and floating-point images are scaled by a stated rule, or refused by name; never cut to their upper byte."""

import importlib.util

import numpy as np
import pytest
from PIL import Image

from mmdet.errors import ConfigError, DataError
from mmdet.formats.images import BrokenImageError, decode_image, image_size
from mmdet.formats.pixels import check_value_range, finite_limits, to_uint8
from tests import processes

from .image_kinds import HEIGHT, RAMP, WIDTH, opencv, pillow, png, tiff

GREY = RAMP[..., None]
COLORS = np.dstack([RAMP, RAMP[:, ::-1], RAMP // 2])  # RGB
BYTES = np.rint(RAMP * (255 / 4095)).astype(np.uint8)
BYTE_COLORS = np.dstack([BYTES, BYTES[:, ::-1], BYTES // 2])
OPAQUE = np.full((HEIGHT, WIDTH, 1), 65535, np.uint16)
has_rasterio = importlib.util.find_spec('rasterio') is not None

# What is not 8-bit: bytes, and the RGB values in the file.
DEEP = {
    'png grey': (opencv('.png', RAMP), GREY),
    'png grey and alpha': (png(np.dstack([RAMP, OPAQUE])), GREY),
    'png rgb': (png(COLORS), COLORS),
    'png rgba': (png(np.dstack([COLORS, OPAQUE])), COLORS),
    'tiff grey': (opencv('.tiff', RAMP), GREY),
    'tiff rgb, lzw': (opencv('.tiff', COLORS[..., ::-1]), COLORS),
    'tiff rgb': (tiff(COLORS), COLORS),
    'tiff rgba': (tiff(np.dstack([COLORS, OPAQUE]), extra=2), COLORS),
    'tiff int16': (tiff(GREY.astype(np.int16)), GREY),
    'tiff int32': (tiff(COLORS.astype(np.int32)), COLORS),
    'tiff uint32 grey': (tiff(GREY.astype(np.uint32)), GREY),
    'tiff float grey': (tiff(GREY.astype(np.float32)), GREY),
    'tiff float rgb': (tiff(COLORS.astype(np.float32)), COLORS),
    'tiff float rgba': (tiff(np.dstack([COLORS, OPAQUE]).astype(np.float32), extra=2), COLORS),
    'tiff double': (tiff(COLORS.astype(np.float64)), COLORS),
    'tiff by pillow, float': (pillow('TIFF', Image.fromarray(RAMP.astype(np.float32))), GREY),
    'tiff by pillow, 32 bit': (pillow('TIFF', Image.fromarray(RAMP.astype(np.int32))), GREY),
    'pgm': (opencv('.pgm', RAMP), GREY),
    'ppm': (opencv('.ppm', COLORS[..., ::-1]), COLORS),
    'jpeg 2000': (opencv('.jp2', RAMP), GREY),
    'pfm': (opencv('.pfm', RAMP.astype(np.float32)), GREY),
}
# Kinds of which OpenCV would return wrong pixels without an error.
BY_RASTERIO = {
    'two channels': (tiff(np.dstack([RAMP, OPAQUE]), extra=2), GREY),
    'planes rgb': (tiff(COLORS, planes=True), COLORS),
    'planes rgba': (tiff(np.dstack([COLORS, OPAQUE]), planes=True, extra=2), COLORS),
    'planes float': (tiff(COLORS.astype(np.float32), planes=True), COLORS),
    'half floats': (tiff((GREY / 4).astype(np.float16)), None),
}
EIGHT_BIT = {
    'png grey': (opencv('.png', BYTES), BYTES),
    'png 1 bit': (pillow('PNG', Image.fromarray(BYTES > 127)), np.where(BYTES > 127, 255, 0)),
    'png grey and alpha': (pillow('PNG', Image.fromarray(np.dstack([BYTES, BYTES]))), BYTES),
    'png rgb': (opencv('.png', BYTE_COLORS[..., ::-1]), BYTE_COLORS),
    'png rgba': (pillow('PNG', Image.fromarray(np.dstack([BYTE_COLORS, BYTES]))), BYTE_COLORS),
    'png palette': (pillow('PNG', Image.fromarray(BYTE_COLORS).quantize(255)), BYTE_COLORS),
    'tiff grey': (tiff(BYTES[..., None]), BYTES),
    'tiff 1 bit': (pillow('TIFF', Image.fromarray(BYTES > 127)), np.where(BYTES > 127, 255, 0)),
    'tiff two channels': (tiff(np.dstack([BYTES, BYTES]), extra=0), BYTES),
    'tiff rgb': (tiff(BYTE_COLORS), BYTE_COLORS),
    'tiff planes': (tiff(BYTE_COLORS, planes=True), BYTE_COLORS),
    'tiff rgba': (tiff(np.dstack([BYTE_COLORS, BYTES * 0 + 255]), extra=2), BYTE_COLORS),
    'tiff palette': (pillow('TIFF', Image.fromarray(BYTE_COLORS).quantize(255)), BYTE_COLORS),
    'tiff zstd': (pillow('TIFF', Image.fromarray(BYTE_COLORS), compression='zstd'), BYTE_COLORS),
    'tiff cmyk': (pillow('TIFF', Image.fromarray(BYTE_COLORS).convert('CMYK')), BYTE_COLORS),
    'bmp palette': (pillow('BMP', Image.fromarray(BYTE_COLORS).quantize(255)), BYTE_COLORS),
}


def as_bgr(pixels):
    pixels = np.asarray(pixels, np.float64).reshape(HEIGHT, WIDTH, -1)
    return np.dstack([pixels] * 3) if pixels.shape[2] == 1 else pixels[..., ::-1]


@pytest.mark.parametrize('kind', EIGHT_BIT)
@pytest.mark.parametrize('value_range', [None, 'full', 'minmax', (0, 4095)])
def test_8_bit_pixels_stay_as_they_are(kind, value_range):
    data, expected = EIGHT_BIT[kind]
    found = decode_image(data, value_range=value_range)
    assert found.dtype == np.uint8
    np.testing.assert_allclose(found, as_bgr(expected), atol=1)


@pytest.mark.parametrize('kind', DEEP)
def test_deep_pixels_need_a_rule(kind, tmp_path):
    data, values = DEEP[kind]
    (tmp_path / 'scan').write_bytes(data)
    for flag in ('color', 'color_ignore_orientation', 'grayscale'):
        with pytest.raises(DataError, match=r'scan: value_range: its pixels are \w+.*(low, high)') as caught:
            decode_image(tmp_path / 'scan', flag=flag)
        assert not isinstance(caught.value, BrokenImageError), 'skip_broken must not hide it'
    assert image_size(tmp_path / 'scan') == (WIDTH, HEIGHT)
    stored = decode_image(data, flag='unchanged')
    assert stored.dtype != np.uint8 and stored.max() >= 4095, 'as the file has them'

    twelve_bits = as_bgr(np.rint(values * (255 / 4095)))
    np.testing.assert_allclose(decode_image(data, value_range=(0, 4095)), twelve_bits, atol=0)
    np.testing.assert_allclose(decode_image(data, value_range='minmax'), twelve_bits, atol=0)
    grey = decode_image(data, value_range=(0, 4095), flag='grayscale')
    assert grey.shape == (HEIGHT, WIDTH) and grey.dtype == np.uint8
    high = {
        'u': 65535 if stored.dtype.itemsize == 2 else 2**32 - 1,
        'i': 32767 if stored.dtype.itemsize == 2 else 2**31 - 1,
        'f': 1,
    }
    low = {'u': 0, 'i': -1 - high['i'], 'f': 0}
    kind_of = stored.dtype.kind
    expected = np.clip((values - float(low[kind_of])) / (high[kind_of] - float(low[kind_of])), 0, 1) * 255
    np.testing.assert_allclose(decode_image(data, value_range='full'), as_bgr(np.rint(expected)), atol=0)


@pytest.mark.parametrize('kind', BY_RASTERIO)
def test_kinds_that_opencv_reads_wrongly(kind, monkeypatch):
    data, values = BY_RASTERIO[kind]
    if has_rasterio:
        with pytest.raises(DataError, match='value_range'):
            decode_image(data)
        found = decode_image(data, value_range=(0, 4095))
        if values is not None:
            np.testing.assert_array_equal(found, as_bgr(np.rint(values * (255 / 4095))))
    monkeypatch.setattr('mmdet.formats.tiff.has_rasterio', lambda: False)
    for value_range in (None, 'full', (0, 4095)):
        with pytest.raises(DataError, match='this kind of TIFF cannot be read; rasterio') as caught:
            decode_image(data, value_range=value_range)
        assert not isinstance(caught.value, BrokenImageError)


# Deep pixels whose numbers are no brightness: what the error calls them.
REFUSED = {
    'white is 0': (tiff(GREY, more={262: 0}), '16-bit unsigned integers, grey whose white is 0'),
    'palette': (tiff(GREY, more={262: 3}), 'a palette'),
    'cmyk': (tiff(np.dstack([COLORS, RAMP]), more={262: 5}), '4 channels.*CMYK'),
    'lab': (tiff(COLORS, more={262: 8}), 'CIELAB'),
    'raw': (tiff(GREY, more={262: 32803}), "a sensor's pattern"),
    'raw of 8 bits': (tiff(BYTES[..., None], more={262: 32803}), "a sensor's pattern"),
    'thumbnail of a raw file': (tiff(BYTE_COLORS, more={254: 1, 330: 8}), 'thumbnail'),
}


@pytest.mark.parametrize('kind', REFUSED)
@pytest.mark.parametrize('value_range', [None, (0, 4095)])
def test_numbers_that_are_no_brightness_are_refused(kind, value_range):
    data, text = REFUSED[kind]
    with pytest.raises(DataError, match=text) as caught:
        decode_image(data, value_range=value_range)
    assert not isinstance(caught.value, BrokenImageError)


@pytest.mark.parametrize('flag', ['color', 'unchanged'])
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.int16, np.uint32, np.float32])
def test_three_bands_that_are_not_called_rgb(dtype, flag):
    """GDAL writes three bands so, but for those of 8 bits. OpenCV takes the first of 8 bits for grey, and makes grey of 16 bits unchanged."""
    pixels = BYTE_COLORS if dtype == np.uint8 else COLORS.astype(dtype)
    data = tiff(pixels, more={262: 1})
    if dtype == np.uint8 and not has_rasterio:
        with pytest.raises(DataError, match='rasterio'):
            decode_image(data, flag=flag)
        return
    expected = BYTE_COLORS if dtype == np.uint8 else np.rint(COLORS * (255 / 4095))
    found = decode_image(data, flag=flag, value_range=None if dtype == np.uint8 else (0, 4095))
    np.testing.assert_array_equal(found, as_bgr(expected))


def test_12_bits_in_a_row():
    """OpenCV stretches them to 16 bits."""
    high, low = RAMP[:, ::2].astype(int), RAMP[:, 1::2].astype(int)  # two pixels in three bytes
    packed = np.stack([high >> 4, (high & 15) << 4 | low >> 8, low & 255], axis=-1).astype(np.uint8)
    data = tiff(packed.reshape(HEIGHT, -1, 1), more={256: WIDTH, 258: 12})
    np.testing.assert_array_equal(decode_image(data, flag='unchanged'), RAMP)
    np.testing.assert_array_equal(decode_image(data, value_range=(0, 4095)), as_bgr(BYTES))


def test_only_the_first_page_is_read_and_this_is_said_once(monkeypatch):
    said = []
    monkeypatch.setattr('mmdet.formats.tiff.print_log', lambda message, **_: said.append(message))
    monkeypatch.setattr('mmdet.formats.tiff._told', [])
    pages = [Image.fromarray(BYTE_COLORS), Image.fromarray(255 - BYTE_COLORS)]
    data = pillow('TIFF', pages[0], save_all=True, append_images=pages[1:])
    for name in ('a.tif', 'b.tif'):
        np.testing.assert_array_equal(decode_image(data, name=name), as_bgr(BYTE_COLORS))
    assert len(said) == 1 and said[0].startswith('a.tif: has several pages')


def test_no_library_prints_lines_of_its_own(tmp_path):
    """GeoTIFF tags, which OpenCV does not know, and a file that is torn in its tags."""
    data = tiff(BYTE_COLORS, more={33550: 7, 33922: 7})
    (tmp_path / 'geo.tif').write_bytes(data)
    for cut in (60, 150, len(data) - 40):
        (tmp_path / f'{cut}.tif').write_bytes(data[:cut])
    code = f"""
from pathlib import Path
from mmdet.errors import DataError
from mmdet.formats.images import decode_image
for path in Path({str(tmp_path)!r}).iterdir():
    try:
        decode_image(path)
    except DataError as error:
        print(error)
"""
    done = processes.run(['-c', code])
    assert done.returncode == 0 and done.stderr == '' and done.stdout.count('not a complete TIFF') == 3


def test_five_channels_and_torn_files_are_named():
    with pytest.raises(DataError, match='5 channels of 8-bit'):
        decode_image(tiff(np.dstack([BYTES] * 5)))
    for data in (tiff(COLORS)[:-40], tiff(BYTE_COLORS)[:60], tiff(GREY.astype(np.float32))[:-9]):
        with pytest.raises(BrokenImageError):
            decode_image(data, value_range='full')


@pytest.mark.parametrize(
    ('value_range', 'values', 'expected'),
    [
        ('minmax', np.zeros((0, 3), np.uint16), np.zeros((0, 3))),
        ('minmax', np.full((2, 2), 700, np.uint16), np.zeros((2, 2))),
        ('minmax', [[np.nan, 1.0, 2.0, np.inf]], [[0, 0, 255, 255]]),
        ('minmax', [[np.nan, np.nan]], [[0, 0]]),
        ('full', np.array([[0, 128, 129, 32768, 65535]], np.uint16), [[0, 0, 1, 128, 255]]),
        ('full', np.array([[-128, 0, 127]], np.int8), [[0, 128, 255]]),
        ('full', np.array([[-(2**63), 0, 2**63 - 1]], np.int64), [[0, 128, 255]]),
        ('full', [[-0.5, 0.0, 0.5, 1.0, 3.0, -np.inf]], [[0, 0, 128, 255, 255, 0]]),
        ((100, 355), np.array([[0, 100, 101, 355, 400]], np.uint16), [[0, 0, 1, 255, 255]]),
        ((-1.0, 1.0), np.array([[-1, 0, 1]], np.float16), [[0, 128, 255]]),
    ],
)
def test_the_rule(value_range, values, expected):
    found = to_uint8(np.asarray(values), check_value_range(value_range))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)


def test_large_arrays_are_scaled_in_blocks(monkeypatch):
    monkeypatch.setattr('mmdet_runtime.pixels._BLOCK', 3)
    values = np.arange(60, dtype=np.float32).reshape(20, 3)
    assert finite_limits(values) == (0, 59)
    np.testing.assert_array_equal(to_uint8(values, 'minmax'), np.rint(values / 59 * 255))


@pytest.mark.parametrize('value', ['max', 1, (1,), (1, 1), (2, 1), (0, np.inf), ('a', 'b'), (0, 1, 2)])
def test_wrong_rules(value):
    with pytest.raises(ConfigError, match="'full', 'minmax', or two numbers"):
        check_value_range(value)


def test_types_that_are_no_numbers():
    for dtype in (bool, np.complex64, 'U1'):
        with pytest.raises(DataError, match='integers or floating point'):
            to_uint8(np.zeros((2, 2), dtype), 'full')
