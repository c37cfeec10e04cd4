"""The box head of a second stage: classes and boxes of regions, their targets, losses and decode.

Naming: B images, K regions of the batch (number of the image, then xyxy), k of one image, C classes, G ground-truth boxes.
"""

import math
from collections.abc import Sequence

import torch
from mmengine.config import Config, ConfigDict
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from mmdet.core.boxes import clip_boxes, get_box_wh, scale_boxes
from mmdet.core.post_processing import ScoredBoxes
from mmdet.core.samplers import SamplingResult
from mmdet.errors import ConfigError
from mmdet.models.dense_heads.base_dense_head import Losses, to_config_dict, widened
from mmdet.models.dense_heads.base_dense_head import _pair as pair_wh
from mmdet.models.dense_heads.class_rows import copy_class_rows, store_class_rows
from mmdet.models.inference import full_precision
from mmdet.models.losses.accuracy import accuracy
from mmdet.registry import MODELS, TASK_UTILS


@MODELS.register_module()
class BBoxHead(BaseModule):
    """One linear layer for the classes and one for the boxes, on pooled or flattened features; base of the heads with more layers.

    The methods have the names, arguments and results of mmdetection 3.x, so that a subclass may replace any of them.

    Args:
        with_avg_pool: average the features of a region instead of flattening them.
        with_cls, with_reg: whether there are classes, and boxes.
        roi_feat_size: cells of a region, (h, w) or one number for both.
        in_channels: channels of the features.
        num_classes: C, without the background, which is the last score.
        bbox_coder: config of the coder between regions, deltas and boxes.
        predict_box_type: must be ``'hbox'``.
        reg_class_agnostic: one box for all classes of a region.
        reg_decoded_bbox: the box loss compares boxes instead of deltas, as losses on overlaps need.
        reg_predictor_cfg, cls_predictor_cfg: type of the linear layers.
        loss_cls, loss_bbox: configs of the losses.
        init_cfg: by default N(0, 0.01) for the classes and N(0, 0.001) for the boxes.

    Raises:
        ConfigError: neither classes nor boxes, a class loss on sigmoids, another type of boxes.
    """

    # Losses with a number of class channels, an activation or an accuracy of their own are not offered; subclasses ask.
    custom_cls_channels = custom_activation = custom_accuracy = False

    def __init__(
        self,
        with_avg_pool: bool = False,
        with_cls: bool = True,
        with_reg: bool = True,
        roi_feat_size: int | tuple[int, int] = 7,
        in_channels: int = 256,
        num_classes: int = 80,
        bbox_coder: dict | None = None,
        predict_box_type: str = 'hbox',
        reg_class_agnostic: bool = False,
        reg_decoded_bbox: bool = False,
        reg_predictor_cfg: dict | None = None,
        cls_predictor_cfg: dict | None = None,
        loss_cls: dict | None = None,
        loss_bbox: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ):
        super().__init__(init_cfg)
        if not (with_cls or with_reg):
            raise ConfigError('classes or boxes must be predicted', field='with_cls', received=(with_cls, with_reg))
        if predict_box_type != 'hbox':
            raise ConfigError("must be 'hbox'", field='predict_box_type', received=predict_box_type)
        if (loss_cls or {}).get('use_sigmoid', False):
            raise ConfigError('the scores are a softmax; must be False', field='loss_cls.use_sigmoid', received=True)
        self.with_avg_pool, self.with_cls, self.with_reg = with_avg_pool, with_cls, with_reg
        self.roi_feat_size = _pair(roi_feat_size)
        self.roi_feat_area = math.prod(self.roi_feat_size)
        self.in_channels, self.num_classes = in_channels, num_classes
        self.reg_class_agnostic, self.reg_decoded_bbox = reg_class_agnostic, reg_decoded_bbox
        self.bbox_coder = TASK_UTILS.build(
            bbox_coder or dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2])
        )
        self.loss_cls = MODELS.build(loss_cls or dict(type='CrossEntropyLoss'))
        self.loss_bbox = MODELS.build(loss_bbox or dict(type='SmoothL1Loss'))
        self._predictors = dict(fc_cls=cls_predictor_cfg, fc_reg=reg_predictor_cfg)
        if with_avg_pool:
            self.avg_pool = nn.AvgPool2d(self.roi_feat_size)
            width = in_channels
        else:
            width = in_channels * self.roi_feat_area
        self._init_predictors(width, width)
        if init_cfg is None:
            stds = dict(fc_cls=0.01, fc_reg=0.001)
            self.init_cfg = [
                dict(type='Normal', std=std, override=dict(name=name))
                for name, std in stds.items()
                if hasattr(self, name)
            ]

    def _init_predictors(self, cls_width: int, reg_width: int) -> None:
        """The linear layers on so many inputs."""
        outputs = dict(
            fc_cls=(self.with_cls, cls_width, self.num_classes + 1),
            fc_reg=(self.with_reg, reg_width, self._box_outputs),
        )
        for name, (wanted, inputs, count) in outputs.items():
            if wanted:
                options: dict = dict(self._predictors[name] or {}, in_features=inputs, out_features=count)
                plain = options.get('type', 'Linear') == 'Linear'
                options = {key: value for key, value in options.items() if key != 'type'} if plain else options
                setattr(self, name, nn.Linear(**options) if plain else MODELS.build(options))

    @property
    def _box_outputs(self) -> int:
        return getattr(self.bbox_coder, 'encode_size', 4) * (1 if self.reg_class_agnostic else self.num_classes)

    def take_class_rows(
        self, state_dict: dict, prefix: str, sources: Sequence[int], num_stored: int
    ) -> tuple[list[str], list[str]]:
        """See :meth:`mmdet.models.dense_heads.BaseDenseHead.take_class_rows`; a class has four rows of the boxes, too."""
        found: dict[str, Tensor | None] = {}
        for name, own in self.state_dict().items():
            stored, layer = state_dict.get(key := f'{prefix}{name}'), name.split('.')[0]
            if stored is None or layer not in ('fc_cls', 'fc_reg') or (layer == 'fc_reg' and self.reg_class_agnostic):
                continue
            if layer == 'fc_reg':
                by_class, others = (
                    value.unflatten(0, (-1, 4)) if len(value) % 4 == 0 else value for value in (own, stored)
                )
                rows = copy_class_rows(by_class, others, sources, num_stored)
                found[key] = None if rows is None else rows.reshape(own.shape)
            else:
                found[key] = copy_class_rows(own, stored, sources, num_stored)
        return store_class_rows(state_dict, found.items())

    def forward(self, x: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Features (K, in_channels, h, w) to class scores (K, C + 1) and deltas (K, 4 C), or (K, 4) where the classes share them."""
        x = (self.avg_pool(x) if self.with_avg_pool else x).flatten(1)
        return self.fc_cls(x) if self.with_cls else None, self.fc_reg(x) if self.with_reg else None

    # ------------------------------------------------------------------------------------------------ losses

    def get_targets(
        self, sampling_results: list[SamplingResult], rcnn_train_cfg: dict | Config, concat: bool = True
    ) -> tuple:
        """What the sampled regions are trained towards, the positives of an image before its negatives.

        Returns:
            ``labels`` (K,), ``label_weights`` (K,), ``bbox_targets`` (K, 4), ``bbox_weights`` (K, 4); lists over the images unless ``concat``.
        """
        cfg = to_config_dict(rcnn_train_cfg)
        targets = [
            self._get_targets_single(
                result.pos_priors, result.neg_priors, result.pos_gt_bboxes, result.pos_gt_labels, cfg
            )
            for result in sampling_results
        ]
        fields = tuple(map(list, zip(*targets)))
        return tuple(map(torch.cat, fields)) if concat else fields

    def _get_targets_single(
        self, pos_priors: Tensor, neg_priors: Tensor, pos_gt_bboxes: Tensor, pos_gt_labels: Tensor, cfg: ConfigDict
    ) -> tuple[Tensor, ...]:
        """:meth:`get_targets` of one image: regions (n, 4) with a box, and their boxes and classes; regions without one."""
        pos, count = len(pos_priors), len(pos_priors) + len(neg_priors)
        labels = pos_gt_labels.new_full((count,), self.num_classes)
        label_weights = pos_priors.new_ones(count)
        targets, weights = pos_priors.new_zeros(count, 4), pos_priors.new_zeros(count, 4)
        if pos:
            pos_weight = cfg.get('pos_weight', -1)
            labels[:pos], label_weights[:pos] = pos_gt_labels, pos_weight if pos_weight > 0 else 1
            targets[:pos] = (
                pos_gt_bboxes if self.reg_decoded_bbox else self.bbox_coder.encode(pos_priors, pos_gt_bboxes)
            )
            weights[:pos] = 1
        return labels, label_weights, targets, weights

    def loss_and_target(
        self,
        cls_score: Tensor | None,
        bbox_pred: Tensor | None,
        rois: Tensor,
        sampling_results: list[SamplingResult],
        rcnn_train_cfg: dict | Config,
        concat: bool = True,
        reduction_override: str | None = None,
    ) -> dict:
        """``loss_bbox``, the losses by name, and ``bbox_targets``, what :meth:`get_targets` gave."""
        targets = self.get_targets(sampling_results, rcnn_train_cfg, concat=concat)
        labels, label_weights, bbox_targets, bbox_weights = targets
        losses = self.loss(
            cls_score, bbox_pred, rois, labels, label_weights, bbox_targets, bbox_weights, reduction_override
        )
        return dict(loss_bbox=losses, bbox_targets=targets)

    def loss(
        self,
        cls_score: Tensor | None,
        bbox_pred: Tensor | None,
        rois: Tensor,
        labels: Tensor,
        label_weights: Tensor,
        bbox_targets: Tensor | None,
        bbox_weights: Tensor | None,
        reduction_override: str | None = None,
    ) -> Losses:
        """``loss_cls``, ``acc`` in percent, and ``loss_bbox``, of the regions of this process; both are divided by their number.

        Every output takes part, also where there is no region or no positive, so that all processes have the same losses and gradients.
        """
        losses: Losses = {}
        with torch.autocast(labels.device.type, enabled=False):
            if cls_score is not None:
                cls_score = widened(cls_score)
                factor = max(float((label_weights > 0).sum()), 1.0)
                losses['loss_cls'] = (
                    self.loss_cls(
                        cls_score, labels, label_weights, avg_factor=factor, reduction_override=reduction_override
                    )
                    if len(labels)
                    else cls_score.sum()
                )
                losses['acc'] = accuracy(cls_score, labels)
            if bbox_pred is not None and bbox_targets is not None and bbox_weights is not None:
                pos = ((labels >= 0) & (labels < self.num_classes)).nonzero().squeeze(1)
                deltas = self._of_class(widened(bbox_pred)[pos], labels[pos])
                if self.reg_decoded_bbox:
                    deltas = self.bbox_coder.decode(rois[pos, 1:], deltas)
                losses['loss_bbox'] = (
                    self.loss_bbox(
                        deltas,
                        bbox_targets[pos],
                        bbox_weights[pos],
                        avg_factor=len(labels),
                        reduction_override=reduction_override,
                    )
                    if len(pos)
                    else deltas.sum()
                )
        return losses

    def _of_class(self, deltas: Tensor, labels: Tensor) -> Tensor:
        """The deltas (k, 4) of one class of each region out of (k, 4 C), or out of (k, 4) those of all classes."""
        if self.reg_class_agnostic:
            return deltas
        by_class = deltas.view(len(deltas), self.num_classes, deltas.size(1) // self.num_classes)
        return by_class[torch.arange(len(labels), device=labels.device), labels]

    # ------------------------------------------------------------------------------------------------ decode

    @torch.no_grad()
    @full_precision
    def predict_by_feat(
        self,
        rois: Sequence[Tensor],
        cls_scores: Sequence[Tensor],
        bbox_preds: Sequence[Tensor | None],
        batch_img_metas: list[dict],
        rcnn_test_cfg: dict | Config,
        rescale: bool = False,
    ) -> list[InstanceData]:
        """Detections of the regions of each image.

        Args:
            rois: B times (k, 5).
            cls_scores: B times (k, C + 1) logits.
            bbox_preds: B times (k, 4 C) or (k, 4); None keeps the regions.
            batch_img_metas: B dicts with ``img_shape`` and, when ``rescale``, ``scale_factor``.
            rcnn_test_cfg: ``score_thr``, ``nms`` (None: all pairs of a region and a class above the threshold are returned),
                ``max_per_img``, optionally ``min_bbox_size``.
            rescale: divide the boxes by ``scale_factor``, before the NMS.

        Returns:
            per image, ``bboxes`` (n, 4) xyxy inside the image, ``scores`` (n,) and ``labels`` (n,).
        """
        options: dict = dict(rescale=rescale, rcnn_test_cfg=to_config_dict(rcnn_test_cfg))
        images = zip(rois, cls_scores, bbox_preds, batch_img_metas, strict=True)
        return [self._predict_by_feat_single(*image, **options) for image in images]

    def _predict_by_feat_single(
        self,
        roi: Tensor,
        cls_score: Tensor,
        bbox_pred: Tensor | None,
        img_meta: dict,
        rescale: bool,
        rcnn_test_cfg: ConfigDict,
    ) -> InstanceData:
        cfg = rcnn_test_cfg
        scores = widened(cls_score).softmax(-1)[:, :-1]
        rows, labels = (scores > cfg.get('score_thr', 0)).nonzero(as_tuple=True)
        deltas = None if bbox_pred is None else self._of_class(widened(bbox_pred)[rows], labels)
        bboxes = self._decode(roi[rows, 1:], deltas, img_meta)
        if rescale:
            bboxes = scale_boxes(bboxes, [1 / factor for factor in pair_wh(img_meta['scale_factor'])])
        found = ScoredBoxes(bboxes, scores[rows, labels], labels)
        if cfg.get('min_bbox_size', -1) >= 0:
            widths, heights = get_box_wh(bboxes)
            found = found[(widths > cfg.min_bbox_size) & (heights > cfg.min_bbox_size)]
        return found.suppress(cfg.nms, cfg.get('max_per_img', -1)).to_instances()

    def _decode(self, regions: Tensor, deltas: Tensor | None, img_meta: dict) -> Tensor:
        """Regions and deltas (k, 4) to boxes (k, 4) inside the image."""
        if deltas is None:
            return clip_boxes(regions, img_meta['img_shape'])
        return self.bbox_coder.decode(regions, deltas, max_shape=img_meta['img_shape'])

    def regress_by_class(self, priors: Tensor, label: Tensor, bbox_pred: Tensor, img_meta: dict) -> Tensor:
        """Boxes (k, 4) of the classes ``label`` (k,) out of regions (k, 4) or (k, 5) and deltas (k, 4 C) or (k, 4)."""
        return self._decode(priors[:, -4:], self._of_class(widened(bbox_pred), label), img_meta)

    def batch_regress(
        self, regions: Tensor, cls_score: Tensor, bbox_pred: Tensor, limits: tuple[Tensor, Tensor]
    ) -> Tensor:
        """The regions (B, P, 4) of a batch moved by their best classes; heights and widths of the images in two tensors (B,)."""
        deltas = widened(bbox_pred)
        if not self.reg_class_agnostic:
            labels = cls_score[..., :-1].argmax(-1)
            by_class = deltas.reshape(regions.shape[0], regions.shape[1], self.num_classes, 4)
            deltas = by_class.gather(2, labels[..., None, None].expand(-1, -1, 1, 4)).squeeze(2)
        return self.bbox_coder.decode(regions, deltas, max_shape=limits)

    @torch.no_grad()
    def refine_bboxes(
        self, sampling_results: list[SamplingResult], bbox_results: dict, batch_img_metas: list[dict]
    ) -> list[InstanceData]:
        """The regions of a batch moved by this head, for the next stage; ground truth that was added to them is left out.

        Args:
            sampling_results: the sampled regions of each image.
            bbox_results: ``rois`` (K, 5), ``cls_score``, ``bbox_pred``, and ``bbox_targets`` as :meth:`get_targets` gives them.
            batch_img_metas: B dicts with ``img_shape``.

        Returns:
            per image ``bboxes`` (k, 4).
        """
        rois, labels = bbox_results['rois'], bbox_results['bbox_targets'][0]
        # Of background regions the class that scores most decides.
        guess = bbox_results['cls_score'][:, : self.num_classes].argmax(1)
        labels = torch.where(labels == self.num_classes, guess, labels)
        counts = [len(result.priors) for result in sampling_results]
        parts = (values.split(counts) for values in (rois, labels, bbox_results['bbox_pred']))
        refined = []
        for result, region, label, deltas, meta in zip(sampling_results, *parts, batch_img_metas):
            bboxes = self.regress_by_class(region, label, deltas, meta)
            kept = torch.ones_like(label, dtype=torch.bool)
            kept[: len(result.pos_is_gt)] = result.pos_is_gt == 0
            refined.append(InstanceData(bboxes=bboxes[kept]))
        return refined
