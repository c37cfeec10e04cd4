"""Darknet with cross-stage partial layers, the backbone of YOLOX (arXiv 2107.08430), and the skeleton that RTMDet's backbone shares.

Naming: B images. A stage is (in_channels, out_channels, blocks, add_identity, use_spp), before widths and depths are scaled.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdet.errors import ArgumentError, ConfigError
from mmdet.registry import MODELS

from ..layers.csp_layer import KAIMING_CFG, NORM_CFG, SWISH_CFG, CSPLayer, conv_type
from ..layers.tinynas_damo import SpaceToDepth
from .freezing import FreezableBackbone

Stage = tuple[int, int, int, bool, bool]


class Focus(nn.Module):
    """Turns squares of 2 x 2 pixels into channels, and convolves: (B, in_channels, H, W) to (B, out_channels, H / 2, W / 2).

    Args:
        in_channels, out_channels: channels.
        kernel_size: odd side of the kernel.
        stride: stride of the convolution, on the halved map.
        conv_cfg, norm_cfg, act_cfg: configs of convolution, norm and activation.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        stride: int = 1,
        conv_cfg: dict | None = None,
        norm_cfg: dict = NORM_CFG,
        act_cfg: dict = SWISH_CFG,
    ):
        super().__init__()
        options = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        padding = (kernel_size - 1) // 2
        self.space_to_depth = SpaceToDepth()
        self.conv = ConvModule(4 * in_channels, out_channels, kernel_size, stride, padding, **options)

    def forward(self, x: Tensor) -> Tensor:
        """See the module."""
        return self.conv(self.space_to_depth(x))


class SPPBottleneck(BaseModule):
    """Spatial pyramid pooling between two 1x1 convolutions: (B, in_channels, H, W) to (B, out_channels, H, W).

    Args:
        in_channels, out_channels: channels.
        kernel_sizes: odd sides of the windows whose maxima are concatenated with the map itself.
        conv_cfg, norm_cfg, act_cfg: configs of convolutions, norms and activations.
        init_cfg: initialisation.

    Raises:
        ConfigError: an even window.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_sizes: Sequence[int] = (5, 9, 13),
        conv_cfg: dict | None = None,
        norm_cfg: dict = NORM_CFG,
        act_cfg: dict = SWISH_CFG,
        init_cfg: dict | list[dict] | None = None,
    ):
        super().__init__(init_cfg)
        if any(side % 2 == 0 for side in kernel_sizes):
            raise ConfigError('windows must be odd', field='kernel_sizes', received=kernel_sizes)
        options = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        middle = in_channels // 2
        self.kernel_sizes = tuple(kernel_sizes)
        self.conv1 = ConvModule(in_channels, middle, 1, **options)
        self.conv2 = ConvModule(middle * (len(self.kernel_sizes) + 1), out_channels, 1, **options)

    def forward(self, x: Tensor) -> Tensor:
        """See the module."""
        maps, last = [self.conv1(x)], 1
        for side in self.kernel_sizes:
            # Maxima of maxima: a window of 9 is one of 5 on another of 5, which looks at 25 pixels instead of 81.
            source, step = (maps[-1], side - last + 1) if side >= last else (maps[0], side)
            maps.append(F.max_pool2d(source, step, stride=1, padding=step // 2))
            last = side
        return self.conv2(torch.cat(maps, dim=1))


class CSPBackbone(FreezableBackbone):
    """Skeleton of the two backbones: ``stem`` of stride 2 and ``stage1``, ``stage2``, ..., each of a convolution of stride 2 and a CSP layer.

    The stages marked so have an :class:`SPPBottleneck` between the two.

    Attributes:
        arch_settings: stages by name of the architecture.
    """

    arch_settings: dict[str, list[Stage]]

    def __init__(
        self,
        *,
        arch: str,
        deepen_factor: float,
        widen_factor: float,
        out_indices: Sequence[int],
        frozen_stages: int,
        use_depthwise: bool,
        arch_ovewrite: list[Stage] | None,
        spp_kernel_sizes: Sequence[int],
        csp_cfg: dict,
        conv_cfg: dict | None,
        norm_cfg: dict,
        act_cfg: dict,
        norm_eval: bool,
        init_cfg: dict | list[dict] | None,
    ):
        super().__init__(init_cfg)
        if not arch_ovewrite and arch not in self.arch_settings:
            raise KeyError(f'arch must be one of {sorted(self.arch_settings)}. Received: {arch!r}')
        stages = arch_ovewrite or self.arch_settings[arch]
        last = len(stages)
        if not set(out_indices) <= set(range(last + 1)):
            raise ArgumentError(f'must be in [0, {last}]', field='out_indices', received=out_indices)
        if not -1 <= frozen_stages < last:
            raise ConfigError(f'must be in [-1, {last - 1}]', field='frozen_stages', received=frozen_stages)
        self.out_indices, self.frozen_stages, self.norm_eval = tuple(out_indices), frozen_stages, norm_eval
        self.use_depthwise = use_depthwise
        options: dict = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        conv = conv_type(use_depthwise)
        self.stem = self._stem(stages[0][0], widen_factor, options)
        self.layers = ['stem']
        for number, (in_channels, out_channels, blocks, add_identity, use_spp) in enumerate(stages, start=1):
            in_channels, out_channels = int(in_channels * widen_factor), int(out_channels * widen_factor)
            modules = [conv(in_channels, out_channels, 3, stride=2, padding=1, **options)]
            if use_spp:
                modules.append(SPPBottleneck(out_channels, out_channels, spp_kernel_sizes, **options))
            blocks = max(round(blocks * deepen_factor), 1)
            csp: dict = dict(num_blocks=blocks, add_identity=add_identity, use_depthwise=use_depthwise, **csp_cfg)
            modules.append(CSPLayer(out_channels, out_channels, **csp, **options))
            self.add_module(f'stage{number}', nn.Sequential(*modules))
            self.layers.append(f'stage{number}')

    def _stem(self, channels: int, widen_factor: float, options: dict) -> nn.Module:
        raise NotImplementedError

    def _frozen_modules(self) -> list[nn.Module]:
        return [getattr(self, name) for name in self.layers[: self.frozen_stages + 1]]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) to the maps of ``out_indices``: 0 is the stem of stride 2, i the stage of stride 2^(i + 1)."""
        outs = []
        for i, name in enumerate(self.layers):
            x = getattr(self, name)(x)
            if i in self.out_indices:
                outs.append(x)
        return tuple(outs)


@MODELS.register_module()
class CSPDarknet(CSPBackbone):
    """Backbone of YOLOX.

    Args:
        arch: ``'P5'`` (strides to 32) or ``'P6'`` (to 64).
        deepen_factor, widen_factor: factors of the numbers of blocks and of channels.
        out_indices: maps to return; 0 is the stem's.
        frozen_stages: the stem and the first ``frozen_stages`` stages do not train; -1 freezes nothing.
        use_depthwise: depthwise-separable convolutions.
        arch_ovewrite: stages in place of those of ``arch``. (The spelling is that of published configs, as with ``spp_kernal_sizes``.)
        spp_kernal_sizes: windows of the pyramid pooling.
        conv_cfg, norm_cfg, act_cfg: configs of convolutions, norms and activations.
        norm_eval: keep every batch norm in eval mode.
        init_cfg: initialisation.

    Raises:
        KeyError: an unknown ``arch``.
        ArgumentError: ``out_indices`` of no stage.
        ConfigError: ``frozen_stages`` out of range.
    """

    arch_settings = {
        'P5': [(64, 128, 3, True, False), (128, 256, 9, True, False), (256, 512, 9, True, False), (512, 1024, 3, False, True)],
        'P6': [
            (64, 128, 3, True, False), (128, 256, 9, True, False), (256, 512, 9, True, False), (512, 768, 3, True, False),
            (768, 1024, 3, False, True),
        ],
    }  # fmt: skip

    def __init__(
        self,
        arch: str = 'P5',
        deepen_factor: float = 1.0,
        widen_factor: float = 1.0,
        out_indices: Sequence[int] = (2, 3, 4),
        frozen_stages: int = -1,
        use_depthwise: bool = False,
        arch_ovewrite: list[Stage] | None = None,
        spp_kernal_sizes: Sequence[int] = (5, 9, 13),
        conv_cfg: dict | None = None,
        norm_cfg: dict = NORM_CFG,
        act_cfg: dict = SWISH_CFG,
        norm_eval: bool = False,
        init_cfg: dict | list[dict] | None = KAIMING_CFG,
    ):
        super().__init__(
            arch=arch, deepen_factor=deepen_factor, widen_factor=widen_factor, out_indices=out_indices, frozen_stages=frozen_stages,
            use_depthwise=use_depthwise, arch_ovewrite=arch_ovewrite, spp_kernel_sizes=spp_kernal_sizes, csp_cfg={}, conv_cfg=conv_cfg,
            norm_cfg=norm_cfg, act_cfg=act_cfg, norm_eval=norm_eval, init_cfg=init_cfg,
        )  # fmt: skip

    def _stem(self, channels: int, widen_factor: float, options: dict) -> nn.Module:
        return Focus(3, int(channels * widen_factor), kernel_size=3, **options)
