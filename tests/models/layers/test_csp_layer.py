"""Blocks of RTMDet and YOLOX: names and outputs of mmdetection 3.3 with weights by formula, on 8 x 8 pixels."""

import pytest
import torch

from mmdet.models.backbones.csp_darknet import Focus, SPPBottleneck
from mmdet.models.layers import ChannelAttention, CSPLayer
from mmdet.models.layers.csp_layer import CSPNeXtBlock, DarknetBottleneck
from mmdet.utils import ConfigError
from tests.reference_fill import fill_state_dict, statistics, tensor

# Module, side of its input, number of entries in the state dict, and mean, deviation, least, greatest, first and last output.
CASES = {
    'darknet': (lambda: CSPLayer(6, 8, num_blocks=2), 8, 42, (0.027517, 0.199176, -0.273699, 0.953365, -0.08713, 0.117656)),
    'depthwise': (
        lambda: CSPLayer(6, 8, num_blocks=1, use_depthwise=True, add_identity=False, expand_ratio=0.75), 8, 36,
        (0.018095, 0.106046, -0.269133, 0.476083, 0.342988, -0.117562),
    ),
    'cspnext': (
        lambda: CSPLayer(6, 8, num_blocks=2, use_cspnext_block=True, channel_attention=True), 8, 56,
        (0.036066, 0.112968, -0.23075, 0.566502, 0.03922, 0.129279),
    ),
    'cspnext depthwise': (
        lambda: CSPLayer(6, 8, use_cspnext_block=True, use_depthwise=True), 8, 42,
        (0.026491, 0.192253, -0.270944, 0.964315, -0.093668, 0.08252),
    ),
    'spp': (lambda: SPPBottleneck(6, 8), 16, 12, (0.071392, 0.224959, -0.277499, 0.82446, -0.198832, 0.132262)),
}  # fmt: skip


def filled(module):
    module.load_state_dict(fill_state_dict(module.state_dict()))
    return module.eval()


@pytest.mark.parametrize('name', CASES)
def test_outputs(name):
    make, side, entries, expected = CASES[name]
    module = filled(make())
    assert len(module.state_dict()) == entries
    with torch.no_grad():
        found = statistics(module(tensor((2, 6, side, side), 30)))
    torch.testing.assert_close(torch.tensor(found), torch.tensor(expected), rtol=1e-4, atol=1e-5)


def test_bottleneck_and_focus():
    with torch.no_grad():
        bottleneck = statistics(filled(DarknetBottleneck(8, 8))(tensor((2, 8, 8, 8), 30)))
        focus = filled(Focus(3, 8, 3))(tensor((2, 3, 8, 8), 30))
    assert focus.shape == (2, 8, 4, 4)
    expected = torch.tensor([[0.036486, 0.621068, -1.188371, 2.301474, 0.131359, 0.334023],
                             [0.065317, 0.290691, -0.277996, 1.95531, -0.171456, -0.248813]])  # fmt: skip
    torch.testing.assert_close(torch.tensor([bottleneck, statistics(focus)]), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('block', [DarknetBottleneck, CSPNeXtBlock])
def test_the_identity_needs_equal_channels(block):
    assert (
        block(4, 4).add_identity and not block(4, 6).add_identity and not block(4, 4, add_identity=False).add_identity
    )
    assert block(4, 6)(torch.zeros(1, 4, 5, 5)).shape == (1, 6, 5, 5)


def test_order_of_names():
    names = list(CSPLayer(4, 4, use_cspnext_block=True, channel_attention=True).state_dict())
    assert list(dict.fromkeys(name.split('.')[0] for name in names)) == [
        'main_conv', 'short_conv', 'final_conv', 'blocks', 'attention',
    ]  # fmt: skip
    assert 'blocks.0.conv2.pointwise_conv.conv.weight' in names


def test_channel_attention_by_hand():
    attention = ChannelAttention(2)
    attention.fc.weight.data[:] = torch.tensor([[6.0, 0], [0, 3]]).view(2, 2, 1, 1)
    attention.fc.bias.data[:] = torch.tensor([-3.0, 0])
    x = torch.tensor([[0.0, 1.0], [2.0, 0.0]]).view(1, 2, 1, 2)  # means 0.5 and 1, factors 0.5 and 1
    assert attention(x).flatten().tolist() == [0, 0.5, 2, 0]


@pytest.mark.parametrize('sizes', [(5, 9, 13), (3,), (7, 3, 3), ()])
def test_windows_of_any_order_equal_plain_pooling(sizes):
    spp = SPPBottleneck(4, 4 * (len(sizes) + 1), sizes).eval()
    spp.conv1, spp.conv2 = torch.nn.Identity(), torch.nn.Identity()
    x = torch.randn(2, 3, 9, 14)
    plain = [torch.nn.functional.max_pool2d(x, side, 1, side // 2) for side in sizes]
    assert torch.equal(spp(x), torch.cat([x, *plain], dim=1))


def test_even_windows_are_refused():
    with pytest.raises(ConfigError, match='odd'):
        SPPBottleneck(4, 4, (4,))
