"""A second stage of one box head (Faster R-CNN, NeurIPS 2015; Double-Head R-CNN, CVPR 2020).

Naming: B images, K regions of the batch, C classes.
"""

from typing import Any

from mmengine.config import Config
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet.core.boxes import bbox2roi
from mmdet.core.samplers import SamplingResult
from mmdet.models.dense_heads.base_dense_head import Losses, to_config_dict
from mmdet.registry import MODELS
from mmdet.structures import OptSampleList, SampleList

from .base_roi_head import BaseRoIHead, assigner_and_sampler, batch_rois, by_image, pooled_zeros, regions_of, split
from .bbox_heads import BBoxHead


@MODELS.register_module()
class StandardRoIHead(BaseRoIHead):
    """One extractor and one box head; arguments as of :class:`BaseRoIHead`."""

    def init_bbox_head(self, bbox_roi_extractor: Any, bbox_head: Any) -> None:
        """See :class:`BaseRoIHead`."""
        self.bbox_roi_extractor = MODELS.build(bbox_roi_extractor)
        self.bbox_head = MODELS.build(bbox_head)

    def init_assigner_sampler(self) -> None:
        """See :class:`BaseRoIHead`."""
        self.bbox_assigner = self.bbox_sampler = None
        if self.train_cfg:
            self.train_cfg = to_config_dict(self.train_cfg)
            self.bbox_assigner, self.bbox_sampler = assigner_and_sampler(self.train_cfg, self)

    @property
    def last_bbox_head(self) -> BBoxHead:
        """The box head."""
        return self.bbox_head

    def _bbox_forward(self, x: tuple[Tensor, ...], rois: Tensor) -> dict:
        """``cls_score`` (K, C + 1), ``bbox_pred`` (K, 4 C) and the features ``bbox_feats`` of regions (K, 5)."""
        feats = self.bbox_roi_extractor(x[: self.bbox_roi_extractor.num_inputs], rois)
        cls_score, bbox_pred = self.bbox_head(feats)
        return dict(cls_score=cls_score, bbox_pred=bbox_pred, bbox_feats=feats)

    def forward(
        self, x: tuple[Tensor, ...], rpn_results_list: list[InstanceData], batch_data_samples: OptSampleList = None
    ) -> tuple:
        """Class scores and deltas of all proposals."""
        outputs = self._bbox_forward(x, regions_of(rpn_results_list)[0])
        return outputs['cls_score'], outputs['bbox_pred']

    def batch_outputs(
        self, x: tuple[Tensor, ...], regions: Tensor, limits: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See :class:`BaseRoIHead`."""
        outputs = self._bbox_forward(x, batch_rois(regions))
        return regions, by_image(outputs['cls_score'], regions), by_image(outputs['bbox_pred'], regions)

    def forward_shapes(self, x: tuple[Tensor, ...], count: int) -> None:
        """See :class:`BaseRoIHead`."""
        self.bbox_head(pooled_zeros(x, count, self.bbox_head))

    def loss(
        self, x: tuple[Tensor, ...], rpn_results_list: list[InstanceData], batch_data_samples: SampleList
    ) -> Losses:
        """``loss_cls``, ``acc`` and ``loss_bbox``; see :class:`BaseRoIHead`."""
        sampled = self._sample(self.bbox_assigner, self.bbox_sampler, x, rpn_results_list, batch_data_samples)
        return self.bbox_loss(x, sampled)['loss_bbox']

    def bbox_loss(self, x: tuple[Tensor, ...], sampling_results: list[SamplingResult]) -> dict:
        """What :meth:`_bbox_forward` gives for the sampled regions, and their losses, ``loss_bbox``."""
        rois = bbox2roi([result.priors for result in sampling_results])
        outputs = self._bbox_forward(x, rois)
        targets = dict(rois=rois, sampling_results=sampling_results, rcnn_train_cfg=self.train_cfg)
        losses = self.bbox_head.loss_and_target(outputs['cls_score'], outputs['bbox_pred'], **targets)
        return {**outputs, 'loss_bbox': losses['loss_bbox']}

    def predict_bbox(
        self,
        x: tuple[Tensor, ...],
        batch_img_metas: list[dict],
        rpn_results_list: list[InstanceData],
        rcnn_test_cfg: dict | Config,
        rescale: bool = False,
    ) -> list[InstanceData]:
        """See :class:`BaseRoIHead`."""
        rois, counts = regions_of(rpn_results_list)
        outputs = split(self._bbox_forward(x, rois), counts)
        options: dict = dict(batch_img_metas=batch_img_metas, rcnn_test_cfg=rcnn_test_cfg, rescale=rescale)
        return self.bbox_head.predict_by_feat(rois.split(counts), *outputs, **options)


@MODELS.register_module()
class DoubleHeadRoIHead(StandardRoIHead):
    """Takes the features for the boxes from regions that are ``reg_roi_scale_factor`` times as long and wide.

    The box head is a ``DoubleConvFCBBoxHead``; other arguments as of :class:`BaseRoIHead`.
    """

    def __init__(self, reg_roi_scale_factor: float, **kwargs: Any):
        super().__init__(**kwargs)
        self.reg_roi_scale_factor = reg_roi_scale_factor

    def _bbox_forward(self, x: tuple[Tensor, ...], rois: Tensor) -> dict:
        maps = x[: self.bbox_roi_extractor.num_inputs]
        feats = self.bbox_roi_extractor(maps, rois)
        wide = self.bbox_roi_extractor(maps, rois, roi_scale_factor=self.reg_roi_scale_factor)
        cls_score, bbox_pred = self.bbox_head(feats, wide)
        return dict(cls_score=cls_score, bbox_pred=bbox_pred, bbox_feats=feats)
