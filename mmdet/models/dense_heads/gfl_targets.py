"""What a GFL head's losses compare with, and the layout they share.

Naming: B images, P priors (all levels, finest first, row-major within one), D channels, N positives of the batch.
"""

import dataclasses

import torch
from torch import Tensor


@dataclasses.dataclass
class GFLTargets:
    """What the losses of one batch compare with.

    Attributes:
        labels: (B, P) int64; the number of classes for background.
        label_weights: (B, P); 0 where the prior lies outside its image's padded shape.
        pos_inds: (N,) positive rows of the flattened (B * P,).
        pos_bboxes: (N, 4) xyxy of their ground truth, in pixels.
        pos_centers: (N, 2) centres x, y of their priors, in pixels.
        pos_strides: (N, 1) strides of their levels.
        pos_levels: (N,) levels.
        num_samples: sum over the images of max(positives, 1).
        num_level_priors: priors per level, summing to P.
    """

    labels: Tensor
    label_weights: Tensor
    pos_inds: Tensor
    pos_bboxes: Tensor
    pos_centers: Tensor
    pos_strides: Tensor
    pos_levels: Tensor
    num_samples: int
    num_level_priors: list[int]


def flatten_levels(maps: list[Tensor]) -> Tensor:
    """(B, D, H_l, W_l) maps of all levels to (B, P, D)."""
    return torch.cat([level.flatten(2).transpose(1, 2) for level in maps], dim=1)
