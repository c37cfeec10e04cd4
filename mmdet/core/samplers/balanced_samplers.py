"""Random priors, balanced over the objects or over the IoUs (Pang et al., Libra R-CNN, CVPR 2019, section 3.1)."""

from typing import Any

import torch
from torch import Tensor

from mmdet.core.assigners import AssignResult
from mmdet.errors import ArgumentError
from mmdet.registry import TASK_UTILS

from .random_sampler import RandomSampler


@TASK_UTILS.register_module()
class InstanceBalancedPosSampler(RandomSampler):
    """Chooses about as many positives of every object, as far as it has them; the arguments are those of :class:`RandomSampler`."""

    def _sample_pos(self, assign_result: AssignResult, num_expected: int, **kwargs: Any) -> Tensor:
        positives = assign_result.gt_inds > 0
        rows = positives.nonzero().squeeze(1)
        if len(rows) <= num_expected:
            return rows
        objects = assign_result.gt_inds[rows].unique()
        share = round(num_expected / len(objects)) + 1  # one more than its part: other objects may have too few
        chosen = torch.cat([self._some(assign_result.gt_inds == number, share) for number in objects])
        if len(chosen) > num_expected:
            return self.random_choice(chosen, num_expected)
        positives[chosen] = False
        return torch.cat([chosen, self._some(positives, num_expected - len(chosen))])


@TASK_UTILS.register_module()
class IoUBalancedNegSampler(RandomSampler):
    """Chooses as many negatives of each interval of the IoU with their nearest object, as far as there are any.

    Of most images nearly all negatives touch no object, and a random choice takes few of the hard ones.

    Args:
        num: see :class:`RandomSampler`.
        pos_fraction: see there.
        floor_thr: negatives with an IoU below it (with 0: of exactly 0) are chosen apart, without intervals; -1: none.
        floor_fraction: share of the negatives that is chosen from those.
        num_bins: number of intervals between the threshold and the largest IoU of the image.
        **kwargs: see :class:`RandomSampler`.

    Raises:
        ArgumentError: a threshold below 0 other than -1, a fraction outside [0, 1], or less than one interval.
    """

    def __init__(
        self,
        num: int,
        pos_fraction: float,
        floor_thr: float = -1,
        floor_fraction: float = 0,
        num_bins: int = 3,
        **kwargs: Any,
    ):
        super().__init__(num, pos_fraction, **kwargs)
        if floor_thr != -1 and floor_thr < 0:
            raise ArgumentError('must be -1 or at least 0', field='floor_thr', received=floor_thr)
        if not 0 <= floor_fraction <= 1:
            raise ArgumentError('must be in [0, 1]', field='floor_fraction', received=floor_fraction)
        if num_bins < 1:
            raise ArgumentError('must be at least 1', field='num_bins', received=num_bins)
        self.floor_thr, self.floor_fraction, self.num_bins = floor_thr, floor_fraction, num_bins

    def _sample_neg(self, assign_result: AssignResult, num_expected: int, **kwargs: Any) -> Tensor:
        negatives, ious = assign_result.gt_inds == 0, assign_result.max_overlaps
        if int(negatives.sum()) <= num_expected:
            return negatives.nonzero().squeeze(1)
        if self.floor_thr == 0:
            floor, above = negatives & (ious == 0), negatives & (ious > 0)
        else:
            floor, above = negatives & (ious >= 0) & (ious < self.floor_thr), negatives & (ious >= self.floor_thr)
        count = int(num_expected * (1 - self.floor_fraction))
        if self.num_bins > 1 and int(above.sum()) > count:
            chosen = self._by_interval(ious, above, count)
        else:
            chosen = self._some(above, count)
        chosen = torch.cat([chosen, self._some(floor, num_expected - len(chosen))])
        return self._filled(chosen, negatives, num_expected)

    def _by_interval(self, ious: Tensor, candidates: Tensor, num_expected: int) -> Tensor:
        """Rows of ``num_expected`` of the candidates, bool (P,), evenly over intervals of their IoUs (P,)."""
        low = max(self.floor_thr, 0.0)
        width = (float(ious.max()) - low) / self.num_bins
        chosen = [
            self._some(
                candidates & (ious >= low + k * width) & (ious < low + (k + 1) * width), num_expected // self.num_bins
            )
            for k in range(self.num_bins)
        ]
        return self._filled(torch.cat(chosen), candidates, num_expected)

    def _filled(self, chosen: Tensor, candidates: Tensor, num_expected: int) -> Tensor:
        """The chosen rows and random ones of the other candidates, ``num_expected`` in all as far as there are so many."""
        others = candidates.clone()
        others[chosen] = False
        return torch.cat([chosen, self._some(others, num_expected - len(chosen))])
