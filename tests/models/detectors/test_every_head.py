"""Each detector, made small: a training step, a stage of the composite detectors, test-time augmentation, FLOPs, timing, inference."""

import copy

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from mmdet.analysis import count_flops
from mmdet.apis import DetInferencer, inference_detector, init_detector
from mmdet.apis.benchmark import measure, synthetic_batches
from mmdet.models.detectors import DetectionStage, DetTTAModel, SlicedDet, UFPMPDet
from mmdet.models.inference import prepare_networks, restore_networks
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.utils import load_config

CONFIGS = [
    'atss/atss_r50_fpn_1x_coco.py',
    'cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py',
    'centernet/centernet_r18_8xb16-crop512-140e_coco.py',
    'centernet/centernet-update_r50-caffe_fpn_ms-1x_coco.py',
    'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
    'fcos/fcos_r50-caffe_fpn_gn-head-center-normbbox-centeronreg-giou_1x_coco.py',
    'foveabox/fovea_r50_fpn_gn-head-align_4xb4-2x_coco.py',
    'gfl/gfl_r50_fpn_1x_coco.py',
    'gfocal/gfocal_r50_fpn_1x.py',
    'ld/ld_r18-gflv1-r101_fpn_1x_coco.py',
    'nanodet/nanodet_g_416_coco.py',
    'nanodet/nanodet_m-0.5x_320_coco.py',
    'nanodet/nanodet_plus-m_320_coco.py',
    'paa/paa_r50_fpn_1x_coco.py',
    'reppoints/reppoints-moment_r50_fpn-gn_head-gn_1x_coco.py',
    'retinanet/retinanet_r50_fpn_1x_coco.py',
    'rtmdet/rtmdet_m_8xb32-300e_coco.py',
    'ssd/ssd300_coco.py',
    'tood/tood_r50_fpn_1x_coco.py',
    'tood/tood_r50_fpn_anchor-based_1x_coco.py',
    'vfnet/vfnet_r50_fpn_1x_coco.py',
    'yolo/yolov3_d53_8xb8-ms-416-273e_coco.py',
    'yolox/yolox_tiny_8xb8-300e_coco.py',
]
CLASSES = ('a', 'b', 'c')
IMAGE = torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
META = dict(img_shape=(64, 96), ori_shape=(64, 96), scale_factor=(1.0, 1.0))


def small_config(path):
    """The config with a narrow and shallow backbone, 64 channels, one convolution a tower, three classes; all scores count."""
    cfg = load_config(path)
    model = cfg.model
    # So that a run on the CPU takes a second; what is tested does not depend on it.
    if 'bbox_head' in model and model.bbox_head.type in ('SSDHead', 'YOLOV3Head'):
        return narrow(cfg)
    if model.type in ('RTMDet', 'YOLOX'):
        model.backbone.update(deepen_factor=0.1, widen_factor=0.125, init_cfg=None)
        model.neck.update(in_channels=[32, 64, 128], out_channels=64, num_csp_blocks=1)
    elif model.type.startswith('NanoDet'):
        if model.backbone.type == 'CustomCspNet':
            model.backbone.update(stem_channels=8, blocks=(1, 1, 1, 1))
        else:
            model.backbone.update(model_size='0.5x', init_cfg=None)
        model.neck.update(in_channels='auto', out_channels=64)
        if 'aux_head' in model:
            model.aux_head.update(in_channels=128, feat_channels=64, stacked_convs=1, num_classes=3)
    else:
        model.backbone.update(depth=18, base_channels=16, stem_channels=16, init_cfg=None)
        one_map = model.neck.type == 'CTResNetNeck'
        model.neck.update(dict(in_channels=128) if one_map else dict(in_channels=[16, 32, 64, 128], out_channels=64))
    if 'roi_head' in model:
        two_stages_small(model)
        return cfg
    head = model.bbox_head
    head.update(in_channels=64, feat_channels=64, num_classes=3)
    if head.type == 'CenterNetHead':
        model.test_cfg.topk = 20
    else:
        head.update(stacked_convs=1)
    if head.type == 'PAAHead':  # candidates as a stage takes them, without votes, which need all candidates
        head.score_voting, model.test_cfg.nms_pre_rule = False, 'pairs'
    if model.type == 'KnowledgeDistillationSingleStageDetector':
        teacher = load_config(path.parents[1] / 'gfl/gfl_r50_fpn_1x_coco.py').model
        model.update(teacher_ckpt=None, teacher_config=dict(model=teacher))
        teacher.bbox_head.num_classes = 3
    model.test_cfg.update(score_thr=0.0, nms_pre=50, max_per_img=20, nms_pre_rule='pairs')  # the rule of a stage
    return cfg


def narrow(cfg):
    """:func:`small_config` of the heads whose backbones have but one width."""
    model, ssd = cfg.model, cfg.model.bbox_head.type == 'SSDHead'
    model.backbone = dict(
        type='CSPDarknet', deepen_factor=0.1, widen_factor=0.125, out_indices=(2, 3) if ssd else (2, 3, 4)
    )
    if ssd:
        widths = (32, 64, 32, 32, 32, 32)
        model.neck.update(in_channels=(32, 64), out_channels=widths)
        model.bbox_head.update(in_channels=widths, num_classes=3)
    else:
        model.neck.update(in_channels=[128, 64, 32], out_channels=[64, 32, 16])
        model.bbox_head.update(in_channels=[64, 32, 16], out_channels=[32, 32, 32], num_classes=3)
    model.test_cfg.update(score_thr=0.0, nms_pre=50, max_per_img=20)
    return cfg


def two_stages_small(model):
    """The same for the heads of a two-stage detector: 40 proposals."""
    model.rpn_head.update(in_channels=64, feat_channels=64)
    model.roi_head.bbox_roi_extractor.out_channels = 64
    heads = model.roi_head.bbox_head
    for head in heads if isinstance(heads, list) else [heads]:
        head.update(in_channels=64, fc_out_channels=64, num_classes=3)
    model.test_cfg.rpn.max_per_img = model.train_cfg.rpn_proposal.max_per_img = 40
    model.test_cfg.rcnn.update(score_thr=0.0, max_per_img=20)


@pytest.fixture(scope='module', params=CONFIGS)
def cfg(request, repository):
    return small_config(repository / 'configs' / request.param)


@pytest.fixture(scope='module')
def detector(cfg):
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    with torch.no_grad():  # scores of an untrained head are nearly alike
        head = model.detection_head
        predicts = getattr(head, '_class_rows_of', lambda name: '_cls.' in name)
        for name, parameter in head.named_parameters():
            if 'weight' in name and predicts(name):
                parameter.normal_(std=0.2)
            if name == 'wh_head.2.bias':
                parameter.fill_(6)  # cells; sizes of an untrained head are nearly 0
    return model.eval()


@pytest.fixture(scope='module')
def plain(detector):
    """The detections of the detector itself, by the one way and the other."""
    data = detector.data_preprocessor(dict(inputs=[IMAGE], data_samples=[DetDataSample(metainfo=META)]))
    with torch.no_grad():
        (sample,) = detector(**data, mode='predict')
    return sample.pred_instances


def assert_same(found, expected):
    assert found.labels.tolist() == expected.labels.tolist()
    torch.testing.assert_close(found.scores, expected.scores)
    torch.testing.assert_close(found.bboxes, expected.bboxes, rtol=1e-4, atol=1e-3)


def cut(found):
    """The same inside the image: boxes of some heads are not, as in the reference; those of a stage are."""
    found = found[:]
    found.bboxes = torch.minimum(found.bboxes.clamp(min=0), torch.tensor([96.0, 64, 96, 64]))
    return found


def test_training_step(cfg):
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).train()
    truth = InstanceData(bboxes=torch.tensor([[8.0, 4, 60, 50], [30, 20, 90, 60]]), labels=torch.tensor([0, 2]))
    samples = [DetDataSample(metainfo=META, gt_instances=truth), DetDataSample(metainfo=META, gt_instances=truth[:0])]
    data = model.data_preprocessor(dict(inputs=[IMAGE, IMAGE.flip(-1)], data_samples=samples), training=True)
    total, parts = model.parse_losses(model(**data, mode='loss'))
    total.backward()
    assert total > 0 and all(torch.isfinite(part) for part in parts.values())
    head = dict(model.detection_head.named_parameters())
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in head.values())
    # The levels of SSD share nothing, and only those with positives learn.
    least = len(head) / (4 if type(model.detection_head).__name__ == 'SSDHead' else 2)
    assert sum(bool(p.grad.abs().sum()) for p in head.values()) >= least


def test_stage_finds_what_the_detector_finds(detector, plain):
    stage = DetectionStage(detector, scale=(96, 64), flip=False)
    assert len(plain) > 1 and stage.num_classes == 3
    whole = SlicedDet(dict(detector=detector, scale=(96, 64), flip=False), tile_wh=None, max_per_img=20)
    found = [stage([IMAGE])[0], whole.detect([IMAGE])[0]]
    if getattr(detector.detection_head, 'clips_boxes', True):
        for boxes in found:
            assert_same(boxes, plain)
    else:  # the NMS of a stage sees boxes that are cut, hence other overlaps
        assert all(10 < len(boxes) <= 20 and boxes.bboxes.equal(cut(boxes).bboxes) for boxes in found)


def test_both_stages_of_a_composite_detector(detector):
    stage = dict(detector=detector, scale=(96, 64))
    sliced = SlicedDet(stage, tile_wh=(48, 48), whole=dict(scale=(64, 64)), max_per_img=30)
    packed = UFPMPDet(coarse=stage, fine=stage, max_per_img=30, coarse_weight=0.5)
    images = [IMAGE, IMAGE[:, :48, :70]]
    for model in (sliced.eval(), packed.eval()):
        samples = [DetDataSample(metainfo=dict(ori_shape=tuple(image.shape[1:]))) for image in images]
        with torch.no_grad():
            found = model.test_step(dict(inputs=images, data_samples=samples))
        for sample in found:
            result = sample.pred_instances
            assert 0 < len(result) <= 30 and torch.isfinite(result.bboxes).all() and result.labels.max() < 3
            assert (result.scores[:-1] >= result.scores[1:]).all()


def test_test_time_augmentation(detector, plain):
    nms = dict(detector.detection_head.test_cfg.nms)
    model = DetTTAModel(module=detector, tta_cfg=dict(nms=nms, max_per_img=20)).eval()

    def view(flip):
        flipped = dict(META, flip=flip, flip_direction='horizontal' if flip else None)
        image = IMAGE.flip(-1) if flip else IMAGE
        return dict(inputs=[image], data_samples=[DetDataSample(metainfo=flipped)])

    def merged(*views):
        batches = [view(flip) for flip in views]
        (sample,) = model.test_step({key: [batch[key] for batch in batches] for key in ('inputs', 'data_samples')})
        return sample.pred_instances

    assert_same(merged(False), plain)
    both = merged(False, True)
    assert len(both) >= len(plain) and both.scores[0] >= plain.scores[0]


def test_costs_and_times(detector):
    report = count_flops(detector, (64, 96))
    assert report.macs == sum(part.macs for part in report.parts) > 0 and report.as_dict(1)
    result = measure(
        synthetic_batches((64, 96), 2), detector.test_step, max_iter=2, num_warmup=1, log=lambda line: None
    )
    assert result.images == 2 and result.fps > 0


def test_inference(cfg, detector, tmp_path):
    model = init_detector(cfg, device='cpu')
    model.load_state_dict(detector.state_dict())
    pixels = np.ascontiguousarray(IMAGE.permute(1, 2, 0).numpy())
    found = inference_detector(model, pixels).pred_instances
    assert len(found) == 20
    assert (
        not getattr(detector.detection_head, 'clips_boxes', True)
        or cut(found).bboxes.sub(found.bboxes).abs().max() < 1e-3
    )

    weights = tmp_path / 'weights.pth'
    torch.save(dict(state_dict=detector.state_dict(), meta=dict(dataset_meta=dict(classes=CLASSES))), weights)
    cfg = copy.deepcopy(cfg)
    if 'teacher_ckpt' in cfg.model:
        cfg.model.teacher_ckpt = str(tmp_path / 'nowhere.pth')  # a student is used without its teacher
    inferencer = DetInferencer(cfg, str(weights), device='cpu', show_progress=False)
    (prediction,) = inferencer(pixels)['predictions']
    assert prediction['labels'] == found.labels.tolist() and inferencer.model.dataset_meta['classes'] == CLASSES
    assert prediction['scores'] == pytest.approx(found.scores.tolist())
    np.testing.assert_allclose(prediction['bboxes'], found.bboxes.numpy(), rtol=1e-5, atol=1e-3)


def raw_outputs(detector, inputs):
    """The feature maps and what the dense head makes of them."""
    maps = detector.extract_feat(inputs)
    head = getattr(detector, 'bbox_head', None) or detector.rpn_head
    return head, [*maps], head(maps)


def flat(outputs):
    if isinstance(outputs, torch.Tensor):
        return outputs.float().flatten()
    return torch.cat([flat(part) for part in outputs])


@torch.no_grad()
def test_fast_and_mixed_inference(detector):
    data = detector.data_preprocessor(dict(inputs=[IMAGE], data_samples=[DetDataSample(metainfo=META)]))
    inputs, metas = data['inputs'], [data['data_samples'][0].metainfo]
    state = {name: value.clone() for name, value in detector.state_dict().items()}
    _, maps, outputs = raw_outputs(detector, inputs)
    assert 'folded, equal to' in prepare_networks(detector)
    try:
        _, fast_maps, fast_outputs = raw_outputs(detector, inputs)
        for found, expected in ((fast_maps, maps), (fast_outputs, outputs)):
            assert (flat(found) - flat(expected)).norm() <= 1e-5 * flat(expected).norm()
        assert list(detector.state_dict()) == list(state)
        assert all(value.equal(state[name]) for name, value in detector.state_dict().items())
        prepare_networks(detector, dict(amp='bf16'))
        with detector.inference_context(inputs):
            head, _, mixed = raw_outputs(detector, inputs)
            assert (flat(mixed) - flat(outputs)).norm() <= 0.05 * flat(outputs).norm()
            # Whatever the network computes in, boxes are made of it in float32: the same as outside autocast, to the bit.
            inside = head.predict_by_feat(*mixed, batch_img_metas=metas)[0]
        outside = head.predict_by_feat(*as_float(mixed), batch_img_metas=metas)[0]
        assert len(inside) and inside.bboxes.dtype == inside.scores.dtype == torch.float32
        assert inside.bboxes.equal(outside.bboxes) and inside.scores.equal(outside.scores)
        assert detector(**data, mode='predict')[0].pred_instances.bboxes.dtype == torch.float32
        if len(outputs) > 1 and type(head).__name__ != 'CenterNetHead':  # class scores apart from boxes
            options = dict(batch_img_metas=metas, with_nms=False)
            expected = head.predict_by_feat(*outputs, **options)[0]
            found = head.predict_by_feat(outputs[0], as_float(mixed[1]), *outputs[2:], **options)[0]  # ranked alike
            apart = (found.bboxes[:, None] - expected.bboxes).abs().amax(-1).amin(0)
            sides = (expected.bboxes[:, 2:] - expected.bboxes[:, :2]).amax(
                1
            )  # hundreds of pixels, where they are not cut
            assert (apart < 1 + 0.02 * sides).float().mean() > 0.75
    finally:
        restore_networks(detector)


def as_float(outputs):
    return outputs.float() if isinstance(outputs, torch.Tensor) else [as_float(part) for part in outputs]
