"""Heads with one square anchor a location, matched level by level as in ATSS: the base of GFL, ATSS and their kin.

Naming: B images, L levels, P_l = H_l * W_l anchors of a level (row-major), P of all levels (finest first), C classes, N positives of the
batch.
"""

import dataclasses
import functools

import torch
from mmcv.cnn import Scale
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdet.errors import ConfigError
from mmdet.models.losses.reduction import is_own_loss

from .anchor_head import AnchorHead, _Ignored, by_level


@dataclasses.dataclass
class AnchorTargets:
    """What the anchors of one batch are trained towards, with a list of the positives.

    Attributes:
        labels: (B, P) int64; the number of classes for background.
        label_weights: (B, P); 0 where the anchor lies outside its image's padded shape.
        pos_inds: (N,) positive rows of the flattened (B * P,).
        pos_bboxes: (N, 4) xyxy of their ground truth, in pixels.
        pos_centers: (N, 2) centres x, y of their anchors, in pixels.
        pos_strides: (N, 1) strides of their levels.
        pos_levels: (N,) levels.
        num_samples: sum over the images of max(positives, 1).
        num_level_priors: anchors per level, summing to P.
        pos_quality: (N,) what the class scores are trained towards; None for the overlap of the predicted box.
    """

    labels: Tensor
    label_weights: Tensor
    pos_inds: Tensor
    pos_bboxes: Tensor
    pos_centers: Tensor
    pos_strides: Tensor
    pos_levels: Tensor
    num_samples: int
    num_level_priors: list[int]
    pos_quality: Tensor | None = None

    def level_sums(self, values: Tensor) -> list[Tensor]:
        """Sums of values (N,) of the positives, by level."""
        # A product rather than an indexed sum: deterministic on every device, and connected to the graph with N = 0 too.
        levels = torch.arange(len(self.num_level_priors), device=self.pos_levels.device)
        return list(((levels[:, None] == self.pos_levels[None, :]).to(values.dtype) @ values).unbind())


class SingleAnchorHead(AnchorHead):
    """Base of heads with one square anchor a location, matched level by level as in ATSS, and towers shared by the levels.

    The positives are few, so :meth:`match_targets` lists them, and the losses of boxes are computed for all levels at once
    (``_losses_at_once``). A subclass that replaces one of the methods ``_step_names``, which that way does not use, is trained level by
    level instead (``_losses_by_level``); both give the same numbers.
    """

    _default_anchors = dict(
        type='AnchorGenerator', ratios=[1.0], octave_base_scale=8, scales_per_octave=1, strides=[8, 16, 32, 64, 128]
    )
    _default_assigner = dict(type='ATSSAssigner', topk=9)
    _step_names: tuple[str, ...] = ('get_targets', '_get_targets_single', 'loss_by_feat_single')

    def _init_layers(self) -> None:
        if set(self.prior_generator.num_base_priors) != {1}:
            message = f'{type(self).__name__} regresses from one prior per location: give one ratio and one scale'
            raise ConfigError(message, field='anchor_generator', received=self.prior_generator.num_base_priors)
        self.sampling = False  # as in mmdetection: all anchors are used
        self.cls_convs, self.reg_convs = self._tower(), self._tower()
        self._init_predictors()
        self.scales = nn.ModuleList(Scale(1.0) for _ in range(self.num_levels))

    def _init_predictors(self) -> None:
        raise NotImplementedError

    def forward(self, x: tuple[Tensor, ...]) -> tuple[list[Tensor], ...]:
        """L maps (B, in_channels, H_l, W_l) to lists over the levels of what :meth:`forward_single` returns."""
        self._check_levels(x)
        return tuple(map(list, zip(*map(self.forward_single, x, self.scales))))

    # ------------------------------------------------------------------------------- targets, all levels at once

    @torch.no_grad()
    def match_targets(
        self,
        featmap_sizes: list[tuple[int, int]],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: _Ignored = None,
        device: torch.device | str = 'cuda',
    ) -> AnchorTargets:
        """Match the anchors of every image to its ground truth.

        Raises:
            ModelInputError: a ground-truth label outside [0, C), or an image none of whose anchors is valid.
        """
        (level_priors, *_), all_flags = self.get_anchors(featmap_sizes, batch_img_metas, device)
        num_level_priors = [len(priors) for priors in level_priors]
        priors = torch.cat(level_priors)  # (P, 4)
        ignored = batch_gt_instances_ignore or [None] * len(batch_img_metas)
        valid, matches = [], []
        for i, gt in enumerate(batch_gt_instances):
            valid.append(self._inside_flags(priors, torch.cat(all_flags[i]), batch_img_metas[i]))
            matches.append(self._match_single(priors, valid[i], num_level_priors, gt, ignored[i]))
        return self._gather_targets(priors, num_level_priors, valid, matches, batch_gt_instances)

    def _gather_targets(
        self,
        priors: Tensor,
        num_level_priors: list[int],
        valid: list[Tensor],
        matches: list[tuple[Tensor, Tensor, Tensor]],
        batch_gt_instances: list[InstanceData],
    ) -> AnchorTargets:
        """Targets of a batch, given for each image which priors are valid, and what :meth:`_match_single` returns."""
        batch, num_priors = len(matches), len(priors)
        labels = priors.new_full((batch, num_priors), self.num_classes, dtype=torch.long)
        label_weights = priors.new_zeros(batch, num_priors)
        image_inds, image_bboxes, num_samples = [], [], 0
        for i, (gt, (inds, gt_inds, unused)) in enumerate(zip(batch_gt_instances, matches)):
            label_weights[i] = 1 if self.legacy else valid[i]
            label_weights[i, unused] = 0
            if len(inds):
                labels[i, inds] = gt.labels[gt_inds]
                if self.train_cfg.get('pos_weight', -1) > 0:
                    label_weights[i, inds] = self.train_cfg.pos_weight
            image_inds.append(inds + i * num_priors)
            image_bboxes.append(gt.bboxes[gt_inds])
            num_samples += max(len(inds), 1)
        pos_inds = torch.cat(image_inds)
        in_image = pos_inds % num_priors
        level_ends = torch.tensor(num_level_priors, device=priors.device).cumsum(0)
        pos_levels = torch.bucketize(in_image, level_ends, right=True)
        strides = priors.new_tensor([min(stride) for stride in self.prior_generator.strides])
        return AnchorTargets(
            labels=labels,
            label_weights=label_weights,
            pos_inds=pos_inds,
            pos_bboxes=torch.cat(image_bboxes),
            pos_centers=(priors[in_image, :2] + priors[in_image, 2:]) / 2,
            pos_strides=strides[pos_levels][:, None],
            pos_levels=pos_levels,
            num_samples=num_samples,
            num_level_priors=num_level_priors,
        )

    def _match_single(
        self,
        priors: Tensor,
        valid: Tensor,
        num_level_priors: list[int],
        gt: InstanceData,
        ignored: InstanceData | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Rows of the positive priors of one image, the index of the ground truth of each, and rows of the ignored ones: (n,), (n,), (m,)."""
        if len(gt.labels) == 0:  # nothing to match: every valid prior is background
            nothing = gt.labels.new_zeros(0, dtype=torch.long)
            return nothing, nothing, nothing
        self._check_labels(gt.labels)
        rows = valid.nonzero().squeeze(1)
        counts = self.get_num_level_anchors_inside(num_level_priors, valid)
        result = self.assigner.assign(InstanceData(priors=priors[rows]), counts, gt, ignored)
        inds = result.pos_inds
        # Looked for only where there can be some: on a GPU each such search waits for the device.
        unused = rows[result.gt_inds < 0] if ignored is not None and len(ignored.bboxes) else rows[:0]
        return rows[inds], result.gt_inds[inds] - 1, unused

    @staticmethod
    def get_num_level_anchors_inside(num_level_anchors: list[int], inside_flags: Tensor) -> list[int]:
        """How many of the anchors of each level are marked by ``inside_flags`` (P,)."""
        return torch.stack([part.sum() for part in inside_flags.split(num_level_anchors)]).tolist()

    # --------------------------------------------------------------------------------- targets, level by level

    @torch.no_grad()
    def get_targets(  # type: ignore[override]  # as in mmdetection: other results than the base class
        self,
        anchor_list: list[list[Tensor]],
        valid_flag_list: list[list[Tensor]],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: _Ignored = None,
        unmap_outputs: bool = True,
    ) -> tuple:
        """What the anchors of a batch are trained towards; arguments as in :meth:`AnchorHead.get_targets`.

        Returns:
            by level ``anchors`` (B, P_l, 4), ``labels`` (B, P_l), ``label_weights`` (B, P_l), ``bbox_targets`` (B, P_l, 4) in pixels and
            ``bbox_weights`` (B, P_l, 4); and the sum over the images of max(positives, 1).
        """
        counts = [len(level) for level in anchor_list[0]]
        ignored = batch_gt_instances_ignore or [None] * len(anchor_list)
        one_image = functools.partial(self._get_targets_single, unmap_outputs=unmap_outputs)
        flat = (map(torch.cat, values) for values in (anchor_list, valid_flag_list))
        counted = [counts] * len(anchor_list)
        single = list(map(one_image, *flat, counted, batch_gt_instances, batch_img_metas, ignored))
        found = [by_level(values, counts) for values in list(zip(*single))[:5]]
        return (*found, sum(result[7].avg_factor for result in single))

    def _get_targets_single(  # type: ignore[override]
        self,
        flat_anchors: Tensor,
        valid_flags: Tensor,
        num_level_anchors: list[int],
        gt_instances: InstanceData,
        img_meta: dict,
        gt_instances_ignore: InstanceData | None = None,
        unmap_outputs: bool = True,
    ) -> tuple:
        """The anchors (P, 4), 0 where they lie outside the image, and what :meth:`AnchorHead._get_targets_single` returns."""
        inside = self._inside_flags(flat_anchors, valid_flags, img_meta)
        self._check_labels(gt_instances.labels)
        anchors = InstanceData(priors=flat_anchors[inside])
        counts = self.get_num_level_anchors_inside(num_level_anchors, inside)
        assigned = self.assigner.assign(anchors, counts, gt_instances, gt_instances_ignore)
        labels, label_weights, *more = self._targets_of(
            assigned, anchors, gt_instances, inside if unmap_outputs else None
        )
        if self.legacy and unmap_outputs:
            label_weights[~inside] = 1
        priors = flat_anchors * inside[:, None] if unmap_outputs else anchors.priors
        return (priors, labels, label_weights, *more)

    def _positive_targets(self, priors: Tensor, gt_bboxes: Tensor) -> Tensor:
        return gt_bboxes

    # ------------------------------------------------------------------------------------------------ losses

    def _replaces_steps(self, base: type[AnchorHead]) -> bool:
        """Whether a subclass of ``base``, or this object, has its own version of a method of ``_step_names``, or losses of other code."""
        return self._has_foreign_losses() or any(
            name in vars(self) or getattr(type(self), name) is not getattr(base, name) for name in self._step_names
        )

    def _has_foreign_losses(self) -> bool:
        """Whether a loss is not this package's: it may not give a value for each positive, and is called level by level."""
        return not all(is_own_loss(module) for name, module in self.named_children() if name.startswith('loss_'))
