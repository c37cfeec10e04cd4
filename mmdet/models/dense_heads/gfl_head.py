"""Head of Generalized Focal Loss (Li et al., NeurIPS 2020): joint class-quality scores and distributions over box sides.

Naming: B images, P priors (all levels, finest first, row-major within one), L levels, C classes, n = reg_max + 1 bins a side,
D channels, N positives of the batch.
"""

import functools
from typing import Any, NamedTuple

import torch
from mmcv.cnn import Scale
from mmengine.config import Config
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdet.core import bbox_overlaps
from mmdet.errors import ConfigError
from mmdet.models.layers import Integral
from mmdet.models.losses.reduction import is_own_loss, loss_sum
from mmdet.registry import MODELS

from .anchor_head import (
    _Ignored,
    flatten_levels,
    flatten_map,
    mean_over_processes,
)  # fmt: skip
from .base_dense_head import Losses, widened
from .single_anchor_head import AnchorTargets, SingleAnchorHead

GFLTargets = AnchorTargets


class PositiveLosses(NamedTuple):
    """Losses of N positives, before they are divided; each (N,). Weights and qualities carry no gradient."""

    weights: Tensor
    quality: Tensor
    loss_bbox: Tensor
    loss_dfl: Tensor


@MODELS.register_module()
class GFLHead(SingleAnchorHead):
    """A class tower and a box tower of convolutions, shared by the levels.

    Class scores are trained towards the IoU of the predicted box; each side of a box is a distribution over ``reg_max + 1`` bins.

    Args:
        num_classes: C.
        in_channels: channels of the feature maps.
        stacked_convs: number of convolutions of each tower.
        feat_channels: channels of the towers.
        conv_cfg: config of the towers' convolutions.
        norm_cfg: config of the towers' normalisation.
        anchor_generator: one square prior per location; ground truth is matched to it, and boxes are regressed from its centre.
        bbox_coder: config of the coder between distances and boxes.
        loss_cls: config of the quality focal loss.
        loss_dfl: config of the distribution focal loss.
        loss_bbox: config of the overlap loss.
        reg_max: the last bin, a distance in strides.
        train_cfg: ``assigner``, ``allowed_border``, ``pos_weight``.
        test_cfg: ``nms_pre``, ``min_bbox_size``, ``score_thr``, ``nms``, ``max_per_img``, and ``nms_pre_rule``, which says what the
            ``nms_pre`` candidates of a level are: the best ``'pairs'`` of prior and class (the default; mmdetection since 2.19), or
            the best ``'priors'`` by their top class (earlier mmdetection, and the repositories of GFL and GFLV2).
        legacy: use the conventions of mmdetection 1.x, for checkpoints of GFL's own repository: corners are inclusive pixels (sizes
            are one larger in the quality, the NMS and the clipping) and locations in the padding are trained as background. Combine
            it with ``LegacyAnchorGenerator`` and ``offset=1`` in the assigner's overlaps and in the box loss.
        reg_decoded_bbox: accepted for configs of mmdetection 3.x; the box loss is always on decoded boxes.
        init_cfg: initialisation; by default N(0, 0.01), and a class bias for a prior probability of 0.01.

    Raises:
        ConfigError: ``reg_max`` below 1, more than one prior per location, an unknown ``nms_pre_rule``, or a class loss that takes the other form of scores.
    """

    _step_names: tuple[str, ...] = (*SingleAnchorHead._step_names, 'anchor_center')
    _more_losses: tuple[str, ...] = ()  # names of what loss_by_feat_single() returns between loss_dfl and the weights
    class_predictor = 'gfl_cls'
    loses_without_positives = True  # whether a batch without any positive, in all processes, has a class loss
    _default_init_cfg = dict(
        type='Normal', layer='Conv2d', std=0.01, override=dict(type='Normal', name='gfl_cls', std=0.01, bias_prob=0.01)
    )

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        stacked_convs: int = 4,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = dict(type='GN', num_groups=32, requires_grad=True),  # noqa: B006  never written to
        loss_dfl: dict | None = None,
        bbox_coder: dict | None = None,
        reg_max: int = 16,
        init_cfg: dict | None = None,
        *,
        feat_channels: int = 256,
        anchor_generator: dict | None = None,
        loss_cls: dict | None = None,
        loss_bbox: dict | None = None,
        train_cfg: dict | Config | None = None,
        test_cfg: dict | Config | None = None,
        legacy: bool = False,
        reg_decoded_bbox: bool = True,
    ):
        if reg_max < 1:
            raise ConfigError('must be at least 1', field='bbox_head.reg_max', received=reg_max)
        self.reg_max, self.legacy, self.stacked_convs = reg_max, legacy, stacked_convs
        self.conv_cfg, self.norm_cfg = conv_cfg, norm_cfg
        super().__init__(
            num_classes,
            in_channels,
            feat_channels,
            anchor_generator=anchor_generator,
            bbox_coder=bbox_coder or dict(type='DistancePointBBoxCoder'),
            reg_decoded_bbox=reg_decoded_bbox,
            loss_cls=loss_cls or dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0),
            loss_bbox=loss_bbox or dict(type='GIoULoss', loss_weight=2.0),
            train_cfg=train_cfg,
            test_cfg=test_cfg,
            init_cfg=init_cfg,
        )
        self.loss_dfl = MODELS.build(loss_dfl or dict(type='DistributionFocalLoss', loss_weight=0.25))
        self.integral = Integral(self.reg_max)

    # ------------------------------------------------------------------------------------------------ layers

    def _init_predictors(self) -> None:
        self.gfl_cls = nn.Conv2d(self._tower_channels, self.cls_out_channels, 3, padding=1)
        self.gfl_reg = nn.Conv2d(self._tower_channels, 4 * (self.reg_max + 1), 3, padding=1)

    # ----------------------------------------------------------------------------------------------- forward

    def forward_single(self, x: Tensor, scale: Scale) -> tuple[Tensor, Tensor]:
        """Class logits (B, C, H, W) and logits of the side distributions (B, 4 n, H, W), float32, of one level.

        The sides come one after another: left, top, right, bottom.
        """
        cls_feat, reg_feat = self.forward_towers(x)
        reg_logits = scale(self.gfl_reg(reg_feat)).float()
        return self._class_output(cls_feat, reg_logits), reg_logits

    def _class_output(self, cls_feat: Tensor, reg_logits: Tensor) -> Tensor:
        return self.gfl_cls(cls_feat)

    # ------------------------------------------------------------------------------------------------ losses

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: _Ignored = None,
    ) -> Losses:
        """Losses of the raw outputs, each a list over levels: ``loss_cls``, ``loss_bbox``, ``loss_dfl``.

        A subclass that replaces ``get_targets``, ``_get_targets_single``, ``loss_by_feat_single`` or ``anchor_center`` is trained through
        these methods, level by level.
        """
        sizes, device = [(score.size(2), score.size(3)) for score in cls_scores], cls_scores[0].device
        if self._replaces_steps(GFLHead):
            targets = self.get_targets(
                *self.get_anchors(sizes, batch_img_metas, device=device),
                batch_gt_instances,
                batch_img_metas,
                batch_gt_instances_ignore,
            )
            return self._losses_by_level(cls_scores, bbox_preds, *targets)
        matched = self.match_targets(sizes, batch_gt_instances, batch_img_metas, batch_gt_instances_ignore, device)
        return self.losses(flatten_levels(cls_scores), flatten_levels(bbox_preds), matched)

    def losses(self, cls_scores: Tensor, bbox_preds: Tensor, targets: AnchorTargets) -> Losses:
        """Losses of class scores (B, P, C), in the form that :meth:`forward` returns, and side logits (B, P, 4 n).

        All levels are computed at once and summed level by level at the end. The class loss is averaged over the positives, the
        box losses over the sum of the positives' scores (both over all processes), as in the reference.
        """
        # In float32 also under autocast: these are sums over tens of thousands of terms.
        with torch.autocast(cls_scores.device.type, enabled=False):
            return self._losses(cls_scores.flatten(0, 1).float(), bbox_preds.flatten(0, 1), targets)

    def _losses(self, cls_scores: Tensor, bbox_preds: Tensor, targets: AnchorTargets) -> Losses:
        pos = targets.pos_inds
        # In strides: centres (N, 2) and boxes (N, 4).
        centers, gt_boxes = targets.pos_centers / targets.pos_strides, targets.pos_bboxes / targets.pos_strides
        found = self._positive_losses(cls_scores[pos], bbox_preds[pos].float(), centers, gt_boxes)
        num_samples, weight_sum = mean_over_processes(targets.num_samples, found.weights.sum(), like=found.weights)
        num_samples = num_samples.clamp(min=1)
        quality = cls_scores.new_zeros(len(cls_scores))
        quality[pos] = found.quality if targets.pos_quality is None else targets.pos_quality
        labels, label_weights = targets.labels.flatten(), targets.label_weights.flatten()
        loss_cls = self.loss_cls(cls_scores, (labels, quality), weight=label_weights, reduction_override='none')
        loss_cls = loss_cls.view(targets.labels.shape).sum(0) / num_samples  # (P,)
        if not self.loses_without_positives:
            loss_cls = loss_cls * (weight_sum > 0)
        divisor = self._box_divisor(weight_sum)
        return dict(
            loss_cls=[part.sum() for part in loss_cls.split(targets.num_level_priors)],
            loss_bbox=targets.level_sums(found.loss_bbox / divisor),
            loss_dfl=targets.level_sums(found.loss_dfl / divisor),
        )

    def _positive_losses(self, scores: Tensor, logits: Tensor, centers: Tensor, gt_boxes: Tensor) -> PositiveLosses:
        """Losses of scores (N, C), side logits (N, 4 n), prior centres (N, 2) and ground truth (N, 4), the latter two in strides."""
        pred_boxes = self.bbox_coder.decode(centers, self.integral(logits))  # (N, 4)
        with torch.no_grad():
            weights = self.to_probability(scores).amax(1)  # (N,)
            quality = bbox_overlaps(pred_boxes, gt_boxes, is_aligned=True, offset=int(self.legacy))
        of_rows = self._losses_of_rows
        loss_bbox = of_rows(self.loss_bbox, pred_boxes, gt_boxes, weights)  # (N,)
        sides = self.bbox_coder.encode(centers, gt_boxes, self.reg_max)  # (N, 4)
        loss_dfl = of_rows(
            self.loss_dfl, logits.view(-1, self.reg_max + 1), sides.flatten(), weights, per_row=4
        )  # (N,)
        return PositiveLosses(weights, quality, loss_bbox, loss_dfl)

    def _losses_of_rows(
        self, loss: nn.Module, pred: Tensor, target: Tensor, weights: Tensor, per_row: int = 1
    ) -> Tensor:
        """Losses (N,) of predictions (N * per_row, ...), the mean over those of a positive; a scalar if :meth:`_has_foreign_losses`."""
        weights = weights.repeat_interleave(per_row)
        if self._has_foreign_losses() and not is_own_loss(loss):
            return loss_sum(loss, pred, target, weights, float(per_row))
        return loss(pred, target, weight=weights, reduction_override='none').view(-1, per_row).mean(1)

    def _box_divisor(self, weight_sum: Tensor) -> Tensor:
        """By what the box losses are divided, given the mean over the processes of the positives' weights, summed."""
        return weight_sum.clamp(min=1)

    # ----------------------------------------------------------------------------------------- level by level

    def anchor_center(self, anchors: Tensor) -> Tensor:
        """Centres (n, 2) of anchors (n, 4) xyxy."""
        return (anchors[..., :2] + anchors[..., 2:]) / 2

    def _losses_by_level(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        anchors: list[Tensor],
        labels: list[Tensor],
        label_weights: list[Tensor],
        bbox_targets: list[Tensor],
        bbox_weights: list[Tensor],
        avg_factor: float,
        *more: Any,
    ) -> Losses:
        """Losses of raw outputs and of what :meth:`get_targets` returns; ``more`` lists are passed on before ``avg_factor``."""
        (num_samples,) = mean_over_processes(avg_factor, like=bbox_targets[0])
        strides = self.prior_generator.strides
        with torch.autocast(cls_scores[0].device.type, enabled=False):
            one_level = functools.partial(self.loss_by_feat_single, avg_factor=num_samples)
            maps = (map(widened, levels) for levels in (cls_scores, bbox_preds))
            parts = map(one_level, anchors, *maps, labels, label_weights, bbox_targets, strides, *more)
            loss_cls, loss_bbox, loss_dfl, *rest, weights = zip(*parts)
        (weight_sum,) = mean_over_processes(sum(weights), like=bbox_targets[0])
        if not self.loses_without_positives:
            loss_cls = tuple(part * (weight_sum > 0) for part in loss_cls)
        divisor = self._box_divisor(weight_sum)
        divided = dict(loss_bbox=[x / divisor for x in loss_bbox], loss_dfl=[x / divisor for x in loss_dfl])
        return dict(loss_cls=list(loss_cls), **divided, **dict(zip(self._more_losses, map(list, rest), strict=True)))

    def loss_by_feat_single(  # type: ignore[override]  # as in mmdetection
        self,
        anchors: Tensor,
        cls_score: Tensor,
        bbox_pred: Tensor,
        labels: Tensor,
        label_weights: Tensor,
        bbox_targets: Tensor,
        stride: tuple[int, int],
        avg_factor: float | Tensor,
    ) -> tuple[Tensor, ...]:
        """Losses of one level: maps (B, C, H, W), (B, 4 n, H, W), and its part of :meth:`get_targets`.

        Returns:
            class loss, box loss and distribution loss, the latter two not divided yet, and the sum of the positives' weights.
        """
        scores, logits = (flatten_map(level).flatten(0, 1) for level in (cls_score, bbox_pred))
        labels = labels.flatten()
        pos = ((labels >= 0) & (labels < self.num_classes)).nonzero().squeeze(1)
        centers = self.anchor_center(anchors.reshape(-1, 4)[pos]) / stride[0]
        gt_boxes = bbox_targets.reshape(-1, 4)[pos] / stride[0]
        found = self._positive_losses(scores[pos], logits[pos], centers, gt_boxes)
        quality = scores.new_zeros(len(scores))
        quality[pos] = found.quality.to(quality.dtype)
        loss_cls = self.loss_cls(scores, (labels, quality), weight=label_weights.flatten(), avg_factor=avg_factor)
        return loss_cls, found.loss_bbox.sum(), found.loss_dfl.sum(), found.weights.sum()

    # ------------------------------------------------------------------------------------------------ decode

    def decode_boxes(self, bbox_pred: Tensor, priors: Tensor, stride: float, img_shape: tuple[int, int]) -> Tensor:
        """(m, 4 n) logits and their priors (m, 4) to (m, 4) xyxy boxes in input pixels, clipped to ``img_shape`` (h, w)."""
        centers = (priors[..., :2] + priors[..., 2:]) / 2
        last = tuple(side - 1 for side in img_shape[:2]) if self.legacy else img_shape
        return self.bbox_coder.decode(centers, self.integral(bbox_pred) * stride, last)
