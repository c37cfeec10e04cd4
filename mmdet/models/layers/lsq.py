"""Learned step size quantisation of convolutions and linear layers (Esser et al., ICLR 2020, arXiv 1902.08153).

A tensor is quantised with b bits and step s as ``round(clamp(x / s, lower, upper)) * s``, lower = -2^(b-1), upper = 2^(b-1) - 1. Rounding
passes gradients straight through; the step is a parameter, whose gradient is scaled by 1 / sqrt(elements * upper) (section 2.2 there).
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce
from torch import Tensor, nn

from mmdet.errors import ConfigError

_SMALLEST_STEP = 1e-8


class LSQQuantizer(nn.Module):
    """Quantiser with one learned step for a tensor, or one for each index of its first axis.

    A step of 0 means that it is not set yet. The first training batch sets it to ``2 mean|x| / sqrt(upper)``, averaged over all processes. In eval
    mode an unset step is computed from each input and not kept, so that the output of an untrained network depends on its input alone.

    Args:
        bits: 2 to 16.
        channels: number of steps: 1 for the whole tensor, or the length of its first axis.
        symmetric: make ``upper`` 2^(b-1), as the variance table of the structure search assumes.

    Raises:
        ConfigError: bits out of range.
    """

    def __init__(self, bits: int, channels: int = 1, symmetric: bool = False):
        super().__init__()
        if isinstance(bits, bool) or not isinstance(bits, int) or not 2 <= bits <= 16:
            raise ConfigError('must be an int in 2..16', field='bits', received=bits)
        self.bits, self.channels = bits, channels
        self.lower = -(2 ** (bits - 1))
        self.upper = 2 ** (bits - 1) - (0 if symmetric else 1)
        self.step = nn.Parameter(torch.zeros(channels))
        # Known on the host: reading `step` in every forward would wait for the device.
        self._is_set = False

    def extra_repr(self) -> str:
        """Bits and steps, for ``repr``."""
        return f'bits={self.bits}, channels={self.channels}'

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._is_set = False
        super()._load_from_state_dict(*args, **kwargs)

    @torch.no_grad()
    def _first_step(self, x: Tensor) -> Tensor:
        magnitude = x.float().abs()
        mean = magnitude.flatten(1).mean(1) if self.channels > 1 else magnitude.mean()[None]
        step = (2 * mean / math.sqrt(self.upper)).clamp(min=_SMALLEST_STEP)
        if not self.training:
            return step
        all_reduce(step, op='mean')
        self.step.copy_(step)
        self._is_set = True
        return self.step

    def _current_step(self, x: Tensor) -> Tensor:
        if not self._is_set:
            self._is_set = bool((self.step.detach() != 0).all())
        return self.step if self._is_set else self._first_step(x)

    def forward(self, x: Tensor) -> Tensor:
        """Return the quantised values of `x`, of the same shape and dtype."""
        step = self._current_step(x)
        # Elements of one image (or one output channel): the batch size must not change the gradient's scale.
        elements = x.numel() / x.size(0)
        scale = 1 / math.sqrt(max(elements, 1) * self.upper)
        step = step.detach() + scale * (step - step.detach())  # the value of step, `scale` times its gradient
        step = step.abs().clamp(min=_SMALLEST_STEP).type_as(x)
        if self.channels > 1:
            step = step.reshape(-1, *[1] * (x.dim() - 1))
        level = torch.clamp(x / step, self.lower, self.upper)
        level = level + (level.round() - level).detach()
        return level * step


class LSQConv2d(nn.Conv2d):
    """Convolution with a quantised input (one step) and a quantised weight (one step for each output channel).

    Args:
        args, kwargs: arguments of ``nn.Conv2d``.
        bits_act, bits_weight: bits of the input and of the weight.
    """

    def __init__(self, *args: Any, bits_act: int, bits_weight: int, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.act_quantizer = LSQQuantizer(bits_act)
        self.weight_quantizer = LSQQuantizer(bits_weight, self.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, h, w)."""
        return self._conv_forward(self.act_quantizer(x), self.weight_quantizer(self.weight), self.bias)


class LSQLinear(nn.Linear):
    """Linear layer, quantised like :class:`LSQConv2d`; arguments are those of ``nn.Linear`` and the bits."""

    def __init__(self, *args: Any, bits_act: int = 8, bits_weight: int = 8, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.act_quantizer = LSQQuantizer(bits_act)
        self.weight_quantizer = LSQQuantizer(bits_weight, self.out_features)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in) to (N, out)."""
        return F.linear(self.act_quantizer(x), self.weight_quantizer(self.weight), self.bias)
