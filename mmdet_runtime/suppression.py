"""Suppression in numpy: exact greedy NMS by class, soft-NMS, and the merging of several views of one image.

The greedy NMS is a plane sweep. ``IoU(a, b) > t`` implies that the two intervals overlap by more than ``t`` times the longer one, on either
axis; with boxes sorted by left edge, a box can suppress only those that start in ``[x1, x1 + (1 - t) w]``, a small share of all pairs. The
greedy rule is then applied to the short list of pairs that exceed the threshold.

Classes are told apart by label. The usual way, shifting the boxes of a class by ``label * (max + 1)`` in float32, costs the coordinates
their last bits (those of class 79 in an 8,000 pixel image are rounded to 1/16 pixel).

Several views of an image (scales, flips, tiles, passes) are merged by the same NMS. Boxes of a detector that gives one box for each object need
no NMS among themselves: those of one view do not suppress each other, however close two objects are, and each suppresses those of other views.

N boxes, k of them kept, B boxes of a block; a "rank" is a position among the boxes sorted by falling score, so a lower rank is a better box.
"""

import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .errors import ConfigError, ModelInputError

_KEYS = {  # of a config, by its type
    'nms': {'iou_threshold', 'offset', 'max_num', 'score_threshold'},
    'soft_nms': {'iou_threshold', 'offset', 'max_num', 'sigma', 'min_score', 'method'},
}
# Pairs tested at once by the sweep, so that its scratch arrays stay in the cache: 20,000 boxes of one class take 206 ms with 2**15 pairs,
# 214 with 2**16, 240 with 2**17, 326 with 2**20.
_PAIRS = 1 << 15
# How the views of an end-to-end detector are merged unless it is said. Of the 38,759 objects of VisDrone's crowded validation images, 74 overlap
# one of their class by more; two views of an object mostly do.
ACROSS_VIEWS = dict(type='nms', iou_threshold=0.7)
_BLOCK = 4096
# The sweep leaves out pairs by a bound that holds in exact arithmetic; this slack covers the rounding of float32 IoUs (about 1e-6).
_SLACK = 1e-3


@dataclasses.dataclass(frozen=True)
class Detections:
    """Boxes of one image, each with one score and one class.

    Attributes:
        bboxes: (n, 4) xyxy float32, in pixels.
        scores: (n,) float32.
        labels: (n,) int64, 0-based class indices.
    """

    bboxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray

    @classmethod
    def cat(cls, parts: Sequence['Detections']) -> 'Detections':
        """Concatenate one or more parts."""
        return cls(
            *(np.concatenate([getattr(part, name) for part in parts]) for name in ('bboxes', 'scores', 'labels'))
        )

    @classmethod
    def empty(cls) -> 'Detections':
        """No box."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: Any) -> 'Detections':
        """The boxes that a mask (n,), indices or a slice selects."""
        return Detections(self.bboxes[index], self.scores[index], self.labels[index])

    def suppress(self, nms: Mapping | None, max_per_img: int = -1, views: np.ndarray | None = None) -> 'Detections':
        """The survivors of an NMS, in descending order of score; of equal scores the earlier box comes first.

        Args:
            nms: config of :func:`batched_nms`.
            max_per_img: how many to keep at most; a negative number keeps all.
            views: see :func:`batched_nms`.
        """
        settings = limit_survivors(nms, max_per_img)
        dets, keep = batched_nms(self.bboxes, self.scores, self.labels, settings, views=views)
        found = Detections(dets[:, :4], dets[:, 4], self.labels[keep])
        return found[:max_per_img] if nms is None and max_per_img >= 0 else found


def merge_views(
    views: Sequence[Detections], nms: Mapping | None, max_per_img: int = -1, end_to_end: bool | Sequence[bool] = False
) -> Detections:
    """Merge the detections of several views of one image (scales, flips, tiles or passes) by one NMS.

    Args:
        views: at least one, their boxes in pixels of the same image.
        nms: see :meth:`Detections.suppress`; None is :data:`ACROSS_VIEWS` where a view is ``end_to_end``.
        max_per_img: see there.
        end_to_end: of all views or of each, whether it has one box for each object: then its boxes do not suppress each other, and of a single
            view all are kept up to ``max_per_img``.

    Returns:
        the survivors in descending order of score, of equal scores the earlier view's first.
    """
    settings, numbers = across_views([len(view) for view in views], nms, end_to_end)
    # A single part is not copied: the survivors are copies in any case.
    parts = [view for view in views if len(view)] or views[:1]
    joined = parts[0] if len(parts) == 1 else Detections.cat(parts)
    return joined.suppress(settings, max_per_img, None if numbers is None else np.array(numbers, np.int64))


def across_views(
    lengths: Sequence[int], nms: Mapping | None, end_to_end: bool | Sequence[bool]
) -> tuple[Mapping | None, list[int] | None]:
    """The NMS config and the ``views`` of :func:`batched_nms` for views with so many boxes; arguments as of :func:`merge_views`."""
    flags = [end_to_end] * len(lengths) if isinstance(end_to_end, bool) else list(end_to_end)
    if not any(flags):
        return nms, None
    numbers = [number if flag else -1 for number, flag in enumerate(flags)]
    return nms or ACROSS_VIEWS, [n for n, length in zip(numbers, lengths, strict=True) for _ in range(length)]


def limit_survivors(nms: Mapping | None, max_per_img: int) -> dict | None:
    """The NMS config with the number of survivors at which the NMS stops; None, no NMS, stays None."""
    return None if nms is None else dict(nms, max_num=max_per_img) if max_per_img >= 0 else dict(nms)


def nms_options(nms_cfg: Mapping, class_agnostic: bool = False) -> tuple[str, bool, dict[str, Any]]:
    """Type of an NMS config (see :func:`batched_nms`), whether it takes all classes for one, and its other arguments by today's names.

    Raises:
        ConfigError: an unknown type or key, or no ``iou_threshold`` for ``nms``.
    """
    options = dict(nms_cfg)
    kind = options.pop('type', 'nms')
    options.pop('split_thr', None)
    class_agnostic = options.pop('class_agnostic', class_agnostic)
    if 'iou_thr' in options:
        options['iou_threshold'] = options.pop('iou_thr')
    if kind not in _KEYS:
        raise ConfigError(f'must be one of {list(_KEYS)}', field='nms.type', received=kind)
    if unknown := sorted(set(options) - _KEYS[kind]):
        raise ConfigError(f'the keys of {kind!r} are {sorted(_KEYS[kind])}', field='nms', received=unknown)
    if kind == 'nms' and 'iou_threshold' not in options:
        raise ConfigError('is missing', field='nms.iou_threshold', received=nms_cfg)
    return kind, class_agnostic, options


def batched_nms(
    boxes: np.ndarray,
    scores: np.ndarray,
    idxs: np.ndarray,
    nms_cfg: Mapping | None,
    class_agnostic: bool = False,
    views: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """NMS inside each class, with the arguments and the results of :func:`mmdet.ops.batched_nms`.

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,).
        idxs: (N,) class of each box.
        nms_cfg: ``dict(type='nms', iou_threshold=0.6)`` or ``dict(type='soft_nms', method=..., sigma=..., min_score=..., ...)``.
            Optional: ``class_agnostic`` (overrides the argument), ``max_num`` (largest number of boxes to keep, over all classes),
            ``offset``, ``score_threshold`` (only ``nms``); ``iou_thr`` is the old name of ``iou_threshold``. ``split_thr`` is accepted
            and has no effect, because memory is bounded for any N. None: no suppression, the boxes are only sorted.
        class_agnostic: let boxes of different classes suppress each other.
        views: (N,) integers, the view that each box comes from. Boxes of one view do not suppress each other; if classes do not count, those
            that are the same box do, one object that has several. A negative number is no view: the box suppresses and is suppressed by any.
            None: no box has a view.

    Returns:
        dets: (k, 5) xyxy and score, by falling score, in the dtype of the boxes.
        keep: (k,) int64 indices into ``boxes``.

    Raises:
        ConfigError: an unknown type or key, or a value out of range.
    """
    if nms_cfg is None:
        check_boxes(boxes, scores, idxs)
        keep = np.argsort(-scores, kind='stable')
        return _with_scores(boxes[keep], scores[keep]), keep
    kind, class_agnostic, options = nms_options(nms_cfg, class_agnostic)
    labels = None if class_agnostic else idxs
    if kind == 'soft_nms':
        keep, final = soft_nms(boxes, scores, labels=labels, views=views, **options)
        return _with_scores(boxes[keep], final), keep
    keep = nms(boxes, scores, labels=labels, views=views, **options)
    return _with_scores(boxes[keep], scores[keep]), keep


def nms(
    boxes: np.ndarray,
    scores: np.ndarray,
    iou_threshold: float,
    *,
    labels: np.ndarray | None = None,
    offset: int = 0,
    max_num: int = -1,
    score_threshold: float = 0.0,
    views: np.ndarray | None = None,
) -> np.ndarray:
    """Greedy NMS: take boxes by falling score, drop each whose IoU with a box taken before (of its label) is > ``iou_threshold``.

    Computed in float32 (float64 for float64 boxes) whatever the input type. Equal scores are taken in input order. Boxes of zero area
    suppress nothing. A box with a NaN score or a coordinate that is not finite is dropped.

    Args:
        boxes: (N, 4) xyxy, any finite values, negative ones included.
        scores: (N,).
        iou_threshold: in [0, 1].
        labels: (N,) integers; boxes of different labels do not suppress each other. None: one class.
        offset: 1 for the old convention of inclusive corners, where a box is ``x2 - x1 + 1`` wide.
        max_num: largest number of boxes to keep, which saves the work on the rest; a negative number keeps all.
        score_threshold: if > 0, candidates must score more than this.
        views: see :func:`batched_nms`.

    Returns:
        (k,) int64 indices into ``boxes``, by falling score.

    Raises:
        ModelInputError: shapes disagree.
        ConfigError: a threshold is out of range.
    """
    check_boxes(boxes, scores, labels)
    check_greedy(iou_threshold, offset)
    index = _usable(boxes, scores, score_threshold)
    if len(index) == 0 or max_num == 0:
        return np.zeros(0, np.int64)
    order = index[np.argsort(-scores[index], kind='stable')]
    ranked = boxes[order].astype(np.promote_types(boxes.dtype, np.float32), copy=False)
    ranked_labels, ranked_views = (None if of is None else of[order] for of in (labels, views))
    return order[greedy_sweep(ranked, ranked_labels, iou_threshold, offset, max_num, ranked_views)]


def soft_nms(
    boxes: np.ndarray,
    scores: np.ndarray,
    iou_threshold: float = 0.3,
    sigma: float = 0.5,
    min_score: float = 1e-3,
    method: str = 'linear',
    *,
    labels: np.ndarray | None = None,
    offset: int = 0,
    max_num: int = -1,
    views: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Soft-NMS (Bodla et al., ICCV 2017, arXiv 1704.04503): overlapping boxes lose score instead of being dropped.

    Repeatedly takes the best remaining box and multiplies the others' scores: ``linear``: by ``1 - IoU`` where IoU >= ``iou_threshold``;
    ``gaussian``: by ``exp(-IoU^2 / sigma)``; ``naive``: by 0 where IoU >= ``iou_threshold``.

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,).
        iou_threshold: in [0, 1]; not used by ``gaussian``.
        sigma: above 0, used by ``gaussian``.
        min_score: a box is dropped once its score is below this.
        method: ``'linear'``, ``'gaussian'`` or ``'naive'``.
        labels, offset, max_num, views: as for :func:`nms`.

    Returns:
        keep: (k,) int64 indices into ``boxes``, by falling decayed score.
        decayed scores (k,) float32.

    Raises:
        ModelInputError: shapes disagree.
        ConfigError: a threshold is out of range, or the method is unknown.
    """
    check_boxes(boxes, scores, labels)
    check_share('iou_threshold', iou_threshold)
    decays: dict[str, Callable] = dict(
        linear=lambda iou: np.where(iou >= iou_threshold, 1 - iou, np.float32(1)),
        gaussian=lambda iou: np.exp(-(iou**2) / sigma),
        naive=lambda iou: (iou < iou_threshold).astype(np.float32),
    )
    if (decay := decays.get(method)) is None:
        raise ConfigError(f'must be one of {list(decays)}', field='method', received=method)
    if not sigma > 0:
        raise ConfigError('must be > 0', field='sigma', received=sigma)
    index = _usable(boxes, scores, 0.0)
    array, values = boxes[index].astype(np.float32, copy=False), scores[index].astype(np.float32, copy=False)
    classes = np.zeros(len(array), np.int64) if labels is None else labels[index]
    own = np.full(len(array), -1) if views is None else views[index]
    taken, taken_scores = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
    for label in np.unique(classes):
        members = np.flatnonzero(classes == label)
        picks, pick_scores = _soften(
            array[members], values[members], own[members],
            agnostic=labels is None, decay=decay, min_score=min_score, offset=offset, max_num=max_num,
        )  # fmt: skip
        taken.append(members[picks])
        taken_scores.append(pick_scores)
    decayed = np.concatenate(taken_scores)
    order = np.argsort(-decayed, kind='stable')
    order = order if max_num < 0 else order[:max_num]
    return index[np.concatenate(taken)[order]], decayed[order]


def _soften(
    boxes: np.ndarray,
    scores: np.ndarray,
    views: np.ndarray,
    *,
    agnostic: bool,
    decay: Callable,
    min_score: float,
    offset: int,
    max_num: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Soft-NMS of one class: positions (k,) of the boxes taken, and their scores (k,) when they were taken."""
    scores = scores.copy()
    area = (boxes[:, 2] - boxes[:, 0] + offset) * (boxes[:, 3] - boxes[:, 1] + offset)
    picks: list[int] = []
    pick_scores: list[float] = []
    live = np.flatnonzero(scores >= min_score)
    while len(live) and len(picks) != max_num:
        at = int(np.argmax(scores[live]))
        best = live[at]
        picks.append(best)
        pick_scores.append(scores[best])
        live = np.delete(live, at)
        others = boxes[live]
        inter_wh = np.minimum(others[:, 2:], boxes[best, 2:]) - np.maximum(others[:, :2], boxes[best, :2]) + offset
        inter = inter_wh.clip(min=0).prod(axis=1)
        iou = inter / np.maximum(area[live] + area[best] - inter, np.finfo(np.float32).tiny)
        apart = (views[live] == views[best]) & (views[best] >= 0)
        if agnostic:
            apart &= (others != boxes[best]).any(axis=1)
        scores[live] *= np.where(apart, np.float32(1), decay(iou))
        live = live[scores[live] >= min_score]
    return np.asarray(picks, np.int64), np.asarray(pick_scores, np.float32)


def _with_scores(boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(k, 5) xyxy and score, in the dtype of the boxes."""
    return np.concatenate([boxes, scores[:, None].astype(boxes.dtype, copy=False)], axis=1)


def _usable(boxes: np.ndarray, scores: np.ndarray, score_threshold: float) -> np.ndarray:
    """Indices of the boxes that may be kept."""
    usable = np.ones(len(boxes), bool) if score_threshold <= 0 else scores > score_threshold
    finite = np.isfinite(boxes)
    if not finite.all() or np.isnan(scores).any():
        whole = finite.all(axis=1) & ~np.isnan(scores)
        dropped = int((~whole).sum())
        logging.getLogger(__name__).warning('NMS: dropped %d boxes with values that are not finite', dropped)
        usable &= whole
    return np.flatnonzero(usable)


def check_boxes(boxes: Any, scores: Any, labels: Any = None) -> None:
    """Check the shapes (N, 4), (N,) and (N,) of arrays or tensors.

    Raises:
        ModelInputError: they have others.
    """
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ModelInputError('boxes must be (N, 4)', field='boxes', received=tuple(boxes.shape))
    for name, values in (('scores', scores), ('labels', labels)):
        if values is not None and tuple(values.shape) != (boxes.shape[0],):
            message = f'must be ({boxes.shape[0]},), one for each box'
            raise ModelInputError(message, field=name, received=tuple(values.shape))


def check_share(name: str, value: float) -> None:
    """Raise ConfigError unless a value is in [0, 1]."""
    if not 0 <= value <= 1:
        raise ConfigError('must be in [0, 1]', field=name, received=value)


def check_greedy(iou_threshold: float, offset: int) -> None:
    """Raise ConfigError for an argument of :func:`nms` that is out of range."""
    check_share('iou_threshold', iou_threshold)
    if offset not in (0, 1):
        raise ConfigError('must be 0 or 1', field='offset', received=offset)


def block_ends(total: int, max_num: int) -> Iterator[tuple[int, int]]:
    """First rank and end of each block. Small blocks come first: the best boxes suppress most of the others, and the search may end early.

    With a limit, another block is mostly needed for a few survivors more, so that blocks grow slowly: 2,500 boxes of a drone image, 200 to keep, take
    0.4 ms, and 0.9 where the first block is 4 times the limit, and the next twice that.
    """
    start, size = 0, min(512 if max_num < 0 else max(2 * max_num, 256), _BLOCK)
    while start < total:
        yield start, min(start + size, total)
        start, size = start + size, min(2 * size if max_num < 0 else size + size // 2, _BLOCK)


class _Sweep:
    """Boxes prepared for the sweep over left edges, and the overlap test for pairs of ranks."""

    def __init__(
        self,
        boxes: np.ndarray,
        labels: np.ndarray | None,
        iou_threshold: float,
        offset: int,
        views: np.ndarray | None = None,
    ):
        self.boxes, self.views = boxes, views
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
            shift = labels.astype(np.float64) * (1.01 * (reach.max() - low) + 1) - low
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
        if self.views is not None:
            apart = (self.views[a] == self.views[b]) & (self.views[a] >= 0)
            if self.labels is None:
                apart &= (self.boxes[a] != self.boxes[b]).any(axis=1)
            hit &= ~apart
        return a[hit], b[hit]


def greedy_sweep(
    boxes: np.ndarray,
    labels: np.ndarray | None,
    iou_threshold: float,
    offset: int,
    max_num: int,
    views: np.ndarray | None = None,
) -> np.ndarray:
    """Greedy NMS by a plane sweep, in numpy.

    Args:
        boxes: (N, 4) xyxy float32 or float64, finite, by falling score.
        labels, iou_threshold, offset, max_num, views: as in :func:`nms`.

    Returns:
        (k,) int64 ranks of the boxes kept, rising.
    """
    sweep = _Sweep(boxes, labels, iou_threshold, offset, views)
    alive = np.ones(len(boxes), bool)
    kept = np.zeros(0, np.int64)
    for start, stop in block_ends(len(boxes), max_num):
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
    if not sum(len(better) for better, _ in pairs):
        return
    better, worse = (np.concatenate(ranks) for ranks in zip(*pairs))
    order = np.argsort(better, kind='stable')
    better, worse = better[order], worse[order]
    begin = [0, *(np.flatnonzero(better[1:] != better[:-1]) + 1).tolist()]
    for rank, first, last in zip(better[begin].tolist(), begin, [*begin[1:], len(better)]):
        if alive[rank]:
            alive[worse[first:last]] = False
