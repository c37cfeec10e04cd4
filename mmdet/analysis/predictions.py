"""Saved predictions together with the ground truth of their dataset, image by image."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from ..errors import ConfigError, DataError
from ..evaluation.predictions import (
    PART,
    annotations_from_records,
    as_array,
    detections_from_records,
    keep_first,
    parts_of,
    read_sample,
    results_by_name,
    with_distinct_ids,
)
from ..formats.coco import CocoAnnotations, detections_from_rows
from ..formats.predictions import read_results
from ..formats.tables import Detections
from ..registry import DATASETS
from ..utils.class_names import all_names

_EMPTY = dict(bboxes=np.zeros((0, 4)), scores=np.zeros(0), labels=np.zeros(0, np.int64))


@dataclass
class ImagePredictions:
    """One image: G ground-truth boxes, N detections; boxes are xyxy in pixels of the image file.

    Attributes:
        image_id: id in the annotation file.
        path: image file.
        gt_bboxes: (G, 4) float64.
        gt_labels: (G,) int64.
        gt_ignored: (G,) bool, True for crowds and ignored regions.
        bboxes: (N, 4) float64, by descending score.
        scores: (N,) float64.
        labels: (N,) int64.
    """

    image_id: Any
    path: str
    gt_bboxes: np.ndarray
    gt_labels: np.ndarray
    gt_ignored: np.ndarray
    bboxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


@dataclass
class PredictionSet:
    """All images of a dataset.

    Attributes:
        classes: names by label.
        images: all images in the order of the dataset, also those without detections.
        palette: RGB by label, or None.
        missing: number of images that the results file does not mention; 0 for a COCO results file, where they look like images
            without a detection.
    """

    classes: tuple[str, ...]
    images: list[ImagePredictions]
    palette: list | None = None
    missing: int = 0


def dataset_config(config: Config, split: str) -> dict:
    """The config of the dataset of a split: 'train', 'val' or 'test'.

    Raises:
        ConfigError: the config has no such dataset.
    """
    dataset = (config.get(f'{split}_dataloader') or {}).get('dataset')
    if not dataset:
        field = f'{split}_dataloader.dataset'
        raise ConfigError('the config has no dataset for this split', file=config.filename, field=field)
    return dataset


def load_prediction_set(config: Config, results: str | Path) -> PredictionSet:
    """Read predictions and combine them with the ground truth of ``test_dataloader.dataset``.

    Args:
        config: the config of the test that made the predictions.
        results: file of ``tools/test.py --out`` or ``CocoMetric(outfile_prefix=...)``: ``.pkl`` or ``.json``; pickles of
            mmdetection 2.x and 3.x are read too.

    Raises:
        ConfigError: the config has no test dataset.
        DataError: a file is missing or broken, or predictions and dataset do not belong together.
    """
    return pair_with_dataset(DATASETS.build(dataset_config(config, 'test')), read_results(results), str(results))


def pair_with_dataset(dataset: BaseDataset, results: Sequence, source: str = 'results') -> PredictionSet:
    """:func:`load_prediction_set` for a built dataset and the content of a results file; errors call it ``source``."""
    classes = tuple(dataset.metainfo['classes'])
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    lists = [tuple(part.metainfo['classes']) for part in parts_of(dataset)]
    if len(set(lists)) > 1:  # all classes of all parts, as the evaluator has them
        classes = all_names(lists)
        for info in infos:
            names = lists[info[PART]]
            info['instances'] = [
                {**row, 'bbox_label': classes.index(names[row['bbox_label']])} for row in info['instances']
            ]
    if results and all(isinstance(row, list | tuple) for row in results):
        results = _samples_of_2x(results, infos, len(classes), source)
    for row in results:
        if not isinstance(row, Mapping):
            raise DataError('must be a list with one dict per image', file=source, received=type(row).__name__)
    infos = keep_first(infos, lambda info: (info.get(PART) or 0, info['img_id']))
    truths = []
    for info in infos:
        size_hw = (info['height'], info['width']) if info.get('height') and info.get('width') else None
        sample = dict(
            img_id=info['img_id'], ori_shape=size_hw, instances=info['instances'], pred_instances=dict(_EMPTY)
        )
        sample[PART] = info.get(PART)
        truths.append(read_sample(sample, len(classes), with_gt=True))
    truths = with_distinct_ids(truths)
    new_ids = {(truth.part, info['img_id']): truth.image_id for truth, info in zip(truths, infos)}
    annotations = annotations_from_records(truths, classes)
    annotations.category_ids = _category_ids(dataset, len(classes))
    missing = 0
    if not results or 'image_id' in results[0]:
        detections, _ = detections_from_rows(list(results), annotations, source)
    else:
        named, notes, _ = results_by_name(results, classes, source)
        for note in notes:
            print_log(note, logger='current', level=logging.WARNING)
        records = keep_first((read_sample(row, len(classes)) for row in named), lambda record: record.key)
        records = [replace(record, image_id=new_ids.get(record.key, record.image_id)) for record in records]
        detections = detections_from_records(records, annotations)
        missing = len(infos) - len(records)
    by_image = _split_by_image(detections, annotations)
    images = [
        ImagePredictions(
            truth.image_id, str(info['img_path']), truth.gt_bboxes, truth.gt_labels, truth.gt_crowd,
            **by_image.get(truth.image_id, _EMPTY),
        )
        for info, truth in zip(infos, truths)
    ]  # fmt: skip
    return PredictionSet(classes, images, dataset.metainfo.get('palette'), missing)


def _samples_of_2x(results: Sequence, infos: list[dict], num_classes: int, source: str) -> list[dict]:
    """Data samples from the results of mmdetection 2.x: for each image of the dataset, for each class, (n, 5) xyxy and score."""
    if len(results) != len(infos):
        message = (
            f'results of mmdetection 2.x have no image ids: one entry for each of the {len(infos)} images is needed'
        )
        raise DataError(message, file=source, received=len(results))
    samples = []
    for position, (by_class, info) in enumerate(zip(results, infos)):
        tables = [as_array(table) for table in by_class]
        sound = all(table.dtype.kind in 'fiu' and table.ndim == 2 and table.shape[1] == 5 for table in tables)
        if len(tables) != num_classes or not sound:
            message, shapes = f'must hold {num_classes} arrays (n, 5), one per class', [table.shape for table in tables]
            raise DataError(message, file=source, record=f'image {position}', received=shapes)
        rows = np.concatenate(tables).astype(np.float64)
        labels = np.repeat(np.arange(num_classes), [len(table) for table in tables])
        instances = dict(bboxes=rows[:, :4], scores=rows[:, 4], labels=labels)
        samples.append(dict(img_id=info['img_id'], pred_instances=instances))
    return samples


def first_with(dataset: Any, attribute: str) -> Any:
    """The first dataset that has an attribute, from the outermost wrapper inwards; the innermost if none has."""
    while not hasattr(dataset, attribute) and (hasattr(dataset, 'dataset') or hasattr(dataset, 'datasets')):
        dataset = dataset.dataset if hasattr(dataset, 'dataset') else dataset.datasets[0]
    return dataset


def _category_ids(dataset: Any, num_classes: int) -> list:
    """Category ids by label of a COCO dataset, also inside wrappers; the labels themselves for other datasets."""
    cat2label = getattr(first_with(dataset, 'cat2label'), 'cat2label', {})
    label_to_id = {label: category for category, label in cat2label.items()}
    # A class that the annotation file does not know has no id; None matches no result row.
    return [label_to_id.get(label) for label in range(num_classes)] if label_to_id else list(range(num_classes))


def _split_by_image(detections: Detections, annotations: CocoAnnotations) -> dict[Any, dict[str, np.ndarray]]:
    """image id -> dict(bboxes, scores, labels), by descending score."""
    order = np.lexsort((-detections.score, detections.image))
    images = detections.image[order]
    xyxy = detections.bbox[order]
    xyxy[:, 2:] += xyxy[:, :2]
    starts = np.flatnonzero(np.diff(images, prepend=-1))
    columns = dict(bboxes=xyxy, scores=detections.score[order], labels=detections.label[order])
    parts = zip(*(np.split(column, starts[1:]) for column in columns.values()))
    return {annotations.image_ids[images[start]]: dict(zip(columns, part)) for start, part in zip(starts, parts)}
