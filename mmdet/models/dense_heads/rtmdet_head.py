"""Heads of RTMDet (arXiv 2212.07784): class scores and distances from points, matched to the ground truth by their own predictions.

Naming: B images, L levels, P_l priors of a level (row-major), P of all levels (finest first), C classes, G ground-truth boxes.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule, Scale
from mmengine.config import Config
from mmengine.dist import all_reduce
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdet.errors import ModelInputError
from mmdet.models.losses.reduction import loss_sum
from mmdet.registry import MODELS, TASK_UTILS

from ..layers.csp_layer import NORM_CFG, SILU_CFG, conv_type
from .base_dense_head import BaseDenseHead, Losses, candidate_rule, to_config_dict

_LEAST = 1e-5  # the smallest probability whose logit is returned


def joint_logit(first: Tensor, second: Tensor) -> Tensor:
    """Logit of the geometric mean of two probabilities given by their logits, limited to [1e-5, 1 - 1e-5].

    >>> joint_logit(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0]))
    tensor([1.0000, 2.3890])
    """
    # By logarithms, whose gradients stay finite where a probability is too small for a float.
    log_p = (F.logsigmoid(first) + F.logsigmoid(second)) / 2
    log_p = log_p.clamp(math.log(_LEAST), math.log1p(-_LEAST))
    return log_p - torch.log(-torch.expm1(log_p))


@MODELS.register_module()
class RTMDetHead(BaseDenseHead):
    """A class tower and a box tower, shared by the levels.

    Priors are matched by :class:`~mmdet.core.assigners.DynamicSoftLabelAssigner` on the head's own scores and boxes. Class scores are
    trained towards the IoU of the box by the quality focal loss, boxes by an overlap loss that weighs each prior by the same IoU; both are
    averaged over the sum of these IoUs (over all processes, at least 1).

    Args:
        num_classes: C.
        in_channels: channels of the feature maps.
        with_objectness: multiply each class score by an objectness score (the geometric mean of the two), which comes from the box tower.
        act_cfg: activation of the towers.
        stacked_convs, feat_channels: convolutions of each tower, and their channels.
        conv_cfg, norm_cfg: configs of the towers' convolutions and norms.
        pred_kernel_size: odd side of the predictors' kernels.
        anchor_generator: points, one per location.
        bbox_coder: between distances and boxes.
        loss_cls, loss_bbox: configs of the losses.
        train_cfg: ``assigner``, ``sampler``, ``pos_weight``.
        test_cfg: see :class:`BaseDenseHead`.
        loss_centerness, reg_decoded_bbox: accepted for configs of mmdetection 3.x, and without effect.
        init_cfg: initialisation; by default N(0, 0.01), and a bias for a prior probability of 0.01.
    """

    # One module, or a list over the levels in the subclass.
    cls_convs: Any
    reg_convs: Any
    class_predictor = 'rtm_cls'
    rtm_cls: Any
    rtm_reg: Any
    rtm_obj: Any

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        with_objectness: bool = True,
        act_cfg: dict = dict(type='ReLU'),  # noqa: B006  never written to
        *,
        stacked_convs: int = 4,
        feat_channels: int = 256,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = dict(type='GN', num_groups=32, requires_grad=True),  # noqa: B006  never written to
        pred_kernel_size: int = 3,
        anchor_generator: dict | None = None,
        bbox_coder: dict | None = None,
        loss_cls: dict | None = None,
        loss_bbox: dict | None = None,
        loss_centerness: dict | None = None,
        reg_decoded_bbox: bool = True,
        train_cfg: dict | Config | None = None,
        test_cfg: dict | Config | None = None,
        init_cfg: dict | list[dict] | None = None,
    ):
        scored = ['rtm_cls', 'rtm_obj'] if with_objectness else ['rtm_cls']
        override = [dict(type='Normal', name=name, std=0.01, bias_prob=0.01) for name in scored]
        super().__init__(init_cfg or dict(type='Normal', layer='Conv2d', std=0.01, override=override))
        self.num_classes, self.in_channels, self.feat_channels = num_classes, in_channels, feat_channels
        self.with_objectness, self.stacked_convs, self.pred_kernel_size = (
            with_objectness,
            stacked_convs,
            pred_kernel_size,
        )
        self.conv_cfg, self.norm_cfg, self.act_cfg = conv_cfg, norm_cfg, act_cfg
        self.train_cfg, self.test_cfg = to_config_dict(train_cfg), to_config_dict(test_cfg)
        self.prior_generator = TASK_UTILS.build(
            anchor_generator or dict(type='MlvlPointGenerator', offset=0, strides=[8, 16, 32])
        )
        self.bbox_coder = TASK_UTILS.build(bbox_coder or dict(type='DistancePointBBoxCoder'))
        self.loss_cls = MODELS.build(loss_cls or dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0))
        self.loss_bbox = MODELS.build(loss_bbox or dict(type='GIoULoss', loss_weight=2.0))
        if self.train_cfg:
            self.assigner = TASK_UTILS.build(self.train_cfg.get('assigner', dict(type='DynamicSoftLabelAssigner')))
            self.sampler = TASK_UTILS.build(self.train_cfg.get('sampler', dict(type='PseudoSampler')))
        candidate_rule(self.test_cfg)
        self._init_layers()

    # ------------------------------------------------------------------------------------------------ layers

    @property
    def cls_out_channels(self) -> int:
        """Channels of the class predictor."""
        return self.num_classes

    @property
    def num_levels(self) -> int:
        """Pyramid levels L."""
        return self.prior_generator.num_levels

    def _tower(self, conv: type[nn.Module] = ConvModule) -> nn.ModuleList:
        options = dict(conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg, act_cfg=self.act_cfg)
        channels = [self.in_channels] + [self.feat_channels] * self.stacked_convs
        return nn.ModuleList(conv(*pair, 3, padding=1, **options) for pair in zip(channels, channels[1:]))

    def _predictor(self, out_channels: int) -> nn.Conv2d:
        channels = self.feat_channels if self.stacked_convs else self.in_channels
        return nn.Conv2d(channels, out_channels, self.pred_kernel_size, padding=self.pred_kernel_size // 2)

    def _init_layers(self) -> None:
        self.cls_convs, self.reg_convs = self._tower(), self._tower()
        self.rtm_cls, self.rtm_reg = self._predictor(self.cls_out_channels), self._predictor(4)
        if self.with_objectness:
            self.rtm_obj = self._predictor(1)
        self.scales = nn.ModuleList(Scale(1.0) for _ in range(self.num_levels))

    # ----------------------------------------------------------------------------------------------- forward

    def forward(self, feats: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]]:
        """L maps (B, in_channels, H_l, W_l) to the raw outputs of every level.

        Returns:
            class logits, L maps (B, C, H_l, W_l), and distances to the left, top, right and bottom side in pixels, L maps
            (B, 4, H_l, W_l) in float32.
        """
        if len(feats) != self.num_levels:
            message = f'the head has {self.num_levels} levels; as many maps are needed'
            raise ModelInputError(message, received=len(feats))
        outputs = [self.forward_single(x, level) for level, x in enumerate(feats)]
        return [cls for cls, _ in outputs], [reg for _, reg in outputs]

    def forward_single(self, x: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """Raw outputs of one level: (B, C, H, W) and (B, 4, H, W)."""
        cls_feat = reg_feat = x
        for conv in self.cls_convs:
            cls_feat = conv(cls_feat)
        for conv in self.reg_convs:
            reg_feat = conv(reg_feat)
        cls = self.rtm_cls(cls_feat)
        if self.with_objectness:
            cls = joint_logit(cls, self.rtm_obj(reg_feat))
        reg = self.rtm_reg(reg_feat).float().exp()
        return cls, self.scales[level](reg) * self.prior_generator.strides[level][0]

    # ------------------------------------------------------------------------------------------------- match

    def get_anchors(
        self, featmap_sizes: list[tuple[int, int]], batch_img_metas: list[dict], device: torch.device | str = 'cuda'
    ) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
        """Priors (P_l, 4), x, y and both strides, and valid flags (P_l,) of every image, each a list over levels."""
        priors = self.prior_generator.grid_priors(featmap_sizes, device=device, with_stride=True)
        flags = [
            self.prior_generator.valid_flags(featmap_sizes, meta.get('pad_shape', meta['img_shape'])[:2], device=device)
            for meta in batch_img_metas
        ]
        return [list(priors) for _ in batch_img_metas], flags

    @torch.no_grad()
    def get_targets(
        self,
        cls_scores: Tensor,
        bbox_preds: Tensor,
        anchor_list: list[list[Tensor]],
        valid_flag_list: list[list[Tensor]],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: list[InstanceData | None] | None = None,
        unmap_outputs: bool = True,
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor], list[Tensor], list[Any]]:
        """What the priors are trained towards.

        Args:
            cls_scores: (B, P, C) logits.
            bbox_preds: (B, P, 4) xyxy boxes in pixels.
            anchor_list, valid_flag_list: see :meth:`get_anchors`.
            batch_gt_instances, batch_img_metas, batch_gt_instances_ignore: of each image.
            unmap_outputs: accepted for the signature of mmdetection; targets always are of all priors.

        Returns:
            six lists: for each level, priors (B, P_l, 4), labels (B, P_l) with C for background, label weights (B, P_l), boxes (B, P_l, 4)
            and IoUs with them (B, P_l), both 0 for background; for each image, the sampling result.
        """
        num_level_priors = [len(priors) for priors in anchor_list[0]]
        ignored = batch_gt_instances_ignore or [None] * len(batch_img_metas)
        singles = [
            self._get_targets_single(
                cls_scores[i], bbox_preds[i], torch.cat(anchor_list[i]), torch.cat(valid_flag_list[i]), batch_gt_instances[i],
                batch_img_metas[i], ignored[i], unmap_outputs,
            )
            for i in range(len(batch_img_metas))
        ]  # fmt: skip
        *fields, sampling_results = zip(*singles)
        by_level = [list(torch.stack(field).split(num_level_priors, dim=1)) for field in fields]
        anchors, labels, label_weights, bbox_targets, assign_metrics = by_level
        return anchors, labels, label_weights, bbox_targets, assign_metrics, list(sampling_results)

    def _get_targets_single(
        self,
        cls_scores: Tensor,
        bbox_preds: Tensor,
        flat_anchors: Tensor,
        valid_flags: Tensor,
        gt_instances: InstanceData,
        img_meta: dict,
        gt_instances_ignore: InstanceData | None = None,
        unmap_outputs: bool = True,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Any]:
        """Targets of one image, (P, ...) each, and the sampling result; priors in the padding get weight 0.

        Raises:
            ModelInputError: no prior lies inside the image, or a label outside [0, C).
        """
        self._check_labels(gt_instances.labels)
        rows = valid_flags.nonzero().squeeze(1)
        if len(rows) == 0:
            raise ModelInputError(
                'no prior lies inside the image', field='pad_shape', received=img_meta.get('pad_shape')
            )
        inside = slice(None) if len(rows) == len(valid_flags) else rows
        found = InstanceData(
            scores=cls_scores[inside].detach(), bboxes=bbox_preds[inside].detach(), priors=flat_anchors[inside]
        )
        assigned = self.assigner.assign(found, gt_instances, gt_instances_ignore)
        sampled = self.sampler.sample(assigned, found, gt_instances)
        num_priors = len(flat_anchors)
        labels = flat_anchors.new_full((num_priors,), self.num_classes, dtype=torch.long)
        label_weights = valid_flags.to(flat_anchors.dtype)
        bbox_targets = flat_anchors.new_zeros(num_priors, 4)
        assign_metrics = flat_anchors.new_zeros(num_priors)
        positive = rows[sampled.pos_inds]
        labels[positive] = sampled.pos_gt_labels
        bbox_targets[positive] = sampled.pos_gt_bboxes.to(bbox_targets.dtype)
        assign_metrics[positive] = assigned.max_overlaps[sampled.pos_inds].to(assign_metrics.dtype)
        if self.train_cfg.get('pos_weight', -1) > 0:
            label_weights[positive] = self.train_cfg.pos_weight
        return flat_anchors, labels, label_weights, bbox_targets, assign_metrics, sampled

    # ------------------------------------------------------------------------------------------------ losses

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: list[InstanceData | None] | None = None,
    ) -> Losses:
        """Losses of the raw outputs: ``loss_cls`` and ``loss_bbox``, lists over levels."""
        with torch.autocast(cls_scores[0].device.type, enabled=False):
            sizes = [(score.size(2), score.size(3)) for score in cls_scores]
            anchor_list, flag_list = self.get_anchors(sizes, batch_img_metas, cls_scores[0].device)
            cls, boxes = [], []  # (B, P_l, C) and (B, P_l, 4) of each level
            for score, distances, priors in zip(cls_scores, bbox_preds, anchor_list[0]):
                cls.append(score.float().flatten(2).transpose(1, 2))
                distances = distances.float().flatten(2).transpose(1, 2)
                boxes.append(self.bbox_coder.decode(priors[:, :2].expand(len(distances), -1, -1), distances))
            _, labels, label_weights, bbox_targets, metrics, _ = self.get_targets(
                torch.cat(cls, dim=1).detach(), torch.cat(boxes, dim=1).detach(), anchor_list, flag_list,
                batch_gt_instances, batch_img_metas, batch_gt_instances_ignore,
            )  # fmt: skip
            targets = (labels, label_weights, bbox_targets, metrics, self.prior_generator.strides)
            losses_cls, losses_bbox, *sums = zip(
                *(self.loss_by_feat_single(*args) for args in zip(cls, boxes, *targets))
            )
            normalisers = torch.stack([sum(levels) for levels in sums])
            all_reduce(normalisers, op='mean')
            cls_average, bbox_average = normalisers.clamp(min=1)
            return dict(
                loss_cls=[loss / cls_average for loss in losses_cls],
                loss_bbox=[loss / bbox_average for loss in losses_bbox],
            )

    def loss_by_feat_single(
        self,
        cls_score: Tensor,
        bbox_pred: Tensor,
        labels: Tensor,
        label_weights: Tensor,
        bbox_targets: Tensor,
        assign_metrics: Tensor,
        stride: Any,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Losses of one level, not averaged, and what they are averaged over.

        Args:
            cls_score: (B, P_l, C) logits, or (B, C, H_l, W_l).
            bbox_pred: (B, P_l, 4) xyxy boxes in pixels.
            labels, label_weights, bbox_targets, assign_metrics: targets of the level, see :meth:`get_targets`.
            stride: that of the level, (w, h); not needed here.

        Returns:
            scalars: class loss, box loss, and twice the sum of the IoUs, for the one and the other.
        """
        if cls_score.dim() == 4:
            cls_score = cls_score.flatten(2).transpose(1, 2)
        labels, metrics = labels.flatten(), assign_metrics.flatten()
        classified = self.loss_cls(cls_score.flatten(0, 1), (labels, metrics), label_weights.flatten(), avg_factor=1.0)
        positive = ((labels >= 0) & (labels < self.num_classes)).nonzero().squeeze(1)
        weights = metrics[positive]
        pairs = (bbox_pred.reshape(-1, 4)[positive], bbox_targets.reshape(-1, 4)[positive])
        # Without positives this is a sum over nothing, 0, which still belongs to the graph.
        regressed = loss_sum(self.loss_bbox, *pairs, weights)
        return classified, regressed, metrics.sum(), weights.sum()

    # ------------------------------------------------------------------------------------------------ decode

    def decode_boxes(self, bbox_pred: Tensor, priors: Tensor, stride: float, img_shape: tuple[int, int]) -> Tensor:
        """(m, 4) distances in pixels and their points (m, 2 or more) to (m, 4) xyxy boxes, clipped to ``img_shape`` (h, w)."""
        return self.bbox_coder.decode(priors[..., :2], bbox_pred, img_shape)


@MODELS.register_module()
class RTMDetSepBNHead(RTMDetHead):
    """Towers whose convolutions are shared by the levels, while each level has its own norms and predictors.

    A shared convolution is one module with a name at every level, so that its weight is in the state dict once a level. The optimizer
    takes it once.

    Args:
        num_classes, in_channels: see :class:`RTMDetHead`.
        share_conv: whether the levels share their convolutions.
        use_depthwise: depthwise-separable convolutions in the towers.
        norm_cfg, act_cfg: configs of the towers' norms and activations.
        pred_kernel_size: odd side of the predictors' kernels.
        exp_on_reg: distances are exponentials of the predictor's outputs, hence positive; otherwise the outputs as they are.
        kwargs: further arguments of :class:`RTMDetHead`.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        share_conv: bool = True,
        use_depthwise: bool = False,
        norm_cfg: dict = NORM_CFG,
        act_cfg: dict = SILU_CFG,
        pred_kernel_size: int = 1,
        exp_on_reg: bool = False,
        **kwargs: Any,
    ):
        # The parent's constructor calls _init_layers, which needs these before nn.Module exists: plain values only.
        self.share_conv, self.use_depthwise, self.exp_on_reg = share_conv, use_depthwise, exp_on_reg
        super().__init__(
            num_classes, in_channels, norm_cfg=norm_cfg, act_cfg=act_cfg, pred_kernel_size=pred_kernel_size, **kwargs
        )

    def _init_layers(self) -> None:
        conv, levels = conv_type(self.use_depthwise), range(self.num_levels)
        self.cls_convs, self.reg_convs = (nn.ModuleList(self._tower(conv) for _ in levels) for _ in range(2))
        self.rtm_cls = nn.ModuleList(self._predictor(self.cls_out_channels) for _ in levels)
        self.rtm_reg = nn.ModuleList(self._predictor(4) for _ in levels)
        if self.with_objectness:
            self.rtm_obj = nn.ModuleList(self._predictor(1) for _ in levels)
        if not self.share_conv:
            return
        for towers in (self.cls_convs, self.reg_convs):
            for tower in towers[1:]:
                for own, first in zip(tower.modules(), towers[0].modules()):
                    if isinstance(own, ConvModule) and isinstance(first, ConvModule):
                        own.conv = first.conv

    def forward_single(self, x: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """Raw outputs of one level: (B, C, H, W) and (B, 4, H, W)."""
        cls_feat = reg_feat = x
        for conv in self.cls_convs[level]:
            cls_feat = conv(cls_feat)
        for conv in self.reg_convs[level]:
            reg_feat = conv(reg_feat)
        cls = self.rtm_cls[level](cls_feat)
        if self.with_objectness:
            cls = joint_logit(cls, self.rtm_obj[level](reg_feat))
        reg = self.rtm_reg[level](reg_feat).float()
        return cls, (reg.exp() if self.exp_on_reg else reg) * self.prior_generator.strides[level][0]
