"""Evaluation on arrays; numbers of mmdetection 3.3.0 where nothing is written out."""

import numpy as np
import pytest
import torch

from mmdet.evaluation import (
    VOCMetric,
    average_precision,
    bbox_overlaps,
    eval_map,
    eval_recalls,
    get_classes,
    voc_classes,
)
from mmdet.evaluation.functional.mean_ap import tpfp_default, tpfp_imagenet

BOXES = np.array([[0, 0, 10, 20], [5, 5, 15, 15]], np.float32)
NONE = np.zeros((0, 4), np.float32)


def test_overlaps_of_arrays():
    assert bbox_overlaps(NONE, BOXES).shape == (0, 2) and bbox_overlaps(BOXES, NONE).shape == (2, 0)
    found = bbox_overlaps(BOXES, BOXES)
    assert found.dtype == np.float32 and found.tolist() == [pytest.approx([1, 0.2]), pytest.approx([0.2, 1])]
    assert bbox_overlaps(BOXES, BOXES[1:], 'iof').flatten().tolist() == pytest.approx([0.25, 1])
    assert bbox_overlaps(BOXES, BOXES, use_legacy_coordinate=True)[0, 1] == pytest.approx(3 / 13)
    with pytest.raises(AssertionError, match='mode'):
        bbox_overlaps(BOXES, BOXES, 'giou')


def test_average_precision():
    recalls, precisions = np.array([0.1, 0.4, 0.4, 0.8]), np.array([1, 0.9, 0.7, 0.6])
    assert average_precision(recalls, precisions) == pytest.approx(0.1 * 1 + 0.3 * 0.9 + 0.4 * 0.6)
    assert average_precision(recalls, precisions, '11points') == pytest.approx((2 * 1 + 3 * 0.9 + 4 * 0.6) / 11)
    both = average_precision(np.array([[0.1, 0.4], [0.2, 0.9]]), np.array([[1, 0.9], [0.5, 0.8]]))
    assert both.tolist() == pytest.approx([0.37, 0.72])
    assert average_precision(np.zeros(0), np.zeros(0)) == 0
    with pytest.raises(ValueError, match='mode'):
        average_precision(recalls, precisions, 'sum')


def test_true_and_false_positives():
    detections = np.array(
        [[0, 0, 10, 19, 0.6], [0, 0, 10, 20, 0.9], [50, 50, 60, 60, 0.8], [5, 5, 15, 15, 0.7]], np.float32
    )
    right, wrong = tpfp_default(detections, BOXES[:1], BOXES[1:])
    assert right.tolist() == [[0, 1, 0, 0]] and wrong.tolist() == [[1, 0, 1, 0]]  # a double, and one on an ignored box
    right, wrong = tpfp_default(detections, NONE, None, area_ranges=[(0, 150), (150, 1e5)])
    assert right.sum() == 0 and wrong.tolist() == [[0, 0, 1, 1], [1, 1, 0, 0]]
    # By ImageNet's rules the double takes another box that it overlaps.
    pair = np.array([[0, 0, 20, 20], [2, 0, 22, 20]], np.float32)
    thrice = np.array([[0, 0, 20, 20, score] for score in (0.9, 0.8, 0.7)], np.float32)
    assert tpfp_default(thrice, pair)[0].tolist() == [[1, 0, 0]]
    assert tpfp_imagenet(thrice, pair)[0].tolist() == [[1, 1, 0]]


def test_mean_average_precision():
    truth = [dict(bboxes=BOXES, labels=np.array([0, 1])), dict(bboxes=NONE, labels=np.zeros(0, int))]
    perfect = [np.array([[0, 0, 10, 20, 0.9]]), np.array([[5, 5, 15, 15, 0.8]])]
    silent = [np.zeros((0, 5))] * 2
    options = dict(logger='silent')
    assert eval_map([perfect, silent], truth, **options)[0] == 1
    assert eval_map([silent, silent], truth, **options)[0] == 0
    noisy = [np.array([[40, 40, 50, 50, 0.95]]), np.zeros((0, 5))]
    mean, classes = eval_map([perfect, noisy], truth, **options)
    assert mean == pytest.approx(0.75)
    assert (classes[0]['num_gts'], classes[0]['num_dets'], classes[0]['precision'].tolist()) == (1, 2, [0, 0.5])
    by_size, _ = eval_map([perfect, silent], truth, scale_ranges=[(0, 12), (12, 99)], **options)
    assert by_size == [1, 1]
    with pytest.raises(AssertionError, match='equally many'):
        eval_map([perfect], truth)
    with pytest.raises(AssertionError, match='OpenImages'):
        eval_map([perfect], truth[:1], ioa_thr=0.5)


def test_table_of_the_mean_average_precision(capsys):
    truth = [dict(bboxes=BOXES, labels=np.array([0, 1]))]
    eval_map([[np.array([[0, 0, 10, 20, 0.9]]), np.zeros((0, 5))]], truth, dataset=['ship', 'buoy'])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines if line.split()[:1] in (['ship'], ['buoy'], ['mAP'])] == [
        ['ship', '1', '1', '1.000', '1.000'],
        ['buoy', '1', '0', '0.000', '0.000'],
        ['mAP', '0.500'],
    ]


def test_recalls():
    proposals = [np.array([[0, 0, 10, 18, 0.1], [50, 50, 60, 60, 0.9]], np.float32), NONE]
    truth = [BOXES, NONE]
    found = eval_recalls(truth, proposals, [1, 2], [0.5, 0.95], logger='silent')
    assert found.tolist() == [[0, 0], [0.5, 0]]
    assert eval_recalls(truth, [BOXES, NONE], logger='silent').tolist() == [[1]]
    assert eval_recalls([NONE], [NONE], logger='silent').tolist() == [[0]]


def test_class_names():
    assert len(get_classes('coco')) == 80 and get_classes('ms_coco')[-2:] == ['hair_drier', 'toothbrush']
    assert get_classes('voc07') == voc_classes() and get_classes('cityscapes')[2] == 'car'
    with pytest.raises(ValueError, match='Unrecognized dataset: pets'):
        get_classes('pets')
    with pytest.raises(TypeError):
        get_classes(3)


def voc_sample(bboxes, scores):
    truth = dict(bboxes=torch.from_numpy(BOXES), labels=torch.tensor([0, 1]))
    found = dict(bboxes=torch.tensor(bboxes), scores=torch.tensor(scores), labels=torch.arange(len(scores)))
    return dict(
        gt_instances=truth,
        ignored_instances=dict(bboxes=torch.zeros(0, 4), labels=torch.zeros(0)),
        pred_instances=found,
    )


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        ({}, dict(mAP=0.5, AP50=0.5)),
        (dict(iou_thrs=[0.5, 0.95], eval_mode='area'), dict(mAP=0.5, AP50=0.5, AP95=0.5)),
        (dict(metric='recall', proposal_nums=(1, 5)), {'recall@1@0.5': 0.5, 'recall@5@0.5': 0.5}),
        (
            dict(metric=['recall'], proposal_nums=(5,), iou_thrs=[0.5, 0.6]),
            {'recall@5@0.5': 0.5, 'recall@5@0.6': 0.5, 'AR@5': 0.5},
        ),
    ],
)
def test_voc_metric(options, expected):
    metric = VOCMetric(**options)
    metric.dataset_meta = dict(classes=('ship', 'buoy'))
    metric.process(None, [voc_sample([[0.0, 0, 10, 20], [50, 50, 60, 60]], [0.9, 0.8])])
    found = metric.evaluate(1)
    assert found == {f'pascal_voc/{name}': value for name, value in expected.items()}


def test_voc_metric_of_wrong_arguments():
    for options in (dict(metric='AP'), dict(metric=['mAP', 'recall']), dict(eval_mode='all')):
        with pytest.raises(ValueError, match='must be'):
            VOCMetric(**options)
