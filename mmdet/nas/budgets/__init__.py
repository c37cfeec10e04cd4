from .base import Budget
from .costs import EfficientScoreBudget, FlopsBudget, LatencyBudget, LayersBudget, ModelSizeBudget
from .max_feature import MaxFeatureBudget

__all__ = [
    'Budget', 'EfficientScoreBudget', 'FlopsBudget', 'LatencyBudget', 'LayersBudget', 'MaxFeatureBudget',
    'ModelSizeBudget',
]  # fmt: skip
