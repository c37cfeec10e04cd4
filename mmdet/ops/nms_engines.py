"""The engines of :func:`mmdet.ops.nms`: each takes boxes sorted by falling score and returns the positions of those to keep.

N boxes, k of them kept, B boxes of a block; a "rank" is a position in the sorted order, so a lower rank is a better box.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from mmdet_runtime.suppression import block_ends, greedy_sweep

__all__ = ['greedy_blocks', 'greedy_kernel', 'greedy_sweep']


def greedy_blocks(
    boxes: Tensor,
    labels: Tensor | None,
    iou_threshold: float,
    offset: int,
    max_num: int,
    views: Tensor | None = None,
) -> Tensor:
    """Greedy NMS by blocks of IoU matrices on the boxes' device; arguments and result as :func:`greedy_sweep`, with tensors."""
    kept: list[Tensor] = []
    for start, stop in block_ends(boxes.shape[0], max_num):
        block = slice(start, stop)
        alive = torch.ones(stop - start, dtype=torch.bool, device=boxes.device)
        for ranks in kept:
            alive &= ~_exceeds(boxes, labels, ranks, block, iou_threshold, offset, views).any(dim=0)
        hits = _exceeds(boxes, labels, block, block, iou_threshold, offset, views)
        suppresses = hits.triu_(1).to(boxes.dtype)  # (B, B)
        keep = alive
        while True:
            # A sum of non-negative terms is > 0 exactly when some kept better box suppresses.
            again = alive & ~(keep.to(boxes.dtype) @ suppresses > 0)
            if torch.equal(again, keep):
                break
            keep = again
        kept.append(start + keep.nonzero(as_tuple=True)[0])
        if 0 <= max_num <= sum(map(len, kept)):
            break
    ranks = torch.cat(kept)
    return ranks if max_num < 0 else ranks[:max_num]


def _exceeds(
    boxes: Tensor,
    labels: Tensor | None,
    first: slice | Tensor,
    second: slice,
    iou_threshold: float,
    offset: int,
    views: Tensor | None = None,
) -> Tensor:
    """Whether boxes of two selections (slices or index tensors) may suppress each other, by IoU, class and view: bool (first, second)."""
    a, b = boxes[first], boxes[second]
    area_a = (a[:, 2] - a[:, 0] + offset) * (a[:, 3] - a[:, 1] + offset)
    area_b = (b[:, 2] - b[:, 0] + offset) * (b[:, 3] - b[:, 1] + offset)
    width = torch.minimum(a[:, None, 2], b[None, :, 2]).sub_(torch.maximum(a[:, None, 0], b[None, :, 0]))
    inter = width.add_(offset).clamp_(min=0)
    height = torch.minimum(a[:, None, 3], b[None, :, 3]).sub_(torch.maximum(a[:, None, 1], b[None, :, 1]))
    inter.mul_(height.add_(offset).clamp_(min=0))
    union = (area_a[:, None] + area_b[None, :]).sub_(inter).clamp_(min=torch.finfo(boxes.dtype).tiny)
    result = inter.div_(union) > iou_threshold
    if labels is not None:
        result &= labels[first][:, None] == labels[second][None, :]
    if views is not None:
        apart = (views[first][:, None] == views[second][None, :]) & (views[first] >= 0)[:, None]
        if labels is None:
            apart &= (a[:, None] != b[None, :]).any(dim=2)
        result &= ~apart
    return result


def greedy_kernel(kernel: Callable, boxes: Tensor, labels: Tensor | None, iou_threshold: float, max_num: int) -> Tensor:
    """Greedy NMS by torchvision's kernel; arguments and result as :func:`greedy_sweep`, with tensors and offset 0.

    Classes are shifted apart in float64, whose precision suffices for it. The threshold is rounded to the precision of the boxes, so that
    an IoU equal to it (3/5 and 0.6) does not exceed it by rounding.
    """
    threshold = float(torch.tensor(iou_threshold, dtype=boxes.dtype))
    if labels is not None:
        boxes, threshold = boxes.double(), iou_threshold
        boxes = boxes + (labels.to(boxes) * (boxes.max() - boxes.min() + 1))[:, None]
    # Ranks as scores: the kernel's own sort must not reorder equal scores.
    ranks = torch.arange(boxes.shape[0], 0, -1, device=boxes.device, dtype=boxes.dtype)
    kept = kernel(boxes, ranks, threshold)
    return kept if max_num < 0 else kept[:max_num]
