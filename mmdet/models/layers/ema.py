"""Averaging the weights of a training run."""

import math
from typing import Any

from mmengine.model import ExponentialMovingAverage
from torch import Tensor, nn

from mmdet.errors import ArgumentError
from mmdet.registry import MODELS


@MODELS.register_module()
class ExpMomentumEMA(ExponentialMovingAverage):
    """Exponential moving average whose momentum starts at 1 and decays to ``momentum`` (YOLOX, arXiv 2107.08430).

    At step s the new weight counts ``(1 - momentum) * exp(-(1 + s) / gamma) + momentum``: early weights are forgotten quickly. The first
    update copies. A tensor with several names (RTMDet's shared convolutions) is averaged once; mmengine's own class would do so once a name.

    Args:
        model: the averaged model.
        momentum: the final weight of the newest model, in (0, 1).
        gamma: steps over which the momentum decays, > 0.
        **kwargs: ``interval``, ``device`` and ``update_buffers`` of mmengine's ``ExponentialMovingAverage``.

    Raises:
        ArgumentError: ``gamma`` out of range.
        AssertionError: ``momentum`` out of range.
    """

    avg_parameters: dict[str, Tensor]

    def __init__(self, model: nn.Module, momentum: float = 0.0002, gamma: int = 2000, **kwargs: Any):
        if gamma <= 0:
            raise ArgumentError('gamma must be greater than 0', field='ExpMomentumEMA', received=gamma)
        super().__init__(model, momentum=momentum, **kwargs)
        self.gamma = gamma
        by_place = {value.data_ptr(): name for name, value in reversed(self.avg_parameters.items())}
        self.avg_parameters = {name: self.avg_parameters[name] for name in by_place.values()}

    def avg_func(self, averaged_param: Tensor, source_param: Tensor, steps: int) -> None:
        """Move ``averaged_param`` towards ``source_param``, in place."""
        momentum = (1 - self.momentum) * math.exp(-(1 + steps) / self.gamma) + self.momentum
        averaged_param.lerp_(source_param, momentum)
