"""Weighted boxes fusion (Solovyev et al., arXiv 1910.13302)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmdet.core.boxes import bbox_overlaps
from mmdet.errors import ArgumentError


def weighted_boxes_fusion(
    bboxes_list: Sequence[Tensor],
    scores_list: Sequence[Tensor],
    labels_list: Sequence[Tensor],
    weights: Sequence[float] | None = None,
    iou_thr: float = 0.55,
    skip_box_thr: float = 0.0,
    conf_type: str = 'avg',
    allows_overflow: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Fuse the detections of several models in one image.

    In descending order of score, a box joins the cluster of its class whose mean box overlaps it most, or founds a new one.

    Args:
        bboxes_list, scores_list, labels_list: for each model (n_i, 4) xyxy, (n_i,), (n_i,).
        weights: one for each model; 1 by default.
        iou_thr: a box joins a cluster above this IoU.
        skip_box_thr: boxes that score less are left out.
        conf_type: the score of a cluster, 'avg' or 'max' of its boxes'.
        allows_overflow: whether a cluster of more boxes than models may score more than they.

    Returns:
        Boxes (n, 4), scores (n,) in descending order and labels (n,).

    Raises:
        ArgumentError: another ``conf_type``, or a wrong number of weights.
    """
    if conf_type not in ('avg', 'max'):
        raise ArgumentError("must be 'avg' or 'max'", field='conf_type', received=conf_type)
    models = len(bboxes_list)
    factors = torch.ones(models) if weights is None else torch.as_tensor(weights, dtype=torch.float)
    if len(factors) != models:
        raise ArgumentError(f'must be one for each of the {models} models', field='weights', received=weights)
    bboxes, labels = torch.cat(list(bboxes_list)), torch.cat(list(labels_list))
    raw = torch.cat(list(scores_list))
    scores = torch.cat([each * factor for each, factor in zip(scores_list, factors.tolist())])
    kept = (raw >= skip_box_thr).nonzero().squeeze(1)
    order = kept[scores[kept].argsort(descending=True, stable=True)]
    sums: list[Tensor] = []  # of score times box
    members: list[list[Tensor]] = []  # the scores
    cluster_labels: list[Tensor] = []
    for box, score, label in zip(bboxes[order], scores[order], labels[order]):
        if sums:
            means = torch.stack([total / sum(parts) for total, parts in zip(sums, members)])
            overlaps = bbox_overlaps(box[None], means)[0]
            overlaps[torch.stack(cluster_labels) != label] = -1
            best = int(overlaps.argmax())
            if overlaps[best] > iou_thr:
                sums[best] = sums[best] + box * score
                members[best].append(score)
                continue
        sums.append(box * score)
        members.append([score])
        cluster_labels.append(label)
    if not sums:
        return bboxes[:0], scores[:0], labels[:0]
    fused = torch.stack([total / sum(parts) for total, parts in zip(sums, members)])
    found = []
    for parts in members:
        if conf_type == 'max':
            found.append(max(parts) / factors.max())
        else:
            counted = len(parts) if allows_overflow else min(models, len(parts))
            found.append(sum(parts) / len(parts) * counted / factors.sum())
    score = torch.stack([torch.as_tensor(each) for each in found])
    order = score.argsort(descending=True, stable=True)
    return fused[order], score[order], torch.stack(cluster_labels)[order]
