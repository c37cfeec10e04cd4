"""MAE-DET-S under both stages of UFPMP-Det, and the demo's detector on a searched backbone."""

import json

import pytest
import torch

from mmdet.apis import inference_detector, init_detector
from mmdet.apis.ufpmp import stage_scales
from mmdet.engine.checkpoint.converting import join_checkpoints
from mmdet.models.backbones import TinyNASBackbone
from mmdet.registry import MODELS
from mmdet.utils import load_config

CHANNELS = [48, 272, 1024, 2048]
BACKBONE_PARAMETERS = 21_233_120


@pytest.fixture(scope='module')
def config(repository):
    return lambda name: load_config(repository / f'configs/{name}.py')


@pytest.mark.parametrize(
    ('name', 'original', 'head'),
    [
        ('coarse_maedet_s', 'coarse_det', 'GFocalHead'),
        ('mp_det_maedet_s', 'mp_det_res50', 'MPHead'),
    ],
)
def test_a_stage_differs_in_its_network_only(config, name, original, head):
    cfg, before = config(f'maedet/{name}'), config(f'UFPMP-Det/{original}')
    for key in (
        'train_dataloader',
        'val_dataloader',
        'test_dataloader',
        'optim_wrapper',
        'param_scheduler',
        'train_cfg',
    ):
        assert cfg[key] == before[key]
    assert cfg.get('default_hooks') == before.get('default_hooks')
    assert cfg.model.test_cfg == before.model.test_cfg and cfg.model.train_cfg == before.model.train_cfg
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    assert type(model.bbox_head).__name__ == head and model.bbox_head.num_classes == 10
    assert isinstance(model.backbone, TinyNASBackbone) and model.neck.in_channels == CHANNELS
    assert sum(p.numel() for p in model.backbone.parameters()) == BACKBONE_PARAMETERS
    assert all(p.requires_grad for p in model.parameters())  # from scratch: nothing is frozen
    assert {model.neck.out_channels, model.bbox_head.in_channels, model.bbox_head.feat_channels} == {192}
    published = config('maedet/maedet_s_6x_lr0.02').model
    assert cfg.model.backbone == published.backbone
    if head == 'GFocalHead':
        assert dict(cfg.model.bbox_head, num_classes=80) == published.bbox_head and cfg.model.neck == published.neck


def test_both_stages_are_the_models_that_are_trained(config):
    both = config('maedet/ufpmp_maedet_s')
    for stage, name in ((both.model.coarse, 'coarse_maedet_s'), (both.model.fine, 'mp_det_maedet_s')):
        single = config(f'maedet/{name}')
        detector = {key: value for key, value in stage.detector.items() if key != 'init_cfg'}
        assert detector == {key: value for key, value in single.model.items() if key != 'train_cfg'}, name
        assert [stage.scale] == stage_scales(single) and stage.flip
        checkpoint = f'work_dirs/{name}/epoch_{single.train_cfg.max_epochs}.pth'
        assert stage.detector.init_cfg.checkpoint == checkpoint


def test_joined_checkpoint_predicts_on_an_image(config, tmp_path):
    """As a user does: two trainings' checkpoints, joined, loaded, one image."""
    torch.manual_seed(0)
    paths = []
    for name in ('coarse_maedet_s', 'mp_det_maedet_s'):
        cfg = config(f'maedet/{name}')
        model = MODELS.build(cfg.model)
        paths.append(tmp_path / f'{name}.pth')
        meta = dict(dataset_meta=dict(classes=cfg.metainfo.classes), cfg=cfg.pretty_text)
        torch.save(dict(state_dict=model.state_dict(), meta=meta), paths[-1])
    join_checkpoints(*paths, tmp_path / 'joined.pth')
    cfg = config('maedet/ufpmp_maedet_s')
    cfg.model.coarse.scale = cfg.model.fine.scale = (96, 64)
    for stage in (cfg.model.coarse, cfg.model.fine):
        stage.detector.test_cfg.score_thr = 0.0
    cfg.model.coarse.detector.test_cfg.max_per_img = 10
    model = init_detector(cfg, str(tmp_path / 'joined.pth'), device='cpu')
    assert [type(stage.detector.bbox_head).__name__ for stage in (model.coarse, model.fine)] == ['GFocalHead', 'MPHead']
    image = torch.randint(0, 256, (90, 120, 3), dtype=torch.uint8).numpy()
    found = inference_detector(model, image).pred_instances
    assert len(found) > 0 and torch.isfinite(found.bboxes).all()
    assert found.bboxes.min() >= 0 and found.bboxes[:, 2].max() <= 120 and found.bboxes[:, 3].max() <= 90
    assert found.labels.max() < 10 and model.dataset_meta['classes'] == cfg.metainfo.classes


def test_demo_takes_the_searched_structure(config, tmp_path, monkeypatch):
    """One line of a config; the channels reach the neck; everything else is the demo's."""
    cfg, demo = config('demo/gfl_tinynas_demo'), config('demo/gfl_demo')
    assert cfg.model.backbone == dict(type='TinyNASBackbone', structure='work_dirs/demo_drone/best_structure.json')
    different = {key for key in cfg if cfg[key] != demo[key]}
    assert different == {'model'} and {k for k in cfg.model if cfg.model[k] != demo.model[k]} == {'backbone', 'neck'}
    search = config('tinynas/detection/demo_drone')
    file = tmp_path / cfg.model.backbone.structure
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(dict(structures=[dict(name='best', blocks=search.structure)])))
    monkeypatch.chdir(tmp_path)
    assert MODELS.build(cfg.model).neck.in_channels == [24, 48, 96, 192]


def test_budget_of_the_demo_is_its_resnet(config):
    """FLOPs as the search counts them: multiply-adds, 2 an output value for batch norm, 1 for the activation."""
    from torch import nn

    backbone = MODELS.build(config('demo/gfl_demo').model.backbone)
    search = config('tinynas/detection/demo_drone')
    counted = []

    def count(module, inputs, output):
        counted.append((module.weight.numel() + 3 * module.out_channels) * output.shape[2] * output.shape[3])

    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    with torch.no_grad():
        backbone(torch.zeros(1, 3, *search.image_size))
    budgets = {budget.type: budget.budget for budget in search.budgets}
    assert budgets['flops'] == pytest.approx(sum(counted), rel=3e-4) and budgets['flops'] <= sum(counted)
    assert budgets['model_size'] == sum(p.numel() for p in backbone.parameters())
