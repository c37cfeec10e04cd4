"""Make the model's random numbers a function of seed, iteration and rank."""

import random

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.hooks.hook import DATA_BATCH
from mmengine.runner import Runner

from ...registry import HOOKS

# Odd multipliers keep neighbouring iterations and ranks apart; numpy takes 32 bits only.
_ITERATION_FACTOR = 0x9E3779B1
_RANK_FACTOR = 0x85EBCA77


@HOOKS.register_module()
class ReseedHook(Hook):
    """Seed ``random``, ``numpy.random`` and torch before each training iteration.

    Dropout and the like then need no generator state in the checkpoint: iteration k draws the same numbers in an
    unbroken and in a resumed run. The samplers seed the augmentation. It costs about 30 microseconds an iteration.
    :class:`DetRunner` adds this hook; ``default_hooks=dict(reseed=None)`` takes it out.
    """

    priority = 'VERY_HIGH'

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: DATA_BATCH = None) -> None:
        """Seed for iteration ``runner.iter``."""
        seed = (runner.seed + _ITERATION_FACTOR * (runner.iter + 1) + _RANK_FACTOR * get_rank()) % 2**32
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
