"""Mean average precision of PASCAL VOC and ImageNet, on lists of arrays.

Naming: of one image and one class, m detections and G ground truths (ignored ones last); S ranges of sizes.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import Any

import numpy as np
from mmengine.logging import print_log

from mmdet.errors import ArgumentError

from .bbox_overlaps import bbox_overlaps
from .class_names import get_classes

Ranges = Sequence[tuple[float, float]] | None


def average_precision(recalls: np.ndarray, precisions: np.ndarray, mode: str = 'area') -> Any:
    """Average precision of curves.

    Args:
        recalls, precisions: (n,), or (S, n) for S curves.
        mode: 'area' under the curve made monotone, or the mean at '11points'.

    Returns:
        A number, or (S,).

    Raises:
        ValueError: another ``mode``.
    """
    if mode not in ('area', '11points'):
        raise ValueError(f"mode must be 'area' or '11points'. Received: {mode!r}")
    recall, precision = np.atleast_2d(recalls), np.atleast_2d(precisions)
    if mode == 'area':
        edge = np.zeros((len(recall), 1), recall.dtype)
        recall = np.hstack([edge, recall, edge + 1])
        precision = np.hstack([edge, precision, edge])
        precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        found = (np.diff(recall, axis=1) * precision[:, 1:]).sum(1)
    else:
        points = np.arange(0, 1 + 1e-3, 0.1)[:, None, None]
        found = np.where(recall >= points, precision, 0).max(-1, initial=0).sum(0) / 11
    found = found.astype(np.float32)
    return found[0] if np.ndim(recalls) == 1 else found


def _area_flags(boxes: np.ndarray, area_ranges: Ranges, extra: float) -> np.ndarray:
    """(S, n): which boxes lie in each range of areas; all of them without ranges."""
    if not area_ranges:
        return np.ones((1, len(boxes)), bool)
    areas = (boxes[:, 2] - boxes[:, 0] + extra) * (boxes[:, 3] - boxes[:, 1] + extra)
    return np.array([(areas >= low) & (areas < high) for low, high in area_ranges])


def _match(
    det_bboxes: np.ndarray,
    gt_bboxes: np.ndarray,
    gt_bboxes_ignore: np.ndarray | None,
    area_ranges: Ranges,
    use_legacy_coordinate: bool,
    rule: Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    shift: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """True and false positives (S, m) by a rule that takes the IoUs (m, G), the order of the scores and who is ignored (G,).

    ``shift`` is added to the ground truth before the IoU is taken.
    """
    ignored_boxes = np.zeros((0, 4), np.float32) if gt_bboxes_ignore is None else gt_bboxes_ignore.reshape(-1, 4)
    truth = np.concatenate([gt_bboxes.reshape(-1, 4), ignored_boxes])
    extra = 1.0 if use_legacy_coordinate else 0.0
    marked = np.arange(len(truth)) >= len(gt_bboxes)
    inside = _area_flags(det_bboxes, area_ranges, extra)
    true_positive = np.zeros(inside.shape, np.float32)
    false_positive = np.zeros(inside.shape, np.float32)
    if len(truth) == 0:
        false_positive[inside] = 1
        return true_positive, false_positive
    ious = bbox_overlaps(det_bboxes, truth + shift, use_legacy_coordinate=use_legacy_coordinate)
    order = np.argsort(-det_bboxes[:, -1])
    for k, in_range in enumerate(_area_flags(truth, area_ranges, extra)):
        matched, missed = rule(ious, order, marked | ~in_range)
        true_positive[k, matched] = 1
        false_positive[k, missed[inside[k, missed]]] = 1
    return true_positive, false_positive


def tpfp_default(
    det_bboxes: np.ndarray,
    gt_bboxes: np.ndarray,
    gt_bboxes_ignore: np.ndarray | None = None,
    iou_thr: float = 0.5,
    area_ranges: Ranges = None,
    use_legacy_coordinate: bool = False,
    **kwargs: Any,
) -> tuple[np.ndarray, np.ndarray]:
    """Which detections are right: each is compared with the ground truth that it overlaps most, which only the best detection may take.

    Args:
        det_bboxes: (m, 5) xyxy + score.
        gt_bboxes: (G, 4).
        gt_bboxes_ignore: (H, 4): detections that overlap them most are neither right nor wrong.
        iou_thr: smallest IoU.
        area_ranges: S ranges of areas; boxes outside count as ignored.
        use_legacy_coordinate: add 1 to every width and height.
        **kwargs: accepted and not used.

    Returns:
        True and false positives, (S, m) each, of 0 and 1 in the order of ``det_bboxes``; S = 1 without ranges.
    """

    def rule(ious: np.ndarray, order: np.ndarray, ignored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        best, overlap = ious.argmax(1), ious.max(1)
        right: list[int] = []
        wrong: list[int] = []
        taken = np.zeros(len(ignored), bool)
        for row in order:
            if overlap[row] < iou_thr:
                wrong.append(row)
            elif not ignored[best[row]]:
                (wrong if taken[best[row]] else right).append(row)
                taken[best[row]] = True
        return np.array(right, int), np.array(wrong, int)

    return _match(det_bboxes, gt_bboxes, gt_bboxes_ignore, area_ranges, use_legacy_coordinate, rule)


def tpfp_imagenet(
    det_bboxes: np.ndarray,
    gt_bboxes: np.ndarray,
    gt_bboxes_ignore: np.ndarray | None = None,
    default_iou_thr: float = 0.5,
    area_ranges: Ranges = None,
    use_legacy_coordinate: bool = False,
    **kwargs: Any,
) -> tuple[np.ndarray, np.ndarray]:
    """:func:`tpfp_default` by the rules of ImageNet: small boxes need a smaller IoU, and a detection may take the best free ground truth.

    The IoU must reach ``w h / ((w + 10) (h + 10))``, at most ``default_iou_thr``; other arguments and results as there.
    Corners of the ground truth count from 1, as in ImageNet's files: the IoU is taken with the boxes a pixel further to the upper left.
    """
    truth = np.concatenate(
        [gt_bboxes.reshape(-1, 4), *([] if gt_bboxes_ignore is None else [gt_bboxes_ignore.reshape(-1, 4)])]
    )
    extra = 1.0 if use_legacy_coordinate else 0.0
    width, height = truth[:, 2] - truth[:, 0] + extra, truth[:, 3] - truth[:, 1] + extra
    thresholds = np.minimum(width * height / ((width + 10) * (height + 10)), default_iou_thr)

    def rule(ious: np.ndarray, order: np.ndarray, ignored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        right: list[int] = []
        wrong: list[int] = []
        taken = np.zeros(len(ignored), bool)
        for row in order:
            allowed = (ious[row] >= thresholds) & ~taken
            if not allowed.any():
                wrong.append(row)
                continue
            # Of equal overlaps the last one.
            best = len(allowed) - 1 - np.where(allowed, ious[row], -1)[::-1].argmax()
            taken[best] = True
            if not ignored[best]:
                right.append(row)
        return np.array(right, int), np.array(wrong, int)

    return _match(det_bboxes, gt_bboxes, gt_bboxes_ignore, area_ranges, use_legacy_coordinate, rule, shift=-1.0)


def get_cls_results(det_results: Sequence, annotations: Sequence[dict], class_id: int) -> tuple[list, list, list]:
    """Of one class, for each image: detections, ground truth and ignored boxes."""
    none = np.zeros((0, 4), np.float32)
    detections = [image[class_id] for image in det_results]
    truth = [ann['bboxes'][ann['labels'] == class_id] for ann in annotations]
    ignored = [
        ann['bboxes_ignore'][ann['labels_ignore'] == class_id] if ann.get('labels_ignore') is not None else none
        for ann in annotations
    ]
    return detections, truth, ignored


def eval_map(
    det_results: Sequence[Sequence[np.ndarray]],
    annotations: Sequence[dict],
    scale_ranges: Ranges = None,
    iou_thr: float = 0.5,
    ioa_thr: None = None,
    dataset: str | Sequence[str] | None = None,
    logger: Any = None,
    tpfp_fn: Callable | None = None,
    nproc: int = 4,
    use_legacy_coordinate: bool = False,
    use_group_of: bool = False,
    eval_mode: str = 'area',
) -> tuple[Any, list[dict]]:
    """Mean average precision.

    Args:
        det_results: for each image, for each class, (m, 5) xyxy + score.
        annotations: for each image ``bboxes`` (G, 4) and ``labels`` (G,), and perhaps ``bboxes_ignore`` and ``labels_ignore``.
        scale_ranges: S ranges of the square root of the area.
        iou_thr: smallest IoU of a match.
        ioa_thr, use_group_of: must be None and False; the rules of OpenImages are not there.
        dataset: name or classes, for the table; 'det' and 'vid' also choose :func:`tpfp_imagenet`.
        logger: where the table goes; 'silent': nowhere.
        tpfp_fn: a function like :func:`tpfp_default`.
        nproc: most threads.
        use_legacy_coordinate: add 1 to every width and height.
        eval_mode: see :func:`average_precision`.

    Returns:
        The mean over the classes with ground truth (0 without any), a list of them for S ranges; and for each class ``num_gts``, ``num_dets``,
        ``recall``, ``precision`` and ``ap``.

    Raises:
        ArgumentError: other numbers of images, or the rules of OpenImages.
    """
    if len(det_results) != len(annotations):
        raise ArgumentError(
            'det_results and annotations must be equally many', received=(len(det_results), len(annotations))
        )
    if ioa_thr is not None or use_group_of:
        raise ArgumentError('the rules of OpenImages (ioa_thr, use_group_of) are not there')
    areas = None if scale_ranges is None else [(low**2, high**2) for low, high in scale_ranges]
    if tpfp_fn is None:
        tpfp_fn = tpfp_imagenet if dataset in ('det', 'vid') else tpfp_default
    extra = 1.0 if use_legacy_coordinate else 0.0
    found = []
    with ThreadPoolExecutor(max(min(nproc, len(det_results), os.cpu_count() or 1), 1)) as pool:
        for label in range(len(det_results[0]) if det_results else 0):
            parts = get_cls_results(det_results, annotations, label)
            constant = [repeat(each) for each in (iou_thr, areas, use_legacy_coordinate)]
            matches = list(pool.map(tpfp_fn, *parts, *constant))
            truth = np.sum([_area_flags(boxes.reshape(-1, 4), areas, extra).sum(1) for boxes in parts[1]], axis=0)
            order = np.argsort(-np.concatenate([dets[:, -1] for dets in parts[0]]))
            right, wrong = (np.cumsum(np.hstack(each)[:, order], axis=1) for each in zip(*matches))
            eps = np.finfo(np.float32).eps
            recalls = right / np.maximum(truth[:, None], eps)
            precisions = right / np.maximum(right + wrong, eps)
            if scale_ranges is None:
                recalls, precisions, truth = recalls[0], precisions[0], int(truth[0])
            ap = average_precision(recalls, precisions, eval_mode)
            count = sum(map(len, parts[0]))
            found.append(dict(num_gts=truth, num_dets=count, recall=recalls, precision=precisions, ap=ap))
    counts = np.array([each['num_gts'] for each in found]).reshape(len(found), -1)
    aps = np.array([each['ap'] for each in found]).reshape(len(found), -1)
    means = [float(aps[seen, k].mean()) if (seen := counts[:, k] > 0).any() else 0.0 for k in range(counts.shape[1])]
    mean_ap = means if scale_ranges is not None else (means[0] if means else 0.0)
    print_map_summary(mean_ap, found, dataset, scale_ranges, logger=logger)
    return mean_ap, found


def print_map_summary(
    mean_ap: Any,
    results: Sequence[dict],
    dataset: str | Sequence[str] | None = None,
    scale_ranges: Ranges = None,
    logger: Any = None,
) -> None:
    """Log a table of what :func:`eval_map` returns, one for each range; ``logger='silent'`` logs nothing."""
    if logger == 'silent':
        return
    if isinstance(dataset, str):
        names: Sequence = get_classes(dataset)
    else:
        names = range(len(results)) if dataset is None else dataset
    for k in range(1 if scale_ranges is None else len(scale_ranges)):
        lines = [] if scale_ranges is None else [f'Scale range {scale_ranges[k]}']
        lines.append(f'{"class":>20} {"gts":>8} {"dets":>8} {"recall":>8} {"ap":>8}')
        for name, each in zip(names, results):
            recall = np.atleast_2d(each['recall'])[k]
            reached = recall[-1] if recall.size else 0
            gts, ap = np.atleast_1d(each['num_gts'])[k], np.atleast_1d(each['ap'])[k]
            lines.append(f'{name!s:>20} {gts:>8} {each["num_dets"]:>8} {reached:>8.3f} {ap:>8.3f}')
        lines.append(f'{"mAP":>20} {"":>8} {"":>8} {"":>8} {np.atleast_1d(mean_ap)[k]:>8.3f}')
        print_log('\n' + '\n'.join(lines), logger=logger)
