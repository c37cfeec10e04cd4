"""Head of CenterNet (Zhou et al., "Objects as Points", arXiv 1904.07850).

Naming: B images, C classes, (H, W) size of the one map, G boxes of the batch, k peaks of an image.
"""

from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import bias_init_with_prob, normal_init
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdet.core.boxes import get_box_tensor
from mmdet.core.priors import rectangle_cells
from mmdet.core.priors.grid import quotient
from mmdet.errors import ModelInputError
from mmdet.registry import MODELS, TASK_UTILS

from ..inference import full_precision
from ..utils.gaussian_target import (
    gaussian_radius,
    get_local_maximum,
    get_topk_from_heatmap,
    transpose_and_gather_feat,
)  # fmt: skip
from .anchor_head import _Ignored
from .base_dense_head import BaseDenseHead, Losses, _pair, to_config_dict, widened
from .batch_decode import BatchCandidates, padded_topk

_STRIDE = 4  # pixels a cell, where the samples do not tell the size of the padded image
_MIN_OVERLAP = 0.3  # of a box with corners off by the radius of its bump


@MODELS.register_module()
class CenterNetHead(BaseDenseHead):
    """A heat map of object centres for each class; at each peak, the size of the box and the offset of its centre in the cell.

    Peaks are local maxima, so that detections need no NMS, and the reference does none: ``predict_by_feat`` does it only if it is asked to,
    with ``test_cfg.nms``. Several views of an image, in composite detectors and test-time augmentation, are merged by it. Boxes are not clipped to the image.

    Args:
        in_channels: channels of the map.
        feat_channels: channels between the two convolutions of each output.
        num_classes: C.
        loss_center_heatmap, loss_wh, loss_offset: configs of the losses.
        train_cfg: accepted; nothing of it is used.
        test_cfg: ``topk`` peaks, ``local_maximum_kernel``, ``max_per_img``, ``score_thr`` (none unless given), ``nms`` (IoU 0.5 unless given).
        init_cfg: initialisation of other layers than those of :meth:`init_weights`.
    """

    class_predictor = 'heatmap_head.2'

    output_names = ('heat', 'wh', 'offset')
    suppresses = False

    def __init__(
        self,
        in_channels: int,
        feat_channels: int,
        num_classes: int,
        loss_center_heatmap: dict | None = None,
        loss_wh: dict | None = None,
        loss_offset: dict | None = None,
        train_cfg: dict | Config | None = None,
        test_cfg: dict | Config | None = None,
        init_cfg: dict | list[dict] | None = None,
    ):
        super().__init__(init_cfg)
        self.num_classes = num_classes
        self.heatmap_head, self.wh_head, self.offset_head = (
            nn.Sequential(
                nn.Conv2d(in_channels, feat_channels, 3, padding=1),
                nn.ReLU(inplace=True),
                nn.Conv2d(feat_channels, channels, 1),
            )
            for channels in (num_classes, 2, 2)
        )
        self.loss_center_heatmap = MODELS.build(loss_center_heatmap or dict(type='GaussianFocalLoss', loss_weight=1.0))
        self.loss_wh = MODELS.build(loss_wh or dict(type='L1Loss', loss_weight=0.1))
        self.loss_offset = MODELS.build(loss_offset or dict(type='L1Loss', loss_weight=1.0))
        self.train_cfg, self.test_cfg = to_config_dict(train_cfg), to_config_dict(test_cfg)
        self.test_cfg.setdefault('nms', dict(type='nms', iou_threshold=0.5))
        self.prior_generator = TASK_UTILS.build(dict(type='MlvlPointGenerator', strides=[_STRIDE], offset=0.0))

    @property
    def clips_boxes(self) -> bool:
        """Boxes are left as they are."""
        return False

    def init_weights(self) -> None:
        """Small sizes and offsets, and a prior probability of 0.1 of every class."""
        super().init_weights()
        predictor: Any = self.heatmap_head[-1]
        nn.init.constant_(predictor.bias, bias_init_with_prob(0.1))
        for module in (*self.wh_head, *self.offset_head):
            if isinstance(module, nn.Conv2d):
                normal_init(module, std=0.001)

    def forward(self, x: tuple[Tensor, ...]) -> tuple[list[Tensor], ...]:
        """One map (B, in_channels, H, W) to lists of one: probabilities (B, C, H, W), sizes w, h and offsets x, y (B, 2, H, W), in cells."""
        if len(x) != 1:
            raise ModelInputError('the head has 1 level; as many maps are needed', received=len(x))
        return tuple(map(list, zip(*map(self.forward_single, x))))

    def forward_single(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The outputs of one map."""
        return self.heatmap_head(x).sigmoid(), self.wh_head(x), self.offset_head(x)

    # ------------------------------------------------------------------------------------------------ losses

    def loss_by_feat(
        self,
        center_heatmap_preds: list[Tensor],
        wh_preds: list[Tensor],
        offset_preds: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: _Ignored = None,
    ) -> Losses:
        """Losses of the raw outputs, ``loss_center_heatmap``, ``loss_wh``, ``loss_offset``; divided by the objects of this process."""
        heat, wh, offset = (widened(maps[0]) for maps in (center_heatmap_preds, wh_preds, offset_preds))
        boxes, labels = ([getattr(gt, name) for gt in batch_gt_instances] for name in ('bboxes', 'labels'))
        size = batch_img_metas[0].get('batch_input_shape', batch_img_metas[0].get('pad_shape'))
        targets, count = self.get_targets(boxes, labels, heat.shape, size or self._image_size(heat, {}))
        weight = targets['wh_offset_target_weight']
        options: dict = dict(weight=weight, avg_factor=count * 2)
        return dict(
            loss_center_heatmap=self.loss_center_heatmap(heat, targets['center_heatmap_target'], avg_factor=count),
            loss_wh=self.loss_wh(wh, targets['wh_target'], **options),
            loss_offset=self.loss_offset(offset, targets['offset_target'], **options),
        )

    @torch.no_grad()
    def get_targets(
        self, gt_bboxes: list[Tensor], gt_labels: list[Tensor], feat_shape: tuple[int, ...], img_shape: tuple[int, int]
    ) -> tuple[dict[str, Tensor], int]:
        """What the maps are trained towards.

        Args:
            gt_bboxes, gt_labels: boxes (n, 4) in pixels and classes (n,) of each image.
            feat_shape: (B, C, H, W).
            img_shape: (height, width) of the padded batch in pixels.

        Returns:
            ``center_heatmap_target`` (B, C, H, W), ``wh_target``, ``offset_target`` and ``wh_offset_target_weight`` (B, 2, H, W) in cells;
            the number of centres in the heat maps, at least 1. Of several objects in one cell the last has the size and the offset.

        Raises:
            ModelInputError: a label outside [0, C).
        """
        batch, _, height, width = feat_shape
        boxes, labels = torch.cat([get_box_tensor(each) for each in gt_bboxes]), torch.cat(list(gt_labels))
        self._check_labels(labels)
        counts = torch.tensor([len(each) for each in gt_labels], device=labels.device)
        images = torch.arange(batch, device=labels.device).repeat_interleave(counts)
        ratio = boxes.new_tensor([width / img_shape[1], height / img_shape[0]])
        centers, sizes = (boxes[:, :2] + boxes[:, 2:]) * ratio / 2, (boxes[:, 2:] - boxes[:, :2]) * ratio
        last = torch.tensor([width - 1, height - 1], device=boxes.device)
        cells = centers.long().clamp(min=0).minimum(last)  # (G, 2) x, y
        heat = self._bumps(cells, sizes, images * self.num_classes + labels, (batch * self.num_classes, height, width))
        heat = heat.view(batch, self.num_classes, height, width)

        places = images * height * width + cells[:, 1] * width + cells[:, 0]
        order = torch.arange(len(boxes), device=boxes.device)
        owner = order.new_full((batch * height * width,), -1).scatter_reduce_(0, places, order, 'amax')
        taken = (owner >= 0).nonzero().squeeze(1)
        own = owner[taken]
        values = torch.stack([sizes[own], centers[own] - cells[own], torch.ones_like(sizes[own])])  # (3, n, 2)
        maps = boxes.new_zeros(3, len(owner), 2).index_copy_(1, taken, values)
        wh, offset, weight = maps.view(3, batch, height, width, 2).permute(0, 1, 4, 2, 3)
        found = dict(
            center_heatmap_target=heat, wh_target=wh, offset_target=offset, wh_offset_target_weight=weight
        )  # fmt: skip
        return found, max(1, int(heat.eq(1).sum()))

    @staticmethod
    def _bumps(cells: Tensor, sizes: Tensor, planes: Tensor, shape: tuple[int, int, int]) -> Tensor:
        """Maps of the ``shape`` (n, H, W) with a Gaussian bump for each object, the larger value where bumps overlap.

        Args:
            cells: (G, 2) x, y of the centres.
            sizes: (G, 2) w, h of the boxes, in cells.
            planes: (G,) the map of each object.
        """
        _, height, width = shape
        radii = gaussian_radius((sizes[:, 1], sizes[:, 0]), _MIN_OVERLAP).clamp(min=0).long()
        gt, found = rectangle_cells(cells - radii[:, None], cells + radii[:, None])
        x, y = found.unbind(1)
        spread = (2 * radii + 1).to(sizes.dtype) / 6
        height_of = torch.exp(-(found - cells[gt]).square().sum(1) / (2 * spread[gt].square()))
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        index = ((planes[gt] * height + y) * width + x)[inside]
        flat = sizes.new_zeros(shape[0] * height * width)
        return flat.scatter_reduce_(0, index, height_of[inside], 'amax').view(shape)

    # ------------------------------------------------------------------------------------------------ decode

    @torch.no_grad()
    @full_precision
    def predict_by_feat(  # type: ignore[override]
        self,
        center_heatmap_preds: list[Tensor],
        wh_preds: list[Tensor],
        offset_preds: list[Tensor],
        batch_img_metas: list[dict] | None = None,
        cfg: dict | Config | None = None,
        rescale: bool = True,
        with_nms: bool = False,
    ) -> list[InstanceData]:
        """Detections of the raw outputs, best first.

        Args:
            center_heatmap_preds, wh_preds, offset_preds: of :meth:`forward`.
            batch_img_metas: B dicts; ``border`` is what a transform put around the image (top, bottom, left, right edge in it), and
                ``batch_input_shape`` the padded size in pixels.
            cfg: settings that replace ``test_cfg``.
            rescale: divide the boxes by ``scale_factor``, if the metainfo has one.
            with_nms: run the NMS.
        """
        settings = self._settings(cfg)
        assert batch_img_metas is not None, 'the metainfo of each image is needed'
        heat, wh, offset = (widened(maps[0].detach()) for maps in (center_heatmap_preds, wh_preds, offset_preds))
        peaks = get_local_maximum(heat, settings.get('local_maximum_kernel', 3))
        count = min(settings.get('topk', 100), peaks[0].numel())
        scores, places, labels, rows, columns = get_topk_from_heatmap(peaks, count)  # (B, k) each
        sizes, shifts = (transpose_and_gather_feat(maps, places) for maps in (wh, offset))  # (B, k, 2)
        centers = torch.stack([columns, rows], dim=-1) + shifts
        corners = torch.cat([centers - sizes / 2, centers + sizes / 2], dim=-1)  # (B, k, 4) in cells
        limit, results = settings.get('max_per_img', -1), []
        for i, meta in enumerate(batch_img_metas):
            image_h, image_w = self._image_size(heat, meta)
            cell = corners.new_tensor([image_w / heat.size(3), image_h / heat.size(2)]).repeat(2)
            found = InstanceData(bboxes=corners[i] * cell, scores=scores[i], labels=labels[i])
            if 'border' in meta:
                top, _, left, _ = meta['border']
                found.bboxes = found.bboxes - corners.new_tensor([left, top, left, top])
            if rescale and 'scale_factor' in meta:
                found.bboxes = found.bboxes / corners.new_tensor(_pair(meta['scale_factor'])).repeat(2)
            found = found[found.scores > settings.get('score_thr', 0)]
            if with_nms:
                found = self._bbox_post_process(found, settings)
            results.append(found[:limit] if limit >= 0 else found)
        return results

    def batch_candidates(
        self,
        outputs: tuple[Any, ...],
        sizes_hw: Tensor,
        input_hw: tuple[int, int],
        cfg: dict | None = None,
        with_nms: bool = True,
    ) -> BatchCandidates:
        """See the base class; boxes are not clipped, and what a transform put around the image is not taken off."""
        settings = self._settings(cfg)
        heat, wh, offset = (widened(maps[0]) for maps in outputs)
        height, width = heat.shape[2], heat.shape[3]
        peaks = get_local_maximum(heat, settings.get('local_maximum_kernel', 3))
        scores, index, valid = padded_topk(peaks.flatten(1), settings.get('topk', 100))
        labels, places = quotient(index, height * width)
        rows, columns = quotient(places, width)
        sizes, shifts = (transpose_and_gather_feat(maps, places) for maps in (wh, offset))  # (B, k, 2)
        centers = torch.stack([columns, rows], dim=-1).to(heat.dtype) + shifts
        corners = torch.cat([centers - sizes / 2, centers + sizes / 2], dim=-1)  # (B, k, 4) in cells
        sides = zip((input_hw[1], input_hw[0]) * 2, (width, height) * 2)
        cell = torch.stack(
            [torch.as_tensor(side / cells, dtype=heat.dtype, device=heat.device) for side, cells in sides]
        )
        counts = valid & (scores > settings.get('score_thr', 0))
        return BatchCandidates(corners * cell, scores.masked_fill(~counts, 0), labels, self.num_classes)

    @staticmethod
    def _image_size(heat: Tensor, meta: dict[str, Any]) -> tuple[int, int]:
        """(height, width) of the padded image."""
        return meta.get('batch_input_shape') or (heat.size(2) * _STRIDE, heat.size(3) * _STRIDE)
