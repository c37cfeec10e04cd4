"""Costs of assigning predictions to ground truth, for the Hungarian matching (DETR, ECCV 2020; MaskFormer, NeurIPS 2021).

Naming: N predictions, G ground-truth objects, C classes.
"""

from abc import ABCMeta, abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet.core.boxes import bbox_overlaps, bbox_xyxy_to_cxcywh, get_box_tensor
from mmdet.errors import ArgumentError, ConfigError
from mmdet.registry import TASK_UTILS


class BaseMatchCost(metaclass=ABCMeta):
    """A cost for each pair of prediction and object.

    Args:
        weight: factor of the cost.
    """

    def __init__(self, weight: float = 1.0):
        self.weight = weight

    @abstractmethod
    def __call__(
        self, pred_instances: InstanceData, gt_instances: InstanceData, img_meta: dict | None = None, **kwargs: Any
    ) -> Tensor:
        """(N, G) costs.

        Args:
            pred_instances: of ``bboxes`` (N, 4) xyxy, ``scores`` (N, C) and ``masks`` (N, h, w) what the cost needs.
            gt_instances: of ``bboxes`` (G, 4) xyxy, ``labels`` (G,) and ``masks`` (G, h, w) what the cost needs.
            img_meta: ``img_shape`` of the image, where the cost needs it.
            **kwargs: not used.
        """


@TASK_UTILS.register_module()
class BBoxL1Cost(BaseMatchCost):
    """Sum of the absolute differences of the four numbers of a box, in sides of the image.

    Args:
        box_format: 'xyxy', or 'xywh' for centre and size.
        weight: factor of the cost.

    Raises:
        ArgumentError: another ``box_format``.
    """

    def __init__(self, box_format: str = 'xyxy', weight: float = 1.0):
        super().__init__(weight)
        if box_format not in ('xyxy', 'xywh'):
            raise ArgumentError("must be 'xyxy' or 'xywh'", field='box_format', received=box_format)
        self.box_format = box_format

    def __call__(
        self, pred_instances: InstanceData, gt_instances: InstanceData, img_meta: dict | None = None, **kwargs: Any
    ) -> Tensor:
        """See :class:`BaseMatchCost`; ``img_meta`` is needed."""
        if img_meta is None:
            raise ArgumentError('the size of the image is needed', field='img_meta', received=None)
        pred, gt = get_box_tensor(pred_instances.bboxes), get_box_tensor(gt_instances.bboxes)
        if self.box_format == 'xywh':
            pred, gt = bbox_xyxy_to_cxcywh(pred), bbox_xyxy_to_cxcywh(gt)
        height, width = img_meta['img_shape'][:2]
        sides = gt.new_tensor([width, height, width, height])
        return torch.cdist(pred / sides, gt / sides, p=1) * self.weight


@TASK_UTILS.register_module()
class IoUCost(BaseMatchCost):
    """The negative overlap of the boxes.

    Args:
        iou_mode: mode of :func:`mmdet.core.boxes.bbox_overlaps`.
        weight: factor of the cost.
    """

    def __init__(self, iou_mode: str = 'giou', weight: float = 1.0):
        super().__init__(weight)
        self.iou_mode = iou_mode

    def __call__(
        self, pred_instances: InstanceData, gt_instances: InstanceData, img_meta: dict | None = None, **kwargs: Any
    ) -> Tensor:
        """See :class:`BaseMatchCost`."""
        boxes = get_box_tensor(pred_instances.bboxes), get_box_tensor(gt_instances.bboxes)
        return -bbox_overlaps(*boxes, mode=self.iou_mode) * self.weight


@TASK_UTILS.register_module()
class ClassificationCost(BaseMatchCost):
    """The negative softmax probability of the object's class; ``scores`` are logits."""

    def __call__(
        self, pred_instances: InstanceData, gt_instances: InstanceData, img_meta: dict | None = None, **kwargs: Any
    ) -> Tensor:
        """See :class:`BaseMatchCost`."""
        return -pred_instances.scores.softmax(-1)[:, gt_instances.labels] * self.weight


@TASK_UTILS.register_module()
class FocalLossCost(BaseMatchCost):
    """Focal loss towards the object's class less that towards background; ``scores`` are logits (Deformable DETR, ICLR 2021).

    Args:
        alpha: weight of the object's class, 1 - alpha of background.
        gamma: exponent of the modulating factor.
        eps: keeps the logarithms finite.
        binary_input: compare the pixels of ``masks`` (logits, and 0 or 1) instead of the classes, and average over them.
        weight: factor of the cost.
    """

    def __init__(
        self, alpha: float = 0.25, gamma: float = 2, eps: float = 1e-12, binary_input: bool = False, weight: float = 1.0
    ):
        super().__init__(weight)
        self.alpha, self.gamma, self.eps, self.binary_input = alpha, gamma, eps, binary_input

    def _losses(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Focal losses towards 1 and towards 0."""
        p = logits.sigmoid()
        towards_one = -(p + self.eps).log() * self.alpha * (1 - p).pow(self.gamma)
        return towards_one, -(1 - p + self.eps).log() * (1 - self.alpha) * p.pow(self.gamma)

    def __call__(
        self, pred_instances: InstanceData, gt_instances: InstanceData, img_meta: dict | None = None, **kwargs: Any
    ) -> Tensor:
        """See :class:`BaseMatchCost`."""
        if self.binary_input:
            return _mean_over_pixels(*self._losses(pred_instances.masks.flatten(1)), gt_instances.masks) * self.weight
        positive, negative = self._losses(pred_instances.scores)
        return (positive - negative)[:, gt_instances.labels] * self.weight


@TASK_UTILS.register_module()
class CrossEntropyLossCost(BaseMatchCost):
    """Binary cross-entropy of the masks, averaged over their pixels; the predicted ``masks`` are logits.

    Args:
        use_sigmoid: must be True.
        weight: factor of the cost.

    Raises:
        ConfigError: ``use_sigmoid`` is False.
    """

    def __init__(self, use_sigmoid: bool = True, weight: float = 1.0):
        super().__init__(weight)
        if not use_sigmoid:
            raise ConfigError('must be True', field='CrossEntropyLossCost.use_sigmoid', received=use_sigmoid)
        self.use_sigmoid = use_sigmoid

    def __call__(
        self, pred_instances: InstanceData, gt_instances: InstanceData, img_meta: dict | None = None, **kwargs: Any
    ) -> Tensor:
        """See :class:`BaseMatchCost`."""
        logits = pred_instances.masks.flatten(1).float()
        return _mean_over_pixels(F.softplus(-logits), F.softplus(logits), gt_instances.masks) * self.weight


@TASK_UTILS.register_module()
class DiceCost(BaseMatchCost):
    """1 less the dice coefficient of the masks (V-Net, 3DV 2016).

    Args:
        pred_act: the predicted ``masks`` are logits; otherwise probabilities.
        eps: added to numerator and denominator.
        naive_dice: the denominator is the sum of both masks; otherwise of their squares.
        weight: factor of the cost.
    """

    def __init__(self, pred_act: bool = False, eps: float = 1e-3, naive_dice: bool = True, weight: float = 1.0):
        super().__init__(weight)
        self.pred_act, self.eps, self.naive_dice = pred_act, eps, naive_dice

    def __call__(
        self, pred_instances: InstanceData, gt_instances: InstanceData, img_meta: dict | None = None, **kwargs: Any
    ) -> Tensor:
        """See :class:`BaseMatchCost`."""
        pred = pred_instances.masks.flatten(1)
        pred = pred.sigmoid() if self.pred_act else pred
        gt = gt_instances.masks.flatten(1).to(pred)
        power = 1 if self.naive_dice else 2
        total = pred.pow(power).sum(1, keepdim=True) + gt.pow(power).sum(1)  # (N, G)
        return (1 - (2 * pred @ gt.t() + self.eps) / (total + self.eps)) * self.weight


def _mean_over_pixels(towards_one: Tensor, towards_zero: Tensor, gt_masks: Tensor) -> Tensor:
    """(N, G) mean loss over n pixels, from (N, n) losses towards 1 and 0 and masks (G, h, w) of 0 and 1."""
    gt = gt_masks.flatten(1).to(towards_one)  # (G, n)
    return (towards_one @ gt.t() + towards_zero @ (1 - gt).t()) / gt.size(1)
