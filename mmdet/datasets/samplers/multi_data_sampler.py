"""Batches with a fixed share of each of several datasets."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from ...errors import ArgumentError
from ...registry import DATA_SAMPLERS
from ...utils.checks import is_int
from .batch_sampler import upright
from .seeded import SeededIndex, SeededSampler, mix_seed, mix_seeds, seeded_indices


@DATA_SAMPLERS.register_module()
class MultiSourceSampler(SeededSampler):
    """Endless sampler whose every ``batch_size`` samples hold fixed numbers of each part of a ``ConcatDataset``, for example of labelled and
    unlabelled images.

    Args:
        dataset: a ``ConcatDataset``.
        batch_size: images of one process in an iteration; that of the loader.
        source_ratio: shares of the parts, one positive number each; part s gives int(batch_size * ratio_s / sum), the first one also the rest.
        shuffle: each part in random order, anew for each pass over it.
        seed: equal on all processes; ``None`` draws one and shares it.

    Raises:
        ArgumentError: no ``ConcatDataset``, or other arguments than described.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int,
        source_ratio: Sequence[float],
        shuffle: bool = True,
        seed: int | None = None,
    ):
        if not hasattr(dataset, 'cumulative_sizes'):
            raise ArgumentError('must be a ConcatDataset', field='dataset', received=type(dataset).__name__)
        if not is_int(batch_size, 1):
            raise ArgumentError('batch_size must be a positive integer', field='batch_size', received=batch_size)
        sizes = np.diff([0, *dataset.cumulative_sizes])
        if len(source_ratio) != len(sizes) or min(source_ratio) <= 0:
            raise ArgumentError(f'must be {len(sizes)} positive numbers', field='source_ratio', received=source_ratio)
        super().__init__(dataset, shuffle, seed)
        self.batch_size, self.source_ratio = batch_size, list(source_ratio)
        self.num_per_source = [int(batch_size * ratio / sum(source_ratio)) for ratio in source_ratio]
        self.num_per_source[0] = batch_size - sum(self.num_per_source[1:])
        self._sources = [np.arange(stop - size, stop) for stop, size in zip(dataset.cumulative_sizes, sizes)]

    def _stream(self, number: int, indices: np.ndarray) -> Iterator[SeededIndex]:
        """This process's samples of a set of indices, endless; ``number`` keeps the seeds of different sets apart."""
        generator = torch.Generator().manual_seed(self.seed)

        def passes() -> Iterator[Iterator[SeededIndex]]:
            for times in itertools.count():
                order = indices
                if self.shuffle:
                    order = indices[torch.randperm(len(indices), generator=generator).numpy()]
                # The place of this process's first sample in the pass.
                order = order[(self.rank - times * len(indices)) % self.world_size :: self.world_size]
                yield seeded_indices(order, mix_seeds((self.seed, number, times), order))

        return itertools.chain.from_iterable(passes())

    def __iter__(self) -> Iterator[SeededIndex]:
        streams = [self._stream(number, indices) for number, indices in enumerate(self._sources)]
        batch = [stream for stream, count in zip(streams, self.num_per_source) for _ in range(count)]
        return map(next, itertools.cycle(batch))

    def __len__(self) -> int:
        """Size of the dataset."""
        return len(self.dataset)


@DATA_SAMPLERS.register_module()
class GroupMultiSourceSampler(MultiSourceSampler):
    """:class:`MultiSourceSampler` whose batches are all upright (width < height) or all not, each kind as often as the dataset has images of it.

    A part of the dataset without images of a batch's kind gives others.

    Args:
        dataset, batch_size, source_ratio, shuffle, seed: see :class:`MultiSourceSampler`.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int,
        source_ratio: Sequence[float],
        shuffle: bool = True,
        seed: int | None = None,
    ):
        super().__init__(dataset, batch_size, source_ratio, shuffle, seed)
        self._upright = np.array(upright(dataset))

    def __iter__(self) -> Iterator[SeededIndex]:
        streams = []  # two for each source
        for number, source in enumerate(self._sources):
            kinds = [source[~self._upright[source]], source[self._upright[source]]]
            kinds = [found if len(found) else source for found in kinds]
            streams.append([self._stream(2 * number + kind, found) for kind, found in enumerate(kinds)])
        # The same on every process, so that all have images of one kind in an iteration.
        generator = torch.Generator().manual_seed(mix_seed(self.seed, len(self.dataset)))
        share = float(self._upright.mean())
        while True:
            kind = int(torch.rand((), generator=generator).item() < share)
            for stream, count in zip(streams, self.num_per_source):
                yield from itertools.islice(stream[kind], count)
