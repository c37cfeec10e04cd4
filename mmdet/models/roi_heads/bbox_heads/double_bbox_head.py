"""A box head of two branches (Wu et al., Rethinking Classification and Localization, CVPR 2020, arXiv 1904.06493)."""

from typing import Any

from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdet.errors import ConfigError
from mmdet.models.backbones.resnet import Bottleneck
from mmdet.registry import MODELS

from .bbox_head import BBoxHead


class BasicResBlock(BaseModule):
    """A 3x3 and a 1x1 convolution beside a 1x1 convolution; their sum, (K, in_channels, h, w) to (K, out_channels, h, w)."""

    def __init__(self, in_channels: int, out_channels: int, conv_cfg: dict | None = None, norm_cfg: dict | None = None):
        super().__init__()
        options: dict = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, bias=False)
        self.conv1 = ConvModule(in_channels, in_channels, 3, padding=1, **options)
        self.conv2 = ConvModule(in_channels, out_channels, 1, act_cfg=None, **options)
        self.conv_identity = ConvModule(in_channels, out_channels, 1, act_cfg=None, **options)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return (self.conv2(self.conv1(x)) + self.conv_identity(x)).relu()


@MODELS.register_module()
class DoubleConvFCBBoxHead(BBoxHead):
    """Boxes from convolutions, classes from linear layers.

    Args:
        num_convs: residual blocks of the convolutions' branch, without the first, which widens the features.
        num_fcs: linear layers of the other branch.
        conv_out_channels, fc_out_channels: their widths.
        conv_cfg, norm_cfg: configs of the convolutions; by default with batch norms.
        init_cfg: by default as for :class:`BBoxHead`, and Xavier uniform for the linear layers.
        **kwargs: arguments of :class:`BBoxHead`; ``with_avg_pool`` is True.
    """

    def __init__(
        self,
        num_convs: int = 0,
        num_fcs: int = 0,
        conv_out_channels: int = 1024,
        fc_out_channels: int = 1024,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
        **kwargs: Any,
    ):
        super().__init__(init_cfg=init_cfg, **{'with_avg_pool': True, **kwargs})
        if not (self.with_avg_pool and num_convs > 0 and num_fcs > 0):
            received = (self.with_avg_pool, num_convs, num_fcs)
            raise ConfigError(
                'needs with_avg_pool, a convolution and a linear layer', field='DoubleConvFCBBoxHead', received=received
            )
        norm_cfg = norm_cfg or dict(type='BN')
        self._init_predictors(fc_out_channels, conv_out_channels)
        self.res_block = BasicResBlock(self.in_channels, conv_out_channels, conv_cfg, norm_cfg)
        self.conv_branch = nn.ModuleList(
            Bottleneck(conv_out_channels, conv_out_channels // 4, conv_cfg=conv_cfg, norm_cfg=norm_cfg)
            for _ in range(num_convs)
        )
        widths = [self.in_channels * self.roi_feat_area, *[fc_out_channels] * num_fcs]
        self.fc_branch = nn.ModuleList(nn.Linear(*pair) for pair in zip(widths, widths[1:]))
        if init_cfg is None:
            linear: dict = dict(type='Xavier', distribution='uniform', override=dict(name='fc_branch'))
            self.init_cfg = [*self.init_cfg, linear]

    def forward(self, x_cls: Tensor, x_reg: Tensor | None = None) -> tuple[Tensor | None, Tensor | None]:
        """Features for the classes and for the boxes, (K, in_channels, h, w) each, to the outputs of :class:`BBoxHead`."""
        reg = self.res_block(x_cls if x_reg is None else x_reg)
        for conv in self.conv_branch:
            reg = conv(reg)
        cls = x_cls.flatten(1)
        for layer in self.fc_branch:
            cls = layer(cls).relu()
        return self.fc_cls(cls), self.fc_reg(self.avg_pool(reg).flatten(1))
