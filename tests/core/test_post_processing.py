import pytest
import torch

from mmdet.core import filter_scores_and_topk, merge_augmented, multiclass_nms

NMS = dict(type='nms', iou_threshold=0.6)


@pytest.mark.parametrize('activated', [True, False])
def test_nothing_above_the_threshold(activated):
    logits = torch.full((3, 2), 0.04 if activated else -5.0)
    scores, priors, classes = filter_scores_and_topk(logits, 0.05, 10, activated)
    assert scores.shape == priors.shape == classes.shape == (0,)


def test_best_pairs_by_hand():
    probability = torch.tensor([[0.1, 0.9], [0.5, 0.02], [0.05, 0.3]])
    for activated in (True, False):
        values = probability if activated else torch.logit(probability)
        scores, priors, classes = filter_scores_and_topk(values, 0.06, 3, activated)
        torch.testing.assert_close(scores, torch.tensor([0.9, 0.5, 0.3]))
        assert priors.tolist() == [0, 1, 2]
        assert classes.tolist() == [1, 0, 1]


@pytest.mark.parametrize(('threshold', 'count'), [(-1, 4), (0, 4), (0.5, 1), (1, 0), (2, 0)])
def test_threshold_is_strict_at_its_ends(threshold, count):
    logits = torch.tensor([[-20.0, 0.0], [1.0, -1.0]])  # 0.0 is a probability of exactly 0.5
    assert len(filter_scores_and_topk(logits, threshold, -1)[0]) == count


def test_multiclass_nms_by_hand():
    bboxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]])
    scores = torch.tensor([[0.9, 0.2], [0.8, 0.7], [0.01, 0.02]])
    dets, labels, rows = multiclass_nms(bboxes, scores, 0.05, NMS, 10)
    # Class 0: box 1 falls to box 0. Class 1: box 0 falls to box 1. Box 2 is below the threshold.
    assert labels.tolist() == [0, 1]
    assert rows.tolist() == [0, 1]
    torch.testing.assert_close(dets, torch.tensor([[0, 0, 10, 10, 0.9], [0, 0, 10, 9, 0.7]]))
    assert len(multiclass_nms(bboxes, scores, 0.05, NMS, 1)[0]) == 1
    assert multiclass_nms(bboxes[:0], scores[:0], 0.05, NMS)[0].shape == (0, 5)


def test_merge_of_views():
    box = torch.tensor([[0.0, 0, 10, 10]])
    dets, labels = merge_augmented(
        [box, box + 0.5, box[:0]], [torch.tensor([0.6]), torch.tensor([0.8]), torch.zeros(0)],
        [torch.tensor([1]), torch.tensor([1]), torch.zeros(0, dtype=torch.long)], NMS, 5,
    )  # fmt: skip
    torch.testing.assert_close(dets, torch.tensor([[0.5, 0.5, 10.5, 10.5, 0.8]]))
    assert labels.tolist() == [1]
