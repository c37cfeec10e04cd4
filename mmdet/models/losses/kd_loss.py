"""Distillation of distributions (Hinton et al., arXiv 1503.02531; of box sides: Zheng et al., "Localization Distillation", CVPR 2022)."""

import torch.nn.functional as F
from torch import Tensor

from mmdet.errors import ArgumentError
from mmdet.registry import MODELS

from .reduction import WeightedLoss, weighted_loss


@weighted_loss
def knowledge_distillation_kl_div_loss(
    pred: Tensor, soft_label: Tensor, T: float, detach_target: bool = True
) -> Tensor:
    """``T**2`` times the mean over the columns of ``t (ln t - ln s)``, t and s the softmax of teacher and student at temperature T.

    The mean, where the Kullback-Leibler divergence has the sum, is mmdetection's.

    Args:
        pred: (N, n) logits of the student.
        soft_label: (N, n) logits of the teacher.
        T: temperature.
        detach_target: whether the teacher gets no gradient.

    Returns:
        (N,).

    Raises:
        ArgumentError: shapes that differ.
    """
    if pred.shape != soft_label.shape:
        raise ArgumentError(
            'pred and soft_label must have one shape', received=(tuple(pred.shape), tuple(soft_label.shape))
        )
    target = F.softmax(soft_label.float() / T, dim=1)
    if detach_target:
        target = target.detach()
    return F.kl_div(F.log_softmax(pred.float() / T, dim=1), target, reduction='none').mean(1) * (T * T)


@MODELS.register_module()
class KnowledgeDistillationKLDivLoss(WeightedLoss):
    """:func:`knowledge_distillation_kl_div_loss` as a loss of a config.

    Args:
        reduction, loss_weight: see :class:`WeightedLoss`.
        T: temperature, >= 1.

    Raises:
        ArgumentError: a temperature below 1.
    """

    def __init__(self, reduction: str = 'mean', loss_weight: float = 1.0, T: float = 10):
        super().__init__(reduction, loss_weight)
        if T < 1:
            raise ArgumentError('must be >= 1', field='T', received=T)
        self.T = T

    def sample_losses(self, pred: Tensor, target: Tensor) -> Tensor:
        """See :func:`knowledge_distillation_kl_div_loss`."""
        return knowledge_distillation_kl_div_loss(pred, target, reduction='none', T=self.T)
