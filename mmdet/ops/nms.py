"""Non-maximum suppression: exact greedy NMS by class and soft-NMS, without compiled code of this package.

Three engines give the same boxes:

* CPU tensors: a plane sweep in numpy. ``IoU(a, b) > t`` implies that the two intervals overlap by more than ``t`` times the longer one, on
  either axis; with boxes sorted by left edge, a box can suppress only those that start in ``[x1, x1 + (1 - t) w]``, a small share of all
  pairs. The greedy rule is then applied to the short list of pairs that exceed the threshold.
* CUDA tensors: torchvision's kernel, where it works.
* other cases: blocks of IoU matrices, to which the rule "kept unless a kept better box suppresses it" is applied until nothing changes. Boxes
  that depend on no undecided box are final after one round, so the fixed point is the greedy answer.

Classes are told apart by label. The usual way, shifting the boxes of a class by ``label * (max + 1)`` in float32, costs the coordinates
their last bits (those of class 79 in an 8,000 pixel image are rounded to 1/16 pixel).

N boxes, k of them kept.
"""

import logging
from collections.abc import Callable

import numpy as np
import torch
from mmengine.logging import print_log
from torch import Tensor

from mmdet.errors import ConfigError, ModelInputError

from .nms_engines import greedy_blocks, greedy_kernel, greedy_sweep
from .torchvision_ops import torchvision_kernel

_KEYS = {  # of a config, by its type
    'nms': {'iou_threshold', 'offset', 'max_num', 'score_threshold'},
    'soft_nms': {'iou_threshold', 'offset', 'max_num', 'sigma', 'min_score', 'method'},
}


def nms(
    boxes: Tensor,
    scores: Tensor,
    iou_threshold: float,
    *,
    labels: Tensor | None = None,
    offset: int = 0,
    max_num: int = -1,
    score_threshold: float = 0.0,
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

    Returns:
        (k,) int64 indices into ``boxes``, by falling score.

    Raises:
        ModelInputError: shapes disagree.
        ConfigError: a threshold is out of range.
    """
    _check(boxes, scores, labels)
    _check_range('iou_threshold', iou_threshold)
    if offset not in (0, 1):
        raise ConfigError('must be 0 or 1', field='offset', received=offset)
    with torch.no_grad():
        index = _usable(boxes, scores, score_threshold)
        if index is not None:
            boxes, scores = boxes[index], scores[index]
            labels = None if labels is None else labels[index]
        if boxes.shape[0] == 0 or max_num == 0:
            return torch.zeros(0, dtype=torch.int64, device=boxes.device)
        order = torch.sort(scores, descending=True, stable=True).indices
        ranked = boxes[order].to(torch.promote_types(boxes.dtype, torch.float32))
        labels = None if labels is None else labels[order]
        kept = order[_greedy(ranked, labels, float(iou_threshold), offset, max_num)]
        return kept if index is None else index[kept]


def _greedy(ranked: Tensor, labels: Tensor | None, iou_threshold: float, offset: int, max_num: int) -> Tensor:
    """Positions that greedy NMS keeps of boxes sorted by falling score: (k,) int64, rising."""
    if ranked.device.type == 'cpu':
        numpy_labels = None if labels is None else labels.numpy()
        return torch.from_numpy(greedy_sweep(ranked.numpy(), numpy_labels, iou_threshold, offset, max_num))
    kernel = torchvision_kernel('nms', 'cuda') if ranked.is_cuda and offset == 0 else None
    if kernel is not None:
        return greedy_kernel(kernel, ranked, labels, iou_threshold, max_num)
    return greedy_blocks(ranked, labels, iou_threshold, offset, max_num)


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
) -> tuple[Tensor, Tensor]:
    """Soft-NMS (Bodla et al., ICCV 2017, arXiv 1704.04503): overlapping boxes lose score instead of being dropped.

    Repeatedly takes the best remaining box and multiplies the others' scores: ``linear``: by ``1 - IoU`` where IoU >= ``iou_threshold``;
    ``gaussian``: by ``exp(-IoU^2 / sigma)``; ``naive``: by 0 where IoU >= ``iou_threshold``. Runs on the CPU: the rule is sequential.

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,).
        iou_threshold: in [0, 1]; not used by ``gaussian``.
        sigma: > 0, used by ``gaussian``.
        min_score: a box is dropped once its score is below this.
        method: ``'linear'``, ``'gaussian'`` or ``'naive'``.
        labels, offset, max_num: as for :func:`nms`.

    Returns:
        dets: (k, 5) xyxy and decayed score, by falling decayed score.
        keep: (k,) int64 indices into ``boxes``.

    Raises:
        ModelInputError: shapes disagree.
        ConfigError: a threshold is out of range, or the method is unknown.
    """
    _check(boxes, scores, labels)
    _check_range('iou_threshold', iou_threshold)
    decays: dict[str, Callable] = dict(
        linear=lambda iou: np.where(iou >= iou_threshold, 1 - iou, np.float32(1)),
        gaussian=lambda iou: np.exp(-(iou**2) / sigma),
        naive=lambda iou: (iou < iou_threshold).astype(np.float32),
    )
    if (decay := decays.get(method)) is None:
        raise ConfigError(f'must be one of {list(decays)}', field='method', received=method)
    if not sigma > 0:
        raise ConfigError('must be > 0', field='sigma', received=sigma)
    device = boxes.device
    with torch.no_grad():
        index = _usable(boxes, scores, 0.0)
        index = torch.arange(boxes.shape[0], device=device) if index is None else index
        array = boxes[index].float().cpu().numpy()
        values = scores[index].float().cpu().numpy()
        classes = np.zeros(len(array), np.int64) if labels is None else labels[index].cpu().numpy()
        taken, taken_scores = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
        for label in np.unique(classes):
            members = np.flatnonzero(classes == label)
            picks, pick_scores = _soften(array[members], values[members], decay, min_score, offset, max_num)
            taken.append(members[picks])
            taken_scores.append(pick_scores)
        decayed = np.concatenate(taken_scores)
        order = np.argsort(-decayed, kind='stable')
        order = order if max_num < 0 else order[:max_num]
        keep = index[torch.from_numpy(np.concatenate(taken)[order]).to(device)]
        final = torch.from_numpy(decayed[order]).to(device, scores.dtype)
    return _with_scores(boxes[keep], final), keep


def _soften(
    boxes: np.ndarray, scores: np.ndarray, decay: Callable, min_score: float, offset: int, max_num: int
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
        scores[live] *= decay(iou)
        live = live[scores[live] >= min_score]
    return np.asarray(picks, np.int64), np.asarray(pick_scores, np.float32)


def batched_nms(
    boxes: Tensor, scores: Tensor, idxs: Tensor, nms_cfg: dict | None, class_agnostic: bool = False
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

    Returns:
        dets: (k, 5) xyxy and score, by falling score.
        keep: (k,) int64 indices into ``boxes``.

    Raises:
        ConfigError: an unknown type or key, or a value out of range.
    """
    if nms_cfg is None:
        _check(boxes, scores, idxs)
        scores, keep = torch.sort(scores, descending=True, stable=True)
        return _with_scores(boxes[keep], scores), keep
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
    labels = None if class_agnostic else idxs
    if kind == 'soft_nms':
        return soft_nms(boxes, scores, labels=labels, **options)
    if 'iou_threshold' not in options:
        raise ConfigError('is missing', field='nms.iou_threshold', received=nms_cfg)
    keep = nms(boxes, scores, options.pop('iou_threshold'), labels=labels, **options)
    return _with_scores(boxes[keep], scores[keep]), keep


def _with_scores(boxes: Tensor, scores: Tensor) -> Tensor:
    """(k, 5) xyxy and score, in the dtype of the boxes."""
    return torch.cat([boxes, scores[:, None].to(boxes.dtype)], dim=1)


def _check(boxes: Tensor, scores: Tensor, labels: Tensor | None) -> None:
    if boxes.dim() != 2 or boxes.shape[1] != 4:
        raise ModelInputError('boxes must be (N, 4)', field='boxes', received=tuple(boxes.shape))
    for name, values in (('scores', scores), ('labels', labels)):
        if values is not None and tuple(values.shape) != (boxes.shape[0],):
            message = f'must be ({boxes.shape[0]},), one for each box'
            raise ModelInputError(message, field=name, received=tuple(values.shape))


def _check_range(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ConfigError('must be in [0, 1]', field=name, received=value)


def _usable(boxes: Tensor, scores: Tensor, score_threshold: float) -> Tensor | None:
    """Indices of the boxes that may be kept; None for all of them, the usual case."""
    finite = torch.isfinite(boxes).all(dim=1) & ~torch.isnan(scores)
    usable = finite & (scores > score_threshold) if score_threshold > 0 else finite
    if usable.all():
        return None
    if dropped := int((~finite).sum()):
        print_log(f'NMS: dropped {dropped} boxes with values that are not finite', 'current', logging.WARNING)
    return usable.nonzero(as_tuple=True)[0]
