"""The rules of the official VisDrone-DET toolkit (Matlab, version 1.0.4) on plain arrays: :func:`evaluate_visdrone`.

How they differ from COCO: detections and objects inside ignored regions are dropped first; the limit of detections is
for an image, over all classes, in file order; AP is the area under the whole curve; and a class weighs as many times as
there are images that contain it. docs/visdrone_metric.md lists them all; Zhu et al., "Detection and Tracking Meet Drones
Challenge", TPAMI 2021, describes the benchmark.

Letters: N rows, I images, K classes, T IoU thresholds, M limits, R ignored regions, P overlapping pairs of a detection
and an object of the same image and class.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ConfigError, DataError
from ..formats.tables import IGNORED_REGION, BoxTable, Detections, VisDroneTruth
from .coco_eval import check_settings

# One multiplication and one addition in double precision. A running sum (np.arange) would lie above 0.6 and 0.75, which
# boxes with whole sides reach exactly: 0.1 AP on VisDrone val. Only 0.85 is one bit above its decimal value.
VISDRONE_IOU_THRS = 0.5 + 0.05 * np.arange(10)
VISDRONE_MAX_DETS = (1, 10, 100, 500)
_DROPPED_SHARE = 0.5  # share of a box inside ignored regions from which on it is dropped
_PAIRS_AT_ONCE = 1 << 20  # bounds the memory of the overlaps to some 100 MB


@dataclass
class VisDroneResult:
    """What the toolkit finds; all values in 0..1.

    Attributes:
        ap: (K, T) average precision at the largest limit.
        recall: (K, T, M) highest recall at each limit.
        image_count: (K,) int64, images that contain the class after the ignore rule: its weight.
        gt_count: (K,) int64, objects of the class after the ignore rule.
        iou_thrs: (T,) float64.
        max_dets: M limits, ascending.
        dropped_gt: objects, of any category, dropped because they lie in ignored regions.
        dropped_det: detections dropped likewise.
    """

    ap: np.ndarray
    recall: np.ndarray
    image_count: np.ndarray
    gt_count: np.ndarray
    iou_thrs: np.ndarray
    max_dets: tuple[int, ...]
    dropped_gt: int
    dropped_det: int

    def mean_ap(self, iou_thr: float | None = None, *, plain: bool = False) -> float:
        """AP over the classes; -1 without ground truth.

        Args:
            iou_thr: one of the thresholds, or None for the mean over all of them.
            plain: every class that occurs weighs the same. The toolkit's own mean weighs them by ``image_count``.
        """
        return self._over_classes(self.class_ap(iou_thr), plain)

    def class_ap(self, iou_thr: float | None = None) -> np.ndarray:
        """(K,) AP of each class, at one threshold or as the mean over all."""
        if iou_thr is None:
            return self.ap.mean(axis=1)
        found = np.flatnonzero(np.isclose(self.iou_thrs, iou_thr, rtol=0, atol=1e-9))
        if not len(found):
            raise ConfigError(f'must be one of {self.iou_thrs.round(6).tolist()}', field='iou_thr', received=iou_thr)
        return self.ap[:, found[0]]

    def mean_recall(self, max_dets: int, *, plain: bool = False) -> float:
        """Recall at a limit, as a mean over thresholds and classes as in :meth:`mean_ap`; -1 without ground truth."""
        if max_dets not in self.max_dets:
            raise ConfigError(f'must be one of {list(self.max_dets)}', field='max_dets', received=max_dets)
        return self._over_classes(self.recall[:, :, self.max_dets.index(max_dets)].mean(axis=1), plain)

    def _over_classes(self, values: np.ndarray, plain: bool) -> float:
        weights = (self.image_count > 0).astype(np.int64) if plain else self.image_count
        return float(values @ weights / weights.sum()) if weights.any() else -1.0


def evaluate_visdrone(
    gt: VisDroneTruth,
    dt: Detections,
    *,
    sizes_wh: np.ndarray,
    num_classes: int = 10,
    iou_thrs: Sequence[float] | None = None,
    max_dets: Sequence[int] = VISDRONE_MAX_DETS,
) -> VisDroneResult:
    """Score detections as the official toolkit does.

    Args:
        gt: annotation rows of all images, ignored regions included.
        dt: detections, the rows of an image in the order of its result file: the limits count in this order, whatever
            the scores (a proper file is sorted by descending score). Labels outside 0..K-1 use up the limit, too.
        sizes_wh: (I, 2) width and height of the images; used only for those that have ignored regions.
        num_classes: K.
        iou_thrs: None means :data:`VISDRONE_IOU_THRS`.
        max_dets: limits of the recalls; AP is taken at the largest.

    Raises:
        DataError: image indices out of range, values that are not finite, or no size where one is needed.
        ConfigError: arguments out of range.
    """
    thrs, limits = check_settings(VISDRONE_IOU_THRS if iou_thrs is None else iou_thrs, max_dets, num_classes)
    sizes_wh = np.asarray(sizes_wh, dtype=np.int64).reshape(-1, 2)
    gt.check('ground truth', len(sizes_wh))
    dt.check('detections', len(sizes_wh))

    region = gt.label == IGNORED_REGION
    regions = BoxTable(gt.image[region], gt.label[region], gt.bbox[region])
    gt_gone = in_ignored_regions(gt, regions, sizes_wh) & ~region
    dt_gone = in_ignored_regions(dt, regions, sizes_wh)
    truth = _Objects.of(gt, ~region & ~gt_gone, num_classes)
    found = _Ranked.of(dt, ~dt_gone, num_classes, limits[-1])

    pairs = _overlapping_pairs(truth, found, thrs.min())
    gt_count = np.bincount(truth.label, minlength=num_classes)
    ap = np.zeros((num_classes, len(thrs)))
    recall = np.zeros((num_classes, len(thrs), len(limits)))
    for m, limit in enumerate(limits):
        taken = found.rank < limit
        hit, neutral = _match(truth, found, pairs, taken, thrs)  # (N, T) each
        for label in range(num_classes):
            rows = np.flatnonzero(taken & (found.label == label))
            rows = rows[np.argsort(-found.score[rows], kind='stable')]  # equal scores: by image, then as matched
            recall[label, :, m] = hit[rows].sum(axis=0) / max(1, gt_count[label])
            if limit == limits[-1]:
                ap[label] = area_under_curve(hit[rows], ~hit[rows] & ~neutral[rows], gt_count[label])
    present = np.unique(truth.image * num_classes + truth.label) % num_classes  # once for every image of the class
    image_count = np.bincount(present, minlength=num_classes)
    return VisDroneResult(
        ap, recall, image_count, gt_count, thrs, limits, int(np.count_nonzero(gt_gone)), int(np.count_nonzero(dt_gone))
    )


def in_ignored_regions(boxes: BoxTable, regions: BoxTable, sizes_wh: np.ndarray) -> np.ndarray:
    """Which boxes the toolkit drops because at least half of them lies in ignored regions.

    The toolkit counts marked pixels in whole numbers from 1, with an off-by-one that shifts every box by a pixel against
    the regions. Here the union of the regions is cut into a grid of rectangles along their edges, so that the count is
    the same whole number without an image-sized mask (10 ms a megapixel).

    Args:
        boxes: (N) boxes, left, top, width, height.
        regions: (R) regions.
        sizes_wh: (I, 2) int64.

    Returns:
        (N,) bool.

    Raises:
        DataError: an image with regions has no size.
    """
    inside = np.zeros(len(boxes), dtype=bool)
    by_image = np.argsort(boxes.image, kind='stable')
    edges = np.searchsorted(boxes.image[by_image], [regions.image, regions.image + 1])  # (2, R)
    starts = dict(zip(regions.image.tolist(), edges.T.tolist()))
    for image, (start, stop) in starts.items():
        width_height = sizes_wh[image]
        if (width_height < 1).any():
            raise DataError(
                'an image with ignored regions needs its width and height > 0',
                record=f'image {image}',
                field='sizes_wh',
                received=width_height.tolist(),
            )
        rows = by_image[start:stop]
        inside[rows] = _marked_share(boxes.bbox[rows], regions.bbox[regions.image == image], width_height)
    return inside


def _marked_share(boxes: np.ndarray, regions: np.ndarray, size_wh: np.ndarray) -> np.ndarray:
    """(N,) bool: at least half of the box is marked. All in 0-based, half-open pixels."""
    region = np.maximum(_round_half_away(regions), 1)  # (R, 4)
    low = region[:, :2] - 1
    high = np.maximum(np.minimum(size_wh, region[:, :2] + region[:, 2:]), low)  # both ends marked: width + 1 pixels
    box = np.maximum(_round_half_away(boxes), 1)  # (N, 4)
    first = np.minimum(size_wh, box[:, :2])  # one past the first pixel, as the toolkit has it
    last = np.minimum(size_wh, first + box[:, 2:])

    lengths, covers = [], []
    for axis in (0, 1):
        cuts = np.unique([low[:, axis], high[:, axis]])  # C + 1 edges of C cells
        near, far = np.maximum(first[:, axis, None], cuts[:-1]), np.minimum(last[:, axis, None], cuts[1:])
        lengths.append(np.maximum(far - near, 0))  # (N, C)
        covers.append((low[:, axis, None] <= cuts[:-1]) & (cuts[1:] <= high[:, axis, None]))  # (R, C)
    marked = (covers[1].T.astype(np.float64) @ covers[0]) > 0  # (rows of cells, columns of cells)
    pixels = ((lengths[1] @ marked.astype(np.float64)) * lengths[0]).sum(axis=1)  # (N,) whole numbers
    return pixels / (box[:, 2] * box[:, 3]) >= _DROPPED_SHARE


def _round_half_away(values: np.ndarray) -> np.ndarray:
    whole = np.trunc(values)
    return whole + np.sign(values) * (np.abs(values - whole) >= 0.5)


@dataclass
class _Objects:
    """Ground truth of the K classes by image and class, counted ones first; otherwise in file order."""

    image: np.ndarray
    label: np.ndarray
    bbox: np.ndarray
    counted: np.ndarray
    group: np.ndarray  # image * K + label, ascending

    @classmethod
    def of(cls, gt: VisDroneTruth, keep: np.ndarray, num_classes: int) -> '_Objects':
        rows = np.flatnonzero(keep & (gt.label >= 0) & (gt.label < num_classes))
        group = gt.image[rows] * num_classes + gt.label[rows]
        rows = rows[np.lexsort((~gt.counted[rows], group))]  # stable
        group = gt.image[rows] * num_classes + gt.label[rows]
        return cls(gt.image[rows], gt.label[rows], gt.bbox[rows], gt.counted[rows], group)


@dataclass
class _Ranked:
    """Detections of the K classes by image, class and descending score; equal scores in file order."""

    label: np.ndarray
    bbox: np.ndarray
    score: np.ndarray
    rank: np.ndarray  # place in the image's file, over all classes, after the ignore rule
    group: np.ndarray

    @classmethod
    def of(cls, dt: Detections, keep: np.ndarray, num_classes: int, limit: int) -> '_Ranked':
        rows = np.flatnonzero(keep)
        rows = rows[np.argsort(dt.image[rows], kind='stable')]
        images = dt.image[rows]
        rank = np.arange(len(rows)) - np.searchsorted(images, images)
        usable = (rank < limit) & (dt.label[rows] >= 0) & (dt.label[rows] < num_classes)
        rows, rank = rows[usable], rank[usable]
        group = dt.image[rows] * num_classes + dt.label[rows]
        order = np.lexsort((-dt.score[rows], group))  # stable
        rows = rows[order]
        return cls(dt.label[rows], dt.bbox[rows], dt.score[rows], rank[order], group[order])


@dataclass
class _Pairs:
    """P pairs that overlap enough to matter, by detection; those of one detection by ascending overlap, then file order."""

    det: np.ndarray
    gt: np.ndarray
    overlap: np.ndarray


def _overlapping_pairs(truth: _Objects, found: _Ranked, lowest: float) -> _Pairs:
    parts = list(_pair_chunks(truth, found, lowest))
    det, gt, overlap = (np.concatenate(columns) for columns in zip(*parts)) if parts else (np.zeros(0, np.int64),) * 3
    order = np.lexsort((gt, overlap, det))
    return _Pairs(det[order], gt[order], overlap[order])


def _pair_chunks(truth: _Objects, found: _Ranked, lowest: float) -> Iterator[tuple[np.ndarray, ...]]:
    """Rows of detections, rows of objects and overlaps, for pairs of one image and class at or above ``lowest``."""
    start = np.searchsorted(truth.group, found.group, side='left')
    count = np.searchsorted(truth.group, found.group, side='right') - start
    total = np.concatenate([[0], np.cumsum(count)])
    bounds = np.searchsorted(total, np.arange(_PAIRS_AT_ONCE, total[-1], _PAIRS_AT_ONCE))
    for low, high in zip([0, *bounds], [*bounds, len(count)]):
        det = np.repeat(np.arange(low, high), count[low:high])
        gt = start[det] + np.arange(total[low], total[high]) - total[det]
        a, b = found.bbox[det], truth.bbox[gt]
        near = np.maximum(a[:, :2], b[:, :2])
        inner = np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:]) - near
        meets = (inner > 0).all(axis=1)
        det, gt, a, b, inner = det[meets], gt[meets], a[meets], b[meets], inner[meets]
        shared, area = inner[:, 0] * inner[:, 1], a[:, 2] * a[:, 3]
        # An object that does not count is no competitor: only the detection's own area matters.
        overlap = shared / np.where(truth.counted[gt], area + b[:, 2] * b[:, 3] - shared, area)
        enough = overlap >= lowest
        yield det[enough], gt[enough], overlap[enough]


def _match(
    truth: _Objects, found: _Ranked, pairs: _Pairs, taken: np.ndarray, thrs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Greedy matching at every threshold of the detections that are ``taken`` (N,).

    By descending score each detection takes the free object of highest overlap, the later one of equals. Detections of
    one image and class take turns; all images and classes go at once, so there are at most as many turns as detections
    in an image.

    Returns:
        two (N, T) bools: true positives; detections that only meet objects which do not count.
    """
    hit = np.zeros((len(taken), len(thrs)), dtype=bool)
    used = np.zeros((len(truth.group), len(thrs)), dtype=bool)
    use = taken[pairs.det]
    counted = np.flatnonzero(use & truth.counted[pairs.gt])
    dets, first = np.unique(pairs.det[counted], return_index=True)  # detections with something to match
    groups = found.group[dets]
    turn = np.arange(len(dets)) - np.searchsorted(groups, groups)
    counts = np.diff(np.append(first, len(counted)))
    counted = counted[np.argsort(np.repeat(turn, counts), kind='stable')]
    sizes = np.bincount(np.repeat(turn, counts))
    for rows in np.split(counted, np.cumsum(sizes)[:-1]) if len(counted) else ():
        det, gt = pairs.det[rows], pairs.gt[rows]
        free = (pairs.overlap[rows, None] >= thrs) & ~used[gt]  # (rows, T)
        begins = np.flatnonzero(np.append(True, det[1:] != det[:-1]))
        best = np.maximum.reduceat(np.where(free, np.arange(len(rows))[:, None], -1), begins, axis=0)
        _, thr = np.nonzero(best >= 0)
        best = best[best >= 0]
        used[gt[best], thr] = True
        hit[det[best], thr] = True

    highest = np.zeros(len(taken))
    others = np.flatnonzero(use & ~truth.counted[pairs.gt])
    np.maximum.at(highest, pairs.det[others], pairs.overlap[others])
    return hit, ~hit & (highest[:, None] >= thrs)


def area_under_curve(hit: np.ndarray, miss: np.ndarray, gt_count: int) -> np.ndarray:
    """All-point average precision.

    Args:
        hit: (N, T) bool, true positives by descending score.
        miss: (N, T) bool, false positives.
        gt_count: objects to find.

    Returns:
        (T,), 0 without detections.
    """
    right, wrong = np.cumsum(hit, axis=0), np.cumsum(miss, axis=0)
    recall, precision = right / max(1, gt_count), right / np.maximum(1, right + wrong)
    ends = np.zeros((1, hit.shape[1]))
    recall = np.concatenate([ends, recall, ends + 1])
    precision = np.concatenate([ends, precision, ends])
    precision = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    return (np.diff(recall, axis=0) * precision[1:]).sum(axis=0)
