"""Head of localization distillation (Zheng et al., CVPR 2022, arXiv 2102.12252): GFL whose box sides also follow a teacher's.

Naming: as in GFLHead (B images, L levels, n = reg_max + 1 bins a side, N positives of the batch).
"""

from typing import Any

import torch
from mmengine.config import Config
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet.errors import ModelInputError
from mmdet.registry import MODELS
from mmdet.structures import SampleList

from .anchor_head import _Ignored, flatten_levels, flatten_map
from .base_dense_head import Losses, unpack_gt_instances, widened
from .gfl_head import GFLHead


@MODELS.register_module()
class LDHead(GFLHead):
    """GFL head with one more loss, ``loss_ld``: each side of a positive's box is pulled towards the teacher's distribution.

    As in mmdetection 3.3 the distillation is on the positives of the assigner only (the main region of the paper), weighted by the score
    of the student, and not divided by the sum of these weights, unlike the two other losses of boxes.

    Args:
        num_classes, in_channels: see :class:`GFLHead`.
        loss_ld: config of the distillation loss.
        **kwargs: further arguments of :class:`GFLHead`.
    """

    _more_losses = ('loss_ld',)

    def __init__(self, num_classes: int, in_channels: int, loss_ld: dict | Config | None = None, **kwargs: Any):
        super().__init__(num_classes, in_channels, **kwargs)
        self.loss_ld = MODELS.build(loss_ld or dict(type='KnowledgeDistillationKLDivLoss', loss_weight=0.25, T=10))

    def loss(  # type: ignore[override]
        self, x: tuple[Tensor, ...], out_teacher: tuple[list[Tensor], ...], batch_data_samples: SampleList
    ) -> Losses:
        """Losses of feature maps ``x``; ``out_teacher`` are the raw outputs of the teacher's head for the same batch."""
        gt, ignored, metas = unpack_gt_instances(batch_data_samples)
        cls_scores, bbox_preds = self(x)
        return self.loss_by_feat(cls_scores, bbox_preds, gt, metas, out_teacher[1], ignored)

    def loss_by_feat(  # type: ignore[override]
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        soft_targets: list[Tensor],
        batch_gt_instances_ignore: _Ignored = None,
    ) -> Losses:
        """Losses of the raw outputs, each a list over levels: ``loss_cls``, ``loss_bbox``, ``loss_dfl``, ``loss_ld``.

        Args:
            cls_scores, bbox_preds, batch_gt_instances, batch_img_metas, batch_gt_instances_ignore: see :class:`GFLHead`.
            soft_targets: the teacher's side distribution logits, L maps (B, 4 n, H_l, W_l).

        Raises:
            ModelInputError: the teacher's maps have other shapes than the student's.
        """
        shapes = [[tuple(level.shape) for level in maps] for maps in (bbox_preds, soft_targets)]
        if shapes[0] != shapes[1]:
            raise ModelInputError(
                f"the teacher's maps must be as large as the student's, {shapes[0]}", received=shapes[1]
            )
        sizes, device = [(score.size(2), score.size(3)) for score in cls_scores], cls_scores[0].device
        if self._replaces_steps(LDHead):
            targets = self.get_targets(
                *self.get_anchors(sizes, batch_img_metas, device=device),
                batch_gt_instances,
                batch_img_metas,
                batch_gt_instances_ignore,
            )
            return self._losses_by_level(cls_scores, bbox_preds, *targets, soft_targets)
        matched = self.match_targets(sizes, batch_gt_instances, batch_img_metas, batch_gt_instances_ignore, device)
        scores, logits, soft = (flatten_levels(maps) for maps in (cls_scores, bbox_preds, soft_targets))
        losses = self.losses(scores, logits, matched)
        pos = matched.pos_inds
        with torch.autocast(device.type, enabled=False):
            distilled = self._distillation(*(values.flatten(0, 1)[pos] for values in (scores, logits, soft)))
            return dict(losses, loss_ld=matched.level_sums(distilled))

    def _distillation(self, scores: Tensor, logits: Tensor, soft: Tensor) -> Tensor:
        """Losses (N,) of class scores (N, C), and side logits (N, 4 n) of student and teacher."""
        with torch.no_grad():
            weights = self.to_probability(widened(scores)).amax(1)
        student, teacher = (widened(values).view(-1, self.reg_max + 1) for values in (logits, soft))
        return self._losses_of_rows(self.loss_ld, student, teacher, weights, per_row=4)

    def _box_divisor(self, weight_sum: Tensor) -> Tensor:
        return weight_sum + 1e-6

    def loss_by_feat_single(  # type: ignore[override]  # as in mmdetection
        self,
        anchors: Tensor,
        cls_score: Tensor,
        bbox_pred: Tensor,
        labels: Tensor,
        label_weights: Tensor,
        bbox_targets: Tensor,
        stride: tuple[int, int],
        soft_targets: Tensor,
        avg_factor: float | Tensor,
    ) -> tuple[Tensor, ...]:
        """As :meth:`GFLHead.loss_by_feat_single`, with the teacher's map (B, 4 n, H, W), and its loss before the sum of the weights."""
        *losses, weight_sum = super().loss_by_feat_single(
            anchors, cls_score, bbox_pred, labels, label_weights, bbox_targets, stride, avg_factor
        )
        labels = labels.flatten()
        pos = ((labels >= 0) & (labels < self.num_classes)).nonzero().squeeze(1)
        distilled = self._distillation(
            *(flatten_map(level).flatten(0, 1)[pos] for level in (cls_score, bbox_pred, soft_targets))
        )
        return (*losses, distilled.sum(), weight_sum)
