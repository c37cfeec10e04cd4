"""Every config of the tree: it reads, builds, has the sheet's counts, makes a training step and a prediction."""

import copy
import functools
import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.structures import InstanceData

from mmdet.apis.known_models import indexed_models
from mmdet.config.legacy import looks_legacy
from mmdet.core import bbox_overlaps
from mmdet.datasets.transforms import Compose
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.utils import load_config
from tests.reference_keys import reference_keys

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
PATHS = sorted(path for path in CONFIGS.rglob('*.py') if '_base_' not in path.parts)
NAMES = [str(path.relative_to(CONFIGS)) for path in PATHS]

# Entries of the state dict, parameters, trainable parameters. GFLV2: 80 class channels; published files have 81 and
# 2,305 parameters more.
COUNTS = {
    'gfl/gfl_r50_fpn_1x_coco.py': (368, 32_440_537, 32_215_193),
    'gfl/gfl_r50_fpn_ms-2x_coco.py': (368, 32_440_537, 32_215_193),
    'gfl/gfl_r101_fpn_ms-2x_coco.py': (674, 51_432_665, 51_207_321),
    'gfl/gfl_r101-dconv-c3-c5_fpn_ms-2x_coco.py': (734, 52_718_837, 52_493_493),
    'gfl/gfl_x101-32x4d_fpn_ms-2x_coco.py': (674, 51_061_209, 50_845_849),
    'gfl/gfl_x101-32x4d-dconv-c4-c5_fpn_ms-2x_coco.py': (726, 53_467_053, 53_251_693),
    'gfocal/gfocal_r50_fpn_1x.py': (372, 32_440_537 + 1_409, 32_215_193 + 1_409),
    'gfocal/gfocal_r50_fpn_ms2x.py': (372, 32_440_537 + 1_409, 32_215_193 + 1_409),
    'gfocal/gfocal_r101_fpn_ms2x.py': (678, 51_432_665 + 1_409, 51_207_321 + 1_409),
    'gfocal/gfocal_r101_dcn_fpn_ms2x.py': (738, 52_718_837 + 1_409, 52_493_493 + 1_409),
    'gfocal/gfocal_x101_dcn_fpn_ms2x.py': (730, 53_467_053 + 1_409, 53_251_693 + 1_409),
    'gfocal/gfocal_r2n101_dcn_fpn_ms2x.py': (1242, 53_576_605 + 1_409, None),
    'gfl_r50_1x.py': (368, 32_440_537, 32_215_193),
    'gfl_r50_ms2x.py': (368, 32_440_537, 32_215_193),
    'gfl_r101_ms2x.py': (674, 51_432_665, 51_207_321),
    # 30 layers of version 2 have 9 offset rows (and biases) more than those of version 1: 9 * (9 * C + 1) each, with C
    # = 128, 256, 512 in 4, 23 and 3 of them.
    'gfl_dcn_r101_ms2x.py': (734, 52_718_837 + 9 * (9 * (4 * 128 + 23 * 256 + 3 * 512) + 30), None),
    'gfl_x101_ms2x.py': (674, 51_061_209, 50_845_849),
    # 27 offset rows for C = 256, 512, 1024.
    'gfl_dcn_x101_ms2x.py': (734, 51_061_209 + 27 * (9 * (4 * 256 + 23 * 512 + 3 * 1024) + 30), None),
    'UFPMP-Det/coarse_det.py': (368, 32_279_187, None),
    'UFPMP-Det/mp_det_res50.py': (372, 32_856_969, None),
    'UFPMP-Det/mp_det_res101.py': (678, 32_856_969 - 23_508_032 + 42_500_160, None),
    'UFPMP-Det/mp_det_x101_ms.py': (678, 51_477_641, None),
    'UFPMP-Det/UAVDT_coarse_det.py': (368, 32_279_187 - 7 * (9 * 256 + 1), None),
    'UFPMP-Det/uavdt_mp_det_res50.py': (372, 32_849_289, None),
    'UFPMP-Det/ufpmp_det_res50.py': (740, 32_279_187 + 32_856_969, None),
    'UFPMP-Det/ufpmp_det_x101_ms.py': (1046, 32_279_187 + 51_477_641, None),
    'UFPMP-Det/sliced_det_res50.py': (368, 32_279_187, None),
    'UFPMP-Det/ufpmp_shared_gfl_r50.py': (368, 32_279_187, None),
    'UFPMP-Det/ufpmp_shared_mp_r50.py': (372, 32_856_969, None),
    'atss/atss_r50_fpn_1x_coco.py': (369, 32_295_322, 32_069_978),
    'atss/atss_r18_fpn_8xb8-amp-lsj-200e_coco.py': (171, 19_275_674, 19_118_170),
    'ld/ld_r18-gflv1-r101_fpn_1x_coco.py': (170, 19_420_889, 19_263_385),
    'ld/ld_r34-gflv1-r101_fpn_1x_coco.py': (266, 29_529_049, 29_297_561),
    'ld/ld_r50-gflv1-r101_fpn_1x_coco.py': (368, 32_440_537, 32_215_193),
    'retinanet/retinanet_r18_fpn_1x_coco.py': (156, 21_410_100, 21_252_596),
    'retinanet/retinanet_r50_fpn_1x_coco.py': (354, 37_968_692, 37_743_348),
    'retinanet/retinanet_r101_fpn_1x_coco.py': (660, 56_960_820, 56_735_476),
    'retinanet/retinanet_x101-64x4d_fpn_1x_coco.py': (660, 95_866_932, 95_464_180),
    'hrnet/gfl_hrnetv2p-w32_1x_coco.py': (1876, 37_442_905, 37_442_905),
    'regnet/retinanet_regnetx-1.6GF_fpn_1x_coco.py': (390, 19_583_876, 19_530_676),
    'regnet/retinanet_regnetx-3.2GF_fpn_1x_coco.py': (516, 25_852_340, 25_733_332),
    'swin/gfl_swin-t-p4-w7_fpn_1x_coco.py': (237, 35_879_571, 35_879_571),
    'rtmdet/rtmdet_tiny_8xb32-300e_coco.py': (476, 4_896_168, 4_896_168),
    'rtmdet/rtmdet_s_8xb32-300e_coco.py': (512, 8_886_924, 8_886_924),
    'rtmdet/rtmdet_m_8xb32-300e_coco.py': (692, 24_709_188, 24_709_188),
    'rtmdet/rtmdet_l_8xb32-300e_coco.py': (872, 52_315_804, 52_315_804),
    'rtmdet/rtmdet_x_8xb32-300e_coco.py': (1052, 94_855_572, 94_855_572),
    'rtmdet/rtmdet_x_p6_4xb8-300e_coco.py': (1376, 152_528_936, 152_528_936),
    'vit_adapter/gfl_deit_adapter_small_fpn_3x_coco.py': (460, 35_813_801, 35_813_801),
    'ssd/ssd300_coco.py': (71, 34_305_206, 34_305_206),
    'ssd/ssd512_coco.py': (79, 36_038_196, 36_038_196),
    'yolo/yolov3_d53_8xb8-ms-608-273e_coco.py': (438, 61_949_149, 61_949_149),
    'yolox/yolox_nano_8xb8-300e_coco.py': (642, 912_159, 912_159),
    'yolox/yolox_tiny_8xb8-300e_coco.py': (462, 5_055_855, 5_055_855),
    'yolox/yolox_s_8xb8-300e_coco.py': (462, 8_968_255, 8_968_255),
    'yolox/yolox_m_8xb8-300e_coco.py': (606, 25_326_495, 25_326_495),
    'yolox/yolox_l_8xb8-300e_coco.py': (750, 54_208_895, 54_208_895),
    'yolox/yolox_x_8xb8-300e_coco.py': (894, 99_071_455, 99_071_455),
}
LISTINGS = {
    'rtmdet/rtmdet_tiny_8xb32-300e_coco.py': 'rtmdet_tiny',
    'gfl/gfl_r50_fpn_1x_coco.py': 'gfl_r50',
    'gfl/gfl_r101_fpn_ms-2x_coco.py': 'gfl_r101',
    'gfl/gfl_r101-dconv-c3-c5_fpn_ms-2x_coco.py': 'gfl_r101-dconv-c3-c5',
    'gfl/gfl_x101-32x4d_fpn_ms-2x_coco.py': 'gfl_x101-32x4d',
    'gfl/gfl_x101-32x4d-dconv-c4-c5_fpn_ms-2x_coco.py': 'gfl_x101-32x4d-dconv-c4-c5',
    'gfocal/gfocal_r50_fpn_ms2x.py': 'gfl_r50',
    'gfocal/gfocal_r101_fpn_ms2x.py': 'gfl_r101',
    'gfocal/gfocal_r101_dcn_fpn_ms2x.py': 'gfl_r101-dconv-c3-c5',
    'gfocal/gfocal_x101_dcn_fpn_ms2x.py': 'gfl_x101-32x4d-dconv-c4-c5',
    'gfocal/gfocal_r2n101_dcn_fpn_ms2x.py': 'gfl_res2net101-dconv-c4-c5',
    'gfl_r50_1x.py': 'gfl_r50',
    'gfl_r101_ms2x.py': 'gfl_r101',
    'gfl_x101_ms2x.py': 'gfl_x101-32x4d',
}
DGQP = {
    'bbox_head.reg_conf.0.weight': (64, 20, 1, 1),
    'bbox_head.reg_conf.0.bias': (64,),
    'bbox_head.reg_conf.2.weight': (1, 64, 1, 1),
    'bbox_head.reg_conf.2.bias': (1,),
}


@functools.cache
def _read(name: str) -> Config:
    return load_config(CONFIGS / name)


def config(name: str) -> Config:
    """The config, read once, as a copy to be changed at will."""
    return copy.deepcopy(_read(name))


def build(model_cfg, device: str):
    with torch.device(device):
        return MODELS.build(model_cfg)


# In tests/models/detectors: test_rtmdet.py, test_nanodet.py, test_ssd_and_yolo.py, test_centers_and_points.py, test_every_head.py.
TESTED_BY_THEMSELVES = (
    'RTMDet',
    'NanoDet',
    'NanoDetPlus',
    'YOLOV3',
    'YOLOX',
    'PAA',
    'FOVEA',
    'RepPointsDetector',
    'CenterNet',
)


def distinct_detectors() -> list[str]:
    """One config for each different ``model`` of a one-stage detector; of those that differ in the size of the ResNet, the smallest."""
    found: dict[str, tuple[int, str]] = {}
    for name in NAMES:
        model = _read(name).get('model') or {}
        backbone = dict(model.get('backbone') or {})
        structure = backbone.get('structure')
        if isinstance(structure, str) and not Path(structure).is_file():
            continue  # to be searched first
        if model.get('type') in TESTED_BY_THEMSELVES or name.startswith('ssd/'):
            continue
        if backbone.get('type') in ('HRNet', 'RegNet', 'SwinTransformer') and model['type'] != 'GFL':
            continue  # tests/models/backbones/test_neighbour_backbones.py
        if backbone.get('type') == 'TransformersBackbone':
            continue  # tests/models/backbones/test_transformers_backbone.py
        if 'bbox_head' in model:
            depth = (backbone.pop('depth', 0), backbone.pop('groups', 0))
            backbone = {key: value for key, value in backbone.items() if key not in ('base_width', 'init_cfg')}
            neck = {key: value for key, value in model.neck.items() if key != 'in_channels'}
            rest = {key: value for key, value in model.items() if not key.startswith('teacher_')}
            kind = json.dumps(dict(rest, backbone=backbone, neck=neck), sort_keys=True, default=str)
            found[kind] = min(found.get(kind, (depth, name)), (depth, name))
    return sorted(name for _, name in found.values())


def test_published_configs_are_there():
    assert set(COUNTS) <= set(NAMES)


def test_parameters_of_the_model_index():
    index = {str(model.config.relative_to(CONFIGS)): model.parameters for model in indexed_models()}
    assert {name: index.get(name) for name in COUNTS} == {
        name: round(parameters / 1e6, 2) for name, (_, parameters, _) in COUNTS.items()
    }


@pytest.mark.parametrize('name', NAMES)
def test_reads_as_new_style_and_its_pipelines_build(name):
    cfg = config(name)
    assert not looks_legacy(cfg)
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        dataset = (cfg.get(loader) or {}).get('dataset') or {}
        while 'dataset' in dataset:
            dataset = dataset['dataset']
        Compose(list(dataset.get('pipeline') or []))


@pytest.mark.parametrize('name', COUNTS)
def test_counts(name):
    model = build(config(name).model, 'meta')
    entries, parameters, trainable = COUNTS[name]
    assert len(model.state_dict()) == entries
    assert sum(p.numel() for p in model.parameters()) == parameters
    if trainable is not None:
        assert sum(p.numel() for p in model.parameters() if p.requires_grad) == trainable


@pytest.mark.parametrize('name', LISTINGS)
def test_names_and_shapes_of_the_published_checkpoints(name):
    model = build(config(name).model, 'meta')
    expected = reference_keys(LISTINGS[name]) | (DGQP if name.startswith('gfocal/') else {})
    assert {key: tuple(value.shape) for key, value in model.state_dict().items()} == expected


def tiny_batch(num_classes: int) -> dict:
    """Two images, 96 x 64 and 64 x 64 pixels, the first with two boxes."""
    generator = torch.Generator().manual_seed(0)
    samples = []
    for width, boxes in ((96, [[8, 4, 60, 50], [30, 20, 90, 60]]), (64, [])):
        sample = DetDataSample(
            metainfo=dict(img_id=width, img_shape=(64, width), ori_shape=(128, 2 * width), scale_factor=(0.5, 0.5))
        )
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor(boxes, dtype=torch.float32).view(-1, 4),
            labels=torch.arange(len(boxes)) % num_classes,
        )
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
        samples.append(sample)
    images = [torch.randint(0, 256, (3, 64, s.img_shape[1]), dtype=torch.uint8, generator=generator) for s in samples]
    return dict(inputs=images, data_samples=samples)


def narrow_resnet(model, name: str) -> None:
    """Give a ResNet a quarter of its width and 50 layers at most, which saves minutes; everything else is the config's, which is built once as it is."""
    backbone = model.get('backbone', {})
    if backbone.get('type') in ('ResNet', 'ResNetV1d', 'ResNeXt', 'Res2Net') and 'base_channels' not in backbone:
        if name not in COUNTS:
            build(model, 'meta')
        backbone.update(base_channels=16, stem_channels=16, depth=min(backbone.depth, 50))
        if 'base_width' in backbone:
            backbone.base_width = max(backbone.base_width // 4, 1)
        channels = model.neck.in_channels
        model.neck.in_channels = channels // 4 if isinstance(channels, int) else [each // 4 for each in channels]


@pytest.mark.parametrize('name', distinct_detectors())
def test_one_training_step_and_one_prediction(name):
    torch.manual_seed(0)
    cfg = config(name)
    if 'teacher_ckpt' in cfg.model:
        cfg.model.teacher_ckpt = None
    for augmentation in cfg.model.data_preprocessor.get('batch_augments') or []:
        augmentation.size = (96, 128)  # not 1024 x 1024, which takes a minute
    narrow_resnet(cfg.model, name)
    for stage in cfg.model.backbone.get('extra', {}).values():  # of HRNet
        stage.update(num_modules=1, num_blocks=(1,) * stage.num_branches)
    if cfg.model.backbone.type == 'SwinTransformer':
        cfg.model.backbone.update(embed_dims=24, depths=(1, 1, 2, 1))
        cfg.model.neck.in_channels = [channels // 4 for channels in cfg.model.neck.in_channels]
    model = build(cfg.model, 'cpu')
    batch = model.data_preprocessor(tiny_batch(model.bbox_head.num_classes), True)
    model.train()
    losses = model(**batch, mode='loss')
    total, parts = model.parse_losses(losses)
    assert torch.isfinite(total) and total > 0
    total.backward()
    trained = [p for p in model.parameters() if p.grad is not None]
    assert trained and all(p.requires_grad and torch.isfinite(p.grad).all() for p in trained)
    predicts = [p for key, p in model.bbox_head.named_parameters() if key.endswith('bias') and p.grad is not None]
    before = [p.detach().clone() for p in predicts]
    torch.nn.utils.clip_grad_norm_(trained, 1.0)  # images in [0, 255] give an untrained network large gradients
    torch.optim.SGD(trained, lr=0.01).step()
    assert any(not torch.equal(old, new) for old, new in zip(before, predicts))

    model.eval()
    model.bbox_head.test_cfg.score_thr = 0.0  # an untrained network is sure of nothing
    with torch.no_grad():
        results = model(**batch, mode='predict')
    limit = model.bbox_head.test_cfg.max_per_img
    for result in results:
        found = result.pred_instances
        assert 0 < len(found) <= limit and torch.isfinite(found.bboxes).all()
        assert (found.scores[:-1] >= found.scores[1:]).all()
        assert found.labels.min() >= 0 and found.labels.max() < model.bbox_head.num_classes
        if cfg.model.type == 'TOOD':  # its boxes may reach out of the image
            continue
        height, width = result.ori_shape
        assert found.bboxes.min() >= 0 and found.bboxes[:, 2].max() <= width and found.bboxes[:, 3].max() <= height


@pytest.mark.parametrize('name', [name for name in NAMES if 'coarse' in (_read(name).get('model') or {})])
def test_two_stages_predict(name):
    """The composite detectors, at small scales: boxes on the image, best first, of the fine stage's classes."""
    cfg = config(name)
    for stage in (cfg.model.coarse, cfg.model.fine):
        if 'detector' in stage:
            narrow_resnet(stage.detector, name)
        stage.scale = [(64, 64)] * len(stage.scale) if isinstance(stage.scale, list) else (64, 64)
        if stage.get('detector', {}).get('type') == 'TransformersDetector':
            pytest.importorskip('transformers', reason='the extra "transformers" is not installed')
            stage.detector.model.num_queries = 40  # nearly all cells of the small inputs, and not more
    torch.manual_seed(0)
    model = build(cfg.model, 'cpu').eval()
    model.coarse.test_cfg.score_thr = model.fine.test_cfg.score_thr = 0.0
    model.coarse.test_cfg.max_per_img = 20
    sample = DetDataSample(metainfo=dict(ori_shape=(64, 64)))
    image = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)
    found = model.test_step(dict(inputs=[image], data_samples=[sample]))[0].pred_instances
    assert 0 < len(found) <= cfg.model.get('max_per_img', 500)
    boxes = found.bboxes
    assert boxes.min() >= 0 and boxes.max() <= 64 and (boxes[:, :2] <= boxes[:, 2:]).all()
    assert (found.scores[:-1] >= found.scores[1:]).all() and found.scores.min() >= 0 and found.scores.max() <= 1
    assert found.labels.min() >= 0 and found.labels.max() < model.fine.detector.bbox_head.num_classes


def test_v1_conventions_are_on():
    cfg = config('gfl_dcn_x101_ms2x.py')
    model = build(cfg.model, 'meta')
    head = MODELS.build(dict(cfg.model.bbox_head, train_cfg=cfg.model.train_cfg, test_cfg=cfg.model.test_cfg))
    assert head.legacy and head.loss_bbox.offset == 1 and head.test_cfg.nms_pre_rule == 'priors'
    assert head.prior_generator.base_anchors[0].tolist() == [[-28, -28, 35, 35]]
    assert head.prior_generator.base_anchors[4].tolist() == [[-448, -448, 575, 575]]
    box = torch.tensor([[0.0, 0.0, 9.0, 9.0]])
    other = torch.tensor([[0.0, 0.0, 4.0, 9.0]])
    assert head.assigner.iou_calculator(box, other).item() == 0.5  # 50 of 100 pixels
    assert bbox_overlaps(box, other, offset=1).item() == 0.5
    layers = [module for module in model.modules() if hasattr(module, 'modulated')]
    assert len(layers) == 30 and all(layer.modulated for layer in layers)


def test_v1_optimiser_treats_biases_apart():
    from mmengine.optim import build_optim_wrapper

    cfg = config('gfl_r50_1x.py')
    model = build(cfg.model, 'meta')
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    group_of = {id(p): group for group in optimizer.param_groups for p in group['params']}
    settings = {name: group_of[id(p)] for name, p in model.named_parameters() if id(p) in group_of}
    expected = {
        'backbone.layer2.0.conv1.weight': (0.01, 1e-4),
        'backbone.layer2.0.bn1.bias': (0.01, 1e-4),
        'backbone.layer2.0.downsample.1.bias': (0.02, 0),
        'backbone.layer2.0.downsample.1.weight': (0.01, 1e-4),
        'neck.fpn_convs.0.conv.bias': (0.02, 0),
        'bbox_head.cls_convs.0.gn.bias': (0.01, 1e-4),
        'bbox_head.gfl_cls.bias': (0.02, 0),
        'bbox_head.scales.0.scale': (0.01, 1e-4),
    }
    assert {name: (settings[name]['lr'], settings[name]['weight_decay']) for name in expected} == expected
    assert cfg.param_scheduler[0].start_factor == pytest.approx(1 / 3)
    two_x = config('gfl_r50_ms2x.py')
    assert two_x.param_scheduler == [cfg.param_scheduler[0], dict(cfg.param_scheduler[1], end=24, milestones=[16, 22])]


@pytest.mark.parametrize('name', NAMES)
def test_every_test_pipeline_ends_alike(name):
    """Ground truth in pixels of the original image, and the fields that evaluation reads; nothing is rescaled where nothing resizes."""
    loader = config(name).get('test_dataloader')
    if loader is None:
        return
    steps = list(loader.dataset.pipeline)
    assert steps[0].type == 'LoadImageFromFile' and not steps[0].get('backend_args')
    keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
    if len(steps) == 2:
        assert steps[1] == dict(type='PackDetInputs', meta_keys=keys[:4])
        return
    if steps[1].type == 'RandomCenterCropPad':  # CenterNet takes images at their own size
        assert steps[1].test_mode and steps[2] == dict(type='LoadAnnotations', with_bbox=True)
        assert steps[3:] == [dict(type='PackDetInputs', meta_keys=(*keys[:4], 'border'))]
        return
    resize, *pad, annotations, pack = steps[1:]
    grey = dict(type='Pad', pad_val=dict(img=(114, 114, 114)))
    assert pad in ([], [dict(grey, size=resize.scale)], [dict(grey, pad_to_square=True)])
    if resize.type == 'WarpResize':  # NanoDet's; without any of its random movements
        assert set(resize) == {'type', 'scale', 'fit'}
    else:
        # Published weights of SSD, and of transformers' detectors on COCO, saw squares.
        kind = (config(name).get('model') or {}).get('type')
        squares = name.startswith('ssd/') or (kind == 'TransformersDetector' and name.endswith('_coco.py'))
        assert resize == dict(type='Resize', scale=resize.scale, keep_ratio=not squares)
    assert annotations == dict(type='LoadAnnotations', with_bbox=True)
    assert pack == dict(type='PackDetInputs', meta_keys=keys)


# Epochs, first and last learning rate factors, milestones or the cosine's end, of each schedule.
SCHEDULES = {
    'gfl/gfl_r50_fpn_1x_coco.py': (12, 0.001, 500, [8, 11], 0.01),
    'gfl/gfl_r50_fpn_ms-2x_coco.py': (24, 0.001, 500, [16, 22], 0.01),
    'gfl_r50_1x.py': (12, 1 / 3, 500, [8, 11], 0.01),
    'gfl_r50_ms2x.py': (24, 1 / 3, 500, [16, 22], 0.01),
    'gfocal/gfocal_r50_fpn_ms2x.py': (24, 0.001, 500, [16, 22], 0.01),
    'maedet/maedet_s_6x_lr0.02.py': (73, 0.1, 7330, [65, 71], 0.02),
    'vit_adapter/gfl_deit_adapter_small_fpn_3x_coco.py': (36, 0.001, 500, [27, 33], 1e-4),
    'visdrone/gfl_small_visdrone.py': (6, 0.01, 100, 1e-5, 1e-3),
    'UFPMP-Det/mp_det_small.py': (6, 0.01, 100, 1e-5, 1e-3),
    'bccd/gfl_small_bccd.py': (4, 0.01, 100, 1e-5, 1e-3),
    'demo/gfl_demo.py': (9, 0.05, 50, 2e-5, 2e-3),
    'demo/coarse_det_demo.py': (6, 0.05, 50, 2e-5, 2e-3),
    'ssd/ssd300_coco.py': (24, 0.001, 500, [16, 22], 2e-3),
}


@pytest.mark.parametrize('name', SCHEDULES)
def test_schedules(name):
    """The decay ends with the training, whichever file says how long that is."""
    epochs, start_factor, warmup_end, decay, rate = SCHEDULES[name]
    cfg = config(name)
    warmup, main = cfg.param_scheduler
    assert cfg.train_cfg.max_epochs == main.end == epochs and cfg.optim_wrapper.optimizer.lr == rate
    assert warmup == dict(type='LinearLR', start_factor=start_factor, by_epoch=False, begin=0, end=warmup_end)
    if isinstance(decay, list):
        assert main == dict(type='MultiStepLR', begin=0, end=epochs, by_epoch=True, milestones=decay, gamma=0.1)
    else:
        assert (main.type, main.eta_min, main.T_max, main.begin) == ('CosineAnnealingLR', decay, epochs, 0)
        assert main.by_epoch and main.convert_to_iter_based


def test_multi_scale_ranges():
    def scale(name):
        return config(name).train_dataloader.dataset.pipeline[2].scale

    assert scale('gfocal/gfocal_r2n101_dcn_fpn_ms2x.py') == [(1333, 480), (1333, 960)]
    assert scale('gfl_dcn_x101_ms2x.py') == scale('gfl/gfl_r50_fpn_ms-2x_coco.py') == [(1333, 480), (1333, 800)]
