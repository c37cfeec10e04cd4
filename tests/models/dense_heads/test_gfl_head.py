from math import log

import pytest
import torch
from mmengine.config import Config
from torch import nn

from mmdet.core import AssignResult
from mmdet.models.dense_heads import GFLHead, GFLTargets
from mmdet.models.layers import Integral
from mmdet.structures import DetDataSample
from mmdet.utils import ConfigError, ModelInputError
from tests.devices import on

from .head_case import GT0, GT1, METAS, SIZES, TEST_CFG, TRAIN_CFG, assert_losses, five, gt, outputs


@pytest.fixture(scope='module')
def head():
    return GFLHead(num_classes=80, in_channels=256, train_cfg=TRAIN_CFG, test_cfg=TEST_CFG)


def test_parameters(head):
    shapes = {name: tuple(value.shape) for name, value in head.state_dict().items()}
    assert len(shapes) == 34
    assert shapes['cls_convs.3.conv.weight'] == shapes['reg_convs.0.conv.weight'] == (256, 256, 3, 3)
    assert shapes['cls_convs.0.gn.bias'] == (256,)
    assert shapes['gfl_cls.weight'] == (80, 256, 3, 3)
    assert shapes['gfl_reg.bias'] == (68,)
    assert shapes['scales.4.scale'] == ()
    assert shapes['integral.project'] == (17,)


def test_initialisation():
    torch.manual_seed(0)
    head = GFLHead(num_classes=80, in_channels=64, feat_channels=64)
    head.init_weights()
    torch.testing.assert_close(head.gfl_cls.bias, torch.full((80,), -4.59511985))
    assert head.gfl_reg.bias.abs().sum() == 0
    for conv in (head.cls_convs[0].conv, head.gfl_cls, head.gfl_reg):
        assert 0.0095 < conv.weight.std() < 0.0105


def test_integral_by_hand():
    logits = torch.zeros(2, 12)
    logits[1, 3:6] = torch.tensor([0.0, 0, 100])  # the second side of three bins
    assert Integral(2)(logits).tolist() == [[1, 1, 1, 1], [1, 2, 1, 1]]
    assert Integral(2)(logits[:0]).shape == (0, 4)


# Levels 0..4 of loss_cls, sum of loss_bbox, sum of loss_dfl.
GOLDEN = [
    ('no objects', gt(), gt(), (52.769375, 13.146652, 3.396973, 0.906567, 0.267828), 0, 0),
    ('one image empty', GT0, gt(), (6.209884, 1.54954, 0.399644, 0.106655, 0.031509), 1.747252, 0.985287),
    ('both', GT0, GT1, (4.798546, 1.19979, 0.308816, 0.082415, 0.024348), 1.73077, 0.963609),
]


@pytest.mark.parametrize(
    ('gt0', 'gt1', 'loss_cls', 'bbox', 'dfl'), [case[1:] for case in GOLDEN], ids=[case[0] for case in GOLDEN]
)
def test_golden_losses(head, device, gt0, gt1, loss_cls, bbox, dfl):
    losses = on(device, head).loss_by_feat(*on(device, outputs()), on(device, [gt0, gt1]), METAS)
    assert_losses(losses, loss_cls, bbox, dfl)


def test_golden_losses_by_level(head):
    losses = head.loss_by_feat(*outputs(), [GT0, GT1], METAS)
    torch.testing.assert_close(torch.stack(losses['loss_bbox']), five([0.797719, 0.933051]), rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(torch.stack(losses['loss_dfl']), five([0.443678, 0.519931]), rtol=1e-5, atol=2e-6)


def test_without_objects_every_output_still_has_a_gradient(head):
    cls, reg = outputs()
    for level in cls + reg:
        level.requires_grad_()
    losses = head.loss_by_feat(cls, reg, [gt(), gt()], METAS)
    sum(sum(parts) for parts in losses.values()).backward()
    assert all(level.grad is not None and level.grad.isfinite().all() for level in cls + reg)
    assert all(level.grad.abs().sum() == 0 for level in reg)


def test_half_precision_outputs_give_float32_losses(head):
    cls, reg = outputs()
    with torch.autocast('cpu', torch.bfloat16):
        losses = head.loss_by_feat([level.bfloat16() for level in cls], reg, [GT0, GT1], METAS)
    assert losses['loss_cls'][0].dtype == torch.float32
    torch.testing.assert_close(sum(losses['loss_cls']), torch.tensor(6.413915), rtol=1e-2, atol=0)


@pytest.mark.parametrize('rule', ['pairs', 'priors'])
def test_half_precision_outputs_are_computed_in_float32(head, rule):
    """Losses and detections of bfloat16 outputs are those of the same values in float32, to the bit."""
    half = [[level.bfloat16() for level in maps] for maps in outputs()]
    full = [[level.float() for level in maps] for maps in half]
    losses, expected = (head.loss_by_feat(*raw, [GT0, GT1], METAS) for raw in (half, full))
    assert losses == expected and all(part.dtype == torch.float32 for parts in losses.values() for part in parts)
    cfg = dict(TEST_CFG, nms_pre_rule=rule)
    found, same = (head.predict_by_feat(raw[0], full[1], batch_img_metas=METAS, cfg=cfg) for raw in (half, full))
    for one, other in zip(found, same):
        assert one.scores.dtype == torch.float32 and torch.equal(one.scores, other.scores)


def test_targets_of_padding_weigh_nothing(head):
    targets = head.match_targets(SIZES, [GT0, GT1], METAS, device='cpu')
    assert targets.num_samples == 16 + 6
    assert targets.num_level_priors == [320, 80, 20, 6, 2]
    valid = [part.sum().item() for part in targets.label_weights[1].split(targets.num_level_priors)]
    assert valid == [256, 64, 16, 4, 1]
    assert targets.labels[1][targets.label_weights[1] == 0].unique().tolist() == [80]
    assert targets.labels[0, 63] == 3
    assert targets.labels[0, 355] == 17
    assert targets.pos_strides.squeeze(1).tolist()[:1] == [8]
    assert targets.pos_levels.tolist() == [0] * 10 + [1] * 12


def test_golden_detections(head, device):
    found = on(device, head).predict_by_feat(*on(device, outputs()), batch_img_metas=METAS, rescale=True)
    first, second = on('cpu', found)
    assert len(first) == len(second) == 100
    close = dict(rtol=0, atol=1e-6)
    torch.testing.assert_close(
        first.scores[:5], torch.tensor([0.268929, 0.268929, 0.268917, 0.268905, 0.268869]), **close
    )
    torch.testing.assert_close(
        second.scores[:5], torch.tensor([0.268881, 0.268881, 0.268857, 0.268845, 0.268797]), **close
    )
    torch.testing.assert_close(first.scores[99], torch.tensor(0.265987), **close)
    torch.testing.assert_close(second.scores[99], torch.tensor(0.265999), **close)
    # The first two of each image tie exactly.
    assert set(first.labels[:2].tolist()) == {11, 39}
    assert first.labels[2:5].tolist() == [59, 54, 56]
    assert set(second.labels[:2].tolist()) == {27, 68}
    assert second.labels[2:5].tolist() == [77, 69, 13]
    boxes = dict(zip(first.labels[:3].tolist(), first.bboxes[:3]))
    expected = {11: [22.6187, 4.5852, 281.3055, 256], 39: [0, 112.4858, 125.7691, 256], 59: [0, 0, 320, 256]}
    for label, box in expected.items():
        torch.testing.assert_close(boxes[label], torch.tensor(box, dtype=torch.float32), rtol=1e-5, atol=1e-3)
    tied = second.labels[:2].tolist().index(27)
    torch.testing.assert_close(second.bboxes[tied], torch.tensor([0, 60.5335, 83.5454, 125]), rtol=1e-5, atol=1e-3)


def peaked_outputs(locations):
    """No detection but at ``locations``: {(level, y, x): {class: logit}}, each four strides wide."""
    cls = [torch.full((1, 3, h, w), -20.0) for h, w in SIZES]
    reg = [torch.zeros(1, 4, 17, h, w) for h, w in SIZES]
    for level in reg:
        level[:, :, 2] = 50
    for (level, y, x), scores in locations.items():
        for label, logit in scores.items():
            cls[level][0, label, y, x] = logit
    return cls, [level.flatten(1, 2) for level in reg]


@pytest.fixture
def small_head():
    return GFLHead(num_classes=3, in_channels=8, feat_channels=32, train_cfg=TRAIN_CFG, test_cfg=TEST_CFG)


@pytest.mark.parametrize('rule', ['pairs', 'priors'])
def test_detections_by_hand(small_head, rule):
    cfg = dict(TEST_CFG, nms_pre_rule=rule)
    meta = dict(img_shape=(128, 160), scale_factor=(2.0, 1.0))
    nothing = small_head.predict_by_feat(*peaked_outputs({}), batch_img_metas=[meta], cfg=cfg)[0]
    assert nothing.bboxes.shape == (0, 4)
    assert nothing.scores.shape == nothing.labels.shape == (0,)

    raw = peaked_outputs({(0, 5, 6): {1: 2.0, 2: 0.0}, (1, 0, 3): {0: 1.0}})
    found = small_head.predict_by_feat(*raw, batch_img_metas=[meta], cfg=cfg)[0]
    assert found.labels.tolist() == [1, 0, 2]
    torch.testing.assert_close(found.scores, torch.tensor([2.0, 1.0, 0.0]).sigmoid())
    # Centre (48, 40), two strides of 8 to each side; centre (48, 0), two strides of 16, clipped at the top.
    torch.testing.assert_close(found.bboxes, torch.tensor([[32.0, 24, 64, 56], [16, 0, 80, 32], [32, 24, 64, 56]]))
    rescaled = small_head.predict_by_feat(*raw, batch_img_metas=[meta], cfg=cfg, rescale=True)[0]
    torch.testing.assert_close(rescaled.bboxes[1], torch.tensor([8.0, 0, 40, 32]))


def test_the_two_rules_differ_as_described(small_head):
    # Two candidates allowed: two pairs may be one prior's, two priors bring all their classes.
    raw = peaked_outputs({(0, 5, 6): {1: 3.0, 2: 2.0}, (0, 10, 15): {0: 1.0}})
    meta = dict(img_shape=(128, 160), scale_factor=(1.0, 1.0))
    labels = {
        rule: small_head.predict_by_feat(
            *raw, batch_img_metas=[meta], cfg=dict(TEST_CFG, nms_pre=2, nms_pre_rule=rule)
        )[0].labels.tolist()
        for rule in ('pairs', 'priors')
    }
    assert labels == dict(pairs=[1, 2], priors=[1, 2, 0])


def test_the_best_priors_are_those_with_the_best_class(small_head):
    # 0.88 in one class, or 0.73 in each of two.
    found = decode(small_head, {(0, 5, 6): {1: 2.0}, (0, 10, 15): {0: 1.0, 2: 1.0}}, nms_pre_rule='priors', nms_pre=1)
    assert found.labels.tolist() == [1]


def decode(head, locations, img_shape=(128, 160), scale_factor=None, with_nms=True, **cfg):
    meta = dict(img_shape=img_shape, scale_factor=scale_factor)
    options = dict(cfg=dict(TEST_CFG, **cfg), rescale=scale_factor is not None, with_nms=with_nms)
    return head.predict_by_feat(*peaked_outputs(locations), batch_img_metas=[meta], **options)[0]


@pytest.mark.parametrize('rule', ['pairs', 'priors'])
def test_boxes_end_at_the_image_not_at_its_padding(small_head, rule):
    # Centres (152, 120) and (48, 0), reaching 16 and 32 to each side, in an image of 145 x 113.
    found = decode(small_head, {(0, 15, 19): {1: 2.0}, (1, 0, 3): {0: 1.0}}, (113, 145), nms_pre_rule=rule)
    assert found.bboxes.tolist() == [[136, 104, 145, 113], [16, 0, 80, 32]]


@pytest.mark.parametrize('rule', ['pairs', 'priors'])
@pytest.mark.parametrize(
    ('size', 'img_shape', 'scale_factor', 'kept'),
    [
        (-1, (128, 145), None, [1, 0]),
        (0, (128, 145), None, [1, 0]),
        (8.9, (128, 145), None, [1, 0]),
        (9, (128, 145), None, [0]),  # a width of 9 is not more than 9
        (9, (113, 160), None, [0]),  # so is a height
        (4.4, (128, 145), (2.0, 1.0), [1, 0]),  # measured in the original image
        (4.5, (128, 145), (2.0, 1.0), [0]),
        (0, (128, 136), None, [0]),  # nothing is left of it
        (-1, (128, 136), None, [1, 0]),
    ],
)
def test_smallest_size(small_head, rule, size, img_shape, scale_factor, kept):
    locations = {(0, 15, 19): {1: 2.0}, (1, 0, 3): {0: 1.0}}
    found = decode(small_head, locations, img_shape, scale_factor, nms_pre_rule=rule, min_bbox_size=size)
    assert found.labels.tolist() == kept


@pytest.mark.parametrize('rule', ['pairs', 'priors'])
def test_candidates_without_nms_have_labels(small_head, rule):
    locations = {(0, 5, 6): {1: 2.0, 2: 0.0}, (0, 5, 7): {1: 1.0}, (0, 9, 9): {0: -4.0}}
    found = decode(small_head, locations, nms_pre_rule=rule, with_nms=False)
    order = found.scores.argsort(descending=True)
    assert found.labels[order].tolist() == [
        1,
        1,
        2,
    ]  # the second would fall to the first in an NMS at a lower threshold
    torch.testing.assert_close(found.scores[order], torch.tensor([2.0, 1.0, 0.0]).sigmoid())
    assert found.bboxes[order, 0].tolist() == [32, 40, 32]
    nothing = decode(small_head, {}, nms_pre_rule=rule, with_nms=False)
    assert nothing.bboxes.shape == (0, 4) and nothing.labels.shape == nothing.scores.shape == (0,)
    small = decode(small_head, locations, nms_pre_rule=rule, with_nms=False, min_bbox_size=32)
    assert len(small) == 0


@pytest.mark.parametrize('rule', ['pairs', 'priors'])
def test_settings_of_the_decode(small_head, rule):
    locations = {(0, 5, 6): {1: 2.0}, (0, 5, 7): {1: 0.0}, (0, 9, 9): {0: 1.0}, (1, 3, 3): {2: -1.0}}

    def labels(**cfg):
        return decode(small_head, locations, nms_pre_rule=rule, **cfg).labels.tolist()

    assert labels() == [1, 0, 1, 2]
    assert labels(nms=dict(type='nms', iou_threshold=0.3)) == [1, 0, 2]
    assert labels(max_per_img=3) == [1, 0, 1] and labels(max_per_img=0) == []
    assert labels(max_per_img=-1) == [1, 0, 1, 2]
    assert labels(score_thr=0.5) == [1, 0]  # strictly more
    assert labels(nms_pre=1) == [1, 2]  # of each level
    assert labels(nms_pre=2) == [1, 0, 2]


@pytest.mark.parametrize('rule', ['pairs', 'priors'])
def test_without_settings_every_pair_is_a_candidate(head, rule):
    options = dict(batch_img_metas=METAS, with_nms=False)
    found = head.predict_by_feat(*outputs(), cfg=dict(nms_pre_rule=rule), **options)
    assert [len(image) for image in found] == [428 * 80] * 2
    found = head.predict_by_feat(*outputs(), cfg=dict(nms_pre_rule='priors', nms_pre=0), **options)
    assert [len(image) for image in found] == [428 * 80] * 2  # 0 is no limit for priors


def test_assigner_unless_one_is_given():
    assert one_level_head(train_cfg=dict(allowed_border=-1)).assigner.topk == 9
    assert not hasattr(one_level_head(train_cfg=None), 'assigner')


def test_settings_may_be_a_config(small_head):
    train, test = Config(dict(TRAIN_CFG, pos_weight=3)), Config(dict(TEST_CFG, max_per_img=1))
    head = GFLHead(num_classes=3, in_channels=8, feat_channels=32, train_cfg=train, test_cfg=test)
    assert head.train_cfg.pos_weight == 3 and head.train_cfg.assigner.topk == 9 and head.test_cfg.max_per_img == 1
    raw, metas = peaked_outputs({(0, 5, 6): {1: 2.0, 2: 0.0}}), [dict(img_shape=(128, 160))]
    assert len(head.predict_by_feat(*raw, batch_img_metas=metas)[0]) == 1
    assert len(small_head.predict_by_feat(*raw, batch_img_metas=metas, cfg=test)[0]) == 1
    with pytest.raises(ConfigError, match="'pairs', 'priors'"):
        small_head.predict_by_feat(*raw, batch_img_metas=metas, cfg=dict(nms_pre_rule='all'))


def test_levels_have_their_own_scale_and_towers_their_own_weights():
    torch.manual_seed(0)
    head = GFLHead(num_classes=3, in_channels=8, feat_channels=32, stacked_convs=1)
    features = tuple(torch.rand(1, 8, 4, 4) for _ in range(5))
    cls, reg = head(features)
    with torch.no_grad():
        head.scales[3].scale.fill_(2)
        doubled = head(features)[1]
        head.reg_convs[0].conv.weight.mul_(-1)
    assert [torch.equal(2 * a, b) for a, b in zip(reg, doubled)] == [False, False, False, True, False]
    assert all(torch.equal(a, b) for a, b in zip(cls, head(features)[0]))
    assert not torch.equal(reg[0], head(features)[1][0])
    with torch.autocast('cpu', torch.bfloat16):
        cls, reg = head(features)
    assert cls[0].dtype == torch.bfloat16 and reg[0].dtype == torch.float32


# ------------------------------------------------------------------------------------------- one level, losses by hand


def one_level_head(**options):
    """Priors of side 8 at the multiples of 8, five bins a side."""
    priors = dict(type='AnchorGenerator', ratios=[1.0], octave_base_scale=1, scales_per_octave=1, strides=[8])
    options = dict(dict(train_cfg=TRAIN_CFG, reg_max=4, anchor_generator=priors), **options)
    return GFLHead(num_classes=2, in_channels=1, stacked_convs=0, **options)


def targets_of(positives, num_samples=1, priors=4):
    """One image whose first priors are positives of class 0, all at (8, 8) with the box (0, 0, 16, 16)."""
    pos = torch.arange(positives)
    labels = torch.full((1, priors), 2)
    labels[0, pos] = 0
    return GFLTargets(
        labels=labels, label_weights=torch.ones(1, priors), pos_inds=pos,
        pos_bboxes=torch.tensor([[0.0, 0, 16, 16]]).expand(positives, 4), pos_centers=torch.full((positives, 2), 8.0),
        pos_strides=torch.full((positives, 1), 8.0), pos_levels=torch.zeros_like(pos), num_samples=num_samples,
        num_level_priors=[priors],
    )  # fmt: skip


@pytest.mark.parametrize(
    ('logit', 'positives', 'num_samples', 'share'),
    [
        (0.0, 1, 1, 0.5),  # scores that sum to less than 1: divided by 1
        (0.0, 3, 3, 1),
        (log(3), 2, 2, 1),
        (log(1 / 3), 2, 5, 0.5),
        (-20.0, 1, 1, 0),
    ],
)
def test_losses_by_hand(logit, positives, num_samples, share):
    # Each side is predicted as two strides and is one: IoU = GIoU = 4 / 16.
    cls, reg = torch.full((1, 4, 2), -20.0), torch.zeros(1, 4, 4, 5)
    cls[0, :, 0] = logit
    cls[0, positives:] = -20
    reg[..., 2] = 50
    losses = one_level_head().losses(cls, reg.flatten(2), targets_of(positives, num_samples))
    losses = {name: part.item() for name, (part,) in losses.items()}
    assert losses['loss_bbox'] == pytest.approx(2 * (1 - 1 / 4) * share, abs=1e-6)
    assert losses['loss_dfl'] == pytest.approx(0.25 * 50 * share, abs=1e-4)
    p = torch.tensor(logit, dtype=torch.float64).sigmoid().item()
    entropy = -(0.25 * log(p) + 0.75 * log(1 - p)) * (p - 0.25) ** 2
    assert losses['loss_cls'] == pytest.approx(positives * entropy / num_samples, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize(
    ('name', 'cls_learns', 'reg_learns'), [('loss_cls', 1, 0), ('loss_bbox', 0, 1), ('loss_dfl', 0, 1)]
)
def test_neither_quality_nor_weights_carry_gradients(name, cls_learns, reg_learns):
    cls, reg = torch.zeros(1, 4, 2, requires_grad=True), torch.rand(1, 4, 20).requires_grad_()
    one_level_head().losses(cls, reg, targets_of(2))[name][0].backward()
    assert (cls.grad is not None, reg.grad is not None) == (bool(cls_learns), bool(reg_learns))


@pytest.mark.parametrize(('legacy', 'quality'), [(False, 4 / 16), (True, 9 / 25)])
def test_quality_by_either_convention(legacy, quality):
    cls, reg = torch.full((1, 4, 2), -20.0), torch.zeros(1, 4, 4, 5)
    cls[0, 0, 0] = 0
    reg[..., 2] = 50
    (part,) = one_level_head(legacy=legacy).losses(cls, reg.flatten(2), targets_of(1))['loss_cls']
    assert part.item() == pytest.approx(log(2) * (0.5 - quality) ** 2, rel=1e-5)


@pytest.mark.parametrize(
    ('border', 'img_shape', 'columns'),
    [
        (-1, (32, 32), [4, 4, 4, 4]), (0, (32, 32), [0, 3, 3, 3]), (3, (32, 32), [0, 3, 3, 3]), (4, (32, 32), [4, 4, 4, 4]),
        (0, (32, 28), [0, 3, 3, 0]), (0, (28, 32), [0, 2, 2, 2]), (0, (28.5, 28.5), [0, 3, 3, 3]),
    ],
)  # fmt: skip
def test_allowed_border_by_hand(border, img_shape, columns):
    head = one_level_head(train_cfg=dict(TRAIN_CFG, allowed_border=border))
    targets = head.match_targets([(4, 4)], [gt()], [dict(img_shape=img_shape, pad_shape=(32, 32))], device='cpu')
    assert targets.label_weights.view(4, 4).sum(0).tolist() == columns and targets.num_samples == 1


def test_sides_longer_than_the_last_bin_are_trained_to_lie_before_it():
    # Eleven strides, of bins up to 4: the target is 3.9, between the last two.
    reg, targets = torch.zeros(1, 4, 4, 5), targets_of(1)
    reg[..., 4] = 50
    targets.pos_bboxes = torch.tensor([[-80.0, -80, 96, 96]])
    (part,) = one_level_head().losses(torch.full((1, 4, 2), 20.0), reg.flatten(2), targets)['loss_dfl']
    assert part.item() == pytest.approx(0.25 * 0.1 * 50, rel=1e-5)


class Recorded:
    """An assigner that matches the second prior it is shown to the second box, and keeps what it was called with."""

    def assign(self, pred_instances, num_level_priors, gt_instances, gt_instances_ignore=None):
        self.seen = (pred_instances.priors, num_level_priors, gt_instances_ignore)
        gt_inds = torch.zeros(len(pred_instances.priors), dtype=torch.long)
        gt_inds[1] = 2
        return AssignResult(len(gt_instances), gt_inds, torch.zeros(len(gt_inds)), gt_inds)


def test_loss_and_predict_are_one_pass(small_head):
    torch.manual_seed(0)
    small_head.assigner = Recorded()
    features = tuple(torch.rand(1, 8, *size) for size in SIZES)
    sample = DetDataSample(metainfo=METAS[0], gt_instances=gt([[10, 12, 60, 50], [0, 0, 50, 50]], [2, 0]))
    sample.ignored_instances = gt([[0, 0, 160, 128]], [0])
    losses, found = small_head.loss_and_predict(features, [sample], proposal_cfg=dict(TEST_CFG, max_per_img=7))
    assert small_head.assigner.seen[2].bboxes.tolist() == [[0, 0, 160, 128]]
    assert losses == small_head.loss(features, [sample]) and set(losses) == {'loss_cls', 'loss_bbox', 'loss_dfl'}
    own, rescaled = (small_head.predict(features, [sample], rescale=rescale)[0] for rescale in (False, True))
    assert len(found[0]) == 7 < len(own) and torch.equal(found[0].scores, own.scores[:7])
    torch.testing.assert_close(rescaled.bboxes[0], 2 * own.bboxes[0])


def test_levels_of_the_positives(small_head):
    """The first and the last prior of every level, in both images of a batch."""
    ends = torch.tensor([0, 319, 320, 399, 400, 419, 420, 425, 426, 427])

    class Ends(Recorded):
        def assign(self, pred_instances, num_level_priors, gt_instances, gt_instances_ignore=None):
            gt_inds = torch.zeros(len(pred_instances.priors), dtype=torch.long)
            gt_inds[ends] = 1
            return AssignResult(len(gt_instances), gt_inds, torch.zeros(len(gt_inds)), gt_inds)

    small_head.assigner = Ends()
    targets = small_head.match_targets(SIZES, [gt([[0, 0, 9, 9]], [1])] * 2, [METAS[0]] * 2, device='cpu')
    assert targets.pos_inds.tolist() == [*ends.tolist(), *(ends + 428).tolist()]
    assert targets.pos_levels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4] * 2
    assert targets.pos_strides.flatten().tolist() == [8, 8, 16, 16, 32, 32, 64, 64, 128, 128] * 2
    assert targets.pos_centers[[1, 3, 9]].tolist() == [[152, 120], [144, 112], [128, 0]]
    assert targets.num_samples == 20 and targets.labels.eq(1).sum() == 20


def test_match_by_hand():
    head = one_level_head(train_cfg=dict(TRAIN_CFG, allowed_border=0, pos_weight=3))
    head.assigner = Recorded()
    truth, ignored = gt([[0, 0, 9, 9], [1, 2, 20, 21]], [0, 1]), gt([[5, 5, 6, 6]], [0])
    meta = dict(img_shape=(32, 32), pad_shape=(32, 32))
    targets = head.match_targets([(4, 4)], [gt(), truth], [meta, meta], [None, ignored], device='cpu')
    priors, counts, ignored_too = head.assigner.seen
    assert priors[1].tolist() == [12, 4, 20, 12] and counts == [9] and ignored_too is ignored
    # The tenth of the second image's 4 x 4 priors is the second valid one of them: row 1, column 2.
    assert targets.pos_inds.tolist() == [16 + 6] and targets.labels[1, 6] == 1
    assert targets.labels.eq(2).sum() == 31
    assert targets.label_weights[1, 6] == 3 and targets.label_weights.sum() == 9 + 8 + 3
    assert targets.pos_bboxes.tolist() == [[1, 2, 20, 21]]
    assert targets.pos_centers.tolist() == [[16, 8]] and targets.pos_strides.tolist() == [[8]]
    assert targets.num_samples == 1 + 1 and targets.num_level_priors == [16]


def upstream_inputs(num_gts):
    torch.manual_seed(0)
    head = GFLHead(num_classes=4, in_channels=1, stacked_convs=1, train_cfg=TRAIN_CFG, test_cfg=TEST_CFG)
    feats = tuple(torch.rand(1, 1, 256 // stride, 256 // stride) for stride in (4, 8, 16, 32, 64))
    meta = dict(img_shape=(256, 256, 3), pad_shape=(256, 256, 3), scale_factor=1)
    box = [[23.6667, 23.8757, 238.6326, 151.8874]]
    return head, head(feats), [gt(box[:num_gts], [2][:num_gts])], [meta]


@pytest.mark.parametrize('num_gts', [0, 1])
def test_feature_maps_larger_than_the_anchor_grid(num_gts):
    head, raw, gts, metas = upstream_inputs(num_gts)
    losses = {name: sum(parts).item() for name, parts in head.loss_by_feat(*raw, gts, metas).items()}
    assert losses['loss_cls'] > 0
    assert (losses['loss_bbox'] > 0, losses['loss_dfl'] > 0) == (bool(num_gts), bool(num_gts))


@pytest.mark.parametrize(
    ('arguments', 'error'),
    [
        (dict(anchor_generator=dict(type='AnchorGenerator', ratios=[0.5, 1], scales=[8], strides=[8])), ConfigError),
        (dict(loss_cls=dict(type='QualityFocalLoss', use_sigmoid=False)), ConfigError),
        (dict(test_cfg=dict(nms_pre_rule='all')), ConfigError),
    ],
)
def test_refuses_to_build(arguments, error):
    with pytest.raises(error):
        GFLHead(num_classes=3, in_channels=8, **arguments)


def test_refuses_bad_labels_and_images_without_priors(small_head):
    raw = [level[:, :3] for level in outputs()[0]], outputs()[1]
    with pytest.raises(ModelInputError, match=r'\[0, 3\)'):
        small_head.loss_by_feat(*raw, [gt([[0, 0, 9, 9]], [3]), gt()], METAS)
    with pytest.raises(ModelInputError, match=r'\[0, 3\)'):
        small_head.loss_by_feat(*raw, [gt([[0, 0, 9, 9]], [-1]), gt()], METAS)
    with pytest.raises(ModelInputError, match='no prior'):
        small_head.loss_by_feat(*raw, [gt(), gt()], [METAS[0], dict(img_shape=(0, 0), pad_shape=(0, 0))])
    with pytest.raises(ModelInputError, match='5 levels'):
        small_head((torch.zeros(1, 8, 4, 4),))


def test_deep_copy_keeps_working(small_head):
    import copy

    other = copy.deepcopy(small_head)
    assert isinstance(other.gfl_cls, nn.Conv2d)
    assert other.loss_by_feat(*([level[:, :3] for level in outputs()[0]], outputs()[1]), [GT1, gt()], METAS[:1] * 2)


def test_legacy_conventions_by_hand():
    strides = dict(octave_base_scale=8, scales_per_octave=1, strides=[8, 16, 32, 64, 128], ratios=[1.0])
    head = GFLHead(
        num_classes=3, in_channels=8, feat_channels=32, legacy=True, test_cfg=TEST_CFG,
        train_cfg=dict(TRAIN_CFG, assigner=dict(type='ATSSAssigner', topk=9, iou_calculator=dict(type='BboxOverlaps2D', offset=1))),
        anchor_generator=dict(type='LegacyAnchorGenerator', center_offset=0.5, **strides),
        loss_bbox=dict(type='GIoULoss', offset=1, loss_weight=2.0),
    )  # fmt: skip
    raw = peaked_outputs({(0, 5, 6): {1: 2.0}, (1, 0, 3): {0: 1.0}})
    meta = dict(img_shape=(128, 160), pad_shape=(128, 160), scale_factor=(1.0, 1.0))
    found = head.predict_by_feat(*raw, batch_img_metas=[meta])[0]
    # Centres (6, 5) * 8 + 3.5 and (3, 0) * 16 + 7.5, two strides to each side.
    torch.testing.assert_close(found.bboxes, torch.tensor([[35.5, 27.5, 67.5, 59.5], [23.5, 0, 87.5, 39.5]]))
    edge = head.predict_by_feat(*peaked_outputs({(0, 15, 19): {1: 2.0}}), batch_img_metas=[meta])[0]
    torch.testing.assert_close(edge.bboxes, torch.tensor([[139.5, 107.5, 159, 127]]))
    padded = dict(img_shape=(100, 120), pad_shape=(128, 128))
    assert head.match_targets(SIZES, [gt()], [padded], device='cpu').label_weights.eq(1).all()
    # Boxes of side 32, 8 apart: IoU 0.6, which is not more than 0.6; by inclusive pixels 825 / 1353.
    neighbours = peaked_outputs({(0, 5, 6): {1: 2.0}, (0, 5, 7): {1: 1.0}})
    assert len(head.predict_by_feat(*neighbours, batch_img_metas=[meta])[0]) == 1
    head.legacy = False
    assert len(head.predict_by_feat(*neighbours, batch_img_metas=[meta])[0]) == 2
