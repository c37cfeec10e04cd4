from .base_dense_head import BaseDenseHead
from .gfl_head import GFLHead, GFLTargets
from .gfocal_head import GFocalHead
from .mp_head import MPHead
from .rtmdet_head import RTMDetHead, RTMDetSepBNHead

__all__ = ['BaseDenseHead', 'GFLHead', 'GFLTargets', 'GFocalHead', 'MPHead', 'RTMDetHead', 'RTMDetSepBNHead']
