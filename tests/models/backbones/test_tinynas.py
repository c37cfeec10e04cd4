"""Networks from structures: every family, stages, options, errors, reference outputs."""

import copy
import gzip
import json

import pytest
import torch
from mmengine.config import ConfigDict
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmdet.archs.blocks import Conv
from mmdet.errors import ConfigError
from mmdet.models.backbones import DAMOYOLOBackbone, TinyNAS3DBackbone, TinyNASBackbone
from mmdet.models.layers.lsq import LSQConv2d, LSQQuantizer
from mmdet.models.layers.tinynas_blocks import ConvBN, SqueezeExcite
from mmdet.models.layers.tinynas_damo import PlainAndPointwise, SpaceToDepth, SpatialPyramid
from mmdet.registry import MODELS
from tests.reference_fill import fill_state_dict, image, statistics

FAMILIES = [
    'SuperResK1KXK1',
    'SuperResK1KX',
    'SuperResKXKX',
    'SuperResK1DWK1',
    'SuperResK1DWSEK1',
    'SuperQuantResK1DWK1',
]
MAEDET_S = [
    {'class': 'ConvKXBNRELU', 'in': 3, 'out': 32, 's': 2, 'k': 3},
    {'class': 'SuperResK1KXK1', 'in': 32, 'out': 48, 's': 2, 'k': 5, 'L': 2, 'btn': 32},
    {'class': 'SuperResK1KXK1', 'in': 48, 'out': 272, 's': 2, 'k': 3, 'L': 4, 'btn': 120},
    {'class': 'SuperResK1KXK1', 'in': 272, 'out': 1024, 's': 2, 'k': 5, 'L': 10, 'btn': 80},
    {'class': 'SuperResK1KXK1', 'in': 1024, 'out': 2048, 's': 2, 'k': 3, 'L': 10, 'btn': 240},
]


def small(kind='SuperResK1KXK1', stem_in=3, stem_stride=2):
    """Seven blocks, five stages; block 4 has stride 1."""
    blocks = [{'class': 'ConvKXBNRELU', 'in': stem_in, 'out': 8, 'k': 3, 's': stem_stride}]
    for i, (out, stride) in enumerate([(8, 2), (16, 2), (16, 2), (24, 1), (24, 2)]):
        block = {
            'class': kind,
            'in': blocks[-1]['out'],
            'out': out,
            'k': 5 if i == 1 else 3,
            's': stride,
            'L': 2,
            'btn': 16,
        }
        if 'Quant' in kind:
            block.update(nbitsA=[4] * 6, nbitsW=[5] * 6)
        blocks.append(block)
    return [*blocks, {'class': 'ConvKXBNRELU', 'in': 24, 'out': 32, 'k': 1}]


@pytest.mark.parametrize('kind', FAMILIES)
def test_forward_and_backward(kind):
    torch.manual_seed(0)
    model = TinyNASBackbone(small(kind))
    model.init_weights()
    assert (model.out_channels, model.out_strides) == ([8, 16, 24, 32], [4, 8, 16, 32])
    outputs = model(torch.randn(2, 3, 64, 96))
    assert [tuple(out.shape) for out in outputs] == [(2, 8, 16, 24), (2, 16, 8, 12), (2, 24, 4, 6), (2, 32, 2, 3)]
    sum(out.square().mean() for out in outputs).backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())
    model.eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(model(x), model(x)))


@pytest.mark.parametrize('kind', FAMILIES)
def test_sizes_are_rounded_up(kind):
    model = TinyNASBackbone(small(kind)).eval()
    with torch.no_grad():
        assert [tuple(out.shape[2:]) for out in model(torch.randn(1, 3, 49, 37))] == [(13, 10), (7, 5), (4, 3), (2, 2)]


def test_shortcuts():
    def unit(kind, block, index=0):
        return TinyNASBackbone(small(kind)).block_list[block].block_list[index]

    # Block 1 keeps 8 channels, block 2 goes from 8 to 16.
    assert unit('SuperResK1KXK1', 1).residual_proj is not None
    assert unit('SuperResK1KXK1', 1, 1).residual_proj is None
    assert unit('SuperResK1KX', 1).residual_proj is None and unit('SuperResK1KX', 1).has_shortcut
    assert unit('SuperResK1KX', 2).residual_proj is not None
    assert unit('SuperResK1DWK1', 1).has_shortcut and not unit('SuperResK1DWK1', 2).has_shortcut
    assert unit('SuperResK1DWK1', 2).conv2.conv1.groups == 16
    assert isinstance(unit('SuperResK1DWSEK1', 1).act, nn.SiLU)


def test_reference_outputs(repository):
    """Names, shapes and outputs of the original's MAE-DET-S, its weights filled by formula."""
    folder = repository / 'tests' / 'data'
    model = TinyNASBackbone(MAEDET_S).eval()
    lines = gzip.decompress((folder / 'maedet_s_keys.txt.gz').read_bytes()).decode().splitlines()
    expected = [line.split(maxsplit=1) for line in lines if line.strip()]
    state = model.state_dict()
    assert [[key, str(tuple(value.shape))] for key, value in state.items()] == expected
    model.load_state_dict(fill_state_dict(state))
    with torch.no_grad():
        outputs = model(image())
    reference = json.loads((folder / 'maedet_s.json').read_text())
    assert [list(output.shape) for output in outputs] == reference['shapes']
    for output, row in zip(outputs, reference['statistics'], strict=True):
        assert statistics(output) == pytest.approx(row, rel=1e-4, abs=2e-5)


def test_parameters_of_published_networks():
    assert sum(parameter.numel() for parameter in TinyNASBackbone(MAEDET_S).parameters()) == 21_233_120
    r18 = [{'class': 'ConvKXBNRELU', 'in': 3, 'out': 32, 'k': 3, 's': 2}]
    for out, btn, k, layers, stride in [(96, 40, 5, 1, 2), (384, 40, 5, 6, 2), (384, 64, 5, 9, 2), (1024, 104, 3, 10, 1), (672, 104, 5, 12, 2)]:  # fmt: skip
        r18.append(
            {'class': 'SuperResK1KXK1', 'in': r18[-1]['out'], 'out': out, 'btn': btn, 'k': k, 'L': layers, 's': stride}
        )
    assert sum(parameter.numel() for parameter in TinyNASBackbone(r18).parameters()) == 11_153_088


class TestWhereStructuresComeFrom:
    @pytest.mark.parametrize(
        'wrap',
        [
            lambda blocks: blocks,
            lambda blocks: dict(space_arch='CnnNet', best_structures=[blocks, small('SuperResKXKX')]),
            lambda blocks: dict(pareto=[dict(blocks=small('SuperResKXKX'))], best_structures=[dict(structure=blocks)]),
            lambda blocks: [dict(name='a', blocks=blocks), dict(name='b', blocks=small('SuperResKXKX'))],
            lambda blocks: dict(name='a', blocks=blocks),
        ],
    )
    def test_forms(self, wrap, tmp_path):
        value = wrap(small())
        (tmp_path / 'found.json').write_text(json.dumps(value))
        (tmp_path / 'found.txt').write_text(repr(dict(value, score='SCORE') if isinstance(value, dict) else value).replace("'SCORE'", 'np.float64(1.5)'))  # fmt: skip
        expected = TinyNASBackbone(small()).structure
        for source in (value, str(tmp_path / 'found.json'), tmp_path / 'found.txt', ConfigDict(v=value).v):
            assert TinyNASBackbone(source).structure == expected

    def test_names(self, tmp_path):
        found = [dict(name='a', blocks=small()), dict(name='b', blocks=small('SuperResKXKX'))]
        assert TinyNASBackbone(found, structure_name='b').structure[1].type == 'SuperResKXKX'
        with pytest.raises(ConfigError, match=r"structure_name: must be one of \['a', 'b'\]. Received: 'c'"):
            TinyNASBackbone(found, structure_name='c')

    def test_old_class_names(self):
        blocks = small('SuperResK1KX')
        for block in blocks[1:-1]:
            block.update({'class': 'SuperResConvK1KX', 'nbitsA': [8] * 4, 'nbitsW': [8] * 4})
        assert TinyNASBackbone(blocks).structure == TinyNASBackbone(small('SuperResK1KX')).structure

    @pytest.mark.parametrize('text', ['', '[', '{"a": 1}', '__import__("os")', '[1, 2'])
    @pytest.mark.parametrize('suffix', ['.json', '.txt'])
    def test_files_without_structure(self, text, suffix, tmp_path):
        file = tmp_path / f'broken{suffix}'
        file.write_text(text)
        with pytest.raises(ConfigError, match='broken'):
            TinyNASBackbone(file)

    def test_missing_file(self, tmp_path):
        with pytest.raises(ConfigError, match=r'best_structure\.json: no such file'):
            TinyNASBackbone(tmp_path / 'best_structure.json')


class TestErrors:
    @pytest.mark.parametrize(
        'block, key, value, text',
        [
            (2, 'class', 'SuperResK1K', 'SuperResK1DWSEK1'),
            (3, 'in', 24, '16'),
            (1, 'k', 4, 'must be'),
            (1, 'L', 0, 'an integer in 1\.\.1000000'),
            (4, 'btn', 'x', 'an integer in 1\.\.1000000'),
            (4, 's', 3, r'\[1, 2\]'),
            (0, 'out', 2.5, 'an integer in 1\.\.1000000'),
            (5, 'stride', 2, 'unknown key'),
            (5, 'act', 'gelu', 'relu'),
        ],
    )
    def test_blocks(self, block, key, value, text):
        blocks = small()
        blocks[block][key] = value
        with pytest.raises(ConfigError, match=rf'block {block}: {key}: .*{text}.*Received: {value!r}'):
            TinyNASBackbone(blocks)

    def test_missing_keys(self):
        for key in ('class', 'in', 'k', 'btn', 'L'):
            blocks = small()
            del blocks[3][key]
            with pytest.raises(ConfigError, match=rf'block 3: {key}: '):
                TinyNASBackbone(blocks)

    @pytest.mark.parametrize('bits', [[4] * 5, [1] * 6, 'x', [4.5] * 6])
    def test_bits(self, bits):
        blocks = small('SuperQuantResK1DWK1')
        blocks[2]['nbitsW'] = bits
        with pytest.raises(ConfigError, match='block 2: nbitsW: '):
            TinyNASBackbone(blocks)

    @pytest.mark.parametrize('structure', [[], {}, [1], None, 5])
    def test_no_structure(self, structure):
        with pytest.raises(ConfigError):
            TinyNASBackbone(structure)

    @pytest.mark.parametrize('out_indices', [(), (5,), (-1,), (2, 1), (1, 1), 3, ('a',), (True, 2)])
    def test_out_indices(self, out_indices):
        with pytest.raises(ConfigError, match=r'out_indices: must be ascending stages in 0\.\.4.*Received'):
            TinyNASBackbone(small(), out_indices=out_indices)

    @pytest.mark.parametrize(
        'options',
        [dict(frozen_stages=5), dict(act='gelu'), dict(drop_path_rate=1.0), dict(dropout_rate=-0.1), dict(depth=50)],
    )
    def test_options(self, options):
        with pytest.raises(ConfigError, match=next(iter(options))):
            TinyNASBackbone(small(), **options)

    def test_dimensions(self):
        with pytest.raises(ConfigError, match='2-D'):
            TinyNASBackbone([{'class': 'Conv3DKXBNRELU', 'in': 3, 'out': 8, 'k': 3, 'kt': 1}], out_indices=(0,))
        with pytest.raises(ConfigError, match='3-D'):
            TinyNAS3DBackbone(small())


class TestOptions:
    def test_out_indices(self):
        model = TinyNASBackbone(small(), out_indices=(0, 3))
        assert (model.out_channels, model.out_strides) == ([8, 24], [2, 16])
        assert [out.shape[1:] for out in model(torch.randn(2, 3, 32, 32))] == [(8, 16, 16), (24, 2, 2)]

    def test_frozen_stages(self):
        model = TinyNASBackbone(small(), frozen_stages=3).train()
        for index, block in enumerate(model.block_list):
            frozen = index <= 4  # stage 3 is blocks 3 and 4
            assert all(parameter.requires_grad != frozen for parameter in block.parameters())
            assert all(module.training != frozen for module in block.modules())

    def test_norm_eval(self):
        model = TinyNASBackbone(small(), norm_eval=True).train()
        assert model.training and not any(m.training for m in model.modules() if isinstance(m, _BatchNorm))

    @pytest.mark.parametrize('kind', ['SuperResK1KXK1', 'SuperQuantResK1DWK1'])
    def test_recomputed_gradients_are_the_same(self, kind):
        torch.manual_seed(0)
        plain = TinyNASBackbone(small(kind))
        recomputing = TinyNASBackbone(small(kind), with_cp=True)
        recomputing.load_state_dict(plain.state_dict())
        x = torch.randn(2, 3, 64, 64)
        for model in (plain, recomputing):
            model(x)[-1].square().sum().backward()
        for a, b in zip(plain.parameters(), recomputing.parameters()):
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-5, atol=1e-7)

    def test_sync_bn_runs_on_the_cpu(self):
        model = TinyNASBackbone(small(), norm_cfg=dict(type='SyncBN', requires_grad=True)).train()
        assert any(isinstance(module, nn.SyncBatchNorm) for module in model.modules())
        plain = TinyNASBackbone(small()).train()
        plain.load_state_dict(model.state_dict())
        x = torch.randn(2, 3, 64, 64)
        assert torch.equal(model(x)[-1], plain(x)[-1])

    def test_initialisation(self):
        model = TinyNASBackbone(small())
        model.init_weights()
        conv = model.block_list[5].block_list[1].conv2
        assert torch.all(conv.bn1.weight == 1)
        # Kaiming, fan out: variance 2 / (3 * 3 * 16 channels)
        assert conv.conv1.weight.std().item() == pytest.approx((2 / 144) ** 0.5, rel=0.1)

    def test_checkpoint_of_a_wrapped_network(self):
        model, other = TinyNASBackbone(small()), TinyNASBackbone(small())
        state = {f'backbone.body.{key}': value for key, value in model.state_dict().items()}
        holder = nn.ModuleDict(dict(backbone=other))
        holder.load_state_dict(state)
        assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values()))

    def test_one_image_in_training_with_squeeze_excitation(self):
        assert torch.isfinite(TinyNASBackbone(small('SuperResK1DWSEK1')).train()(torch.randn(1, 3, 64, 64))[-1]).all()

    def test_drop_path(self):
        torch.manual_seed(0)
        model = TinyNASBackbone(small(), drop_path_rate=0.5, dropout_rate=0.2)
        rates = [unit.options.drop_path for block in list(model.block_list)[1:-1] for unit in block.block_list]
        assert rates == pytest.approx([0.5 * i / 11 for i in range(1, 11)])
        x = torch.randn(2, 3, 64, 64)
        assert not torch.equal(model(x)[-1], model(x)[-1])
        model.eval()
        assert torch.equal(model(x)[-1], model(x)[-1])

    def test_activations(self):
        blocks = small()
        blocks[1]['act'] = 'learkyrelu'
        model = TinyNASBackbone(blocks, act='swish')
        assert isinstance(model.block_list[1].block_list[0].act, nn.LeakyReLU)
        assert isinstance(model.block_list[2].block_list[0].act, nn.SiLU) and isinstance(
            model.block_list[0].act, nn.SiLU
        )


class TestQuantised:
    def test_bits(self):
        blocks = small('SuperQuantResK1DWK1')
        blocks[0].update(nbitsA=8, nbitsW=7)
        blocks[2].update(nbitsA=[3, 4, 5, 6, 3, 4])
        model = TinyNASBackbone(blocks)
        assert isinstance(model.block_list[0].conv1, LSQConv2d)
        assert model.block_list[0].conv1.weight_quantizer.bits == 7
        units = model.block_list[2].block_list
        bits = [getattr(unit, f'conv{i}').conv1.act_quantizer.bits for unit in units for i in (1, 2, 3)]
        assert bits == [3, 4, 5, 6, 3, 4]

    def test_learns(self):
        torch.manual_seed(0)
        model = TinyNASBackbone(small('SuperQuantResK1DWK1'), out_indices=(4,))
        model.init_weights()
        average = copy.deepcopy(model)
        optimiser = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
        x, target = torch.randn(4, 3, 64, 64), torch.randn(4, 32, 2, 2).abs()
        losses = []
        for _ in range(30):
            loss = (model(x)[0] - target).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        assert losses[-1] < 0.8 * losses[0]
        assert all((module.step != 0).all() for module in model.modules() if isinstance(module, LSQQuantizer))
        average.load_state_dict(model.state_dict())
        with torch.no_grad():
            assert torch.equal(average.eval()(x)[0], model.eval()(x)[0])


class TestDamoYolo:
    @pytest.mark.parametrize('kind', ['SuperResK1KX', 'SuperResKXKX'])
    @pytest.mark.parametrize('stem_in', [3, 12])
    def test_outputs(self, kind, stem_in):
        model = MODELS.build(dict(type='DAMOYOLOBackbone', structure=small(kind, stem_in, 1)[:-1]))
        assert (model.out_channels, model.out_strides) == ([16, 24, 24], [8, 16, 32])
        outputs = model(torch.randn(2, 3, 65, 96))
        assert [tuple(out.shape[2:]) for out in outputs] == [(9, 12), (5, 6), (3, 3)]
        sum(out.mean() for out in outputs).backward()
        strided, plain = model.block_list[2].block_list
        assert not strided.has_shortcut and plain.has_shortcut and plain.residual_proj is None
        assert model.block_list[4].block_list[0].residual_proj is not None

    def test_searched_structures_take_images(self):
        model = TinyNASBackbone(small('SuperResK1KX', 12, 1))
        assert model.out_strides == [4, 8, 16, 32]
        assert model(torch.randn(2, 3, 64, 64))[0].shape == (2, 8, 16, 16)

    def test_space_to_depth(self):
        focus = DAMOYOLOBackbone(small('SuperResK1KX', 3, 1)[:-1]).focus
        x = torch.arange(4.0).view(1, 1, 2, 2)
        assert focus(x).flatten().tolist() == [0, 2, 1, 3]
        assert focus(x[..., :1]).flatten().tolist() == [0, 2, 0, 0]

    def test_pyramid_and_fusing(self):
        torch.manual_seed(0)
        model = DAMOYOLOBackbone(small('SuperResKXKX', 3, 1)[:-1], with_spp=True, reparam=True, act='silu')
        model.train()(torch.randn(2, 3, 64, 64))
        model.eval()
        x = torch.randn(1, 3, 64, 64)
        with torch.no_grad():
            before = model(x)
            after = model.fuse()(x)
        for a, b in zip(before, after):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
        assert model.block_list[-1].spp is not None and model.block_list[-2].spp is None
        assert not any('plain' in key for key in model.state_dict())

    def test_errors(self):
        with pytest.raises(ConfigError, match='with_spp'):
            DAMOYOLOBackbone(small('SuperResK1KX', 3, 1), with_spp=True)
        with pytest.raises(ConfigError, match='must be 3 or 12'):
            DAMOYOLOBackbone(small('SuperResK1KX', 4, 1))
        with pytest.raises(ConfigError, match='re-parameterised'):
            DAMOYOLOBackbone(small('SuperQuantResK1DWK1', 3, 1), reparam=True)


class TestLayersByHand:
    """Small tensors with the answer written out."""

    NORM = dict(type='BN')

    def test_pooled_shortcut_rounds_up_and_leaves_borders_out(self):
        unit = TinyNASBackbone(small('SuperResK1KX')).block_list[1].block_list[0]
        x = torch.arange(9.0).view(1, 1, 3, 3).expand(1, 8, 3, 3)
        assert unit._shortcut(x)[0, 0].tolist() == [[2.0, 3.5], [6.5, 8.0]]

    def test_residual_unit_is_the_activation_of_a_sum(self):
        torch.manual_seed(0)
        unit = TinyNASBackbone(small('SuperResK1KX')).eval().block_list[2].block_list[0]
        x = torch.randn(1, 8, 6, 6)
        with torch.no_grad():
            main = unit.conv2(unit.conv1(x).relu())
            skip = unit.residual_proj(nn.functional.avg_pool2d(x, 2))
            torch.testing.assert_close(unit(x.clone()), (main + skip).relu())

    def test_squeeze_excitation(self):
        layer = SqueezeExcite(2, 1, self.NORM).eval()
        with torch.no_grad():
            layer.conv1.conv1.weight.copy_(torch.tensor([1.0, 2.0]).view(1, 2, 1, 1))
            layer.conv2.conv1.weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
            gates = layer(torch.tensor([[[[1.0, 3.0]], [[2.0, 2.0]]]])).flatten() / torch.tensor([1.0, 3.0, 2.0, 2.0])
        scale = (1 + 1e-5) ** -0.5  # means 2 and 2: 6 after the first convolution
        hidden = torch.nn.functional.silu(torch.tensor(6 * scale))
        high, low = (hidden * scale).sigmoid().item(), (-hidden * scale).sigmoid().item()
        assert gates.tolist() == pytest.approx([high, high, low, low])

    def test_space_to_depth_of_channels(self):
        x = torch.arange(8.0).view(1, 2, 2, 2)
        assert SpaceToDepth()(x).flatten().tolist() == [0, 4, 2, 6, 1, 5, 3, 7]

    def test_pyramid_windows(self):
        layer = SpatialPyramid(4, norm_cfg=self.NORM, act=nn.Identity()).eval()
        seen = []
        layer.reduce = layer.mix = nn.Identity()
        layer.mix.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
        x = torch.zeros(1, 2, 15, 15)
        x[0, :, 7, 7] = 1
        layer(x)
        assert [int(seen[-1][0, c].sum()) for c in (0, 2, 4, 6)] == [1, 25, 81, 169]

    @pytest.mark.parametrize('stride, groups', [(1, 1), (2, 2)])
    def test_parallel_convolutions_fuse(self, stride, groups):
        torch.manual_seed(0)
        layer = PlainAndPointwise(Conv(4, 6, 5, stride, groups), norm_cfg=self.NORM)
        for branch in (layer.plain, layer.point):
            branch[1].running_mean.uniform_(-1, 1), branch[1].running_var.uniform_(0.5, 2)
            nn.init.uniform_(branch[1].weight, 0.5, 2), nn.init.uniform_(branch[1].bias, -1, 1)
        x = torch.randn(2, 4, 9, 9)
        with torch.no_grad():
            before = layer.eval()(x)
            layer.fuse()
            layer.fuse()  # a second time changes nothing
            torch.testing.assert_close(layer(x), before)
        assert sorted(layer.state_dict()) == ['fused.bias', 'fused.weight']
        assert (layer.fused.stride, layer.fused.groups, layer.fused.padding) == ((stride,) * 2, groups, (2, 2))
        assert all(parameter.requires_grad for parameter in layer.parameters())

    def test_drop_path_scales_what_it_keeps(self):
        torch.manual_seed(0)
        unit = TinyNASBackbone(small(), drop_path_rate=0.5).block_list[5].block_list[1]
        rate = unit.options.drop_path
        dropped = unit.train()._drop_path(torch.ones(4000, 2, 1, 1))
        assert sorted(set(dropped.flatten().tolist())) == pytest.approx([0.0, 1 / (1 - rate)])
        assert torch.equal(dropped[:, 0], dropped[:, 1]) and dropped.mean().item() == pytest.approx(1, abs=0.05)
        x = torch.ones(3, 2)
        assert unit.eval()._drop_path(x) is x

    def test_dropout_rates_grow_with_depth(self):
        model = TinyNASBackbone(small(), dropout_rate=0.22)
        units = [unit for block in list(model.block_list)[1:-1] for unit in block.block_list]
        assert [unit.options.drop_channel for unit in units] == pytest.approx([0.22 * i / 11 for i in range(1, 11)])

    def test_damo_shortcuts(self):
        blocks = small('SuperResKXKX', 3, 1)[:-1]
        model = DAMOYOLOBackbone(blocks, act=None)
        strided, plain = model.block_list[2].block_list
        assert not strided.has_shortcut and strided.residual_proj is None and plain.has_shortcut
        wider = model.block_list[4].block_list[0].residual_proj.conv1
        assert (wider.in_channels, wider.out_channels, wider.kernel_size, wider.stride) == (16, 24, (1, 1), (1, 1))
        assert isinstance(model.block_list[0].act, nn.ReLU)
        reparam = DAMOYOLOBackbone(small('SuperResK1KX', 3, 1)[:-1], reparam=True).block_list[2].block_list[0]
        assert isinstance(reparam.conv2, PlainAndPointwise) and isinstance(reparam.conv1, ConvBN)
