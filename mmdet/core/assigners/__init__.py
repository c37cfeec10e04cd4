from .assign_result import AssignResult
from .atss_assigner import ATSSAssigner
from .base_assigner import BaseAssigner
from .dynamic_soft_label_assigner import DynamicSoftLabelAssigner
from .grid_assigner import GridAssigner
from .hungarian_assigner import HungarianAssigner
from .match_cost import (
    BaseMatchCost,
    BBoxL1Cost,
    ClassificationCost,
    CrossEntropyLossCost,
    DiceCost,
    FocalLossCost,
    IoUCost,
)
from .max_iou_assigner import MaxIoUAssigner
from .point_assigner import PointAssigner
from .sim_ota_assigner import SimOTAAssigner
from .task_aligned_assigner import TaskAlignedAssigner

__all__ = [
    'ATSSAssigner', 'AssignResult', 'BBoxL1Cost', 'BaseAssigner', 'BaseMatchCost', 'ClassificationCost', 'CrossEntropyLossCost', 'DiceCost',
    'DynamicSoftLabelAssigner', 'FocalLossCost', 'GridAssigner', 'HungarianAssigner', 'IoUCost', 'MaxIoUAssigner', 'PointAssigner',
    'SimOTAAssigner', 'TaskAlignedAssigner',
]  # fmt: skip
