"""Path aggregation (PAFPN, arXiv 1803.01534) with the CSP layers of RTMDet (arXiv 2212.07784)."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdet.errors import ArgumentError
from mmdet.registry import MODELS

from ..layers.csp_layer import KAIMING_CFG, NORM_CFG, SWISH_CFG, CSPLayer, conv_type


@MODELS.register_module()
class CSPNeXtPAFPN(BaseModule):
    """A top-down and a bottom-up path over the maps of a backbone; levels are joined by concatenation.

    Args:
        in_channels: channels of the maps, finest first; each has half the size of the one before (rounded up).
        out_channels: channels of every output.
        num_csp_blocks: blocks of each CSP layer.
        use_depthwise: depthwise-separable convolutions.
        expand_ratio: see :class:`~mmdet.models.layers.csp_layer.CSPLayer`.
        upsample_cfg: arguments of ``interpolate``. What exceeds the finer map, at odd sizes, is cut off.
        conv_cfg, norm_cfg, act_cfg: configs of convolutions, norms and activations.
        init_cfg: initialisation.
    """

    _use_cspnext_block = True

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_csp_blocks: int = 3,
        use_depthwise: bool = False,
        expand_ratio: float = 0.5,
        upsample_cfg: dict = dict(scale_factor=2, mode='nearest'),  # noqa: B006  never written to
        conv_cfg: dict | None = None,
        norm_cfg: dict = NORM_CFG,
        act_cfg: dict = SWISH_CFG,
        init_cfg: dict | list[dict] | None = KAIMING_CFG,
    ):
        super().__init__(init_cfg)
        self.in_channels, self.out_channels, self.upsample_cfg = list(in_channels), out_channels, dict(upsample_cfg)
        options: dict = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        conv = conv_type(use_depthwise)

        def csp(in_channels: int, out_channels: int) -> CSPLayer:
            blocks: dict = dict(
                num_blocks=num_csp_blocks, add_identity=False, use_cspnext_block=self._use_cspnext_block
            )
            return CSPLayer(in_channels, out_channels, expand_ratio, use_depthwise=use_depthwise, **blocks, **options)

        pairs = list(zip(in_channels, in_channels[1:]))  # finer and coarser level
        self.reduce_layers = nn.ModuleList(ConvModule(coarse, fine, 1, **options) for fine, coarse in reversed(pairs))
        self.top_down_blocks = nn.ModuleList(csp(2 * fine, fine) for fine, _ in reversed(pairs))
        self.downsamples = nn.ModuleList(conv(fine, fine, 3, stride=2, padding=1, **options) for fine, _ in pairs)
        self.bottom_up_blocks = nn.ModuleList(csp(2 * fine, coarse) for fine, coarse in pairs)
        self.out_convs = nn.ModuleList(self._out_conv(width, conv, options) for width in in_channels)

    def _out_conv(self, width: int, conv: type[nn.Module], options: dict[str, Any]) -> nn.Module:
        return conv(width, self.out_channels, 3, padding=1, **options)

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """L maps (B, in_channels[l], H_l, W_l) to as many maps (B, out_channels, H_l, W_l)."""
        levels = len(self.in_channels)
        if len(inputs) != levels:
            raise ArgumentError(f'{levels} feature maps are needed', received=len(inputs))
        merged, reduced = inputs[-1], []  # reduced: coarsest first, what the bottom-up path joins again
        for finer, reduce, block in zip(reversed(inputs[:-1]), self.reduce_layers, self.top_down_blocks):
            reduced.append(reduce(merged))
            height, width = finer.shape[-2:]
            upsampled = F.interpolate(reduced[-1], **self.upsample_cfg)[..., :height, :width]
            merged = block(torch.cat([upsampled, finer], dim=1))
        outs = [merged]
        for coarser, down, block in zip(reversed(reduced), self.downsamples, self.bottom_up_blocks):
            outs.append(block(torch.cat([down(outs[-1]), coarser], dim=1)))
        return tuple(conv(out) for conv, out in zip(self.out_convs, outs))
