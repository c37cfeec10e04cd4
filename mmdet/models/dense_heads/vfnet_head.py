"""Head of VarifocalNet (Zhang et al., CVPR 2021, arXiv 2008.13367).

Naming: B images, L levels, P_l = H_l * W_l points of a level (row-major), P of all levels (finest first), C classes, N positives of the
batch.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule, Scale
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdet.core import bbox_overlaps
from mmdet.errors import ArgumentError
from mmdet.ops import DeformConv2d
from mmdet.registry import MODELS, TASK_UTILS

from .anchor_head import _Ignored, flatten_map, mean_over_processes
from .atss_head import ATSSHead
from .base_dense_head import Losses, RawOutputs, widened
from .fcos_head import FCOSHead

_INF = 1e8
_NORM_TYPES = ('reg_denom', 'stride')


@MODELS.register_module()
class VFNetHead(ATSSHead, FCOSHead):  # type: ignore[misc]  # FCOS's layers, and the matching of ATSS
    """Class scores trained towards the IoU of the box, and distances to the sides of a box in two steps.

    The first step's box gives the sampling points of two deformable convolutions: centre, corners and middles of the sides (the star).
    From what they see come the class scores and factors that refine the box.

    Args:
        num_classes, in_channels, regress_ranges, center_sampling, center_sample_radius: see :class:`FCOSHead`.
        sync_num_pos: average the number of positives over the processes.
        gradient_mul: share of the gradient that goes back from the sampling points to the first box.
        bbox_norm_type: the unit of the outputs of a level, whose exponentials are distances: the upper end of its ``regress_ranges``
            (``'reg_denom'``; of the last level twice that of the one before) or the ``'stride'``.
        loss_cls_fl: config of the class loss with ``use_vfl=False``.
        use_vfl: train the scores by ``loss_cls``, a varifocal loss.
        loss_cls: see ``use_vfl``.
        loss_bbox, loss_bbox_refine: configs of the losses of first and refined box.
        norm_cfg: see :class:`FCOSHead`.
        use_atss: match the ground truth to square anchors as in ATSS; otherwise to points as in FCOS.
        reg_decoded_bbox: accepted for configs of mmdetection 3.x; the box loss is always on boxes.
        anchor_generator: config of the anchors.
        init_cfg: initialisation; by default N(0, 0.01), and a class bias for a prior probability of 0.01.
        **kwargs: further arguments of :class:`AnchorFreeHead`.

    Raises:
        ArgumentError: another ``bbox_norm_type``.
    """

    class_predictor = 'vfnet_cls'
    output_names = ('cls', 'reg')
    _default_init_cfg = dict(
        type='Normal',
        layer='Conv2d',
        std=0.01,
        override=dict(type='Normal', name='vfnet_cls', std=0.01, bias_prob=0.01),
    )

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        regress_ranges: Sequence[tuple[float, float]] = ((-1, 64), (64, 128), (128, 256), (256, 512), (512, _INF)),
        center_sampling: bool = False,
        center_sample_radius: float = 1.5,
        sync_num_pos: bool = True,
        gradient_mul: float = 0.1,
        bbox_norm_type: str = 'reg_denom',
        loss_cls_fl: dict | None = None,
        use_vfl: bool = True,
        loss_cls: dict | None = None,
        loss_bbox: dict | None = None,
        loss_bbox_refine: dict | None = None,
        norm_cfg: dict | None = dict(type='GN', num_groups=32, requires_grad=True),  # noqa: B006  never written to
        use_atss: bool = True,
        reg_decoded_bbox: bool = True,
        anchor_generator: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
        **kwargs: Any,
    ):
        if bbox_norm_type not in _NORM_TYPES:
            raise ArgumentError(f'must be one of {_NORM_TYPES}', field='bbox_norm_type', received=bbox_norm_type)
        self.sync_num_pos, self.gradient_mul, self.bbox_norm_type = sync_num_pos, gradient_mul, bbox_norm_type
        self.use_vfl, self.use_atss, self.reg_decoded_bbox = use_vfl, use_atss, reg_decoded_bbox
        focal = loss_cls_fl or dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0)
        varifocal = loss_cls or dict(type='VarifocalLoss', use_sigmoid=True, alpha=0.75, gamma=2.0, iou_weighted=True)
        FCOSHead.__init__(
            self, num_classes, in_channels, regress_ranges, center_sampling, center_sample_radius,
            loss_cls=varifocal if use_vfl else focal, loss_bbox=loss_bbox or dict(type='GIoULoss', loss_weight=1.5),
            norm_cfg=norm_cfg, init_cfg=init_cfg, **kwargs,
        )  # fmt: skip
        self.loss_bbox_refine = MODELS.build(loss_bbox_refine or dict(type='GIoULoss', loss_weight=2.0))
        self.atss_prior_generator = TASK_UTILS.build(anchor_generator or self._default_anchors)
        # Boxes are regressed from the centres of the anchors.
        strides = self.atss_prior_generator.strides
        offset = self.atss_prior_generator.center_offset if use_atss else 0.5
        self.prior_generator = TASK_UTILS.build(dict(type='MlvlPointGenerator', strides=strides, offset=offset))
        if self.train_cfg and use_atss:
            self.assigner = TASK_UTILS.build(self.train_cfg.get('assigner', self._default_assigner))
            self.sampler = TASK_UTILS.build(self.train_cfg.get('sampler') or dict(type='PseudoSampler'))

    # ------------------------------------------------------------------------------------------------ layers

    _tower = FCOSHead._tower  # with the settings of an AnchorFreeHead

    @property
    def reg_denoms(self) -> list[float]:
        """The unit of each level's outputs with ``bbox_norm_type='reg_denom'``, in pixels."""
        most = [most for _, most in self.regress_ranges]
        return [*most[:-1], 2 * most[-2]]

    def _init_layers(self) -> None:
        self.sampling = False
        self._init_cls_convs()
        self._init_reg_convs()
        channels = self.feat_channels
        self.vfnet_reg_conv = ConvModule(
            self._tower_channels,
            channels,
            3,
            padding=1,
            conv_cfg=self.conv_cfg,
            norm_cfg=self.norm_cfg,
            bias=self.conv_bias,
        )
        self.vfnet_reg = nn.Conv2d(channels, 4, 3, padding=1)
        self.scales = nn.ModuleList(Scale(1.0) for _ in range(self.num_levels))
        self.vfnet_reg_refine_dconv = DeformConv2d(self._tower_channels, channels, 3, padding=1)
        self.vfnet_reg_refine = nn.Conv2d(channels, 4, 3, padding=1)
        self.scales_refine = nn.ModuleList(Scale(1.0) for _ in range(self.num_levels))
        self.vfnet_cls_dconv = DeformConv2d(self._tower_channels, channels, 3, padding=1)
        self.vfnet_cls = nn.Conv2d(channels, self.cls_out_channels, 3, padding=1)

    # ----------------------------------------------------------------------------------------------- forward

    def forward(self, x: tuple[Tensor, ...]) -> tuple[list[Tensor], ...]:
        """L maps (B, in_channels, H_l, W_l) to the raw outputs of every level.

        Returns:
            class logits, L maps (B, C, H_l, W_l); in training mode the first step's distances to the left, top, right and bottom side,
            (B, 4, H_l, W_l) float32 in pixels; and the refined distances.
        """
        outputs = self._forward_all(x)
        return outputs if self.training else self._outputs_to_decode(outputs)

    def _forward_all(self, x: tuple[Tensor, ...]) -> tuple[list[Tensor], ...]:
        self._check_levels(x)
        strides = [stride[0] if isinstance(stride, Sequence) else stride for stride in self.strides]
        outputs = map(self._forward_level, x, self.scales, self.scales_refine, strides, self.reg_denoms)
        return tuple(map(list, zip(*outputs)))

    def forward_single(  # type: ignore[override]
        self, x: Tensor, scale: Scale, scale_refine: Scale, stride: int, reg_denom: float
    ) -> tuple[Tensor, ...]:
        """Raw outputs of one level, as :meth:`forward` returns them."""
        cls_score, bbox_pred, bbox_pred_refine = self._forward_level(x, scale, scale_refine, stride, reg_denom)
        return (cls_score, bbox_pred, bbox_pred_refine) if self.training else (cls_score, bbox_pred_refine)

    def _forward_level(
        self, x: Tensor, scale: Scale, scale_refine: Scale, stride: int, reg_denom: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        cls_feat, reg_feat = self.forward_towers(x)
        unit = reg_denom if self.bbox_norm_type == 'reg_denom' else stride
        bbox_pred = scale(self.vfnet_reg(self.vfnet_reg_conv(reg_feat))).float().exp() * unit
        offset = self.star_dcn_offset(bbox_pred, self.gradient_mul, stride)
        refined = self.vfnet_reg_refine(F.relu(self.vfnet_reg_refine_dconv(reg_feat, offset)))
        bbox_pred_refine = scale_refine(refined).float().exp() * bbox_pred.detach()
        cls_score = self.vfnet_cls(F.relu(self.vfnet_cls_dconv(cls_feat, offset)))
        return cls_score, bbox_pred, bbox_pred_refine

    def star_dcn_offset(self, bbox_pred: Tensor, gradient_mul: float, stride: int) -> Tensor:
        """Offsets (B, 18, H, W), in cells, that move the nine points of a 3x3 kernel to centre, corners and middles of the sides.

        ``bbox_pred`` (B, 4, H, W) are distances in pixels; ``gradient_mul`` is the share of the gradient that goes back to them.
        """
        distances = (gradient_mul * bbox_pred + (1 - gradient_mul) * bbox_pred.detach()) / stride
        left, top, right, bottom = distances.unbind(1)  # (B, H, W)
        middle = torch.zeros_like(left)
        dy = torch.stack([1 - top, middle, bottom - 1], dim=1)  # (B, 3, H, W): without the kernel's own -1, 0, 1
        dx = torch.stack([1 - left, middle, right - 1], dim=1)
        return torch.stack([dy.repeat_interleave(3, dim=1), dx.repeat(1, 3, 1, 1)], dim=2).flatten(1, 2)

    def _outputs_for_loss(self, x: tuple[Tensor, ...]) -> RawOutputs:
        """What :meth:`forward` returns in training mode, in either mode."""
        return self(x) if self.training else self._forward_all(x)

    def _outputs_to_decode(self, outputs: RawOutputs) -> RawOutputs:
        cls_scores, _, bbox_preds_refine = outputs
        return cls_scores, bbox_preds_refine

    # ------------------------------------------------------------------------------------------------ losses

    def loss_by_feat(  # type: ignore[override]
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        bbox_preds_refine: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: _Ignored = None,
    ) -> Losses:
        """Losses of the raw outputs: ``loss_cls``, and ``loss_bbox`` and ``loss_bbox_rf`` of the first and the refined boxes.

        The class loss is averaged over the positives, each box loss over the sum of the IoUs of its boxes, which also weigh the boxes.
        With the varifocal loss the locations in the padding are background, as in mmdetection.
        """
        sizes = [(score.size(2), score.size(3)) for score in cls_scores]
        points = self.prior_generator.grid_priors(sizes, device=cls_scores[0].device)
        level_labels, level_weights, level_targets, _ = self.get_targets(
            cls_scores, points, batch_gt_instances, batch_img_metas, batch_gt_instances_ignore
        )
        # In float32 also under autocast: these are sums over tens of thousands of terms.
        with torch.autocast(cls_scores[0].device.type, enabled=False):
            scores, *sides = (
                torch.cat([flatten_map(level).flatten(0, 1) for level in maps])
                for maps in (cls_scores, bbox_preds, bbox_preds_refine)
            )
            labels, scores = torch.cat(level_labels), widened(scores)
            pos = ((labels >= 0) & (labels < self.num_classes)).nonzero().squeeze(1)  # (N,)
            centers = torch.cat([level.repeat(len(batch_img_metas), 1) for level in points])[pos]  # (N, 2)
            gt_boxes = self.bbox_coder.decode(centers, torch.cat(level_targets)[pos])  # (N, 4)
            first, refined = (self.bbox_coder.decode(centers, widened(distances[pos])) for distances in sides)
            with torch.no_grad():
                ious = [bbox_overlaps(boxes, gt_boxes, is_aligned=True).clamp(min=1e-6) for boxes in (first, refined)]
                num_pos, *sums = mean_over_processes(len(pos), *(iou.sum() for iou in ious), like=scores)
                num_pos = (num_pos if self.sync_num_pos else num_pos.new_tensor(float(len(pos)))).clamp(min=1)
                sums = [value.clamp(min=1) for value in sums]
            if self.use_vfl:
                quality = torch.zeros_like(scores)
                quality[pos, labels[pos]] = ious[1]
                loss_cls = self.loss_cls(scores, quality, avg_factor=num_pos)
            else:
                weights = None if level_weights is None else torch.cat(level_weights)
                loss_cls = self.loss_cls(scores, labels, weights, avg_factor=num_pos)
            return dict(
                loss_cls=loss_cls,
                loss_bbox=self.loss_bbox(first, gt_boxes, weight=ious[0], avg_factor=sums[0]),
                loss_bbox_rf=self.loss_bbox_refine(refined, gt_boxes, weight=ious[1], avg_factor=sums[1]),
            )

    # ----------------------------------------------------------------------------------------------- targets

    def get_targets(  # type: ignore[override]
        self,
        cls_scores: list[Tensor],
        mlvl_points: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: _Ignored = None,
    ) -> tuple:
        """What the points of a batch are trained towards.

        Args:
            cls_scores: L maps (B, C, H_l, W_l).
            mlvl_points: L tensors (P_l, 2) x, y.
            batch_gt_instances: ``bboxes`` (n, 4), ``labels`` (n,) of each image.
            batch_img_metas: B dicts with ``img_shape``.
            batch_gt_instances_ignore: boxes to ignore, or None, of each image.

        Returns:
            by level, ``labels`` (B * P_l,), C for background, ``label_weights`` (B * P_l,), distances to the sides of the box in pixels
            (B * P_l, 4), and their weights (B * P_l, 4); None instead of both weights with ``use_atss=False``.
        """
        if not self.use_atss:
            return self.get_fcos_targets(mlvl_points, batch_gt_instances)
        return self.get_atss_targets(
            cls_scores, mlvl_points, batch_gt_instances, batch_img_metas, batch_gt_instances_ignore
        )

    def get_fcos_targets(self, points: list[Tensor], batch_gt_instances: list[InstanceData]) -> tuple:
        """:meth:`get_targets` by the rule of FCOS."""
        labels, bbox_targets = FCOSHead.get_targets(self, points, batch_gt_instances)
        return labels, None, bbox_targets, None

    @torch.no_grad()
    def get_atss_targets(
        self,
        cls_scores: list[Tensor],
        mlvl_points: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: _Ignored = None,
    ) -> tuple:
        """:meth:`get_targets` by the rule of ATSS."""
        sizes, device = [(score.size(2), score.size(3)) for score in cls_scores], cls_scores[0].device
        matched = self.match_targets(sizes, batch_gt_instances, batch_img_metas, batch_gt_instances_ignore, device)
        centers = torch.cat(mlvl_points)[matched.pos_inds % matched.labels.size(1)]  # (N, 2)
        targets = centers.new_zeros(matched.labels.numel(), 4)
        targets[matched.pos_inds] = self.bbox_coder.encode(centers, matched.pos_bboxes)
        weights = torch.zeros_like(targets)
        weights[matched.pos_inds] = 1
        shape = matched.labels.shape
        found = matched.labels, matched.label_weights, targets.view(*shape, 4), weights.view(*shape, 4)
        return tuple([part.flatten(0, 1) for part in values.split(matched.num_level_priors, dim=1)] for values in found)

    def get_anchors(
        self, featmap_sizes: list[tuple[int, int]], batch_img_metas: list[dict], device: torch.device | str = 'cuda'
    ) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
        """Anchors, to which the ground truth is matched, and their valid flags, of every image, each a list over levels."""
        priors = self.atss_prior_generator.grid_priors(featmap_sizes, device=device)
        flags = [
            self.atss_prior_generator.valid_flags(featmap_sizes, meta.get('pad_shape', meta['img_shape'])[:2], device)
            for meta in batch_img_metas
        ]
        return [priors] * len(batch_img_metas), flags
