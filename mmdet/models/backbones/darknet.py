"""Darknet-53, the backbone of YOLOv3 (Redmon and Farhadi, arXiv 1804.02767, section 2.4)."""

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdet.errors import ArgumentError, ConfigError
from mmdet.registry import MODELS

from .freezing import FreezableBackbone
from .pretrained import pretrained_cfg

# The defaults of Darknet, and of neck and head of YOLOv3.
BN_CFG: dict = dict(type='BN', requires_grad=True)
LEAKY_CFG: dict = dict(type='LeakyReLU', negative_slope=0.1)
_INIT_CFG = [
    dict(type='Kaiming', layer='Conv2d'),
    dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm']),
]


class ResBlock(BaseModule):
    """A 1x1 convolution to half the channels, a 3x3 one back, and the identity: (B, in_channels, H, W) to the same.

    Args:
        in_channels: an even number of channels.
        conv_cfg, norm_cfg, act_cfg: configs of convolutions, norms and activations.
        init_cfg: initialisation.
    """

    def __init__(
        self,
        in_channels: int,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = BN_CFG,
        act_cfg: dict | None = LEAKY_CFG,
        init_cfg: dict | list[dict] | None = None,
    ):
        super().__init__(init_cfg)
        if in_channels % 2:
            raise ArgumentError('must be even', field='in_channels', received=in_channels)
        options: dict = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.conv1 = ConvModule(in_channels, in_channels // 2, 1, **options)
        self.conv2 = ConvModule(in_channels // 2, in_channels, 3, padding=1, **options)

    def forward(self, x: Tensor) -> Tensor:
        """See the module."""
        return self.conv2(self.conv1(x)) + x


@MODELS.register_module()
class Darknet(FreezableBackbone):
    """``conv1`` of stride 1 and ``conv_res_block1``, ``conv_res_block2``, ..., each of a convolution of stride 2 and residual blocks.

    Args:
        depth: 53.
        out_indices: maps to return; 0 is that of ``conv1``, i that of stride 2^i.
        frozen_stages: so many of the parts, the first ones, do not train; -1 freezes nothing.
        conv_cfg, norm_cfg, act_cfg: configs of convolutions, norms and activations.
        norm_eval: keep every batch norm in eval mode.
        pretrained: old form of ``init_cfg=dict(type='Pretrained', checkpoint=pretrained)``.
        init_cfg: initialisation; Kaiming by default.

    Raises:
        KeyError: another depth.
        ArgumentError: ``out_indices`` of no part, or both ``pretrained`` and ``init_cfg``.
        ConfigError: ``frozen_stages`` out of range.
    """

    # Residual blocks of each part, and its channels before and after.
    arch_settings = {53: ((1, 2, 8, 8, 4), ((32, 64), (64, 128), (128, 256), (256, 512), (512, 1024)))}

    def __init__(
        self,
        depth: int = 53,
        out_indices: Sequence[int] = (3, 4, 5),
        frozen_stages: int = -1,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = BN_CFG,
        act_cfg: dict | None = LEAKY_CFG,
        norm_eval: bool = True,
        pretrained: str | None = None,
        init_cfg: dict | list[dict] | None = None,
    ):
        super().__init__(pretrained_cfg(pretrained, init_cfg) or _INIT_CFG)
        if depth not in self.arch_settings:
            raise KeyError(f'depth must be one of {sorted(self.arch_settings)}. Received: {depth!r}')
        blocks, channels = self.arch_settings[depth]
        if not set(out_indices) <= set(range(len(blocks) + 1)):
            raise ArgumentError(f'must be in [0, {len(blocks)}]', field='out_indices', received=out_indices)
        if not -1 <= frozen_stages <= len(blocks) + 1:
            message = f'must be in [-1, {len(blocks) + 1}]'
            raise ConfigError(message, field='frozen_stages', received=frozen_stages)
        self.out_indices, self.frozen_stages, self.norm_eval = tuple(out_indices), frozen_stages, norm_eval
        options: dict = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.conv1 = ConvModule(3, 32, 3, padding=1, **options)
        self.cr_blocks = ['conv1']
        for number, (repeat, (inputs, outputs)) in enumerate(zip(blocks, channels), start=1):
            self.cr_blocks.append(f'conv_res_block{number}')
            self.add_module(self.cr_blocks[-1], self.make_conv_res_block(inputs, outputs, repeat, **options))

    @staticmethod
    def make_conv_res_block(in_channels: int, out_channels: int, res_repeat: int, **options: Any) -> nn.Sequential:
        """A convolution of stride 2 and ``res_repeat`` residual blocks; ``options`` are configs of their layers."""
        part = nn.Sequential()
        part.add_module('conv', ConvModule(in_channels, out_channels, 3, stride=2, padding=1, **options))
        for index in range(res_repeat):
            part.add_module(f'res{index}', ResBlock(out_channels, **options))
        return part

    def _frozen_modules(self) -> list[nn.Module]:
        return [getattr(self, name) for name in self.cr_blocks[: max(self.frozen_stages, 0)]]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) to the maps of ``out_indices``, finest first."""
        outs = []
        for index, name in enumerate(self.cr_blocks):
            x = getattr(self, name)(x)
            if index in self.out_indices:
                outs.append(x)
        return tuple(outs)
