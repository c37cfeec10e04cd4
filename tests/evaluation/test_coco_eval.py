"""evaluate_boxes: hand-made answers, and equality with pycocotools on random cases."""

import numpy as np
import pytest

from mmdet.evaluation import Detections, GroundTruth, evaluate_boxes
from mmdet.evaluation.coco_report import format_value, summary
from mmdet.utils import ConfigError, DataError

NO_GT = GroundTruth([], [], [])
NO_DT = Detections([], [], [])
BACKENDS = ['hotcoco', 'pycocotools']


@pytest.fixture(params=BACKENDS)
def backend(request):
    pytest.importorskip(request.param)
    return request.param


def one(box, image=0, label=0, **columns):
    return dict(image=[image], label=[label], bbox=[box], **columns)


@pytest.mark.parametrize('num_images', [0, 2])
@pytest.mark.parametrize('class_agnostic', [False, True])
def test_nothing_at_all_is_minus_one(backend, num_images, class_agnostic):
    result = evaluate_boxes(
        NO_GT, NO_DT, num_images=num_images, num_classes=3, class_agnostic=class_agnostic, backend=backend
    )
    classes = 1 if class_agnostic else 3
    assert result.precision.shape == result.scores.shape == (10, 101, classes, 4, 3)
    assert result.recall.shape == (10, classes, 4, 3)
    assert result.ap() == result.ar() == -1
    assert format_value(result.ap()) == '-'


def test_no_detections_is_zero_where_there_is_ground_truth(backend):
    gt = GroundTruth(**one([0, 0, 10, 10]))
    result = evaluate_boxes(gt, NO_DT, num_images=1, num_classes=2, backend=backend)
    assert [result.ap(area=area) for area in result.areas] == [0, 0, -1, -1]
    assert result.ap(label=0) == 0 and result.ap(label=1) == -1
    assert result.gt_count.tolist() == [1, 0]


def test_iou_exactly_at_a_threshold_matches(backend):
    # 10x10 against 10x15: IoU 100 / 150; against 10x20: 0.5 exactly.
    gt = GroundTruth([0, 1], [0, 0], [[0, 0, 10, 10], [0, 0, 10, 10]])
    dt = Detections([0, 1], [0, 0], [[0, 0, 10, 15], [0, 0, 10, 20]], score=[0.9, 0.8])
    result = evaluate_boxes(gt, dt, num_images=2, num_classes=1, backend=backend)
    assert result.ap(0.5) == 1
    assert result.ap(0.55) == pytest.approx(51 / 101)  # recall 0.5 at precision 1: recalls 0.00 .. 0.50
    assert result.ap(0.65) == pytest.approx(51 / 101)
    assert result.ap(0.7) == 0
    assert result.ap(0.52) == -1  # not evaluated
    assert result.ap() == pytest.approx((1 + 3 * 51 / 101) / 10)
    assert result.ar() == pytest.approx((1 + 3 * 0.5) / 10)


def test_crowd_takes_any_number_of_detections_and_is_never_missed(backend):
    gt = GroundTruth([0, 0], [0, 0], [[0, 0, 10, 10], [50, 50, 40, 40]], crowd=[False, True])
    dt = Detections([0, 0, 0], [0, 0, 0], [[0, 0, 10, 10], [50, 50, 10, 10], [60, 60, 10, 10]], score=[0.5, 0.9, 0.8])
    result = evaluate_boxes(gt, dt, num_images=1, num_classes=1, backend=backend)
    assert result.ap() == 1
    assert result.gt_count.tolist() == [1]


def test_ground_truth_is_counted_by_class_or_in_all():
    gt = GroundTruth([0] * 4, [0, 1, 1, 1], [[0, 0, 9, 9]] * 4, crowd=[False, False, False, True])
    for class_agnostic, expected in ((False, [1, 2, 0]), (True, [3])):
        result = evaluate_boxes(gt, NO_DT, num_images=1, num_classes=3, class_agnostic=class_agnostic)
        assert result.gt_count.tolist() == expected


def test_area_bounds_are_inclusive(backend):
    gt = GroundTruth(**one([0, 0, 32, 32]))
    dt = Detections(**one([0, 0, 32, 32], score=[0.5]))
    result = evaluate_boxes(gt, dt, num_images=1, num_classes=1, backend=backend)
    assert [result.ap(area=area) for area in result.areas] == [1, 1, 1, -1]


def test_limit_of_detections_is_per_image_and_class(backend):
    """facts: 150 perfect detections, COCO's headline at 100 reaches recall 2/3 only."""
    left = np.arange(150) * 30.0
    boxes = np.stack([left, np.zeros(150), np.full(150, 20.0), np.full(150, 20.0)], axis=1)
    gt = GroundTruth(np.zeros(150), np.zeros(150), boxes)
    dt = Detections(np.zeros(150), np.zeros(150), boxes, score=np.linspace(1, 0.1, 150))
    result = evaluate_boxes(gt, dt, num_images=1, num_classes=1, max_dets=(500, 10, 100), backend=backend)
    assert result.max_dets == (10, 100, 500)
    assert result.ap(max_dets=100) == pytest.approx(67 / 101)
    assert result.ap(max_dets=500) == result.ap() == 1
    assert result.ar(max_dets=10) == pytest.approx(1 / 15)
    assert 'maxDets= 100 ] = 0.663' in summary(result, 100, (10, 100, 500))

    # the same boxes spread over two classes: 75 each, the limit of 100 cuts nothing
    half = np.arange(150) % 2
    gt.label = dt.label = half
    assert evaluate_boxes(gt, dt, num_images=1, num_classes=2, backend=backend).ap(max_dets=100) == 1


def test_first_ground_truth_box_counts(backend):
    """facts: annotation ids that start at 0 make pycocotools lose a match; ids are ours here."""
    gt = GroundTruth([0, 0], [0, 0], [[0, 0, 10, 10], [50, 0, 10, 10]])
    dt = Detections([0, 0], [0, 0], gt.bbox, score=[0.9, 0.8])
    assert evaluate_boxes(gt, dt, num_images=1, num_classes=1, backend=backend).ap() == 1


def random_case(seed):
    """Boxes on a coarse grid: equal scores, equal overlaps, overlaps at a threshold, areas at a bound are frequent."""
    rng = np.random.default_rng(seed)
    images, classes = int(rng.integers(1, 5)), int(rng.integers(1, 4))
    grid = rng.choice([1, 8, 16])
    gts, dts = int(rng.choice([0, 2, 10, 60])), int(rng.choice([0, 3, 40, 150]))

    def boxes(count, smallest):
        return np.c_[rng.integers(-2, 12, (count, 2)), rng.integers(smallest, 10, (count, 2))] * float(grid)

    gt = GroundTruth(
        rng.integers(0, images, gts),
        rng.integers(0, classes, gts),
        boxes(gts, 0),
        area=None if seed % 3 else rng.integers(0, 12, gts) * 512.0,
        crowd=rng.random(gts) < rng.choice([0, 0.3]),
    )
    image, label, bbox = rng.integers(0, images, dts), rng.integers(0, classes, dts), boxes(dts, 0)
    if gts:
        copies, source = rng.random(dts) < 0.7, rng.integers(0, gts, dts)
        image[copies], label[copies], bbox[copies] = (c[source[copies]] for c in (gt.image, gt.label, gt.bbox))
        bbox[copies, 2] = (bbox[copies, 2] - grid * rng.integers(0, 2, copies.sum())).clip(0)
    if seed % 4 == 0:
        bbox += rng.random(bbox.shape)
    score = rng.choice([0.0, 0.2, 0.9, 1.0], dts) if seed % 2 else rng.random(dts)
    return gt, Detections(image, label, bbox, score=score), images, classes


@pytest.mark.parametrize('block', range(4))
def test_equals_pycocotools_on_random_cases(block):
    pytest.importorskip('hotcoco')
    pytest.importorskip('pycocotools')
    for seed in range(100 * block, 100 * (block + 1)):
        gt, dt, images, classes = random_case(seed)
        arguments = dict(
            num_images=images,
            num_classes=classes,
            max_dets=[(1, 10, 100), (2, 5, 7), (500, 10), (100,)][seed % 4],
            iou_thrs=[None, None, (0.6, 0.3), (0.5, 0.75, 1.0)][seed // 4 % 4],
            class_agnostic=seed % 5 == 0,
        )
        if seed % 7 == 0:
            arguments['area_ranges'] = {'all': (0, 1e10), 'tiny': (0, 256), 'rest': (256, 1e10)}
        ours, reference = (evaluate_boxes(gt, dt, backend=name, **arguments) for name in BACKENDS)
        for name in ('precision', 'recall', 'scores'):
            np.testing.assert_allclose(
                getattr(ours, name), getattr(reference, name), rtol=0, atol=1e-9, err_msg=f'{name}, seed {seed}'
            )
        assert ours.gt_count.tolist() == reference.gt_count.tolist()


def test_reading_the_arrays_equals_pycocotools_summary(capsys):
    """The twelve numbers, for the one setting where pycocotools' hard-wired summary is right."""
    pytest.importorskip('pycocotools')
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    gt, dt, images, classes = random_case(11)
    rows = [
        dict(id=i + 1, image_id=im, category_id=c, bbox=b, area=a, iscrowd=int(o))
        for i, (im, c, b, a, o) in enumerate(
            zip(gt.image.tolist(), gt.label.tolist(), gt.bbox.tolist(), gt.area.tolist(), gt.crowd)
        )
    ]
    truth = COCO()
    truth.dataset = dict(
        info={}, images=[dict(id=i) for i in range(images)], categories=[dict(id=c) for c in range(classes)]
    )
    truth.dataset['annotations'] = rows
    truth.createIndex()
    found = truth.loadRes(
        [
            dict(image_id=im, category_id=c, bbox=b, score=s)
            for im, c, b, s in zip(dt.image.tolist(), dt.label.tolist(), dt.bbox.tolist(), dt.score.tolist())
        ]
    )
    reference = COCOeval(truth, found, 'bbox')
    reference.evaluate()
    reference.accumulate()
    reference.summarize()
    result = evaluate_boxes(gt, dt, num_images=images, num_classes=classes)
    ours = [result.ap(), result.ap(0.5), result.ap(0.75), *(result.ap(area=a) for a in ('small', 'medium', 'large'))]
    ours += [result.ar(max_dets=k) for k in (1, 10, 100)]
    ours += [result.ar(area=a) for a in ('small', 'medium', 'large')]
    assert len(dt) > 20 and 0 < ours[0] < 1
    np.testing.assert_allclose(ours, reference.stats, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(image=[5]), 'detections: row 0: image: must be in 0..0. Received: 5'),
        (dict(label=[-1]), 'detections: row 0: label: must be in 0..0. Received: -1'),
        (dict(bbox=[[0, 0, float('nan'), 1]]), 'detections: row 0: bbox: must be finite'),
        (dict(score=[float('inf')]), 'detections: row 0: score: must be finite'),
    ],
)
def test_bad_rows_are_named(change, message):
    dt = Detections(**{**one([0, 0, 5, 5], score=[0.5]), **change})
    with pytest.raises(DataError) as error:
        evaluate_boxes(GroundTruth(**one([0, 0, 5, 5])), dt, num_images=1, num_classes=1)
    assert message in str(error.value)


def test_bad_arguments():
    with pytest.raises(DataError, match='score: must have 1 rows'):
        Detections(**one([0, 0, 5, 5], score=[0.5, 0.4]))
    for arguments in (
        dict(iou_thrs=[]),
        dict(iou_thrs=[50]),
        dict(max_dets=[0]),
        dict(backend='best'),
        dict(num_classes=0),
    ):
        with pytest.raises(ConfigError):
            evaluate_boxes(NO_GT, NO_DT, **{'num_images': 1, 'num_classes': 1, **arguments})
    result = evaluate_boxes(NO_GT, NO_DT, num_images=1, num_classes=1)
    with pytest.raises(ConfigError, match=r'evaluated limits \[1, 10, 100\]. Received: 500'):
        result.ap(max_dets=500)
    with pytest.raises(ConfigError, match='tiny'):
        result.ar(area='tiny')


def test_falls_back_to_pycocotools(monkeypatch):
    import importlib.util

    from mmdet.evaluation import coco_eval

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None if name == 'hotcoco' else found(name))
    assert coco_eval._evaluator('auto') is coco_eval._pycocotools
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(ConfigError, match='pip install hotcoco'):
        coco_eval._evaluator('auto')


def test_constants_of_coco():
    """Both bounds of a range belong to it: an area of 32 x 32 is small and medium, one of 96 x 96 medium and large."""
    from mmdet.evaluation.coco_eval import COCO_AREA_RANGES, COCO_IOU_THRS

    assert COCO_AREA_RANGES == {'all': (0, 1e10), 'small': (0, 1024), 'medium': (1024, 9216), 'large': (9216, 1e10)}
    assert COCO_IOU_THRS.tolist() == [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.8999999999999999, 0.95]
