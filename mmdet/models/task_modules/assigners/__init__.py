from mmdet.core.assigners import (
    AssignResult,
    ATSSAssigner,
    BaseAssigner,
    BaseMatchCost,
    BBoxL1Cost,
    ClassificationCost,
    CrossEntropyLossCost,
    DiceCost,
    DynamicSoftLabelAssigner,
    FocalLossCost,
    GridAssigner,
    HungarianAssigner,
    IoUCost,
    MaxIoUAssigner,
    PointAssigner,
    SimOTAAssigner,
    TaskAlignedAssigner,
)
from mmdet.core.boxes import BboxOverlaps2D

__all__ = [
    'ATSSAssigner', 'AssignResult', 'BBoxL1Cost', 'BaseAssigner', 'BaseMatchCost', 'BboxOverlaps2D', 'ClassificationCost', 'CrossEntropyLossCost',
    'DiceCost', 'DynamicSoftLabelAssigner', 'FocalLossCost', 'GridAssigner', 'HungarianAssigner', 'IoUCost', 'MaxIoUAssigner', 'PointAssigner',
    'SimOTAAssigner', 'TaskAlignedAssigner',
]  # fmt: skip
