"""The engines of :func:`mmdet.ops.nms`: each takes boxes sorted by falling score and returns the positions of those to keep.

N boxes, k of them kept, B boxes of a block; a "rank" is a position in the sorted order, so a lower rank is a better box.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

# Pairs tested at once by the sweep, so that its scratch arrays stay in the cache: 20,000 boxes of one class take 206 ms with 2**15 pairs,
# 214 with 2**16, 240 with 2**17, 326 with 2**20.
_PAIRS = 1 << 15
_BLOCK = 4096
# The sweep leaves out pairs by a bound that holds in exact arithmetic; this slack covers the rounding of float32 IoUs (about 1e-6).
_SLACK = 1e-3


def _block_ends(total: int, max_num: int) -> Iterator[tuple[int, int]]:
    """First rank and end of each block. Small blocks come first: the best boxes suppress most of the others, and the search may end early."""
    start, size = 0, min(512 if max_num < 0 else max(4 * max_num, 256), _BLOCK)
    while start < total:
        yield start, min(start + size, total)
        start, size = start + size, min(2 * size, _BLOCK)


class _Sweep:
    """Boxes prepared for the sweep over left edges, and the overlap test for pairs of ranks."""

    def __init__(self, boxes: np.ndarray, labels: np.ndarray | None, iou_threshold: float, offset: int):
        self.x1, self.y1, self.x2, self.y2 = (np.ascontiguousarray(boxes[:, side]) for side in range(4))
        width, height = self.x2 - self.x1 + offset, self.y2 - self.y1 + offset
        self.area = width * height
        self.offset, self.labels = offset, labels
        self.threshold = boxes.dtype.type(iou_threshold)
        self.tiny = np.finfo(boxes.dtype).tiny
        share = iou_threshold * (1 - _SLACK)
        self.needed_height = share * height
        # One sort key for class and left edge: the keys of a class lie beyond the reach of any box of another. Rounding can at worst add
        # candidates of another class, which the label test removes.
        left = self.x1.astype(np.float64)
        reach = left + (1 - share) * np.maximum(width, 0)
        if labels is not None:
            low = left.min()
            shift = np.unique(labels, return_inverse=True)[1] * (1.01 * (reach.max() - low) + 1) - low
            left, reach = left + shift, reach + shift
        self.left, self.reach = left, reach

    def sort(self, ranks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The ranks in the order of their left edges, and these left edges."""
        ranks = ranks[np.argsort(self.left[ranks], kind='stable')]
        return ranks, self.left[ranks]

    def overlaps(
        self, first: np.ndarray, second: tuple[np.ndarray, np.ndarray], within: bool = False
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Pairs with IoU > threshold of a box of `first` and a box of the sorted `second` that starts inside its reach, in chunks.

        `within`: both are the same sorted ranks; each pair is returned once, and no box is paired with itself.
        """
        ranks, keys = second
        begin = np.arange(1, len(first) + 1) if within else np.searchsorted(keys, self.left[first], side='left')
        count = np.searchsorted(keys, self.reach[first], side='right') - begin
        if within:  # the reach of an inverted box can end before its own left edge
            count = np.maximum(count, 0)
        total = np.cumsum(count)
        start = 0
        while start < len(first):
            done = total[start - 1] if start else 0
            stop = max(int(np.searchsorted(total, done + _PAIRS, side='right')), start + 1)
            size = count[start:stop]
            a = np.repeat(first[start:stop], size)
            # position in `ranks`: begin of the row + running number inside the row
            shift = begin[start:stop] - (total[start:stop] - size - done)
            b = ranks[np.arange(len(a)) + np.repeat(shift, size)]
            yield self._test(a, b)
            start = stop

    def _test(self, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        height = np.minimum(self.y2[a], self.y2[b]) - np.maximum(self.y1[a], self.y1[b]) + self.offset
        near = np.flatnonzero((height >= self.needed_height[a]) & (height >= self.needed_height[b]) & (height > 0))
        a, b, height = a[near], b[near], height[near]
        width = np.minimum(self.x2[a], self.x2[b]) - np.maximum(self.x1[a], self.x1[b]) + self.offset
        inter = np.maximum(width, 0) * height
        union = self.area[a] + self.area[b] - inter
        hit = inter / np.maximum(union, self.tiny) > self.threshold
        if self.labels is not None:
            hit &= self.labels[a] == self.labels[b]
        return a[hit], b[hit]


def greedy_sweep(
    boxes: np.ndarray, labels: np.ndarray | None, iou_threshold: float, offset: int, max_num: int
) -> np.ndarray:
    """Greedy NMS by a plane sweep, in numpy.

    Args:
        boxes: (N, 4) xyxy float32 or float64, finite, by falling score.
        labels, iou_threshold, offset, max_num: as in :func:`mmdet.ops.nms`.

    Returns:
        (k,) int64 ranks of the boxes kept, rising.
    """
    sweep = _Sweep(boxes, labels, iou_threshold, offset)
    alive = np.ones(len(boxes), bool)
    kept = np.zeros(0, np.int64)
    for start, stop in _block_ends(len(boxes), max_num):
        block = sweep.sort(np.arange(start, stop))
        if len(kept):
            earlier = sweep.sort(kept)
            for _, b in sweep.overlaps(earlier[0], block):
                alive[b] = False
            for b, _ in sweep.overlaps(block[0], earlier):
                alive[b] = False
            block = sweep.sort(start + np.flatnonzero(alive[start:stop]))
        _resolve(alive, [(np.minimum(a, b), np.maximum(a, b)) for a, b in sweep.overlaps(block[0], block, within=True)])
        kept = np.concatenate([kept, start + np.flatnonzero(alive[start:stop])])
        if 0 <= max_num <= len(kept):
            break
    return kept if max_num < 0 else kept[:max_num]


def _resolve(alive: np.ndarray, pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Apply the greedy rule to pairs (better, worse) of overlapping ranks: sets `alive` to False for those that are suppressed."""
    if not pairs:
        return
    better, worse = (np.concatenate(ranks) for ranks in zip(*pairs))
    order = np.argsort(better, kind='stable')
    better, worse = better[order], worse[order]
    begin = np.flatnonzero(np.diff(better, prepend=-1))
    end = np.append(begin[1:], len(better))
    for rank, first, last in zip(better[begin].tolist(), begin.tolist(), end.tolist()):
        if alive[rank]:
            alive[worse[first:last]] = False


def greedy_blocks(boxes: Tensor, labels: Tensor | None, iou_threshold: float, offset: int, max_num: int) -> Tensor:
    """Greedy NMS by blocks of IoU matrices on the boxes' device; arguments and result as :func:`greedy_sweep`, with tensors."""
    kept: list[Tensor] = []
    for start, stop in _block_ends(boxes.shape[0], max_num):
        block = slice(start, stop)
        alive = torch.ones(stop - start, dtype=torch.bool, device=boxes.device)
        for ranks in kept:
            alive &= ~_exceeds(boxes, labels, ranks, block, iou_threshold, offset).any(dim=0)
        suppresses = _exceeds(boxes, labels, block, block, iou_threshold, offset).triu_(1).to(boxes.dtype)  # (B, B)
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
    boxes: Tensor, labels: Tensor | None, first: slice | Tensor, second: slice, iou_threshold: float, offset: int
) -> Tensor:
    """IoU > threshold between two selections of boxes (slices or index tensors): bool (first, second)."""
    a, b = boxes[first], boxes[second]
    area_a = (a[:, 2] - a[:, 0] + offset) * (a[:, 3] - a[:, 1] + offset)
    area_b = (b[:, 2] - b[:, 0] + offset) * (b[:, 3] - b[:, 1] + offset)
    width = torch.minimum(a[:, None, 2], b[None, :, 2]).sub_(torch.maximum(a[:, None, 0], b[None, :, 0]))
    inter = width.add_(offset).clamp_(min=0)
    height = torch.minimum(a[:, None, 3], b[None, :, 3]).sub_(torch.maximum(a[:, None, 1], b[None, :, 1]))
    inter.mul_(height.add_(offset).clamp_(min=0))
    union = (area_a[:, None] + area_b[None, :]).sub_(inter).clamp_(min=torch.finfo(boxes.dtype).tiny)
    result = inter.div_(union) > iou_threshold
    return result if labels is None else result & (labels[first][:, None] == labels[second][None, :])


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
