"""Head of the improved CenterNet, the first stage of CenterNet2 (Zhou et al., arXiv 2103.07461).

Naming: B images, L levels, P points of an image (all levels, finest first, row-major within one), C classes, G boxes of the batch, 9 cells
around a centre (row-major).
"""

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import Scale
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdet.core.boxes import get_box_tensor
from mmdet.core.priors import rectangle_cells
from mmdet.errors import ModelInputError
from mmdet.registry import MODELS

from .anchor_free_head import AnchorFreeHead
from .anchor_head import _Ignored, flatten_levels, mean_over_processes
from .base_dense_head import Losses, RawOutputs, widened

_CENTER = 4  # of the 9 cells
_LEAST_HEAT, _LOG_LEAST_HEAT = 1e-4, 9.2104  # lower values of a bump are 0
_LEAST_PROBABILITY = 1e-4
_FAR = 1e8


class _Around:
    """The 3 x 3 cells around the centre of each box, on each level.

    Attributes:
        rows: (G, L, 9) points among the B P of the batch; 0 where there is none.
        exists: (G, L, 9) whether the cell lies on the map.
        points: (G, L, 9, 2) x, y in pixels.
        sides: (G, L, 9, 4) distances to the left, top, right and bottom side of the box, in strides.
    """

    def __init__(self, boxes: Tensor, images: Tensor, sizes: Sequence[tuple[int, int]], strides: Sequence[int]):
        hw, stride = torch.tensor(sizes, device=boxes.device), boxes.new_tensor(strides)  # (L, 2), (L,)
        counts = hw.prod(1)
        centers = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
        steps = torch.tensor([(dx, dy) for dy in (-1, 0, 1) for dx in (-1, 0, 1)], device=boxes.device)
        cells = (centers / stride[:, None]).long()[:, :, None] + steps  # (G, L, 9, 2)
        self.exists = ((cells >= 0) & (cells < hw.flip(1)[:, None])).all(-1)
        first = images[:, None, None] * counts.sum() + (counts.cumsum(0) - counts)[:, None]
        self.rows = (first + cells[..., 1] * hw[:, 1:] + cells[..., 0]) * self.exists
        self.points = (cells + 0.5) * stride[:, None, None]
        corners = boxes[:, None, None]
        sides = torch.cat([self.points - corners[..., :2], corners[..., 2:] - self.points], dim=-1)
        self.sides = sides / stride[:, None, None]


@MODELS.register_module()
class CenterNetUpdateHead(AnchorFreeHead):
    """Heat maps of object centres on a feature pyramid, trained by focal losses; sides of the boxes near the centres.

    Positives of the classes are the cell of the centre on the levels of the box's size, if its point lies in the box, and those around it, on any level, whose box
    is already good. Boxes are learned in the 3 x 3 cells around the centre. Points in the padding and in ignored boxes are background.

    An image without objects has empty heat maps. (In mmdetection 3.3 their value there is the number of classes, and the loss of such an
    image is of the order of C^4.)

    Args:
        num_classes, in_channels: see :class:`AnchorFreeHead`.
        regress_ranges: by level, half the diagonals (low, high) of its boxes in pixels, both included.
        hm_min_radius: least radius of a bump, in pixels.
        hm_min_overlap: overlap of two boxes whose centres are the radius of the bump apart.
        more_pos_thresh: box loss below which a cell around the centre is positive too.
        more_pos_topk: fewer cells than this are positive for a box.
        soft_weight_on_reg: weight the box losses by the heat map.
        loss_cls, loss_bbox, norm_cfg: configs.
        **kwargs: further arguments of :class:`AnchorFreeHead`.

    Raises:
        ModelInputError: not one range for each level.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        regress_ranges: Sequence[tuple[float, float]] = ((0, 80), (64, 160), (128, 320), (256, 640), (512, _FAR)),
        hm_min_radius: int = 4,
        hm_min_overlap: float = 0.8,
        more_pos_thresh: float = 0.2,
        more_pos_topk: int = 9,
        soft_weight_on_reg: bool = False,
        loss_cls: dict | None = None,
        loss_bbox: dict | None = None,
        norm_cfg: dict | None = dict(type='GN', num_groups=32, requires_grad=True),  # noqa: B006  never written to
        **kwargs: Any,
    ):
        loss_cls = loss_cls or dict(type='GaussianFocalLoss', pos_weight=0.25, neg_weight=0.75, loss_weight=1.0)
        loss_bbox = loss_bbox or dict(type='GIoULoss', loss_weight=2.0)
        options: dict = dict(kwargs, loss_cls=loss_cls, loss_bbox=loss_bbox, norm_cfg=norm_cfg)
        super().__init__(num_classes, in_channels, **options)
        if len(regress_ranges) != self.num_levels:
            message = f'one for each of the {self.num_levels} levels is needed'
            raise ModelInputError(message, field='regress_ranges', received=regress_ranges)
        self.regress_ranges, self.soft_weight_on_reg = regress_ranges, soft_weight_on_reg
        self.hm_min_radius, self.hm_min_overlap = hm_min_radius, hm_min_overlap
        self.more_pos_thresh, self.more_pos_topk = more_pos_thresh, more_pos_topk

    # ----------------------------------------------------------------------------------------------- forward

    def _init_layers(self) -> None:
        # The losses on heat maps have no argument that says so.
        self.use_sigmoid_cls, self.cls_out_channels = True, self.num_classes
        super()._init_layers()
        self.scales = nn.ModuleList(Scale(1.0) for _ in range(self.num_levels))

    @property
    def _level_strides(self) -> list[int]:
        return [stride for stride, _ in self.prior_generator.strides]

    def forward(self, x: tuple[Tensor, ...]) -> tuple[list[Tensor], ...]:
        """L maps (B, in_channels, H_l, W_l) to class scores, L maps (B, C, H_l, W_l), and sides of the boxes (B, 4, H_l, W_l) float32, in
        pixels (in training mode in strides).
        """
        outputs = self._outputs_for_loss(x)
        return outputs if self.training else self._outputs_to_decode(outputs)

    def _outputs_for_loss(self, x: tuple[Tensor, ...]) -> RawOutputs:
        self._check_levels(x)
        return tuple(map(list, zip(*map(self.forward_single, x, self.scales))))

    def _outputs_to_decode(self, outputs: RawOutputs) -> RawOutputs:
        cls_scores, bbox_preds = outputs
        return cls_scores, [level * stride for level, stride in zip(bbox_preds, self._level_strides)]

    def forward_single(self, x: Tensor, scale: Scale) -> tuple[Tensor, ...]:
        """Class scores and sides, in strides, of one level."""
        cls_score, bbox_pred, *_ = super().forward_single(x)
        return cls_score, scale(bbox_pred).float().clamp(min=0)

    # ------------------------------------------------------------------------------------------------ losses

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: _Ignored = None,
    ) -> Losses:
        """Losses of the raw outputs in the form of the training mode: ``loss_cls`` and ``loss_bbox``, each divided by its positives (at least 1),
        averaged over the processes.
        """
        sizes = [(score.size(2), score.size(3)) for score in cls_scores]
        points = torch.cat(self.prior_generator.grid_priors(sizes, device=cls_scores[0].device))
        # In float32 also under autocast: these are sums over tens of thousands of terms.
        with torch.autocast(points.device.type, enabled=False):
            scores, sides = (widened(flatten_levels(maps)).flatten(0, 1) for maps in (cls_scores, bbox_preds))
            heat, box_rows, box_targets, around, labels = self.get_targets(sizes, batch_gt_instances, points)
            cls_rows, cls_labels = self.add_cls_pos_inds(around, labels, sides)
            weight = heat[box_rows].amax(1) if self.soft_weight_on_reg else box_targets.new_ones(len(box_rows))
            num_pos, weight_sum = mean_over_processes(len(cls_rows), weight.sum(), like=points)
            probability = scores.sigmoid().clamp(_LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
            centers = points[box_rows % len(points)]
            # Boxes in strides around points in pixels: an overlap does not see the difference.
            pred, target = (self.bbox_coder.decode(centers, values) for values in (sides[box_rows], box_targets))
            return dict(
                loss_cls=self.loss_cls(
                    probability, heat, pos_inds=cls_rows, pos_labels=cls_labels, avg_factor=num_pos.clamp(min=1)
                ),
                loss_bbox=self.loss_bbox(pred, target, weight=weight, avg_factor=weight_sum.clamp(min=1)),
            )

    # ----------------------------------------------------------------------------------------------- targets

    @torch.no_grad()
    def get_targets(  # type: ignore[override]
        self, featmap_sizes: list[tuple[int, int]], batch_gt_instances: list[InstanceData], points: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, _Around, tuple[Tensor, Tensor]]:
        """What the points of a batch are trained towards.

        Args:
            featmap_sizes: L pairs (H_l, W_l).
            batch_gt_instances: ``bboxes`` (n, 4), ``labels`` (n,) of each image.
            points: (P, 2) x, y.

        Returns:
            heat maps (B P, C); points (n,) that learn a box, and its sides (n, 4) in strides; the cells around the centres; the classes (G,) of
            the boxes, and whether they belong to each level (G, L).

        Raises:
            ModelInputError: a label outside [0, C).
        """
        boxes = torch.cat([get_box_tensor(gt.bboxes) for gt in batch_gt_instances]).to(points)
        labels = torch.cat([gt.labels for gt in batch_gt_instances])
        self._check_labels(labels)
        counts = torch.tensor([len(gt.labels) for gt in batch_gt_instances], device=labels.device)
        images = torch.arange(len(counts), device=labels.device).repeat_interleave(counts)
        around = _Around(boxes, images, featmap_sizes, self._level_strides)
        size = boxes[:, 2:] - boxes[:, :2]
        half_diagonal = size.square().sum(1, keepdim=True).sqrt() / 2
        low, high = boxes.new_tensor(self.regress_ranges).unbind(1)
        of_level = (half_diagonal >= low) & (half_diagonal <= high)  # (G, L)

        delta = (1 - self.hm_min_overlap) / (1 + self.hm_min_overlap)
        radii = (2 * delta**2 * size.prod(1)).clamp(min=self.hm_min_radius**2)  # (G,) squared, pixels
        centers = (boxes[:, :2] + boxes[:, 2:]) / 2
        distance = (around.points - centers[:, None, None]).square().sum(-1) / radii[:, None, None]
        distance[..., _CENTER] = 0
        heat = self._heat_maps(centers, radii, labels, images, featmap_sizes, len(counts))
        rows, place = around.rows[..., _CENTER], around.exists[..., _CENTER]
        heat.view(-1)[(rows * self.num_classes + labels[:, None])[place]] = 1

        learns = around.exists & (around.sides.amin(-1) > 0) & of_level[..., None]
        rows, near, sides = around.rows[learns], distance[learns], around.sides[learns]
        gts = torch.arange(len(boxes), device=boxes.device)[:, None, None].expand_as(learns)[learns]
        # The nearest box of each point, the first of equals.
        best = near.new_full((len(heat),), _FAR).scatter_reduce_(0, rows, near, 'amin')
        nearest = near == best[rows]
        owner = gts.new_full((len(heat),), len(boxes)).scatter_reduce_(0, rows[nearest], gts[nearest], 'amin')
        chosen = nearest & (gts == owner[rows])
        return heat, rows[chosen], sides[chosen], around, (labels, of_level)

    def _heat_maps(
        self,
        centers: Tensor,
        radii: Tensor,
        labels: Tensor,
        images: Tensor,
        sizes: Sequence[tuple[int, int]],
        num_images: int,
    ) -> Tensor:
        """(B P, C) heat maps with a bump exp(-d^2 / r^2) for each object, the larger value where bumps of a class meet.

        Only the pairs of an object and a point of the square that its bump fills are looked at. ``radii`` (G,) are squared.
        """
        num_points = sum(height * width for height, width in sizes)
        heat = centers.new_zeros(num_images * num_points * self.num_classes)
        reach, first = (radii * _LOG_LEAST_HEAT).sqrt()[:, None], 0
        for (height, width), stride in zip(sizes, self._level_strides):
            last = torch.tensor([width - 1, height - 1], device=centers.device)
            low = ((centers - reach) / stride - 0.5).ceil().clamp(min=0).long()  # (G, 2) column, row
            high = ((centers + reach) / stride - 0.5).floor().long().minimum(last)
            gt, cells = rectangle_cells(low, high)
            place = (cells + 0.5) * stride
            value = torch.exp(-(place - centers[gt]).square().sum(1) / radii[gt])
            value[value < _LEAST_HEAT] = 0
            index = images[gt] * num_points + first + cells[:, 1] * width + cells[:, 0]
            heat.scatter_reduce_(0, index * self.num_classes + labels[gt], value, 'amax')
            first += height * width
        return heat.view(-1, self.num_classes)

    @torch.no_grad()
    def add_cls_pos_inds(
        self, around: _Around, labels: tuple[Tensor, Tensor], bbox_preds: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Points (n,) that are positive, and their classes (n,): centres, and cells around them whose predicted box is good.

        Args:
            around, labels: of :meth:`get_targets`.
            bbox_preds: (B P, 4) sides in strides.
        """
        classes, of_level = labels
        if len(classes) == 0:
            return classes, classes
        points, exists = around.points.flatten(0, 2), around.exists & (around.sides.amin(-1) >= 0)
        pred = self.bbox_coder.decode(points, bbox_preds[around.rows.flatten()])
        target = self.bbox_coder.decode(points, around.sides.flatten(0, 2).clamp(min=0))
        cost = self.loss_bbox(pred, target, None, reduction_override='none') / self.loss_bbox.loss_weight
        cost = cost.view_as(exists).masked_fill(~exists, _FAR)
        cost[..., _CENTER] = cost[..., _CENTER].masked_fill(of_level & exists[..., _CENTER], 0)
        flat = cost.flatten(1)
        limit = flat.kthvalue(min(self.more_pos_topk, flat.size(1)), dim=1).values.clamp(max=self.more_pos_thresh)
        positive = cost < limit[:, None, None]
        return around.rows[positive], classes[:, None, None].expand_as(positive)[positive]
