"""Recall of proposals."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.logging import print_log

from mmdet.errors import ArgumentError

from .bbox_overlaps import bbox_overlaps


def eval_recalls(
    gts: Sequence[np.ndarray],
    proposals: Sequence[np.ndarray],
    proposal_nums: int | Sequence[int] | None = None,
    iou_thrs: float | Sequence[float] = 0.5,
    logger: Any = None,
    use_legacy_coordinate: bool = False,
) -> np.ndarray:
    """Share of the ground truth that the best proposals of each image cover.

    Ground truth and proposals are paired greedily, the largest IoU first.

    Args:
        gts: for each image (G, 4).
        proposals: for each image (m, 4), best first, or (m, 5) with scores.
        proposal_nums: how many of the best proposals take part: one or several numbers; by default as many as the longest list has.
        iou_thrs: smallest IoU of a pair: one or several.
        logger: where the table goes; 'silent': nowhere.
        use_legacy_coordinate: add 1 to every width and height.

    Returns:
        (numbers, thresholds) recalls; 0 without ground truth.

    Raises:
        ArgumentError: ground truth and proposals are of different numbers of images.
    """
    if len(gts) != len(proposals):
        message = f'must be of as many images as gts, {len(gts)}'
        raise ArgumentError(message, field='proposals', received=len(proposals))
    if proposal_nums is None:
        proposal_nums = max((len(each) for each in proposals), default=0)
    numbers, thresholds = np.atleast_1d(proposal_nums).astype(int), np.atleast_1d(iou_thrs)
    total = sum(map(len, gts))
    recalls = np.zeros((len(numbers), len(thresholds)), np.float32)
    overlaps = []
    for truth, boxes in zip(gts, proposals):
        if boxes.ndim == 2 and boxes.shape[1] == 5:
            boxes = boxes[np.argsort(-boxes[:, 4])]
        if len(truth):
            overlaps.append(bbox_overlaps(truth, boxes[:, :4], use_legacy_coordinate=use_legacy_coordinate))
    for k, number in enumerate(numbers):
        paired = np.concatenate([_greedy_ious(each[:, :number]) for each in overlaps] or [np.zeros(0)])
        recalls[k] = [(paired >= threshold).sum() / max(total, 1) for threshold in thresholds]
    print_recall_summary(recalls, numbers, thresholds, logger=logger)
    return recalls


def _greedy_ious(ious: np.ndarray) -> np.ndarray:
    """(G,) IoUs of pairs of (G, m), the largest first; 0 for those that find no partner."""
    ious, found = ious.copy(), np.zeros(len(ious))
    for k in range(min(ious.shape)):
        row, column = np.unravel_index(ious.argmax(), ious.shape)
        found[k] = ious[row, column]
        ious[row, :] = ious[:, column] = -1
    return found


def print_recall_summary(
    recalls: np.ndarray,
    proposal_nums: Sequence[int] | np.ndarray,
    iou_thrs: Sequence[float] | np.ndarray,
    row_idxs: Sequence[int] | None = None,
    col_idxs: Sequence[int] | None = None,
    logger: Any = None,
) -> None:
    """Log recalls (numbers, thresholds) as a table, of some rows and columns; ``logger='silent'`` logs nothing."""
    if logger == 'silent':
        return
    rows = range(len(proposal_nums)) if row_idxs is None else row_idxs
    columns = range(len(iou_thrs)) if col_idxs is None else col_idxs
    lines = [f'{"":>8}' + ''.join(f' {iou_thrs[column]:>8.3g}' for column in columns)]
    lines += [
        f'{proposal_nums[row]:>8}' + ''.join(f' {recalls[row, column]:>8.3f}' for column in columns) for row in rows
    ]
    print_log('\n' + '\n'.join(lines), logger=logger)
