"""Which priors count, and which part of a map a box covers."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from mmdet.core.boxes import get_box_tensor


def anchor_inside_flags(
    flat_anchors: Any, valid_flags: Tensor, img_shape: Sequence[int], allowed_border: float = 0
) -> Tensor:
    """Mask (n,) of the valid anchors that exceed the image by less than ``allowed_border`` pixels; a negative border allows all.

    Args:
        flat_anchors: (n, 4) xyxy tensor or boxes.
        valid_flags: (n,) bool.
        img_shape: (height, width, ...).
        allowed_border: x1 and y1 may be -border; x2 and y2 must be less than the size + border.
    """
    if allowed_border < 0:
        return valid_flags
    height, width = img_shape[:2]
    anchors = get_box_tensor(flat_anchors)
    low = anchors[:, :2].amin(1) >= -allowed_border
    return valid_flags & low & (anchors[:, 2] < width + allowed_border) & (anchors[:, 3] < height + allowed_border)


def calc_region(bbox: Tensor, ratio: float, featmap_size: Sequence[int] | None = None) -> tuple[int, int, int, int]:
    """The middle of a box (4,) xyxy, without the share ``ratio`` of its size at each side, as x1, y1, x2, y2.

    It is rounded, and clipped to [0, W] and [0, H] when ``featmap_size`` (H, W) is given.
    """
    x1, y1, x2, y2 = (
        int(((1 - ratio) * bbox[near] + ratio * bbox[far]).round()) for near, far in ((0, 2), (1, 3), (2, 0), (3, 1))
    )
    if featmap_size is None:
        return x1, y1, x2, y2
    height, width = featmap_size
    x1, x2 = (min(max(x, 0), width) for x in (x1, x2))
    y1, y2 = (min(max(y, 0), height) for y in (y1, y2))
    return x1, y1, x2, y2
