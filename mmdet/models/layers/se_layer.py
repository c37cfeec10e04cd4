"""Squeeze and excitation (Hu et al., CVPR 2018, arXiv 1709.01507)."""

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor

from mmdet.errors import ArgumentError

from .csp_layer import ChannelAttention

__all__ = ['ChannelAttention', 'SELayer']


class SELayer(BaseModule):
    """Multiplies each channel by a factor that two convolutions compute from the mean of all channels.

    Args:
        channels: input and output channels.
        ratio: channels over those between the convolutions.
        conv_cfg: config of the convolutions.
        act_cfg: config of both activations, or a pair of them.
        init_cfg: initialisation.

    Raises:
        ArgumentError: ``act_cfg`` is neither a dict nor two of them.
    """

    def __init__(
        self,
        channels: int,
        ratio: int = 16,
        conv_cfg: dict | None = None,
        act_cfg: dict | tuple[dict, dict] = (dict(type='ReLU'), dict(type='Sigmoid')),
        init_cfg: dict | list[dict] | None = None,
    ):
        super().__init__(init_cfg)
        acts = (act_cfg, act_cfg) if isinstance(act_cfg, dict) else tuple(act_cfg)
        if len(acts) != 2 or not all(isinstance(act, dict) for act in acts):
            raise ArgumentError('must be a dict, or two of them', field='act_cfg', received=act_cfg)
        self.conv1 = ConvModule(channels, channels // ratio, 1, conv_cfg=conv_cfg, act_cfg=acts[0])
        self.conv2 = ConvModule(channels // ratio, channels, 1, conv_cfg=conv_cfg, act_cfg=acts[1])

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to the same."""
        # In float32 also under autocast: float16 sums of large maps overflow.
        with torch.autocast(x.device.type, enabled=False):
            mean = x.float().mean((2, 3), keepdim=True).to(x.dtype)
        return x * self.conv2(self.conv1(mean))
