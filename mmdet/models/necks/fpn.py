"""Feature pyramid network (Lin et al., CVPR 2017), with the extra levels of the one-stage detectors."""

import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdet.registry import MODELS

_EXTRA_CONVS = ('on_input', 'on_lateral', 'on_output')


@MODELS.register_module()
class FPN(BaseModule):
    """Top-down pyramid over a backbone's stages.

    Args:
        in_channels: channels of each stage of the backbone, unused ones included.
        out_channels: channels of every output level.
        num_outs: output levels; those beyond the used stages are coarser extra levels.
        start_level: first stage used.
        end_level: last stage used; -1 is the last of all. Only with the last one are extra levels possible.
        add_extra_convs: what the first extra level is convolved from: ``'on_input'`` (or True) the last used stage, ``'on_lateral'`` its
            lateral after the merge, ``'on_output'`` the last output; each further one from the level before. False: every second pixel
            of the level before, without a convolution.
        relu_before_extra_convs: apply ReLU to an extra level before the next is convolved from it.
        no_norm_on_lateral: leave ``norm_cfg`` off the lateral convolutions.
        conv_cfg: config of the convolutions; None is ``Conv2d``.
        norm_cfg: norm after every convolution; None gives convolutions with bias.
        act_cfg: activation after every convolution; None is no activation.
        upsample_cfg: arguments of ``interpolate``; without ``scale_factor`` it resizes to the exact size of the finer level, so that odd
            sizes work. None is the nearest neighbour.
        init_cfg: initialisation; Xavier uniform by default.

    Raises:
        AssertionError: levels that contradict each other, or an unknown ``add_extra_convs``.
    """

    def __init__(
        self,
        in_channels: list[int],
        out_channels: int,
        num_outs: int,
        start_level: int = 0,
        end_level: int = -1,
        add_extra_convs: bool | str = False,
        relu_before_extra_convs: bool = False,
        no_norm_on_lateral: bool = False,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        upsample_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg or dict(type='Xavier', layer='Conv2d', distribution='uniform'))
        assert isinstance(in_channels, (list, tuple)), f'in_channels must be a list. Received: {in_channels!r}'
        last = len(in_channels) - 1
        end_level = last if end_level == -1 else end_level
        assert start_level <= end_level <= last, f'end_level must be in [{start_level}, {last}]. Received: {end_level}'
        used = range(start_level, end_level + 1)
        # Below the last stage there are no extra levels: they would take the place of the unused coarser stages.
        assert num_outs == len(used) or (end_level == last and num_outs > len(used)), (
            f'num_outs must be the {len(used)} used stages, or more where the last one is used. Received: {num_outs}'
        )
        assert isinstance(add_extra_convs, bool) or add_extra_convs in _EXTRA_CONVS, (
            f'add_extra_convs must be a bool or one of {_EXTRA_CONVS}. Received: {add_extra_convs!r}'
        )
        self.in_channels, self.out_channels, self.num_outs = list(in_channels), out_channels, num_outs
        self.start_level, self.end_level = start_level, end_level
        self.add_extra_convs = 'on_input' if add_extra_convs is True else add_extra_convs
        self.relu_before_extra_convs = relu_before_extra_convs
        self.upsample_cfg = dict(mode='nearest') if upsample_cfg is None else dict(upsample_cfg)

        conv = dict(conv_cfg=conv_cfg, act_cfg=act_cfg, inplace=False)
        lateral = dict(conv, norm_cfg=None if no_norm_on_lateral else norm_cfg)
        output = dict(conv, norm_cfg=norm_cfg, kernel_size=3, padding=1)
        self.lateral_convs = nn.ModuleList(ConvModule(in_channels[i], out_channels, 1, **lateral) for i in used)
        self.fpn_convs = nn.ModuleList(ConvModule(out_channels, out_channels, **output) for _ in used)
        self.num_extra = num_outs - len(used)
        for i in range(self.num_extra if self.add_extra_convs else 0):
            channels = in_channels[end_level] if i == 0 and self.add_extra_convs == 'on_input' else out_channels
            self.fpn_convs.append(ConvModule(channels, out_channels, stride=2, **output))

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return ``num_outs`` maps (B, out_channels, H_l, W_l) from the backbone's maps, both finest first."""
        needed = len(self.in_channels)
        assert len(inputs) == needed, f'{needed} feature maps are needed. Received: {len(inputs)}'
        laterals = [conv(inputs[self.start_level + i]) for i, conv in enumerate(self.lateral_convs)]
        for i in range(len(laterals) - 1, 0, -1):
            size = {} if 'scale_factor' in self.upsample_cfg else dict(size=laterals[i - 1].shape[2:])
            laterals[i - 1] = laterals[i - 1] + F.interpolate(laterals[i], **size, **self.upsample_cfg)
        outs = [conv(lateral) for conv, lateral in zip(self.fpn_convs, laterals)]
        if not self.add_extra_convs:
            for _ in range(self.num_extra):
                outs.append(F.max_pool2d(outs[-1], 1, stride=2))
            return tuple(outs)
        sources = dict(on_input=inputs[self.end_level], on_lateral=laterals[-1], on_output=outs[-1])
        source = sources[self.add_extra_convs]
        for i in range(self.num_extra):
            if i > 0 and self.relu_before_extra_convs:
                source = F.relu(source)
            source = self.fpn_convs[len(laterals) + i](source)
            outs.append(source)
        return tuple(outs)
