"""Simplified optimal transport: assignment by the cost of the predictions (YOLOX, arXiv 2107.08430, section 2.1).

Naming: P priors, V of them in or near some box, G ground-truth boxes, C classes.
"""

from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet.core.boxes import get_box_tensor
from mmdet.registry import TASK_UTILS

from .assign_result import AssignResult
from .base_assigner import BaseAssigner
from .dynamic_soft_label_assigner import match_dynamic_k

_FAR = 1e5  # what a prior costs that is not both in a box and near its centre
_UNMATCHED = -1e5  # ``max_overlaps`` of priors without a box
_IOU_EPS = 1e-7  # keeps the logarithm of an overlap of 0 finite
_LEAST_LOG = -100  # of a probability of 0, as in torch's binary cross-entropy


@TASK_UTILS.register_module()
class SimOTAAssigner(BaseAssigner):
    """Each box is assigned the priors of the least cost; how many is the sum of its largest overlaps, rounded down.

    Args:
        center_radius: a prior is near a box's centre if it is less than this many strides away in x and in y.
        candidate_topk: overlaps of a box that are summed, and thus the most priors that it can get.
        iou_weight: weight of the overlap's negative logarithm in the cost.
        cls_weight: weight of the class scores' binary cross-entropy in the cost.
        iou_calculator: config of the overlap measure; None means ``BboxOverlaps2D``.
    """

    def __init__(
        self,
        center_radius: float = 2.5,
        candidate_topk: int = 10,
        iou_weight: float = 3.0,
        cls_weight: float = 1.0,
        iou_calculator: dict | None = None,
    ):
        self.center_radius, self.candidate_topk = center_radius, candidate_topk
        self.iou_weight, self.cls_weight = iou_weight, cls_weight
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
            pred_instances: ``priors`` (P, 4), which are x, y, stride, stride, ``scores`` (P, C), which are probabilities, and predicted
                ``bboxes`` (P, 4) xyxy.
            gt_instances: ``bboxes`` (G, 4) xyxy, ``labels`` (G,).
            gt_instances_ignore: not used.
            **kwargs: not used.

        Returns:
            The assignment. ``max_overlaps`` is the IoU of the predicted box with its ground truth, -1e5 for an unmatched prior, and 0
            of all priors if none lies in or near a box.
        """
        gt_labels, gt_bboxes = gt_instances.labels, get_box_tensor(gt_instances.bboxes)
        bboxes, priors = get_box_tensor(pred_instances.bboxes), pred_instances.priors
        result = AssignResult.background(len(gt_bboxes), bboxes)
        if len(gt_bboxes) == 0 or len(bboxes) == 0:
            return result
        some, both = self.get_in_gt_and_in_center_info(priors, gt_bboxes)
        valid = some.nonzero().squeeze(1)  # (V,)
        if len(valid) == 0:
            return result
        result.max_overlaps.fill_(_UNMATCHED)

        overlaps = self.iou_calculator(bboxes[valid], gt_bboxes)  # (V, G)
        scores = pred_instances.scores[valid].float()
        log, log_of_rest = scores.log().clamp(min=_LEAST_LOG), (1 - scores).log().clamp(min=_LEAST_LOG)
        class_cost = (log_of_rest - log)[:, gt_labels] - log_of_rest.sum(1, keepdim=True)
        cost = self.cls_weight * class_cost - self.iou_weight * (overlaps + _IOU_EPS).log() + _FAR * ~both
        matched, gts = match_dynamic_k(cost, overlaps, self.candidate_topk)
        rows = valid[matched]
        result.gt_inds[rows] = gts + 1
        result.labels[rows] = gt_labels[gts].long()
        result.max_overlaps[rows] = overlaps[matched, gts].to(result.max_overlaps)
        return result

    def get_in_gt_and_in_center_info(self, priors: Tensor, gt_bboxes: Tensor) -> tuple[Tensor, Tensor]:
        """Which priors (P, 4) lie in any of the boxes (G, 4) xyxy or near the centre of any, and of these V which lie both in a box and near.

        Returns:
            (P,) bool and (V, G) bool.
        """
        points, reach = priors[:, None, :2], self.center_radius * priors[:, None, 2:]  # (P, 1, 2)
        in_box = ((points > gt_bboxes[:, :2]) & (points < gt_bboxes[:, 2:])).all(-1)  # (P, G)
        centers = (gt_bboxes[:, :2] + gt_bboxes[:, 2:]) / 2.0
        near = ((points > centers - reach) & (points < centers + reach)).all(-1)
        some = (in_box | near).any(1)
        return some, (in_box & near)[some]
