"""NMS as one operator of a graph: what ONNX calls NonMaxSuppression.

Naming: B images, N boxes of an image, R rows of scores (classes), S selected.
"""

from typing import Any

import torch
from torch import Tensor

from .nms import nms


def _select(boxes: Tensor, scores: Tensor, iou_threshold: float, max_per_row: int) -> Tensor:
    found = [boxes.new_zeros((0, 3), dtype=torch.int64)]
    for image in range(boxes.shape[0]):
        for row in range(scores.shape[1]):
            rows = (scores[image, row] > 0).nonzero().squeeze(1)
            kept = rows[nms(boxes[image, rows], scores[image, row, rows], iou_threshold, max_num=max_per_row)]
            place = kept.new_tensor([image, row]).expand(len(kept), 2)
            found.append(torch.cat([place, kept[:, None]], dim=1))
    return torch.cat(found)


class _NMSRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, boxes: Tensor, scores: Tensor, iou_threshold: float, max_per_row: int) -> Tensor:
        return _select(boxes, scores, iou_threshold, max_per_row)

    @staticmethod
    def symbolic(g: Any, boxes: Any, scores: Any, iou_threshold: float, max_per_row: int) -> Any:
        def constant(value: float, dtype: torch.dtype) -> Any:
            return g.op('Constant', value_t=torch.tensor([value], dtype=dtype))

        limits = (
            constant(max_per_row, torch.int64),
            constant(iou_threshold, torch.float32),
            constant(0.0, torch.float32),
        )
        out = g.op('NonMaxSuppression', boxes, scores, *limits)
        out.setType(out.type().with_dtype(torch.int64).with_sizes([None, 3]))
        return out


def nms_rows(boxes: Tensor, scores: Tensor, iou_threshold: float, max_per_row: int) -> Tensor:
    """Greedy NMS of the boxes that have a score in a row of scores, row by row; the TorchScript-based exporter writes it as one ONNX operator.

    Args:
        boxes: (B, N, 4) xyxy, float32.
        scores: (B, R, N) float32; 0 where a box does not take part in the row.
        iou_threshold: in [0, 1]; boxes that overlap more are dropped.
        max_per_row: how many to keep of each row at most.

    Returns:
        (S, 3) int64 image, row, box; by image, row, and descending score.
    """
    return _NMSRows.apply(boxes, scores, iou_threshold, max_per_row)
