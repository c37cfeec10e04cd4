"""Head of SSD (Liu et al., ECCV 2016, arXiv 1512.02325).

Naming: B images, L levels, A_l anchors of a location of a level, P anchors of all levels, C classes; K = C + 1 class channels, the last the
background.
"""

import functools
from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule, DepthwiseSeparableConvModule
from mmengine.config import Config
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdet.errors import ConfigError
from mmdet.registry import MODELS

from .anchor_head import AnchorHead, _Ignored, flatten_map
from .base_dense_head import Losses, to_config_dict, widened


@MODELS.register_module()
class SSDHead(AnchorHead):
    """A convolution for the classes and one for the boxes on each level, whose maps and anchors differ from those of the others.

    The class loss is the softmax cross-entropy of the positives and of the hardest negatives of an image, ``neg_pos_ratio`` of them for each
    positive (paper, section 2.2), hence 0 in an image without positives. Both losses are divided by the positives of the batch, at least
    one an image.

    Args:
        num_classes: C.
        in_channels: channels of the map of each level.
        stacked_convs: 3x3 convolutions before those of the classes and of the boxes.
        feat_channels: their channels.
        use_depthwise: depthwise-separable convolutions; the last one is a depthwise 3x3 and a 1x1 convolution.
        conv_cfg, norm_cfg, act_cfg: configs of these further convolutions, norms and activations.
        anchor_generator: config of the anchors; by default those of SSD300.
        bbox_coder: config of the coder between anchors, deltas and boxes.
        reg_decoded_bbox: the box loss compares boxes instead of deltas.
        train_cfg: ``assigner``, ``neg_pos_ratio`` (3), ``smoothl1_beta`` (1), ``sampler``, ``allowed_border``, ``pos_weight``.
        test_cfg: see :class:`BaseDenseHead`.
        init_cfg: initialisation; Xavier by default.
    """

    _default_anchors = dict(
        type='SSDAnchorGenerator',
        scale_major=False,
        input_size=300,
        strides=[8, 16, 32, 64, 100, 300],
        ratios=[[2], [2, 3], [2, 3], [2, 3], [2], [2]],
        basesize_ratio_range=(0.15, 0.9),
    )
    _default_init_cfg = dict(type='Xavier', layer='Conv2d', distribution='uniform', bias=0)

    def __init__(
        self,
        num_classes: int = 80,
        in_channels: Sequence[int] = (512, 1024, 512, 256, 256, 256),
        stacked_convs: int = 0,
        feat_channels: int = 256,
        use_depthwise: bool = False,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        anchor_generator: dict | None = None,
        bbox_coder: dict | None = None,
        reg_decoded_bbox: bool = False,
        train_cfg: dict | Config | None = None,
        test_cfg: dict | Config | None = None,
        init_cfg: dict | list[dict] | None = None,
    ):
        self.stacked_convs, self.use_depthwise = stacked_convs, use_depthwise
        self.conv_cfg, self.norm_cfg, self.act_cfg = conv_cfg, norm_cfg, act_cfg
        train_cfg = to_config_dict(train_cfg)
        channels: Any = tuple(in_channels)  # one for each level, unlike those of the base class
        super().__init__(
            num_classes, channels, feat_channels, anchor_generator, bbox_coder, reg_decoded_bbox,
            loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False, reduction='none'),
            loss_bbox=dict(type='SmoothL1Loss', beta=train_cfg.get('smoothl1_beta', 1.0)),
            train_cfg=train_cfg, test_cfg=test_cfg, init_cfg=init_cfg,
        )  # fmt: skip
        self.num_base_priors = self.prior_generator.num_base_priors

    # ------------------------------------------------------------------------------------------------ layers

    def _init_layers(self) -> None:
        priors, widths = self.prior_generator.num_base_priors, self.in_channels
        if len(priors) != len(widths):
            message = f'one for each of the {len(priors)} levels of the anchors is needed'
            raise ConfigError(message, field='bbox_head.in_channels', received=widths)
        levels = list(zip(widths, priors))
        self.cls_convs = nn.ModuleList(self._branch(width, count * self.cls_out_channels) for width, count in levels)
        self.reg_convs = nn.ModuleList(self._branch(width, count * self._box_channels) for width, count in levels)

    def _branch(self, in_channels: int, out_channels: int) -> nn.Sequential:
        options: dict[str, Any] = dict(padding=1, conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg, act_cfg=self.act_cfg)
        conv = DepthwiseSeparableConvModule if self.use_depthwise else ConvModule
        layers: list[nn.Module] = []
        for _ in range(self.stacked_convs):
            layers.append(conv(in_channels, self.feat_channels, 3, **options))
            in_channels = self.feat_channels
        if self.use_depthwise:
            layers.append(ConvModule(in_channels, in_channels, 3, groups=in_channels, **options))
        side = 1 if self.use_depthwise else 3
        return nn.Sequential(*layers, nn.Conv2d(in_channels, out_channels, side, padding=side // 2))

    def _class_rows_of(self, name: str) -> tuple[int, ...] | None:
        branches, *path = name.split('.')
        if branches != 'cls_convs' or int(path[1]) != self.stacked_convs + self.use_depthwise:
            return None
        return self.prior_generator.num_base_priors[int(path[0])], 0

    def forward(self, x: tuple[Tensor, ...]) -> tuple[list[Tensor], ...]:
        """L maps (B, in_channels[l], H_l, W_l) to class scores, (B, A_l K, H_l, W_l), and box deltas, (B, A_l 4, H_l, W_l)."""
        self._check_levels(x)
        return tuple([conv(level) for conv, level in zip(convs, x)] for convs in (self.cls_convs, self.reg_convs))

    # ------------------------------------------------------------------------------------------------ losses

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: _Ignored = None,
    ) -> Losses:
        """Losses of the raw outputs, ``loss_cls`` and ``loss_bbox``, each a list over the images."""
        sizes = [(score.size(2), score.size(3)) for score in cls_scores]
        anchor_list, flag_list = self.get_anchors(sizes, batch_img_metas, device=cls_scores[0].device)
        *targets, avg_factor = self.get_targets(
            anchor_list, flag_list, batch_gt_instances, batch_img_metas, batch_gt_instances_ignore
        )
        joined = [torch.cat(levels, 1) for levels in targets]  # (B, P) or (B, P, 4) each
        # In float32 also under autocast: these are sums over thousands of terms.
        with torch.autocast(cls_scores[0].device.type, enabled=False):
            scores, deltas = (
                torch.cat([flatten_map(widened(level), count) for level, count in zip(maps, self.num_base_priors)], 1)
                for maps in (cls_scores, bbox_preds)
            )
            one_image = functools.partial(self.loss_by_feat_single, avg_factor=avg_factor)
            parts = map(one_image, scores, deltas, map(torch.cat, anchor_list), *joined)
            loss_cls, loss_bbox = zip(*parts)
        return dict(loss_cls=list(loss_cls), loss_bbox=list(loss_bbox))

    def loss_by_feat_single(
        self,
        cls_score: Tensor,
        bbox_pred: Tensor,
        anchors: Tensor,
        labels: Tensor,
        label_weights: Tensor,
        bbox_targets: Tensor,
        bbox_weights: Tensor,
        avg_factor: float,
    ) -> tuple[Tensor, ...]:
        """Class and box loss of one image: scores (P, K), deltas (P, 4), anchors (P, 4) and their :meth:`get_targets`."""
        losses = self.loss_cls(cls_score, labels, label_weights)  # (P,)
        positive = (labels >= 0) & (labels < self.num_classes)
        negative = losses[labels == self.num_classes]
        wanted = self.train_cfg.get('neg_pos_ratio', 3) * int(positive.sum())
        hardest = negative.topk(min(wanted, len(negative))).values
        loss_cls = (losses[positive].sum() + hardest.sum()) / avg_factor
        if self.reg_decoded_bbox:
            bbox_pred = self.bbox_coder.decode(anchors, bbox_pred)
        return loss_cls, self.loss_bbox(bbox_pred, bbox_targets, bbox_weights, avg_factor=avg_factor)
