"""Test-time augmentation under the import path of mmdetection 3.x; the model lives in :mod:`mmdet.models.detectors`."""

from ..detectors.tta import DetTTAModel
from .merge_augs import merge_aug_bboxes, merge_aug_masks, merge_aug_results, merge_aug_scores

__all__ = ['DetTTAModel', 'merge_aug_bboxes', 'merge_aug_masks', 'merge_aug_results', 'merge_aug_scores']
