import pytest
import torch
from mmengine.structures import InstanceData

from mmdet.core import filter_scores_and_topk, merge_augmented, multiclass_nms
from mmdet.core.post_processing import ScoredBoxes, merge_views

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


@pytest.mark.parametrize(('topk', 'expected'), [(-1, [3, 0, 2, 1]), (4, [3, 0, 2, 1]), (2, [3, 0]), (0, [])])
@pytest.mark.parametrize('activated', [True, False])
def test_number_and_order_of_the_best(topk, expected, activated):
    probability = torch.tensor([[0.5, 0.1], [0.3, 0.9]])
    values = probability if activated else probability.logit()
    scores, priors, classes = filter_scores_and_topk(values, 0, topk, activated)
    assert (2 * priors + classes).tolist() == expected
    torch.testing.assert_close(scores, probability.flatten()[expected])


def test_scores_are_float32_and_the_logit_of_the_threshold_is_exact():
    assert filter_scores_and_topk(torch.ones(1, 1).bfloat16(), 0, -1)[0].dtype == torch.float32
    # Just above and just below a threshold, closer than a rounded logit of it could tell.
    values = torch.tensor([[0.05001], [0.04999]], dtype=torch.float64).logit().float()
    assert filter_scores_and_topk(values, 0.05, -1)[1].tolist() == [0]


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


def found(boxes, scores, labels):
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return ScoredBoxes(boxes, torch.tensor(scores, dtype=torch.float32), torch.tensor(labels, dtype=torch.long))


NOTHING = found([], [], [])
# Two equal boxes of equal score in two views, of which the earlier view's is kept; a second class; half a box.
ONE = found([[0, 0, 10, 10], [0, 0, 10, 5]], [0.5, 0.4], [0, 0])
TWO = found([[0, 0, 10, 10.5], [0, 0, 10, 10]], [0.5, 0.9], [0, 1])


@pytest.mark.parametrize(
    ('views', 'options', 'boxes', 'labels'),
    [
        ([NOTHING, NOTHING], {}, [], []),
        ([NOTHING, ONE], {}, [[0, 0, 10, 10], [0, 0, 10, 5]], [0, 0]),
        ([ONE, TWO], {}, [[0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 5]], [1, 0, 0]),
        ([TWO, ONE], {}, [[0, 0, 10, 10], [0, 0, 10, 10.5], [0, 0, 10, 5]], [1, 0, 0]),
        ([ONE, TWO], dict(max_per_img=2), [[0, 0, 10, 10], [0, 0, 10, 10]], [1, 0]),
        ([ONE, TWO], dict(max_per_img=0), [], []),
    ],
)
def test_merge_views_by_hand(views, options, boxes, labels):
    for parts in (views, [view.to_instances() for view in views]):
        merged = merge_views(parts, NMS, **options)
        assert isinstance(merged, InstanceData) and set(merged.keys()) == {'bboxes', 'scores', 'labels'}
        assert merged.bboxes.tolist() == boxes and merged.labels.tolist() == labels
        assert merged.scores.diff().le(0).all() and merged.labels.dtype == torch.long
    dets, same = merge_augmented(*zip(*((v.bboxes, v.scores, v.labels) for v in views)), NMS, **options)
    assert torch.equal(dets[:, :4], merged.bboxes) and torch.equal(dets[:, 4], merged.scores)
    assert torch.equal(same, merged.labels)


def test_boxes_are_cut_by_one_index():
    for index, labels in ((torch.tensor([True, False]), [0]), (torch.tensor([1, 0]), [1, 0]), (slice(1, 2), [1])):
        part = TWO[index]
        assert len(part) == len(labels) and part.labels.tolist() == labels
        assert torch.equal(part.bboxes, TWO.bboxes[index]) and torch.equal(part.scores, TWO.scores[index])
    assert len(NOTHING) == 0 and len(ScoredBoxes.cat([ONE, TWO])) == 4


def test_soft_nms_lowers_the_scores_that_are_returned():
    left = ONE.suppress(dict(type='soft_nms', iou_threshold=0.3, min_score=0.01))
    torch.testing.assert_close(left.scores, torch.tensor([0.5, 0.4 * (1 - 0.5)]))
    assert left.labels.tolist() == [0, 0]
