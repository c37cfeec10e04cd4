import cv2
import mmcv.transforms
import numpy as np
import pytest

from mmdet.datasets.transforms import resize
from mmdet.datasets.transforms.resize import INTERPOLATIONS, fit_size, pad_image, scaled_size, warp_image
from mmdet.registry import TRANSFORMS
from mmdet.utils import ConfigError

from .helpers import assert_consistent, crowd, make_sample


def build(kind, **arguments):
    return TRANSFORMS.build(dict(type=kind, **arguments))


@pytest.mark.parametrize(
    ('size', 'expected'),
    [
        ((640, 480), (1067, 800)),
        ((500, 375), (1067, 800)),
        ((1024, 683), (1199, 800)),
        ((2000, 600), (1333, 400)),
        ((333, 500), (800, 1201)),
    ],
)
def test_keep_ratio_as_mmdetection(size, expected):
    width, height = size
    for scale in ((1333, 800), [800, 1333]):
        results = build('Resize', scale=scale, keep_ratio=True)(make_sample(width, height, [[10, 20, 110, 220]]))
        assert results['img'].shape == (expected[1], expected[0], 3) and results['img'].dtype == np.uint8
        factor = (expected[0] / width, expected[1] / height)
        assert results['scale_factor'] == factor and results['keep_ratio'] is True
        np.testing.assert_allclose(results['gt_bboxes'][0], np.multiply([10, 20, 110, 220], factor * 2), rtol=1e-6)
        assert_consistent(results)


@pytest.mark.parametrize('size', [(640, 480), (333, 500), (97, 31)])
@pytest.mark.parametrize(
    'arguments', [dict(scale=(300, 200), keep_ratio=True), dict(scale=(90, 70)), dict(scale_factor=1.7)]
)
def test_equals_mmcv(size, arguments):
    sample = make_sample(*size, crowd(5, *size))
    ours = build('Resize', **arguments)(dict(sample))
    theirs = mmcv.transforms.Resize(**arguments)(dict(sample))
    assert np.array_equal(ours['img'], theirs['img'])
    np.testing.assert_allclose(ours['gt_bboxes'], theirs['gt_bboxes'], rtol=1e-6)
    assert ours['scale_factor'] == theirs['scale_factor'] and ours['img_shape'] == theirs['img_shape']


def test_to_an_exact_size():
    results = build('Resize', scale=(40, 5))(make_sample(20, 10, [[1, 2, 30, 10]]))
    assert results['img_shape'] == (5, 40) and results['scale_factor'] == (2.0, 0.5)
    assert results['gt_bboxes'].tolist() == [[2, 1, 40, 5]]  # clipped
    results = build('Resize', scale=(40, 5), clip_object_border=False)(make_sample(20, 10, [[1, 2, 30, 10]]))
    assert results['gt_bboxes'].tolist() == [[2, 1, 60, 5]]
    assert build('Resize', scale=16)(make_sample(20, 10))['img_shape'] == (16, 16)


@pytest.mark.parametrize(('factor', 'shape'), [(0.5, (5, 10)), (1.25, (13, 25)), ((2.0, 0.5), (5, 40)), (1e-6, (1, 1))])
def test_scale_factor(factor, shape):
    assert build('Resize', scale_factor=factor)(make_sample(20, 10))['img_shape'] == shape


def test_extreme_images():
    assert build('Resize', scale=(1333, 800), keep_ratio=True)(make_sample(1, 1))['img_shape'] == (800, 800)
    assert build('Resize', scale=(100, 80), keep_ratio=True)(make_sample(3000, 1))['img_shape'] == (1, 100)
    assert build('Resize', scale=(float('inf'), 80), keep_ratio=True)(make_sample(300, 10))['img_shape'] == (80, 2400)


def test_leaves_the_input_alone():
    sample = make_sample(20, 10, [[1, 2, 30, 10]])
    image, boxes = sample['img'], sample['gt_bboxes']
    before = image.copy(), boxes.copy()
    build('Resize', scale=(40, 5))(sample)
    assert np.array_equal(image, before[0]) and np.array_equal(boxes, before[1])
    same = build('Resize', scale=(20, 10))(dict(sample, img=image))
    assert same['img'] is image


def test_flipped_view_resizes_like_a_copy():
    sample = make_sample(20, 10)
    expected = build('Resize', scale=(30, 15))(dict(img=sample['img'][:, ::-1].copy()))['img']
    assert np.array_equal(build('Resize', scale=(30, 15))(dict(img=sample['img'][:, ::-1]))['img'], expected)


def test_random_range_draws_both_edges_from_closed_intervals():
    np.random.seed(0)
    transform = build('RandomResize', scale=[(1333, 480), (1333, 483)], keep_ratio=True)
    draws = [transform.draw() for _ in range(4000)]
    assert {long for long, _ in draws} == {1333}
    share = np.bincount([short - 480 for _, short in draws], minlength=4) / len(draws)
    assert len(share) == 4 and np.abs(share - 0.25).max() < 0.03  # 4 standard deviations
    both = build('RandomResize', scale=[(10, 4), (11, 5)], keep_ratio=True)
    counts = {pair: 0 for pair in ((10, 4), (10, 5), (11, 4), (11, 5))}
    for _ in range(4000):
        counts[both.draw()] += 1
    assert max(abs(count / 4000 - 0.25) for count in counts.values()) < 0.03


def test_random_resize_by_ratio():
    np.random.seed(0)
    transform = build('RandomResize', scale=(100, 50), ratio_range=(0.5, 2.0))
    draws = np.array([transform.draw() for _ in range(500)])
    assert (
        (draws[:, 0] >= 50).all() and (draws[:, 0] <= 200).all() and np.abs(draws[:, 0] / draws[:, 1] - 2).max() < 0.1
    )


def test_random_resize_applies_its_draw():
    np.random.seed(0)
    transform = build('RandomResize', scale=[(1333, 480), (1333, 800)], keep_ratio=True, resize_type='Resize')
    for _ in range(5):
        results = transform(make_sample(64, 48, [[0, 0, 64, 48]]))
        assert 480 <= results['img_shape'][0] <= 800
        height, width = results['img_shape']
        np.testing.assert_allclose(results['gt_bboxes'], [[0, 0, width, height]], rtol=1e-6)


def test_random_choice():
    np.random.seed(0)
    transform = build('RandomChoiceResize', scales=[(40, 20), (60, 30), (80, 40)], keep_ratio=True)
    shapes = [transform(make_sample(20, 10))['img_shape'] for _ in range(900)]
    for shape in ((20, 40), (30, 60), (40, 80)):
        assert abs(shapes.count(shape) / 900 - 1 / 3) < 0.065  # 4 standard deviations


@pytest.mark.parametrize('name', ['FixShapeResize', 'FixedShapeResize'])
def test_fixed_shape(name):
    results = build(name, width=40, height=40, keep_ratio=True, pad_val=7)(make_sample(20, 10, [[0, 0, 20, 10]]))
    assert results['img_shape'] == (40, 40) and results['scale_factor'] == (2.0, 2.0)
    assert (results['img'][20:] == 7).all() and results['gt_bboxes'].tolist() == [[0, 0, 40, 20]]
    assert_consistent(results)
    assert build(name, width=40, height=30, keep_ratio=True)(make_sample(10, 20))['scale_factor'] == (1.5, 1.5)
    assert build(name, width=8, height=9)(make_sample(20, 10))['img_shape'] == (9, 8)


def test_many_and_no_boxes():
    for count in (0, 2000):
        results = build('Resize', scale=(333, 200), keep_ratio=True)(make_sample(640, 480, crowd(count, 640, 480)))
        assert_consistent(results)
        assert len(results['gt_bboxes']) == count


@pytest.mark.parametrize(
    ('kind', 'arguments', 'field'),
    [
        ('Resize', dict(), 'scale'),
        ('Resize', dict(scale=(10, 10), scale_factor=2), 'scale'),
        ('Resize', dict(scale=(-1333, 800)), 'scale'),
        ('Resize', dict(scale=0), 'scale'),
        ('Resize', dict(scale=(10, 20, 30)), 'scale'),
        ('Resize', dict(scale=(10.5, 20)), 'scale'),
        ('Resize', dict(scale='big'), 'scale'),
        ('Resize', dict(scale=(float('nan'), 20), keep_ratio=True), 'scale'),
        ('Resize', dict(scale=(float('inf'), 20)), 'scale'),
        ('Resize', dict(scale=(float('inf'), float('inf')), keep_ratio=True), 'scale'),
        ('Resize', dict(scale_factor=-1), 'scale_factor'),
        ('Resize', dict(scale_factor=(1, 0)), 'scale_factor'),
        ('Resize', dict(scale=10, interpolation='cubic'), 'interpolation'),
        ('Resize', dict(scale=10, backend='gpu'), 'backend'),
        ('RandomResize', dict(scale=(10, 20)), 'ratio_range'),
        ('RandomResize', dict(scale=[(10, 20), (10, -5)]), 'scale'),
        ('RandomResize', dict(scale=[(10, 20), (10, 25), (10, 30)]), 'scale'),
        ('RandomResize', dict(scale=[(10, 20), (10, 25)], ratio_range=(0.5, 2)), 'ratio_range'),
        ('RandomResize', dict(scale=(10, 20), ratio_range=(2, 0.5)), 'ratio_range'),
        ('RandomChoiceResize', dict(scales=[]), 'scales'),
        ('RandomChoiceResize', dict(scales=[(10, 0)]), 'scales'),
        ('FixShapeResize', dict(width=0, height=5), 'width'),
    ],
)
def test_bad_arguments(kind, arguments, field):
    with pytest.raises(ConfigError, match=field):
        build(kind, **arguments)


@pytest.mark.parametrize(
    ('image_wh', 'limit', 'expected'),
    [
        ((3, 3), (5, 5), (5, 5)),
        ((4, 2), (6, 5), (6, 3)),  # the long edge limits
        ((4, 2), (100, 6), (12, 6)),  # the short edge limits
        ((2, 4), (100, 6), (6, 12)),
        ((10, 5), (5, 5), (5, 3)),  # 2.5 is rounded up
        ((10, 4), (6.9, 9), (9, 4)),  # limits need not be whole here: 3.6 is rounded up, too
        ((1000, 1), (10, 5), (10, 1)),  # never below one pixel
        ((8, 6), (float('inf'), 3), (4, 3)),
    ],
)
def test_fit_size_by_hand(image_wh, limit, expected):
    assert fit_size(image_wh, limit) == expected == fit_size(image_wh, limit[::-1])


@pytest.mark.parametrize(
    ('factor_wh', 'expected'),
    [((0.5, 0.25), (4, 2)), ((0.3125, 1.0), (3, 6)), ((0.31, 0.01), (2, 1)), ((2, 3), (16, 18))],
)
def test_scaled_size_by_hand(factor_wh, expected):
    assert scaled_size((8, 6), factor_wh) == expected


@pytest.mark.parametrize('name', INTERPOLATIONS)
def test_interpolation(name):
    image = make_sample(20, 10)['img']
    flags = dict(nearest=0, bilinear=1, bicubic=2, area=3, lanczos=4)  # OpenCV's numbers
    assert np.array_equal(
        build('Resize', scale=(13, 7), interpolation=name)(dict(img=image))['img'],
        cv2.resize(image, (13, 7), interpolation=flags[name]),
    )
    fixed = build('FixShapeResize', width=13, height=7, interpolation=name)(dict(img=image))['img']
    assert np.array_equal(fixed, cv2.resize(image, (13, 7), interpolation=flags[name]))


@pytest.mark.parametrize(
    ('arguments', 'meta'),
    [
        (dict(scale=(40, 5)), dict(img_shape=(5, 40), scale=(40, 5), scale_factor=(2.0, 0.5), keep_ratio=False)),
        (
            dict(scale=(30, 20), keep_ratio=True),
            dict(img_shape=(15, 30), scale=(30, 20), scale_factor=(1.5, 1.5), keep_ratio=True),
        ),
        (
            dict(scale_factor=(0.5, 2), keep_ratio=False),
            dict(img_shape=(20, 10), scale=(10, 20), scale_factor=(0.5, 2.0), keep_ratio=False),
        ),
        (
            dict(scale_factor=(0.5, 2), keep_ratio=True),  # inside (10, 20), whose order does not matter
            dict(img_shape=(10, 20), scale=(10, 20), scale_factor=(1.0, 1.0), keep_ratio=True),
        ),
    ],
)
def test_meta(arguments, meta):
    results = build('Resize', **arguments)(make_sample(20, 10, [[2, 4, 6, 8]], ignored=[0]))
    assert {key: results[key] for key in meta} == meta
    assert 'pad_shape' not in results and results['ori_shape'] == (10, 20)
    factor = meta['scale_factor'] * 2
    assert results['gt_bboxes'].tolist() == [[a * b for a, b in zip((2, 4, 6, 8), factor)]]
    assert results['gt_ignore_flags'].tolist() == [True] and results['gt_bboxes'].dtype == np.float32


def test_fixed_shape_meta_and_upright_images():
    sample = make_sample(10, 20, [[0, 0, 10, 30]])
    results = build('FixShapeResize', width=41, height=30, keep_ratio=True, pad_val=(1, 2, 3))(sample)
    assert results['img_shape'] == results['img'].shape[:2] == (30, 41)
    assert results['scale'] == (15, 30) and results['scale_factor'] == (1.5, 1.5) and results['keep_ratio'] is True
    assert (results['img'][:, 15:] == (1, 2, 3)).all() and not (results['img'][:, 14] == (1, 2, 3)).all()
    assert results['gt_bboxes'].tolist() == [[0, 0, 15, 30]]  # clipped to the image, not to the frame
    loose = build('FixShapeResize', width=41, height=30, keep_ratio=True, clip_object_border=False)
    assert loose(make_sample(10, 20, [[0, 0, 10, 30]]))['gt_bboxes'].tolist() == [[0, 0, 15, 45]]
    assert build('FixShapeResize', width=8, height=9)(make_sample(20, 10))['keep_ratio'] is False
    # 3 * 1.1666 = 3.5 would be rounded up to 4, more than the frame.
    assert build('FixShapeResize', width=7, height=3, keep_ratio=True)(make_sample(6, 3))['scale'] == (6, 3)
    assert build('FixShapeResize', width=1, height=1, keep_ratio=True)(make_sample(50, 3))['img_shape'] == (1, 1)


def test_fixed_shape_pads_with_black():
    results = build('FixShapeResize', width=8, height=20, keep_ratio=True)(make_sample(8, 6))
    assert not results['img'][6:].any()


def test_one_instance_of_fixed_shape_holds_no_state():
    transform = build('FixShapeResize', width=40, height=40, keep_ratio=True)
    for size, expected in (((20, 10), (40, 20)), ((10, 20), (20, 40)), ((20, 10), (40, 20))):
        assert transform(make_sample(*size))['scale'] == expected


@pytest.mark.parametrize(
    ('target_hw', 'shape'), [((4, 5), (4, 5)), ((6, 5), (6, 5)), ((4, 7), (4, 7)), ((2, 2), (4, 5)), ((2, 9), (4, 9))]
)
def test_pad_image(target_hw, shape):
    image = make_sample(5, 4)['img']
    padded = pad_image(image, target_hw, 9)
    assert padded.shape == (*shape, 3) and np.array_equal(padded[:4, :5], image)
    assert (padded[4:] == 9).all() and (padded[:, 5:] == 9).all()
    assert (padded is image) == (shape == (4, 5))


@pytest.mark.parametrize('view', [np.s_[2:9, 3:12], np.s_[:, ::-1], np.s_[::2, ::3, ::-1], np.s_[1:5, 2:4, 0]])
def test_views_need_no_copy(view):
    """A crop is padded with the pad value, not with what lies beside it in the image that it was cut from."""
    image = np.random.RandomState(0).randint(0, 256, (20, 30, 3)).astype(np.uint8)[view]
    np.testing.assert_array_equal(pad_image(image, (25, 40), 9), pad_image(image.copy(order='C'), (25, 40), 9))
    resize = build('Resize', scale=(17, 11))
    np.testing.assert_array_equal(resize(dict(img=image))['img'], resize(dict(img=image.copy(order='C')))['img'])


def test_random_resize_draws_in_order():
    np.random.seed(5)
    expected = np.random.RandomState(5)
    between = build('RandomResize', scale=[(480, 1333), (1000, 800)])  # each pair in another order
    assert between.draw() == (expected.randint(1000, 1334), expected.randint(480, 801))
    around = build('RandomResize', scale=(100, 50), ratio_range=(0.5, 2.0))
    ratio = expected.uniform(0.5, 2.0)
    assert around.draw() == (int(100 * ratio), int(50 * ratio))
    tiny = build('RandomResize', scale=(100, 1), ratio_range=(0.001, 0.001))
    assert tiny.draw() == (1, 1)
    choice = build('RandomChoiceResize', scales=[(1, 1), (2, 2), (3, 3)])
    expected.uniform()
    for _ in range(5):
        index = expected.randint(3)
        results = choice(make_sample(20, 10))
        assert results['scale_idx'] == index and results['img_shape'] == (index + 1, index + 1)


def test_random_choice_takes_an_unlimited_edge():
    transform = build('RandomChoiceResize', scales=[(float('inf'), 20)], keep_ratio=True, interpolation='nearest')
    assert transform(make_sample(20, 10))['img_shape'] == (20, 40)
    assert transform.resize.interpolation == 'nearest'


@pytest.mark.parametrize('flag', INTERPOLATIONS.values(), ids=INTERPOLATIONS)
@pytest.mark.parametrize(
    'matrix',
    [
        [[1, 0, 0], [0, 1, 0]],
        [[1.9, -0.4, -20], [0.3, 2.1, -15]],  # the canvas shows a part of the image
        [[0.1, 0, 3], [0, 0.1, 5]],  # a small part of the canvas is covered
        [[1, 0, 500], [0, 1, 0]],  # nothing is
        [[1, 1, 0], [1, 1, 0]],  # has no inverse
        [[-1, 0, 61], [0, -1, 47]],
    ],
)
def test_warp_gives_the_pixels_of_opencv(matrix, flag):
    image = np.random.RandomState(0).randint(0, 256, (47, 61, 3)).astype(np.uint8)
    images = dict(bgr=image, mirrored=image[:, ::-1], grey=image[..., 0], float32=image.astype(np.float32))
    for name, one in images.items():
        for size_wh, colour in (((40, 30), (7, 8, 9)), ((80, 90), 114.0)):
            options = dict(flags=flag, borderValue=colour if isinstance(colour, tuple) else (colour,) * 4)
            expected = cv2.warpAffine(np.ascontiguousarray(one), np.array(matrix, float), size_wh, **options)
            made = warp_image(one, np.array(matrix, float), size_wh, colour, flag)
            np.testing.assert_array_equal(made, expected, err_msg=f'{name} {size_wh}')


@pytest.mark.skipif(not resize.has_ipp(), reason='OpenCV holds no IPP on this machine')
@pytest.mark.parametrize('scale', [(133, 75), (40, 25), (96, 64)])
def test_ipp_differs_by_a_level_at_most(scale):
    image = np.random.RandomState(0).randint(0, 256, (64, 96, 3)).astype(np.uint8)
    boxes = np.array([[1, 2, 30, 40]], np.float32)
    ours, fast = (
        TRANSFORMS.build(dict(type='Resize', scale=scale, backend=backend))(dict(img=image, gt_bboxes=boxes))
        for backend in ('cv2', 'ipp')
    )
    assert np.abs(ours['img'].astype(int) - fast['img']).max() <= 1
    np.testing.assert_array_equal(ours['gt_bboxes'], fast['gt_bboxes'])
    assert not cv2.ipp.useIPP_NotExact()  # what others resize meanwhile stays as it is


def test_ipp_that_is_not_there(monkeypatch):
    monkeypatch.setattr(resize, 'has_ipp', lambda: False)
    with pytest.raises(ConfigError, match='IPP.*cv2'):
        TRANSFORMS.build(dict(type='RandomResize', scale=[(8, 8), (9, 9)], backend='ipp'))
