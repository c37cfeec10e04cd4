"""Detectors of the library transformers as detectors of this package: D-FINE, DEIMv2, RT-DETR, RF-DETR, LW-DETR, Deformable DETR, YOLOS.

Naming: B images, (H, W) of their tensor, Q queries, C classes, K logits of a query (C; C + 1 with a background), n objects or detections of one image.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import Config, ConfigDict
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet.core.boxes import clip_boxes, get_box_wh, scale_boxes
from mmdet.core.post_processing import filter_scores_and_topk
from mmdet.errors import ConfigError, ModelInputError
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.models.dense_heads.base_dense_head import Losses, to_config_dict
from mmdet.registry import MODELS
from mmdet.structures import OptSampleList, SampleList

from ..inference import full_precision
from ..utils.transformers_library import LOADS, build_config, library, quiet
from .base import BaseDetector

_TEST_CFG = dict(score_thr=0.0, max_per_img=300, nms=dict(type='nms', iou_threshold=0.7))


# ------------------------------------------------------------------------------------------------ what differs between the classes


def _patch(config: Any) -> int:
    size = config.patch_size
    return size if isinstance(size, int) else max(size)


def _scaled_strides(config: Any) -> list[float]:
    """Strides of the levels that a projector makes of the one map of a ViT."""
    return [_patch(config.backbone_config) / scale for scale in getattr(config, 'projector_scale_factors', None) or [1]]


@dataclasses.dataclass(frozen=True)
class Family:
    """What the adapter must know of one model type of the library.

    Attributes:
        divisor: of a config, what the sides of images must be multiples of: the library cuts off the rest, or fails.
        strides: of a config, the strides of the maps among whose cells the queries are chosen; none where queries are learned.
        least_side: of a config, the smallest side in pixels, whatever the queries are.
        queries: the config key that says how many queries there are.
        has_background: whether the last logit is that of no object, and scores are a softmax.
    """

    divisor: Callable[[Any], int]
    strides: Callable[[Any], list[float]] = lambda config: []
    least_side: Callable[[Any], int] = lambda config: 1
    queries: str = 'num_queries'
    has_background: bool = False


_HYBRID = Family(divisor=lambda config: max(config.feat_strides), strides=lambda config: list(config.feat_strides))
FAMILIES = {
    'd_fine': _HYBRID,
    'deimv2': _HYBRID,
    'rt_detr': _HYBRID,
    'rt_detr_v2': _HYBRID,
    'rf_detr': Family(divisor=lambda config: _patch(config.backbone_config) * config.backbone_config.num_windows, strides=_scaled_strides),
    'lw_detr': Family(divisor=lambda config: _patch(config.backbone_config) * config.backbone_config.num_windows_side, strides=_scaled_strides),
    # Its last level is two strides of 2 above that of the backbone; a map of one cell breaks the positions, which divide by its size less one.
    'deformable_detr': Family(divisor=lambda config: 1, strides=lambda config: [8, 16, 32, 64][: config.num_feature_levels], least_side=lambda config: 65),
    'yolos': Family(divisor=_patch, queries='num_detection_tokens', has_background=True),
}  # fmt: skip


# ------------------------------------------------------------------------------------------------ decode


class QueryHead(BaseModule):
    """The last step of a detector with queries: from logits and boxes to detections; it has no parameters.

    Args:
        num_classes: C.
        test_cfg: ``score_thr``, ``max_per_img`` and, for the views of a larger detector, ``nms``.
        has_background: see :class:`Family`.
    """

    def __init__(self, num_classes: int, test_cfg: ConfigDict, has_background: bool):
        super().__init__()
        self.num_classes, self.test_cfg, self.has_background = num_classes, test_cfg, has_background

    def forward(self, logits: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """The raw outputs as they are."""
        return logits, boxes

    @torch.no_grad()
    @full_precision
    def predict_by_feat(
        self,
        logits: Tensor,
        boxes: Tensor,
        batch_img_metas: list[dict],
        cfg: dict | Config | None = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> list[InstanceData]:
        """Detections: the ``max_per_img`` best pairs of query and class above ``score_thr``; with a background one class of each query.

        Args:
            logits: (B, Q, K).
            boxes: (B, Q, 4) xyxy in pixels of the input.
            batch_img_metas: B dicts with ``img_shape``, to which boxes are clipped, and ``scale_factor`` when ``rescale``.
            cfg: settings that replace ``test_cfg``.
            rescale: give the boxes in pixels of the original images.
            with_nms: not used: one object has one query.

        Returns:
            per image ``bboxes`` (n, 4) xyxy, ``scores`` (n,) in descending order, ``labels`` (n,). Boxes outside of the image are left out.
        """
        settings = self.test_cfg if cfg is None else to_config_dict(cfg)
        return [self._decode(*one, meta, settings, rescale) for *one, meta in zip(logits, boxes, batch_img_metas)]

    def _decode(self, logits: Tensor, boxes: Tensor, meta: dict, cfg: ConfigDict, rescale: bool) -> InstanceData:
        threshold, most = cfg.get('score_thr', 0), cfg.get('max_per_img', -1)
        if self.has_background:
            best, classes = logits.softmax(-1)[:, :-1].max(-1)
            scores, rows, _ = filter_scores_and_topk(best[:, None], threshold, most, activated=True)
            labels = classes[rows]
        else:
            scores, rows, labels = filter_scores_and_topk(logits, threshold, most)
        found = InstanceData(bboxes=clip_boxes(boxes[rows], meta['img_shape']), scores=scores, labels=labels)
        if rescale:
            found.bboxes = scale_boxes(found.bboxes, [1 / factor for factor in meta['scale_factor'][:2]])
        widths, heights = get_box_wh(found.bboxes)
        return found[(widths > 0) & (heights > 0)]


# ------------------------------------------------------------------------------------------------ the detector


@MODELS.register_module()
class TransformersDetector(BaseDetector):
    """A detector of the library transformers (the extra ``transformers``).

    Args:
        model: ``model_type`` and keys of the library's config, or ``from_pretrained``, a folder or an id of the hub, and keys that are others; see
            :func:`mmdet.models.utils.transformers_library.build_config`. With ``from_pretrained`` the weights are read when a training starts
            (``init_weights``).
        num_classes: C.
        load: ``'local'``, or ``'hub'``, which permits to fetch files from the hub.
        train_cfg: not used; for configs that have it.
        test_cfg: ``score_thr``, ``max_per_img`` (pairs of query and class), and ``nms``, which joins the views of a larger detector.
        data_preprocessor: its ``mean`` and ``std`` are those that the weights were trained with; the size that the model needs is seen to here.
        init_cfg: config of the initialisation, such as a checkpoint of this package.

    Raises:
        ConfigError: transformers is missing; a model type, key or value that it does not have.
    """

    data_preprocessor: DetDataPreprocessor
    end_to_end = True

    def __init__(
        self,
        model: dict,
        num_classes: int = 80,
        load: str = 'local',
        train_cfg: dict | Config | None = None,
        test_cfg: dict | Config | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(data_preprocessor or dict(type='DetDataPreprocessor'), init_cfg)
        if load not in LOADS:
            raise ConfigError(f'must be one of {LOADS}', field='load', received=load)
        self.pretrained, self.load = (model or {}).get('from_pretrained'), load
        config = build_config({**model, 'num_labels': num_classes}, 'model', load)
        self.family = _family(config)
        self.num_queries = self.max_objects = int(getattr(config, self.family.queries))
        self.train_cfg, self.test_cfg = to_config_dict(train_cfg), to_config_dict({**_TEST_CFG, **(test_cfg or {})})
        with quiet():
            self.model: Any = library().AutoModelForObjectDetection.from_config(config)
        self.bbox_head = QueryHead(num_classes, self.test_cfg, self.family.has_background)

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> Losses:
        """``loss``, as the library weights and sums its parts, and the parts for the log, under names without that word."""
        images = self._padded(batch_inputs)
        found = self.model(pixel_values=images, labels=self._targets(images, batch_data_samples))
        losses: Losses = dict(loss=found.loss)
        for name, part in found.loss_dict.items():
            losses[name.removeprefix('loss_')] = part.detach()
        return losses

    def predict(self, batch_inputs: Tensor, batch_data_samples: SampleList, rescale: bool = True) -> SampleList:
        """The samples with ``pred_instances``, in pixels of the original image when ``rescale``."""
        metas = [sample.metainfo for sample in batch_data_samples]
        results = self.bbox_head.predict_by_feat(*self._forward(batch_inputs), metas, rescale=rescale)
        return self.add_pred_to_datasample(batch_data_samples, results)

    def _forward(self, batch_inputs: Tensor, batch_data_samples: OptSampleList = None) -> tuple[Tensor, Tensor]:
        """Logits (B, Q, K), and boxes (B, Q, 4) xyxy in pixels of the tensor, float32."""
        images = self._padded(batch_inputs)
        found = self.model(pixel_values=images)
        height, width = images.shape[-2:]
        x, y, w, h = found.pred_boxes.float().unbind(-1)
        corners = torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], dim=-1)
        return found.logits, corners * corners.new_tensor([width, height, width, height])

    def input_size_hw(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Height and width to which images are padded: what the model needs; it would cut off the rest, or fail."""
        config = self.model.config
        divisor, least = self.family.divisor(config), self.family.least_side(config)
        height, width = (math.ceil(max(side, least) / divisor) * divisor for side in size_hw)
        strides = self.family.strides(config)
        while strides and sum(math.ceil(height / s) * math.ceil(width / s) for s in strides) < self.num_queries:
            # The queries are the best cells of the maps, of which there must be as many.
            height, width = (height + divisor, width) if height <= width else (height, width + divisor)
        return height, width

    def _padded(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        needed_h, needed_w = self.input_size_hw((height, width))
        if (needed_h, needed_w) == (height, width):
            return images
        return F.pad(images, (0, needed_w - width, 0, needed_h - height), value=self.data_preprocessor.pad_value)

    def _targets(self, images: Tensor, samples: SampleList) -> list[dict[str, Tensor]]:
        """The library's labels: classes (n,), and boxes (n, 4) as centre and size, relative to the tensor; boxes without area are left out."""
        height, width = images.shape[-2:]
        targets = []
        for sample in samples:
            truth = sample.gt_instances
            w, h = get_box_wh(truth.bboxes)
            boxes, labels = truth.bboxes[(w > 0) & (h > 0)], truth.labels[(w > 0) & (h > 0)]
            self._check_labels(labels)
            x1, y1, x2, y2 = boxes.unbind(-1)
            boxes = torch.stack(
                [(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height], dim=-1
            )
            targets.append(dict(class_labels=labels, boxes=boxes))
        return targets

    def _check_labels(self, labels: Tensor) -> None:
        if len(labels) and not (int(labels.min()) >= 0 and int(labels.max()) < self.bbox_head.num_classes):
            received = (int(labels.min()), int(labels.max()))
            raise ModelInputError(
                f'labels must be in [0, {self.bbox_head.num_classes})', field='gt_instances.labels', received=received
            )


def _family(config: Any) -> Family:
    if config.model_type not in FAMILIES:
        message = f'is no detector that is known here; must be one of {", ".join(FAMILIES)}'
        raise ConfigError(message, field='model.model_type', received=config.model_type)
    return FAMILIES[config.model_type]
