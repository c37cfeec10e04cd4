"""Detection maths without learned parameters."""

from .assigners import AssignResult, ATSSAssigner, BaseAssigner, DynamicSoftLabelAssigner, MaxIoUAssigner, TaskAlignedAssigner
from .boxes import BboxOverlaps2D, DistancePointBBoxCoder, bbox2distance, bbox_overlaps, distance2bbox
from .post_processing import filter_scores_and_topk, merge_augmented, multiclass_nms
from .priors import AnchorGenerator, LegacyAnchorGenerator
from .samplers import BaseSampler, PseudoSampler, RandomSampler, SamplingResult

__all__ = [
    'ATSSAssigner', 'AnchorGenerator', 'AssignResult', 'BaseAssigner', 'BaseSampler', 'BboxOverlaps2D', 'DistancePointBBoxCoder',
    'DynamicSoftLabelAssigner', 'LegacyAnchorGenerator', 'MaxIoUAssigner', 'PseudoSampler', 'RandomSampler', 'SamplingResult',
    'TaskAlignedAssigner', 'bbox2distance', 'bbox_overlaps', 'distance2bbox', 'filter_scores_and_topk', 'merge_augmented', 'multiclass_nms',
]  # fmt: skip
