"""SSD, YOLOv3 and YOLOX against the reference: names, outputs, losses, gradients and detections.

Numbers of mmdetection 3.3.0 on the case of :mod:`tests.detector_case` at 96 x 128 pixels, float32 on a CPU, with the changes of the configs in
``SMALL`` and the predictors multiplied by the numbers in ``SCALED``, so that scores and boxes differ. For SSD, for example::

    oracle.py ssd/ssd300_coco.py --size 96 128 --boxes 3 6 --edit cls_convs:30:0 --set model.backbone.depth=11 ...
"""

import functools

import pytest
import torch

from mmdet.errors import ConfigError, ModelInputError
from mmdet.registry import MODELS
from mmdet.utils import load_config
from tests.detector_case import filled_detector, gradient_norm, images, samples, train_with_fixed_norms
from tests.reference_fill import statistics
from tests.reference_keys import reference_keys

SSD, YOLOV3 = 'ssd/ssd300_coco.py', 'yolo/yolov3_d53_8xb8-ms-608-273e_coco.py'
YOLOX, NANO = 'yolox/yolox_tiny_8xb8-300e_coco.py', 'yolox/yolox_nano_8xb8-300e_coco.py'
SIZE = (96, 128)
LISTINGS = {SSD: 'ssd300', YOLOV3: 'yolov3_d53', YOLOX: 'yolox_tiny'}
_WIDTHS = (512, 1024, 64, 32)
SMALL = {
    SSD: dict(
        backbone__depth=11, backbone__out_feature_indices=(14, 24), neck__out_channels=_WIDTHS, neck__level_strides=(2, 2),
        neck__level_paddings=(1, 1), bbox_head__in_channels=_WIDTHS, bbox_head__anchor_generator__strides=[8, 16, 32, 64],
        bbox_head__anchor_generator__ratios=[[2], [2, 3], [2, 3], [2]], bbox_head__anchor_generator__min_sizes=[10, 25, 50, 80],
        bbox_head__anchor_generator__max_sizes=[25, 50, 80, 110],
    ),
}  # fmt: skip
SCALED = {SSD: ('cls_convs', 30), YOLOV3: ('convs_pred', 0.1), NANO: ('multi_level_conv', 10)}
# Kind and level of an output: mean, std, min, max, first, last.
OUTPUTS = {
    SSD: {
        (0, 0): (0.360097, 2.080978, -5.435678, 7.462199, 1.537528, 0.960242),
        (0, 3): (-0.082059, 1.901338, -5.074960, 4.913112, -2.523849, 0.270390),
        (1, 0): (0.007715, 0.074400, -0.172093, 0.230676, -0.037044, -0.100197),
        (1, 3): (-0.014608, 0.065347, -0.189388, 0.097020, 0.056841, -0.017763),
    },
    YOLOV3: {
        (0, 0): (-0.010497, 0.240107, -0.926396, 0.825310, 0.256145, 0.189505),
        (0, 2): (0.000796, 0.062227, -0.282420, 0.280431, 0.046642, 0.016004),
    },
    YOLOX: {
        (0, 0): (-0.005319, 0.069573, -0.174072, 0.141532, -0.022450, -0.126472),
        (0, 2): (-0.002708, 0.064709, -0.155645, 0.153520, 0.031781, 0.075099),
        (1, 0): (0.010373, 0.055480, -0.076949, 0.091721, -0.014963, 0.041586),
        (1, 2): (0.006159, 0.055202, -0.081982, 0.089745, 0.039723, -0.043263),
        (2, 0): (0.055525, 0.005265, 0.037629, 0.069688, 0.046596, 0.061532),
        (2, 2): (-0.127071, 0.014518, -0.149359, -0.103915, -0.104496, -0.135681),
    },
    NANO: {
        (0, 0): (-0.070604, 0.815924, -1.934114, 1.865987, -0.653804, -0.641720),
        (0, 2): (-0.039333, 0.831647, -3.272509, 2.216197, -0.195483, 1.998456),
        (1, 0): (0.675238, 0.695514, -0.306687, 1.727301, -0.255899, 1.727053),
        (1, 2): (0.270158, 0.609451, -0.586020, 1.077973, 0.922739, 0.771152),
        (2, 0): (0.277501, 0.056669, 0.231275, 0.496073, 0.440129, 0.413875),
        (2, 2): (-0.987483, 0.040795, -1.051091, -0.934823, -1.040505, -0.951311),
    },
}
# Config, boxes of the two images and their seed, attributes of the head: losses.
LOSSES = [
    (SSD, (0, 0), 3, {}, dict(loss_cls=[0, 0], loss_bbox=[0, 0])),
    (SSD, (6, 0), 3, {}, dict(loss_cls=[51.20947, 0], loss_bbox=[2.767175, 0])),
    (SSD, (6, 6), 3, {}, dict(loss_cls=[33.28616, 21.12718], loss_bbox=[1.798664, 1.399885])),
    (SSD, (6, 6), 3, dict(reg_decoded_bbox=True), dict(loss_cls=[33.28616, 21.12718], loss_bbox=[12.80233, 5.309337])),
    (SSD, (3, 3), 3, {'ignored': 3, 'assigner.ignore_iof_thr': 0.3}, dict(
        loss_cls=[37.8032, 17.48585], loss_bbox=[2.329384, 2.132609]
    )),
    (YOLOV3, (0, 0), 3, {}, dict(
        loss_cls=[0, 0, 0], loss_conf=[50.89293, 188.8256, 802.2967], loss_xy=[0, 0, 0], loss_wh=[0, 0, 0]
    )),
    (YOLOV3, (6, 0), 3, {}, dict(
        loss_cls=[0, 225.188, 221.3051], loss_conf=[50.89293, 188.4138, 800.6655], loss_xy=[0, 11.14177, 10.94022],
        loss_wh=[0, 2.554123, 3.332401],
    )),
    (YOLOV3, (6, 6), 3, {}, dict(
        loss_cls=[0, 280.9319, 442.5876], loss_conf=[50.89293, 188.702, 798.312], loss_xy=[0, 13.93254, 21.86277],
        loss_wh=[0, 3.52448, 7.42873],
    )),
    (YOLOV3, (40, 40), 11, {'one_hot_smoother': 0.1, 'assigner.gt_max_assign_all': False}, dict(
        loss_cls=[0, 899.181, 1991.718], loss_conf=[50.89293, 191.5642, 794.3158], loss_xy=[0, 45.23624, 99.73583],
        loss_wh=[0, 11.37121, 29.19881],
    )),
    (YOLOV3, (12, 12), 5, {'assigner.neg_iou_thr': (0.1, 0.4), 'assigner.pos_iou_thr': 0.2, 'assigner.min_pos_iou': 0.3}, dict(
        loss_cls=[0, 1462.353, 2052.328], loss_conf=[10.09741, 95.53317, 230.7094], loss_xy=[0, 72.89116, 101.6648],
        loss_wh=[0, 43.45825, 51.8108],
    )),
    (YOLOX, (0, 0), 3, dict(use_l1=True), dict(loss_cls=0, loss_bbox=0, loss_obj=355.3129, loss_l1=0)),
    (YOLOX, (6, 0), 3, {}, dict(loss_cls=55.41243, loss_bbox=4.621866, loss_obj=88.90234)),
    (YOLOX, (6, 6), 3, {}, dict(loss_cls=55.51042, loss_bbox=4.671033, loss_obj=39.55797)),
    (NANO, (6, 6), 3, dict(use_l1=True), dict(loss_cls=59.2036, loss_bbox=3.91896, loss_obj=14.31919, loss_l1=1.973464)),
]  # fmt: skip
# L2 norm of the gradient of the losses with six boxes an image.
GRADIENTS = {SSD: 553.4852, YOLOV3: 4647.333, YOLOX: 32.71848, NANO: 53.30975}
# By image: number of detections, sum of the scores, last score, class, score and box of the first.
DETECTIONS = {
    SSD: [
        (200, 112.9766, 0.4516123, 79, 0.950131, [18.839, 32.662, 60.949, 47.232]),
        (200, 99.79839, 0.3821404, 67, 0.8638, [47.568, 53.791, 64.787, 76.0]),
    ],
    YOLOV3: [
        (100, 33.81743, 0.3241835, 9, 0.372676, [-238.766, -104.392, 395.047, 205.406]),
        (100, 32.59146, 0.3121464, 22, 0.357471, [-5.477, -31.551, 103.417, 56.774]),
    ],
    YOLOX: [
        (252, 67.78528, 0.2484562, 27, 0.276985, [116.204, -3.749, 123.715, 4.452]),
        (252, 67.78492, 0.2484561, 27, 0.2769, [116.2, -3.748, 123.709, 4.453]),
    ],
    NANO: [
        (167, 78.72491, 0.2313538, 51, 0.526582, [-13.056, -19.218, 8.962, 21.511]),
        (167, 78.70567, 0.2313538, 51, 0.526521, [-13.05, -19.221, 8.959, 21.514]),
    ],
}


@functools.cache
def detector(path, name):
    """The filled detector, its feature maps, and the raw outputs of its head."""
    model = filled_detector(path, **SMALL.get(name, {}))
    part, factor = SCALED.get(name, ('nowhere', 1))
    with torch.no_grad():
        for key, values in model.state_dict().items():
            if part in key and values.is_floating_point():
                values.mul_(factor)
        features = model.extract_feat(images(SIZE))
        return model, features, model.bbox_head(features)


@pytest.mark.parametrize('name', LISTINGS)
def test_names_and_shapes(repository, name):
    with torch.device('meta'):
        model = MODELS.build(load_config(repository / 'configs' / name).model)
    expected = reference_keys(LISTINGS[name])
    state = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    assert state == expected and list(state) == list(expected)


@pytest.mark.parametrize('name', OUTPUTS)
def test_outputs(repository, name):
    _, _, outputs = detector(repository / 'configs' / name, name)
    for (kind, level), expected in OUTPUTS[name].items():
        measured, deviation = statistics(outputs[kind][level]), expected[1]
        torch.testing.assert_close(measured, expected, rtol=1e-6, atol=1e-4 * deviation + 1e-6)


@pytest.mark.parametrize(('name', 'counts', 'seed', 'settings', 'expected'), LOSSES)
def test_losses(repository, monkeypatch, name, counts, seed, settings, expected):
    model, features, _ = detector(repository / 'configs' / name, name)
    head, ignored = model.bbox_head, settings.get('ignored', 0)
    for path, value in settings.items():
        if path != 'ignored':
            owner = head.assigner if path.startswith('assigner.') else head
            monkeypatch.setattr(owner, path.removeprefix('assigner.'), value)
    truth = samples(SIZE, [count + ignored for count in counts], seed)
    for sample, count in zip(truth, counts):
        sample.ignored_instances, sample.gt_instances = sample.gt_instances[count:], sample.gt_instances[:count]
    with torch.no_grad():
        losses = head.loss(features, truth)
    assert set(losses) == set(expected)
    for key, value in expected.items():
        measured = torch.stack(losses[key]) if isinstance(value, list) else losses[key]
        torch.testing.assert_close(measured, torch.tensor(value, dtype=torch.float32), rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize('name', GRADIENTS)
def test_gradients(repository, monkeypatch, name):
    model, _, _ = detector(repository / 'configs' / name, name)
    if name == NANO:
        monkeypatch.setattr(model.bbox_head, 'use_l1', True)
    losses = train_with_fixed_norms(model).loss(images(SIZE), samples(SIZE))
    assert gradient_norm(model, losses) == pytest.approx(GRADIENTS[name], rel=1e-4)
    model.zero_grad()
    model.eval()


@pytest.mark.parametrize('name', DETECTIONS)
def test_detections(repository, name):
    model, _, outputs = detector(repository / 'configs' / name, name)
    metas = [sample.metainfo for sample in samples(SIZE)]
    found = model.bbox_head.predict_by_feat(*outputs, batch_img_metas=metas, rescale=True)
    for one, (count, total, last, label, score, box) in zip(found, DETECTIONS[name], strict=True):
        assert len(one) == count and one.labels[0] == label
        measured = torch.stack([one.scores.sum(), one.scores[-1], one.scores[0]])
        torch.testing.assert_close(measured, torch.tensor([total, last, score]), rtol=1e-5, atol=0)
        torch.testing.assert_close(one.bboxes[0], torch.tensor(box), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize('name', [SSD, YOLOV3, YOLOX])
def test_labels_and_levels_that_do_not_exist(repository, name):
    model, features, _ = detector(repository / 'configs' / name, name)
    truth = samples(SIZE)
    truth[0].gt_instances.labels[2] = 80
    with pytest.raises(ModelInputError, match=r'\[0, 80\)'):
        model.bbox_head.loss(features, truth)
    with pytest.raises(ModelInputError, match='as many maps are needed'):
        model.bbox_head(features[:-1])


@pytest.mark.parametrize(
    ('kind', 'options', 'field'),
    [
        ('SSDHead', dict(in_channels=(8, 8)), 'in_channels'),
        ('SSDHead', dict(train_cfg=dict(neg_pos_ratio=3)), 'assigner'),
        ('YOLOV3Head', dict(in_channels=(8, 8, 8), train_cfg=dict(sampler=None)), 'assigner'),
        ('YOLOV3Head', dict(in_channels=(8, 8)), 'featmap_strides'),
        ('YOLOV3Head', dict(in_channels=(8, 8, 8), featmap_strides=(8, 16, 32)), 'featmap_strides'),
        ('YOLOV3Head', dict(in_channels=(8,), out_channels=(8,), featmap_strides=(8,)), 'anchors'),
    ],
)
def test_heads_refuse(kind, options, field):
    with torch.device('meta'), pytest.raises(ConfigError, match=field):
        MODELS.build(dict(type=kind, num_classes=3, **options))


def test_initial_scores(repository):
    """Biases stand for a class probability of 0.01, and for the objectness of 8 objects a map, or 0.01."""
    yolov3 = MODELS.build(dict(type='YOLOV3Head', num_classes=2, in_channels=(4, 4, 4), out_channels=(4, 4, 4)))
    yolov3.init_weights()
    for conv, objectness in zip(yolov3.convs_pred, (8 / 19**2, 8 / 38**2, 8 / 76**2)):
        bias = conv.bias.detach().view(3, 7).sigmoid()
        torch.testing.assert_close(bias[:, 4:], torch.tensor([[objectness, 0.01, 0.01]] * 3))
        assert 0.008 < conv.weight.std() < 0.03
    yolox = MODELS.build(dict(type='YOLOXHead', num_classes=2, in_channels=4, feat_channels=4))
    yolox.init_weights()
    for conv in (*yolox.multi_level_conv_cls, *yolox.multi_level_conv_obj):
        torch.testing.assert_close(conv.bias.detach().sigmoid(), torch.full_like(conv.bias, 0.01))


def test_a_center_outside_the_map_counts_for_its_border():
    head = MODELS.build(dict(type='YOLOV3Head', num_classes=2, in_channels=(4, 4, 4), out_channels=(4, 4, 4)))
    boxes = torch.tensor([[90.0, 90, 110, 110], [-30, 0, 10, 8]])
    coarse, middle, fine = head.responsible_flags([(2, 2), (4, 4), (8, 8)], boxes, 'cpu')
    assert [flags.nonzero().flatten().tolist() for flags in (coarse, middle, fine)] == [
        [0, 1, 2, 9, 10, 11],
        [0, 1, 2, 45, 46, 47],
        [0, 1, 2, 189, 190, 191],
    ]


def test_yolox_takes_the_best_class_of_a_point():
    """Two points with the scores 0.5 * (0.7, 0.6) and 0.9 * (0.2, 0.4); the second falls below 0.36001."""
    settings = dict(score_thr=0.3, nms=dict(type='nms', iou_threshold=0.65))
    head = MODELS.build(dict(type='YOLOXHead', num_classes=2, in_channels=4, strides=(8,), test_cfg=settings))
    cls, obj = torch.tensor([[0.7, 0.2], [0.6, 0.4]]).logit(), torch.tensor([0.5, 0.9]).logit()
    box = torch.tensor([[0.5, 0.25], [1, -0.5], [0.0, 0], [0.6931472, 0]])
    maps = [[values.reshape(1, -1, 1, 2)] for values in (cls, box, obj)]
    meta = dict(img_shape=(8, 16), scale_factor=(1, 1))
    (found,) = head.predict_by_feat(*maps, batch_img_metas=[meta])
    torch.testing.assert_close(found.scores, torch.tensor([0.36, 0.35]))
    assert found.labels.tolist() == [1, 0]
    torch.testing.assert_close(found.bboxes, torch.tensor([[6.0, -8, 14, 0], [0, 0, 8, 16]]))
    (found,) = head.predict_by_feat(*maps, batch_img_metas=[meta], cfg=dict(settings, score_thr=0.355))
    assert found.labels.tolist() == [1]
    (found,) = head.predict_by_feat(*maps, batch_img_metas=[meta], cfg=dict(settings, nms_pre=1))
    assert found.labels.tolist() == [1]
    (found,) = head.predict_by_feat(*maps, batch_img_metas=[meta], cfg=dict(settings, score_thr=0.9))
    assert len(found) == 0 and found.bboxes.shape == (0, 4)
