"""Box heads with convolutions and linear layers before their outputs."""

from typing import Any

from mmcv.cnn import ConvModule
from torch import Tensor, nn

from mmdet.registry import MODELS

from .bbox_head import BBoxHead


@MODELS.register_module()
class ConvFCBBoxHead(BBoxHead):
    """Convolutions and linear layers that classes and boxes share, then those of each alone, then the outputs.

    Args:
        num_shared_convs, num_shared_fcs: shared layers.
        num_cls_convs, num_cls_fcs, num_reg_convs, num_reg_fcs: layers of the classes and of the boxes.
        conv_out_channels, fc_out_channels: their widths.
        conv_cfg, norm_cfg: configs of the convolutions.
        init_cfg: further initialisations; linear layers are Xavier uniform.
        **kwargs: arguments of :class:`BBoxHead`.
    """

    def __init__(
        self,
        num_shared_convs: int = 0,
        num_shared_fcs: int = 0,
        num_cls_convs: int = 0,
        num_cls_fcs: int = 0,
        num_reg_convs: int = 0,
        num_reg_fcs: int = 0,
        conv_out_channels: int = 256,
        fc_out_channels: int = 1024,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
        **kwargs: Any,
    ):
        super().__init__(init_cfg=init_cfg, **kwargs)
        self.conv_out_channels, self.fc_out_channels = conv_out_channels, fc_out_channels
        self.conv_cfg, self.norm_cfg = conv_cfg, norm_cfg
        self.num_shared_convs, self.num_shared_fcs = num_shared_convs, num_shared_fcs
        self.num_cls_convs, self.num_cls_fcs = num_cls_convs, num_cls_fcs
        self.num_reg_convs, self.num_reg_fcs = num_reg_convs, num_reg_fcs
        build = self._add_conv_fc_branch
        self.shared_convs, self.shared_fcs, width = build(num_shared_convs, num_shared_fcs, self.in_channels, True)
        self.cls_convs, self.cls_fcs, cls_width = build(num_cls_convs, num_cls_fcs, width)
        self.reg_convs, self.reg_fcs, reg_width = build(num_reg_convs, num_reg_fcs, width)
        area = 1 if num_shared_fcs or self.with_avg_pool else self.roi_feat_area
        self.shared_out_channels = width
        self.cls_last_dim = cls_width * (1 if num_cls_fcs else area)
        self.reg_last_dim = reg_width * (1 if num_reg_fcs else area)
        self.relu = nn.ReLU(inplace=True)
        self._init_predictors(self.cls_last_dim, self.reg_last_dim)
        if init_cfg is None:
            linear = [dict(name='shared_fcs'), dict(name='cls_fcs'), dict(name='reg_fcs')]
            self.init_cfg = [*self.init_cfg, dict(type='Xavier', distribution='uniform', override=linear)]

    def _add_conv_fc_branch(
        self, num_branch_convs: int, num_branch_fcs: int, in_channels: int, is_shared: bool = False
    ) -> tuple[nn.ModuleList, nn.ModuleList, int]:
        """Convolutions, linear layers, and channels behind them; a branch behind shared linear layers gets vectors."""
        convs, fcs, channels = nn.ModuleList(), nn.ModuleList(), in_channels
        for _ in range(num_branch_convs):
            options = dict(conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg)
            convs.append(ConvModule(channels, self.conv_out_channels, 3, padding=1, **options))
            channels = self.conv_out_channels
        flat = self.with_avg_pool or (self.num_shared_fcs > 0 and not is_shared)
        for i in range(num_branch_fcs):
            fcs.append(nn.Linear(channels * (1 if i or flat else self.roi_feat_area), self.fc_out_channels))
            channels = self.fc_out_channels
        return convs, fcs, channels

    def forward(self, x: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """See :class:`BBoxHead`."""
        for conv in self.shared_convs:
            x = conv(x)
        if len(self.shared_fcs):
            x = self._linear(x, self.shared_fcs)
        cls, reg = x, x
        for conv in self.cls_convs:
            cls = conv(cls)
        for conv in self.reg_convs:
            reg = conv(reg)
        cls, reg = self._linear(cls, self.cls_fcs), self._linear(reg, self.reg_fcs)
        return self.fc_cls(cls) if self.with_cls else None, self.fc_reg(reg) if self.with_reg else None

    def _linear(self, x: Tensor, layers: nn.ModuleList) -> Tensor:
        if x.dim() > 2:
            x = (self.avg_pool(x) if self.with_avg_pool else x).flatten(1)
        for layer in layers:
            x = self.relu(layer(x))
        return x


@MODELS.register_module()
class Shared2FCBBoxHead(ConvFCBBoxHead):
    """Two shared linear layers, as in Faster R-CNN with a feature pyramid."""

    def __init__(self, fc_out_channels: int = 1024, **kwargs: Any):
        super().__init__(num_shared_fcs=2, fc_out_channels=fc_out_channels, **kwargs)


@MODELS.register_module()
class Shared4Conv1FCBBoxHead(ConvFCBBoxHead):
    """Four shared convolutions and one linear layer (Wu and He, Group Normalization, ECCV 2018)."""

    def __init__(self, fc_out_channels: int = 1024, **kwargs: Any):
        super().__init__(num_shared_convs=4, num_shared_fcs=1, fc_out_channels=fc_out_channels, **kwargs)
