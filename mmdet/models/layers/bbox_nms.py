"""NMS with mmdetection's arguments, where the scores have a last column for the background; the NMS itself is in :mod:`mmdet.ops`.

Naming: n boxes, C classes, k survivors.
"""

import torch
from torch import Tensor

from mmdet.core.boxes import bbox_overlaps
from mmdet.ops import batched_nms


def multiclass_nms(
    multi_bboxes: Tensor,
    multi_scores: Tensor,
    score_thr: float,
    nms_cfg: dict,
    max_num: int = -1,
    score_factors: Tensor | None = None,
    return_inds: bool = False,
    box_dim: int = 4,
) -> tuple[Tensor, ...]:
    """NMS over every (box, class) pair above a threshold. (The function of :mod:`mmdet.core` has no column for the background.)

    Args:
        multi_bboxes: (n, box_dim), or (n, C box_dim) with boxes of their own for each class.
        multi_scores: (n, C + 1) probabilities.
        score_thr: pairs must score strictly more than this.
        nms_cfg: config of :func:`mmdet.ops.batched_nms`.
        max_num: how many to keep at most; a number not above 0 keeps all.
        score_factors: (n,), which scores are multiplied by after the threshold.
        return_inds: also return the places of the survivors among the n C pairs.
        box_dim: columns of a box.

    Returns:
        dets (k, box_dim + 1) with the score, in descending order, labels (k,), and with ``return_inds`` places (k,).
    """
    classes = multi_scores.size(1) - 1
    scores = multi_scores[:, :-1]
    rows, labels = (scores > score_thr).nonzero(as_tuple=True)
    if multi_bboxes.size(1) > box_dim:
        bboxes = multi_bboxes.view(len(multi_scores), -1, box_dim)[rows, labels]
    else:
        bboxes = multi_bboxes[rows]
    kept_scores = scores[rows, labels]
    if score_factors is not None:
        kept_scores = kept_scores * score_factors[rows]
    if max_num > 0:
        nms_cfg = dict(nms_cfg, max_num=max_num)
    dets, keep = batched_nms(bboxes, kept_scores, labels, nms_cfg)
    if max_num > 0:
        dets, keep = dets[:max_num], keep[:max_num]
    return (dets, labels[keep], (rows * classes + labels)[keep]) if return_inds else (dets, labels[keep])


def fast_nms(
    multi_bboxes: Tensor,
    multi_scores: Tensor,
    multi_coeffs: Tensor,
    score_thr: float,
    iou_thr: float,
    top_k: int,
    max_num: int = -1,
) -> tuple[Tensor, Tensor, Tensor]:
    """NMS in which removed boxes still remove others (Bolya et al., "YOLACT", ICCV 2019), all classes at once.

    Args:
        multi_bboxes: (n, 4) xyxy.
        multi_scores: (n, C + 1) probabilities, the last column is the background.
        multi_coeffs: (n, d) vectors that belong to the boxes.
        score_thr: pairs must score strictly more than this.
        iou_thr: a box goes when its IoU with a better one of its class is above this.
        top_k: boxes of each class that take part.
        max_num: how many to keep at most; a number not above 0 keeps all.

    Returns:
        dets (k, 5) in descending order of score, labels (k,) and vectors (k, d).
    """
    if len(multi_bboxes) == 0:
        return multi_bboxes.new_zeros(0, 5), multi_bboxes.new_zeros(0, dtype=torch.long), multi_coeffs
    scores, order = multi_scores[:, :-1].t().sort(dim=1, descending=True, stable=True)
    scores, order = scores[:, :top_k], order[:, :top_k]  # (C, m)
    bboxes = multi_bboxes[order]  # (C, m, 4)
    worst = bbox_overlaps(bboxes, bboxes).triu(diagonal=1).amax(dim=1)
    labels, places = ((worst <= iou_thr) & (scores > score_thr)).nonzero(as_tuple=True)
    kept, best = scores[labels, places].sort(descending=True, stable=True)
    best = best[:max_num] if max_num > 0 else best
    labels, places = labels[best], places[best]
    rows = order[labels, places]
    return torch.cat([multi_bboxes[rows], kept[: len(best), None]], dim=1), labels, multi_coeffs[rows]
