"""Assignment of points to the boxes whose centres they are nearest to (RepPoints, arXiv 1904.11490, section 4.1).

Naming: P points, G ground-truth boxes, k points a box.
"""

from typing import Any

import torch
from mmengine.structures import InstanceData

from mmdet.core.boxes import get_box_tensor
from mmdet.registry import TASK_UTILS

from .assign_result import AssignResult
from .base_assigner import BaseAssigner

_LEAST_SIDE = 1e-6


@TASK_UTILS.register_module()
class PointAssigner(BaseAssigner):
    """Each box goes to the level of its size, and there to the points nearest to its centre, by distance in widths and heights of the box.

    A point that several boxes claim goes to the one it is nearest to (the first of equals).

    Args:
        scale: the level of stride s is that of boxes of the size ``scale * s``.
        pos_num: k.
    """

    def __init__(self, scale: float = 4, pos_num: int = 3):
        self.scale, self.pos_num = scale, pos_num

    @torch.no_grad()
    def assign(
        self,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
        **kwargs: Any,
    ) -> AssignResult:
        """Assign the points of one image.

        Args:
            pred_instances: ``priors`` (P, 3) or (P, 4), x, y in pixels and the stride.
            gt_instances: ``bboxes`` (G, 4), ``labels`` (G,).
            gt_instances_ignore: not looked at.
        """
        points, boxes = pred_instances.priors, get_box_tensor(gt_instances.bboxes)
        result = AssignResult.background(len(boxes), points)
        if len(points) == 0 or len(boxes) == 0:
            return result
        levels = points[:, 2].log2().int()  # (P,)
        centers, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).clamp(min=_LEAST_SIDE)
        gt_levels = ((sides / self.scale).log2().sum(1) / 2).int().clamp(levels.min(), levels.max())  # (G,)
        points_of, gts_of, distances = [], [], []
        for level in gt_levels.unique():
            rows, gts = ((values == level).nonzero().squeeze(1) for values in (levels, gt_levels))
            offsets = points[rows, None, :2] - centers[gts]  # (p, g, 2)
            distance = (offsets / sides[gts]).norm(dim=-1)
            nearest, places = distance.topk(min(self.pos_num, len(rows)), dim=0, largest=False)  # (k, g)
            points_of.append(rows[places].flatten())
            gts_of.append(gts.expand_as(places).flatten())
            distances.append(nearest.flatten())
        # The largest of these "overlaps" is the least distance; in double precision, so that different distances stay different.
        nearness = 1 / (1 + torch.cat(distances).double())
        result.assign_pairs(torch.cat(points_of), torch.cat(gts_of), nearness, gt_instances.labels)
        result.max_overlaps = torch.zeros_like(points[:, 0])
        return result
