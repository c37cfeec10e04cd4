"""Losses of the dense detectors beside GFL; numbers of mmdetection 3.3.0 where no formula is written out."""

from math import log

import pytest
import torch

from mmdet.errors import ArgumentError
from mmdet.models import losses
from mmdet.models.losses import (
    GHMC,
    GHMR,
    BalancedL1Loss,
    BoundedIoULoss,
    CIoULoss,
    CrossEntropyLoss,
    DiceLoss,
    DIoULoss,
    EIoULoss,
    FocalLoss,
    GaussianFocalLoss,
    GIoULoss,
    IoULoss,
    KnowledgeDistillationKLDivLoss,
    L1Loss,
    MSELoss,
    QualityFocalLoss,
    SIoULoss,
    SmoothL1Loss,
    VarifocalLoss,
    accuracy,
)
from mmdet.models.losses.focal_loss import py_focal_loss_with_prob, sigmoid_focal_loss
from mmdet.models.losses.iou_loss import giou_loss, iou_loss
from mmdet.models.losses.utils import reduce_loss, weight_reduce_loss, weighted_loss
from mmdet.models.losses.varifocal_loss import varifocal_loss
from mmdet.registry import MODELS

LOGITS = torch.tensor([[0.2, -1, 1.5], [0.5, 0, -2]])
LABELS = torch.tensor([2, 3])  # the second is background
FOCAL = [0.180968, 0.016994, 0.001676, 0.283059, 0.129965, 0.001353]
PREDICTED = torch.tensor([[0.0, 0, 10, 10], [0, 0, 2, 2], [3, 3, 3, 3], [0, 0, 10, 4]])
TARGETS = torch.tensor([[5.0, 5, 15, 20], [5, 5, 7, 7], [3, 3, 3, 3], [1, 0, 9, 5]])
BOX_LOSSES = [IoULoss, GIoULoss, DIoULoss, CIoULoss, EIoULoss, SIoULoss, BoundedIoULoss]
DIFFERENCES = torch.tensor([[0, 0.5, -1, 3]])


def close(found, expected, tolerance=1e-5):
    torch.testing.assert_close(found.detach(), torch.tensor(expected), rtol=tolerance, atol=2e-6, check_dtype=False)


@pytest.mark.parametrize('loss', [FocalLoss(), VarifocalLoss(), QualityFocalLoss(), KnowledgeDistillationKLDivLoss(), L1Loss(), SmoothL1Loss(), MSELoss(), BalancedL1Loss(), GaussianFocalLoss(), CrossEntropyLoss(True), *(loss() for loss in BOX_LOSSES)])  # fmt: skip
def test_nothing_costs_nothing(loss):
    pred = torch.zeros(0, 4, requires_grad=True)
    value = loss(pred, torch.zeros(0, 4), avg_factor=1)
    value.backward()
    assert value == 0 and pred.grad.shape == (0, 4)


@pytest.mark.parametrize('loss', [L1Loss(), SmoothL1Loss(), BalancedL1Loss()])
def test_no_targets_leave_a_gradient_of_zero(loss):
    pred = torch.ones(2, 4, requires_grad=True)
    loss(pred, torch.zeros(0, 4)).backward()
    assert pred.grad.tolist() == [[0.0] * 4] * 2


def test_focal_loss_golden():
    loss = FocalLoss()
    close(loss(LOGITS, LABELS, reduction_override='none').flatten(), FOCAL)
    close(loss(LOGITS, LABELS, avg_factor=1), 0.614014)
    close(loss(LOGITS, LABELS, torch.tensor([1.0, 0]), avg_factor=1), 0.199638)
    close(FocalLoss(activated=True)(LOGITS.sigmoid(), LABELS, avg_factor=1), 0.614014)
    close(sigmoid_focal_loss(LOGITS, LABELS, reduction='sum'), 0.614014)
    close(py_focal_loss_with_prob(LOGITS.sigmoid(), LABELS, torch.tensor([1.0, 0]), reduction='sum'), 0.199638)


@pytest.mark.parametrize(('gamma', 'alpha'), [(2.0, 0.25), (1.5, 0.4), (0.0, 0.5)])
def test_focal_loss_of_labels_and_of_one_hot_targets_agree_with_their_gradients(gamma, alpha):
    one_hot = torch.tensor([[0, 0, 1], [0, 0, 0]])
    grads = []
    for target in (LABELS, one_hot):
        pred = LOGITS.clone().requires_grad_()
        FocalLoss(gamma=gamma, alpha=alpha)(pred, target, torch.tensor([1.0, 2])).backward()
        grads.append(pred.grad)
    torch.testing.assert_close(*grads)


def test_negative_part_of_the_focal_loss_has_the_gradient_of_its_formula():
    for gamma in (2.0, 0.7):
        pred = torch.linspace(-30, 30, 25)[:, None].requires_grad_()
        FocalLoss(gamma=gamma, reduction='sum')(pred, torch.full((25,), -1)).backward()
        again = pred.detach().double().requires_grad_()
        (0.75 * again.sigmoid() ** gamma * -torch.nn.functional.logsigmoid(-again)).sum().backward()
        torch.testing.assert_close(pred.grad.double(), again.grad, rtol=1e-5, atol=1e-7)


def test_varifocal_loss_golden():
    target = torch.tensor([[0, 0, 0.7], [0, 0.2, 0]])
    rows = VarifocalLoss(reduction='none')(LOGITS, target).flatten()
    close(rows, [0.180968, 0.016994, 0.455989, 0.283059, 0.138629, 0.001353])
    plain = VarifocalLoss(iou_weighted=False, reduction='none')(LOGITS, target).flatten()
    close(plain, [0.180968, 0.016994, 0.651413, 0.283059, 0.693147, 0.001353])
    close(varifocal_loss(LOGITS, target, avg_factor=2.0), rows.sum().item() / 2)
    weight = torch.zeros(2, 3)
    weight[0, 2] = 2.0
    close(VarifocalLoss()(LOGITS, target, weight, avg_factor=1), 2 * 0.455989)
    with pytest.raises(AssertionError, match='one shape'):
        varifocal_loss(LOGITS, target[:, :2])


def test_quality_focal_loss_of_dense_probabilities_equals_that_of_labels():
    target = torch.tensor([[0, 0, 0.7], [0, 0, 0]])
    dense = QualityFocalLoss(activated=True, reduction='none')(LOGITS.sigmoid(), target)
    labels = QualityFocalLoss(reduction='none')(LOGITS, (LABELS, torch.tensor([0.7, 0])))
    torch.testing.assert_close(dense, labels)


def test_distillation_golden():
    student = torch.tensor([[0.0, 1, 2, 3], [1, 1, 1, 1]])
    teacher = torch.tensor([[3.0, 2, 1, 0], [0, 2, 0, 2]], requires_grad=True)
    close(KnowledgeDistillationKLDivLoss(reduction='none')(student, teacher), [0.623234, 0.124377])
    close(KnowledgeDistillationKLDivLoss(reduction='none', T=1)(student, teacher), [0.496326, 0.081953])
    student.requires_grad_()
    KnowledgeDistillationKLDivLoss()(student, teacher).backward()
    assert teacher.grad is None and student.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ('loss', 'expected'),
    [
        (IoULoss(), [2.197225, 13.815511, 13.815511, 0.405465]),
        (IoULoss(mode='linear'), [0.888889, 0.999999, 0.999999, 0.333333]),
        (IoULoss(linear=True), [0.888889, 0.999999, 0.999999, 0.333333]),
        (IoULoss(mode='square'), [0.987654, 1.0, 1.0, 0.555556]),
        (GIoULoss(), [1.138889, 1.836735, 1.0, 0.373333]),
        (DIoULoss(), [1.018889, 1.510204, 1.0, 0.335333]),
        (CIoULoss(), [1.018889, 1.510204, 1.0, 0.335811]),
        (EIoULoss(), [0.838889, 1.79, 0.95, 0.283333]),
        (BoundedIoULoss(), [[0.9, 0.9, 0, 0.233378], [0.9, 0.9, 0, 0], [0.9] * 4, [0, 0.233444, 0.100080, 0.100160]]),
    ],
)
def test_box_losses_golden(loss, expected):
    close(loss(PREDICTED, TARGETS, reduction_override='none'), expected)


def test_siou_loss_golden():
    rows = torch.tensor([0, 1, 3])
    close(SIoULoss(reduction='none')(PREDICTED, TARGETS)[rows], [0.746806, 0.334369, 0.324312])
    close(SIoULoss(reduction='none', neg_gamma=True)(PREDICTED, TARGETS)[rows], [1.018772, 1.399627, 0.344314])


@pytest.mark.parametrize('loss', BOX_LOSSES)
def test_weights_of_zero_give_zero(loss):
    boxes = torch.tensor([[0.0, 0, 4, 4], [1, 1, 7, 3]])
    pred = (boxes + 0.5).requires_grad_()
    for weight in (torch.zeros(2), torch.zeros(2, 4)):
        assert loss()(pred, boxes, weight, avg_factor=2) == 0


def test_functions_take_weight_reduction_and_factor():
    assert iou_loss(PREDICTED, TARGETS, mode='linear').item() == pytest.approx(3.222220 / 4, rel=1e-5)
    weight = torch.tensor([1.0, 0, 0, 2])
    assert giou_loss(PREDICTED, TARGETS, weight, avg_factor=2.0).item() == pytest.approx(
        (1.138889 + 0.746667) / 2, rel=1e-5
    )
    assert giou_loss(PREDICTED, TARGETS, reduction='none').shape == (4,)


def test_losses_on_differences_golden():
    zeros = torch.zeros(1, 4)
    close(SmoothL1Loss(reduction='none')(DIFFERENCES, zeros), [[0, 0.125, 0.5, 2.5]])
    close(SmoothL1Loss(1 / 9, reduction='none')(DIFFERENCES, zeros), [[0, 0.444444, 0.944444, 2.944444]])
    close(L1Loss()(DIFFERENCES, zeros, avg_factor=2), 2.25)
    close(MSELoss(reduction='none')(DIFFERENCES, zeros), [[0, 0.25, 1, 9]])
    close(BalancedL1Loss(reduction='none')(DIFFERENCES, zeros), [[0, 0.400568, 1.078594, 4.078594]])
    close(BalancedL1Loss(beta=0.4, reduction='none')(DIFFERENCES, zeros), [[0, 0.628594, 1.378593, 4.378594]])
    # Weights for each side are not averaged, those of a sample are spread over its sides.
    close(L1Loss(reduction='none')(DIFFERENCES, zeros, torch.tensor([[0, 1.0, 2, 1]])), [[0, 0.5, 2, 3]])
    close(L1Loss(reduction='none')(DIFFERENCES, zeros, torch.tensor([2.0])), [[0, 1.0, 2, 6]])


def test_gaussian_dice_and_harmonised_losses_golden():
    pred, target = torch.tensor([[0.2, 0.9], [0.5, 0.1]]), torch.tensor([[1, 0.5], [0, 1]])
    close(GaussianFocalLoss(reduction='none')(pred, target), [[1.030040, 0.116568], [0.173287, 1.865094]])
    at = dict(pos_inds=torch.tensor([0]), pos_labels=torch.tensor([1]))
    close(GaussianFocalLoss(pos_weight=0.5)(pred, target, **at), 0.0729906)
    close(DiceLoss(reduction='none', activate=False)(pred, target), [0.381541, 0.841521])
    close(DiceLoss(reduction='none', activate=False, naive_dice=True)(pred, target), [0.499808, 0.874453])
    close(GHMC()(LOGITS, LABELS, torch.ones(2)), 0.549288)
    close(GHMR()(DIFFERENCES, torch.zeros(1, 4), torch.ones(1, 4)), 0.740111)


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        ({}, 0.413714),
        (dict(class_weight=[0.5, 1, 2]), 0.434496),
        (dict(ignore_index=2), 0.261955),
        (dict(ignore_index=2, avg_non_ignore=True), 0.523909),
        (dict(use_sigmoid=True), 0.434494),
        (dict(use_sigmoid=True, class_weight=[0.5, 1, 2]), 0.428557),
        (dict(use_sigmoid=True, ignore_index=2), 0.215692),
        (dict(use_sigmoid=True, ignore_index=2, avg_non_ignore=True), 0.431384),
    ],
)
def test_cross_entropy_golden(options, expected):
    close(CrossEntropyLoss(**options)(LOGITS, torch.tensor([2, 0])), expected)


def test_cross_entropy_by_hand():
    logits = torch.tensor([0.0, 0, 0])
    close(CrossEntropyLoss(True, reduction='none')(logits, torch.tensor([0.5, 1, -1])), [log(2), log(2), 0])
    masks = torch.zeros(2, 3, 2, 2)
    masks[1, 0] = 100
    close(CrossEntropyLoss(use_mask=True)(masks, torch.ones(2, 2, 2), torch.tensor([2, 0])), [log(2) / 2])
    assert CrossEntropyLoss(avg_non_ignore=True).extra_repr() == 'avg_non_ignore=True'
    ignored = CrossEntropyLoss(ignore_index=0, reduction='none')(
        torch.zeros(2, 3), torch.tensor([0, 1]), ignore_index=1
    )
    close(ignored, [log(3), 0])


def test_accuracy():
    scores, labels = torch.tensor([[0.1, 0.6, 0.3], [0.5, 0.2, 0.3]]), torch.tensor([1, 2])
    assert accuracy(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long)).item() == 0
    assert accuracy(scores, labels).tolist() == [50]
    assert [value.item() for value in accuracy(scores, labels, topk=(1, 2))] == [50, 100]
    assert accuracy(scores, labels, topk=2, thresh=0.4).tolist() == [50]
    for bad in (dict(topk=4), dict(topk=(1, 9))):
        with pytest.raises(AssertionError, match='exceeds'):
            accuracy(scores, labels, **bad)
    with pytest.raises(AssertionError, match='pred must be'):
        accuracy(scores[0], labels)


@pytest.mark.parametrize('name', sorted(name for name in losses.__all__ if name.endswith('Loss')))
def test_every_loss_is_registered_and_refuses_other_reductions(name):
    loss = MODELS.build(dict(type=name))
    with pytest.raises(AssertionError, match='reduction'):
        loss(torch.ones(2, 4), torch.ones(2, 4), reduction_override=True)
    with pytest.raises(ArgumentError, match='reduction'):
        MODELS.build(dict(type=name, reduction='average'))


@pytest.mark.parametrize(
    ('build', 'text'),
    [
        (lambda: FocalLoss(use_sigmoid=False), 'use_sigmoid'),
        (lambda: VarifocalLoss(use_sigmoid=False), 'use_sigmoid'),
        (lambda: VarifocalLoss(alpha=-1), 'alpha'),
        (lambda: IoULoss(mode='cubic'), 'mode'),
        (lambda: KnowledgeDistillationKLDivLoss(T=0), 'T: must be'),
        (lambda: CrossEntropyLoss(True, True), 'together'),
        (lambda: SmoothL1Loss(beta=0)(DIFFERENCES, DIFFERENCES), 'beta'),
        (lambda: L1Loss()(DIFFERENCES, DIFFERENCES[:, :2]), 'one shape'),
        (lambda: reduce_loss(torch.ones(2), 'bad'), 'reduction'),
    ],
)
def test_impossible_arguments_are_assertion_and_value_errors(build, text):
    for kind in (AssertionError, ValueError):
        with pytest.raises(kind, match=text):
            build()


def test_weight_reduce_loss_by_hand():
    loss, weight = torch.tensor([1.0, 2, 3]), torch.tensor([1.0, 0, 2])
    assert weight_reduce_loss(loss, weight).item() == pytest.approx(7 / 3)
    assert weight_reduce_loss(loss, weight, 'sum') == 7
    assert weight_reduce_loss(loss, weight, 'none', 2).tolist() == [1, 0, 6]
    assert weight_reduce_loss(loss, weight, avg_factor=2).item() == pytest.approx(3.5)
    assert weight_reduce_loss(loss, weight, avg_factor=0) == 58720256
    with pytest.raises(ValueError, match='avg_factor'):
        weight_reduce_loss(loss, weight, 'sum', 2)
    assert [reduce_loss(loss, how).tolist() for how in ('none', 'mean', 'sum')] == [[1, 2, 3], 2, 6]


def test_weighted_loss_decorates():
    @weighted_loss
    def double_difference(pred, target, factor=2):
        """What it does."""
        return factor * (pred - target)

    pred, target = torch.tensor([1.0, 3]), torch.tensor([0.0, 1])
    assert double_difference.__name__ == 'double_difference' and double_difference.__doc__ == 'What it does.'
    assert double_difference(pred, target) == 3
    assert double_difference(pred, target, torch.tensor([1.0, 0]), reduction='sum', factor=3) == 3
    assert double_difference(pred, target, reduction='none').tolist() == [2, 4]
