"""Res2Net (Gao et al., TPAMI 2021, arXiv 1904.01169), variant v1d: deep stem and pooled shortcuts."""

from typing import Any

import torch
from mmcv.cnn import build_norm_layer
from torch import Tensor, nn

from mmdet.registry import MODELS

from ..layers.res_layer import ResLayer
from .resnet import Bottleneck, ResNet


class Bottle2neck(Bottleneck):
    """Bottleneck whose 3x3 convolution is a cascade over channel chunks.

    The output of ``conv1`` is cut into `scales` chunks of ``planes * base_width / base_channels`` channels. Each chunk but the last goes
    through its own 3x3 convolution ``convs.i``, to whose input the output of the previous chunk is added; the last chunk stays as it is. In
    the first block of a stage (``stage_type='stage'``, where sizes change) nothing is added, and a strided block pools the last chunk.

    Args:
        inplanes, planes: as of :class:`Bottleneck`.
        scales: number of chunks, > 1.
        base_width: chunk width in the first stage.
        base_channels: ``planes`` of the first stage.
        stage_type: ``'normal'``, or ``'stage'`` for the first block of a stage.
        kwargs: further arguments of :class:`Bottleneck`.
    """

    def __init__(
        self,
        inplanes: int,
        planes: int,
        scales: int = 4,
        base_width: int = 26,
        base_channels: int = 64,
        stage_type: str = 'normal',
        **kwargs: Any,
    ):
        assert scales > 1, f'scales must be > 1 (a Res2Net of one scale is a ResNet), received {scales}'
        assert stage_type in ('normal', 'stage'), f"stage_type must be 'normal' or 'stage', received {stage_type!r}"
        # The parent's constructor calls _build_inner, which needs these before nn.Module exists: plain values only.
        self.scales, self.stage_type = scales, stage_type
        super().__init__(inplanes, planes, base_width=base_width, base_channels=base_channels, **kwargs)

    def _part_width(self, base_width: int, base_channels: int) -> int:
        return self.planes * base_width // base_channels

    def _build_inner(self) -> None:
        self.convs = nn.ModuleList([self._conv3x3() for _ in range(self.scales - 1)])
        self.bns = nn.ModuleList([build_norm_layer(self.norm_cfg, self.width)[1] for _ in range(self.scales - 1)])
        strided = self.stage_type == 'stage' and self.conv2_stride != 1
        self.pool = nn.AvgPool2d(3, stride=self.conv2_stride, padding=1) if strided else nn.Identity()

    def _inner(self, x: Tensor) -> Tensor:
        chunks = x.split(self.width, dim=1)
        outs: list[Tensor] = []
        for chunk, conv, bn in zip(chunks, self.convs, self.bns):
            if outs and self.stage_type == 'normal':
                chunk = chunk + outs[-1]
            outs.append(self.relu(bn(conv(chunk))))
        return torch.cat([*outs, self.pool(chunks[-1])], dim=1)


class Res2Layer(ResLayer):
    """Stage of :class:`Bottle2neck` blocks, the first of type ``'stage'``."""

    def __init__(self, **kwargs: Any):
        super().__init__(first_block_kwargs=dict(stage_type='stage'), **kwargs)


@MODELS.register_module()
class Res2Net(ResNet):
    """Res2Net v1d backbone, always with the deep stem and the pooled shortcuts of its published models.

    Args:
        scales: chunks of each block (the "4s" of 26w 4s).
        base_width: chunk width in the first stage (the "26w").
        kwargs: arguments of :class:`ResNet`; ``deep_stem`` and ``avg_down`` are accepted and have no effect.
    """

    arch_settings = {
        depth: (Bottle2neck, blocks) for depth, (block, blocks) in ResNet.arch_settings.items() if block is Bottleneck
    }

    def __init__(self, scales: int = 4, base_width: int = 26, **kwargs: Any):
        self.scales, self.base_width = scales, base_width
        super().__init__(**{**kwargs, 'deep_stem': True, 'avg_down': True})

    def make_res_layer(self, **kwargs: Any) -> nn.Module:
        """Build one stage of cascaded bottlenecks."""
        kwargs.update(scales=self.scales, base_width=self.base_width, base_channels=self.base_channels)
        return Res2Layer(**kwargs)
