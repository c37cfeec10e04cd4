"""Wrappers hand seeds, sizes and broken images on."""

import numpy as np
import pytest
from mmengine.registry import DATASETS as ROOT_DATASETS

from mmdet.datasets import AspectRatioBatchSampler, ConcatDataset, DefaultSampler, RepeatDataset, SeededIndex
from mmdet.registry import DATASETS
from mmdet.utils import ConfigError

from .coco_files import box, break_image, write_document, write_images
from .test_base_det_dataset import draw, load


@pytest.fixture
def parts(tmp_path):
    """Configs of two datasets, of 3 wide and 2 tall images."""
    configs = []
    for name, sizes in (('a', [(40, 30)] * 3), ('b', [(30, 40)] * 2)):
        folder = tmp_path / name
        folder.mkdir()
        entries = write_images(folder, sizes)
        write_document(
            folder, entries, [box(1, entries[0]['id'], category_id=1), box(2, entries[0]['id'], category_id=3)]
        )
        configs.append({
            'type': 'CocoDataset', 'data_root': str(folder), 'ann_file': 'annotations.json', 'metainfo': {'classes': ('dog', 'cat')},
            'pipeline': [draw],
        })  # fmt: skip
    return configs


def test_repeat(parts):
    dataset = DATASETS.build({'type': 'RepeatDataset', 'times': 4, 'dataset': parts[0]})
    assert type(dataset) is RepeatDataset and len(dataset) == 12 and dataset.metainfo['classes'] == ('dog', 'cat')
    assert dataset.get_sizes_wh().shape == (12, 2) and dataset.get_data_info(10)['img_id'] == 2
    assert dataset.get_cat_ids(9) == [0, 1] and dataset.get_cat_ids(1) == []
    sample = dataset[SeededIndex(10, seed=5)]
    assert sample['img_id'] == 2 and sample['drawn'] == dataset.dataset[SeededIndex(1, seed=5)]['drawn']
    # Each repetition of an image has its own seed.
    assert len({dataset[i]['drawn'] for i in DefaultSampler(dataset, seed=0)}) == 12
    assert dataset[-12]['img_id'] == 1 and dataset.get_data_info(-1)['img_id'] == 3
    for outside in (12, -13):
        with pytest.raises(IndexError):
            dataset[outside]
    for times in (0, 1.5, True):
        with pytest.raises(ConfigError, match='times'):
            RepeatDataset(parts[0], times)


def test_concat(parts):
    dataset = DATASETS.build({'type': 'ConcatDataset', 'datasets': parts})
    assert type(dataset) is ConcatDataset and len(dataset) == 5
    assert dataset.get_sizes_wh().tolist() == [[40, 30]] * 3 + [[30, 40]] * 2
    assert [dataset.get_data_info(i)['img_id'] for i in range(5)] == [1, 2, 3, 1, 2] and dataset[-1]['img_id'] == 2
    assert dataset.get_cat_ids(3) == [0, 1]
    assert dataset[SeededIndex(3, seed=5)]['drawn'] == dataset.datasets[1][SeededIndex(0, seed=5)]['drawn']
    batches = list(AspectRatioBatchSampler(DefaultSampler(dataset, seed=0), 2))
    assert sorted(map(len, batches)) == [1, 2, 2] and [3, 4] in [sorted(batch) for batch in batches]
    twice = RepeatDataset(dataset, 2)
    assert twice.get_sizes_wh().tolist() == 2 * ([[40, 30]] * 3 + [[30, 40]] * 2)


def test_concat_refuses_other_classes(parts):
    swapped = {**parts[1], 'metainfo': {'classes': ('cat', 'dog')}}
    with pytest.raises(ConfigError, match=r"datasets\[1\]: all datasets must have the classes.*'cat', 'dog'"):
        ConcatDataset([parts[0], swapped])
    assert len(ConcatDataset([parts[0], swapped], ignore_keys='classes')) == 5
    # Another palette does no harm.
    assert (
        len(
            ConcatDataset([parts[0], {**parts[1], 'metainfo': {'classes': ('dog', 'cat'), 'palette': [(0, 0, 0)] * 2}}])
        )
        == 5
    )
    for wrong in ([], [3]):
        with pytest.raises(ConfigError):
            ConcatDataset(wrong)


def test_wrappers_nest(parts):
    config = {'type': 'RepeatDataset', 'times': 2, 'dataset': {'type': 'ConcatDataset', 'datasets': parts}}
    dataset = ROOT_DATASETS.build(config)  # what the runner calls
    assert type(dataset) is RepeatDataset and len(dataset) == 10 and dataset.get_sizes_wh().shape == (10, 2)
    assert dataset[SeededIndex(8, seed=5)]['img_id'] == 1
    assert len(ConcatDataset([dataset, parts[0]])) == 13


def test_class_balanced(parts):
    dataset = DATASETS.build({'type': 'ClassBalancedDataset', 'oversample_thr': 1.0, 'dataset': parts[0]})
    # Each class is on 1 of 3 images: repeat factor sqrt(1 / (1/3)) = 1.73, rounded up.
    assert [dataset.get_data_info(i)['img_id'] for i in range(len(dataset))] == [1, 1, 2, 3]
    assert dataset.get_sizes_wh().shape == (4, 2)
    assert dataset[SeededIndex(1, seed=5)]['drawn'] == dataset.dataset[SeededIndex(0, seed=5)]['drawn']


def test_broken_images_are_collected(parts):
    for part, number in zip(parts, (2, 1), strict=True):
        part['pipeline'] = [load]
        break_image(part['data_root'], number)
    dataset = RepeatDataset({'type': 'ConcatDataset', 'datasets': parts}, 2)
    seen = [dataset[i]['img'].shape for i in DefaultSampler(dataset, seed=0)]
    assert len(seen) == 10 and np.unique(seen, axis=0).tolist() == [[30, 40, 3], [40, 30, 3]]
    assert [path.rsplit('/', 2)[1:] for path in dataset.broken_images] == [['a', '2.jpg'], ['b', '1.jpg']]
