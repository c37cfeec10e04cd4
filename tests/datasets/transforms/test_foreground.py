"""Mosaics during training: what is imitated, what is packed, and which objects they show."""

import numpy as np
import pytest

from mmdet.core.boxes import HorizontalBoxes
from mmdet.core.ufp import UnifiedForegroundPacking, boxes_to_mosaic, render_mosaic
from mmdet.datasets.transforms import ForegroundMosaic
from mmdet.utils import ConfigError, DataError

# The two objects become two regions: (90, 92.5, 60, 45) at zoom 2 beside (7, 151, 18, 18) at zoom 4.
BOXES = [[100, 100, 140, 130], [10, 154, 22, 166]]
EXACT = dict(drop=0, shift=0, stretch=0, false_boxes=0)


def sample(boxes=BOXES, labels=None, ignored=None):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    image = np.random.default_rng(0).integers(1, 256, (200, 320, 3), dtype=np.uint8)
    return dict(
        img=image,
        img_shape=(200, 320),
        gt_bboxes=boxes,
        gt_bboxes_labels=np.arange(len(boxes)) if labels is None else np.array(labels),
        gt_ignore_flags=np.zeros(len(boxes), bool) if ignored is None else np.array(ignored),
    )


@pytest.mark.parametrize(('boxes', 'options'), [([], {}), (BOXES, dict(drop=1, false_boxes=0)), (BOXES, dict(prob=0))])
def test_an_image_without_regions_stays_whole(boxes, options):
    given = sample(boxes)
    found = ForegroundMosaic(**options)(dict(given))
    assert found['img'] is given['img'] and np.array_equal(found['gt_bboxes'], given['gt_bboxes'])
    assert found['gt_bboxes'].dtype == np.float32 and found['img_shape'] == (200, 320)


def test_perfect_boxes_make_the_mosaic_of_inference():
    given = sample()
    found = ForegroundMosaic(**EXACT)(dict(given, homography_matrix=np.eye(3)))
    regions, width, height = UnifiedForegroundPacking(BOXES, 1.5, (320, 200))
    assert np.array_equal(found['img'], render_mosaic(given['img'], regions, width, height))
    assert found['img_shape'] == found['img'].shape[:2] == (90, 192)
    expected, index, _ = boxes_to_mosaic(np.array(BOXES, float), regions)
    np.testing.assert_allclose(found['gt_bboxes'], expected, atol=1e-4)
    assert found['gt_bboxes'].tolist()[0] == [20, 16, 100, 76]
    assert found['gt_bboxes_labels'].tolist() == index.tolist() == [0, 1]
    assert found['gt_ignore_flags'].tolist() == [False, False] and 'homography_matrix' not in found
    assert np.array_equal(given['gt_bboxes'], np.array(BOXES, np.float32)), 'the arrays of the sample are not changed'


def test_options_of_the_packing_are_those_of_the_detector():
    found = ForegroundMosaic(**EXACT, ufp=dict(mode='exact', max_side=100))(sample())
    regions, width, height = UnifiedForegroundPacking(BOXES, 1.5, (320, 200), mode='exact', max_side=100)
    assert found['img_shape'] == (np.ceil(height), np.ceil(width)) and max(found['img_shape']) <= 100
    small = ForegroundMosaic(**EXACT, coarse_area=1200)(sample())
    assert small['img_shape'] == (72, 72) and small['gt_bboxes_labels'].tolist() == [1]
    weak = ForegroundMosaic(**EXACT, true_scores=(0.1, 0.2), ufp=dict(min_score=0.3))
    assert weak(sample())['img_shape'] == (200, 320), 'no region is sure enough: the image stays whole'


def test_objects_that_a_tile_cuts_or_lacks():
    """Beside the object that is packed, missed ones of which the region shows three quarters, all but one column, and nothing."""
    boxes = [[100, 100, 140, 130], [85, 100, 105, 120], [89, 100, 109, 120], [200, 10, 220, 20]]
    transform = ForegroundMosaic(**EXACT)
    transform.imitate = lambda boxes, labels, size_wh: (boxes[:1].astype(float), np.ones(1))
    found = transform(sample(boxes))
    assert found['gt_bboxes_labels'].tolist() == [0, 2]
    np.testing.assert_allclose(found['gt_bboxes'][1], [0, 16, 38, 56])
    transform.min_visible = 0.96
    assert transform(sample(boxes))['gt_bboxes_labels'].tolist() == [0]


def test_ignored_regions_are_painted_and_shown_in_part():
    boxes, ignored = [[100, 100, 140, 130], [120, 60, 300, 200]], [False, True]
    given = sample(boxes, ignored=ignored)
    found = ForegroundMosaic(**EXACT)(dict(given))
    assert found['img'][:, 61:].max() == 0 and found['img'][:, :59].min() > 0
    assert found['gt_ignore_flags'].tolist() == [False, True]
    np.testing.assert_allclose(found['gt_bboxes'][1], [60, 0, 120, 90])
    assert given['img'].min() > 0, 'the loaded image is not written to'
    bare = ForegroundMosaic(**EXACT, paint_ignored=False)(dict(given))
    assert bare['img'].min() > 0 and bare['gt_ignore_flags'].tolist() == [False, True]
    alone = sample(boxes[1:], ignored=[True])
    assert ForegroundMosaic()(dict(alone))['img'] is alone['img'], 'an ignored region is no object'


def test_imitated_boxes_have_the_rates_asked_for():
    np.random.seed(0)
    boxes = np.tile([[1000, 1000, 1020, 1010], [2000, 2000, 2040, 2040], [3000, 3000, 3200, 3100]], (1000, 1)).astype(float)  # fmt: skip
    labels = np.arange(3000) % 3
    transform = ForegroundMosaic(drop=(0.5, 0.2, 0), shift=0.1, stretch=0.05, false_boxes=(300, 300))
    found, scores = transform.imitate(boxes, labels, (4000, 4000))
    places = [(np.abs(found[:, :2] - x) < 100).all(axis=1).sum() for x in (1000, 2000, 3000)]
    assert places == pytest.approx([500, 800, 1000], abs=45) and len(found) == pytest.approx(2600, abs=70)
    sides = found[:, 2:] - found[:, :2]
    large = (np.abs(found[:, :2] - 3000) < 100).all(axis=1)
    centres = (found[large, :2] + found[large, 2:]) / 2
    assert centres.std(axis=0) == pytest.approx([20, 10], rel=0.1)
    assert np.log(sides[large] / [200, 100]).std(axis=0) == pytest.approx([0.05, 0.05], rel=0.1)
    assert found.min() >= 0 and found.max() <= 4000 and ((scores >= 0) & (scores <= 1)).all()


def test_boxes_come_class_after_class_by_descending_score():
    np.random.seed(0)
    transform = ForegroundMosaic(**{**EXACT, 'false_boxes': (2, 2)}, true_scores=(0.5, 1), false_scores=(0.1, 0.2))
    boxes = np.array([[10 * k, 0, 10 * k + 8, 8] for k in range(6)], float)
    found, scores = transform.imitate(boxes, np.array([1, 0, 1, 0, 1, 0]), (100, 100))
    true = scores > 0.3
    assert true.sum() == 6 and (found[true, 0] // 10 % 2).tolist() == [1, 1, 1, 0, 0, 0]
    assert (np.diff(scores[true][:3]) < 0).all() and (np.diff(scores[true][3:]) < 0).all()


def test_the_same_seed_makes_the_same_mosaic():
    found = []
    for seed in (3, 3, 4):
        np.random.seed(seed)
        found.append(ForegroundMosaic(false_boxes=(2, 6))(sample()))
    assert np.array_equal(found[0]['img'], found[1]['img'])
    assert np.array_equal(found[0]['gt_bboxes'], found[1]['gt_bboxes'])
    assert found[0]['img'].shape != found[2]['img'].shape or not np.array_equal(found[0]['img'], found[2]['img'])


@pytest.mark.parametrize(
    ('options', 'field'),
    [
        (dict(prob=1.5), 'prob'),
        (dict(drop=(0.1, 0.2)), 'drop'),
        (dict(drop=(0.1, 0.2, 3)), 'drop'),
        (dict(shift=-1), 'shift'),
        (dict(stretch='x'), 'stretch'),
        (dict(false_boxes=(3, 1)), 'false_boxes'),
        (dict(false_boxes=1.5), 'false_boxes'),
        (dict(true_scores=0.5), 'true_scores'),
        (dict(coarse_area=-1), 'coarse_area'),
        (dict(ufp=dict(mode='nearly')), 'mode'),
        (dict(ufp=dict(expand=2)), 'ufp'),
    ],
)
def test_arguments_out_of_range_are_named(options, field):
    with pytest.raises(ConfigError, match=field):
        ForegroundMosaic(**options)


def test_a_sample_without_annotations_is_refused():
    with pytest.raises(DataError, match='LoadAnnotations'):
        ForegroundMosaic()(dict(img=np.zeros((8, 8, 3), np.uint8)))


def test_boxes_that_are_objects_stay_objects():
    given = sample()
    expected = ForegroundMosaic(**EXACT)(dict(given))['gt_bboxes']
    found = ForegroundMosaic(**EXACT)(dict(given, gt_bboxes=HorizontalBoxes(given['gt_bboxes'])))['gt_bboxes']
    assert isinstance(found, HorizontalBoxes) and np.array_equal(found.numpy(), expected)
