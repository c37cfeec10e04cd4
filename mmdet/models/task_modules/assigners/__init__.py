from mmdet.core.assigners import (
    AssignResult,
    ATSSAssigner,
    BaseAssigner,
    DynamicSoftLabelAssigner,
    MaxIoUAssigner,
    TaskAlignedAssigner,
)
from mmdet.core.boxes import BboxOverlaps2D

__all__ = [
    'ATSSAssigner', 'AssignResult', 'BaseAssigner', 'BboxOverlaps2D', 'DynamicSoftLabelAssigner', 'MaxIoUAssigner', 'TaskAlignedAssigner',
]  # fmt: skip
