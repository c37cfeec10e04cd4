from .base_dense_head import BaseDenseHead
from .gfl_head import GFLHead, GFLTargets

__all__ = ['BaseDenseHead', 'GFLHead', 'GFLTargets']
