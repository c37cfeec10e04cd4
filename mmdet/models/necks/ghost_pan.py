"""Path aggregation of NanoDet-Plus: ghost bottlenecks (GhostNet, Han et al., CVPR 2020) join the levels."""

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule, DepthwiseSeparableConvModule, build_activation_layer, build_norm_layer
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdet.errors import ConfigError
from mmdet.registry import MODELS

from ..backbones.custom_csp_net import LEAKY_CFG
from .pan import check_halving, resample


class GhostModule(nn.Module):
    """Half of the channels by a 1x1 convolution, the other half by a depthwise 3x3 convolution of the first; ``act_cfg`` None: linear."""

    def __init__(self, in_channels: int, out_channels: int, norm_cfg: dict, act_cfg: dict | None):
        super().__init__()
        half = out_channels // 2

        def layers(conv: nn.Module) -> nn.Sequential:
            act = [] if act_cfg is None else [build_activation_layer(dict(act_cfg, inplace=True))]
            return nn.Sequential(conv, build_norm_layer(norm_cfg, half)[1], *act)

        self.primary_conv = layers(nn.Conv2d(in_channels, half, 1, bias=False))
        self.cheap_operation = layers(nn.Conv2d(half, half, 3, padding=1, groups=half, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W)."""
        first = self.primary_conv(x)
        return torch.cat([first, self.cheap_operation(first)], dim=1)


class GhostBottleneck(nn.Module):
    """Two ghost modules, the second one linear, and beside them a linear depthwise-separable convolution."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, norm_cfg: dict, act_cfg: dict):
        super().__init__()
        self.ghost1 = GhostModule(in_channels, out_channels, norm_cfg, act_cfg)
        self.ghost2 = GhostModule(out_channels, out_channels, norm_cfg, None)
        depthwise: Any = dict(padding=kernel_size // 2, groups=in_channels, bias=False)
        self.shortcut = nn.Sequential(
            nn.Conv2d(in_channels, in_channels, kernel_size, **depthwise),
            build_norm_layer(norm_cfg, in_channels)[1],
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
            build_norm_layer(norm_cfg, out_channels)[1],
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W)."""
        return self.ghost2(self.ghost1(x)) + self.shortcut(x)


class GhostBlocks(nn.Module):
    """``num_blocks`` bottlenecks: (B, in_channels, H, W) to (B, out_channels, H, W)."""

    def __init__(self, in_channels: int, out_channels: int, num_blocks: int, *options: Any):
        super().__init__()
        widths = [in_channels] + [out_channels] * num_blocks
        self.blocks = nn.Sequential(*(GhostBottleneck(*pair, *options) for pair in zip(widths, widths[1:])))

    def forward(self, x: Tensor) -> Tensor:
        """See the module."""
        return self.blocks(x)


@MODELS.register_module()
class GhostPAN(BaseModule):
    """1x1 convolutions, a top-down and a bottom-up path of ghost bottlenecks, and one coarser level.

    Args:
        in_channels: channels of the maps, finest first.
        out_channels: channels of every output.
        use_depthwise: depthwise-separable convolutions halve the maps; plain ones otherwise.
        kernel_size: odd side of their kernels and of those beside the ghost modules.
        num_blocks: bottlenecks where two maps meet.
        num_extra_level: 1 for a level of twice the coarsest stride, from the coarsest input and the coarsest output; 0 for none.
        norm_cfg, act_cfg: configs of norms and activations.
        init_cfg: initialisation.

    Raises:
        ConfigError: another number of extra levels, odd ``out_channels``, an even ``kernel_size``.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        use_depthwise: bool = True,
        kernel_size: int = 5,
        num_blocks: int = 1,
        num_extra_level: int = 1,
        norm_cfg: dict = dict(type='BN'),  # noqa: B006  never written to
        act_cfg: dict = LEAKY_CFG,
        init_cfg: dict | list[dict] | None = None,
    ):
        super().__init__(init_cfg)
        if num_extra_level not in (0, 1):
            raise ConfigError('must be 0 or 1', field='num_extra_level', received=num_extra_level)
        if out_channels % 2:
            raise ConfigError(
                'must be even, for the halves of the ghost modules', field='out_channels', received=out_channels
            )
        if kernel_size % 2 == 0:
            raise ConfigError('must be odd', field='kernel_size', received=kernel_size)
        self.in_channels, self.out_channels = list(in_channels), out_channels
        options: dict = dict(norm_cfg=norm_cfg, act_cfg=act_cfg)
        conv = DepthwiseSeparableConvModule if use_depthwise else ConvModule

        def halving() -> nn.Module:
            return conv(out_channels, out_channels, kernel_size, stride=2, padding=kernel_size // 2, **options)

        def joints() -> nn.ModuleList:
            sizes = (2 * out_channels, out_channels, num_blocks, kernel_size, norm_cfg, act_cfg)
            return nn.ModuleList(GhostBlocks(*sizes) for _ in in_channels[1:])

        self.reduce_layers = nn.ModuleList(ConvModule(width, out_channels, 1, **options) for width in in_channels)
        self.top_down_blocks, self.bottom_up_blocks = joints(), joints()
        self.downsamples = nn.ModuleList(halving() for _ in in_channels[1:])
        self.extra_lvl_in_conv, self.extra_lvl_out_conv = (
            nn.ModuleList(halving() for _ in range(num_extra_level)) for _ in range(2)
        )

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """L maps (B, in_channels[l], H_l, W_l), each half as large as the one before, to L or L + 1 maps (B, out_channels, H_l, W_l).

        The extra level has half the size of the coarsest, rounded up.
        """
        check_halving(inputs, len(self.in_channels))
        reduced = [conv(level) for conv, level in zip(self.reduce_layers, inputs)]
        levels = [reduced[-1]]  # coarsest first
        for finer, block in zip(reversed(reduced[:-1]), self.top_down_blocks):
            levels.append(block(torch.cat([resample(levels[-1], 2), finer], dim=1)))
        outs = [levels.pop()]
        for coarser, down, block in zip(reversed(levels), self.downsamples, self.bottom_up_blocks):
            outs.append(block(torch.cat([down(outs[-1]), coarser], dim=1)))
        for of_input, of_output in zip(self.extra_lvl_in_conv, self.extra_lvl_out_conv):
            outs.append(of_input(reduced[-1]) + of_output(outs[-1]))
        return tuple(outs)
