"""Head of YOLOX (Ge et al., arXiv 2107.08430).

Naming: B images, L levels, P_l = H_l * W_l points of a level, P of all levels, C classes, N positives.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.config import Config, ConfigDict
from mmengine.model import bias_init_with_prob
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdet.core.boxes import bbox_cxcywh_to_xyxy, bbox_xyxy_to_cxcywh
from mmdet.registry import MODELS, TASK_UTILS

from ..layers.csp_layer import KAIMING_CFG, NORM_CFG, SWISH_CFG, conv_type
from .anchor_free_head import AnchorFreeHead
from .anchor_head import _Ignored, flatten_levels, mean_over_processes
from .base_dense_head import LevelOutputs, Losses, widened
from .batch_decode import BatchCandidates, padded_topk, rows_of
from .level_outputs import BatchLevel

_EPS = 1e-8  # keeps the logarithm of an empty box finite
_SIGMOID = dict(type='CrossEntropyLoss', use_sigmoid=True, reduction='sum', loss_weight=1.0)


@MODELS.register_module()
class YOLOXHead(AnchorFreeHead):
    """Two towers and three predictors, of classes, boxes and objectness, on each level, none shared by the levels.

    A point has one detection, that of its best class; the score is the product of class and objectness. Boxes may reach out of the image,
    as in mmdetection. Positives are found by the predictions themselves (:class:`~mmdet.core.assigners.SimOTAAssigner`), and all losses
    are divided by their number.

    Args:
        num_classes, in_channels, feat_channels, stacked_convs, strides, dcn_on_last_conv, conv_bias: see :class:`AnchorFreeHead`.
        use_depthwise: depthwise-separable convolutions in the towers.
        conv_cfg, norm_cfg, act_cfg: configs of the towers' convolutions, norms and activations.
        loss_cls, loss_bbox, loss_obj, loss_l1: configs of the losses of classes, boxes and objectness, and of the box outputs of the last
            epochs; their ``reduction`` is 'sum'.
        train_cfg: ``assigner``, ``sampler``.
        test_cfg: ``score_thr``, the least score, ``nms_pre``, the points of a level that go to the NMS (all, unless given), and the rest as
            of :class:`BaseDenseHead`.
        init_cfg: initialisation; by default torch's own, and biases for a prior probability of 0.01 of classes and objectness.

    Attributes:
        use_l1: whether there is a ``loss_l1``; :class:`~mmdet.engine.hooks.YOLOXModeSwitchHook` sets it for the last epochs.
    """

    clips_boxes = False
    class_predictor = 'multi_level_conv_cls'
    _point_offset = 0.0
    _default_init_cfg = KAIMING_CFG

    output_names = ('cls', 'reg', 'obj')

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        feat_channels: int = 256,
        stacked_convs: int = 2,
        strides: Sequence[int] | Sequence[tuple[int, int]] = (8, 16, 32),
        use_depthwise: bool = False,
        dcn_on_last_conv: bool = False,
        conv_bias: bool | str = 'auto',
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = NORM_CFG,
        act_cfg: dict | None = SWISH_CFG,
        loss_cls: dict = _SIGMOID,
        loss_bbox: dict = dict(type='IoULoss', mode='square', eps=1e-16, reduction='sum', loss_weight=5.0),  # noqa: B006  never written to
        loss_obj: dict = _SIGMOID,
        loss_l1: dict = dict(type='L1Loss', reduction='sum', loss_weight=1.0),  # noqa: B006  never written to
        train_cfg: dict | Config | None = None,
        test_cfg: dict | Config | None = None,
        init_cfg: dict | list[dict] | None = None,
    ):
        # The parent's constructor calls _init_layers, which needs these before nn.Module exists: plain values only.
        self.use_depthwise, self.act_cfg, self.use_l1 = use_depthwise, act_cfg, False
        super().__init__(
            num_classes, in_channels, feat_channels, stacked_convs, strides, dcn_on_last_conv, conv_bias, loss_cls, loss_bbox,
            conv_cfg=conv_cfg, norm_cfg=norm_cfg, train_cfg=train_cfg, test_cfg=test_cfg, init_cfg=init_cfg,
        )  # fmt: skip
        self.loss_obj, self.loss_l1 = MODELS.build(loss_obj), MODELS.build(loss_l1)
        if self.train_cfg:
            self.assigner = TASK_UTILS.build(self.train_cfg.get('assigner') or dict(type='SimOTAAssigner'))
            self.sampler = TASK_UTILS.build(self.train_cfg.get('sampler') or dict(type='PseudoSampler'))

    # ------------------------------------------------------------------------------------------------ layers

    def _init_layers(self) -> None:
        levels = range(self.num_levels)
        self.multi_level_cls_convs = nn.ModuleList(nn.Sequential(*self._tower()) for _ in levels)
        self.multi_level_reg_convs = nn.ModuleList(nn.Sequential(*self._tower()) for _ in levels)
        self.multi_level_conv_cls, self.multi_level_conv_reg, self.multi_level_conv_obj = (
            nn.ModuleList(nn.Conv2d(self._tower_channels, channels, 1) for _ in levels)
            for channels in (self.cls_out_channels, 4, 1)
        )

    def _tower_conv(self, in_channels: int, out_channels: int, last: bool = False) -> ConvModule:
        conv_cfg = dict(type='DCNv2') if self.dcn_on_last_conv and last else self.conv_cfg
        options = dict(conv_cfg=conv_cfg, norm_cfg=self.norm_cfg, act_cfg=self.act_cfg, bias=self.conv_bias)
        return conv_type(self.use_depthwise)(in_channels, out_channels, 3, padding=1, **options)

    def init_weights(self) -> None:
        """As ``init_cfg`` says, then the biases of classes and objectness."""
        super().init_weights()
        for conv in (*self.multi_level_conv_cls, *self.multi_level_conv_obj):
            nn.init.constant_(conv.bias, bias_init_with_prob(0.01))

    def forward(self, x: tuple[Tensor, ...]) -> tuple[list[Tensor], ...]:
        """L maps (B, in_channels, H_l, W_l) to the raw outputs of every level.

        Returns:
            class logits, L maps (B, C, H_l, W_l), box outputs, (B, 4, H_l, W_l), which are the way from the point to the centre in strides
            and the logarithms of width and height in strides, and objectness logits, (B, 1, H_l, W_l).
        """
        self._check_levels(x)
        layers = (self.multi_level_cls_convs, self.multi_level_reg_convs)
        predictors = (self.multi_level_conv_cls, self.multi_level_conv_reg, self.multi_level_conv_obj)
        return tuple(map(list, zip(*map(self.forward_single, x, *layers, *predictors))))

    def forward_single(  # as in mmdetection: with the layers of the level
        self,
        x: Tensor,
        cls_convs: nn.Module,
        reg_convs: nn.Module,
        conv_cls: nn.Module,
        conv_reg: nn.Module,
        conv_obj: nn.Module,
    ) -> tuple[Tensor, ...]:
        """The raw outputs of one level."""
        cls_feat, reg_feat = cls_convs(x), reg_convs(x)
        return conv_cls(cls_feat), conv_reg(reg_feat), conv_obj(reg_feat)

    # ------------------------------------------------------------------------------------------------ decode

    def _bbox_decode(self, priors: Tensor, bbox_preds: Tensor) -> Tensor:
        """Box outputs (..., m, 4) at priors (m, 4), x, y and both strides, to (..., m, 4) xyxy boxes in input pixels."""
        points, strides = priors.split(2, dim=-1)
        places, sides = bbox_preds.split(2, dim=-1)
        return bbox_cxcywh_to_xyxy(torch.cat([points + places * strides, sides.exp() * strides], dim=-1))

    def decode_boxes(self, bbox_pred: Tensor, priors: Tensor, stride: float, img_shape: tuple[int, int]) -> Tensor:
        """Box outputs (m, 4) and their points (m, 2) to (m, 4) xyxy boxes in input pixels, not clipped."""
        return self._bbox_decode(torch.cat([priors, torch.full_like(priors, stride)], dim=-1), bbox_pred)

    def _candidates(self, levels: list[LevelOutputs], cfg: ConfigDict, img_shape: tuple[int, int]) -> InstanceData:
        """The best class of each point whose score is not below the threshold."""
        threshold, nms_pre = cfg.get('score_thr', 0), cfg.get('nms_pre', -1)
        parts = []
        for level in levels:
            assert level.factors is not None
            best, labels = level.scores.float().max(1)
            scores = best.sigmoid() * level.factors.float().sigmoid()
            rows = (scores >= threshold).nonzero().squeeze(1)
            if 0 < nms_pre < len(rows):
                rows = rows[scores[rows].topk(nms_pre).indices]
            parts.append((self._level_boxes(level, rows, img_shape), scores[rows], labels[rows]))
        bboxes, scores, labels = (torch.cat(fields) for fields in zip(*parts))
        return InstanceData(bboxes=bboxes, scores=scores, labels=labels)

    def _batch_candidates(
        self, levels: list[BatchLevel], cfg: ConfigDict, limits: tuple[Tensor, Tensor]
    ) -> BatchCandidates:
        nms_pre, parts = cfg.get('nms_pre', -1), []
        for level in levels:
            assert level.factors is not None
            best, labels = level.scores.max(-1)
            scores, rows = best.sigmoid() * level.factors.sigmoid(), None
            scores = scores.masked_fill(scores < cfg.get('score_thr', 0), 0)
            if nms_pre > 0:
                top, rows, valid = padded_topk(scores, nms_pre)
                scores, labels = top.masked_fill(~valid, 0), rows_of(labels, rows)
            parts.append((self._boxes_of_rows(level, rows, limits), scores, labels))
        boxes, scores, labels = (torch.cat(fields, dim=1) for fields in zip(*parts))
        return BatchCandidates(boxes, scores, labels, self.num_classes)

    # ------------------------------------------------------------------------------------------------ losses

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        objectnesses: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: _Ignored = None,
    ) -> Losses:
        """Losses of the raw outputs: ``loss_cls``, ``loss_bbox``, ``loss_obj`` and, with ``use_l1``, ``loss_l1``.

        They are sums over the batch, divided by its positives (the mean over the processes, at least 1). Class targets are the IoU of the
        predicted box with its box. Ignored boxes are not used, and the padding is background.
        """
        sizes = [(score.size(2), score.size(3)) for score in cls_scores]
        priors = torch.cat(self.prior_generator.grid_priors(sizes, device=cls_scores[0].device, with_stride=True))
        # In float32 also under autocast: these are sums over tens of thousands of terms.
        with torch.autocast(cls_scores[0].device.type, enabled=False):
            maps = (cls_scores, bbox_preds, objectnesses)
            scores, outputs, objectness = (flatten_levels(list(map(widened, levels))) for levels in maps)
            bboxes, objectness = self._bbox_decode(priors, outputs), objectness.squeeze(-1)  # (B, P, 4), (B, P)
            predicted = (scores.detach(), bboxes.detach(), objectness.detach())
            targets = self.get_targets(
                priors, *predicted, batch_gt_instances, batch_img_metas, batch_gt_instances_ignore
            )
            positive, cls_targets, obj_targets, bbox_targets, l1_targets, count = targets
            (total,) = mean_over_processes(count, like=scores)
            total = total.clamp(min=1)
            # Without positives these are sums over nothing, 0, which still belong to the graph.
            losses: Losses = dict(
                loss_cls=self.loss_cls(scores.flatten(0, 1)[positive], cls_targets) / total,
                loss_bbox=self.loss_bbox(bboxes.flatten(0, 1)[positive], bbox_targets) / total,
                loss_obj=self.loss_obj(objectness.reshape(-1, 1), obj_targets) / total,
            )
            if self.use_l1:
                losses['loss_l1'] = self.loss_l1(outputs.flatten(0, 1)[positive], l1_targets) / total
            return losses

    def get_targets(  # type: ignore[override]
        self,
        priors: Tensor,
        cls_preds: Tensor,
        decoded_bboxes: Tensor,
        objectness: Tensor,
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: _Ignored = None,
    ) -> tuple[Any, ...]:
        """What :meth:`_get_targets_single` gives for each image, one image after another; the predictions have B in front."""
        ignored = batch_gt_instances_ignore or [None] * len(batch_img_metas)
        images = zip(cls_preds, decoded_bboxes, objectness, batch_gt_instances, batch_img_metas, ignored, strict=True)
        *targets, counts = zip(*(self._get_targets_single(priors, *image) for image in images))
        return *map(torch.cat, targets), sum(counts)

    @torch.no_grad()
    def _get_targets_single(
        self,
        priors: Tensor,
        cls_preds: Tensor,
        decoded_bboxes: Tensor,
        objectness: Tensor,
        gt_instances: InstanceData,
        img_meta: dict,
        gt_instances_ignore: InstanceData | None = None,
    ) -> tuple[Any, ...]:
        """What the points of one image are trained towards.

        Args:
            priors: (P, 4) x, y and both strides.
            cls_preds: (P, C) logits.
            decoded_bboxes: (P, 4) predicted boxes, xyxy in pixels.
            objectness: (P,) logits.
            gt_instances: ``bboxes`` (G, 4), ``labels`` (G,).
            img_meta, gt_instances_ignore: of the image; not used.

        Returns:
            mask of the positives (P,), their class targets (N, C), the objectness of all (P, 1), the boxes of the positives, xyxy in
            pixels (N, 4) and, with ``use_l1``, in the form of the outputs (N, 4), otherwise zeros; N.

        Raises:
            ModelInputError: a label outside [0, C).
        """
        self._check_labels(gt_instances.labels)
        # The assigner looks at the middles of the cells, the boxes begin at their corners.
        centers = torch.cat([priors[:, :2] + 0.5 * priors[:, 2:], priors[:, 2:]], dim=-1)
        scores = (cls_preds.sigmoid() * objectness.sigmoid()[:, None]).sqrt()
        found = InstanceData(bboxes=decoded_bboxes, scores=scores, priors=centers)
        assigned = self.assigner.assign(found, gt_instances)
        sampled = self.sampler.sample(assigned, found, gt_instances)
        rows = sampled.pos_inds
        classes = F.one_hot(sampled.pos_gt_labels, self.num_classes).to(priors)
        targets = classes * assigned.max_overlaps[rows, None]
        boxes = sampled.pos_gt_bboxes.to(priors).view(-1, 4)
        l1_targets = torch.zeros_like(boxes)
        if self.use_l1:
            l1_targets = self._get_l1_target(l1_targets, boxes, priors[rows])
        positive = torch.zeros_like(objectness, dtype=torch.bool).index_fill_(0, rows, True)
        return positive, targets, positive[:, None].to(priors), boxes, l1_targets, len(rows)

    def _get_l1_target(self, l1_target: Tensor, gt_bboxes: Tensor, priors: Tensor, eps: float = _EPS) -> Tensor:
        """Fill ``l1_target`` (N, 4) with the boxes (N, 4), xyxy in pixels, in the form of the outputs at points (N, 4)."""
        box, (point, stride) = bbox_xyxy_to_cxcywh(gt_bboxes), priors.split(2, dim=-1)
        l1_target[:, :2] = (box[:, :2] - point) / stride
        l1_target[:, 2:] = (box[:, 2:] / stride + eps).log()
        return l1_target
