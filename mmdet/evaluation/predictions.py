"""From data samples, as mmengine's Evaluator hands them over, to compact records of NumPy arrays, checked on the
way."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmengine.structures import BaseDataElement

from ..errors import DataError
from ..formats.coco import CocoAnnotations, id_order
from ..formats.tables import Detections, GroundTruth


@dataclass
class ImageRecord:
    """One image's predictions and, where there is no annotation file, its ground truth. Small, because ranks send it to
    each other.

    Attributes:
        image_id: id of the image.
        ori_shape: (height, width) of the original image, or (None, None).
        bboxes: (n, 4) xyxy in pixels of the original image.
        scores: (n,).
        labels: (n,) class indices.
        gt_bboxes: (G, 4) xyxy in pixels of the original image, or None.
        gt_labels: (G,).
        gt_crowd: (G,) bool.
    """

    image_id: Any
    ori_shape: tuple
    bboxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    gt_bboxes: np.ndarray | None = None
    gt_labels: np.ndarray | None = None
    gt_crowd: np.ndarray | None = None


def read_sample(sample: Mapping, num_classes: int | None, with_gt: bool = False) -> ImageRecord:
    """Check one data sample and keep what an evaluation needs of it.

    Args:
        sample: dict with ``img_id``, ``ori_shape`` and ``pred_instances`` (``bboxes`` (n, 4) xyxy, ``scores`` (n,),
            ``labels`` (n,)).
        num_classes: labels must be below this; None leaves them unchecked.
        with_gt: keep the ground truth too, from ``instances`` (dataset records, original pixels) or from
            ``gt_instances`` and ``ignored_instances`` (original pixels too: test pipelines load
            annotations after resizing; ignored ones become crowds).

    Raises:
        DataError: naming the image, when a part is missing, has a wrong shape, is not finite or has unknown labels.
    """
    image_id = image_id_of(sample)
    where = f'image {image_id!r}'
    if sample.get('pred_instances') is None:
        raise DataError('has no predictions', record=where, field='pred_instances')
    bboxes, labels, scores = _instances(
        sample['pred_instances'], where, 'pred_instances', num_classes, with_scores=True
    )
    ori_shape = sample.get('ori_shape')
    ori_shape = (None, None) if ori_shape is None else tuple(int(side) for side in ori_shape[:2])
    record = ImageRecord(image_id, ori_shape, bboxes, scores, labels)
    if with_gt:
        record.gt_bboxes, record.gt_labels, record.gt_crowd = _ground_truth(sample, where, num_classes)
    return record


def image_id_of(sample: Mapping) -> Any:
    """The image id of a data sample as a plain Python value."""
    if 'img_id' not in sample:
        raise DataError(
            "has no 'img_id'; PackDetInputs must keep it in meta_keys", record='data sample', received=sorted(sample)
        )
    image_id = sample['img_id']
    return image_id.item() if hasattr(image_id, 'item') else image_id


def _array(values) -> np.ndarray:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        if values.dtype in (torch.float16, torch.bfloat16):
            values = values.float()
    return np.asarray(values)


def _instances(instances, where: str, name: str, num_classes: int | None, with_scores: bool = False):
    fields = dict(instances.items()) if isinstance(instances, BaseDataElement) else instances
    columns = []
    for column in ('bboxes', 'labels', *(('scores',) if with_scores else ())):
        if column not in fields:
            raise DataError('is missing', record=where, field=f'{name}.{column}', received=sorted(fields))
        columns.append(_array(fields[column]))
    bboxes, labels = columns[0], columns[1]
    if bboxes.size == 0:
        bboxes = bboxes.reshape(-1, 4)
    if bboxes.ndim != 2 or bboxes.shape[1] != 4:
        raise DataError('must have shape (n, 4)', record=where, field=f'{name}.bboxes', received=bboxes.shape)
    for column, values in zip(('labels', 'scores'), columns[1:]):
        if values.shape != (len(bboxes),):
            raise DataError(
                f'must have shape ({len(bboxes)},), one a box',
                record=where,
                field=f'{name}.{column}',
                received=values.shape,
            )
    for column, values in (('bboxes', bboxes), *((('scores', columns[2]),) if with_scores else ())):
        wrong = np.flatnonzero(~np.isfinite(values).reshape(len(bboxes), -1).all(axis=1)) if len(bboxes) else ()
        if len(wrong):
            raise DataError(
                f'{len(wrong)} of {len(bboxes)} rows are not finite, the first is row {wrong[0]}',
                record=where,
                field=f'{name}.{column}',
                received=values[wrong[0]].tolist(),
            )
    labels = labels.astype(np.int64)
    if num_classes is not None and len(labels) and (labels.min() < 0 or labels.max() >= num_classes):
        wrong = labels.min() if labels.min() < 0 else labels.max()
        raise DataError(
            f'must be 0..{num_classes - 1}: the dataset has {num_classes} classes '
            '(does num_classes of the head agree?)',
            record=where,
            field=f'{name}.labels',
            received=int(wrong),
        )
    return bboxes, labels, columns[2] if with_scores else None


def _ground_truth(sample: Mapping, where: str, num_classes: int | None):
    """(G, 4) boxes in original pixels, (G,) labels, (G,) crowd flags."""
    if 'instances' in sample:
        rows = sample['instances']
        boxes = np.asarray([row['bbox'] for row in rows], dtype=np.float64).reshape(-1, 4)
        labels = np.asarray([row['bbox_label'] for row in rows], dtype=np.int64)
        boxes, labels, _ = _instances({'bboxes': boxes, 'labels': labels}, where, 'instances', num_classes)
        return boxes, labels, np.asarray([bool(row.get('ignore_flag', 0)) for row in rows], dtype=bool)
    if sample.get('gt_instances') is None:
        raise DataError(
            'has no ground truth: give ann_file to the metric, or put LoadAnnotations into the test pipeline',
            record=where,
            field='gt_instances',
        )
    if sample.get('flip'):
        raise DataError(
            'the ground truth of a flipped image cannot be used; give ann_file to the metric',
            record=where,
            field='flip',
        )
    parts = [_instances(sample['gt_instances'], where, 'gt_instances', num_classes)[:2]]
    if sample.get('ignored_instances') is not None:
        parts.append(_instances(sample['ignored_instances'], where, 'ignored_instances', num_classes)[:2])
    boxes = np.concatenate([part[0] for part in parts]).astype(np.float64)
    crowd = np.repeat(np.arange(len(parts)) == 1, [len(part[0]) for part in parts])
    return boxes, np.concatenate([part[1] for part in parts]), crowd


def keep_first(items: Iterable, image_id: Callable[[Any], Any]) -> list:
    """Drop repeats of an image: a distributed sampler fills the last round with images that were seen already."""
    kept = {}
    for item in items:
        kept.setdefault(image_id(item), item)
    return list(kept.values())


def annotations_from_records(records: Sequence[ImageRecord], classes: Sequence[str]) -> CocoAnnotations:
    """Ground truth gathered from the data samples; category ids are the labels."""
    records = sorted(records, key=lambda record: id_order(record.image_id))
    counts = [len(record.gt_bboxes) for record in records]
    xyxy = np.concatenate([record.gt_bboxes for record in records] or [np.zeros((0, 4))]).astype(np.float64)
    gt = GroundTruth(
        image=np.repeat(np.arange(len(records)), counts),
        label=np.concatenate([record.gt_labels for record in records] or [np.zeros(0)]),
        bbox=xyxy_to_xywh(xyxy),
        crowd=np.concatenate([record.gt_crowd for record in records] or [np.zeros(0)]),
    )
    return CocoAnnotations(
        source='the data samples',
        image_ids=[record.image_id for record in records],
        image_sizes=[record.ori_shape for record in records],
        classes=tuple(classes),
        category_ids=list(range(len(classes))),
        gt=gt,
    )


def detections_from_records(records: Sequence[ImageRecord], annotations: CocoAnnotations) -> Detections:
    """All predictions as one table; DataError where the ground truth does not know an image."""
    images = [annotations.index_of(record.image_id) for record in records]
    if not records:
        return Detections([], [], [])
    return Detections(
        image=np.repeat(images, [len(record.bboxes) for record in records]),
        label=np.concatenate([record.labels for record in records]),
        bbox=xyxy_to_xywh(np.concatenate([record.bboxes for record in records]).astype(np.float64)),
        score=np.concatenate([record.scores for record in records]),
    )


def xyxy_to_xywh(boxes: np.ndarray) -> np.ndarray:
    """(N, 4) left, top, right, bottom -> (N, 4) left, top, width, height."""
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
