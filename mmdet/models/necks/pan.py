"""Path aggregation of the first NanoDets: sums of resized maps, without a convolution after the laterals (RangiLyu/nanodet)."""

from collections.abc import Sequence

import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdet.errors import ArgumentError, ModelInputError
from mmdet.registry import MODELS


def resample(x: Tensor, factor: float) -> Tensor:
    """Bilinear with half-pixel centres and no smoothing; by a half it is the mean of 2 x 2 pixels."""
    return F.interpolate(x, scale_factor=factor, mode='bilinear', align_corners=False)


def check_halving(maps: Sequence[Tensor], levels: int) -> None:
    """Each map must be half as large as the one before.

    Raises:
        ArgumentError: another number of maps.
        ModelInputError: sizes that do not halve: the image's sides must be multiples of the coarsest stride.
    """
    if len(maps) != levels:
        raise ArgumentError(f'{levels} feature maps are needed', received=len(maps))
    sizes = [tuple(level.shape[-2:]) for level in maps]
    if any(fine != (2 * coarse[0], 2 * coarse[1]) for fine, coarse in zip(sizes, sizes[1:])):
        message = 'every map must be half as large as the one before: set pad_size_divisor to the coarsest stride, 32'
        raise ModelInputError(message, field='data_preprocessor.pad_size_divisor', received=sizes)


@MODELS.register_module()
class PAN(BaseModule):
    """1x1 laterals; each level gains the one above it, twice as large, and then the one below it, half as large.

    Args:
        in_channels: channels of the maps, finest first.
        out_channels: channels of every output.
        norm_cfg, act_cfg: norm and activation of the laterals; None is none, as in every published NanoDet.
        init_cfg: initialisation; Xavier uniform by default.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ):
        super().__init__(init_cfg or dict(type='Xavier', layer='Conv2d', distribution='uniform'))
        self.in_channels, self.out_channels = list(in_channels), out_channels
        self.lateral_convs = nn.ModuleList(
            ConvModule(channels, out_channels, 1, norm_cfg=norm_cfg, act_cfg=act_cfg, inplace=False)
            for channels in in_channels
        )

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """L maps (B, in_channels[l], H_l, W_l), each half as large as the one before, to L maps (B, out_channels, H_l, W_l)."""
        check_halving(inputs, len(self.in_channels))
        levels = [conv(level) for conv, level in zip(self.lateral_convs, inputs)]
        for i in range(len(levels) - 1, 0, -1):
            levels[i - 1] = levels[i - 1] + resample(levels[i], 2)
        for i in range(len(levels) - 1):
            levels[i + 1] = levels[i + 1] + resample(levels[i], 0.5)
        return tuple(levels)
