"""Points where a mask is uncertain (Kirillov et al., "PointRend", CVPR 2020, arXiv 1912.08193).

Naming: n instances, C classes, p points (x, y) in [0, 1] of the map's size.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def point_sample(maps: Tensor, points: Tensor, align_corners: bool = False) -> Tensor:
    """Bilinear samples of maps (n, C, H, W) at ``points`` (n, p, 2): (n, C, p)."""
    return F.grid_sample(maps, 2 * points[:, :, None] - 1, align_corners=align_corners).squeeze(3)


def get_uncertainty(mask_preds: Tensor, labels: Tensor) -> Tensor:
    """Minus the distance of the logit of each instance's class to 0: (n, C, ...), or (n, 1, ...), to (n, 1, ...)."""
    if mask_preds.size(1) > 1:
        mask_preds = mask_preds[torch.arange(len(mask_preds), device=mask_preds.device), labels][:, None]
    return -mask_preds.abs()


def get_uncertain_point_coords_with_randomness(
    mask_preds: Tensor, labels: Tensor, num_points: int, oversample_ratio: float, importance_sample_ratio: float
) -> Tensor:
    """Draw points, most of them the most uncertain of a larger sample, the rest anywhere.

    Args:
        mask_preds: (n, C, H, W) logits, or (n, 1, H, W).
        labels: (n,) classes.
        num_points: p.
        oversample_ratio: size of the larger sample, over p; at least 1.
        importance_sample_ratio: share of uncertain points, in [0, 1].

    Returns:
        (n, p, 2).
    """
    count, device = len(mask_preds), mask_preds.device
    sample = torch.rand(count, int(num_points * oversample_ratio), 2, device=device)
    uncertainty = get_uncertainty(point_sample(mask_preds, sample), labels)[:, 0]
    uncertain = int(importance_sample_ratio * num_points)
    chosen = uncertainty.topk(uncertain, dim=1)[1]
    points = sample.gather(1, chosen[:, :, None].expand(-1, -1, 2))
    anywhere = torch.rand(count, num_points - uncertain, 2, device=device)
    return torch.cat([points, anywhere], dim=1)
