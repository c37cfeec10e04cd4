import random

import numpy as np
import pytest

from mmdet.datasets.transforms.crop import centres_inside, overlap_with_window
from mmdet.registry import TRANSFORMS
from mmdet.utils import ConfigError

from .helpers import assert_consistent, crowd, make_sample


def build(kind, **arguments):
    return TRANSFORMS.build(dict(type=kind, **arguments))


def offset_of(image, crop):
    """(left, top) at which ``crop`` was cut from ``image``; their pixels are random, so the place is unique."""
    height, width = crop.shape[:2]
    for top in range(image.shape[0] - height + 1):
        for left in range(image.shape[1] - width + 1):
            if np.array_equal(image[top : top + height, left : left + width], crop):
                return left, top
    raise AssertionError('the crop is no part of the image')


def test_crop_by_hand():
    boxes = [[0, 0, 20, 10], [3, 2, 6, 5], [15, 8, 16, 9]]
    np.random.seed(1)
    for _ in range(20):
        sample = make_sample(20, 10, boxes, ignored=[2])
        image, before = sample['img'], sample['gt_bboxes'].copy()
        results = build('RandomCrop', crop_size=(8, 6))(sample)
        left, top = offset_of(image, results['img'])
        shifted = before - [left, top, left, top]
        expected = np.clip(shifted, 0, [8, 6, 8, 6])
        keep = (expected[:, 2] > expected[:, 0]) & (expected[:, 3] > expected[:, 1])
        assert results['img_shape'] == (6, 8)
        assert np.array_equal(results['gt_bboxes'], expected[keep])
        assert results['gt_bboxes_labels'].tolist() == np.flatnonzero(keep).tolist()
        assert results['gt_ignore_flags'].tolist() == [index == 2 for index in np.flatnonzero(keep)]
        assert_consistent(results)


def test_crop_without_clipping():
    results = build('RandomCrop', crop_size=(8, 6), bbox_clip_border=False)(make_sample(20, 10, [[0, 0, 20, 10]]))
    assert (results['gt_bboxes'][0, 2:] - results['gt_bboxes'][0, :2]).tolist() == [20, 10]


def test_crop_sees_every_place():
    np.random.seed(0)
    image = make_sample(5, 3)['img']
    crop = build('RandomCrop', crop_size=(4, 2), allow_negative_crop=True)
    places = {offset_of(image, crop(dict(img=image))['img']) for _ in range(100)}
    assert places == {(0, 0), (1, 0), (0, 1), (1, 1)}


@pytest.mark.parametrize(
    ('crop_type', 'crop_size', 'heights', 'widths'),
    [
        ('absolute', (8, 6), {6}, {8}),
        ('absolute', (800, 600), {10}, {20}),
        ('absolute_range', (4, 12), set(range(4, 11)), set(range(4, 13))),
        ('relative', (0.5, 0.3), {3}, {10}),
        ('relative', 1.0, {10}, {20}),
        ('relative_range', (0.5, 0.8), set(range(5, 11)), set(range(16, 21))),
    ],
)
def test_crop_sizes(crop_type, crop_size, heights, widths):
    np.random.seed(0)
    crop = build('RandomCrop', crop_size=crop_size, crop_type=crop_type)
    sizes = [crop.draw_size((10, 20)) for _ in range(400)]
    assert {height for height, _ in sizes} == heights
    assert {width for _, width in sizes} == widths


def test_crop_without_objects():
    for sample in (make_sample(20, 10), make_sample(20, 10, [[0, 0, 0, 5]])):
        assert build('RandomCrop', crop_size=(8, 6))(dict(sample)) is None
        results = build('RandomCrop', crop_size=(8, 6), allow_negative_crop=True)(dict(sample))
        assert results['gt_bboxes'].shape == (0, 4)
        assert_consistent(results)


def test_crop_leaves_the_input_alone():
    sample = make_sample(20, 10, [[0, 0, 20, 10]])
    image, boxes = sample['img'], sample['gt_bboxes']
    before = image.copy(), boxes.copy()
    build('RandomCrop', crop_size=(8, 6))(sample)
    assert np.array_equal(image, before[0]) and np.array_equal(boxes, before[1])


def test_expand():
    np.random.seed(0)
    for _ in range(10):
        sample = make_sample(8, 6, [[1, 2, 5, 6]])
        image = sample['img']
        results = build('Expand', mean=(1, 2, 3), to_rgb=True, ratio_range=(2, 4), prob=1.0)(sample)
        height, width = results['img_shape']
        assert 12 <= height <= 24 and 16 <= width <= 32
        left, top = (results['gt_bboxes'][0, :2] - [1, 2]).astype(int)
        assert np.array_equal(results['img'][top : top + 6, left : left + 8], image)
        outside = np.ones((height, width), bool)
        outside[top : top + 6, left : left + 8] = False
        assert (results['img'][outside] == (3, 2, 1)).all()
        assert_consistent(results)
    sample = make_sample(8, 6)
    assert build('Expand', prob=0.0)(sample)['img'] is sample['img']


def test_min_iou_crop():
    random.seed(0)
    np.random.seed(0)
    boxes = crowd(30, 64, 48)
    crop = build('MinIoURandomCrop', min_ious=(0.0,))
    changed = 0
    for _ in range(60):
        sample = make_sample(64, 48, boxes)
        results = crop(sample)
        assert_consistent(results)
        assert len(results['gt_bboxes']) > 0
        height, width = results['img_shape']
        if (height, width) != (48, 64):
            changed += 1
            assert 0.45 <= height / width <= 2.2 and width >= 0.3 * 64 - 1 and height >= 0.3 * 48 - 1
    assert changed > 10


@pytest.mark.parametrize('boxes', [[], [[0, 0, 1, 1]]])
def test_min_iou_crop_of_one_pixel(boxes):
    random.seed(0)
    for _ in range(20):
        assert build('MinIoURandomCrop')(make_sample(1, 1, boxes))['img_shape'] == (1, 1)


def test_filter_annotations():
    boxes = [[0, 0, 1, 5], [0, 0, 2, 3], [0, 0, 5, 1.5], [3, 3, 3, 3]]
    results = build('FilterAnnotations', min_gt_bbox_wh=(1, 1))(make_sample(20, 10, boxes, ignored=[2]))
    assert results['gt_bboxes_labels'].tolist() == [1, 2] and results['gt_ignore_flags'].tolist() == [False, True]
    strict = dict(min_gt_bbox_wh=(9, 9))
    assert build('FilterAnnotations', keep_empty=True, **strict)(make_sample(20, 10, boxes)) is None
    assert build('FilterAnnotations', keep_empty=False, **strict)(make_sample(20, 10, boxes))['gt_bboxes'].shape == (
        0,
        4,
    )
    assert build('FilterAnnotations', keep_empty=True)(make_sample(20, 10)) is not None


@pytest.mark.parametrize(
    ('kind', 'arguments', 'field'),
    [
        ('RandomCrop', dict(crop_size=(-8, 6)), 'crop_size'),
        ('RandomCrop', dict(crop_size=(0.5, 0.5)), 'crop_size'),
        ('RandomCrop', dict(crop_size=(1.5, 0.5), crop_type='relative'), 'crop_size'),
        ('RandomCrop', dict(crop_size=(12, 4), crop_type='absolute_range'), 'crop_size'),
        ('RandomCrop', dict(crop_size=(8, 6), crop_type='big'), 'crop_type'),
        ('Expand', dict(ratio_range=(0.5, 2)), 'ratio_range'),
        ('Expand', dict(ratio_range=(4, 2)), 'ratio_range'),
        ('Expand', dict(prob=2), 'prob'),
        ('Expand', dict(mean='grey'), 'mean'),
        ('MinIoURandomCrop', dict(min_ious=(0.5, 1.5)), 'min_ious'),
        ('MinIoURandomCrop', dict(min_ious=0.5), 'min_ious'),
        ('MinIoURandomCrop', dict(min_crop_size=0), 'min_crop_size'),
        ('FilterAnnotations', dict(min_gt_bbox_wh=(-1, 1)), 'min_gt_bbox_wh'),
        ('FilterAnnotations', dict(by_box=False), 'by_mask'),
    ],
)
def test_bad_arguments(kind, arguments, field):
    with pytest.raises(ConfigError, match=field):
        build(kind, **arguments)


@pytest.mark.parametrize(
    ('crop_type', 'crop_size', 'expected'),
    [
        ('absolute', (8, 6), (6, 8)),
        ('absolute', 7, (7, 7)),
        ('absolute', (30, 6), (6, 20)),
        ('absolute', (8, 60), (10, 8)),
        ('absolute_range', (5, 5), (5, 5)),
        ('absolute_range', (15, 15), (10, 15)),
        ('relative', (0.5, 0.25), (3, 10)),  # 2.5 is rounded up
        ('relative', (0.024, 0.001), (1, 1)),  # never below one pixel
        ('relative_range', (1.0, 1.0), (10, 20)),
    ],
)
def test_crop_size_by_hand(crop_type, crop_size, expected):
    assert build('RandomCrop', crop_size=crop_size, crop_type=crop_type).draw_size((10, 20)) == expected


def test_crop_draws_height_width_top_left_in_this_order():
    for crop_type, crop_size in (('absolute_range', (3, 9)), ('relative_range', (0.3, 0.6)), ('absolute', (7, 4))):
        np.random.seed(3)
        draw = np.random.RandomState(3)
        image = make_sample(20, 10)['img']
        results = build('RandomCrop', crop_size=crop_size, crop_type=crop_type)(dict(img=image))
        if crop_type == 'absolute_range':
            size = draw.randint(3, 10), draw.randint(3, 10)
        elif crop_type == 'relative_range':  # (h, w), unlike all the others
            shares = draw.rand(2)
            size = int(10 * (0.3 + 0.7 * shares[0]) + 0.5), int(20 * (0.6 + 0.4 * shares[1]) + 0.5)
        else:
            size = 4, 7
        assert results['img_shape'] == size
        top, left = draw.randint(10 - size[0] + 1), draw.randint(20 - size[1] + 1)
        assert offset_of(image, results['img']) == (left, top)


def test_crop_keeps_a_box_that_touches_only_if_some_of_it_is_inside(monkeypatch):
    monkeypatch.setattr(np.random, 'randint', lambda *_: 0)  # the window at the upper left
    boxes = [[8, 0, 12, 5], [7.5, 0, 12, 5], [0, 6, 5, 9], [-3, -3, 2, 2]]
    results = build('RandomCrop', crop_size=(8, 6))(make_sample(20, 10, boxes, ignored=[1]))
    assert results['gt_bboxes'].tolist() == [[7.5, 0, 8, 5], [0, 0, 2, 2]]
    assert results['gt_bboxes_labels'].tolist() == [1, 3] and results['gt_ignore_flags'].tolist() == [True, False]
    loose = build('RandomCrop', crop_size=(8, 6), bbox_clip_border=False)(make_sample(20, 10, boxes))
    assert loose['gt_bboxes'].tolist() == [[7.5, 0, 12, 5], [-3, -3, 2, 2]]
    assert loose['gt_bboxes'].dtype == np.float32


def test_expand_draws_in_order_and_moves_boxes():
    np.random.seed(4)
    draw = np.random.RandomState(4)
    sample = make_sample(8, 6, [[1, 2, 5, 6]], ignored=[0])
    image = sample['img']
    results = build('Expand', mean=(1, 2, 3), to_rgb=False, ratio_range=(1.5, 3), prob=0.999)(sample)
    draw.rand()
    ratio = draw.uniform(1.5, 3)
    height, width = int(6 * ratio), int(8 * ratio)
    top, left = draw.randint(height - 6 + 1), draw.randint(width - 8 + 1)
    assert results['img_shape'] == results['img'].shape[:2] == (height, width)
    assert results['gt_bboxes'].tolist() == [[1 + left, 2 + top, 5 + left, 6 + top]]
    assert results['gt_bboxes'].dtype == np.float32 and results['gt_ignore_flags'].tolist() == [True]
    assert np.array_equal(results['img'][top : top + 6, left : left + 8], image)
    assert results['img'].dtype == np.uint8 and results['img'].sum() == image.sum() + 6 * (height * width - 48)


def test_defaults():
    crop = build('MinIoURandomCrop')
    assert crop.min_ious == (0.1, 0.3, 0.5, 0.7, 0.9) and crop.min_crop_size == 0.3 and crop.attempts == 50
    assert crop.bbox_clip_border and build('RandomCrop', crop_size=5).bbox_clip_border
    assert build('FilterAnnotations').keep_empty and build('Expand').mean == (0, 0, 0)


def test_expand_takes_its_mean_as_rgb():
    np.random.seed(0)
    result = build('Expand', mean=[1, 2, 3], ratio_range=(3, 3), prob=1)(make_sample(2, 2))['img']
    assert [3, 2, 1] in result.reshape(-1, 3).tolist()
    assert build('Expand').prob == 0.5 and build('Expand').ratio_range == (1, 4)


@pytest.mark.parametrize(('roll', 'changed'), [(0.2999, True), (0.3, False)])
def test_expand_probability(monkeypatch, roll, changed):
    monkeypatch.setattr(np.random, 'rand', lambda: roll)
    results = build('Expand', ratio_range=(2, 2), prob=0.3)(make_sample(8, 6))
    assert (results['img_shape'] == (12, 16)) is changed


@pytest.mark.parametrize(
    ('mean', 'to_rgb', 'colour'), [(7, True, (7, 7, 7)), ([1, 2, 3], True, (3, 2, 1)), ([1, 2, 3], False, (1, 2, 3))]
)
def test_expand_colour(mean, to_rgb, colour):
    np.random.seed(0)
    image = np.full((2, 2, 3), 99, np.uint8)
    result = build('Expand', mean=mean, to_rgb=to_rgb, ratio_range=(2, 2), prob=1)(dict(img=image))['img']
    assert sorted(map(tuple, result.reshape(-1, 3).tolist())) == sorted([colour] * 12 + [(99, 99, 99)] * 4)


@pytest.mark.parametrize(
    ('box', 'iou'),
    [
        ([0, 0, 10, 10], 1.0),
        ([0, 0, 5, 10], 0.5),
        ([5, 5, 15, 15], 25 / 175),
        ([-4, 2, 4, 6], 16 / 116),
        ([10, 0, 20, 10], 0.0),
        ([12, 12, 15, 20], 0.0),  # left of and above it: the two negative sides do not make an area
        ([3, 3, 3, 3], 0.0),
    ],
)
def test_overlap_with_window_by_hand(box, iou):
    boxes = np.array([box, [0, 0, 10, 10]], np.float32)
    np.testing.assert_allclose(overlap_with_window(boxes, np.array([0, 0, 10, 10])), [iou, 1.0], rtol=1e-6)
    assert overlap_with_window(boxes[:0], np.array([0, 0, 10, 10])).shape == (0,)
    assert overlap_with_window(np.zeros((1, 4)), np.zeros(4)).tolist() == [0.0]
    # A window from (4, 2) to (10, 5), of area 18; 2 x 1 pixels of the box, of area 10, are inside.
    assert overlap_with_window(np.array([[1.0, 1, 6, 3]]), np.array([4, 2, 10, 5])) == pytest.approx(2 / (10 + 18 - 2))


def test_centres_strictly_inside():
    boxes = np.array([[0, 0, 8, 8], [2, 2, 4, 4], [2, 0, 8, 4], [6, 6, 14, 14], [5, 5, 15, 16]], np.float32)
    # Centres (4, 4), (3, 3), (5, 2), (10, 10), (10, 10.5) in a window from (3, 2) to (10, 11).
    assert centres_inside(boxes, np.array([3, 2, 10, 11])).tolist() == [True, False, False, False, False]
    assert centres_inside(boxes, np.array([2, 1, 11, 11])).all()


def script(monkeypatch, choices, numbers):
    """Let ``random.choice`` and ``random.uniform`` give these values in turn; returns what they were asked for."""
    asked, choices, numbers = [], list(choices), list(numbers)
    monkeypatch.setattr(random, 'choice', lambda options: asked.append(tuple(options)) or choices.pop(0))
    monkeypatch.setattr(random, 'uniform', lambda low, high: asked.append((low, high)) or numbers.pop(0))
    return asked


def test_min_iou_window_by_hand(monkeypatch):
    crop = build('MinIoURandomCrop', min_ious=(0.5,), min_crop_size=0.25)
    none = np.zeros((0, 4))
    asked = script(monkeypatch, [1], [])
    assert crop.draw_window((40, 80), none) is None
    assert asked == [(1, 0.5, 0)]
    # Width, height, left, top; pixels are cut off, not rounded.
    asked = script(monkeypatch, [0], [30.0, 20.0, 7.9, 5.8])
    assert crop.draw_window((40, 80), none).tolist() == [7, 5, 37, 25]
    assert asked[1:] == [(20.0, 80), (10.0, 40), (0, 50.0), (0, 20.0)]
    # An aspect ratio above 2 or below 1/2 costs a try without a place; 2 and 1/2 themselves are allowed.
    script(monkeypatch, [0], [20.0, 40.1, 41.0, 20.0, 40.0, 20.0, 1.0, 2.0])
    assert crop.draw_window((40, 80), none).tolist() == [1, 2, 41, 22]
    script(monkeypatch, [0], [20.0, 40.0, 1.0, 0.0])
    assert crop.draw_window((40, 80), none).tolist() == [1, 0, 21, 40]


def test_min_iou_window_needs_the_overlap_of_all_and_the_centre_of_one(monkeypatch):
    crop = build('MinIoURandomCrop', min_ious=(0.5,))
    box = np.array([[0, 0, 20, 10]], np.float32)
    script(monkeypatch, [0.5], [20.0, 19.0, 0.0, 0.0, 20.0, 20.0, 0.0, 0.0])
    assert crop.draw_window((40, 40), box).tolist() == [0, 0, 20, 19]  # IoU 10/19
    script(monkeypatch, [0.5], [20.0, 21.0, 0.0, 0.0, 20.0, 20.0, 0.0, 0.0])
    assert crop.draw_window((40, 40), box).tolist() == [0, 0, 20, 20]  # exactly 0.5 is enough, 10/21 is not
    two = np.array([[0, 0, 20, 10], [0, 10, 20, 14]], np.float32)  # the second has an IoU of 0.2 with that window
    script(monkeypatch, [0.5, 1], [20.0, 20.0, 0.0, 0.0] * 50)
    assert crop.draw_window((40, 40), two) is None  # 50 tries, then another bound
    # Bound 0 asks for a centre only.
    script(monkeypatch, [0], [12.0, 12.0, 0.0, 0.0, 12.0, 12.0, 0.0, 0.0, 12.0, 12.0, 4.0, 0.0])
    far = np.array([[4, 0, 20, 10]], np.float32)  # centre (12, 5): on the border of the first window
    assert crop.draw_window((40, 40), far).tolist() == [4, 0, 16, 12]


def test_min_iou_crop_by_hand(monkeypatch):
    boxes = [[2, 2, 8, 8], [10, 10, 20, 12], [0, 0, 4, 4]]
    for clip, first in ((True, [0, 0, 5, 5]), (False, [-1, -1, 5, 5])):
        script(monkeypatch, [0], [12.0, 10.0, 3.0, 3.0])
        sample = make_sample(40, 30, boxes, ignored=[0])
        image, before = sample['img'], sample['gt_bboxes']
        results = build('MinIoURandomCrop', bbox_clip_border=clip)(sample)
        assert results['gt_bboxes'].tolist() == [first] and results['gt_bboxes'].dtype == np.float32
        assert results['gt_bboxes_labels'].tolist() == [0] and results['gt_ignore_flags'].tolist() == [True]
        assert results['img_shape'] == (10, 12) and np.array_equal(results['img'], image[3:13, 3:15])
        assert before.tolist() == boxes
    script(monkeypatch, [1], [])
    sample = make_sample(40, 30, boxes)
    assert build('MinIoURandomCrop')(sample)['img'] is sample['img']
    script(monkeypatch, [0], [12.0, 10.0, 3.0, 4.0])
    assert build('MinIoURandomCrop')(dict(img=image))['img'].shape == (10, 12, 3)


def test_filter_takes_width_then_height_and_a_strict_bound():
    boxes = [[0, 0, 5, 2], [0, 0, 2, 5], [0, 0, 3, 3], [0, 0, 3.01, 1.01]]
    results = build('FilterAnnotations', min_gt_bbox_wh=(3, 1))(make_sample(20, 10, boxes))
    assert results['gt_bboxes_labels'].tolist() == [0, 3]
    assert (
        build('FilterAnnotations')(make_sample(20, 10, [[0, 0, 1, 9]])) is None
    )  # (1, 1), and empty samples are dropped
    assert 'gt_bboxes' not in build('FilterAnnotations')(dict(img=0))
    for pair in ((1,), (1, -0.1), (float('nan'), 1), 'ab', 3):
        with pytest.raises(ConfigError, match=r'min_gt_bbox_wh: must be two numbers >= 0'):
            build('FilterAnnotations', min_gt_bbox_wh=pair)


@pytest.mark.parametrize(
    ('rolls', 'size_hw'),
    [((0.5, 0.5), (8, 15)), ((0.48, 0.49), (7, 15)), ((0.0, 0.99), (5, 20)), ((0.9, 0.05), (10, 11))],
)
def test_relative_range_rounds_half_up(monkeypatch, rolls, size_hw):
    """Shares of at least one half: 7.5 and 15 pixels, 7.4 and 14.9, 5 and 19.9, 9.5 and 10.5."""
    monkeypatch.setattr(np.random, 'rand', lambda count: np.array(rolls)[:count])
    assert build('RandomCrop', crop_size=0.5, crop_type='relative_range').draw_size((10, 20)) == size_hw


def test_min_iou_window_cuts_off_the_sum_not_the_parts(monkeypatch):
    script(monkeypatch, [0], [30.4, 20.5, 7.9, 5.8])
    assert build('MinIoURandomCrop').draw_window((40, 80), np.zeros((0, 4))).tolist() == [7, 5, 38, 26]


def test_crop_moves_boxes_by_left_and_top(monkeypatch):
    places = iter((3, 7))  # the top is drawn before the left
    monkeypatch.setattr(np.random, 'randint', lambda *_: next(places))
    sample = make_sample(20, 10, [[6.5, 2.5, 9, 8], [16, 3, 18, 5], [0, 0, 7, 3]])
    image = sample['img']
    results = build('RandomCrop', crop_size=(8, 6))(sample)
    assert results['gt_bboxes'].tolist() == [[0, 0, 2, 5]] and results['gt_bboxes_labels'].tolist() == [0]
    assert np.array_equal(results['img'], image[3:9, 7:15])


def test_center_crop_of_an_image_without_objects():
    sample = make_sample(20, 10, [])
    arguments = dict(crop_size=(8, 6), ratios=(1.0,), border=2, mean=[1, 2, 3], to_rgb=True)
    results = build('RandomCenterCropPad', **arguments)(sample)
    assert results['img'].shape == (6, 8, 3) and results['img_shape'] == (6, 8)


def test_center_crop_by_hand():
    boxes = [[0, 0, 6, 6], [14, 4, 20, 10]]
    transform = build('RandomCenterCropPad', crop_size=(16, 12), ratios=(1.0,), border=8, mean=[1, 2, 3], to_rgb=True)
    transform._draw = lambda height, width: ((12, 16), [(5, 10), (3, 4)])  # points y, x
    sample = make_sample(20, 10, boxes)
    image = sample['img'].copy()
    results = transform(sample)
    # The window x 2 to 18, y -1 to 11: a row of fill above and below, and both centres inside.
    assert np.array_equal(results['img'][1:11], image[:, 2:18]) and (results['img'][0] == [3, 2, 1]).all()
    assert results['gt_bboxes'].tolist() == [[0, 1, 4, 7], [12, 5, 16, 11]]
    transform._draw = lambda height, width: ((12, 16), [(5, 0)])
    results = transform(make_sample(20, 10, boxes))
    assert results['gt_bboxes'].tolist() == [[8, 1, 14, 7]] and results['gt_bboxes_labels'].tolist() == [0]
    transform._draw = lambda height, width: ((2, 2), [(9, 9)])
    assert transform(make_sample(20, 10, boxes)) is None


@pytest.mark.parametrize(('mode', 'size'), [(('logical_or', 31), (32, 64)), (('size_divisor', 8), (16, 40))])
def test_center_pad_in_the_test(mode, size):
    transform = build(
        'RandomCenterCropPad', ratios=None, border=None, mean=[0, 0, 0], test_mode=True, test_pad_mode=mode,
        test_pad_add_pix=1,
    )  # fmt: skip
    image = np.full((10, 40, 3), 7, np.uint8)
    results = transform(dict(img=image, img_shape=(10, 40)))
    top, bottom, left, right = results['border'].astype(int)
    assert results['img_shape'] == size and (bottom - top, right - left) == (10, 40)
    assert results['img'].sum() == image.sum() and (results['img'][top:bottom, left:right] == 7).all()


@pytest.mark.parametrize(
    ('arguments', 'field'),
    [
        (dict(), 'crop_size'),
        (dict(crop_size=(8, 8), mean=[1]), 'mean'),
        (dict(test_mode=True), 'ratios'),
        (dict(test_mode=True, ratios=None, border=None, mean=[0, 0, 0], test_pad_mode=('square', 1)), 'test_pad_mode'),
    ],
)
def test_arguments_of_the_center_crop(arguments, field):
    with pytest.raises(ConfigError, match=field):
        build('RandomCenterCropPad', **arguments)
