"""The coarse levels of SSD (Liu et al., ECCV 2016, arXiv 1512.02325), and the norm of its finest one (ParseNet, arXiv 1506.04579)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule, DepthwiseSeparableConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdet.errors import ArgumentError
from mmdet.registry import MODELS

_INIT_CFG = [
    dict(type='Xavier', distribution='uniform', bias=0, layer='Conv2d'),
    dict(type='Constant', val=1, layer='BatchNorm2d'),
]


class L2Norm(nn.Module):
    """Features of each location divided by their length, times a learned factor for each channel.

    Args:
        n_dims: channels.
        scale: the factors at the beginning.
        eps: added to the length.
    """

    def __init__(self, n_dims: int, scale: float = 20.0, eps: float = 1e-10):
        super().__init__()
        self.n_dims, self.scale, self.eps = n_dims, scale, eps
        self.weight = nn.Parameter(torch.full((n_dims,), float(scale)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, n_dims, H, W) to the same."""
        # In float32, because squares exceed half precision.
        values = x.float()
        length = values.square().sum(1, keepdim=True).sqrt() + self.eps
        return (self.weight.float()[:, None, None] * values / length).type_as(x)


@MODELS.register_module()
class SSDNeck(BaseModule):
    """Extra levels behind those of the backbone, each by a 1x1 convolution to half its channels and a k x k one.

    Args:
        in_channels: channels of the maps of the backbone, which are the first levels.
        out_channels: channels of all levels; begins with ``in_channels``.
        level_strides: stride of the k x k convolution of each extra level.
        level_paddings: its padding. A map that is smaller than the kernel is padded with zeros to its size, so that small and narrow images
            have all levels.
        l2_norm_scale: factor of :class:`L2Norm` on the first level at the beginning; None leaves the norm out.
        last_kernel_size: k of the last level; 3 of the others.
        use_depthwise: depthwise-separable k x k convolutions.
        conv_cfg, norm_cfg, act_cfg: configs of convolutions, norms and activations.
        init_cfg: initialisation; Xavier by default.

    Raises:
        ArgumentError: channels or lists that do not fit together.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: Sequence[int],
        level_strides: Sequence[int],
        level_paddings: Sequence[int],
        l2_norm_scale: float | None = 20.0,
        last_kernel_size: int = 3,
        use_depthwise: bool = False,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = dict(type='ReLU'),  # noqa: B006  never written to
        init_cfg: dict | list[dict] | None = _INIT_CFG,
    ):
        super().__init__(init_cfg)
        given, extra = len(in_channels), len(out_channels) - len(in_channels)
        if extra < 0 or list(out_channels[:given]) != list(in_channels):
            message = 'must begin with in_channels'
            raise ArgumentError(message, field='out_channels', received=(list(out_channels), list(in_channels)))
        if not len(level_strides) == len(level_paddings) == extra:
            message = f'one for each of the {extra} extra levels is needed'
            received = (list(level_strides), list(level_paddings))
            raise ArgumentError(message, field='level_strides, level_paddings', received=received)
        if l2_norm_scale:
            self.l2_norm = L2Norm(in_channels[0], l2_norm_scale)
        self.in_channels, self.out_channels = tuple(in_channels), tuple(out_channels)
        options: dict = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        conv = DepthwiseSeparableConvModule if use_depthwise else ConvModule
        self.kernel_sizes = [3] * (extra - 1) + [last_kernel_size] * (extra > 0)
        self.level_paddings = tuple(level_paddings)
        self.extra_layers = nn.ModuleList()
        levels = zip(out_channels[given - 1 :], out_channels[given:], self.kernel_sizes, level_strides, level_paddings)
        for inputs, outputs, side, stride, padding in levels:
            narrow = ConvModule(inputs, outputs // 2, 1, **options)
            wide = conv(outputs // 2, outputs, side, stride=stride, padding=padding, **options)
            self.extra_layers.append(nn.Sequential(narrow, wide))

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The maps (B, in_channels[l], H_l, W_l) of the backbone to those of all levels.

        Raises:
            ArgumentError: another number of maps.
        """
        if len(inputs) != len(self.in_channels):
            raise ArgumentError(f'{len(self.in_channels)} feature maps are needed', received=len(inputs))
        outs = list(inputs)
        if hasattr(self, 'l2_norm'):
            outs[0] = self.l2_norm(outs[0])
        for layer, side, padding in zip(self.extra_layers, self.kernel_sizes, self.level_paddings):
            narrow, wide = layer.children()
            x = narrow(outs[-1])
            need = side - 2 * padding
            if need > 1:
                x = F.pad(x, (0, _lacking(x.shape[-1], need), 0, _lacking(x.shape[-2], need)))
            outs.append(wide(x))
        return tuple(outs)


def _lacking(size: int, need: int) -> int:
    """``max(need - size, 0)`` of a size of at least 1, by divisions alone: a tracer would write the outcome of a comparison down for all sizes."""
    return sum((smaller // size + need - 1) // need for smaller in range(1, need))
