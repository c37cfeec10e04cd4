"""Networks for clips."""

import pytest
import torch

from mmdet.errors import ConfigError
from mmdet.models.backbones import TinyNAS3DBackbone


def clip_structure():
    blocks = [{'class': 'Conv3DKXBNRELU', 'in': 3, 'out': 8, 'k': 3, 'kt': 1, 's': 2}]
    for out, k, kt, stride in [(8, 5, 1, 2), (16, 3, 3, 2), (16, 3, 3, 2), (24, 3, 3, 1), (24, 3, 3, 2)]:
        blocks.append({'class': 'SuperRes3DK1DWK1', 'in': blocks[-1]['out'], 'out': out, 'k': k, 'kt': kt, 's': stride, 'L': 2, 'btn': 16})  # fmt: skip
    return [*blocks, {'class': 'Conv3DKXBNRELU', 'in': 24, 'out': 32, 'k': 1, 'kt': 1}]


@pytest.mark.parametrize('norm_cfg', [None, dict(type='BN'), dict(type='SyncBN')])
def test_forward_and_backward(norm_cfg):
    torch.manual_seed(0)
    model = TinyNAS3DBackbone(clip_structure(), norm_cfg=norm_cfg, with_cp=norm_cfg is None)
    model.init_weights()
    outputs = model(torch.randn(2, 3, 5, 33, 64))
    shapes = [(2, 8, 5, 9, 16), (2, 16, 5, 5, 8), (2, 24, 5, 3, 4), (2, 32, 5, 2, 2)]
    assert [tuple(out.shape) for out in outputs] == shapes
    sum(out.mean() for out in outputs).backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())
    model.eval()
    assert model.out_strides == [4, 8, 16, 32]


def test_time_kernels():
    model = TinyNAS3DBackbone(clip_structure())
    conv = model.block_list[2].block_list[0].conv2.conv1
    assert (conv.kernel_size, conv.stride, conv.padding, conv.groups) == ((3, 3, 3), (1, 2, 2), (1, 1, 1), 16)
    assert model.block_list[1].block_list[0].conv2.conv1.kernel_size == (1, 5, 5)
    assert model.block_list[2].block_list[0].conv1.conv1.kernel_size == (1, 1, 1)


def test_parameters_of_a_published_network():
    blocks = [{'class': 'Conv3DKXBNRELU', 'in': 3, 'out': 24, 'k': 3, 'kt': 1, 's': 2}]
    for out, btn, k, kt, layers, stride in [(24, 32, 5, 1, 3, 2), (48, 96, 3, 3, 6, 2), (120, 176, 3, 3, 6, 2), (120, 176, 3, 3, 6, 1), (256, 384, 3, 3, 6, 2)]:  # fmt: skip
        blocks.append({'class': 'SuperRes3DK1DWK1', 'in': blocks[-1]['out'], 'out': out, 'btn': btn, 'k': k, 'kt': kt, 's': stride, 'L': layers})  # fmt: skip
    blocks.append({'class': 'Conv3DKXBNRELU', 'in': 256, 'out': 512, 'k': 1, 'kt': 1})
    assert sum(parameter.numel() for parameter in TinyNAS3DBackbone(blocks).parameters()) == 1_976_232


def test_no_space_to_depth():
    with pytest.raises(ConfigError, match='stem of class ConvKXBNRELU'):
        TinyNAS3DBackbone(clip_structure(), use_focus=True)
