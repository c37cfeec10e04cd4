"""Samplers whose order and randomness depend on (seed, epoch, sample) only, never on how many workers or processes share the work.

N samples in the dataset, W processes, B images a process and iteration.

Every sampler lays out the *global* order first, the same on each process, and then deals: process r takes positions r, r + W, r + 2W, ...
So a run of 2 processes with B / 2 images sees, iteration by iteration, the global batches of 1 process with B.
Each index travels as a ``SeededIndex``, whose seed the dataset gives to the random generators around its transforms.
"""

import itertools
import math
import random
from collections import deque
from collections.abc import Iterator, Sized
from contextlib import contextmanager
from functools import partial, reduce
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler, get_worker_info

from ...errors import DataError
from ...registry import DATA_SAMPLERS

_MASK = (1 << 64) - 1
# Constants of the splitmix64 generator (Steele, Lea & Flood, OOPSLA 2014): neighbouring inputs give unrelated outputs.
_GAMMA, _MIX_1, _MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def _mix(state: Any, part: Any) -> Any:
    """One step of splitmix64, for integers in [0, 2**64) or, element by element, for uint64 arrays."""
    value = ((state ^ part) + _GAMMA) & _MASK
    value = ((value ^ (value >> 30)) * _MIX_1) & _MASK
    value = ((value ^ (value >> 27)) * _MIX_2) & _MASK
    return value ^ (value >> 31)


def mix_seed(*parts: int) -> int:
    """One seed in [0, 2**63) out of several integers; their order matters.

    >>> mix_seed(0, 1) == mix_seed(1, 0)
    False
    """
    return reduce(_mix, (int(part) & _MASK for part in parts), 0) >> 1


def mix_seeds(prefix: tuple[int, ...], last: np.ndarray) -> np.ndarray:
    """``[mix_seed(*prefix, i) for i in last]`` as (N,) int64 in one go (117,000 seeds in about 3 ms)."""
    states: list[Any] = [0, *(int(part) & _MASK for part in prefix), np.asarray(last, dtype=np.uint64)]
    return (reduce(_mix, states) >> 1).astype(np.int64)


class SeededIndex(int):
    """A dataset index that carries the seed of its augmentation; everywhere else it is the plain int.

    >>> index = SeededIndex(5, seed=42)
    >>> index + 1, index.seed
    (6, 42)
    """

    seed: int

    def __new__(cls, value: int, seed: int) -> 'SeededIndex':
        index = super().__new__(cls, value)
        index.seed = seed
        return index

    def __reduce__(self) -> tuple:
        return SeededIndex, (int(self), self.seed)


def seeded_indices(values: np.ndarray, seeds: np.ndarray) -> Iterator[SeededIndex]:
    """``SeededIndex(value, seed)`` of each pair, made a thousand at a time, in half the time of as many calls of the class."""

    def made(start: int) -> list[SeededIndex]:
        part = slice(start, start + 1000)
        found = list(map(partial(int.__new__, SeededIndex), values[part].tolist()))
        deque(map(setattr, found, itertools.repeat('seed'), seeds[part].tolist()), maxlen=0)
        return found

    return itertools.chain.from_iterable(map(made, range(0, len(values), 1000)))


@contextmanager
def seeded_rng(seed: int) -> Iterator[None]:
    """Seed ``random``, ``numpy.random`` and torch's CPU generator, and restore their states afterwards.

    In a loader worker nothing else draws random numbers, so nothing is restored (10 us instead of 300, most of it numpy's state).
    ``torch.manual_seed`` is avoided: it also queues a seeding of every GPU.
    """
    states = None
    if get_worker_info() is None:
        states = random.getstate(), np.random.get_state(), torch.default_generator.get_state()
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        if states is not None:
            random.setstate(states[0])
            np.random.set_state(states[1])
            torch.default_generator.set_state(states[2])


class SeededSampler(Sampler):
    """What the samplers share: the seeded global order."""

    def __init__(self, dataset: Sized, shuffle: bool = True, seed: int | None = None):
        self.rank, self.world_size = get_dist_info()
        self.dataset = dataset
        self.shuffle = shuffle
        self.seed = sync_random_seed() if seed is None else int(seed)
        self.epoch = 0
        if len(dataset) == 0:
            raise DataError('a sampler needs a dataset with at least one sample', received=0)

    def _order(self, epoch: int) -> np.ndarray:
        """The dataset's indices in the order of an epoch, (N,) int64, equal on every process."""
        if not self.shuffle:
            return np.arange(len(self.dataset))
        generator = torch.Generator().manual_seed(mix_seed(self.seed, epoch))
        return torch.randperm(len(self.dataset), generator=generator).numpy()

    def _seeded(self, epoch: int, order: np.ndarray) -> Iterator[SeededIndex]:
        """The indices of ``order``, each with the seed of its sample in this epoch."""
        return seeded_indices(order, mix_seeds((self.seed, epoch), order))

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration. (The passes of an endless sampler count themselves.)"""
        self.epoch = int(epoch)


@DATA_SAMPLERS.register_module()
class DefaultSampler(SeededSampler):
    """Sampler of epoch-based training (shuffled anew each epoch) and, unshuffled, of evaluation.

    Args:
        dataset: the dataset.
        shuffle: random order, a function of (seed, epoch).
        seed: equal on all processes; ``None`` draws one and shares it.
        round_up: repeat samples from the start of the order until every process has equally many; otherwise some have one fewer.
    """

    def __init__(self, dataset: Sized, shuffle: bool = True, seed: int | None = None, round_up: bool = True):
        super().__init__(dataset, shuffle, seed)
        self.round_up = round_up
        size = len(dataset)
        self.num_samples = math.ceil((size if round_up else size - self.rank) / self.world_size)
        self.total_size = self.num_samples * self.world_size if round_up else size

    def global_stream(self) -> Iterator[SeededIndex]:
        """This epoch's indices in global order, N of them, the same on every process."""
        return self._seeded(self.epoch, self._order(self.epoch))

    def __iter__(self) -> Iterator[SeededIndex]:
        # np.resize repeats from the start where round_up asks for more than N.
        order = np.resize(self._order(self.epoch), self.total_size)
        return self._seeded(self.epoch, order[self.rank :: self.world_size])

    def __len__(self) -> int:
        """Samples of this process."""
        return self.num_samples


@DATA_SAMPLERS.register_module()
class InfiniteSampler(SeededSampler):
    """Endless sampler of iteration-based training: one shuffled pass over the dataset after the other.

    Args:
        dataset, seed: as for :class:`DefaultSampler`.
        shuffle: random order, a function of (seed, number of the pass).
    """

    def global_stream(self) -> Iterator[SeededIndex]:
        """Indices in global order, endless, the same on every process."""
        for number in itertools.count():
            yield from self._seeded(number, self._order(number))

    def __iter__(self) -> Iterator[SeededIndex]:
        yield from itertools.islice(self.global_stream(), self.rank, None, self.world_size)

    def __len__(self) -> int:
        """Size of the dataset, as in mmengine: one pass of all processes together."""
        return len(self.dataset)
