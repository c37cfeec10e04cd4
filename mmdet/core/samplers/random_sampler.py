"""Random priors (Faster R-CNN, NeurIPS 2015, section 3.1.3)."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmdet.core.assigners import AssignResult
from mmdet.errors import ArgumentError
from mmdet.registry import TASK_UTILS

from .base_sampler import BaseSampler


@TASK_UTILS.register_module()
class RandomSampler(BaseSampler):
    """Chooses positives and negatives with equal chances.

    Args:
        num: see :class:`BaseSampler`.
        pos_fraction: see there.
        neg_pos_ub: see there.
        add_gt_as_proposals: see there.
        **kwargs: ``rng``, a seed or a ``numpy.random.RandomState`` from which torch's generator is seeded with each choice; without
            it torch's global generator is used.
    """

    def __init__(
        self, num: int, pos_fraction: float, neg_pos_ub: int = -1, add_gt_as_proposals: bool = True, **kwargs: Any
    ):
        super().__init__(num, pos_fraction, neg_pos_ub, add_gt_as_proposals)
        rng = kwargs.get('rng')
        self.rng = np.random.RandomState(rng) if isinstance(rng, int) else rng

    def random_choice(self, gallery: Any, num: int) -> Any:
        """``num`` different elements of a sequence; a tensor of a tensor, otherwise an array.

        Raises:
            ArgumentError: the sequence is shorter.
        """
        if len(gallery) < num:
            raise ArgumentError(f'at most {len(gallery)} elements can be chosen', field='num', received=num)
        is_tensor = isinstance(gallery, Tensor)
        elements = gallery if is_tensor else torch.as_tensor(np.asarray(gallery))
        generator = None
        if self.rng is not None:
            generator = torch.Generator().manual_seed(int(self.rng.randint(2**31)))
        order = torch.randperm(len(elements), generator=generator)[:num].to(elements.device)
        return elements[order] if is_tensor else elements[order].numpy()

    def _some(self, rows: Tensor, num_expected: int) -> Tensor:
        rows = rows.nonzero().squeeze(1)
        return rows if len(rows) <= num_expected else self.random_choice(rows, num_expected)

    def _sample_pos(self, assign_result: AssignResult, num_expected: int, **kwargs: Any) -> Tensor:
        return self._some(assign_result.gt_inds > 0, num_expected)

    def _sample_neg(self, assign_result: AssignResult, num_expected: int, **kwargs: Any) -> Tensor:
        return self._some(assign_result.gt_inds == 0, num_expected)
