"""Convolutions by tiles: the numbers of ordinary ones, which layers they replace, and that nothing of them stays."""

import pytest
import torch
from torch import nn

from mmdet.errors import ConfigError
from mmdet.export.winograd import WinogradConv2d, count_layers, fewer_multiplications, gains, transformed_weights

WIDE = dict(in_channels=128, out_channels=160, kernel_size=3, padding=1)


@pytest.mark.parametrize('size', [(1, 1), (4, 4), (5, 7), (13, 6)])
@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
def test_it_is_the_convolution(size, dtype, tolerance):
    torch.manual_seed(0)
    layer = nn.Conv2d(8, 5, 3, padding=1, bias=size != (4, 4)).double()
    images = torch.randn(2, 8, *size, dtype=torch.float64)
    expected = layer(images)
    layer.to(dtype).__class__ = WinogradConv2d
    layer.ready_weight = transformed_weights(layer.weight)
    found = layer(images.to(dtype))
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize(
    ('changes', 'expected'),
    [
        ({}, True),
        (dict(bias=False), True),
        (dict(in_channels=127), False),
        (dict(out_channels=80), False),
        (dict(kernel_size=1), False),
        (dict(stride=2), False),
        (dict(padding=0), False),
        (dict(padding='same'), False),
        (dict(dilation=2), False),
        (dict(groups=2), False),
        (dict(padding_mode='reflect'), False),
    ],
)
def test_layers_that_gain(changes, expected):
    assert gains(nn.Conv2d(**{**WIDE, **changes})) == expected


def test_other_layers_do_not():
    class Own(nn.Conv2d):
        """A convolution with a pass of its own."""

    assert not gains(Own(**WIDE)) and not gains(nn.Identity())


def test_the_detector_is_as_before():
    """Also a layer that two levels share, and after an error; the backbone is left alone."""
    detector = nn.Module()
    detector.backbone, detector.neck = nn.Conv2d(**WIDE), nn.ModuleList([nn.Conv2d(**WIDE), nn.Conv2d(3, 3, 3)])
    detector.neck.append(detector.neck[0])
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    with pytest.raises(KeyError), fewer_multiplications(detector):
        assert [type(layer) for layer in detector.neck] == [WinogradConv2d, nn.Conv2d, WinogradConv2d]
        assert type(detector.backbone) is nn.Conv2d and detector.state_dict().keys() == before.keys()
        raise KeyError
    assert all(type(layer) is nn.Conv2d for layer in (detector.backbone, *detector.neck))
    assert not dict(detector.named_buffers())
    torch.testing.assert_close(detector.state_dict(), before, atol=0, rtol=0)


def test_a_detector_without_such_layers_is_refused():
    small = nn.Module()
    small.neck = nn.Conv2d(3, 3, 3)
    with pytest.raises(ConfigError, match="no 3 x 3 convolution of stride 1 with 128 .*'fine': 0"):
        count_layers(dict(fine=small))
    with pytest.raises(ConfigError), fewer_multiplications(small):
        pass
    wide = nn.Module()
    wide.bbox_head = nn.Conv2d(**WIDE)
    assert count_layers(dict(coarse=small, fine=wide)) == '0 convolutions of coarse, 1 convolutions of fine'
