"""Averaging the weights of a training run."""

import math
from typing import Any

from mmengine.model import ExponentialMovingAverage
from torch import Tensor, nn

from mmdet.errors import ConfigError
from mmdet.registry import MODELS


@MODELS.register_module()
class ExpMomentumEMA(ExponentialMovingAverage):
    """Exponential moving average whose momentum starts at 1 and decays to ``momentum`` (YOLOX, arXiv 2107.08430).

    At step s the new weight counts ``(1 - momentum) * exp(-(1 + s) / gamma) + momentum``: early weights are forgotten quickly.

    Args:
        model: the averaged model.
        momentum: the final weight of the newest model, in (0, 1).
        gamma: steps over which the momentum decays, > 0.
        **kwargs: arguments of mmengine's ``ExponentialMovingAverage``.
    """

    def __init__(self, model: nn.Module, momentum: float = 0.0002, gamma: int = 2000, **kwargs: Any):
        if gamma <= 0:
            raise ConfigError('must be > 0', field='ExpMomentumEMA.gamma', received=gamma)
        super().__init__(model, momentum=momentum, **kwargs)
        self.gamma = gamma

    def avg_func(self, averaged_param: Tensor, source_param: Tensor, steps: int) -> None:
        """Move ``averaged_param`` towards ``source_param``, in place."""
        momentum = (1 - self.momentum) * math.exp(-(1 + steps) / self.gamma) + self.momentum
        averaged_param.lerp_(source_param, momentum)
