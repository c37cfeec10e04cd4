"""Cross-stage partial layers of YOLOX's Darknet (arXiv 2107.08430) and of RTMDet (arXiv 2212.07784), and the convolutions they consist of.

Every convolution is followed by a norm and an activation. Modules map (B, in_channels, H, W) to (B, out_channels, H, W).
"""

import math
from typing import Any

import torch
from mmcv.cnn import ConvModule, DepthwiseSeparableConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

# The defaults of every module here; configs that name a norm replace it as a whole, momentum and eps included.
NORM_CFG: dict = dict(type='BN', momentum=0.03, eps=0.001)
SWISH_CFG: dict = dict(type='Swish')
SILU_CFG: dict = dict(type='SiLU')
# The initialisation of torch's own convolutions, for backbones and necks of these layers.
KAIMING_CFG: dict = dict(
    type='Kaiming', layer='Conv2d', a=math.sqrt(5), distribution='uniform', mode='fan_in', nonlinearity='leaky_relu'
)  # fmt: skip


class ChannelAttention(BaseModule):
    """Multiplies each channel by a factor in [0, 1], computed from the mean of all channels.

    Args:
        channels: input and output channels.
        init_cfg: initialisation.
    """

    def __init__(self, channels: int, init_cfg: dict | list[dict] | None = None):
        super().__init__(init_cfg)
        self.fc = nn.Conv2d(channels, channels, 1)
        self.act = nn.Hardsigmoid(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to the same."""
        # In float32 also under autocast: float16 sums of large maps overflow. (The mean is much faster than an adaptive pooling.)
        with torch.autocast(x.device.type, enabled=False):
            mean = x.float().mean((2, 3), keepdim=True).to(x.dtype)
        return x * self.act(self.fc(mean))


class DarknetBottleneck(BaseModule):
    """A 1x1 and a 3x3 convolution, and the identity beside them where ``in_channels`` equals ``out_channels``.

    Args:
        in_channels, out_channels: channels.
        expansion: channels between the convolutions, as a share of ``out_channels``.
        add_identity: whether there is an identity.
        use_depthwise: split the 3x3 convolution into a depthwise and a 1x1 one.
        conv_cfg, norm_cfg, act_cfg: configs of convolutions, norms and activations.
        init_cfg: initialisation.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        expansion: float = 0.5,
        add_identity: bool = True,
        use_depthwise: bool = False,
        conv_cfg: dict | None = None,
        norm_cfg: dict = NORM_CFG,
        act_cfg: dict = SWISH_CFG,
        init_cfg: dict | list[dict] | None = None,
    ):
        super().__init__(init_cfg)
        options = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        hidden = int(out_channels * expansion)
        self._build_convs(in_channels, hidden, out_channels, conv_type(use_depthwise), options)
        self.add_identity = add_identity and in_channels == out_channels

    def _build_convs(self, in_channels: int, hidden: int, out_channels: int, conv: type, options: dict) -> None:
        self.conv1 = ConvModule(in_channels, hidden, 1, **options)
        self.conv2 = conv(hidden, out_channels, 3, padding=1, **options)

    def forward(self, x: Tensor) -> Tensor:
        """See the module."""
        out = self.conv2(self.conv1(x))
        return out + x if self.add_identity else out


class CSPNeXtBlock(DarknetBottleneck):
    """A 3x3 convolution and a depthwise-separable one with a large kernel, and an identity as in :class:`DarknetBottleneck`.

    Args:
        kernel_size: odd side of the large kernel.
        act_cfg: config of the activations.
        kwargs: arguments of :class:`DarknetBottleneck`; ``use_depthwise`` splits the 3x3 convolution, too.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        expansion: float = 0.5,
        add_identity: bool = True,
        use_depthwise: bool = False,
        kernel_size: int = 5,
        act_cfg: dict = SILU_CFG,
        **kwargs: Any,
    ):
        self.kernel_size = kernel_size
        super().__init__(in_channels, out_channels, expansion, add_identity, use_depthwise, act_cfg=act_cfg, **kwargs)

    def _build_convs(self, in_channels: int, hidden: int, out_channels: int, conv: type, options: dict) -> None:
        self.conv1 = conv(in_channels, hidden, 3, padding=1, **options)
        side = self.kernel_size
        self.conv2 = DepthwiseSeparableConvModule(hidden, out_channels, side, padding=side // 2, **options)


class CSPLayer(BaseModule):
    """Cross-stage partial layer: a chain of blocks on one projection of the input, joined with another projection.

    Args:
        in_channels, out_channels: channels.
        expand_ratio: channels of each projection, as a share of ``out_channels``.
        num_blocks: blocks of the chain.
        add_identity: whether the blocks have an identity.
        use_depthwise: see the blocks.
        use_cspnext_block: blocks are :class:`CSPNeXtBlock`, otherwise :class:`DarknetBottleneck`.
        channel_attention: multiply the joined maps by :class:`ChannelAttention`.
        conv_cfg, norm_cfg, act_cfg: configs of convolutions, norms and activations.
        init_cfg: initialisation.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        expand_ratio: float = 0.5,
        num_blocks: int = 1,
        add_identity: bool = True,
        use_depthwise: bool = False,
        use_cspnext_block: bool = False,
        channel_attention: bool = False,
        conv_cfg: dict | None = None,
        norm_cfg: dict = NORM_CFG,
        act_cfg: dict = SWISH_CFG,
        init_cfg: dict | list[dict] | None = None,
    ):
        super().__init__(init_cfg)
        block = CSPNeXtBlock if use_cspnext_block else DarknetBottleneck
        middle = int(out_channels * expand_ratio)
        options: dict = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.channel_attention = channel_attention
        self.main_conv = ConvModule(in_channels, middle, 1, **options)
        self.short_conv = ConvModule(in_channels, middle, 1, **options)
        self.final_conv = ConvModule(2 * middle, out_channels, 1, **options)
        self.blocks = nn.Sequential(
            *(block(middle, middle, 1.0, add_identity, use_depthwise, **options) for _ in range(num_blocks))
        )
        if channel_attention:
            self.attention = ChannelAttention(2 * middle)

    def forward(self, x: Tensor) -> Tensor:
        """See the module."""
        joined = torch.cat([self.blocks(self.main_conv(x)), self.short_conv(x)], dim=1)
        return self.final_conv(self.attention(joined) if self.channel_attention else joined)


def conv_type(use_depthwise: bool) -> type[nn.Module]:
    """The class of k x k convolutions with norm and activation: plain, or depthwise with a 1x1 one behind it."""
    return DepthwiseSeparableConvModule if use_depthwise else ConvModule
