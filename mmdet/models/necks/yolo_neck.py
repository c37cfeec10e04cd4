"""The top-down path of YOLOv3 (Redmon and Farhadi, arXiv 1804.02767, section 2.3)."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor

from mmdet.errors import ArgumentError
from mmdet.registry import MODELS

from ..backbones.darknet import BN_CFG, LEAKY_CFG


class DetectionBlock(BaseModule):
    """Five convolutions, 1x1 to ``out_channels`` and 3x3 to twice as many in turn: (B, in_channels, H, W) to (B, out_channels, H, W).

    Args:
        in_channels, out_channels: channels.
        conv_cfg, norm_cfg, act_cfg: configs of convolutions, norms and activations.
        init_cfg: initialisation.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = BN_CFG,
        act_cfg: dict | None = LEAKY_CFG,
        init_cfg: dict | list[dict] | None = None,
    ):
        super().__init__(init_cfg)
        options: dict[str, Any] = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        double = 2 * out_channels
        self.conv1 = ConvModule(in_channels, out_channels, 1, **options)
        self.conv2 = ConvModule(out_channels, double, 3, padding=1, **options)
        self.conv3 = ConvModule(double, out_channels, 1, **options)
        self.conv4 = ConvModule(out_channels, double, 3, padding=1, **options)
        self.conv5 = ConvModule(double, out_channels, 1, **options)

    def forward(self, x: Tensor) -> Tensor:
        """See the module."""
        return self.conv5(self.conv4(self.conv3(self.conv2(self.conv1(x)))))


@MODELS.register_module()
class YOLOV3Neck(BaseModule):
    """A :class:`DetectionBlock` on each level, coarsest first; what a block returns is enlarged and joined to the next finer map.

    Args:
        num_scales: levels.
        in_channels: channels of the maps of the backbone, coarsest first.
        out_channels: channels of the outputs, coarsest first.
        conv_cfg, norm_cfg, act_cfg: configs of convolutions, norms and activations.
        init_cfg: initialisation.

    Raises:
        ArgumentError: not as many channels as levels.
    """

    def __init__(
        self,
        num_scales: int,
        in_channels: Sequence[int],
        out_channels: Sequence[int],
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = BN_CFG,
        act_cfg: dict | None = LEAKY_CFG,
        init_cfg: dict | list[dict] | None = None,
    ):
        super().__init__(init_cfg)
        if not num_scales == len(in_channels) == len(out_channels):
            message = f'{num_scales} numbers are needed'
            received = (list(in_channels), list(out_channels))
            raise ArgumentError(message, field='in_channels, out_channels', received=received)
        self.num_scales, self.in_channels, self.out_channels = num_scales, list(in_channels), list(out_channels)
        options: dict[str, Any] = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.detect1 = DetectionBlock(in_channels[0], out_channels[0], **options)
        for i in range(1, num_scales):
            inputs, outputs = in_channels[i], out_channels[i]
            self.add_module(f'conv{i}', ConvModule(out_channels[i - 1], outputs, 1, **options))
            self.add_module(f'detect{i + 1}', DetectionBlock(inputs + outputs, outputs, **options))

    def forward(self, feats: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Maps (B, C_l, H_l, W_l), finest first, to maps (B, out_channels, H_l, W_l), coarsest first.

        Raises:
            ArgumentError: another number of maps.
        """
        if len(feats) != self.num_scales:
            raise ArgumentError(f'{self.num_scales} feature maps are needed', received=len(feats))
        outs = [self.detect1(feats[-1])]
        for i, finer in enumerate(reversed(feats[:-1]), start=1):
            enlarged = F.interpolate(getattr(self, f'conv{i}')(outs[-1]), size=finer.shape[-2:])
            outs.append(getattr(self, f'detect{i + 1}')(torch.cat([enlarged, finer], dim=1)))
        return tuple(outs)
