"""Detectors of two stages against the reference: names, outputs, losses, gradients and detections; and what happens where nothing is found.

Numbers of mmdetection 3.3.0 on the case of :mod:`tests.detector_case`, 128 x 160 pixels, float32 on a CPU, with the changes of :func:`small`
and torch's seed 0 before the losses. Its RoIAlign was answered by :func:`mmdet.ops.roi_align`, the features of ``OUTPUTS`` by torchvision's
implementation in Python.
"""

import functools

import pytest
import torch
from mmengine.structures import InstanceData

from mmdet.errors import ConfigError, ModelInputError
from mmdet.models.detectors import RPN, DetectionStage, SlicedDet, TwoStageDetector, UFPMPDet
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.utils import load_config
from tests.detector_case import fill, gradient_norm, images, samples, train_with_fixed_norms
from tests.reference_fill import statistics

SIZE = (128, 160)
CONFIGS = {
    'rpn': 'rpn/rpn_r50_fpn_1x_coco.py',
    'faster': 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    'cascade': 'cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py',
    'double': 'double_heads/dh-faster-rcnn_r50_fpn_1x_coco.py',
    'giou': 'faster_rcnn/faster-rcnn_r50_fpn_giou_1x_coco.py',
    'ohem': 'faster_rcnn/faster-rcnn_r50_fpn_ohem_1x_coco.py',
}
# Entries of the state dict and parameters of the config as it is; those of the published checkpoints.
COUNTS = {
    'rpn': (340, 27_446_351),
    'faster': (348, 41_753_056),
    'cascade': (364, 69_394_766),
    'double': (438, 47_340_512),
}
# The tensors of the heads in their order in published checkpoints, each with a weight and a bias.
LINEAR = ('fc_cls', 'fc_reg', 'shared_fcs.0', 'shared_fcs.1')
NAMES = {
    'rpn': [f'bbox_head.{name}' for name in ('rpn_conv', 'rpn_cls', 'rpn_reg')],
    'faster': [*(f'rpn_head.{name}' for name in ('rpn_conv', 'rpn_cls', 'rpn_reg')), *(f'roi_head.bbox_head.{name}' for name in LINEAR)],
    'cascade': [
        *(f'rpn_head.{name}' for name in ('rpn_conv', 'rpn_cls', 'rpn_reg')),
        *(f'roi_head.bbox_head.{stage}.{name}' for stage in range(3) for name in LINEAR),
    ],
}  # fmt: skip
# Case, boxes of the two images, ignored ones of each: sums of the losses over the levels, and the norm of their gradient.
LOSSES = {
    ('rpn', (6, 6), 0): ({'loss_rpn_cls': 0.7510628, 'loss_rpn_bbox': 0.830571}, 22.96034),
    ('faster', (6, 6), 0): (
        {'loss_rpn_cls': 1.352271, 'loss_rpn_bbox': 0.6422509, 'loss_cls': 7.413614, 'loss_bbox': 0.950789},
        114.5564,
    ),
    ('faster', (6, 0), 2): (
        {'loss_rpn_cls': 1.314926, 'loss_rpn_bbox': 0.3136861, 'loss_cls': 7.349046, 'loss_bbox': 0.2771391},
        109.6252,
    ),
    ('cascade', (6, 6), 0): (
        {
            'loss_rpn_cls': 0.4124138,
            'loss_rpn_bbox': 0.8935384,
            's0.loss_cls': 7.439491,
            's0.loss_bbox': 1.592589,
            's1.loss_cls': 5.021635,
            's1.loss_bbox': 0.4677674,
            's2.loss_cls': 2.206048,
            's2.loss_bbox': 0.1437736,
        },
        168.8386,
    ),
    ('cascade', (0, 0), 0): (
        {
            'loss_rpn_cls': 0.3106444,
            'loss_rpn_bbox': 0.0,
            's0.loss_cls': 7.240145,
            's0.loss_bbox': 0.0,
            's1.loss_cls': 4.829972,
            's1.loss_bbox': 0.0,
            's2.loss_cls': 2.284107,
            's2.loss_bbox': 0.0,
        },
        145.9144,
    ),
    ('double', (6, 6), 0): (
        {'loss_rpn_cls': 0.9667117, 'loss_rpn_bbox': 0.5970827, 'loss_cls': 9.590283, 'loss_bbox': 3.798742},
        169.9345,
    ),
    ('giou', (6, 6), 0): (
        {'loss_rpn_cls': 1.352271, 'loss_rpn_bbox': 0.6422509, 'loss_cls': 7.413614, 'loss_bbox': 0.7832898},
        110.9624,
    ),
    ('ohem', (6, 6), 0): (
        {'loss_rpn_cls': 1.352271, 'loss_rpn_bbox': 0.6422509, 'loss_cls': 8.05678, 'loss_bbox': 0.950789},
        133.787,
    ),
}
# By image: number of detections, sums of their scores and of their corners, the last score.
DETECTIONS = {
    'rpn': [(649, 382.3069, 185786.0, 0.009234539), (769, 404.5961, 187985.0, 0.008592153)],
    'faster': [(100, 27.68076, 28400.44, 0.1410313), (100, 30.38172, 17543.75, 0.1640893)],
    'cascade': [(100, 18.52695, 34802.92, 0.1038065), (100, 17.35734, 31751.17, 0.09252655)],
    'double': [(100, 21.34769, 36288.39, 0.07751049), (100, 18.91255, 26299.02, 0.1076987)],
}
# Mean, standard deviation, smallest, largest, first and last value: class scores and deltas of the finest level, features of 20 proposals
# of each image, class scores and deltas of the second stage on them.
OUTPUTS = [
    (0.552368, 2.133626, -8.574779, 7.824783, -0.533316, -0.181513),
    (-1.389553, 2.546292, -13.175188, 6.798242, -0.647244, 0.134287),
    (0.540532, 4.977599, -18.346111, 25.151569, 2.433806, 6.643563),
    (-0.096102, 2.614702, -10.31228, 9.322215, -0.29673, 0.499844),
    (0.241044, 3.001738, -13.390479, 15.473996, 6.577544, 4.602932),
]


@functools.cache
def small(repository, name):
    """The config with a ResNet-18 of a quarter's width, 32 channels, 60 proposals (100 in training), 64 regions an image."""
    model = load_config(repository / 'configs' / CONFIGS[name]).model
    model.backbone.update(depth=18, base_channels=16, stem_channels=16, init_cfg=None)
    model.neck.update(in_channels=[16, 32, 64, 128], out_channels=32)
    model.rpn_head.update(in_channels=32, feat_channels=32)
    if name == 'rpn':
        return model
    model.roi_head.bbox_roi_extractor.out_channels = 32
    model.test_cfg.rpn.max_per_img = 60
    model.train_cfg.rpn_proposal.update(max_per_img=100, nms_pre=200)
    heads, stages = model.roi_head.bbox_head, model.train_cfg.rcnn
    for head in heads if isinstance(heads, list) else [heads]:
        head.update(in_channels=32, fc_out_channels=64)
    for stage in stages if isinstance(stages, list) else [stages]:
        stage.sampler.num = 64
    if name == 'double':
        heads.conv_out_channels = 64
    return model


@functools.cache
def detector(repository, name):
    return fill(MODELS.build(small(repository, name))).eval()


@pytest.mark.parametrize('name', COUNTS)
def test_names_of_published_checkpoints(repository, name):
    with torch.device('meta'):
        model = MODELS.build(load_config(repository / 'configs' / CONFIGS[name]).model)
    assert (len(model.state_dict()), sum(p.numel() for p in model.parameters())) == COUNTS[name]
    if name in NAMES:
        own = [key for key in model.state_dict() if not key.startswith(('backbone', 'neck'))]
        assert own == [f'{layer}.{leaf}' for layer in NAMES[name] for leaf in ('weight', 'bias')]


def test_outputs(repository):
    model = detector(repository, 'faster')
    with torch.no_grad():
        x = model.extract_feat(images(SIZE))
        rpn = model.rpn_head(x)
        proposals = model.rpn_head.predict(x, samples(SIZE))
        rois = torch.cat([torch.cat([torch.full((20, 1), i), each.bboxes[:20]], 1) for i, each in enumerate(proposals)])
        feats = model.roi_head.bbox_roi_extractor(x, rois)
        found = [rpn[0][0], rpn[1][0], feats, *model.roi_head.bbox_head(feats)]
    for output, expected in zip(found, OUTPUTS, strict=True):
        assert statistics(output) == pytest.approx(expected, rel=1e-4, abs=2e-5)


@pytest.mark.parametrize(('name', 'counts', 'ignored'), LOSSES)
def test_losses_and_gradient(repository, name, counts, ignored):
    model = detector(repository, name)
    data = samples(SIZE, counts)
    for sample in data if ignored else []:
        kept = max(len(sample.gt_instances) - ignored, 0)
        sample.ignored_instances, sample.gt_instances = sample.gt_instances[kept:], sample.gt_instances[:kept]
    expected, norm = LOSSES[name, counts, ignored]
    try:
        train_with_fixed_norms(model)
        torch.manual_seed(0)
        losses = model(images(SIZE), data, mode='loss')
        losses = {key: value for key, value in losses.items() if 'acc' not in key}
        found = {
            key: float(torch.as_tensor(sum(value) if isinstance(value, list) else value).detach())
            for key, value in losses.items()
        }
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)
        assert gradient_norm(model, losses) == pytest.approx(norm, rel=1e-4)
    finally:
        model.eval()


@pytest.mark.parametrize('name', DETECTIONS)
def test_detections(repository, name):
    with torch.no_grad():
        found = detector(repository, name)(images(SIZE), samples(SIZE), mode='predict')
    for sample, (count, scores, boxes, last) in zip(found, DETECTIONS[name], strict=True):
        result = sample.pred_instances
        assert len(result) == count
        sums = [float(value.double().sum()) for value in (result.scores, result.bboxes)]
        assert [*sums, float(result.scores[-1])] == pytest.approx([scores, boxes, last], rel=1e-4)


@pytest.mark.parametrize('name', ['faster', 'cascade'])
def test_without_proposals(repository, name, monkeypatch):
    """All losses are there and every parameter of the second stage has a gradient, as two processes need that see different images."""
    model, data = detector(repository, name), samples(SIZE, (0, 0))
    nothing = [InstanceData(bboxes=torch.zeros(0, 4), scores=torch.zeros(0)) for _ in data]
    x = [level.detach() for level in model.extract_feat(images(SIZE))]
    model.zero_grad()
    losses = model.roi_head.loss(x, nothing, data)
    stages = [''] if name == 'faster' else ['s0.', 's1.', 's2.']
    assert set(losses) == {f'{stage}{key}' for stage in stages for key in ('loss_cls', 'acc', 'loss_bbox')}
    sum(value for key, value in losses.items() if 'loss' in key).backward()
    assert all(p.grad is not None and p.grad.abs().max() == 0 for p in model.roi_head.parameters())
    assert all(len(found) == 0 for found in model.roi_head.predict(x, nothing, data))
    assert all(
        len(found) == 0
        for found in model.roi_head.predict_bbox(x, [d.metainfo for d in data], nothing, model.test_cfg.rcnn)
    )


def test_proposals_of_the_user(repository):
    """Without a first stage the samples bring the proposals, and say so where they do not."""
    cfg = {key: value for key, value in small(repository, 'faster').items() if key not in ('rpn_head', 'type')}
    model = fill(TwoStageDetector(**cfg)).eval()
    inputs, data = images(SIZE), samples(SIZE)
    with pytest.raises(ModelInputError, match='proposals'):
        model(inputs, data, mode='predict')
    for sample in data:
        sample.proposals = InstanceData(bboxes=sample.gt_instances.bboxes)
    with torch.no_grad():
        assert all(len(sample.pred_instances) > 0 for sample in model(inputs, data, mode='predict'))
        assert model(inputs, data, mode='tensor')[0].shape == (12, 81)
    assert set(model(inputs, data, mode='loss')) == {'loss_cls', 'acc', 'loss_bbox'}


def test_proposals_as_a_coarse_stage(repository):
    model = detector(repository, 'rpn')
    assert isinstance(model, RPN) and model.detection_head.num_classes == 1
    found = DetectionStage(model, scale=(160, 128), flip=True)([torch.full((3, 60, 80), 90, dtype=torch.uint8)])[0]
    assert len(found) > 10 and found.labels.eq(0).all() and found.bboxes[:, 2].max() <= 80
    coarse, fine = (dict(detector=small(repository, name), scale=(160, 128)) for name in ('rpn', 'faster'))
    both = fill(UFPMPDet(coarse, fine, coarse_weight=1.0, min_overlap=0.0)).eval()
    image = (images(SIZE)[0] * 20 + 120).clamp(0, 255).byte()
    # Nor do the names of the data set in a checkpoint of proposals make classes of them.
    assert (
        both.match_stage_classes(dict(coarse=['person', 'car'], fine=[f'class {i}' for i in range(79)] + ['car'])) == []
    )
    with torch.no_grad():
        steps = both.trace([image])[0]
    assert both.num_classes == 80 and len(steps.coarse) > 10
    # Not one of the proposals, which would be class 0, is merged.
    assert 0 < len(steps.merged) <= len(steps.fine) and steps.merged.labels.eq(0).sum() <= steps.fine.labels.eq(0).sum()
    with pytest.raises(ConfigError, match='same classes'):
        UFPMPDet(fine, coarse)


def test_checkpoint_of_the_detector_in_tiles(repository):
    model = detector(repository, 'faster')
    sliced = SlicedDet(dict(detector=small(repository, 'faster'), scale=(160, 128)))
    state = dict(model.state_dict())
    assert sliced.adapt_state_dict(state, '') and set(state) == set(sliced.state_dict())


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(roi_head=None), 'roi_head'),
        (dict(roi_head=dict(type='StandardRoIHead', mask_head=dict(type='FCNMaskHead'))), 'masks'),
        (dict(roi_head=dict(type='StandardRoIHead', shared_head=dict(type='ResLayer'))), 'shared_head'),
        (dict(roi_head=dict(type='StandardRoIHead')), 'bbox_roi_extractor'),
        (dict(test_cfg=dict(rcnn=dict())), "'rpn'"),
        (dict(train_cfg=dict(rpn=dict(), rcnn=dict(assigner=dict(type='MaxIoUAssigner')))), 'assigner'),
    ],
)
def test_settings_that_do_not_fit(repository, changes, message):
    cfg = {**small(repository, 'faster'), **changes}
    with pytest.raises(ConfigError, match=message):
        MODELS.build(cfg)


def test_a_cascade_needs_settings_for_each_stage(repository):
    cfg = small(repository, 'cascade').roi_head
    for name, value in dict(stage_loss_weights=[1], bbox_head=[{}], train_cfg={'assigner': None}).items():
        with pytest.raises(ConfigError, match=name):
            MODELS.build({**cfg, name: value, 'test_cfg': {}})


def test_classes_of_another_checkpoint(repository):
    """Of both linear layers the rows of the classes are taken, four for each class of the boxes; the first stage stays."""
    model = detector(repository, 'faster')
    head, state = model.roi_head.bbox_head, dict(model.state_dict())
    weight, deltas = torch.arange(3.0)[:, None].expand(3, 64), torch.arange(8.0)[:, None].expand(8, 64)
    state['roi_head.bbox_head.fc_cls.weight'], state['roi_head.bbox_head.fc_reg.weight'] = weight, deltas
    sources = [1, *[-1] * 79]
    changed, left = head.take_class_rows(state, 'roi_head.bbox_head.', sources, 2)
    assert set(changed) >= {'roi_head.bbox_head.fc_cls.weight', 'roi_head.bbox_head.fc_reg.weight'}
    new, boxes = state['roi_head.bbox_head.fc_cls.weight'], state['roi_head.bbox_head.fc_reg.weight']
    assert new[0, 0] == 1 and new[80, 0] == 2 and new[5].equal(head.fc_cls.weight[5])
    assert boxes[:4, 0].tolist() == [4, 5, 6, 7] and boxes[4:].equal(head.fc_reg.weight[4:])
    assert model.rpn_head.take_class_rows(state, 'rpn_head.', sources, 2) == ([], [])


def test_half_precision(repository):
    model = detector(repository, 'cascade')
    with torch.autocast('cpu', torch.bfloat16), torch.no_grad():
        losses = model(images(SIZE), samples(SIZE), mode='loss')
        found = model(images(SIZE), samples(SIZE), mode='predict')[0].pred_instances
    assert all(
        torch.as_tensor(value[0] if isinstance(value, list) else value).dtype == torch.float32
        for value in losses.values()
    )
    assert found.scores.dtype == found.bboxes.dtype == torch.float32 and len(found) > 0


def test_raw_outputs_without_samples(repository):
    with torch.no_grad():
        stages = detector(repository, 'cascade')(images(SIZE), mode='tensor')
    assert [tuple(part.shape for part in pair) for pair in stages] == [((120, 81), (120, 4))] * 3
    assert DetDataSample().get('proposals') is None
