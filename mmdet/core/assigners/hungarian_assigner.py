"""One prediction for each object, by the least total cost (DETR; Carion et al., ECCV 2020, section 3.1).

Naming: N predictions, G ground-truth objects.
"""

from typing import Any

import torch
from mmengine.structures import InstanceData

from mmdet.errors import ArgumentError
from mmdet.registry import TASK_UTILS

from .assign_result import AssignResult
from .base_assigner import BaseAssigner


@TASK_UTILS.register_module()
class HungarianAssigner(BaseAssigner):
    """Assigns each object one prediction, at most one object each, so that the sum of all costs is least.

    Args:
        match_costs: config of a cost, or a list of them, which are added.

    Raises:
        ArgumentError: no cost.
    """

    def __init__(self, match_costs: dict | list[dict]):
        costs = [match_costs] if isinstance(match_costs, dict) else list(match_costs)
        if not costs:
            raise ArgumentError('must not be an empty list', field='match_costs', received=match_costs)
        self.match_costs = [TASK_UTILS.build(cost) for cost in costs]

    @torch.no_grad()
    def assign(  # type: ignore[override]  # the costs need the image's metainfo, which comes third as in mmdetection 3.x
        self,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        img_meta: dict | None = None,
        **kwargs: Any,
    ) -> AssignResult:
        """Assign the predictions of one image.

        Args:
            pred_instances: N predictions, with the fields that the costs need.
            gt_instances: G objects with ``labels`` (G,), and the fields that the costs need.
            img_meta: metainfo of the image, see the costs.
            **kwargs: not used.

        Returns:
            The assignment; ``max_overlaps`` is None.
        """
        from scipy.optimize import linear_sum_assignment  # heavy: only for this assigner

        gt_labels = gt_instances.labels
        result = AssignResult.background(len(gt_instances), gt_labels.new_zeros(len(pred_instances)))
        result.max_overlaps = None  # type: ignore[assignment]
        if len(gt_instances) == 0 or len(pred_instances) == 0:
            return result
        cost = torch.stack([cost(pred_instances, gt_instances, img_meta=img_meta) for cost in self.match_costs]).sum(0)
        rows, gts = (torch.from_numpy(inds).to(gt_labels.device) for inds in linear_sum_assignment(cost.cpu()))
        result.gt_inds[rows] = gts + 1
        result.labels[rows] = gt_labels[gts].long()
        return result
