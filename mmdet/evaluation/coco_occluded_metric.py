"""Recall of masks on the occluded and the separated objects of COCO (Zhan et al., "A Tri-Layer Plugin to Improve Occluded Detection", BMVC 2022)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.fileio import get
from mmengine.logging import MMLogger

from ..errors import ConfigError, DataError
from ..formats.coco import AnnFile
from ..formats.pickle_file import parse_pickle
from ..registry import METRICS
from ..utils.checks import is_finite
from .coco_metric import CocoMetric
from .predictions import ImageRecord, as_array

_SETS = 'https://www.robots.ox.ac.uk/~vgg/research/tpod/datasets/'


def _encoded(masks: Any, count: int, where: str) -> list:
    """Masks (n, H, W) or run-length encoded ones as the latter."""
    from pycocotools import mask as coco_mask

    masks = masks.to_ndarray() if hasattr(masks, 'to_ndarray') else masks
    if not isinstance(masks, list | tuple):
        masks = as_array(masks)
    if len(masks) != count:
        message = f'must be one for each of the {count} boxes'
        raise DataError(message, record=where, field='pred_instances.masks', received=len(masks))
    return [
        mask if isinstance(mask, Mapping) else coco_mask.encode(np.asfortranarray(as_array(mask), dtype=np.uint8))
        for mask in masks
    ]


@METRICS.register_module()
class CocoOccludedSeparatedMetric(CocoMetric):
    """:class:`CocoMetric`, and the share of occluded and of separated objects that a mask finds, ``occluded_recall`` and ``separated_recall`` in percent.

    An object is found if a detection of its class with a score of at least ``score_thr`` has a mask of at least ``iou_thr`` IoU with its own. One
    detection may find several. The samples need ``pred_instances.masks``, (n, H, W) or run-length encoded. AP of masks is not computed.

    Args:
        ann_file: COCO annotation file, or a list of them; needed for the names of the images.
        kwargs: further arguments of :class:`CocoMetric`.
        occluded_ann, separated_ann: pickle files of the two sets, by default those of their authors: lists of (file name of the image, class, anything,
            box xywh, run-length encoded mask).
        score_thr: smallest score.
        iou_thr: smallest IoU of masks.
        metric: metrics of :class:`CocoMetric`; an empty list computes the two recalls alone.

    Raises:
        ConfigError: a threshold outside [0, 1], or no ``ann_file``.
        DataError: a set that is broken, or an object of an image that the annotation file does not have; predictions without masks.
    """

    def __init__(
        self,
        ann_file: AnnFile | None = None,
        *,
        occluded_ann: str = _SETS + 'occluded_coco.pkl',
        separated_ann: str = _SETS + 'separated_coco.pkl',
        score_thr: float = 0.3,
        iou_thr: float = 0.75,
        metric: str | Sequence[str] = 'bbox',
        **kwargs: Any,
    ):
        super().__init__(ann_file, metric=metric or 'bbox', **kwargs)
        if not metric:
            self.metrics = []
        if self.ann_file is None:
            raise ConfigError('is needed for the names of the images', field='ann_file', received=None)
        for name, value in dict(score_thr=score_thr, iou_thr=iou_thr).items():
            if not is_finite(value) or not 0 <= value <= 1:
                raise ConfigError('must be a number between 0 and 1', field=name, received=value)
        self.score_thr, self.iou_thr = score_thr, iou_thr
        self.occluded_ann, self.separated_ann = (self._read_set(path) for path in (occluded_ann, separated_ann))

    def _read_set(self, path: str) -> list[Sequence]:
        rows = parse_pickle(get(path, backend_args=self.backend_args), path)
        for index, row in enumerate(rows if isinstance(rows, list) else [None]):
            if not isinstance(row, list | tuple) or len(row) < 5 or not isinstance(row[4], Mapping):
                message = 'must be a list of (file name, class, anything, box xywh, run-length encoded mask)'
                raise DataError(message, file=path, record=f'row {index}', received=row)
        return rows

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the samples of a batch, with their masks run-length encoded."""
        first = len(self.results)
        super().process(data_batch, data_samples)
        for record, sample in zip(self.results[first:], data_samples):
            where = f'image {record.image_id!r}'
            masks = sample['pred_instances'].get('masks')
            if masks is None:
                raise DataError('are needed', record=where, field='pred_instances.masks')
            record.masks = _encoded(masks, len(record.scores), where)

    def compute_metrics(self, results: list[ImageRecord]) -> dict[str, float]:
        """The metrics of :class:`CocoMetric` and the two recalls."""
        metrics = super().compute_metrics(results)
        metrics.update(self.evaluate_occluded_separated(results))
        return metrics

    def evaluate_occluded_separated(self, results: Sequence[Any]) -> dict[str, float]:
        """The two recalls in percent, from records of :meth:`process` or pairs of dicts, truth and prediction (``img_id``, ``scores``, ``labels``, ``masks``).

        -1 where a set is empty.
        """
        names, classes = self._file_names(), self.classes or self.load_annotations().classes
        found: dict[str, list] = {name: [] for name in names.values()}
        for result in results:
            is_record = isinstance(result, ImageRecord)
            row = dict(vars(result), img_id=result.image_id) if is_record else result[-1]
            columns = (as_array(row['scores']).tolist(), as_array(row['labels']).tolist())
            masks = _encoded(row['masks'], len(columns[0]), f'image {row["img_id"]!r}')
            detections = [(score, classes[label], mask) for score, label, mask in zip(*columns, masks)]
            found[names[row['img_id']]] = detections
        metrics = {}
        for name, rows in (('occluded', self.occluded_ann), ('separated', self.separated_ann)):
            count, metrics[f'{name}_recall'] = self.compute_recall(found, gt_ann=rows, is_occ=name == 'occluded')
            text = f'{name} objects: {count} of {len(rows)} found by their masks, {metrics[f"{name}_recall"]:.2f} %'
            MMLogger.get_current_instance().info(text)
        return metrics

    def compute_recall(self, result_dict: Mapping[str, list], gt_ann: list, is_occ: bool = True) -> tuple[int, float]:
        """Objects that are found, and their share in percent, -1 without any.

        Args:
            result_dict: by file name, detections (score, class, mask): binary (H, W), or run-length encoded.
            gt_ann: rows of a set.
            is_occ: whether it is that of occluded objects; not used.
        """
        from pycocotools import mask as coco_mask

        count = 0
        for name, cls, _, _, truth, *_ in gt_ann:
            if name not in result_dict:
                raise DataError('is no image of the annotation file', record='row of a set of objects', received=name)
            chosen = [row[2] for row in result_dict[name] if row[1] == cls and row[0] >= self.score_thr]
            masks = _encoded(chosen, len(chosen), name)
            count += bool(masks) and bool(coco_mask.iou(masks, [truth], [0]).max() >= self.iou_thr)
        return count, 100 * count / len(gt_ann) if gt_ann else -1.0

    def mask_iou(self, mask1: np.ndarray, mask2: np.ndarray) -> float:
        """IoU of two binary masks (H, W); 0 if both are empty."""
        union = np.logical_or(mask1, mask2).sum()
        return float(np.logical_and(mask1, mask2).sum() / union) if union else 0.0
