"""Predictions of a test run in one file, for evaluation and analysis later."""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from ..errors import ConfigError, DataError
from ..formats.coco import CocoAnnotations, id_order, load_coco_annotations, result_rows
from ..formats.tables import GroundTruth
from ..registry import METRICS
from ..utils.files import write_json, write_pickle
from ..utils.outputs import refuse_inputs
from .predictions import detections_from_records, image_id_of, keep_first, read_sample


@METRICS.register_module()
class DumpDetResults(BaseMetric):
    """Write the predictions of all images, each image once.

    ``.pkl`` / ``.pickle``: a list with one dict an image, in the order of the dataset: the sample's plain fields
    (``img_id``, ``img_path``, ``ori_shape``, ...) and ``pred_instances``, a dict of CPU tensors.
    :func:`~mmdet.formats.predictions.read_results` reads it without running anything in it. ``.json``: COCO results,
    by descending score.

    Args:
        out_file_path: file to write; it replaces an older one only once it is complete.
        ann_file: for ``.json``, the annotation file whose category ids are written. None writes the labels (0-based).
        backend_args: as in ``mmengine.fileio``, to read ``ann_file``.
        collect_device: 'cpu' or 'gpu', how ranks send their results.
        collect_dir: shared folder for ``collect_device='cpu'``.

    Raises:
        ConfigError: the file name has another ending, or the file is ``ann_file``.
        DataError: the file cannot be written.
    """

    default_prefix: str | None = ''

    def __init__(
        self,
        out_file_path: str,
        ann_file: str | None = None,
        backend_args: dict | None = None,
        collect_device: str = 'cpu',
        collect_dir: str | None = None,
    ):
        super().__init__(collect_device=collect_device, collect_dir=collect_dir)
        if not str(out_file_path).endswith(('.pkl', '.pickle', '.json')):
            raise ConfigError(
                'must end with .pkl, .pickle or .json', field='out_file_path', received=str(out_file_path)
            )
        self.out_file_path = str(out_file_path)
        refuse_inputs([out_file_path], [ann_file], field='out_file_path')
        self.ann_file = ann_file
        self.backend_args = backend_args

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep what is to be written of one batch."""
        self.results.extend(_plain_sample(sample) for sample in data_samples)

    def evaluate(self, size: int) -> dict:
        """Gather the results of all ranks and write them; ``size`` is not used, as in ``CocoMetric``."""
        return super().evaluate(sys.maxsize)

    def compute_metrics(self, results: list[dict]) -> dict:
        """Write the file; there is nothing to return."""
        samples = keep_first(results, lambda sample: sample['img_id'])
        if self.out_file_path.endswith('.json'):
            self._write_json(samples)
        else:
            write_pickle(self.out_file_path, samples)
        MMLogger.get_current_instance().info(f'wrote the predictions of {len(samples)} images to {self.out_file_path}')
        return {}

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
            labels = range(1 + max((int(record.labels.max()) for record in records if len(record.labels)), default=0))
            annotations = CocoAnnotations(
                source='the data samples',
                image_ids=sorted((record.image_id for record in records), key=id_order),
                image_sizes=[],
                classes=tuple(map(str, labels)),
                category_ids=list(labels),
                gt=GroundTruth([], [], []),
            )
        write_json(self.out_file_path, result_rows(detections_from_records(records, annotations), annotations))


def _plain_sample(sample: dict) -> dict:
    """The fields of a sample that are plain values, and its predictions; what is nested or private stays out."""
    image_id = image_id_of(sample)
    if sample.get('pred_instances') is None:
        raise DataError('has no predictions', record=f'image {image_id!r}', field='pred_instances')
    values = {key: _plain(value) for key, value in sample.items() if not key.startswith('_')}
    plain = {key: value for key, value in values.items() if value is not _NESTED}
    instances = dict(sample['pred_instances'].items())
    # clone: a view would carry the whole tensor it looks at into the pickle
    plain['pred_instances'] = {key: torch.as_tensor(value).detach().cpu().clone() for key, value in instances.items()}
    return {**plain, 'img_id': image_id}


_NESTED = object()  # stands for a value that is no number, text or sequence of them


def _plain(value: Any) -> Any:
    """Arrays, NumPy numbers, lists and ``torch.Size`` as Python numbers and tuples."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        items = tuple(_plain(item) for item in value)
        return _NESTED if any(item is _NESTED for item in items) else items
    return value if value is None or isinstance(value, int | float | str) else _NESTED
