"""VGG with the convolutions that SSD (Liu et al., ECCV 2016, arXiv 1512.02325, section 3.1) has in place of its fully connected layers."""

from collections.abc import Sequence

from mmcv.cnn.vgg import VGG, make_vgg_layer
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdet.errors import ArgumentError
from mmdet.registry import MODELS

from .pretrained import pretrained_cfg

_WIDTHS = (64, 128, 256, 512, 512)  # of the stages
_INIT_CFG = [
    dict(type='Kaiming', layer='Conv2d'),
    dict(type='Constant', val=1, layer='BatchNorm2d'),
    dict(type='Normal', std=0.01, layer='Linear'),
]


@MODELS.register_module()
class SSDVGG(BaseModule):
    """The 3x3 convolutions of VGG without norms, then a pooling of stride 1, a dilated 3x3 and a 1x1 convolution of 1,024 channels.

    Args:
        depth: layers of the VGG, 11, 13, 16 or 19.
        with_last_pool: keep the pooling behind the fifth stage.
        ceil_mode: round the sizes of pooled maps up.
        out_indices: stages of the VGG; accepted for published configs, ``out_feature_indices`` decide.
        out_feature_indices: which of the numbered ``features`` to return; (22, 34) are conv4_3 and fc7 of depth 16.
        pretrained: old form of ``init_cfg=dict(type='Pretrained', checkpoint=pretrained)``.
        init_cfg: initialisation; Kaiming by default.
        input_size, l2_norm_scale: accepted for old configs, and without effect; the scale belongs to the neck.

    Raises:
        KeyError: another depth.
        ArgumentError: an index that is no feature, or both ``pretrained`` and ``init_cfg``.
    """

    # Of the extra layers, by the side of the input, as code for mmdetection reads it: channels, and S before a convolution of stride 2.
    extra_setting = {
        300: (256, 'S', 512, 128, 'S', 256, 128, 256, 128, 256),
        512: (256, 'S', 512, 128, 'S', 256, 128, 'S', 256, 128, 'S', 256, 128),
    }

    def __init__(
        self,
        depth: int,
        with_last_pool: bool = False,
        ceil_mode: bool = True,
        out_indices: Sequence[int] = (3, 4),
        out_feature_indices: Sequence[int] = (22, 34),
        pretrained: str | None = None,
        init_cfg: dict | list[dict] | None = None,
        input_size: int | None = None,
        l2_norm_scale: float | None = None,
    ):
        super().__init__(pretrained_cfg(pretrained, init_cfg) or _INIT_CFG)
        if depth not in VGG.arch_settings:
            raise KeyError(f'depth must be one of {sorted(VGG.arch_settings)}. Received: {depth!r}')
        layers: list[nn.Module] = []
        for blocks, inputs, outputs in zip(VGG.arch_settings[depth], (3, *_WIDTHS), _WIDTHS):
            layers += make_vgg_layer(inputs, outputs, blocks, ceil_mode=ceil_mode)
        if not with_last_pool:
            layers.pop()
        layers += [
            nn.MaxPool2d(kernel_size=3, stride=1, padding=1),
            nn.Conv2d(512, 1024, kernel_size=3, padding=6, dilation=6),
            nn.ReLU(inplace=True),
            nn.Conv2d(1024, 1024, kernel_size=1),
            nn.ReLU(inplace=True),
        ]
        if not set(out_feature_indices) <= set(range(len(layers))):
            message = f'must be in [0, {len(layers) - 1}]'
            raise ArgumentError(message, field='out_feature_indices', received=out_feature_indices)
        self.out_indices, self.out_feature_indices = tuple(out_indices), tuple(out_feature_indices)
        self.features = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) to the maps of ``out_feature_indices``: with those of the default strides 8 and 16."""
        outs = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.out_feature_indices:
                outs.append(x)
        return tuple(outs)
