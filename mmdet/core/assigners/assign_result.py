"""The result of an assigner."""

import dataclasses

from torch import Tensor


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
