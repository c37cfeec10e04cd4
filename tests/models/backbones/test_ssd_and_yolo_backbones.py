import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from mmdet.errors import ArgumentError, ConfigError
from mmdet.models.backbones import SSDVGG, Darknet


@pytest.fixture
def shallow(monkeypatch):
    monkeypatch.setitem(Darknet.arch_settings, 1, ((1, 2), ((32, 8), (8, 16))))


@pytest.mark.parametrize(
    ('options', 'shapes'),
    [
        (dict(depth=16), [(512, 9, 13), (1024, 5, 7)]),  # sizes of pooled maps are rounded up
        (dict(depth=16, ceil_mode=False), [(512, 8, 12), (1024, 4, 6)]),
        (dict(depth=11, with_last_pool=True, out_feature_indices=(25,)), [(1024, 3, 4)]),
    ],
)
def test_maps_of_vgg(options, shapes):
    with torch.device('meta'):
        outs = SSDVGG(**options)(torch.zeros(1, 3, 71, 97))
    assert [tuple(out.shape[1:]) for out in outs] == shapes


def test_vgg_refuses():
    with torch.device('meta'):
        with pytest.raises(KeyError, match='12'):
            SSDVGG(12)
        with pytest.raises(ArgumentError, match='out_feature_indices'):
            SSDVGG(16, out_feature_indices=(22, 35))
        with pytest.raises(ArgumentError, match='pretrained'):
            SSDVGG(16, pretrained='vgg.pth', init_cfg=dict(type='Xavier'))


def test_maps_of_darknet():
    with torch.device('meta'):
        outs = Darknet(out_indices=range(6))(torch.zeros(1, 3, 64, 96))
    widths = (32, 64, 128, 256, 512, 1024)
    assert [tuple(out.shape[1:]) for out in outs] == [(c, 64 >> i, 96 >> i) for i, c in enumerate(widths)]


@pytest.mark.parametrize(('stages', 'frozen'), [(-1, set()), (0, set()), (2, {'conv1', 'conv_res_block1'})])
def test_freezing_and_norms_of_darknet(shallow, stages, frozen):
    backbone = Darknet(1, out_indices=(2,), frozen_stages=stages)
    assert backbone.train() is backbone
    assert {name.split('.')[0] for name, p in backbone.named_parameters() if not p.requires_grad} == frozen
    norms = [module for module in backbone.modules() if isinstance(module, _BatchNorm)]
    assert backbone.training and not any(norm.training for norm in norms)
    assert all(m.training for m in Darknet(1, out_indices=(2,), norm_eval=False).train().modules())


def test_darknet_refuses(shallow):
    with pytest.raises(KeyError, match='52'):
        Darknet(52)
    for options, error, field in (
        (dict(out_indices=(3,)), ArgumentError, 'out_indices'),
        (dict(frozen_stages=4, out_indices=(2,)), ConfigError, 'frozen_stages'),
        (dict(pretrained='darknet.pth', init_cfg=dict(type='Xavier')), ArgumentError, 'pretrained'),
    ):
        with pytest.raises(error, match=field):
            Darknet(1, **options)
