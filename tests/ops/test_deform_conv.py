"""Deformable convolution: the definition point by point, gradients, autocast, and the layers."""

import math
import sys
import types

import pytest
import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule, build_conv_layer
from torch import nn
from torch.nn.modules.utils import _pair

from mmdet.errors import ConfigError, ModelInputError
from mmdet.ops import DeformConv2dPack, ModulatedDeformConv2dPack, deform_conv2d, nms, torchvision_ops
from mmdet.ops.deform_conv import deform_conv2d_torch
from tests.devices import on


def by_definition(x, offset, weight, bias, stride, padding, dilation, groups, deform_groups, mask):
    """Sum over kernel points and four corners, in plain loops."""
    n, c, height, width = x.shape
    stride, padding, dilation = _pair(stride), _pair(padding), _pair(dilation)
    out_c, group_c, kh, kw = weight.shape
    out = x.new_zeros(n, out_c, *offset.shape[-2:])
    for i, oc, oy, ox in torch.cartesian_prod(*[torch.arange(s) for s in out.shape]).tolist():
        total = 0.0 if bias is None else bias[oc].item()
        for k in range(group_c):
            channel = oc // (out_c // groups) * group_c + k
            d = channel // (c // deform_groups)
            for p in range(kh * kw):
                row, column = oy * stride[0] - padding[0] + p // kw * dilation[0], ox * stride[1] - padding[1]
                y = row + offset[i, 2 * (d * kh * kw + p), oy, ox].item()
                z = column + p % kw * dilation[1] + offset[i, 2 * (d * kh * kw + p) + 1, oy, ox].item()
                value = 0.0
                for cy in (math.floor(y), math.floor(y) + 1):
                    for cx in (math.floor(z), math.floor(z) + 1):
                        if 0 <= cy < height and 0 <= cx < width:
                            value += (1 - abs(y - cy)) * (1 - abs(z - cx)) * x[i, channel, cy, cx].item()
                factor = 1.0 if mask is None else mask[i, d * kh * kw + p, oy, ox].item()
                total += weight[oc, k, p // kw, p % kw].item() * factor * value
        out[i, oc, oy, ox] = total
    return out


def random_inputs(
    n=2,
    c=4,
    size=(5, 4),
    out_c=6,
    kernel=3,
    stride=1,
    padding=1,
    dilation=1,
    groups=1,
    deform_groups=1,
    modulated=False,
):
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    kernel = _pair(kernel)
    sides = zip(size, kernel, _pair(stride), _pair(padding), _pair(dilation))
    out_hw = [(side + 2 * p - d * (k - 1) - 1) // s + 1 for side, k, s, p, d in sides]
    points = deform_groups * kernel[0] * kernel[1]
    return dict(
        x=normal(n, c, *size),
        offset=1.5 * normal(n, 2 * points, *out_hw),
        weight=normal(out_c, c // groups, *kernel),
        bias=normal(out_c),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        deform_groups=deform_groups,
        mask=torch.rand(n, points, *out_hw, generator=generator, dtype=torch.float64) if modulated else None,
    )


CASES = [
    dict(),
    dict(stride=2, modulated=True),
    dict(groups=2, deform_groups=2, modulated=True),
    dict(kernel=2, dilation=2, padding=0, n=1, groups=2),
    dict(n=1, c=2, size=(1, 1), out_c=2, deform_groups=2),
    dict(n=1, c=2, out_c=2, kernel=(1, 3), padding=(0, 1), modulated=True),
    dict(
        n=1, c=2, out_c=2, size=(7, 6), kernel=(3, 2), stride=(2, 1), padding=(0, 2), dilation=(1, 3), deform_groups=2
    ),
]


@pytest.mark.parametrize('case', CASES)
def test_equals_the_definition(device, case):
    inputs = random_inputs(**case)
    expected, there = by_definition(**inputs), on(device, inputs)
    pairs = {name: _pair(inputs[name]) for name in ('stride', 'padding', 'dilation')}
    for received in (deform_conv2d(**there), deform_conv2d_torch(**{**there, **pairs})):  # the kernel, where it works
        assert received.device.type == device
        torch.testing.assert_close(received.cpu(), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('deterministic', [False, True])
def test_gradients_are_those_of_the_cpu(device, deterministic):
    inputs = random_inputs(modulated=True)
    gradients = []
    for place in ('cpu', device):
        there = on(place, inputs)
        tensors = [there[name].requires_grad_() for name in ('x', 'offset', 'weight', 'bias', 'mask')]
        torch.use_deterministic_algorithms(deterministic)
        try:
            gradients.append(torch.autograd.grad(deform_conv2d(**there).square().sum(), tensors))
        finally:
            torch.use_deterministic_algorithms(False)
        inputs = {name: value.detach() if isinstance(value, torch.Tensor) else value for name, value in inputs.items()}
    for expected, received in zip(*gradients, strict=True):
        torch.testing.assert_close(received.cpu(), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('case', CASES)
def test_gradients(case):
    size = (3, 4) if case.get('stride') == (2, 1) else (3, 3)
    inputs = random_inputs(**{**case, 'size': size, 'c': 2, 'out_c': 2, 'n': 1})
    tensors = {name: value.requires_grad_() for name, value in inputs.items() if isinstance(value, torch.Tensor)}

    def function(*values):
        return deform_conv2d(**{**inputs, **dict(zip(tensors, values))})

    assert torch.autograd.gradcheck(function, tuple(tensors.values()), eps=1e-7, atol=1e-5)


def test_zero_offset_is_a_convolution():
    inputs = random_inputs(size=(7, 9), groups=2)
    inputs['offset'].zero_()
    expected = F.conv2d(inputs['x'], inputs['weight'], inputs['bias'], padding=1, groups=2)
    torch.testing.assert_close(deform_conv2d(**inputs), expected)


def test_offset_gradient_at_whole_pixels():
    """At the zero initialisation every sample is on a pixel: the slope must be that towards the next one (x[i + 1] - x[i])."""
    x = torch.arange(200.0).square().view(1, 1, 1, 200)
    offset = torch.zeros(1, 2, 1, 200, requires_grad=True)
    deform_conv2d(x, offset, torch.ones(1, 1, 1, 1)).sum().backward()
    slope = x[0, 0, 0, 1:] - x[0, 0, 0, :-1]
    assert torch.equal(offset.grad[0, 1, 0, :-1], slope)


def test_far_outside_is_zero_and_nan_stays_visible():
    x, weight = torch.ones(1, 1, 3, 3), torch.ones(1, 1, 1, 1)
    offset = torch.zeros(1, 2, 3, 3)
    offset[0, 0, 0, 0], offset[0, 1, 1, 1], offset[0, 0, 2, 2] = -1e20, float('inf'), float('nan')
    out = deform_conv2d(x, offset, weight)
    assert out[0, 0, 0, 0] == 0 and out[0, 0, 1, 1] == 0 and out[0, 0, 2, 2].isnan()
    assert out[0, 0, 0, 1:].tolist() == [1, 1]


def test_pieces_equal_the_whole(monkeypatch):
    monkeypatch.setattr('mmdet.ops.deform_conv._LOCATIONS', 7)
    inputs = random_inputs(size=(6, 5), modulated=True)
    with torch.no_grad():
        pieces = deform_conv2d(**inputs)
    torch.testing.assert_close(pieces, deform_conv2d(**inputs))


def test_autocast_computes_in_float32():
    inputs = {
        name: value.float() if isinstance(value, torch.Tensor) else value for name, value in random_inputs().items()
    }
    expected = deform_conv2d(**inputs)
    with torch.autocast('cpu', torch.bfloat16):
        out = deform_conv2d(**inputs)
    assert out.dtype == torch.float32
    assert torch.equal(out, expected)
    halves = {name: value.bfloat16() if isinstance(value, torch.Tensor) else value for name, value in inputs.items()}
    assert deform_conv2d(**halves).dtype == torch.bfloat16


def test_memory_format_and_compile():
    layer = DeformConv2dPack(4, 4, 3, padding=1)
    nn.init.normal_(layer.conv_offset.weight)
    x = torch.randn(2, 4, 6, 5)
    out = layer(x)
    assert out.is_contiguous()
    last = layer(x.to(memory_format=torch.channels_last))
    assert last.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(last, out)
    compiled = torch.compile(layer, backend='eager', fullgraph=True)
    torch.testing.assert_close(compiled(x), out)


@pytest.mark.parametrize(
    'change, named',
    [
        (dict(offset=torch.zeros(2, 27, 5, 4)), 'offset'),
        (dict(offset=torch.zeros(2, 18, 4, 4)), 'offset'),
        (dict(mask=torch.zeros(2, 18, 5, 4)), 'mask'),
        (dict(groups=3), 'groups'),
        (dict(groups=2), 'groups'),  # the weight is that of one group
        (dict(weight=torch.zeros(5, 2, 3, 3), groups=2), 'groups'),
        (dict(deform_groups=3), 'deform_groups'),
        (dict(weight=torch.zeros(6, 4, 3)), 'weight'),
        (dict(x=torch.zeros(4, 5, 4)), 'N, C, H, W'),
        (dict(padding=0, x=torch.zeros(2, 4, 2, 2)), 'smaller'),
    ],
)
def test_wrong_shapes(change, named):
    with pytest.raises(ModelInputError, match=named):
        deform_conv2d(**{**random_inputs(), **change})


class TestLayers:
    @pytest.mark.parametrize(
        'kind, layer, rows', [('DCN', DeformConv2dPack, 18), ('DCNv2', ModulatedDeformConv2dPack, 27)]
    )
    def test_build(self, kind, layer, rows):
        cfg = dict(type=kind, deform_groups=1, fallback_on_stride=False)
        conv = build_conv_layer(cfg, 8, 16, 3, stride=2, padding=1, groups=4, bias=False)
        assert type(conv) is layer
        shapes = {name: tuple(value.shape) for name, value in conv.state_dict().items()}
        assert shapes == {'weight': (16, 2, 3, 3), 'conv_offset.weight': (rows, 8, 3, 3), 'conv_offset.bias': (rows,)}
        x, share = torch.randn(1, 8, 7, 7), 1.0 if kind == 'DCN' else 0.5
        torch.testing.assert_close(conv(x), share * F.conv2d(x, conv.weight, stride=2, padding=1, groups=4))
        assert conv.weight.std().item() == pytest.approx(
            (2 / 18) ** 0.5, rel=0.15
        )  # He initialisation: fan in 2 * 3 * 3
        nn.init.ones_(conv.conv_offset.weight)
        conv.init_weights()
        assert not conv.conv_offset.weight.any() and not conv.conv_offset.bias.any()

    def test_geometry_and_bias(self):
        """Non-square kernel, strides, padding and dilation reach both convolutions, and the bias starts at zero."""
        layer = DeformConv2dPack(2, 4, (1, 3), stride=(2, 1), padding=(0, 2), dilation=(1, 2), bias=True)
        assert not layer.bias.any() and layer.conv_offset.weight.shape == (6, 2, 1, 3)
        nn.init.uniform_(layer.bias)
        x = torch.randn(1, 2, 5, 6)
        expected = F.conv2d(x, layer.weight, layer.bias, stride=(2, 1), padding=(0, 2), dilation=(1, 2))
        torch.testing.assert_close(layer(x), expected)
        nn.init.constant_(layer.conv_offset.bias, 1.0)  # one pixel down and right
        shifted = F.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]
        inside = F.conv2d(shifted, layer.weight, layer.bias, stride=(2, 1), dilation=(1, 2))
        torch.testing.assert_close(layer(x)[..., 2:-2], inside)

    def test_channels_must_divide(self):
        for arguments, named in (
            (dict(groups=3), 'groups'),
            (dict(groups=0), 'groups'),
            (dict(deform_groups=3), 'deform'),
        ):
            with pytest.raises(ConfigError, match=named):
                DeformConv2dPack(4, 6, 3, **arguments)
        with pytest.raises(ConfigError, match='groups'):
            DeformConv2dPack(4, 6, 3, groups=4)

    def test_old_name_of_deform_groups(self):
        conv = build_conv_layer(dict(type='DCN', deformable_groups=2), 8, 8, 3)
        assert conv.deform_groups == 2 and conv.conv_offset.out_channels == 36

    def test_in_conv_module(self):
        block = ConvModule(4, 4, 3, padding=1, conv_cfg=dict(type='DCNv2'), norm_cfg=dict(type='BN'))
        x = torch.randn(1, 4, 5, 5)
        convolved = 0.5 * F.conv2d(x, block.conv.weight, padding=1)
        torch.testing.assert_close(block(x), F.batch_norm(convolved, None, None, training=True).relu())

    def test_fresh_v1_is_a_convolution_and_v2_half_of_it(self):
        x = torch.randn(1, 4, 6, 6)
        for kind, share in ((DeformConv2dPack, 1.0), (ModulatedDeformConv2dPack, 0.5)):
            layer = kind(4, 4, 3, padding=1)
            torch.testing.assert_close(layer(x), share * F.conv2d(x, layer.weight, padding=1))

    def test_v2_chunks(self):
        """A bias of the first two thirds moves, of the last third masks."""
        layer = ModulatedDeformConv2dPack(1, 1, 1)
        nn.init.ones_(layer.weight)
        layer.conv_offset.bias.data = torch.tensor([1.0, 2.0, 0.0])  # down 1, right 2, mask 0.5
        x = torch.arange(16.0).view(1, 1, 4, 4)
        out = layer(x)
        assert out[0, 0, 0, 0] == 0.5 * x[0, 0, 1, 2]
        assert out[0, 0, 3, 3] == 0

    @pytest.mark.parametrize(
        'built, stored', [(DeformConv2dPack, ModulatedDeformConv2dPack), (ModulatedDeformConv2dPack, DeformConv2dPack)]
    )
    def test_checkpoint_decides_the_version(self, built, stored, capfd, monkeypatch):
        messages = []
        monkeypatch.setattr('mmdet.ops.deform_conv.print_log', lambda message, *_: messages.append(message))
        source, target = stored(4, 4, 3, padding=1), built(4, 4, 3, padding=1)
        for parameter in source.parameters():
            nn.init.normal_(parameter)
        optimizer = torch.optim.SGD(target.parameters(), lr=0.1)
        state = {f'0.{name}': value for name, value in source.state_dict().items()}
        nn.Sequential(target).load_state_dict(state, strict=True)
        x = torch.randn(1, 4, 6, 6)
        torch.testing.assert_close(target(x), source(x))
        assert len(messages) == 1
        assert '0.conv_offset' in messages[0] and str(source.conv_offset.out_channels) in messages[0]
        before = target.conv_offset.weight.detach().clone()
        target(x).square().sum().backward()
        optimizer.step()
        assert not torch.equal(target.conv_offset.weight, before)

    def test_other_row_counts_are_errors(self):
        layer = DeformConv2dPack(4, 4, 3)
        state = layer.state_dict()
        state['conv_offset.weight'] = torch.zeros(36, 4, 3, 3)
        with pytest.raises(RuntimeError, match='conv_offset.weight'):
            layer.load_state_dict(state)


class TestTorchvision:
    """What is done with a missing, broken and working torchvision; the working one is a stand-in made of the twins."""

    @pytest.fixture
    def install(self, monkeypatch):
        def install(**functions):
            module = types.ModuleType('torchvision')
            module.ops = types.SimpleNamespace(roi_align=lambda *_, **__: torch.ones(1), **functions)
            monkeypatch.setitem(sys.modules, 'torchvision', module)
            monkeypatch.setattr(torchvision_ops, '_KERNELS', {})

        return install

    def test_broken(self, install, monkeypatch):
        messages = []
        monkeypatch.setattr(torchvision_ops, 'print_log', lambda message, *_: messages.append(message))

        def broken(*args):
            raise RuntimeError('operator torchvision::nms does not exist')

        install(nms=broken)
        inputs = random_inputs()
        torch.testing.assert_close(deform_conv2d(**inputs), by_definition(**inputs))
        deform_conv2d(**inputs)
        assert len(messages) == 1 and 'does not exist' in messages[0]

    def test_wrong_answer_counts_as_broken(self, install):
        install(nms=lambda *_: torch.zeros(0, dtype=torch.int64))
        assert torchvision_ops.torchvision_kernel('nms') is None

    def test_missing(self, monkeypatch):
        monkeypatch.setitem(sys.modules, 'torchvision', None)
        monkeypatch.setattr(torchvision_ops, '_KERNELS', {})
        assert torchvision_ops.torchvision_kernel('deform_conv2d') is None

    def test_working(self, install):
        calls = []

        def kernel(x, offset, weight, bias=None, stride=(1, 1), padding=(0, 0), dilation=(1, 1), mask=None):
            calls.append((tuple(x.shape), stride, padding, dilation))
            groups, points = x.shape[1] // weight.shape[1], weight.shape[2] * weight.shape[3]
            deform_groups = offset.shape[1] // (2 * points)
            return deform_conv2d_torch(x, offset, weight, bias, stride, padding, dilation, groups, deform_groups, mask)

        install(nms=nms, deform_conv2d=kernel)
        inputs = random_inputs(groups=2, deform_groups=2, stride=2, modulated=True)
        torch.testing.assert_close(deform_conv2d(**inputs), by_definition(**inputs))
        assert calls[-1] == ((2, 4, 5, 4), (2, 2), (1, 1), (1, 1))

    def test_kernels_of_the_cpu_alone(self, install, device):
        """A CPU build of torchvision beside a CUDA build of torch: its operators refuse tensors on the GPU."""

        def refusing(function):
            def kernel(x, *args):
                if x.is_cuda:
                    raise NotImplementedError("Could not run 'torchvision::nms' with arguments from the 'CUDA' backend")
                return function(x, *args)

            return kernel

        install(nms=refusing(nms), deform_conv2d=refusing(lambda x, *_: x))
        inputs = random_inputs()
        boxes = torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 8], [20, 20, 30, 30]], device=device)
        assert nms(boxes, torch.tensor([0.5, 0.9, 0.1], device=device), 0.6).tolist() == [1, 2]
        if device == 'cuda':
            torch.testing.assert_close(deform_conv2d(**on(device, inputs)).cpu(), by_definition(**inputs))

    def test_not_where_gradients_must_be_deterministic(self, install, device):
        calls = []
        first = torch.zeros(1, dtype=torch.int64)
        install(nms=lambda *_: first, deform_conv2d=lambda x, *_: calls.append(x.device.type) or x)
        inputs = on(device, random_inputs(c=4, out_c=4))
        torch.use_deterministic_algorithms(True)
        try:
            deform_conv2d(**inputs)
            assert calls == (['cpu'] * 2 if device == 'cpu' else ['cuda'])  # the first is the trial of the kernel
            with torch.no_grad():
                deform_conv2d(**inputs)
            assert calls[-1] == device
        finally:
            torch.use_deterministic_algorithms(False)
