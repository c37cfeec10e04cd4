"""Path aggregation of YOLOX (arXiv 2107.08430)."""

from typing import Any

from mmcv.cnn import ConvModule
from torch import nn

from mmdet.registry import MODELS

from .cspnext_pafpn import CSPNeXtPAFPN


@MODELS.register_module()
class YOLOXPAFPN(CSPNeXtPAFPN):
    """:class:`CSPNeXtPAFPN` with Darknet's bottlenecks in its layers and 1x1 convolutions before its outputs; the arguments are the same."""

    _use_cspnext_block = False

    def _out_conv(self, width: int, conv: type[nn.Module], options: dict[str, Any]) -> nn.Module:
        return ConvModule(width, self.out_channels, 1, **options)
