"""Heat maps of object centres (Zhou et al., "Objects as Points", arXiv 1904.07850).

Naming: B images, C classes, k peaks.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def gaussian2D(
    radius: int, sigma: float = 1, dtype: torch.dtype = torch.float32, device: str | torch.device = 'cpu'
) -> Tensor:
    """A Gaussian bump (2 radius + 1, 2 radius + 1) of height 1; values below the type's epsilon are 0."""
    side = torch.arange(-radius, radius + 1, dtype=dtype, device=device)
    bump = torch.exp(-(side.square()[:, None] + side.square()) / (2 * sigma**2))
    bump[bump < torch.finfo(dtype).eps * bump.max()] = 0
    return bump


def gen_gaussian_target(heatmap: Tensor, center: Sequence[int], radius: int, k: float = 1) -> Tensor:
    """Draw a bump of height ``k`` around ``center`` (x, y) into ``heatmap`` (H, W), in place, keeping the larger values."""
    bump = k * gaussian2D(radius, (2 * radius + 1) / 6, heatmap.dtype, heatmap.device)
    (x, y), (height, width) = (int(center[0]), int(center[1])), heatmap.shape[:2]
    left, right = min(x, radius), min(width - x, radius + 1)
    top, bottom = min(y, radius), min(height - y, radius + 1)
    place = heatmap[y - top : y + bottom, x - left : x + right]
    torch.maximum(place, bump[radius - top : radius + bottom, radius - left : radius + right], out=place)
    return heatmap


def gaussian_radius(det_size: tuple[Any, Any], min_overlap: float) -> Any:
    """How far both corners of a box (height, width) may move for an IoU of at least ``min_overlap`` with the box.

    The smallest root of three cases: one corner inside and one outside, both inside, both outside of the box. A number, or a tensor
    where height and width are tensors of one shape.
    """
    height, width = det_size
    total, area = height + width, height * width
    mixed = (total - (total**2 - 4 * area * (1 - min_overlap) / (1 + min_overlap)) ** 0.5) / 2
    inside = (2 * total - (4 * total**2 - 16 * (1 - min_overlap) * area) ** 0.5) / 8
    slope = -2 * min_overlap * total
    outside = (slope + (slope**2 + 16 * min_overlap * (1 - min_overlap) * area) ** 0.5) / (8 * min_overlap)
    if isinstance(mixed, Tensor):
        return torch.stack([mixed, inside, outside]).amin(0)
    return min(mixed, inside, outside)


def get_local_maximum(heat: Tensor, kernel: int = 3) -> Tensor:
    """(B, C, H, W) with everything set to 0 that is not the maximum of its ``kernel`` x ``kernel`` surroundings."""
    return heat * (F.max_pool2d(heat, kernel, stride=1, padding=(kernel - 1) // 2) == heat)


def get_topk_from_heatmap(scores: Tensor, k: int = 20) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The k highest scores of (B, C, H, W): scores, places in the map, classes, y and x, each (B, k)."""
    batch, _, height, width = scores.shape
    top, indices = scores.reshape(batch, -1).topk(k)
    classes, places = torch.div(indices, height * width, rounding_mode='floor'), indices % (height * width)
    return top, places, classes, torch.div(places, width, rounding_mode='floor'), (places % width).int().float()


def gather_feat(feat: Tensor, ind: Tensor, mask: Tensor | None = None) -> Tensor:
    """Rows ``ind`` (B, k) of (B, N, C): (B, k, C); with a ``mask`` (B, k) only its true ones, (n, C)."""
    found = feat.gather(1, ind[:, :, None].expand(-1, -1, feat.size(2)))
    return found if mask is None else found[mask]


def transpose_and_gather_feat(feat: Tensor, ind: Tensor) -> Tensor:
    """Vectors of maps (B, C, H, W) at the places ``ind`` (B, k): (B, k, C)."""
    return gather_feat(feat.flatten(2).transpose(1, 2), ind)
