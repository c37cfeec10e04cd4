"""Images are read by rows and tiles with the pixels that they have when they are decoded whole."""

import cv2
import numpy as np
import pytest
from PIL import Image

from mmdet.errors import ConfigError, DataError
from mmdet.formats import image_headers, windows
from mmdet.formats.images import BrokenImageError, decode_image, image_size
from mmdet.formats.windows import TiledImage, open_tiled

from .image_kinds import opencv, pillow, tiff

PIXELS = np.random.default_rng(0).integers(0, 256, (50, 70, 4), dtype=np.uint8)
WIDE = PIXELS.astype(np.uint16) * 16
needs_rasterio = pytest.mark.skipif(not windows.has_rasterio(), reason='rasterio, the extra "geo", is not installed')

# What rasterio reads by rows: file name, bytes.
BY_ROWS = {
    'grey png': ('a.png', opencv('.png', PIXELS[..., 0])),
    'png': ('a.png', opencv('.png', PIXELS[..., :3])),
    'rgba png': ('a.png', opencv('.png', PIXELS)),
    '16-bit png': ('a.png', opencv('.png', WIDE[..., :3])),
    'grey tiff': ('a.tif', tiff(PIXELS[..., :1])),
    'tiff': ('a.tif', tiff(PIXELS[..., :3])),
    'lzw tiff': ('a.tif', opencv('.tif', PIXELS[..., :3])),
    'planes': ('a.tif', tiff(PIXELS[..., :3], planes=True)),
    'alpha, not multiplied': ('a.tif', tiff(PIXELS, extra=2)),
    'alpha, multiplied': ('a.tif', tiff(PIXELS, extra=1)),
    '16-bit planes': ('a.tif', tiff(WIDE[..., :3], planes=True)),
    '16-bit rgba': ('a.tif', tiff(WIDE, extra=2)),
    'float': ('a.tif', tiff(WIDE[..., :1].astype(np.float32))),
    'rows without a number': (
        'a.tif',
        tiff(np.where(np.arange(50)[:, None, None] < 20, np.nan, WIDE[..., :1] + 900).astype(np.float32)),
    ),
    'three bands': ('a.tif', tiff(WIDE[..., :3], more={262: 1})),
    'three bands of 8 bits': ('a.tif', tiff(PIXELS[..., :3], more={262: 1})),
    'four bands': ('a.tif', tiff(WIDE, more={262: 1})),
    'jpeg 2000': ('a.jp2', opencv('.jp2', PIXELS[..., :3])),
}
WHOLE = {
    'jpeg': ('a.jpg', opencv('.jpg', PIXELS[..., :3])),
    'palette': ('a.png', pillow('PNG', Image.fromarray(PIXELS[..., :3]).quantize(32))),
    '1 bit': ('a.png', pillow('PNG', Image.fromarray(PIXELS[..., 0] > 127))),
    'cmyk': ('a.tif', pillow('TIFF', Image.fromarray(PIXELS[..., :3]).convert('CMYK'))),
    'turned': ('a.tif', tiff(PIXELS[..., :3], orientation=6)),
    'bmp': ('a.bmp', opencv('.bmp', PIXELS[..., :3])),
}


def paste(image: TiledImage, tile_wh, overlap) -> np.ndarray:
    """The image put together from its tiles."""
    width, height = image.size_wh
    canvas = np.zeros((height, width, 3), np.uint8)
    count = 0
    for x, y, pixels in image.tiles(tile_wh, overlap):
        canvas[y : y + tile_wh[1], x : x + tile_wh[0]] = pixels
        count += 1
    assert count == image.count_tiles(tile_wh, overlap)
    return canvas


@needs_rasterio
@pytest.mark.parametrize('value_range', ['full', 'minmax', (0, 4000)])
@pytest.mark.parametrize('kind', BY_ROWS)
def test_rows_have_the_pixels_of_the_whole(kind, value_range, tmp_path, monkeypatch):
    monkeypatch.setattr(windows, '_LIMIT_ROWS', 8)
    name, data = BY_ROWS[kind]
    (tmp_path / name).write_bytes(data)
    expected = decode_image(data, value_range=value_range)
    with open_tiled(tmp_path / name, reader='rasterio', value_range=value_range) as image:
        assert not image.whole and image.size_wh == (70, 50)
        for tile_wh, overlap in (((16, 16), 0.3), ((70, 50), 0.0), ((100, 7), 0.9), ((9, 200), 0.5)):
            np.testing.assert_array_equal(paste(image, tile_wh, overlap), expected)
        np.testing.assert_array_equal(image.read_rows(3, 9), expected[3:9])
        np.testing.assert_array_equal(image.read_rows(0, 4), expected[:4])


@needs_rasterio
@pytest.mark.filterwarnings('ignore:Dataset has no geotransform')
def test_a_cloud_optimised_geotiff(tmp_path, monkeypatch):
    """Its bands have no names. Reduced copies and the mask are no further pages."""
    import rasterio

    told = []
    monkeypatch.setattr('mmdet.formats.tiff._told', told)
    options = dict(driver='COG', width=70, height=50, count=3, dtype='uint8', blocksize=128, compress='deflate')
    with rasterio.open(tmp_path / 'a.tif', 'w', overview_count=1, **options) as file:
        file.write(PIXELS[..., :3].transpose(2, 0, 1))
        file.write_mask(PIXELS[..., 3])
    np.testing.assert_array_equal(decode_image(tmp_path / 'a.tif'), PIXELS[..., 2::-1])
    with open_tiled(tmp_path / 'a.tif', reader='rasterio') as image:
        np.testing.assert_array_equal(image.read_rows(0, 50), PIXELS[..., 2::-1])
    assert not told


@pytest.mark.parametrize('kind', WHOLE)
def test_other_kinds_are_decoded_whole(kind, tmp_path):
    name, data = WHOLE[kind]
    (tmp_path / name).write_bytes(data)
    with open_tiled(tmp_path / name, whole_pixels=0) as image:
        assert image.whole
        np.testing.assert_array_equal(paste(image, (16, 16), 0.2), decode_image(data))
    with pytest.raises(ConfigError, match='rasterio'):
        open_tiled(tmp_path / name, reader='rasterio')


def test_small_images_and_arrays_are_whole(tmp_path):
    (tmp_path / 'a.tif').write_bytes(tiff(PIXELS[..., :3]))
    assert open_tiled(tmp_path / 'a.tif').whole
    np.testing.assert_array_equal(paste(open_tiled(PIXELS[..., :3]), (64, 64), 0.2), PIXELS[..., :3])
    with pytest.raises(DataError, match='value_range'):
        open_tiled(WIDE[..., :3])


@needs_rasterio
def test_each_row_is_decoded_once(tmp_path, monkeypatch):
    (tmp_path / 'a.tif').write_bytes(tiff(PIXELS[..., :3]))
    rows = []
    decode = windows._RasterImage._decode
    monkeypatch.setattr(windows._RasterImage, '_decode', lambda self, *span: rows.append(span) or decode(self, *span))
    with open_tiled(tmp_path / 'a.tif', reader='rasterio') as image:
        paste(image, (20, 20), 0.5)
    assert rows == [(0, 20), (20, 30), (30, 40), (40, 50)]


@needs_rasterio
def test_errors_of_files_read_by_rows(tmp_path):
    (tmp_path / 'deep.tif').write_bytes(tiff(WIDE[..., :3]))
    with pytest.raises(DataError, match='deep.tif: value_range: its pixels are uint16'):
        open_tiled(tmp_path / 'deep.tif', reader='rasterio')
    data = opencv('.png', PIXELS[..., :3])
    (tmp_path / 'torn.png').write_bytes(data[:-2000])
    with (
        pytest.raises(BrokenImageError, match='torn.png'),
        open_tiled(tmp_path / 'torn.png', reader='rasterio') as image,
    ):
        paste(image, (16, 16), 0)
    with pytest.raises(BrokenImageError, match='nowhere.tif'):
        open_tiled(tmp_path / 'nowhere.tif')


@pytest.mark.parametrize(
    ('longest', 'factor', 'size_wh'),
    [(70, 1, (70, 50)), (69, 2, (35, 25)), (35, 2, (35, 25)), (20, 4, (17, 12)), (1, 70, (1, 1))],
)
def test_reduced(longest, factor, size_wh):
    picture, found = TiledImage(np.full((50, 70, 3), 9, np.uint8)).reduced(longest)
    assert found == factor and picture.shape == (size_wh[1], size_wh[0], 3) and (picture == 9).all()


def test_means_of_squares():
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[:2, :2], pixels[2:, 4:] = 40, 80
    picture, _ = TiledImage(pixels).reduced(3)
    assert picture[..., 0].tolist() == [[40, 0, 0], [0, 0, 80]]


def blank_png(path, width, height):
    Image.new('1', (width, height)).save(path)


def test_size_of_an_image_beyond_the_limit_of_pillow(tmp_path, recwarn, monkeypatch):
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 89_478_485)  # its default, which other libraries (SAHI) remove
    assert Image.MAX_IMAGE_PIXELS and 2 * Image.MAX_IMAGE_PIXELS < 20_000 * 9_500
    blank_png(tmp_path / 'ortho.png', 20_000, 9_500)
    assert image_size(tmp_path / 'ortho.png') == (20_000, 9_500)
    assert not [item for item in recwarn if 'DecompressionBomb' in item.category.__name__]


def test_too_large_for_the_bound_or_the_memory(tmp_path, monkeypatch):
    blank_png(tmp_path / 'ortho.png', 20_000, 9_500)
    monkeypatch.setenv('OPENCV_IO_MAX_IMAGE_PIXELS', '1000000')
    with pytest.raises(
        DataError, match=r'ortho.png: 20000 x 9500 pixels are more than the 1,000,000 .*OPENCV_IO_MAX_IMAGE_PIXELS'
    ) as caught:
        decode_image(tmp_path / 'ortho.png')
    assert not isinstance(caught.value, BrokenImageError)
    monkeypatch.delenv('OPENCV_IO_MAX_IMAGE_PIXELS')
    monkeypatch.setattr(image_headers, 'available_memory', lambda: 10**8)
    with pytest.raises(
        DataError, match=r'ortho.png: 20000 x 9500 pixels need 0.6 GB of memory, and 0.1 GB are free.*rasterio'
    ):
        decode_image(tmp_path / 'ortho.png')
    assert image_size(tmp_path / 'ortho.png') == (20_000, 9_500)


@pytest.mark.parametrize(
    ('data', 'bytes_of_a_pixel'),
    [
        (opencv('.png', PIXELS[..., 0]), 3),
        (opencv('.png', WIDE[..., 0]), 9),
        (tiff(PIXELS[..., :1]), 3),
        (tiff(WIDE[..., :1].astype(np.float32)), 15),
    ],
)
def test_memory_of_deep_pixels(data, bytes_of_a_pixel, monkeypatch):
    needed = 70 * 50 * bytes_of_a_pixel
    monkeypatch.setattr(image_headers, '_SMALL_PIXELS', 0)
    monkeypatch.setattr(image_headers, 'available_memory', lambda: needed)
    decode_image(data, value_range='full')
    monkeypatch.setattr(image_headers, 'available_memory', lambda: needed - 1)
    with pytest.raises(DataError, match='70 x 50 pixels need'):
        decode_image(data, value_range='full')


@needs_rasterio
def test_rows_of_an_image_beyond_the_bound(tmp_path, monkeypatch):
    cv2.imwrite(str(tmp_path / 'a.png'), PIXELS[..., :3])
    monkeypatch.setenv('OPENCV_IO_MAX_IMAGE_PIXELS', '1000')
    with pytest.raises(DataError, match='70 x 50'):
        decode_image(tmp_path / 'a.png')
    with open_tiled(tmp_path / 'a.png', whole_pixels=1000) as image:
        np.testing.assert_array_equal(paste(image, (16, 16), 0.2), PIXELS[..., :3])


def test_free_memory():
    free = image_headers.available_memory()
    assert free is None or free > 2**20
