"""Predictions of a test run in one file, for evaluation and analysis later."""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from ..errors import ConfigError, DataError
from ..formats.coco import AnnFile, file_list, load_coco_annotations, result_rows
from ..registry import METRICS
from ..utils.class_names import class_names
from ..utils.files import write_json, write_pickle
from ..utils.outputs import refuse_inputs
from .dataset_checks import check_ids_differ
from .predictions import PART, annotations_from_records, detections_from_records, image_id_of, keep_first, read_sample


@METRICS.register_module()
class DumpDetResults(BaseMetric):
    """Write the predictions of all images, each image once.

    ``.pkl`` / ``.pickle``: a list with one dict for each image, in the order of the dataset: the sample's plain fields
    (``img_id``, ``img_path``, ``ori_shape``, ...) and ``pred_instances``, a dict of CPU tensors. The first of each data set also has the
    names of its ``classes``, by which :func:`~mmdet.evaluation.predictions.results_by_name` finds the labels of another order.
    :func:`~mmdet.formats.predictions.read_results` reads it without executing anything in it. ``.json``: COCO results,
    by descending score.

    Args:
        out_file_path: file to write; an older one is replaced only by a complete one.
        ann_file: for ``.json``, the annotation file whose category ids are written. None writes the labels (0-based).
        backend_args, collect_device, collect_dir: as for :class:`~mmdet.evaluation.coco_metric.CocoMetric`.

    Raises:
        ConfigError: the file name has another ending, or the file is ``ann_file``.
        DataError: the file cannot be written.
    """

    default_prefix: str | None = ''

    def __init__(
        self,
        out_file_path: str,
        collect_device: str = 'cpu',
        collect_dir: str | None = None,
        *,
        ann_file: AnnFile | None = None,
        backend_args: dict | None = None,
    ):
        super().__init__(collect_device=collect_device if collect_dir else 'gpu', collect_dir=collect_dir)
        self.out_file_path, self.ann_file, self.backend_args = str(out_file_path), ann_file, backend_args
        if not self.out_file_path.endswith(('.pkl', '.pickle', '.json')):
            message = 'must end with .pkl, .pickle or .json'
            raise ConfigError(message, field='out_file_path', received=self.out_file_path)
        refuse_inputs([out_file_path], [] if ann_file is None else file_list(ann_file), field='out_file_path')
        self._names: tuple[str, ...] | None = None  # of the labels, whichever data set an image is from

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep those parts of the samples of a batch that are written."""
        self.results.extend(_plain_sample(sample) for sample in data_samples)

    def evaluate(self, size: int) -> dict:
        """Gather the results of all processes and write them; ``size`` is not used, as in ``CocoMetric``."""
        return super().evaluate(sys.maxsize)

    def compute_metrics(self, results: list[dict]) -> dict:
        """Write the file; the result is empty."""
        samples = keep_first(results, lambda sample: (sample.get(PART) or 0, sample['img_id']))
        if self.out_file_path.endswith('.json'):
            self._write_json(samples)
        else:
            write_pickle(self.out_file_path, self._with_names(samples))
        MMLogger.get_current_instance().info(f'wrote the predictions of {len(samples)} images to {self.out_file_path}')
        return {}

    def check_datasets(self, parts: Sequence[Any]) -> list[str]:
        """Learn the class names of the data sets; read the annotation file, if its ids are to be written.

        Raises:
            ConfigError, DataError: the file cannot be read or lacks classes; or COCO results are to be written for data sets that share
                image ids.
        """
        self._names = class_names(self.dataset_meta)
        if self.out_file_path.endswith('.json'):
            if len(parts) > 1:
                check_ids_differ(parts, lambda info: info.get('img_id'), 'write a .pkl')
            if self.ann_file is not None:
                load_coco_annotations(self.ann_file, (self.dataset_meta or {}).get('classes'), self.backend_args)
        return []

    def _with_names(self, samples: list[dict]) -> list[dict]:
        """The samples, of which the first of each data set names its classes: once, because a file of many classes would be all names."""
        told: set[int] = set()
        named = []
        for sample in samples:
            part = sample.get(PART) or 0
            if part not in told and self._names is not None:
                sample = {**sample, 'classes': self._names}
            told.add(part)
            named.append(sample)
        return named

    def _write_json(self, samples: list[dict]) -> None:
        classes = (self.dataset_meta or {}).get('classes')
        records = [read_sample(sample, None if classes is None else len(classes)) for sample in samples]
        if self.ann_file is not None:
            annotations = load_coco_annotations(self.ann_file, classes, self.backend_args)
        else:
            MMLogger.get_current_instance().warning(
                f'{self.out_file_path}: no ann_file is given, so category ids are the labels, from 0; '
                'those of an annotation file may differ'
            )
            highest = max((int(record.labels.max()) for record in records if len(record.labels)), default=0)
            annotations = annotations_from_records(records, [str(label) for label in range(highest + 1)])
        write_json(self.out_file_path, result_rows(detections_from_records(records, annotations), annotations))


def _plain_sample(sample: dict) -> dict:
    """The fields of a sample that are plain values, and its predictions; nested and private fields are left out."""
    image_id = image_id_of(sample)
    if sample.get('pred_instances') is None:
        raise DataError('has no predictions', record=f'image {image_id!r}', field='pred_instances')
    values = {key: _plain(value) for key, value in sample.items() if not key.startswith('_')}
    plain = {key: value for key, value in values.items() if value is not _NESTED}
    instances = dict(sample['pred_instances'].items())
    # Cloned, because a view would be pickled with all the memory of the tensor that it belongs to.
    plain['pred_instances'] = {key: torch.as_tensor(value).detach().cpu().clone() for key, value in instances.items()}
    return {**plain, 'img_id': image_id}


_NESTED = object()  # takes the place of a value that is neither a number or text nor a sequence of them


def _plain(value: Any) -> Any:
    """Arrays, NumPy numbers, lists and ``torch.Size`` as Python numbers and tuples."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        items = tuple(_plain(item) for item in value)
        return _NESTED if any(item is _NESTED for item in items) else items
    return value if value is None or isinstance(value, int | float | str) else _NESTED
