"""The pyramid of HRNet, HRNetV2p (Sun et al., "High-Resolution Representations for Labeling Pixels and Regions", arXiv 1904.04514)."""

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmdet.errors import ArgumentError
from mmdet.registry import MODELS


@MODELS.register_module()
class HRFPN(BaseModule):
    """All maps at the finest one's size, joined and projected, then pooled to the levels of a pyramid.

    Args:
        in_channels: channels of each map, finest first; each has half the size of the one before.
        out_channels: channels of every output level.
        num_outs: output levels.
        pooling_type: ``'AVG'`` or ``'MAX'``.
        conv_cfg, norm_cfg: configs of convolutions and norms.
        with_cp: recompute the output convolutions in the backward pass to save memory.
        stride: stride of the output convolutions; 2 makes every level coarser by 2.
        init_cfg: initialisation.

    Raises:
        ArgumentError: no list of channels, an unknown ``pooling_type``, or another number of maps; an AssertionError, too.
    """

    def __init__(
        self,
        in_channels: list[int],
        out_channels: int,
        num_outs: int = 5,
        pooling_type: str = 'AVG',
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        with_cp: bool = False,
        stride: int = 1,
        init_cfg: dict | list | None = dict(type='Caffe2Xavier', layer='Conv2d'),  # noqa: B006  (read only)
    ):
        super().__init__(init_cfg)
        if not isinstance(in_channels, (list, tuple)):
            raise ArgumentError('must be a list', field='HRFPN.in_channels', received=in_channels)
        if pooling_type not in ('AVG', 'MAX'):
            raise ArgumentError("must be 'AVG' or 'MAX'", field='HRFPN.pooling_type', received=pooling_type)
        self.in_channels, self.out_channels, self.num_outs = list(in_channels), out_channels, num_outs
        self.with_cp, self.pooling = with_cp, F.max_pool2d if pooling_type == 'MAX' else F.avg_pool2d
        options: dict = dict(conv_cfg=conv_cfg, act_cfg=None)
        self.reduction_conv = ConvModule(sum(in_channels), out_channels, 1, **options)
        options.update(kernel_size=3, padding=1, stride=stride, norm_cfg=norm_cfg)
        self.fpn_convs = nn.ModuleList(ConvModule(out_channels, out_channels, **options) for _ in range(num_outs))

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return ``num_outs`` maps (B, out_channels, H_l, W_l), finest first."""
        if len(inputs) != len(self.in_channels):
            raise ArgumentError(f'{len(self.in_channels)} feature maps are needed', received=len(inputs))
        size = inputs[0].shape[2:]
        larger = [F.interpolate(x, size=size, mode='bilinear') for x in inputs[1:]]
        joined = self.reduction_conv(torch.cat([inputs[0], *larger], dim=1))
        outs = []
        for level, conv in enumerate(self.fpn_convs):
            x = self.pooling(joined, 2**level, stride=2**level) if level else joined
            outs.append(checkpoint(conv, x, use_reentrant=False) if self.with_cp and x.requires_grad else conv(x))
        return tuple(outs)
