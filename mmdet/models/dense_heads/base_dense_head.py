"""What all dense heads share: how they are called, and the decode of their raw outputs into detections.

Naming: B images, L levels, P_l priors of a level (row-major), C classes, D box channels, n candidates of one image.
"""

import dataclasses
from abc import ABCMeta, abstractmethod
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet.core.boxes import get_box_wh, scale_boxes
from mmdet.core.post_processing import ScoredBoxes, filter_scores_and_topk
from mmdet.core.priors import AnchorGenerator
from mmdet.errors import ConfigError
from mmdet.structures import SampleList

Losses = dict[str, Tensor | list[Tensor]]
# What a head's forward() returns: lists over the levels, (B, channels, H_l, W_l) each; how many depends on the head.
RawOutputs = tuple[Any, ...]

_NMS_PRE_RULES = ('pairs', 'priors')


def unpack_gt_instances(
    batch_data_samples: SampleList,
) -> tuple[list[InstanceData], list[InstanceData | None], list[dict]]:
    """Ground truth, ignored boxes (None where a sample has none) and metainfo of each sample."""
    gt = [sample.gt_instances for sample in batch_data_samples]
    ignored = [sample.get('ignored_instances') for sample in batch_data_samples]
    return gt, ignored, [sample.metainfo for sample in batch_data_samples]


def to_config_dict(cfg: dict | Config | None) -> ConfigDict:
    """A copy of a head's or model's settings; empty for None."""
    return ConfigDict(cfg.to_dict() if isinstance(cfg, Config) else cfg or {})


@dataclasses.dataclass(frozen=True)
class DecodeContext:
    """What the decode of one image needs besides the raw outputs.

    Attributes:
        cfg: settings, with the keys of the head's ``test_cfg``.
        priors: L tensors (P_l, ...) as the prior generator makes them.
        img_shape: (height, width) in the network's input, to which boxes are clipped.
        scale_factor: (w, h) by which boxes are divided; None leaves them in pixels of the network's input.
        with_nms: whether the NMS runs.
    """

    cfg: ConfigDict
    priors: list[Tensor]
    img_shape: tuple[int, int]
    scale_factor: tuple[float, float] | None
    with_nms: bool


class BaseDenseHead(BaseModule, metaclass=ABCMeta):
    """A head over a feature pyramid.

    Subclasses write ``forward``, ``loss_by_feat`` and ``decode_boxes``, and set the attributes below. This class does the rest of the
    decode (choice of candidates, threshold, rescaling, smallest size, NMS), as ``test_cfg`` says.

    Attributes:
        num_classes: C.
        prior_generator: makes the priors of each level.
        train_cfg: settings of the training.
        test_cfg: settings of the decode: ``score_thr``, ``nms_pre``, ``nms_pre_rule``, ``min_bbox_size``, ``nms``, ``max_per_img``.
        scores_are_probabilities: whether ``forward`` returns probabilities instead of logits.
        legacy: whether corners are inclusive pixels, so that sizes in the NMS are one larger.
    """

    num_classes: int
    prior_generator: AnchorGenerator
    train_cfg: ConfigDict
    test_cfg: ConfigDict
    scores_are_probabilities = False
    legacy = False

    @abstractmethod
    def loss_by_feat(self, *args: Any, **kwargs: Any) -> Losses:
        """Losses of the raw outputs, followed by ``batch_gt_instances``, ``batch_img_metas``, ``batch_gt_instances_ignore``."""

    @abstractmethod
    def decode_boxes(self, bbox_pred: Tensor, priors: Tensor, stride: float, img_shape: tuple[int, int]) -> Tensor:
        """Box outputs (m, D) and their priors (m, ...) to (m, 4) xyxy boxes in input pixels, clipped to ``img_shape`` (h, w)."""

    def to_probability(self, cls_score: Tensor) -> Tensor:
        """Probabilities of class scores in the form that ``forward`` returns."""
        return cls_score if self.scores_are_probabilities else cls_score.sigmoid()

    def loss(self, x: tuple[Tensor, ...], batch_data_samples: SampleList) -> Losses:
        """Losses of feature maps ``x``, L maps (B, channels, H_l, W_l)."""
        return self._loss_of(self._outputs_for_loss(x), batch_data_samples)

    def predict(
        self, x: tuple[Tensor, ...], batch_data_samples: SampleList, rescale: bool = False
    ) -> list[InstanceData]:
        """Detections on feature maps ``x``; in pixels of the original image when ``rescale``."""
        options: dict[str, Any] = dict(batch_img_metas=[s.metainfo for s in batch_data_samples], rescale=rescale)
        return self.predict_by_feat(*self(x), **options)

    def loss_and_predict(
        self, x: tuple[Tensor, ...], batch_data_samples: SampleList, proposal_cfg: dict | Config | None = None
    ) -> tuple[Losses, list[InstanceData]]:
        """Losses and detections of one forward pass; ``proposal_cfg`` instead of ``test_cfg``."""
        outputs = self._outputs_for_loss(x)
        losses = self._loss_of(outputs, batch_data_samples)
        options: dict[str, Any] = dict(batch_img_metas=[s.metainfo for s in batch_data_samples], cfg=proposal_cfg)
        return losses, self.predict_by_feat(*self._outputs_to_decode(outputs), **options)

    def _loss_of(self, outputs: RawOutputs, batch_data_samples: SampleList) -> Losses:
        gt, ignored, metas = unpack_gt_instances(batch_data_samples)
        targets: dict = dict(batch_gt_instances=gt, batch_gt_instances_ignore=ignored, batch_img_metas=metas)
        return self.loss_by_feat(*outputs, **targets)

    def _outputs_for_loss(self, x: tuple[Tensor, ...]) -> RawOutputs:
        """The raw outputs that :meth:`loss_by_feat` takes."""
        return self(x)

    def _outputs_to_decode(self, outputs: RawOutputs) -> RawOutputs:
        """Turn the raw outputs for :meth:`loss_by_feat` into those for :meth:`predict_by_feat`."""
        return outputs

    # ------------------------------------------------------------------------------------------------ decode

    @torch.no_grad()
    def predict_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        score_factors: list[Tensor] | None = None,
        batch_img_metas: list[dict] | None = None,
        cfg: dict | Config | None = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> list[InstanceData]:
        """Detections of the raw outputs.

        Args:
            cls_scores: L maps (B, C, H_l, W_l).
            bbox_preds: L maps (B, D, H_l, W_l).
            score_factors: accepted for the signature of mmdetection; the heads here have none.
            batch_img_metas: B dicts with ``img_shape`` and, when ``rescale``, ``scale_factor``.
            cfg: settings that replace ``test_cfg``.
            rescale: divide the boxes by ``scale_factor``, before the NMS.
            with_nms: run the NMS; otherwise its candidates are returned.

        Returns:
            per image, ``bboxes`` (n, 4) xyxy, ``scores`` (n,) and ``labels`` (n,).
        """
        settings = self.test_cfg if cfg is None else to_config_dict(cfg)
        sizes = [(score.size(2), score.size(3)) for score in cls_scores]
        priors = self.prior_generator.grid_priors(sizes, device=cls_scores[0].device)
        assert batch_img_metas is not None, 'the metainfo of each image is needed'
        results = []
        for i, meta in enumerate(batch_img_metas):
            scale_factor = meta['scale_factor'] if rescale else None
            context = DecodeContext(settings, priors, meta['img_shape'], scale_factor, with_nms)
            cls, reg = ([level[i].detach().flatten(1).t() for level in maps] for maps in (cls_scores, bbox_preds))
            results.append(self.decode_single(cls, reg, context).to_instances())
        return results

    def decode_single(self, cls: list[Tensor], reg: list[Tensor], context: DecodeContext) -> ScoredBoxes:
        """Detections of one image from its class scores, L tensors (P_l, C), and box outputs, L tensors (P_l, D)."""
        cfg = context.cfg
        candidates = self._prior_candidates if candidate_rule(cfg) == 'priors' else self._pair_candidates
        found = candidates(cls, reg, context)
        if context.scale_factor is not None:
            width, height = context.scale_factor
            found = dataclasses.replace(found, bboxes=scale_boxes(found.bboxes, (1 / width, 1 / height)))
        if cfg.get('min_bbox_size', -1) >= 0:
            widths, heights = get_box_wh(found.bboxes)
            found = found[(widths > cfg.min_bbox_size) & (heights > cfg.min_bbox_size)]
        if not context.with_nms:
            return found
        nms = dict(cfg.nms, offset=1) if self.legacy else cfg.nms
        return found.suppress(nms, cfg.get('max_per_img', -1))

    def _pair_candidates(self, cls: list[Tensor], reg: list[Tensor], context: DecodeContext) -> ScoredBoxes:
        """The best ``nms_pre`` pairs of prior and class of each level, of those above the threshold."""
        threshold, nms_pre = context.cfg.get('score_thr', 0), context.cfg.get('nms_pre', -1)
        levels = []
        for level, raw in enumerate(cls):
            scores, rows, labels = filter_scores_and_topk(
                raw[:, : self.num_classes], threshold, nms_pre, self.scores_are_probabilities
            )
            levels.append(ScoredBoxes(self._level_boxes(level, rows, reg, context), scores, labels))
        return ScoredBoxes.cat(levels)

    def _prior_candidates(self, cls: list[Tensor], reg: list[Tensor], context: DecodeContext) -> ScoredBoxes:
        """All classes above the threshold of the best ``nms_pre`` priors of each level by their top class."""
        nms_pre = context.cfg.get('nms_pre', -1)
        level_boxes, level_scores = [], []
        for level, raw in enumerate(cls):
            scores = self.to_probability(raw.float())
            limited = 0 < nms_pre < len(scores)
            rows = scores.amax(1).topk(nms_pre).indices if limited else slice(None)
            level_boxes.append(self._level_boxes(level, rows, reg, context))
            level_scores.append(scores[rows, : self.num_classes])
        # One threshold for all levels: on a GPU each call of nonzero() waits for the device.
        boxes, probability = torch.cat(level_boxes), torch.cat(level_scores)
        priors, labels = (probability > context.cfg.get('score_thr', 0)).nonzero(as_tuple=True)
        return ScoredBoxes(boxes[priors], probability[priors, labels], labels)

    def _level_boxes(self, level: int, rows: Tensor | slice, reg: list[Tensor], context: DecodeContext) -> Tensor:
        stride, _ = self.prior_generator.strides[level]
        return self.decode_boxes(reg[level][rows], context.priors[level][rows], stride, context.img_shape)


def candidate_rule(cfg: ConfigDict) -> str:
    """The setting ``nms_pre_rule``, ``'pairs'`` unless given.

    Raises:
        ConfigError: an unknown rule.
    """
    rule = cfg.get('nms_pre_rule', 'pairs')
    if rule not in _NMS_PRE_RULES:
        raise ConfigError(f'must be one of {_NMS_PRE_RULES}', field='test_cfg.nms_pre_rule', received=rule)
    return rule
