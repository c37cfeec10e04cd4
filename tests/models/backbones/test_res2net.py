"""Res2Net: block structure, written-out cascade, stages."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmdet.models.backbones import Res2Net
from mmdet.models.backbones.res2net import Bottle2neck
from mmdet.ops import DeformConv2dPack

DCN = dict(type='DCN', deform_groups=1, fallback_on_stride=False)


def test_wrong_arguments():
    with pytest.raises(AssertionError, match='scales'):
        Bottle2neck(64, 64, base_width=26, scales=1)
    with pytest.raises(AssertionError, match='style'):
        Bottle2neck(64, 64, base_width=26, scales=4, style='tensorflow')
    with pytest.raises(AssertionError, match='conv_cfg'):
        Bottle2neck(64, 64, dcn=DCN, conv_cfg=dict(type='Conv2d'))
    with pytest.raises(AssertionError, match='stage_type'):
        Bottle2neck(64, 64, stage_type='first')
    with pytest.raises(KeyError):
        Res2Net(depth=18)


@pytest.mark.parametrize('with_cp', [False, True])
@pytest.mark.parametrize(
    ('stage_type', 'stride', 'style'), [('normal', 1, 'pytorch'), ('stage', 2, 'pytorch'), ('stage', 2, 'caffe')]
)
def test_block_by_its_formula(stage_type, stride, style, with_cp):
    """Width 8 * 32 / 64 = 4 of each of three chunks; the last is pooled by the 3x3 convolutions' stride."""
    torch.manual_seed(0)
    shortcut = nn.AvgPool2d(stride, ceil_mode=True)
    block = Bottle2neck(
        32,
        8,
        scales=3,
        base_width=32,
        stage_type=stage_type,
        stride=stride,
        style=style,
        with_cp=with_cp,
        downsample=shortcut,
    ).eval()
    x = torch.randn(2, 32, 7, 6, requires_grad=True)
    first, inner = (1, stride) if style == 'pytorch' else (stride, 1)
    a, b, c = F.relu(block.bn1(F.conv2d(x, block.conv1.weight, stride=first))).split(4, dim=1)
    a = F.relu(block.bns[0](F.conv2d(a, block.convs[0].weight, stride=inner, padding=1)))
    b = F.relu(
        block.bns[1](F.conv2d(b + a if stage_type == 'normal' else b, block.convs[1].weight, stride=inner, padding=1))
    )
    c = F.avg_pool2d(c, 3, inner, padding=1) if inner != 1 else c
    expected = F.relu(block.bn3(F.conv2d(torch.cat((a, b, c), 1), block.conv3.weight)) + shortcut(x))
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize(
    ('planes', 'base', 'width'), [(64, (26, 64), 26), (128, (26, 64), 52), (16, (26, 64), 6), (64, (26, 32), 52)]
)
def test_width_of_a_chunk(planes, base, width):
    block = Bottle2neck(64, planes, base_width=base[0], base_channels=base[1])
    assert (block.width, block.scales, len(block.convs)) == (width, 4, 3)
    assert block.conv1.out_channels == block.conv3.in_channels == 4 * width
    grouped = Bottle2neck(64, planes, base_width=base[0], base_channels=base[1], groups=2)
    assert grouped.width == width and {conv.groups for conv in grouped.convs} == {2}


def test_block_names():
    names = {name.rsplit('.', 1)[0] for name in Bottle2neck(64, 16, base_width=26, scales=4).state_dict()}
    expected = {'conv1', 'bn1', 'conv3', 'bn3', *(f'{kind}.{i}' for kind in ('convs', 'bns') for i in range(3))}
    assert names == expected


def test_deformable_block():
    block = Bottle2neck(64, 64, base_width=26, scales=4, dcn=DCN)
    assert [type(conv) for conv in block.convs] == [DeformConv2dPack] * 3


class TestCascade:
    """Inner convolutions that pass the middle pixel on times 2: the sums can be written out."""

    @staticmethod
    def block(**kwargs):
        block = Bottle2neck(4, 1, base_width=64, scales=4, **kwargs).eval()  # four chunks of one channel
        for conv in block.convs:
            nn.init.zeros_(conv.weight)
            conv.weight.data[..., 1, 1] = 2
        for bn in block.bns:
            bn.eps = 0
        return block

    chunks = torch.tensor([1.0, 10.0, 100.0, 1000.0]).view(1, 4, 1, 1)

    def test_normal(self):
        out = self.block()._inner(self.chunks.expand(1, 4, 3, 3))
        # 2*1; 2*(10+2); 2*(100+24); the last as it is
        assert out[0, :, 1, 1].tolist() == [2, 24, 248, 1000]

    def test_first_of_a_stage(self):
        out = self.block(stage_type='stage')._inner(self.chunks.expand(1, 4, 3, 3))
        assert out[0, :, 1, 1].tolist() == [2, 20, 200, 1000]

    def test_strided(self):
        out = self.block(stage_type='stage', stride=2)._inner(self.chunks.expand(1, 4, 4, 4))
        assert out.shape == (1, 4, 2, 2)
        # the pooling counts the padding: 4 of 9 at the corner
        assert out[0, :, 0, 0].tolist() == pytest.approx([2, 20, 200, 4000 / 9])
        assert out[0, 3, 1, 1] == 1000


def test_outputs():
    model = Res2Net(depth=50, scales=4, base_width=26, deep_stem=False).train()
    outs = model(torch.randn(1, 3, 32, 32))
    assert [tuple(out.shape)[1:] for out in outs] == [(256, 8, 8), (512, 4, 4), (1024, 2, 2), (2048, 1, 1)]
    assert len(model.stem) == 9
    assert [block.stage_type for block in model.layer2] == ['stage', 'normal', 'normal', 'normal']
    pool = model.layer1[0].downsample[0]
    assert isinstance(pool, nn.AvgPool2d) and pool.kernel_size == 1
    assert [layer[0].width for layer in (model.layer1, model.layer2, model.layer3, model.layer4)] == [26, 52, 104, 208]


def test_freezing_takes_the_stem():
    model = Res2Net(depth=50, frozen_stages=1).train()
    assert not any(parameter.requires_grad for parameter in model.stem.parameters())
    assert not any(parameter.requires_grad for parameter in model.layer1.parameters())
    assert not model.stem.training and not model.layer1.training


def test_zero_last_norm():
    model = Res2Net(depth=50)
    model.init_weights()
    assert all((block.norm3.weight == 0).all() for block in model.layer3)
    assert (model.layer3[0].bns[0].weight == 1).all()
