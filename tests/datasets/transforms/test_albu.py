import os
import pickle
import random
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

from mmdet.datasets.transforms.albu import build_albumentation
from mmdet.registry import TRANSFORMS
from mmdet.utils import ConfigError

from .helpers import assert_consistent, crowd, make_sample

PUBLISHED = [
    dict(type='ShiftScaleRotate', shift_limit=0.0625, scale_limit=0.1, rotate_limit=45, interpolation=1, p=0.5),
    dict(type='RandomBrightnessContrast', brightness_limit=[0.1, 0.3], contrast_limit=[0.1, 0.3], p=0.2),
    dict(
        type='OneOf',
        transforms=[
            dict(type='RGBShift', r_shift_limit=10, g_shift_limit=10, b_shift_limit=10, p=1.0),
            dict(type='HueSaturationValue', hue_shift_limit=20, sat_shift_limit=30, val_shift_limit=20, p=1.0),
        ],
        p=0.1,
    ),
    dict(type='JpegCompression', quality_lower=85, quality_upper=95, p=0.2),
    dict(type='ChannelShuffle', p=0.1),
    dict(
        type='OneOf',
        transforms=[dict(type='Blur', blur_limit=3, p=1.0), dict(type='MedianBlur', blur_limit=3, p=1.0)],
        p=0.1,
    ),
]
BOX_PARAMS = dict(
    type='BboxParams', format='pascal_voc', label_fields=['gt_labels'], min_visibility=0.0, filter_lost_elements=True
)


def build(transforms, **arguments):
    return TRANSFORMS.build(dict(type='Albu', transforms=transforms, **arguments))


def published():
    return build(
        PUBLISHED,
        bbox_params=BOX_PARAMS,
        keymap=dict(img='image', gt_masks='masks', gt_bboxes='bboxes'),
        update_pad_shape=False,
        skip_img_without_anno=True,
    )


def test_published_list_builds_quietly():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        transform = published()
    names = [type(part).__name__ for part in transform.aug.transforms]
    assert names == [
        'ShiftScaleRotate',
        'RandomBrightnessContrast',
        'OneOf',
        'ImageCompression',
        'ChannelShuffle',
        'OneOf',
    ]
    assert transform.aug.transforms[3].quality_range == (85, 95)


def test_published_list_runs():
    np.random.seed(0)
    transform = published()
    image = make_sample(64, 48)['img']
    before = image.copy()
    changed = 0
    for seed in range(60):
        sample = make_sample(64, 48, crowd(20, 64, 48, seed), ignored=[3, 7])
        sample['img'] = image
        boxes, kept = sample['gt_bboxes'], sample['gt_bboxes'].copy()
        results = transform(sample)
        assert_consistent(results)
        assert results['img'].dtype == np.uint8
        labels = results['gt_bboxes_labels']
        assert np.array_equal(results['gt_ignore_flags'], np.isin(labels, [3, 7]))
        assert np.array_equal(boxes, kept)
        changed += not np.array_equal(results['img'], before)
    assert np.array_equal(image, before)
    assert 30 < changed < 60  # all steps stay out with probability 0.5 * 0.8 * 0.9 * 0.8 * 0.9 * 0.9 = 0.23


def test_nothing_to_do():
    sample = make_sample(64, 48, [[1, 2, 30, 40]])
    results = build([])(dict(sample))
    assert np.array_equal(results['img'], sample['img'])
    np.testing.assert_allclose(results['gt_bboxes'], sample['gt_bboxes'], rtol=1e-5)


def test_flip_by_hand():
    sample = make_sample(20, 10, [[1, 2, 5, 6], [-5, 3, 4, 20], [3, 3, 3, 8], [25, 1, 30, 5]], ignored=[1])
    results = build([dict(type='HorizontalFlip', p=1.0)])(dict(sample))
    assert np.array_equal(results['img'], sample['img'][:, ::-1])
    # The second is clipped, the third has no width, the fourth lies outside.
    np.testing.assert_allclose(results['gt_bboxes'], [[15, 2, 19, 6], [16, 3, 20, 10]], atol=1e-4)
    assert results['gt_bboxes_labels'].tolist() == [0, 1] and results['gt_ignore_flags'].tolist() == [False, True]


def test_lost_objects():
    crop = [dict(type='Crop', x_min=0, y_min=0, x_max=8, y_max=10, p=1.0)]
    sample = make_sample(20, 10, [[12, 2, 15, 6], [2, 2, 5, 6], [0, 0, 16, 10]])
    results = build(crop, update_pad_shape=True)(dict(sample))
    assert results['img_shape'] == results['pad_shape'] == (10, 8) and results['gt_bboxes_labels'].tolist() == [1, 2]
    results = build(crop, bbox_params=dict(BOX_PARAMS, min_visibility=0.6))(dict(sample))
    assert results['gt_bboxes_labels'].tolist() == [1]
    lost = make_sample(20, 10, [[12, 2, 15, 6]])
    assert build(crop, skip_img_without_anno=True)(dict(lost)) is None
    assert build(crop)(dict(lost))['gt_bboxes'].shape == (0, 4)


def test_without_boxes():
    results = build(PUBLISHED)(make_sample(20, 10))
    assert_consistent(results)
    assert 'gt_bboxes' not in build(PUBLISHED)(dict(img=make_sample()['img']))


def test_two_thousand_boxes_and_one_pixel():
    assert_consistent(published()(make_sample(640, 480, crowd(2000, 640, 480))))
    assert build([dict(type='HorizontalFlip', p=1.0)])(make_sample(1, 1, [[0, 0, 1, 1]]))['img_shape'] == (1, 1)


def run(transform, seed):
    np.random.seed(seed)
    return transform(make_sample(64, 48, crowd(20, 64, 48)))


class _Dataset(torch.utils.data.Dataset):
    def __init__(self):
        self.transform = published()

    def __len__(self):
        return 6

    def __getitem__(self, index):
        results = run(self.transform, index)
        return results['img'], results['gt_bboxes']


def test_result_is_a_function_of_the_seed():
    first, second = published(), pickle.loads(pickle.dumps(published()))
    run(first, 99)  # its past does not matter
    for seed in range(6):
        one, two = run(first, seed), run(second, seed)
        assert np.array_equal(one['img'], two['img']) and np.array_equal(one['gt_bboxes'], two['gt_bboxes'])
    assert len({run(first, seed)['img'].tobytes() for seed in range(20)}) > 8


def test_result_is_the_same_in_any_worker():
    dataset = _Dataset()
    expected = [dataset[index] for index in range(6)]
    loader = torch.utils.data.DataLoader(dataset, batch_size=1, num_workers=2, collate_fn=lambda batch: batch[0])
    for (image, boxes), (image_, boxes_) in zip(loader, expected):
        assert np.array_equal(image, image_) and np.array_equal(boxes, boxes_)


def test_import_is_late_and_asks_no_network():
    code = (
        'import sys, os, mmdet.datasets.transforms as t\n'
        'assert "albumentations" not in sys.modules\n'
        't.Albu([])\n'
        'assert "albumentations" in sys.modules and os.environ["NO_ALBUMENTATIONS_UPDATE"] == "1"\n'
    )
    environment = {name: value for name, value in os.environ.items() if name != 'NO_ALBUMENTATIONS_UPDATE'}
    subprocess.run([sys.executable, '-c', code], check=True, env=environment, cwd=os.getcwd())


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (dict(transforms='Blur'), 'transforms'),
        (dict(transforms=['Blur']), 'type'),
        (dict(transforms=[dict(p=1)]), 'type'),
        (dict(transforms=[dict(type='HorizontlFlip')]), 'HorizontalFlip'),
        (dict(transforms=[dict(type='OneOf', transforms=[dict(type='Blurr')])]), "'Blur'"),
        (dict(transforms=[dict(type='Blur', blur_limits=3)]), 'blur_limit'),
        (dict(transforms=[dict(type='Blur', p=1.5)]), 'Blur'),
        (dict(transforms=[], bbox_params=dict(type='KeypointParams')), 'bbox_params.type'),
        (dict(transforms=[], bbox_params=dict(format='coco')), 'pascal_voc'),
        (dict(transforms=[], bbox_params=dict(label_fields=['labels'])), 'label_fields'),
        (dict(transforms=[], bbox_params=dict(min_visiblity=1)), 'min_visibility'),
        (dict(transforms=[], keymap=dict(image='img')), 'keymap'),
    ],
)
def test_bad_arguments(arguments, words):
    with pytest.raises(ConfigError, match=words):
        TRANSFORMS.build(dict(type='Albu', **arguments))


BRIGHTER = dict(type='RandomBrightnessContrast', brightness_limit=[0.1, 0.1], contrast_limit=[0.0, 0.0], p=1.0)


@pytest.mark.parametrize('to_rgb', [True, False])
def test_after_normalisation_by_hand(to_rgb):
    # Normalised by mean 100 and std 50 (of red 20): 0 -> -2, 98 -> -0.04, 120 -> 0.4, 200 -> 2; + 0.1, then clipped to [0, 1].
    image = np.zeros((1, 4, 3), np.uint8)
    image[0, :, 0] = [0, 98, 120, 200]  # blue
    image[0, :, 2] = [100, 100, 110, 90]  # red: 0, 0, 0.5, -0.5
    mean, std = [100, 100, 100], [20, 50, 50] if to_rgb else [50, 50, 20]
    transform = build([BRIGHTER], after_normalize=dict(mean=mean, std=std, to_rgb=to_rgb))
    result = transform(dict(img=image.copy()))['img']
    assert result.dtype == np.float32
    np.testing.assert_allclose(result[0, :, 0], [100, 103, 125, 150], atol=1e-4)
    np.testing.assert_allclose(result[0, :, 1], 100, atol=1e-4)  # -2 + 0.1: clipped to 0, the mean
    np.testing.assert_allclose(result[0, :, 2], [102, 102, 112, 100], atol=1e-4)


def test_after_normalisation_nothing_to_do_gives_the_bytes_back():
    sample = make_sample(16, 12, crowd(5, 16, 12, 0))
    image = sample['img'].copy()
    result = build([], after_normalize=dict(mean=[1, 2, 3], std=[4, 5, 6]))(sample)
    np.testing.assert_allclose(result['img'], image, atol=1e-4)
    assert_consistent(result)


def test_wrong_normalisation_is_named():
    with pytest.raises(ConfigError, match='std'):
        build([], after_normalize=dict(mean=[0, 0, 0], std=[1, 0, 1]))


def test_normalised_image_is_refused():
    sample = make_sample()
    sample['img'] = sample['img'].astype(np.float32)
    with pytest.raises(ConfigError, match='before Normalize'):
        build(PUBLISHED)(sample)


def test_the_generator_comes_from_one_number():
    transform = build([dict(type='RandomBrightnessContrast', p=1.0)])
    np.random.seed(7)
    results = transform(make_sample(8, 6))
    after = np.random.rand()
    draw = np.random.RandomState(7)
    seed = draw.randint(2**31)
    assert after == draw.rand()
    transform.aug.set_random_state(np.random.default_rng(seed), random.Random(seed))
    expected = transform.aug(image=make_sample(8, 6)['img'], bboxes=np.zeros((0, 4)), object_index=[])['image']
    assert np.array_equal(results['img'], expected)


def test_shape_flags_and_views():
    sample = make_sample(20, 10, [[1, 2, 5, 6], [3, 3, 3 + 5e-4, 8], [3, 3, 3 + 5e-3, 8]], ignored=[2])
    sample['pad_shape'] = (99, 99)
    sample['img'] = sample['img'][:, ::-1]
    resized = build([dict(type='Resize', height=5, width=40, p=1.0)])(dict(sample))
    assert resized['img_shape'] == (5, 40) and resized['pad_shape'] == (99, 99) and resized['ori_shape'] == (10, 20)
    np.testing.assert_allclose(resized['gt_bboxes'], [[2, 1, 10, 3], [6, 1.5, 6.01, 4]], atol=1e-4)
    # The second is thinner than a thousandth of a pixel: noise.
    assert resized['gt_bboxes_labels'].tolist() == [0, 2] and resized['gt_ignore_flags'].tolist() == [False, True]
    padded = build([dict(type='Resize', height=5, width=40, p=1.0)], update_pad_shape=True)(dict(sample))
    assert padded['pad_shape'] == (5, 40)
    doubles = dict(sample, gt_bboxes=sample['gt_bboxes'].astype(float))
    before = doubles['gt_bboxes'].copy()
    assert build([])(doubles)['gt_bboxes'].dtype == np.float32 and before.dtype == np.float64
    assert 'gt_ignore_flags' not in build([])({key: sample[key] for key in ('img', 'gt_bboxes', 'gt_bboxes_labels')})


def test_clipped_input_boxes_are_not_written_to():
    sample = make_sample(20, 10, [[-5, 3, 4, 20]])
    boxes = sample['gt_bboxes']
    np.testing.assert_allclose(build([])(sample)['gt_bboxes'], [[0, 3, 4, 10]], atol=1e-4)
    assert boxes.tolist() == [[-5, 3, 4, 20]]


@pytest.mark.parametrize(
    ('config', 'name', 'attributes'),
    [
        (dict(type='JpegCompression'), 'ImageCompression', dict(quality_range=(99, 100), p=0.5)),
        (dict(type='ImageCompression', quality_lower=20), 'ImageCompression', dict(quality_range=(20, 100))),
        (
            dict(type='ImageCompression', quality_upper=99, quality_lower=98),
            'ImageCompression',
            dict(quality_range=(98, 99)),
        ),
        (dict(type='Blur', always_apply=True), 'Blur', dict(p=1.0)),
        (dict(type='Blur', always_apply=False, p=0.3), 'Blur', dict(p=0.3)),
        (dict(type='Blur', blur_limit=[3, 5]), 'Blur', dict(blur_limit=(3, 5))),
    ],
)
def test_translation(config, name, attributes):
    before = dict(config)
    (part,) = build([config]).aug.transforms
    assert type(part).__name__ == name and config == before
    assert {key: getattr(part, key) for key in attributes} == attributes


def test_types_may_be_classes_and_nest():
    import albumentations

    nested = dict(type=albumentations.OneOf, transforms=[dict(type=albumentations.HorizontalFlip, p=1.0)], p=1.0)
    sample = make_sample(20, 10)
    assert np.array_equal(build([nested])(dict(sample))['img'], sample['img'][:, ::-1])
    for wrong in (3, None, [1]):
        with pytest.raises(ConfigError, match='type: must be the name of an albumentations transform or a class'):
            build([dict(type=wrong)])


def test_lists_of_numbers_become_tuples_and_others_stay():
    class Plain:
        def __init__(self, value):
            self.value = value

    assert build_albumentation(dict(type=Plain, value=[1, 2.5])).value == (1, 2.5)
    for value in ([], [1, 'a'], ['a', 1], (1, 2), 'ab', 3, [[1], [2]]):
        assert build_albumentation(dict(type=Plain, value=value)).value is value


def test_classes_with_arguments_of_any_name():
    import albumentations

    class Renamed(albumentations.HorizontalFlip):
        def __init__(self, **options):
            super().__init__(p=options['chance'])

    sample = make_sample(20, 10)
    flipped = build([dict(type=Renamed, chance=1.0)])(dict(sample))['img']
    assert np.array_equal(flipped, sample['img'][:, ::-1])


def test_box_parameters_reach_albumentations():
    crop = [dict(type='Crop', x_min=0, y_min=0, x_max=8, y_max=10, p=1.0)]
    boxes = [[6, 0, 12, 5], [0, 0, 2, 10], [5, 5, 8, 9]]  # areas 10, 20 and 12 are left
    for parameters, labels in (
        (dict(min_area=11), [1, 2]),
        (dict(min_width=3), [2]),
        (dict(min_height=6), [1]),
        ({}, [0, 1, 2]),
    ):
        parameters |= dict(label_fields=['gt_bboxes_labels', 'gt_ignore_flags', 'gt_labels'])
        results = build(crop, bbox_params=parameters)(make_sample(20, 10, boxes))
        assert results['gt_bboxes_labels'].tolist() == labels, parameters


def test_keymap_may_name_ours_only():
    build([], keymap=dict(img='image', gt_masks='masks', gt_bboxes='bboxes'))
    for wrong in (dict(img='images'), dict(gt_bboxes='boxes'), dict(gt_labels='labels')):
        with pytest.raises(ConfigError, match='keymap'):
            build([], keymap=wrong)


def test_what_to_install_without_a_second_opencv(monkeypatch):
    monkeypatch.setitem(sys.modules, 'albumentations', None)
    with pytest.raises(ConfigError, match='Albu: needs albumentations.*--no-deps albumentations=='):
        TRANSFORMS.build(dict(type='Albu', transforms=[]))
