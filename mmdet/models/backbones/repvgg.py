"""RepVGG (Ding et al., CVPR 2021): branches in training, one 3x3 convolution for inference."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdet.errors import ConfigError
from mmdet.registry import MODELS

from ..layers.tinynas_damo import folded

_ARCHS = {'A0': ((2, 4, 14, 1), (0.75, 0.75, 0.75, 2.5)), 'A1': ((2, 4, 14, 1), (1.0, 1.0, 1.0, 2.5)), 'A2': ((2, 4, 14, 1), (1.5, 1.5, 1.5, 2.75))}  # fmt: skip


class RepVGGBlock(nn.Module):
    """3x3 and 1x1 convolutions and, where it fits, the identity, each with a batch norm; their sum, and ReLU.

    :meth:`fuse` makes one convolution of them. A checkpoint of such convolutions is read into a block by fusing the block first.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, deploy: bool = False):
        super().__init__()
        self.channels, self.stride = (in_channels, out_channels), stride
        self.nonlinearity = nn.ReLU(inplace=True)
        self.rbr_reparam: nn.Conv2d | None = None
        if deploy:
            self.rbr_reparam = self._conv(3, bias=True)
            return
        if in_channels == out_channels and stride == 1:
            self.rbr_identity = nn.BatchNorm2d(in_channels)
        self.rbr_dense, self.rbr_1x1 = (
            nn.Sequential(self._conv(kernel, bias=False), nn.BatchNorm2d(out_channels)) for kernel in (3, 1)
        )

    def _conv(self, kernel: int, bias: bool) -> nn.Conv2d:
        return nn.Conv2d(*self.channels, kernel, self.stride, padding=kernel // 2, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        if self.rbr_reparam is not None:
            return self.nonlinearity(self.rbr_reparam(x))
        y = self.rbr_dense(x) + self.rbr_1x1(x)
        return self.nonlinearity(y + self.rbr_identity(x) if hasattr(self, 'rbr_identity') else y)

    @torch.no_grad()
    def fuse(self) -> None:
        """Replace the branches by one convolution with bias that gives the same outputs as they do in eval mode."""
        if self.rbr_reparam is not None:
            return
        weight, bias = folded(self.rbr_dense)
        point, point_bias = folded(self.rbr_1x1)
        weight, bias = weight + F.pad(point, [1] * 4), bias + point_bias
        if hasattr(self, 'rbr_identity'):
            identity = self._conv(1, bias=False).to(weight)
            nn.init.dirac_(identity.weight)
            same, same_bias = folded(nn.Sequential(identity, self.rbr_identity))
            weight, bias = weight + F.pad(same, [1] * 4), bias + same_bias
            del self.rbr_identity
        conv = self._conv(3, bias=True).to(weight)
        conv.load_state_dict(dict(weight=weight, bias=bias))
        self.rbr_reparam = conv
        del self.rbr_dense, self.rbr_1x1

    def adapt_state_dict(self, state_dict: dict, prefix: str) -> list[str]:
        """Take the form of the checkpoint where that is the one for inference."""
        if f'{prefix}rbr_reparam.weight' in state_dict:
            self.fuse()
        return []


@MODELS.register_module()
class RepVGG(BaseModule):
    """Backbone of NanoDet-RepVGG.

    Args:
        arch: ``'A0'``, ``'A1'`` or ``'A2'``.
        out_indices: stages to return, of 1 to 4; 2, 3 and 4 have strides 8, 16 and 32.
        last_channel: channels of the last stage; None for those of the classifier.
        deploy: build the form for inference.
        init_cfg: initialisation; torch's by default.

    Attributes:
        out_channels: channels of the returned maps.

    Raises:
        ConfigError: another architecture or stage.
    """

    def __init__(
        self,
        arch: str = 'A0',
        out_indices: Sequence[int] = (2, 3, 4),
        last_channel: int | None = None,
        deploy: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ):
        super().__init__(init_cfg)
        if arch not in _ARCHS:
            raise ConfigError(f'must be one of {list(_ARCHS)}', field='arch', received=arch)
        if not set(out_indices) <= {1, 2, 3, 4}:
            raise ConfigError('must be of 1, 2, 3 and 4', field='out_indices', received=out_indices)
        self.out_indices = tuple(out_indices)
        units, factors = _ARCHS[arch]
        widths = [int(base * factor) for base, factor in zip((64, 128, 256, 512), factors)]
        widths[-1] = last_channel or widths[-1]
        channels = min(64, widths[0])
        self.stage0 = RepVGGBlock(3, channels, 2, deploy)
        for stage, (count, width) in enumerate(zip(units, widths), start=1):
            sizes = [(channels, width, 2)] + [(width, width, 1)] * (count - 1)
            self.add_module(f'stage{stage}', nn.Sequential(*(RepVGGBlock(*size, deploy) for size in sizes)))
            channels = width
        self.out_channels = [widths[i - 1] for i in self.out_indices]

    def fuse(self) -> 'RepVGG':
        """Turn every block into its form for inference, in place; to be called in eval mode."""
        for module in self.modules():
            if isinstance(module, RepVGGBlock):
                module.fuse()
        return self

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) to the maps of ``out_indices``."""
        x, outs = self.stage0(x), []
        for stage in (1, 2, 3, 4):
            x = getattr(self, f'stage{stage}')(x)
            if stage in self.out_indices:
                outs.append(x)
        return tuple(outs)
