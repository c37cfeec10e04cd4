from math import log

import pytest
import torch

from mmdet.models.losses import DistributionFocalLoss, GIoULoss, QualityFocalLoss
from mmdet.models.losses.reduction import reduce_loss
from mmdet.utils import ModelInputError
from tests.devices import on

LOGITS = torch.tensor([[0.2, -1, 1.5], [0.5, 0, -2]])
TARGET = (torch.tensor([2, 3]), torch.tensor([0.7, 0]))


@pytest.mark.parametrize('form', [dict(use_sigmoid=True), dict(use_sigmoid=False), dict(activated=True)])
def test_quality_focal_loss_golden(device, form):
    loss = QualityFocalLoss(**form)
    logits, target = on(device, (LOGITS, TARGET))
    pred = logits if form == dict(use_sigmoid=True) else logits.sigmoid()
    rows = loss(pred, target, reduction_override='none').cpu()
    torch.testing.assert_close(rows, torch.tensor([0.2729543, 0.5525020]), rtol=0, atol=1e-6)
    torch.testing.assert_close(loss(pred, target, avg_factor=1).cpu(), torch.tensor(0.8254561), rtol=0, atol=1e-6)


@pytest.mark.parametrize('activated', [True, False])
def test_label_and_dense_targets_agree(activated):
    pred = torch.rand(4, 5)
    labels, scores = torch.tensor([0, 1, 2, 0]), torch.rand(4)
    dense = torch.zeros(4, 5).scatter_(1, labels[:, None], scores[:, None])
    loss = QualityFocalLoss(activated=activated)
    torch.testing.assert_close(loss(pred, (labels, scores)), loss(pred, dense), rtol=0, atol=0)


def test_background_column_of_gflv2_is_a_negative():
    # 81 columns, background label 80: its quality is 0, which is what every other column is trained to.
    pred = torch.rand(3, 5)
    with_column = QualityFocalLoss(use_sigmoid=False)(pred, (torch.tensor([4, 1, 4]), torch.tensor([0, 0.5, 0])))
    outside = QualityFocalLoss(use_sigmoid=False)(pred, (torch.tensor([5, 1, 5]), torch.tensor([0, 0.5, 0])))
    torch.testing.assert_close(with_column, outside, rtol=0, atol=0)


def test_probabilities_survive_autocast():
    with torch.autocast('cpu', torch.bfloat16):
        loss = QualityFocalLoss(use_sigmoid=False)(LOGITS.sigmoid().bfloat16(), TARGET)
    assert loss.dtype == torch.float32
    assert loss.isfinite()


@pytest.mark.parametrize(
    ('pred', 'target', 'expected'),
    [
        ([0, 0, 10, 10], [5, 5, 15, 20], 2.2777777),
        ([0, 0, 2, 2], [5, 5, 7, 7], 3.6734695),
        ([3, 3, 3, 3], [3, 3, 3, 3], 2.0),
    ],
)
def test_giou_loss_golden(pred, target, expected):
    value = GIoULoss(loss_weight=2.0)(torch.tensor([pred]).float(), torch.tensor([target]).float())
    torch.testing.assert_close(value, torch.tensor(expected), rtol=0, atol=1e-6)


# Rows of probabilities and targets; background is a label outside [0, C), also a negative one.
QUALITY = [
    ([0.25], 0, 0.5, 2, 0.5 * (log(4) + log(4 / 3)) * 0.25**2),
    ([0.25], 0, 0.5, 1, 0.5 * (log(4) + log(4 / 3)) * 0.25),
    ([0.25], 0, 0.5, 0, 0.5 * (log(4) + log(4 / 3))),
    ([0.5], 0, 0.25, 1, log(2) * 0.25),
    ([0.5], 0, 0.25, 1.5, log(2) * 0.125),
    ([0.25], 0, 0, 2, log(4 / 3) * 0.25**2),  # a positive without overlap is a negative
    ([0.25], 1, 0.9, 2, log(4 / 3) * 0.25**2),
    ([0.25], -1, 0.9, 2, log(4 / 3) * 0.25**2),
    ([0.25, 0.5], 0, 0.5, 2, 0.5 * (log(4) + log(4 / 3)) * 0.25**2 + log(2) * 0.5**2),
    ([0.25, 0.5], 1, 1, 2, log(4 / 3) * 0.25**2 + log(2) * 0.5**2),
    ([0.75, 0.5], 1, 0.25, 2, log(4) * 0.75**2 + log(2) * 0.25**2),
]


@pytest.mark.parametrize(('row', 'label', 'score', 'beta', 'expected'), QUALITY)
def test_quality_focal_loss_by_hand(row, label, score, beta, expected):
    probability, expected = torch.tensor([row]), torch.tensor([expected])
    target = (torch.tensor([label]), torch.tensor([float(score)]))
    dense = torch.zeros(1, len(row))
    if 0 <= label < len(row):
        dense[0, label] = score
    for truth in (target, dense):
        of_logits = QualityFocalLoss(beta=beta)(probability.logit(), truth, reduction_override='none')
        of_probabilities = QualityFocalLoss(False, beta)(probability, truth, reduction_override='none')
        torch.testing.assert_close(of_logits, expected)
        torch.testing.assert_close(of_probabilities, expected)


@pytest.mark.parametrize(('label', 'sign'), [(0, -1), (1, 1)])
def test_gradient_of_the_quality_focal_loss_goes_through_its_factor(label, sign):
    # At p = 1/2 and y = 1: d/dz (-log p (1 - p)^2) = p (1 - p) (-(1 - p)^2 / p + 2 (1 - p) log p); y = 0 mirrors it.
    logit = torch.zeros(1, 1, requires_grad=True)
    QualityFocalLoss()(logit, (torch.tensor([label]), torch.tensor([1.0]))).backward()
    assert logit.grad.item() == pytest.approx(sign * 0.25 * (0.5 + log(2)))


def test_defaults_of_the_losses():
    target = (torch.tensor([0]), torch.tensor([0.5]))
    quality, dense = QualityFocalLoss(), torch.tensor([[0.3, -1.0]])
    assert (quality.beta, quality.activated, quality.reduction, quality.loss_weight) == (2.0, False, 'mean', 1.0)
    assert QualityFocalLoss(True, 2.0, 'sum', 3.0)(dense, target) == 3 * quality(dense, target)
    assert (GIoULoss().eps, GIoULoss().offset, GIoULoss().loss_weight, GIoULoss().reduction) == (1e-6, 0, 1, 'mean')
    assert (DistributionFocalLoss().reduction, DistributionFocalLoss('sum', 0.25).loss_weight) == ('mean', 0.25)
    for loss in (QualityFocalLoss, DistributionFocalLoss, GIoULoss):
        with pytest.raises(AssertionError, match='reduction'):
            loss(reduction='average')


@pytest.mark.parametrize('loss', [QualityFocalLoss, DistributionFocalLoss, GIoULoss])
def test_loss_weight_and_reduction_of_the_constructor(loss):
    pred = torch.rand(3, 4)
    target = {
        QualityFocalLoss: (torch.tensor([0, 1, 4]), torch.rand(3)), DistributionFocalLoss: torch.rand(3), GIoULoss: torch.rand(3, 4)
    }[loss]  # fmt: skip
    rows = loss(reduction='none')(pred, target)
    assert rows.shape == (3,)
    torch.testing.assert_close(loss(reduction='none', loss_weight=3.0)(pred, target), 3 * rows)
    torch.testing.assert_close(loss(reduction='sum')(pred, target), rows.sum())
    torch.testing.assert_close(loss(reduction='sum')(pred, target, reduction_override='mean'), rows.mean())


# Of boxes (0, 0, 2, 2) and (1, 1, 3, 3): intersection 1, union 7, hull 9; with inclusive pixels 4, 14 and 16.
@pytest.mark.parametrize(
    ('box', 'other', 'options', 'expected'),
    [
        ([0, 0, 2, 2], [1, 1, 3, 3], {}, 1 - (1 / 7 - 2 / 9)),
        ([0, 0, 2, 2], [1, 1, 3, 3], dict(offset=1), 1 - (4 / 14 - 2 / 16)),
        ([0, 0, 2, 4], [1, 1, 5, 3], {}, 1 - (2 / 14 - 6 / 20)),
        ([0, 0, 1, 1], [0, 0, 1, 1], dict(eps=4), 1 - 1 / 4),
        ([0, 0, 1e-4, 1e-4], [0, 0, 1e-4, 1e-4], {}, 1 - 1e-8 / 1e-6),
        ([3, 3, 3, 3], [3, 3, 3, 3], {}, 1),
    ],
)
def test_giou_loss_by_hand(box, other, options, expected):
    pred, target = torch.tensor([box]).double(), torch.tensor([other]).double()
    assert GIoULoss(**options)(pred, target).item() == pytest.approx(expected, rel=1e-5)
    assert GIoULoss(**options)(pred.float().half().float(), target).dtype == torch.float32
    assert GIoULoss()(pred.half(), target.half()).dtype == torch.float32


@pytest.mark.parametrize('options', [dict(use_sigmoid=True), dict(use_sigmoid=False)])
def test_quality_focal_loss_of_half_precision_is_computed_in_float32(options):
    pred = LOGITS.bfloat16() if options['use_sigmoid'] else LOGITS.sigmoid().bfloat16()
    rows, expected = (QualityFocalLoss(**options)(p, TARGET, reduction_override='none') for p in (pred, pred.float()))
    assert rows.dtype == torch.float32 and torch.equal(rows, expected)


def test_giou_loss_of_boxes_whose_areas_exceed_half_precision():
    box = torch.tensor([[0.0, 0, 600, 400]])  # an area of 240,000; the largest half is 65,504
    for pred, target in ((box.half(), box), (box, box.half()), (box.half(), box.half())):
        assert GIoULoss()(pred, target).item() == pytest.approx(0)


def test_weights_come_before_the_factor_and_one_row_per_sample():
    rows = DistributionFocalLoss(loss_weight=2.0)(
        torch.zeros(2, 4), torch.ones(2), torch.tensor([1.0, 3]), None, 'none'
    )
    assert rows.tolist() == pytest.approx([2 * log(4), 6 * log(4)])


def test_giou_loss_of_weights_for_each_side_takes_their_mean():
    pred, target = torch.zeros(2, 4), torch.zeros(2, 4)  # loss 1 each
    sides = torch.tensor([[1.0, 0, 0, 1], [4, 0, 0, 0]])
    assert GIoULoss()(pred, target, sides, reduction_override='none').tolist() == [0.5, 1]
    assert GIoULoss()(pred, target, torch.tensor([0.5, 3]), reduction_override='none').tolist() == [0.5, 3]


def test_giou_loss_of_zero_weights_is_zero():
    pred, target = torch.rand(10, 4), torch.rand(10, 4)
    for weight in (torch.zeros(10), torch.zeros(10, 4)):
        assert GIoULoss()(pred, target, weight) == 0


@pytest.mark.parametrize(
    ('label', 'expected'),
    [
        (0, log(10)),
        (0.25, 0.75 * log(10) + 0.25 * log(5)),
        (1.5, 0.5 * log(5) + 0.5 * log(10 / 3)),
        (2, log(10 / 3)),
        (2.9, 0.1 * log(10 / 3) + 0.9 * log(10 / 4)),
    ],
)
def test_distribution_focal_loss_lies_between_its_bins(label, expected):
    logits = torch.tensor([[0.1, 0.2, 0.3, 0.4]]).log() + 7
    assert DistributionFocalLoss()(logits, torch.tensor([float(label)])).item() == pytest.approx(expected, rel=1e-6)


def test_distribution_focal_loss_by_hand():
    # Uniform over 4 bins: log 4 whatever the label. All mass on bin 1: label 1.25 costs 0.75 * 0 + 0.25 * 100.
    loss = DistributionFocalLoss()
    torch.testing.assert_close(loss(torch.zeros(1, 4), torch.tensor([2.3])), torch.tensor(4.0).log())
    torch.testing.assert_close(loss(torch.tensor([[0.0, 100, 0, 0]]), torch.tensor([1.25])), torch.tensor(25.0))
    with pytest.raises(ModelInputError, match='equally long'):
        loss(torch.zeros(2, 4), torch.zeros(3))


@pytest.mark.parametrize('loss', [QualityFocalLoss(), DistributionFocalLoss(), GIoULoss()])
def test_reduction(loss):
    pred = torch.rand(3, 4, requires_grad=True)
    target = (torch.tensor([0, 1, 4]), torch.rand(3)) if isinstance(loss, QualityFocalLoss) else torch.rand(3)
    if isinstance(loss, GIoULoss):
        target = torch.rand(3, 4)
    rows = loss(pred, target, reduction_override='none')
    torch.testing.assert_close(loss(pred, target), rows.mean())
    torch.testing.assert_close(loss(pred, target, reduction_override='sum'), rows.sum())
    torch.testing.assert_close(loss(pred, target, torch.tensor([1.0, 0, 2]), avg_factor=2), (rows[0] + 2 * rows[2]) / 2)
    with pytest.raises(AssertionError, match='reduction'):
        loss(pred, target, reduction_override=True)
    with pytest.raises(ValueError, match='avg_factor'):
        loss(pred, target, avg_factor=2, reduction_override='sum')


@pytest.mark.parametrize('loss', [QualityFocalLoss(), DistributionFocalLoss(), GIoULoss()])
def test_empty(loss):
    pred = torch.zeros(0, 4, requires_grad=True)
    target = (
        (torch.zeros(0, dtype=torch.long), torch.zeros(0)) if isinstance(loss, QualityFocalLoss) else torch.zeros(0)
    )
    if isinstance(loss, GIoULoss):
        target = torch.zeros(0, 4)
    value = loss(pred, target, avg_factor=1)
    value.backward()
    assert value == 0
    assert pred.grad.shape == (0, 4)


def test_weighted_reductions_by_hand():
    difference = torch.tensor([1.0, 1, 2])
    torch.testing.assert_close(reduce_loss(difference, None, 'mean', None), torch.tensor(4 / 3))
    assert reduce_loss(difference, torch.tensor([1.0, 0, 1]), 'mean', None) == 1
    torch.testing.assert_close(reduce_loss(difference, None, 'mean', 2) * 1.5, torch.tensor(3.0))


@pytest.mark.parametrize(
    ('weight', 'reduction', 'avg_factor', 'expected'),
    [
        (None, 'mean', None, 2),
        (None, 'sum', None, 6),
        (None, 'none', None, [1, 2, 3]),
        ([2, 0, 1], 'none', None, [2, 0, 3]),
        ([2, 0, 1], 'none', 7, [2, 0, 3]),
        ([2, 0, 1], 'mean', None, 5 / 3),  # over the number of elements, not over the weights
        ([2, 0, 1], 'sum', None, 5),
        ([2, 0, 1], 'mean', 2, 2.5),
        (None, 'mean', torch.tensor(4.0), 1.5),
    ],
)
def test_reduce_loss_by_hand(weight, reduction, avg_factor, expected):
    loss = torch.tensor([1.0, 2, 3])
    found = reduce_loss(loss, None if weight is None else torch.tensor(weight), reduction, avg_factor)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float32))


def test_average_over_nothing_is_finite():
    assert reduce_loss(torch.zeros(0), None, 'mean', 0) == 0
    assert reduce_loss(torch.zeros(2), None, 'mean', torch.tensor(0.0)) == 0
    assert reduce_loss(torch.tensor([2.0**-23]), None, 'mean', 0) == 1  # the epsilon of float32
