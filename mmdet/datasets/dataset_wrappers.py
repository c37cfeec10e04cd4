"""Datasets made of datasets. Each passes the seed of a ``SeededIndex`` on, so that every sample has an augmentation of its own."""

import contextlib
import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.dataset import ClassBalancedDataset as _ClassBalancedDataset
from mmengine.dataset import ConcatDataset as _ConcatDataset
from mmengine.dataset import RepeatDataset as _RepeatDataset
from mmengine.dist import is_main_process
from mmengine.structures import BaseDataElement

from mmdet.utils.checks import is_int

from ..errors import ConfigError, DataError
from ..evaluation.predictions import PART, parts_of
from ..registry import DATASETS
from .account import BoxAccount, account_of, object_counts, say_filters
from .samplers import SeededIndex, mix_seed, seeded_rng
from .transforms import Compose


def _build(dataset: Any) -> Any:
    if isinstance(dataset, dict):
        return DATASETS.build(dataset)
    if isinstance(dataset, BaseDataset | _SharedParts):
        return dataset
    raise ConfigError('must be a dataset or its config dict', field='dataset', received=type(dataset).__name__)


class _SharedParts:
    """What samplers and hooks ask of any dataset, for wrappers; ``_parts`` lists the datasets that are wrapped."""

    # These come from mmengine's wrapper, the other base class of each subclass.
    dataset: Any
    full_init: Callable[[], None]
    _get_ori_dataset_idx: Callable[[int], Any]
    __len__: Callable[[], int]

    def _start(self, metainfo: dict, lazy_init: bool) -> None:
        self._metainfo = metainfo
        self._fully_initialized = False
        if not lazy_init:
            self.full_init()

    @property
    def _parts(self) -> list:
        return [self.dataset]

    def _locate(self, idx: int) -> tuple[Any, int]:
        """The dataset that holds a sample, and the index in it."""
        self.full_init()
        found = self._get_ori_dataset_idx(int(idx) % len(self))
        return (self._parts[found[0]], found[1]) if isinstance(found, tuple) else (self.dataset, found)

    def __getitem__(self, idx: int) -> Any:
        self.full_init()
        size = len(self)
        if not -size <= idx < size:
            raise IndexError(f'index {int(idx)} is out of range for a dataset of {size} samples')
        dataset, local = self._locate(idx)
        seed = getattr(idx, 'seed', None)
        return dataset[local if seed is None else SeededIndex(local, seed)]

    def get_data_info(self, idx: int) -> dict:
        """Record ``idx``."""
        dataset, local = self._locate(idx)
        return dataset.get_data_info(local)

    def get_cat_ids(self, idx: int) -> list[int]:
        """Labels of the instances of record ``idx``."""
        dataset, local = self._locate(idx)
        return dataset.get_cat_ids(local)

    def get_sizes_wh(self) -> np.ndarray:
        """(N, 2) widths and heights."""
        self.full_init()
        return np.concatenate([part.get_sizes_wh() for part in self._parts])

    def get_object_counts(self) -> np.ndarray:
        """(N,) objects to be found in each image; images that a wrapper repeats count once."""
        self.full_init()
        return np.concatenate([object_counts(part) for part in self._parts])

    def account(self) -> BoxAccount:
        """The account of all parts together. Images that a wrapper repeats count once."""
        self.full_init()
        parts = [account_of(part) for part in self._parts]
        account = BoxAccount(f'{type(self).__name__} of {", ".join(part.source for part in parts)}')
        for part in parts:
            account.add(part)
        return account

    @property
    def broken_images(self) -> list[str]:
        """Paths of the broken images met so far in all parts."""
        return [path for part in self._parts for path in getattr(part, 'broken_images', [])]


@DATASETS.register_module()
class RepeatDataset(_SharedParts, _RepeatDataset):
    """A dataset whose epoch consists of ``times`` passes over another one; each repetition of a sample is augmented anew.

    Args:
        dataset: the dataset or its config.
        times: repetitions, >= 1.
        lazy_init: do not read the annotations yet.
    """

    def __init__(self, dataset: BaseDataset | dict, times: int, lazy_init: bool = False):
        if not is_int(times, 1):
            raise ConfigError('must be an integer >= 1', field='times', received=times)
        self.dataset = _build(dataset)
        self.times = times
        self._start(self.dataset.metainfo, lazy_init)

    def get_sizes_wh(self) -> np.ndarray:
        return np.tile(super().get_sizes_wh(), (self.times, 1))


@DATASETS.register_module()
class ClassBalancedDataset(_SharedParts, _ClassBalancedDataset):
    """A dataset that repeats images with rare classes. Gupta et al., LVIS, CVPR 2019 (eq. in appendix B).

    Args:
        dataset, lazy_init: as for :class:`RepeatDataset`.
        oversample_thr: classes on a smaller share of the images than this are repeated.
    """

    def __init__(self, dataset: BaseDataset | dict, oversample_thr: float, lazy_init: bool = False):
        self.dataset = _build(dataset)
        self.oversample_thr = oversample_thr
        self._start(self.dataset.metainfo, lazy_init)

    def get_sizes_wh(self) -> np.ndarray:
        return super().get_sizes_wh()[self.repeat_indices]


@DATASETS.register_module()
class ConcatDataset(_SharedParts, _ConcatDataset):
    """Datasets one after the other; their class tuples must be equal, because a label is a position in that tuple.

    Samples (their metainfo) and records tell by ``dataset_part`` which of the datasets they come from, because two of them may have images
    of one id.

    Args:
        datasets, lazy_init: as for :class:`RepeatDataset`.
        ignore_keys: metainfo keys that may differ. Only ``classes`` is compared, hence nothing if it is named here.
    """

    def __init__(self, datasets: Sequence, lazy_init: bool = False, ignore_keys: str | Sequence[str] | None = None):
        if not datasets:
            raise ConfigError('must hold at least one dataset', field='datasets', received=datasets)
        self.datasets = [_build(dataset) for dataset in datasets]
        self.ignore_keys = [ignore_keys] if isinstance(ignore_keys, str) else list(ignore_keys or ())
        metainfo = copy.deepcopy(self.datasets[0].metainfo)
        first = metainfo.get('classes')
        for number, dataset in enumerate(self.datasets):
            classes = dataset.metainfo.get('classes')
            if classes != first and 'classes' not in self.ignore_keys:
                message = f'all datasets must have the classes of the first one, in the same order: {first}'
                raise ConfigError(message, field=f'datasets[{number}]', received=classes)
        self._start(metainfo, lazy_init)

    @property
    def _parts(self) -> list:
        return self.datasets

    def __getitem__(self, idx: int) -> Any:
        sample = super().__getitem__(idx)
        self._mark(sample, int(idx))
        return sample

    def get_data_info(self, idx: int) -> dict:
        """Record ``idx``."""
        info = super().get_data_info(idx)
        return {**info, PART: self._part_number(int(idx), info.get(PART))}

    def _part_number(self, idx: int, inner: int | None) -> int:
        """The number, among all data sets, of the one that a sample is from; ``inner`` is that in a concatenation inside this one."""
        number = self._get_ori_dataset_idx(idx % len(self))[0]
        *before, own = [len(parts_of(dataset)) for dataset in self.datasets[: number + 1]]
        return sum(before) + (inner or 0 if own > 1 else 0)

    def _mark(self, sample: Any, idx: int) -> None:
        """Write the number of the dataset into a packed sample; the views of test-time augmentation are a list of them."""
        found = sample.get('data_samples') if isinstance(sample, dict) else None
        for each in found if isinstance(found, list | tuple) else [found]:
            if isinstance(each, BaseDataElement):
                each.set_metainfo({PART: self._part_number(idx, each.get(PART))})


@DATASETS.register_module()
class MultiImageMixDataset(_SharedParts):
    """A dataset whose pipeline mixes several images of another dataset into one (``Mosaic``, ``MixUp``, ``CopyPaste``).

    The pipeline of the inner dataset loads image and boxes. A transform of the outer one that has ``get_indexes(dataset)`` gets the samples
    that it names in ``results['mix_results']``.

    Args:
        dataset, lazy_init: as for :class:`RepeatDataset`.
        pipeline: configs of the outer transforms.
        skip_type_keys: names of transforms that are left out; see :meth:`update_skip_type_keys`.
        max_refetch: how often a sample is made, from its image on and with other partners, until no transform returns None for it.
    """

    def __init__(
        self,
        dataset: BaseDataset | dict,
        pipeline: Sequence[dict],
        skip_type_keys: Sequence[str] | None = None,
        max_refetch: int = 15,
        lazy_init: bool = False,
    ):
        if not is_int(max_refetch, 1):
            raise ConfigError('must be an integer >= 1', field='max_refetch', received=max_refetch)
        self.dataset = _build(dataset)
        self.pipeline = Compose(pipeline)
        self.max_refetch = max_refetch
        self.update_skip_type_keys(skip_type_keys)
        self._start(self.dataset.metainfo, lazy_init)

    def update_skip_type_keys(self, skip_type_keys: Sequence[str] | None) -> None:
        """Leave the transforms of these type names out from now on; hooks call this near the end of a training."""
        if isinstance(skip_type_keys, str):
            raise ConfigError('must be a list of names', field='skip_type_keys', received=skip_type_keys)
        self.skip_type_keys = tuple(skip_type_keys or ())

    @property
    def metainfo(self) -> dict:
        """A copy of the inner dataset's."""
        return copy.deepcopy(self._metainfo)

    def full_init(self) -> None:
        """Read the annotations."""
        if not self._fully_initialized:
            self.dataset.full_init()
            self._fully_initialized = True
            if is_main_process():
                say_filters(self.pipeline)

    def __len__(self) -> int:
        self.full_init()
        return len(self.dataset)

    def _locate(self, idx: int) -> tuple[Any, int]:
        return self.dataset, int(idx)

    def __getitem__(self, idx: int) -> Any:
        """The sample after the pipeline.

        Raises:
            RefetchError: in all attempts a transform gave None.
            IndexError: ``idx`` is out of range.
        """
        seed = getattr(idx, 'seed', None)
        blamed = None
        for attempt in range(self.max_refetch):
            fresh = seed if seed is None or attempt == 0 else mix_seed(seed, attempt)
            # The inner dataset may keep its samples, and transforms of other code may write to what they get.
            results = copy.deepcopy(super().__getitem__(idx if fresh is None else SeededIndex(idx, fresh)))
            for step, transform in enumerate(self.pipeline):
                name = type(transform).__name__
                if name in self.skip_type_keys:
                    continue
                results = self._apply(transform, results, None if fresh is None else mix_seed(fresh, step))
                if results is None:
                    blamed = name
                    break
                results.pop('mix_results', None)
            else:
                return results
        message = f'{blamed} gave no sample in {self.max_refetch} attempts'
        raise RefetchError(message, record=f'sample {int(idx)}', file=getattr(self.dataset, 'ann_file', None))

    def _apply(self, transform: Callable, results: dict, seed: int | None) -> dict | None:
        """One transform, with a stream of random numbers of its own: samples that are loaded for others before do not change it."""
        if hasattr(transform, 'get_indexes'):
            with _stream(seed, 0):
                found = transform.get_indexes(self.dataset)
            indexes = [int(index) for index in (found if isinstance(found, Sequence | np.ndarray) else [found])]
            seeds = [None if seed is None else mix_seed(seed, 2, number) for number in range(len(indexes))]
            partners = [
                self.dataset[index if own is None else SeededIndex(index, own)] for index, own in zip(indexes, seeds)
            ]
            if any(partner is None for partner in partners):
                return None
            results['mix_results'] = copy.deepcopy(partners)
        with _stream(seed, 1):
            return transform(results)


class RefetchError(DataError, RuntimeError):
    """A pipeline gives no sample. Also a RuntimeError, as callers of mmdetection expect."""


def _stream(seed: int | None, number: int) -> contextlib.AbstractContextManager:
    return contextlib.nullcontext() if seed is None else seeded_rng(mix_seed(seed, number))
