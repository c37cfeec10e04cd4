"""Assignment by the grid cell that a box's centre lies in (YOLOv3, arXiv 1804.02767).

Naming: P priors, R of them in a cell with the centre of a box ("responsible"), G ground-truth boxes.
"""

from typing import Any

import torch
from mmengine.structures import InstanceData

from mmdet.core.boxes import get_box_tensor
from mmdet.registry import TASK_UTILS

from .assign_result import AssignResult
from .base_assigner import BaseAssigner

# Overlaps held at a time, 64 MiB.
_MAX_OVERLAPS = 2**24


@TASK_UTILS.register_module()
class GridAssigner(BaseAssigner):
    """Only responsible priors become positive: for the box they overlap most, if by more than ``pos_iou_thr``; each box keeps its best ones.

    Priors whose largest overlap is at most ``neg_iou_thr`` are background; what is neither is ignored.

    Args:
        pos_iou_thr: a responsible prior is positive above this overlap.
        neg_iou_thr: largest overlap of background; or a pair, the overlaps above the first up to the second number.
        min_pos_iou: a box keeps the responsible priors of its largest overlap if that is above this.
        gt_max_assign_all: a box keeps all priors of its largest overlap instead of the first.
        iou_calculator: config of the overlap measure; None means ``BboxOverlaps2D``.
    """

    def __init__(
        self,
        pos_iou_thr: float,
        neg_iou_thr: float | tuple[float, float],
        min_pos_iou: float = 0.0,
        gt_max_assign_all: bool = True,
        iou_calculator: dict | None = None,
    ):
        self.pos_iou_thr, self.neg_iou_thr, self.min_pos_iou = pos_iou_thr, neg_iou_thr, min_pos_iou
        self.gt_max_assign_all = gt_max_assign_all
        self.iou_calculator = TASK_UTILS.build(iou_calculator or dict(type='BboxOverlaps2D'))

    @torch.no_grad()
    def assign(
        self,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
        **kwargs: Any,
    ) -> AssignResult:
        """Assign the priors of one image.

        Args:
            pred_instances: ``priors`` (P, 4) xyxy and ``responsible_flags`` (P,), not 0 for the priors of cells with the centre of a box.
            gt_instances: ``bboxes`` (G, 4) xyxy, ``labels`` (G,).
            gt_instances_ignore: not used.
            **kwargs: not used.

        Returns:
            The assignment; ``max_overlaps`` holds the largest overlap of each responsible prior and -1 of the others (0 without boxes).
        """
        priors, gt_bboxes = get_box_tensor(pred_instances.priors), get_box_tensor(gt_instances.bboxes)
        result = AssignResult.background(len(gt_bboxes), priors)
        if len(gt_bboxes) == 0 or len(priors) == 0:
            return result
        best = torch.full_like(result.max_overlaps, -1)  # (P,)
        for boxes in gt_bboxes.split(max(1, _MAX_OVERLAPS // len(priors))):
            best = torch.maximum(best, self.iou_calculator(boxes, priors).amax(0))
        low, high = self.neg_iou_thr if isinstance(self.neg_iou_thr, (tuple, list)) else (-1, self.neg_iou_thr)
        result.gt_inds.fill_(-1)
        result.gt_inds[(best > low) & (best <= high)] = 0
        result.max_overlaps.fill_(-1)

        rows = pred_instances.responsible_flags.nonzero().squeeze(1)  # (R,)
        if len(rows):
            overlaps = self.iou_calculator(gt_bboxes, priors[rows])  # (G, R)
            largest, nearest = overlaps.max(0)
            gt_inds = torch.where(largest > self.pos_iou_thr, nearest + 1, result.gt_inds[rows])
            peaks, first = overlaps.max(1, keepdim=True)  # (G, 1)
            if self.gt_max_assign_all:
                kept = overlaps == peaks
            else:
                kept = torch.zeros_like(overlaps, dtype=torch.bool).scatter_(1, first, True)
            kept &= peaks > self.min_pos_iou
            # The last of several boxes that keep one prior has it.
            owner = (kept * torch.arange(1, len(gt_bboxes) + 1, device=rows.device)[:, None]).amax(0)
            result.gt_inds[rows] = torch.where(owner > 0, owner, gt_inds)
            result.max_overlaps[rows] = largest.to(result.max_overlaps)
        positive = result.pos_inds
        result.labels[positive] = gt_instances.labels[result.gt_inds[positive] - 1].long()
        return result
