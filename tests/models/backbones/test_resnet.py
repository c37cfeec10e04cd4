"""Blocks, stages, freezing and initialisation of ResNet and ResNeXt."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmdet.errors import ConfigError
from mmdet.models.backbones import ResNet, ResNetV1d, ResNeXt
from mmdet.models.backbones.resnet import BasicBlock, Bottleneck
from mmdet.models.layers import ResLayer
from mmdet.ops import DeformConv2dPack, ModulatedDeformConv2dPack

DCN = dict(type='DCN', deform_groups=1, fallback_on_stride=False)


def identity_norms(module: nn.Module) -> nn.Module:
    """In eval mode, with batch norms that are the identity."""
    for norm in module.modules():
        if isinstance(norm, _BatchNorm):
            norm.eps = 0
    return module.eval()


def pass_on(conv: nn.Conv2d, factor: float) -> None:
    """Let a convolution of one channel multiply its middle pixel."""
    nn.init.zeros_(conv.weight)
    conv.weight.data[..., conv.kernel_size[0] // 2, conv.kernel_size[1] // 2] = factor


class TestBlocks:
    def test_styles(self):
        for style, strides in (('pytorch', ((1, 1), (2, 2))), ('caffe', ((2, 2), (1, 1)))):
            block = Bottleneck(64, 64, stride=2, style=style)
            assert (block.conv1.stride, block.conv2.stride) == strides
        for block in (BasicBlock, Bottleneck):
            with pytest.raises(AssertionError, match='tensorflow'):
                block(64, 64, style='tensorflow')

    @pytest.mark.parametrize('with_cp', [False, True])
    def test_basic_block_by_hand(self, with_cp):
        """Middle pixels times 2 and times 3, norms of gain 5 and 7 (and a shift): relu(7 * 3 relu(5 * 2 x - 1) + x)."""
        block = identity_norms(BasicBlock(1, 1, with_cp=with_cp))
        pass_on(block.conv1, 2), pass_on(block.conv2, 3)
        block.bn1.weight.data.fill_(5), block.bn1.bias.data.fill_(-1), block.bn2.weight.data.fill_(7)
        x = torch.tensor([1.0, 0.05, -2.0]).view(1, 1, 1, 3).requires_grad_()
        assert block(x).flatten().tolist() == pytest.approx([7 * 3 * 9 + 1, 0.05, 0])

    @pytest.mark.parametrize('with_cp', [False, True])
    @pytest.mark.parametrize(('style', 'dilation', 'groups'), [('pytorch', 1, 1), ('caffe', 1, 1), ('pytorch', 2, 4)])
    def test_bottleneck_by_its_formula(self, style, dilation, groups, with_cp):
        torch.manual_seed(0)
        shortcut = nn.Conv2d(8, 32, 1, stride=2, bias=False)
        block = Bottleneck(
            8, 8, 2, dilation, shortcut, style, with_cp, groups=groups, base_width=2, base_channels=4
        ).eval()  # fmt: skip
        w, x = dict(block.named_parameters()), torch.randn(2, 8, 7, 6, requires_grad=True)
        width = 8 if groups == 1 else 8 * 2 // 4 * 4
        assert w['conv2.weight'].shape == (width, width // groups, 3, 3)
        for name in ('bn1', 'bn2', 'bn3'):
            getattr(block, name).running_mean.uniform_(-0.5, 0.5)
        first, second = (1, 2) if style == 'pytorch' else (2, 1)
        y = F.relu(block.bn1(F.conv2d(x, w['conv1.weight'], stride=first)))
        y = F.relu(block.bn2(F.conv2d(y, w['conv2.weight'], None, second, dilation, dilation, groups)))
        y = block.bn3(F.conv2d(y, w['conv3.weight']))
        torch.testing.assert_close(block(x), F.relu(y + shortcut(x)))

    def test_basic_block_s_stride_and_dilation(self):
        block = BasicBlock(2, 3, stride=2, dilation=2)
        assert (block.conv1.stride, block.conv1.dilation, block.conv1.padding) == ((2, 2), (2, 2), (2, 2))
        assert (block.conv2.stride, block.conv2.dilation, block.conv2.padding) == ((1, 1), (1, 1), (1, 1))
        assert block.conv1.bias is None and block.conv2.bias is None

    def test_zero_norm_gives_way_to_an_own_init_cfg(self):
        own = dict(type='Constant', layer='Conv2d', val=1)
        for kind, last in ((BasicBlock, 'bn2'), (Bottleneck, 'bn3')):
            assert kind(4, 4, zero_init_norm=True, init_cfg=own).init_cfg == own
            block = kind(4, 4, zero_init_norm=True, downsample=nn.Identity())
            assert block.init_cfg == dict(type='Constant', val=0, override=dict(name=last)) and not kind(4, 4).init_cfg

    def test_recomputed_gradients_are_the_same(self):
        torch.manual_seed(0)
        block = Bottleneck(16, 4).eval()
        x = torch.randn(1, 16, 5, 5, requires_grad=True)
        gradients = []
        for block.with_cp in (False, True):
            gradients.append(torch.autograd.grad(block(x).square().sum(), [x, block.conv2.weight]))
        torch.testing.assert_close(*gradients, rtol=0, atol=0)

    @pytest.mark.parametrize(
        ('with_cp', 'requires_grad', 'calls'), [(True, True, 2), (True, False, 1), (False, True, 1)]
    )
    def test_block_is_recomputed_where_asked_for(self, with_cp, requires_grad, calls):
        block, seen = Bottleneck(4, 1, with_cp=with_cp), []
        block.conv1.register_forward_hook(lambda *_: seen.append(1))
        block(torch.randn(2, 4, 3, 3, requires_grad=requires_grad)).sum().backward()
        assert len(seen) == calls

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
        context = dict(cfg=dict(type='ContextBlock', ratio=1 / 4), position='after_conv3')
        for wrong in (dict(context, position='after_conv4'), dict(cfg=context['cfg'])):
            with pytest.raises(AssertionError, match='position'):
                Bottleneck(64, 16, plugins=[wrong])
        with pytest.raises(AssertionError, match='position'):
            BasicBlock(64, 64, plugins=[context])
        with pytest.raises(AssertionError, match='postfix'):
            Bottleneck(64, 16, plugins=[context, context])
        with pytest.raises(ConfigError, match='NoSuchConv'):
            Bottleneck(64, 16, conv_cfg=dict(type='NoSuchConv'))

    def test_plugins_lie_behind_their_convolutions(self):
        attention = dict(type='GeneralizedAttention', spatial_range=-1, num_heads=2, attention_type='0011', kv_stride=2)
        block = Bottleneck(64, 16, plugins=[
            dict(cfg=dict(type='ContextBlock', ratio=1 / 4), position='after_conv3'),
            dict(cfg=dict(type='NonLocal2d'), position='after_conv2'),
            dict(cfg=attention, position='after_conv1'),
            dict(cfg=dict(type='ContextBlock', ratio=1 / 4, postfix='_second'), position='after_conv1'),
        ])  # fmt: skip
        assert block.plugin_names == [
            ['gen_attention_block', 'context_block_second'],
            ['nonlocal_block'],
            ['context_block'],
        ]
        assert (block.context_block.in_channels, block.nonlocal_block.in_channels) == (64, 16)

        class Doubled(nn.Module):
            def forward(self, x):
                return 2 * x

        block = identity_norms(
            Bottleneck(64, 16, plugins=[dict(cfg=dict(type='ContextBlock', ratio=1), position='after_conv3')])
        )
        plain = identity_norms(Bottleneck(64, 16))
        plain.load_state_dict({name: value for name, value in block.state_dict().items() if 'context' not in name})
        x = torch.rand(1, 64, 4, 4)
        block.context_block = Doubled()
        torch.testing.assert_close(block(x), F.relu(2 * plain._residual(x) + x))


class TestResLayer:
    def test_plain(self):
        layer = ResLayer(Bottleneck, 64, 16, 3)
        assert layer.block is Bottleneck
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
        # The last row and column stand alone: averages of what is there, not of padding.
        assert pool(torch.arange(9.0).view(1, 1, 3, 3)).flatten().tolist() == [2, 3.5, 6.5, 8]

    def test_arguments_reach_the_right_blocks(self):
        layer = ResLayer(
            Bottleneck, 8, 4, 3, stride=2, dilation=2, style='caffe', norm_cfg=dict(type='GN', num_groups=2),
            first_block_kwargs=dict(with_cp=True),
        )  # fmt: skip
        assert [block.with_cp for block in layer] == [True, False, False]
        assert [block.conv1.stride for block in layer] == [(2, 2), (1, 1), (1, 1)]
        assert all(block.conv2.dilation == (2, 2) and block.style == 'caffe' for block in layer)
        assert [block.conv1.in_channels for block in layer] == [8, 16, 16]
        assert type(layer[0].downsample[1]) is type(layer[2].gn3) is nn.GroupNorm

    @pytest.mark.parametrize(('inplanes', 'stride', 'has_shortcut'), [(16, 1, False), (8, 1, True), (16, 2, True)])
    def test_projection_where_stride_or_width_change(self, inplanes, stride, has_shortcut):
        layer = ResLayer(Bottleneck, inplanes, 4, 2, stride=stride)
        assert [block.downsample is not None for block in layer] == [has_shortcut, False]


class TestResNet:
    @pytest.mark.parametrize(
        'kwargs, error',
        [
            (dict(depth=20), KeyError),
            (dict(depth=50, num_stages=0), AssertionError),
            (dict(depth=50, num_stages=5), AssertionError),
            (dict(depth=50, out_indices=(0, 4)), AssertionError),
            (dict(depth=50, dcn=DCN, stage_with_dcn=(True,)), AssertionError),
            (dict(depth=50, strides=(1,), dilations=(1, 1), num_stages=3), AssertionError),
            (dict(depth=50, num_stages=2, strides=(1, 2), dilations=(1, 1), out_indices=(3,)), AssertionError),
            (dict(depth=50, style='tensorflow'), AssertionError),
            (dict(depth=50, pretrained=0), TypeError),
            (dict(depth=50, pretrained='torchvision://resnet50', init_cfg=dict(type='Kaiming')), AssertionError),
            (dict(depth=50, plugins=[dict()]), AssertionError),
            (
                dict(depth=50, plugins=[dict(cfg=dict(type='NonLocal2d'), position='after_conv2', stages=(True,))]),
                AssertionError,
            ),
        ],
    )
    def test_wrong_arguments(self, kwargs, error):
        with pytest.raises(error):
            ResNet(**kwargs)

    def test_stages_with_plugins(self):
        context = dict(
            cfg=dict(type='ContextBlock', ratio=1 / 4), position='after_conv3', stages=(False, True, False, True)
        )
        model = ResNet(50, base_channels=4, plugins=[context]).eval()
        with_plugin = {name.split('.')[0] for name in model.state_dict() if 'context_block' in name}
        assert with_plugin == {'layer2', 'layer4'} and context['stages'] == (False, True, False, True)
        assert model.layer2[0].context_block.in_channels == 32
        assert [out.shape[1] for out in model(torch.rand(1, 3, 32, 32))] == [16, 32, 64, 128]

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
        assert model.feat_dim == 64 and not hasattr(model, 'layer4')
        assert model.conv1.weight.shape == (8, 1, 7, 7)
        assert [len(getattr(model, f'layer{i}')) for i in (1, 2, 3)] == [3, 4, 6]
        assert [block.conv1.stride[0] for block in (model.layer1[0], model.layer2[0], model.layer3[0])] == [1, 2, 1]
        assert [block.conv1.dilation[0] for block in (model.layer2[1], model.layer3[0], model.layer3[5])] == [1, 2, 2]

    @pytest.mark.parametrize(
        ('depth', 'blocks', 'channels'),
        [
            (18, [2, 2, 2, 2], 512),
            (34, [3, 4, 6, 3], 512),
            (50, [3, 4, 6, 3], 2048),
            (101, [3, 4, 23, 3], 2048),
            (152, [3, 8, 36, 3], 2048),
        ],
    )
    def test_depths(self, depth, blocks, channels):
        with torch.device('meta'):
            model = ResNet(depth)
        assert [len(getattr(model, name)) for name in model.res_layers] == blocks
        assert model.feat_dim == channels and (model.depth, model.out_indices) == (depth, (0, 1, 2, 3))

    def test_style_and_deformable_stages(self):
        with torch.device('meta'):
            model = ResNet(50, style='caffe', with_cp=True, dcn=DCN, stage_with_dcn=(False, True, False, True))
        assert all(layer[0].conv1.stride == (2, 2) for layer in (model.layer2, model.layer3, model.layer4))
        stages = [getattr(model, name) for name in model.res_layers]
        assert all(block.with_cp for stage in stages for block in stage)
        assert [{block.with_dcn for block in stage} for stage in stages] == [{False}, {True}, {False}, {True}]

    def test_chosen_outputs_are_those_of_their_stages(self):
        torch.manual_seed(0)
        complete, x = ResNet(18, base_channels=8).eval(), torch.randn(1, 3, 33, 47)
        chosen = ResNet(18, base_channels=8, out_indices=(3, 1)).eval()
        chosen.load_state_dict(complete.state_dict())
        for found, expected in zip(chosen(x), complete(x)[1::2], strict=True):
            assert torch.equal(found, expected)

    @pytest.mark.parametrize('avg_down', [False, True])
    def test_deep_stem_and_pooled_shortcuts(self, avg_down):
        model = ResNet(18, stem_channels=8, base_channels=4, deep_stem=True, avg_down=avg_down)
        convs, kinds = model.stem[::3], [type(part) for part in model.stem]
        assert kinds == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU] * 3
        assert [tuple(conv.weight.shape) for conv in convs] == [(4, 3, 3, 3), (4, 4, 3, 3), (8, 4, 3, 3)]
        assert [conv.stride for conv in convs] == [(2, 2), (1, 1), (1, 1)]
        assert isinstance(model.layer2[0].downsample[0], nn.AvgPool2d) == avg_down

    def test_group_norm_names(self):
        model = ResNet(18, norm_cfg=dict(type='GN', num_groups=4, requires_grad=True))
        assert 'gn1.weight' in model.state_dict() and 'layer1.0.gn2.weight' in model.state_dict()

    def test_norm_eval(self):
        model = ResNet(50, norm_eval=True).train()
        assert model.training
        assert not any(module.training for module in model.modules() if isinstance(module, _BatchNorm))
        model = ResNet(18, norm_eval=False).train()
        assert all(module.training for module in model.modules() if isinstance(module, _BatchNorm))
        assert not any(module.training for module in model.train(False).modules())

    @pytest.mark.parametrize('deep_stem', [False, True])
    def test_frozen_stages(self, deep_stem):
        model = ResNet(18, frozen_stages=1, norm_eval=False, deep_stem=deep_stem).train()
        frozen = [model.stem] if deep_stem else [model.conv1, model.norm1]
        for module in [*frozen, model.layer1]:
            assert not any(part.training for part in module.modules())
            assert not any(parameter.requires_grad for parameter in module.parameters())
        assert all(parameter.requires_grad for parameter in model.layer2.parameters())
        assert model.layer2[0].norm1.training

    @pytest.mark.parametrize(('frozen_stages', 'expected'), [(-1, ''), (0, 'stem'), (1, 'stem 1'), (3, 'stem 1 2 3')])
    def test_number_of_frozen_stages(self, frozen_stages, expected):
        model = ResNet(18, frozen_stages=frozen_stages, norm_eval=False).train()
        parts = dict(stem=model.bn1) | {str(i): getattr(model, f'layer{i}') for i in (1, 2, 3, 4)}
        frozen = [name for name, part in parts.items() if not any(p.requires_grad for p in part.parameters())]
        assert frozen == [name for name, part in parts.items() if not part.training] == expected.split()
        assert model.conv1.weight.requires_grad == (frozen_stages < 0)

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
        # Given weights are not overwritten with zeros.
        for given in (dict(init_cfg=dict(type='Kaiming', layer='Conv2d')), dict(pretrained='somewhere.pth')):
            assert not any(block.init_cfg for block in ResNet(18, **given).layer1)

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
    assert len(model.stem) == 9 and model.stem[0].weight.shape == (32, 3, 3, 3)
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
