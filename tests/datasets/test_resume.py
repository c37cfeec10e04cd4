"""A fresh loader at the same epoch and iteration gives the tensors that the unbroken run would have seen."""

import itertools
import random

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner

from mmdet.datasets import BrokenImageError, RepeatDataset, samplers
from mmdet.engine.loops import skip_batches

from .coco_files import write_document, write_images


def augment(record: dict) -> dict:
    """Random numbers of all three generators in the shape of an image; one image is 'broken'."""
    if record['img_id'] == 4:
        raise BrokenImageError('broken for the test', file=record['img_path'])
    pixels = np.random.randint(0, 256, (3, 4, 5), dtype=np.uint8)
    return {
        'inputs': torch.from_numpy(pixels) + torch.randint(0, 50, (3, 4, 5), dtype=torch.uint8) + random.randrange(9),
        'img_id': record['img_id'],
    }


@pytest.fixture(scope='module')
def data_root(tmp_path_factory):
    root = tmp_path_factory.mktemp('data')
    write_document(root, write_images(root, [(40, 30)] * 9 + [(30, 40)] * 5), [])
    return root


def loader(data_root, num_workers: int, sampler='DefaultSampler', batch_sampler=True, batch_size=3):
    dataset = {
        'type': 'CocoDataset', 'data_root': str(data_root), 'ann_file': 'annotations.json', 'metainfo': {'classes': ('dog',)},
        'pipeline': [augment],
    }  # fmt: skip
    config = {
        'batch_size': batch_size,
        'num_workers': num_workers,
        'persistent_workers': num_workers > 0,
        'sampler': {'type': sampler, 'shuffle': True},
        'dataset': {'type': 'RepeatDataset', 'times': 3, 'dataset': dataset},
    }
    if batch_sampler:
        config['batch_sampler'] = {'type': 'AspectRatioBatchSampler'}
    built = Runner.build_dataloader(config, seed=17)
    assert isinstance(built.dataset, RepeatDataset) and built.collate_fn.func is pseudo_collate
    return built


def epochs(built, first_epoch: int = 0):
    """Endless batches over epochs, the way the runner's hook announces them."""
    for epoch in itertools.count(first_epoch):
        sampler = built.sampler if hasattr(built.sampler, 'set_epoch') else built.batch_sampler.sampler
        sampler.set_epoch(epoch)
        yield from built


def assert_equal(batches, expected):
    for batch, other in zip(batches, expected, strict=True):
        assert batch['img_id'] == other['img_id']
        assert len(batch['inputs']) == len(other['inputs']) and all(map(torch.equal, batch['inputs'], other['inputs']))


@pytest.mark.parametrize('batch_sampler', [True, False], ids=['aspect', 'plain'])
def test_resume_inside_an_epoch(data_root, batch_sampler):
    unbroken = list(itertools.islice(epochs(loader(data_root, 0, batch_sampler=batch_sampler)), 48))
    assert len({batch['inputs'][0].sum().item() for batch in unbroken}) > 40  # they do differ
    for num_workers in (0, 2):
        torch.manual_seed(num_workers), random.seed(num_workers), np.random.seed(num_workers)
        resumed = loader(data_root, num_workers, batch_sampler=batch_sampler)
        epoch, done = divmod(40, len(resumed))
        assert done  # inside an epoch
        skip_batches(resumed, done)
        assert_equal(list(itertools.islice(epochs(resumed, epoch), 8)), unbroken[40:])


@pytest.mark.parametrize('batch_sampler', [True, False], ids=['aspect', 'plain'])
def test_resume_by_iteration(data_root, batch_sampler):
    options = {'sampler': 'InfiniteSampler', 'batch_sampler': batch_sampler}
    unbroken = list(itertools.islice(iter(loader(data_root, 0, **options)), 48))
    for num_workers in (0, 2):
        resumed = loader(data_root, num_workers, **options)
        skip_batches(resumed, 40)
        assert_equal(list(itertools.islice(iter(resumed), 8)), unbroken[40:])


def test_two_processes_see_the_batches_of_one(data_root, monkeypatch):
    alone = list(itertools.islice(epochs(loader(data_root, 0, batch_size=4)), 20))
    parts = []
    for rank in (0, 1):
        for module in (samplers.seeded, samplers.batch_sampler):
            monkeypatch.setattr(module, 'get_dist_info', lambda rank=rank: (rank, 2))
        parts.append(list(itertools.islice(epochs(loader(data_root, 0, batch_size=2)), 20)))
    for whole, *shares in zip(alone, *parts, strict=True):
        if len(whole['inputs']) % 2 == 0:
            key = lambda tensor: tensor.flatten().tolist()  # noqa: E731
            together = sorted((t for share in shares for t in share['inputs']), key=key)
            assert all(map(torch.equal, together, sorted(whole['inputs'], key=key)))
