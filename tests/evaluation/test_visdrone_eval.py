"""The toolkit's rules: hand-made cases of the official code, and random ones against a plain loop."""

import importlib.util

import numpy as np
import pytest

from mmdet.evaluation import BoxTable, Detections, VisDroneTruth, evaluate_visdrone
from mmdet.evaluation.visdrone_eval import VISDRONE_IOU_THRS, in_ignored_regions
from mmdet.utils import ConfigError, DataError


def truth(*images):
    """One list of rows left, top, width, height, score, category for each image."""
    rows = np.array([[i, *row] for i, image in enumerate(images) for row in image], dtype=float).reshape(-1, 7)
    return VisDroneTruth(rows[:, 0], rows[:, 6] - 1, rows[:, 1:5], counted=rows[:, 5] != 0)


def found(*images):
    rows = np.array([[i, *row] for i, image in enumerate(images) for row in image], dtype=float).reshape(-1, 7)
    return Detections(rows[:, 0], rows[:, 6] - 1, rows[:, 1:5], score=rows[:, 5])


def score(gt, dt, sizes_wh=((100, 100),), **options):
    return evaluate_visdrone(gt, dt, sizes_wh=np.array(sizes_wh), **options)


def percent(*values):
    return [round(100 * value, 6) for value in values]


def summary(result):
    return percent(
        result.mean_ap(),
        result.mean_ap(0.5),
        result.mean_ap(0.75),
        *(result.mean_recall(limit) for limit in result.max_dets),
    )


def test_nothing_at_all():
    result = score(truth([]), found([]))
    assert result.mean_ap() == result.mean_recall(500) == result.mean_ap(plain=True) == -1
    assert result.ap.shape == (10, 10) and result.recall.shape == (10, 10, 4) and not result.image_count.any()


def test_no_images():
    result = evaluate_visdrone(truth(), found(), sizes_wh=np.zeros((0, 2)))
    assert result.mean_ap() == -1


def test_nothing_detected():
    result = score(truth([[10, 10, 20, 20, 1, 4]]), found([]))
    assert summary(result) == [0] * 7 and result.image_count[3] == 1


def test_nothing_to_find():
    result = score(truth([]), found([[10, 10, 20, 20, 0.9, 4]]))
    assert summary(result) == [-1 * 100] * 7


def test_thresholds_are_the_toolkits():
    assert VISDRONE_IOU_THRS.tolist() == [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.8500000000000001, 0.9, 0.95]


@pytest.mark.parametrize(
    ('region', 'boxes', 'dropped'),
    [
        (
            (10, 10, 10, 10),
            [(left, 10, 10, 10) for left in (3, 4, 10, 15, 16, 3.4, 3.5, 15.4, 15.5)],
            [False, True, True, True, False, False, True, True, False],
        ),
        (
            (10, 10, 10, 10),
            [(side, side, 0.2, 0.2) for side in (8.4, 9.4, 12, 19.4, 20)],
            [False, True, True, True, False],
        ),
        ((90, 0, 10, 100), [(left, 10, 10, 10) for left in (95, 96, 97)], [True, False, False]),
        (
            (0, 0, 10, 10),
            [(0, 0, 10, 10), (4, 0, 10, 10), (5, 0, 10, 10), (6, 0, 10, 10), (7, 0, 10, 10)],
            [True] * 4 + [False],
        ),
        ((200, 200, 10, 10), [(0, 0, 10, 10), (95, 95, 10, 10)], [False, False]),  # the region lies outside
    ],
)
def test_ignored_regions(region, boxes, dropped):
    box_table = BoxTable([0] * len(boxes), [3] * len(boxes), boxes)
    inside = in_ignored_regions(box_table, BoxTable([0], [-1], [region]), np.array([[100, 100]]))
    assert inside.tolist() == dropped
    for category in (4, 11):  # objects go by the same rule
        result = score(truth([[*region, 0, 0], *([*box, 1, category] for box in boxes)]), found([]))
        assert result.dropped_gt == sum(dropped)


def test_overlapping_regions_count_once():
    regions = BoxTable([0, 0], [-1, -1], [(10, 10, 4, 20), (12, 10, 2, 20)])
    boxes = BoxTable([0], [0], [(10, 10, 10, 10)])  # columns 11..20, of which 11..14 are marked
    assert in_ignored_regions(boxes, regions, np.array([[100, 100]])).tolist() == [False]


def test_other_categories_are_no_regions():
    result = score(truth([[10, 10, 10, 10, 1, 4]]), found([[10, 10, 10, 10, 0.9, 4]]))
    assert result.dropped_gt == result.dropped_det == 0 and result.mean_ap() == 1.0


def test_two_images():
    gt = truth(
        [
            [60, 10, 30, 30, 0, 0], [10, 10, 20, 20, 1, 4], [40, 10, 20, 10, 1, 4], [12, 50, 5, 10, 1, 1],
            [64, 14, 5, 10, 1, 1], [70, 50, 10, 10, 0, 11],
        ],
        [[10, 10, 40, 20, 1, 4], [60, 40, 20, 20, 1, 4]],
    )  # fmt: skip
    dt = found(
        [
            [10, 10, 20, 20, 0.9, 4], [40, 10, 20, 15, 0.8, 4], [12, 50, 5, 12, 0.7, 1], [65, 15, 6, 10, 0.6, 1],
            [11, 11, 20, 20, 0.5, 4], [70, 50, 10, 10, 0.4, 4], [12, 51, 5, 10, 0.3, 1],
        ],
        [[60, 40, 20, 20, 0.95, 1], [12, 10, 40, 20, 0.85, 4], [60, 40, 20, 16, 0.8, 4], [100, 70, 10, 10, 0.2, 4]],
    )  # fmt: skip
    result = score(gt, dt, ((100, 80), (120, 90)))
    assert (result.dropped_gt, result.dropped_det) == (1, 1)
    assert result.image_count.tolist() == [1, 0, 0, 2, 0, 0, 0, 0, 0, 0]
    assert percent(*result.ap[0]) == [50] * 7 + [0] * 3
    assert percent(*result.ap[3]) == [100] * 4 + [68.75] * 3 + [50] * 2 + [25]
    assert summary(result) == [60.416667, 83.333333, 62.5, 16.666667, 73.333333, 73.333333, 73.333333]
    assert percent(*(result.mean_ap(thr, plain=True) for thr in (None, 0.5, 0.75))) == [54.0625, 75, 59.375]


def test_limit_counts_rows_of_all_classes_in_file_order():
    """500 rows of another class first: the hit in row 501 never counts, whatever its score."""
    others, hit = [[50, 50, 5, 5, 0.1, 1]] * 500, [10, 10, 20, 20, 0.9, 4]
    gt = truth([[10, 10, 20, 20, 1, 4]])
    assert score(gt, found([*others, hit])).mean_recall(500) == 0
    assert score(gt, found([*others[:-1], hit])).mean_recall(500) == 1
    assert score(gt, found([hit, *others] + others[:199])).mean_recall(1) == 1


def test_rows_dropped_by_the_ignore_rule_leave_room():
    region, gone, hit = [60, 60, 20, 20, 0, 0], [65, 65, 5, 5, 0.95, 1], [10, 10, 20, 20, 0.9, 4]
    result = score(truth([region, [10, 10, 20, 20, 1, 4]]), found([gone] * 500 + [hit]))
    assert result.dropped_det == 500 and result.mean_recall(1) == 1


def test_unknown_categories_use_up_the_limit():
    gt = truth([[10, 10, 20, 20, 1, 4]])
    result = score(gt, found([[0, 0, 5, 5, 0.9, 11], [0, 0, 5, 5, 0.9, 0], [10, 10, 20, 20, 0.8, 4]]))
    assert result.mean_recall(1) == 0 and result.mean_ap() == 1


def test_equality_with_a_threshold_matches():
    result = score(truth([[0, 0, 20, 20, 1, 4]]), found([[0, 0, 20, 15, 0.9, 4]]))  # IoU 3/4
    assert result.ap[3].tolist() == [1] * 6 + [0] * 4


def test_of_equal_overlaps_the_later_object_is_taken():
    """The first detection overlaps both by 0.6; taking the later one leaves the first to the second detection."""
    gt = truth([[0, 0, 16, 10, 1, 4], [8, 0, 16, 10, 1, 4]])
    first, second = [4, 0, 16, 10, 0.9, 4], [0, 0, 16, 10, 0.8, 4]
    assert score(gt, found([first, second]), iou_thrs=[0.6]).mean_recall(500) == 1
    assert score(gt, found([first, [8, 0, 16, 10, 0.8, 4]]), iou_thrs=[0.6]).mean_recall(500) == 0.5


def test_objects_of_score_zero_are_neutral():
    gt = truth([[0, 0, 20, 20, 1, 4], [50, 50, 40, 40, 0, 4]])
    dt = found([[0, 0, 20, 20, 0.5, 4], [55, 55, 5, 5, 0.9, 4], [60, 60, 5, 5, 0.8, 4]])
    result = score(gt, dt)
    assert result.gt_count[3] == 2 and percent(result.mean_ap(), result.mean_recall(500)) == [50, 50]


def test_weights_are_images_that_contain_the_class():
    gt = truth([[0, 0, 9, 9, 1, 1], [20, 20, 9, 9, 1, 1], [40, 40, 9, 9, 1, 4]], [[0, 0, 9, 9, 1, 1]])
    result = score(gt, found([[40, 40, 9, 9, 0.9, 4]], []), ((100, 100),) * 2)
    assert result.image_count.tolist()[:4] == [2, 0, 0, 1]
    assert percent(result.mean_ap(), result.mean_ap(plain=True)) == [33.333333, 50]


@pytest.mark.parametrize('seed', range(3))
def test_against_the_plain_loop(repository, seed):
    spec = importlib.util.spec_from_file_location('plain', repository / 'benchmarks' / 'visdrone_eval.py')
    plain = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plain)
    gt, dt, sizes_wh = plain.make_case(images=6, gt_per_image=40, dt_per_image=(60, 120, 560)[seed], seed=seed)
    result = evaluate_visdrone(gt, dt, sizes_wh=sizes_wh)
    ap, recall, image_count, *dropped = plain.plain_loop(gt, dt, sizes_wh)
    assert dropped == [result.dropped_gt, result.dropped_det] and min(dropped) > 0
    assert image_count.tolist() == result.image_count.tolist()
    np.testing.assert_allclose(result.ap, ap, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(result.recall, recall)


def test_errors():
    gt, dt = truth([[0, 0, 9, 9, 0, 0]]), found([[0, 0, 9, 9, 0.9, 4]])
    with pytest.raises(DataError, match='width and height > 0'):
        score(gt, dt, ((0, 0),))
    with pytest.raises(DataError, match=r'image: must be in 0\.\.-1'):
        evaluate_visdrone(gt, dt, sizes_wh=np.zeros((0, 2)))
    with pytest.raises(DataError, match='row 0: score: must be finite'):
        score(gt, found([[0, 0, 9, 9, np.nan, 4]]))
    with pytest.raises(ConfigError, match='max_dets'):
        score(gt, dt, max_dets=())
    with pytest.raises(ConfigError, match='iou_thr'):
        score(gt, dt).mean_ap(0.52)


def test_overlap_at_the_threshold_with_an_object_that_does_not_count_is_neutral():
    """Half of the first detection lies on an object of score 0: right at the threshold 0.5, it is neither right nor wrong.

    The toolkit counts such an object among those to be found: recall ends at 1/2.
    """
    gt = VisDroneTruth([0, 0], [3, 3], [[0, 0, 5, 10], [50, 50, 10, 10]], counted=[False, True])
    dt = Detections([0, 0], [3, 3], [[0, 0, 10, 10], [50, 50, 10, 10]], score=[0.9, 0.8])
    result = evaluate_visdrone(gt, dt, sizes_wh=np.array([[100, 100]]))
    assert result.class_ap(0.5)[3] == 0.5 and result.class_ap(0.55)[3] == 0.25


def test_halves_of_regions_are_rounded_away_from_zero():
    """A region 2.5 wide counts as 3, so marks columns 0..3: half of a box whose columns are 1..6."""
    region, box = BoxTable([0], [-1], [[1, 1, 2.5, 10]]), BoxTable([0], [3], [[1, 1, 6, 6]])
    assert in_ignored_regions(box, region, np.array([[100, 100]])).tolist() == [True]
    assert not in_ignored_regions(box, BoxTable([0], [-1], [[1, 1, 2.4, 10]]), np.array([[100, 100]])).any()
