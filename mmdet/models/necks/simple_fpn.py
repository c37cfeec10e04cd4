"""Simple feature pyramid of a plain vision transformer (Li et al., "Exploring plain vision transformer backbones for object detection", ECCV 2022,
arXiv 2203.16527, section 3).
"""

import math
from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdet.errors import ConfigError
from mmdet.registry import MODELS
from mmdet.utils.checks import is_finite, is_int


class ChannelNorm(nn.LayerNorm):
    """A layer norm over the channels of each cell: (B, C, H, W) to the same shape."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each cell."""
        return F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps).permute(
            0, 3, 1, 2
        )


def _is_power_of_two(scale: Any) -> bool:
    return is_finite(scale) and scale > 0 and math.log2(scale).is_integer()


def _resize(channels: int, scale: float) -> tuple[list[nn.Module], int]:
    """Layers that make a map ``scale`` times as large, and the channels that they leave: each doubling halves them."""
    if scale < 1:
        return [
            nn.MaxPool2d(round(1 / scale), ceil_mode=True)
        ], channels  # cells at the border stay, as in the levels of an FPN
    layers: list[nn.Module] = []
    for _ in range(round(math.log2(scale))):
        if layers:
            layers += [ChannelNorm(channels, eps=1e-6), nn.GELU()]
        layers.append(nn.ConvTranspose2d(channels, channels // 2, 2, stride=2))
        channels //= 2
    return layers, channels


@MODELS.register_module()
class SimpleFPN(BaseModule):
    """Maps of several strides, each made of the last map of the backbone alone.

    A level is the map made larger by transposed convolutions or smaller by max-pooling, then a 1x1 and a 3x3 convolution, each with a layer norm
    over channels.

    Args:
        in_channels: channels of the last map of the backbone, or of all its maps; only the last one is read.
        out_channels: channels of every level.
        scales: size of each level over that of the map, powers of two; those of the paper are 4, 2, 1, 1/2. The strides are that of the map over
            these: 8 to 128 by default, where that is 16.
        init_cfg: initialisation.

    Raises:
        ConfigError: a scale that is no power of two, or that needs more channels than there are.
    """

    def __init__(
        self,
        in_channels: int | Sequence[int],
        out_channels: int = 256,
        scales: Sequence[float] = (2, 1, 1 / 2, 1 / 4, 1 / 8),
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        if not (isinstance(scales, (list, tuple)) and scales and all(map(_is_power_of_two, scales))):
            raise ConfigError('must be powers of two', field='neck.scales', received=scales)
        channels = in_channels[-1] if isinstance(in_channels, (list, tuple)) and in_channels else in_channels
        if not is_int(channels, 1) or channels % max(scales):
            message = f'must be a multiple of the largest scale, {max(scales)}: each doubling halves the channels'
            raise ConfigError(message, field='neck.in_channels', received=in_channels)
        self.in_channels, self.out_channels, self.scales = int(channels), out_channels, tuple(scales)
        self.levels = nn.ModuleList()
        for scale in scales:
            layers, channels = _resize(self.in_channels, scale) if scale != 1 else ([], self.in_channels)
            self.levels.append(
                nn.Sequential(
                    *layers,
                    nn.Conv2d(channels, out_channels, 1, bias=False),
                    ChannelNorm(out_channels, eps=1e-6),
                    nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
                    ChannelNorm(out_channels, eps=1e-6),
                )
            )

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The maps of the backbone, the last one (B, in_channels, H, W), to one (B, out_channels, H * s, W * s), rounded up, for each scale s."""
        return tuple(level(inputs[-1]) for level in self.levels)
