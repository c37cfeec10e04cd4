"""Squared differences, element by element."""

import torch.nn.functional as F
from torch import Tensor

from mmdet.registry import MODELS

from .reduction import WeightedLoss, weighted_loss


@weighted_loss
def mse_loss(pred: Tensor, target: Tensor) -> Tensor:
    """``(pred - target) ** 2``."""
    return F.mse_loss(pred, target, reduction='none')


@MODELS.register_module()
class MSELoss(WeightedLoss):
    """:func:`mse_loss` as a loss of a config; arguments as of :class:`WeightedLoss`."""

    def sample_losses(self, pred: Tensor, target: Tensor) -> Tensor:
        """See :func:`mse_loss`."""
        return mse_loss(pred, target, reduction='none')
