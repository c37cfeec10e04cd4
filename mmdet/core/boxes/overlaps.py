"""Overlap measures of axis-aligned boxes.

Naming: M boxes in ``bboxes1``, N boxes in ``bboxes2``; xyxy means (x1, y1, x2, y2).
"""

import torch
from torch import Tensor

from mmdet.errors import ModelInputError
from mmdet.registry import TASK_UTILS

_MODES = ('iou', 'iof', 'giou')


def bbox_overlaps(
    bboxes1: Tensor,
    bboxes2: Tensor,
    mode: str = 'iou',
    is_aligned: bool = False,
    eps: float = 1e-6,
    offset: float = 0.0,
) -> Tensor:
    """IoU, IoF (intersection over the area of ``bboxes1``) or GIoU (Rezatofighi et al., CVPR 2019).

    Args:
        bboxes1: (..., M, 4) xyxy.
        bboxes2: (..., N, 4) xyxy; N = M when ``is_aligned``.
        mode: 'iou', 'iof' or 'giou'.
        is_aligned: compare box i with box i instead of all pairs.
        eps: lower bound of the divisors: the union, or the area of ``bboxes1`` for IoF, and the enclosing area.
        offset: added to every width and height; 1 reproduces the inclusive-pixel convention of mmdetection 1.x.

    Returns:
        (..., M, N), or (..., M) when aligned. IoU and IoF lie in [0, 1], GIoU in (-1, 1].

    Raises:
        ModelInputError: unknown mode, a last dimension other than 4, or unequal aligned counts.
    """
    if mode not in _MODES:
        raise ModelInputError(f'must be one of {_MODES}', field='mode', received=mode)
    for name, boxes in (('bboxes1', bboxes1), ('bboxes2', bboxes2)):
        if boxes.size(-1) != 4:
            raise ModelInputError('must have 4 columns (xyxy)', field=name, received=tuple(boxes.shape))
    m, n = bboxes1.size(-2), bboxes2.size(-2)
    if is_aligned and m != n:
        raise ModelInputError('aligned boxes must be equally many', field='bboxes2', received=(m, n))
    area1 = (bboxes1[..., 2] - bboxes1[..., 0] + offset) * (bboxes1[..., 3] - bboxes1[..., 1] + offset)  # (M,)
    area2 = (bboxes2[..., 2] - bboxes2[..., 0] + offset) * (bboxes2[..., 3] - bboxes2[..., 1] + offset)  # (N,)
    if not is_aligned:
        bboxes1, bboxes2 = bboxes1[..., :, None, :], bboxes2[..., None, :, :]
        area1, area2 = area1[..., :, None], area2[..., None, :]
    top_left = torch.max(bboxes1[..., :2], bboxes2[..., :2])
    bottom_right = torch.min(bboxes1[..., 2:], bboxes2[..., 2:])
    intersection = (bottom_right - top_left + offset).clamp(min=0).prod(-1)  # (M,) or (M, N)
    denominator = (area1 if mode == 'iof' else area1 + area2 - intersection).clamp(min=eps)
    ious = intersection / denominator
    if mode != 'giou':
        return ious
    hull_top_left = torch.min(bboxes1[..., :2], bboxes2[..., :2])
    hull_bottom_right = torch.max(bboxes1[..., 2:], bboxes2[..., 2:])
    hull = (hull_bottom_right - hull_top_left + offset).clamp(min=0).prod(-1).clamp(min=eps)
    return ious - (hull - denominator) / hull


@TASK_UTILS.register_module()
class BboxOverlaps2D:
    """:func:`bbox_overlaps` as a component of a config (``iou_calculator=dict(type='BboxOverlaps2D')``)."""

    def __init__(self, offset: float = 0.0):
        self.offset = offset

    def __call__(self, bboxes1: Tensor, bboxes2: Tensor, mode: str = 'iou', is_aligned: bool = False) -> Tensor:
        """See :func:`bbox_overlaps`; a fifth column (a score) is ignored."""
        return bbox_overlaps(bboxes1[..., :4], bboxes2[..., :4], mode, is_aligned, offset=self.offset)
