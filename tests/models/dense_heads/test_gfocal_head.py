import pytest
import torch
from torch import nn

from mmdet.models.dense_heads import GFocalHead
from mmdet.utils import ConfigError
from tests.devices import on
from tests.reference_fill import tensor

from .head_case import GT0, GT1, METAS, TEST_CFG, TRAIN_CFG, assert_losses, gt, outputs


def build(num_classes=80):
    head = GFocalHead(num_classes=num_classes, in_channels=256, train_cfg=TRAIN_CFG, test_cfg=TEST_CFG)
    with torch.no_grad():
        head.reg_conf[0].weight.copy_(tensor((64, 20, 1, 1), 300, (3 / 20) ** 0.5))
        head.reg_conf[0].bias.copy_(tensor((64,), 301, 0.1))
        head.reg_conf[2].weight.copy_(tensor((1, 64, 1, 1), 302, (3 / 64) ** 0.5))
        head.reg_conf[2].bias.copy_(tensor((1,), 303, 0.1))
    return head


@pytest.fixture(scope='module')
def head():
    return build()


@torch.no_grad()
def scores(head, channels, device='cpu'):
    cls, reg = on(device, outputs(channels))
    return [head.joint_score(*level) for level in zip(cls, reg)], reg


# Channels, ground truth, levels 0..4 of loss_cls, sum of loss_bbox, sum of loss_dfl.
GOLDEN = [
    (80, gt(), gt(), (6.054144, 1.514223, 0.390339, 0.1039, 0.030607), 0, 0),
    (80, GT0, GT1, (0.552938, 0.144817, 0.035485, 0.009445, 0.002782), 1.730877, 0.963691),
    (81, gt(), gt(), (6.124784, 1.536799, 0.396091, 0.105088, 0.030608), 0, 0),
    (81, GT0, GT1, (0.55936, 0.14678, 0.036008, 0.009553, 0.002783), 1.730877, 0.963691),
]


@pytest.mark.parametrize(('channels', 'gt0', 'gt1', 'loss_cls', 'bbox', 'dfl'), GOLDEN)
def test_golden_losses(head, device, channels, gt0, gt1, loss_cls, bbox, dfl):
    head = on(device, head)
    losses = head.loss_by_feat(*scores(head, channels, device), on(device, [gt0, gt1]), METAS)
    assert_losses(losses, loss_cls, bbox, dfl)


def test_golden_quality(head):
    cls, reg = outputs()
    quality = [head.predict_quality(level) for level in reg]
    means = torch.stack([level.mean() for level in quality])
    expected = torch.tensor([0.495606, 0.496537, 0.496347, 0.496011, 0.496772])
    torch.testing.assert_close(means, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(quality[0].flatten()[0], torch.tensor(0.491822), rtol=0, atol=1e-6)
    joint = torch.stack([head.joint_score(*level).mean() for level in zip(cls, reg)])
    expected = torch.tensor([0.038135, 0.037884, 0.038286, 0.038359, 0.037863])
    torch.testing.assert_close(joint, expected, rtol=0, atol=1e-6)


def test_gradient_of_the_quality_reaches_the_distribution(head):
    logits = outputs()[1][3].requires_grad_()
    head.predict_quality(logits).sum().backward()
    assert logits.grad.abs().sum() > 0


def test_joint_score_of_half_precision_logits_is_computed_in_float32(head):
    cls, reg = (maps[3].bfloat16().float() for maps in outputs())
    joint = head.joint_score(cls.bfloat16(), reg)
    assert joint.dtype == torch.float32 and torch.equal(joint, head.joint_score(cls, reg))


def test_parameters(head):
    state = head.state_dict()
    assert len(state) == 38
    added = sum(value.numel() for name, value in state.items() if name.startswith('reg_conf'))
    assert added == 1409


@pytest.mark.parametrize('add_mean', [True, False])
def test_statistic_by_hand(add_mean):
    # Side 0 is sure of a bin, side 1 of two; the others know nothing. The two largest probabilities, then their mean.
    head = GFocalHead(num_classes=3, in_channels=8, reg_max=3, reg_topk=2, add_mean=add_mean)
    assert head.reg_conf[0].in_channels == 4 * (2 + add_mean)
    head.reg_conf = nn.Identity()
    logits = torch.zeros(1, 4, 4)
    logits[0, 0, 3] = 50
    logits[0, 1] = torch.tensor([0.25, 0.0, 0.75, 0.0]).log().clamp(min=-50)
    statistic = head.predict_quality(logits.reshape(1, 16, 1, 1)).flatten()
    rows = torch.tensor([[1, 0, 0.5], [0.75, 0.25, 0.5], [0.25, 0.25, 0.25], [0.25, 0.25, 0.25]])
    torch.testing.assert_close(statistic, rows[:, : 2 + add_mean].flatten())


@pytest.mark.parametrize(('first', 'second'), [(81, 80), (81, 81), (80, 81)])
def test_a_second_checkpoint_may_have_other_channels(first, second):
    head, template = build(), build().state_dict()
    parameters = [head.gfl_cls.weight, head.gfl_cls.bias]
    for channels in (first, second):
        weight, bias = torch.rand(channels, 256, 3, 3), torch.rand(channels)
        head.gfl_cls.bias.grad = torch.ones_like(head.gfl_cls.bias)
        notes = head.adapt_state_dict({'head.gfl_cls.weight': weight}, 'head.')
        head.load_state_dict(dict(template, **{'gfl_cls.weight': weight, 'gfl_cls.bias': bias}), strict=True)
        assert torch.equal(head.gfl_cls.bias, bias) and torch.equal(head.gfl_cls.weight, weight)
        assert head.gfl_cls.out_channels == channels
        assert (head.gfl_cls.bias.grad is None) == bool(notes)  # a gradient of the old shape is of no use
    assert bool(notes) == (first != second)
    assert head.gfl_cls.weight is parameters[0] and head.gfl_cls.bias is parameters[1]  # an optimiser's own


@pytest.mark.parametrize('rule', ['pairs', 'priors'])
def test_scores_are_the_probabilities_that_the_head_returns(head, rule):
    cls, reg = scores(head, 80)
    for level in cls:
        level.fill_(0.04)
    cls[0][0, 7, 3, 4] = 0.7
    first, second = head.predict_by_feat(cls, reg, batch_img_metas=METAS, cfg=dict(TEST_CFG, nms_pre_rule=rule))
    assert first.labels.tolist() == [7] and first.scores.item() == pytest.approx(0.7) and len(second) == 0


@pytest.mark.parametrize('channels', [80, 81])
def test_the_checkpoint_decides_on_its_channels(channels):
    state = build().state_dict()
    state['gfl_cls.weight'], state['gfl_cls.bias'] = torch.rand(channels, 256, 3, 3), torch.rand(channels)
    head = build()
    head.load_state_dict(state, strict=True)
    assert head.gfl_cls.out_channels == channels
    assert torch.equal(head.gfl_cls.bias, state['gfl_cls.bias'])
    other = dict(state, **{'gfl_cls.weight': torch.rand(20, 256, 3, 3), 'gfl_cls.bias': torch.rand(20)})
    with pytest.raises(RuntimeError, match='size mismatch'):
        head.load_state_dict(other)


def test_the_extra_channel_is_never_detected(head):
    cls, reg = scores(head, 81)
    for level in cls:
        level[:, 80] = 1.0
    for rule in ('pairs', 'priors'):
        for found in head.predict_by_feat(cls, reg, batch_img_metas=METAS, cfg=dict(TEST_CFG, nms_pre_rule=rule)):
            assert found.labels.max() < 80


@pytest.mark.parametrize(
    'arguments', [dict(loss_cls=dict(type='QualityFocalLoss', use_sigmoid=True)), dict(reg_topk=18), dict(reg_topk=0)]
)
def test_refuses(arguments):
    with pytest.raises(ConfigError):
        GFocalHead(num_classes=3, in_channels=8, **arguments)


def test_under_autocast(head):
    features = tuple(torch.rand(2, 256, *level.shape[-2:]) for level in outputs()[0])
    with torch.autocast('cpu', torch.bfloat16):
        raw = head(features)
        losses = head.loss_by_feat(*raw, [GT0, gt()], METAS)
    assert all(part.isfinite() for parts in losses.values() for part in parts)
    assert raw[0][0].dtype == torch.float32
