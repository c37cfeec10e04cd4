"""MultiImageMixDataset: samples are functions of their seed, whoever loads them; mixtures train a detector; hooks switch them off."""

import random

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from torch.utils.data import DataLoader

from mmdet.datasets import DefaultSampler, MultiImageMixDataset, SeededIndex, generate_drone_scenes
from mmdet.engine import DetRunner
from mmdet.errors import ConfigError, DataError
from mmdet.registry import DATASETS
from tests.engine.toy import toy_config

from .coco_files import box, write_document, write_images

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)]
MIX = [
    dict(type='Mosaic', img_scale=(64, 48)),
    dict(type='RandomAffine', scaling_ratio_range=(0.5, 1.5), border=(-32, -24)),
    dict(type='MixUp', img_scale=(64, 48)),
    dict(type='YOLOXHSVRandomAug'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1), keep_empty=False),
    dict(type='PackDetInputs'),
]


@pytest.fixture(scope='module')
def inner(tmp_path_factory):
    """Config of a dataset of 7 small images with one box each, but the last."""
    folder = tmp_path_factory.mktemp('mix')
    entries = write_images(folder, [(60, 40), (40, 60), (50, 50), (80, 30), (64, 48), (33, 47), (60, 40)])
    write_document(folder, entries, [box(i, i, (5, 5, 20, 18)) for i in range(1, 7)])
    return dict(
        type='CocoDataset', data_root=str(folder), ann_file='annotations.json', metainfo=dict(classes=('dog',)), pipeline=LOAD,
        filter_cfg=dict(filter_empty_gt=False),
    )  # fmt: skip


def mixed(inner, pipeline=MIX, **options) -> MultiImageMixDataset:
    return DATASETS.build(dict(type='MultiImageMixDataset', dataset=inner, pipeline=pipeline, **options))


def same(sample, other) -> bool:
    boxes, others = (part['data_samples'].gt_instances.bboxes for part in (sample, other))
    return torch.equal(sample['inputs'], other['inputs']) and torch.equal(boxes, others)


def test_stands_for_the_inner_dataset(inner):
    dataset = mixed(inner, lazy_init=True)
    assert len(dataset) == 7 and dataset.metainfo['classes'] == ('dog',) and dataset.get_sizes_wh().shape == (7, 2)
    assert dataset.get_cat_ids(0) == [0] and dataset.get_cat_ids(6) == [] and dataset.get_data_info(3)['img_id'] == 4
    with pytest.raises(IndexError):
        dataset[7]


def test_the_seed_of_the_index_decides(inner):
    dataset = mixed(inner)
    indexes = list(DefaultSampler(dataset, seed=3))
    expected = {int(index): dataset[index] for index in indexes}
    np.random.seed(1)
    for index in reversed(indexes):  # another order, and other random numbers before
        assert same(dataset[index], expected[index])
    assert not same(dataset[SeededIndex(0, 1)], dataset[SeededIndex(0, 2)])
    for workers in (0, 2):
        seen = [
            item
            for batch in DataLoader(mixed(inner), 2, sampler=indexes, num_workers=workers, collate_fn=list)
            for item in batch
        ]
        assert len(seen) == 7 and all(same(sample, expected[index]) for sample, index in zip(seen, indexes))
    assert {tuple(sample['inputs'].shape) for sample in expected.values()} == {(3, 48, 64)}
    assert sum(len(sample['data_samples'].gt_instances) for sample in expected.values()) > 7


@pytest.mark.parametrize(
    'steps',
    [
        [dict(type='CopyPaste', paste_by_box=True, selected=True)],
        [
            dict(type='RandomResize', scale=(64, 64), ratio_range=(0.5, 2.0), keep_ratio=True),
            dict(type='RandomCrop', crop_type='absolute_range', crop_size=(30, 64), allow_negative_crop=True),
        ],
        [dict(type='RandomChoiceResize', scales=[(60, 40), (80, 60), (100, 80)], keep_ratio=True)],
        [dict(type='AutoAugment')],
        [dict(type='RandAugment')],
        [dict(type='RandomErasing', n_patches=(1, 5), ratio=(0.0, 0.3))],
        [dict(type='CutOut', n_holes=(1, 5), cutout_shape=[(4, 4), (9, 6)])],
        [dict(type='PhotoMetricDistortion'), dict(type='Expand'), dict(type='MinIoURandomCrop')],
    ],
    ids=lambda steps: steps[0]['type'],
)
def test_every_recipe_is_decided_by_the_seed(inner, steps):
    inner = dict(inner, pipeline=[*LOAD, dict(type='Resize', scale=(64, 48))], indices=6)
    dataset = mixed(inner, [*steps, dict(type='PackDetInputs')])
    expected = {seed: dataset[SeededIndex(2, seed)] for seed in range(12)}
    random.seed(5)
    np.random.seed(5)
    assert all(same(dataset[SeededIndex(2, seed)], sample) for seed, sample in reversed(expected.items()))
    assert not all(same(sample, expected[0]) for sample in expected.values())


def test_a_new_transform_does_not_change_the_draws_of_those_before(inner):
    """Each has a stream of its own."""
    index = SeededIndex(1, 9)
    mosaic = mixed(inner, MIX[:1])[index]['img']
    np.testing.assert_array_equal(mixed(inner, [*MIX[:1], dict(type='RandomFlip', prob=0.0)])[index]['img'], mosaic)


def test_skipped_types(inner):
    dataset = mixed(inner, skip_type_keys=['RandomAffine', 'MixUp'])
    assert dataset[SeededIndex(0, 5)]['inputs'].shape == (3, 96, 128)  # the mosaic
    dataset.update_skip_type_keys(('Mosaic', 'RandomAffine', 'MixUp'))
    assert dataset[SeededIndex(0, 5)]['inputs'].shape == (3, 40, 60)
    dataset.update_skip_type_keys(None)
    assert dataset[SeededIndex(0, 5)]['inputs'].shape == (3, 48, 64)
    with pytest.raises(ConfigError, match='skip_type_keys'):
        mixed(inner, skip_type_keys='Mosaic')


def test_among_other_wrappers(inner):
    twice = dict(type='RepeatDataset', times=2, dataset=inner)
    both = dict(type='ConcatDataset', datasets=[twice, mixed(inner, [])])
    dataset = mixed(both)
    assert (
        len(dataset) == 21
        and dataset.get_cat_ids(20) == []
        and dataset[SeededIndex(17, 4)]['inputs'].shape == (3, 48, 64)
    )
    around = DATASETS.build(dict(type='RepeatDataset', times=3, dataset=dataset))
    assert len(around) == 63 and same(around[SeededIndex(59, 4)], dataset[SeededIndex(17, 4)])
    assert len(around.get_sizes_wh()) == 63


class Moody:
    """Gives None ``often`` times, and writes to what it gets."""

    def __init__(self, often):
        self.left = often

    def __call__(self, results):
        results['img'] += 1
        self.left -= 1
        return None if self.left >= 0 else results


def test_none_is_tried_again(inner):
    original = mixed(inner, [])[SeededIndex(2, 8)]['img']
    np.testing.assert_array_equal(mixed(inner, [Moody(3)])[SeededIndex(2, 8)]['img'], original + 1)
    assert mixed(inner, [Moody(3)], max_refetch=4)[2]['img'].shape == (50, 50, 3)
    for error in (DataError, RuntimeError):
        with pytest.raises(error, match='annotations.json: sample 2: Moody gave no sample in 3 attempts'):
            mixed(inner, [*MIX[:1], Moody(3)], max_refetch=3)[2]
    with pytest.raises(ConfigError, match='max_refetch'):
        mixed(inner, max_refetch=0)


def test_other_partners_after_a_none(inner):
    """A crop that shows no object of one mosaic can show some of the next; without a new mosaic it would be none for ever."""
    calls = []

    def refuse_once(results):
        calls.append(results['img'].copy())
        return results if len(calls) == 2 else None

    mixed(inner, [*MIX[:1], refuse_once])[SeededIndex(0, 0)]
    assert not np.array_equal(*calls)


def test_a_partner_that_is_none(inner):
    class Gaps:
        metainfo = dict(classes=('dog',))
        full_init = staticmethod(lambda: None)
        asked = 0

        def __len__(self):
            return 3

        def __getitem__(self, index):
            Gaps.asked += 1
            return None if Gaps.asked == 2 else dict(img=np.zeros((8, 8, 3), np.uint8))

    dataset = mixed(inner, MIX[:1])
    dataset.dataset = Gaps()
    assert dataset[0]['img'].shape == (96, 128, 3) and Gaps.asked == 8


@pytest.fixture(scope='module')
def scenes(tmp_path_factory):
    return generate_drone_scenes(
        tmp_path_factory.mktemp('scenes') / 'drone', num_train=4, num_val=1, size_wh=(160, 160), workers=1
    )


SHAPES = []


class NoteShapes(Hook):
    """Notes the sizes of the images of each iteration."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        SHAPES.append((runner.epoch, {tuple(image.shape[1:]) for image in data_batch['inputs']}))


@pytest.mark.parametrize('switch', ['yolox', 'pipeline'])
def test_trains_until_mixing_is_switched_off(tmp_path, repository, scenes, switch):
    SHAPES.clear()
    dataset = dict(
        type='MultiImageMixDataset', pipeline=MIX,
        dataset=dict(type='DroneScenesDataset', data_root=str(scenes), ann_file='annotations/train.json', data_prefix=dict(img='train/images/'), pipeline=LOAD),
    )  # fmt: skip
    hook = dict(
        yolox=dict(type='YOLOXModeSwitchHook', num_last_epochs=0),
        pipeline=dict(type='PipelineSwitchHook', switch_epoch=1, switch_pipeline=[dict(type='PackDetInputs')]),
    )[switch]
    model = Config.fromfile(repository / 'configs/_base_/models/gfl_small_fpn.py').model
    model.bbox_head.num_classes = 6
    cfg = toy_config(tmp_path, epochs=2, batch_size=2, ema=False, model=None, custom_hooks=[hook])
    cfg.model = model
    cfg.train_dataloader.update(dataset=dataset, num_workers=2, persistent_workers=True)
    cfg.experiment_name = f'mix_{switch}'
    runner = DetRunner.from_cfg(cfg)
    runner.register_hook(NoteShapes())
    before = [parameter.clone() for parameter in runner.model.bbox_head.parameters()]
    runner.train()
    after = list(runner.model.bbox_head.parameters())
    assert all(parameter.isfinite().all() for parameter in after) and not all(map(torch.equal, before, after))
    assert [(0, {(48, 64)})] * 2 + [(1, {(160, 160)})] * 2 == SHAPES
    assert getattr(runner.model.bbox_head, 'use_l1', False) == (switch == 'yolox')
