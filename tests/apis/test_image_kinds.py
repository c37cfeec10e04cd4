"""What users give an inferencer: 16-bit and floating-point images, photos that EXIF turns, folders with broken files. Training reads them the same way."""

import json
import os

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from mmdet.apis import DetInferencer, inference_detector, init_detector
from mmdet.datasets.transforms import InferencerLoader, LoadImageFromFile, LoadImageFromNDArray
from mmdet.errors import ConfigError, DataError, ModelInputError
from mmdet.formats.images import decode_image, image_size
from mmdet.registry import DATASETS
from mmdet.utils import register_all_modules

from .blob_detector import blob_config, scene

BOX = [20.0, 10.0, 60.0, 30.0]
EXPECTED = {'labels': [1], 'scores': [0.75], 'bboxes': [BOX]}
DEEP = {
    'uint16': ((scene().astype(np.uint16) // 17 * 273), (0, 4095)),  # 12 bits
    'uint16, grey': ((scene()[..., 0].astype(np.uint16) * 16), (0, 4080)),
    'uint16, full': ((scene().astype(np.uint16) * 257), 'full'),
    'int32': (scene().astype(np.int32) * 9 - 1000, 'minmax'),
    'float32': (scene().astype(np.float32) / 255, 'full'),
    'float64': (scene().astype(np.float64) - 300, (-300.0, -45.0)),
    'float16': (scene().astype(np.float16), 'minmax'),
}


@pytest.fixture(scope='module')
def inferencer():
    return DetInferencer(blob_config(), device='cpu', show_progress=False)


@pytest.mark.parametrize('kind', DEEP)
def test_arrays_of_other_types(inferencer, kind):
    array, value_range = DEEP[kind]
    for steps in (None, 160):
        with pytest.raises(ModelInputError, match='value_range.*must be uint8'):
            inferencer([scene(), array], tiles=steps)
    ranged = DetInferencer(blob_config(), device='cpu', show_progress=False, value_range=value_range)
    assert ranged([scene(), array])['predictions'] == [EXPECTED] * 2
    assert ranged([scene(), array], tiles=160)['predictions'] == [EXPECTED] * 2
    picture = ranged(array, return_vis=True)['visualization'][0]
    assert picture[20, 30].tolist() == [255] * 3 and picture[5, 5].tolist() == [0] * 3, 'drawn as the network saw it'


@pytest.mark.parametrize('suffix', ['.png', '.tif'])
def test_files_of_16_bits(inferencer, tmp_path, suffix):
    path = str(tmp_path / f'scan{suffix}')
    cv2.imwrite(path, DEEP['uint16'][0])
    for options in ({}, dict(tiles=160)):
        with pytest.raises(DataError, match=r'scan.*its pixels are uint16 \(values 0..4095\)'):
            inferencer(path, **options)
    skipped = inferencer([path], skip_broken=True)
    assert skipped['predictions'] == [] and 'uint16' in skipped['skipped'][0][1]
    ranged = DetInferencer(blob_config(), device='cpu', show_progress=False, value_range=(0, 4095))
    for options in ({}, dict(tiles=160)):
        result = ranged(path, return_vis=True, **options)
        assert result['predictions'] == [EXPECTED]
        assert result['visualization'][0][20, 30].tolist() == [255] * 3


def test_the_rule_in_the_config(tmp_path):
    path = str(tmp_path / 'scan.png')
    cv2.imwrite(path, DEEP['uint16'][0])
    config = blob_config()
    config.test_dataloader.dataset.dataset.pipeline[0].value_range = (0, 4095)
    model = init_detector(config, device='cpu')
    for given in (path, DEEP['uint16'][0]):
        assert inference_detector(model, given).pred_instances.bboxes.tolist() == [BOX]
    with pytest.raises(ConfigError, match='value_range'):
        DetInferencer(blob_config(), value_range='max')


def test_loaders_agree(tmp_path):
    array, value_range = DEEP['uint16']
    cv2.imwrite(str(tmp_path / 'scan.png'), array)
    given = dict(img_path=str(tmp_path / 'scan.png'))
    with pytest.raises(DataError, match='scan.png.*uint16'):
        LoadImageFromFile(ignore_empty=True)(dict(given))
    for loader in (LoadImageFromFile, InferencerLoader):
        np.testing.assert_array_equal(loader(value_range=value_range)(dict(given))['img'], scene())
    np.testing.assert_array_equal(LoadImageFromNDArray(value_range=value_range)(dict(img=array))['img'], scene())
    assert LoadImageFromFile(value_range=value_range, to_float32=True)(dict(given))['img'].dtype == np.float32
    assert LoadImageFromFile(color_type='unchanged')(dict(given))['img'].dtype == np.uint16, 'as the user asked'
    with pytest.raises(DataError, match='value_range'):
        LoadImageFromNDArray()(dict(img=array))


def turned(path, picture, orientation):
    """Write an RGB picture so that turning the file by its EXIF orientation gives the picture back (up to its compression)."""
    back = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]  # Image.Transpose
    image = Image.fromarray(picture)
    image = image if back is None else image.transpose(Image.Transpose(back))
    exif = image.getexif()
    exif[0x0112] = orientation
    options = (
        dict(quality=95, subsampling=0)
        if path.suffix == '.jpg'
        else dict(lossless=True)
        if path.suffix == '.webp'
        else {}
    )
    image.save(path, exif=exif, **options)


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.tif', '.webp'])
def test_photos_that_exif_turns(inferencer, tmp_path, suffix, orientation):
    """Boxes lie in the frame of the upright pixels: for the reader, the header, training, inference, tiles and the picture."""
    path = tmp_path / f'photo{suffix}'
    turned(path, scene()[..., ::-1], orientation)
    upright = ImageOps.exif_transpose(Image.open(path))
    assert upright.size == (160, 80) == image_size(path)
    np.testing.assert_allclose(decode_image(path), scene(), atol=40)
    np.testing.assert_allclose(decode_image(path, flag='grayscale'), scene()[..., 0], atol=40)
    for flag in ('unchanged', 'color_ignore_orientation'):
        height, width = decode_image(path, flag=flag).shape[:2]
        assert image_size(path, flag=flag) == (width, height)
        assert (width > height) is (orientation <= 4 or suffix == '.tif')
    for options in ({}, dict(tiles=160)):
        result = inferencer(str(path), return_vis=True, **options)
        assert result['predictions'] == [EXPECTED]
        assert result['visualization'][0].shape == (80, 160, 3)

    register_all_modules()
    annotation = dict(id=1, image_id=1, category_id=1, bbox=[20, 10, 40, 20], area=800, iscrowd=0)
    document = dict(
        images=[dict(id=1, file_name=path.name, width=160, height=80)],
        annotations=[annotation],
        categories=[dict(id=1, name='dot')],
    )
    (tmp_path / 'ann.json').write_text(json.dumps(document))
    pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)]
    dataset = DATASETS.build(
        dict(
            type='CocoDataset',
            ann_file=str(tmp_path / 'ann.json'),
            data_prefix=dict(img=str(tmp_path)),
            metainfo=dict(classes=('dot',)),
            pipeline=pipeline,
        )
    )
    sample = dataset[0]
    assert sample['img'].shape == (80, 160, 3) and np.asarray(sample['gt_bboxes']).tolist() == [BOX]


def test_a_real_photo_that_exif_turns(inferencer, tmp_path, request):
    data = os.environ.get('MMDET_SAMPLE_DATA')
    if not data:
        pytest.skip('MMDET_SAMPLE_DATA names no folder of sample images')
    source = next(p for p in sorted(os.listdir(os.path.join(data, 'bccd/BCCD/JPEGImages'))) if p.endswith('.jpg'))
    photo = decode_image(os.path.join(data, 'bccd/BCCD/JPEGImages', source))
    for orientation in range(1, 9):
        path = tmp_path / f'{orientation}.png'
        turned(path, photo[..., ::-1], orientation)
        np.testing.assert_array_equal(decode_image(path), photo)
        found, expected = inferencer([str(path), photo])['predictions']
        assert found == expected and expected['bboxes']


def test_a_folder_with_good_and_broken_files(inferencer, tmp_path):
    whole = cv2.imencode('.jpg', scene())[1].tobytes()
    files = {
        'a.jpg': whole, 'b.jpg': whole[:400], 'c.png': b'', 'd.jpg': b'<html>404</html>', 'e.tif': b'II*\0' + b'\0' * 40,
        'f.png': cv2.imencode('.png', scene().astype(np.uint16))[1].tobytes(), 'g.jpg': whole + b'appended',
    }  # fmt: skip
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / 'clip.mp4').write_bytes(b'no video')
    given = [str(tmp_path), str(tmp_path / 'clip.mp4')]
    for options in ({}, dict(batch_size=3), dict(tiles=160)):
        result = inferencer(given, skip_broken=True, **options)
        assert [os.path.basename(name) for name in result['inputs']] == ['a.jpg', 'g.jpg']
        assert sorted(os.path.basename(name) for name, _ in result['skipped']) == [
            'b.jpg',
            'c.png',
            'clip.mp4',
            'd.jpg',
            'e.tif',
            'f.png',
        ]
        assert len(result['predictions']) == 2
    with pytest.raises(DataError, match='b.jpg'):
        inferencer(given)
    with pytest.raises(DataError, match='clip.mp4'):
        inferencer(given[1:])
