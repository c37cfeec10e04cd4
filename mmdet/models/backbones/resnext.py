"""ResNeXt (Xie et al., CVPR 2017, arXiv 1611.05431)."""

from typing import Any

from torch import nn

from mmdet.registry import MODELS

from ..layers.res_layer import ResLayer
from .resnet import Bottleneck, ResNet


@MODELS.register_module()
class ResNeXt(ResNet):
    """ResNet with grouped 3x3 convolutions.

    Args:
        groups: number of groups (the "32" of 32x4d).
        base_width: channels of a group in the first stage (the "4").
        kwargs: arguments of :class:`ResNet`.
    """

    arch_settings = {depth: setting for depth, setting in ResNet.arch_settings.items() if setting[0] is Bottleneck}

    def __init__(self, groups: int = 1, base_width: int = 4, **kwargs: Any):
        self.groups, self.base_width = groups, base_width
        super().__init__(**kwargs)

    def make_res_layer(self, **kwargs: Any) -> nn.Module:
        """Build one stage of grouped bottlenecks."""
        return ResLayer(groups=self.groups, base_width=self.base_width, base_channels=self.base_channels, **kwargs)
