"""The evaluators of a run: metrics over one data set, or over the parts of a concatenation.

An evaluator knows the data set whose predictions it gets. Before the first image it checks the files of its metrics against it, and learns
what the labels of the model are there; then it changes the labels of all predictions, so that metrics, dumps and pictures have those of the data set.
"""

import itertools
import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from mmengine.evaluator import Evaluator as MMEngineEvaluator
from mmengine.structures import BaseDataElement

from ..errors import ConfigError, DataError
from ..registry import EVALUATOR, METRICS
from ..utils.class_names import ClassMap, all_names, class_names, map_classes
from .predictions import PART, parts_of


def _check(metric: BaseMetric, parts: list) -> list[str]:
    """The notes of a metric that can check its files; of any other it is asked whether its annotation file exists."""
    check = getattr(metric, 'check_datasets', None)
    if callable(check):
        return check(parts)
    files = getattr(metric, 'ann_file', None)
    for file in files if isinstance(files, list | tuple) else [files]:
        if isinstance(file, str) and '://' not in file and not os.path.exists(file):
            raise DataError('no such annotation file', file=file, field=f'{type(metric).__name__}.ann_file')
    return []


def _check_names(metrics: Sequence[BaseMetric]) -> None:
    """ConfigError for two metrics of one type and prefix that measure the same: their results would have one name."""
    seen: set[tuple] = set()
    for metric in metrics:
        if not metric.prefix or getattr(metric, 'metric_items', None):
            continue
        for measured in getattr(metric, 'metrics', [getattr(metric, 'metric', None)]):
            key = type(metric).__name__, metric.prefix, measured
            if key in seen:
                message = f'two {key[0]} would give results of the same names; set another prefix for one of them'
                raise ConfigError(message, field='prefix', received=metric.prefix)
            seen.add(key)


def _names(dataset: Any) -> tuple[str, ...] | None:
    return class_names(getattr(dataset, 'metainfo', None))


@EVALUATOR.register_module()
class Evaluator(MMEngineEvaluator):
    """mmengine's evaluator, which knows its data set and the classes of the model.

    The parts of a concatenation are evaluated as one data set. Images are told apart by part and id. Parts with different classes
    are evaluated on all classes together; a class counts on the images of those parts that have it.

    Args:
        metrics: one metric or several.
    """

    def __init__(self, metrics: dict | BaseMetric | Sequence):
        super().__init__(metrics)
        self._parts: list = []
        self._maps: list[ClassMap | None] = []  # by part: labels of the model to those of all parts
        self._truth: list[tuple[int, ...] | None] = []  # by part: its labels to those of all parts, where they differ

    def bind(self, dataset: Any) -> list[str]:
        """Take a data set, and check the files of the metrics against it.

        Returns:
            sentences about what does not fit, but need not be wrong.

        Raises:
            ConfigError, DataError: a file cannot be read, lacks classes or images of the data set, or cannot tell the parts apart; the data set
                has no ground truth for a metric without a file; or two metrics would give results of one name.
        """
        self._take(dataset)
        _check_names(self.metrics)
        return [note for metric in self.metrics for note in _check(metric, self._parts)]

    def _take(self, dataset: Any) -> None:
        """Take a data set; the classes of parts that have different ones are all of theirs, in order of first appearance."""
        self._parts = parts_of(dataset)
        self._maps, self._truth = [None] * len(self._parts), [None] * len(self._parts)
        lists = [_names(part) for part in self._parts]
        if len(set(lists)) > 1:
            if None in lists:
                message = 'a data set without class names cannot be evaluated together with others that have them'
                raise ConfigError(message, field='datasets', received=lists)
            union = all_names(names or () for names in lists)
            meta = {key: value for key, value in getattr(dataset, 'metainfo', {}).items() if key != 'palette'}
            self.dataset_meta = {**meta, 'classes': union}
            self._truth = [tuple(union.index(name) for name in names or ()) for names in lists]

    def match_classes(self, trained: Sequence[str] | None) -> list[str]:
        """Learn the classes of the model; predictions are given the labels of the data set from now on.

        Args:
            trained: names by label of the model; None leaves the labels as they are.

        Returns:
            sentences about what is not equal.

        Raises:
            ConfigError: no class of the data set is known, see :func:`~mmdet.utils.class_names.map_classes`.
        """
        notes: list[str] = []
        for number, part in enumerate(self._parts):
            names = _names(part)
            if trained is None or names is None:
                self._maps[number] = None
                continue
            what = 'The data set' if len(self._parts) == 1 else f'Data set {self._name(number)}'
            found, truth = map_classes(trained, names, what), self._truth[number]
            notes += found.notes
            if truth is not None:
                found = ClassMap(
                    found.trained, self._classes(), tuple(truth[k] if k >= 0 else -1 for k in found.labels)
                )
            self._maps[number] = None if found.is_identity else found
        return notes

    def _name(self, number: int) -> str:
        return f'{number + 1} of {len(self._parts)}'

    def _classes(self) -> tuple[str, ...]:
        return class_names(self.dataset_meta) or ()

    def process(self, data_samples: Sequence[BaseDataElement], data_batch: Any = None) -> None:
        """Give a batch of predictions the labels of their data set, in place, and hand it to the metrics."""
        for sample in data_samples:
            number = self.part_of(sample)
            found = self._maps[number] if self._maps else None
            truth = self._truth[number] if self._truth else None
            if found is not None:
                _relabel(sample, 'pred_instances', found.labels)
            if truth is not None:
                _relabel_truth(sample, truth)
        self._process(data_samples, data_batch)

    def _process(self, data_samples: Sequence[BaseDataElement], data_batch: Any) -> None:
        super().process(data_samples, data_batch)

    def part_of(self, sample: Any) -> int:
        """The number of the part that a sample comes from; 0 where the data set has no parts."""
        return part_of(sample, len(self._parts))


def part_of(sample: Any, count: int) -> int:
    """The number of the part, of ``count``, that a sample comes from.

    Raises:
        DataError: the sample does not tell, or the number is too high.
    """
    if count <= 1:
        return 0
    number = sample.get(PART)
    if not isinstance(number, int) or not 0 <= number < count:
        message = f'must be the number of the data set, 0 to {count - 1}; ConcatDataset writes it into the data samples'
        raise DataError(message, record='data sample', field=PART, received=number)
    return number


def _relabel(sample: Any, key: str, labels: Sequence[int]) -> None:
    """Change the labels of the instances of a sample; those of label -1 are left out."""
    found = sample.get(key)
    if found is None or 'labels' not in found:
        return
    old = torch.as_tensor(found['labels'] if isinstance(found, Mapping) else found.labels).long()
    if len(old) and int(old.max()) >= len(labels):
        message = f'must be below {len(labels)}, the number of classes that the checkpoint names'
        raise DataError(
            message, record=f'image {sample.get("img_id")!r}', field=f'{key}.labels', received=int(old.max())
        )
    new = torch.as_tensor(labels, device=old.device)[old]
    kept = new >= 0
    if isinstance(found, Mapping):  # a copy: the objects may be shared
        changed: Any = {name: torch.as_tensor(value)[kept] for name, value in found.items()}
        changed['labels'] = new[kept]
        sample[key] = changed
        return
    changed = found if bool(kept.all()) else found[kept]
    changed.labels = new[kept]
    setattr(sample, key, changed)


def _relabel_truth(sample: Any, labels: Sequence[int]) -> None:
    for key in ('gt_instances', 'ignored_instances'):
        _relabel(sample, key, labels)
    if sample.get('instances') is not None:
        rows = [dict(row, bbox_label=labels[row['bbox_label']]) for row in sample.get('instances')]
        if isinstance(sample, BaseDataElement):
            sample.set_metainfo(dict(instances=rows))
        else:
            sample['instances'] = rows


@EVALUATOR.register_module()
class MultiDatasetsEvaluator(Evaluator):
    """Metrics for each part of a concatenation of its own, under mmdetection's name and arguments.

    Each part has its own annotation file and classes (``ConcatDataset(ignore_keys='classes')`` where they differ), and images of one id
    in several parts are different images. The predictions are those of one model; they get the labels of each part by the names of the classes.

    Args:
        metrics: for each part a metric, or a list of them.
        dataset_prefixes: for each part the first word of its results, ``<prefix>/coco/bbox_mAP``.
        whole: metrics of all parts together, such as ``DumpDetResults``.

    Raises:
        ConfigError: numbers of metrics, prefixes and parts that differ, or a prefix that occurs twice.
    """

    def __init__(self, metrics: Sequence, dataset_prefixes: Sequence[str], whole: Sequence | dict = ()):
        if not isinstance(metrics, list | tuple) or not isinstance(dataset_prefixes, list | tuple):
            raise ConfigError(
                'metrics and dataset_prefixes must be lists, with an entry for each data set', field='metrics'
            )
        groups = [list(entry) if isinstance(entry, list | tuple) else [entry] for entry in metrics]
        self.dataset_prefixes = [str(prefix) for prefix in dataset_prefixes]
        if len(groups) != len(self.dataset_prefixes) or len(set(self.dataset_prefixes)) < len(groups):
            message = f'must hold {len(groups)} different names, one for each entry of metrics'
            raise ConfigError(message, field='dataset_prefixes', received=list(dataset_prefixes))
        for metric in itertools.chain(*groups):
            if not isinstance(metric, dict | BaseMetric):
                raise ConfigError('must be a metric, or a list of metrics', field='metrics', received=metric)
        built = [[METRICS.build(m) if isinstance(m, dict) else m for m in group] for group in groups]
        self.groups: list[list[BaseMetric]] = built
        super().__init__([metric for group in built for metric in group])
        self._back: list[list[int] | None] = []
        extra = [whole] if isinstance(whole, dict) else whole
        self.whole = Evaluator(extra) if extra else None

    @property
    def dataset_meta(self) -> dict:
        """Meta information of the concatenation; each metric has that of its part, from :meth:`bind`."""
        return self._dataset_meta or {}

    @dataset_meta.setter
    def dataset_meta(self, dataset_meta: dict) -> None:
        self._dataset_meta = dataset_meta

    def bind(self, dataset: Any) -> list[str]:
        """See :meth:`Evaluator.bind`.

        Raises:
            ConfigError: the data set has another number of parts.
        """
        parts = parts_of(dataset)
        if len(parts) != len(self.groups):
            message = f'needs a ConcatDataset of {len(self.groups)} data sets, one for each of its metrics'
            raise ConfigError(message, field='MultiDatasetsEvaluator', received=f'{len(parts)} data sets')
        self._take(dataset)
        # From the classes of all parts back to those of each.
        self._back = [
            None if truth is None else [truth.index(k) if k in truth else -1 for k in range(len(self._classes()))]
            for truth in self._truth
        ]
        notes = []
        for part, prefix, group in zip(parts, self.dataset_prefixes, self.groups):
            _check_names(group)
            for metric in group:
                metric.dataset_meta = getattr(part, 'metainfo', None)
                notes += [f'{prefix}: {note}' for note in _check(metric, [part])]
        if self.whole is not None:
            self.whole.dataset_meta = self.dataset_meta or getattr(dataset, 'metainfo', {})
            notes += [note for metric in self.whole.metrics for note in _check(metric, parts)]
        return notes

    def _name(self, number: int) -> str:
        return self.dataset_prefixes[number]

    def _process(self, data_samples: Sequence[BaseDataElement], data_batch: Any) -> None:
        if self.whole is not None:
            self.whole._process(data_samples, data_batch)
        plain = [sample.to_dict() if isinstance(sample, BaseDataElement) else dict(sample) for sample in data_samples]
        for number, group in enumerate(self.groups):
            own = [sample for sample in plain if self.part_of(sample) == number]
            if not own:
                continue
            back = self._back[number] if self._back else None
            if back is not None:
                for sample in own:
                    _relabel(sample, 'pred_instances', back)
                    _relabel_truth(sample, back)
            for metric in group:
                metric.process(data_batch, own)

    def evaluate(self, size: int) -> dict:
        """The results of every part, ``<prefix>/<name>``, and of the metrics of the whole.

        Raises:
            ConfigError: two metrics of a part give results of one name.
        """
        results: dict = OrderedDict()
        for part, prefix, group in zip(self._parts, self.dataset_prefixes, self.groups):
            length = len(part) if hasattr(part, '__len__') else size
            for metric in group:
                for name, value in metric.evaluate(length).items():
                    key = f'{prefix}/{name}'
                    if key in results:
                        message = 'two metrics give results of this name; set another prefix for one of them'
                        raise ConfigError(message, field='metrics', received=key)
                    results[key] = value
        if self.whole is not None:
            results.update(self.whole.evaluate(size))
        return results
