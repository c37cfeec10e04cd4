"""The sampler of dense heads, which chooses nothing."""

from typing import Any

import torch
from mmengine.structures import InstanceData

from mmdet.core.assigners import AssignResult
from mmdet.registry import TASK_UTILS

from .base_sampler import BaseSampler
from .sampling_result import SamplingResult


@TASK_UTILS.register_module()
class PseudoSampler(BaseSampler):
    """Takes all positives and all negatives; ``avg_factor`` counts the positives only."""

    def __init__(self, **kwargs: Any):
        super().__init__(num=-1, pos_fraction=-1, add_gt_as_proposals=False)

    def _sample_pos(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError('PseudoSampler takes all positives')

    def _sample_neg(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError('PseudoSampler takes all negatives')

    def sample(
        self,
        assign_result: AssignResult,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        *args: Any,
        **kwargs: Any,
    ) -> SamplingResult:
        """The positives (``gt_inds`` > 0) and negatives (0) of one image, in ascending order; see :meth:`BaseSampler.sample`."""
        priors, gt_inds = pred_instances.priors, assign_result.gt_inds
        pos_inds, neg_inds = (gt_inds > 0).nonzero().squeeze(1), (gt_inds == 0).nonzero().squeeze(1)
        gt_flags = gt_inds.new_zeros(len(priors), dtype=torch.uint8)
        return SamplingResult(
            pos_inds, neg_inds, priors, gt_instances.bboxes, assign_result, gt_flags, avg_factor_with_neg=False
        )
