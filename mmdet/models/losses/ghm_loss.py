"""Gradient harmonising losses (Li et al., AAAI 2019, arXiv 1811.05181)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdet.errors import ConfigError
from mmdet.registry import MODELS

from .reduction import check_reduction, reduce_loss


class _Harmonised(nn.Module):
    """Weighs a sample by the inverse of how many samples have a gradient in the same bin.

    Args:
        bins: number of bins over [0, 1].
        momentum: of the running counts; 0 uses those of the batch.
        last_edge: upper edge of the last bin.
    """

    edges: Tensor
    acc_sum: Tensor

    def __init__(self, bins: int, momentum: float, last_edge: float, reduction: str, loss_weight: float):
        super().__init__()
        check_reduction(reduction)
        self.bins, self.momentum, self.reduction, self.loss_weight = bins, momentum, reduction, loss_weight
        edges = torch.arange(bins + 1).float() / bins
        edges[-1] = last_edge
        self.register_buffer('edges', edges)
        if momentum > 0:
            self.register_buffer('acc_sum', torch.zeros(bins))

    def _weights(self, gradient: Tensor, valid: Tensor, total: Tensor) -> Tensor:
        """Factors of the samples' losses: ``total / count of the bin / number of bins in use``, 0 where not ``valid``."""
        place = torch.bucketize(gradient, self.edges, right=True) - 1
        valid = valid & (place >= 0) & (place < self.bins)
        counts = gradient.new_zeros(self.bins).index_add_(
            0, place[valid], gradient.new_ones(()).expand(len(place[valid]))
        )
        used = counts > 0
        if self.momentum > 0:
            mixed = self.momentum * self.acc_sum + (1 - self.momentum) * counts
            self.acc_sum.copy_(torch.where(used, mixed, self.acc_sum))
            counts = self.acc_sum
        of_bin = torch.where(used, total / counts, counts.new_zeros(())) / used.sum().clamp(min=1)
        return torch.where(valid, of_bin[place.clamp(0, self.bins - 1)], 0.0)


@MODELS.register_module()
class GHMC(_Harmonised):
    """Harmonised cross-entropy of sigmoids.

    Args:
        bins, momentum: see the paper; 10 bins, no running counts.
        use_sigmoid: must be True.
        loss_weight: factor of the result.
        reduction: 'none', 'mean' or 'sum'; 'mean' divides by the number of weighted entries.

    Raises:
        ConfigError: ``use_sigmoid=False``.
    """

    def __init__(
        self,
        bins: int = 10,
        momentum: float = 0,
        use_sigmoid: bool = True,
        loss_weight: float = 1.0,
        reduction: str = 'mean',
    ):
        super().__init__(bins, momentum, 1 + 1e-6, reduction, loss_weight)
        if not use_sigmoid:
            raise ConfigError('only sigmoids are there; must be True', field='use_sigmoid', received=use_sigmoid)
        self.use_sigmoid = use_sigmoid

    def forward(
        self, pred: Tensor, target: Tensor, label_weight: Tensor, reduction_override: str | None = None, **kwargs: Any
    ) -> Tensor:
        """Loss of (N, C) logits.

        Args:
            pred: (N, C) logits.
            target: (N, C) in {0, 1}, or (N,) labels, where one of at least C is background.
            label_weight: (N, C) or (N,); entries of 0 are left out.
            reduction_override: replaces the ``reduction`` of the constructor.
            **kwargs: accepted and not used.
        """
        check_reduction(reduction_override)
        reduction = reduction_override or self.reduction
        if pred.dim() != target.dim():
            rows = ((target >= 0) & (target < pred.size(1))).nonzero().squeeze(1)
            target = torch.zeros_like(pred).index_put((rows, target[rows]), pred.new_ones(()))
            label_weight = label_weight[:, None].expand_as(pred)
        target, valid = target.float(), label_weight > 0
        total = valid.sum().clamp(min=1).float()
        weights = self._weights((pred.sigmoid().detach() - target).abs(), valid, total)
        loss = F.binary_cross_entropy_with_logits(pred, target, reduction='none')
        return self.loss_weight * reduce_loss(loss, weights, reduction, total if reduction == 'mean' else None)


@MODELS.register_module()
class GHMR(_Harmonised):
    """Harmonised, smoothed L1 loss ``sqrt(d^2 + mu^2) - mu``.

    Args:
        mu: how smooth.
        bins, momentum: see the paper; 10 bins, no running counts.
        loss_weight: factor of the result.
        reduction: 'none', 'mean' or 'sum'; 'mean' divides by the sum of the weights.
    """

    def __init__(
        self, mu: float = 0.02, bins: int = 10, momentum: float = 0, loss_weight: float = 1.0, reduction: str = 'mean'
    ):
        super().__init__(bins, momentum, 1e3, reduction, loss_weight)
        self.mu = mu

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        label_weight: Tensor,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Loss of (N, 4) differences; ``label_weight`` (N, 4), entries of 0 are left out; ``avg_factor`` is not used."""
        check_reduction(reduction_override)
        reduction = reduction_override or self.reduction
        difference = pred - target
        root = torch.sqrt(difference.square() + self.mu**2)
        total = label_weight.float().sum().clamp(min=1)
        weights = self._weights((difference / root).detach().abs(), label_weight > 0, total)
        return self.loss_weight * reduce_loss(
            root - self.mu, weights, reduction, total if reduction == 'mean' else None
        )
