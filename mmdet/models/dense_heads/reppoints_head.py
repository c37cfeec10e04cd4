"""Head of RepPoints (Yang et al., ICCV 2019, arXiv 1904.11490).

Naming: B images, L levels, P_l = H_l * W_l locations of a level (row-major), P of all levels (finest first), K class channels, n points of
an object, laid out as y, x, y, x, ... in strides from their location unless said otherwise.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdet.core.boxes import clip_boxes
from mmdet.errors import ConfigError, ModelInputError
from mmdet.ops import DeformConv2d
from mmdet.registry import MODELS, TASK_UTILS

from .anchor_free_head import AnchorFreeHead
from .anchor_head import _Ignored, by_level, flatten_map, unmapped
from .base_dense_head import Losses, RawOutputs, widened

_TRANSFORMS = ('minmax', 'partial_minmax', 'moment')
_LEAST_SIDE = 1e-6


@MODELS.register_module()
class RepPointsHead(AnchorFreeHead):
    """Each location predicts a set of points, samples the features at them, and refines the points and tells the class from these samples.

    A box is made of the points: their extent, or their mean and a learned multiple of their spread. Two losses on boxes: the first points
    are trained at the location nearest to a box's centre, the refined ones where the box of the first points overlaps a box.

    Args:
        num_classes, in_channels: see :class:`AnchorFreeHead`.
        point_feat_channels: channels of the features that the points are predicted from.
        num_points: n, an odd square.
        gradient_mul: share of the gradient that reaches the first points through the sampling.
        point_strides: pixels a location of each level.
        point_base_scale: size of an initial box, in strides; the box losses are in this unit.
        loss_cls, loss_bbox_init, loss_bbox_refine: configs of the losses.
        use_grid_points: predict a box, whose points are a regular grid, instead of points.
        center_init: the first points begin at the location instead of a grid on the initial box.
        transform_method: how a box is made of points: ``'minmax'``, their extent; ``'partial_minmax'``, that of the first four;
            ``'moment'``, mean and spread.
        moment_mul: share of the gradient that reaches the multiples of the spread.
        init_cfg: initialisation; by default N(0, 0.01), and a class bias for a prior probability of 0.01.
        **kwargs: further arguments of :class:`AnchorFreeHead`. ``train_cfg`` has an ``assigner`` and a ``pos_weight`` in each of
            ``init`` and ``refine``.

    Raises:
        ConfigError: ``num_points`` is no odd square, or an unknown ``transform_method``.
    """

    class_predictor = 'reppoints_cls_out'
    _default_init_cfg = dict(
        type='Normal',
        layer='Conv2d',
        std=0.01,
        override=dict(type='Normal', name='reppoints_cls_out', std=0.01, bias_prob=0.01),
    )

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        point_feat_channels: int = 256,
        num_points: int = 9,
        gradient_mul: float = 0.1,
        point_strides: Sequence[int] = (8, 16, 32, 64, 128),
        point_base_scale: int = 4,
        loss_cls: dict | None = None,
        loss_bbox_init: dict | None = None,
        loss_bbox_refine: dict | None = None,
        use_grid_points: bool = False,
        center_init: bool = True,
        transform_method: str = 'moment',
        moment_mul: float = 0.01,
        init_cfg: dict | list[dict] | None = None,
        **kwargs: Any,
    ):
        side = math.isqrt(num_points)
        if side**2 != num_points or side % 2 == 0:
            raise ConfigError('must be the square of an odd number', field='num_points', received=num_points)
        if transform_method not in _TRANSFORMS:
            raise ConfigError(f'must be one of {_TRANSFORMS}', field='transform_method', received=transform_method)
        self.num_points, self.point_feat_channels, self.dcn_kernel = num_points, point_feat_channels, side
        self.gradient_mul, self.point_base_scale, self.point_strides = gradient_mul, point_base_scale, point_strides
        self.use_grid_points, self.center_init = use_grid_points, center_init
        self.transform_method, self.moment_mul = transform_method, moment_mul
        options: dict = dict(kwargs, strides=point_strides, loss_cls=loss_cls, init_cfg=init_cfg)
        super().__init__(num_classes, in_channels, **options)
        self.prior_generator = TASK_UTILS.build(dict(type='MlvlPointGenerator', strides=point_strides, offset=0.0))
        self.loss_bbox_init, self.loss_bbox_refine = (
            MODELS.build(loss or dict(type='SmoothL1Loss', beta=1 / 9, loss_weight=weight))
            for loss, weight in ((loss_bbox_init, 0.5), (loss_bbox_refine, 1.0))
        )
        if transform_method == 'moment':
            self.moment_transfer = nn.Parameter(torch.zeros(2))
        if self.train_cfg:
            for stage in ('init', 'refine'):
                if 'assigner' not in self.train_cfg.get(stage, {}):
                    raise ConfigError('is needed', field=f'train_cfg.{stage}.assigner')
            self.init_assigner, self.refine_assigner = (
                TASK_UTILS.build(self.train_cfg[stage].assigner) for stage in ('init', 'refine')
            )
            sampler = self.train_cfg.get('sampler') or dict(type='PseudoSampler')
            self.sampler = TASK_UTILS.build(sampler, default_args=dict(context=self))

    # ------------------------------------------------------------------------------------------------ layers

    def _init_predictor(self) -> None:
        channels, width, kernel = self._tower_channels, self.point_feat_channels, self.dcn_kernel
        out = 4 if self.use_grid_points else 2 * self.num_points
        deformable: dict = dict(kernel_size=kernel, padding=kernel // 2)
        self.reppoints_cls_conv = DeformConv2d(channels, width, **deformable)
        self.reppoints_cls_out = nn.Conv2d(width, self.cls_out_channels, 1)
        self.reppoints_pts_init_conv = nn.Conv2d(channels, width, 3, padding=1)
        self.reppoints_pts_init_out = nn.Conv2d(width, out, 1)
        self.reppoints_pts_refine_conv = DeformConv2d(channels, width, **deformable)
        self.reppoints_pts_refine_out = nn.Conv2d(width, out, 1)

    def _kernel_points(self, x: Tensor) -> Tensor:
        """Where an undeformed convolution samples, (1, 2 n, 1, 1)."""
        base = torch.arange(self.dcn_kernel, dtype=x.dtype, device=x.device) - self.dcn_kernel // 2
        return torch.stack(torch.meshgrid(base, base, indexing='ij'), dim=-1).view(1, -1, 1, 1)

    # ----------------------------------------------------------------------------------------------- forward

    def forward(self, x: tuple[Tensor, ...]) -> tuple[list[Tensor], ...]:
        """L maps (B, in_channels, H_l, W_l) to the raw outputs of every level.

        Returns:
            class scores (B, K, H_l, W_l); in evaluation mode, boxes (B, 4, H_l, W_l), corners in strides from the location; in training
            mode instead of these the first points and the refined points (B, 2 n, H_l, W_l).
        """
        return self._outputs_to_decode(self._outputs_for_loss(x)) if not self.training else self._outputs_for_loss(x)

    def _outputs_for_loss(self, x: tuple[Tensor, ...]) -> RawOutputs:
        self._check_levels(x)
        return tuple(map(list, zip(*map(self.forward_single, x))))

    def _outputs_to_decode(self, outputs: RawOutputs) -> RawOutputs:
        return outputs[0], [self.points2bbox(level) for level in outputs[2]]

    def forward_single(self, x: Tensor, *args: Any) -> tuple[Tensor, ...]:
        """Class scores, first points and refined points of one level."""
        cls_feat, pts_feat = self.forward_towers(x)
        kernel = self._kernel_points(x)
        half = self.point_base_scale / 2
        first = self.reppoints_pts_init_out(self.reppoints_pts_init_conv(pts_feat).relu())
        if self.use_grid_points:
            box = x.new_tensor([-half, -half, half, half]).view(1, 4, 1, 1)
            first, box = self.gen_grid_from_reg(first, box)
        elif not self.center_init:
            first = first + kernel / kernel.max() * half
        damped = (1 - self.gradient_mul) * first.detach() + self.gradient_mul * first
        offset = damped - kernel
        cls_score = self.reppoints_cls_out(self.reppoints_cls_conv(cls_feat, offset).relu())
        refined = self.reppoints_pts_refine_out(self.reppoints_pts_refine_conv(pts_feat, offset).relu())
        refined = self.gen_grid_from_reg(refined, box.detach())[0] if self.use_grid_points else refined + first.detach()
        return cls_score, first, refined

    def gen_grid_from_reg(self, reg: Tensor, previous_boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Move boxes (B or 1, 4, H or 1, W or 1) by deltas (B, 4, H, W): the points of a grid on them (B, 2 n, H, W), and the boxes (B, 4, H, W)."""
        centers = (previous_boxes[:, :2] + previous_boxes[:, 2:]) / 2
        sides = (previous_boxes[:, 2:] - previous_boxes[:, :2]).clamp(min=_LEAST_SIDE)
        size = sides * reg[:, 2:].exp()
        low = centers + sides * reg[:, :2] - 0.5 * size
        steps = torch.linspace(0, 1, self.dcn_kernel, dtype=reg.dtype, device=reg.device).view(1, -1, 1, 1)
        x, y = (low[:, [axis]] + size[:, [axis]] * steps for axis in (0, 1))  # (B, kernel, H, W)
        kernel = self.dcn_kernel
        grid = torch.stack([y.repeat_interleave(kernel, dim=1), x.repeat(1, kernel, 1, 1)], dim=2)  # (B, n, 2, H, W)
        return grid.flatten(1, 2), torch.cat([low, low + size], dim=1)

    def points2bbox(self, pts: Tensor, y_first: bool = True) -> Tensor:
        """Boxes (m, 4, ...) xyxy of points (m, 2 n, ...), which are y, x, ... or, unless ``y_first``, x, y, ..., in the same unit."""
        if len(pts) == 0:
            return pts[:, :4]
        pairs = pts.unflatten(1, (-1, 2))
        first, second = pairs[:, :, 0], pairs[:, :, 1]
        x, y = (second, first) if y_first else (first, second)
        if self.transform_method == 'moment':
            # In the reference's way: the multiples are learned with a part of their gradient.
            factor = (
                self.moment_transfer * self.moment_mul + self.moment_transfer.detach() * (1 - self.moment_mul)
            ).exp()
            centers = x.mean(1), y.mean(1)
            half = x.std(1) * factor[0], y.std(1) * factor[1]
            corners = [center - side for center, side in zip(centers, half)]
            return torch.stack([*corners, *(center + side for center, side in zip(centers, half))], dim=1)
        if self.transform_method == 'partial_minmax':
            x, y = x[:, :4], y[:, :4]
        return torch.stack([x.amin(1), y.amin(1), x.amax(1), y.amax(1)], dim=1)

    def decode_boxes(self, bbox_pred: Tensor, priors: Tensor, stride: float, img_shape: tuple[int, int]) -> Tensor:
        """Corners in strides (m, 4) to boxes (m, 4) on the image."""
        return clip_boxes(bbox_pred * stride + torch.cat([priors, priors], dim=-1), img_shape)

    # ------------------------------------------------------------------------------------------------ losses

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        pts_preds_init: list[Tensor],
        pts_preds_refine: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: _Ignored = None,
    ) -> Losses:
        """Losses of the raw outputs of the training mode: ``loss_cls``, ``loss_pts_init``, ``loss_pts_refine``, each a list over levels.

        Divided by the sum over the images of max(positives, 1), of this process: of the refinement, and for the first points of their own.
        """
        sizes, device = [(score.size(2), score.size(3)) for score in cls_scores], cls_scores[0].device
        points, flags = self.get_points(sizes, batch_img_metas, device)
        centers = points[0]  # L tensors (P_l, 4) x, y, stride, stride: the same of every image
        # In float32 also under autocast: these are sums over tens of thousands of terms.
        with torch.autocast(device.type, enabled=False):
            first, refined = (
                [widened(flatten_map(level)) for level in levels] for levels in (pts_preds_init, pts_preds_refine)
            )  # (B, P_l, 2 n)
            of_assigner = self.train_cfg.init.assigner['type']
            initial = points if of_assigner == 'PointAssigner' else self.centers_to_bboxes(points)
            targets = functools.partial(
                self.get_targets, batch_gt_instances=batch_gt_instances, batch_img_metas=batch_img_metas,
                batch_gt_instances_ignore=batch_gt_instances_ignore,
            )  # fmt: skip
            *_, boxes_init, _, weights_init, count_init = targets(initial, flags, stage='init')
            with torch.no_grad():
                found = [
                    self.points2bbox(level.flatten(0, 1)).view(len(level), -1, 4) * place[:, 2:3]
                    + place[:, :2].repeat(1, 2)
                    for level, place in zip(first, centers)
                ]
            proposals = [[level[i] for level in found] for i in range(len(batch_img_metas))]
            labels, weights, boxes, _, box_weights, count = targets(proposals, flags, stage='refine')
            losses = []
            for level, (scores, place) in enumerate(zip(cls_scores, centers)):
                loss_cls = self.loss_cls(
                    widened(flatten_map(scores)).flatten(0, 1), labels[level].flatten(), weights[level].flatten(),
                    avg_factor=count,
                )  # fmt: skip
                of_points = functools.partial(self._box_loss, centers=place)
                loss_init = of_points(
                    self.loss_bbox_init, first[level], boxes_init[level], weights_init[level], count_init
                )
                loss_refine = of_points(self.loss_bbox_refine, refined[level], boxes[level], box_weights[level], count)
                losses.append((loss_cls, loss_init, loss_refine))
        return dict(zip(('loss_cls', 'loss_pts_init', 'loss_pts_refine'), map(list, zip(*losses))))

    def _box_loss(
        self, loss: nn.Module, pts: Tensor, boxes: Tensor, weights: Tensor, avg_factor: float, centers: Tensor
    ) -> Tensor:
        """Loss of the boxes of points (B, P_l, 2 n) against boxes (B, P_l, 4) in pixels, in the unit of the level's initial box."""
        rows = weights.flatten(0, 1).any(1).nonzero().squeeze(1)  # the others, nearly all, cost nothing
        place = centers[rows % len(centers)]
        pred = self.points2bbox(pts.flatten(0, 1)[rows]) * place[:, 2:3] + place[:, :2].repeat(1, 2)
        unit = self.point_base_scale * place[:, 2:3]
        target, weight = boxes.flatten(0, 1)[rows], weights.flatten(0, 1)[rows]
        return loss(pred / unit, target / unit, weight, avg_factor=avg_factor)

    # ----------------------------------------------------------------------------------------------- targets

    def get_points(
        self, featmap_sizes: list[tuple[int, int]], batch_img_metas: list[dict], device: torch.device | str
    ) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
        """Locations (P_l, 4) x, y, stride, stride and valid flags (P_l,) of every image, each a list over levels."""
        points = self.prior_generator.grid_priors(featmap_sizes, device=device, with_stride=True)
        flags = [
            self.prior_generator.valid_flags(featmap_sizes, meta.get('pad_shape', meta['img_shape'])[:2], device)
            for meta in batch_img_metas
        ]
        return [points] * len(batch_img_metas), flags

    def centers_to_bboxes(self, point_list: list[list[Tensor]]) -> list[list[Tensor]]:
        """The initial boxes (P_l, 4) at locations (P_l, 4), by image and level."""
        half = self.point_base_scale / 2
        return [
            [
                torch.cat([level[:, :2] - half * level[:, 2:], level[:, :2] + half * level[:, 2:]], dim=1)
                for level in image
            ]
            for image in point_list
        ]

    @torch.no_grad()
    def get_targets(  # type: ignore[override]  # as in mmdetection
        self,
        proposals_list: list[list[Tensor]],
        valid_flag_list: list[list[Tensor]],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: _Ignored = None,
        stage: str = 'init',
        unmap_outputs: bool = True,
        return_sampling_results: bool = False,
    ) -> tuple:
        """What the locations of a batch are trained towards.

        Args:
            proposals_list: by image and level, locations (P_l, 4) or boxes (P_l, 4), as the assigner of the stage takes them.
            valid_flag_list: of :meth:`get_points`.
            batch_gt_instances: ``bboxes`` (G, 4), ``labels`` (G,) of each image.
            batch_img_metas: B dicts.
            batch_gt_instances_ignore: boxes to ignore, or None, of each image.
            stage: ``'init'`` or ``'refine'``.
            unmap_outputs: whether targets have rows for the locations outside the image too.
            return_sampling_results: whether the sampled locations of the images are returned as well.

        Returns:
            by level ``labels`` (B, P_l), ``label_weights`` (B, P_l), boxes (B, P_l, 4), proposals (B, P_l, 4), their weights (B, P_l, 4);
            the sum over the images of max(positives, 1); the sampling results where asked for.

        Raises:
            ModelInputError: a label outside [0, C), or an image without a valid location.
        """
        assigner, pos_weight = getattr(self, f'{stage}_assigner'), self.train_cfg[stage].get('pos_weight', -1)
        ignored = batch_gt_instances_ignore or [None] * len(proposals_list)
        single, results = [], []
        for levels, flags, gt, meta, ignore in zip(
            proposals_list, valid_flag_list, batch_gt_instances, batch_img_metas, ignored, strict=True
        ):
            self._check_labels(gt.labels)
            proposals, valid = torch.cat(levels), torch.cat(flags).bool()
            if not valid.any():
                path, shape = meta.get('img_path'), meta['img_shape']
                raise ModelInputError(
                    'no location lies inside the image', record=path, field='img_shape', received=shape
                )
            rows = valid.nonzero().squeeze(1)
            candidates = InstanceData(priors=proposals[rows])
            sampled = self.sampler.sample(assigner.assign(candidates, gt, ignore), candidates, gt)
            pos, neg, count = sampled.pos_inds, sampled.neg_inds, len(rows)
            labels = pos.new_full((count,), self.num_classes)
            weights = proposals.new_zeros(count)
            boxes, places, box_weights = (proposals.new_zeros(count, 4) for _ in range(3))
            labels[pos], weights[neg] = sampled.pos_gt_labels, 1
            weights[pos] = pos_weight if pos_weight > 0 else 1
            boxes[pos], places[pos], box_weights[pos] = sampled.pos_gt_bboxes.to(boxes), proposals[rows[pos]], 1
            found = [labels, weights, boxes, places, box_weights]
            if unmap_outputs:
                fills = [self.num_classes, 0, 0, 0, 0]
                found = [unmapped(values, rows, len(valid), fill) for values, fill in zip(found, fills)]
            single.append(found)
            results.append(sampled)
        counts = [len(level) for level in proposals_list[0]]
        by_levels = [by_level(values, counts) for values in zip(*single)]
        avg_factor = sum(result.avg_factor for result in results)
        return (*by_levels, avg_factor, *([results] if return_sampling_results else []))
