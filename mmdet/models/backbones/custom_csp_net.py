"""Backbone of NanoDet-g: cross-stage partial blocks of plain 3x3 convolutions (RangiLyu/nanodet)."""

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdet.errors import ConfigError
from mmdet.registry import MODELS

# Activation of every NanoDet; torch's own slope is ten times smaller.
LEAKY_CFG: dict = dict(type='LeakyReLU', negative_slope=0.1)


class TinyResBlock(nn.Module):
    """Two 3x3 convolutions to half of the channels, the second one of the first; the result is the concatenation of both."""

    def __init__(self, channels: int, **options: Any):
        super().__init__()
        self.in_conv = ConvModule(channels, channels // 2, 3, padding=1, **options)
        self.mid_conv = ConvModule(channels // 2, channels // 2, 3, padding=1, **options)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to the same."""
        first = self.in_conv(x)
        return torch.cat([self.mid_conv(first), first], dim=1)


class CspBlock(nn.Module):
    """A convolution, residual blocks of it and one more, beside the first: (B, C, H, W) to (B, 2 C, H / stride, W / stride)."""

    def __init__(self, channels: int, num_blocks: int, stride: int = 1, **options: Any):
        super().__init__()
        self.in_conv = ConvModule(channels, channels, 3, stride, padding=1, **options)
        self.res_blocks = nn.Sequential(*(TinyResBlock(channels, **options) for _ in range(num_blocks)))
        self.res_out_conv = ConvModule(channels, channels, 3, padding=1, **options)

    def forward(self, x: Tensor) -> Tensor:
        """See the module."""
        x = self.in_conv(x)
        return torch.cat([self.res_out_conv(self.res_blocks(x)), x], dim=1)


@MODELS.register_module()
class CustomCspNet(BaseModule):
    """A convolution of stride 2, a pooling of stride 2 and CSP blocks, each of which doubles the channels.

    Args:
        stem_channels: channels after the first convolution.
        blocks: residual blocks of each CSP block; the first of them has stride 1, the others 2.
        out_indices: stages to return; 0 is the convolution, 1 the pooling.
        norm_cfg, act_cfg: configs of norms and activations.
        init_cfg: initialisation; Kaiming normal by default.

    Attributes:
        out_channels: channels of the returned maps.

    Raises:
        ConfigError: ``out_indices`` of no stage.
    """

    def __init__(
        self,
        stem_channels: int = 32,
        blocks: Sequence[int] = (1, 2, 2, 3),
        out_indices: Sequence[int] = (3, 4, 5),
        norm_cfg: dict = dict(type='BN'),  # noqa: B006  never written to
        act_cfg: dict = LEAKY_CFG,
        init_cfg: dict | list[dict] | None = None,
    ):
        super().__init__(init_cfg or dict(type='Kaiming', layer='Conv2d', nonlinearity='leaky_relu'))
        options: dict = dict(norm_cfg=norm_cfg, act_cfg=act_cfg)
        stages: list[nn.Module] = [
            ConvModule(3, stem_channels, 3, stride=2, padding=1, **options),
            nn.MaxPool2d(3, stride=2, padding=1),
        ]
        channels = [stem_channels, stem_channels]
        for i, count in enumerate(blocks):
            stages.append(CspBlock(channels[-1], count, stride=1 if i == 0 else 2, **options))
            channels.append(2 * channels[-1])
        if not set(out_indices) <= set(range(len(stages))):
            raise ConfigError(f'must be in [0, {len(stages) - 1}]', field='out_indices', received=out_indices)
        self.stages = nn.ModuleList(stages)
        self.out_indices = tuple(out_indices)
        self.out_channels = [channels[i] for i in self.out_indices]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) to the maps of ``out_indices``: stages 2 and on have strides 4, 8, 16, ..."""
        outs = []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in self.out_indices:
                outs.append(x)
        return tuple(outs)
