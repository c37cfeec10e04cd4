"""Epochs in which every class has equally many images."""

import itertools
import math
from array import array
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from ...errors import ArgumentError, DataError
from ...registry import DATA_SAMPLERS
from ...utils.checks import is_int
from .seeded import SeededIndex, SeededSampler, mix_seeds, seeded_indices


@DATA_SAMPLERS.register_module()
class ClassAwareSampler(SeededSampler):
    """Draws a class, in a shuffled cycle over all that have images, then an image of it, in a shuffled cycle over the class's (Shen et al.,
    Relay backpropagation, ECCV 2016, section 3.2).

    An epoch has as many samples as the dataset; images of rare classes occur in it several times, each time augmented anew, and images
    without objects never. As with the other samplers of this package the global order is dealt to the processes, position r, r + W, ... to
    process r; mmdetection gives each one block of it.

    Args:
        dataset: with ``metainfo['classes']`` and ``get_cat_ids(index)``, also inside wrappers.
        seed: equal on all processes; ``None`` draws one and shares it. The order is a function of seed + epoch.
        num_sample_class: images that are drawn in a row for each class.

    Raises:
        ArgumentError: ``num_sample_class`` is not a positive integer.
        DataError: the dataset has no objects.
    """

    def __init__(self, dataset: Any, seed: int | None = None, num_sample_class: int = 1):
        super().__init__(dataset, seed=seed)
        if not is_int(num_sample_class, 1):
            raise ArgumentError('must be an integer >= 1', field='num_sample_class', received=num_sample_class)
        self.num_sample_class = num_sample_class
        self.num_samples = math.ceil(len(dataset) / self.world_size)
        self.total_size = self.num_samples * self.world_size
        self.num_classes = len(dataset.metainfo['classes'])
        # Arrays, because an epoch draws an order of each, of which it may need few.
        images = [array('q') for _ in range(self.num_classes)]
        for index in range(len(dataset)):
            for label in set(dataset.get_cat_ids(index)):
                images[label].append(index)
        self.cat_dict = {label: found for label, found in enumerate(images) if found}  # of each class that has any
        if not self.cat_dict:
            raise DataError('ClassAwareSampler needs images with objects', received=f'{len(dataset)} images without')

    def _order(self, epoch: int) -> np.ndarray:
        """(total_size,) indices."""
        generator = torch.Generator().manual_seed(self.seed + epoch)
        classes = _cycle(array('q', self.cat_dict), generator)
        images = {label: _cycle(found, generator) for label, found in self.cat_dict.items()}
        rounds = math.ceil(self.total_size / self.num_classes / self.num_sample_class)
        drawn = map(
            itertools.repeat,
            itertools.islice(classes, rounds * self.num_classes),
            itertools.repeat(self.num_sample_class),
        )
        order = list(map(next, map(images.__getitem__, itertools.chain.from_iterable(drawn))))
        return np.resize(order, self.total_size)

    def _dealt(self, rank: int, world_size: int) -> Iterator[SeededIndex]:
        order = self._order(self.epoch)
        # An image may come twice: its place in the epoch makes the seed.
        seeds = mix_seeds((self.seed, self.epoch), np.arange(len(order)))
        return seeded_indices(order[rank::world_size], seeds[rank::world_size])

    def global_stream(self) -> Iterator[SeededIndex]:
        """This epoch's indices in global order, the same on every process."""
        return self._dealt(0, 1)

    def __iter__(self) -> Iterator[SeededIndex]:
        return self._dealt(self.rank, self.world_size)

    def __len__(self) -> int:
        """Samples of this process."""
        return self.num_samples


def _cycle(values: array, generator: torch.Generator) -> Iterator[int]:
    """``values`` in random order for ever, each pass in a new order; the first one is drawn at once."""

    def drawn() -> Iterator[int]:
        order = torch.randperm(len(values), generator=generator).numpy()
        return iter(memoryview(np.asarray(values)[order]))

    # An iterator without steps in Python, of which an epoch has two for each sample.
    return itertools.chain(drawn(), itertools.chain.from_iterable(iter(drawn, None)))
