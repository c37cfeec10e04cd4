import pytest
import torch
from mmengine.dataset import InfiniteSampler
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, Sampler, SequentialSampler

from mmdet.engine.loops import EpochBasedTrainLoop, IterBasedTrainLoop, set_epoch, skip_batches
from mmdet.errors import ConfigError


def loader(workers, **kwargs):
    data = list(range(20))
    return DataLoader(
        data, batch_sampler=BatchSampler(SequentialSampler(data), 2, False), num_workers=workers, **kwargs
    )


@pytest.mark.parametrize('workers', [0, 1, 2])
@pytest.mark.parametrize('skip', [0, 3, 10])
def test_skipping_counts_once_whatever_the_workers(workers, skip):
    batches = loader(workers)
    assert skip_batches(batches, skip)
    first = [batch.tolist() for batch in batches]
    assert first == [[2 * i, 2 * i + 1] for i in range(skip, 10)]
    assert len(list(batches)) == 10  # the next pass is whole again


def test_skipping_with_persistent_workers():
    batches = loader(1, persistent_workers=True)
    skip_batches(batches, 4)
    assert [batch[0].item() for batch in batches] == [8, 10, 12, 14, 16, 18]
    assert len(list(batches)) == 10


class Runner:
    """What the loop needs of a runner."""

    def __init__(self):
        self.model = type('Model', (), dict(train=lambda self: None))()
        self.visualizer = type('Visualizer', (), {})()
        self.val_loop, self.hooks = None, []

    def call_hook(self, name, **kwargs):
        self.hooks.append(name)


def epoch_loop(batches, seen, monkeypatch):
    loop = EpochBasedTrainLoop(Runner(), batches, max_epochs=2)

    def run_iter(idx, data_batch):
        seen.append((idx, data_batch[0].item()))
        loop._iter += 1

    monkeypatch.setattr(loop, 'run_iter', run_iter)
    return loop


@pytest.mark.parametrize('workers', [0, 1])
def test_an_epoch_goes_on_where_the_checkpoint_was_taken(workers, monkeypatch):
    seen = []
    loop = epoch_loop(loader(workers), seen, monkeypatch)
    loop._epoch, loop._iter, loop.iters_done = 3, 37, 7
    loop.run_epoch()
    assert seen == [(7, 14), (8, 16), (9, 18)]
    assert (loop._epoch, loop._iter) == (4, 40)
    seen.clear()
    loop.run_epoch()
    assert len(seen) == 10


def test_other_batches_an_epoch_than_before_lose_none(monkeypatch):
    # The interrupted run had 100 iterations an epoch, this one has 10: its epochs are whole.
    seen = []
    loop = epoch_loop(loader(0), seen, monkeypatch)
    loop._epoch, loop._iter = 5, 500
    loop.run_epoch()
    assert len(seen) == 10
    assert loop._epoch == 6
    assert loop.runner.hooks == ['before_train_epoch', 'after_train_epoch']


def test_a_shorter_epoch_than_before_is_complete(monkeypatch):
    """The checkpoint was taken after 14 iterations of an epoch, this loader has 10: the epoch is over, and counts 10."""
    seen = []
    loop = epoch_loop(loader(0), seen, monkeypatch)
    loop._epoch, loop._iter, loop.iters_done = 3, 50, 14
    loop.run_epoch()
    assert seen == [] and loop.iters_in_epoch == 10 and (loop._epoch, loop.iters_done) == (4, 0)
    loop.run_epoch()
    assert [idx for idx, _ in seen] == list(range(10)) and loop.iters_in_epoch == 10


class Numbers(IterableDataset):
    """A dataset whose loader has no batch sampler."""

    def __iter__(self):
        return iter(range(4))


def test_without_a_batch_sampler_batches_are_passed_over(monkeypatch):
    batches = DataLoader(Numbers(), batch_size=None)
    assert not skip_batches(batches, 2)
    monkeypatch.setattr(DataLoader, '__len__', lambda self: 4)
    loop, seen = EpochBasedTrainLoop(Runner(), batches, max_epochs=1), []

    def run_iter(idx, data_batch):
        seen.append((idx, data_batch))
        loop._iter += 1

    monkeypatch.setattr(loop, 'run_iter', run_iter)
    loop._iter, loop.iters_done = 2, 2
    loop.run_epoch()
    assert seen == [(2, 2), (3, 3)] and loop._epoch == 1


def test_the_wrapped_batch_sampler_is_seen():
    batches = loader(0)
    sampler = batches.batch_sampler
    skip_batches(batches, 3)
    assert batches.batch_sampler.batch_size == 2 and batches.batch_sampler.sampler is sampler.sampler
    assert len(batches.batch_sampler) == len(batches) == 10
    with pytest.raises(AttributeError):
        batches.batch_sampler.nothing  # noqa: B018


class Epochs(Sampler):
    """Five indices that depend on the epoch."""

    def __init__(self):
        self.epoch = 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __iter__(self):
        return iter(range(10 * self.epoch, 10 * self.epoch + 5))

    def __len__(self):
        return 5


@pytest.mark.parametrize('inside', [False, True])
def test_set_epoch_reaches_the_sampler(inside):
    sampler = Epochs()
    options = dict(batch_sampler=BatchSampler(sampler, 2, False)) if inside else dict(sampler=sampler, batch_size=2)
    set_epoch(DataLoader(range(100), **options), 7)
    assert sampler.epoch == 7
    set_epoch(loader(0), 7)  # without set_epoch nothing happens


def iter_loop(batches, **options):
    """An iteration-based loop that records its batches, and what is validated after which iteration."""
    loop = IterBasedTrainLoop(Runner(), batches, **options)
    loop.seen, loop.validated = [], []

    def run_iter(data_batch):
        loop.seen.append(data_batch.tolist())
        loop._iter += 1

    loop.run_iter = run_iter
    loop.runner.val_loop = type('Val', (), dict(run=lambda self: loop.validated.append(loop._iter)))()
    return loop


@pytest.mark.parametrize(
    ('options', 'validated'),
    [
        (dict(max_iters=0), []),
        (dict(max_iters=7, val_interval=3), [3, 6, 7]),  # also at the last iteration
        (dict(max_iters=6, val_interval=3), [3, 6]),
        (dict(max_iters=3), [3]),
        (dict(max_iters=7, val_interval=2, val_begin=4), [4, 6, 7]),
        (dict(max_iters=3, val_interval=1, val_begin=4), []),
        (dict(max_iters=8, val_interval=4, dynamic_intervals=[(5, 1)]), [4, 5, 6, 7, 8]),
    ],
)
def test_validation_of_an_iteration_based_training(options, validated):
    loop = iter_loop(loader(0), **options)
    model = loop.run()
    assert model is loop.runner.model and len(loop.seen) == options['max_iters'] and loop.validated == validated
    assert loop.runner.hooks == ['before_train', 'before_train_epoch', 'after_train_epoch', 'after_train']
    assert (loop.max_epochs, loop.epoch, loop.iter) == (1, 0, options['max_iters'])


def test_iterations_without_validation_and_an_early_stop():
    loop = iter_loop(loader(0), max_iters=7)
    loop.runner.val_loop = None
    loop.run()
    assert len(loop.seen) == 7
    stopped = iter_loop(loader(0), max_iters=7, val_interval=2)
    stopped.runner.val_loop.__class__.run = lambda self: setattr(stopped, 'stop_training', True)
    stopped.run()
    assert len(stopped.seen) == 2


@pytest.mark.parametrize('start', range(8))
def test_iterations_go_on_where_the_checkpoint_was_taken(start):
    """Passes of three batches, the sampler of each knowing its number."""
    batches = [[0, 1], [2, 3], [4], [10, 11], [12, 13], [14], [20, 21], [22, 23], [24]]
    loop = iter_loop(DataLoader(range(100), batch_sampler=BatchSampler(Epochs(), 2, False)), max_iters=9)
    loop._iter = start
    loop.run()
    assert loop.seen == batches[start:]


def test_an_infinite_sampler_keeps_its_place():
    unbroken = iter_loop(DataLoader(range(5), sampler=InfiniteSampler(range(5), seed=1), batch_size=2), max_iters=6)
    unbroken.run()
    resumed = iter_loop(DataLoader(range(5), sampler=InfiniteSampler(range(5), seed=1), batch_size=2), max_iters=6)
    resumed._iter = 4
    resumed.run()
    assert resumed.seen == unbroken.seen[4:]


def test_iterations_over_a_stream_pass_over_what_was_seen():
    loop = iter_loop(DataLoader(Numbers(), batch_size=None, collate_fn=torch.tensor), max_iters=7)
    loop.dataloader.collate_fn = torch.tensor
    loop._iter = 3
    loop.run()
    assert loop.seen == [3, 0, 1, 2]


@pytest.mark.parametrize('value', [1.5, -1])
def test_max_iters_must_be_a_whole_number(value):
    with pytest.raises(ConfigError, match=rf'train_cfg.max_iters: must be a whole number. Received: {value}'):
        IterBasedTrainLoop(Runner(), loader(0), max_iters=value)
    assert IterBasedTrainLoop(Runner(), loader(0), max_iters=2.0).max_iters == 2
