from .atss_assigner import AssignResult, ATSSAssigner

__all__ = ['ATSSAssigner', 'AssignResult']
