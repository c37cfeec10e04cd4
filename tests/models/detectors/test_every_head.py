"""Every dense head in every place where a detector is used: stages of the composite detectors, test-time augmentation, counting, inference."""

import copy

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmdet.analysis import count_flops
from mmdet.apis import DetInferencer
from mmdet.apis.benchmark import one_stage_detectors
from mmdet.models.detectors import DetTTAModel, SlicedDet, UFPMPDet
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.utils import load_config

# Type of the head: the detector's config whose head is made small.
CONFIGS = {
    'ATSSHead': 'atss/atss_r50_fpn_1x_coco.py',
    'FCOSHead': 'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
    'FCOSHead, norm_on_bbox': 'fcos/fcos_r50-caffe_fpn_gn-head-center-normbbox-centeronreg-giou_1x_coco.py',
    'GFLHead': 'gfl/gfl_r50_fpn_1x_coco.py',
    'RetinaHead': 'retinanet/retinanet_r50_fpn_1x_coco.py',
    'TOODHead': 'tood/tood_r50_fpn_1x_coco.py',
    'TOODHead, anchor_based': 'tood/tood_r50_fpn_anchor-based_1x_coco.py',
    'VFNetHead': 'vfnet/vfnet_r50_fpn_1x_coco.py',
}


@pytest.fixture(scope='module', params=CONFIGS)
def model_cfg(request, repository):
    """A detector with a narrow ResNet-18 and two classes, which is sure of nothing and reports all the same."""
    cfg = load_config(repository / 'configs' / CONFIGS[request.param]).model
    backbone = dict(depth=18, base_channels=8, stem_channels=8, frozen_stages=-1, init_cfg=None)
    cfg.backbone.update(backbone)
    cfg.neck.update(in_channels=[8, 16, 32, 64], out_channels=16)
    cfg.bbox_head.update(num_classes=2, in_channels=16, feat_channels=16, stacked_convs=2)
    if cfg.bbox_head.type != 'RetinaHead':
        cfg.bbox_head.norm_cfg = dict(type='GN', num_groups=4, requires_grad=True)
    cfg.test_cfg.update(score_thr=0.0, max_per_img=20)
    return cfg


@pytest.fixture(scope='module')
def detector(model_cfg):
    torch.manual_seed(0)
    model = MODELS.build(copy.deepcopy(model_cfg)).eval()
    if model_cfg.bbox_head.type == 'FCOSHead':
        with torch.no_grad():
            model.bbox_head.conv_reg.bias += 2  # boxes large enough to become regions
    return model


def picture():
    return torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def check(found, limit):
    assert 0 < len(found) <= limit and found.bboxes.shape == (len(found), 4)
    assert torch.isfinite(found.bboxes).all() and (found.scores[:-1] >= found.scores[1:]).all()
    assert found.scores.min() >= 0 and found.scores.max() <= 1 and set(found.labels.tolist()) <= {0, 1}


@pytest.mark.parametrize('kind', ['coarse and fine', 'tiles'])
def test_as_a_stage(detector, kind):
    stage = dict(detector=detector, scale=(64, 64))
    if kind == 'tiles':
        model = SlicedDet(stage, tile_wh=(64, 64), whole=dict(scale=(96, 64), flip=[False, True]))
    else:
        model = UFPMPDet(stage, stage)
    sample = DetDataSample(metainfo=dict(ori_shape=(64, 96)))
    found = model.eval().test_step(dict(inputs=[picture()], data_samples=[sample]))[0].pred_instances
    check(found, 500)
    assert found.bboxes.min() >= 0 and found.bboxes[:, 2].max() <= 96 and found.bboxes[:, 3].max() <= 64


def test_in_test_time_augmentation(detector):
    views = []
    for flip in (False, True):
        shape = dict(img_shape=(64, 96), ori_shape=(64, 96), scale_factor=(1.0, 1.0), flip=flip)
        views.append(DetDataSample(metainfo=dict(shape, flip_direction='horizontal' if flip else None)))
    inputs = [[picture()], [picture().flip(2)]]
    model = DetTTAModel(module=detector, tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=15))
    check(model.test_step(dict(inputs=inputs, data_samples=[[view] for view in views]))[0].pred_instances, 15)


def test_is_counted_and_measured(detector):
    report = count_flops(detector, (64, 96))
    assert report.macs > 0 and one_stage_detectors(detector) == [detector]


def test_in_the_inferencer(model_cfg, repository):
    pipeline = load_config(repository / 'configs/gfl/gfl_r50_fpn_1x_coco.py').test_dataloader.dataset.pipeline
    pipeline[1].scale = (96, 64)
    classes = dict(classes=('dot', 'block'), palette=[(1, 2, 3), (250, 20, 10)])
    dataset = dict(type='CocoDataset', metainfo=classes, pipeline=pipeline)
    cfg = Config(dict(default_scope='mmdet', model=model_cfg, test_dataloader=dict(dataset=dataset)))
    inferencer = DetInferencer(cfg, device='cpu', show_progress=False)
    image = np.random.default_rng(0).integers(0, 256, (50, 75, 3), dtype=np.uint8)
    (found,) = inferencer(image)['predictions']
    assert 0 < len(found['bboxes']) <= 20 and set(found['labels']) <= {0, 1}
