"""PASCAL VOC's mean average precision and recall as a metric of a config."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from ..errors import ConfigError
from ..registry import METRICS
from .dataset_checks import check_truth
from .functional import eval_map, eval_recalls


def _array(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


@METRICS.register_module()
class VOCMetric(BaseMetric):
    """Mean average precision, or recall, of boxes in the manner of PASCAL VOC (:func:`.functional.eval_map`, :func:`.functional.eval_recalls`).

    Samples need ``gt_instances`` and ``ignored_instances`` (``bboxes``, ``labels``) beside ``pred_instances``.

    Args:
        iou_thrs: one or several smallest IoUs of a match.
        scale_ranges: ranges of the square root of the area.
        metric: 'mAP' or 'recall'.
        proposal_nums: for the recall, how many of the best boxes take part.
        eval_mode: '11points' or 'area' under the curve.
        collect_device, prefix: as of mmengine's ``BaseMetric``; the default prefix is 'pascal_voc'.

    Raises:
        ConfigError: another ``metric`` or ``eval_mode``.
    """

    default_prefix: str | None = 'pascal_voc'

    def __init__(
        self,
        iou_thrs: float | list[float] = 0.5,
        scale_ranges: list[tuple[float, float]] | None = None,
        metric: str | list[str] = 'mAP',
        proposal_nums: Sequence[int] = (100, 300, 1000),
        eval_mode: str = '11points',
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ):
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.iou_thrs = [iou_thrs] if isinstance(iou_thrs, float) else list(iou_thrs)
        self.scale_ranges, self.proposal_nums, self.eval_mode = scale_ranges, proposal_nums, eval_mode
        self.metric = metric if isinstance(metric, str) else metric[0]
        if self.metric not in ('mAP', 'recall') or not isinstance(metric, str) and len(metric) != 1:
            raise ConfigError("must be 'mAP' or 'recall'", field='VOCMetric.metric', received=metric)
        if eval_mode not in ('area', '11points'):
            raise ConfigError("must be 'area' or '11points'", field='VOCMetric.eval_mode', received=eval_mode)

    def check_datasets(self, parts: Sequence[Any]) -> list[str]:
        """See :func:`~mmdet.evaluation.dataset_checks.check_truth`."""
        check_truth(parts)
        return []

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the boxes of a batch: those of the ground truth, and for each class those that were found."""
        count = len(self.dataset_meta['classes'])
        for sample in data_samples:
            truth, ignored, found = (
                sample.get(name) or {} for name in ('gt_instances', 'ignored_instances', 'pred_instances')
            )
            ann = dict(labels=_array(truth['labels']), bboxes=_array(truth['bboxes']))
            ann['bboxes_ignore'] = _array(ignored.get('bboxes', np.zeros((0, 4), np.float32)))
            ann['labels_ignore'] = _array(ignored.get('labels', np.zeros(0, int)))
            labels = _array(found['labels'])
            dets = np.concatenate([_array(found['bboxes']), _array(found['scores'])[:, None]], axis=1)
            self.results.append((ann, [dets[labels == label] for label in range(count)]))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """``mAP`` and ``AP50``, ...; or ``recall@100`` and ``AR@100``, ..., from what :meth:`process` kept."""
        logger = MMLogger.get_current_instance()
        annotations, detections = (list(part) for part in zip(*results))
        found: dict[str, float] = {}
        if self.metric == 'mAP':
            means = []
            for threshold in self.iou_thrs:
                logger.info(f'IoU {threshold}')
                mean, _ = eval_map(
                    detections,
                    annotations,
                    scale_ranges=self.scale_ranges,
                    iou_thr=threshold,
                    dataset=self.dataset_meta['classes'],
                    logger=logger,
                    eval_mode=self.eval_mode,
                )
                means.append(float(np.mean(mean)))
                found[f'AP{round(threshold * 100):02d}'] = round(means[-1], 3)
            return dict(mAP=float(np.mean(means)), **found)
        truth = [ann['bboxes'] for ann in annotations]
        proposals = [np.concatenate(classes) for classes in detections]
        recalls = eval_recalls(truth, proposals, self.proposal_nums, self.iou_thrs, logger=logger)
        for number, row in zip(self.proposal_nums, recalls):
            found.update({f'recall@{number}@{threshold}': float(value) for threshold, value in zip(self.iou_thrs, row)})
            if len(row) > 1:
                found[f'AR@{number}'] = float(row.mean())
        return found
