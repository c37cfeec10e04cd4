"""Samples are functions of their seed; broken images are skipped in training and refused in evaluation."""

import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from torch.utils.data import DataLoader

from mmdet.datasets import (
    BaseDetDataset,
    BrokenImageError,
    CocoDataset,
    DefaultSampler,
    SeededIndex,
    base_det_dataset,
    decode_image,
)
from mmdet.datasets.transforms import LoadImageFromFile
from mmdet.utils import ConfigError, DataError

from .coco_files import break_image, image, write_document, write_images


def draw(record: dict) -> dict:
    """A transform that uses all three global generators."""
    return {**record, 'drawn': (random.random(), np.random.rand(), torch.rand(()).item())}


def load(record: dict) -> dict:
    return {'img': decode_image(record['img_path']), 'img_id': record['img_id'], 'drawn': random.random()}


def names(dataset) -> list[str]:
    return [Path(path).name for path in dataset.broken_images]


@pytest.fixture
def warnings(monkeypatch) -> list[str]:
    """What the dataset prints to the log."""
    messages = []
    monkeypatch.setattr(base_det_dataset, 'print_log', lambda message, **_: messages.append(message))
    return messages


@pytest.fixture
def folder(tmp_path):
    write_document(tmp_path, write_images(tmp_path, [(40, 30)] * 8), [])
    return tmp_path


def build(folder, **options) -> CocoDataset:
    options = {'metainfo': {'classes': ('dog',)}, 'pipeline': [load], **options}
    return CocoDataset(ann_file='annotations.json', data_root=str(folder), **options)


def test_seed_of_the_index_decides(folder):
    dataset = build(folder, pipeline=[draw])
    first = dataset[SeededIndex(2, seed=7)]['drawn']
    assert dataset[SeededIndex(2, seed=7)]['drawn'] == first != dataset[SeededIndex(2, seed=8)]['drawn']
    assert len(set(first)) == 3
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    ambient = dataset[2]['drawn']
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    dataset[SeededIndex(2, seed=7)]
    assert dataset[2]['drawn'] == ambient  # the generators are put back
    assert dataset[-1]['img_id'] == dataset[7]['img_id'] == 8 and dataset[-1]['sample_idx'] == 7
    with pytest.raises(IndexError, match='8 samples'):
        dataset[8]


def test_broken_image_in_training_is_replaced_counted_and_named_once(folder, warnings):
    dataset = build(folder)
    assert dataset.broken_images == []
    break_image(folder, 3)
    (folder / '5.jpg').unlink()
    first = dataset[SeededIndex(2, seed=11)]
    again = dataset[SeededIndex(2, seed=11)]
    assert first['img_id'] == again['img_id'] not in (3, 5) and first['drawn'] == again['drawn']
    assert (
        len({dataset[SeededIndex(2, seed=seed)]['img_id'] for seed in range(30)}) > 3
    )  # not always the same substitute
    assert dataset[2]['img_id'] != 3  # a plain index too
    dataset[4]
    assert names(dataset) == ['3.jpg', '5.jpg']
    assert len(warnings) == 2 and '3.jpg' in warnings[0] and 'no such image file' in warnings[1]


def test_broken_image_in_evaluation_raises(folder, warnings):
    break_image(folder, 3)
    dataset = build(folder, test_mode=True)
    assert dataset[0]['img_id'] == 1
    with pytest.raises(BrokenImageError, match=r'3\.jpg'):
        dataset[SeededIndex(2, seed=0)]
    with pytest.raises(BrokenImageError, match=r'3\.jpg'):
        build(folder, skip_broken=False)[2]
    skipping = build(folder, test_mode=True, skip_broken=True)
    assert [skipping[i]['img_id'] for i in range(len(skipping))] == [1, 2, 4, 5, 6, 7, 8]
    assert names(skipping) == ['3.jpg'] and len(warnings) == 1


def test_every_image_broken_ends(folder, warnings):
    for path in folder.glob('*.jpg'):
        path.unlink()
    with pytest.raises(DataError, match='every image of the dataset is missing or broken'):
        build(folder)[SeededIndex(0, seed=0)]
    assert len(warnings) == 8
    with pytest.raises(DataError, match='none of the 8 images is left: 8 broken or missing'):
        build(folder, test_mode=True, skip_broken=True)


def test_one_whole_image_is_found_among_many_broken(folder):
    for number in (1, 2, 3, 5, 6, 7, 8):
        break_image(folder, number)
    dataset = build(folder)
    assert {dataset[SeededIndex(i, seed=i)]['img_id'] for i in range(8)} == {4}


def test_many_images_in_a_row_broken(tmp_path, warnings):
    write_document(tmp_path, [image(i) for i in range(1, 301)], [])
    with pytest.raises(DataError, match='100 images that should replace each other'):
        build(tmp_path)[0]


def test_pipeline_that_gives_none(folder):
    refuse_first = lambda record: None if record['img_id'] == 1 else record  # noqa: E731
    dataset = build(folder, pipeline=[refuse_first])
    assert dataset[SeededIndex(0, seed=3)] == dataset[SeededIndex(0, seed=3)]
    with pytest.raises(DataError, match='no usable sample in 5 attempts'):
        build(folder, pipeline=[lambda record: None], max_refetch=4)[0]
    with pytest.raises(DataError, match='None in evaluation'):
        build(folder, pipeline=[refuse_first], test_mode=True)[0]


def test_other_data_errors_are_not_swallowed(folder):
    def fail(record):
        raise DataError('wrong box', record=record['img_id'])

    with pytest.raises(DataError, match='wrong box'):
        build(folder, pipeline=[fail])[0]


@pytest.mark.parametrize('context', ['fork', 'spawn'])
def test_marks_of_workers_reach_the_main_process(folder, context):
    break_image(folder, 3)
    break_image(folder, 6)
    dataset = build(folder)
    loader = DataLoader(
        dataset,
        2,
        sampler=DefaultSampler(dataset, seed=0),
        num_workers=1 if context == 'spawn' else 2,  # a spawned one takes seconds to import
        collate_fn=pseudo_collate,
        multiprocessing_context=context,
    )
    ids = [img_id for batch in loader for img_id in batch['img_id']]
    assert len(ids) == 8 and not {3, 6} & set(ids)
    assert names(dataset) == ['3.jpg', '6.jpg']


def test_worker_error_keeps_its_type_and_names_the_file(folder):
    break_image(folder, 3)
    dataset = build(folder, test_mode=True)
    with pytest.raises(BrokenImageError, match=r'3\.jpg'):
        list(DataLoader(dataset, 1, num_workers=1, collate_fn=pseudo_collate))


@pytest.mark.parametrize(
    ('name', 'error', 'message'),
    [
        ('s3://bucket/a.jpg', ConfigError, 'a.jpg: backend_args: an address is read only where'),
        ('http://127.0.0.1:9/a.jpg', ConfigError, 'backend_args: an address'),
        ('/dev/zero', DataError, 'it is a pipe, socket or device'),
        ('pipe', DataError, 'it is a pipe, socket or device'),
        ('.', DataError, 'it is a folder'),
    ],
)
@pytest.mark.parametrize('sized', [True, False])
def test_names_that_are_no_files(tmp_path, name, error, message, sized):
    os.mkfifo(tmp_path / 'pipe')
    size = {'width': 8, 'height': 8} if sized else {}
    write_document(tmp_path, [{'id': 1, 'file_name': name, **size}], [])
    with pytest.raises(error, match=message):
        build(tmp_path)[0]
    if error is ConfigError and sized:  # allowed, and not there: a broken image like any other
        with pytest.raises(DataError, match='every image of the dataset is missing or broken'):
            build(tmp_path, pipeline=[LoadImageFromFile(backend_args={'backend': 'http'})])[0]


def test_annotation_files_of_other_kinds(tmp_path):
    os.mkfifo(tmp_path / 'annotations.json')
    for options, error, message in (
        ({}, DataError, 'it is a pipe'),
        ({'data_root': '/dev', 'ann_file': 'zero'}, DataError, 'it is a pipe, socket or device'),
        ({'data_root': 's3://bucket'}, ConfigError, 'backend_args: an address is read only'),
        ({'data_root': '', 'ann_file': 'http://127.0.0.1:9/a.json'}, ConfigError, 'backend_args: an address'),
        ({'metainfo': {'classes': ('dog',), 'note': '/dev/zero'}, 'ann_file': 'none'}, DataError, 'no such file'),
    ):
        options = {
            'data_root': str(tmp_path),
            'ann_file': 'annotations.json',
            'metainfo': {'classes': ('dog',)},
            **options,
        }
        with pytest.raises(error, match=message):
            CocoDataset(**options)


def test_mmengine_format(tmp_path):
    path = tmp_path / 'own.json'
    path.write_text(
        '{"metainfo": {"classes": ["dog"]}, "data_list": [{"img_path": "a.jpg", "height": 3, "width": 4, "instances": []}]}'
    )
    dataset = BaseDetDataset(ann_file=str(path), data_prefix={'img_path': 'images'})
    assert dataset[0]['img_path'] == 'images/a.jpg' and dataset.metainfo['classes'] == ['dog']
    for text, message in (
        (
            '{"metainfo": {"classes": "/etc/hostname"}, "data_list": []}',
            'metainfo.classes: must be a list of different names',
        ),
        ('{"metainfo": {}, "data_list": [1]}', 'data_list.0.: must be a JSON object'),
        ('{"metainfo": {}, "data_list": [{"img_path": {}}]}', 'img_path: must be a text'),
        ('{"metainfo": {}, "data_list": [{"img_path": "a", "width": 1e400}]}', 'width: must be a whole number'),
        ('{"metainfo": {}, "data_list": [{"img_path": "a", "img_id": []}]}', 'img_id: must be an id'),
        ('{"metainfo": {}, "data_list": [{"img_path": "a", "instances": 3}]}', 'instances: must be a list'),
        ('{"metainfo": {}, "data_list": [{"img_path": "a", "instances": [3]}]}', 'instances.0.: must be a JSON'),
        ('{"metainfo": {}, "data_list": [{"img_path": "a", "instances": [{"bbox": [1]}]}]}', 'bbox: must be four'),
        (
            '{"metainfo": {}, "data_list": [{"img_path": "a", "instances": [{"bbox": [1, 2, 3, 4], "bbox_label": "x"}]}]}',
            'bbox_label: must be a whole number',
        ),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            BaseDetDataset(ann_file=str(path))
    path.write_text('{"metainfo": {}, "data_list": [{"img_path": "a.jpg"}]}')
    with pytest.raises(DataError, match='height'):
        BaseDetDataset(ann_file=str(path))
    with pytest.raises(ConfigError, match='proposal_file'):
        BaseDetDataset(proposal_file='x')
