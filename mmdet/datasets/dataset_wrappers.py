"""Datasets made of datasets. Each hands the seed of a ``SeededIndex`` on, so that the augmentation of a sample stays its own."""

import bisect
import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.dataset import ClassBalancedDataset as _ClassBalancedDataset
from mmengine.dataset import ConcatDataset as _ConcatDataset
from mmengine.dataset import RepeatDataset as _RepeatDataset

from mmdet.utils.checks import is_int

from ..errors import ConfigError
from ..registry import DATASETS
from .samplers import SeededIndex


def _build(dataset: Any) -> Any:
    """A dataset out of a config or itself."""
    if isinstance(dataset, dict):
        return DATASETS.build(dataset)
    if isinstance(dataset, BaseDataset | _SharedParts):
        return dataset
    raise ConfigError('must be a dataset or its config dict', field='dataset', received=type(dataset).__name__)


class _SharedParts:
    """What the samplers and hooks ask of any dataset, for a wrapper: ``_parts`` are its datasets, ``_locate`` finds a sample in them."""

    # Of mmengine's wrappers, beside which this class is a base.
    dataset: Any
    full_init: Callable[[], None]
    _get_ori_dataset_idx: Callable[[int], int]
    __len__: Callable[[], int]

    @property
    def _parts(self) -> list:
        return [self.dataset]

    def _locate(self, idx: int) -> tuple[int, int]:
        """(number of the part, index in it)."""
        return 0, self._get_ori_dataset_idx(idx)

    def __getitem__(self, idx: int) -> Any:
        self.full_init()
        size = len(self)
        if not -size <= idx < size:
            raise IndexError(f'index {int(idx)} is out of range for a dataset of {size} samples')
        part, local = self._locate(int(idx) % size)
        seed = getattr(idx, 'seed', None)
        return self._parts[part][local if seed is None else SeededIndex(local, seed)]

    def get_data_info(self, idx: int) -> dict:
        """Record ``idx``."""
        self.full_init()
        part, local = self._locate(int(idx) % len(self))
        return self._parts[part].get_data_info(local)

    def get_cat_ids(self, idx: int) -> list[int]:
        """Labels of the instances of record ``idx``."""
        self.full_init()
        part, local = self._locate(int(idx) % len(self))
        return self._parts[part].get_cat_ids(local)

    @property
    def broken_images(self) -> list[str]:
        """Paths of the broken images met so far in all parts."""
        return [path for part in self._parts for path in getattr(part, 'broken_images', [])]


@DATASETS.register_module()
class RepeatDataset(_SharedParts, _RepeatDataset):
    """A dataset whose epoch goes ``times`` times through another one; each repetition of a sample is augmented anew.

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
        self._metainfo = self.dataset.metainfo
        self._fully_initialized = False
        if not lazy_init:
            self.full_init()

    def get_sizes_wh(self) -> np.ndarray:
        """(N, 2) widths and heights."""
        self.full_init()
        return np.tile(self.dataset.get_sizes_wh(), (self.times, 1))


@DATASETS.register_module()
class ClassBalancedDataset(_SharedParts, _ClassBalancedDataset):
    """A dataset that repeats images with rare classes. Gupta et al., LVIS, CVPR 2019 (eq. in appendix B).

    Args:
        dataset: the dataset or its config.
        oversample_thr: classes on a smaller share of the images than this are repeated.
        lazy_init: do not read the annotations yet.
    """

    def __init__(self, dataset: BaseDataset | dict, oversample_thr: float, lazy_init: bool = False):
        self.dataset = _build(dataset)
        self.oversample_thr = oversample_thr
        self._metainfo = self.dataset.metainfo
        self._fully_initialized = False
        if not lazy_init:
            self.full_init()

    def get_sizes_wh(self) -> np.ndarray:
        """(N, 2) widths and heights."""
        self.full_init()
        return self.dataset.get_sizes_wh()[self.repeat_indices]


@DATASETS.register_module()
class ConcatDataset(_SharedParts, _ConcatDataset):
    """Datasets one after the other; their class tuples must be equal, because a label is a position in that tuple.

    Args:
        datasets: datasets or their configs.
        lazy_init: do not read the annotations yet.
        ignore_keys: metainfo keys that may differ. Only ``classes`` is compared; name it here to concatenate all the same.
    """

    def __init__(self, datasets: Sequence, lazy_init: bool = False, ignore_keys: str | Sequence[str] | None = None):
        if not datasets:
            raise ConfigError('must hold at least one dataset', field='datasets', received=datasets)
        self.datasets = [_build(dataset) for dataset in datasets]
        self.ignore_keys = [ignore_keys] if isinstance(ignore_keys, str) else list(ignore_keys or ())
        self._metainfo = copy.deepcopy(self.datasets[0].metainfo)
        first = self._metainfo.get('classes')
        for number, dataset in enumerate(self.datasets):
            classes = dataset.metainfo.get('classes')
            if classes != first and 'classes' not in self.ignore_keys:
                raise ConfigError(
                    f'all datasets must have the classes of the first one, in the same order: {first}',
                    field=f'datasets[{number}]',
                    received=classes,
                )
        self._fully_initialized = False
        if not lazy_init:
            self.full_init()

    @property
    def _parts(self) -> list:
        return self.datasets

    def _locate(self, idx: int) -> tuple[int, int]:
        part = bisect.bisect_right(self.cumulative_sizes, idx)
        return part, idx - (self.cumulative_sizes[part - 1] if part else 0)

    def get_sizes_wh(self) -> np.ndarray:
        """(N, 2) widths and heights."""
        self.full_init()
        return np.concatenate([dataset.get_sizes_wh() for dataset in self.datasets])
