"""What a sampler is: it chooses some of the assigned priors of an image for the losses."""

from abc import ABCMeta, abstractmethod
from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet.core.assigners import AssignResult
from mmdet.core.boxes import cat_boxes

from .sampling_result import SamplingResult


class BaseSampler(metaclass=ABCMeta):
    """Chooses up to ``num`` priors.

    Args:
        num: number of priors.
        pos_fraction: largest share of positives in them.
        neg_pos_ub: at most so many negatives for each positive; < 0: no limit.
        add_gt_as_proposals: put the ground-truth boxes before the priors, as positives of themselves.
        **kwargs: accepted for subclasses.
    """

    def __init__(
        self, num: int, pos_fraction: float, neg_pos_ub: int = -1, add_gt_as_proposals: bool = True, **kwargs: Any
    ):
        self.num, self.pos_fraction = num, pos_fraction
        self.neg_pos_ub, self.add_gt_as_proposals = neg_pos_ub, add_gt_as_proposals
        self.pos_sampler = self.neg_sampler = self

    @abstractmethod
    def _sample_pos(self, assign_result: AssignResult, num_expected: int, **kwargs: Any) -> Tensor:
        """Rows of at most ``num_expected`` positives."""

    @abstractmethod
    def _sample_neg(self, assign_result: AssignResult, num_expected: int, **kwargs: Any) -> Tensor:
        """Rows of at most ``num_expected`` negatives."""

    def sample(
        self, assign_result: AssignResult, pred_instances: InstanceData, gt_instances: InstanceData, **kwargs: Any
    ) -> SamplingResult:
        """Choose priors of one image.

        Args:
            assign_result: the assignment of the P priors; with ``add_gt_as_proposals`` it is extended in place.
            pred_instances: ``priors`` (P, 4) xyxy.
            gt_instances: ``bboxes`` (G, 4) xyxy, ``labels`` (G,).
            **kwargs: handed on to :meth:`_sample_pos` and :meth:`_sample_neg`.
        """
        priors, gt_bboxes, gt_labels = pred_instances.priors, gt_instances.bboxes, gt_instances.labels
        if priors.dim() < 2:
            priors = priors[None]
        gt_flags = assign_result.gt_inds.new_zeros(len(priors), dtype=torch.uint8)
        if self.add_gt_as_proposals and len(gt_bboxes) > 0:
            priors = cat_boxes([gt_bboxes, priors])
            assign_result.add_gt_(gt_labels)
            gt_flags = torch.cat([gt_flags.new_ones(len(gt_bboxes)), gt_flags])

        options = dict(bboxes=priors, **kwargs)
        pos_inds = self.pos_sampler._sample_pos(assign_result, int(self.num * self.pos_fraction), **options).unique()
        num_neg = self.num - len(pos_inds)
        if self.neg_pos_ub >= 0:
            num_neg = min(num_neg, int(self.neg_pos_ub * max(1, len(pos_inds))))
        neg_inds = self.neg_sampler._sample_neg(assign_result, num_neg, **options).unique()
        return SamplingResult(pos_inds, neg_inds, priors, gt_bboxes, assign_result, gt_flags)
