"""ResNet, ResNeXt and Res2Net against published key lists, parameter counts and reference outputs."""

import pytest
import torch
from mmengine.model import BaseModule

from mmdet.registry import MODELS
from tests.reference_fill import fill_state_dict, image, statistics, u
from tests.reference_keys import reference_keys

DCN = dict(type='DCN', deform_groups=1, fallback_on_stride=False)
C3_C5, C4_C5 = (False, True, True, True), (False, False, True, True)
X101 = dict(type='ResNeXt', depth=101, groups=32, base_width=4)
CONFIGS = {
    'gfl_r50': dict(type='ResNet', depth=50),
    'gfl_r101': dict(type='ResNet', depth=101),
    'gfl_r101-dconv-c3-c5': dict(type='ResNet', depth=101, dcn=DCN, stage_with_dcn=C3_C5),
    'gfl_x101-32x4d': X101,
    'gfl_x101-32x4d-dconv-c4-c5': dict(**X101, dcn=DCN, stage_with_dcn=C4_C5),
    'gfl_res2net101-dconv-c4-c5': dict(
        type='Res2Net', depth=101, scales=4, base_width=26, dcn=DCN, stage_with_dcn=C4_C5
    ),
}
# Neck and head of the 80-class detectors: the rows of the sheet are whole detectors.
NECK_AND_HEAD = 32_440_537 - 23_508_032


def build(name: str, **kwargs) -> BaseModule:
    return MODELS.build(dict(CONFIGS[name], frozen_stages=1, norm_eval=True, style='pytorch', **kwargs))


def test_generator():
    assert u(0, 3).shape == (0,)
    assert u(6, 0).round(6).tolist() == [0.196807, 0.439477, 0.68404, 0.930496, -0.821157, -0.570916]
    assert u(9, 7)[:6].round(6).tolist() == [0.574457, 0.509196, 0.445827, 0.38435, 0.324766, 0.267075]


@pytest.mark.parametrize(
    'name, parameters, trainable',
    [
        ('gfl_r50', 32_440_537, 32_215_193),
        ('gfl_r101', 51_432_665, 51_207_321),
        ('gfl_r101-dconv-c3-c5', 52_718_837, 52_493_493),
        ('gfl_x101-32x4d', 51_061_209, 50_845_849),
        ('gfl_x101-32x4d-dconv-c4-c5', 53_467_053, 53_251_693),
        ('gfl_res2net101-dconv-c4-c5', 53_576_605, None),
    ],
)
def test_keys_and_counts(name, parameters, trainable):
    with torch.device('meta'):
        backbone = build(name)
    shapes = {key: tuple(value.shape) for key, value in backbone.state_dict().items()}
    assert shapes == reference_keys(name, 'backbone.')
    assert sum(p.numel() for p in backbone.parameters()) == parameters - NECK_AND_HEAD
    if trainable is not None:
        assert sum(p.numel() for p in backbone.parameters() if p.requires_grad) == trainable - NECK_AND_HEAD


def test_res2net_backbone_parameters():
    with torch.device('meta'):
        assert sum(p.numel() for p in build('gfl_res2net101-dconv-c4-c5').parameters()) == 44_644_100


# Mean, std, min, max, first, last of C2..C5 for 1 x 3 x 96 x 128, measured with mmdetection 3.3.0 on CPU.
ROWS = {
    'gfl_r50': [
        ((256, 24, 32), (1.067416, 1.311973, 0.000000, 13.616343, 0.000000, 0.000000)),
        ((512, 12, 16), (1.392015, 1.511276, 0.000000, 10.459796, 0.102790, 1.447934)),
        ((1024, 6, 8), (1.742426, 1.832012, 0.000000, 12.957202, 0.425759, 0.799015)),
        ((2048, 3, 4), (1.364919, 1.686880, 0.000000, 14.519441, 3.462707, 2.860247)),
    ],
    'gfl_r101-dconv-c3-c5': [
        ((256, 24, 32), (1.067416, 1.311973, 0.000000, 13.616343, 0.000000, 0.000000)),
        ((512, 12, 16), (1.147790, 1.268858, 0.000000, 9.971400, 0.449513, 0.791354)),
        ((1024, 6, 8), (5.707970, 5.308583, 0.000000, 35.725365, 0.000000, 6.199524)),
        ((2048, 3, 4), (3.858313, 4.763443, 0.000000, 40.032623, 0.017633, 14.034510)),
    ],
    'gfl_x101-32x4d': [
        ((256, 24, 32), (0.937101, 1.176986, 0.000000, 14.222668, 0.224048, 0.360237)),
        ((512, 12, 16), (1.194705, 1.336383, 0.000000, 10.056757, 1.524936, 1.245756)),
        ((1024, 6, 8), (8.475584, 8.279791, 0.000000, 57.019718, 10.042346, 4.187868)),
        ((2048, 3, 4), (7.844867, 8.928599, 0.000000, 65.288475, 0.000000, 0.000000)),
    ],
}


@pytest.mark.parametrize(
    'name, absolute', [('gfl_r50', 2e-5), ('gfl_r101-dconv-c3-c5', 1e-4), ('gfl_x101-32x4d', 1e-4)]
)
def test_reference_outputs(name, absolute):
    backbone = build(name, init_cfg=[]).eval()
    backbone.load_state_dict(fill_state_dict(backbone.state_dict(), prefix='backbone.'), strict=True)
    with torch.no_grad():
        outputs = backbone(image())
    assert len(outputs) == 4
    for output, (shape, expected) in zip(outputs, ROWS[name]):
        assert tuple(output.shape) == (1, *shape)
        assert statistics(output) == pytest.approx(expected, abs=absolute, rel=0)
