"""Quality focal loss and distribution focal loss (Li et al., "Generalized Focal Loss", NeurIPS 2020, eq. 5 and 6).

Naming: N samples, C classes, n bins of a distribution (reg_max + 1).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmdet.errors import ArgumentError, ModelInputError
from mmdet.registry import MODELS

from .reduction import WeightedLoss


def quality_focal_loss(
    pred: Tensor, target: tuple[Tensor, Tensor] | Tensor, beta: float = 2.0, activated: bool = False
) -> Tensor:
    """Binary cross-entropy against a soft target y, times ``|y - p| ** beta``, summed over the classes.

    Args:
        pred: (N, C) logits, or probabilities when ``activated``; computed in float32, where the logarithm of a probability is safe.
        target: ``(labels (N,), scores (N,))``, where a label outside [0, C) is background; or dense soft targets (N, C).
        beta: the focusing exponent; the modulating factor is not detached.
        activated: whether ``pred`` holds probabilities.

    Returns:
        (N,) loss of each sample.

    Raises:
        ArgumentError: the target is neither a tensor nor a pair.
    """
    # torch refuses BCE of probabilities under autocast, whatever their type.
    with torch.autocast(pred.device.type, enabled=False):
        pred = pred.float()
        probability = pred if activated else pred.sigmoid()
        cross_entropy = F.binary_cross_entropy if activated else F.binary_cross_entropy_with_logits
        if isinstance(target, Tensor):
            loss = cross_entropy(pred, target, reduction='none') * (target - probability).abs().pow(beta)
            return loss.sum(dim=1)
        if len(target) != 2:
            raise ArgumentError('must be labels and scores', field='target', received=target)
        labels, scores = target
        # Every entry as a negative first; the few positives are overwritten afterwards.
        loss = cross_entropy(pred, torch.zeros_like(pred), reduction='none') * probability.pow(beta)  # (N, C)
        rows = ((labels >= 0) & (labels < pred.size(1))).nonzero().squeeze(1)
        columns = labels[rows]
        quality = scores[rows].to(loss.dtype)
        positive = cross_entropy(pred[rows, columns], quality, reduction='none')
        positive = positive * (quality - probability[rows, columns]).abs().pow(beta)
        return loss.index_put((rows, columns), positive).sum(dim=1)


def distribution_focal_loss(pred: Tensor, label: Tensor) -> Tensor:
    """Cross-entropy shared between the two bins around a continuous label.

    Args:
        pred: (N, n) logits.
        label: (N,) values in [0, n - 1).

    Returns:
        (N,) loss of each sample.
    """
    left = label.long()
    log_probability = F.log_softmax(pred, dim=1)
    share_of_right = label - left
    left_loss = -log_probability.gather(1, left[:, None]).squeeze(1)
    right_loss = -log_probability.gather(1, left[:, None] + 1).squeeze(1)
    return left_loss * (1 - share_of_right) + right_loss * share_of_right


@MODELS.register_module()
class QualityFocalLoss(WeightedLoss):
    """Quality focal loss over (N, C) scores.

    Args:
        use_sigmoid: True takes logits. False takes probabilities, as in the configs of GFLV2; the same as ``activated``.
        beta: focusing exponent.
        reduction, loss_weight: see :class:`WeightedLoss`.
        activated: mmdetection's name for "``pred`` holds probabilities".
    """

    def __init__(
        self,
        use_sigmoid: bool = True,
        beta: float = 2.0,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        activated: bool = False,
    ):
        super().__init__(reduction, loss_weight)
        self.use_sigmoid, self.beta = use_sigmoid, beta
        self.activated = activated or not use_sigmoid

    def sample_losses(self, pred: Tensor, target: tuple[Tensor, Tensor] | Tensor) -> Tensor:
        """See :func:`quality_focal_loss`."""
        return quality_focal_loss(pred, target, self.beta, self.activated)


@MODELS.register_module()
class DistributionFocalLoss(WeightedLoss):
    """Distribution focal loss over (N, n) logits; arguments as of :class:`WeightedLoss`."""

    def sample_losses(self, pred: Tensor, target: Tensor) -> Tensor:
        """See :func:`distribution_focal_loss`.

        Raises:
            ModelInputError: ``pred`` and ``target`` of different length.
        """
        if len(pred) != len(target):
            received = (tuple(pred.shape), tuple(target.shape))
            raise ModelInputError('pred and target must be equally long', received=received)
        return distribution_focal_loss(pred, target)
