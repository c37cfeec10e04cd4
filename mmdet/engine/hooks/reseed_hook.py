"""Random numbers of the model as a function of (seed, iteration, rank)."""

import random

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook

from ...registry import HOOKS

# Odd multipliers keep neighbouring iterations and ranks apart; numpy takes 32 bits only.
_ITERATION_FACTOR = 0x9E3779B1
_RANK_FACTOR = 0x85EBCA77


@HOOKS.register_module()
class ReseedHook(Hook):
    """Seed ``random``, ``numpy.random`` and torch before each training iteration.

    Dropout and the like then need no generator state in the checkpoint: iteration k draws the same numbers in an
    unbroken and in a resumed run. Augmentation is seeded apart, by the samplers. Costs about 30 microseconds an
    iteration. :class:`DetRunner` adds it by itself; ``default_hooks=dict(reseed=None)`` takes it out.
    """

    priority = 'VERY_HIGH'

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """Seed for iteration ``runner.iter``."""
        seed = (runner.seed + _ITERATION_FACTOR * (runner.iter + 1) + _RANK_FACTOR * get_rank()) % 2**32
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)


__all__ = ['ReseedHook']
