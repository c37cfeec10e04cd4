"""The upsampling path of CenterNet for ResNets (Zhou et al., arXiv 1904.07850, section 5)."""

from collections.abc import Sequence

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdet.errors import ConfigError
from mmdet.registry import MODELS


@MODELS.register_module()
class CTResNetNeck(BaseModule):
    """Turns the coarsest map into one map by convolutions and transposed convolutions, each pair of which doubles the size.

    Args:
        in_channels: channels of the coarsest map.
        num_deconv_filters: channels of each pair; the last number are those of the output.
        num_deconv_kernels: kernel size of each transposed convolution; 4 doubles the size exactly.
        use_dcn: whether the convolutions are modulated deformable ones.
        init_cfg: initialisation of other layers than those of :meth:`init_weights`.

    Raises:
        ConfigError: not as many kernels as filters.
    """

    def __init__(
        self,
        in_channels: int,
        num_deconv_filters: Sequence[int],
        num_deconv_kernels: Sequence[int],
        use_dcn: bool = True,
        init_cfg: dict | list[dict] | None = None,
    ):
        super().__init__(init_cfg)
        if len(num_deconv_filters) != len(num_deconv_kernels):
            message = f'one for each of the {len(num_deconv_filters)} num_deconv_filters is needed'
            raise ConfigError(message, field='num_deconv_kernels', received=num_deconv_kernels)
        self.in_channels, self.use_dcn = in_channels, use_dcn
        widths, layers = [in_channels, *num_deconv_filters], []
        norm_cfg = dict(type='BN')
        for before, width, kernel in zip(widths, widths[1:], num_deconv_kernels):
            conv_cfg = dict(type='DCNv2') if use_dcn else None
            layers.append(ConvModule(before, width, 3, padding=1, conv_cfg=conv_cfg, norm_cfg=norm_cfg))
            deconv: dict = dict(stride=2, padding=1, conv_cfg=dict(type='deconv'), norm_cfg=norm_cfg)
            layers.append(ConvModule(width, width, kernel, **deconv))
        self.deconv_layers = nn.Sequential(*layers)

    def init_weights(self) -> None:
        """Transposed convolutions begin as bilinear interpolation of a channel of their own, plain ones as torch initialises them."""
        super().init_weights()
        for module in self.modules():
            if isinstance(module, nn.ConvTranspose2d):
                module.reset_parameters()
                with torch.no_grad():
                    module.weight[:, :1] = _bilinear_kernel(module.weight.size(2)).to(module.weight)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
            elif not self.use_dcn and isinstance(module, nn.Conv2d):
                module.reset_parameters()

    def forward(self, x: Sequence[Tensor]) -> tuple[Tensor]:
        """The maps of a backbone, of which the last one (B, in_channels, H, W) is used, to one map (B, channels, 8 H, 8 W) with three pairs."""
        return (self.deconv_layers(x[-1]),)


def _bilinear_kernel(size: int) -> Tensor:
    """(size, size) weights by which a transposed convolution of stride 2 interpolates.

    >>> _bilinear_kernel(4)[0].tolist()
    [0.0625, 0.1875, 0.1875, 0.0625]
    """
    factor = (size + 1) // 2
    center = (2 * factor - 1 - factor % 2) / (2 * factor)
    side = 1 - (torch.arange(size) / factor - center).abs()
    return side[:, None] * side
