import pytest
import torch
from mmengine.structures import InstanceData

from mmdet.core import (
    AssignResult,
    CombinedSampler,
    InstanceBalancedPosSampler,
    IoUBalancedNegSampler,
    OHEMSampler,
    PseudoSampler,
    RandomSampler,
    SamplingResult,
)
from mmdet.core.boxes import HorizontalBoxes
from mmdet.errors import ArgumentError

PRIORS = torch.tensor([[0.0, 0, 10, 10], [10, 10, 20, 20], [5, 5, 15, 15], [32, 32, 38, 42], [1, 1, 2, 2]])
GT = InstanceData(bboxes=torch.tensor([[9.0, 9, 21, 21], [4, 4, 16, 16]]), labels=torch.tensor([7, 8]))
NO_GT = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))


def assigned(gt_inds=(0, 1, 2, -1, 0)):
    gt_inds = torch.tensor(gt_inds)
    return AssignResult(2, gt_inds, torch.zeros(len(gt_inds)), torch.where(gt_inds > 0, gt_inds + 6, -1))


@pytest.mark.parametrize('sampler', [PseudoSampler(), RandomSampler(4, 0.5)])
def test_no_ground_truth(sampler):
    result = sampler.sample(assigned([0] * 5), InstanceData(priors=PRIORS), NO_GT)
    assert result.pos_inds.tolist() == [] and result.num_pos == 1 and result.num_gts == 0
    assert result.pos_gt_bboxes.shape == result.pos_priors.shape == (0, 4)
    assert len(result.neg_inds) == (5 if isinstance(sampler, PseudoSampler) else 4)


def test_pseudo_sampler_takes_everything():
    result = PseudoSampler().sample(assigned(), InstanceData(priors=PRIORS), GT)
    assert result.pos_inds.tolist() == [1, 2] and result.neg_inds.tolist() == [0, 4]
    assert result.pos_assigned_gt_inds.tolist() == [0, 1] and result.pos_gt_labels.tolist() == [7, 8]
    assert torch.equal(result.pos_gt_bboxes, GT.bboxes) and result.pos_is_gt.tolist() == [0, 0]
    assert (result.num_pos, result.num_neg, result.avg_factor, result.num_gts) == (2, 2, 2, 2)
    assert torch.equal(result.priors, PRIORS[[1, 2, 0, 4]]) and torch.equal(result.bboxes, result.priors)
    assert result.pos_bboxes is result.pos_priors and result.neg_bboxes is result.neg_priors
    assert result.info['avg_factor'] == 2 and result.to('cpu') is result


def test_boxes_stay_boxes():
    priors = InstanceData(priors=HorizontalBoxes(PRIORS))
    gt = InstanceData(bboxes=HorizontalBoxes(GT.bboxes), labels=GT.labels)
    result = RandomSampler(10, 0.5).sample(assigned(), priors, gt)
    assert isinstance(result.priors, HorizontalBoxes) and isinstance(result.pos_gt_bboxes, HorizontalBoxes)
    assert torch.equal(result.pos_priors.tensor, torch.cat([GT.bboxes, PRIORS[1:3]]))


def test_random_sampler_adds_ground_truth_and_limits_negatives():
    assign_result = assigned()
    sampler = RandomSampler(num=10, pos_fraction=0.5, neg_pos_ub=0.3)
    result = sampler.sample(assign_result, InstanceData(priors=PRIORS), GT)
    assert result.pos_inds.tolist() == [0, 1, 3, 4] and result.pos_is_gt.tolist() == [1, 1, 0, 0]
    assert result.pos_assigned_gt_inds.tolist() == [0, 1, 0, 1] and result.pos_gt_labels.tolist() == [7, 8, 7, 8]
    assert len(result.neg_inds) == 1 and result.avg_factor == 5 and assign_result.num_preds == 7
    result = RandomSampler(4, 0.25, add_gt_as_proposals=False).sample(assigned(), InstanceData(priors=PRIORS), GT)
    assert len(result.pos_inds) == 1 and result.neg_inds.tolist() == [0, 4] and result.avg_factor == 3


def test_random_choice():
    sampler = RandomSampler(4, 0.5, rng=0)
    counts = torch.zeros(6)
    for _ in range(600):
        chosen = sampler.random_choice(torch.arange(6), 2)
        assert chosen[0] != chosen[1]
        counts[chosen] += 1
    assert counts.sum() == 1200 and (counts - 200).abs().max() < 50  # four standard deviations of 11.5
    again = [RandomSampler(4, 0.5, rng=5).random_choice(range(10, 100), 9).tolist() for _ in range(2)]
    assert again[0] == again[1] and set(again[0]) <= set(range(10, 100))
    with pytest.raises(AssertionError) as error:
        sampler.random_choice(torch.arange(2), 3)
    assert isinstance(error.value, ArgumentError)


def test_random_results():
    result = SamplingResult.random(rng=0, num_preds=30, num_gts=6)
    assert result.num_gts == 6 and set(result.pos_inds.tolist()).isdisjoint(result.neg_inds.tolist())
    assert result.pos_gt_bboxes.shape == result.pos_priors.shape and len(result.pos_inds) > 0


# ------------------------------------------------------------------------------------------ balanced and hard samples

# 600 priors: 60, 10 and 3 positives of three objects with an IoU of 0.7; of the negatives 327 touch nothing, 200 have IoUs below 0.5.
MANY = torch.zeros(600, dtype=torch.long)
MANY[:60], MANY[60:70], MANY[70:73] = 1, 2, 3
IOUS = torch.cat([torch.full((73,), 0.7), torch.zeros(327), (torch.arange(200) + 0.5) / 400])


def many():
    return AssignResult(3, MANY.clone(), IOUS.clone(), torch.where(MANY > 0, MANY - 1, -1))


@pytest.mark.parametrize(
    ('count', 'expected'),
    # Few: a share of each. Enough: the small objects are taken whole. The counts that depend on chance are left out.
    [(0, None), (3, None), (32, (None, 10, 3)), (73, (60, 10, 3)), (99, (60, 10, 3))],
)
def test_positives_of_every_object(count, expected):
    rows = InstanceBalancedPosSampler(64, 0.5)._sample_pos(many(), count)
    assert len(rows) == len(rows.unique()) == min(count, 73)
    of_objects = [int((MANY[rows] == k).sum()) for k in (1, 2, 3)]
    if expected is None:
        assert max(of_objects) <= count // 3 + 1
    else:  # of 32, 12 of each at most at first, then any
        assert all(want in (None, got) for want, got in zip(expected, of_objects)), of_objects


@pytest.mark.parametrize(
    ('options', 'count', 'expected'),
    # Numbers with an IoU of 0, and in the three intervals of mmdetection 3.3.0; None depends on chance.
    [
        (dict(), 0, (0, 0, 0, 0)),
        (dict(), 30, (None, None, 10, 10)),
        (dict(floor_thr=0.0), 30, (0, 10, 10, 10)),
        (dict(floor_thr=0.0), 400, (200, 93, 94, 13)),
        (dict(floor_thr=0.1, floor_fraction=0.5), 30, (None, None, None, None)),
        (dict(num_bins=1), 600, (327, 93, 94, 13)),
    ],
)
def test_negatives_of_every_overlap(options, count, expected):
    rows = IoUBalancedNegSampler(64, 0.5, **options)._sample_neg(many(), count)
    assert len(rows) == len(rows.unique()) == min(count, 527)
    assert not MANY[rows].any()
    ious = IOUS[rows]
    edges = [0, 0.7 / 3, 1.4 / 3, 0.7]
    found = [
        int((ious == 0).sum()),
        *(int(((ious > 0) & (ious >= a) & (ious < b)).sum()) for a, b in zip(edges, edges[1:])),
    ]
    assert all(want in (None, got) for want, got in zip(expected, found)), found
    if options.get('floor_fraction'):
        assert int((ious < 0.1).sum()) == 15


@pytest.mark.parametrize('options', [dict(floor_thr=-0.5), dict(floor_fraction=2), dict(num_bins=0)])
def test_impossible_intervals(options):
    with pytest.raises(AssertionError, match=next(iter(options))):
        IoUBalancedNegSampler(4, 0.5, **options)


def test_combined_sampler():
    parts = dict(
        pos_sampler=dict(type='InstanceBalancedPosSampler'),
        neg_sampler=dict(type='IoUBalancedNegSampler', floor_thr=0.0),
    )
    sampler = CombinedSampler(**parts, num=64, pos_fraction=0.5, add_gt_as_proposals=False)
    objects = InstanceData(bboxes=torch.zeros(3, 4), labels=torch.arange(3))
    result = sampler.sample(many(), InstanceData(priors=torch.zeros(600, 4)), objects)
    assert (result.num_pos, result.num_neg) == (32, 32)
    assert not IOUS[result.neg_inds].eq(0).any()
    for method in (sampler._sample_pos, sampler._sample_neg):
        with pytest.raises(NotImplementedError):
            method()


class Stage:
    """A second stage whose loss grows with the row."""

    num_classes = 3

    def __init__(self):
        self.bbox_head, self.labels = self, []

    def _bbox_forward(self, feats, rois):
        assert (feats, rois.shape[1]) == ('maps', 5)
        return dict(cls_score=torch.zeros(len(rois), 4))

    def loss(self, labels, reduction_override, **kwargs):
        assert reduction_override == 'none' and kwargs['bbox_pred'] is None
        self.labels.append(labels.tolist())
        return dict(loss_cls=torch.arange(len(labels)).float(), other=-torch.arange(len(labels)).float())


@pytest.mark.parametrize(
    ('options', 'pos', 'neg'),
    # The rows that mmdetection 3.3.0 takes with the same losses.
    [
        (dict(), [5, 11], [8, 10]),
        (dict(loss_key='other'), [0, 1], [6, 7]),
        (dict(add_gt_as_proposals=False), [3, 9], [6, 8]),
        (dict(num=40), [0, 1, 2, 3, 4, 5, 11], [6, 7, 8, 10]),
    ],
)
def test_hard_samples(options, pos, neg):
    gt_inds = torch.tensor([1, 1, 2, 1, 0, 0, 0, -1, 0, 2])
    result = AssignResult(2, gt_inds, torch.linspace(0, 1, 10), torch.where(gt_inds > 0, gt_inds - 1, -1))
    stage = Stage()
    sampler = OHEMSampler(**{**dict(num=4, pos_fraction=0.5, context=stage), **options})
    objects = InstanceData(bboxes=torch.ones(2, 4), labels=torch.arange(2))
    found = sampler.sample(result, InstanceData(priors=torch.rand(10, 4)), objects, feats='maps')
    assert (found.pos_inds.tolist(), found.neg_inds.tolist()) == (pos, neg)
    assert stage.labels[1:] in ([], [[3, 3, 3, 3]])


def test_hard_samples_of_one_of_several_stages():
    stage = Stage()
    cascade = Stage()
    cascade.num_stages, cascade.current_stage, cascade.bbox_head = 2, 1, [None, stage]
    cascade._bbox_forward = lambda number, feats, rois: stage._bbox_forward(feats, rois) if number == 1 else None
    sampler = OHEMSampler(2, 0.5, cascade, add_gt_as_proposals=False)
    found = sampler.sample(assigned(), InstanceData(priors=PRIORS), GT, feats='maps')
    assert (found.pos_inds.tolist(), found.neg_inds.tolist()) == ([2], [4])
