"""Head of FCOS (Tian et al., ICCV 2019, arXiv 1904.01355).

Naming: B images, L levels, P_l = H_l * W_l points of a level (row-major), P of all levels (finest first), C classes, K class channels,
G ground-truth boxes of all images, N positives of the batch.
"""

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import Scale
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdet.core.boxes import get_box_tensor
from mmdet.errors import ModelInputError
from mmdet.models.layers.normed_predictor import NormedConv2d
from mmdet.registry import MODELS

from .anchor_free_head import AnchorFreeHead
from .anchor_head import _Ignored, flatten_map, mean_over_processes
from .base_dense_head import Losses, RawOutputs, widened

_INF = 1e8
# Pairs of a point and a box that are looked at together: about 400 MB at the widest place.
_MAX_PAIRS = 2**22


@MODELS.register_module()
class FCOSHead(AnchorFreeHead):
    """Class scores, distances to the four sides of a box, and a centerness, for one point a location.

    A point is trained towards the smallest of the boxes that it lies in and whose farthest side is as far as its level is meant for.

    Args:
        num_classes, in_channels: see :class:`AnchorFreeHead`.
        regress_ranges: of each level, the least and the greatest distance, in pixels, to the farthest side of a box.
        center_sampling: only the middle part of a box, a square around its centre cut to the box, makes points positive.
        center_sample_radius: half the side of that square, in strides.
        norm_on_bbox: distances are in strides, and negative outputs count as 0; otherwise an output is the logarithm of pixels.
        centerness_on_reg: predict the centerness from the box tower instead of the class tower.
        loss_cls, loss_bbox: see :class:`AnchorFreeHead`.
        loss_centerness: config of the centerness loss.
        norm_cfg: see :class:`AnchorFreeHead`.
        cls_predictor_cfg: arguments of a :class:`~mmdet.models.layers.normed_predictor.NormedConv2d` (1x1), which then predicts the
            classes; its ``type`` does not matter, as in mmdetection.
        init_cfg: see :class:`AnchorFreeHead`.
        **kwargs: further arguments of :class:`AnchorFreeHead`.

    Raises:
        ModelInputError: as many ``regress_ranges`` as levels are needed.
    """

    output_names: tuple[str, ...] = ('cls', 'reg', 'centerness')

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        regress_ranges: Sequence[tuple[float, float]] = ((-1, 64), (64, 128), (128, 256), (256, 512), (512, _INF)),
        center_sampling: bool = False,
        center_sample_radius: float = 1.5,
        norm_on_bbox: bool = False,
        centerness_on_reg: bool = False,
        loss_cls: dict | None = None,
        loss_bbox: dict | None = None,
        loss_centerness: dict | None = None,
        norm_cfg: dict | None = dict(type='GN', num_groups=32, requires_grad=True),  # noqa: B006  never written to
        cls_predictor_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
        **kwargs: Any,
    ):
        self.regress_ranges = regress_ranges
        self.center_sampling, self.center_sample_radius = center_sampling, center_sample_radius
        self.norm_on_bbox, self.centerness_on_reg = norm_on_bbox, centerness_on_reg
        self.cls_predictor_cfg = cls_predictor_cfg
        super().__init__(
            num_classes, in_channels, loss_cls=loss_cls, loss_bbox=loss_bbox, norm_cfg=norm_cfg, init_cfg=init_cfg, **kwargs
        )  # fmt: skip
        if len(regress_ranges) != self.num_levels:
            message = f'one for each of the {self.num_levels} levels is needed'
            raise ModelInputError(message, field='regress_ranges', received=regress_ranges)
        self.loss_centerness = MODELS.build(
            loss_centerness or dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0)
        )

    # ----------------------------------------------------------------------------------------------- forward

    def _init_layers(self) -> None:
        super()._init_layers()
        self.conv_centerness = nn.Conv2d(self._tower_channels, 1, 3, padding=1)
        self.scales = nn.ModuleList(Scale(1.0) for _ in range(self.num_levels))

    def _init_predictor(self) -> None:
        super()._init_predictor()
        if self.cls_predictor_cfg is not None:
            options = {key: value for key, value in self.cls_predictor_cfg.items() if key != 'type'}
            self.conv_cls = NormedConv2d(self._tower_channels, self.cls_out_channels, 1, **options)

    def forward(self, x: tuple[Tensor, ...]) -> tuple[list[Tensor], ...]:
        """L maps (B, in_channels, H_l, W_l) to the raw outputs of every level.

        Returns:
            class scores, L maps (B, K, H_l, W_l), distances to the left, top, right and bottom side, (B, 4, H_l, W_l) float32, in pixels
            (with ``norm_on_bbox`` in training mode in strides), and centerness logits, (B, 1, H_l, W_l).
        """
        self._check_levels(x)
        return tuple(map(list, zip(*map(self.forward_single, x, self.scales, self._level_strides))))

    @property
    def _level_strides(self) -> list[int]:
        return [stride for stride, _ in self.prior_generator.strides]

    def forward_single(self, x: Tensor, scale: Scale, stride: int) -> tuple[Tensor, ...]:
        """Raw outputs of one level."""
        cls_score, bbox_pred, cls_feat, reg_feat = super().forward_single(x)
        centerness = self.conv_centerness(reg_feat if self.centerness_on_reg else cls_feat)
        # In float32: half precision ends at 65,504 pixels, and the exponential gets there.
        bbox_pred = scale(bbox_pred).float()
        if not self.norm_on_bbox:
            return cls_score, bbox_pred.exp(), centerness
        bbox_pred = bbox_pred.clamp(min=0)
        return cls_score, (bbox_pred if self.training else bbox_pred * stride), centerness

    def _outputs_for_loss(self, x: tuple[Tensor, ...]) -> RawOutputs:
        """What :meth:`forward` returns in training mode, in either mode."""
        cls_scores, bbox_preds, centernesses = self(x)
        if self.norm_on_bbox and not self.training:
            bbox_preds = [level / stride for level, stride in zip(bbox_preds, self._level_strides)]
        return cls_scores, bbox_preds, centernesses

    def _outputs_to_decode(self, outputs: RawOutputs) -> RawOutputs:
        cls_scores, bbox_preds, centernesses = outputs
        if self.norm_on_bbox:
            bbox_preds = [level * stride for level, stride in zip(bbox_preds, self._level_strides)]
        return cls_scores, bbox_preds, centernesses

    def adapt_state_dict(self, state_dict: dict, prefix: str) -> list[str]:
        """Rename the predictors of checkpoints of mmdetection before 2.0, ``fcos_cls`` and so on."""
        old_names = [key for key in state_dict if key.startswith(f'{prefix}fcos_')]
        for old in old_names:
            state_dict[f'{prefix}conv_{old[len(prefix) + 5 :]}'] = state_dict.pop(old)
        return [f'{prefix}fcos_*: read as {prefix}conv_*'] if old_names else []

    def take_class_rows(
        self, state_dict: dict, prefix: str, sources: Sequence[int], num_stored: int
    ) -> tuple[list[str], list[str]]:
        """As in the base class, also from checkpoints of mmdetection before 2.0."""
        self.adapt_state_dict(state_dict, prefix)
        return super().take_class_rows(state_dict, prefix, sources, num_stored)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        self.adapt_state_dict(state_dict, prefix)  # again for those who load without the checkpoint room
        super()._load_from_state_dict(state_dict, prefix, *args)

    # ------------------------------------------------------------------------------------------------ losses

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        centernesses: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: _Ignored = None,
    ) -> Losses:
        """Losses of the raw outputs in the form of the training mode: ``loss_cls``, ``loss_bbox``, ``loss_centerness``.

        The class and the centerness loss are averaged over the positives (at least 1), the box loss over the sum of their centerness, both
        over all processes. Points in the padding and in ignored boxes are background.
        """
        sizes = [(score.size(2), score.size(3)) for score in cls_scores]
        points = self.prior_generator.grid_priors(sizes, device=cls_scores[0].device)
        level_labels, level_targets = self.get_targets(points, batch_gt_instances)
        # In float32 also under autocast: these are sums over tens of thousands of terms.
        with torch.autocast(cls_scores[0].device.type, enabled=False):
            scores, sides, logits = (
                torch.cat([flatten_map(level).flatten(0, 1) for level in maps])
                for maps in (cls_scores, bbox_preds, centernesses)
            )
            labels, scores = torch.cat(level_labels), widened(scores)
            pos = ((labels >= 0) & (labels < self.num_classes)).nonzero().squeeze(1)  # (N,)
            targets = torch.cat(level_targets)[pos]  # (N, 4)
            centerness = self.centerness_target(targets)  # (N,)
            num_pos, weight_sum = mean_over_processes(len(pos), centerness.sum(), like=centerness)
            num_pos, weight_sum = num_pos.clamp(min=1), weight_sum.clamp(min=1e-6)

            centers = torch.cat([level.repeat(len(batch_gt_instances), 1) for level in points])[pos]  # (N, 2)
            # With norm_on_bbox these are boxes in strides around points in pixels: an overlap does not see the difference.
            pred_boxes = self.bbox_coder.decode(centers, widened(sides[pos]))  # (N, 4)
            gt_boxes = self.bbox_coder.decode(centers, targets)  # (N, 4)
            return dict(
                loss_cls=self.loss_cls(scores, labels, avg_factor=num_pos),
                loss_bbox=self.loss_bbox(pred_boxes, gt_boxes, weight=centerness, avg_factor=weight_sum),
                loss_centerness=self.loss_centerness(widened(logits[pos]).squeeze(1), centerness, avg_factor=num_pos),
            )

    def centerness_target(self, pos_bbox_targets: Tensor) -> Tensor:
        """Centerness (N,), in [0, 1], of distances (N, 4): the square root of the product, over both axes, of shorter over longer distance."""
        sides = torch.stack([pos_bbox_targets[:, :2], pos_bbox_targets[:, 2:]])  # (2, N, 2)
        return (sides.amin(0) / sides.amax(0)).prod(1).sqrt()

    # ----------------------------------------------------------------------------------------------- targets

    @torch.no_grad()
    def get_targets(
        self, points: list[Tensor], batch_gt_instances: list[InstanceData]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """What the points of a batch are trained towards.

        Args:
            points: L tensors (P_l, 2) x, y, row-major grids as the prior generator makes them.
            batch_gt_instances: ``bboxes`` (n, 4), ``labels`` (n,) of each image.

        Returns:
            by level, ``labels`` (B * P_l,), C for background, and distances to the sides of the box (B * P_l, 4), in strides with
            ``norm_on_bbox``, otherwise in pixels; 0 for background.

        Raises:
            ModelInputError: a label outside [0, C).
        """
        counts, num_images = [len(level) for level in points], len(batch_gt_instances)
        boxes = torch.cat([get_box_tensor(gt.bboxes) for gt in batch_gt_instances])  # (G, 4)
        gt_labels = torch.cat([gt.labels for gt in batch_gt_instances])
        flat_points = torch.cat(points)  # (P, 2)
        labels = gt_labels.new_full((num_images * len(flat_points),), self.num_classes)
        targets = flat_points.new_zeros(len(labels), 4)
        if len(boxes):
            self._check_labels(gt_labels)
            sizes = torch.tensor([len(gt.labels) for gt in batch_gt_instances])
            images = torch.arange(num_images).repeat_interleave(sizes).to(boxes.device)
            matched = self._smallest_boxes(points, boxes, images, num_images)  # (B * P,)
            pos = (matched >= 0).nonzero().squeeze(1)
            labels[pos] = gt_labels[matched[pos]]
            targets[pos] = self.bbox_coder.encode(flat_points[pos % len(flat_points)], boxes[matched[pos]]).to(targets)
        by_level = targets.view(num_images, -1, 4).split(counts, dim=1)
        strides = self._level_strides if self.norm_on_bbox else [1] * len(points)
        return (
            [part.flatten() for part in labels.view(num_images, -1).split(counts, dim=1)],
            [part.reshape(-1, 4) / stride for part, stride in zip(by_level, strides)],
        )

    def _smallest_boxes(self, points: list[Tensor], boxes: Tensor, images: Tensor, num_images: int) -> Tensor:
        """Row of the smallest box that makes each point positive, -1 where there is none, (B * P,).

        The points inside a box are some rows and columns of a grid, so only the pairs of a box and such a point are looked at, not all
        P * G: with 2,000 boxes on 1333 x 800 pixels, a few hundred thousand instead of 45 million.

        Args:
            points: L grids (P_l, 2).
            boxes: (G, 4) of all images.
            images: (G,) image of each box.
            num_images: B.
        """
        device, num_boxes = boxes.device, len(boxes)
        starts, first_rows, first_columns, widths, heights, columns = [], [], [], [], [], []
        total = 0
        # Cells of the first row of each grid: one wait for the device for all levels.
        cells = torch.stack([(level[:, 1] == level[:1, 1]).sum() for level in points]).tolist()
        for level, width, stride, (least, most) in zip(points, cells, self._level_strides, self.regress_ranges):
            xs, ys = level[:width, 0].contiguous(), level[:: max(width, 1), 1].contiguous()
            # A pixel more than may count, against rounding: the pairs are checked below.
            area = torch.cat([boxes[:, 2:] - most - 1, boxes[:, :2] + most + 1], dim=1)
            area = _intersection(area, self._positive_area(boxes, stride))
            x1, y1, x2, y2 = area.t().contiguous()
            column, end_column = torch.searchsorted(xs, x1, right=True), torch.searchsorted(xs, x2)
            row, end_row = torch.searchsorted(ys, y1, right=True), torch.searchsorted(ys, y2)
            # The farthest side is nearer than the longest side is long.
            fits = (boxes[:, 2:] - boxes[:, :2]).amax(1) >= least
            starts.append(images.new_full((num_boxes,), total))
            first_rows.append(row)
            first_columns.append(column)
            widths.append((end_column - column).clamp(min=0) * fits)
            heights.append((end_row - row).clamp(min=0))
            columns.append(images.new_full((num_boxes,), width))
            total += len(level)
        places = (starts, first_rows, first_columns, widths, columns)
        table = torch.stack([torch.cat(part) for part in places])  # (5, L * G)
        gts = torch.arange(num_boxes, device=device).repeat(len(points))
        levels = torch.arange(len(points), device=device).repeat_interleave(num_boxes)
        counts = table[3] * torch.cat(heights)  # (L * G,) pairs

        sides = boxes[:, 2:] - boxes[:, :2]
        order = (sides[:, 0] * sides[:, 1]).argsort(stable=True)  # smallest first, then the first in the list
        rank = torch.empty_like(order).index_copy_(0, order, torch.arange(num_boxes, device=device))
        best = order.new_full((num_images * total,), num_boxes)
        flat_points = torch.cat(points)
        limits = flat_points.new_tensor(self.regress_ranges)  # (L, 2)
        strides = flat_points.new_tensor(self._level_strides)[:, None]  # (L, 1)
        ends = counts.cumsum(0)
        num_pairs = int(ends[-1])
        for first in range(0, num_pairs, _MAX_PAIRS):
            pair = torch.arange(first, min(first + _MAX_PAIRS, num_pairs), device=device)
            entry = torch.searchsorted(ends, pair, right=True)  # of the table
            start, first_row, first_column, width, grid_width = table[:, entry]
            cell = pair - (ends - counts)[entry]
            row, column = first_row + cell.div(width, rounding_mode='floor'), first_column + cell % width
            at, gt, level = start + row * grid_width + column, gts[entry], levels[entry]
            point = flat_points[at]
            distance = _distances(point, boxes[gt])
            farthest = distance.amax(1)
            good = (farthest >= limits[level, 0]) & (farthest <= limits[level, 1])
            good &= _distances(point, self._positive_area(boxes[gt], strides[level])).amin(1) > 0
            best.scatter_reduce_(0, (images[gt] * total + at)[good], rank[gt[good]], 'amin')
        return torch.cat([order, order.new_full((1,), -1)])[best]

    def _positive_area(self, boxes: Tensor, stride: float | Tensor) -> Tensor:
        """The part (n, 4) of boxes (n, 4) strictly inside which points are positive; ``stride`` a number or (n, 1)."""
        if not self.center_sampling:
            return boxes
        centers, half = (boxes[:, :2] + boxes[:, 2:]) / 2, self.center_sample_radius * stride
        return _intersection(torch.cat([centers - half, centers + half], dim=1), boxes)


def _distances(points: Tensor, boxes: Tensor) -> Tensor:
    """From points (n, 2) to the left, top, right and bottom side of boxes (n, 4)."""
    return torch.cat([points - boxes[:, :2], boxes[:, 2:] - points], dim=1)


def _intersection(first: Tensor, second: Tensor) -> Tensor:
    corners = torch.maximum(first[:, :2], second[:, :2]), torch.minimum(first[:, 2:], second[:, 2:])
    return torch.cat(corners, dim=1)
