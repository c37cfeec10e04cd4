"""EfficientNet-Lite: EfficientNet (Tan and Le, ICML 2019) without squeeze-excitation, with ReLU6, for quantisation."""

import math
from collections.abc import Sequence

from mmcv.cnn.bricks import DropPath
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdet.errors import ConfigError
from mmdet.registry import MODELS

# Factors of widths and depths.
_SIZES = {'lite0': (1.0, 1.0), 'lite1': (1.0, 1.1), 'lite2': (1.1, 1.2)}
# Units, kernel, stride, expansion, channels of each stage.
_STAGES = (
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320),
)  # fmt: skip
_STEM = 32
_DROP = 0.2  # rate of stochastic depth at the end


def rounded_width(channels: int, factor: float) -> int:
    """A multiple of 8, at most a tenth less than what was asked for.

    >>> rounded_width(40, 1.1), rounded_width(112, 1.1)
    (48, 120)
    """
    wanted = channels * factor
    width = max(8, int(wanted + 4) // 8 * 8)
    return width + 8 if width < 0.9 * wanted else width


class MBConv(nn.Module):
    """Inverted bottleneck: 1x1 to ``expansion`` times the channels, depthwise k x k, linear 1x1; the identity beside them where it fits."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, expansion: int, drop: float):
        super().__init__()
        inner = in_channels * expansion

        def norm(channels: int) -> nn.BatchNorm2d:
            return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)

        self.expands = expansion != 1
        if self.expands:
            self._expand_conv, self._bn0 = nn.Conv2d(in_channels, inner, 1, bias=False), norm(inner)
        self._depthwise_conv = nn.Conv2d(inner, inner, kernel, stride, kernel // 2, groups=inner, bias=False)
        self._bn1 = norm(inner)
        self._project_conv, self._bn2 = nn.Conv2d(inner, out_channels, 1, bias=False), norm(out_channels)
        self._relu = nn.ReLU6(inplace=True)
        self._drop = DropPath(drop)
        self.has_identity = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        y = self._relu(self._bn0(self._expand_conv(x))) if self.expands else x
        y = self._relu(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + self._drop(y) if self.has_identity else y


@MODELS.register_module()
class EfficientNetLite(BaseModule):
    """Backbone of NanoDet-EfficientNet-Lite; images are normalised by mean 127 and standard deviation 128.

    Args:
        model_name: ``'lite0'``, ``'lite1'`` or ``'lite2'``.
        out_indices: stages to return; 2, 4 and 6 have strides 8, 16 and 32.
        init_cfg: initialisation; torch's by default.

    Attributes:
        out_channels: channels of the returned maps.

    Raises:
        ConfigError: another name or stage.
    """

    def __init__(
        self,
        model_name: str = 'lite0',
        out_indices: Sequence[int] = (2, 4, 6),
        init_cfg: dict | list[dict] | None = None,
    ):
        super().__init__(init_cfg)
        if model_name not in _SIZES:
            raise ConfigError(f'must be one of {list(_SIZES)}', field='model_name', received=model_name)
        if not set(out_indices) <= set(range(len(_STAGES))):
            raise ConfigError('must be in [0, 6]', field='out_indices', received=out_indices)
        width, depth = _SIZES[model_name]
        self.out_indices, last = tuple(out_indices), len(_STAGES) - 1
        self.stem = nn.Sequential(
            nn.Conv2d(3, _STEM, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(_STEM, eps=1e-3, momentum=0.01),
            nn.ReLU6(inplace=True),
        )
        self.blocks, channels = nn.ModuleList(), [_STEM]
        for i, (units, kernel, stride, expansion, out) in enumerate(_STAGES):
            out = rounded_width(out, width)
            count = units if i in (0, last) else math.ceil(units * depth)
            sizes = [(channels[-1], out, kernel, stride)] + [(out, out, kernel, 1)] * (count - 1)
            drop = _DROP * i / len(_STAGES)
            self.blocks.append(nn.Sequential(*(MBConv(*size, expansion, drop) for size in sizes)))
            channels.append(out)
        self.out_channels = [channels[i + 1] for i in self.out_indices]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) to the maps of ``out_indices``."""
        x, outs = self.stem(x), []
        for i, stage in enumerate(self.blocks):
            x = stage(x)
            if i in self.out_indices:
                outs.append(x)
        return tuple(outs)
