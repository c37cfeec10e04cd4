"""Heads of NanoDet (RangiLyu/nanodet): Generalized Focal Loss with a small tower for each level instead of a large one for all.

Naming: B images, P priors (all levels, finest first), L levels, C classes, n = reg_max + 1 bins a side.
"""

from typing import Any

import torch
from mmcv.cnn import ConvModule, DepthwiseSeparableConvModule
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdet.errors import ConfigError
from mmdet.registry import MODELS

from ..backbones.custom_csp_net import LEAKY_CFG
from .anchor_head import _Ignored, flatten_levels
from .base_dense_head import Losses
from .gfl_head import GFLHead
from .single_anchor_head import AnchorTargets


@MODELS.register_module()
class NanoDetHead(GFLHead):
    """Head of NanoDet v0.x: a tower of its own for each level, whose one predictor gives class and box logits.

    Training differs from :class:`GFLHead` in three points: anchors in the padding count as background, the box losses are divided by the
    positives' scores however small their sum is, and a batch without any positive has the loss 0, that of the classes included.

    Args:
        num_classes: C.
        in_channels: channels of the feature maps.
        stacked_convs: convolutions of each tower.
        share_cls_reg: one tower and predictor for classes and boxes, whose channels are C class logits and 4 n box logits.
        use_depthwise: depthwise-separable convolutions.
        kernel_size: odd side of the towers' kernels.
        norm_cfg, act_cfg: configs of norms and activations.
        reg_max: the last bin, a distance in strides.
        feat_channels: channels of the towers.
        anchor_generator: NanoDet v0.x puts an anchor on the middle of each cell.
        kwargs: the other arguments of :class:`GFLHead`.

    Raises:
        ConfigError: an even ``kernel_size``.
    """

    cls_convs: Any  # these and the predictors have one module for each level, unlike those of GFLHead
    reg_convs: Any
    gfl_cls: Any
    gfl_reg: Any
    loses_without_positives = False
    _default_anchors = dict(
        type='AnchorGenerator', ratios=[1.0], octave_base_scale=5, scales_per_octave=1, strides=[8, 16, 32],
        center_offset=0.5,
    )  # fmt: skip

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        stacked_convs: int = 2,
        *,
        share_cls_reg: bool = True,
        use_depthwise: bool = True,
        kernel_size: int = 3,
        norm_cfg: dict | None = dict(type='BN'),  # noqa: B006  never written to
        act_cfg: dict = LEAKY_CFG,
        reg_max: int = 7,
        feat_channels: int = 96,
        **kwargs: Any,
    ):
        self.share_cls_reg, self.kernel_size, self.act_cfg = share_cls_reg, kernel_size, act_cfg
        self.rows_of_no_class = (
            4 * (reg_max + 1) if share_cls_reg else 0
        )  # box logits behind the class logits of the predictor
        if kernel_size % 2 == 0:  # the maps would grow
            raise ConfigError('must be odd', field='bbox_head.kernel_size', received=kernel_size)
        self.conv_module = DepthwiseSeparableConvModule if use_depthwise else ConvModule
        super().__init__(
            num_classes, in_channels, stacked_convs, norm_cfg=norm_cfg, reg_max=reg_max, feat_channels=feat_channels,
            **kwargs,
        )  # fmt: skip

    # ------------------------------------------------------------------------------------------------ layers

    def _init_layers(self) -> None:
        super()._init_layers()
        del self.scales
        self.cls_convs, self.reg_convs = (
            nn.ModuleList(self._tower() if used else nn.ModuleList() for _ in range(self.num_levels))
            for used in (True, not self.share_cls_reg)
        )

    def _init_predictors(self) -> None:
        def predictors(channels: int) -> nn.ModuleList:
            return nn.ModuleList(nn.Conv2d(self._tower_channels, channels, 1) for _ in range(self.num_levels))

        self.gfl_cls = predictors(self.cls_out_channels + self.rows_of_no_class)
        if not self.share_cls_reg:
            self.gfl_reg = predictors(4 * (self.reg_max + 1))

    def adapt_state_dict(self, state_dict: dict, prefix: str) -> list[str]:
        """Drop the box predictors that published checkpoints have beside a shared one, where they are not used."""
        unused = [key for key in state_dict if self.share_cls_reg and key.startswith(f'{prefix}gfl_reg.')]
        for key in unused:
            del state_dict[key]
        return [f'{len(unused)} tensors of {prefix}gfl_reg left out: NanoDet does not use them'] if unused else []

    # ----------------------------------------------------------------------------------------------- forward

    def forward(self, x: tuple[Tensor, ...]) -> tuple[list[Tensor], ...]:
        """L maps (B, in_channels, H_l, W_l) to class logits (B, C, H_l, W_l) and side logits (B, 4 n, H_l, W_l), float32."""
        self._check_levels(x)
        return tuple(map(list, zip(*map(self.forward_single, x, range(self.num_levels)))))

    def forward_single(self, x: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """Raw outputs of one level, see :meth:`forward`."""
        cls_feat = reg_feat = x
        for conv in self.cls_convs[level]:
            cls_feat = conv(cls_feat)
        cls = self.gfl_cls[level](cls_feat)
        if self.share_cls_reg:
            cls, reg = cls.split([self.cls_out_channels, self.rows_of_no_class], dim=1)
        else:
            for conv in self.reg_convs[level]:
                reg_feat = conv(reg_feat)
            reg = self.gfl_reg[level](reg_feat)
        return cls, reg.float()

    # ---------------------------------------------------------------------------------------------- training

    def get_anchors(
        self, featmap_sizes: list[tuple[int, int]], batch_img_metas: list[dict], device: torch.device | str = 'cuda'
    ) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
        """Anchors and flags as of :meth:`AnchorHead.get_anchors`; every anchor is valid, in the padding too."""
        priors = self.prior_generator.grid_priors(featmap_sizes, device=device)
        valid = [torch.ones(len(level), dtype=torch.bool, device=level.device) for level in priors]
        return [priors] * len(batch_img_metas), [valid] * len(batch_img_metas)

    def _box_divisor(self, weight_sum: Tensor) -> Tensor:
        return weight_sum.clamp(min=torch.finfo(weight_sum.dtype).tiny)


@MODELS.register_module()
class NanoDetPlusHead(NanoDetHead):
    """Head of NanoDet-Plus: a prior on the corner of each cell, matched by predictions (its own, or those of an auxiliary head).

    Class scores are trained towards the IoU of the predictions that were matched. The class loss is divided by the positives, the box
    losses by the sum of their scores, each over all processes and at least 1.

    Args:
        num_classes, in_channels: see :class:`NanoDetHead`.
        kernel_size: odd side of the towers' kernels.
        kwargs: the other arguments of :class:`NanoDetHead`; only the middles of the anchors matter.
    """

    loses_without_positives = True
    _default_anchors = dict(
        type='AnchorGenerator', ratios=[1.0], octave_base_scale=1, scales_per_octave=1, strides=[8, 16, 32, 64]
    )
    _default_assigner = dict(type='DynamicSoftLabelAssigner', soft_center_radius=None)

    def __init__(self, num_classes: int, in_channels: int, *, kernel_size: int = 5, **kwargs: Any):
        super().__init__(num_classes, in_channels, kernel_size=kernel_size, **kwargs)

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: _Ignored = None,
    ) -> Losses:
        """Losses of the raw outputs, each a list over levels: ``loss_cls``, ``loss_bbox``, ``loss_dfl``."""
        outputs = flatten_levels(cls_scores), flatten_levels(bbox_preds)
        sizes = [(score.size(2), score.size(3)) for score in cls_scores]
        return self.losses(*outputs, self.match_predictions(*outputs, sizes, batch_gt_instances))

    @torch.no_grad()
    def match_predictions(
        self, cls_scores: Tensor, bbox_preds: Tensor, featmap_sizes: list[tuple[int, int]], gts: list[InstanceData]
    ) -> AnchorTargets:
        """Match class logits (B, P, C) and side logits (B, P, 4 n), of this or of another head, to the ground truth of each image.

        Raises:
            ModelInputError: a ground-truth label outside [0, C).
        """
        levels = self.prior_generator.grid_priors(featmap_sizes, device=cls_scores.device)
        counts, anchors = [len(level) for level in levels], torch.cat(levels)
        strides = torch.cat([a.new_full((len(a), 1), s[0]) for a, s in zip(levels, self.prior_generator.strides)])
        points = self.anchor_center(anchors)  # (P, 2)
        matches, quality = [], []
        for scores, sides, gt in zip(cls_scores.float(), bbox_preds.float(), gts):
            self._check_labels(gt.labels)
            boxes = self.bbox_coder.decode(points, self.integral(sides) * strides)
            found = InstanceData(priors=torch.cat([points, strides, strides], 1), scores=scores, bboxes=boxes)
            result = self.assigner.assign(found, gt)
            rows = result.pos_inds
            matches.append((rows, result.gt_inds[rows] - 1, rows[:0]))
            quality.append(result.max_overlaps[rows])
        valid = torch.ones_like(anchors[:, 0], dtype=torch.bool)
        targets = self._gather_targets(anchors, counts, [valid] * len(gts), matches, gts)
        targets.pos_quality, targets.num_samples = torch.cat(quality), len(targets.pos_inds)
        return targets

    def _box_divisor(self, weight_sum: Tensor) -> Tensor:
        return weight_sum.clamp(min=1)


@MODELS.register_module()
class NanoDetAuxHead(GFLHead):
    """The auxiliary head of NanoDet-Plus, which only trains: a :class:`GFLHead` whose outputs choose the positives of the main head.

    Args:
        num_classes, in_channels: see :class:`GFLHead`; channels are twice those of the neck.
        feat_channels: channels of the towers.
        stacked_convs: convolutions of each tower.
        reg_max: as that of the main head.
        act_cfg: activation of the towers.
        kwargs: the other arguments of :class:`GFLHead`.
    """

    _default_anchors = NanoDetPlusHead._default_anchors

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        *,
        feat_channels: int = 192,
        stacked_convs: int = 4,
        reg_max: int = 7,
        act_cfg: dict = LEAKY_CFG,
        **kwargs: Any,
    ):
        self.act_cfg = act_cfg
        super().__init__(
            num_classes, in_channels, stacked_convs, reg_max=reg_max, feat_channels=feat_channels, **kwargs
        )
