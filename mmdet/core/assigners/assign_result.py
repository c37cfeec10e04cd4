"""What an assigner says about the priors of one image.

Naming: P priors, G ground-truth boxes.
"""

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclasses.dataclass(repr=False)
class AssignResult:
    """Assignment of P priors to G ground-truth boxes.

    Attributes:
        num_gts: G.
        gt_inds: (P,) int64; 0 background, g + 1 for ground truth g, -1 ignored.
        max_overlaps: (P,) IoU of a positive prior with its box; what the others hold is up to the assigner.
        labels: (P,) int64 class of the assigned box, -1 where there is none.
        assign_metrics: (P,) alignment of the positive priors, 0 elsewhere; only of ``TaskAlignedAssigner``.

    >>> AssignResult(2, torch.tensor([0, 2, -1]), torch.tensor([0.1, 0.9, 0.4]), torch.tensor([-1, 7, -1]))
    <AssignResult(num_gts=2, gt_inds.shape=(3,), max_overlaps.shape=(3,), labels.shape=(3,))>
    """

    num_gts: int
    gt_inds: Tensor
    max_overlaps: Tensor
    labels: Tensor
    assign_metrics: Tensor | None = None

    def __post_init__(self) -> None:
        self._extra_properties: dict[str, Any] = {}

    @classmethod
    def background(cls, num_gts: int, like: Tensor) -> 'AssignResult':
        """All of the ``len(like)`` priors are background, with overlaps of the floating-point type of ``like``."""
        gt_inds = like.new_zeros(len(like), dtype=torch.long)
        return cls(num_gts, gt_inds, like.new_zeros(len(like)), torch.full_like(gt_inds, -1))

    def assign_pairs(self, prior_inds: Tensor, gt_of_pair: Tensor, overlaps: Tensor, gt_labels: Tensor) -> Tensor:
        """Assign priors to boxes, in place.

        A prior that several boxes claim goes to the one it overlaps most; among equal overlaps the first box wins.

        Args:
            prior_inds: (n,) priors that are claimed.
            gt_of_pair: (n,) the box of each claim, 0-based.
            overlaps: (n,) their overlaps, >= 0.
            gt_labels: (G,) classes of the boxes, G > 0.

        Returns:
            (P,) bool, which priors are claimed.
        """
        best = overlaps.new_full((self.num_preds,), -1).scatter_reduce_(0, prior_inds, overlaps, 'amax')
        # Claims that are beaten vote for a box behind the last one, which leaves the least to the first of the equals.
        votes = torch.where(overlaps == best[prior_inds], gt_of_pair, self.num_gts)
        winner = self.gt_inds.new_full((self.num_preds,), self.num_gts).scatter_reduce_(0, prior_inds, votes, 'amin')
        positive = winner < self.num_gts
        self.gt_inds = torch.where(positive, winner + 1, self.gt_inds)
        self.labels = torch.where(positive, gt_labels[winner.clamp(max=self.num_gts - 1)], self.labels)
        self.max_overlaps = torch.where(positive, best, self.max_overlaps)
        return positive

    @property
    def num_preds(self) -> int:
        """P."""
        return len(self.gt_inds)

    @property
    def pos_inds(self) -> Tensor:
        """(n,) ascending indices of the positive priors."""
        return (self.gt_inds > 0).nonzero().squeeze(1)

    def set_extra_property(self, key: str, value: Any) -> None:
        """Keep a further result under a name that is no attribute."""
        if key in self.info:
            raise KeyError(f'{key} is set already')
        self._extra_properties[key] = value

    def get_extra_property(self, key: str) -> Any:
        """What :meth:`set_extra_property` kept; None for an unknown name."""
        return self._extra_properties.get(key)

    @property
    def info(self) -> dict[str, Any]:
        """The attributes, ``num_preds`` and the extra properties, as one dict."""
        own = dict(num_gts=self.num_gts, num_preds=self.num_preds, gt_inds=self.gt_inds, max_overlaps=self.max_overlaps)
        return {**own, 'labels': self.labels, **self._extra_properties}

    def add_gt_(self, gt_labels: Tensor) -> None:
        """Put the G boxes themselves before the priors, each assigned to itself with overlap 1, in place."""
        own = torch.arange(1, len(gt_labels) + 1, dtype=torch.long, device=gt_labels.device)
        self.gt_inds = torch.cat([own, self.gt_inds])
        self.max_overlaps = torch.cat([self.max_overlaps.new_ones(len(own)), self.max_overlaps])
        self.labels = torch.cat([gt_labels, self.labels])

    @classmethod
    def random(cls, **kwargs: Any) -> 'AssignResult':
        """A consistent result for tests.

        Args:
            **kwargs: ``num_preds`` and ``num_gts`` (random and small by default), ``p_ignore`` (0.3) and ``p_assigned`` (0.5), the shares
                of ignored and of claimed priors, ``num_classes`` (3), ``p_use_label`` (0.5; the probability that labels are not all 0),
                and ``rng``, a seed or ``numpy.random.RandomState``.
        """
        rng = kwargs.get('rng')
        rng = rng if isinstance(rng, np.random.RandomState) else np.random.RandomState(rng)
        num_preds = kwargs['num_preds'] if kwargs.get('num_preds') is not None else rng.randint(16)
        num_gts = kwargs['num_gts'] if kwargs.get('num_gts') is not None else rng.randint(8)
        claimed = min(rng.binomial(num_preds, kwargs.get('p_assigned', 0.5)), num_gts)
        use_label = rng.rand() < kwargs.get('p_use_label', 0.5)
        class_of_gt = rng.randint(kwargs.get('num_classes', 3), size=num_gts) if use_label else np.zeros(num_gts, int)
        gt_inds, overlaps, labels = np.zeros(num_preds, int), np.zeros(num_preds), np.full(num_preds, -1)
        order = rng.permutation(num_preds)
        gts = rng.permutation(num_gts)[:claimed]
        gt_inds[order[:claimed]], labels[order[:claimed]] = gts + 1, class_of_gt[gts]
        overlaps[order[:claimed]] = rng.rand(claimed)
        rest = order[claimed:]
        gt_inds[rest[rng.rand(len(rest)) < kwargs.get('p_ignore', 0.3)]] = -1
        return cls(num_gts, torch.from_numpy(gt_inds), torch.from_numpy(overlaps).float(), torch.from_numpy(labels))

    def __repr__(self) -> str:
        shapes = [f'{name}.shape={tuple(getattr(self, name).shape)}' for name in ('gt_inds', 'max_overlaps', 'labels')]
        return f'<AssignResult({", ".join([f"num_gts={self.num_gts}", *shapes])})>'
