import numpy as np
import pytest

from mmdet.datasets.transforms.geometric import FLIP_CODES, flip_boxes
from mmdet.registry import TRANSFORMS
from mmdet.utils import ConfigError, DataError

from .helpers import assert_consistent, crowd, make_sample


def build(kind, **arguments):
    return TRANSFORMS.build(dict(type=kind, **arguments))


@pytest.mark.parametrize(
    ('direction', 'box', 'view'),
    [
        ('horizontal', [15, 2, 19, 6], (slice(None), slice(None, None, -1))),
        ('vertical', [1, 4, 5, 8], (slice(None, None, -1), slice(None))),
        ('diagonal', [15, 4, 19, 8], (slice(None, None, -1), slice(None, None, -1))),
    ],
)
def test_flip_by_hand(direction, box, view):
    sample = make_sample(20, 10, [[1, 2, 5, 6]])
    image, boxes = sample['img'], sample['gt_bboxes']
    before = image.copy(), boxes.copy()
    results = build('RandomFlip', prob=1.0, direction=direction)(sample)
    assert results['gt_bboxes'].tolist() == [box]
    assert np.array_equal(results['img'], image[view])
    assert results['flip'] is True and results['flip_direction'] == direction
    assert np.array_equal(image, before[0]) and np.array_equal(boxes, before[1])
    assert_consistent(results)


def test_no_flip_returns_the_same_objects():
    sample = make_sample(20, 10, [[1, 2, 5, 6]])
    image, boxes = sample['img'], sample['gt_bboxes']
    results = build('RandomFlip', prob=0.0)(sample)
    assert results['img'] is image and results['gt_bboxes'] is boxes
    assert results['flip'] is False and results['flip_direction'] is None


def test_flip_twice_is_nothing():
    for count in (0, 2000):
        sample = make_sample(640, 480, crowd(count, 640, 480))
        image, boxes = sample['img'], sample['gt_bboxes']
        flip = build('RandomFlip', prob=1.0, direction='diagonal')
        results = flip(flip(sample))
        assert np.array_equal(results['img'], image)
        np.testing.assert_allclose(results['gt_bboxes'], boxes, atol=1e-4)


@pytest.mark.parametrize(
    ('prob', 'direction', 'shares'),
    [
        (0.5, 'horizontal', {'horizontal': 0.5}),
        (0.6, ['horizontal', 'vertical', 'diagonal'], {'horizontal': 0.2, 'vertical': 0.2, 'diagonal': 0.2}),
        ([0.1, 0.4], ['horizontal', 'vertical'], {'horizontal': 0.1, 'vertical': 0.4}),
        ([0.25, 0.75], ['horizontal', 'vertical'], {'horizontal': 0.25, 'vertical': 0.75}),
    ],
)
def test_flip_shares(prob, direction, shares):
    np.random.seed(0)
    transform = build('RandomFlip', prob=prob, direction=direction)
    draws = [transform.draw() for _ in range(4000)]
    for name in ('horizontal', 'vertical', 'diagonal'):
        assert abs(draws.count(name) / 4000 - shares.get(name, 0)) < 0.032  # 4 standard deviations
    assert abs(draws.count(None) / 4000 - (1 - sum(shares.values()))) < 0.032


@pytest.mark.parametrize('size', [(1, 1), (1, 5), (5, 1)])
def test_tiny_images(size):
    results = build('RandomFlip', prob=1.0)(make_sample(*size, [[0, 0, *size]]))
    assert results['gt_bboxes'].tolist() == [[0, 0, *size]]
    for mode in ('constant', 'edge', 'reflect', 'symmetric'):
        results = build('Pad', size_divisor=32, padding_mode=mode)(make_sample(*size))
        assert results['img_shape'] == results['pad_shape'] == (32, 32)


@pytest.mark.parametrize(
    ('arguments', 'shape'),
    [
        (dict(size=(32, 16)), (16, 32)),
        (dict(size=(8, 16)), (16, 20)),
        (dict(size_divisor=8), (16, 24)),
        (dict(size_divisor=10), (10, 20)),
        (dict(pad_to_square=True), (20, 20)),
        (dict(pad_to_square=True, size_divisor=32), (32, 32)),
    ],
)
def test_pad(arguments, shape):
    sample = make_sample(20, 10, [[1, 2, 5, 6]])
    image = sample['img']
    results = build('Pad', pad_val=dict(img=(1, 2, 3)), **arguments)(sample)
    assert results['img_shape'] == results['pad_shape'] == shape
    assert np.array_equal(results['img'][:10, :20], image)
    assert (results['img'][10:] == (1, 2, 3)).all() and (results['img'][:, 20:] == (1, 2, 3)).all()
    assert results['gt_bboxes'].tolist() == [[1, 2, 5, 6]]


def test_one_pad_value_fills_all_channels():
    assert (build('Pad', size=(30, 30), pad_val=114)(make_sample(20, 10))['img'][10:] == 114).all()


def test_no_image():
    with pytest.raises(DataError, match='LoadImageFromFile'):
        build('Pad', size_divisor=32)(dict(img_path='a.jpg'))


@pytest.mark.parametrize(
    ('kind', 'arguments', 'field'),
    [
        ('RandomFlip', dict(), 'prob'),
        ('RandomFlip', dict(prob=1.5), 'prob'),
        ('RandomFlip', dict(prob=-0.1), 'prob'),
        ('RandomFlip', dict(prob='half'), 'prob'),
        ('RandomFlip', dict(prob=True), 'prob'),
        ('RandomFlip', dict(prob=[0.5, 0.2]), 'prob'),
        ('RandomFlip', dict(prob=[0.5, 0.6], direction=['horizontal', 'vertical']), 'prob'),
        ('RandomFlip', dict(prob=0.5, direction='sideways'), 'direction'),
        ('RandomFlip', dict(prob=0.5, direction=[]), 'direction'),
        ('Pad', dict(), 'size'),
        ('Pad', dict(size=(10, 10), size_divisor=2), 'size'),
        ('Pad', dict(size=(-1, 10)), 'size'),
        ('Pad', dict(size_divisor=0), 'size_divisor'),
        ('Pad', dict(size_divisor=2, pad_val='black'), 'pad_val'),
        ('Pad', dict(size_divisor=2, padding_mode='wrap'), 'padding_mode'),
    ],
)
def test_bad_arguments(kind, arguments, field):
    with pytest.raises(ConfigError, match=field):
        build(kind, **arguments)


def rolls(monkeypatch, *values):
    """Let ``np.random.rand()`` give these numbers in turn."""
    numbers = list(values)
    monkeypatch.setattr(np.random, 'rand', lambda: numbers.pop(0))


@pytest.mark.parametrize(
    ('prob', 'direction', 'expected'),
    [
        (0.5, 'vertical', {0.0: 'vertical', 0.4999: 'vertical', 0.5: None, 0.9999: None}),
        (0.5, ['horizontal', 'vertical'], {0.0: 'horizontal', 0.2499: 'horizontal', 0.25: 'vertical', 0.5: None}),
        ([0.25, 0.5], ['diagonal', 'vertical'], {0.2499: 'diagonal', 0.25: 'vertical', 0.7499: 'vertical', 0.75: None}),
        (1.0, 'horizontal', {0.0: 'horizontal', 0.9999: 'horizontal'}),
        (0.0, 'horizontal', {0.0: None}),
    ],
)
def test_flip_draw_by_hand(monkeypatch, prob, direction, expected):
    rolls(monkeypatch, *expected)
    transform = build('RandomFlip', prob=prob, direction=direction)
    assert [transform.draw() for _ in expected] == list(expected.values())


@pytest.mark.parametrize('direction', FLIP_CODES)
def test_flip_boxes_keeps_type_and_empty(direction):
    boxes = np.array([[0, 1, 2, 4]], np.float32)
    flipped = flip_boxes(boxes, (10, 20), direction)
    expected = dict(horizontal=[18, 1, 20, 4], vertical=[0, 6, 2, 9], diagonal=[18, 6, 20, 9])
    assert flipped.tolist() == [expected[direction]] and flipped.dtype == np.float32
    assert boxes.tolist() == [[0, 1, 2, 4]]
    assert flip_boxes(boxes[:0], (10, 20), direction).shape == (0, 4)


def test_flip_keeps_labels_flags_and_shape_and_gives_a_contiguous_image():
    sample = make_sample(20, 10, [[1, 2, 5, 6], [0, 0, 1, 1]], ignored=[1])
    sample['img'] = sample['img'][:, ::-1]
    results = build('RandomFlip', prob=1.0)(sample)
    assert results['gt_bboxes_labels'].tolist() == [0, 1] and results['gt_ignore_flags'].tolist() == [False, True]
    assert results['img_shape'] == (10, 20) and results['img'].flags.c_contiguous
    assert 'gt_bboxes' not in build('RandomFlip', prob=1.0)(dict(img=sample['img']))


@pytest.mark.parametrize(
    ('mode', 'columns'),
    [
        ('constant', [1, 2, 3, 9, 9]),
        ('edge', [1, 2, 3, 3, 3]),
        ('reflect', [1, 2, 3, 2, 1]),
        ('symmetric', [1, 2, 3, 3, 2]),
    ],
)
def test_padding_modes_by_hand(mode, columns):
    image = np.repeat(np.array([[1, 2, 3]], np.uint8)[..., None], 3, axis=2)
    result = build('Pad', size=(5, 1), pad_val=9, padding_mode=mode)(dict(img=image))['img']
    assert result[0, :, 0].tolist() == columns


def test_pad_meta():
    results = build('Pad', size=(32, 16))(make_sample(20, 10))
    assert results['pad_fixed_size'] == (32, 16) and results['pad_size_divisor'] is None
    assert (results['img'][10:] == 0).all() and results['ori_shape'] == (10, 20)
    results = build('Pad', size_divisor=8, pad_to_square=False)(make_sample(20, 10, [[1, 2, 30, 6]], ignored=[0]))
    assert results['pad_fixed_size'] is None and results['pad_size_divisor'] == 8
    assert results['gt_bboxes'].tolist() == [[1, 2, 30, 6]] and results['gt_ignore_flags'].tolist() == [True]
    assert build('Pad', pad_to_square=True)(make_sample(10, 20))['img_shape'] == (20, 20)
    image = make_sample(16, 8)['img']
    assert build('Pad', size_divisor=8)(dict(img=image))['img'] is image


@pytest.mark.parametrize('divisor', [1.5, 0, -8, 'x', True])
def test_size_divisor_must_be_a_whole_number(divisor):
    with pytest.raises(ConfigError, match=r'size_divisor: must be a whole number >= 1'):
        build('Pad', size_divisor=divisor)
