"""Overlap measures of axis-aligned boxes.

Naming: M boxes in ``bboxes1``, N boxes in ``bboxes2``; xyxy means (x1, y1, x2, y2).
"""

from typing import Any

import torch
from torch import Tensor

from mmdet.errors import ArgumentError, ConfigError
from mmdet.registry import TASK_UTILS

from .transforms import get_box_tensor

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
        ArgumentError: unknown mode, a last dimension other than 4, unequal batch dimensions, or unequal aligned counts.
    """
    if mode not in _MODES:
        raise ArgumentError(f'Unsupported mode, must be one of {_MODES}', field='mode', received=mode)
    for name, boxes in (('bboxes1', bboxes1), ('bboxes2', bboxes2)):
        if boxes.ndim < 2 or boxes.size(-1) != 4:
            raise ArgumentError('must have 4 columns (xyxy)', field=name, received=tuple(boxes.shape))
    if bboxes1.shape[:-2] != bboxes2.shape[:-2]:
        shapes = (tuple(bboxes1.shape), tuple(bboxes2.shape))
        raise ArgumentError('batch dimensions must be equal', field='bboxes2', received=shapes)
    m, n = bboxes1.size(-2), bboxes2.size(-2)
    if is_aligned and m != n:
        raise ArgumentError('aligned boxes must be equally many', field='bboxes2', received=(m, n))
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
    """:func:`bbox_overlaps` as a component of a config (``iou_calculator=dict(type='BboxOverlaps2D')``).

    Args:
        scale: with 'fp16', by what coordinates are divided, so that they fit into half precision.
        dtype: 'fp16' rounds the coordinates to half precision, and on a GPU the overlaps too, which halves their memory.
        offset: see :func:`bbox_overlaps`.

    Raises:
        ConfigError: another ``dtype``.
    """

    def __init__(self, scale: float = 1.0, dtype: str | None = None, offset: float = 0.0):
        if dtype not in (None, 'fp16'):
            raise ConfigError("must be None or 'fp16'", field='BboxOverlaps2D.dtype', received=dtype)
        self.scale, self.dtype, self.offset = scale, dtype, offset

    def __call__(self, bboxes1: Any, bboxes2: Any, mode: str = 'iou', is_aligned: bool = False) -> Tensor:
        """See :func:`bbox_overlaps`; boxes may be tensors or box objects, and a fifth column (a score) is ignored.

        Raises:
            ArgumentError: also for a last dimension other than 4 and 5.
        """
        bboxes1, bboxes2 = get_box_tensor(bboxes1), get_box_tensor(bboxes2)
        bboxes1, bboxes2 = (boxes[..., :4] if boxes.size(-1) == 5 else boxes for boxes in (bboxes1, bboxes2))
        if self.dtype is None:
            return bbox_overlaps(bboxes1, bboxes2, mode, is_aligned, offset=self.offset)
        bboxes1, bboxes2 = ((boxes / self.scale).half().float() for boxes in (bboxes1, bboxes2))
        overlaps = bbox_overlaps(bboxes1, bboxes2, mode, is_aligned, offset=self.offset)
        return overlaps.half() if overlaps.is_cuda else overlaps

    def __repr__(self) -> str:
        return f'{type(self).__name__}(scale={self.scale}, dtype={self.dtype})'
