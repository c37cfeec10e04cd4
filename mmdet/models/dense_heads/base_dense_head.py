"""What all dense heads share: how they are called, and the decode of their raw outputs into detections.

Naming: B images, L levels, A priors of a location, P_l = H_l * W_l * A priors of a level (row-major, those of a location together),
C classes, K class channels of a prior (C; C + 1 with a background), D box channels of a prior, n candidates of one image.
"""

from abc import ABCMeta, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet.core.boxes import clip_boxes, get_box_wh, scale_boxes
from mmdet.core.post_processing import filter_scores_and_topk, limit_survivors
from mmdet.errors import ModelInputError
from mmdet.ops import batched_nms
from mmdet.structures import SampleList

from ..inference import full_precision
from ..utils.misc import unpack_gt_instances
from .batch_decode import BatchDecode, candidate_rule
from .class_rows import copy_class_rows, store_class_rows
from .level_outputs import LevelOutputs, widened

Losses = dict[str, Tensor | list[Tensor]]
# What a head's forward() returns: lists over the levels, (B, channels, H_l, W_l) each; how many depends on the head.
RawOutputs = tuple[Any, ...]


def to_config_dict(cfg: dict | Config | None) -> ConfigDict:
    """A copy of a head's or model's settings; empty for None."""
    return ConfigDict(cfg.to_dict() if isinstance(cfg, Config) else cfg or {})


class BaseDenseHead(BatchDecode, BaseModule, metaclass=ABCMeta):
    """A head over a feature pyramid.

    Subclasses write ``forward`` and ``loss_by_feat``, ``decode_boxes`` where their coder alone does not do it, and set the attributes
    below. This class does the rest of the decode (choice of candidates, threshold, factors, rescaling, smallest size, NMS), as
    ``test_cfg`` says. Its steps have the names and arguments of mmdetection 3.x, so that a subclass may replace one of them.

    Attributes:
        num_classes: C.
        prior_generator: makes the priors of each level.
        bbox_coder: turns box outputs and priors into boxes.
        train_cfg: settings of the training.
        test_cfg: settings of the decode: ``score_thr``, ``nms_pre``, ``nms_pre_rule``, ``min_bbox_size``, ``nms``, ``max_per_img``.
        use_sigmoid_cls: whether each class has a score of its own; otherwise scores are a softmax whose last channel is the background.
        scores_are_probabilities: whether ``forward`` returns probabilities instead of logits.
        legacy: whether corners are inclusive pixels, so that sizes in the NMS are one larger.
        class_predictor: name of the layer, or list of layers, whose output channels are the A K class channels.
        rows_of_no_class: further output channels of that layer, behind them.
    """

    num_classes: int
    prior_generator: Any
    bbox_coder: Any
    train_cfg: ConfigDict
    test_cfg: ConfigDict
    use_sigmoid_cls = True
    scores_are_probabilities = False
    legacy = False
    class_predictor = 'conv_cls'
    rows_of_no_class: int = 0

    @abstractmethod
    def loss_by_feat(self, *args: Any, **kwargs: Any) -> Losses:
        """Losses of the raw outputs, followed by ``batch_gt_instances``, ``batch_img_metas``, ``batch_gt_instances_ignore``."""

    def decode_boxes(self, bbox_pred: Tensor, priors: Tensor, stride: float, img_shape: tuple[int, int]) -> Tensor:
        """Box outputs (..., m, D) and their priors (..., m, ...) to (..., m, 4) xyxy boxes in input pixels.

        A head clips them to ``img_shape`` (h, w, ...), for a batch a pair of tensors (B,), or leaves them as they are; here the
        ``bbox_coder`` decides.
        """
        return self.bbox_coder.decode(priors, bbox_pred, max_shape=img_shape)

    @property
    def clips_boxes(self) -> bool:
        """Whether :meth:`decode_boxes` keeps boxes inside the image."""
        return getattr(self.bbox_coder, 'clip_border', True)

    def take_class_rows(
        self, state_dict: dict, prefix: str, sources: Sequence[int], num_stored: int
    ) -> tuple[list[str], list[str]]:
        """Give the tensors of a checkpoint that have rows of classes the classes of this head, in place.

        Args:
            state_dict: names to tensors; afterwards those of the classes have this head's shapes, new classes its present values.
            prefix: of this head in it.
            sources: for each class of this head the class of the checkpoint, or -1 for a new one.
            num_stored: classes of the checkpoint.

        Returns:
            names of the tensors that were changed, and of those that belong to a head of another kind and were left out.
        """
        found = (
            (prefix + name, copy_class_rows(own, state_dict[prefix + name], sources, num_stored, *layout))
            for name, own in self.state_dict().items()
            if prefix + name in state_dict and (layout := self._class_rows_of(name)) is not None
        )
        return store_class_rows(state_dict, found)

    def _class_rows_of(self, name: str) -> tuple[int, ...] | None:
        """Of a tensor with rows of classes, priors of a location, and rows of a prior before and behind those of its classes; None of another."""
        predicts = f'{name}.'.startswith(f'{self.class_predictor}.')
        return (self.prior_generator.num_base_priors[0], 0, self.rows_of_no_class) if predicts else None

    def to_probability(self, cls_score: Tensor) -> Tensor:
        """Probabilities (..., C) of class scores (..., K) in the form that ``forward`` returns."""
        if not self.scores_are_probabilities:
            cls_score = cls_score.sigmoid() if self.use_sigmoid_cls else cls_score.softmax(-1)
        return cls_score[..., : self.num_classes]

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

    def _check_labels(self, labels: Tensor) -> None:
        if len(labels) == 0:
            return
        low, high = torch.stack(labels.aminmax()).tolist()
        if low < 0 or high >= self.num_classes:
            message = f'labels must be in [0, {self.num_classes})'
            raise ModelInputError(message, field='gt_instances.labels', received=(low, high))

    def _outputs_for_loss(self, x: tuple[Tensor, ...]) -> RawOutputs:
        """The raw outputs that :meth:`loss_by_feat` takes."""
        return self(x)

    def _outputs_to_decode(self, outputs: RawOutputs) -> RawOutputs:
        """Turn the raw outputs for :meth:`loss_by_feat` into those for :meth:`predict_by_feat`."""
        return outputs

    # ------------------------------------------------------------------------------------------------ decode

    @torch.no_grad()
    @full_precision
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
            cls_scores: L maps (B, A K, H_l, W_l), prior-major.
            bbox_preds: L maps (B, A D, H_l, W_l), prior-major.
            score_factors: L maps (B, A, H_l, W_l) of logits (centerness, predicted IoU), whose sigmoid is multiplied with the scores
                after the candidates of a level are chosen; None for heads without.
            batch_img_metas: B dicts with ``img_shape`` and, when ``rescale``, ``scale_factor``; with ``pad_param`` (top, bottom, left, right),
                the pixels beside the image, these are taken off before, and boxes are clipped to ``ori_shape`` after the NMS.
            cfg: settings that replace ``test_cfg``.
            rescale: divide the boxes by ``scale_factor``, before the NMS.
            with_nms: run the NMS; otherwise its candidates are returned.

        Returns:
            per image, ``bboxes`` (n, 4) xyxy, ``scores`` (n,) and ``labels`` (n,).
        """
        settings = self._settings(cfg)
        sizes = [(score.size(2), score.size(3)) for score in cls_scores]
        priors = self.prior_generator.grid_priors(sizes, device=cls_scores[0].device)
        assert batch_img_metas is not None, 'the metainfo of each image is needed'
        results = []
        for i, meta in enumerate(batch_img_metas):
            cls, reg = ([level[i].detach() for level in maps] for maps in (cls_scores, bbox_preds))
            factors = [None] * len(cls) if score_factors is None else [level[i].detach() for level in score_factors]
            results.append(
                self._predict_by_feat_single(
                    cls, reg, factors, priors, meta, settings, rescale=rescale, with_nms=with_nms
                )
            )
        return results

    def _settings(self, cfg: dict | Config | None) -> ConfigDict:
        cfg = self.test_cfg if cfg is None else cfg
        return cfg if isinstance(cfg, ConfigDict) else to_config_dict(cfg)

    def _predict_by_feat_single(
        self,
        cls_score_list: list[Tensor],
        bbox_pred_list: list[Tensor],
        score_factor_list: list[Tensor] | list[None],
        mlvl_priors: list[Tensor],
        img_meta: dict,
        cfg: dict | Config | None = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> InstanceData:
        """Detections of one image: L maps (A K, H_l, W_l), (A D, H_l, W_l), (A, H_l, W_l) or None, and priors (P_l, ...)."""
        settings = self._settings(cfg)
        levels = []
        raw = zip(cls_score_list, bbox_pred_list, score_factor_list, mlvl_priors, strict=True)
        for level, (cls, reg, factors, priors) in enumerate(raw):
            per_location = self.prior_generator.num_base_priors[level]
            scores, bbox_pred = (self._by_prior(maps, per_location) for maps in (cls, reg))
            factors = None if factors is None else self._by_prior(factors, per_location).squeeze(1)
            stride = self.prior_generator.strides[level][0]
            levels.append(self._prepared(LevelOutputs(scores, bbox_pred, factors, priors, stride)))
        found = self._candidates(levels, settings, img_meta['img_shape'])
        return self._bbox_post_process(found, settings, rescale=rescale, with_nms=with_nms, img_meta=img_meta)

    def _prepared(self, level: LevelOutputs) -> LevelOutputs:
        """The outputs of a level as the candidates are chosen by them, for heads that rank by other scores."""
        return level

    @staticmethod
    def _by_prior(maps: Tensor, per_location: int) -> Tensor:
        """One level and image, (A * channels, H_l, W_l), to (P_l, channels)."""
        rows = maps.flatten(1).t()
        return rows if per_location == 1 else rows.reshape(-1, rows.size(1) // per_location)

    def _candidates(self, levels: list[LevelOutputs], cfg: ConfigDict, img_shape: tuple[int, int]) -> InstanceData:
        """What goes to the NMS, by ``nms_pre_rule``; heads with a rule of their own replace this."""
        choose = self._prior_candidates if candidate_rule(cfg) == 'priors' else self._pair_candidates
        return choose(levels, cfg, img_shape)

    def _pair_candidates(self, levels: list[LevelOutputs], cfg: ConfigDict, img_shape: tuple[int, int]) -> InstanceData:
        """The best ``nms_pre`` pairs of prior and class of each level, of those above the threshold."""
        threshold, nms_pre = cfg.get('score_thr', 0), cfg.get('nms_pre', -1)
        parts = []
        for level in levels:
            ranking, activated = self._ranking(level)
            scores, rows, labels = filter_scores_and_topk(ranking, threshold, nms_pre, activated)
            parts.append((self._level_boxes(level, rows, img_shape), scores, labels, *_factors(level, rows)))
        return _instances(*(torch.cat(fields) for fields in zip(*parts)))

    def _ranking(self, level: LevelOutputs) -> tuple[Tensor, bool]:
        """By what the pairs of prior and class are ranked, (..., P_l, C), and whether these are probabilities rather than logits."""
        activated = level.activated or self.scores_are_probabilities or not self.use_sigmoid_cls
        if self.use_sigmoid_cls or level.activated:
            return level.scores[..., : self.num_classes], activated
        return self.to_probability(level.scores.float()), activated

    def _prior_candidates(
        self, levels: list[LevelOutputs], cfg: ConfigDict, img_shape: tuple[int, int]
    ) -> InstanceData:
        """All classes above the threshold of the best ``nms_pre`` priors of each level by their top class."""
        nms_pre = cfg.get('nms_pre', -1)
        parts = []
        for level in levels:
            scores = level.scores if level.activated else self.to_probability(level.scores.float())
            limited = 0 < nms_pre < len(scores)
            rows = scores.amax(1).topk(nms_pre).indices if limited else slice(None)
            parts.append((self._level_boxes(level, rows, img_shape), scores[rows], *_factors(level, rows)))
        # One threshold for all levels: on a GPU each call of nonzero() waits for the device.
        boxes, probability, *factors = (torch.cat(fields) for fields in zip(*parts))
        priors, labels = (probability > cfg.get('score_thr', 0)).nonzero(as_tuple=True)
        return _instances(boxes[priors], probability[priors, labels], labels, *(values[priors] for values in factors))

    def _level_boxes(self, level: LevelOutputs, rows: Tensor | slice, img_shape: tuple[int, int]) -> Tensor:
        return self.decode_boxes(widened(level.bbox_pred[rows]), level.priors[rows], level.stride, img_shape)

    def _bbox_post_process(
        self,
        results: InstanceData,
        cfg: dict | Config | None = None,
        rescale: bool = False,
        with_nms: bool = True,
        img_meta: dict | None = None,
    ) -> InstanceData:
        """Candidates of one image to its detections: rescaling, factors, smallest size, NMS.

        Args:
            results: ``bboxes`` (n, 4), ``scores`` (n,), ``labels`` (n,), optionally ``score_factors`` (n,), and any other fields, which
                are kept with their boxes.
            cfg, rescale, with_nms, img_meta: see :meth:`predict_by_feat`.
        """
        settings = self._settings(cfg)
        beside = (img_meta or {}).get('pad_param') if rescale else None
        if rescale:
            assert img_meta is not None, 'the metainfo of the image is needed'
            results.bboxes = to_original(results.bboxes, img_meta)
        if 'score_factors' in results:
            results.scores = results.scores * results.pop('score_factors')
        if settings.get('min_bbox_size', -1) >= 0:
            widths, heights = get_box_wh(results.bboxes)
            results = results[(widths > settings.min_bbox_size) & (heights > settings.min_bbox_size)]
        if not with_nms:
            return results
        nms = dict(settings.nms, offset=1) if self.legacy else settings.nms
        nms = limit_survivors(nms, settings.get('max_per_img', -1))
        dets, keep = batched_nms(results.bboxes, results.scores, results.labels, nms)
        results = results[keep]
        results.bboxes, results.scores = dets[:, :4], dets[:, 4]
        if beside is not None and img_meta is not None:
            results.bboxes = clip_boxes(results.bboxes, img_meta['ori_shape'])
        return results


def to_original(bboxes: Tensor, img_meta: dict) -> Tensor:
    """Boxes (n, 4) xyxy in pixels of the network's input to pixels of the original image, by ``scale_factor`` and, where there is one, ``pad_param``."""
    beside = img_meta.get('pad_param')
    if beside is not None:  # the image does not begin at the corner of what the network saw
        bboxes = bboxes - bboxes.new_tensor([beside[2], beside[0]]).tile(2)
    return scale_boxes(bboxes, [1 / factor for factor in _pair(img_meta['scale_factor'])])


def _pair(scale_factor: Any) -> tuple[float, float]:
    """(w, h) of a scale factor: a number for both, or a sequence that starts with them."""
    width, height = (scale_factor, scale_factor) if isinstance(scale_factor, (int, float)) else scale_factor[:2]
    return width, height


def _factors(level: LevelOutputs, rows: Tensor | slice) -> list[Tensor]:
    return [] if level.factors is None else [level.factors[rows].float().sigmoid()]


def _instances(bboxes: Tensor, scores: Tensor, labels: Tensor, factors: Tensor | None = None) -> InstanceData:
    found = InstanceData(bboxes=bboxes, scores=scores, labels=labels)
    if factors is not None:
        found.score_factors = factors
    return found
