"""Mixing, erasing and policy transforms with the random numbers given: geometry and pixels of mmdetection 3.3.0.

Image k of size (h, w) has the value (31 y + 17 x + 53 c + 97 k) mod 256 at (y, x, c); the labels of its boxes are 10 k, 10 k + 1, ...
"""

import copy
from math import ceil
from unittest import mock

import mmcv
import numpy as np
import pytest

from mmdet.core.boxes import HorizontalBoxes
from mmdet.core.masks import BitmapMasks
from mmdet.datasets import transforms as T
from mmdet.errors import ConfigError, DataError
from mmdet.models.data_preprocessors import DetDataPreprocessor


def sample(height, width, k, boxes):
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing='ij')
    return dict(
        img=((31 * y + 17 * x + 53 * c + 97 * k) % 256).astype(np.uint8),
        img_shape=(height, width),
        gt_bboxes=np.array(boxes, np.float32).reshape(-1, 4),
        gt_bboxes_labels=np.arange(len(boxes)) + 10 * k,
        gt_ignore_flags=np.zeros(len(boxes), bool),
    )


def given(*values):
    """Patches of numpy's functions that return ``values`` in turn."""
    left = list(values)

    def draw(*_, **__):
        value = left.pop(0)
        return np.array(value) if isinstance(value, list) else value

    names = ('uniform', 'randint', 'rand', 'random', 'random_sample', 'choice')
    return left, mock.patch.multiple(np.random, **{name: draw for name in names})


def run(transform, results, draws):
    left, patches = given(*draws)
    with patches:
        results = transform(results)
    assert not left
    return results


A = sample(40, 60, 0, [[5, 5, 30, 25], [50, 30, 60, 40]])
B = sample(60, 40, 1, [[2, 10, 38, 58]])
C = sample(30, 30, 2, [[0, 0, 10, 10], [12, 12, 28, 29]])
D = sample(50, 100, 3, [[60, 20, 98, 48], [1, 1, 5, 5]])
MIXED = dict(sample(48, 64, 4, [[10, 10, 50, 40]]), mix_results=[A])
PASTED = dict(
    sample(48, 64, 6, [[4, 4, 30, 30], [40, 8, 60, 44], [20, 34, 34, 46]]),
    mix_results=[sample(48, 64, 7, [[24, 2, 62, 46], [2, 36, 18, 44], [0, 0, 6, 6]])],
)
ODD = sample(37, 61, 0, [[5, 5, 30, 25], [50, 30, 61, 37]])
KEPT = [[5, 5, 30, 25], [50, 30, 60, 40]]
CASES = {
    'mosaic': (
        T.Mosaic(img_scale=(64, 48)), dict(A, mix_results=[B, C, D]), [0.0, 0.9, 1.2], 122.4785, [227, 56, 77],
        [[0, 20.3333, 25, 41.6667], [46.3333, 47, 57, 57.6667], [58.6, 17, 87.4, 55.4], [9, 57, 25, 73], [28.2, 76.2, 53.8, 96],
         [95.4, 69.8, 119.72, 87.72], [57.64, 57.64, 60.2, 60.2]], [0, 1, 10, 20, 21, 30, 31],
    ),
    # The pixels of a mixture are rounded once more than in the reference: 126.6477 and 124.0168 there.
    'mixup': (
        T.MixUp(img_scale=(64, 48), ratio_range=(0.8, 1.6)), MIXED, [1.25, 0.7, 7, 3], 126.8279, [127, 128, 179],
        [[10, 10, 50, 40], [37, 0, 64, 26.3333], [0, 33, 10.3333, 46.3333]], [40, 0, 1],
    ),
    'small mixup': (
        T.MixUp(img_scale=(64, 48), ratio_range=(0.8, 1.6)), MIXED, [0.8, 0.3], 124.1253, [129, 124, 177],
        [[10, 10, 50, 40], [4.2667, 4.2667, 25.6, 21.3333], [42.6667, 25.6, 51, 34.1333]], [40, 0, 1],
    ),
    'hsv': (T.YOLOXHSVRandomAug(), sample(16, 16, 5, [[1, 1, 9, 9]]), [[0.5, -0.4, 0.8], [1, 1, 1]], 148.7747, [123, 184, 231], [[1, 1, 9, 9]], [50]),
    'copy paste': (
        T.CopyPaste(paste_by_box=True), PASTED, [2, [0, 1]], 127.4748, [175, 228, 25],
        [[4, 4, 24, 30], [20, 34, 24, 46], [24, 2, 62, 46], [2, 36, 18, 44]], [60, 62, 70, 71],
    ),
    'erasing': (
        T.RandomErasing(n_patches=(1, 3), ratio=(0.1, 0.5), bbox_erased_thr=0.5), sample(40, 60, 0, [[5, 5, 20, 15], [40, 20, 60, 40]]),
        [2, 0.5, 4, 2, 0.25, 45, 30], 127.5933, [106, 159, 212], [[40, 20, 60, 40]], [1],
    ),
    'cut out': (
        T.CutOut(n_holes=(1, 3), cutout_ratio=[(0.2, 0.3), (0.5, 0.1)]), sample(40, 60, 0, [[5, 5, 20, 15]]),
        [2, 50, 30, 1, 10, 12, 0], 117.5267, [106, 159, 212], [[5, 5, 20, 15]], [0],
    ),
    'shortest edge': (
        T.ResizeShortestEdge(scale=50, max_size=70, keep_ratio=True), ODD, [], 127.5072, [58, 111, 163],
        [[5.6557, 5.6757, 33.9344, 28.3784], [56.5574, 34.0541, 69, 42]], [0, 1],
    ),
    'shortest edge, no limit': (
        T.ResizeShortestEdge(scale=50, keep_ratio=True), ODD, [], 127.5023, None,
        [[6.7213, 6.7568, 40.3279, 33.7838], [67.2131, 40.5405, 82, 50]], [0, 1],
    ),
    'fixed scale': (
        T.FixScaleResize(scale=(70, 50), keep_ratio=True), ODD, [], 127.5104, None,
        [[5.7377, 5.6757, 34.4262, 28.3784], [57.377, 34.0541, 70, 42]], [0, 1],
    ),
    'resize': (T.Resize(scale=(70, 50), keep_ratio=True), ODD, [], 127.5104, None,
               [[5.7377, 5.6757, 34.4262, 28.3784], [57.377, 34.0541, 70, 42]], [0, 1]),
    'large scale jitter': (
        T.RandomResize(scale=(64, 64), ratio_range=(0.1, 2.0), keep_ratio=True), A, [1.05], 127.4915, None,
        [[5.5833, 5.625, 33.5, 28.125], [55.8333, 33.75, 67, 45]], [0, 1],
    ),
    'between two scales': (
        T.RandomResize(scale=[(80, 40), (80, 60)], keep_ratio=True), A, [80, 51], 127.4682, None,
        [[6.4167, 6.375, 38.5, 31.875], [64.1667, 38.25, 77, 51]], [0, 1],
    ),
    'one of two scales': (
        T.RandomChoiceResize(scales=[(80, 40), (80, 60)], keep_ratio=True), A, [1], 127.4836, None,
        [[6.6667, 6.625, 40, 33.125], [66.6667, 39.75, 80, 53]], [0, 1],
    ),
    'filter': (T.FilterAnnotations(min_gt_bbox_wh=(10, 10)), A, [], 127.6044, [106, 159, 212], [[5, 5, 30, 25]], [0]),
    'filter, none left': (T.FilterAnnotations(min_gt_bbox_wh=(30, 30), keep_empty=False), A, [], 127.6044, [106, 159, 212], np.zeros((0, 4)), []),
    'grey pad': (T.Pad(size=(80, 70), pad_val=dict(img=(114, 114, 114))), A, [], 119.8305, [229, 26, 79], KEPT, [0, 1]),
    'crop, range': (
        T.RandomCrop(crop_type='absolute_range', crop_size=(20, 32), recompute_bbox=True, allow_negative_crop=True), A, [24, 30, 9, 14],
        127.0741, [120, 173, 226], [[0, 0, 16, 16]], [0],
    ),
    'crop': (T.RandomCrop(crop_size=(50, 30)), A, [4, 8], 127.5227, [126, 179, 232], [[0, 1, 22, 21], [42, 26, 50, 30]], [0, 1]),
    'crop, shares': (
        T.RandomCrop(crop_type='relative_range', crop_size=(0.3, 0.7)), A, [[0.5, 0.25], 3, 2], 127.4181, [153, 206, 3], [[3, 2, 28, 22]], [0],
    ),
    'copy paste, low threshold': (
        T.CopyPaste(paste_by_box=True, mask_occluded_thr=40), PASTED, [2, [0, 1]], 127.4748, [175, 228, 25],
        [[4, 4, 24, 30], [20, 34, 24, 46], [24, 2, 62, 46], [2, 36, 18, 44]], [60, 62, 70, 71],
    ),
    'shear x': (T.ShearX(level=5), A, [0.2, 0.1], 127.6601, [15, 68, 121], [[6.3397, 5, 36.6987, 25], [58.0385, 30, 60, 40]], [0, 1]),
    'shear y': (T.ShearY(level=4), A, [0.2, 0.9], 127.6304, [48, 101, 154], [[5, 0, 30, 23.9372], [50, 17.2466, 60, 29.3722]], [0, 1]),
    'rotate': (T.Rotate(level=6), A, [0.2, 0.1], 127.6682, [103, 156, 209], [[4.4995, 0, 34.4563, 24.8853], [42.6618, 35.8209, 55.2626, 40]], [0, 1]),
    'translate x': (T.TranslateX(level=7), A, [0.2, 0.9], 127.5422, [208, 5, 58], [[0, 5, 24, 25], [44, 30, 54, 40]], [0, 1]),
    'translate y': (T.TranslateY(), A, [0.2, 0.63, 0.1], 127.7444, [238, 35, 88], [[5, 9, 30, 29], [50, 34, 60, 40]], [0, 1]),
    'color': (T.Color(level=9), A, [0.2], 125.94, [62, 152, 242], KEPT, [0, 1]),
    'brightness': (T.Brightness(level=3), A, [0.2], 76.1647, [63, 95, 127], KEPT, [0, 1]),
    'contrast': (T.Contrast(level=2), A, [0.2], 127.5522, [117, 143, 170], KEPT, [0, 1]),
    'sharpness': (T.Sharpness(level=8), A, [0.2], 127.5472, [106, 159, 222], KEPT, [0, 1]),
    'solarize': (T.Solarize(level=5), A, [0.2], 63.4893, [106, 96, 43], KEPT, [0, 1]),
    'solarize add': (T.SolarizeAdd(level=6), A, [0.2], 160.5586, [172, 159, 212], KEPT, [0, 1]),
    'posterize': (T.Posterize(level=7), A, [0.2], 112.1022, [96, 128, 192], KEPT, [0, 1]),
    'equalize': (T.Equalize(), A, [0.2, 0.4], 132.5749, [110, 166, 221], KEPT, [0, 1]),
    'auto contrast': (T.AutoContrast(), A, [0.2, 0.4], 127.6044, [106, 159, 212], KEPT, [0, 1]),
    'invert': (T.Invert(), A, [0.2, 0.4], 127.3956, [149, 96, 43], KEPT, [0, 1]),
}  # fmt: skip


@pytest.mark.parametrize('case', CASES)
@pytest.mark.parametrize('as_object', [False, True])
def test_known_draws(case, as_object):
    transform, results, draws, mean, centre, boxes, labels = CASES[case]
    results = copy.deepcopy(results)
    if as_object:
        for part in (results, *results.get('mix_results', ())):
            part['gt_bboxes'] = HorizontalBoxes(part['gt_bboxes'])
    before = copy.deepcopy(results.get('mix_results'))
    made = run(transform, results, draws)
    assert made['img'].dtype == np.uint8 and made['img_shape'] == made['img'].shape[:2]
    assert made['img'].mean() == pytest.approx(mean, abs=1e-3)
    if centre is not None:
        assert made['img'][made['img'].shape[0] // 2, made['img'].shape[1] // 2].tolist() == centre
    assert isinstance(made['gt_bboxes'], HorizontalBoxes if as_object else np.ndarray)
    np.testing.assert_allclose(made['gt_bboxes'].numpy() if as_object else made['gt_bboxes'], boxes, atol=1e-3)
    assert made['gt_bboxes_labels'].tolist() == labels and made['gt_ignore_flags'].tolist() == [False] * len(labels)
    for part, copied in zip(results.get('mix_results') or (), before or ()):  # partners may be in use elsewhere
        np.testing.assert_array_equal(part['img'], copied['img'])


def test_affine_of_a_mosaic():
    mosaic = run(CASES['mosaic'][0], copy.deepcopy(CASES['mosaic'][1]), CASES['mosaic'][2])
    affine = T.RandomAffine(scaling_ratio_range=(0.1, 2), border=(-32, -24))
    made = run(affine, mosaic, [5.0, 0.8, 1.0, -1.5, 0.05, -0.08])
    assert made['img'].shape == (48, 64, 3) and made['img'].mean() == pytest.approx(124.4498, abs=1e-3)
    boxes = [[0.8744, 12.4019, 22.0194, 30.664], [36.9634, 35.9664, 46.0726, 45.0078], [46.8808, 12.6022, 64, 44.6825]]
    np.testing.assert_allclose(made['gt_bboxes'][:3], boxes, atol=1e-3)
    assert made['gt_bboxes_labels'].tolist() == [0, 1, 10, 20, 31]  # what lay outside is gone


def test_no_objects_left():
    cropped = sample(40, 60, 0, [[5, 5, 12, 12]])
    assert run(T.RandomCrop(crop_size=(10, 10)), cropped, [28, 40]) is None
    assert run(T.FilterAnnotations(min_gt_bbox_wh=(30, 30)), copy.deepcopy(A), []) is None
    empty = run(T.FilterAnnotations(min_gt_bbox_wh=(30, 30)), sample(40, 60, 0, []), [])
    assert empty is not None  # it had none from the start


def test_large_scale_jitter():
    """The whole recipe, with masks: the boxes are those of what the crop shows of the masks, and the batch has one size."""
    pipeline = T.Compose([
        dict(type='RandomResize', scale=(64, 64), ratio_range=(0.1, 2.0), keep_ratio=True),
        dict(type='RandomCrop', crop_type='absolute_range', crop_size=(64, 64), recompute_bbox=True, allow_negative_crop=True),
        dict(type='FilterAnnotations', min_gt_bbox_wh=(1e-2, 1e-2)),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PackDetInputs'),
    ])  # fmt: skip
    masks = np.zeros((2, 40, 60), np.uint8)
    masks[0, 10:20, 5:25] = masks[1, 30:36, 50:60] = 1  # the first is not as high as its box
    samples = []
    np.random.seed(0)
    while len(samples) < 12:
        made = pipeline(dict(copy.deepcopy(A), gt_masks=BitmapMasks(masks, 40, 60)))
        if made is not None:
            samples.append(made)
    for made in samples:
        instances = made['data_samples'].gt_instances
        height, width = made['data_samples'].img_shape
        assert max(height, width) <= 64 and made['inputs'].shape[1:] == (height, width)
        for (x1, y1, x2, y2), mask in zip(instances.bboxes.tolist(), instances.masks.masks):
            rows, columns = mask.any(1).nonzero()[0], mask.any(0).nonzero()[0]
            assert [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1] == pytest.approx([x1, y1, x2, y2], abs=1)
    assert len({len(made['data_samples'].gt_instances) for made in samples}) > 1
    preprocessor = DetDataPreprocessor(batch_augments=[dict(type='BatchFixedSizePad', size=(64, 64))])
    batch = dict(inputs=[made['inputs'] for made in samples], data_samples=[made['data_samples'] for made in samples])
    batch = preprocessor(batch, training=True)
    assert batch['inputs'].shape == (12, 3, 64, 64)
    assert {made.batch_input_shape for made in batch['data_samples']} == {(64, 64)}


def test_samples_without_objects():
    empty = sample(40, 60, 0, [])
    made = run(T.Mosaic(img_scale=(8, 8)), dict(copy.deepcopy(empty), mix_results=[empty] * 3), [0.0, 1.0, 1.0])
    assert made['gt_bboxes'].shape == (0, 4) and made['img'].shape == (16, 16, 3)
    alone = dict(copy.deepcopy(A), mix_results=[empty])
    assert run(T.MixUp(), alone, [])['img'] is alone['img']
    assert (
        run(T.CopyPaste(paste_by_box=True), dict(copy.deepcopy(A), mix_results=[empty]), [0])['img'].mean()
        == A['img'].mean()
    )
    assert len(run(T.RandomErasing(1, 0.5), copy.deepcopy(empty), [0, 0])['gt_bboxes']) == 0
    images = [dict(img=np.zeros((8, 8, 3), np.uint8)) for _ in range(4)]  # no annotations at all
    made = run(T.Mosaic(img_scale=(8, 8)), dict(images[0], mix_results=images[1:]), [0.0, 1.0, 1.0])
    assert 'gt_bboxes' not in made


@pytest.mark.parametrize('transform', [T.Mosaic(), T.MixUp(), T.CopyPaste()])
def test_partners_come_from_a_dataset(transform):
    with pytest.raises(DataError, match='MultiImageMixDataset'):
        transform(copy.deepcopy(A))


def test_copy_paste_needs_masks_and_one_size():
    with pytest.raises(DataError, match='with_mask=True'):
        run(T.CopyPaste(), dict(copy.deepcopy(A), mix_results=[A]), [1, [0]])
    with pytest.raises(DataError, match='same size'):
        T.CopyPaste()(dict(copy.deepcopy(A), mix_results=[B]))


def test_cached_mosaic_waits_for_five_images():
    transform = T.CachedMosaic(img_scale=(16, 16), max_cached_images=6, random_pop=False)
    shapes = []
    for _ in range(8):
        results = copy.deepcopy(A)
        shapes.append(transform(results)['img'].shape[:2])
    assert shapes == [(40, 60)] * 4 + [(32, 32)] * 4 and len(transform.cache) == 6
    np.testing.assert_array_equal(transform.cache[0]['img'], A['img'])


def test_cached_mixup_never_takes_the_image_itself():
    transform = T.CachedMixUp(img_scale=(60, 40), max_cached_images=2, random_pop=False)
    assert transform(copy.deepcopy(A))['gt_bboxes_labels'].tolist() == [0, 1]
    assert transform(copy.deepcopy(D))['gt_bboxes_labels'].tolist()[:2] == [30, 31]
    assert set(transform(copy.deepcopy(C))['gt_bboxes_labels'].tolist()) <= {
        20,
        21,
        30,
        31,
    }  # A was dropped from the cache


def test_policies():
    assert len(T.AutoAugment().transforms) == 25 and len(T.RandAugment().transforms) == 15
    policy = T.AutoAugment([[dict(type='Invert')], [dict(type='Solarize', level=10)]])
    assert run(policy, copy.deepcopy(A), [0, 0.2, 0.5])['img'][0, 0].tolist() == [255, 202, 149]
    made = run(
        T.RandAugment([[dict(type='Invert')], [dict(type='Invert')]], aug_num=2), copy.deepcopy(A), [[0, 1], 0, 0, 0, 0]
    )
    np.testing.assert_array_equal(made['img'], A['img'])


@pytest.mark.parametrize(
    ('transform', 'reference'),
    [
        (T.Color(), mmcv.adjust_color),
        (T.Brightness(), mmcv.adjust_brightness),
        (T.Contrast(), mmcv.adjust_contrast),
        (T.Sharpness(), mmcv.adjust_sharpness),
        (T.Solarize(), lambda image, magnitude: mmcv.solarize(image, min(magnitude, 255.0))),
        (T.Posterize(), lambda image, magnitude: mmcv.posterize(image, ceil(magnitude))),
        (T.Equalize(), lambda image, magnitude: mmcv.imequalize(image)),
        (T.AutoContrast(), lambda image, magnitude: mmcv.auto_contrast(image)),
        (T.Invert(), lambda image, magnitude: mmcv.iminvert(image)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, T.ColorTransform) else '',
)
def test_pixels_of_mmcv(transform, reference):
    """Look-up tables in place of passes over the image change no pixel."""
    drawn = np.random.RandomState(0)
    images = [
        drawn.randint(0, 256, (37, 61, 3)),
        drawn.normal(120, 20, (64, 48, 3)).clip(0, 255),
        np.full((6, 9, 3), (0, 77, 255)),  # nothing to be spread
        drawn.randint(0, 2, (20, 20, 3)) * 255,
        np.zeros((1, 1, 3)),
    ]
    for image in (image.astype(np.uint8) for image in images):
        for share in np.linspace(0, 1, 12):
            magnitude = round(float(transform.min_mag + share * (transform.max_mag - transform.min_mag)), 1)
            np.testing.assert_array_equal(transform.change(image, magnitude), reference(image, magnitude))


@pytest.mark.parametrize(
    ('name', 'arguments'),
    [
        ('Mosaic', dict(center_ratio_range=(0.5, 3))),
        ('Mosaic', dict(img_scale=(0, 4))),
        ('MixUp', dict(ratio_range=(0, 1))),
        ('CachedMosaic', dict(max_cached_images=3)),
        ('RandomAffine', dict(scaling_ratio_range=(0, 1))),
        ('RandomAffine', dict(border=(1.5, 0))),
        ('CutOut', dict(n_holes=1)),
        ('RandomErasing', dict(n_patches=(3, 1), ratio=0.5)),
        ('RandomErasing', dict(n_patches=1, ratio=2)),
        ('Rotate', dict(level=11)),
        ('AutoAugment', dict(policies=[dict(type='Invert')])),
        ('RandAugment', dict(aug_num=16)),
        ('YOLOXHSVRandomAug', dict(hue_delta=-1)),
    ],
)
def test_bad_arguments(name, arguments):
    with pytest.raises(ConfigError):
        getattr(T, name)(**arguments)
