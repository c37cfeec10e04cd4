"""Non-maximum suppression: exact greedy NMS by class and soft-NMS, without compiled code of this package.

Three engines give the same boxes:

* CPU tensors: the plane sweep of :mod:`mmdet_runtime.suppression`, in numpy.
* CUDA tensors: torchvision's kernel, where it works.
* other cases: blocks of IoU matrices, to which the rule "kept unless a kept better box suppresses it" is applied until nothing changes. Boxes
  that depend on no undecided box are final after one round, so the fixed point is the greedy answer.

Classes are told apart by label.

N boxes, k of them kept.
"""

import logging
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor

from mmdet_runtime import suppression
from mmdet_runtime.suppression import check_boxes, check_greedy

from .nms_engines import greedy_blocks, greedy_kernel, greedy_sweep
from .torchvision_ops import torchvision_kernel


def nms(
    boxes: Tensor,
    scores: Tensor,
    iou_threshold: float,
    *,
    labels: Tensor | None = None,
    offset: int = 0,
    max_num: int = -1,
    score_threshold: float = 0.0,
    views: Tensor | None = None,
) -> Tensor:
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
    with torch.no_grad():
        index = _usable(boxes, scores, score_threshold)
        if index is not None:
            boxes, scores = boxes[index], scores[index]
            labels, views = (None if of is None else of[index] for of in (labels, views))
        if boxes.shape[0] == 0 or max_num == 0:
            return torch.zeros(0, dtype=torch.int64, device=boxes.device)
        order = torch.sort(scores, descending=True, stable=True).indices
        ranked = boxes[order].to(torch.promote_types(boxes.dtype, torch.float32))
        labels, views = (None if of is None else of[order] for of in (labels, views))
        kept = order[_greedy(ranked, labels, float(iou_threshold), offset, max_num, views)]
        return kept if index is None else index[kept]


def _greedy(
    ranked: Tensor, labels: Tensor | None, iou_threshold: float, offset: int, max_num: int, views: Tensor | None
) -> Tensor:
    """Positions that greedy NMS keeps of boxes sorted by falling score: (k,) int64, rising."""
    if ranked.device.type == 'cpu':
        arrays = [None if of is None else of.numpy() for of in (labels, views)]
        return torch.from_numpy(greedy_sweep(ranked.numpy(), arrays[0], iou_threshold, offset, max_num, arrays[1]))
    # The kernel can leave out pairs of different classes only, not those of one view.
    kernel = torchvision_kernel('nms', 'cuda') if ranked.is_cuda and offset == 0 and views is None else None
    if kernel is not None:
        return greedy_kernel(kernel, ranked, labels, iou_threshold, max_num)
    return greedy_blocks(ranked, labels, iou_threshold, offset, max_num, views)


def soft_nms(
    boxes: Tensor,
    scores: Tensor,
    iou_threshold: float = 0.3,
    sigma: float = 0.5,
    min_score: float = 1e-3,
    method: str = 'linear',
    *,
    labels: Tensor | None = None,
    offset: int = 0,
    max_num: int = -1,
    views: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Soft-NMS (Bodla et al., ICCV 2017, arXiv 1704.04503): overlapping boxes lose score instead of being dropped.

    Repeatedly takes the best remaining box and multiplies the others' scores: ``linear``: by ``1 - IoU`` where IoU >= ``iou_threshold``;
    ``gaussian``: by ``exp(-IoU^2 / sigma)``; ``naive``: by 0 where IoU >= ``iou_threshold``. Runs on the CPU: the rule is sequential.

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,).
        iou_threshold: in [0, 1]; not used by ``gaussian``.
        sigma: above 0, used by ``gaussian``.
        min_score: a box is dropped once its score is below this.
        method: ``'linear'``, ``'gaussian'`` or ``'naive'``.
        labels, offset, max_num, views: as for :func:`nms`.

    Returns:
        dets: (k, 5) xyxy and decayed score, by falling decayed score.
        keep: (k,) int64 indices into ``boxes``.

    Raises:
        ModelInputError: shapes disagree.
        ConfigError: a threshold is out of range, or the method is unknown.
    """
    check_boxes(boxes, scores, labels)
    with torch.no_grad():
        usable = _usable(boxes, scores, 0.0)
        index = torch.arange(boxes.shape[0], device=boxes.device) if usable is None else usable
        classes, own = (None if of is None else of[index].cpu().numpy() for of in (labels, views))
        array, values = boxes[index].float().cpu().numpy(), scores[index].float().cpu().numpy()
        options: dict[str, Any] = dict(labels=classes, offset=offset, max_num=max_num, views=own)
        picks, decayed = suppression.soft_nms(array, values, iou_threshold, sigma, min_score, method, **options)
        keep = index[torch.from_numpy(picks).to(boxes.device)]
        final = torch.from_numpy(decayed).to(boxes.device, scores.dtype)
    return _with_scores(boxes[keep], final), keep


def batched_nms(
    boxes: Tensor,
    scores: Tensor,
    idxs: Tensor,
    nms_cfg: Mapping | None,
    class_agnostic: bool = False,
    views: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """NMS inside each class, with the arguments of mmcv's function of this name.

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
        dets: (k, 5) xyxy and score, by falling score.
        keep: (k,) int64 indices into ``boxes``.

    Raises:
        ConfigError: an unknown type or key, or a value out of range.
    """
    if nms_cfg is None:
        check_boxes(boxes, scores, idxs)
        scores, keep = torch.sort(scores, descending=True, stable=True)
        return _with_scores(boxes[keep], scores), keep
    kind, class_agnostic, options = suppression.nms_options(nms_cfg, class_agnostic)
    labels = None if class_agnostic else idxs
    if kind == 'soft_nms':
        return soft_nms(boxes, scores, labels=labels, views=views, **options)
    keep = nms(boxes, scores, labels=labels, views=views, **options)
    return _with_scores(boxes[keep], scores[keep]), keep


def _with_scores(boxes: Tensor, scores: Tensor) -> Tensor:
    """(k, 5) xyxy and score, in the dtype of the boxes."""
    return torch.cat([boxes, scores[:, None].to(boxes.dtype)], dim=1)


def _usable(boxes: Tensor, scores: Tensor, score_threshold: float) -> Tensor | None:
    """Indices of the boxes that may be kept; None for all of them, the usual case."""
    finite = torch.isfinite(boxes).all(dim=1) & ~torch.isnan(scores)
    usable = finite & (scores > score_threshold) if score_threshold > 0 else finite
    if usable.all():
        return None
    if dropped := int((~finite).sum()):
        print_log(f'NMS: dropped {dropped} boxes with values that are not finite', 'current', logging.WARNING)
    return usable.nonzero(as_tuple=True)[0]
