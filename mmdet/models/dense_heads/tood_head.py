"""Head of TOOD (Feng et al., ICCV 2021, arXiv 2108.07755).

Naming: B images, L levels, P_l = H_l * W_l anchors of a level (row-major), P of all levels (finest first), C classes, S layers of the
shared tower, D channels of each of them, G ground-truth boxes of an image, N positives.
"""

from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule, Scale
from mmengine.config import Config
from mmengine.model import bias_init_with_prob, normal_init
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdet.core.boxes import distance2bbox
from mmdet.errors import ArgumentError, ConfigError
from mmdet.ops import DeformConv2dPack, deform_conv2d
from mmdet.registry import MODELS, TASK_UTILS
from mmdet.utils.tracing import tokens_to_map

from ..utils.misc import current_epoch
from .anchor_head import _Ignored, by_level, flatten_levels, flatten_map, mean_over_processes, unmapped
from .atss_head import ATSSHead
from .base_dense_head import Losses, widened

_ANCHOR_TYPES = ('anchor_free', 'anchor_based')


class TaskDecomposition(nn.Module):
    """Features of one task from the layers of a shared tower (section 3.1 of the paper): a 1x1 convolution of all of them together, each
    scaled, image by image, by an attention that is computed from their means. Without a normalisation the convolution has a bias, which
    is not added, as in mmdetection.

    Args:
        feat_channels: D, also of the result.
        stacked_convs: S.
        la_down_rate: the attention has S * D / la_down_rate hidden channels.
        conv_cfg, norm_cfg: configs of the convolution and its normalisation.
    """

    def __init__(
        self,
        feat_channels: int,
        stacked_convs: int,
        la_down_rate: int = 8,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
    ):
        super().__init__()
        self.feat_channels, self.stacked_convs = feat_channels, stacked_convs
        self.in_channels = feat_channels * stacked_convs
        hidden = self.in_channels // la_down_rate
        self.layer_attention = nn.Sequential(
            nn.Conv2d(self.in_channels, hidden, 1), nn.ReLU(inplace=True),
            nn.Conv2d(hidden, stacked_convs, 1), nn.Sigmoid(),
        )  # fmt: skip
        self.reduction_conv = ConvModule(
            self.in_channels, feat_channels, 1, conv_cfg=conv_cfg, norm_cfg=norm_cfg, bias=norm_cfg is None
        )

    def init_weights(self) -> None:
        """Normal weights; those of the attention are small, so that all layers weigh about a half."""
        for layer in self.layer_attention:
            if isinstance(layer, nn.Conv2d):
                normal_init(layer, std=0.001)
        normal_init(self.reduction_conv.conv, std=0.01)

    def forward(self, feat: Tensor, avg_feat: Tensor | None = None) -> Tensor:
        """The layers (B, S * D, H, W), and their means (B, S * D, 1, 1) if they are known, to (B, D, H, W)."""
        if avg_feat is None:
            avg_feat = feat.mean((2, 3), keepdim=True)
        attention = self.layer_attention(avg_feat)  # (B, S, 1, 1)
        # The weights are scaled rather than the layers, which are larger.
        weight = self.reduction_conv.conv.weight.view(1, self.feat_channels, self.stacked_convs, self.feat_channels)
        weight = (weight * attention.view(-1, 1, self.stacked_convs, 1)).flatten(2)  # (B, D, S * D)
        out = torch.bmm(weight.to(feat.dtype), feat.flatten(2)).view(feat.shape[0], -1, *feat.shape[2:])
        if self.reduction_conv.with_norm:
            out = self.reduction_conv.norm(out)
        return self.reduction_conv.activate(out) if self.reduction_conv.with_activation else out


@MODELS.register_module()
class TOODHead(ATSSHead):
    """One tower for both tasks, whose layers each task weighs; scores and boxes are aligned with each other, and trained by how well they are.

    In the first epochs the ground truth is matched as in ATSS, later by
    :class:`~mmdet.core.assigners.TaskAlignedAssigner`, which also gives the targets of the scores. The epoch is that of mmengine's message
    hub, which the epoch-based training loop fills; without one all epochs are first ones.

    Args:
        num_classes, in_channels: see :class:`ATSSHead`.
        num_dcn: so many of the first convolutions of the tower are modulated deformable ones.
        anchor_type: ``'anchor_free'``: boxes are distances from a location; ``'anchor_based'``: deltas from a square anchor.
        initial_loss_cls: config of the class loss of the first epochs; like ``loss_cls`` it takes probabilities (``activated``).
        **kwargs: further arguments of :class:`ATSSHead`. ``train_cfg`` holds ``initial_epoch``, the number of first epochs,
            ``initial_assigner`` and ``assigner``, and ``alpha`` and ``beta``, the exponents of score and overlap in the alignment.

    Raises:
        ArgumentError: another ``anchor_type``.
        ConfigError: more than one anchor per location.
    """

    scores_are_probabilities = True
    clips_boxes = False
    class_predictor = 'tood_cls'
    output_names = ('cls', 'reg')
    _default_init_cfg = dict(type='Normal', layer='Conv2d', std=0.01)

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        num_dcn: int = 0,
        anchor_type: str = 'anchor_free',
        initial_loss_cls: dict | Config | None = None,
        **kwargs: Any,
    ):
        if anchor_type not in _ANCHOR_TYPES:
            raise ArgumentError(f'must be one of {_ANCHOR_TYPES}', field='anchor_type', received=anchor_type)
        self.num_dcn, self.anchor_type = num_dcn, anchor_type
        super().__init__(num_classes, in_channels, **kwargs)
        self.initial_loss_cls = MODELS.build(
            initial_loss_cls or dict(type='FocalLoss', use_sigmoid=True, activated=True, gamma=2.0, alpha=0.25)
        )
        self.initial_epoch = self.train_cfg.get('initial_epoch', 4)
        self.alpha, self.beta = self.train_cfg.get('alpha', 1), self.train_cfg.get('beta', 6)
        if self.train_cfg:
            self.alignment_assigner = self.assigner
            self.initial_assigner = TASK_UTILS.build(self.train_cfg.get('initial_assigner', self._default_assigner))
            self.assigner = self.initial_assigner  # by which the methods of ATSSHead match

    # ------------------------------------------------------------------------------------------------ layers

    def _init_layers(self) -> None:
        if set(self.prior_generator.num_base_priors) != {1}:
            message = f'{type(self).__name__} regresses from one prior per location: give one ratio and one scale'
            raise ConfigError(message, field='anchor_generator', received=self.prior_generator.num_base_priors)
        self.sampling = False
        deformable = dict(type='DCNv2', deform_groups=4)
        channels = [self.in_channels] + [self.feat_channels] * self.stacked_convs
        self.inter_convs = nn.ModuleList(
            ConvModule(
                *pair, 3, padding=1, conv_cfg=deformable if i < self.num_dcn else self.conv_cfg, norm_cfg=self.norm_cfg
            )
            for i, pair in enumerate(zip(channels, channels[1:]))
        )
        options = dict(conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg)
        self.cls_decomp = TaskDecomposition(self.feat_channels, self.stacked_convs, self.stacked_convs * 8, **options)
        self.reg_decomp = TaskDecomposition(self.feat_channels, self.stacked_convs, self.stacked_convs * 8, **options)
        self.tood_cls = nn.Conv2d(self.feat_channels, self.cls_out_channels, 3, padding=1)
        self.tood_reg = nn.Conv2d(self.feat_channels, 4, 3, padding=1)
        self.cls_prob_module = self._alignment_module(1)
        self.reg_offset_module = self._alignment_module(8)
        self.scales = nn.ModuleList(Scale(1.0) for _ in range(self.num_levels))

    def _alignment_module(self, out_channels: int) -> nn.Sequential:
        channels = self.feat_channels * self.stacked_convs
        return nn.Sequential(
            nn.Conv2d(channels, self.feat_channels // 4, 1), nn.ReLU(inplace=True),
            nn.Conv2d(self.feat_channels // 4, out_channels, 3, padding=1),
        )  # fmt: skip

    def init_weights(self) -> None:
        """As in the paper's code: small weights where attention and offsets come from, a class bias for a prior probability of 0.01."""
        super().init_weights()
        for layer in self.inter_convs:
            normal_init(layer.conv, std=0.01)
            if isinstance(layer.conv, DeformConv2dPack):
                layer.conv.init_weights()  # begins without offsets
        self.cls_decomp.init_weights()
        self.reg_decomp.init_weights()
        for layer in (self.tood_cls, self.cls_prob_module[-1]):
            normal_init(layer, std=0.01, bias=bias_init_with_prob(0.01))
        for layer in (self.reg_offset_module[0], self.reg_offset_module[-1]):
            normal_init(layer, std=0.001)

    # ----------------------------------------------------------------------------------------------- forward

    def forward(self, feats: tuple[Tensor, ...]) -> tuple[list[Tensor], ...]:
        """L maps (B, in_channels, H_l, W_l) to the raw outputs of every level.

        Returns:
            class probabilities, L maps (B, C, H_l, W_l), and xyxy boxes in strides, L maps (B, 4, H_l, W_l) float32.
        """
        self._check_levels(feats)
        sizes = [(x.size(2), x.size(3)) for x in feats]
        priors = self.prior_generator.grid_priors(sizes, device=feats[0].device)
        levels = zip(feats, self.scales, priors, self.prior_generator.strides, strict=True)
        return tuple(map(list, zip(*(self._forward_level(x, scale, *prior) for x, scale, *prior in levels))))

    def _forward_level(
        self, x: Tensor, scale: Scale, anchors: Tensor, stride: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        layers = []
        for conv in self.inter_convs:
            x = conv(x)
            layers.append(x)
        feat = torch.cat(layers, dim=1)  # (B, S * D, H, W)
        avg_feat = feat.mean((2, 3), keepdim=True)
        cls_logits = self.tood_cls(self.cls_decomp(feat, avg_feat))
        # The square root of the product of two sigmoids, whose gradient stays finite where they are too small for a float.
        cls_score = ((F.logsigmoid(cls_logits) + F.logsigmoid(self.cls_prob_module(feat))) / 2).exp()

        outputs = widened(self.tood_reg(self.reg_decomp(feat, avg_feat)))
        outputs = flatten_map(scale(outputs.exp() if self.anchor_type == 'anchor_free' else outputs))  # (B, P_l, 4)
        if self.anchor_type == 'anchor_free':
            boxes = distance2bbox((self.anchor_center(anchors) / stride[0]).expand(x.shape[0], -1, -1), outputs)
        else:
            priors = anchors.repeat(x.shape[0], 1)
            boxes = self.bbox_coder.decode(priors, outputs.flatten(0, 1)).view_as(outputs) / stride[0]
        bbox = tokens_to_map(boxes, x.shape[2:])  # (B, 4, H, W)
        moved = self.deform_sampling(bbox.contiguous(), self.reg_offset_module(feat))
        # Sides that come from other locations may have crossed.
        crossed = (moved[:, :2] > moved[:, 2:]).any(1, keepdim=True)
        return cls_score, torch.where(crossed, bbox, moved)

    def deform_sampling(self, feat: Tensor, offset: Tensor) -> Tensor:
        """Read each channel of a map (B, c, H, W) at its own offsets (B, 2 c, H, W), dy and dx in cells: bilinear, zeros outside."""
        channels = int(feat.size(1))
        weight = torch.ones(channels, 1, 1, 1, dtype=feat.dtype, device=feat.device)
        return deform_conv2d(feat, offset, weight, groups=channels, deform_groups=channels)

    def anchor_center(self, anchors: Tensor) -> Tensor:
        """Centres (P, 2) of anchors (P, 4)."""
        return (anchors[:, :2] + anchors[:, 2:]) / 2

    def decode_boxes(self, bbox_pred: Tensor, priors: Tensor, stride: float, img_shape: tuple[int, int]) -> Tensor:
        """Boxes (m, 4) in strides to pixels. They are not clipped, as in mmdetection."""
        return bbox_pred * stride

    # ------------------------------------------------------------------------------------------------ losses

    @property
    def epoch(self) -> int:
        """The epoch of the training, from 0; 0 where no loop counts epochs."""
        return current_epoch()

    def loss_by_feat(  # type: ignore[override]
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: _Ignored = None,
    ) -> Losses:
        """Losses of the raw outputs, ``loss_cls`` and ``loss_bbox``, each a list over levels.

        The class loss is divided by the sum of the positives' alignment (in the first epochs: by their number), the box loss by the sum of
        their weights, both over all processes and at least 1.
        """
        sizes, device = [(score.size(2), score.size(3)) for score in cls_scores], cls_scores[0].device
        truth, strides = (batch_gt_instances, batch_img_metas, batch_gt_instances_ignore), self.prior_generator.strides
        # In float32 also under autocast: these are sums over tens of thousands of terms.
        with torch.autocast(device.type, enabled=False):
            cls_scores, bbox_preds = ([widened(level) for level in maps] for maps in (cls_scores, bbox_preds))
            if self.epoch < self.initial_epoch:
                targets = self._initial_targets(sizes, truth, device)
            else:
                boxes = torch.cat([flatten_map(level) * stride[0] for level, stride in zip(bbox_preds, strides)], dim=1)
                anchors, flags = self.get_anchors(sizes, batch_img_metas, device=device)
                targets = self.get_targets(flatten_levels(cls_scores), boxes, anchors, flags, *truth)
            anchor_levels, *levels = targets
            parts = map(self.loss_by_feat_single, anchor_levels, cls_scores, bbox_preds, *levels, strides)
            loss_cls, loss_bbox, cls_sums, bbox_sums = zip(*parts)
            divisors = mean_over_processes(sum(cls_sums), sum(bbox_sums), like=cls_scores[0])
            cls_divisor, bbox_divisor = (value.clamp(min=1) for value in divisors)
            return dict(
                loss_cls=[part / cls_divisor for part in loss_cls],
                loss_bbox=[part / bbox_divisor for part in loss_bbox],
            )

    def loss_by_feat_single(  # type: ignore[override]  # as in mmdetection
        self,
        anchors: Tensor,
        cls_score: Tensor,
        bbox_pred: Tensor,
        labels: Tensor,
        label_weights: Tensor,
        bbox_targets: Tensor,
        alignment_metrics: Tensor,
        stride: tuple[int, int],
    ) -> tuple[Tensor, ...]:
        """Losses of one level: maps (B, C, H, W) and (B, 4, H, W), and its part of :meth:`get_targets`.

        Returns:
            class loss and box loss, not divided yet, the sum of the alignment, and the sum of the weights of the boxes.

        Raises:
            ArgumentError: a stride that differs between the axes.
        """
        if stride[0] != stride[1]:
            raise ArgumentError('must be the same for both axes', field='stride', received=stride)
        scores, boxes = (flatten_map(level).flatten(0, 1) for level in (cls_score, bbox_pred))
        labels, label_weights, alignment = labels.flatten(), label_weights.flatten(), alignment_metrics.flatten()
        initial = self.epoch < self.initial_epoch
        if initial:
            loss_cls = self.initial_loss_cls(scores, labels, label_weights, avg_factor=1.0)
        else:
            loss_cls = self.loss_cls(scores, (labels, alignment), label_weights, avg_factor=1.0)
        pos = ((labels >= 0) & (labels < self.num_classes)).nonzero().squeeze(1)  # (N,)
        gt_boxes = bbox_targets.reshape(-1, 4)[pos]
        weights = self.centerness_target(anchors.reshape(-1, 4)[pos], gt_boxes) if initial else alignment[pos]  # (N,)
        loss_bbox = self.loss_bbox(boxes[pos], gt_boxes / stride[0], weight=weights, avg_factor=1.0)
        return loss_cls, loss_bbox, alignment.sum(), weights.sum()

    # ----------------------------------------------------------------------------------------------- targets

    def _initial_targets(
        self, featmap_sizes: list[tuple[int, int]], truth: tuple[list, list, _Ignored], device: torch.device
    ) -> tuple:
        """:meth:`get_targets` by the rule of ATSS; all positives are aligned alike, by 1."""
        matched = self.match_targets(featmap_sizes, *truth, device=device)
        (level_priors, *_), _ = self.get_anchors(featmap_sizes, truth[1], device)
        bbox_targets = matched.label_weights.new_zeros(matched.labels.numel(), 4)
        bbox_targets[matched.pos_inds] = matched.pos_bboxes.to(bbox_targets)
        alignment = (matched.labels < self.num_classes).to(bbox_targets.dtype)
        images: tuple[Any, ...] = (
            matched.labels,
            matched.label_weights,
            bbox_targets.view(*matched.labels.shape, 4),
            alignment,
        )
        levels = (by_level(values, matched.num_level_priors) for values in images)
        return ([priors.expand(len(matched.labels), -1, -1) for priors in level_priors], *levels)

    @torch.no_grad()
    def get_targets(  # type: ignore[override]
        self,
        cls_scores: Tensor | list[Tensor],
        bbox_preds: Tensor | list[Tensor],
        anchor_list: list[list[Tensor]],
        valid_flag_list: list[list[Tensor]],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: _Ignored = None,
        unmap_outputs: bool = True,
    ) -> tuple:
        """What the anchors of a batch are trained towards, by how well their scores and boxes are aligned.

        Args:
            cls_scores: (P, C) probabilities of each image.
            bbox_preds: (P, 4) xyxy boxes in pixels of each image.
            anchor_list, valid_flag_list, batch_gt_instances, batch_img_metas, batch_gt_instances_ignore, unmap_outputs: see
                :meth:`AnchorHead.get_targets`.

        Returns:
            by level ``anchors`` (B, P_l, 4), ``labels`` (B, P_l), ``label_weights`` (B, P_l), ``bbox_targets`` (B, P_l, 4) in pixels, and
            the alignment (B, P_l) of the positives, 0 elsewhere.
        """
        counts = [len(level) for level in anchor_list[0]]
        ignored = batch_gt_instances_ignore or [None] * len(anchor_list)
        images: Any = zip(
            cls_scores, bbox_preds, map(torch.cat, anchor_list), map(torch.cat, valid_flag_list), batch_gt_instances, batch_img_metas,
            ignored, strict=True,
        )  # fmt: skip
        single = [self._get_targets_single(*image, unmap_outputs) for image in images]  # type: ignore[call-arg]
        return tuple(by_level(values, counts) for values in zip(*single))

    def _get_targets_single(  # type: ignore[override]
        self,
        cls_scores: Tensor,
        bbox_preds: Tensor,
        flat_anchors: Tensor,
        valid_flags: Tensor,
        gt_instances: InstanceData,
        img_meta: dict,
        gt_instances_ignore: InstanceData | None = None,
        unmap_outputs: bool = True,
    ) -> tuple:
        """:meth:`get_targets` of one image."""
        inside = self._inside_flags(flat_anchors, valid_flags, img_meta)
        self._check_labels(gt_instances.labels)
        predicted = InstanceData(
            priors=flat_anchors[inside], scores=cls_scores[inside].detach(), bboxes=bbox_preds[inside].detach()
        )
        assigned = self.alignment_assigner.assign(predicted, gt_instances, gt_instances_ignore, self.alpha, self.beta)
        labels, label_weights, bbox_targets, _, pos, *_ = self._targets_of(assigned, predicted, gt_instances, None)
        alignment = torch.zeros_like(label_weights)
        alignment[pos] = aligned_scores(
            assigned.assign_metrics[pos], assigned.max_overlaps[pos], assigned.gt_inds[pos] - 1, len(gt_instances.labels)
        ).to(alignment)  # fmt: skip
        if not unmap_outputs:
            return predicted.priors, labels, label_weights, bbox_targets, alignment
        rows, count = inside.nonzero().squeeze(1), len(inside)
        return (
            flat_anchors * inside[:, None],
            unmapped(labels, rows, count, self.num_classes),
            *(unmapped(values, rows, count) for values in (label_weights, bbox_targets, alignment)),
        )


def aligned_scores(metrics: Tensor, overlaps: Tensor, gts: Tensor, num_gts: int) -> Tensor:
    """Targets of the scores of N positives: their alignment, scaled so that the best of a box has the greatest overlap of that box (eq. 4).

    Args:
        metrics, overlaps: (N,) alignment, and IoU of the predicted box.
        gts: (N,) rows of their boxes.
        num_gts: G.

    >>> aligned_scores(torch.tensor([0.2, 0.1]), torch.tensor([0.6, 0.8]), torch.tensor([0, 0]), 1)
    tensor([0.8000, 0.4000])
    """
    greatest = metrics.new_zeros(2, num_gts)
    greatest.scatter_reduce_(1, gts.expand(2, -1), torch.stack([metrics, overlaps]), 'amax')
    most, best = greatest[:, gts]
    return metrics / (most + 1e-7) * best
