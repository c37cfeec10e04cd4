"""TOOD's head: decomposition, alignment of scores and boxes, the two phases."""

import pytest
import torch
from mmengine.logging import MessageHub

from mmdet.errors import ArgumentError, ConfigError
from mmdet.models.dense_heads import TaskDecomposition, TOODHead
from mmdet.models.dense_heads.tood_head import aligned_scores
from mmdet.structures import DetDataSample
from tests.devices import on

from .head_case import TEST_CFG, gt

SIZES = [(8, 8), (4, 4), (2, 2), (1, 1), (1, 1)]
META = dict(img_shape=(64, 64), pad_shape=(64, 64), scale_factor=(1.0, 1.0))
TRAIN = dict(
    initial_epoch=4,
    initial_assigner=dict(type='ATSSAssigner', topk=9),
    assigner=dict(type='TaskAlignedAssigner', topk=13),
    alpha=1,
    beta=6,
    allowed_border=-1,
    pos_weight=-1,
)


def head(**options):
    settings = dict(num_classes=4, in_channels=8, feat_channels=8, stacked_convs=2, norm_cfg=None)
    loss_cls = dict(type='QualityFocalLoss', use_sigmoid=True, activated=True, beta=2.0)
    losses = dict(loss_cls=loss_cls, loss_bbox=dict(type='GIoULoss', loss_weight=2.0))
    return TOODHead(
        **{**settings, **losses, 'bbox_coder': dict(type='DeltaXYWHBBoxCoder'), 'train_cfg': TRAIN, 'test_cfg': TEST_CFG, **options}
    )  # fmt: skip


def maps(device='cpu'):
    torch.manual_seed(0)
    return [torch.randn(2, 8, *size, device=device) for size in SIZES]


def batch(*truth, device='cpu'):
    return [DetDataSample(metainfo=META, gt_instances=one) for one in on(device, list(truth))]


@pytest.fixture
def epoch(monkeypatch):
    """Sets the epoch that the head sees."""
    return lambda value: monkeypatch.setitem(MessageHub.get_current_instance().runtime_info, 'epoch', value)


def test_decomposition_weighs_each_layer_image_by_image():
    layer = TaskDecomposition(2, 3, la_down_rate=6).eval()
    with torch.no_grad():
        layer.reduction_conv.conv.weight.fill_(1)
        layer.layer_attention[2].weight.zero_()
        layer.layer_attention[2].bias.copy_(torch.tensor([-50.0, 0.0, 50.0]))  # 0, a half, 1
        layers = torch.tensor([[1.0, 2, 10, 20, 100, 200], [3.0, 4, 30, 40, 300, 400]]).view(2, 6, 1, 1)
        assert layer(layers).flatten().tolist() == [315, 315, 735, 735]


def test_aligned_scores():
    assert aligned_scores(torch.empty(0), torch.empty(0), torch.empty(0, dtype=torch.long), 2).numel() == 0
    metrics, overlaps = torch.tensor([0.2, 0.1, 0.4, 0.05]), torch.tensor([0.6, 0.8, 0.5, 0.3])
    measured = aligned_scores(metrics, overlaps, torch.tensor([0, 0, 2, 2]), 3)
    torch.testing.assert_close(measured, torch.tensor([0.8, 0.4, 0.5, 0.0625]))


def test_sides_are_read_at_their_own_offsets():
    feat = torch.arange(24.0).view(1, 2, 3, 4)
    offset = torch.zeros(1, 4, 3, 4)
    offset[:, 1] = 1  # dx of the first channel
    offset[:, 2] = 0.5  # dy of the second
    moved = head().deform_sampling(feat, offset)[0]
    assert moved[0].tolist() == [[1, 2, 3, 0], [5, 6, 7, 0], [9, 10, 11, 0]]
    assert moved[1].tolist() == [[14, 15, 16, 17], [18, 19, 20, 21], [10, 10.5, 11, 11.5]]


def test_crossed_sides_stay_where_they_were():
    tood = head().eval()
    with torch.no_grad():
        for layer in (tood.tood_reg, tood.reg_offset_module[2]):
            layer.weight.zero_()  # distances of one stride, no offsets
            layer.bias.zero_()
        tood.reg_offset_module[2].bias[1] = 5  # the left side from five cells to the right: left of nothing there
        scores, boxes = (maps[0] for maps in tood(maps()))
    # Location (0, 0) would get x1 = 4 > x2 = 1; five cells before the border there is nothing, and x1 = 0.
    assert boxes[0, :, 0, 0].tolist() == [-1, -1, 1, 1]
    assert boxes[0, :, 0, 4].tolist() == [0, -1, 5, 1]
    assert ((scores > 0) & (scores < 1)).all()


def test_boxes_are_not_clipped():
    assert head().decode_boxes(torch.tensor([[-3.0, 0, 9, 2]]), torch.zeros(1, 4), 8, (16, 16)).tolist() == [
        [-24, 0, 72, 16]
    ]


def test_the_first_phase_lasts_while_no_epoch_is_known(monkeypatch):
    monkeypatch.delitem(MessageHub.get_current_instance().runtime_info, 'epoch', raising=False)
    assert head().epoch == 0


@pytest.mark.parametrize('anchor_type', ['anchor_free', 'anchor_based'])
@pytest.mark.parametrize('phase', [0, 4])
def test_losses_of_both_phases(device, epoch, anchor_type, phase):
    epoch(phase)
    tood = head(anchor_type=anchor_type).to(device)
    samples = batch(gt([[4, 4, 60, 50], [20, 20, 40, 44]], [0, 3]), gt(), device=device)
    losses, found = tood.train().loss_and_predict(maps(device), samples)
    assert set(losses) == {'loss_cls', 'loss_bbox'} and len(losses['loss_bbox']) == 5
    assert sum(losses['loss_bbox']) > 0
    sum(sum(part) for part in losses.values()).backward()
    unused = {'cls_decomp.reduction_conv.conv.bias', 'reg_decomp.reduction_conv.conv.bias'}  # without a norm
    assert {name for name, p in tood.named_parameters() if p.grad is None} == unused
    predicted = tood.eval().predict(maps(device), samples)
    for one, other in zip(found, predicted, strict=True):
        torch.testing.assert_close(one.bboxes, other.bboxes)


@pytest.mark.parametrize('phase', [0, 4])
def test_without_boxes_the_box_losses_are_zero(epoch, phase):
    epoch(phase)
    losses = head().train().loss(maps(), batch(gt(), gt()))
    assert all(part == 0 for part in losses['loss_bbox']) and sum(losses['loss_cls']) > 0


def test_aligned_targets_give_padding_no_weight():
    tood = head()
    probabilities, boxes = torch.full((1, 86, 4), 0.5), torch.zeros(1, 86, 4)
    boxes[:, 18:20] = torch.tensor([10.0, 10, 40, 40])  # of the locations (16, 16) and (24, 16)
    meta = dict(img_shape=(64, 32), pad_shape=(64, 32))
    anchors, flags = tood.get_anchors(SIZES, [meta], device='cpu')
    truth = [gt([[10, 10, 40, 40]], [2])]
    _, labels, weights, targets, alignment = tood.get_targets(probabilities, boxes, anchors, flags, truth, [meta])
    assert weights[0].view(8, 8)[:, :4].all() and not weights[0].view(8, 8)[:, 4:].any()
    positive = labels[0][0] == 2
    assert positive.nonzero().flatten().tolist() == [18, 19]
    assert torch.equal(targets[0][0, positive].unique(dim=0), truth[0].bboxes)
    torch.testing.assert_close(
        alignment[0][0], positive.float()
    )  # the boxes are right: the best score is their overlap


def test_settings_are_checked():
    with pytest.raises(ArgumentError, match='anchor_type'):
        head(anchor_type='free')
    generator = dict(type='AnchorGenerator', ratios=[0.5, 1.0], scales=[8], strides=[8, 16, 32, 64, 128])
    with pytest.raises(ConfigError, match='one prior per location'):
        head(anchor_generator=generator)
    with pytest.raises(ConfigError, match='probabilities'):
        head(loss_cls=dict(type='QualityFocalLoss', use_sigmoid=True))


def test_initialisation_and_deformable_layers():
    tood = head(num_dcn=1)
    tood.init_weights()
    assert tood.inter_convs[0].conv.deform_groups == 4 and not hasattr(tood.inter_convs[1].conv, 'deform_groups')
    for layer in (tood.tood_cls, tood.cls_prob_module[2]):
        assert layer.bias.unique().item() == pytest.approx(-4.59512, rel=1e-5)
    assert tood.reg_offset_module[2].weight.std() < 0.002 and tood.cls_decomp.layer_attention[0].weight.std() < 0.002
    assert not tood.inter_convs[0].conv.conv_offset.weight.any()
