"""Positives by one sampler, negatives by another."""

from typing import Any

from torch import Tensor

from mmdet.registry import TASK_UTILS

from .base_sampler import BaseSampler


@TASK_UTILS.register_module()
class CombinedSampler(BaseSampler):
    """Chooses positives and negatives by samplers of their own (Libra R-CNN, CVPR 2019).

    Args:
        pos_sampler: config of the sampler of the positives.
        neg_sampler: config of that of the negatives.
        **kwargs: arguments of this sampler and of both.
    """

    def __init__(self, pos_sampler: dict, neg_sampler: dict, **kwargs: Any):
        super().__init__(**kwargs)
        self.pos_sampler = TASK_UTILS.build({**pos_sampler, **kwargs})
        self.neg_sampler = TASK_UTILS.build({**neg_sampler, **kwargs})

    def _sample_pos(self, *args: Any, **kwargs: Any) -> Tensor:
        raise NotImplementedError('the positives are chosen by pos_sampler')

    def _sample_neg(self, *args: Any, **kwargs: Any) -> Tensor:
        raise NotImplementedError('the negatives are chosen by neg_sampler')
