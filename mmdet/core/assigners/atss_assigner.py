"""Adaptive training sample selection (ATSS; Zhang et al., CVPR 2020, algorithm 1).

Naming: P priors, G ground-truth boxes, L levels, C candidates of a box (at most ``topk`` a level).
"""

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet.core.boxes import get_box_tensor
from mmdet.errors import ArgumentError, ConfigError
from mmdet.registry import TASK_UTILS

from .assign_result import AssignResult
from .base_assigner import BaseAssigner
from .nearest import nearest_priors
from .task_aligned_assigner import inside_boxes

# A positive prior's centre lies inside its box by more than this, in pixels.
_INSIDE_MARGIN = 0.01


@TASK_UTILS.register_module()
class ATSSAssigner(BaseAssigner):
    """Each box is assigned those of its nearest priors whose IoU with it reaches the mean plus the standard deviation of their IoUs.

    Overlaps are computed for the candidates only (C is about 45), never as a (P, G) matrix, and distances for the priors around a box.

    Args:
        topk: candidates per level, the priors whose centres are nearest to the centre of the box.
        alpha: None, or the exponent of DDOD (Chen et al., ACM MM 2021): wherever a prior's IoU counts, score^(1 - alpha) * IoU^alpha of
            its prediction stands for it, the score being that of the box's class.
        iou_calculator: config of the overlap measure; None means ``BboxOverlaps2D``.
        ignore_iof_thr: priors whose intersection with an ignored box exceeds this share of their own area are marked as ignored;
            a value <= 0 turns this off, as in every published config.
    """

    def __init__(
        self,
        topk: int,
        alpha: float | None = None,
        iou_calculator: dict | None = None,
        ignore_iof_thr: float = -1,
    ):
        if topk < 1:
            raise ConfigError('must be at least 1', field='ATSSAssigner.topk', received=topk)
        self.topk, self.alpha = topk, alpha
        self.iou_calculator = TASK_UTILS.build(iou_calculator or dict(type='BboxOverlaps2D'))
        self.ignore_iof_thr = ignore_iof_thr

    @torch.no_grad()
    def assign(  # type: ignore[override]  # the levels are needed, and come second as in mmdetection 3.x
        self,
        pred_instances: InstanceData,
        num_level_priors: list[int],
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
    ) -> AssignResult:
        """Assign the priors of one image.

        Args:
            pred_instances: ``priors`` (P, 4) xyxy, levels one after another; with ``alpha`` also ``scores`` (P, C), which are logits,
                and the predicted ``bboxes`` (P, 4) xyxy.
            num_level_priors: priors of each level, summing to P.
            gt_instances: ``bboxes`` (G, 4) xyxy, ``labels`` (G,).
            gt_instances_ignore: ``bboxes`` (I, 4) to ignore, see ``ignore_iof_thr``.

        Returns:
            The assignment; ``max_overlaps`` is 0 for an unmatched prior. A box can be left without any prior: one that contains no centre
            of a prior, or one of zero area.

        Raises:
            ArgumentError: ``alpha`` is set, and there are no ``scores`` or ``bboxes``.
        """
        priors, gt_bboxes = get_box_tensor(pred_instances.priors), get_box_tensor(gt_instances.bboxes)
        gt_labels = gt_instances.labels
        result = AssignResult.background(len(gt_bboxes), priors)
        if len(priors) == 0 or len(gt_bboxes) == 0:
            return result
        if self.alpha is not None and not ('scores' in pred_instances and 'bboxes' in pred_instances):
            message = 'with alpha the predictions need scores and bboxes'
            raise ArgumentError(message, field='pred_instances', received=sorted(pred_instances.keys()))

        ignored = self._ignored_priors(priors, gt_instances_ignore)
        if ignored is not None:
            result.gt_inds[ignored] = -1
        candidates = self._nearest_priors(priors, num_level_priors, gt_bboxes, ignored)  # (C, G)
        if self.alpha is None:
            overlaps = self._overlaps(priors[candidates], gt_bboxes)  # (C, G)
        else:
            scores, bboxes = pred_instances.scores[candidates, gt_labels], get_box_tensor(pred_instances.bboxes)
            overlaps = self._overlaps(bboxes[candidates], gt_bboxes) ** self.alpha
            overlaps = scores.sigmoid() ** (1 - self.alpha) * overlaps
        if len(candidates) > 1:
            threshold = overlaps.mean(0) + overlaps.std(0)  # (G,)
        else:  # the standard deviation of a single sample is undefined: no candidate passes
            threshold = torch.full_like(overlaps[0], float('inf'))
        positive = (overlaps >= threshold) & inside_boxes(priors[candidates], gt_bboxes, _INSIDE_MARGIN)
        rows, gts = positive.nonzero(as_tuple=True)
        result.assign_pairs(candidates[rows, gts], gts, overlaps[rows, gts], gt_labels)
        return result

    def _ignored_priors(self, priors: Tensor, ignore: InstanceData | None) -> Tensor | None:
        if self.ignore_iof_thr <= 0 or ignore is None or len(ignore.bboxes) == 0:
            return None
        return self.iou_calculator(priors, ignore.bboxes, mode='iof').amax(dim=1) > self.ignore_iof_thr  # (P,)

    def _nearest_priors(
        self, priors: Tensor, num_level_priors: list[int], gt_bboxes: Tensor, ignored: Tensor | None
    ) -> Tensor:
        """(C, G) candidates of each box, one level after another."""
        prior_centers = (priors[:, :2] + priors[:, 2:]) / 2.0  # (P, 2)
        gt_centers = (gt_bboxes[:, :2] + gt_bboxes[:, 2:]) / 2.0  # (G, 2)
        return nearest_priors(prior_centers, num_level_priors, gt_centers, self.topk, ignored).t()

    def _overlaps(self, boxes: Tensor, gt_bboxes: Tensor) -> Tensor:
        """(C, G) overlaps of boxes (C, G, 4) with the G boxes of their columns."""
        gts = gt_bboxes.expand_as(boxes)
        return self.iou_calculator(boxes.reshape(-1, 4), gts.reshape(-1, 4), is_aligned=True).view(boxes.shape[:-1])
