"""Detection maths without learned parameters."""

from .assigners import AssignResult, ATSSAssigner, BaseAssigner, DynamicSoftLabelAssigner, MaxIoUAssigner, TaskAlignedAssigner
from .boxes import BboxOverlaps2D, DistancePointBBoxCoder, bbox2distance, bbox_overlaps, distance2bbox
from .post_processing import filter_scores_and_topk, merge_augmented, multiclass_nms
from .priors import AnchorGenerator, LegacyAnchorGenerator

__all__ = [
    'ATSSAssigner', 'AnchorGenerator', 'AssignResult', 'BaseAssigner', 'BboxOverlaps2D', 'DistancePointBBoxCoder',
    'DynamicSoftLabelAssigner', 'LegacyAnchorGenerator', 'MaxIoUAssigner', 'TaskAlignedAssigner', 'bbox2distance', 'bbox_overlaps', 'distance2bbox', 'filter_scores_and_topk', 'merge_augmented', 'multiclass_nms',
]  # fmt: skip
