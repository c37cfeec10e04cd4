"""Counts against formulas written out by hand, and the fact sheet's figures."""

import pytest
import torch
from torch import nn

from mmdet.analysis import count_dataset_flops, count_flops
from mmdet.ops import DeformConv2dPack, ModulatedDeformConv2dPack, MSDeformAttn
from mmdet.registry import MODELS
from mmdet.utils import ConfigError, load_config


def run(model, inputs):
    return model(inputs)


def build(repository, name):
    return MODELS.build(load_config(repository / 'configs' / name).model)


def test_module_without_operators_costs_nothing():
    report = count_flops(nn.Sequential(nn.ReLU()), (8, 8), forward=run)
    assert (report.macs, report.flops, report.params, report.parts) == (0, 0, 0, [])
    assert 'total' in report.table()


def test_convolutions_by_formula():
    model = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 12, 3, groups=4))
    report = count_flops(model, (16, 20), forward=run)
    first = 8 * 8 * 10 * 3 * 9  # out channels * 8 x 10 locations * in channels * kernel
    second = 12 * 6 * 8 * (8 // 4) * 9
    assert report.macs == first + second
    assert report.flops == 2 * (first + second)
    assert [part.macs for part in report.parts] == [first, 0, second]
    assert report.params == (8 * 27 + 8) + 16 + (12 * 18 + 12)
    assert report.total.kinds == dict(conv=first + second)


@pytest.mark.parametrize('layer, offsets', [(DeformConv2dPack, 18), (ModulatedDeformConv2dPack, 27)])
@pytest.mark.parametrize('groups', [1, 2])
def test_deformable_convolution_by_formula(layer, offsets, groups):
    report = count_flops(nn.Sequential(nn.Conv2d(3, 8, 1), layer(8, 12, 3, padding=1, groups=groups)), 16, forward=run)
    kinds = report.modules['1'].kinds
    assert kinds['conv'] == 16 * 16 * 8 * 9 * offsets  # what predicts the offsets
    assert kinds['matmul'] == 16 * 16 * 12 * (8 // groups) * 9  # a plain convolution of this shape
    assert kinds['sampling'] == 4 * 8 * 9 * 16 * 16
    assert report.modules['1'].macs == kinds['conv'] + kinds['matmul']


def test_attention_by_formula():
    class Attention(nn.Module):
        def forward(self, inputs):
            query = inputs.new_zeros(2, 3, 10, 4)
            key, value = inputs.new_zeros(2, 3, 7, 4), inputs.new_zeros(2, 3, 7, 4)
            return torch.nn.functional.scaled_dot_product_attention(query, key, value)

    assert count_flops(Attention(), 4, forward=run).macs == 2 * 3 * 10 * 7 * (4 + 4)


def test_multi_scale_deformable_attention_by_formula():
    attention = MSDeformAttn(embed_dims=8, num_levels=2, num_heads=2, num_points=3)

    def forward(module, inputs):
        shapes = [(4, 4), (2, 2)]
        return module(inputs.new_zeros(1, 5, 8), inputs.new_zeros(1, 5, 1, 2), inputs.new_zeros(1, 20, 8), shapes)

    kinds = count_flops(attention, 4, forward=forward).total.kinds
    samples = 2 * 2 * 3  # heads, levels, points
    assert kinds['sampling'] == 4 * 5 * 8 * (2 * 3)  # 5 queries, 8 channels, 2 levels, 3 points
    assert kinds['matmul'] == 20 * 8 * 8 + 5 * 8 * (2 * samples) + 5 * 8 * samples + 5 * 8 * 8


def resnet50_macs(height, width):
    """Backbone of ResNet-50 v1.5: stem, then four stages of bottlenecks whose first 3x3 convolution has the stride."""
    area = height * width // 4
    macs, channels = area * 3 * 64 * 49, 64
    area //= 4
    for stage, blocks in enumerate((3, 4, 6, 3)):
        planes = 64 * 2**stage
        for block in range(blocks):
            smaller = area // 4 if block == 0 and stage else area
            macs += area * channels * planes + smaller * planes * planes * 9 + smaller * planes * 4 * planes
            if block == 0:
                macs += smaller * channels * 4 * planes
            channels, area = 4 * planes, smaller
    return macs


def gfl_head_macs(locations, classes=80, bins=17):
    return locations * 9 * 256 * (8 * 256 + classes + 4 * bins)


def test_gfl_r50_at_800x1280_by_formula(repository):
    model = build(repository, 'gfl/gfl_r50_fpn_1x_coco.py')
    model.train()
    report = count_flops(model, (800, 1280))
    areas = [100 * 160, 50 * 80, 25 * 40, 13 * 20, 7 * 10]
    lateral = sum(area * channels * 256 for area, channels in zip(areas, (512, 1024, 2048)))
    macs = {part.name: part.macs for part in report.parts}
    assert macs['backbone'] == resnet50_macs(800, 1280)
    assert macs['neck'] == lateral + sum(areas) * 9 * 256 * 256
    assert macs['bbox_head'] == gfl_head_macs(sum(areas))
    assert report.macs == 207_582_832_640
    assert report.params == 32_440_537
    assert model.training  # as it was


@pytest.mark.parametrize(
    'shape, parts, total',
    [((800, 1280), (226.6, 14.6, 107.9), 349.1), ((800, 1333), (240.2, 15.4, 113.3), 368.9)],
)  # fmt: skip
def test_vit_adapter_against_measurements_of_the_reference(repository, shape, parts, total):
    model = build(repository, 'vit_adapter/gfl_deit_adapter_small_fpn_3x_coco.py')
    report = count_flops(model, shape)
    assert [round(part.macs / 1e9, 1) for part in report.parts] == list(parts)
    assert round(report.macs / 1e9, 1) == total
    assert report.params == 35_813_801


def test_dcn_backbone_and_the_real_forward_afterwards(repository):
    cfg = load_config(repository / 'configs/gfl/gfl_r101-dconv-c3-c5_fpn_ms-2x_coco.py', {'model.backbone.depth': 50})
    model = MODELS.build(cfg.model).eval()
    plain = count_flops(build(repository, 'gfl/gfl_r50_fpn_1x_coco.py'), 64)
    report = count_flops(model, 64)
    stages = ((8, 128, 4), (4, 256, 6), (2, 512, 3))  # side of the output, channels, blocks
    assert report.macs == plain.macs + sum(side * side * c * 9 * 18 * blocks for side, c, blocks in stages)
    assert report.total.sampling == sum(4 * side * side * c * 9 * blocks for side, c, blocks in stages)
    with torch.no_grad():  # nothing of the stand-in tensors stayed in a cache
        scores, _ = model(torch.zeros(1, 3, 64, 64), mode='tensor')
    assert torch.isfinite(scores[0]).all()


def test_padding_and_dataset_mean(repository):
    model = build(repository, 'bccd/gfl_small_bccd.py')
    square, wide = count_flops(model, 64), count_flops(model, (40, 70))
    assert (square.padded_hw, wide.padded_hw) == ((64, 64), (64, 96))
    dataset = [dict(inputs=torch.zeros(3, *shape)) for shape in ((64, 64), (64, 64), (40, 70))]
    mean, sizes = count_dataset_flops(model, dataset, 10)
    assert mean == (2 * square.macs + wide.macs) / 3
    assert sizes == {(64, 64): 2, (64, 96): 1}


@pytest.mark.parametrize('shape', [0, (8, 8, 8), (-1, 8), (8.5, 8)])
def test_wrong_shapes(shape):
    with pytest.raises(ConfigError, match='positive integers'):
        count_flops(nn.Conv2d(3, 1, 1), shape, forward=run)


def test_value_dependent_forward_is_refused():
    class Picky(nn.Module):
        def forward(self, inputs):
            return inputs[inputs > 0] if inputs.sum() > 0 else inputs

    with pytest.raises(ConfigError, match='depends on values'):
        count_flops(Picky(), 8, forward=run)
