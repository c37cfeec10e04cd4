"""Detectors of the library transformers as detectors of this package: D-FINE, DEIMv2, RT-DETR, RF-DETR, LW-DETR, Deformable DETR, YOLOS.

Naming: B images, (H, W) of their tensor, Q queries, C classes, K logits of a query (C; C + 1 with a background), n objects or detections of one image.
"""

import copy
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log
from mmengine.model import BaseModule, initialize
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdet.core.boxes import clip_boxes, get_box_wh
from mmdet.core.post_processing import filter_scores_and_topk
from mmdet.core.priors.grid import quotient
from mmdet.errors import CheckpointError, ConfigError, ModelInputError
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.models.dense_heads.base_dense_head import Losses, to_config_dict, to_original
from mmdet.models.dense_heads.batch_decode import BatchCandidates, padded_topk, rows_of, without_empty
from mmdet.models.dense_heads.class_rows import copy_class_rows, store_class_rows
from mmdet.registry import MODELS
from mmdet.structures import OptSampleList, SampleList
from mmdet.utils.class_names import shown

from ..inference import full_precision
from ..utils.transformers_library import (
    build_config,
    full_dict,
    load_pretrained,
    new_model,
    plain,
    pretrained_config,
    traceable,
    unchecked,
)
from .base import BaseDetector
from .transformers_families import adapt_model, family_of

_AUTO_CLASS = 'AutoModelForObjectDetection'
_TEST_CFG = dict(score_thr=0.0, max_per_img=300, nms=dict(type='nms', iou_threshold=0.7))
# Batch norms that keep the statistics 0 and 1 of their construction would be none.
_OF_NEW_WEIGHTS = dict(freeze_backbone_batch_norms=False)
# The library's names of parts: loss_<kind> of the last layer, then the layer (_aux_0, _0), the denoising queries (_dn_0) or the encoder (_enc, _0_enc).
_PART = re.compile(r'loss_(?P<kind>[a-z]+)(?P<group>_.+)?')


# ------------------------------------------------------------------------------------------------ decode


class QueryHead(BaseModule):
    """The last step of a detector with queries: from logits and boxes to detections; it has no parameters.

    Args:
        num_classes: C.
        test_cfg: ``score_thr``, ``max_per_img`` and, for the views of a larger detector, ``nms``.
        has_background: see :class:`Family`.
    """

    raw_kind = 'queries'
    output_names = ('logits', 'boxes')
    legacy = False  # corners are no pixels

    def __init__(self, num_classes: int, test_cfg: ConfigDict, has_background: bool):
        super().__init__()
        self.num_classes, self.test_cfg, self.has_background = num_classes, test_cfg, has_background

    def forward(self, outputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """What it gets: the library's model computes logits and boxes."""
        return outputs

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
        settings = self._settings(cfg)
        raw = zip(logits, boxes, batch_img_metas, strict=True)
        return [self._decode(scores, places, meta, settings, rescale) for scores, places, meta in raw]

    def batch_candidates(
        self,
        outputs: tuple[Tensor, Tensor],
        sizes_hw: Tensor,
        input_hw: tuple[int, int],
        cfg: dict | Config | None = None,
        with_nms: bool = True,
    ) -> BatchCandidates:
        """The detections of :meth:`predict_by_feat` in pixels of the input, for exporters: by operations whose sizes do not depend on values.

        Args:
            outputs: logits (B, Q, K) and boxes (B, Q, 4).
            sizes_hw: (B, 2) height and width of each image in pixels, before padding.
            input_hw, with_nms: not used.
            cfg: settings that replace ``test_cfg``.
        """
        settings, (logits, boxes) = self._settings(cfg), (output.float() for output in outputs)
        most = settings.get('max_per_img', -1)
        if self.has_background:
            values, classes = logits.softmax(-1)[..., :-1].max(-1)
        else:
            values = logits.sigmoid().flatten(1)
        scores, places, valid = padded_topk(values, most if most >= 0 else values.shape[1])
        rows, labels = (
            (places, classes.gather(1, places)) if self.has_background else quotient(places, self.num_classes)
        )
        height, width = sizes_hw.to(boxes.dtype).unsqueeze(2).unbind(1)  # (B, 1) each
        x1, y1, x2, y2 = rows_of(boxes, rows).unbind(-1)
        edges = [torch.minimum(edge.clamp(min=0), limit) for edge, limit in zip((x1, y1, x2, y2), (width, height) * 2)]
        scores = scores.masked_fill(~(valid & (scores > settings.get('score_thr', 0))), 0)
        return without_empty(BatchCandidates(torch.stack(edges, -1), scores, labels, self.num_classes))

    def batch_detections(self, boxes: Tensor, labels: Tensor, images: Tensor, found: BatchCandidates) -> Tensor:
        """The boxes: nothing comes behind them."""
        return boxes

    def _settings(self, cfg: dict | Config | None) -> ConfigDict:
        return self.test_cfg if cfg is None else to_config_dict(cfg)

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
            found.bboxes = to_original(found.bboxes, meta)
            if meta.get('pad_param') is not None:
                found.bboxes = clip_boxes(found.bboxes, meta['ori_shape'])
        widths, heights = get_box_wh(found.bboxes)
        least = max(cfg.get('min_bbox_size', 0), 0)
        return found[(widths > least) & (heights > least)]


# ------------------------------------------------------------------------------------------------ the detector


@MODELS.register_module()
class TransformersDetector(BaseDetector):
    """A detector of the library transformers (the extra ``transformers``), with the library's own loss.

    Images are padded at the right and at the bottom to what the model needs; boxes are relative to the padded tensor, and no mask is given to the
    model.

    Args:
        model: ``model_type`` and keys of the library's config; or ``from_pretrained``, a folder or an id of the hub, and keys that are others; see
            :func:`mmdet.models.utils.transformers_library.build_config`. The weights of ``from_pretrained`` are read when a training starts, or a
            prediction without a checkpoint. ``freeze_backbone_batch_norms`` is False where it is not given and there are no such weights.
        num_classes: C. Layers whose number of classes is another in ``from_pretrained`` are new, and a warning names them.
        load: ``'local'``, or ``'hub'``, which permits to fetch the files of ``from_pretrained``.
        with_cp: save memory in training by computing activations twice, where the model can do that.
        train_cfg: not used; for configs that have it.
        test_cfg: ``score_thr``, ``max_per_img`` (pairs of query and class), and ``nms``, which joins the views of a larger detector.
        data_preprocessor: ``mean`` and ``std`` are those that the weights were trained with.
        init_cfg: config of the initialisation, such as a checkpoint of this package.

    Raises:
        ConfigError: transformers is missing; a model type, key or value that it does not have; ``with_cp`` of a model that cannot do that.
    """

    data_preprocessor: DetDataPreprocessor
    end_to_end = True

    def __init__(
        self,
        model: dict,
        num_classes: int = 80,
        load: str = 'local',
        with_cp: bool = False,
        train_cfg: dict | Config | None = None,
        test_cfg: dict | Config | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(data_preprocessor or dict(type='DetDataPreprocessor'), init_cfg)
        if not isinstance(num_classes, int) or num_classes < 1:
            raise ConfigError('must be a whole number of 1 or more', field='num_classes', received=num_classes)
        self.load, self.given_config = load, plain(model)
        self.published: str | None = model.get('from_pretrained') if isinstance(model, Mapping) else None
        config = build_config(
            model, load=load, defaults=None if self.published else _OF_NEW_WEIGHTS, num_labels=num_classes
        )
        self.family = family_of(config)
        self.num_queries = self.max_objects = int(self.family.queries(config))
        self.train_cfg, self.test_cfg = (
            to_config_dict(train_cfg),
            to_config_dict({**_TEST_CFG, **to_config_dict(test_cfg)}),
        )
        self.model: Any = new_model(_AUTO_CLASS, config)
        for sentence in adapt_model(self.model, self.family, pretrained=self.published is not None):
            print_log(f'{type(self.model).__name__}: {sentence}', logger='current')
        if with_cp:
            self._save_memory()
        # From images to the raw outputs, in evaluation mode, in the place of the model: see mmdet.apis.backends.
        self.backend_network: nn.Module | None = None
        self.bbox_head = QueryHead(num_classes, self.test_cfg, self.family.has_background)

    def _save_memory(self) -> None:
        if not self.model.supports_gradient_checkpointing:
            message = f'{type(self.model).__name__} of transformers cannot compute activations twice'
            raise ConfigError(message, field='model.with_cp', received=True)
        self.model.activation_checkpointing_enable()

    @classmethod
    def max_objects_of(cls, cfg: Mapping) -> int | None:
        """The number of queries that a config asks for."""
        config = build_config(cfg['model'], load=cfg.get('load', 'local'))
        return int(family_of(config).queries(config))

    @property
    def backbone(self) -> nn.Module:
        """The first part of the library's model, which the images enter."""
        inner = getattr(self.model, 'model', self.model)
        return next(getattr(inner, name) for name in ('backbone', 'conv_encoder', 'vit') if hasattr(inner, name))

    def full_config(self) -> dict:
        """``model`` with every key of the library's config, and its version: what builds this network later, without files or network."""
        source = {} if self.published is None else dict(from_pretrained=self.published)
        return source | full_dict(self.model.config)

    def init_weights(self) -> None:
        """Read the checkpoint of ``init_cfg``, or the weights of ``from_pretrained``; new weights are those of the construction.

        Raises:
            CheckpointError: there are no such weights, or they do not fit.
        """
        if self.init_cfg:
            initialize(self, self.init_cfg)
        elif self.published is not None:
            self._load_published(self.published)
        self._is_init = True

    def _load_published(self, source: str) -> None:
        model, names = load_pretrained(_AUTO_CLASS, source, copy.deepcopy(self.model.config), load=self.load)
        # Frozen batch norms, the library's default, count no batches: files written with them do not have the counters, which start at 0.
        new = {name for name in (*names['missing'], *names['mismatched']) if not name.endswith('num_batches_tracked')}
        odd = sorted(name for name in new if not re.search(self.family.class_layers, name))
        if odd:
            message = f'the weights do not fit the network, which keys beside from_pretrained change: missing, or of another shape, {shown(odd)}'
            raise CheckpointError(message, file=source, field='model.model')
        self.model.load_state_dict(model.state_dict())
        said = f'Weights of {source}: {len(model.state_dict())} tensors'
        if new:
            said += f'; new, for other classes ({self.bbox_head.num_classes} here): {shown(sorted(new))}'
        if names['unexpected']:
            said += f'; not used: {shown(names["unexpected"])}'
        print_log(said, logger='current', level=logging.WARNING if new or names['unexpected'] else logging.INFO)

    @property
    def published_classes(self) -> tuple[str, ...] | None:
        """The names that the file of the weights gives to the classes; None where it has none, or others than there are here."""
        if self.published is None:
            return None
        names = pretrained_config(self.published, self.load).get('id2label') or {}
        ordered = tuple(str(name) for _, name in sorted(names.items(), key=lambda item: int(item[0])))
        given = len(ordered) == self.bbox_head.num_classes and ordered != tuple(
            f'LABEL_{k}' for k in range(len(ordered))
        )
        return ordered if given else None

    def take_class_rows(
        self, state_dict: dict, prefix: str, sources: Sequence[int], num_stored: int
    ) -> tuple[list[str], list[str]]:
        """Give the tensors of a checkpoint that have rows of classes the classes of this detector, see :class:`BaseDenseHead`."""
        found = (
            (prefix + name, copy_class_rows(own, state_dict[prefix + name], sources, num_stored))
            for name, own in self.state_dict().items()
            if prefix + name in state_dict and re.search(self.family.class_layers, name)
        )
        return store_class_rows(state_dict, found)

    # ------------------------------------------------------------------------------------------------ the three ways it is called

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> Losses:
        """``loss``, as the library weights and sums its parts, and the parts for the log, under names without that word.

        Parts of the last layer have the library's names (``vfl``, ``ce``, ``bbox``, ``giou``); those of the layers below are sums, ``aux_bbox``, those
        of the denoising queries ``dn_bbox``, those of the encoder's queries of RF-DETR and LW-DETR ``enc_bbox``. Together they are the loss.
        """
        images = self.padded(batch_inputs)
        targets, counts = self._targets(images, batch_data_samples)
        found = self.model(pixel_values=images, labels=targets)
        loss = found.loss
        if not any(len(target['class_labels']) for target in targets):
            # Without objects there are no denoising queries, and their embedding has no gradient, for which DDP would wait.
            for name, parameter in self.model.named_parameters():
                if 'denoising_class_embed' in name and parameter.requires_grad:
                    loss = loss + 0 * parameter.sum()
        return dict(loss=loss, **self._parts(found.loss_dict), **counts)

    def predict(self, batch_inputs: Tensor, batch_data_samples: SampleList, rescale: bool = True) -> SampleList:
        """The samples with ``pred_instances``, in pixels of the original image when ``rescale``."""
        metas = [sample.metainfo for sample in batch_data_samples]
        results = self.bbox_head.predict_by_feat(*self._forward(batch_inputs), metas, rescale=rescale)
        return self.add_pred_to_datasample(batch_data_samples, results)

    def _forward(self, batch_inputs: Tensor, batch_data_samples: OptSampleList = None) -> tuple[Tensor, Tensor]:
        """Logits (B, Q, K), and boxes (B, Q, 4) xyxy in pixels of the tensor, float32; in training mode there are more queries."""
        images = self.padded(batch_inputs)
        if not self.training and self.backend_network is not None:
            return self.backend_network(images)
        if not self.training and self.compiled_network is not None:
            with unchecked(self.model):
                return self.compiled_network(images)
        return self.raw_outputs(images)

    def raw_outputs(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`_forward` by the modules themselves, of images that have a size which the model takes."""
        found = self.model(pixel_values=images)
        height, width = images.shape[-2:]
        x, y, w, h = found.pred_boxes.float().unbind(-1)
        edges = (x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height
        return found.logits, torch.stack(edges, dim=-1)

    def extract_feat(self, batch_inputs: Tensor) -> tuple[Tensor, ...]:
        """What the decoder looks at, (B, cells, channels); of a model without decoder its logits and boxes."""
        found: list[Tensor] = []
        decoder = getattr(getattr(self.model, 'model', None), 'decoder', None)
        if decoder is None:
            return self._forward(batch_inputs)
        hook = decoder.register_forward_pre_hook(
            lambda layer, args, kwargs: found.append(kwargs['encoder_hidden_states']), with_kwargs=True
        )
        with hook:
            self._forward(batch_inputs)
        return tuple(found)

    def forward_shapes(self, batch_inputs: Tensor) -> Any:
        """Run every layer once without regard to values."""
        with unchecked(self.model):
            return self._forward(batch_inputs)

    def traced_outputs(self, images: Tensor, sizes_hw: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """:meth:`raw_outputs` for exporters."""
        with traceable(self.model):
            return self.raw_outputs(images)

    @property
    def predicts_from_raw_outputs(self) -> bool:
        """Whether no method between the images and the raw outputs is a subclass's own."""
        return self.own_steps() == []

    def own_steps(self) -> list[str]:
        """Methods of a subclass, which computing the raw outputs elsewhere would pass over."""
        names = ('predict', 'candidates', '_forward', 'raw_outputs')
        return [name for name in names if getattr(type(self), name) is not getattr(TransformersDetector, name)]

    # ------------------------------------------------------------------------------------------------ sizes, labels, losses

    @property
    def input_rule(self) -> dict[str, Any]:  # type: ignore[override]
        """The sizes to which images are padded: multiples of the model's divisor, and cells for all queries."""
        config, family = self.model.config, self.family
        return dict(
            divisor=family.divisor(config),
            least_side=family.least_side(config),
            strides=list(family.strides(config)),
            cells=self.num_queries,
        )

    def _targets(self, images: Tensor, samples: SampleList) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """The library's labels, and counts for the log, where they are not 0: objects without area, which are left out, and more than queries.

        The labels of an image are ``class_labels`` (n,), and ``boxes`` (n, 4) as centre and size, relative to the tensor. Regions that are ignored
        cannot be told to the library: what is found there counts as background.
        """
        height, width = images.shape[-2:]
        targets, empty, beyond = [], 0, 0
        for sample in samples:
            truth = sample.gt_instances
            self._check_labels(truth.labels)
            w, h = get_box_wh(truth.bboxes)
            inside = (w > 0) & (h > 0)
            x1, y1, x2, y2 = truth.bboxes[inside].float().unbind(-1)
            boxes = torch.stack(
                [(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height], -1
            )
            targets.append(dict(class_labels=truth.labels[inside], boxes=boxes))
            empty, beyond = empty + len(truth) - len(boxes), beyond + max(len(boxes) - self.num_queries, 0)
        counts = dict(boxes_without_area=empty, objects_beyond_queries=beyond)
        return targets, {name: images.new_tensor(float(count)) for name, count in counts.items() if count}

    def _check_labels(self, labels: Tensor) -> None:
        if len(labels) == 0:
            return
        low, high = torch.stack(labels.aminmax()).tolist()
        if low < 0 or high >= self.bbox_head.num_classes:
            message = f'labels must be in [0, {self.bbox_head.num_classes})'
            raise ModelInputError(message, field='gt_instances.labels', received=(low, high))

    def _parts(self, loss_dict: dict[str, Tensor]) -> dict[str, Tensor]:
        """The weighted parts of a loss, those of several layers together; without gradient."""
        weights = self.family.loss_weights(self.model.config)
        parts: dict[str, Tensor] = {}
        for name, value in loss_dict.items():
            match = _PART.fullmatch(name)
            if match is None:  # no part of the loss, such as the cardinality_error
                continue
            kind, group = match['kind'], match['group'] or ''
            role = '' if not group else next((role for role in ('dn', 'enc') if role in group), 'aux')
            key = f'{role}_{kind}' if role else kind
            parts[key] = parts.get(key, 0) + value.detach() * weights.get(f'loss_{kind}', 1)
        return parts
