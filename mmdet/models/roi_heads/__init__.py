from .base_roi_head import BaseRoIHead
from .bbox_heads import BBoxHead, ConvFCBBoxHead, DoubleConvFCBBoxHead, Shared2FCBBoxHead, Shared4Conv1FCBBoxHead
from .cascade_roi_head import CascadeRoIHead
from .roi_extractors import BaseRoIExtractor, SingleRoIExtractor
from .standard_roi_head import DoubleHeadRoIHead, StandardRoIHead

__all__ = [
    'BBoxHead', 'BaseRoIExtractor', 'BaseRoIHead', 'CascadeRoIHead', 'ConvFCBBoxHead', 'DoubleConvFCBBoxHead', 'DoubleHeadRoIHead',
    'Shared2FCBBoxHead', 'Shared4Conv1FCBBoxHead', 'SingleRoIExtractor', 'StandardRoIHead',
]  # fmt: skip
