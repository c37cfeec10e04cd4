"""Assignment by how well class score and box of a prediction agree (TOOD; Feng et al., ICCV 2021, section 3.2).

Naming: P priors, G ground-truth boxes, C classes, g boxes of a slice of them, k candidates of a box.
"""

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet.core.boxes import get_box_tensor
from mmdet.errors import ArgumentError
from mmdet.registry import TASK_UTILS

from .assign_result import AssignResult
from .base_assigner import BaseAssigner

# Alignments held at a time, 64 MiB: 2,000 boxes on 22,000 priors stay within memory.
_MAX_METRICS = 2**24
_UNMATCHED = -1e8  # ``max_overlaps`` of priors without a box
# A positive prior's centre lies inside its box by more than this, in pixels.
_INSIDE_MARGIN = 0.01


@TASK_UTILS.register_module()
class TaskAlignedAssigner(BaseAssigner):
    """Each box is assigned those of its ``topk`` best aligned predictions whose prior's centre lies inside it.

    The alignment of a prediction with a box is score^alpha * IoU^beta, the score being that of the box's class.

    Args:
        topk: candidates of a box, of all levels together.
        iou_calculator: config of the overlap measure; None means ``BboxOverlaps2D``.

    Raises:
        ConfigError: ``topk`` < 1.
    """

    def __init__(self, topk: int, iou_calculator: dict | None = None):
        if topk < 1:
            raise ArgumentError('must be at least 1', field='TaskAlignedAssigner.topk', received=topk)
        self.topk = topk
        self.iou_calculator = TASK_UTILS.build(iou_calculator or dict(type='BboxOverlaps2D'))

    @torch.no_grad()
    def assign(  # type: ignore[override]  # the exponents have names here, as their callers give them
        self,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
        alpha: float = 1,
        beta: float = 6,
    ) -> AssignResult:
        """Assign the priors of one image.

        Args:
            pred_instances: ``priors`` (P, 4) xyxy, ``scores`` (P, C), which are probabilities, and predicted ``bboxes`` (P, 4) xyxy.
            gt_instances: ``bboxes`` (G, 4) xyxy, ``labels`` (G,).
            gt_instances_ignore: not used.
            alpha: exponent of the score.
            beta: exponent of the overlap.

        Returns:
            The assignment. ``max_overlaps`` is the IoU of the predicted box with its ground truth, -1e8 for an unmatched prior, and
            ``assign_metrics`` the alignment, 0 for an unmatched prior.
        """
        priors, bboxes = get_box_tensor(pred_instances.priors), get_box_tensor(pred_instances.bboxes)
        scores, gt_bboxes, gt_labels = pred_instances.scores, get_box_tensor(gt_instances.bboxes), gt_instances.labels
        result = AssignResult.background(len(gt_bboxes), bboxes)
        assign_metrics = result.assign_metrics = torch.zeros_like(result.max_overlaps)
        if len(gt_bboxes) == 0 or len(bboxes) == 0:
            return result
        result.max_overlaps.fill_(_UNMATCHED)

        candidates, metrics, overlaps = [], [], []  # (g, k) each
        step = max(1, _MAX_METRICS // len(bboxes))
        for boxes, labels in zip(gt_bboxes.split(step), gt_labels.split(step)):
            ious = self.iou_calculator(boxes, bboxes)  # (g, P)
            best, rows = (scores.t()[labels] ** alpha * ious**beta).topk(min(self.topk, len(bboxes)), dim=1)
            candidates.append(rows)
            metrics.append(best)
            overlaps.append(ious.gather(1, rows))
        rows, metric = torch.cat(candidates), torch.cat(metrics)  # (G, k)
        positive = (metric > 0) & inside_boxes(priors[rows], gt_bboxes[:, None], _INSIDE_MARGIN)
        gts, ranks = positive.nonzero(as_tuple=True)
        claimed, overlap = rows[gts, ranks], torch.cat(overlaps)[gts, ranks]
        result.assign_pairs(claimed, gts, overlap, gt_labels)
        won = result.gt_inds[claimed] == gts + 1
        assign_metrics[claimed[won]] = metric[gts, ranks][won].to(assign_metrics)
        return result


def inside_boxes(priors: Tensor, bboxes: Tensor, margin: float) -> Tensor:
    """Whether centres of priors (..., 4) lie inside boxes (..., 4), both xyxy, by more than ``margin`` pixels: (...,)."""
    centers = (priors[..., :2] + priors[..., 2:]) / 2.0
    return torch.cat([centers - bboxes[..., :2], bboxes[..., 2:] - centers], dim=-1).amin(-1) > margin
