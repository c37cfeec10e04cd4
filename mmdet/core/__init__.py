"""Detection maths without learned parameters."""

from .assigners import (
    AssignResult,
    ATSSAssigner,
    BaseAssigner,
    DynamicSoftLabelAssigner,
    GridAssigner,
    HungarianAssigner,
    MaxIoUAssigner,
    PointAssigner,
    SimOTAAssigner,
    TaskAlignedAssigner,
)
from .boxes import (
    BaseBBoxCoder,
    BboxOverlaps2D,
    DeltaXYWHBBoxCoder,
    DistancePointBBoxCoder,
    TBLRBBoxCoder,
    YOLOBBoxCoder,
    bbox2distance,
    bbox_overlaps,
    distance2bbox,
)
from .post_processing import filter_scores_and_topk, merge_augmented, multiclass_nms
from .priors import (
    AnchorGenerator,
    LegacyAnchorGenerator,
    MlvlPointGenerator,
    PointGenerator,
    SSDAnchorGenerator,
    YOLOAnchorGenerator,
)
from .samplers import (
    BaseSampler,
    CombinedSampler,
    InstanceBalancedPosSampler,
    IoUBalancedNegSampler,
    OHEMSampler,
    PseudoSampler,
    RandomSampler,
    SamplingResult,
)  # fmt: skip

__all__ = [
    'ATSSAssigner', 'AnchorGenerator', 'AssignResult', 'BaseAssigner', 'BaseBBoxCoder', 'BaseSampler', 'BboxOverlaps2D', 'DeltaXYWHBBoxCoder',
    'DistancePointBBoxCoder', 'DynamicSoftLabelAssigner', 'HungarianAssigner', 'LegacyAnchorGenerator', 'MaxIoUAssigner',
    'MlvlPointGenerator', 'PointAssigner', 'PointGenerator', 'PseudoSampler', 'RandomSampler', 'SSDAnchorGenerator', 'SamplingResult', 'SimOTAAssigner',
    'TBLRBBoxCoder', 'TaskAlignedAssigner', 'YOLOAnchorGenerator', 'bbox2distance', 'bbox_overlaps', 'distance2bbox',
    'filter_scores_and_topk', 'merge_augmented', 'multiclass_nms',
    'CombinedSampler', 'IoUBalancedNegSampler', 'InstanceBalancedPosSampler', 'OHEMSampler',
    'GridAssigner', 'YOLOBBoxCoder',
]  # fmt: skip
