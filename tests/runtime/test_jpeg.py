"""JPEGs by simplejpeg and at a part of their sides: the pixels, sizes and refusals of OpenCV."""

import struct
from importlib.util import find_spec

import cv2
import numpy as np
import pytest

from mmdet_runtime.cli import main
from mmdet_runtime.detector import load
from mmdet_runtime.errors import ConfigError
from mmdet_runtime.images import BrokenImageError, ReducedImage, decode_image
from mmdet_runtime.jpeg import read_jpeg

from ..formats.test_images import JPEG, KINDS, PIXELS, PNG, pil_jpeg, pil_jpeg_of
from .tiny import picture, write_folder

needs_simplejpeg = pytest.mark.skipif(find_spec('simplejpeg') is None, reason='simplejpeg is not installed')


def exif(*entries: tuple[int, int, int, int], order: str = '<', start: int = 8) -> bytes:
    """An EXIF structure with entries (tag, type, count, value) in its first directory."""
    head = {'<': b'II', '>': b'MM'}[order] + struct.pack(f'{order}HI', 42, start)
    rows = b''.join(struct.pack(f'{order}HHIHH', *entry, 0) for entry in entries)
    return head + struct.pack(f'{order}H', len(entries)) + rows


def with_exif(*parts: bytes) -> bytes:
    """The JPEG with EXIF segments before all others."""
    segments = [b'\xff\xe1' + struct.pack('>H', len(part) + 8) + b'Exif\0\0' + part for part in parts]
    return JPEG[:2] + b''.join(segments) + JPEG[2:]


UPRIGHT, TURNED = (0x112, 3, 1, 1), (0x112, 3, 1, 6)
ORIENTATIONS = [
    ([], 1),
    ([exif()], 1),
    ([exif((0x10F, 2, 4, 9), UPRIGHT)], 1),
    ([exif(TURNED)], 6),
    ([exif(TURNED, order='>')], 6),
    ([exif((0x112, 3, 1, 9))], None),
    ([exif((0x112, 4, 1, 1))], None),
    ([exif(UPRIGHT, TURNED)], None),
    ([exif(UPRIGHT), exif(TURNED)], None),
    ([exif(UPRIGHT, start=999)], None),
    ([b'XX' + exif(UPRIGHT)[2:]], None),
    ([b''], None),
]


@pytest.mark.parametrize('parts, orientation', ORIENTATIONS)
def test_orientation_by_hand(parts, orientation):
    found = read_jpeg(with_exif(*parts))
    assert found is not None and (found.size_wh, found.orientation) == ((60, 40), orientation)
    # Where the orientation is doubtful, OpenCV decides.
    images = [decode_image(with_exif(*parts), 'x', decoder=name) for name in ('cv2', None)]
    np.testing.assert_array_equal(*images)
    assert images[0].shape[:2] == ((60, 40) if orientation == 6 else images[0].shape[:2])


@pytest.mark.parametrize('data', [b'', JPEG[:2], JPEG[:20], PNG, b'\xff\xd8\xff\xff\xff'])
def test_no_header(data):
    assert read_jpeg(data) is None


@needs_simplejpeg
@pytest.mark.parametrize('kind', KINDS)
def test_the_pixels_are_those_of_opencv(kind):
    whole = decode_image(KINDS[kind], kind, decoder='cv2')
    np.testing.assert_array_equal(decode_image(KINDS[kind], kind), whole)
    half = [decode_image(KINDS[kind], kind, decoder=name, needed=lambda wh: (30, 20)) for name in ('cv2', None)]
    if kind in ('turned', 'png'):
        np.testing.assert_array_equal(half[1], whole)
        return
    assert isinstance(half[0], ReducedImage) and isinstance(half[1], ReducedImage)
    np.testing.assert_array_equal(half[0].pixels, half[1].pixels)
    assert half[1].pixels.shape == (20, 30, 3) and (half[1].factor, half[1].shape) == (2, (40, 60, 3))


@needs_simplejpeg
def test_fast_pixels_are_near():
    smooth = cv2.GaussianBlur(PIXELS, (0, 0), 3)
    for options in (dict(), dict(subsampling=0), dict(progressive=True)):
        data = pil_jpeg_of(smooth, quality=95, **options)
        fast, exact = (decode_image(data, 'x', decoder=name).astype(int) for name in ('simplejpeg-fast', 'cv2'))
        assert 0 < np.abs(fast - exact).mean() < 2


@pytest.mark.parametrize('data', [JPEG[:-2], JPEG[: len(JPEG) // 2], JPEG[:100], JPEG[: len(JPEG) // 2] + b'\0' * 999])
@pytest.mark.parametrize('decoder', ['cv2', None])
def test_damage(data, decoder):
    with pytest.raises(BrokenImageError, match='photo 7'):
        decode_image(data, 'photo 7', decoder=decoder)
    with pytest.raises(BrokenImageError, match='photo 7'):
        decode_image(data, 'photo 7', decoder=decoder, needed=lambda wh: (8, 5))


def test_boxes_of_a_reduced_image_are_those_of_the_image(tmp_path):
    """81 x 41 pixels at a half are 41 x 21, of which the last column and row stand for one pixel each."""
    pytest.importorskip('onnxruntime')
    detector = load(write_folder(tmp_path / 'folder', scales=[[40, 20]], max_zoom=None))
    data = cv2.imencode('.jpg', picture(204, width=81, height=41), [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    assert detector.needed_wh((81, 41)) == (40, 20)
    reduced = decode_image(data, 'x', needed=detector.needed_wh)
    assert isinstance(reduced, ReducedImage) and reduced.pixels.shape == (21, 41, 3)
    found, whole = detector([reduced, decode_image(data, 'x')])
    np.testing.assert_allclose(found.bboxes[0], [0, 0, 81, 41])
    np.testing.assert_allclose(whole.bboxes[0], [0, 0, 81, 41])
    np.testing.assert_allclose(found.bboxes[1], [0, 0, 41, 21])  # a half of 2 x 41 and 2 x 21
    np.testing.assert_array_equal(found.labels, whole.labels)
    np.testing.assert_allclose(found.scores, whole.scores, atol=0.01)


def test_options_of_the_command(tmp_path, capsys, monkeypatch):
    pytest.importorskip('onnxruntime')
    folder = str(write_folder(tmp_path / 'folder', scales=[[40, 20]]))
    (tmp_path / 'a.jpg').write_bytes(cv2.imencode('.jpg', picture(204, width=80, height=40))[1].tobytes())
    command = [folder, str(tmp_path / 'a.jpg'), '--reduce', '--jpeg', 'cv2']
    assert main(command) == 0
    assert '"width": 80, "height": 40' in capsys.readouterr().out
    assert main([*command, '--out', str(tmp_path / 'out'), '--pictures']) == 2
    assert '--reduce' in capsys.readouterr().err
    composite = load(folder)
    monkeypatch.setattr(type(composite), 'is_composite', True)
    with pytest.raises(ConfigError, match='reduce'):
        composite.needed_wh((80, 40))
    monkeypatch.setattr('mmdet_runtime.jpeg.find_spec', lambda name: None)
    assert main([*command[:2], '--jpeg', 'simplejpeg']) == 2
    assert 'not installed' in capsys.readouterr().err


def test_photos_of_phones_need_not_go_to_opencv():
    assert read_jpeg(pil_jpeg(orientation=1)).orientation == 1
    assert read_jpeg(pil_jpeg(orientation=8)).orientation == 8
