from .base import BaseDetector
from .composite import CompositeDetector, FullResolutionPreprocessor
from .kd_one_stage import KnowledgeDistillationSingleStageDetector
from .rtmdet import RTMDet
from .single_stage import ATSS, GFL, RetinaNet, SingleStageDetector
from .sliced_det import SlicedDet
from .stage import DetectionStage
from .tta import DetTTAModel
from .ufpmp_det import UFPMPDet, UFPMPTrace

__all__ = [
    'ATSS', 'BaseDetector', 'CompositeDetector', 'DetTTAModel', 'DetectionStage', 'FullResolutionPreprocessor', 'GFL',
    'KnowledgeDistillationSingleStageDetector', 'RTMDet', 'RetinaNet', 'SingleStageDetector', 'SlicedDet', 'UFPMPDet', 'UFPMPTrace',
]  # fmt: skip
