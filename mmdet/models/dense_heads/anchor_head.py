"""Heads whose boxes are regressed from anchors.

Naming: B images, L levels, A anchors of a location, P_l = H_l * W_l * A anchors of a level (row-major, those of a location together),
P of all levels (finest first), C classes, K class channels of an anchor, D box channels of an anchor, N positives of the batch.
"""

import functools
from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmengine.config import Config
from mmengine.dist import all_reduce
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdet.errors import ConfigError, ModelInputError
from mmdet.registry import MODELS, TASK_UTILS

from .base_dense_head import BaseDenseHead, Losses, candidate_rule, to_config_dict, widened
from .level_outputs import flatten_map

_Ignored = list[InstanceData | None] | None
# Keeps an average over zero samples finite, as in the losses.
_EPS = torch.finfo(torch.float32).eps


@MODELS.register_module()
class AnchorHead(BaseDenseHead):
    """Scores and box deltas of every anchor, by one 1x1 convolution each; base of the heads with anchors.

    The methods have the names, arguments and results of mmdetection 3.x, so that a subclass may replace any of them.

    Args:
        num_classes: C.
        in_channels: channels of the feature maps.
        feat_channels: channels of the towers that subclasses have.
        anchor_generator: config of the anchors.
        bbox_coder: config of the coder between anchors, deltas and boxes.
        reg_decoded_bbox: the box loss compares boxes instead of deltas, as losses on overlaps need.
        loss_cls: config of the class loss. With ``use_sigmoid`` there are C class channels; otherwise one more, the background.
        loss_bbox: config of the box loss.
        train_cfg: ``assigner``, ``sampler`` (``PseudoSampler`` unless given), ``allowed_border``, ``pos_weight``.
        test_cfg: see :class:`BaseDenseHead`.
        init_cfg: initialisation; by default N(0, 0.01).

    Attributes:
        cls_out_channels: K.
        num_base_priors: A.

    Raises:
        ConfigError: no class, no assigner in ``train_cfg``, an unknown ``nms_pre_rule``, or a class loss that takes the other form of scores.
    """

    _default_init_cfg: dict = dict(type='Normal', layer='Conv2d', std=0.01)
    _default_anchors: dict = dict(
        type='AnchorGenerator', scales=[8, 16, 32], ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32, 64]
    )
    in_channels: Any  # a number, or of heads with other levels one for each
    _default_assigner: dict | None = None
    # For subclasses with towers of convolutions.
    stacked_convs = 0
    conv_cfg: dict | None = None
    norm_cfg: dict | None = None
    act_cfg: dict | None = dict(type='ReLU')
    kernel_size = 3
    conv_module: type[nn.Module] = ConvModule

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        feat_channels: int = 256,
        anchor_generator: dict | None = None,
        bbox_coder: dict | None = None,
        reg_decoded_bbox: bool = False,
        loss_cls: dict | None = None,
        loss_bbox: dict | None = None,
        train_cfg: dict | Config | None = None,
        test_cfg: dict | Config | None = None,
        init_cfg: dict | list[dict] | None = None,
    ):
        super().__init__(init_cfg or self._default_init_cfg)
        if num_classes < 1:
            raise ConfigError('must be at least 1', field='num_classes', received=num_classes)
        loss_cls = loss_cls or dict(type='CrossEntropyLoss', use_sigmoid=True)
        self.num_classes, self.in_channels, self.feat_channels = num_classes, in_channels, feat_channels
        self.use_sigmoid_cls = self.scores_are_probabilities or bool(loss_cls.get('use_sigmoid', False))
        self.cls_out_channels = num_classes + (not self.use_sigmoid_cls)
        self.reg_decoded_bbox = reg_decoded_bbox
        self.train_cfg, self.test_cfg = to_config_dict(train_cfg), to_config_dict(test_cfg)
        candidate_rule(self.test_cfg)

        self.prior_generator = TASK_UTILS.build(anchor_generator or self._default_anchors)
        self.num_base_priors = self.prior_generator.num_base_priors[0]
        self.bbox_coder = TASK_UTILS.build(bbox_coder or dict(type='DeltaXYWHBBoxCoder'))
        self.loss_cls = MODELS.build(loss_cls)
        self.loss_bbox = MODELS.build(loss_bbox or dict(type='SmoothL1Loss', beta=1 / 9))
        self._check_form_of_scores()
        if self.train_cfg:
            assigner = self.train_cfg.get('assigner', self._default_assigner)
            if assigner is None:
                raise ConfigError('is needed', field='train_cfg.assigner')
            self.assigner = TASK_UTILS.build(assigner)
            sampler = self.train_cfg.get('sampler') or dict(type='PseudoSampler')
            self.sampler = TASK_UTILS.build(sampler, default_args=dict(context=self))
        self._init_layers()

    def _check_form_of_scores(self) -> None:
        if getattr(self.loss_cls, 'activated', self.scores_are_probabilities) == self.scores_are_probabilities:
            return
        form, needed = ('probabilities', False) if self.scores_are_probabilities else ('logits', True)
        message = f'{type(self).__name__} returns {form}: its loss needs use_sigmoid={needed}'
        raise ConfigError(message, field='loss_cls', received=repr(self.loss_cls))

    # ------------------------------------------------------------------------------------------------ layers

    @property
    def num_anchors(self) -> int:
        """A, by its name in mmdetection 2.x."""
        return self.num_base_priors

    @property
    def anchor_generator(self) -> Any:
        """The prior generator, by its name in mmdetection 2.x."""
        return self.prior_generator

    @property
    def num_levels(self) -> int:
        """Pyramid levels L."""
        return self.prior_generator.num_levels

    def _init_layers(self) -> None:
        self.conv_cls = nn.Conv2d(self.in_channels, self.num_base_priors * self.cls_out_channels, 1)
        self.conv_reg = nn.Conv2d(self.in_channels, self.num_base_priors * self._box_channels, 1)

    @property
    def _box_channels(self) -> int:
        return getattr(self.bbox_coder, 'encode_size', 4)

    @property
    def _tower_channels(self) -> int:
        return self.feat_channels if self.stacked_convs else self.in_channels

    def _tower(self) -> nn.ModuleList:
        conv: dict = dict(kernel_size=self.kernel_size, padding=self.kernel_size // 2)
        conv.update(conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg, act_cfg=self.act_cfg)
        return nn.ModuleList(
            self.conv_module(self.in_channels if i == 0 else self.feat_channels, self.feat_channels, **conv)
            for i in range(self.stacked_convs)
        )

    # ----------------------------------------------------------------------------------------------- forward

    def forward(self, x: tuple[Tensor, ...]) -> tuple[list[Tensor], ...]:
        """L maps (B, in_channels, H_l, W_l) to class scores, L maps (B, A K, H_l, W_l), and box outputs, (B, A D, H_l, W_l)."""
        self._check_levels(x)
        return tuple(map(list, zip(*(self.forward_single(level) for level in x))))

    def _check_levels(self, x: Sequence[Tensor]) -> None:
        if len(x) != self.num_levels:
            raise ModelInputError(f'the head has {self.num_levels} levels; as many maps are needed', received=len(x))

    def forward_single(self, x: Tensor, *args: Any) -> tuple[Tensor, ...]:
        """Raw outputs of one level."""
        return self.conv_cls(x), self.conv_reg(x)

    def forward_towers(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features of the class and the box tower, (B, feat_channels, H, W) each."""
        cls_feat = reg_feat = x
        for conv in self.cls_convs:
            cls_feat = conv(cls_feat)
        for conv in self.reg_convs:
            reg_feat = conv(reg_feat)
        return cls_feat, reg_feat

    # ----------------------------------------------------------------------------------------------- targets

    def get_anchors(
        self, featmap_sizes: list[tuple[int, int]], batch_img_metas: list[dict], device: torch.device | str = 'cuda'
    ) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
        """Anchors (shared by the images) and valid flags of every image, each a list over levels."""
        priors = self.prior_generator.grid_priors(featmap_sizes, device=device)
        flags = [
            self.prior_generator.valid_flags(featmap_sizes, meta.get('pad_shape', meta['img_shape'])[:2], device)
            for meta in batch_img_metas
        ]
        return [priors] * len(batch_img_metas), flags

    @torch.no_grad()
    def get_targets(
        self,
        anchor_list: list[list[Tensor]],
        valid_flag_list: list[list[Tensor]],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: _Ignored = None,
        unmap_outputs: bool = True,
        return_sampling_results: bool = False,
    ) -> tuple:
        """What the anchors of a batch are trained towards.

        Args:
            anchor_list, valid_flag_list: of :meth:`get_anchors`.
            batch_gt_instances: ``bboxes`` (G, 4), ``labels`` (G,) of each image.
            batch_img_metas: B dicts with ``img_shape``.
            batch_gt_instances_ignore: boxes to ignore, or None, of each image.
            unmap_outputs: whether targets have rows for the anchors outside the image too.
            return_sampling_results: whether the sampled anchors of the images are returned as well.

        Returns:
            by level ``labels`` (B, P_l), ``label_weights`` (B, P_l), ``bbox_targets`` (B, P_l, 4), ``bbox_weights`` (B, P_l, 4); by what
            the losses are divided; the sampling results where asked for; whatever more :meth:`_get_targets_single` returned, by level.

        Raises:
            ModelInputError: a ground-truth label outside [0, C), or an image with no valid anchor.
        """
        counts = [len(level) for level in anchor_list[0]]
        ignored = batch_gt_instances_ignore or [None] * len(anchor_list)
        one_image = functools.partial(self._get_targets_single, unmap_outputs=unmap_outputs)
        flat = (map(torch.cat, values) for values in (anchor_list, valid_flag_list))
        single = map(one_image, *flat, batch_gt_instances, batch_img_metas, ignored)
        labels, label_weights, targets, weights, _, _, sampled, *more = zip(*single)
        found = [by_level(values, counts) for values in (labels, label_weights, targets, weights)]
        avg_factor = sum(result.avg_factor for result in sampled)
        results = [list(sampled)] if return_sampling_results else []
        return (*found, avg_factor, *results, *(by_level(values, counts) for values in more))

    def _get_targets_single(
        self,
        flat_anchors: Tensor,
        valid_flags: Tensor,
        gt_instances: InstanceData,
        img_meta: dict,
        gt_instances_ignore: InstanceData | None = None,
        unmap_outputs: bool = True,
    ) -> tuple:
        """Targets of one image.

        Returns:
            ``labels`` (P,), ``label_weights`` (P,), ``bbox_targets`` (P, 4), ``bbox_weights`` (P, 4), rows of the positives and of the
            negatives among the valid anchors, and the sampling result.
        """
        inside = self._inside_flags(flat_anchors, valid_flags, img_meta)
        self._check_labels(gt_instances.labels)
        anchors = InstanceData(priors=flat_anchors[inside])
        assigned = self.assigner.assign(anchors, gt_instances, gt_instances_ignore)
        return self._targets_of(assigned, anchors, gt_instances, inside if unmap_outputs else None)

    def _targets_of(self, assigned: Any, anchors: InstanceData, gt: InstanceData, inside: Tensor | None) -> tuple:
        """The results of :meth:`_get_targets_single`, as rows of all anchors where ``inside`` says which of them were assigned."""
        sampled = self.sampler.sample(assigned, anchors, gt)
        pos, neg, count = sampled.pos_inds, sampled.neg_inds, len(anchors.priors)
        labels = pos.new_full((count,), self.num_classes)
        label_weights = anchors.priors.new_zeros(count)
        label_weights[neg] = 1
        pos_weight = self.train_cfg.get('pos_weight', -1)
        labels[pos], label_weights[pos] = sampled.pos_gt_labels, pos_weight if pos_weight > 0 else 1
        pos_targets = self._positive_targets(sampled.pos_priors, sampled.pos_gt_bboxes)
        targets = label_weights.new_zeros(count, pos_targets.size(-1))
        weights = torch.zeros_like(targets)
        targets[pos], weights[pos] = pos_targets, 1
        if inside is not None:
            rows = inside.nonzero().squeeze(1)
            labels = unmapped(labels, rows, len(inside), self.num_classes)
            label_weights, targets, weights = (
                unmapped(values, rows, len(inside)) for values in (label_weights, targets, weights)
            )
        return labels, label_weights, targets, weights, pos, neg, sampled

    def _positive_targets(self, priors: Tensor, gt_bboxes: Tensor) -> Tensor:
        return gt_bboxes if self.reg_decoded_bbox else self.bbox_coder.encode(priors, gt_bboxes)

    def _inside_flags(self, priors: Tensor, valid: Tensor, meta: dict) -> Tensor:
        """Mask of the valid priors that exceed the image by less than ``allowed_border``; a negative border allows all."""
        valid = valid.bool()
        border = self.train_cfg.get('allowed_border', -1)
        if border >= 0:
            height, width = meta['img_shape'][:2]
            low, high = priors[:, :2].amin(1) >= -border, priors[:, 2] < width + border
            valid = valid & low & high & (priors[:, 3] < height + border)
        if not valid.any():
            path, shape = meta.get('img_path'), meta['img_shape']
            raise ModelInputError('no prior lies inside the image', record=path, field='img_shape', received=shape)
        return valid

    # ------------------------------------------------------------------------------------------------ losses

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: _Ignored = None,
    ) -> Losses:
        """Losses of the raw outputs, ``loss_cls`` and ``loss_bbox``, each a list over levels; divided by the positives of this process."""
        sizes = [(score.size(2), score.size(3)) for score in cls_scores]
        anchor_list, flag_list = self.get_anchors(sizes, batch_img_metas, device=cls_scores[0].device)
        labels, label_weights, targets, weights, avg_factor, *_ = self.get_targets(
            anchor_list, flag_list, batch_gt_instances, batch_img_metas, batch_gt_instances_ignore
        )
        anchors = [level.expand(len(batch_img_metas), -1, -1) for level in anchor_list[0]]
        # In float32 also under autocast: these are sums over hundreds of thousands of terms.
        with torch.autocast(cls_scores[0].device.type, enabled=False):
            one_level = functools.partial(self.loss_by_feat_single, avg_factor=avg_factor)
            maps = (map(widened, levels) for levels in (cls_scores, bbox_preds))
            parts = list(map(one_level, *maps, anchors, labels, label_weights, targets, weights))
        loss_cls, loss_bbox, *_ = zip(*parts)
        return dict(loss_cls=list(loss_cls), loss_bbox=list(loss_bbox))

    def loss_by_feat_single(
        self,
        cls_score: Tensor,
        bbox_pred: Tensor,
        anchors: Tensor,
        labels: Tensor,
        label_weights: Tensor,
        bbox_targets: Tensor,
        bbox_weights: Tensor,
        avg_factor: float,
    ) -> tuple[Tensor, ...]:
        """Class and box loss of one level: maps (B, A K, H, W) and (B, A D, H, W), anchors (B, P_l, 4), and its :meth:`get_targets`."""
        scores = flatten_map(cls_score, self.num_base_priors).flatten(0, 1)
        loss_cls = self.loss_cls(scores, labels.flatten(), label_weights.flatten(), avg_factor=avg_factor)
        deltas = flatten_map(bbox_pred, self.num_base_priors).flatten(0, 1)
        bbox_targets, bbox_weights = bbox_targets.flatten(0, 1), bbox_weights.flatten(0, 1)
        if self.reg_decoded_bbox:
            # The boxes without weight, nearly all of them, need not be decoded.
            rows = bbox_weights.any(1).nonzero().squeeze(1)
            deltas = self.bbox_coder.decode(anchors.flatten(0, 1)[rows], deltas[rows])
            bbox_targets, bbox_weights = bbox_targets[rows], bbox_weights[rows]
        return loss_cls, self.loss_bbox(deltas, bbox_targets, bbox_weights, avg_factor=avg_factor)


def unmapped(values: Tensor, rows: Tensor, count: int, fill: float = 0) -> Tensor:
    """(n, ...) values of the ``rows`` (n,) of a table with ``count`` rows, (count, ...); the other rows hold ``fill``."""
    return values.new_full((count, *values.shape[1:]), fill).index_copy_(0, rows, values)


def by_level(images: Sequence[Tensor], counts: list[int]) -> list[Tensor]:
    """B tensors (P, ...) to L tensors (B, P_l, ...), given the P_l."""
    return list(torch.stack(list(images)).split(counts, dim=1))


def flatten_levels(maps: list[Tensor]) -> Tensor:
    """(B, D, H_l, W_l) maps of all levels to (B, P, D)."""
    return torch.cat([flatten_map(level) for level in maps], dim=1)


def mean_over_processes(*values: Tensor | float, like: Tensor) -> list[Tensor]:
    """Scalars, each averaged over the processes, of the type and on the device of ``like``."""
    stacked = torch.stack([torch.as_tensor(value, dtype=like.dtype, device=like.device).detach() for value in values])
    all_reduce(stacked, op='mean')
    return list(stacked.unbind())
