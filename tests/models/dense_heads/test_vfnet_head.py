"""VarifocalNet's head: the star of sampling points, its settings, its targets."""

import pytest
import torch

from mmdet.errors import ArgumentError
from mmdet.models.dense_heads import VFNetHead
from mmdet.structures import DetDataSample
from tests.devices import on

from .head_case import TEST_CFG, TRAIN_CFG, gt

SIZES = [(8, 8), (4, 4), (2, 2), (1, 1), (1, 1)]
META = dict(img_shape=(64, 64), pad_shape=(64, 64), scale_factor=(1.0, 1.0))


def head(**options):
    settings = dict(num_classes=4, in_channels=8, feat_channels=8, stacked_convs=1, norm_cfg=None)
    return VFNetHead(
        **{**settings, 'strides': (8, 16, 32, 64, 128), 'train_cfg': TRAIN_CFG, 'test_cfg': TEST_CFG, **options}
    )


def maps(device='cpu', batch=2):
    torch.manual_seed(0)
    return [torch.randn(batch, 8, *size, device=device) for size in SIZES]


def batch(*truth, device='cpu'):
    return [DetDataSample(metainfo=META, gt_instances=one) for one in on(device, list(truth))]


def test_star_points():
    distances = torch.tensor([8.0, 16.0, 24.0, 32.0]).view(1, 4, 1, 1)  # left, top, right, bottom
    offset = head().star_dcn_offset(distances, 0.1, 8).view(9, 2)
    kernel = torch.tensor([[y, x] for y in (-1, 0, 1) for x in (-1, 0, 1)])
    expected = torch.tensor([[y, x] for y in (-2.0, 0, 4) for x in (-1.0, 0, 3)])
    torch.testing.assert_close(offset + kernel, expected)


def test_star_points_pass_a_share_of_the_gradient():
    distances = torch.ones(1, 4, 1, 1, requires_grad=True)
    head().star_dcn_offset(distances, 0.25, 2)[:, 1].sum().backward()  # dx of the left upper corner
    assert distances.grad.flatten().tolist() == [-0.125, 0, 0, 0]


def test_units_of_the_outputs():
    vfnet = head()
    assert vfnet.reg_denoms == [64, 128, 256, 512, 1024]
    with torch.no_grad():
        for layer in (vfnet.vfnet_reg, vfnet.vfnet_reg_refine):
            layer.weight.zero_()
            layer.bias.zero_()
        levels = vfnet.eval()(maps())[1]
        assert [level.unique().tolist() for level in levels] == [[64], [128], [256], [512], [1024]]
        by_stride = head(bbox_norm_type='stride')
        by_stride.load_state_dict(vfnet.state_dict())
        assert [level.unique().tolist() for level in by_stride.eval()(maps())[1]] == [[8], [16], [32], [64], [128]]
    with pytest.raises(ArgumentError, match='bbox_norm_type'):
        head(bbox_norm_type='pixel')


def test_atss_targets_are_distances_from_the_anchors_centres(device):
    vfnet = head().to(device)
    with torch.no_grad():
        scores = vfnet.train()(maps(device))[0]
    points = vfnet.prior_generator.grid_priors(SIZES, device=device)
    assert points[0][1].tolist() == [8, 0]
    truth = [sample.gt_instances for sample in batch(gt(), gt([[10, 10, 40, 40]], [2]), device=device)]
    labels, weights, targets, target_weights = on('cpu', vfnet.get_targets(scores, points, truth, [META, META]))
    assert (labels[0][:64] == 4).all()
    found = (labels[0][64:] == 2).nonzero().squeeze(1)
    assert len(found) and (weights[0] == 1).all()
    x, y = 8 * (found % 8), 8 * (found // 8)
    expected = torch.stack([x - 10, y - 10, 40 - x, 40 - y], dim=1)
    assert torch.equal(targets[0][64:][found], expected.float()) and target_weights[0].sum() == 4 * len(found)


@pytest.mark.parametrize('options', [{}, dict(use_atss=False, center_sampling=True), dict(use_vfl=False)])
def test_losses_and_detections_do_not_depend_on_the_mode(device, options):
    vfnet = head(**options).to(device)
    samples = batch(gt([[4, 4, 60, 50], [20, 20, 40, 44]], [0, 3]), gt(), device=device)
    x = maps(device)
    trained, found = vfnet.train().loss_and_predict(x, samples)
    evaluated, predicted = vfnet.eval().loss(x, samples), vfnet.predict(x, samples)
    assert set(trained) == {'loss_cls', 'loss_bbox', 'loss_bbox_rf'} and trained['loss_bbox_rf'] > 0
    for key, value in trained.items():
        torch.testing.assert_close(evaluated[key], value)
    for one, other in zip(found, predicted, strict=True):
        torch.testing.assert_close(one.bboxes, other.bboxes)
    sum(trained.values()).backward()
    assert all(p.grad is not None for p in vfnet.parameters())


def test_without_boxes_the_box_losses_are_zero():
    vfnet = head().train()
    losses = vfnet.loss(maps(), batch(gt(), gt()))
    assert losses['loss_bbox'] == losses['loss_bbox_rf'] == 0
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in vfnet.parameters())
