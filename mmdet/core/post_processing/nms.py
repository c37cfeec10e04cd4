"""From a head's scores and boxes to the detections of one image.

Naming: N priors, C classes, n detections.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet.ops import batched_nms
from mmdet_runtime.suppression import across_views, limit_survivors


@dataclasses.dataclass(frozen=True)
class ScoredBoxes:
    """Boxes of one image, each with one score and one class.

    Attributes:
        bboxes: (n, 4) xyxy, in pixels.
        scores: (n,).
        labels: (n,) int64, 0-based class indices.
    """

    bboxes: Tensor
    scores: Tensor
    labels: Tensor

    @classmethod
    def cat(cls, parts: Sequence['ScoredBoxes | InstanceData']) -> 'ScoredBoxes':
        """Concatenate one or more parts that have the three fields."""
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in ('bboxes', 'scores', 'labels')))

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: Tensor | slice) -> 'ScoredBoxes':
        """The boxes that a mask (n,), indices or a slice selects."""
        return ScoredBoxes(self.bboxes[index], self.scores[index], self.labels[index])

    def suppress(self, nms: Mapping | None, max_per_img: int = -1, views: Tensor | None = None) -> 'ScoredBoxes':
        """The survivors of an NMS, in descending order of score; of equal scores the earlier box comes first.

        Args:
            nms: config of :func:`mmdet.ops.batched_nms`.
            max_per_img: how many to keep at most; a negative number keeps all.
            views: (n,), see :func:`mmdet.ops.batched_nms`.
        """
        settings = limit_survivors(nms, max_per_img)
        dets, keep = batched_nms(self.bboxes, self.scores, self.labels, settings, views=views)
        found = ScoredBoxes(dets[:, :4], dets[:, 4], self.labels[keep])
        return found[:max_per_img] if nms is None and max_per_img >= 0 else found

    def to_instances(self) -> InstanceData:
        """The same boxes as an ``InstanceData``."""
        return InstanceData(bboxes=self.bboxes, scores=self.scores, labels=self.labels)


def merge_views(
    views: Sequence[ScoredBoxes | InstanceData],
    nms: Mapping | None,
    max_per_img: int = -1,
    end_to_end: bool | Sequence[bool] = False,
) -> InstanceData:
    """Merge the detections of several views of one image (scales, flips, tiles or passes) by one NMS.

    Args:
        views: at least one, their boxes in pixels of the same image.
        nms: see :meth:`ScoredBoxes.suppress`; None is :data:`~mmdet_runtime.suppression.ACROSS_VIEWS` where a view is ``end_to_end``.
        max_per_img: see there.
        end_to_end: of all views or of each, whether it has one box for each object: then its boxes do not suppress each other, and of a single
            view all are kept up to ``max_per_img``.

    Returns:
        ``bboxes`` (n, 4), ``scores`` (n,) in descending order (of equal scores the earlier view's first) and ``labels`` (n,).
    """
    found = ScoredBoxes.cat(views)
    settings, numbers = across_views([len(view) for view in views], nms, end_to_end)
    own = None if numbers is None else torch.tensor(numbers, dtype=torch.int64, device=found.scores.device)
    return found.suppress(settings, max_per_img, own).to_instances()


def filter_scores_and_topk(
    class_logits: Tensor, score_thr: float, topk: int, activated: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """The ``topk`` best (prior, class) pairs above a threshold.

    Logits are first compared with the logit of the threshold, less a small margin for rounding, so that the sigmoid and the exact
    comparison run over the few survivors only.

    Args:
        class_logits: (N, C) logits, or probabilities when ``activated``.
        score_thr: a pair must score strictly more than this.
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
        pairs = (flat >= floor).nonzero().squeeze(1)
        scores = flat[pairs].float().sigmoid()
        above = scores > score_thr
        scores, pairs = scores[above], pairs[above]
    if 0 <= topk < len(scores):
        scores, order = scores.topk(topk)
    else:
        scores, order = scores.sort(descending=True)
    pairs = pairs[order]
    return scores, torch.div(pairs, num_classes, rounding_mode='floor'), pairs % num_classes


def multiclass_nms(
    bboxes: Tensor, scores: Tensor, score_thr: float, nms: dict, max_per_img: int = -1
) -> tuple[Tensor, Tensor, Tensor]:
    """NMS over every (box, class) pair above a threshold.

    Args:
        bboxes: (N, 4) xyxy, shared by the classes.
        scores: (N, C) probabilities.
        score_thr: pairs must score strictly more than this.
        nms, max_per_img: see :meth:`ScoredBoxes.suppress`.

    Returns:
        dets (n, 5) xyxy + score in descending order of score, labels (n,), and the row (n,) of each in ``bboxes``.
    """
    rows, labels = (scores > score_thr).nonzero(as_tuple=True)
    dets, keep = batched_nms(bboxes[rows], scores[rows, labels], labels, limit_survivors(nms, max_per_img))
    return dets, labels[keep], rows[keep]


def merge_augmented(
    bboxes: list[Tensor], scores: list[Tensor], labels: list[Tensor], nms: dict, max_per_img: int = -1
) -> tuple[Tensor, Tensor]:
    """:func:`merge_views` of three lists with one entry for each view, (n_i, 4), (n_i,), (n_i,): dets (n, 5) xyxy + score, labels (n,)."""
    merged = merge_views([ScoredBoxes(*view) for view in zip(bboxes, scores, labels)], nms, max_per_img)
    return torch.cat([merged.bboxes, merged.scores[:, None]], dim=1), merged.labels
