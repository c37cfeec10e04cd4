"""Head of Generalized Focal Loss (Li et al., NeurIPS 2020): joint class-quality scores and distributions over box sides.

Naming: B images, P priors (all levels, finest first, row-major within one), L levels, C classes, n = reg_max + 1 bins a side,
D channels, N positives of the batch.
"""

import dataclasses

import torch
from mmcv.cnn import ConvModule, Scale
from mmengine.config import Config
from mmengine.dist import all_reduce
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdet.core import bbox_overlaps
from mmdet.errors import ConfigError, ModelInputError
from mmdet.models.layers import Integral
from mmdet.registry import MODELS, TASK_UTILS

from .base_dense_head import BaseDenseHead, Losses, candidate_rule, to_config_dict


@dataclasses.dataclass
class GFLTargets:
    """What the priors of one batch are trained towards.

    Attributes:
        labels: (B, P) int64; the number of classes for background.
        label_weights: (B, P); 0 where the prior lies outside its image's padded shape.
        pos_inds: (N,) positive rows of the flattened (B * P,).
        pos_bboxes: (N, 4) xyxy of their ground truth, in pixels.
        pos_centers: (N, 2) centres x, y of their priors, in pixels.
        pos_strides: (N, 1) strides of their levels.
        pos_levels: (N,) levels.
        num_samples: sum over the images of max(positives, 1).
        num_level_priors: priors per level, summing to P.
    """

    labels: Tensor
    label_weights: Tensor
    pos_inds: Tensor
    pos_bboxes: Tensor
    pos_centers: Tensor
    pos_strides: Tensor
    pos_levels: Tensor
    num_samples: int
    num_level_priors: list[int]


def flatten_levels(maps: list[Tensor]) -> Tensor:
    """(B, D, H_l, W_l) maps of all levels to (B, P, D)."""
    return torch.cat([level.flatten(2).transpose(1, 2) for level in maps], dim=1)


@MODELS.register_module()
class GFLHead(BaseDenseHead):
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
        ConfigError: more than one prior per location, an unknown ``nms_pre_rule``, or a class loss that takes the other form of scores.
    """

    _default_init_cfg = dict(
        type='Normal', layer='Conv2d', std=0.01, override=dict(type='Normal', name='gfl_cls', std=0.01, bias_prob=0.01)
    )

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        stacked_convs: int = 4,
        feat_channels: int = 256,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = dict(type='GN', num_groups=32, requires_grad=True),  # noqa: B006  never written to
        anchor_generator: dict | None = None,
        bbox_coder: dict | None = None,
        loss_cls: dict | None = None,
        loss_dfl: dict | None = None,
        loss_bbox: dict | None = None,
        reg_max: int = 16,
        train_cfg: dict | Config | None = None,
        test_cfg: dict | Config | None = None,
        legacy: bool = False,
        reg_decoded_bbox: bool = True,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg or self._default_init_cfg)
        self.num_classes, self.reg_max, self.legacy = num_classes, reg_max, legacy
        self.in_channels, self.feat_channels, self.stacked_convs = in_channels, feat_channels, stacked_convs
        self.conv_cfg, self.norm_cfg = conv_cfg, norm_cfg
        self.train_cfg, self.test_cfg = to_config_dict(train_cfg), to_config_dict(test_cfg)

        self.prior_generator = TASK_UTILS.build(
            anchor_generator or dict(type='AnchorGenerator', ratios=[1.0], octave_base_scale=8, scales_per_octave=1, strides=[8, 16, 32, 64, 128])
        )  # fmt: skip
        if set(self.prior_generator.num_base_priors) != {1}:
            message = 'GFL regresses from one prior per location: give one ratio and one scale'
            raise ConfigError(message, field='anchor_generator', received=self.prior_generator.num_base_priors)
        self.bbox_coder = TASK_UTILS.build(bbox_coder or dict(type='DistancePointBBoxCoder'))
        self.loss_cls = MODELS.build(loss_cls or dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0))
        self.loss_dfl = MODELS.build(loss_dfl or dict(type='DistributionFocalLoss', loss_weight=0.25))
        self.loss_bbox = MODELS.build(loss_bbox or dict(type='GIoULoss', loss_weight=2.0))
        if getattr(self.loss_cls, 'activated', self.scores_are_probabilities) != self.scores_are_probabilities:
            form = 'probabilities' if self.scores_are_probabilities else 'logits'
            message = (
                f'{type(self).__name__} returns {form}: its loss needs use_sigmoid={not self.scores_are_probabilities}'
            )
            raise ConfigError(message, field='loss_cls', received=repr(self.loss_cls))
        if self.train_cfg:
            self.assigner = TASK_UTILS.build(self.train_cfg.get('assigner', dict(type='ATSSAssigner', topk=9)))
        candidate_rule(self.test_cfg)
        self.cls_convs, self.reg_convs = self._tower(), self._tower()
        self._init_predictors()
        self.scales = nn.ModuleList(Scale(1.0) for _ in range(self.num_levels))
        self.integral = Integral(self.reg_max)

    # ------------------------------------------------------------------------------------------------ layers

    @property
    def cls_out_channels(self) -> int:
        """Channels of the class predictor."""
        return self.num_classes

    @property
    def num_levels(self) -> int:
        """Pyramid levels L."""
        return self.prior_generator.num_levels

    def _tower(self) -> nn.ModuleList:
        conv = dict(kernel_size=3, padding=1, conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg)
        return nn.ModuleList(
            ConvModule(self.in_channels if i == 0 else self.feat_channels, self.feat_channels, **conv)
            for i in range(self.stacked_convs)
        )

    def _init_predictors(self) -> None:
        channels = self.feat_channels if self.stacked_convs else self.in_channels
        self.gfl_cls = nn.Conv2d(channels, self.cls_out_channels, 3, padding=1)
        self.gfl_reg = nn.Conv2d(channels, 4 * (self.reg_max + 1), 3, padding=1)

    # ----------------------------------------------------------------------------------------------- forward

    def forward(self, x: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]]:
        """L maps (B, in_channels, H_l, W_l) to the raw outputs of every level.

        Returns:
            class logits, L maps (B, C, H_l, W_l), and side distribution logits, L maps (B, 4 n, H_l, W_l), side-major: left,
            top, right, bottom.
        """
        if len(x) != self.num_levels:
            raise ModelInputError(f'the head has {self.num_levels} levels; as many maps are needed', received=len(x))
        outputs = [self.forward_single(level, scale) for level, scale in zip(x, self.scales)]
        return [cls for cls, _ in outputs], [reg for _, reg in outputs]

    def forward_single(self, x: Tensor, scale: Scale) -> tuple[Tensor, Tensor]:
        """Raw outputs of one level: (B, C, H, W) and (B, 4 n, H, W) float32."""
        cls_feat, reg_feat = self.forward_towers(x)
        reg_logits = scale(self.gfl_reg(reg_feat)).float()
        return self._class_output(cls_feat, reg_logits), reg_logits

    def _class_output(self, cls_feat: Tensor, reg_logits: Tensor) -> Tensor:
        return self.gfl_cls(cls_feat)

    def forward_towers(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features of the class and the box tower, (B, feat_channels, H, W) each."""
        cls_feat = reg_feat = x
        for conv in self.cls_convs:
            cls_feat = conv(cls_feat)
        for conv in self.reg_convs:
            reg_feat = conv(reg_feat)
        return cls_feat, reg_feat

    # ------------------------------------------------------------------------------------------------- match

    def get_anchors(
        self, featmap_sizes: list[tuple[int, int]], batch_img_metas: list[dict], device: torch.device | str = 'cuda'
    ) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
        """Priors (shared by the images) and valid flags of every image, each a list over levels."""
        priors = self.prior_generator.grid_priors(featmap_sizes, device=device)
        flags = [
            self.prior_generator.valid_flags(featmap_sizes, meta.get('pad_shape', meta['img_shape'])[:2], device)
            for meta in batch_img_metas
        ]
        return [priors] * len(batch_img_metas), flags

    @torch.no_grad()
    def get_targets(
        self,
        featmap_sizes: list[tuple[int, int]],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: list[InstanceData | None] | None = None,
        device: torch.device | str = 'cuda',
    ) -> GFLTargets:
        """Match the priors of every image to its ground truth.

        Raises:
            ModelInputError: a ground-truth label outside [0, C), or an image none of whose priors is valid.
        """
        (level_priors, *_), all_flags = self.get_anchors(featmap_sizes, batch_img_metas, device)
        num_level_priors = [len(priors) for priors in level_priors]
        priors = torch.cat(level_priors)  # (P, 4)
        batch, num_priors = len(batch_img_metas), len(priors)
        ignored = batch_gt_instances_ignore or [None] * batch
        labels = priors.new_full((batch, num_priors), self.num_classes, dtype=torch.long)
        label_weights = priors.new_zeros(batch, num_priors)
        image_inds, image_bboxes, num_samples = [], [], 0
        for i, gt in enumerate(batch_gt_instances):
            valid = self._inside_flags(priors, torch.cat(all_flags[i]), batch_img_metas[i])
            inds, gt_inds = self._match_single(priors, valid, num_level_priors, gt, ignored[i])
            label_weights[i] = 1 if self.legacy else valid
            if len(inds):
                labels[i, inds] = gt.labels[gt_inds]
                if self.train_cfg.get('pos_weight', -1) > 0:
                    label_weights[i, inds] = self.train_cfg.pos_weight
            image_inds.append(inds + i * num_priors)
            image_bboxes.append(gt.bboxes[gt_inds])
            num_samples += max(len(inds), 1)
        pos_inds = torch.cat(image_inds)
        in_image = pos_inds % num_priors
        level_ends = torch.tensor(num_level_priors, device=priors.device).cumsum(0)
        pos_levels = torch.bucketize(in_image, level_ends, right=True)
        strides = priors.new_tensor([min(stride) for stride in self.prior_generator.strides])
        return GFLTargets(
            labels=labels,
            label_weights=label_weights,
            pos_inds=pos_inds,
            pos_bboxes=torch.cat(image_bboxes),
            pos_centers=(priors[in_image, :2] + priors[in_image, 2:]) / 2,
            pos_strides=strides[pos_levels][:, None],
            pos_levels=pos_levels,
            num_samples=num_samples,
            num_level_priors=num_level_priors,
        )

    def _inside_flags(self, priors: Tensor, valid: Tensor, meta: dict) -> Tensor:
        """Mask of the valid priors that exceed the image by less than ``allowed_border``; a negative border allows all."""
        border = self.train_cfg.get('allowed_border', -1)
        if border >= 0:
            height, width = meta['img_shape'][:2]
            low, high = priors[:, :2].amin(1) >= -border, priors[:, 2] < width + border
            valid = valid & low & high & (priors[:, 3] < height + border)
        if not valid.any():
            path, shape = meta.get('img_path'), meta['img_shape']
            raise ModelInputError('no prior lies inside the image', record=path, field='img_shape', received=shape)
        return valid

    def _match_single(
        self,
        priors: Tensor,
        valid: Tensor,
        num_level_priors: list[int],
        gt: InstanceData,
        ignored: InstanceData | None,
    ) -> tuple[Tensor, Tensor]:
        """Rows of the positive priors of one image, and the index of the ground truth of each: (n,), (n,)."""
        if len(gt.labels) == 0:  # nothing to match: every valid prior is background
            nothing = gt.labels.new_zeros(0, dtype=torch.long)
            return nothing, nothing
        low, high = torch.stack(gt.labels.aminmax()).tolist()
        if low < 0 or high >= self.num_classes:
            message = f'labels must be in [0, {self.num_classes})'
            raise ModelInputError(message, field='gt_instances.labels', received=(low, high))
        rows = valid.nonzero().squeeze(1)
        counts = torch.stack([part.sum() for part in valid.split(num_level_priors)]).tolist()
        result = self.assigner.assign(InstanceData(priors=priors[rows]), counts, gt, ignored)
        inds = result.pos_inds
        return rows[inds], result.gt_inds[inds] - 1

    # ------------------------------------------------------------------------------------------------ losses

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: list[InstanceData | None] | None = None,
    ) -> Losses:
        """Losses of the raw outputs, each a list over levels: ``loss_cls``, ``loss_bbox``, ``loss_dfl``."""
        featmap_sizes = [(score.size(2), score.size(3)) for score in cls_scores]
        targets = self.get_targets(
            featmap_sizes, batch_gt_instances, batch_img_metas, batch_gt_instances_ignore, cls_scores[0].device
        )
        return self.losses(flatten_levels(cls_scores), flatten_levels(bbox_preds), targets)

    def losses(self, cls_scores: Tensor, bbox_preds: Tensor, targets: GFLTargets) -> Losses:
        """Losses of class scores (B, P, C), in the form that :meth:`forward` returns, and side logits (B, P, 4 n).

        All levels are computed at once and summed level by level at the end. The class loss is averaged over the positives, the
        box losses over the sum of the positives' scores (both over all processes), as in the reference.
        """
        # In float32 also under autocast: these are sums over tens of thousands of terms.
        with torch.autocast(cls_scores.device.type, enabled=False):
            return self._losses(cls_scores.flatten(0, 1).float(), bbox_preds.flatten(0, 1), targets)

    def _losses(self, cls_scores: Tensor, bbox_preds: Tensor, targets: GFLTargets) -> Losses:
        pos = targets.pos_inds
        pos_preds = bbox_preds[pos].float()  # (N, 4 n)
        centers = targets.pos_centers / targets.pos_strides  # (N, 2), in strides as everything below
        gt_boxes = targets.pos_bboxes / targets.pos_strides  # (N, 4)
        pred_boxes = self.bbox_coder.decode(centers, self.integral(pos_preds))  # (N, 4)

        with torch.no_grad():
            weights = self.to_probability(cls_scores[pos]).amax(1)  # (N,)
            quality = cls_scores.new_zeros(len(cls_scores))
            quality[pos] = bbox_overlaps(pred_boxes, gt_boxes, is_aligned=True, offset=int(self.legacy))
            normalisers = torch.stack([weights.new_tensor(float(targets.num_samples)), weights.sum()])
            all_reduce(normalisers, op='mean')
            num_samples, weight_sum = normalisers[0], normalisers[1].clamp(min=1)

        labels, label_weights = targets.labels.flatten(), targets.label_weights.flatten()
        loss_cls = self.loss_cls(cls_scores, (labels, quality), weight=label_weights, reduction_override='none')
        loss_cls = loss_cls.view(targets.labels.shape).sum(0) / num_samples  # (P,)
        loss_bbox = self.loss_bbox(pred_boxes, gt_boxes, weight=weights, reduction_override='none')  # (N,)
        sides = self.bbox_coder.encode(centers, gt_boxes, self.reg_max)  # (N, 4)
        loss_dfl = self.loss_dfl(
            pos_preds.view(-1, self.reg_max + 1), sides.flatten(), weight=weights.repeat_interleave(4), reduction_override='none'
        ).view(-1, 4).mean(1)  # (N,)  # fmt: skip

        # A product rather than an indexed sum: deterministic on every device, and connected to the graph with N = 0 too.
        levels = torch.arange(self.num_levels, device=pos.device)
        in_level = (levels[:, None] == targets.pos_levels[None, :]).to(loss_bbox.dtype) / weight_sum  # (L, N)
        return dict(
            loss_cls=[part.sum() for part in loss_cls.split(targets.num_level_priors)],
            loss_bbox=list((in_level @ loss_bbox).unbind()),
            loss_dfl=list((in_level @ loss_dfl).unbind()),
        )

    # ------------------------------------------------------------------------------------------------ decode

    def decode_boxes(self, bbox_pred: Tensor, priors: Tensor, stride: float, img_shape: tuple[int, int]) -> Tensor:
        """(m, 4 n) logits and their priors (m, 4) to (m, 4) xyxy boxes in input pixels, clipped to ``img_shape`` (h, w)."""
        centers = (priors[:, :2] + priors[:, 2:]) / 2
        last = (img_shape[0] - self.legacy, img_shape[1] - self.legacy)
        return self.bbox_coder.decode(centers, self.integral(bbox_pred) * stride, last)
