"""Detection maths without learned parameters."""

from .assigners import AssignResult, ATSSAssigner
from .boxes import BboxOverlaps2D, DistancePointBBoxCoder, bbox2distance, bbox_overlaps, distance2bbox
from .post_processing import filter_scores_and_topk, merge_augmented, multiclass_nms
from .priors import AnchorGenerator, LegacyAnchorGenerator

__all__ = [
    'ATSSAssigner', 'AnchorGenerator', 'AssignResult', 'BboxOverlaps2D', 'DistancePointBBoxCoder', 'LegacyAnchorGenerator',
    'bbox2distance', 'bbox_overlaps', 'distance2bbox', 'filter_scores_and_topk', 'merge_augmented', 'multiclass_nms',
]  # fmt: skip
