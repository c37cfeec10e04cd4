"""Confusion matrices of detections: which class was taken for which, with missed objects and false detections.

Letters: C classes, G ground-truth boxes and N detections of an image.
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..core import bbox_overlaps
from ..errors import ConfigError
from ..ops import nms
from ..utils.files import write_atomically, write_json, write_text
from .predictions import ImagePredictions, PredictionSet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BACKGROUND = 'background'


def confusion_matrix(
    predictions: PredictionSet, *, score_thr: float = 0.3, tp_iou_thr: float = 0.5, nms_iou_thr: float | None = None
) -> np.ndarray:
    """Count pairs of ground truth and detection over all images.

    Every detection with ``score >= score_thr`` is paired with at most one object and every object with at most one
    detection, at ``IoU >= tp_iou_thr``. Pairs of one class are made first, by descending score (a detection takes the
    free object it overlaps most); the rest is then paired across classes in the same way. So each row sums to the
    number of objects of its class, and each column to the number of detections of its class.

    Unpaired detections of which a share of at least ``tp_iou_thr`` lies inside an ignored region are left out.

    Args:
        predictions: all images.
        score_thr: detections with a score below are left out.
        tp_iou_thr: least IoU of a pair.
        nms_iou_thr: first apply NMS within each class at this IoU; None applies none.

    Returns:
        (C + 1, C + 1) int64. The row is the object's class, the last one for detections without an object; the column
        is the detection's class, the last one for objects without a detection.

    Raises:
        ConfigError: a threshold outside [0, 1] (``tp_iou_thr``: (0, 1]).
    """
    for name, value in (('score_thr', score_thr), ('tp_iou_thr', tp_iou_thr), ('nms_iou_thr', nms_iou_thr)):
        if value is not None and not (0 <= value <= 1 and (name != 'tp_iou_thr' or value > 0)):
            raise ConfigError('must be within 0 and 1', field=name, received=value)
    num_classes = len(predictions.classes)
    matrix = np.zeros((num_classes + 1, num_classes + 1), np.int64)
    for image in predictions.images:
        rows, columns = _pairs_of_image(image, num_classes, score_thr, tp_iou_thr, nms_iou_thr)
        np.add.at(matrix, (rows, columns), 1)
    return matrix


def _pairs_of_image(
    image: ImagePredictions, num_classes: int, score_thr: float, tp_iou_thr: float, nms_iou_thr: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the entries that one image adds."""
    boxes, labels = _kept_detections(image, score_thr, nms_iou_thr)
    counted = ~image.gt_ignored
    gt_boxes, gt_labels = image.gt_bboxes[counted], image.gt_labels[counted]
    overlaps = overlaps_of(boxes, gt_boxes)  # (N, G)
    overlaps[overlaps < tp_iou_thr] = 0
    same_class = labels[:, None] == gt_labels
    gt_of = pair_boxes(np.where(same_class, overlaps, 0), np.full(len(boxes), -1))
    gt_of = pair_boxes(np.where(same_class, 0, overlaps), gt_of)
    paired = gt_of >= 0
    missed = np.setdiff1d(np.arange(len(gt_boxes)), gt_of)
    stray = ~paired
    if image.gt_ignored.any() and stray.any():
        covered = overlaps_of(boxes, image.gt_bboxes[image.gt_ignored], mode='iof').max(axis=1)
        stray &= covered < tp_iou_thr
    rows = [gt_labels[gt_of[paired]], np.full(int(stray.sum()), num_classes), gt_labels[missed]]
    columns = [labels[paired], labels[stray], np.full(len(missed), num_classes)]
    return np.concatenate(rows), np.concatenate(columns)


def _kept_detections(
    image: ImagePredictions, score_thr: float, nms_iou_thr: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (N, 4) and labels (N,) of the detections to count, by descending score."""
    kept = np.flatnonzero(image.scores >= score_thr)
    kept = kept[np.argsort(-image.scores[kept], kind='stable')]
    if nms_iou_thr is not None and len(kept):
        boxes, scores, labels = (torch.from_numpy(part[kept]) for part in (image.bboxes, image.scores, image.labels))
        kept = kept[nms(boxes, scores, nms_iou_thr, labels=labels).numpy()]
    return image.bboxes[kept], image.labels[kept]


def overlaps_of(boxes: np.ndarray, others: np.ndarray, mode: str = 'iou') -> np.ndarray:
    return bbox_overlaps(torch.from_numpy(boxes), torch.from_numpy(others), mode=mode).numpy()


def pair_boxes(overlaps: np.ndarray, gt_of: np.ndarray) -> np.ndarray:
    """Complete ``gt_of`` (N,), the object of each detection or -1: in their order, the detections without one take the free object of
    largest overlap (N, G), if that is > 0."""
    gt_of = gt_of.copy()
    free = np.ones(overlaps.shape[1], bool)
    free[gt_of[gt_of >= 0]] = False
    for row in np.flatnonzero((gt_of < 0) & (overlaps > 0).any(axis=1)):
        found = np.where(free, overlaps[row], 0)
        best = int(found.argmax())
        if found[best] > 0:
            gt_of[row] = best
            free[best] = False
    return gt_of


def normalized_rows(matrix: np.ndarray) -> np.ndarray:
    """Each row of counts divided by its sum, (C + 1, C + 1) float64; a row without entries stays zero."""
    totals = matrix.sum(axis=1, keepdims=True)
    return np.divide(matrix, totals, out=np.zeros(matrix.shape), where=totals > 0)


def counts_text(matrix: np.ndarray) -> str:
    """One line with the numbers of objects found, missed and confused, and of detections without an object."""
    objects, right, missed = matrix[:-1].sum(), matrix.diagonal()[:-1].sum(), matrix[:-1, -1].sum()
    return (
        f'{objects} objects: {right} found, {missed} missed, {objects - right - missed} taken for another class; '
        f'{matrix[-1].sum()} detections without an object'
    )


def write_confusion_matrix(
    matrix: np.ndarray,
    classes: Sequence[str],
    save_dir: str | Path,
    *,
    normalize: bool = False,
    color_theme: str = 'plasma',
    title: str = 'Confusion matrix',
    settings: dict | None = None,
) -> list[Path]:
    """Write ``confusion_matrix.png``, ``.csv`` (counts) and ``.json`` (counts, row shares, settings); returns the files written.

    Args:
        matrix: (C + 1, C + 1) counts.
        classes: C names.
        normalize: the picture shows percentages of each row instead of counts.
        color_theme: a colour map of matplotlib.
        settings: thresholds and the like, for the JSON file.

    Raises:
        ConfigError: matplotlib has no such colour map.
    """
    save_dir = Path(save_dir)
    names = [*classes, BACKGROUND]
    paths = [save_dir / f'confusion_matrix.{suffix}' for suffix in ('png', 'csv', 'json')]
    figure = _draw(matrix, names, normalize, color_theme, title)
    write_atomically(paths[0], lambda file: figure.savefig(file, format='png'))
    text = io.StringIO()
    table = csv.writer(text, lineterminator='\n')
    table.writerow(['ground truth \\ prediction', *names])
    table.writerows([name, *row] for name, row in zip(names, matrix.tolist()))
    write_text(paths[1], text.getvalue())
    content = dict(
        classes=names, rows='ground truth', columns='prediction', counts=matrix.tolist(),
        row_shares=normalized_rows(matrix).round(6).tolist(), settings=settings or {},
    )  # fmt: skip
    write_json(paths[2], content)
    return paths


def _draw(matrix: np.ndarray, names: Sequence[str], normalize: bool, color_theme: str, title: str) -> 'Figure':
    import matplotlib  # takes about a second, and only this picture needs it
    from matplotlib.figure import Figure

    if color_theme not in matplotlib.colormaps:
        raise ConfigError('must be a colour map of matplotlib', field='color_theme', received=color_theme)
    shares = normalized_rows(matrix)
    count = len(names)
    side = max(5.0, 0.42 * count + 2.5)
    figure = Figure(figsize=(side, side * 0.92), dpi=150 if count <= 30 else 100)
    axes = figure.add_subplot()
    shown = axes.imshow(shares * 100, cmap=color_theme, vmin=0, vmax=100)
    figure.colorbar(shown, ax=axes, fraction=0.046, pad=0.03, label='% of the row')
    font = max(4.0, min(9.0, 160 / count))
    axes.set_xticks(range(count), names, rotation=90, fontsize=font)
    axes.set_yticks(range(count), names, fontsize=font)
    axes.set(xlabel='prediction', ylabel='ground truth', title=title)
    rgba = shown.cmap(shares)
    for row, column in zip(*np.nonzero(matrix)):
        text = f'{shares[row, column] * 100:.0f}' if normalize else str(matrix[row, column])
        if normalize and text == '0':
            continue
        color = 'white' if rgba[row, column, :3] @ (0.299, 0.587, 0.114) < 0.5 else 'black'
        axes.text(column, row, text, ha='center', va='center', color=color, fontsize=font * min(1, 4 / len(text)))
    figure.tight_layout()
    return figure
