"""Online hard example mining (Shrivastava et al., CVPR 2016, arXiv 1604.03540)."""

from typing import Any

import torch
from torch import Tensor

from mmdet.core.assigners import AssignResult
from mmdet.core.boxes import bbox2roi
from mmdet.registry import TASK_UTILS

from .base_sampler import BaseSampler


@TASK_UTILS.register_module()
class OHEMSampler(BaseSampler):
    """Chooses the positives and the negatives with the largest losses.

    Needs the second stage of a two-stage detector: :meth:`sample` has to be given ``feats``, the feature maps of
    the image.

    Args:
        num: see :class:`BaseSampler`.
        pos_fraction: see there.
        context: the stage: ``bbox_head``, and ``_bbox_forward(feats, rois)``, which returns ``dict(cls_score=(n, C + 1))``. One with
            ``num_stages`` has a list of heads, of which that of its ``current_stage`` is taken, and this number comes first in the call.
        neg_pos_ub: see :class:`BaseSampler`.
        add_gt_as_proposals: see there.
        loss_key: the loss (n,) to go by, among those that the head's ``loss`` returns.
        **kwargs: accepted for subclasses.
    """

    def __init__(
        self,
        num: int,
        pos_fraction: float,
        context: Any,
        neg_pos_ub: int = -1,
        add_gt_as_proposals: bool = True,
        loss_key: str = 'loss_cls',
        **kwargs: Any,
    ):
        super().__init__(num, pos_fraction, neg_pos_ub, add_gt_as_proposals)
        self.context, self.loss_key = context, loss_key
        staged = hasattr(context, 'num_stages')
        self.bbox_head = context.bbox_head[context.current_stage] if staged else context.bbox_head

    def hard_mining(self, inds: Tensor, num_expected: int, bboxes: Any, labels: Tensor, feats: Any) -> Tensor:
        """Those ``num_expected`` of the rows (n,) whose boxes (n, 4) of the labels (n,) have the largest losses."""
        with torch.no_grad():
            rois = bbox2roi([bboxes])
            stage = (self.context.current_stage,) if hasattr(self.context, 'num_stages') else ()
            scores = self.context._bbox_forward(*stage, feats, rois)['cls_score']
            loss = self.bbox_head.loss(
                cls_score=scores,
                bbox_pred=None,
                rois=rois,
                labels=labels,
                label_weights=scores.new_ones(len(scores)),
                bbox_targets=None,
                bbox_weights=None,
                reduction_override='none',
            )[self.loss_key]
            return inds[loss.topk(num_expected).indices]

    def _sample_pos(
        self, assign_result: AssignResult, num_expected: int, bboxes: Any = None, feats: Any = None, **kwargs: Any
    ) -> Tensor:
        rows = (assign_result.gt_inds > 0).nonzero().squeeze(1)
        if len(rows) <= num_expected:
            return rows
        return self.hard_mining(rows, num_expected, bboxes[rows], assign_result.labels[rows], feats)

    def _sample_neg(
        self, assign_result: AssignResult, num_expected: int, bboxes: Any = None, feats: Any = None, **kwargs: Any
    ) -> Tensor:
        rows = (assign_result.gt_inds == 0).nonzero().squeeze(1)
        if len(rows) <= num_expected:
            return rows
        labels = assign_result.labels.new_full((len(rows),), self.bbox_head.num_classes)
        return self.hard_mining(rows, num_expected, bboxes[rows], labels, feats)
