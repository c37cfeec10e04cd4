import pytest
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler

from mmdet.engine.loops import EpochBasedTrainLoop, skip_batches


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

    def call_hook(self, name, **kwargs):
        pass


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
