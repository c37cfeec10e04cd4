"""Annotations that no transform changes are refused, in a table over every geometric transform."""

import numpy as np
import pytest

import mmdet.datasets.transforms as package
from mmdet.datasets.transforms.base import UNSUPPORTED_KEYS, GeometricTransform
from mmdet.errors import DataError
from mmdet.registry import TRANSFORMS

from .helpers import make_sample

# All of them draw "do nothing" or have nothing to do: what is drawn must not decide whether a mask is refused.
GEOMETRIC = dict(
    Albu=dict(transforms=[]),
    CachedMixUp=dict(),
    CachedMosaic=dict(),
    CopyPaste=dict(paste_by_box=True),
    Expand=dict(prob=0.0),
    FilterAnnotations=dict(),
    FixScaleResize=dict(scale=(20, 10), keep_ratio=True),
    FixShapeResize=dict(width=20, height=10),
    ForegroundMosaic=dict(prob=0.0),
    MinIoURandomCrop=dict(min_ious=[1.0]),
    MixUp=dict(),
    Mosaic=dict(prob=0.0),
    Pad=dict(size_divisor=1),
    RandomAffine=dict(),
    RandomCenterCropPad=dict(crop_size=(20, 10), mean=[0, 0, 0], std=[1, 1, 1], to_rgb=False),
    RandomChoiceResize=dict(scales=[(20, 10)]),
    RandomCrop=dict(crop_size=(20, 10)),
    RandomErasing=dict(n_patches=1, ratio=0.1),
    RandomFlip=dict(prob=0.0),
    RandomResize=dict(scale=[(20, 10), (20, 10)]),
    Resize=dict(scale=(20, 10)),
    ResizeShortestEdge=dict(scale=10),
    Rotate=dict(prob=0.0),
    ShearX=dict(prob=0.0),
    ShearY=dict(prob=0.0),
    TranslateX=dict(prob=0.0),
    TranslateY=dict(prob=0.0),
    WarpResize=dict(scale=(20, 10)),
)
OTHERS = {
    'AutoAugment', 'AutoContrast', 'BaseFrameSample', 'Brightness', 'Color', 'ColorTransform', 'Compose', 'Contrast', 'CutOut', 'Equalize', 'InferencerLoader',
    'Invert', 'LoadAnnotations', 'LoadImageFromFile', 'LoadImageFromNDArray', 'Normalize', 'PackDetInputs', 'PhotoMetricDistortion', 'Posterize',
    'RandAugment', 'RandomApply', 'RandomChoice', 'Sharpness', 'Solarize', 'SolarizeAdd', 'TestTimeAug', 'UniformRefFrameSample', 'YOLOXHSVRandomAug',
}  # fmt: skip


BASES = {'GeomTransform'}  # of transforms; no name of a config


def test_the_table_is_complete():
    assert set(package.__all__) == set(GEOMETRIC) | OTHERS | BASES
    for name in package.__all__:
        assert issubclass(getattr(package, name), GeometricTransform) == (name in GEOMETRIC or name in BASES), name
    assert {'gt_masks', 'gt_seg_map', 'gt_semantic_seg', 'gt_keypoints', 'proposals'} <= set(UNSUPPORTED_KEYS)


@pytest.mark.parametrize('key', UNSUPPORTED_KEYS)
@pytest.mark.parametrize('name', GEOMETRIC)
def test_masks_are_refused(name, key):
    transform = TRANSFORMS.build(dict(type=name, **GEOMETRIC[name]))
    sample = make_sample(20, 10, [[2, 2, 9, 9]])
    sample[key] = np.zeros((10, 20), np.uint8)
    before = dict(sample)
    with pytest.raises(DataError, match=rf'image\.jpg: {key}: {name} changes boxes only.*Received: .ndarray'):
        transform(sample)
    assert all(sample[field] is value for field, value in before.items())


@pytest.mark.parametrize('name', GEOMETRIC)
def test_a_key_without_a_mask_is_no_mask(name):
    partners = [make_sample(20, 10, [[1, 1, 8, 8]]) for _ in range(3)]
    sample = dict(
        make_sample(20, 10, [[2, 2, 9, 9]]), gt_masks=None, mix_results=partners[: 3 if 'Mosaic' in name else 1]
    )
    assert TRANSFORMS.build(dict(type=name, **GEOMETRIC[name]))(sample)['gt_masks'] is None


def test_pixel_transforms_let_masks_pass():
    mask = np.zeros((10, 20), np.uint8)
    for config in (dict(type='PhotoMetricDistortion'), dict(type='Normalize', mean=[0] * 3, std=[1] * 3)):
        assert TRANSFORMS.build(config)(dict(make_sample(20, 10), gt_seg_map=mask))['gt_seg_map'] is mask


@pytest.mark.parametrize(
    ('config', 'text'),
    [
        (
            dict(type='Resize', scale=(4, 3)),
            "Resize(scale=(4, 3), scale_factor=None, keep_ratio=False, clip_object_border=True, backend='cv2', "
            "interpolation='bilinear')",
        ),
        (dict(type='RandomFlip', prob=0.5), "RandomFlip(prob=[0.5], direction=['horizontal'])"),
        (
            dict(type='Normalize', mean=[1, 2, 3], std=[2, 2, 2]),
            'Normalize(mean=[1.0, 2.0, 3.0], std=[2.0, 2.0, 2.0], to_rgb=True)',
        ),
        (dict(type='PackDetInputs', meta_keys=['a']), "PackDetInputs(meta_keys=('a',))"),
        (
            dict(type='LoadAnnotations', box_type='hbox'),
            'LoadAnnotations(with_bbox=True, with_label=True, with_mask=False, with_seg=False, poly2mask=True, '
            "imdecode_backend='cv2', backend_args=None)",
        ),
        (dict(type='FilterAnnotations'), 'FilterAnnotations(min_gt_bbox_wh=(1, 1), keep_empty=True)'),
    ],
)
def test_texts(config, text):
    assert repr(TRANSFORMS.build(config)) == text


def test_texts_of_nested_transforms():
    choice = TRANSFORMS.build(dict(type='RandomChoiceResize', scales=[(4, 3)]))
    assert repr(choice).startswith('RandomChoiceResize(scales=[(4, 3)], resize=Resize(scale=(4, 3), ')
    ratio = TRANSFORMS.build(dict(type='RandomResize', scale=(4, 3), ratio_range=(0.5, 1)))
    assert repr(ratio).startswith('RandomResize(scale=[(4, 3)], ratio_range=(0.5, 1), resize=Resize(')
