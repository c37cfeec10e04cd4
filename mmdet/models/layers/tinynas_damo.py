"""What DAMO-YOLO (arXiv 2211.15444) adds to searched backbones: space-to-depth, pyramid pooling, re-parameterised convolutions."""

import torch
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from torch import Tensor, nn


class SpaceToDepth(nn.Module):
    """(N, C, H, W) to (N, 4C, H / 2, W / 2): each 2 x 2 square becomes channels. Odd sides are padded by zeros.

    The four pixels come in the order of YOLOX's Focus layer: top left, bottom left, top right, bottom right, C channels each.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, 4C, ceil(H / 2), ceil(W / 2))."""
        height, width = x.shape[-2:]
        if height % 2 or width % 2:
            x = F.pad(x, (0, width % 2, 0, height % 2))
        return torch.cat([x[..., row::2, col::2] for col in (0, 1) for row in (0, 1)], dim=1)


def _conv_norm(in_channels: int, out_channels: int, kernel: int, norm_cfg: dict, **kwargs) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False, **kwargs)
    return nn.Sequential(conv, build_norm_layer(norm_cfg, out_channels)[1])


class SpatialPyramid(nn.Module):
    """Spatial pyramid pooling: a map beside its maxima over growing windows, mixed by a 1x1 convolution.

    Args:
        channels: in and out.
        norm_cfg: config of the norms.
        act: the activation, shared with the block.
        windows: odd sides.
    """

    def __init__(self, channels: int, *, norm_cfg: dict, act: nn.Module, windows: tuple[int, ...] = (5, 9, 13)):
        super().__init__()
        inner = channels // 2
        self.windows = windows
        self.reduce = _conv_norm(channels, inner, 1, norm_cfg)
        self.mix = _conv_norm(inner * (1 + len(windows)), channels, 1, norm_cfg)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        x = self.act(self.reduce(x))
        pooled = [F.max_pool2d(x, side, stride=1, padding=side // 2) for side in self.windows]
        return self.act(self.mix(torch.cat([x, *pooled], dim=1)))


class PlainAndPointwise(nn.Module):
    """A k x k and a 1x1 convolution in parallel, each with batch norm, summed; :meth:`fuse` makes one convolution of them.

    As in RepVGG (arXiv 2101.03697), without its identity branch.

    Args:
        in_channels, out_channels: widths.
        kernel: odd side.
        norm_cfg: config of the batch norms.
        stride, groups: of both.
        kernel_t, bits: must be None: for images and without quantisation only.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        norm_cfg: dict,
        stride: int = 1,
        groups: int = 1,
        kernel_t: None = None,
        bits: None = None,
    ):
        super().__init__()
        assert kernel_t is None and bits is None, 'neither clips nor quantisation'
        self.plain = _conv_norm(in_channels, out_channels, kernel, norm_cfg, stride=stride, groups=groups)
        self.point = _conv_norm(in_channels, out_channels, 1, norm_cfg, stride=stride, groups=groups)
        self.fused: nn.Conv2d | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, h, w)."""
        return self.plain(x) + self.point(x) if self.fused is None else self.fused(x)

    @torch.no_grad()
    def fuse(self) -> None:
        """Replace both branches by one convolution with bias that gives what they give in eval mode."""
        if self.fused is not None:
            return
        conv = self.plain[0]
        kernels, biases = zip(*(_folded(*branch) for branch in (self.plain, self.point)))
        self.fused = nn.Conv2d(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,
            stride=conv.stride,
            padding=conv.padding,
            groups=conv.groups,
        ).to(conv.weight)
        border = conv.kernel_size[0] // 2
        self.fused.weight.copy_(kernels[0] + F.pad(kernels[1], [border] * 4))
        self.fused.bias.copy_(sum(biases))
        self.plain = self.point = None


def _folded(conv: nn.Conv2d, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution that includes its batch norm's running statistics."""
    factor = norm.weight / (norm.running_var + norm.eps).sqrt()
    return conv.weight * factor[:, None, None, None], norm.bias - norm.running_mean * factor
