"""Searched backbones under detectors: channels reach the neck, MAE-DET's configs."""

import json

import pytest
import torch
from mmengine.config import Config

from mmdet.errors import ConfigError
from mmdet.registry import MODELS
from tests.models.backbones.test_tinynas import small
from tests.models.detectors.test_single_stage import batch


@pytest.fixture
def cfg(repository):
    cfg = Config.fromfile(repository / 'configs/_base_/models/gfl_small_fpn.py').model
    cfg.bbox_head.num_classes = 4
    return cfg


class TestChannelsOfTheNeck:
    @pytest.mark.parametrize('given', [None, 'auto', [32, 64, 128, 256], [8, 16, 24, 32]])
    def test_searched_structure_in_one_line(self, cfg, given, tmp_path):
        file = tmp_path / 'best_structure.json'
        file.write_text(json.dumps(dict(best_structures=[small()])))
        cfg.backbone = dict(type='TinyNASBackbone', structure=str(file))
        cfg.neck.in_channels = given
        if given is None:
            del cfg.neck['in_channels']
        before = cfg.copy()
        model = MODELS.build(cfg)
        assert model.neck.in_channels == [8, 16, 24, 32]
        assert cfg == before
        data = model.data_preprocessor(batch((64, 64), (64, 96)), training=True)
        losses = model.loss(**{'batch_inputs': data['inputs'], 'batch_data_samples': data['data_samples']})
        total = sum(value for values in losses.values() for value in values)
        total.backward()
        assert torch.isfinite(total)

    def test_unknown_channels(self, cfg):
        cfg.neck.in_channels = 'auto'
        with pytest.raises(ConfigError, match=r"neck\.in_channels: .*ResNet.*Received: 'auto'"):
            MODELS.build(cfg)

    def test_leftovers_of_another_backbone(self, cfg):
        cfg.backbone.merge(dict(type='TinyNASBackbone', structure=small()))
        with pytest.raises(ConfigError, match='_delete_=True'):
            MODELS.build(cfg)


@pytest.mark.parametrize(
    'size, channels, width, parameters',
    [
        ('s', [48, 272, 1024, 2048], 192, 21_233_120),
        ('m', [120, 512, 1632, 2048], 256, 25_843_536),
        ('l', [144, 608, 1912, 2400], 256, 43_879_552),
    ],
)
def test_maedet(repository, size, channels, width, parameters):
    cfg = Config.fromfile(repository / f'configs/maedet/maedet_{size}_6x_lr0.02.py')
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    assert sum(parameter.numel() for parameter in model.backbone.parameters()) == parameters
    assert model.backbone.out_channels == model.neck.in_channels == channels
    assert any(isinstance(module, torch.nn.SyncBatchNorm) for module in model.backbone.modules())
    head = model.bbox_head
    assert type(head).__name__ == 'GFocalHead'
    assert (model.neck.out_channels, head.in_channels, head.feat_channels) == (width, width, width)
    assert (len(head.cls_convs), head.reg_max, head.reg_topk) == (4, 16, 4)
    assert cfg.optim_wrapper.optimizer == dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0001)
    warm_up, steps = cfg.param_scheduler
    assert (warm_up.start_factor, warm_up.end) == (0.1, 7330)
    assert (cfg.train_cfg.max_epochs, steps.milestones) == (73, [65, 71])
    resize = next(step for step in cfg.train_dataloader.dataset.pipeline if step['type'] == 'RandomResize')
    assert resize['scale'] == [(1333, 480), (1333, 960)]


def test_maedet_learns_on_the_cpu(repository):
    torch.manual_seed(0)
    cfg = Config.fromfile(repository / 'configs/maedet/maedet_s_6x_lr0.02.py')
    model = MODELS.build(cfg.model).train()
    model.init_weights()
    data = model.data_preprocessor(batch((64, 64), (64, 64)), training=True)
    losses = model(**data, mode='loss')
    sum(value for values in losses.values() for value in values).backward()
    gradient = model.backbone.block_list[0].conv1.weight.grad
    assert torch.isfinite(gradient).all() and gradient.abs().max() > 0
    model.eval()
    assert len(model(**data, mode='predict')) == 2
