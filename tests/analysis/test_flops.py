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


def test_table_and_values_of_parts():
    model = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.ReLU()), nn.Conv2d(4, 2, 1, bias=False))
    model[1].weight.requires_grad = False
    report = count_flops(model, (100, 1000), forward=run)
    cells = [[cell.strip() for cell in row.split('|')[1:-1]] for row in report.table(2).splitlines() if '|' in row]
    assert cells[0] == ['part', 'G MAC', 'GFLOPs', 'sampling G MAC', 'params', 'share of MACs']
    assert cells[1:] == [
        ['0', '0.001', '0.002', '0.000', '12', '60.0%'], ['0', '0.001', '0.002', '0.000', '12', '60.0%'],
        ['1', '0.001', '0.002', '0.000', '8', '40.0%'], ['total', '0.002', '0.004', '0.000', '20', '100.0%'],
    ]  # fmt: skip
    assert [part.name for part in report.down_to(1)] == ['0', '1'] and [part.name for part in report.down_to(2)] == [
        '0',
        '0.0',
        '1',
    ]
    content = report.as_dict()
    assert content['shape_hw'] == [100, 1000] == content['padded_hw'] and [
        part['name'] for part in content['parts']
    ] == ['0', '1']
    assert content['total'] == dict(
        name='', type='Sequential', params=20, trainable_params=12, macs=2_000_000, flops=4_000_000, sampling_macs=0,
        macs_by_kind=dict(conv=2_000_000, matmul=0, attention=0, sampling=0),
    )  # fmt: skip
    assert str(report).splitlines() == [
        'input (height x width): 100 x 1000', 'multiply-adds: 0.002 G ("FLOPs" in mmdetection and most papers)',
        'FLOPs (2 per multiply-add): 0.004 G', 'parameters: 20 (12 trainable)',
    ]  # fmt: skip


def test_one_number_is_a_square_and_images_are_limited():
    conv = nn.Conv2d(3, 1, 1)
    assert count_flops(conv, 8, forward=run).shape_hw == (8, 8)
    assert count_flops(conv, [8], forward=run).shape_hw == (8, 8)
    model = build_stub(conv)
    mean, sizes = count_dataset_flops(model, [dict(inputs=torch.zeros(3, side, 2)) for side in (2, 4, 100)], 2)
    assert mean == 3 * (4 + 8) / 2 and sizes == {(2, 2): 1, (4, 2): 1}
    with pytest.raises(ConfigError, match='num_images'):
        count_dataset_flops(model, [], 0)


def build_stub(conv):
    """A detector of one convolution."""

    class Stub(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = conv

        def forward(self, inputs, mode):
            assert mode == 'tensor' and not torch.is_grad_enabled() and not self.training
            return self.conv(inputs)

    return Stub()


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


GFL = dict(
    type='GFL', data_preprocessor=dict(type='DetDataPreprocessor', pad_size_divisor=32),
    backbone=dict(type='ResNet', depth=18, base_channels=8, stem_channels=8),
    neck=dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=8, num_outs=4),
    bbox_head=dict(type='GFLHead', num_classes=2, in_channels=8, feat_channels=8, stacked_convs=1, norm_cfg=dict(type='GN', num_groups=2),
                   anchor_generator=dict(type='AnchorGenerator', octave_base_scale=8, scales_per_octave=1, ratios=[1.0], strides=[4, 8, 16, 32])),
    test_cfg=dict(nms=dict(type='nms', iou_threshold=0.6), max_per_img=10),
)  # fmt: skip


@pytest.fixture(scope='module')
def single():
    """What the detector costs at the sizes that the stages see."""
    model = MODELS.build(GFL)
    return {size: count_flops(model, size) for size in ((32, 64), (64, 64))}


@pytest.mark.parametrize(
    'model, passes',
    [
        # One look alone; a mosaic is a square that fills the second stage's scale, however little the image is enlarged.
        (dict(type='UFPMPDet', look_below=0, coarse=dict(scale=(64, 64), flip=False)), dict(coarse=[(32, 64)])),
        (
            dict(type='UFPMPDet', coarse=dict(scale=(64, 64)), fine=dict(scale=[(64, 64), (64, 96)], flip=False, max_zoom=1)),
            dict(coarse=[(32, 64)] * 2, fine=[(64, 64)] * 2),
        ),
        (
            dict(type='SlicedDet', tile_wh=(100, 100), overlap=0, stage=dict(scale=(64, 64), flip=False), whole=dict(flip=True)),
            dict(tiles=[(64, 64)] * 2, whole=[(32, 64)] * 2),
        ),
    ],
)  # fmt: skip
def test_composites_cost_what_their_stages_see(model, passes, single):
    first = 'coarse' if model['type'] == 'UFPMPDet' else 'stage'
    built = MODELS.build({**model, first: dict(model[first], detector=GFL)})
    report = count_flops(built, (100, 200))
    assert report.passes == passes
    assert report.as_dict()['passes'] == {name: [list(size) for size in sizes] for name, sizes in passes.items()}
    expected = {name: sum(single[size].macs for size in sizes) for name, sizes in passes.items()}
    assert {part.name: part.macs for part in report.parts} == expected and report.macs == sum(expected.values())
    # All stages share one detector here, which counts once.
    assert report.params == report.parts[0].params == single[32, 64].params
    assert report.modules[f'{report.parts[0].name}.neck'].macs > 0
    last, sizes = list(passes.items())[-1]
    (height, width), cost = sizes[0], f'{report.parts[-1].macs / 1e9:.3f} G multiply-adds'
    assert f'  {last}: {len(sizes)} of {height} x {width}, {cost}' in str(report).splitlines()
