"""Assignment by the cost of the predictions, as many priors a box as its predictions deserve (RTMDet, arXiv 2212.07784, section 3.3).

Naming: P priors, V of them inside some box, G ground-truth boxes, C classes, k candidates of a box.
"""

from typing import Any

import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet.core.boxes import get_box_tensor
from mmdet.registry import TASK_UTILS

from .assign_result import AssignResult
from .base_assigner import BaseAssigner

_UNMATCHED = -1e8  # ``max_overlaps`` of priors without a box
_IOU_EPS = 1e-7  # keeps the logarithm of an overlap of 0 finite
# Comparisons of points and boxes at a time, 16 MiB for each of their sides.
_MAX_COMPARISONS = 2**22


@TASK_UTILS.register_module()
class DynamicSoftLabelAssigner(BaseAssigner):
    """Each box is assigned the priors of the least cost; how many is the sum of its largest overlaps, rounded down.

    The cost has three parts: how far the class scores are from a label as soft as the overlap, the overlap's negative logarithm,
    and a term that grows tenfold with each stride of distance between prior and box. Only priors inside some box take part.

    Args:
        soft_center_radius: the distance in strides at which the last part is 1; None leaves that part out, as NanoDet-Plus does.
        topk: overlaps of a box that are summed, and thus the most priors that it can get.
        iou_weight: weight of the overlap's part.
        iou_calculator: config of the overlap measure; None means ``BboxOverlaps2D``.
    """

    def __init__(
        self,
        soft_center_radius: float | None = 3.0,
        topk: int = 13,
        iou_weight: float = 3.0,
        iou_calculator: dict | None = None,
    ):
        self.soft_center_radius, self.topk, self.iou_weight = soft_center_radius, topk, iou_weight
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
            pred_instances: ``priors`` (P, 4), which are x, y, stride, stride, ``scores`` (P, C), which are logits, and predicted
                ``bboxes`` (P, 4) xyxy.
            gt_instances: ``bboxes`` (G, 4) xyxy, ``labels`` (G,); with ``masks`` their centroids stand for the boxes' centres.
            gt_instances_ignore: not used.
            **kwargs: not used.

        Returns:
            The assignment. ``max_overlaps`` is the IoU of the predicted box with its ground truth, -1e8 for an unmatched prior, and 0
            of all priors if none lies inside a box.
        """
        gt_labels, gt_bboxes = gt_instances.labels, get_box_tensor(gt_instances.bboxes)
        bboxes, priors = get_box_tensor(pred_instances.bboxes), pred_instances.priors
        result = AssignResult.background(len(gt_bboxes), bboxes)
        if len(gt_bboxes) == 0 or len(bboxes) == 0:
            return result
        valid = points_inside_any(priors[:, :2], gt_instances.bboxes).nonzero().squeeze(1)  # (V,)
        if len(valid) == 0:
            return result
        result.max_overlaps.fill_(_UNMATCHED)

        priors, scores = priors[valid], pred_instances.scores[valid]
        overlaps = self.iou_calculator(bboxes[valid], gt_bboxes)  # (V, G)
        cost = soft_label_cost(scores, gt_labels, overlaps) - self.iou_weight * (overlaps + _IOU_EPS).log()
        if self.soft_center_radius is not None:
            distance = (priors[:, None, :2] - _centers(gt_instances)).pow(2).sum(-1).sqrt() / priors[:, None, 2]
            cost = cost + torch.pow(10, distance - self.soft_center_radius)
        matched, gts = self.dynamic_k_matching(cost, overlaps)
        rows = valid[matched]
        result.gt_inds[rows] = gts + 1
        result.labels[rows] = gt_labels[gts].long()
        result.max_overlaps[rows] = overlaps[matched, gts].to(result.max_overlaps)
        return result

    def dynamic_k_matching(self, cost: Tensor, overlaps: Tensor) -> tuple[Tensor, Tensor]:
        """Rows and 0-based boxes of the positives, (n,) each, of costs and overlaps (V, G); see :func:`match_dynamic_k`."""
        return match_dynamic_k(cost, overlaps, self.topk)


def match_dynamic_k(cost: Tensor, overlaps: Tensor, topk: int) -> tuple[Tensor, Tensor]:
    """Give each box its cheapest priors, as many as the sum of its ``topk`` largest overlaps and at least one.

    A prior that several boxes want goes to the box for which it costs least (the first of equals).

    Args:
        cost: (V, G).
        overlaps: (V, G), in [0, 1].
        topk: see above.

    Returns:
        (n,) ascending rows of the positive priors, and (n,) the 0-based box of each.
    """
    candidates = min(topk, len(cost))
    number = overlaps.topk(candidates, dim=0).values.sum(0).int().clamp(min=1)  # (G,)
    cheapest = cost.topk(candidates, dim=0, largest=False).indices  # (k, G)
    wanted = torch.arange(candidates, device=cost.device)[:, None] < number
    takes = torch.zeros_like(cost, dtype=torch.bool).scatter_(0, cheapest, wanted)  # (V, G)
    wishes = takes.sum(1)
    rows = (wishes > 0).nonzero().squeeze(1)
    gts = torch.where(wishes[rows] > 1, cost[rows].argmin(1), takes[rows].int().argmax(1))
    return rows, gts


def soft_label_cost(logits: Tensor, gt_labels: Tensor, overlaps: Tensor) -> Tensor:
    """Quality focal loss (beta 2) of logits (V, C) towards the overlap for the box's class and 0 for the others: (V, G)."""
    logits = logits.float()
    probability = logits.sigmoid()
    zero = F.softplus(logits) * probability.square()  # (V, C), what a label of 0 costs
    own, own_probability = logits[:, gt_labels], probability[:, gt_labels]  # (V, G)
    towards_overlap = (F.softplus(own) - own * overlaps) * (overlaps - own_probability).square()
    return zero.sum(1, keepdim=True) - zero[:, gt_labels] + towards_overlap


def points_inside_any(points: Tensor, bboxes: Any) -> Tensor:
    """Which points (P, 2) lie inside at least one box, strictly for (G, 4) xyxy tensors and as their class says for others: (P,) bool."""
    if not isinstance(bboxes, Tensor):
        return bboxes.find_inside_points(points).any(1)
    inside = torch.zeros_like(points[:, 0], dtype=torch.bool)
    x, y = points[:, :1], points[:, 1:]
    for boxes in bboxes.split(max(1, _MAX_COMPARISONS // len(points))):
        x1, y1, x2, y2 = boxes.unbind(1)
        inside |= ((x > x1) & (x < x2) & (y > y1) & (y < y2)).any(1)
    return inside


def _centers(gt_instances: InstanceData) -> Tensor:
    """(G, 2) centroids of the masks, or centres of the boxes where there are no masks."""
    bboxes = get_box_tensor(gt_instances.bboxes)
    if 'masks' not in gt_instances:
        return (bboxes[:, :2] + bboxes[:, 2:]) / 2.0
    masks = gt_instances.masks.to_tensor(dtype=bboxes.dtype, device=bboxes.device)  # (G, h, w)
    area = masks.sum((1, 2)).clamp(min=1e-7)  # an empty mask has its centroid at 0
    x = (masks.sum(1) * torch.arange(masks.size(2), device=masks.device)).sum(1) / area
    y = (masks.sum(2) * torch.arange(masks.size(1), device=masks.device)).sum(1) / area
    return torch.stack([x, y], dim=1)
