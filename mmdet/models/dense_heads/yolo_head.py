"""Head of YOLOv3 (Redmon and Farhadi, arXiv 1804.02767).

Naming: B images, L levels (coarsest first), A anchors of a location, P_l = H_l * W_l * A anchors of a level (row-major, those of a location
together), P of all levels, C classes; D = 5 + C channels of an anchor: x, y, log w, log h, objectness, classes.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.config import Config, ConfigDict
from mmengine.model import bias_init_with_prob
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdet.core.boxes import get_box_tensor
from mmdet.core.post_processing import filter_scores_and_topk
from mmdet.errors import ConfigError, ModelInputError
from mmdet.registry import MODELS, TASK_UTILS

from ..backbones.darknet import BN_CFG, LEAKY_CFG
from ..inference import full_precision
from .anchor_head import _Ignored, by_level, flatten_map
from .base_dense_head import BaseDenseHead, LevelOutputs, Losses, to_config_dict, widened
from .batch_decode import FILLING, BatchCandidates, rows_of
from .level_outputs import BatchLevel

_SIGMOID: dict = dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0)
_ANCHORS = dict(
    type='YOLOAnchorGenerator',
    base_sizes=[
        [(116, 90), (156, 198), (373, 326)],
        [(30, 61), (62, 45), (59, 119)],
        [(10, 13), (16, 30), (33, 23)],
    ],
    strides=[32, 16, 8],
)


@MODELS.register_module()
class YOLOV3Head(BaseDenseHead):
    """A 3x3 convolution and a predictor on each level, whose maps hold boxes, objectness and classes together.

    A score is the product of class and objectness. Boxes may reach out of the image, as in mmdetection.

    Args:
        num_classes: C.
        in_channels: channels of the map of each level, coarsest first.
        out_channels: channels of the 3x3 convolution of each level.
        anchor_generator: config of the anchors.
        bbox_coder: config of the coder, :class:`~mmdet.core.boxes.YOLOBBoxCoder`.
        featmap_strides: strides of the levels; those of the anchors.
        one_hot_smoother: share of the class targets that is spread over all classes.
        conv_cfg, norm_cfg, act_cfg: configs of the 3x3 convolutions, their norms and activations.
        loss_cls, loss_conf, loss_xy, loss_wh: configs of the losses of classes, objectness, places and sides.
        train_cfg: ``assigner`` (:class:`~mmdet.core.assigners.GridAssigner`), ``sampler``.
        test_cfg: ``conf_thr``, the least objectness; ``score_thr``, which class probabilities must exceed, ``nms_pre``, the pairs of
            an anchor and a class that go to the NMS, the best of all levels by class probability; the rest as of :class:`BaseDenseHead`.
        init_cfg: initialisation; by default N(0, 0.01) for the predictors, whose biases stand for 8 objects a map, and a class
            probability of 0.01.

    Raises:
        ConfigError: lists of unequal length, levels with unequally many anchors, other strides than those of the anchors, or no assigner.
    """

    clips_boxes = False
    class_predictor = 'convs_pred'

    output_names = ('pred',)

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int],
        out_channels: Sequence[int] = (1024, 512, 256),
        anchor_generator: dict = _ANCHORS,
        bbox_coder: dict = dict(type='YOLOBBoxCoder'),  # noqa: B006  never written to
        featmap_strides: Sequence[int] = (32, 16, 8),
        one_hot_smoother: float = 0.0,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = BN_CFG,
        act_cfg: dict | None = LEAKY_CFG,
        loss_cls: dict = _SIGMOID,
        loss_conf: dict = _SIGMOID,
        loss_xy: dict = _SIGMOID,
        loss_wh: dict = dict(type='MSELoss', loss_weight=1.0),  # noqa: B006  never written to
        train_cfg: dict | Config | None = None,
        test_cfg: dict | Config | None = None,
        init_cfg: dict | list[dict] | None = None,
    ):
        super().__init__(init_cfg or dict(type='Normal', std=0.01, override=dict(name='convs_pred')))
        self.num_classes, self.one_hot_smoother = num_classes, one_hot_smoother
        self.in_channels, self.out_channels = tuple(in_channels), tuple(out_channels)
        self.featmap_strides = tuple(featmap_strides)
        self.train_cfg, self.test_cfg = to_config_dict(train_cfg), to_config_dict(test_cfg)
        self.prior_generator = TASK_UTILS.build(anchor_generator)
        self.bbox_coder = TASK_UTILS.build(bbox_coder)
        self.loss_cls, self.loss_conf = MODELS.build(loss_cls), MODELS.build(loss_conf)
        self.loss_xy, self.loss_wh = MODELS.build(loss_xy), MODELS.build(loss_wh)
        self._check_levels_fit()
        self.num_base_priors = self.prior_generator.num_base_priors[0]
        if self.train_cfg:
            if 'assigner' not in self.train_cfg:
                raise ConfigError('is needed', field='train_cfg.assigner')
            self.assigner = TASK_UTILS.build(self.train_cfg.assigner)
            self.sampler = TASK_UTILS.build(self.train_cfg.get('sampler') or dict(type='PseudoSampler'))
        options: dict[str, Any] = dict(padding=1, conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        pairs = zip(self.in_channels, self.out_channels)
        self.convs_bridge = nn.ModuleList(ConvModule(*pair, 3, **options) for pair in pairs)
        channels = self.num_base_priors * self.num_attrib
        self.convs_pred = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in self.out_channels)

    def _check_levels_fit(self) -> None:
        generator = self.prior_generator
        lengths = len(self.in_channels), len(self.out_channels), len(self.featmap_strides), generator.num_levels
        if len(set(lengths)) > 1:
            message = 'one entry for each level of the anchors is needed'
            raise ConfigError(message, field='in_channels, out_channels, featmap_strides, anchors', received=lengths)
        if [(stride, stride) for stride in self.featmap_strides] != generator.strides:
            message = f'must be those of the anchors, {generator.strides}'
            raise ConfigError(message, field='featmap_strides', received=self.featmap_strides)
        if len(set(generator.num_base_priors)) > 1:
            message = 'each level needs equally many'
            raise ConfigError(message, field='anchor_generator', received=generator.num_base_priors)

    @property
    def num_levels(self) -> int:
        """Levels L."""
        return len(self.featmap_strides)

    @property
    def num_anchors(self) -> int:
        """A, by its name in mmdetection 2.x."""
        return self.num_base_priors

    @property
    def num_attrib(self) -> int:
        """D."""
        return 5 + self.num_classes

    def _class_rows_of(self, name: str) -> tuple[int, ...] | None:
        return (self.num_base_priors, 5) if name.startswith('convs_pred.') else None

    def init_weights(self) -> None:
        """As ``init_cfg`` says, then the biases of objectness and classes."""
        super().init_weights()
        for conv, stride in zip(self.convs_pred, self.featmap_strides):
            assert isinstance(conv.bias, Tensor)
            bias = conv.bias.data.view(self.num_base_priors, -1)
            # 8 objects on the cells of a map of 608 x 608 pixels, the size of the published configs.
            bias[:, 4] = bias_init_with_prob(8 / (608 / stride) ** 2)
            bias[:, 5:] = bias_init_with_prob(0.01)

    def forward(self, x: tuple[Tensor, ...]) -> tuple[list[Tensor]]:
        """L maps (B, in_channels[l], H_l, W_l), coarsest first, to one list of L maps (B, A D, H_l, W_l), in a tuple."""
        if len(x) != self.num_levels:
            raise ModelInputError(f'the head has {self.num_levels} levels; as many maps are needed', received=len(x))
        layers = zip(self.convs_bridge, self.convs_pred, x)
        return ([predict(bridge(level)) for bridge, predict, level in layers],)

    # ------------------------------------------------------------------------------------------------ decode

    @full_precision
    def predict_by_feat(  # type: ignore[override]
        self,
        pred_maps: list[Tensor],
        batch_img_metas: list[dict] | None = None,
        cfg: dict | Config | None = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> list[InstanceData]:
        """Detections of the raw outputs, L maps (B, A D, H_l, W_l); see :meth:`BaseDenseHead.predict_by_feat`."""
        return super().predict_by_feat(*self._split(pred_maps), batch_img_metas, cfg, rescale, with_nms)

    def _split(self, pred_maps: list[Tensor]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """L maps (B, A D, H_l, W_l) to class scores, boxes and objectness."""
        by_anchor = [level.view(level.shape[0], self.num_base_priors, -1, *level.shape[2:]) for level in pred_maps]
        scores, boxes, objectness = (
            [level[:, :, channels].flatten(1, 2) for level in by_anchor]
            for channels in (slice(5, None), slice(4), slice(4, 5))
        )
        return scores, boxes, objectness

    def decode_boxes(self, bbox_pred: Tensor, priors: Tensor, stride: float, img_shape: tuple[int, int]) -> Tensor:
        """Raw box outputs (m, 4) and their anchors (m, 4) to (m, 4) xyxy boxes in input pixels, not clipped."""
        place, sides = bbox_pred.split(2, dim=-1)
        return self.bbox_coder.decode(priors, torch.cat([place.sigmoid(), sides], dim=-1), stride)

    def _candidates(self, levels: list[LevelOutputs], cfg: ConfigDict, img_shape: tuple[int, int]) -> InstanceData:
        """The best pairs of all levels, among the anchors with enough objectness."""
        least = cfg.get('conf_thr', -1)
        parts = []
        for level in levels:
            assert level.factors is not None
            objectness = level.factors.float().sigmoid()
            rows = (objectness >= least).nonzero().squeeze(1) if least > 0 else slice(None)
            parts.append((self._level_boxes(level, rows, img_shape), level.scores[rows], objectness[rows]))
        boxes, logits, objectness = (torch.cat(fields) for fields in zip(*parts))
        scores, rows, labels = filter_scores_and_topk(logits, cfg.get('score_thr', 0), cfg.get('nms_pre', -1))
        return InstanceData(bboxes=boxes[rows], scores=scores, labels=labels, score_factors=objectness[rows])

    def _batch_levels(self, *outputs: Any) -> list[BatchLevel]:
        return super()._batch_levels(*self._split(*outputs))

    def _batch_candidates(
        self, levels: list[BatchLevel], cfg: ConfigDict, limits: tuple[Tensor, Tensor]
    ) -> BatchCandidates:
        factors_of_levels = [level.factors for level in levels if level.factors is not None]  # all have them
        objectness = torch.cat(factors_of_levels, dim=1).sigmoid()  # (B, P)
        boxes = torch.cat([self._boxes_of_rows(level, None, limits) for level in levels], dim=1)
        logits = torch.cat([level.scores for level in levels], dim=1)
        least = cfg.get('conf_thr', -1)
        if least > 0:
            logits = logits.masked_fill((objectness < least).unsqueeze(-1), FILLING)
        rows, scores, labels = self._chosen(logits, False, ConfigDict(cfg, nms_pre_rule='pairs'))  # as in _candidates
        factors = rows_of(objectness, rows)
        scores = scores * (factors if labels is not None else factors.unsqueeze(-1))
        return BatchCandidates(rows_of(boxes, rows), scores, labels, self.num_classes)

    # ----------------------------------------------------------------------------------------------- targets

    def responsible_flags(
        self, featmap_sizes: list[tuple[int, int]], gt_bboxes: Tensor, device: torch.device | str
    ) -> list[Tensor]:
        """Which anchors lie in a cell with the centre of a box.

        Args:
            featmap_sizes: (H_l, W_l).
            gt_bboxes: (G, 4) xyxy; a centre outside the map counts for the cell at its border.
            device: device of the result.

        Returns:
            by level, bool (P_l,).
        """
        boxes = get_box_tensor(gt_bboxes).to(device)
        centers = (boxes[:, :2] + boxes[:, 2:]) * 0.5
        flags = []
        for (height, width), stride in zip(featmap_sizes, self.featmap_strides):
            column, row = (centers / stride).floor().long().clamp(min=0).unbind(1)
            cells = torch.zeros(height, width, dtype=torch.bool, device=device)
            cells[row.clamp(max=height - 1), column.clamp(max=width - 1)] = True
            flags.append(cells.flatten().repeat_interleave(self.num_base_priors))
        return flags

    @torch.no_grad()
    def get_targets(
        self,
        anchor_list: list[list[Tensor]],
        responsible_flag_list: list[list[Tensor]],
        batch_gt_instances: list[InstanceData],
    ) -> tuple[list[Tensor], list[Tensor]]:
        """What the anchors of a batch are trained towards.

        Args:
            anchor_list: of each image by level, (P_l, 4).
            responsible_flag_list: of each image :meth:`responsible_flags`.
            batch_gt_instances: ``bboxes`` (G, 4), ``labels`` (G,) of each image.

        Returns:
            by level, targets (B, P_l, D) in the form of the outputs, 0 where an anchor is not positive, with an objectness of 1 where it
            is; and (B, P_l), 1 for background, 0 otherwise.

        Raises:
            ModelInputError: a label outside [0, C).
        """
        counts = [len(level) for level in anchor_list[0]]
        singles = zip(*map(self._get_targets_single, anchor_list, responsible_flag_list, batch_gt_instances))
        targets, background = (by_level(images, counts) for images in singles)
        return targets, background

    def _get_targets_single(
        self, anchors: list[Tensor], responsible_flags: list[Tensor], gt_instances: InstanceData
    ) -> tuple[Tensor, Tensor]:
        """Targets (P, D) and background (P,) of one image."""
        self._check_labels(gt_instances.labels)
        flat = torch.cat(anchors)
        strides = torch.cat([flat.new_full((len(a),), s) for a, s in zip(anchors, self.featmap_strides)])
        priors = InstanceData(priors=flat, responsible_flags=torch.cat(responsible_flags))
        sampled = self.sampler.sample(self.assigner.assign(priors, gt_instances), priors, gt_instances)
        positive = sampled.pos_inds
        target = flat.new_zeros(len(flat), self.num_attrib)
        target[positive, :4] = self.bbox_coder.encode(sampled.pos_priors, sampled.pos_gt_bboxes, strides[positive])
        target[positive, 4] = 1
        classes = F.one_hot(sampled.pos_gt_labels, self.num_classes).to(target)
        smoothed = self.one_hot_smoother
        target[positive, 5:] = classes * (1 - smoothed) + smoothed / self.num_classes if smoothed else classes
        background = flat.new_zeros(len(flat))
        background[sampled.neg_inds] = 1
        return target, background

    # ------------------------------------------------------------------------------------------------ losses

    def loss_by_feat(
        self,
        pred_maps: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: _Ignored = None,
    ) -> Losses:
        """Losses of the raw outputs: ``loss_cls``, ``loss_conf``, ``loss_xy`` and ``loss_wh``, each a list over levels.

        Ignored boxes are not used, and the padding is background.
        """
        device = pred_maps[0].device
        sizes = [(level.size(2), level.size(3)) for level in pred_maps]
        anchors = self.prior_generator.grid_priors(sizes, device=device)
        flags = [self.responsible_flags(sizes, gt.bboxes, device) for gt in batch_gt_instances]
        targets, background = self.get_targets([anchors] * len(batch_img_metas), flags, batch_gt_instances)
        # In float32 also under autocast: these are sums over hundreds of thousands of terms.
        with torch.autocast(device.type, enabled=False):
            parts = zip(*map(self.loss_by_feat_single, map(widened, pred_maps), targets, background))
            return dict(zip(('loss_cls', 'loss_conf', 'loss_xy', 'loss_wh'), map(list, parts)))

    def loss_by_feat_single(self, pred_map: Tensor, target_map: Tensor, neg_map: Tensor) -> tuple[Tensor, ...]:
        """The four losses of one level: its map (B, A D, H, W), targets (B, P_l, D) and background (B, P_l)."""
        pred = flatten_map(pred_map, self.num_base_priors)  # (B, P_l, D)
        positive = target_map[..., 4]
        weight = positive[..., None]
        loss_cls = self.loss_cls(pred[..., 5:], target_map[..., 5:], weight=weight)
        loss_conf = self.loss_conf(pred[..., 4], positive, weight=(positive + neg_map).clamp(max=1))
        loss_xy = self.loss_xy(pred[..., :2], target_map[..., :2], weight=weight)
        return loss_cls, loss_conf, loss_xy, self.loss_wh(pred[..., 2:4], target_map[..., 2:4], weight=weight)
