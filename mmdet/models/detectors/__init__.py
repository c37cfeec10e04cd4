from .base import BaseDetector
from .composite import CompositeDetector, FullResolutionPreprocessor
from .rtmdet import RTMDet
from .single_stage import ATSS, GFL, SingleStageDetector
from .sliced_det import SlicedDet
from .stage import DetectionStage
from .tta import DetTTAModel
from .ufpmp_det import UFPMPDet, UFPMPTrace

__all__ = [
    'ATSS', 'BaseDetector', 'CompositeDetector', 'DetTTAModel', 'DetectionStage', 'FullResolutionPreprocessor', 'GFL', 'RTMDet',
    'SingleStageDetector', 'SlicedDet', 'UFPMPDet', 'UFPMPTrace',
]  # fmt: skip
