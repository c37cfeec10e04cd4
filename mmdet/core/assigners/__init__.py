from .assign_result import AssignResult
from .atss_assigner import ATSSAssigner

__all__ = ['ATSSAssigner', 'AssignResult']
