"""Blocks, stages, freezing and initialisation of ResNet and ResNeXt."""

import pytest
import torch
from mmengine.model import BaseModule
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmdet.errors import ConfigError
from mmdet.models.backbones import ResNet, ResNetV1d, ResNeXt
from mmdet.models.backbones.resnet import BasicBlock, Bottleneck
from mmdet.models.layers import ResLayer
from mmdet.ops import DeformConv2dPack, ModulatedDeformConv2dPack

DCN = dict(type='DCN', deform_groups=1, fallback_on_stride=False)


class TestBlocks:
    def test_styles(self):
        for style, strides in (('pytorch', ((1, 1), (2, 2))), ('caffe', ((2, 2), (1, 1)))):
            block = Bottleneck(64, 64, stride=2, style=style)
            assert (block.conv1.stride, block.conv2.stride) == strides
        for block in (BasicBlock, Bottleneck):
            with pytest.raises(AssertionError, match='tensorflow'):
                block(64, 64, style='tensorflow')

    @pytest.mark.parametrize('with_cp', [False, True])
    def test_forward(self, with_cp):
        x = torch.randn(1, 64, 14, 14, requires_grad=True)
        assert BasicBlock(64, 64, with_cp=with_cp)(x).shape == x.shape
        assert Bottleneck(64, 16, with_cp=with_cp)(x).shape == x.shape

    def test_recomputed_gradients_are_the_same(self):
        torch.manual_seed(0)
        block = Bottleneck(16, 4).eval()
        x = torch.randn(1, 16, 5, 5, requires_grad=True)
        gradients = []
        for block.with_cp in (False, True):
            gradients.append(torch.autograd.grad(block(x).square().sum(), [x, block.conv2.weight]))
        torch.testing.assert_close(*gradients, rtol=0, atol=0)

    def test_deformable(self):
        assert type(Bottleneck(64, 16, dcn=DCN).conv2) is DeformConv2dPack
        assert type(Bottleneck(64, 16, dcn=dict(DCN, type='DCNv2')).conv2) is ModulatedDeformConv2dPack
        assert type(Bottleneck(64, 16, dcn=dict(DCN, fallback_on_stride=True)).conv2) is nn.Conv2d
        assert Bottleneck(64, 16, dcn=DCN, groups=2).conv2.groups == 2
        with pytest.raises(AssertionError, match='conv_cfg'):
            Bottleneck(64, 64, dcn=DCN, conv_cfg=dict(type='Conv2d'))
        with pytest.raises(AssertionError):
            BasicBlock(64, 64, dcn=DCN)

    def test_groups_width(self):
        block = Bottleneck(256, 128, groups=32, base_width=4)
        assert block.conv2.weight.shape == (256, 8, 3, 3)

    def test_plugins_and_unknown_convolutions(self):
        with pytest.raises(ConfigError, match='plugins'):
            Bottleneck(64, 16, plugins=[dict(cfg=dict(type='ContextBlock'))])
        with pytest.raises(ConfigError, match='NoSuchConv'):
            Bottleneck(64, 16, conv_cfg=dict(type='NoSuchConv'))


class TestResLayer:
    def test_plain(self):
        layer = ResLayer(Bottleneck, 64, 16, 3)
        assert len(layer) == 3
        assert all(block.downsample is None for block in layer)
        assert layer(torch.randn(1, 64, 8, 8)).shape == (1, 64, 8, 8)

    def test_strided(self):
        layer = ResLayer(Bottleneck, 64, 64, 2, stride=2)
        assert [type(part) for part in layer[0].downsample] == [nn.Conv2d, nn.BatchNorm2d]
        assert layer[0].downsample[0].stride == (2, 2)
        assert layer[1].downsample is None
        assert layer(torch.randn(1, 64, 7, 7)).shape == (1, 256, 4, 4)

    def test_average_pooling(self):
        layer = ResLayer(Bottleneck, 64, 64, 2, stride=2, avg_down=True)
        pool, conv, _ = layer[0].downsample
        assert isinstance(pool, nn.AvgPool2d) and pool.kernel_size == pool.stride == 2
        assert conv.stride == (1, 1)
        assert layer(torch.randn(1, 64, 7, 7)).shape == (1, 256, 4, 4)


class TestResNet:
    @pytest.mark.parametrize(
        'kwargs, error',
        [
            (dict(depth=20), KeyError),
            (dict(depth=50, num_stages=0), AssertionError),
            (dict(depth=50, num_stages=5), AssertionError),
            (dict(depth=50, dcn=DCN, stage_with_dcn=(True,)), AssertionError),
            (dict(depth=50, strides=(1,), dilations=(1, 1), num_stages=3), AssertionError),
            (dict(depth=50, num_stages=2, strides=(1, 2), dilations=(1, 1), out_indices=(3,)), AssertionError),
            (dict(depth=50, style='tensorflow'), AssertionError),
            (dict(depth=50, pretrained=0), TypeError),
            (dict(depth=50, pretrained='torchvision://resnet50', init_cfg=dict(type='Kaiming')), AssertionError),
            (dict(depth=50, plugins=[dict()]), ConfigError),
        ],
    )
    def test_wrong_arguments(self, kwargs, error):
        with pytest.raises(error):
            ResNet(**kwargs)

    def test_outputs(self):
        outs = ResNet(18).train()(torch.randn(1, 3, 32, 32))
        assert [tuple(out.shape) for out in outs] == [(1, 64, 8, 8), (1, 128, 4, 4), (1, 256, 2, 2), (1, 512, 1, 1)]
        outs = ResNet(18, out_indices=(1, 3)).train()(torch.randn(1, 3, 33, 47))
        assert [tuple(out.shape) for out in outs] == [(1, 128, 5, 6), (1, 512, 2, 2)]

    def test_fewer_stages_widths_and_dilation(self):
        model = ResNet(
            34,
            in_channels=1,
            stem_channels=8,
            base_channels=16,
            num_stages=3,
            strides=(1, 2, 1),
            dilations=(1, 1, 2),
            out_indices=(2,),
        )
        (out,) = model(torch.randn(1, 1, 32, 32))
        assert out.shape == (1, 64, 4, 4)
        assert model.feat_dim == 64

    def test_group_norm_names(self):
        model = ResNet(18, norm_cfg=dict(type='GN', num_groups=4, requires_grad=True))
        assert 'gn1.weight' in model.state_dict() and 'layer1.0.gn2.weight' in model.state_dict()

    def test_norm_eval(self):
        model = ResNet(50, norm_eval=True).train()
        assert model.training
        assert not any(module.training for module in model.modules() if isinstance(module, _BatchNorm))
        model = ResNet(18, norm_eval=False).train()
        assert all(module.training for module in model.modules() if isinstance(module, _BatchNorm))

    @pytest.mark.parametrize('deep_stem', [False, True])
    def test_frozen_stages(self, deep_stem):
        model = ResNet(18, frozen_stages=1, norm_eval=False, deep_stem=deep_stem).train()
        frozen = [model.stem] if deep_stem else [model.conv1, model.norm1]
        for module in [*frozen, model.layer1]:
            assert not any(part.training for part in module.modules())
            assert not any(parameter.requires_grad for parameter in module.parameters())
        assert all(parameter.requires_grad for parameter in model.layer2.parameters())
        assert model.layer2[0].norm1.training
        assert all(parameter.requires_grad for parameter in ResNet(18).parameters())

    def test_gradients_reach_every_trainable_parameter(self):
        model = ResNet(18, frozen_stages=1).train()
        sum(out.mean() for out in model(torch.randn(2, 3, 64, 64))).backward()
        assert all((p.grad is not None) == p.requires_grad for p in model.parameters())

    def test_default_initialisation(self):
        model = ResNet(50, dcn=dict(DCN, type='DCNv2'), stage_with_dcn=(False, False, False, True))
        model.init_weights()
        fan_out = model.layer2[0].conv2.weight.shape[0] * 9
        assert model.layer2[0].conv2.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.02)
        for block in (*model.layer1, *model.layer4):
            assert (block.norm2.weight == 1).all() and (block.norm3.weight == 0).all()
        for block in model.layer4:
            assert (block.conv2.conv_offset.weight == 0).all() and (block.conv2.conv_offset.bias == 0).all()

    def test_initialisation_without_zero_norms(self):
        model = ResNet(18, zero_init_residual=False)
        model.init_weights()
        assert all((block.norm2.weight == 1).all() for block in model.layer1)

    @pytest.mark.parametrize('key', ['pretrained', 'init_cfg'])
    def test_pretrained(self, key, tmp_path):
        state = ResNet(18).state_dict()
        state['fc.weight'] = torch.zeros(1000, 512)  # a classifier's: ignored
        path = str(tmp_path / 'resnet18.pth')
        torch.save(state, path)
        model = ResNet(18, **{key: path if key == 'pretrained' else dict(type='Pretrained', checkpoint=path)})
        model.init_weights()
        for name, value in model.state_dict().items():
            assert torch.equal(value, state[name])

    def test_compile_and_channels_last(self):
        model = ResNet(18).eval()
        x = torch.randn(1, 3, 32, 32)
        with torch.no_grad():
            expected = model(x)
            compiled = torch.compile(model, backend='eager', fullgraph=True)(x)
            last = model.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
        for a, b, c in zip(expected, compiled, last):
            torch.testing.assert_close(a, b)
            torch.testing.assert_close(a, c, rtol=1e-4, atol=1e-4)
        assert last[0].is_contiguous(memory_format=torch.channels_last)

    def test_is_a_base_module(self):
        assert isinstance(ResNet(18), BaseModule)


def test_v1d():
    model = ResNetV1d(depth=18).train()
    assert len(model.stem) == 9
    assert [tuple(out.shape)[1:] for out in model(torch.randn(1, 3, 32, 32))][-1] == (512, 1, 1)
    # the shortcut's pooling takes index 0
    assert isinstance(model.layer2[0].downsample[0], nn.AvgPool2d)


class TestResNeXt:
    def test_depth(self):
        with pytest.raises(KeyError):
            ResNeXt(depth=18)

    def test_widths(self):
        model = ResNeXt(depth=50, groups=32, base_width=4).train()
        shapes = [
            tuple(layer[0].conv2.weight.shape) for layer in (model.layer1, model.layer2, model.layer3, model.layer4)
        ]
        assert shapes == [(128, 4, 3, 3), (256, 8, 3, 3), (512, 16, 3, 3), (1024, 32, 3, 3)]
        outs = model(torch.randn(1, 3, 32, 32))
        assert [tuple(out.shape)[1:] for out in outs] == [(256, 8, 8), (512, 4, 4), (1024, 2, 2), (2048, 1, 1)]

    def test_64x4d(self):
        with torch.device('meta'):
            model = ResNeXt(depth=101, groups=64, base_width=4)
        assert model.layer1[0].conv2.weight.shape == (256, 4, 3, 3)
