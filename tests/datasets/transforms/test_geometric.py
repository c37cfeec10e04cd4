import numpy as np
import pytest

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
        ('RandomFlip', dict(prob=[0.5]), None),
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
    if field is None:
        build(kind, **arguments)
        return
    with pytest.raises(ConfigError, match=field):
        build(kind, **arguments)
