"""What the second stages share: from proposals to sampled regions, and from regions to detections.

Naming: B images, K regions of the batch, k of one image, C classes. A region is a proposal with the number of its image in front, (5,).
"""

from abc import ABCMeta, abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import Config, ConfigDict
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet.core.boxes import bbox2roi
from mmdet.core.samplers import SamplingResult
from mmdet.errors import ConfigError
from mmdet.models.dense_heads.base_dense_head import Losses, to_config_dict
from mmdet.models.dense_heads.batch_decode import BatchCandidates, without_empty
from mmdet.models.dense_heads.level_outputs import widened
from mmdet.models.utils.misc import unpack_gt_instances
from mmdet.registry import TASK_UTILS
from mmdet.structures import OptSampleList, SampleList

from .bbox_heads import BBoxHead


class BaseRoIHead(BaseModule, metaclass=ABCMeta):
    """The second stage of a detector.

    Args:
        bbox_roi_extractor: config of what takes the features of regions from the pyramid.
        bbox_head: config of the box head.
        mask_roi_extractor, mask_head, shared_head: must be None; masks and the shared stage of a backbone are not offered.
        train_cfg: ``assigner``, ``sampler``, ``pos_weight``.
        test_cfg: ``score_thr``, ``nms``, ``max_per_img``, optionally ``min_bbox_size``.
        init_cfg: config of the initialisation.

    Raises:
        ConfigError: no box head, or one of the heads that are not offered.
    """

    def __init__(
        self,
        bbox_roi_extractor: dict | list[dict] | None = None,
        bbox_head: dict | list[dict] | None = None,
        mask_roi_extractor: dict | None = None,
        mask_head: dict | None = None,
        shared_head: dict | None = None,
        train_cfg: dict | Config | list | None = None,
        test_cfg: dict | Config | None = None,
        init_cfg: dict | list[dict] | None = None,
    ):
        super().__init__(init_cfg)
        refuse_masks(
            dict(mask_roi_extractor=mask_roi_extractor, mask_head=mask_head, shared_head=shared_head), 'roi_head'
        )
        for name, part in dict(bbox_roi_extractor=bbox_roi_extractor, bbox_head=bbox_head).items():
            if part is None:
                raise ConfigError('is needed', field=f'roi_head.{name}', received=None)
        self.train_cfg: Any = train_cfg
        self.test_cfg = to_config_dict(test_cfg)
        self.init_bbox_head(bbox_roi_extractor, bbox_head)
        self.init_assigner_sampler()

    # The box heads are checked, whose settings a config has.
    check_num_classes = False
    with_bbox = True
    with_mask = False
    with_shared_head = False

    # What an exported network has for outputs, :meth:`batch_outputs`, and how these are decoded.
    raw_kind = 'regions'
    output_names = ('regions', 'objectness', 'cls', 'reg')
    suppresses, legacy = True, False

    @property
    def num_classes(self) -> int:
        """C."""
        return self.last_bbox_head.num_classes

    @property
    def clips_boxes(self) -> bool:
        """Whether boxes end at the border of the image."""
        return getattr(self.last_bbox_head.bbox_coder, 'clip_border', True)

    @property
    @abstractmethod
    def last_bbox_head(self) -> BBoxHead:
        """The box head whose boxes are the result."""

    @abstractmethod
    def init_bbox_head(self, bbox_roi_extractor: Any, bbox_head: Any) -> None:
        """Build the extractors and the box heads."""

    @abstractmethod
    def init_assigner_sampler(self) -> None:
        """Build what ``train_cfg`` names."""

    @abstractmethod
    def loss(
        self, x: tuple[Tensor, ...], rpn_results_list: list[InstanceData], batch_data_samples: SampleList
    ) -> Losses:
        """Losses on L maps (B, channels, H_l, W_l), given the proposals, ``bboxes`` (n, 4), of each image."""

    @abstractmethod
    def forward(
        self, x: tuple[Tensor, ...], rpn_results_list: list[InstanceData], batch_data_samples: OptSampleList = None
    ) -> tuple:
        """Raw outputs for the proposals of all images."""

    @abstractmethod
    def forward_shapes(self, x: tuple[Tensor, ...], count: int) -> None:
        """Run the box heads on features of ``count`` regions, whatever their values: what a count of operations needs."""

    @abstractmethod
    def predict_bbox(
        self,
        x: tuple[Tensor, ...],
        batch_img_metas: list[dict],
        rpn_results_list: list[InstanceData],
        rcnn_test_cfg: dict | Config,
        rescale: bool = False,
    ) -> list[InstanceData]:
        """Detections of each image; arguments as of :meth:`BBoxHead.predict_by_feat`."""

    def predict(
        self,
        x: tuple[Tensor, ...],
        rpn_results_list: list[InstanceData],
        batch_data_samples: SampleList,
        rescale: bool = False,
    ) -> list[InstanceData]:
        """Detections in the proposals of each image; in pixels of the original image when ``rescale``."""
        metas = [sample.metainfo for sample in batch_data_samples]
        return self.predict_bbox(x, metas, rpn_results_list, self.test_cfg, rescale=rescale)

    # ------------------------------------------------------------------------------------------------ for exporters

    def _settings(self, cfg: dict | Config | None) -> ConfigDict:
        return self.test_cfg if cfg is None else to_config_dict(cfg)

    @abstractmethod
    def batch_outputs(
        self, x: tuple[Tensor, ...], regions: Tensor, limits: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What :meth:`batch_candidates` takes, of equally many regions of each image, by operations whose sizes never depend on values.

        Args:
            x: L maps (B, channels, H_l, W_l).
            regions: (B, P, 4) xyxy in pixels of the input.
            limits: heights and widths (B,) of the images before padding.

        Returns:
            the regions (B, P, 4) that the last box head gets, class logits (B, P, C + 1), and its deltas (B, P, 4 C) or (B, P, 4).
        """

    def batch_candidates(
        self,
        outputs: tuple[Tensor, ...],
        sizes_hw: Tensor,
        input_hw: tuple[int, int],
        cfg: dict | None = None,
        with_nms: bool = True,
    ) -> BatchCandidates:
        """The candidates of raw outputs, all P regions with all classes; arguments as of :meth:`BatchDecode.batch_candidates`.

        Args:
            outputs: regions (B, P, 4), their scores (B, P), 0 for what only fills up, and the other two of :meth:`batch_outputs`.
            sizes_hw, input_hw, cfg, with_nms: see there.
        """
        regions, objectness, logits, deltas = outputs
        settings, head, (heights, widths) = (
            self._settings(cfg),
            self.last_bbox_head,
            sizes_hw.to(torch.float32).unbind(1),
        )
        scores = widened(logits).softmax(-1)[..., :-1]
        scores = scores.masked_fill((scores <= settings.get('score_thr', 0)) | (objectness <= 0).unsqueeze(-1), 0)
        boxes, deltas = regions.to(scores.dtype), widened(deltas)
        if not head.reg_class_agnostic:
            boxes = boxes.unsqueeze(2).expand(-1, -1, head.num_classes, -1).flatten(1, 2)
            deltas = deltas.reshape(regions.shape[0], -1, 4)
        boxes = head.bbox_coder.decode(boxes, deltas, max_shape=(heights, widths))
        if not head.reg_class_agnostic:
            boxes = boxes.reshape(regions.shape[0], -1, head.num_classes, 4)
        found = BatchCandidates(boxes, scores, None, head.num_classes)
        return found if settings.get('min_bbox_size', -1) < 0 else without_empty(found)

    def batch_detections(self, boxes: Tensor, labels: Tensor, images: Tensor, found: BatchCandidates) -> Tensor:
        """The boxes (M, 4) that the NMS left, as they are."""
        return boxes

    def predict_outputs(
        self, outputs: tuple[Tensor, ...], batch_img_metas: list[dict], cfg: dict | Config, rescale: bool
    ) -> list[InstanceData]:
        """:meth:`predict_bbox` of raw outputs, which another library computed, say; see :meth:`batch_candidates`."""
        regions, logits, deltas = (
            [values[own > 0] for values, own in zip(batch, outputs[1])] for batch in (outputs[0], *outputs[2:])
        )
        rois = [F.pad(boxes, (1, 0)) for boxes in regions]
        options: dict = dict(batch_img_metas=batch_img_metas, rcnn_test_cfg=cfg, rescale=rescale)
        return self.last_bbox_head.predict_by_feat(rois, logits, deltas, **options)

    def _sample(
        self,
        assigner: Any,
        sampler: Any,
        x: tuple[Tensor, ...],
        proposals: list[InstanceData],
        batch_data_samples: SampleList,
    ) -> list[SamplingResult]:
        """Choose the regions of each image that are trained."""
        found = []
        for i, (boxes, gt, ignored) in enumerate(zip(proposals, *unpack_gt_instances(batch_data_samples)[:2])):
            priors = InstanceData(priors=boxes.bboxes)
            assigned = assigner.assign(priors, gt, ignored)
            found.append(sampler.sample(assigned, priors, gt, feats=[level[i : i + 1] for level in x]))
        return found


def batch_rois(regions: Tensor) -> Tensor:
    """Regions (B, P, 4) of a batch as regions (B * P, 5), with the number of the image."""
    number = torch.arange(regions.shape[0], device=regions.device, dtype=regions.dtype)
    number = number.view(-1, 1, 1).expand(-1, regions.shape[1], 1)
    return torch.cat([number, regions], dim=-1).flatten(0, 1)


def by_image(values: Tensor, regions: Tensor) -> Tensor:
    """Outputs (B * P, D) for regions (B, P, 4) as (B, P, D), D as a constant in a traced graph."""
    return values.reshape(regions.shape[0], regions.shape[1], int(values.shape[1]))


def regions_of(proposals: list[InstanceData]) -> tuple[Tensor, list[int]]:
    """The proposals of all images as regions (K, 5), and their numbers."""
    return bbox2roi([boxes.bboxes for boxes in proposals]), [len(boxes) for boxes in proposals]


def split(outputs: dict, counts: list[int]) -> tuple[list[Tensor], list[Any]]:
    """``cls_score`` (K, ...) and ``bbox_pred`` (K, ...) by image; a list of None where there are no boxes."""
    deltas = outputs['bbox_pred']
    return list(outputs['cls_score'].split(counts)), [None] * len(counts) if deltas is None else list(
        deltas.split(counts)
    )


def pooled_zeros(x: tuple[Tensor, ...], count: int, head: BBoxHead) -> Tensor:
    """Features of ``count`` regions, all 0."""
    return x[0].new_zeros(count, head.in_channels, *head.roi_feat_size)


def assigner_and_sampler(cfg: ConfigDict, context: Any) -> tuple[Any, Any]:
    """The assigner and the sampler that a ``train_cfg`` names; the sampler knows the stage, ``context``.

    Raises:
        ConfigError: one of them is missing.
    """
    for name in ('assigner', 'sampler'):
        if cfg.get(name) is None:
            raise ConfigError('is needed', field=f'train_cfg.rcnn.{name}', received=list(cfg))
    sampler = TASK_UTILS.build(cfg.sampler, default_args=dict(context=context))
    return TASK_UTILS.build(cfg.assigner), sampler


def refuse_masks(parts: dict[str, Any], where: str) -> None:
    """Raise ConfigError where a part that is not offered is configured."""
    for name, part in parts.items():
        if part is not None:
            what = 'a head with a part of the backbone is' if name == 'shared_head' else 'masks are'
            raise ConfigError(f'must be None: {what} outside of this package', field=f'{where}.{name}', received=part)
