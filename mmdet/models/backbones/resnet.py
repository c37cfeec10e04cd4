"""ResNet (He et al., CVPR 2016, arXiv 1512.03385), its V1d stem, frozen stages and deformable stages."""

from itertools import pairwise
from typing import Any

import torch.utils.checkpoint
from mmcv.cnn import build_norm_layer, build_plugin_layer
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdet.errors import ArgumentError
from mmdet.registry import MODELS

from ..layers.conv import build_conv, has_deform_conv
from ..layers.res_layer import BlockType, ResLayer
from .freezing import FreezableBackbone
from .pretrained import pretrained_cfg


class _ResidualBlock(BaseModule):
    """Base of the blocks: norms found by name, shortcut, recomputation in the backward pass, a last norm that starts at 0.

    Args:
        inplanes: input channels.
        planes: base width; the output has ``planes * expansion`` channels.
        stride: stride of the block.
        dilation: dilation of the (first) 3x3 convolution.
        downsample: module of the shortcut, or None for the identity.
        style, with_cp, conv_cfg, norm_cfg, plugins: see :class:`ResNet`.
        dcn: config of a deformable 3x3 convolution; ``conv_cfg`` must then be None.
        zero_init_norm: initialise the last norm's weight to 0.
        init_cfg: how this block is initialised; ``zero_init_norm`` then has no effect.
    """

    expansion: int
    # Places of a block for plugins, in the order of their channels in `_add_plugins`.
    plugin_positions: tuple[str, ...] = ()
    init_cfg: dict | list[dict] | None
    norm1_name: str
    norm2_name: str

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        dilation: int = 1,
        downsample: nn.Module | None = None,
        style: str = 'pytorch',
        with_cp: bool = False,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        dcn: dict | None = None,
        plugins: list[dict] | None = None,
        zero_init_norm: bool = False,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        assert style in ('pytorch', 'caffe'), f"style must be 'pytorch' or 'caffe', received {style!r}"
        assert dcn is None or isinstance(dcn, dict), f'dcn must be a dict or None, received {dcn!r}'
        self.plugins = plugins or []
        if any(plugin.get('position') not in self.plugin_positions for plugin in self.plugins):
            allowed = f'position must be one of {self.plugin_positions}'
            raise ArgumentError(allowed, field=f'{type(self).__name__}.plugins', received=plugins)
        self.inplanes, self.planes, self.stride, self.dilation = inplanes, planes, stride, dilation
        self.style, self.with_cp, self.zero_init_norm = style, with_cp, zero_init_norm
        self.conv_cfg, self.norm_cfg = conv_cfg, dict(type='BN') if norm_cfg is None else norm_cfg
        self.dcn, self.with_dcn = has_deform_conv(dcn)
        self.downsample = downsample
        self.relu = nn.ReLU(inplace=True)

    def _add_norm(self, channels: int, postfix: int) -> str:
        """Add a norm under the name that checkpoints use (``bn1``, ``gn1``, ...)."""
        name, norm = build_norm_layer(self.norm_cfg, channels, postfix=postfix)
        self.add_module(name, norm)
        return name

    def _add_plugins(self, *channels: int) -> None:
        """Add the plugins of each position, which see that many channels, under the names of mmdetection (``context_block``, ...)."""
        self.plugin_names: list[list[str]] = [[] for _ in channels]
        for position, width, names in zip(self.plugin_positions, channels, self.plugin_names):
            for plugin in self.plugins:
                if plugin['position'] == position:
                    cfg = dict(plugin['cfg'])
                    name, layer = build_plugin_layer(cfg, postfix=cfg.pop('postfix', ''), in_channels=width)
                    if hasattr(self, name):
                        raise ArgumentError('two plugins of one name need a postfix', field='plugins', received=name)
                    self.add_module(name, layer)
                    names.append(name)

    def _plugged(self, x: Tensor, place: int) -> Tensor:
        """The output of the plugins of a position, one after the other."""
        for name in self.plugin_names[place]:
            x = getattr(self, name)(x)
        return x

    def _zero_norm(self, name: str) -> None:
        """With ``zero_init_norm``, initialise the norm to 0, unless the block has its own ``init_cfg``."""
        if self.zero_init_norm and not self.init_cfg:
            self.init_cfg = dict(type='Constant', val=0, override=dict(name=name))

    @property
    def norm1(self) -> nn.Module:
        """Norm after ``conv1``."""
        return getattr(self, self.norm1_name)

    @property
    def norm2(self) -> nn.Module:
        """Norm after ``conv2``."""
        return getattr(self, self.norm2_name)

    def _residual(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def _sum(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        return self._residual(x) + identity

    def forward(self, x: Tensor) -> Tensor:
        """(N, inplanes, H, W) to (N, planes * expansion, ceil(H / stride), ceil(W / stride))."""
        if self.with_cp and x.requires_grad:
            return self.relu(torch.utils.checkpoint.checkpoint(self._sum, x, use_reentrant=False))
        return self.relu(self._sum(x))


class BasicBlock(_ResidualBlock):
    """Two 3x3 convolutions, the first with the stride and the dilation; ``dcn`` and ``plugins`` must be None."""

    expansion = 1

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        assert self.dcn is None, 'BasicBlock takes no deformable convolution'
        planes, place = self.planes, dict(stride=self.stride, padding=self.dilation, dilation=self.dilation)
        self.conv1 = build_conv(self.conv_cfg, self.inplanes, planes, 3, bias=False, **place)
        self.norm1_name = self._add_norm(planes, 1)
        self.conv2 = build_conv(self.conv_cfg, planes, planes, 3, padding=1, bias=False)
        self.norm2_name = self._add_norm(planes, 2)
        self._zero_norm(self.norm2_name)

    def _residual(self, x: Tensor) -> Tensor:
        return self.norm2(self.conv2(self.relu(self.norm1(self.conv1(x)))))


class Bottleneck(_ResidualBlock):
    """1x1, 3x3, 1x1 convolutions; the 3x3 one may be grouped (ResNeXt, arXiv 1611.05431) or deformable.

    Args:
        args, kwargs: arguments that all blocks share, see :class:`_ResidualBlock`.
        groups: groups of the 3x3 convolution; its width is ``planes * base_width / base_channels * groups`` when groups > 1.
        base_width: width of one group in the first stage.
        base_channels: ``planes`` of the first stage.
    """

    expansion = 4
    plugin_positions = ('after_conv1', 'after_conv2', 'after_conv3')
    scales = 1  # parts into which the output of conv1 is cut; more than one in Res2Net

    def __init__(self, *args: Any, groups: int = 1, base_width: int = 4, base_channels: int = 64, **kwargs: Any):
        super().__init__(*args, **kwargs)
        assert not self.with_dcn or self.conv_cfg is None, 'conv_cfg must be None where dcn is given'
        self.groups, outplanes = groups, self.planes * self.expansion
        self.conv1_stride, self.conv2_stride = (1, self.stride) if self.style == 'pytorch' else (self.stride, 1)
        self.width = self._part_width(base_width, base_channels)
        joined = self.width * self.scales
        self.conv1 = build_conv(self.conv_cfg, self.inplanes, joined, 1, stride=self.conv1_stride, bias=False)
        self.norm1_name = self._add_norm(joined, 1)
        self._build_inner()
        self.conv3 = build_conv(self.conv_cfg, joined, outplanes, 1, bias=False)
        self.norm3_name = self._add_norm(outplanes, 3)
        self._add_plugins(joined, joined, outplanes)
        self._zero_norm(self.norm3_name)

    def _part_width(self, base_width: int, base_channels: int) -> int:
        return self.planes if self.groups == 1 else self.planes * base_width // base_channels * self.groups

    def _conv3x3(self) -> nn.Module:
        cfg = self.dcn if self.with_dcn else self.conv_cfg
        place = dict(stride=self.conv2_stride, padding=self.dilation, dilation=self.dilation, groups=self.groups)
        return build_conv(cfg, self.width, self.width, 3, bias=False, **place)

    def _build_inner(self) -> None:
        """Build the layers between ``conv1`` and ``conv3``, which :meth:`_inner` runs."""
        self.conv2 = self._conv3x3()
        self.norm2_name = self._add_norm(self.width, 2)

    @property
    def norm3(self) -> nn.Module:
        """Norm after ``conv3``."""
        return getattr(self, self.norm3_name)

    def _inner(self, x: Tensor) -> Tensor:
        """The 3x3 part: (N, width, H, W) to (N, joined width, h, w)."""
        return self.relu(self.norm2(self.conv2(x)))

    def _residual(self, x: Tensor) -> Tensor:
        x = self._plugged(self.relu(self.norm1(self.conv1(x))), 0)
        x = self._plugged(self._inner(x), 1)
        return self._plugged(self.norm3(self.conv3(x)), 2)


@MODELS.register_module()
class ResNet(FreezableBackbone):
    """ResNet backbone that returns the outputs of chosen stages.

    Parameter names are torchvision's (``conv1``, ``bn1``, ``layer1.0.conv1``, ...), without ``fc``.

    Args:
        depth: 18, 34 (basic blocks), 50, 101 or 152 (bottlenecks).
        in_channels: channels of the image.
        stem_channels: channels of the stem; None: ``base_channels``.
        base_channels: width of the first stage's blocks; it doubles with each stage.
        num_stages: 1 to 4.
        strides, dilations: one of each for every stage.
        out_indices: stages whose outputs are returned, always in rising order.
        style: the convolution of a bottleneck that has its stride: ``'pytorch'``: the 3x3 one, ``'caffe'``: the first 1x1 one.
        deep_stem: three 3x3 convolutions instead of one 7x7, as the Sequential ``stem``.
        avg_down: average pooling in strided shortcuts.
        frozen_stages: the stem and this many stages get no gradient and stay in eval mode; 0 freezes the stem only, -1 nothing.
        conv_cfg, norm_cfg: configs of convolutions and norms.
        norm_eval: keep every batch norm in eval mode (its statistics fixed).
        dcn: config of the deformable 3x3 convolutions, ``dict(type='DCN' or 'DCNv2', deform_groups=1, fallback_on_stride=False)``.
        stage_with_dcn: for each stage, whether its blocks are deformable.
        plugins: blocks inside the bottlenecks, each ``dict(cfg=..., position='after_conv1' | 'after_conv2' | 'after_conv3', stages=...)``: ``cfg``
            is of a plugin layer of mmcv (ContextBlock, GeneralizedAttention, NonLocal2d, ConvModule), with ``postfix`` where two have one name;
            ``stages`` says for each stage whether it has the plugin, by default all of them.
        with_cp: recompute blocks in the backward pass to save memory.
        zero_init_residual: initialise the last norm of each block to 0.
        pretrained: old form of ``init_cfg=dict(type='Pretrained', checkpoint=pretrained)``.
        init_cfg: initialisation; default: Kaiming for convolutions, 1 for norms. If given, ``zero_init_residual`` has no effect.

    Raises:
        KeyError: unknown depth.
        AssertionError: stages, strides or flags that contradict each other.
        ArgumentError: ``plugins`` at a place that the blocks do not have, or for another number of stages; an AssertionError, too.
    """

    arch_settings: dict[int, tuple[BlockType, tuple[int, ...]]] = {
        18: (BasicBlock, (2, 2, 2, 2)),
        34: (BasicBlock, (3, 4, 6, 3)),
        50: (Bottleneck, (3, 4, 6, 3)),
        101: (Bottleneck, (3, 4, 23, 3)),
        152: (Bottleneck, (3, 8, 36, 3)),
    }
    stem_kernel_size = 7

    def __init__(
        self,
        depth: int,
        in_channels: int = 3,
        stem_channels: int | None = None,
        base_channels: int = 64,
        num_stages: int = 4,
        strides: tuple[int, ...] = (1, 2, 2, 2),
        dilations: tuple[int, ...] = (1, 1, 1, 1),
        out_indices: tuple[int, ...] = (0, 1, 2, 3),
        style: str = 'pytorch',
        deep_stem: bool = False,
        avg_down: bool = False,
        frozen_stages: int = -1,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        norm_eval: bool = True,
        dcn: dict | None = None,
        stage_with_dcn: tuple[bool, ...] = (False, False, False, False),
        plugins: list[dict] | None = None,
        with_cp: bool = False,
        zero_init_residual: bool = True,
        pretrained: str | None = None,
        init_cfg: dict | list | None = None,
    ):
        init_cfg, self.zero_init_residual = pretrained_init(pretrained, init_cfg, zero_init_residual)
        super().__init__(init_cfg)
        if depth not in self.arch_settings:
            raise KeyError(f'invalid depth {depth} for {type(self).__name__}; allowed: {sorted(self.arch_settings)}')
        assert 1 <= num_stages <= 4, f'num_stages must be in 1..4, received {num_stages}'
        assert len(strides) == len(dilations) == num_stages, 'strides and dilations need one value for each stage'
        assert max(out_indices) < num_stages, f'out_indices {out_indices} exceed {num_stages} stages'
        assert dcn is None or len(stage_with_dcn) == num_stages, 'stage_with_dcn needs one value for each stage'
        self.depth, self.num_stages, self.out_indices = depth, num_stages, tuple(out_indices)
        self.deep_stem, self.frozen_stages, self.norm_eval = deep_stem, frozen_stages, norm_eval
        self.base_channels = base_channels
        self.conv_cfg, self.norm_cfg = conv_cfg, dict(type='BN') if norm_cfg is None else norm_cfg
        self.block, stage_blocks = self.arch_settings[depth]
        inplanes = base_channels if stem_channels is None else stem_channels
        self._build_stem(in_channels, inplanes)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.res_layers: list[str] = []
        for stage, num_blocks in enumerate(stage_blocks[:num_stages]):
            planes = self._stage_planes(stage)
            layer = self.make_res_layer(
                block=self.block,
                inplanes=inplanes,
                planes=planes,
                num_blocks=num_blocks,
                stride=strides[stage],
                dilation=dilations[stage],
                style=style,
                avg_down=avg_down,
                with_cp=with_cp,
                conv_cfg=conv_cfg,
                norm_cfg=self.norm_cfg,
                dcn=dcn if dcn is not None and stage_with_dcn[stage] else None,
                plugins=self.make_stage_plugins(plugins, stage),
                zero_init_norm=self.zero_init_residual,
            )
            inplanes = planes * self.block.expansion
            self.res_layers.append(f'layer{stage + 1}')
            self.add_module(self.res_layers[-1], layer)
        self.feat_dim = inplanes
        self._freeze_stages()

    def make_res_layer(self, **kwargs: Any) -> nn.Module:
        """Build one stage; subclasses add the arguments of their own blocks."""
        return ResLayer(**kwargs)

    def _stage_planes(self, stage: int) -> int:
        """Base width of the blocks of a stage."""
        return self.base_channels * 2**stage

    def make_stage_plugins(self, plugins: list[dict] | None, stage_idx: int) -> list[dict] | None:
        """Those of the plugins that a stage has; None without any.

        Raises:
            ArgumentError: ``stages`` of another length than there are stages.
        """
        found = []
        for plugin in plugins or []:
            stages = plugin.get('stages')
            if stages is not None and len(stages) != self.num_stages:
                message = f'must have one value for each of the {self.num_stages} stages'
                raise ArgumentError(message, field='plugins.stages', received=stages)
            if stages is None or stages[stage_idx]:
                found.append({key: value for key, value in plugin.items() if key != 'stages'})
        return found or None

    def _build_stem(self, in_channels: int, channels: int) -> None:
        if not self.deep_stem:
            size = self.stem_kernel_size
            self.conv1 = build_conv(self.conv_cfg, in_channels, channels, size, stride=2, padding=size // 2, bias=False)
            self.norm1_name, norm = build_norm_layer(self.norm_cfg, channels, postfix=1)
            self.add_module(self.norm1_name, norm)
            self.relu = nn.ReLU(inplace=True)
            return
        parts: list[nn.Module] = []
        for channels_in, channels_out in pairwise((in_channels, channels // 2, channels // 2, channels)):
            stride = 1 if parts else 2
            parts.append(build_conv(self.conv_cfg, channels_in, channels_out, 3, stride=stride, padding=1, bias=False))
            parts += [build_norm_layer(self.norm_cfg, channels_out)[1], nn.ReLU(inplace=True)]
        self.stem = nn.Sequential(*parts)

    @property
    def norm1(self) -> nn.Module:
        """Norm of the 7x7 stem."""
        return getattr(self, self.norm1_name)

    def _frozen_modules(self) -> list[nn.Module]:
        if self.frozen_stages < 0:
            return []
        stem = [self.stem] if self.deep_stem else [self.conv1, self.norm1]
        return [*stem, *(getattr(self, name) for name in self.res_layers[: self.frozen_stages])]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, in_channels, H, W) to one (N, C, H / s, W / s), rounded up, for each of `out_indices`; s = 4, 8, 16, 32 by default."""
        x = self.maxpool(self.stem(x) if self.deep_stem else self.relu(self.norm1(self.conv1(x))))
        outs = []
        for stage, name in enumerate(self.res_layers):
            x = getattr(self, name)(x)
            if stage in self.out_indices:
                outs.append(x)
        return tuple(outs)


def pretrained_init(
    pretrained: str | None, init_cfg: dict | list | None, zero_init_residual: bool
) -> tuple[dict | list, bool]:
    """Return the effective ``init_cfg``, and whether the blocks' last norms start at 0 (only with the default initialisation)."""
    init_cfg = pretrained_cfg(pretrained, init_cfg)
    if init_cfg is not None:
        return init_cfg, False
    norms = dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm'])
    return [dict(type='Kaiming', layer='Conv2d'), norms], zero_init_residual


@MODELS.register_module()
class ResNetV1d(ResNet):
    """ResNet with the deep stem and pooled shortcuts ("ResNet-D", He et al., CVPR 2019, arXiv 1812.01187)."""

    def __init__(self, **kwargs: Any):
        super().__init__(deep_stem=True, avg_down=True, **kwargs)
