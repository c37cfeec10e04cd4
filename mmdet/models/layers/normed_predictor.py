"""Predictors that see only the direction of their input and weights (cosine classifiers)."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from mmdet.registry import MODELS


def _unit(values: Tensor, power: float, eps: float) -> Tensor:
    """Values divided by their length, to the ``power``, along dimension 1."""
    return values / (values.norm(dim=1, keepdim=True).pow(power) + eps)


@MODELS.register_module()
class NormedConv2d(nn.Conv2d):
    """A convolution whose weights and input, along the channels, are divided by their length.

    Args:
        *args: as in ``torch.nn.Conv2d``.
        tempearture: factor of the input; the spelling is mmdetection's.
        power: exponent of the lengths.
        eps: added to them.
        norm_over_kernel: take the length of all weights of an output channel, instead of those of one place of the kernel.
        **kwargs: as in ``torch.nn.Conv2d``.
    """

    def __init__(
        self,
        *args: Any,
        tempearture: float = 20,
        power: float = 1.0,
        eps: float = 1e-6,
        norm_over_kernel: bool = False,
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        self.tempearture, self.power, self.eps, self.norm_over_kernel = tempearture, power, eps, norm_over_kernel

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, h, w)."""
        weight = self.weight.flatten(1) if self.norm_over_kernel else self.weight
        weight = _unit(weight, self.power, self.eps).view_as(self.weight)
        x = _unit(x, self.power, self.eps) * self.tempearture
        return F.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


@MODELS.register_module()
class NormedLinear(nn.Linear):
    """A linear layer whose weights and input are divided by their length.

    Args:
        *args: as in ``torch.nn.Linear``.
        tempearture: factor of the input; the spelling is mmdetection's.
        power: exponent of the lengths.
        eps: added to them.
        **kwargs: as in ``torch.nn.Linear``.
    """

    def __init__(self, *args: Any, tempearture: float = 20, power: float = 1.0, eps: float = 1e-6, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.tempearture, self.power, self.eps = tempearture, power, eps
        self.init_weights()

    def init_weights(self) -> None:
        """Weights from N(0, 0.01), no bias."""
        nn.init.normal_(self.weight, mean=0, std=0.01)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_features) to (N, out_features)."""
        unit = _unit(x, self.power, self.eps) * self.tempearture
        return F.linear(unit, _unit(self.weight, self.power, self.eps), self.bias)
