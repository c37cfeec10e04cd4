"""Strict decoding: whole pictures come through unchanged, damaged ones raise and name the file."""

import io
import struct
from importlib.util import find_spec

import cv2
import numpy as np
import pytest
from PIL import Image

from mmdet.datasets import BrokenImageError, decode_image, image_size
from mmdet.formats.images import check_decoder, decode_reduced
from mmdet.utils import ConfigError, DataError
from mmdet_runtime import images as shared
from mmdet_runtime import jpeg

HAS_SIMPLEJPEG = find_spec('simplejpeg') is not None
PIXELS = np.random.RandomState(0).randint(0, 255, (40, 60, 3), dtype=np.uint8)


def encode(suffix: str, pixels=PIXELS) -> bytes:
    return cv2.imencode(suffix, pixels)[1].tobytes()


def pil_jpeg(mode: str = 'RGB', orientation: int | None = None, **options) -> bytes:
    return pil_jpeg_of(PIXELS, mode, orientation, **options)


def pil_jpeg_of(pixels, mode: str = 'RGB', orientation: int | None = None, **options) -> bytes:
    picture = Image.fromarray(pixels[..., ::-1].copy()).convert(mode)
    if orientation:
        options['exif'] = picture.getexif()
        options['exif'][0x0112] = orientation
    buffer = io.BytesIO()
    picture.save(buffer, 'JPEG', **options)
    return buffer.getvalue()


def test_lossless_pixels_come_back_exactly():
    for suffix in ('.png', '.bmp', '.tiff'):
        np.testing.assert_array_equal(decode_image(encode(suffix)), PIXELS)


@pytest.mark.parametrize(
    'data',
    [
        encode('.jpg'),
        pil_jpeg(progressive=True),
        pil_jpeg('L'),
        pil_jpeg('CMYK'),
        encode('.webp'),
        encode('.png', PIXELS[..., 0]),
        encode('.png', np.dstack([PIXELS, PIXELS[..., 0]])),
        encode('.png', np.dstack([PIXELS[..., 0]] * 3)),
    ],
    ids=['jpeg', 'progressive', 'grey jpeg', 'cmyk', 'webp', 'grey png', 'alpha', 'three equal channels'],
)
def test_every_kind_becomes_uint8_bgr(data):
    result = decode_image(data)
    assert result.dtype == np.uint8 and result.shape == (40, 60, 3)


def test_exif_orientation_is_honoured(tmp_path):
    turned = pil_jpeg(orientation=6)
    assert decode_image(turned).shape == (60, 40, 3)
    assert decode_image(turned, flag='color_ignore_orientation').shape == (40, 60, 3)
    (tmp_path / 'turned.jpg').write_bytes(turned)
    assert image_size(tmp_path / 'turned.jpg') == (40, 60)
    (tmp_path / 'plain.png').write_bytes(encode('.png'))
    assert image_size(tmp_path / 'plain.png') == (60, 40)


JPEG, PNG = encode('.jpg'), encode('.png')


@pytest.mark.parametrize(
    'data',
    [
        b'',
        b'\0' * 5000,
        b'this is no image',
        b'<html>404</html>' * 100,
        JPEG[:2],
        JPEG[:100],
        JPEG[: len(JPEG) // 2],
        JPEG[:-2],
        JPEG[:-1],
        JPEG[: len(JPEG) // 2] + b'\0' * (len(JPEG) // 2),
        PNG[: len(PNG) // 2],
        PNG[:-12],
        PNG[:100] + bytes([PNG[100] ^ 16]) + PNG[101:],
        encode('.bmp')[:3000],
        encode('.webp')[:300],
    ],
    ids=[
        'empty', 'zeros', 'text', 'html', 'jpeg start', 'jpeg header', 'half jpeg', 'no end marker', 'half end marker',
        'zero-filled tail', 'half png', 'no png end', 'png checksum', 'half bmp', 'half webp',
    ],
)  # fmt: skip
def test_damage_raises_and_names_the_file(tmp_path, data):
    path = tmp_path / 'broken.jpg'
    path.write_bytes(data)
    with pytest.raises(BrokenImageError, match='broken.jpg'):
        decode_image(path)
    with pytest.raises(DataError, match='photo 7'):
        decode_image(data, name='photo 7')
    if HAS_SIMPLEJPEG:
        with pytest.raises(BrokenImageError, match='broken.jpg'):
            decode_image(path, decoder='simplejpeg')
    with pytest.raises(BrokenImageError, match='broken.jpg'):
        decode_reduced(path, lambda wh: (1, 1))


KINDS = {
    'plain': pil_jpeg(), 'progressive': pil_jpeg(progressive=True), 'not subsampled': pil_jpeg(subsampling=0), 'grey': pil_jpeg('L'),
    'cmyk': pil_jpeg('CMYK'), 'turned': pil_jpeg(orientation=6), 'png': PNG,
    'wrong pixels': JPEG[:2000] + bytes([JPEG[2000] ^ 1]) + JPEG[2001:], 'bytes after the end': JPEG + b'\0video',
}  # fmt: skip


@pytest.mark.skipif(not HAS_SIMPLEJPEG, reason='simplejpeg, the extra "fast", is not installed')
@pytest.mark.parametrize('flag', ['color', 'color_ignore_orientation', 'grayscale', 'unchanged'])
@pytest.mark.parametrize('kind', KINDS)
def test_both_decoders_give_the_same_pixels(kind, flag):
    data = KINDS[kind]
    np.testing.assert_array_equal(decode_image(data, flag=flag, decoder='simplejpeg'), decode_image(data, flag=flag))
    images = [decode_reduced(data, lambda wh: (15, 10), flag=flag, decoder=name)[0] for name in ('cv2', 'simplejpeg')]
    np.testing.assert_array_equal(*images)


@pytest.mark.parametrize(
    'needed, shape',
    [((60, 40), (40, 60)), ((31, 1), (40, 60)), ((30, 20), (20, 30)), ((16, 9), (20, 30)), ((15, 10), (10, 15)), ((1, 1), (5, 8))],
)  # fmt: skip
def test_reduced_images_are_no_smaller_than_needed(needed, shape):
    image, whole_hw = decode_reduced(JPEG, lambda wh: needed)
    assert image.shape == (*shape, 3) and whole_hw == (40, 60)
    turned, whole_hw = decode_reduced(pil_jpeg(orientation=6), lambda wh: needed[::-1])
    assert turned.shape == (shape[1], shape[0], 3) and whole_hw == (60, 40)
    assert decode_reduced(PNG, lambda wh: needed)[0].shape == (40, 60, 3)  # only JPEGs can be


def test_a_reduced_pixel_is_a_mean():
    smooth = cv2.GaussianBlur(PIXELS, (0, 0), 3)
    half, _ = decode_reduced(pil_jpeg_of(smooth, quality=100, subsampling=0), lambda wh: (30, 20))
    assert np.abs(half.astype(int) - cv2.resize(smooth, (30, 20), interpolation=cv2.INTER_AREA)).mean() < 1


def test_decoders_by_name(monkeypatch):
    assert check_decoder(None, 'x') == check_decoder('cv2', 'x') == 'cv2'
    monkeypatch.setattr(jpeg, 'find_spec', lambda name: object())
    assert check_decoder('turbojpeg', 'x') == check_decoder('simplejpeg', 'x') == 'simplejpeg'
    monkeypatch.setattr(jpeg, 'find_spec', lambda name: None)
    with pytest.raises(ConfigError, match='imdecode_backend.*extra "fast"|extra "fast".*imdecode_backend'):
        check_decoder('simplejpeg', 'imdecode_backend')
    with pytest.raises(ConfigError, match='simplejpeg.*pillow'):
        check_decoder('pillow', 'imdecode_backend')


def test_missing_file_and_folder(tmp_path):
    for path in (tmp_path / 'nowhere.jpg', tmp_path):
        with pytest.raises(BrokenImageError, match=path.name):
            decode_image(path)
        with pytest.raises(BrokenImageError, match=path.name):
            image_size(path)


def test_bytes_after_the_end_marker_are_fine():
    np.testing.assert_array_equal(decode_image(JPEG + b'\0' * 100 + b'appended video'), decode_image(JPEG))


def test_end_marker_of_a_thumbnail_does_not_count():
    thumbnail = encode('.jpg', PIXELS[:8, :8])
    segment = b'\xff\xe1' + struct.pack('>H', len(thumbnail) + 2) + thumbnail
    whole = JPEG[:2] + segment + JPEG[2:]
    assert decode_image(whole + b'tail').shape == (40, 60, 3)
    with pytest.raises(BrokenImageError, match='no end marker'):
        decode_image(whole[: -len(JPEG) // 2])


def test_unknown_flag():
    with pytest.raises(ValueError, match='grayscale'):
        decode_image(JPEG, flag='bgr')


def test_an_image_is_decoded_once(monkeypatch):
    calls, decode = [], cv2.imdecode
    monkeypatch.setattr(cv2, 'imdecode', lambda *arguments: calls.append(arguments) or decode(*arguments))
    assert decode_image(JPEG).shape == (40, 60, 3) and len(calls) == 1


@pytest.mark.parametrize('orientation', range(1, 9))
def test_orientations_5_to_8_exchange_width_and_height(tmp_path, orientation):
    picture = Image.new('RGB', (60, 40))
    exif = picture.getexif()
    exif[0x0112] = orientation
    picture.save(tmp_path / 'a.jpg', exif=exif)
    width, height = image_size(tmp_path / 'a.jpg')
    assert (width, height) == ((40, 60) if orientation >= 5 else (60, 40))
    assert decode_image(tmp_path / 'a.jpg').shape == (height, width, 3)


@pytest.mark.parametrize(
    ('markers', 'complete'),
    [
        (b'', False),
        (b'\xff\xd9', True),
        (b'\xff\xe0\x00\x04\xff\xd9', False),  # an end marker inside a segment
        (b'\xff\xe0\x00\x04\xff\xd9\xff\xff\xd9..', True),  # fill byte before the end
        (b'\xff\xd0\xff\xd7\xff\xd8\xff\x01\xff\x00\xff\xd9..', True),  # markers without a length
        (b'\xff\xda\x00', False),
    ],
)
def test_markers_of_a_jpeg(markers, complete):
    assert shared._jpeg_is_complete(b'\xff\xd8' + markers) is complete
