"""NMS in numpy: expectations by hand, and the results of the toolbox's NMS of tensors."""

import logging

import numpy as np
import pytest
import torch

from mmdet.core.post_processing import ScoredBoxes
from mmdet.core.post_processing import merge_views as merge_tensors
from mmdet.ops import batched_nms as nms_of_tensors
from mmdet_runtime.errors import ConfigError, ModelInputError
from mmdet_runtime.suppression import Detections, batched_nms, merge_views

# The second overlaps the first by 0.6 (5/8 with inclusive corners), the third is of another class, the fourth apart and as good as the third.
BOXES = np.array([[0, 0, 8, 10], [2, 0, 10, 10], [0, 0, 8, 10], [30, 30, 40, 40]], np.float32)
SCORES = np.array([0.9, 0.8, 0.7, 0.7], np.float32)
LABELS = np.array([1, 1, 0, 1])


@pytest.mark.parametrize(
    ('cfg', 'expected'),
    [
        (None, [0, 1, 2, 3]),
        (dict(iou_threshold=0.5), [0, 2, 3]),
        (dict(type='nms', iou_threshold=0.61), [0, 1, 2, 3]),
        (dict(type='nms', iou_threshold=0.61, offset=1), [0, 2, 3]),
        (dict(type='nms', iou_thr=0.5, class_agnostic=True, split_thr=100), [0, 3]),
        (dict(type='nms', iou_threshold=0.5, max_num=2), [0, 2]),
        (dict(type='nms', iou_threshold=0.5, score_threshold=0.75), [0]),
        (dict(type='soft_nms', iou_threshold=0.5, min_score=0.4), [0, 2, 3]),
        (dict(type='soft_nms', iou_threshold=0.5, min_score=0.1, max_num=4), [0, 2, 3, 1]),
    ],
)
def test_by_hand(cfg, expected):
    dets, keep = batched_nms(BOXES, SCORES, LABELS, cfg)
    assert keep.tolist() == expected and keep.dtype == np.int64
    np.testing.assert_array_equal(dets[:, :4], BOXES[expected])
    assert batched_nms(BOXES[:0], SCORES[:0], LABELS[:0], cfg)[0].shape == (0, 5)


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('kind', ['nms', 'soft_nms'])
def test_as_of_tensors(kind, offset):
    rng = np.random.default_rng(offset)
    corner = rng.uniform(-20, 200, (400, 2))
    boxes = np.concatenate([corner, corner + rng.gamma(2, 20, (400, 2))], axis=1).astype(np.float32)
    scores, labels = (rng.integers(1, 60, 400) / 60).astype(np.float32), rng.integers(0, 3, 400)
    boxes[7, 2], scores[9] = np.inf, np.nan
    cfg = dict(type=kind, iou_threshold=0.4, offset=offset, max_num=150)
    dets, keep = batched_nms(boxes, scores, labels, cfg)
    theirs, rows = nms_of_tensors(*map(torch.from_numpy, (boxes, scores, labels)), cfg)
    assert keep.tolist() == rows.tolist() and len(keep) > 50
    np.testing.assert_array_equal(dets, theirs.numpy())


def test_views_are_merged_as_of_tensors():
    views = [
        Detections(BOXES, SCORES, LABELS),
        Detections.empty(),
        Detections(BOXES[::-1] + 1, SCORES[::-1], LABELS[::-1]),
    ]
    tensors = [ScoredBoxes(*(torch.from_numpy(part.copy()) for part in vars(view).values())) for view in views]
    for nms, limit in ((dict(iou_threshold=0.6), -1), (dict(iou_threshold=0.6), 3), (None, 3)):
        ours, theirs = merge_views(views, nms, limit), merge_tensors(tensors, nms, limit)
        for name in ('bboxes', 'scores', 'labels'):
            np.testing.assert_array_equal(getattr(ours, name), theirs[name].numpy())


def test_values_that_are_not_finite_are_dropped_and_counted(caplog):
    boxes = BOXES.copy()
    boxes[0, 0] = np.nan
    with caplog.at_level(logging.WARNING):
        assert batched_nms(boxes, SCORES, LABELS, dict(iou_threshold=0.5))[1].tolist() == [1, 2, 3]
    assert 'dropped 1 boxes' in caplog.text


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (dict(type='voting', iou_threshold=0.5), r"nms.type: must be one of \['nms', 'soft_nms'\]. Received: 'voting'"),
        (dict(type='nms'), 'nms.iou_threshold: is missing'),
        (dict(iou_threshold=2), r'iou_threshold: must be in \[0, 1\]'),
        (dict(iou_threshold=0.5, offset=2), 'offset: must be 0 or 1'),
        (dict(iou_threshold=0.5, sigma=1), "the keys of 'nms' are"),
        (dict(type='soft_nms', method='best'), 'method: must be one of'),
        (dict(type='soft_nms', sigma=0), 'sigma: must be > 0'),
    ],
)
def test_wrong_settings(cfg, message):
    with pytest.raises(ConfigError, match=message):
        batched_nms(BOXES, SCORES, LABELS, cfg)


def test_wrong_shapes():
    with pytest.raises(ModelInputError, match=r'scores: must be \(4,\)'):
        batched_nms(BOXES, SCORES[:2], LABELS, dict(iou_threshold=0.5))


# Two objects side by side (IoU 0.6), in two views of the image; the second view has seen them a pixel further right.
PAIR = Detections(
    np.array([[0, 0, 8, 10], [2, 0, 10, 10]], np.float32), np.array([0.9, 0.5], np.float32), np.array([1, 1])
)
MOVED = Detections(PAIR.bboxes + np.float32([1, 0, 1, 0]), np.array([0.8, 0.6], np.float32), PAIR.labels)
# One box with two classes, as of a query.
TWICE = Detections(PAIR.bboxes[[0, 0]], PAIR.scores, np.array([0, 1]))
NMS = dict(type='nms', iou_threshold=0.5)
AGNOSTIC = dict(NMS, class_agnostic=True)
SOFT = dict(type='soft_nms', method='naive', iou_threshold=0.5, min_score=0.1)


@pytest.mark.parametrize(
    ('views', 'nms', 'end_to_end', 'scores'),
    [
        ([Detections.empty()], None, True, []),
        ([Detections.empty(), Detections.empty()], NMS, [True, False], []),
        ([PAIR], NMS, False, [0.9]),
        ([PAIR], NMS, True, [0.9, 0.5]),
        ([PAIR], None, True, [0.9, 0.5]),
        ([PAIR], SOFT, True, [0.9, 0.5]),
        # Each object once, by the better of its boxes (IoU 0.78); at a threshold of 0.4 the best one suppresses both boxes of the other view.
        ([PAIR, MOVED], NMS, True, [0.9, 0.6]),
        ([PAIR, MOVED], None, True, [0.9, 0.6]),
        ([PAIR, MOVED], dict(NMS, iou_threshold=0.4), True, [0.9, 0.5]),
        ([PAIR, MOVED], dict(NMS, iou_threshold=0.4), False, [0.9]),
        ([PAIR, MOVED], dict(NMS, iou_threshold=0.8), True, [0.9, 0.8, 0.6, 0.5]),
        ([PAIR, MOVED], SOFT, True, [0.9, 0.6]),
        ([PAIR, MOVED], dict(SOFT, iou_threshold=0.4), True, [0.9, 0.5]),
        # One of the views is of a detector that needs an NMS: its own boxes suppress each other, too.
        ([PAIR, Detections.empty(), PAIR], NMS, [False, True, True], [0.9]),
        ([PAIR], NMS, [False], [0.9]),
        ([TWICE], NMS, True, [0.9, 0.5]),
        ([TWICE], AGNOSTIC, True, [0.9]),
        ([TWICE], dict(SOFT, class_agnostic=True), True, [0.9]),
        ([Detections(TWICE.bboxes, TWICE.scores, PAIR.labels)], NMS, True, [0.9, 0.5]),
        ([PAIR], AGNOSTIC, True, [0.9, 0.5]),
    ],
)
def test_boxes_of_one_view_do_not_suppress_each_other(views, nms, end_to_end, scores):
    found = merge_views(views, nms, -1, end_to_end)
    assert found.scores.tolist() == pytest.approx(scores)
    assert merge_views(views, nms, 1, end_to_end).scores.tolist() == pytest.approx(scores[:1])
    tensors = [ScoredBoxes(*map(torch.from_numpy, (view.bboxes, view.scores, view.labels))) for view in views]
    theirs = merge_tensors(tensors, nms, -1, end_to_end)
    assert theirs.scores.tolist() == found.scores.tolist() and theirs.labels.tolist() == found.labels.tolist()


def test_no_nms_keeps_the_best():
    assert merge_views([PAIR], None, 1).scores.tolist() == pytest.approx([0.9]) and len(merge_views([PAIR], None)) == 2
