"""Head of FoveaBox (Kong et al., TIP 2020, arXiv 1904.03797).

Naming: B images, L levels, P_l = H_l * W_l points of a level (row-major), P of all levels (finest first), C classes, G boxes of the batch.
"""

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdet.core.boxes import clip_boxes, get_box_tensor
from mmdet.core.priors import rectangle_cells
from mmdet.errors import ModelInputError
from mmdet.ops import DeformConv2d
from mmdet.registry import MODELS

from .anchor_free_head import AnchorFreeHead
from .anchor_head import _Ignored, flatten_levels
from .base_dense_head import Losses, widened

# Sides of a box in units of the level's base edge that can be regressed.
_LEAST_SIDE, _MOST_SIDE = 1 / 16, 16.0


class FeatureAlign(BaseModule):
    """A deformable convolution whose offsets are a linear function of the predicted box of each location.

    Args:
        in_channels, out_channels, kernel_size, deform_groups: of the convolution.
        init_cfg: by default N(0, 0.1) for the offsets and N(0, 0.01) for the convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        deform_groups: int = 4,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg or dict(type='Normal', layer='Conv2d', std=0.1))
        self.conv_offset = nn.Conv2d(4, deform_groups * 2 * kernel_size**2, 1, bias=False)
        padding = (kernel_size - 1) // 2
        self.conv_adaption = DeformConv2d(
            in_channels, out_channels, kernel_size, padding=padding, deform_groups=deform_groups
        )

    def init_weights(self) -> None:
        """As ``init_cfg`` says; the deformable convolution N(0, 0.01)."""
        super().init_weights()
        nn.init.normal_(self.conv_adaption.weight, std=0.01)

    def forward(self, x: Tensor, shape: Tensor) -> Tensor:
        """(B, in_channels, H, W) and the sides of the boxes (B, 4, H, W) to (B, out_channels, H, W)."""
        return self.conv_adaption(x, self.conv_offset(shape)).relu()


@MODELS.register_module()
class FoveaHead(AnchorFreeHead):
    """Classes in the middle of each object; sides of the boxes as logarithms, in units of the level's base edge.

    A box belongs to every level in whose range of scales the square root of its area lies. Where the middles of several boxes meet, the
    smallest wins. Points in the padding and in ignored boxes are background.

    Args:
        num_classes, in_channels: see :class:`AnchorFreeHead`.
        base_edge_list: by level, the side in pixels that stands for 0.
        scale_ranges: by level, the scales (low, high) of its boxes in pixels, both included.
        sigma: share of the box's width and height that is positive.
        with_deform: align the features of the class tower to the predicted boxes.
        deform_groups: groups of this alignment's deformable convolution.
        init_cfg: see :class:`AnchorFreeHead`.
        **kwargs: further arguments of :class:`AnchorFreeHead`.

    Raises:
        ModelInputError: not one base edge and one range for each level.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        base_edge_list: Sequence[int] = (16, 32, 64, 128, 256),
        scale_ranges: Sequence[tuple[int, int]] = ((8, 32), (16, 64), (32, 128), (64, 256), (128, 512)),
        sigma: float = 0.4,
        with_deform: bool = False,
        deform_groups: int = 4,
        init_cfg: dict | list[dict] | None = None,
        **kwargs: Any,
    ):
        self.base_edge_list, self.scale_ranges, self.sigma = base_edge_list, scale_ranges, sigma
        self.with_deform, self.deform_groups = with_deform, deform_groups
        super().__init__(num_classes, in_channels, init_cfg=init_cfg, **kwargs)
        for name in ('base_edge_list', 'scale_ranges'):
            if len(getattr(self, name)) != self.num_levels:
                message = f'one for each of the {self.num_levels} levels is needed'
                raise ModelInputError(message, field=name, received=getattr(self, name))
        self._base_edges = {w: edge for (w, _), edge in zip(self.prior_generator.strides, base_edge_list)}

    def _init_cls_convs(self) -> None:
        if not self.with_deform:
            super()._init_cls_convs()
            return
        wide = 4 * self.feat_channels
        options: dict = dict(conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg, bias=self.norm_cfg is None)
        self.cls_convs = nn.ModuleList(
            [ConvModule(self.feat_channels, wide, 3, padding=1, **options), ConvModule(wide, wide, 1, **options)]
        )
        self.feature_adaption = FeatureAlign(self.feat_channels, self.feat_channels, 3, self.deform_groups)

    def _init_predictor(self) -> None:
        super()._init_predictor()
        if self.with_deform:
            self.conv_cls = nn.Conv2d(4 * self.feat_channels, self.cls_out_channels, 3, padding=1)

    def forward_single(self, x: Tensor, *args: Any) -> tuple[Tensor, ...]:
        """Class scores (B, K, H, W) and logarithms of the sides (B, 4, H, W) of one level."""
        cls_feat = reg_feat = x
        for conv in self.reg_convs:
            reg_feat = conv(reg_feat)
        bbox_pred = self.conv_reg(reg_feat)
        if self.with_deform:
            cls_feat = self.feature_adaption(cls_feat, bbox_pred.exp())
        for conv in self.cls_convs:
            cls_feat = conv(cls_feat)
        return self.conv_cls(cls_feat), bbox_pred

    # ------------------------------------------------------------------------------------------------ decode

    def decode_boxes(self, bbox_pred: Tensor, priors: Tensor, stride: float, img_shape: tuple[int, int]) -> Tensor:
        """Logarithms of the sides (m, 4) to boxes (m, 4); as in the reference, they end a pixel before the image's edge."""
        sides = self._base_edges[stride] * bbox_pred.exp()
        boxes = torch.cat([priors - sides[..., :2], priors + sides[..., 2:]], dim=-1)
        return clip_boxes(boxes, (img_shape[0] - 1, img_shape[1] - 1))

    # ------------------------------------------------------------------------------------------------ losses

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: _Ignored = None,
    ) -> Losses:
        """Losses of the raw outputs: ``loss_cls``, averaged over positives and images, and ``loss_bbox``, over positives (of this process)."""
        sizes = [(score.size(2), score.size(3)) for score in cls_scores]
        points = self.prior_generator.grid_priors(sizes, device=cls_scores[0].device)
        labels, targets = self.get_targets(points, batch_gt_instances, sizes)
        # In float32 also under autocast: these are sums over tens of thousands of terms.
        with torch.autocast(cls_scores[0].device.type, enabled=False):
            scores, sides = (widened(flatten_levels(maps)).flatten(0, 1) for maps in (cls_scores, bbox_preds))
            pos = (labels < self.num_classes).nonzero().squeeze(1)
            loss_cls = self.loss_cls(scores, labels, avg_factor=len(pos) + len(batch_gt_instances))
            pos_targets = targets[pos]
            loss_bbox = self.loss_bbox(
                sides[pos], pos_targets, torch.ones_like(pos_targets), avg_factor=max(len(pos), 1)
            )
        return dict(loss_cls=loss_cls, loss_bbox=loss_bbox)

    @torch.no_grad()
    def get_targets(  # type: ignore[override]  # the sizes of the maps as well
        self, points: list[Tensor], batch_gt_instances: list[InstanceData], featmap_sizes: list[tuple[int, int]]
    ) -> tuple[Tensor, Tensor]:
        """What the points of a batch are trained towards.

        Args:
            points: L tensors (P_l, 2) x, y.
            batch_gt_instances: ``bboxes`` (n, 4), ``labels`` (n,) of each image.
            featmap_sizes: L pairs (H_l, W_l).

        Returns:
            labels (B * P,), C for background, and logarithms of the sides (B * P, 4); image by image.

        Raises:
            ModelInputError: a label outside [0, C).
        """
        images = []
        for gt in batch_gt_instances:
            self._check_labels(gt.labels)
            boxes = get_box_tensor(gt.bboxes)
            scales = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sqrt()
            order = (-scales).argsort(stable=True)  # the largest first: smaller boxes lie above
            level = zip(points, featmap_sizes, self.prior_generator.strides, self.base_edge_list, self.scale_ranges)
            images.append([self._level_targets(boxes[order], scales[order], gt.labels[order], *one) for one in level])
        labels, targets = (torch.cat([level[part] for levels in images for level in levels]) for part in (0, 1))
        return labels, targets

    def _level_targets(
        self,
        boxes: Tensor,
        scales: Tensor,
        labels: Tensor,
        points: Tensor,
        size: tuple[int, int],
        stride: tuple[int, int],
        edge: int,
        scale_range: tuple[int, int],
    ) -> tuple[Tensor, Tensor]:
        """Labels (P_l,) and targets (P_l, 4) of one level and image."""
        height, width = size
        fits = (scales >= scale_range[0]) & (scales <= scale_range[1])
        boxes, labels = boxes[fits], labels[fits]
        cells = boxes / stride[0]
        centers, half = (cells[:, :2] + cells[:, 2:]) / 2, (cells[:, 2:] - cells[:, :2]) / 2
        last = boxes.new_tensor([width - 1, height - 1])
        low = (centers - self.sigma * half - 0.5).ceil().minimum(last).clamp(min=0)  # (n, 2) column, row
        high = (centers + self.sigma * half - 0.5).floor().minimum(last).clamp(min=0)
        # Only the pairs of a box and a cell in its middle are looked at.
        box, cells = rectangle_cells(low.long(), high.long())
        owner = box.new_full((height * width,), -1).scatter_reduce_(0, cells[:, 1] * width + cells[:, 0], box, 'amax')
        pos = (owner >= 0).nonzero().squeeze(1)
        found = labels.new_full((len(owner),), self.num_classes)
        targets = points.new_zeros(len(owner), 4)
        found[pos] = labels[owner[pos]]
        own, place = boxes[owner[pos]], points[pos]
        sides = torch.cat([place - own[:, :2], own[:, 2:] - place], dim=1) / edge
        targets[pos] = sides.clamp(_LEAST_SIDE, _MOST_SIDE).log().to(targets)
        return found, targets
