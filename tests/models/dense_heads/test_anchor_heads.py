"""AnchorHead, ATSSHead, LDHead and the methods of mmdetection 3.x on GFLHead: targets by hand, and steps that a subclass replaces."""

from math import exp, log

import pytest
import torch
from mmengine.config import Config
from torch import tensor

from mmdet.models.dense_heads import AnchorHead, ATSSHead, GFLHead, LDHead, MPHead, RetinaHead
from mmdet.utils import ConfigError, ModelInputError
from tests.devices import on
from tests.reference_fill import tensor as fill_tensor

from .head_case import GT0, GT1, METAS, SIZES, TEST_CFG, TRAIN_CFG, gt

BY_IOU = dict(assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4), allowed_border=-1, pos_weight=-1)
ONE_LEVEL = dict(type='AnchorGenerator', strides=[8], ratios=[1.0], scales=[1.0])
SQUARES = dict(type='AnchorGenerator', strides=[8], ratios=[1.0], octave_base_scale=1, scales_per_octave=1)
ATSS_LOSSES = dict(
    bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2]),
    loss_cls=dict(type='FocalLoss'),
    loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
)


def anchor_head(**options):
    """Anchors of side 8 at the multiples of 8; by default three classes."""
    options = dict(dict(num_classes=3, in_channels=1, anchor_generator=ONE_LEVEL, train_cfg=BY_IOU), **options)
    return AnchorHead(**options)


def heads(kind, **options):
    options = dict(
        dict(num_classes=80, in_channels=8, feat_channels=32, stacked_convs=1, train_cfg=TRAIN_CFG), **options
    )
    if issubclass(kind, ATSSHead):
        options = dict(ATSS_LOSSES, **options)
    torch.manual_seed(0)
    return kind(**options)


def raw_outputs(head, seed=1):
    """Raw outputs of the head for random features, with a gradient."""
    generator = torch.Generator().manual_seed(seed)
    return head(tuple(torch.randn(2, 8, *size, generator=generator) for size in SIZES))


def losses_of(head, truth, outputs=None):
    """Losses of the two-image case; a distillation head gets random soft targets."""
    outputs = raw_outputs(head) if outputs is None else outputs
    soft = [[level.detach().roll(1, 1) for level in outputs[1]]] if isinstance(head, LDHead) else []
    return head.loss_by_feat(*outputs, truth, METAS, *soft)


# ------------------------------------------------------------------------------------------------ AnchorHead


def test_layers_and_attributes():
    head = AnchorHead(num_classes=4, in_channels=8)
    assert head.num_base_priors == head.num_anchors == 9 and head.cls_out_channels == 4 and head.use_sigmoid_cls
    assert head.prior_generator is head.anchor_generator
    assert {name: tuple(value.shape) for name, value in head.state_dict().items()} == {
        'conv_cls.weight': (36, 8, 1, 1), 'conv_cls.bias': (36,), 'conv_reg.weight': (36, 8, 1, 1), 'conv_reg.bias': (36,),
    }  # fmt: skip
    softmax = AnchorHead(num_classes=4, in_channels=8, loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False))
    assert softmax.cls_out_channels == 5 and softmax.conv_cls.out_channels == 45
    retina = RetinaHead(num_classes=80, in_channels=64, feat_channels=64)
    retina.init_weights()
    torch.testing.assert_close(retina.retina_cls.bias, torch.full((720,), -log(99)))
    assert retina.cls_convs[0].conv.bias is not None and retina.retina_reg.out_channels == 36


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(num_classes=0), 'num_classes'),
        (dict(train_cfg=dict(allowed_border=-1)), 'train_cfg.assigner'),
        (dict(test_cfg=dict(nms_pre_rule='all')), 'nms_pre_rule'),
    ],
)
def test_wrong_settings(options, message):
    with pytest.raises(ConfigError, match=message):
        anchor_head(**options)


def test_targets_by_hand():
    head = anchor_head()
    metas = [dict(img_shape=(16, 24, 3), pad_shape=(16, 24, 3), scale_factor=1), dict(img_shape=(16, 16, 3))]
    anchors, flags = head.get_anchors([(2, 4)], metas, device='cpu')
    # The first box is the second anchor, moved by a pixel and 9 wide; the third anchor overlaps it too little for either.
    truth = [gt([[5, -4, 14, 4]], [2]), gt()]
    labels, label_weights, targets, weights, avg_factor, sampled = head.get_targets(
        anchors, flags, truth, metas, return_sampling_results=True
    )
    assert labels[0].tolist() == [[3, 2, 3, 3, 3, 3, 3, 3], [3] * 8]
    # The fourth column lies in the padding; of the second image, which has no pad_shape, so does the third.
    assert label_weights[0].tolist() == [[1, 1, 1, 0, 1, 1, 1, 0], [1, 1, 0, 0, 1, 1, 0, 0]]
    torch.testing.assert_close(targets[0][0, 1], tensor([1.5 / 8, 0, log(9 / 8), 0]))
    assert weights[0].sum() == 4 and weights[0][0, 1].sum() == 4 and targets[0].count_nonzero() == 2
    assert avg_factor == 2 and [len(result.pos_inds) for result in sampled] == [1, 0]
    decoded = anchor_head(reg_decoded_bbox=True).get_targets(anchors, flags, truth, metas)
    assert decoded[2][0][0, 1].tolist() == [5, -4, 14, 4]
    # Without rows for the anchors outside.
    one = head._get_targets_single(anchors[0][0], flags[0][0], truth[0], metas[0], unmap_outputs=False)
    assert [len(values) for values in one[:4]] == [6] * 4


def test_a_subclass_may_return_more_targets():
    class Ranked(AnchorHead):
        def _get_targets_single(self, flat_anchors, *args, **kwargs):
            return (*super()._get_targets_single(flat_anchors, *args, **kwargs), torch.arange(len(flat_anchors)))

    head = Ranked(num_classes=3, in_channels=1, anchor_generator=dict(ONE_LEVEL, strides=[8, 16]), train_cfg=BY_IOU)
    metas = [dict(img_shape=(16, 16))]
    *_, ranks = head.get_targets(*head.get_anchors([(2, 2), (1, 1)], metas, device='cpu'), [gt()], metas)
    assert [level.tolist() for level in ranks] == [[[0, 1, 2, 3]], [[4]]]
    losses = head.loss_by_feat(*head((torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 1, 1))), [gt()], metas)
    assert set(losses) == {'loss_cls', 'loss_bbox'}


@pytest.mark.parametrize('decoded', [False, True])
def test_losses_by_hand(decoded):
    box_loss = dict(type='GIoULoss') if decoded else dict(type='L1Loss')
    head = anchor_head(
        reg_decoded_bbox=decoded, loss_bbox=box_loss, loss_cls=dict(type='FocalLoss', gamma=0.0, alpha=0.5)
    )
    meta, truth = dict(img_shape=(16, 16), pad_shape=(16, 16)), gt([[-4, -4, 4, 4]], [1])
    cls = torch.zeros(1, 3, 2, 2)
    reg = torch.zeros(1, 4, 2, 2)
    reg[0, 2, 0, 0], reg[0, :, 1, 1] = log(2), 5.0
    reg.requires_grad_()
    losses = head.loss_by_feat([cls], [reg], [truth], [meta])
    assert losses['loss_cls'][0].item() == pytest.approx(12 * 0.5 * log(2), rel=1e-5)
    # Twice as wide as it should be: half of the prediction is right.
    assert losses['loss_bbox'][0].item() == pytest.approx(0.5 if decoded else log(2), rel=1e-5)
    nothing = head.loss_by_feat([cls], [reg], [gt()], [meta])
    assert nothing['loss_bbox'][0].item() == 0
    nothing['loss_bbox'][0].backward()
    assert reg.grad.abs().sum() == 0


def test_softmax_losses():
    head = anchor_head(loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False))
    cls = tensor([0.0, log(2), 0, log(4)]).view(1, 4, 1, 1).expand(1, 4, 2, 2)
    losses = head.loss_by_feat(
        [cls], [torch.zeros(1, 4, 2, 2)], [gt([[-4, -4, 4, 4]], [1])], [dict(img_shape=(16, 16))]
    )
    assert losses['loss_cls'][0].item() == pytest.approx(log(8 / 2) + 3 * log(8 / 4), rel=1e-5)


def test_bad_input():
    head = anchor_head()
    metas = [dict(img_shape=(16, 16), pad_shape=(16, 16))]
    anchors, flags = head.get_anchors([(2, 2)], metas, device='cpu')
    with pytest.raises(ModelInputError, match='labels must be in'):
        head.get_targets(anchors, flags, [gt([[0, 0, 8, 8]], [3])], metas)
    with pytest.raises(ModelInputError, match='no prior lies inside'):
        head.get_targets(anchors, [[flag * 0 for flag in flags[0]]], [gt()], metas)
    with pytest.raises(ModelInputError, match='1 levels'):
        head((torch.zeros(1, 1, 2, 2),) * 2)
    with pytest.raises(ConfigError, match='one prior per location'):
        ATSSHead(num_classes=3, in_channels=1, anchor_generator=dict(ONE_LEVEL, scales=[1.0, 2.0]))


# ------------------------------------------------------------------------------------- targets by level, replaced steps


@pytest.mark.parametrize('kind', [GFLHead, ATSSHead])
def test_six_targets(kind):
    head = heads(kind, num_classes=4, anchor_generator=SQUARES, train_cfg=dict(TRAIN_CFG, pos_weight=3))
    metas = [dict(img_shape=(16, 24, 3), pad_shape=(16, 24, 3), scale_factor=1)] * 2
    anchors, flags = head.get_anchors([(2, 4)], metas, device='cpu')
    found = head.get_targets(anchors, flags, [gt([[4, -4, 12, 4]], [2]), gt()], metas)
    (priors,), (labels,), (label_weights,), (targets,), (weights,), avg_factor = found
    assert labels.tolist() == [[4, 2, 4, 4, 4, 4, 4, 4], [4] * 8] and avg_factor == 2
    assert label_weights.tolist() == [[1, 3, 1, 0, 1, 1, 1, 0], [1, 1, 1, 0, 1, 1, 1, 0]]
    assert targets[0, 1].tolist() == [4, -4, 12, 4] and targets.count_nonzero() == 4
    assert weights.sum() == weights[0, 1].sum() == 4
    assert priors[0, 1].tolist() == [4, -4, 12, 4] and priors[0, 3].tolist() == [0, 0, 0, 0]
    one = head._get_targets_single(anchors[0][0], flags[0][0], [8], gt(), metas[0], None, False)
    assert [len(values) for values in one[:5]] == [6] * 5 and one[5].numel() == 0 and len(one[6]) == 6


def replacing(kind, name):
    """A subclass that calls the base class's own step, and counts how often it is called."""

    def step(self, *args, **kwargs):
        self.calls += 1
        return getattr(super(Replaced, self), name)(*args, **kwargs)

    Replaced = type('Replaced', (kind,), {name: step, 'calls': 0})
    return Replaced


STEPS = [
    *((kind, name) for kind in (GFLHead, ATSSHead, LDHead) for name in ('get_targets', '_get_targets_single', 'loss_by_feat_single')),
    (GFLHead, 'anchor_center'), (ATSSHead, 'centerness_target'), (LDHead, 'anchor_center'),
]  # fmt: skip


@pytest.mark.parametrize(('kind', 'name'), STEPS)
def test_level_by_level_gives_the_same_losses_and_gradients(kind, name):
    at_once, by_level = heads(kind), heads(replacing(kind, name))
    for truth in ([gt(), gt()], [GT0, gt()], [GT0, GT1]):
        expected, losses = losses_of(at_once, truth), losses_of(by_level, truth)
        assert set(losses) == set(expected)
        for key, parts in expected.items():
            torch.testing.assert_close(torch.stack(losses[key]), torch.stack(parts), rtol=1e-5, atol=1e-7)
    assert by_level.calls >= 3
    for found in (expected, losses):
        sum(sum(parts) for parts in found.values()).backward()
    for one, other in zip(at_once.parameters(), by_level.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6)


def test_a_replaced_step_decides():
    class Quarter(GFLHead):
        """Only a quarter of the class loss."""

        def loss_by_feat_single(
            self, anchors, cls_score, bbox_pred, labels, label_weights, bbox_targets, stride, avg_factor
        ):
            assert stride[0] == stride[1] and cls_score.shape[:2] == (2, 80)
            loss_cls, *others = super().loss_by_feat_single(
                anchors, cls_score, bbox_pred, labels, label_weights, bbox_targets, stride, avg_factor
            )
            return loss_cls / 4, *others

    own, plain = losses_of(heads(Quarter), [GT0, GT1]), losses_of(heads(GFLHead), [GT0, GT1])
    torch.testing.assert_close(4 * torch.stack(own['loss_cls']), torch.stack(plain['loss_cls']))

    def all_background(anchor_list, valid_flag_list, *args, **kwargs):
        anchors, labels, *others = GFLHead.get_targets(head, anchor_list, valid_flag_list, *args, **kwargs)
        return anchors, [torch.full_like(level, 80) for level in labels], *others

    head = heads(GFLHead)
    head.get_targets = all_background  # on the object
    assert sum(losses_of(head, [GT0, GT1])['loss_bbox']) == 0


def test_conventions_of_mmdetection_1_level_by_level():
    options = dict(
        legacy=True,
        anchor_generator=dict(
            type='LegacyAnchorGenerator', center_offset=0.5, ratios=[1.0], octave_base_scale=8, scales_per_octave=1,
            strides=[8, 16, 32, 64, 128],
        ),
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0, offset=1),
    )  # fmt: skip
    expected, losses = (
        losses_of(heads(kind, **options), [GT0, GT1]) for kind in (GFLHead, replacing(GFLHead, 'get_targets'))
    )
    for key, parts in expected.items():
        torch.testing.assert_close(torch.stack(losses[key]), torch.stack(parts), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize('kind', [GFLHead, ATSSHead, RetinaHead])
@pytest.mark.parametrize('num_gts', [0, 1])
def test_settings_as_plug_ins_give_them(kind, num_gts):
    """``Config`` for the settings, metas whose shapes have three numbers, a scale factor that is a number."""
    train_cfg = Config(BY_IOU if kind is RetinaHead else TRAIN_CFG)
    options = dict(in_channels=1, num_classes=4, stacked_convs=1, feat_channels=32, train_cfg=train_cfg)
    head = kind(**options, test_cfg=Config(TEST_CFG), **(ATSS_LOSSES if kind is ATSSHead else {}))
    meta = dict(img_shape=(256, 256, 3), pad_shape=(256, 256, 3), scale_factor=1)
    outputs = head(tuple(torch.rand(1, 1, 256 // stride, 256 // stride) for stride in (8, 16, 32, 64, 128)))
    truth = gt([[23.6667, 23.8757, 238.6326, 151.8874]][:num_gts], [2][:num_gts])
    losses = head.loss_by_feat(*outputs, [truth], [meta])
    assert sum(losses.pop('loss_cls')) > 0
    assert all((sum(parts) > 0) == bool(num_gts) for parts in losses.values())
    assert len(head.predict_by_feat(*outputs, batch_img_metas=[meta], cfg=dict(TEST_CFG, score_thr=0.0))[0]) > 0


@pytest.mark.parametrize('kind', [GFLHead, ATSSHead, LDHead, RetinaHead])
def test_half_precision_is_computed_in_float32(kind, device):
    head = on(device, heads(kind, train_cfg=BY_IOU if kind is RetinaHead else TRAIN_CFG))
    half = [[level.detach().bfloat16() for level in maps] for maps in on('cpu', raw_outputs(on('cpu', head)))]
    head, half = on(device, head), on(device, half)
    full = [[level.float() for level in maps] for maps in half]
    with torch.autocast(device, torch.bfloat16):
        losses = losses_of(head, on(device, [GT0, GT1]), half)
    expected = losses_of(head, on(device, [GT0, GT1]), full)
    for key, parts in expected.items():
        assert torch.equal(torch.stack(losses[key]), torch.stack(parts))


# --------------------------------------------------------------------------------------------------- ATSS, LD


def test_centerness_by_hand():
    head = heads(ATSSHead)
    assert head.centerness_target(torch.zeros(0, 4), torch.zeros(0, 4)).shape == (0,)
    # Centre (10, 10): sides 2 and 8, 4 and 16 away; at the middle; on the border.
    anchors = tensor([[6.0, 6, 14, 14]] * 3)
    boxes = tensor([[8.0, 6, 18, 26], [0, 0, 20, 20], [10, 0, 20, 20]])
    assert head.centerness_target(anchors, boxes).tolist() == [0.25, 1, 0]


def test_centerness_weighs_boxes_and_scores():
    head = heads(ATSSHead, num_classes=2, anchor_generator=SQUARES, train_cfg=TRAIN_CFG, test_cfg=TEST_CFG)
    meta = dict(img_shape=(16, 16), pad_shape=(16, 16))
    cls, reg, logits = torch.zeros(1, 2, 2, 2), torch.zeros(1, 4, 2, 2), torch.full((1, 1, 2, 2), log(1 / 3))
    # The box is the first anchor but for its right side, 4 pixels further out: its centre lies 4 from three sides, 8 from the right one.
    losses = head.loss_by_feat([cls], [reg], [logits], [gt([[-4, -4, 8, 4]], [0])], [meta])
    weight = 0.5**0.5
    assert losses['loss_bbox'][0].item() == pytest.approx(2 * (1 - 2 / 3) * weight, rel=1e-5)
    bce = -weight * log(0.25) - (1 - weight) * log(0.75)
    assert losses['loss_centerness'][0].item() == pytest.approx(bce, rel=1e-5)
    found = head.predict_by_feat([cls], [reg], [logits], batch_img_metas=[meta])[0]
    torch.testing.assert_close(found.scores, torch.full((8,), 0.5 * 0.25))


def test_distillation_by_hand():
    head = heads(LDHead, num_classes=2, anchor_generator=SQUARES, reg_max=1)
    meta = dict(img_shape=(16, 16), pad_shape=(16, 16))
    cls, reg, soft = torch.zeros(1, 2, 2, 2), torch.zeros(1, 8, 2, 2), torch.zeros(1, 8, 2, 2)
    soft[0, 0, 0, 0] = 10 * log(3)  # at temperature 10 the left side is in the first bin by 3/4
    truth = [gt([[-4, -4, 4, 4]], [0])]
    losses = head.loss_by_feat([cls], [reg], truth, [meta], [soft])
    kl = (0.75 * log(0.75 / 0.5) + 0.25 * log(0.25 / 0.5)) / 2 * 100
    assert losses['loss_ld'][0].item() == pytest.approx(0.25 * 0.5 * kl / 4, rel=1e-5)
    same = head.loss_by_feat([cls], [reg], truth, [meta], [reg])
    assert same['loss_ld'][0].item() == pytest.approx(0, abs=1e-6)
    # The other losses of boxes are divided by the sum of the scores, 0.5 here, also where that is below 1.
    plain = heads(GFLHead, num_classes=2, anchor_generator=SQUARES, reg_max=1)
    divided = plain.loss_by_feat([cls], [reg], truth, [meta])['loss_bbox'][0]
    torch.testing.assert_close(losses['loss_bbox'][0], 2 * divided, rtol=1e-5, atol=0)


def test_maps_of_a_teacher_that_do_not_fit():
    head = heads(LDHead)
    cls, reg = raw_outputs(head)
    with pytest.raises(ModelInputError, match="as large as the student's"):
        head.loss_by_feat(cls, reg, [GT0, GT1], METAS, reg[:4])


def test_the_multi_proxy_head_is_not_trained_level_by_level():
    head = replacing(MPHead, 'loss_by_feat_single')(
        num_classes=1, in_channels=8, feat_channels=32, train_cfg=TRAIN_CFG, proxies_list=[2]
    )
    with pytest.raises(ConfigError, match='MPHead'):
        head.loss_by_feat(*head(tuple(torch.zeros(2, 8, *size) for size in SIZES)), [gt(), gt()], METAS)


def test_exponential_of_the_largest_delta():
    """A box cannot become larger than 1000 / 16 anchors."""
    head = anchor_head()
    boxes = head.decode_boxes(tensor([[0.0, 0, 99, 0]]), tensor([[0.0, 0, 8, 8]]), 8, (10**5, 10**5))
    assert boxes[0, 2].item() == pytest.approx(4 + 4 * exp(log(1000 / 16)))


def test_a_plug_in_has_the_losses_that_it_has_under_mmdetection():
    """Numbers of the same class under mmdetection 3.3.0."""

    class Plugin(GFLHead):
        def get_targets(self, *args, **kwargs):
            anchors, labels, label_weights, bbox_targets, bbox_weights, avg_factor = super().get_targets(
                *args, **kwargs
            )
            label_weights = [w * (1 + (y < self.num_classes).float()) for w, y in zip(label_weights, labels)]
            return anchors, labels, label_weights, bbox_targets, bbox_weights, avg_factor + 1

        def loss_by_feat_single(
            self, anchors, cls_score, bbox_pred, labels, label_weights, bbox_targets, stride, avg_factor
        ):
            loss_cls, loss_bbox, loss_dfl, weights = super().loss_by_feat_single(
                anchors, cls_score, bbox_pred, labels, label_weights, bbox_targets, stride, avg_factor
            )
            return loss_cls * 0.5, loss_bbox, loss_dfl * 2, weights

    head = heads(Plugin, num_classes=4, anchor_generator=dict(SQUARES, octave_base_scale=8, strides=[8, 16, 32]))
    cls = [fill_tensor((2, 4, size, size), 1, 3) for size in (16, 8, 4)]
    reg = [fill_tensor((2, 68, size, size), 2, 3) for size in (16, 8, 4)]
    metas = [dict(img_shape=shape, pad_shape=(128, 128, 3)) for shape in ((128, 128, 3), (100, 110, 3))]
    losses = head.loss_by_feat(cls, reg, [gt([[10, 12, 60, 50], [30, 20, 120, 110]], [3, 1]), gt()], metas)
    expected = dict(loss_cls=[61.631382, 15.374386, 3.520782], loss_bbox=[1.766917, 0, 0], loss_dfl=[1.956113, 0, 0])
    for key, parts in expected.items():
        torch.testing.assert_close(torch.stack(losses[key]), tensor(parts), rtol=1e-5, atol=1e-6)
