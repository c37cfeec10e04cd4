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


def test_giou_loss_of_zero_weights_is_zero():
    pred, target = torch.rand(10, 4), torch.rand(10, 4)
    for weight in (torch.zeros(10), torch.zeros(10, 4)):
        assert GIoULoss()(pred, target, weight) == 0


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
