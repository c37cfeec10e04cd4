"""Matrices counted by hand. Labels: 0 car, 1 bus, 2 dog; 3 is background."""

import csv
import json

import numpy as np
import pytest

from mmdet.analysis import (
    confusion_matrix,
    load_prediction_set,
    normalized_rows,
    pair_with_dataset,
    write_confusion_matrix,
)
from mmdet.analysis.confusion import counts_text
from mmdet.registry import DATASETS
from mmdet.utils import ConfigError, DataError, load_config

from .cases import CLASSES, image, prediction_set, write_coco_folder, write_coco_results


def entries(matrix):
    return {(int(row), int(column)): int(matrix[row, column]) for row, column in zip(*np.nonzero(matrix))}


CAR, BUS, DOG, NONE = range(4)
BOX, FAR = (0, 0, 10, 10), (50, 50, 60, 60)


@pytest.mark.parametrize(
    'gt, dt, expected',
    [
        ([], [], {}),
        ([(*BOX, CAR)], [], {(CAR, NONE): 1}),
        ([], [(*BOX, 0.9, DOG)], {(NONE, DOG): 1}),
        ([(*BOX, CAR)], [(*BOX, 0.9, CAR)], {(CAR, CAR): 1}),
        # three boxes: found, taken for another class, missed; and one that was invented
        (
            [(*BOX, CAR), (20, 0, 30, 10, BUS), (*FAR, DOG)],
            [(*BOX, 0.9, CAR), (20, 0, 30, 10, 0.8, CAR), (80, 80, 90, 90, 0.7, BUS)],
            {(CAR, CAR): 1, (BUS, CAR): 1, (DOG, NONE): 1, (NONE, BUS): 1},
        ),
        # the right class wins over a better score and overlap of the wrong one, which then has no object
        ([(*BOX, CAR)], [(*BOX, 0.9, BUS), (0, 0, 10, 8, 0.5, CAR)], {(CAR, CAR): 1, (NONE, BUS): 1}),
        # a second detection of one object has no object
        ([(*BOX, CAR)], [(*BOX, 0.9, CAR), (*BOX, 0.8, CAR)], {(CAR, CAR): 1, (NONE, CAR): 1}),
        # each detection takes the object it overlaps most
        ([(*BOX, CAR), (0, 0, 10, 9, CAR)], [(0, 0, 10, 9, 0.9, CAR), (*BOX, 0.8, CAR)], {(CAR, CAR): 2}),
        # below the score threshold; at it
        ([(*BOX, CAR)], [(*BOX, 0.29, CAR)], {(CAR, NONE): 1}),
        ([(*BOX, CAR)], [(*BOX, 0.3, CAR)], {(CAR, CAR): 1}),
        # IoU exactly at the threshold, and just below
        ([(*BOX, CAR)], [(0, 0, 10, 5, 0.9, CAR)], {(CAR, CAR): 1}),
        ([(*BOX, CAR)], [(0, 0, 10, 4.9, 0.9, CAR)], {(CAR, NONE): 1, (NONE, CAR): 1}),
    ],
)
def test_by_hand(gt, dt, expected):
    assert entries(confusion_matrix(prediction_set(image(gt, dt)))) == expected


def test_ignored_regions_swallow_detections_and_are_not_missed():
    crowd = (0, 0, 50, 50, CAR)
    inside, outside = (10, 10, 20, 20, 0.9, DOG), (45, 45, 70, 70, 0.9, DOG)
    assert entries(confusion_matrix(prediction_set(image([], [inside, outside], ignored=[crowd])))) == {(NONE, DOG): 1}


@pytest.mark.parametrize(
    'dt, expected',
    [
        ((0, 0, 10, 10), {}),  # inside
        ((-10, 0, 10, 10), {}),  # half inside, the threshold
        ((-11, 0, 10, 10), {(NONE, BUS): 1}),  # less
    ],
)
def test_share_inside_an_ignored_region(dt, expected):
    region = (0, 0, 50, 50, CAR)
    assert entries(confusion_matrix(prediction_set(image([], [(*dt, 0.9, BUS)], ignored=[region])))) == expected


@pytest.mark.parametrize(
    'gt, dt, options, expected',
    [
        # Of two detections of equal score the first comes first; it takes the object.
        ([(*BOX, CAR)], [(0, 0, 10, 9, 0.5, CAR), (*BOX, 0.5, CAR)], {}, {(CAR, CAR): 1, (NONE, CAR): 1}),
        # The better score takes the object that both overlap; the other takes the next.
        ([(*BOX, CAR), (0, 1, 10, 11, CAR)], [(0, 1, 10, 11, 0.6, CAR), (*BOX, 0.9, CAR)], {}, {(CAR, CAR): 2}),
        # Across classes by score, too: DOG takes the object that it overlaps most.
        ([(*BOX, CAR)], [(0, 0, 10, 9, 0.6, BUS), (*BOX, 0.8, DOG)], {}, {(CAR, DOG): 1, (NONE, BUS): 1}),
        ([(*BOX, CAR)], [(0, 0, 10, 4, 0.9, CAR)], dict(tp_iou_thr=0.4), {(CAR, CAR): 1}),
        ([(*BOX, CAR)], [(*BOX, 0.05, CAR)], dict(score_thr=0.05), {(CAR, CAR): 1}),
        # NMS within a class only, at the threshold given.
        ([], [(*BOX, 0.9, CAR), (0, 0, 10, 6, 0.8, CAR), (0, 0, 10, 6, 0.7, BUS)], dict(nms_iou_thr=0.5), {(NONE, CAR): 1, (NONE, BUS): 1}),
        ([], [(*BOX, 0.9, CAR), (0, 0, 10, 6, 0.8, CAR)], dict(nms_iou_thr=0.7), {(NONE, CAR): 2}),
    ],
)  # fmt: skip
def test_order_of_pairs(gt, dt, options, expected):
    assert entries(confusion_matrix(prediction_set(image(gt, dt)), **options)) == expected


def test_counts_in_a_line():
    matrix = np.array([[5, 1, 0, 2], [0, 3, 1, 0], [0, 0, 0, 4], [7, 0, 2, 0]])
    assert (
        counts_text(matrix)
        == '16 objects: 8 found, 6 missed, 2 taken for another class; 9 detections without an object'
    )


def test_nms_before_and_sums():
    images = [
        image([(*BOX, CAR)], [(*BOX, 0.9, CAR), (*BOX, 0.8, CAR), (*BOX, 0.7, BUS)]),
        image([(*FAR, BUS)], [], image_id=2),
    ]
    matrix = confusion_matrix(prediction_set(*images), nms_iou_thr=0.5)
    assert entries(matrix) == {(CAR, CAR): 1, (NONE, BUS): 1, (BUS, NONE): 1}
    assert matrix[:-1].sum() == 2  # objects
    assert np.allclose(normalized_rows(matrix).sum(axis=1), [1, 1, 0, 1])


@pytest.mark.parametrize('wrong', [dict(score_thr=2), dict(tp_iou_thr=0), dict(nms_iou_thr=-1)])
def test_thresholds_are_checked(wrong):
    with pytest.raises(ConfigError, match='within 0 and 1'):
        confusion_matrix(prediction_set(), **wrong)


def test_files(tmp_path):
    matrix = np.arange(16).reshape(4, 4)
    paths = write_confusion_matrix(matrix, CLASSES, tmp_path / 'new', normalize=True, settings=dict(score_thr=0.3))
    assert paths[0].read_bytes()[:4] == b'\x89PNG'
    rows = list(csv.reader(paths[1].open()))
    assert rows[0][1:] == ['car', 'bus', 'dog', 'background'] and rows[2] == ['bus', '4', '5', '6', '7']
    content = json.loads(paths[2].read_text())
    assert content['counts'] == matrix.tolist() and content['settings'] == dict(score_thr=0.3)
    assert content['row_shares'][0] == [0, 0.166667, 0.333333, 0.5]
    with pytest.raises(ConfigError, match='colour map'):
        write_confusion_matrix(matrix, CLASSES, tmp_path, color_theme='no such')


def test_from_files(tmp_path):
    config, _ = write_coco_folder(tmp_path)
    predictions = load_prediction_set(load_config(config), write_coco_results(tmp_path))
    assert predictions.classes == CLASSES and predictions.missing == 0
    # the bus was called a car, the detection in the crowd is left out, the dog was missed beside its box
    expected = {(CAR, CAR): 1, (BUS, CAR): 1, (DOG, NONE): 1, (NONE, DOG): 1}
    assert entries(confusion_matrix(predictions)) == expected


def test_samples_and_2x_pickles_give_the_same(tmp_path):
    config, _ = write_coco_folder(tmp_path)
    dataset = DATASETS.build(load_config(config).test_dataloader.dataset)
    instances = dict(bboxes=[[10, 10, 30, 30]], scores=[0.9], labels=[0])
    instances = {name: np.asarray(values) for name, values in instances.items()}
    samples = pair_with_dataset(dataset, [dict(img_id=1, ori_shape=(80, 100), pred_instances=instances)])
    assert samples.missing == 1 and [picture.image_id for picture in samples.images] == [1, 2]
    first, second = samples.images
    assert first.path.endswith('1.jpg') and first.gt_bboxes.tolist() == [[10, 10, 30, 30], [50, 40, 90, 70]]
    assert first.gt_labels.tolist() == [0, 2] and second.gt_ignored.tolist() == [False, True]
    assert len(second.bboxes) == len(second.scores) == len(second.labels) == 0
    # The padding of a last batch repeats images: the first result counts. Detections come by descending score.
    two = dict(bboxes=np.array([[0, 0, 4, 4], [10, 10, 30, 30]]), scores=np.array([0.2, 0.9]), labels=np.array([2, 0]))
    twice = [
        dict(img_id=1, pred_instances=two),
        dict(img_id=2, pred_instances=two),
        dict(img_id=1, pred_instances=instances),
    ]
    repeated = pair_with_dataset(dataset, twice)
    assert repeated.missing == 0 and [len(picture.scores) for picture in repeated.images] == [2, 2]
    assert repeated.images[0].scores.tolist() == [0.9, 0.2] and repeated.images[0].labels.tolist() == [0, 2]
    assert repeated.images[0].bboxes.tolist() == [[10, 10, 30, 30], [0, 0, 4, 4]]
    empty, found = np.zeros((0, 5)), np.array([[10, 10, 30, 30, 0.9]])
    old = pair_with_dataset(dataset, [[found, empty, empty], [empty, empty, empty]])
    for predictions in (samples, old):
        assert entries(confusion_matrix(predictions)) == {(CAR, CAR): 1, (BUS, NONE): 1, (DOG, NONE): 1}
    with pytest.raises(DataError, match='each of the 2 images'):
        pair_with_dataset(dataset, [[found, empty, empty]])
    with pytest.raises(DataError, match='3 arrays'):
        pair_with_dataset(dataset, [[found], [empty]])
    with pytest.raises(DataError, match='no such id among'):
        pair_with_dataset(dataset, [dict(image_id=7, category_id=3, bbox=[0, 0, 1, 1], score=1.0)])
