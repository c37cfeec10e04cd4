"""Averaging the weights of a training run."""

import math
from typing import Any

import torch
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

    def update_parameters(self, model: nn.Module) -> None:
        """Average, or copy at the first step; all tensors by one call, which gives the numbers of :meth:`avg_func` for each of them."""
        steps = int(self.steps)
        if (
            type(self).avg_func is not ExpMomentumEMA.avg_func
            or not self.update_buffers
            or steps % self.interval
            or not steps
        ):
            super().update_parameters(model)
            return
        sources = model.state_dict(keep_vars=True)
        names = [name for name, mean in self.avg_parameters.items() if mean.is_floating_point()]
        means = [self.avg_parameters[name].data for name in names]
        newest = [sources[name].data.to(mean.device) for name, mean in zip(names, means)]
        torch._foreach_lerp_(means, newest, self._weight(self.steps))
        self.steps += 1

    def _weight(self, steps: Any) -> float:
        """How much the newest model counts."""
        return (1 - self.momentum) * math.exp(-(1 + steps) / self.gamma) + self.momentum

    def avg_func(self, averaged_param: Tensor, source_param: Tensor, steps: int) -> None:
        """Move ``averaged_param`` towards ``source_param``, in place."""
        averaged_param.lerp_(source_param, self._weight(steps))
