"""Head of ATSS (Zhang et al., CVPR 2020, arXiv 1912.02424).

Naming: B images, P anchors (all levels, finest first, row-major within one), C classes, N positives of the batch.
"""

import functools
from typing import Any

import torch
from mmcv.cnn import Scale
from mmengine.config import Config
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdet.registry import MODELS

from .anchor_head import (
    _Ignored,
    flatten_levels,
    flatten_map,
    mean_over_processes,
)  # fmt: skip
from .base_dense_head import Losses, widened
from .single_anchor_head import AnchorTargets, SingleAnchorHead


@MODELS.register_module()
class ATSSHead(SingleAnchorHead):
    """A class tower and a box tower of convolutions, shared by the levels; one square anchor a location.

    The box tower also predicts the centerness, how central a location is in its box, which is multiplied with the class scores.

    Args:
        num_classes, in_channels: see :class:`AnchorHead`.
        pred_kernel_size: size of the convolutions that predict.
        stacked_convs: number of convolutions of each tower.
        conv_cfg: config of the towers' convolutions.
        norm_cfg: config of the towers' normalisation.
        reg_decoded_bbox: accepted for configs of mmdetection 3.x; the box loss is always on decoded boxes.
        loss_centerness: config of the centerness loss.
        init_cfg: by default N(0, 0.01), and a class bias for a prior probability of 0.01.
        **kwargs: further arguments of :class:`AnchorHead`.
    """

    _step_names: tuple[str, ...] = (*SingleAnchorHead._step_names, 'centerness_target')
    class_predictor = 'atss_cls'
    _default_init_cfg = dict(
        type='Normal', layer='Conv2d', std=0.01, override=dict(type='Normal', name='atss_cls', std=0.01, bias_prob=0.01)
    )

    output_names: tuple[str, ...] = ('cls', 'reg', 'centerness')

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        pred_kernel_size: int = 3,
        stacked_convs: int = 4,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = dict(type='GN', num_groups=32, requires_grad=True),  # noqa: B006  never written to
        reg_decoded_bbox: bool = True,
        loss_centerness: dict | Config | None = None,
        init_cfg: dict | list[dict] | None = None,
        **kwargs: Any,
    ):
        self.pred_kernel_size, self.stacked_convs = pred_kernel_size, stacked_convs
        self.conv_cfg, self.norm_cfg = conv_cfg, norm_cfg
        super().__init__(num_classes, in_channels, reg_decoded_bbox=reg_decoded_bbox, init_cfg=init_cfg, **kwargs)
        self.loss_centerness = MODELS.build(loss_centerness or dict(type='CrossEntropyLoss', use_sigmoid=True))

    def _init_predictors(self) -> None:
        def predictor(channels: int) -> nn.Conv2d:
            return nn.Conv2d(self._tower_channels, channels, self.pred_kernel_size, padding=self.pred_kernel_size // 2)

        self.atss_cls = predictor(self.num_base_priors * self.cls_out_channels)
        self.atss_reg = predictor(self.num_base_priors * self._box_channels)
        self.atss_centerness = predictor(self.num_base_priors)

    def forward_single(self, x: Tensor, scale: Scale) -> tuple[Tensor, ...]:
        """Class scores (B, C, H, W), box deltas (B, 4, H, W) float32 and centerness logits (B, 1, H, W) of one level."""
        cls_feat, reg_feat = self.forward_towers(x)
        return self.atss_cls(cls_feat), scale(self.atss_reg(reg_feat)).float(), self.atss_centerness(reg_feat)

    # ------------------------------------------------------------------------------------------------ losses

    def loss_by_feat(  # type: ignore[override]
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        centernesses: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: _Ignored = None,
    ) -> Losses:
        """Losses of the raw outputs, each a list over levels: ``loss_cls``, ``loss_bbox``, ``loss_centerness``.

        A subclass that replaces ``get_targets``, ``_get_targets_single``, ``loss_by_feat_single`` or ``centerness_target`` is trained
        through these methods, level by level.
        """
        sizes, device = [(score.size(2), score.size(3)) for score in cls_scores], cls_scores[0].device
        # In float32 also under autocast: these are sums over tens of thousands of terms.
        with torch.autocast(device.type, enabled=False):
            maps: Any = [[widened(level) for level in levels] for levels in (cls_scores, bbox_preds, centernesses)]
            if self._replaces_steps(ATSSHead):
                targets = self.get_targets(
                    *self.get_anchors(sizes, batch_img_metas, device=device),
                    batch_gt_instances,
                    batch_img_metas,
                    batch_gt_instances_ignore,
                )
                return self._losses_by_level(*maps, *targets)
            matched = self.match_targets(sizes, batch_gt_instances, batch_img_metas, batch_gt_instances_ignore, device)
            priors = torch.cat(self.prior_generator.grid_priors(sizes, device=device))
            return self._losses_at_once(priors, matched, *maps)

    def _losses_at_once(
        self,
        priors: Tensor,
        targets: AnchorTargets,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        centernesses: list[Tensor],
    ) -> Losses:
        pos = targets.pos_inds
        deltas, logits = (flatten_levels(maps).flatten(0, 1)[pos] for maps in (bbox_preds, centernesses))
        anchors = priors[pos % len(priors)]  # (N, 4)
        centerness = self.centerness_target(anchors, targets.pos_bboxes)  # (N,)
        num_samples, weight_sum = mean_over_processes(targets.num_samples, centerness.sum(), like=centerness)
        boxes = self.bbox_coder.decode(anchors, deltas)  # (N, 4)
        loss_bbox = self.loss_bbox(boxes, targets.pos_bboxes, weight=centerness, reduction_override='none')  # (N,)
        loss_centerness = self.loss_centerness(logits.squeeze(1), centerness, reduction_override='none')  # (N,)
        levels = (values.split(targets.num_level_priors, dim=1) for values in (targets.labels, targets.label_weights))
        return dict(
            loss_cls=[
                self.loss_cls(
                    flatten_map(scores).flatten(0, 1), labels.flatten(), weights.flatten(), avg_factor=num_samples
                )
                for scores, labels, weights in zip(cls_scores, *levels, strict=True)
            ],
            loss_bbox=targets.level_sums(loss_bbox / weight_sum.clamp(min=1)),
            loss_centerness=targets.level_sums(loss_centerness / num_samples),
        )

    def centerness_target(self, anchors: Tensor, gts: Tensor) -> Tensor:
        """Centerness (N,), in [0, 1], of the centres of anchors (N, 4) in their boxes (N, 4): sqrt of the product, over both axes, of the
        shorter distance to a side over the longer one.
        """
        centers = (anchors[:, :2] + anchors[:, 2:]) / 2
        sides = torch.stack([centers - gts[:, :2], gts[:, 2:] - centers])  # (2, N, 2)
        return (sides.amin(0) / sides.amax(0)).prod(1).sqrt()

    # ----------------------------------------------------------------------------------------- level by level

    def _losses_by_level(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        centernesses: list[Tensor],
        anchors: list[Tensor],
        labels: list[Tensor],
        label_weights: list[Tensor],
        bbox_targets: list[Tensor],
        bbox_weights: list[Tensor],
        avg_factor: float,
    ) -> Losses:
        (num_samples,) = mean_over_processes(avg_factor, like=bbox_targets[0])
        one_level = functools.partial(self.loss_by_feat_single, avg_factor=num_samples)
        parts = map(one_level, anchors, cls_scores, bbox_preds, centernesses, labels, label_weights, bbox_targets)
        loss_cls, loss_bbox, loss_centerness, weights = map(list, zip(*parts))
        (weight_sum,) = mean_over_processes(sum(weights), like=bbox_targets[0])
        divisor = weight_sum.clamp(min=1)
        return dict(
            loss_cls=loss_cls, loss_bbox=[part / divisor for part in loss_bbox], loss_centerness=loss_centerness
        )

    def loss_by_feat_single(  # type: ignore[override]  # as in mmdetection
        self,
        anchors: Tensor,
        cls_score: Tensor,
        bbox_pred: Tensor,
        centerness: Tensor,
        labels: Tensor,
        label_weights: Tensor,
        bbox_targets: Tensor,
        avg_factor: float | Tensor,
    ) -> tuple[Tensor, ...]:
        """Losses of one level: maps (B, C, H, W), (B, 4, H, W), (B, 1, H, W), and its part of :meth:`get_targets`.

        Returns:
            class loss, box loss, not divided yet, centerness loss, and the sum of the positives' centerness.
        """
        scores, deltas, logits = (flatten_map(level).flatten(0, 1) for level in (cls_score, bbox_pred, centerness))
        labels = labels.flatten()
        loss_cls = self.loss_cls(scores, labels, label_weights.flatten(), avg_factor=avg_factor)
        pos = ((labels >= 0) & (labels < self.num_classes)).nonzero().squeeze(1)
        priors, gts = anchors.reshape(-1, 4)[pos], bbox_targets.reshape(-1, 4)[pos]
        target = self.centerness_target(priors, gts)
        loss_bbox = self.loss_bbox(self.bbox_coder.decode(priors, deltas[pos]), gts, weight=target, avg_factor=1.0)
        loss_centerness = self.loss_centerness(logits[pos].squeeze(1), target, avg_factor=avg_factor)
        return loss_cls, loss_bbox, loss_centerness, target.sum()
