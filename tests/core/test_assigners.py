"""MaxIoU, task-aligned and soft-label assignment, and what all assigners return. Golden values: mmdetection 3.3.0."""

import pytest
import torch
from mmengine.structures import InstanceData

from mmdet.core import (
    AssignResult,
    BaseAssigner,
    DynamicSoftLabelAssigner,
    HungarianAssigner,
    MaxIoUAssigner,
    SimOTAAssigner,
    TaskAlignedAssigner,
)
from mmdet.core.assigners import max_iou_assigner, task_aligned_assigner
from mmdet.core.boxes import HorizontalBoxes
from mmdet.errors import ConfigError
from mmdet.registry import TASK_UTILS


def tensor(rows):
    return torch.tensor(rows, dtype=torch.float32)


def instances(bboxes, labels, **more):
    return InstanceData(bboxes=tensor(bboxes).reshape(-1, 4), labels=torch.tensor(labels, dtype=torch.long), **more)


PRIORS = tensor(
    [[0, 0, 10, 10], [10, 10, 20, 20], [5, 5, 15, 15], [32, 32, 38, 42], [0, 0, 10, 8], [100, 100, 110, 110]]
)
IGNORED = instances([[30, 30, 40, 40]], [0])
FAR = instances([[500, 500, 510, 510]], [1])

ASSIGNERS = [
    dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4),
    dict(type='TaskAlignedAssigner', topk=13),
    dict(type='DynamicSoftLabelAssigner', topk=13),
]


def predictions(priors):
    return InstanceData(priors=priors, bboxes=priors + 1, scores=torch.full((len(priors), 5), 0.4))


@pytest.mark.parametrize('config', ASSIGNERS)
def test_no_ground_truth_or_no_priors(config):
    assigner = TASK_UTILS.build(config)
    assert isinstance(assigner, BaseAssigner)
    result = assigner.assign(predictions(PRIORS), instances([], []), IGNORED)
    assert result.gt_inds.tolist() == [0] * 6 and result.labels.tolist() == [-1] * 6
    assert result.max_overlaps.tolist() == [0] * 6 and result.num_gts == 0
    for gt in (instances([], []), FAR):
        result = assigner.assign(predictions(PRIORS[:0]), gt, IGNORED)
        assert result.num_preds == len(result.labels) == len(result.max_overlaps) == 0


@pytest.mark.parametrize('config', ASSIGNERS)
def test_boxes_may_be_objects(config):
    gt, boxed = (instances([[-1, 0.5, 11, 9], [2, 2, 12, 12]], [2, 3]) for _ in range(2))
    boxed.bboxes = HorizontalBoxes(gt.bboxes)
    assigner = TASK_UTILS.build(config)
    expected, result = assigner.assign(predictions(PRIORS), gt), assigner.assign(predictions(PRIORS), boxed)
    assert torch.equal(result.gt_inds, expected.gt_inds) and (expected.gt_inds > 0).any()


def test_box_without_priors():
    """With a least overlap of 0 a box that no prior overlaps takes all priors; the other assigners leave it without any."""
    assert MaxIoUAssigner(0.5, 0.4).assign(predictions(PRIORS), FAR).gt_inds.tolist() == [1] * 6
    for assigner in (MaxIoUAssigner(0.5, 0.4, 0.1), TaskAlignedAssigner(13), DynamicSoftLabelAssigner()):
        assert assigner.assign(predictions(PRIORS), FAR).gt_inds.tolist() == [0] * 6


# ------------------------------------------------------------------------------------------------------- MaxIoU


@pytest.mark.parametrize('limit', [2**24, 6])
@pytest.mark.parametrize(
    ('options', 'gt_inds', 'last_overlaps'),
    [
        (dict(), [3, 3, 3, 3, 3, 3], [0, 8 / 9, 0]),
        (dict(match_low_quality=False), [1, 0, 0, 0, 1, 0], [0, 8 / 9, 0]),
        (dict(ignore_iof_thr=0.5), [3, 3, 3, -1, 3, 3], [-1, 8 / 9, 0]),
        (dict(min_pos_iou=0.3), [1, 0, 0, 0, 1, 0], [0, 8 / 9, 0]),
    ],
)
def test_max_iou_golden(options, gt_inds, last_overlaps, limit, monkeypatch):
    """The third box has no area: its best overlap is 0. The result does not depend on the slices of boxes."""
    monkeypatch.setattr(max_iou_assigner, '_MAX_OVERLAPS', limit)
    gt = instances([[0, 0, 10, 9], [0, 10, 10, 19], [50, 50, 50, 60]], [2, 3, 1])
    result = MaxIoUAssigner(0.5, 0.4, **options).assign(InstanceData(priors=PRIORS), gt, IGNORED)
    assert result.gt_inds.tolist() == gt_inds
    assert result.labels.tolist() == [{1: 2, 3: 1}.get(i, -1) for i in gt_inds]
    torch.testing.assert_close(result.max_overlaps, tensor([0.9, 0, 0.151515, *last_overlaps]))


def test_max_iou_from_overlaps():
    """Prior 0: positive, the first box of equals, but the second, as the last, keeps its best. Prior 1: background; prior 2: between."""
    overlaps = tensor([[0.6, 0.1, 0.45], [0.6, 0.2, 0.3]])
    result = MaxIoUAssigner(0.5, 0.4).assign_wrt_overlaps(overlaps, torch.tensor([5, 6]))
    assert result.gt_inds.tolist() == [2, 0, -1] and result.labels.tolist() == [6, -1, -1]
    torch.testing.assert_close(result.max_overlaps, tensor([0.6, 0.2, 0.45]))
    result = MaxIoUAssigner(0.5, (0.15, 0.4), match_low_quality=False).assign_wrt_overlaps(
        overlaps, torch.tensor([5, 6])
    )
    assert result.gt_inds.tolist() == [1, 0, -1]
    result = MaxIoUAssigner(0.5, (0.25, 0.4), match_low_quality=False).assign_wrt_overlaps(
        overlaps, torch.tensor([5, 6])
    )
    assert result.gt_inds.tolist() == [1, -1, -1]


def test_a_box_keeps_all_or_the_first_of_its_best_priors():
    priors, gt = InstanceData(priors=PRIORS[[0, 1, 0]]), instances([[0, 0, 10, 30], [0, 0, 10, 30]], [7, 8])
    assert MaxIoUAssigner(0.9, 0.1).assign(priors, gt).gt_inds.tolist() == [2, 0, 2]
    assert MaxIoUAssigner(0.9, 0.1, gt_max_assign_all=False).assign(priors, gt).gt_inds.tolist() == [2, 0, -1]


def test_ignored_share_of_the_box():
    """A prior of 10 x 10 in a box of 10 x 40: all of the prior, a quarter of the box."""
    priors, ignored = InstanceData(priors=PRIORS[:1]), instances([[0, 0, 10, 40]], [0])
    for whole, expected in ((True, [-1]), (False, [0])):
        assigner = MaxIoUAssigner(0.5, 0.4, min_pos_iou=0.1, ignore_iof_thr=0.5, ignore_wrt_candidates=whole)
        assert assigner.assign(priors, FAR, ignored).gt_inds.tolist() == expected


def test_max_iou_on_the_cpu_returns_to_the_device(device):
    gt = instances([[0, 0, 10, 9], [0, 10, 10, 19]], [2, 3]).to(device)
    assigner = MaxIoUAssigner(0.5, 0.4, gpu_assign_thr=1, ignore_iof_thr=0.5)
    result = assigner.assign(InstanceData(priors=PRIORS.to(device)), gt, IGNORED.to(device))
    assert result.gt_inds.device.type == device.type if isinstance(device, torch.device) else device
    assert result.gt_inds.tolist()[0] == 1


def test_repeated_boxes_are_not_shuffled():
    with pytest.raises(ConfigError, match='perm_repeat_gt_cfg'):
        MaxIoUAssigner(0.5, 0.4, perm_repeat_gt_cfg=dict(iou_thr=0.7))


# ------------------------------------------------------------------------------------------------- TaskAligned


@pytest.mark.parametrize('limit', [2**24, 4])
def test_task_aligned_golden(limit, monkeypatch):
    monkeypatch.setattr(task_aligned_assigner, '_MAX_METRICS', limit)
    pred = InstanceData(
        priors=tensor([[0, 0, 10, 10], [0, 10, 10, 20], [2, 2, 12, 12], [32, 32, 38, 42]]),
        bboxes=tensor([[1, 0, 9, 9], [0, 8, 12, 19], [2, 2, 16, 16], [30, 30, 40, 40]]),
        scores=tensor([[0.1, 0.2, 0.9, 0.3], [0.1, 0.1, 0.2, 0.6], [0.3, 0.1, 0.4, 0.5], [0.2, 0.2, 0.2, 0.2]]),
    )
    result = TaskAlignedAssigner(13).assign(pred, instances([[0, 0, 12, 11], [0, 9, 10, 19]], [2, 3]))
    assert result.gt_inds.tolist() == [1, 2, 1, 0] and result.labels.tolist() == [2, 3, 2, -1]
    torch.testing.assert_close(result.assign_metrics, tensor([0.023702, 0.113425, 0.001170, 0]), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(result.max_overlaps, tensor([0.545455, 0.757576, 0.378151, -1e8]), rtol=1e-5, atol=0)


def test_contested_prediction_goes_to_the_larger_overlap_not_to_the_better_alignment():
    gt = instances([[0, 0, 10, 10], [0, 0, 10, 9]], [0, 1])
    pred = InstanceData(priors=PRIORS[:1], bboxes=PRIORS[:1], scores=tensor([[0.1, 0.9]]))
    result = TaskAlignedAssigner(1).assign(pred, gt)
    assert result.gt_inds.tolist() == [1]
    assert result.assign_metrics.tolist() == pytest.approx([0.1])


def test_task_aligned_candidates():
    """Of the candidates only those count whose prior's centre lies inside; ``topk`` is over all priors, and so are the exponents."""
    pred = InstanceData(
        priors=tensor([[0, 0, 10, 10], [2, 0, 12, 10], [20, 0, 30, 10]]), bboxes=tensor([[0, 0, 10, 10]] * 3),
        scores=tensor([[0.5], [0.6], [0.9]]),
    )  # fmt: skip
    gt = instances([[0, 0, 10, 10]], [0])
    assert TaskAlignedAssigner(3).assign(pred, gt).gt_inds.tolist() == [1, 1, 0]
    assert TaskAlignedAssigner(2).assign(pred, gt).gt_inds.tolist() == [0, 1, 0]
    assert TaskAlignedAssigner(1).assign(pred, gt).gt_inds.tolist() == [0, 0, 0]
    assert TaskAlignedAssigner(3).assign(pred, gt, alpha=2).assign_metrics.tolist() == pytest.approx([0.25, 0.36, 0])
    with pytest.raises(ConfigError, match='topk'):
        TaskAlignedAssigner(0)


# -------------------------------------------------------------------------------------------- DynamicSoftLabel


def soft_label_predictions():
    return InstanceData(
        priors=tensor([[4, 4, 8, 8], [12, 4, 8, 8], [4, 12, 8, 8], [12, 12, 8, 8], [40, 40, 8, 8]]),
        bboxes=tensor([[0, 0, 10, 9], [3, 1, 14, 10], [0, 8, 9, 20], [5, 5, 16, 16], [30, 30, 50, 50]]),
        scores=tensor([[-1, 0, 2, 0], [0, 0, 1, 1], [0, 0, 0, 2], [0] * 4, [0] * 4]),
    )


def test_dynamic_soft_label_golden():
    gt = instances([[0, 0, 14, 11], [0, 9, 13, 19]], [2, 3])
    result = DynamicSoftLabelAssigner(topk=13).assign(soft_label_predictions(), gt)
    assert result.gt_inds.tolist() == [1, 0, 2, 0, 0] and result.labels.tolist() == [2, -1, 3, -1, -1]
    torch.testing.assert_close(result.max_overlaps, tensor([0.584416, -1e8, 0.608108, -1e8, -1e8]), rtol=1e-5, atol=0)


def test_number_of_priors_is_the_sum_of_the_overlaps():
    """Five perfect predictions: ``topk`` of them are summed and taken, the cheapest ones, which are those near the centre."""
    priors = tensor([[x, 20, 8, 8] for x in (2, 12, 20, 28, 38)])
    gt = instances([[0, 0, 40, 40]], [0])
    pred = InstanceData(priors=priors, bboxes=gt.bboxes.repeat(5, 1), scores=torch.zeros(5, 1))
    for topk, expected in ((1, [0, 0, 1, 0, 0]), (3, [0, 1, 1, 1, 0]), (13, [1, 1, 1, 1, 1])):
        assert DynamicSoftLabelAssigner(topk=topk).assign(pred, gt).gt_inds.tolist() == expected
    pred.bboxes = gt.bboxes.repeat(5, 1) / 10  # hardly any overlap: at least one prior all the same
    assert DynamicSoftLabelAssigner().assign(pred, gt).gt_inds.tolist() == [0, 0, 1, 0, 0]


def test_centroid_of_the_mask_stands_for_the_centre():
    from mmdet.core.masks import BitmapMasks

    gt = instances([[0, 0, 40, 40]], [0])
    pred = InstanceData(
        priors=tensor([[4, 4, 8, 8], [20, 20, 8, 8]]), bboxes=gt.bboxes.repeat(2, 1) / 10, scores=torch.zeros(2, 1)
    )
    assert DynamicSoftLabelAssigner().assign(pred, gt).gt_inds.tolist() == [0, 1]
    mask = torch.zeros(1, 40, 40, dtype=torch.uint8)
    mask[:, 2:7, 2:7] = 1
    gt.masks = BitmapMasks(mask.numpy(), 40, 40)
    assert DynamicSoftLabelAssigner().assign(pred, gt).gt_inds.tolist() == [1, 0]


# -------------------------------------------------------------------------------------------------- the result


def test_result_and_its_extra_properties():
    result = AssignResult(2, torch.tensor([0, 1, 2, -1]), tensor([0, 0.5, 0.6, -1]), torch.tensor([-1, 3, 4, -1]))
    assert result.num_preds == 4 and result.pos_inds.tolist() == [1, 2]
    assert result.get_extra_property('weight') is None
    result.set_extra_property('weight', 5)
    assert result.get_extra_property('weight') == 5
    assert list(result.info) == ['num_gts', 'num_preds', 'gt_inds', 'max_overlaps', 'labels', 'weight']
    with pytest.raises(KeyError):
        result.set_extra_property('weight', 6)
    result.add_gt_(torch.tensor([7, 8]))
    assert result.gt_inds.tolist() == [1, 2, 0, 1, 2, -1] and result.labels.tolist() == [7, 8, -1, 3, 4, -1]
    assert result.max_overlaps[:2].tolist() == [1, 1] and result.num_gts == 2


def test_random_results_are_consistent():
    for seed in range(30):
        result = AssignResult.random(rng=seed)
        claimed = result.gt_inds[result.gt_inds > 0]
        assert len(claimed.unique()) == len(claimed) <= result.num_gts
        assert torch.equal(result.labels >= 0, result.gt_inds > 0) and (result.max_overlaps < 1).all()
    first, again = (AssignResult.random(num_preds=20, num_gts=8, p_ignore=0.5, rng=3) for _ in range(2))
    assert torch.equal(first.gt_inds, again.gt_inds) and (first.gt_inds == -1).any() and first.num_preds == 20
    assert AssignResult.random(num_preds=0).num_preds == 0
    assert AssignResult.random(num_preds=5, num_gts=0).gt_inds.max() <= 0


# ------------------------------------------------------------------------------------------ SimOTA and Hungarian


def test_sim_ota():
    """Five perfect predictions of one box; the prior outside it is near its centre, but costs more than all others."""
    gt = instances([[0, 0, 40, 16]], [1])
    priors = tensor([[x, y, 8, 8] for x, y in ((4, 8), (12, 8), (20, 8), (36, 8), (20, 20))])
    pred = InstanceData(
        priors=priors, bboxes=gt.bboxes.repeat(5, 1), scores=tensor([[0.5, s] for s in (0.2, 0.5, 0.4, 0.3, 0.9)])
    )
    for topk, expected in ((1, [0, 1, 0, 0, 0]), (2, [0, 1, 1, 0, 0]), (3, [0, 1, 1, 1, 0]), (10, [1, 1, 1, 1, 1])):
        result = SimOTAAssigner(candidate_topk=topk).assign(pred, gt)
        assert result.gt_inds.tolist() == expected
        assert result.max_overlaps.tolist() == [1.0 if i else -1e5 for i in expected]
    assert SimOTAAssigner().assign(pred, FAR).max_overlaps.tolist() == [0] * 5
    # The last two priors are not near the centre within two strides; the fourth one lies in the box all the same.
    some, both = SimOTAAssigner(center_radius=1.4).get_in_gt_and_in_center_info(priors, gt.bboxes)
    assert some.tolist() == [True, True, True, True, False] and both[:, 0].tolist() == [False, True, True, False]


MASKS = InstanceData(
    masks=torch.tensor([[[1, 0], [0, 0]], [[1, 1], [1, 1]]]), labels=torch.tensor([1, 0]), bboxes=PRIORS[:2]
)


@pytest.mark.parametrize(
    ('config', 'expected'),
    [
        (dict(type='ClassificationCost', weight=2), [[-1.5, -0.5]]),  # probabilities 1/4 and 3/4
        (dict(type='BBoxL1Cost', weight=5.0), [[5 * (0.05 * 2 + 0.1 * 2), 5 * (0.05 * 2 + 0.1 * 2)]]),
        (dict(type='BBoxL1Cost', box_format='xywh'), [[0.15, 0.15]]),
        (dict(type='IoUCost', iou_mode='iou'), [[-25 / 175, -25 / 175]]),
        (dict(type='FocalLossCost'), [[
            0.25 * 0.0625 * 0.28768 - 0.75 * 0.5625 * 1.38629, 0.25 * 0.25 * 0.69315 - 0.75 * 0.25 * 0.69315,
        ]]),  # of the probabilities 3/4 and 1/2
        (dict(type='CrossEntropyLossCost'), [[0.69315, 0.69315]]),
        (dict(type='DiceCost', pred_act=True, eps=0.0), [[1 - 1 / 3, 1 - 4 / 6]]),
        (dict(type='DiceCost', pred_act=True, eps=0.0, naive_dice=False), [[1 - 1 / 2, 1 - 4 / 5]]),
        (dict(type='FocalLossCost', binary_input=True), [[0.17329 * (0.25 * 0.25 + 0.75 * 0.75), 0.17329 * 0.25]]),
    ],
)  # fmt: skip
def test_match_costs(config, expected):
    pred = InstanceData(scores=tensor([[0, 1.098612]]), bboxes=tensor([[5, 5, 15, 15]]), masks=torch.zeros(1, 2, 2))
    cost = TASK_UTILS.build(config)(pred, MASKS, img_meta=dict(img_shape=(50, 100)))
    torch.testing.assert_close(cost, tensor(expected), rtol=1e-4, atol=1e-5)


def test_match_costs_refuse():
    with pytest.raises(AssertionError, match='xyxy'):
        TASK_UTILS.build(dict(type='BBoxL1Cost', box_format='x'))
    with pytest.raises(ValueError, match='img_meta'):
        TASK_UTILS.build(dict(type='BBoxL1Cost'))(MASKS, MASKS)
    with pytest.raises(ValueError, match='use_sigmoid'):
        TASK_UTILS.build(dict(type='CrossEntropyLossCost', use_sigmoid=False))


def test_hungarian_takes_the_least_total():
    """The first object's best prediction is the second's only one."""
    gt = InstanceData(labels=torch.tensor([0, 1]))
    pred = InstanceData(scores=tensor([[4, 5], [3, 0], [0, 0]]))
    assigner = HungarianAssigner(dict(type='ClassificationCost'))
    result = assigner.assign(pred, gt, img_meta={})
    assert result.gt_inds.tolist() == [2, 1, 0] and result.labels.tolist() == [1, 0, -1] and result.max_overlaps is None
    assert assigner.assign(pred, gt[:0]).gt_inds.tolist() == [0, 0, 0]
    assert assigner.assign(pred[:0], gt).gt_inds.tolist() == []
    with pytest.raises(AssertionError):
        HungarianAssigner([])


class TestGrid:
    """Four cells of 10 pixels with two anchors each; the last cell has the centre of the second box."""

    ANCHORS = tensor(
        [[0, 0, 10, 10], [-5, 2, 15, 8], [10, 0, 20, 10], [5, 2, 25, 8],
         [0, 10, 10, 20], [-5, 12, 15, 18], [10, 10, 20, 20], [5, 12, 25, 18]]
    )  # fmt: skip
    BOXES = instances([[0, 0, 10, 9], [11, 12, 21, 20]], [4, 7])

    def assign(self, gt, responsible, anchors=ANCHORS, **options):
        settings = dict(dict(pos_iou_thr=0.5, neg_iou_thr=0.5), **options)
        flags = torch.tensor(responsible, dtype=torch.bool)
        assigner = TASK_UTILS.build(dict(type='GridAssigner', **settings))
        return assigner.assign(InstanceData(priors=anchors, responsible_flags=flags), gt)

    def test_nothing(self):
        found = self.assign(instances([], []), [False] * 8)
        assert found.gt_inds.tolist() == [0] * 8 and found.labels.tolist() == [-1] * 8 and found.num_gts == 0
        assert self.assign(self.BOXES, [], self.ANCHORS[:0]).num_preds == 0

    @pytest.mark.parametrize(
        ('options', 'gt_inds'),
        [
            # Overlaps of the first box with its anchors: 0.9 and 60 / 150 = 0.4; of the second: 72 / 108 = 0.67 and 60 / 140 = 0.43.
            (dict(), [1, 0, 0, 0, 0, 0, 2, 0]),
            (dict(pos_iou_thr=0.39, neg_iou_thr=0.39), [1, 1, 0, 0, 0, 0, 2, 2]),
            (dict(neg_iou_thr=0.42), [1, 0, 0, 0, 0, 0, 2, -1]),
            (dict(neg_iou_thr=(0.1, 0.42)), [1, 0, -1, 0, -1, 0, 2, -1]),
            (dict(pos_iou_thr=0.95, min_pos_iou=0.7), [1, 0, 0, 0, 0, 0, -1, 0]),
        ],
    )
    def test_only_responsible_anchors_become_positive(self, options, gt_inds):
        found = self.assign(self.BOXES, [True, True, False, False, False, False, True, True], **options)
        assert found.gt_inds.tolist() == gt_inds
        assert found.labels.tolist() == [{1: 4, 2: 7}.get(index, -1) for index in gt_inds]
        assert found.max_overlaps[2:6].tolist() == [-1] * 4
        torch.testing.assert_close(found.max_overlaps[[0, 1]], tensor([0.9, 0.4]))

    def test_good_anchors_of_other_cells_are_ignored(self):
        responsible = [False] * 6 + [True, True]
        assert self.assign(self.BOXES[:1], responsible).gt_inds.tolist() == [-1] + [0] * 7
        assert self.assign(self.BOXES[:1], [False] * 8).gt_inds.tolist() == [-1] + [0] * 7

    @pytest.mark.parametrize(('every', 'gt_inds'), [(True, [1, 1]), (False, [1, 0])])
    def test_a_box_keeps_all_or_the_first_of_its_best_anchors(self, every, gt_inds):
        anchors = self.ANCHORS[[0, 0]]
        box = instances([[0, 0, 4, 10]], [0])
        assert self.assign(box, [True, True], anchors, gt_max_assign_all=every).gt_inds.tolist() == gt_inds

    def test_the_last_of_two_equal_boxes_has_the_anchor_that_both_keep(self):
        twice = instances([[0, 0, 4, 10], [0, 0, 4, 10]], [3, 5])
        found = self.assign(twice, [True], self.ANCHORS[:1])
        assert found.gt_inds.tolist() == [2] and found.labels.tolist() == [5]
