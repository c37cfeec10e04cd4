"""Training loops that resume at any iteration with the batches that the unbroken run would have seen next.

mmengine's loops restart an epoch from its beginning, and load every image of the past on an iteration-based resume.
These skip indices without loading images, and order and augmentation stay those of the unbroken run.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from mmengine.dataset import InfiniteSampler
from mmengine.runner import Runner
from mmengine.runner.base_loop import BaseLoop
from mmengine.runner.loops import EpochBasedTrainLoop as MMEngineEpochLoop
from mmengine.runner.loops import IterBasedTrainLoop as MMEngineIterLoop
from mmengine.runner.utils import calc_dynamic_intervals
from torch import nn
from torch.utils.data import DataLoader

from ..errors import ConfigError
from ..registry import LOOPS


class SkippingBatchSampler:
    """A batch sampler whose next pass leaves out its first ``skip`` batches.

    Its other attributes (``sampler``, ``batch_size``, ...) are those of the wrapped batch sampler.
    """

    def __init__(self, batch_sampler: Any):
        self.batch_sampler = batch_sampler
        self.skip = 0

    def __iter__(self) -> Iterator:
        # Lazily: a loader with workers calls iter() twice and uses the second one.
        skip, self.skip = self.skip, 0
        yield from islice(iter(self.batch_sampler), skip, None)

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __getattr__(self, name: str) -> Any:
        # Called for attributes that this object lacks; while it is unpickled it has none of its own yet.
        if name == 'batch_sampler':
            raise AttributeError(name)
        return getattr(self.batch_sampler, name)


def skip_batches(dataloader: DataLoader, count: int) -> bool:
    """Let the next pass over ``dataloader`` start at batch ``count``. False if it has no batch sampler."""
    sampler = dataloader.batch_sampler
    if sampler is None:
        return False
    if not isinstance(sampler, SkippingBatchSampler):
        sampler = SkippingBatchSampler(sampler)
        # The loader refuses assignment after construction because live iterators keep the old one; there is none yet.
        object.__setattr__(dataloader, 'batch_sampler', sampler)
    sampler.skip = count
    return True


def set_epoch(dataloader: DataLoader, epoch: int) -> None:
    """Tell the epoch to the loader's sampler and to the one inside its batch sampler."""
    for sampler in (dataloader.sampler, getattr(dataloader.batch_sampler, 'sampler', None)):
        tell = getattr(sampler, 'set_epoch', None)
        if tell is not None:
            tell(epoch)


@LOOPS.register_module()
class EpochBasedTrainLoop(MMEngineEpochLoop):
    """Epoch-based training; a checkpoint taken inside an epoch continues inside it.

    A resume sets ``iters_done``, the iterations of the current epoch that were done when the checkpoint was saved.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.iters_done = 0
        self._epoch_begin = 0

    @property
    def iters_in_epoch(self) -> int:
        """Iterations of the current epoch that are complete."""
        return self._iter - self._epoch_begin

    def run_epoch(self) -> None:
        """Run the rest of the current epoch, which is all of it unless the run was resumed inside it."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        # This run's loader may have fewer batches than that of the run that was interrupted.
        first, self.iters_done = min(self.iters_done, len(self.dataloader)), 0
        self._epoch_begin = self._iter - first
        skipped = first and skip_batches(self.dataloader, first)
        for idx, data_batch in enumerate(self.dataloader, start=first if skipped else 0):
            if idx >= first:
                self.run_iter(idx, data_batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1


@LOOPS.register_module()
class IterBasedTrainLoop(MMEngineIterLoop):
    """Iteration-based training; the sampler is told the number of each pass over the data, as in epoch-based training.

    Raises:
        ConfigError: ``max_iters`` is not a whole number of at least 0.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict,
        max_iters: int,
        val_begin: int = 1,
        val_interval: int = 1000,
        dynamic_intervals: list[tuple[int, int]] | None = None,
    ):
        # Not mmengine's constructor, which begins to prefetch from batch 0 at once: a resumed run starts elsewhere.
        BaseLoop.__init__(self, runner, dataloader)
        if int(max_iters) != max_iters or max_iters < 0:
            raise ConfigError('must be a whole number', field='train_cfg.max_iters', received=max_iters)
        self._max_iters = int(max_iters)
        self._max_epochs = 1  # the whole training counts as one epoch
        self._epoch = 0
        self._iter = 0
        self.val_begin = val_begin
        self.val_interval = val_interval
        self.stop_training = False
        self.dynamic_milestones, self.dynamic_intervals = calc_dynamic_intervals(val_interval, dynamic_intervals)
        self.dataloader_iterator: Iterator = iter(())
        runner.visualizer.dataset_meta = getattr(self.dataloader.dataset, 'metainfo', None)

    def run(self) -> nn.Module:
        """Train until ``max_iters`` and return the model."""
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        self.dataloader_iterator = self._endless_batches(self._iter)
        while self._iter < self._max_iters and not self.stop_training:
            self.runner.model.train()
            self.run_iter(next(self.dataloader_iterator))
            self._decide_current_val_interval()
            due = self._iter >= self.val_begin and (
                self._iter % self.val_interval == 0 or self._iter == self._max_iters
            )
            if self.runner.val_loop is not None and due:
                self.runner.val_loop.run()
        self.runner.call_hook('after_train_epoch')
        self.runner.call_hook('after_train')
        return self.runner.model

    def _endless_batches(self, start: int) -> Iterator:
        """Batches number ``start``, ``start + 1``, ... of the endless sequence of passes over the data."""
        epoch, remaining = 0, start
        batch_sampler = self.dataloader.batch_sampler
        set_epoch(self.dataloader, epoch)
        while remaining and batch_sampler is not None:
            endless = _never_ends(batch_sampler)
            passed = remaining if endless else sum(1 for _ in islice(iter(batch_sampler), remaining))
            if passed == remaining:
                skip_batches(self.dataloader, remaining)
                remaining = 0
            else:
                epoch, remaining = epoch + 1, remaining - passed
                set_epoch(self.dataloader, epoch)
        while True:
            empty = True
            for data_batch in self.dataloader:
                empty = False
                if remaining:
                    remaining -= 1
                    continue
                yield data_batch
            epoch += 1
            set_epoch(self.dataloader, epoch)
            if empty and len(self.dataloader) == 0:
                return


def _never_ends(batch_sampler: Any) -> bool:
    """Whether one pass lasts for ever, as with mmengine's InfiniteSampler: counting its batches would never end."""
    return isinstance(getattr(batch_sampler, 'sampler', None), InfiniteSampler)
