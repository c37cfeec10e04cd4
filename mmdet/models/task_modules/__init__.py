"""Assigners, samplers, coders and priors by their paths of mmdetection 3.x; they live in :mod:`mmdet.core`."""

from .assigners import (
    AssignResult,
    ATSSAssigner,
    BaseAssigner,
    BaseMatchCost,
    BBoxL1Cost,
    BboxOverlaps2D,
    ClassificationCost,
    CrossEntropyLossCost,
    DiceCost,
    DynamicSoftLabelAssigner,
    FocalLossCost,
    HungarianAssigner,
    IoUCost,
    MaxIoUAssigner,
    PointAssigner,
    SimOTAAssigner,
    TaskAlignedAssigner,
)
from .builder import (
    ANCHOR_GENERATORS,
    BBOX_ASSIGNERS,
    BBOX_CODERS,
    BBOX_SAMPLERS,
    IOU_CALCULATORS,
    MATCH_COSTS,
    PRIOR_GENERATORS,
    build_anchor_generator,
    build_assigner,
    build_bbox_coder,
    build_iou_calculator,
    build_match_cost,
    build_prior_generator,
    build_sampler,
)
from .coders import BaseBBoxCoder, DeltaXYWHBBoxCoder, DistancePointBBoxCoder, TBLRBBoxCoder
from .prior_generators import (
    AnchorGenerator,
    LegacyAnchorGenerator,
    MlvlPointGenerator,
    PointGenerator,
    SSDAnchorGenerator,
    YOLOAnchorGenerator,
    anchor_inside_flags,
    calc_region,
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
    'ANCHOR_GENERATORS', 'ATSSAssigner', 'AnchorGenerator', 'AssignResult', 'BBOX_ASSIGNERS', 'BBOX_CODERS', 'BBOX_SAMPLERS', 'BBoxL1Cost',
    'BaseAssigner', 'BaseBBoxCoder', 'BaseMatchCost', 'BaseSampler', 'BboxOverlaps2D', 'ClassificationCost', 'CrossEntropyLossCost', 'DeltaXYWHBBoxCoder',
    'DiceCost', 'DistancePointBBoxCoder', 'DynamicSoftLabelAssigner', 'FocalLossCost', 'HungarianAssigner', 'IOU_CALCULATORS', 'IoUCost',
    'LegacyAnchorGenerator', 'MATCH_COSTS', 'MaxIoUAssigner', 'MlvlPointGenerator', 'PRIOR_GENERATORS', 'PointAssigner', 'PointGenerator', 'PseudoSampler',
    'RandomSampler', 'SSDAnchorGenerator', 'SamplingResult', 'SimOTAAssigner', 'TBLRBBoxCoder', 'TaskAlignedAssigner', 'YOLOAnchorGenerator',
    'anchor_inside_flags', 'build_anchor_generator', 'build_assigner', 'build_bbox_coder', 'build_iou_calculator', 'build_match_cost',
    'build_prior_generator', 'build_sampler', 'calc_region',
    'CombinedSampler', 'IoUBalancedNegSampler', 'InstanceBalancedPosSampler', 'OHEMSampler',
]  # fmt: skip
