import cv2
import numpy as np
import pytest

import mmdet.datasets.transforms  # noqa: F401
from mmdet.registry import TRANSFORMS
from mmdet.utils import ConfigError, DataError


@pytest.fixture
def image_file(tmp_path):
    image = np.full((6, 9, 3), (10, 20, 30), np.uint8)
    path = tmp_path / 'image.png'
    cv2.imwrite(str(path), image)
    return path, image


def build(kind, **arguments):
    return TRANSFORMS.build(dict(type=kind, **arguments))


def test_image_from_file(image_file):
    path, image = image_file
    results = build('LoadImageFromFile', backend_args=None)(dict(img_path=str(path)))
    assert results['img'].dtype == np.uint8 and np.array_equal(results['img'], image)
    assert results['img_shape'] == results['ori_shape'] == (6, 9)
    assert build('LoadImageFromFile', to_float32=True)(dict(img_path=str(path)))['img'].dtype == np.float32
    assert build('LoadImageFromFile', color_type='grayscale')(dict(img_path=str(path)))['img'].shape == (6, 9)
    local = build('LoadImageFromFile', backend_args=dict(backend='local'))(dict(img_path=str(path)))
    assert np.array_equal(local['img'], image)


def test_cached_images(tmp_path):
    paths = [str(tmp_path / f'{number}.png') for number in range(2)]
    for number, path in enumerate(paths):
        cv2.imwrite(path, np.full((100, 100, 3), number, np.uint8))  # 29.3 KiB each
    loader = build('LoadImageFromFile', cache_mb=0.05)
    first = [loader(dict(img_path=path))['img'] for path in paths]
    for image in first:
        image[:] = 9  # not in the cache
    for path in paths:
        cv2.imwrite(path, np.full((100, 100, 3), 7, np.uint8))
    again = [loader(dict(img_path=path)) for path in paths]
    assert [results['img'].max() for results in again] == [0, 7]  # the second did not fit
    assert again[0]['img_shape'] == again[0]['ori_shape'] == (100, 100)
    for wrong in (-1, float('inf'), '1G'):
        with pytest.raises(ConfigError, match='cache_mb'):
            build('LoadImageFromFile', cache_mb=wrong)


def test_broken_image_is_named(tmp_path):
    path = tmp_path / 'half.jpg'
    noise = np.random.RandomState(0).randint(0, 256, (64, 64, 3)).astype(np.uint8)
    path.write_bytes(cv2.imencode('.jpg', noise)[1].tobytes()[:1500])
    with pytest.raises(DataError, match='half.jpg'):
        build('LoadImageFromFile')(dict(img_path=str(path)))
    assert build('LoadImageFromFile', ignore_empty=True)(dict(img_path=str(path))) is None
    with pytest.raises(DataError, match='img_path'):
        build('LoadImageFromFile')(dict())


@pytest.mark.parametrize('shape', [(1, 1), (4, 5), (4, 5, 1), (4, 5, 3), (4, 5, 4)])
def test_image_from_array(shape):
    image = np.random.RandomState(0).randint(0, 256, shape).astype(np.uint8)
    before = image.copy()
    results = build('mmdet.LoadImageFromNDArray')(dict(img=image))
    assert results['img'].shape == (*shape[:2], 3) and results['img_path'] is None
    assert results['ori_shape'] == shape[:2]
    assert np.array_equal(image, before)
    expected = image[..., :3] if image.ndim == 3 else image[..., None]
    assert np.array_equal(results['img'], np.broadcast_to(expected, results['img'].shape))


@pytest.mark.parametrize(
    'image', [None, 'x', np.zeros((4, 5, 2), np.uint8), np.zeros((0, 5, 3), np.uint8), np.zeros((4, 5), int)]
)
def test_bad_array(image):
    with pytest.raises(DataError, match='img'):
        build('LoadImageFromNDArray')(dict(img=image))


def test_annotations_empty():
    for results in (dict(instances=[]), dict()):
        results = build('LoadAnnotations', with_bbox=True)(results)
        assert results['gt_bboxes'].shape == (0, 4) and results['gt_bboxes'].dtype == np.float32
        assert results['gt_bboxes_labels'].shape == (0,) and results['gt_bboxes_labels'].dtype == np.int64
        assert results['gt_ignore_flags'].shape == (0,) and results['gt_ignore_flags'].dtype == bool


def test_annotations():
    instances = [
        dict(bbox=[1, 2, 3.5, 4], bbox_label=3, ignore_flag=0),
        dict(bbox=np.array([0, 0, 9, 9]), bbox_label=0, ignore_flag=1),
        dict(bbox=(5, 5, 6, 6), bbox_label=np.int64(1)),
    ]
    results = build('LoadAnnotations', with_bbox=True, box_type=None)(dict(instances=instances))
    assert results['gt_bboxes'].tolist() == [[1, 2, 3.5, 4], [0, 0, 9, 9], [5, 5, 6, 6]]
    assert results['gt_bboxes_labels'].tolist() == [3, 0, 1]
    assert results['gt_ignore_flags'].tolist() == [False, True, False]
    assert 'gt_bboxes_labels' not in build('LoadAnnotations', with_label=False)(dict(instances=instances))


@pytest.mark.parametrize(
    'box', [[1, 2, 3], [1, 2, 3, 4, 5], [1, 2, 3, float('nan')], [0, 0, float('inf'), 1], None, 3, ['a', 0, 1, 1]]
)
def test_bad_box_is_named(box):
    instances = [dict(bbox=[0, 0, 1, 1], bbox_label=0), dict(bbox=box, bbox_label=0)]
    with pytest.raises(DataError, match='7.jpg: object 1: bbox'):
        build('LoadAnnotations')(dict(img_path='7.jpg', instances=instances))


def test_bad_label_is_named():
    with pytest.raises(DataError, match='7.jpg: object 0: bbox_label'):
        build('LoadAnnotations')(dict(img_path='7.jpg', instances=[dict(bbox=[0, 0, 1, 1])]))


@pytest.mark.parametrize(
    ('kind', 'arguments'),
    [
        ('LoadImageFromFile', dict(color_type='rainbow')),
        ('LoadImageFromFile', dict(imdecode_backend='tifffile')),
        ('LoadImageFromFile', dict(file_client_args=dict(backend='disk'), backend_args=dict(backend='local'))),
        ('LoadAnnotations', dict(with_seg=True)),
        ('LoadAnnotations', dict(box_type='rbox')),
    ],
)
def test_bad_arguments(kind, arguments):
    with pytest.raises(ConfigError, match=next(iter(arguments))):
        build(kind, **arguments)


@pytest.mark.parametrize('dtype', [np.float16, np.float32, np.float64])
def test_floating_arrays_become_float32(dtype):
    image = np.array([[[0, 127.5, 255]]], dtype)
    result = build('LoadImageFromNDArray')(dict(img=image, img_path='kept.jpg'))
    assert result['img'].dtype == np.float32 and result['img'].tolist() == [[[0, 127.5, 255]]]
    assert result['img_path'] == 'kept.jpg' and result['img_shape'] == (1, 1)


@pytest.mark.parametrize('shape', [(2, 3), (2, 3, 1), (2, 3, 3), (2, 3, 4)])
def test_grey_of_arrays(shape):
    image = np.full(shape, 77, np.uint8)
    result = build('LoadImageFromNDArray', color_type='grayscale', to_float32=True)(dict(img=image))['img']
    assert result.dtype == np.float32 and result.tolist() == [[77] * 3] * 2


def test_blue_comes_first(tmp_path):
    image = np.zeros((1, 1, 4), np.uint8)
    image[..., 0], image[..., 3] = 200, 9
    assert build('LoadImageFromNDArray')(dict(img=image))['img'].tolist() == [[[200, 0, 0]]]
    grey = build('LoadImageFromNDArray', color_type='grayscale')(dict(img=image))['img']
    assert grey.tolist() == [[23]]  # 0.114 of the blue
    cv2.imwrite(str(tmp_path / 'a.png'), image[..., :3])
    assert build('LoadImageFromFile')(dict(img_path=str(tmp_path / 'a.png')))['img'].tolist() == [[[200, 0, 0]]]
    grey = build('LoadImageFromFile', color_type='grayscale')(dict(img_path=str(tmp_path / 'a.png')))['img']
    assert grey.shape == (1, 1) and 22 <= grey[0, 0] <= 23  # libpng rounds in another way


def test_old_name_of_backend_args(tmp_path):
    local = dict(backend='local')
    assert build('LoadImageFromFile', file_client_args=local).backend_args == local
    assert build('LoadImageFromFile', backend_args=local).backend_args == local
    assert build('LoadImageFromFile', imdecode_backend=None, file_client_args={}).backend_args is None


def test_annotations_are_new_at_each_call_and_may_be_left_out():
    instances = [dict(bbox=[0, 0, 1, 1], bbox_label=2, ignore_flag=True)]
    load = build('LoadAnnotations')
    first, second = load(dict(instances=instances)), load(dict(instances=instances))
    first['gt_bboxes'][:] = 9
    assert second['gt_bboxes'].tolist() == [[0, 0, 1, 1]] and second['gt_ignore_flags'].tolist() == [True]
    labels = build('LoadAnnotations', with_bbox=False)(dict(instances=instances))
    assert labels.keys() == {'instances', 'gt_bboxes_labels'}
    assert build('LoadAnnotations', with_label=False)({}).keys() == {'gt_bboxes', 'gt_ignore_flags'}


@pytest.mark.parametrize('label', ['car', None, [1]])
def test_the_label_at_fault_is_shown(label):
    instances = [dict(bbox=[0, 0, 1, 1], bbox_label=0), dict(bbox=[0, 0, 1, 1], bbox_label=label)]
    with pytest.raises(DataError, match=r'7\.jpg: object 1: bbox_label: every object needs a whole number') as raised:
        build('LoadAnnotations')(dict(img_path='7.jpg', instances=instances))
    assert str(raised.value).endswith(f'Received: {label!r}')
    with pytest.raises(DataError, match=r'object 0: bbox: must be four finite numbers.*Received: None'):
        build('LoadAnnotations')(dict(instances=[dict(bbox_label=0)]))
