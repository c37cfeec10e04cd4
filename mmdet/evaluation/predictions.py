"""Data samples, as mmengine's Evaluator passes them on, checked and reduced to compact records of NumPy arrays."""

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.logging import print_log
from mmengine.structures import BaseDataElement

from ..errors import DataError
from ..formats.coco import CocoAnnotations, ImageId, detections_from_rows, id_order, plain_id
from ..formats.joined_files import distinct_ids
from ..formats.tables import Detections, GroundTruth
from ..utils.checks import is_int
from ..utils.class_names import map_classes

# The key by which ``ConcatDataset`` tells, in samples and records, which of its data sets they come from.
PART = 'dataset_part'


def parts_of(dataset: Any) -> list:
    """The data sets of a concatenation in their order, also of one inside another or inside a wrapper; else the data set itself."""
    if getattr(dataset, 'datasets', None):
        return [each for part in dataset.datasets for each in parts_of(part)]
    inner = parts_of(dataset.dataset) if hasattr(dataset, 'dataset') else []
    return inner if len(inner) > 1 else [dataset]


@dataclass
class ImageRecord:
    """One image's predictions and, where there is no annotation file, its ground truth. Small, because processes exchange it.

    Attributes:
        image_id: id of the image.
        ori_shape: (height, width) of the original image, or (None, None).
        bboxes: (n, 4) xyxy in pixels of the original image.
        scores: (n,).
        labels: (n,) class indices.
        gt_bboxes: (G, 4) xyxy in pixels of the original image.
        gt_labels: (G,).
        gt_crowd: (G,) bool.
        part: number of the data set of a concatenation that the image belongs to.
    """

    image_id: ImageId
    ori_shape: tuple
    bboxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    gt_bboxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))
    gt_labels: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    gt_crowd: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))
    part: int = 0

    @property
    def key(self) -> tuple[int, ImageId]:
        """What tells the image from all others: images of one id in several data sets are different images."""
        return self.part, self.image_id

    def __iter__(self) -> Iterator[dict]:
        """Ground truth and predictions as the two dicts that metrics of mmdetection keep for an image."""
        height, width = self.ori_shape
        columns = zip(self.gt_bboxes.tolist(), self.gt_labels.tolist(), self.gt_crowd.astype(int).tolist())
        anns = [dict(bbox=bbox, bbox_label=label, ignore_flag=crowd) for bbox, label, crowd in columns]
        yield dict(width=width, height=height, img_id=self.image_id, anns=anns)
        yield dict(img_id=self.image_id, bboxes=self.bboxes, scores=self.scores, labels=self.labels)

    @classmethod
    def from_pair(cls, gt: Mapping, pred: Mapping) -> 'ImageRecord':
        """The record of two such dicts; predictions without labels are of class 0.

        Raises:
            DataError: as :func:`read_sample`.
        """
        shape = (gt['height'], gt['width']) if gt.get('height') and gt.get('width') else None
        pred = {'labels': np.zeros(len(pred['bboxes']), dtype=np.int64), **pred}
        sample = dict(img_id=pred['img_id'], ori_shape=shape, pred_instances=pred, instances=gt.get('anns') or ())
        return read_sample(sample, None, with_gt=True)


def read_sample(sample: Mapping, num_classes: int | None, with_gt: bool = False) -> ImageRecord:
    """Check one data sample and keep what an evaluation needs of it.

    Args:
        sample: dict with ``img_id``, ``ori_shape`` and ``pred_instances`` (``bboxes`` (n, 4) xyxy, ``scores`` (n,),
            ``labels`` (n,)).
        num_classes: labels must be below this; None leaves them unchecked.
        with_gt: also keep the ground truth, from ``instances`` (records of the dataset, whose ``ignore_flag`` means a
            crowd) or from ``gt_instances`` and ``ignored_instances`` (which become crowds). All boxes must be in
            original pixels: the test pipeline has to load annotations after resizing.

    Raises:
        DataError: a part is missing, has a wrong shape, is not finite or has unknown labels; the error names the image.
    """
    image_id = image_id_of(sample)
    where = f'image {image_id!r}'
    if sample.get('pred_instances') is None:
        raise DataError('has no predictions', record=where, field='pred_instances')
    found = _instances(sample['pred_instances'], where, 'pred_instances', num_classes, with_scores=True)
    ori_shape = sample.get('ori_shape')
    if ori_shape is None:
        ori_shape = (None, None)
    else:
        sides = [plain_id(side) for side in ori_shape[:2]] if isinstance(ori_shape, Sequence | np.ndarray) else []
        if len(sides) != 2 or not all(is_int(side, 1) for side in sides):
            message = 'must begin with height and width in pixels'
            raise DataError(message, record=where, field='ori_shape', received=ori_shape)
        ori_shape = tuple(sides)
    record = ImageRecord(image_id, ori_shape, found.bboxes, found.scores, found.labels, part=sample.get(PART) or 0)
    if with_gt:
        record.gt_bboxes, record.gt_labels, record.gt_crowd = ground_truth(sample, where, num_classes)
    return record


def image_id_of(sample: Mapping) -> ImageId:
    """The image id of a data sample as a plain Python value; DataError where there is none, or where it is no id."""
    if 'img_id' not in sample:
        message = "has no 'img_id'; PackDetInputs must keep it in meta_keys"
        raise DataError(message, record='data sample', received=sorted(map(str, sample)))
    image_id = sample['img_id']
    single = isinstance(image_id, torch.Tensor | np.ndarray) and math.prod(image_id.shape) == 1
    found = plain_id(image_id.item() if single else image_id)
    if found is None:
        raise DataError('must be a whole number or a text', record='data sample', field='img_id', received=image_id)
    return found


def as_array(values: Any) -> np.ndarray:
    """Values as an array on the CPU; one of objects where they cannot become an array of numbers."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        if values.dtype in (torch.float16, torch.bfloat16):
            values = values.float()
    try:
        return np.asarray(values)
    except (TypeError, ValueError):  # lists of different lengths, among others
        return np.asarray(None, dtype=object)


class _Instances(NamedTuple):
    """Checked columns of one image: ``bboxes`` (n, 4) xyxy, ``labels`` (n,) int64, ``scores`` (n,), empty for ground truth."""

    bboxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray


def _instances(instances: Any, where: str, name: str, num_classes: int | None, with_scores: bool = False) -> _Instances:
    fields = dict(instances.items()) if isinstance(instances, BaseDataElement) else instances

    def fault(column: str, message: str, received: Any) -> DataError:
        return DataError(message, record=where, field=f'{name}.{column}', received=received)

    if not isinstance(fields, Mapping):
        raise DataError('must hold the columns of the boxes', record=where, field=name, received=type(fields).__name__)
    columns = {}
    for column in ('bboxes', 'labels', *(('scores',) if with_scores else ())):
        if column not in fields:
            raise fault(column, 'is missing', sorted(map(str, fields)))
        columns[column] = as_array(fields[column])
        if columns[column].dtype.kind not in 'fiu':
            raise fault(column, 'must be numbers', columns[column].dtype.name)
    if columns['bboxes'].size == 0:
        columns['bboxes'] = columns['bboxes'].reshape(-1, 4)
    bboxes = columns['bboxes']
    if bboxes.ndim != 2 or bboxes.shape[1] != 4:
        raise fault('bboxes', 'must have shape (n, 4)', bboxes.shape)
    for column, values in columns.items():
        if column != 'bboxes' and values.shape != (len(bboxes),):
            raise fault(column, f'must have shape ({len(bboxes)},), one value for each box', values.shape)
    for column, values in columns.items():
        if len(rows := np.unique(np.nonzero(~np.isfinite(values))[0])):
            message = f'{len(rows)} of {len(bboxes)} rows are not finite, the first is row {rows[0]}'
            raise fault(column, message, values[rows[0]].tolist())
    labels = columns['labels'].astype(np.int64)
    if num_classes is not None and len(labels) and (labels.min() < 0 or labels.max() >= num_classes):
        wrong = labels.min() if labels.min() < 0 else labels.max()
        message = f'must be 0..{num_classes - 1}: the dataset has {num_classes} classes'
        raise fault('labels', f'{message} (does num_classes of the head agree?)', int(wrong))
    return _Instances(bboxes, labels, columns.get('scores', np.zeros(0)))


def ground_truth(sample: Mapping, where: str, num_classes: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(G, 4) boxes in original pixels, (G,) labels, (G,) crowd flags."""
    if 'instances' in sample:
        rows = sample['instances']
        columns = {
            'bboxes': np.asarray([row['bbox'] for row in rows], dtype=np.float64).reshape(-1, 4),
            'labels': np.asarray([row['bbox_label'] for row in rows], dtype=np.int64),
        }
        found = _instances(columns, where, 'instances', num_classes)
        return found.bboxes, found.labels, np.asarray([bool(row.get('ignore_flag', 0)) for row in rows], dtype=bool)
    if 'bboxes' not in (sample.get('gt_instances') or ()):
        message = 'has no ground truth: put LoadAnnotations into the test pipeline, after Resize, or give ann_file to the metric, if it has one'
        raise DataError(message, record=where, field='gt_instances')
    if sample.get('flip'):
        message = 'the ground truth of a flipped image cannot be used; give ann_file to the metric'
        raise DataError(message, record=where, field='flip')
    parts = [_instances(sample['gt_instances'], where, 'gt_instances', num_classes)]
    if sample.get('ignored_instances') is not None:
        parts.append(_instances(sample['ignored_instances'], where, 'ignored_instances', num_classes))
    boxes = np.concatenate([part.bboxes for part in parts]).astype(np.float64)
    crowd = np.repeat(np.arange(len(parts)) == 1, [len(part.bboxes) for part in parts])
    return boxes, np.concatenate([part.labels for part in parts]), crowd


def keep_first(items: Iterable, image_id: Callable[[Any], Any]) -> list:
    """Drop repeats of an image: a distributed sampler fills its last round with images that it has already given."""
    kept: dict = {}
    for item in items:
        kept.setdefault(image_id(item), item)
    return list(kept.values())


def with_distinct_ids(records: Sequence[ImageRecord]) -> list[ImageRecord]:
    """Records whose ids differ, by :func:`~mmdet.formats.joined_files.distinct_ids` of the data sets; each image once."""
    old: list[list[ImageId]] = [[] for _ in range(1 + max((each.part for each in records), default=0))]
    for each in records:
        old[each.part].append(each.image_id)
    new = [dict(zip(*ids)) for ids in zip(old, distinct_ids(old))]
    return [replace(each, image_id=new[each.part][each.image_id]) for each in records]


def names_of_results(results: Sequence[Mapping]) -> dict[int, tuple[str, ...]]:
    """Part -> class names that a dump of data samples names; nothing for dumps of other programs."""
    found: dict[int, tuple[str, ...]] = {}
    for sample in results:
        names = sample.get('classes')
        if isinstance(names, list | tuple) and names and all(isinstance(name, str) for name in names):
            found.setdefault(sample.get(PART) or 0, tuple(names))
    return found


def results_by_name(
    results: Sequence[Mapping], wanted: Sequence[str], source: str = 'results'
) -> tuple[list[Mapping], list[str], int]:
    """Dumped data samples with the labels of these classes, by the names that the dump holds; what is not equal; how many detections are left out.

    Those are detections of other classes. A dump without names comes back as it is.
    """
    what = f'{source}: the data set'
    maps = {part: map_classes(names, wanted, what) for part, names in names_of_results(results).items()}
    left_out = 0
    notes = [note for found in maps.values() for note in found.notes]
    changed: list[Mapping] = []
    for sample in results:
        found = maps.get(sample.get(PART) or 0)
        columns = sample.get('pred_instances')
        if found is not None and not found.is_identity and isinstance(columns, Mapping) and 'labels' in columns:
            labels = as_array(columns['labels'])
            fine = labels.dtype.kind in 'iu' and not np.any((labels < 0) | (labels >= len(found.labels)))
            if labels.size and not fine:
                message = f'must be whole numbers below {len(found.labels)}, the number of classes that the file names'
                place = dict(file=source, record=f'image {sample.get("img_id")!r}', field='pred_instances.labels')
                raise DataError(message, **place, received=labels.tolist()[:5] if labels.ndim else labels.item())
            new = np.array(found.labels, dtype=np.int64)[labels.astype(np.int64)]
            kept = {name: as_array(values)[new >= 0] for name, values in columns.items()}
            sample = {**sample, 'pred_instances': {**kept, 'labels': new[new >= 0]}}
            left_out += int(np.count_nonzero(new < 0))
        changed.append(sample)
    return changed, notes, left_out


def annotations_from_records(records: Sequence[ImageRecord], classes: Sequence[str]) -> CocoAnnotations:
    """Ground truth gathered from the data samples; category ids are the labels."""
    records = sorted(records, key=lambda record: id_order(record.image_id))
    gt = GroundTruth([], [], [])
    if records:
        gt = GroundTruth(
            image=np.repeat(np.arange(len(records)), [len(record.gt_bboxes) for record in records]),
            label=np.concatenate([record.gt_labels for record in records]),
            bbox=xyxy_to_xywh(np.concatenate([record.gt_bboxes for record in records]).astype(np.float64)),
            crowd=np.concatenate([record.gt_crowd for record in records]),
        )
    image_ids, sizes = [record.image_id for record in records], [record.ori_shape for record in records]
    return CocoAnnotations('the data samples', image_ids, sizes, tuple(classes), list(range(len(classes))), gt)


def detections_from_records(records: Sequence[ImageRecord], annotations: CocoAnnotations) -> Detections:
    """All predictions as one table; DataError where the ground truth does not have an image."""
    images = [annotations.index_of(record.image_id) for record in records]
    if not records:
        return Detections([], [], [])
    return Detections(
        image=np.repeat(images, [len(record.bboxes) for record in records]),
        label=np.concatenate([record.labels for record in records]),
        bbox=xyxy_to_xywh(np.concatenate([record.bboxes for record in records]).astype(np.float64)),
        score=np.concatenate([record.scores for record in records]),
    )


def are_coco_rows(results: Any, source: str) -> bool:
    """Whether saved predictions are COCO result rows, as an empty list is, and not data samples; DataError for anything else."""
    if not isinstance(results, Sequence) or not all(isinstance(row, Mapping) for row in results):
        raise DataError('must be a list of dicts', file=source)
    return not results or not {'img_id', 'pred_instances'} & set(results[0])


def detections_of_results(results: Any, annotations: CocoAnnotations, source: str) -> tuple[Detections, int]:
    """:func:`~mmdet.formats.coco.detections_from_rows` for saved predictions of either kind, COCO result rows or data samples.

    Raises:
        DataError: a row or a sample is wrong; the error names the row or image.
    """
    if are_coco_rows(results, source):
        return detections_from_rows(list(results), annotations, source)
    results, notes, left_out = results_by_name(results, annotations.classes, source)
    for note in notes:
        print_log(note, logger='current', level=logging.WARNING)
    records = [read_sample(sample, len(annotations.classes)) for sample in results]
    return detections_from_records(keep_first(records, lambda record: record.key), annotations), left_out


def xyxy_to_xywh(boxes: np.ndarray) -> np.ndarray:
    """(N, 4) left, top, right, bottom -> (N, 4) left, top, width, height."""
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
