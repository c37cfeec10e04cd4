"""Batches of images of similar shape, equal for any number of processes.

N samples in the dataset, W processes, B images a process and iteration, G = B * W the global batch.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from mmengine.dist import get_dist_info
from torch.utils.data import Sampler

from ...errors import ConfigError, DataError
from ...registry import DATA_SAMPLERS
from .seeded import SeededSampler


class SamplerTypeError(ConfigError, TypeError):
    """What is no sampler. Also a TypeError, as callers of mmdetection expect."""


@DATA_SAMPLERS.register_module()
class AspectRatioBatchSampler:
    """Batches of images that are all upright (w < h) or all not, so that padding to the batch's largest image stays small.

    Grouping happens on the *global* stream: each of the two groups is filled until it holds G samples, then the global batch is dealt,
    position r, r + W, ... to process r. What is left in both groups at the end of the epoch forms the last, mixed batches. Thus every
    process has ceil(N / G) batches (floor with ``drop_last``), whatever the order. If each process grouped its own samples, their numbers
    of batches could differ, and those with more would wait for ever in their gradient reduction.

    Args:
        sampler: ``DefaultSampler``, ``InfiniteSampler`` or ``ClassAwareSampler``. Another sampler is accepted in one process only.
        batch_size: B, images of one process in an iteration.
        drop_last: leave out an incomplete last batch. Otherwise it is filled from the start of the epoch up to a multiple of W.
    """

    def __init__(self, sampler: Sampler, batch_size: int, drop_last: bool = False):
        if not isinstance(batch_size, int) or batch_size < 1:
            raise ConfigError('batch_size should be a positive integer value', field='batch_size', received=batch_size)
        # torch's samplers call it data_source
        self._dataset: Any = getattr(sampler, 'dataset', None) or getattr(sampler, 'data_source', None)
        if not isinstance(sampler, Sampler) or self._dataset is None:
            message = 'sampler should be an instance of ``Sampler`` that knows its dataset'
            raise SamplerTypeError(message, field='sampler', received=type(sampler).__name__)
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last
        dealt = sampler if isinstance(sampler, SeededSampler) and hasattr(sampler, 'global_stream') else None
        self.rank, self.world_size = (dealt.rank, dealt.world_size) if dealt else get_dist_info()
        if self.world_size > 1 and not (dealt and getattr(sampler, 'round_up', True)):
            message = (
                'with several processes AspectRatioBatchSampler needs the DefaultSampler (round_up=True), InfiniteSampler or ClassAwareSampler of mmdet, '
                'because others may give the processes different numbers of batches'
            )
            raise ConfigError(message, field='sampler', received=type(sampler).__name__)
        self._upright: list[bool] | None = None

    def __iter__(self) -> Iterator[list[int]]:
        if self._upright is None:
            self._upright = upright(self._dataset)
        stream = self.sampler.global_stream() if hasattr(self.sampler, 'global_stream') else iter(self.sampler)
        yield from self._local_batches(stream, self._upright)

    def _local_batches(self, stream: Iterator[int], upright: list[bool]) -> Iterator[list[int]]:
        total = self.batch_size * self.world_size  # G
        groups: tuple[list, list] = [], []
        first: list[int] = []  # to fill the last batch from
        for index in stream:
            if len(first) < self.world_size:
                first.append(index)
            group = groups[upright[index]]
            group.append(index)
            if len(group) == total:
                yield group[self.rank :: self.world_size]
                group.clear()
        rest = groups[0] + groups[1]
        if self.drop_last:
            del rest[len(rest) // total * total :]
        missing = -len(rest) % self.world_size
        rest += (first * missing)[:missing]
        for start in range(0, len(rest), total):
            yield rest[start : start + total][self.rank :: self.world_size]

    def __len__(self) -> int:
        """Batches of this process in an epoch (in one pass over the dataset, for an endless sampler)."""
        size, total = len(self._dataset), self.batch_size * self.world_size
        return size // total if self.drop_last else math.ceil(size / total)


def upright(dataset: Any) -> list[bool]:
    """Which samples have width < height."""
    count = len(dataset)
    if hasattr(dataset, 'get_sizes_wh'):
        sizes_wh = dataset.get_sizes_wh()[:count]  # (N, 2)
    else:  # a foreign dataset: read each record once
        records = (dataset.get_data_info(index) for index in range(count))
        sizes_wh = np.array([(record.get('width', 0), record.get('height', 0)) for record in records]).reshape(-1, 2)
    if len(sizes_wh) < count or (sizes_wh <= 0).any():
        raise DataError('AspectRatioBatchSampler needs width and height > 0 in every record; or set batch_sampler=None')
    return (sizes_wh[:, 0] < sizes_wh[:, 1]).tolist()
