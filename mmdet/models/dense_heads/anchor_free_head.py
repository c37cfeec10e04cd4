"""Heads whose boxes are regressed from points, one a location.

Naming: B images, L levels, C classes, K class channels (C; C + 1 with a background).
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from mmcv.cnn import ConvModule
from mmengine.config import Config
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdet.errors import ArgumentError, ModelInputError
from mmdet.ops import DeformConv2dPack
from mmdet.registry import MODELS, TASK_UTILS

from .base_dense_head import BaseDenseHead, candidate_rule, to_config_dict


@MODELS.register_module()
class AnchorFreeHead(BaseDenseHead):
    """A class tower and a box tower of convolutions, shared by the levels, and a predictor after each; base of FCOS and its relatives.

    Subclasses write ``loss_by_feat`` and ``get_targets``, and replace the methods that build the layers or ``forward_single`` where they
    differ. The methods have the names, arguments and results of mmdetection 3.x.

    Args:
        num_classes: C.
        in_channels: channels of the feature maps.
        feat_channels: channels of the towers.
        stacked_convs: convolutions of each tower.
        strides: pixels a cell of each level, a number or (w, h).
        dcn_on_last_conv: make the last convolution of each tower a modulated deformable one.
        conv_bias: whether the towers' convolutions have a bias; ``'auto'``: where there is no normalisation.
        loss_cls: config of the class loss. With ``use_sigmoid`` there are C class channels; otherwise one more, the background.
        loss_bbox: config of the box loss.
        bbox_coder: config of the coder between points, box outputs and boxes.
        conv_cfg, norm_cfg: configs of the towers' convolutions and normalisation.
        train_cfg: settings of the training.
        test_cfg: see :class:`BaseDenseHead`.
        init_cfg: initialisation; by default N(0, 0.01), and a class bias for a prior probability of 0.01.

    Attributes:
        cls_out_channels: K.

    Raises:
        ArgumentError: another ``conv_bias``.
        ConfigError: an unknown ``nms_pre_rule``.
    """

    _point_offset = 0.5  # where in its cell a point lies, in strides
    _default_init_cfg: dict = dict(
        type='Normal', layer='Conv2d', std=0.01, override=dict(type='Normal', name='conv_cls', std=0.01, bias_prob=0.01)
    )

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        feat_channels: int = 256,
        stacked_convs: int = 4,
        strides: Sequence[int] | Sequence[tuple[int, int]] = (4, 8, 16, 32, 64),
        dcn_on_last_conv: bool = False,
        conv_bias: bool | str = 'auto',
        loss_cls: dict | None = None,
        loss_bbox: dict | None = None,
        bbox_coder: dict | None = None,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        train_cfg: dict | Config | None = None,
        test_cfg: dict | Config | None = None,
        init_cfg: dict | list[dict] | None = None,
    ):
        super().__init__(init_cfg or self._default_init_cfg)
        if conv_bias != 'auto' and not isinstance(conv_bias, bool):
            raise ArgumentError("must be True, False or 'auto'", field='conv_bias', received=conv_bias)
        loss_cls = loss_cls or dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0)
        self.num_classes, self.in_channels, self.feat_channels = num_classes, in_channels, feat_channels
        self.use_sigmoid_cls = bool(loss_cls.get('use_sigmoid', False))
        self.cls_out_channels = num_classes + (not self.use_sigmoid_cls)
        self.stacked_convs, self.strides = stacked_convs, strides
        self.dcn_on_last_conv, self.conv_bias = dcn_on_last_conv, conv_bias
        self.conv_cfg, self.norm_cfg = conv_cfg, norm_cfg
        self.train_cfg, self.test_cfg = to_config_dict(train_cfg), to_config_dict(test_cfg)
        candidate_rule(self.test_cfg)
        self.prior_generator = TASK_UTILS.build(
            dict(type='MlvlPointGenerator', strides=strides, offset=self._point_offset)
        )
        self.num_base_priors = self.prior_generator.num_base_priors[0]
        self.bbox_coder = TASK_UTILS.build(bbox_coder or dict(type='DistancePointBBoxCoder'))
        self.loss_cls = MODELS.build(loss_cls)
        self.loss_bbox = MODELS.build(loss_bbox or dict(type='IoULoss', loss_weight=1.0))
        self._init_layers()

    # ------------------------------------------------------------------------------------------------ layers

    @property
    def num_levels(self) -> int:
        """Pyramid levels L."""
        return self.prior_generator.num_levels

    def _init_layers(self) -> None:
        self._init_cls_convs()
        self._init_reg_convs()
        self._init_predictor()

    def _init_cls_convs(self) -> None:
        self.cls_convs = self._tower()

    def _init_reg_convs(self) -> None:
        self.reg_convs = self._tower()

    def _init_predictor(self) -> None:
        self.conv_cls = nn.Conv2d(self._tower_channels, self.cls_out_channels, 3, padding=1)
        self.conv_reg = nn.Conv2d(self._tower_channels, 4, 3, padding=1)

    @property
    def _tower_channels(self) -> int:
        return self.feat_channels if self.stacked_convs else self.in_channels

    def _tower(self) -> nn.ModuleList:
        channels = [self.in_channels] + [self.feat_channels] * self.stacked_convs
        return nn.ModuleList(
            self._tower_conv(*pair, last=i == self.stacked_convs - 1)
            for i, pair in enumerate(zip(channels, channels[1:]))
        )

    def _tower_conv(self, in_channels: int, out_channels: int, last: bool = False) -> ConvModule:
        conv_cfg = dict(type='DCNv2') if self.dcn_on_last_conv and last else self.conv_cfg
        options = dict(conv_cfg=conv_cfg, norm_cfg=self.norm_cfg, bias=self.conv_bias)
        return ConvModule(in_channels, out_channels, 3, padding=1, **options)

    def init_weights(self) -> None:
        """As ``init_cfg`` says; deformable convolutions begin without offsets."""
        super().init_weights()
        for module in self.modules():
            if isinstance(module, DeformConv2dPack):
                module.init_weights()

    # ----------------------------------------------------------------------------------------------- forward

    def forward(self, x: tuple[Tensor, ...]) -> tuple[list[Tensor], ...]:
        """L maps (B, in_channels, H_l, W_l) to class scores, L maps (B, K, H_l, W_l), and box outputs, L maps (B, 4, H_l, W_l)."""
        self._check_levels(x)
        cls_scores, bbox_preds, *_ = zip(*(self.forward_single(level) for level in x))
        return list(cls_scores), list(bbox_preds)

    def _check_levels(self, x: Sequence[Tensor]) -> None:
        if len(x) != self.num_levels:
            raise ModelInputError(f'the head has {self.num_levels} levels; as many maps are needed', received=len(x))

    def forward_single(self, x: Tensor, *args: Any) -> tuple[Tensor, ...]:
        """Class scores, box outputs, and the features of both towers of one level."""
        cls_feat, reg_feat = self.forward_towers(x)
        return self.conv_cls(cls_feat), self.conv_reg(reg_feat), cls_feat, reg_feat

    def forward_towers(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features of the class and the box tower, (B, feat_channels, H, W) each."""
        cls_feat = reg_feat = x
        for conv in self.cls_convs:
            cls_feat = conv(cls_feat)
        for conv in self.reg_convs:
            reg_feat = conv(reg_feat)
        return cls_feat, reg_feat

    # ----------------------------------------------------------------------------------------------- targets

    @abstractmethod
    def get_targets(self, points: list[Tensor], batch_gt_instances: list[InstanceData]) -> Any:
        """What the points, L tensors (P_l, 2), are trained towards."""
