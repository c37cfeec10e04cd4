"""Dice loss (Milletari et al., "V-Net", 3DV 2016, arXiv 1606.04797)."""

from torch import Tensor

from mmdet.errors import ConfigError
from mmdet.registry import MODELS

from .reduction import WeightedLoss, check_reduction, reduce_loss


def dice_loss(
    pred: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    eps: float = 1e-3,
    reduction: str = 'mean',
    naive_dice: bool = False,
    avg_factor: float | Tensor | None = None,
) -> Tensor:
    """``1 - 2 |p t| / (|p|^2 + |t|^2)`` of each sample.

    Args:
        pred: (N, ...) probabilities p.
        target: (N, ...) t.
        weight: (N,).
        eps: keeps the quotient finite.
        reduction, avg_factor: see :func:`mmdet.models.losses.weight_reduce_loss`.
        naive_dice: sums in the divisor instead of sums of squares, ``eps`` also above the line.
    """
    check_reduction(reduction)
    pred, target = pred.flatten(1).float(), target.flatten(1).float()
    overlap = (pred * target).sum(1)
    if naive_dice:
        dice = (2 * overlap + eps) / (pred.sum(1) + target.sum(1) + eps)
    else:
        dice = 2 * overlap / (pred.square().sum(1) + target.square().sum(1) + 2 * eps)
    return reduce_loss(1 - dice, weight, reduction, avg_factor)


@MODELS.register_module()
class DiceLoss(WeightedLoss):
    """:func:`dice_loss` as a loss of a config.

    Args:
        use_sigmoid: must be True where ``activate``.
        activate: whether the predictions are logits.
        reduction, loss_weight: see :class:`WeightedLoss`.
        naive_dice, eps: see :func:`dice_loss`.

    Raises:
        ConfigError: logits without ``use_sigmoid``.
    """

    def __init__(
        self,
        use_sigmoid: bool = True,
        activate: bool = True,
        reduction: str = 'mean',
        naive_dice: bool = False,
        loss_weight: float = 1.0,
        eps: float = 1e-3,
    ):
        super().__init__(reduction, loss_weight)
        if activate and not use_sigmoid:
            raise ConfigError('only sigmoids are there; must be True', field='use_sigmoid', received=use_sigmoid)
        self.use_sigmoid, self.activate, self.naive_dice, self.eps = use_sigmoid, activate, naive_dice, eps

    def forward(  # type: ignore[override]
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        reduction_override: str | None = None,
        avg_factor: float | Tensor | None = None,
    ) -> Tensor:
        """Loss of N samples; note that ``reduction_override`` comes before ``avg_factor``, as in mmdetection."""
        return super().forward(pred, target, weight, avg_factor, reduction_override)

    def sample_losses(self, pred: Tensor, target: Tensor) -> Tensor:
        """See :func:`dice_loss`."""
        pred = pred.sigmoid() if self.activate else pred
        return dice_loss(pred, target, eps=self.eps, reduction='none', naive_dice=self.naive_dice)
