"""From a head's scores and boxes to the detections of one image.

Naming: N priors, C classes, n detections.
"""

import math

import torch
from torch import Tensor

from mmdet.ops import batched_nms


def filter_scores_and_topk(
    class_logits: Tensor, score_thr: float, topk: int, activated: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """The ``topk`` best (prior, class) pairs above a threshold.

    Logits are compared with the threshold's logit first, so that the sigmoid runs over the few survivors only; a small margin
    keeps what rounding could decide either way for the exact comparison after it.

    Args:
        class_logits: (N, C) logits, or probabilities when ``activated``.
        score_thr: pairs must score strictly more than this.
        topk: how many to keep at most; a negative number keeps all.
        activated: whether ``class_logits`` are probabilities already.

    Returns:
        scores (n,) in descending order, their priors (n,) and classes (n,), both int64.
    """
    num_classes = class_logits.size(1)
    flat = class_logits.flatten()
    if activated:
        pairs = (flat > score_thr).nonzero().squeeze(1)
        scores = flat[pairs].float()
    else:
        if 0 < score_thr < 1:
            floor = math.log(score_thr / (1 - score_thr)) - 1e-3
        else:
            floor = -math.inf if score_thr <= 0 else math.inf
        pairs = (
            (flat > floor).nonzero().squeeze(1) if floor > -math.inf else torch.arange(len(flat), device=flat.device)
        )
        scores = flat[pairs].float().sigmoid()
        above = scores > score_thr
        scores, pairs = scores[above], pairs[above]
    if 0 <= topk < len(scores):
        scores, order = scores.topk(topk)
    else:
        scores, order = scores.sort(descending=True)
    pairs = pairs[order]
    return scores, torch.div(pairs, num_classes, rounding_mode='floor'), pairs % num_classes


def _limited(nms: dict, max_per_img: int) -> dict:
    """The NMS can stop once it has as many survivors as are wanted."""
    return dict(nms, max_num=max_per_img) if max_per_img >= 0 else nms


def multiclass_nms(
    bboxes: Tensor, scores: Tensor, score_thr: float, nms: dict, max_per_img: int = -1
) -> tuple[Tensor, Tensor, Tensor]:
    """NMS over every (box, class) pair above a threshold.

    Args:
        bboxes: (N, 4) xyxy, shared by the classes.
        scores: (N, C) probabilities.
        score_thr: pairs must score strictly more than this.
        nms: config of :func:`mmdet.ops.batched_nms`.
        max_per_img: how many detections to keep at most; a negative number keeps all.

    Returns:
        dets (n, 5) xyxy + score in descending order of score, labels (n,), and the row (n,) of each in ``bboxes``.
    """
    rows, labels = (scores > score_thr).nonzero(as_tuple=True)
    dets, keep = batched_nms(bboxes[rows], scores[rows, labels], labels, _limited(nms, max_per_img))
    return dets, labels[keep], rows[keep]


def merge_augmented(
    bboxes: list[Tensor], scores: list[Tensor], labels: list[Tensor], nms: dict, max_per_img: int = -1
) -> tuple[Tensor, Tensor]:
    """Merge the detections of several views of one image by NMS.

    Args:
        bboxes: per view (n_i, 4) xyxy in the same image's pixels.
        scores: per view (n_i,).
        labels: per view (n_i,).
        nms: config of :func:`mmdet.ops.batched_nms`.
        max_per_img: how many to keep at most; a negative number keeps all.

    Returns:
        dets (n, 5) xyxy + score in descending order of score, and labels (n,).
    """
    boxes, label = torch.cat(bboxes), torch.cat(labels)
    dets, keep = batched_nms(boxes, torch.cat(scores), label, _limited(nms, max_per_img))
    return dets, label[keep]
