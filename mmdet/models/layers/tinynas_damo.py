"""Layers that DAMO-YOLO (arXiv 2211.15444) adds to searched backbones: space-to-depth, pyramid pooling, re-parameterised convolutions."""

from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmdet.archs.blocks import Conv


class SpaceToDepth(nn.Module):
    """Turn each 2 x 2 square of pixels into channels; odd sides are padded by zeros.

    The four pixels come in the order of YOLOX's Focus layer: top left, bottom left, top right, bottom right, C channels each.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, 4C, ceil(H / 2), ceil(W / 2))."""
        height, width = x.shape[-2:]
        if height % 2 or width % 2:
            x = F.pad(x, (0, width % 2, 0, height % 2))
        return torch.cat([x[..., row::2, col::2] for col in (0, 1) for row in (0, 1)], dim=1)


def _conv_norm(in_channels: int, out_channels: int, kernel: int, norm_cfg: dict, **kwargs: Any) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False, **kwargs)
    return nn.Sequential(conv, build_norm_layer(norm_cfg, out_channels)[1])


class SpatialPyramid(nn.Module):
    """Spatial pyramid pooling: a map and its maxima over growing windows, concatenated and mixed by a 1x1 convolution.

    Args:
        channels: input and output channels.
        norm_cfg: config of the norms.
        act: the activation after each convolution.
        windows: odd sides of the windows in pixels.
    """

    def __init__(self, channels: int, *, norm_cfg: dict, act: nn.Module, windows: tuple[int, ...] = (5, 9, 13)):
        super().__init__()
        inner = channels // 2
        self.windows, self.act = windows, act
        self.reduce = _conv_norm(channels, inner, 1, norm_cfg)
        self.mix = _conv_norm(inner * (1 + len(windows)), channels, 1, norm_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        x = self.act(self.reduce(x))
        pooled = [F.max_pool2d(x, side, stride=1, padding=side // 2) for side in self.windows]
        return self.act(self.mix(torch.cat([x, *pooled], dim=1)))


class PlainAndPointwise(nn.Module):
    """A k x k and a 1x1 convolution in parallel, each with batch norm, summed; :meth:`fuse` makes one convolution of them.

    As in RepVGG (arXiv 2101.03697), without its identity branch.

    Args:
        conv: sizes, stride and groups of the k x k convolution, k odd; without bits.
        norm_cfg: config of the batch norms.
        dims: must be 2 (images).
    """

    def __init__(self, conv: Conv, *, norm_cfg: dict, dims: int = 2):
        super().__init__()
        assert dims == 2 and not conv.bits_a, 're-parameterised convolutions support neither clips nor quantisation'
        place = dict(stride=conv.stride, groups=conv.groups)
        self.plain = _conv_norm(conv.in_channels, conv.out_channels, conv.kernel, norm_cfg, **place)
        self.point = _conv_norm(conv.in_channels, conv.out_channels, 1, norm_cfg, **place)
        self.fused: nn.Conv2d | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, h, w)."""
        return self.plain(x) + self.point(x) if self.fused is None else self.fused(x)

    @torch.no_grad()
    def fuse(self) -> None:
        """Replace both branches by one convolution with bias that gives the same outputs as they do in eval mode."""
        if self.fused is not None:
            return
        plain, bias = folded(self.plain)
        point, point_bias = folded(self.point)
        conv = self.plain[0]
        assert isinstance(conv, nn.Conv2d)
        border = conv.kernel_size[0] // 2
        conv.weight.copy_(plain + F.pad(point, [border] * 4))
        conv.bias = nn.Parameter(bias + point_bias)
        self.fused = conv
        del self.plain, self.point


def folded(branch: nn.Sequential) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution that includes the running statistics of the batch norm after it."""
    conv, norm = branch
    assert isinstance(conv, nn.Conv2d) and isinstance(norm, _BatchNorm)
    assert norm.running_mean is not None and norm.running_var is not None
    factor = norm.weight / (norm.running_var + norm.eps).sqrt()
    return conv.weight * factor[:, None, None, None], norm.bias - norm.running_mean * factor
