"""RTMDet's heads: outputs and losses of mmdetection 3.3 with weights and maps by formula, and cases by hand."""

import pytest
import torch
from mmengine.config import Config

from mmdet.models.dense_heads import RTMDetHead, RTMDetSepBNHead
from mmdet.models.dense_heads.rtmdet_head import joint_logit
from mmdet.utils import ModelInputError
from tests.reference_fill import fill_state_dict, statistics, tensor

from .head_case import gt

ARGUMENTS = dict(
    num_classes=5, in_channels=8, feat_channels=8, stacked_convs=2, norm_cfg=dict(type='BN'),
    act_cfg=dict(type='SiLU', inplace=True), anchor_generator=dict(type='MlvlPointGenerator', offset=0, strides=[8, 16, 32]),
)  # fmt: skip
TRAIN_CFG = dict(assigner=dict(type='DynamicSoftLabelAssigner', topk=13), allowed_border=-1, pos_weight=-1)
TEST_CFG = dict(nms_pre=100, score_thr=0.0, nms=dict(type='nms', iou_threshold=0.65), max_per_img=10, min_bbox_size=0)

# Type, its arguments, entries of the state dict, statistics of the class and box output of the second level.
OUTPUTS = {
    'shared': (RTMDetHead, dict(with_objectness=False), 31, (0.007859, 0.154534, -0.464487, 0.670464, 0.029036, 0.244237),
               (15.35116, 2.520862, 9.133772, 24.28664, 16.452707, 16.530071)),
    'shared, 1x1': (RTMDetHead, dict(with_objectness=False, pred_kernel_size=1), 31,
                    (-0.006023, 0.188026, -0.703172, 0.627956, 0.006354, -0.145839),
                    (15.751314, 2.743641, 7.855865, 27.348305, 16.882418, 13.507602)),
    'shared, objectness': (RTMDetHead, dict(with_objectness=True), 33,
                           (0.02581, 0.101057, -0.286656, 0.432374, 0.022643, 0.099757),
                           (17.298208, 2.855793, 10.036755, 27.34433, 17.589073, 17.810932)),
    'own norms': (RTMDetSepBNHead, dict(with_objectness=False), 84,
                  (0.001905, 0.156936, -0.554097, 0.652245, -0.122339, 0.037462),
                  (-0.179601, 2.641192, -9.796562, 10.131927, -2.181538, -2.414426)),
    'own norms, objectness': (RTMDetSepBNHead, dict(with_objectness=True, exp_on_reg=True), 90,
                              (0.018817, 0.0997, -0.331264, 0.435686, -0.129354, 0.058614),
                              (16.451682, 2.919696, 9.022276, 29.497215, 17.176609, 13.260632)),
    'own, depthwise': (RTMDetSepBNHead, dict(with_objectness=False, use_depthwise=True, share_conv=False), 156,
                       (-0.043106, 0.0838, -0.410508, 0.145008, 0.103858, -0.074548),
                       (0.386623, 0.909406, -1.851757, 3.261635, 0.210525, 1.253602)),
    'own': (RTMDetSepBNHead, dict(with_objectness=False, share_conv=False, pred_kernel_size=3), 84,
            (0.024953, 0.150901, -0.449215, 0.53733, 0.018385, -0.158928),
            (0.198757, 2.522082, -7.935386, 9.533449, -1.359807, 0.684123)),
}  # fmt: skip


def maps():
    return tuple(tensor((2, 8, 16 >> i, 24 >> i), 20 + i) for i in range(3))


@pytest.mark.parametrize('name', OUTPUTS)
def test_outputs(name):
    kind, options, entries, cls_expected, reg_expected = OUTPUTS[name]
    head = kind(**ARGUMENTS, **options).eval()
    head.load_state_dict(fill_state_dict(head.state_dict()))
    assert len(head.state_dict()) == entries
    with torch.no_grad():
        cls, reg = head(maps())
    assert [tuple(level.shape) for level in cls] == [(2, 5, 16, 24), (2, 5, 8, 12), (2, 5, 4, 6)]
    assert [tuple(level.shape) for level in reg] == [(2, 4, 16, 24), (2, 4, 8, 12), (2, 4, 4, 6)]
    for level, expected in ((cls[1], cls_expected), (reg[1], reg_expected)):
        torch.testing.assert_close(torch.tensor(statistics(level)), torch.tensor(expected), rtol=1e-4, atol=1e-5)


def test_another_number_of_levels():
    with pytest.raises(ModelInputError, match='3 levels'):
        RTMDetHead(**ARGUMENTS)(maps()[:2])


class TestSharedConvolutions:
    @pytest.mark.parametrize('depthwise', [False, True])
    def test_one_module_under_every_name(self, depthwise):
        head = RTMDetSepBNHead(**ARGUMENTS, use_depthwise=depthwise)
        for towers in (head.cls_convs, head.reg_convs):
            first, *others = ([m for m in tower.modules() if isinstance(m, torch.nn.Conv2d)] for tower in towers)
            assert len(first) == 2 + 2 * depthwise and all(own == first for own in others)
        assert head.cls_convs[0][0] is not head.cls_convs[1][0]
        own = RTMDetSepBNHead(**ARGUMENTS, use_depthwise=depthwise, share_conv=False)
        convs = 2 * 2 * 2 * ([8 * 9 + 64, 64 * 9][not depthwise])  # two towers, two convolutions, two levels more
        assert sum(p.numel() for p in own.parameters()) - sum(p.numel() for p in head.parameters()) == convs

    def test_gradients_of_all_levels_add_up(self):
        head = RTMDetSepBNHead(**ARGUMENTS, with_objectness=False)
        weight = head.reg_convs[0][0].conv.weight
        levels = [torch.autograd.grad(head(maps())[1][i].sum(), weight)[0] for i in range(3)]
        total = torch.autograd.grad(sum(level.sum() for level in head(maps())[1]), weight)[0]
        torch.testing.assert_close(total, sum(levels), rtol=1e-4, atol=1e-3)

    def test_optimizer_takes_them_once(self):
        from mmengine.optim import build_optim_wrapper

        head = RTMDetSepBNHead(**ARGUMENTS)
        for constructor in ('DefaultOptimWrapperConstructor', 'GroupedOptimWrapperConstructor'):
            wrapper = build_optim_wrapper(
                head,
                dict(
                    type='OptimWrapper',
                    constructor=constructor,
                    optimizer=dict(type='AdamW', lr=0.1, weight_decay=0.05),
                    paramwise_cfg=dict(norm_decay_mult=0, bias_decay_mult=0, bypass_duplicate=True),
                ),
            )
            taken = [id(p) for group in wrapper.optimizer.param_groups for p in group['params']]
            assert sorted(taken) == sorted(id(p) for p in head.parameters())


def test_initialisation():
    head = RTMDetSepBNHead(**ARGUMENTS)
    head.init_weights()
    for predictors, bias in ((head.rtm_cls, -4.595120), (head.rtm_obj, -4.595120), (head.rtm_reg, 0.0)):
        for conv in predictors:
            torch.testing.assert_close(conv.bias.detach(), torch.full_like(conv.bias, bias))
    assert 0.008 < head.cls_convs[0][0].conv.weight.std() < 0.012


@pytest.mark.parametrize(
    ('first', 'second', 'expected'),
    [(0, 0, 0), (3, 3, 3), (0, 2, 0.679492), (-200, 0, -11.512915), (60, 60, 11.512915)],
)
def test_joint_logit(first, second, expected):
    first = torch.tensor(float(first), requires_grad=True)
    found = joint_logit(first, torch.tensor(float(second)))
    assert found.item() == pytest.approx(expected, rel=1e-4, abs=1e-6)
    found.backward()
    assert torch.isfinite(first.grad)


# ------------------------------------------------------------------------------------------------ targets and losses

SIZES = [(8, 10), (4, 5), (2, 3)]
METAS = [dict(img_shape=(64, 80, 3), pad_shape=(64, 80, 3)), dict(img_shape=(40, 50, 3), pad_shape=(48, 64, 3))]
BOXES = gt([[4, 4, 40, 50], [30, 30, 75, 60]], [1, 4])


def trained(**train_cfg):
    return RTMDetSepBNHead(**ARGUMENTS, with_objectness=False, train_cfg=Config(dict(TRAIN_CFG, **train_cfg)))


def raw_outputs():
    cls = [tensor((2, 5, *size), 20 + i) for i, size in enumerate(SIZES)]
    reg = [16 * (1.1 + tensor((2, 4, *size), 30 + i)) for i, size in enumerate(SIZES)]
    return [level.requires_grad_() for level in cls], [level.requires_grad_() for level in reg]


@pytest.mark.parametrize(
    ('truths', 'loss_cls', 'loss_bbox'),
    [
        ([gt(), gt()], [154.9199, 36.6043, 12.1814], [0, 0, 0]),
        ([BOXES, gt()], [23.7382, 5.6886, 1.8971], [0.7572, 0.0908, 0]),
    ],
)
def test_losses(truths, loss_cls, loss_bbox):
    cls, reg = raw_outputs()
    losses = trained().loss_by_feat(cls, reg, truths, METAS)
    for name, expected in (('loss_cls', loss_cls), ('loss_bbox', loss_bbox)):
        torch.testing.assert_close(torch.stack(losses[name]), torch.tensor(expected).float(), rtol=1e-4, atol=1e-4)
    sum(sum(values) for values in losses.values()).backward()
    assert all(torch.isfinite(level.grad).all() for level in (*cls, *reg))
    assert reg[0].grad.any() == (len(truths[0]) > 0)


def targets_of(head, truths):
    cls, reg = raw_outputs()
    anchors, flags = head.get_anchors(SIZES, METAS, 'cpu')
    flat = torch.cat([level.flatten(2).transpose(1, 2) for level in cls], 1).detach()
    points = torch.cat(anchors[0])[:, :2].expand(2, -1, -1)
    boxes = head.bbox_coder.decode(points, torch.cat([level.flatten(2).transpose(1, 2) for level in reg], 1).detach())
    return flat, boxes, head.get_targets(flat, boxes, anchors, flags, truths, METAS)


def test_targets():
    cls, boxes, (anchors, labels, weights, bbox_targets, metrics, sampled) = targets_of(trained(), [BOXES, gt()])
    assert [tuple(level.shape) for level in anchors] == [(2, 80, 4), (2, 20, 4), (2, 6, 4)]
    assert anchors[1][0, :2].tolist() == [[0, 0, 16, 16], [16, 0, 16, 16]]
    assert [level.sum(1).tolist() for level in weights] == [[80, 48], [20, 12], [6, 4]]  # the padding has none
    assert [sorted(level.unique().tolist()) for level in labels] == [[1, 4, 5], [4, 5], [5]]
    torch.testing.assert_close(
        torch.stack([level.sum() for level in metrics]), torch.tensor([5.9783, 0.4428, 0.0]), rtol=0, atol=1e-4
    )
    positive = labels[0] < 5
    assert set(map(tuple, bbox_targets[0][positive].tolist())) == {(4, 4, 40, 50), (30, 30, 75, 60)}
    assert not bbox_targets[0][~positive].any() and not metrics[0][~positive].any()
    assert len(sampled[0].pos_inds) == 11 and len(sampled[1].pos_inds) == 0


def test_weight_of_positives():
    _, _, (_, labels, weights, *_) = targets_of(trained(pos_weight=3), [BOXES, gt()])
    assert (weights[0][labels[0] < 5] == 3).all() and (weights[0][0][labels[0][0] == 5] == 1).all()


def test_losses_of_one_level_as_plugins_call_them():
    head = trained()
    cls, boxes, (_, labels, weights, bbox_targets, metrics, _) = targets_of(head, [BOXES, gt()])
    found = head.loss_by_feat_single(
        cls[:, :80].transpose(1, 2).reshape(2, 5, 8, 10),
        boxes[:, :80],
        labels[0],
        weights[0],
        bbox_targets[0],
        metrics[0],
        (8, 8),
    )
    torch.testing.assert_close(
        torch.stack(found), torch.tensor([152.4250, 4.8622, 5.9783, 5.9783]), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(
    ('labels', 'pad_shape', 'message'), [([5], (64, 80), 'labels must be'), ([0], (0, 0), 'no prior')]
)
def test_refused(labels, pad_shape, message):
    cls, reg = raw_outputs()
    meta = dict(img_shape=(64, 80), pad_shape=pad_shape)
    with pytest.raises(ModelInputError, match=message):
        trained().loss_by_feat(cls, reg, [gt([[0, 0, 8, 8]], labels)] * 2, [meta] * 2)


def test_boxes_by_hand():
    """Distances are in pixels at every level, and points lie on the corners of the cells."""
    head = RTMDetSepBNHead(**ARGUMENTS, test_cfg=Config(TEST_CFG))
    cls, reg = ([torch.full((1, n, *size), value) for size in SIZES] for n, value in ((5, -20.0), (4, 3.0)))
    cls[1][0, 2, 1, 1], reg[1][0, :, 1, 1] = 4.0, torch.tensor([1.0, 2.0, 70.0, 4.0])
    found = head.predict_by_feat(
        cls, reg, batch_img_metas=[dict(img_shape=(64, 80), scale_factor=(2, 1))], rescale=True
    )[0]
    torch.testing.assert_close(found.bboxes[0], torch.tensor([7.5, 14, 40, 20]))
    assert found.labels[0] == 2 and len(found) == 10
    assert found.scores[0].item() == pytest.approx(0.982014)


def test_float16_outputs_are_decoded_in_float32():
    head = RTMDetSepBNHead(**ARGUMENTS, with_objectness=False, exp_on_reg=True, train_cfg=Config(TRAIN_CFG))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        cls, reg = head(maps())
        losses = head.loss_by_feat(cls, reg, [BOXES, gt()], METAS)
    assert {level.dtype for level in reg} == {torch.float32}
    assert all(torch.isfinite(value) and value.dtype is torch.float32 for values in losses.values() for value in values)
