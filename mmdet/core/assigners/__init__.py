from .assign_result import AssignResult
from .atss_assigner import ATSSAssigner
from .base_assigner import BaseAssigner
from .dynamic_soft_label_assigner import DynamicSoftLabelAssigner
from .max_iou_assigner import MaxIoUAssigner
from .task_aligned_assigner import TaskAlignedAssigner

__all__ = [
    'ATSSAssigner',
    'AssignResult',
    'BaseAssigner',
    'DynamicSoftLabelAssigner',
    'MaxIoUAssigner',
    'TaskAlignedAssigner',
]
