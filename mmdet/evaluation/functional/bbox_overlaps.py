"""Overlaps of boxes in arrays."""

import numpy as np

from mmdet.errors import ArgumentError


def bbox_overlaps(
    bboxes1: np.ndarray, bboxes2: np.ndarray, mode: str = 'iou', eps: float = 1e-6, use_legacy_coordinate: bool = False
) -> np.ndarray:
    """IoU, or intersection over the area of ``bboxes1`` ('iof'), of all pairs. (The function of :mod:`mmdet.core` takes tensors.)

    Args:
        bboxes1: (M, 4) xyxy.
        bboxes2: (N, 4) xyxy.
        mode: 'iou' or 'iof'.
        eps: floor of the divisors.
        use_legacy_coordinate: add 1 to every width and height.

    Returns:
        (M, N) float32.

    Raises:
        ArgumentError: another ``mode``.
    """
    if mode not in ('iou', 'iof'):
        raise ArgumentError("must be 'iou' or 'iof'", field='mode', received=mode)
    extra = 1.0 if use_legacy_coordinate else 0.0
    bboxes1, bboxes2 = np.asarray(bboxes1, np.float32), np.asarray(bboxes2, np.float32)
    if len(bboxes1) * len(bboxes2) == 0:
        return np.zeros((len(bboxes1), len(bboxes2)), np.float32)
    size1, size2 = (boxes[:, 2:4] - boxes[:, :2] + extra for boxes in (bboxes1, bboxes2))
    inner = np.minimum(bboxes1[:, None, 2:4], bboxes2[None, :, 2:4]) - np.maximum(
        bboxes1[:, None, :2], bboxes2[None, :, :2]
    )
    overlap = np.maximum(inner + extra, 0).prod(-1)  # (M, N)
    area = size1.prod(-1)[:, None]
    whole = area if mode == 'iof' else area + size2.prod(-1) - overlap
    return (overlap / np.maximum(whole, eps)).astype(np.float32)
