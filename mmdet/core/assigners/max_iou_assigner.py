"""Assignment by fixed limits of the overlap (Faster R-CNN, NeurIPS 2015, section 3.1.2; RetinaNet, ICCV 2017, section 4).

Naming: P priors, G ground-truth boxes, g boxes of a slice of them.
"""

from collections.abc import Iterable
from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet.core.boxes import get_box_tensor
from mmdet.errors import ConfigError
from mmdet.registry import TASK_UTILS

from .assign_result import AssignResult
from .base_assigner import BaseAssigner

# Overlaps held at a time, 64 MiB: an image with 2,000 boxes and RetinaNet's 200,000 priors would otherwise need 1.6 GB.
_MAX_OVERLAPS = 2**24


@TASK_UTILS.register_module()
class MaxIoUAssigner(BaseAssigner):
    """A prior is positive for the box it overlaps most, if it does so by ``pos_iou_thr``; each box also keeps its best priors.

    In this order: priors in ignored boxes are ignored; those whose largest overlap is below ``neg_iou_thr`` are background, those
    from ``pos_iou_thr`` on belong to the box of that overlap (the first of equals), the others are ignored; at last the priors that
    overlap a box most go to that box (the last of several), even if they are background by the limits.

    Args:
        pos_iou_thr: least overlap of a positive.
        neg_iou_thr: upper end of the overlaps of background, from 0 or from the first number of a pair on.
        min_pos_iou: least overlap by which a box keeps its best priors. With 0 a box that no prior overlaps claims every prior.
        gt_max_assign_all: a box keeps all priors of its largest overlap instead of the first.
        ignore_iof_thr: priors of which more than this share lies in an ignored box are ignored; <= 0 turns this off.
        ignore_wrt_candidates: the share is of the prior's area; False: of the ignored box's.
        match_low_quality: whether boxes keep their best priors.
        gpu_assign_thr: with more boxes than this the work is done on the CPU; < 0: never.
        iou_calculator: config of the overlap measure; None means ``BboxOverlaps2D``.
        perm_repeat_gt_cfg: must be None; the shuffling of repeated boxes is not offered.

    Raises:
        ConfigError: ``perm_repeat_gt_cfg`` is given.
    """

    def __init__(
        self,
        pos_iou_thr: float,
        neg_iou_thr: float | tuple[float, float],
        min_pos_iou: float = 0.0,
        gt_max_assign_all: bool = True,
        ignore_iof_thr: float = -1,
        ignore_wrt_candidates: bool = True,
        match_low_quality: bool = True,
        gpu_assign_thr: float = -1,
        iou_calculator: dict | None = None,
        perm_repeat_gt_cfg: dict | None = None,
    ):
        if perm_repeat_gt_cfg is not None:
            raise ConfigError('must be None', field='MaxIoUAssigner.perm_repeat_gt_cfg', received=perm_repeat_gt_cfg)
        self.pos_iou_thr, self.neg_iou_thr, self.min_pos_iou = pos_iou_thr, neg_iou_thr, min_pos_iou
        self.gt_max_assign_all, self.match_low_quality = gt_max_assign_all, match_low_quality
        self.ignore_iof_thr, self.ignore_wrt_candidates = ignore_iof_thr, ignore_wrt_candidates
        self.gpu_assign_thr = gpu_assign_thr
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
            pred_instances: ``priors`` (P, 4) xyxy.
            gt_instances: ``bboxes`` (G, 4) xyxy, ``labels`` (G,).
            gt_instances_ignore: ``bboxes`` (I, 4), see ``ignore_iof_thr``.
            **kwargs: not used.

        Returns:
            The assignment; ``max_overlaps`` holds the largest overlap of every prior, -1 where the prior lies in an ignored box.
        """
        priors, gt_bboxes = get_box_tensor(pred_instances.priors), get_box_tensor(gt_instances.bboxes)
        gt_labels, ignored_bboxes = gt_instances.labels, None
        if gt_instances_ignore is not None and self.ignore_iof_thr > 0 and len(gt_instances_ignore.bboxes):
            ignored_bboxes = get_box_tensor(gt_instances_ignore.bboxes)
        device = priors.device
        if 0 < self.gpu_assign_thr < len(gt_bboxes):
            priors, gt_bboxes, gt_labels = priors.cpu(), gt_bboxes.cpu(), gt_labels.cpu()
            ignored_bboxes = None if ignored_bboxes is None else ignored_bboxes.cpu()

        ignored = None  # (P,)
        if ignored_bboxes is not None and len(priors):
            if self.ignore_wrt_candidates:
                shares = self.iou_calculator(priors, ignored_bboxes, mode='iof').amax(dim=1)
            else:
                shares = self.iou_calculator(ignored_bboxes, priors, mode='iof').amax(dim=0)
            ignored = shares > self.ignore_iof_thr

        def slices() -> Iterable[Tensor]:
            for boxes in gt_bboxes.split(max(1, _MAX_OVERLAPS // max(1, len(priors)))):
                overlaps = self.iou_calculator(boxes, priors)  # (g, P)
                yield overlaps if ignored is None else overlaps.masked_fill(ignored, -1)

        result = self._assign(slices(), gt_labels, like=priors)
        result.gt_inds, result.labels = result.gt_inds.to(device), result.labels.to(device)
        result.max_overlaps = result.max_overlaps.to(device)
        return result

    def assign_wrt_overlaps(self, overlaps: Tensor, gt_labels: Tensor) -> AssignResult:
        """Assign P priors by their overlaps (G, P) with boxes of the classes ``gt_labels`` (G,); -1 marks ignored priors."""
        return self._assign([overlaps], gt_labels, like=overlaps.t())

    def _assign(self, slices: Iterable[Tensor], gt_labels: Tensor, like: Tensor) -> AssignResult:
        num_gts = len(gt_labels)
        result = AssignResult.background(num_gts, like)
        if num_gts == 0 or result.num_preds == 0:
            return result
        best = torch.full_like(result.max_overlaps, -float('inf'))  # (P,)
        nearest, kept = (
            torch.zeros_like(result.gt_inds),
            torch.zeros_like(result.gt_inds),
        )  # (P,), (P,) 1-based, 0 for none
        first = 0
        for overlaps in slices:
            largest, gts = overlaps.max(dim=0)
            better = largest > best
            best, nearest = torch.where(better, largest, best), torch.where(better, gts + first, nearest)
            if self.match_low_quality:
                self._keep_best(overlaps, first, kept)
            first += len(overlaps)

        low, high = self.neg_iou_thr if isinstance(self.neg_iou_thr, (tuple, list)) else (0, self.neg_iou_thr)
        gt_inds = torch.where((best >= low) & (best < high), 0, torch.full_like(kept, -1))
        gt_inds = torch.where(best >= self.pos_iou_thr, nearest + 1, gt_inds)
        result.gt_inds = torch.where(kept > 0, kept, gt_inds)
        result.labels = torch.where(result.gt_inds > 0, gt_labels[(result.gt_inds - 1).clamp(min=0)], result.labels)
        result.max_overlaps = best
        return result

    def _keep_best(self, overlaps: Tensor, first: int, kept: Tensor) -> None:
        """Enter the boxes of a slice (g, P), number ``first`` and following, at the priors that they keep."""
        largest, priors = overlaps.max(dim=1)  # (g,)
        reached = largest >= self.min_pos_iou
        if self.gt_max_assign_all:
            gts, priors = ((overlaps == largest[:, None]) & reached[:, None]).nonzero(as_tuple=True)
        else:
            gts = reached.nonzero().squeeze(1)
            priors = priors[gts]
        kept.scatter_reduce_(0, priors, gts + first + 1, 'amax')
