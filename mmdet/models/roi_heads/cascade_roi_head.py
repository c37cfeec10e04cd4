"""A second stage of several box heads, each of which moves the regions for the next (Cascade R-CNN, CVPR 2018, arXiv 1712.00726).

Naming: B images, K regions of the batch, C classes, S heads.
"""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import ModuleList
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet.core.boxes import bbox2roi
from mmdet.core.samplers import SamplingResult
from mmdet.errors import ConfigError
from mmdet.models.dense_heads.base_dense_head import Losses, to_config_dict
from mmdet.registry import MODELS
from mmdet.structures import OptSampleList, SampleList

from .base_roi_head import BaseRoIHead, assigner_and_sampler, batch_rois, by_image, pooled_zeros, regions_of, split
from .bbox_heads import BBoxHead


@MODELS.register_module()
class CascadeRoIHead(BaseRoIHead):
    """S heads, trained towards rising overlaps; scores are averaged over the heads, boxes are those of the last.

    Args:
        num_stages: S.
        stage_loss_weights: S weights of the losses.
        bbox_roi_extractor: one config for all heads, or S.
        bbox_head: the same, for the box heads.
        train_cfg: S configs of assigner and sampler.
        **kwargs: further arguments of :class:`BaseRoIHead`.

    Raises:
        ConfigError: not S weights, heads, extractors or training settings.
    """

    def __init__(
        self,
        num_stages: int,
        stage_loss_weights: Sequence[float],
        bbox_roi_extractor: dict | list[dict] | None = None,
        bbox_head: dict | list[dict] | None = None,
        train_cfg: list | None = None,
        **kwargs: Any,
    ):
        self.num_stages, self.stage_loss_weights = num_stages, list(stage_loss_weights)
        lists: dict[str, Any] = dict(
            stage_loss_weights=stage_loss_weights,
            bbox_roi_extractor=bbox_roi_extractor,
            bbox_head=bbox_head,
            train_cfg=train_cfg,
        )
        for name, given in lists.items():
            listed = isinstance(given, (list, tuple))
            if (listed and len(given) != num_stages) or (name == 'train_cfg' and given and not listed):
                message = f'must be a list of {num_stages}, one for each stage'
                raise ConfigError(message, field=f'roi_head.{name}', received=given)
        super().__init__(bbox_roi_extractor, bbox_head, train_cfg=train_cfg, **kwargs)

    def init_bbox_head(self, bbox_roi_extractor: Any, bbox_head: Any) -> None:
        """See :class:`BaseRoIHead`."""

        def built(cfg: Any) -> ModuleList:
            return ModuleList(
                MODELS.build(each) for each in (cfg if isinstance(cfg, (list, tuple)) else [cfg] * self.num_stages)
            )

        self.bbox_roi_extractor, self.bbox_head = built(bbox_roi_extractor), built(bbox_head)

    def init_assigner_sampler(self) -> None:
        """See :class:`BaseRoIHead`."""
        self.bbox_assigner: list[Any] = []
        self.bbox_sampler: list[Any] = []
        if self.train_cfg:
            self.train_cfg = [to_config_dict(cfg) for cfg in self.train_cfg]
            for stage, cfg in enumerate(self.train_cfg):
                self.current_stage = stage  # which a sampler that needs the head's losses asks for
                assigner, sampler = assigner_and_sampler(cfg, self)
                self.bbox_assigner.append(assigner)
                self.bbox_sampler.append(sampler)

    @property
    def last_bbox_head(self) -> BBoxHead:
        """The last box head."""
        return self.bbox_head[-1]

    def _bbox_forward(self, stage: int, x: tuple[Tensor, ...], rois: Tensor) -> dict:
        """``cls_score`` (K, C + 1), ``bbox_pred`` and the features ``bbox_feats`` of regions (K, 5) by one head."""
        extractor = self.bbox_roi_extractor[stage]
        feats = extractor(x[: extractor.num_inputs], rois)
        cls_score, bbox_pred = self.bbox_head[stage](feats)
        return dict(cls_score=cls_score, bbox_pred=bbox_pred, bbox_feats=feats)

    def _refined(
        self, x: tuple[Tensor, ...], proposals: list[InstanceData], batch_img_metas: list[dict]
    ) -> list[tuple[list[Tensor], list[Tensor], list[Any]]]:
        """Regions, class scores and deltas by image, for each head; a head's regions are the boxes of the one before."""
        rois, counts = regions_of(proposals)
        found = []
        for stage in range(self.num_stages):
            scores, deltas = split(self._bbox_forward(stage, x, rois), counts)
            regions = list(rois.split(counts))
            found.append((regions, scores, deltas))
            if stage < self.num_stages - 1:
                head = self.bbox_head[stage]
                with torch.no_grad():
                    moved = [
                        head.regress_by_class(region, score[:, :-1].argmax(1), delta, meta)
                        for region, score, delta, meta in zip(regions, scores, deltas, batch_img_metas)
                    ]
                rois = bbox2roi(moved)
        return found

    def forward(
        self, x: tuple[Tensor, ...], rpn_results_list: list[InstanceData], batch_data_samples: OptSampleList = None
    ) -> tuple:
        """Class scores and deltas of all proposals, S pairs; ``batch_data_samples`` tell where the images end."""
        metas = [sample.metainfo for sample in batch_data_samples or []]
        stages = self._refined(x, rpn_results_list, metas)
        return tuple((torch.cat(scores), torch.cat(deltas)) for _, scores, deltas in stages)

    def batch_outputs(
        self, x: tuple[Tensor, ...], regions: Tensor, limits: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See :class:`BaseRoIHead`; the logits are the mean of all heads."""
        logits: list[Tensor] = []
        for stage in range(self.num_stages):
            outputs = self._bbox_forward(stage, x, batch_rois(regions))
            score, deltas = (by_image(outputs[name], regions) for name in ('cls_score', 'bbox_pred'))
            logits.append(score)
            if stage < self.num_stages - 1:
                regions = self.bbox_head[stage].batch_regress(regions, score, deltas, limits)
        return regions, torch.stack(logits).mean(0), deltas

    def forward_shapes(self, x: tuple[Tensor, ...], count: int) -> None:
        """See :class:`BaseRoIHead`."""
        for head in self.bbox_head:
            head(pooled_zeros(x, count, head))

    def loss(
        self, x: tuple[Tensor, ...], rpn_results_list: list[InstanceData], batch_data_samples: SampleList
    ) -> Losses:
        """The losses of each head, as ``s0.loss_cls`` and so on; see :class:`BaseRoIHead`."""
        losses: Losses = {}
        proposals = rpn_results_list
        metas = [sample.metainfo for sample in batch_data_samples]
        for stage in range(self.num_stages):
            self.current_stage = stage
            parts = (self.bbox_assigner[stage], self.bbox_sampler[stage])
            sampled = self._sample(*parts, x, proposals, batch_data_samples)
            outputs = self.bbox_loss(stage, x, sampled)
            for name, value in outputs['loss_bbox'].items():
                losses[f's{stage}.{name}'] = value * self.stage_loss_weights[stage] if 'loss' in name else value
            if stage < self.num_stages - 1:
                proposals = self.bbox_head[stage].refine_bboxes(sampled, outputs, metas)
        return losses

    def bbox_loss(self, stage: int, x: tuple[Tensor, ...], sampling_results: list[SamplingResult]) -> dict:
        """What :meth:`_bbox_forward` gives for the sampled regions ``rois``, their losses ``loss_bbox``, and ``bbox_targets``."""
        rois = bbox2roi([result.priors for result in sampling_results])
        outputs = self._bbox_forward(stage, x, rois)
        targets = dict(rois=rois, sampling_results=sampling_results, rcnn_train_cfg=self.train_cfg[stage])
        return {
            **outputs,
            'rois': rois,
            **self.bbox_head[stage].loss_and_target(outputs['cls_score'], outputs['bbox_pred'], **targets),
        }

    def predict_bbox(
        self,
        x: tuple[Tensor, ...],
        batch_img_metas: list[dict],
        rpn_results_list: list[InstanceData],
        rcnn_test_cfg: dict | Config,
        rescale: bool = False,
    ) -> list[InstanceData]:
        """See :class:`BaseRoIHead`."""
        stages = self._refined(x, rpn_results_list, batch_img_metas)
        regions, _, deltas = stages[-1]
        scores = [torch.stack(image).mean(0) for image in zip(*(scores for _, scores, _ in stages))]
        options: dict = dict(batch_img_metas=batch_img_metas, rcnn_test_cfg=rcnn_test_cfg, rescale=rescale)
        return self.last_bbox_head.predict_by_feat(regions, scores, deltas, **options)
