"""ShuffleNetV2 (Ma et al., ECCV 2018), without the last convolution of the classifier; parameters have torchvision's names."""

from collections.abc import Sequence

import torch
from mmcv.cnn import build_activation_layer, build_norm_layer
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmdet.errors import ConfigError
from mmdet.registry import MODELS

from .custom_csp_net import LEAKY_CFG
from .freezing import FreezableBackbone

_UNITS = (4, 8, 4)
_WIDTHS = {
    '0.5x': (48, 96, 192), '1.0x': (116, 232, 464), '1.5x': (176, 352, 704), '2.0x': (244, 488, 976),
}  # fmt: skip


def shuffle(x: Tensor) -> Tensor:
    """(B, 2 C, H, W): channels 0, C, 1, C + 1, ... of two groups."""
    batch, channels, height, width = x.shape
    return x.view(batch, 2, channels // 2, height, width).transpose(1, 2).reshape(batch, channels, height, width)


class ShuffleUnit(nn.Module):
    """One half of the channels through three convolutions; the other half as it is, or at stride 2 both halves from all channels."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, norm_cfg: dict, act_cfg: dict):
        super().__init__()
        half = out_channels // 2

        def pointwise(channels: int) -> list[nn.Module]:
            conv = nn.Conv2d(channels, half, 1, bias=False)
            return [conv, build_norm_layer(norm_cfg, half)[1], build_activation_layer(dict(act_cfg, inplace=True))]

        def depthwise(channels: int) -> list[nn.Module]:
            conv = nn.Conv2d(channels, channels, 3, stride, padding=1, groups=channels, bias=False)
            return [conv, build_norm_layer(norm_cfg, channels)[1]]

        self.branch1 = (
            nn.Sequential(*depthwise(in_channels), *pointwise(in_channels)) if stride > 1 else nn.Sequential()
        )
        self.branch2 = nn.Sequential(
            *pointwise(in_channels if stride > 1 else half), *depthwise(half), *pointwise(half)
        )
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        kept, changed = x.chunk(2, dim=1) if self.stride == 1 else (self.branch1(x), x)
        return shuffle(torch.cat([kept, self.branch2(changed)], dim=1))


@MODELS.register_module()
class ShuffleNetV2(FreezableBackbone):
    """Backbone of most NanoDets.

    Args:
        model_size: ``'0.5x'``, ``'1.0x'``, ``'1.5x'`` or ``'2.0x'``.
        out_indices: stages to return, of 2, 3 and 4, whose strides are 8, 16 and 32.
        frozen_stages: the stem and the stages up to this number do not train; -1 freezes nothing, 1 the stem.
        norm_cfg, act_cfg: configs of norms and activations.
        norm_eval: keep every batch norm in eval mode.
        init_cfg: initialisation; without it convolutions are N(0, 1 / input channels of a group).

    Attributes:
        out_channels: channels of the returned maps.

    Raises:
        ConfigError: another size or stage.
    """

    def __init__(
        self,
        model_size: str = '1.0x',
        out_indices: Sequence[int] = (2, 3, 4),
        frozen_stages: int = -1,
        norm_cfg: dict = dict(type='BN'),  # noqa: B006  never written to
        act_cfg: dict = LEAKY_CFG,
        norm_eval: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ):
        super().__init__(init_cfg)
        if model_size not in _WIDTHS:
            raise ConfigError(f'must be one of {list(_WIDTHS)}', field='model_size', received=model_size)
        if not set(out_indices) <= {2, 3, 4}:
            raise ConfigError('must be of 2, 3 and 4', field='out_indices', received=out_indices)
        if not -1 <= frozen_stages <= 4:
            raise ConfigError('must be in [-1, 4]', field='frozen_stages', received=frozen_stages)
        self.model_size, self.out_indices = model_size, tuple(out_indices)
        self.frozen_stages, self.norm_eval = frozen_stages, norm_eval
        self.conv1 = nn.Sequential(
            nn.Conv2d(3, 24, 3, stride=2, padding=1, bias=False),
            build_norm_layer(norm_cfg, 24)[1],
            build_activation_layer(dict(act_cfg, inplace=True)),
        )
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        channels = 24
        for stage, (units, width) in enumerate(zip(_UNITS, _WIDTHS[model_size]), start=2):
            blocks = [ShuffleUnit(channels, width, 2, norm_cfg, act_cfg)]
            blocks += [ShuffleUnit(width, width, 1, norm_cfg, act_cfg) for _ in range(units - 1)]
            self.add_module(f'stage{stage}', nn.Sequential(*blocks))
            channels = width
        self.out_channels = [_WIDTHS[model_size][stage - 2] for stage in self.out_indices]

    def init_weights(self) -> None:
        """As the repository does it where there is no ``init_cfg``."""
        super().init_weights()
        if self.init_cfg:
            return
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                std = 0.01 if module is self.conv1[0] else 1 / module.weight.shape[1]
                nn.init.normal_(module.weight, std=std)
            elif isinstance(module, _BatchNorm):
                nn.init.ones_(module.weight)
                nn.init.constant_(module.bias, 1e-4)

    def _frozen_modules(self) -> list[nn.Module]:
        names = ['conv1', 'stage2', 'stage3', 'stage4']
        return [getattr(self, name) for name in names[: max(self.frozen_stages, 0)]]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) to the maps of ``out_indices``."""
        x = self.maxpool(self.conv1(x))
        outs = []
        for stage in (2, 3, 4):
            x = getattr(self, f'stage{stage}')(x)
            if stage in self.out_indices:
                outs.append(x)
        return tuple(outs)
