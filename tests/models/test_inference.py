"""Preparing networks for inference: what is folded, what stays as it was, options, precision, and who uses it."""

import copy
import shutil

import pytest
import torch
from mmengine.config import Config
from torch import nn

from mmdet.apis import init_detector
from mmdet.config.reading import add_inference_arguments
from mmdet.errors import ConfigError
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.inference import (
    FoldedNorm,
    InferenceNetwork,
    InferenceOptions,
    PointwiseConv2d,
    PreparedConv2d,
    full_precision,
    prepare_networks,
    restore_networks,
)


class Net(InferenceNetwork):
    """A convolution of every kind of company: a norm behind it, one shared by two norms, a norm behind a ReLU, a norm before it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.backbone = nn.ModuleDict(
            dict(
                own=nn.Conv2d(3, 12, 3, padding=1), own_norm=nn.BatchNorm2d(12), shared=nn.Conv2d(12, 12, 1, bias=False),
                first=nn.BatchNorm2d(12), second=nn.BatchNorm2d(12, affine=False), late=nn.Conv2d(12, 12, 1),
                behind=nn.BatchNorm2d(12),
            )
        )  # fmt: skip
        for norm in self.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.running_mean.uniform_(-1, 1)
                norm.running_var.uniform_(0.5, 2)
                if norm.affine:
                    nn.init.uniform_(norm.weight, 0.5, 2)
                    nn.init.uniform_(norm.bias, -1, 1)

    def extract_feat(self, x):
        part = self.backbone
        x = part['own_norm'](part['own'](x)).relu_()
        x = part['first'](part['shared'](x)) + part['second'](part['shared'](x))
        return (part['behind'](part['late'](x).relu_()),)


class Odd(Net):
    """A norm that looks like one to be folded, but whose input is used elsewhere, too."""

    def extract_feat(self, x):
        x = self.backbone['own'](x)
        return (self.backbone['own_norm'](x) + x,)


def outputs(net, image):
    with torch.no_grad(), net.inference_context(image):
        return net.extract_feat(image)[0]


IMAGE = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(1))


def kinds(net):
    return {name: type(layer) for name, layer in net.backbone.items()}


def test_only_norms_behind_a_convolution_of_their_own_are_folded():
    net = Net().eval()
    state, expected = {name: value.clone() for name, value in net.state_dict().items()}, outputs(net, IMAGE)
    line = prepare_networks(net)
    assert (
        '1 batch norms folded, equal to' in line and '3 others kept' in line and 'channels last on: faster here' in line
    )
    assert {name for name, kind in kinds(net).items() if kind is FoldedNorm} == {'own_norm'}
    torch.testing.assert_close(outputs(net, IMAGE), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(outputs(copy.deepcopy(net), IMAGE), expected, rtol=1e-5, atol=1e-5)
    now = net.state_dict()
    assert list(now) == list(state) and all(value.equal(state[name]) for name, value in now.items())


@pytest.mark.parametrize(
    ('slow', 'options', 'kind'),
    [
        (True, {}, PointwiseConv2d),
        (True, dict(fuse=False), PointwiseConv2d),
        (True, dict(amp='bf16'), PreparedConv2d),
        (True, dict(channels_last=False, fuse=False), nn.Conv2d),
        (False, {}, PreparedConv2d),
    ],
)
def test_where_mkl_is_slow_another_library_computes_convolutions_of_1_x_1(monkeypatch, slow, options, kind):
    monkeypatch.setattr('mmdet.models.inference._mkl_is_slow', lambda: slow)
    net = Net().eval()
    expected = outputs(net, IMAGE)
    line = prepare_networks(net, options)
    assert kinds(net)['shared'] is kinds(net)['late'] is kind and kinds(net)['own'] is not PointwiseConv2d
    assert ('1 x 1 convolutions by oneDNN' in line) == (kind is PointwiseConv2d)
    if 'amp' not in options:
        torch.testing.assert_close(outputs(net, IMAGE), expected, rtol=1e-5, atol=1e-5)
    restore_networks(net)
    assert kinds(net)['late'] is nn.Conv2d and outputs(net, IMAGE).equal(expected)


@pytest.mark.parametrize('settings', [{}, dict(bias=False), dict(stride=2), dict(groups=2), dict(padding=1), dict(padding='same')], ids=str)  # fmt: skip
def test_convolutions_of_1_x_1_are_the_same_for_every_input(monkeypatch, settings):
    """Also images in another type, none at all, autocast from outside, and a network that is moved to another type."""
    monkeypatch.setattr('mmdet.models.inference._mkl_is_slow', lambda: True)
    conv = nn.Conv2d(4, 6, 1, **settings)
    net = InferenceNetwork()
    net.backbone = nn.Sequential(conv)
    images = [torch.rand(size) for size in ((2, 4, 5, 3), (1, 4, 1, 1), (0, 4, 5, 3))]
    with torch.no_grad():
        expected = [conv(image) for image in images]
        prepare_networks(net, dict(fuse=False))
        assert (type(conv) is PointwiseConv2d) == (settings in ({}, dict(bias=False), dict(stride=2)))
        for image, wanted in zip(images, expected):
            torch.testing.assert_close(conv(image), wanted, rtol=1e-5, atol=1e-6)
            with torch.autocast('cpu', torch.bfloat16):
                assert conv(image).dtype == torch.bfloat16
        wide = net.double()
        torch.testing.assert_close(wide.backbone(images[0].double()), expected[0].double(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('undo', [restore_networks, nn.Module.train, lambda net: net.backbone['own_norm'].train()])
def test_training_and_restoring_give_the_layers_back(undo):
    net = Net().eval()
    expected, before = outputs(net, IMAGE), kinds(net)
    prepare_networks(net, dict(channels_last=False))
    assert kinds(net) != before
    undo(net)
    assert kinds(net) == before and not [name for name, _ in net.named_buffers() if 'ready' in name]
    assert outputs(net.eval(), IMAGE).equal(expected)


def test_weights_that_change_are_noticed():
    net, other = Net().eval(), Net().eval()
    for parameter in other.parameters():
        parameter.data *= 1.5
    prepare_networks(net)
    net.load_state_dict(other.state_dict())
    torch.testing.assert_close(outputs(net, IMAGE), outputs(other, IMAGE), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    'change',
    [
        lambda net: net.backbone['own_norm'].weight.detach().mul_(2),
        lambda net: net.backbone['own'].weight.data.mul_(2),  # leaves no trace in the tensor
        lambda net: net.backbone['own_norm'].running_mean.data.add_(1),
        lambda net: setattr(net.backbone['own'].weight, 'data', net.backbone['own'].weight.data * 2),
        lambda net: setattr(net.backbone['own'], 'weight', nn.Parameter(net.backbone['own'].weight.detach() * 2)),
    ],
    ids=['in place', 'data in place', 'buffer', 'data set', 'parameter set'],
)
@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_weights_that_change_after_the_preparation_are_noticed(change, layout):
    net, other = Net().eval().to(memory_format=layout), Net().eval()
    prepare_networks(net)
    before = outputs(net, IMAGE)
    for one in (net, other):
        change(one)
    torch.testing.assert_close(outputs(net, IMAGE), outputs(other, IMAGE), rtol=1e-5, atol=1e-5)
    assert not outputs(net, IMAGE).allclose(before)
    assert isinstance(net.backbone['own'], PreparedConv2d)


def test_what_cannot_be_folded_stays():
    net = Odd().eval()
    expected = outputs(net, IMAGE)
    assert 'not folded: outputs would differ by' in prepare_networks(net)
    torch.testing.assert_close(outputs(net, IMAGE), expected)
    net.extract_feat = None
    assert 'could not be tried out (TypeError' in prepare_networks(net)


@pytest.mark.parametrize(
    'options, said, prepared',
    [
        (dict(channels_last=False, fuse=False), 'channels last off: as asked for, 4 batch norms not folded: as asked for', False),
        (dict(fuse=False), 'channels last on', True),
        (dict(amp='bf16', fuse=False, channels_last=False), 'bf16 by autocast, boxes in float32', True),
    ],
)  # fmt: skip
def test_options(options, said, prepared):
    net = Net().eval()
    assert said in prepare_networks(net, options)
    assert isinstance(net.backbone['own'], PreparedConv2d) == prepared
    assert outputs(net, IMAGE).isfinite().all()


@pytest.mark.parametrize(
    'settings, message',
    [
        (3, 'must be a dict'), (dict(fold=True), "must be a dict of some of ['amp'"), (dict(amp='int8'), 'inference.amp'),
        (dict(fuse='yes'), 'inference.fuse'), (dict(compile=-1), 'inference.compile'), (dict(compile='fast'), 'inference.compile'),
    ],
)  # fmt: skip
def test_refused_options(settings, message):
    with pytest.raises(ConfigError) as error:
        InferenceOptions.read(settings)
    assert message in str(error.value)


def test_a_model_without_network_has_no_precision():
    assert prepare_networks(nn.Linear(2, 2)) == ''
    with pytest.raises(ConfigError, match='inference.amp'):
        prepare_networks(nn.Linear(2, 2), dict(amp=True))


def test_number_of_compiled_sizes_is_limited(monkeypatch):
    net, stances = Net().eval(), []
    prepare_networks(net)
    net.compiled_sizes, net.most_compiled_sizes = set(), 2
    monkeypatch.setattr(torch.compiler, 'set_stance', lambda stance: stances.append(stance) or torch.no_grad())
    for side in (8, 16, 24, 8):
        with net.inference_context(torch.zeros(1, 3, side, side)):
            pass
    assert stances == ['force_eager'] and len(net.compiled_sizes) == 2


class OneGraph(Net):
    """A network that one function computes, as a detector of one stage."""

    predicts_from_raw_outputs, compiled_network, broken = True, None, False

    def raw_outputs(self, x):
        if self.broken:
            torch._dynamo.graph_break()
        return self.extract_feat(x)


def compiled_outputs(net, image):
    with torch.no_grad(), net.inference_context(image):
        return net.compiled_network(image)[0]


IMAGES = [
    torch.rand(1, 3, *size_hw, generator=torch.Generator().manual_seed(1)) for size_hw in ((16, 16), (16, 24), (40, 8))
]


@pytest.fixture
def traced(monkeypatch):
    """What is said while the compiler traces the network, and torch computes it; the compilation itself takes long."""
    said, compiler = [], torch.compile
    monkeypatch.setattr(
        torch, 'compile', lambda *args, **options: compiler(*args, **{**options, 'backend': 'eager', 'mode': None})
    )
    monkeypatch.setattr('mmdet.models.compilation.print_log', lambda line, **_: said.append(line))
    torch._dynamo.reset()
    yield said
    torch._dynamo.reset()


@pytest.mark.parametrize('how, graphs', [(True, 1), (2, 2)])
def test_sizes_of_a_compiled_network(traced, how, graphs):
    net = OneGraph().eval()
    expected = [outputs(net, image) for image in IMAGES]
    line = prepare_networks(net, dict(compile=how))
    assert 'torch.compile' in line and ('images of any size' in line) == (graphs == 1)
    for image, wanted in zip(IMAGES, expected):
        torch.testing.assert_close(compiled_outputs(net, image), wanted, rtol=1e-5, atol=1e-5)
    # A square image makes no graph of its own; sizes beyond the number are computed without the compiler.
    assert len([text for text in traced if 'the call took' in text]) == graphs


def test_a_compiled_network_that_changes_or_is_copied_compiles_anew(traced):
    net = OneGraph().eval()
    prepare_networks(net, dict(compile=True))
    before = compiled_outputs(net, IMAGE)
    other = copy.deepcopy(net)
    assert other.compiled_network is None
    net.backbone['own'].weight.data.mul_(2)
    assert not compiled_outputs(net, IMAGE).allclose(before)
    outputs(other, IMAGE)
    torch.testing.assert_close(compiled_outputs(other, IMAGE), before)
    restore_networks(net)
    assert net.compiled_network is None and net.compiled_sizes is None


def test_breaks_of_the_graph_are_said(traced):
    net = OneGraph().eval()
    net.broken, expected = True, outputs(net, IMAGE)
    assert 'torch.compile (max-autotune) of' in prepare_networks(net, dict(compile='max-autotune'))
    torch.testing.assert_close(compiled_outputs(net, IMAGE), expected, rtol=1e-5, atol=1e-5)
    assert any(
        'breaks the network into several graphs: Call to `torch._dynamo.graph_break()`' in text for text in traced
    )


class OneKernel(OneGraph):
    """A convolution, its norm and a ReLU: a C++ compiler takes seconds for each kernel, and graphs of more layers are traced in the tests above."""

    def extract_feat(self, x):
        return (self.backbone['own_norm'](self.backbone['own'](x)).relu_(),)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which('g++'), reason='torch.compile needs a C++ compiler on the CPU')
def test_compiled_kernels_give_the_same():
    net = OneKernel().eval()
    prepare_networks(net, dict(channels_last=False, fuse=False))
    expected = [outputs(net, image) for image in IMAGES]
    prepare_networks(net, dict(compile=True))
    for image, wanted in zip(IMAGES, expected):
        torch.testing.assert_close(compiled_outputs(net, image), wanted, rtol=1e-5, atol=1e-5)


def test_boxes_are_made_in_float32():
    class Head:
        @full_precision
        def decode(self, maps, scale=None):
            return [level @ level for level in maps], scale

    maps = [torch.full((2, 2), 1.0078125, dtype=torch.bfloat16)]
    with torch.autocast('cpu', torch.bfloat16):
        (product,), scale = Head().decode(maps, scale=torch.ones(1, dtype=torch.float64))
    assert product.dtype == torch.float32 and product[0, 0] == 2 * 1.0078125**2 and scale.dtype == torch.float64
    assert BaseDenseHead.predict_by_feat.__doc__.startswith('Detections of the raw outputs')


def test_detectors_from_configs_are_fast_by_default(repository):
    cfg = Config.fromfile(repository / 'configs/demo/gfl_demo.py')
    model = init_detector(cfg, device='cpu', amp='bf16')
    assert model.amp_dtype is torch.bfloat16 and model.data_preprocessor.inference_format is torch.channels_last
    assert any(isinstance(layer, FoldedNorm) for layer in model.modules())
    assert not any('ready' in name for name in model.state_dict())
    cfg.inference = dict(channels_last=False, fuse=False)
    plain = init_detector(cfg, device='cpu')
    assert not any(isinstance(layer, (FoldedNorm, PreparedConv2d)) for layer in plain.modules())
    assert list(plain.state_dict()) == list(model.state_dict())


@pytest.mark.parametrize(
    'words, expected',
    [
        ([], None), (['--amp'], {'inference.amp': True}), (['--amp', 'fp16', '--compile'], {'inference.amp': 'fp16', 'inference.compile': True}),
        (['--cfg-options', 'inference.fuse=False', '--amp=bf16'], {'inference.fuse': False, 'inference.amp': 'bf16'}),
    ],
)  # fmt: skip
def test_arguments(words, expected):
    import argparse

    parser = argparse.ArgumentParser()
    add_inference_arguments(parser, with_options=True)
    assert parser.parse_args(words).cfg_options == expected
