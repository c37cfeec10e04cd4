import random

import numpy as np
import pytest

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


def test_min_iou_crop_holds_its_bound():
    random.seed(0)
    crop = build('MinIoURandomCrop', min_ious=(0.5,))
    boxes = np.array([[10, 10, 40, 40]], np.float32)
    for _ in range(50):
        window = crop.draw_window((48, 64), boxes)
        if window is None:
            continue
        overlap = np.clip(np.minimum(window[2:], 40) - np.maximum(window[:2], 10), 0, None).prod()
        assert overlap > 0  # bound 0.5 or "any overlap"


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
        ('RandomCrop', dict(crop_size=(8, 6), recompute_bbox=True), 'recompute_bbox'),
        ('Expand', dict(ratio_range=(0.5, 2)), 'ratio_range'),
        ('Expand', dict(ratio_range=(4, 2)), 'ratio_range'),
        ('Expand', dict(prob=2), 'prob'),
        ('Expand', dict(mean='grey'), 'mean'),
        ('MinIoURandomCrop', dict(min_ious=(0.5, 1.5)), 'min_ious'),
        ('MinIoURandomCrop', dict(min_ious=0.5), 'min_ious'),
        ('MinIoURandomCrop', dict(min_crop_size=0), 'min_crop_size'),
        ('FilterAnnotations', dict(min_gt_bbox_wh=(-1, 1)), 'min_gt_bbox_wh'),
        ('FilterAnnotations', dict(by_mask=True), 'by_mask'),
    ],
)
def test_bad_arguments(kind, arguments, field):
    with pytest.raises(ConfigError, match=field):
        build(kind, **arguments)
