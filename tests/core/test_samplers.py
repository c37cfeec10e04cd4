import pytest
import torch
from mmengine.structures import InstanceData

from mmdet.core import AssignResult, PseudoSampler, RandomSampler, SamplingResult
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
