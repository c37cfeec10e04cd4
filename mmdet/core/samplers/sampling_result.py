"""The priors of one image that its losses are computed from.

Naming: P priors, G ground-truth boxes, n positives, m negatives.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmdet.core.assigners import AssignResult
from mmdet.core.boxes import cat_boxes


class SamplingResult:
    """Positive and negative priors of one image, and what the positives belong to.

    Args:
        pos_inds: (n,) rows of the positive priors.
        neg_inds: (m,) rows of the negative ones.
        priors: (P, 4) xyxy tensor or boxes; as many as ``assign_result`` says.
        gt_bboxes: (G, 4) xyxy.
        assign_result: the assignment of the priors.
        gt_flags: (P,) uint8, 1 where the prior is a ground-truth box that was added.
        avg_factor_with_neg: whether ``avg_factor`` counts the negatives too.

    Attributes:
        pos_inds, neg_inds: as given.
        num_pos, num_neg: n and m, 1 for none.
        avg_factor: by what losses are divided: ``num_pos``, plus ``num_neg`` when ``avg_factor_with_neg``.
        pos_priors, neg_priors: (n, 4) and (m, 4).
        pos_is_gt: (n,) uint8.
        num_gts: G.
        pos_assigned_gt_inds: (n,) int64, 0-based.
        pos_gt_labels: (n,) int64.
        pos_gt_bboxes: (n, 4).
    """

    def __init__(
        self,
        pos_inds: Tensor,
        neg_inds: Tensor,
        priors: Any,
        gt_bboxes: Any,
        assign_result: AssignResult,
        gt_flags: Tensor,
        avg_factor_with_neg: bool = True,
    ):
        self.pos_inds, self.neg_inds = pos_inds, neg_inds
        self.num_pos, self.num_neg = max(pos_inds.numel(), 1), max(neg_inds.numel(), 1)
        self.avg_factor_with_neg = avg_factor_with_neg
        self.avg_factor = self.num_pos + self.num_neg if avg_factor_with_neg else self.num_pos
        self.pos_priors, self.neg_priors = priors[pos_inds], priors[neg_inds]
        self.pos_is_gt = gt_flags[pos_inds]
        self.num_gts = len(gt_bboxes)
        self.pos_assigned_gt_inds = assign_result.gt_inds[pos_inds] - 1
        self.pos_gt_labels = assign_result.labels[pos_inds]
        if self.num_gts == 0 and isinstance(gt_bboxes, Tensor):  # also of a tensor of shape (0,)
            gt_bboxes = gt_bboxes.view(0, priors.shape[-1])
        self.pos_gt_bboxes = gt_bboxes[self.pos_assigned_gt_inds.long()]

    @property
    def priors(self) -> Any:
        """(n + m, 4) the positive priors, then the negative ones."""
        return cat_boxes([self.pos_priors, self.neg_priors])

    @property
    def bboxes(self) -> Any:
        """:attr:`priors`, by its earlier name."""
        return self.priors

    @property
    def pos_bboxes(self) -> Any:
        """:attr:`pos_priors`, by its earlier name."""
        return self.pos_priors

    @property
    def neg_bboxes(self) -> Any:
        """:attr:`neg_priors`, by its earlier name."""
        return self.neg_priors

    def to(self, device: torch.device | str) -> 'SamplingResult':
        """Move all tensors to a device, in place."""
        for name, value in vars(self).items():
            if hasattr(value, 'to'):
                setattr(self, name, value.to(device))
        return self

    @property
    def info(self) -> dict[str, Any]:
        """The attributes as a dict."""
        names = ('pos_inds', 'neg_inds', 'pos_priors', 'neg_priors', 'pos_is_gt', 'num_gts', 'pos_assigned_gt_inds')
        return {name: getattr(self, name) for name in (*names, 'num_pos', 'num_neg', 'avg_factor')}

    def __repr__(self) -> str:
        return f'<SamplingResult(num_gts={self.num_gts}, pos_inds={self.pos_inds.tolist()}, neg_inds={len(self.neg_inds)})>'

    @classmethod
    def random(cls, rng: int | np.random.RandomState | None = None, **kwargs: Any) -> 'SamplingResult':
        """A consistent result for tests.

        Args:
            rng: a seed or a ``numpy.random.RandomState``.
            **kwargs: ``num_preds``, ``num_gts`` and more, see :meth:`mmdet.core.assigners.AssignResult.random`.
        """
        rng = rng if isinstance(rng, np.random.RandomState) else np.random.RandomState(rng)
        assign_result = AssignResult.random(rng=rng, **kwargs)

        def boxes(count: int) -> Tensor:
            corners = torch.from_numpy(rng.rand(count, 2, 2)).float()
            return torch.cat([corners.amin(1), corners.amax(1)], dim=1)

        def some(chosen: Tensor) -> Tensor:
            rows = chosen.nonzero().squeeze(1)
            return rows[torch.from_numpy(np.sort(rng.permutation(len(rows))[:16]))]

        pos_inds, neg_inds = some(assign_result.gt_inds > 0), some(assign_result.gt_inds == 0)
        flags = torch.zeros(assign_result.num_preds, dtype=torch.uint8)
        return cls(
            pos_inds, neg_inds, boxes(assign_result.num_preds), boxes(assign_result.num_gts), assign_result, flags
        )
