"""Adaptive training sample selection (ATSS; Zhang et al., CVPR 2020, algorithm 1).

Naming: P priors, G ground-truth boxes, L levels, C candidates of a box (at most ``topk`` a level).
"""

import dataclasses

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet.errors import ConfigError
from mmdet.registry import TASK_UTILS

# Prior-to-box distances held at a time: 2**24 float32 values are 64 MiB, so 2,000 boxes on 22,000 priors stay within memory.
_MAX_DISTANCES = 2**24
_FAR = 1e8
# A positive prior's centre lies inside its box by more than this, in pixels.
_INSIDE_MARGIN = 0.01


@dataclasses.dataclass
class AssignResult:
    """Assignment of P priors to G ground-truth boxes.

    Attributes:
        num_gts: G.
        gt_inds: (P,) int64; 0 background, g + 1 for ground truth g, -1 ignored.
        max_overlaps: (P,) IoU of a positive prior with its box, 0 elsewhere.
        labels: (P,) int64 class of the assigned box, -1 where there is none.
    """

    num_gts: int
    gt_inds: Tensor
    max_overlaps: Tensor
    labels: Tensor

    @property
    def pos_inds(self) -> Tensor:
        """(n,) ascending indices of the positive priors."""
        return (self.gt_inds > 0).nonzero().squeeze(1)


@TASK_UTILS.register_module()
class ATSSAssigner:
    """Each box is assigned those of its nearest priors whose IoU with it reaches the mean plus the standard deviation of their IoUs.

    Overlaps are computed for the candidates only (C is about 45), never as a (P, G) matrix, and distances for a slice of the boxes at a
    time, so that the memory needed does not grow with G.

    Args:
        topk: candidates per level, the priors whose centres are nearest to the centre of the box.
        iou_calculator: config of the overlap measure; None means ``BboxOverlaps2D``.
        ignore_iof_thr: priors whose intersection with an ignored box exceeds this share of their own area are marked as ignored;
            a value <= 0 turns this off, as in every published config.
    """

    def __init__(self, topk: int, iou_calculator: dict | None = None, ignore_iof_thr: float = -1):
        if topk < 1:
            raise ConfigError('must be at least 1', field='ATSSAssigner.topk', received=topk)
        self.topk = topk
        self.iou_calculator = TASK_UTILS.build(iou_calculator or dict(type='BboxOverlaps2D'))
        self.ignore_iof_thr = ignore_iof_thr

    @torch.no_grad()
    def assign(
        self,
        pred_instances: InstanceData,
        num_level_priors: list[int],
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
    ) -> AssignResult:
        """Assign the priors of one image.

        Args:
            pred_instances: ``priors`` (P, 4) xyxy, levels one after another.
            num_level_priors: priors of each level, summing to P.
            gt_instances: ``bboxes`` (G, 4) xyxy, ``labels`` (G,).
            gt_instances_ignore: ``bboxes`` (I, 4) to ignore, see ``ignore_iof_thr``.

        Returns:
            The assignment. A box can be left without any prior: one that contains no centre of a prior, or one of zero area.
        """
        priors, gt_bboxes, gt_labels = pred_instances.priors, gt_instances.bboxes, gt_instances.labels
        num_priors, num_gts = len(priors), len(gt_bboxes)
        gt_inds = priors.new_zeros(num_priors, dtype=torch.long)
        result = AssignResult(num_gts, gt_inds, priors.new_zeros(num_priors), torch.full_like(gt_inds, -1))
        if num_priors == 0 or num_gts == 0:
            return result

        ignored = self._ignored_priors(priors, gt_instances_ignore)
        if ignored is not None:
            gt_inds[ignored] = -1
        candidates = self._nearest_priors(priors, num_level_priors, gt_bboxes, ignored)  # (C, G)
        prior_inds, gt_of_pair, overlaps = self._positive_pairs(priors, gt_bboxes, candidates)

        # A prior that several boxes claim goes to the one it overlaps most; among equal overlaps the first box wins.
        best = overlaps.new_full((num_priors,), -1).scatter_reduce_(0, prior_inds, overlaps, 'amax')
        wins = overlaps == best[prior_inds]
        winner = gt_inds.new_full((num_priors,), num_gts)
        winner.scatter_reduce_(0, prior_inds[wins], gt_of_pair[wins], 'amin')
        positive = winner < num_gts
        result.gt_inds = torch.where(positive, winner + 1, gt_inds)
        result.labels = torch.where(positive, gt_labels[winner.clamp(max=num_gts - 1)], result.labels)
        result.max_overlaps = torch.where(positive, best, result.max_overlaps)
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
        slices = []
        for centers in gt_centers.split(max(1, _MAX_DISTANCES // len(priors))):
            # Squares, sum, root, each rounded: equal distances then tie exactly as in the reference.
            dx = centers[:, :1] - prior_centers[:, 0]  # (g, P)
            dy = centers[:, 1:] - prior_centers[:, 1]
            distances = dx.square_().add_(dy.square_()).sqrt_()
            if ignored is not None:
                distances[:, ignored] = _FAR
            start, nearest = 0, []
            for count in num_level_priors:
                level = distances[:, start : start + count]
                nearest.append(level.topk(min(self.topk, count), dim=1, largest=False).indices + start)
                start += count
            slices.append(torch.cat(nearest, dim=1))
        return torch.cat(slices).t()  # (C, G)

    def _positive_pairs(self, priors: Tensor, gt_bboxes: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Prior, box and overlap, each (n,), of the candidates that pass the threshold of their box and lie inside it."""
        boxes = priors[candidates]  # (C, G, 4)
        gts = gt_bboxes.expand_as(boxes)
        overlaps = self.iou_calculator(boxes.reshape(-1, 4), gts.reshape(-1, 4), is_aligned=True).view_as(candidates)
        if len(candidates) > 1:
            threshold = overlaps.mean(0) + overlaps.std(0)  # (G,)
        else:  # the standard deviation of a single sample is undefined: no candidate passes
            threshold = torch.full_like(overlaps[0], float('inf'))
        centers = (boxes[..., :2] + boxes[..., 2:]) / 2.0
        margins = torch.cat([centers - gt_bboxes[:, :2], gt_bboxes[:, 2:] - centers], dim=-1)  # (C, G, 4)
        positive = (overlaps >= threshold) & (margins.amin(-1) > _INSIDE_MARGIN)
        rows, gt_of_pair = positive.nonzero(as_tuple=True)
        return candidates[rows, gt_of_pair], gt_of_pair, overlaps[rows, gt_of_pair]
