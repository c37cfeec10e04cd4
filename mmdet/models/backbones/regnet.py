"""RegNetX (Radosavovic et al., "Designing Network Design Spaces", CVPR 2020, arXiv 2003.13678)."""

import math
from typing import Any

from torch import nn

from mmdet.errors import ArgumentError
from mmdet.registry import MODELS

from ..layers.res_layer import ResLayer
from .resnet import Bottleneck, ResNet

_FIELDS = ('w0', 'wa', 'wm', 'group_w', 'depth', 'bot_mul')


class RegNetBlock(Bottleneck):
    """A bottleneck that does not widen: its output has ``planes`` channels. ``base_width`` is the width of one group."""

    expansion = 1

    def _part_width(self, base_width: int, base_channels: int) -> int:
        return base_width * self.groups


def _arch(w0: int, wa: float, wm: float, group_w: int, depth: int) -> dict[str, float]:
    return dict(w0=w0, wa=wa, wm=wm, group_w=group_w, depth=depth, bot_mul=1.0)


@MODELS.register_module()
class RegNet(ResNet):
    """ResNet of grouped bottlenecks whose widths follow a line, quantised so that four stages result (the paper's equations 2 to 4).

    The stem is one 3x3 convolution of stride 2 without pooling; each stage halves the map once more.

    Args:
        arch: ``'regnetx_400mf'``, ``800mf``, ``1.6gf``, ``3.2gf``, ``4.0gf``, ``6.4gf``, ``8.0gf``, ``12gf``, or a dict of ``w0`` (first width),
            ``wa`` (slope), ``wm`` (ratio of one stage's width to the one before), ``group_w`` (width of a group), ``depth`` (blocks) and
            ``bot_mul`` (width of the 3x3 convolution over that of the block).
        in_channels: channels of the image.
        stem_channels: channels of the stem.
        base_channels: not used; the widths follow from ``arch``.
        strides: one stride for each stage.
        deep_stem: not used; the stem is always one convolution.
        kwargs: arguments of :class:`~mmdet.models.backbones.resnet.ResNet`.

    Raises:
        ArgumentError: an unknown ``arch``, or one that does not give as many stages as there are strides; a ValueError and AssertionError, too.
    """

    arch_settings: dict = {
        'regnetx_400mf': _arch(24, 24.48, 2.54, 16, 22),
        'regnetx_800mf': _arch(56, 35.73, 2.28, 16, 16),
        'regnetx_1.6gf': _arch(80, 34.01, 2.25, 24, 18),
        'regnetx_3.2gf': _arch(88, 26.31, 2.25, 48, 25),
        'regnetx_4.0gf': _arch(96, 38.65, 2.43, 40, 23),
        'regnetx_6.4gf': _arch(184, 60.83, 2.07, 56, 17),
        'regnetx_8.0gf': _arch(80, 49.56, 2.88, 120, 23),
        'regnetx_12gf': _arch(168, 73.36, 2.37, 112, 19),
    }
    stem_kernel_size = 3

    def __init__(
        self,
        arch: str | dict,
        in_channels: int = 3,
        stem_channels: int = 32,
        base_channels: int = 32,
        strides: tuple[int, ...] = (2, 2, 2, 2),
        deep_stem: bool = False,
        **kwargs: Any,
    ):
        known = self.arch_settings
        settings = known.get(arch) if isinstance(arch, str) else arch
        if not isinstance(settings, dict) or not set(_FIELDS) <= set(settings):
            raise ArgumentError(f'must be one of {list(known)}, or a dict of {_FIELDS}', field='arch', received=arch)
        self.arch = settings
        blocks = self.generate_regnet(settings['w0'], settings['wa'], settings['wm'], settings['depth'])[0]
        widths, counts = self.get_stages_from_blocks(blocks)
        if len(widths) != len(strides):
            message = f'gives {len(widths)} stages, of the widths {widths}, for {len(strides)} strides'
            raise ArgumentError(message, field='arch', received=arch)
        self.bottleneck_ratio = settings['bot_mul']
        groups = [int(settings['group_w'])] * len(widths)
        self.stage_widths, self.group_widths = self.adjust_width_group(widths, self.bottleneck_ratio, groups)
        self.arch_settings = {settings['depth']: (RegNetBlock, counts)}  # the table of this network, as ResNet reads it
        super().__init__(
            settings['depth'], in_channels, stem_channels, base_channels, len(strides), strides=strides, **kwargs
        )
        self.maxpool = nn.Identity()  # type: ignore[assignment]

    def generate_regnet(
        self, initial_width: int, width_slope: float, width_parameter: float, depth: int, divisor: int = 8
    ) -> tuple[list[int], int]:
        """Widths of the blocks, multiples of ``divisor``, and the number of different ones."""
        line = [initial_width + width_slope * block for block in range(depth)]
        powers = [round(math.log(width / initial_width, width_parameter)) for width in line]
        widths = [round(initial_width * width_parameter**power / divisor) * divisor for power in powers]
        return widths, len(set(widths))

    @staticmethod
    def adjust_width_group(
        widths: list[int], bottleneck_ratio: float, groups: list[int]
    ) -> tuple[list[int], list[int]]:
        """Widths of the stages, made to divide into groups, and the widths of the groups, none wider than its bottleneck."""
        inner = [int(width * bottleneck_ratio) for width in widths]
        groups = [min(group, width) for group, width in zip(groups, inner)]
        inner = [round(width / group) * group for width, group in zip(inner, groups)]
        return [int(width / bottleneck_ratio) for width in inner], groups

    @staticmethod
    def get_stages_from_blocks(widths: list[int]) -> tuple[list[int], list[int]]:
        """Widths and numbers of blocks of the stages: runs of blocks of one width."""
        stages = list(dict.fromkeys(widths))
        return stages, [widths.count(width) for width in stages]

    def _stage_planes(self, stage: int) -> int:
        return self.stage_widths[stage]

    def make_res_layer(self, **kwargs: Any) -> nn.Module:
        """Build one stage; its groups follow from its width."""
        group_width = self.group_widths[self.stage_widths.index(kwargs['planes'])]
        inner = int(kwargs['planes'] * self.bottleneck_ratio)
        return ResLayer(groups=inner // group_width, base_width=group_width, **kwargs)
