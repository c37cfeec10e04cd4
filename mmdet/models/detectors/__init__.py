from .base import BaseDetector
from .composite import CompositeDetector, FullResolutionPreprocessor
from .kd_one_stage import KnowledgeDistillationSingleStageDetector
from .nanodet import NanoDet, NanoDetPlus
from .rtmdet import RTMDet
from .single_stage import ATSS, FCOS, GFL, TOOD, RetinaNet, SingleStageDetector, VFNet
from .sliced_det import SlicedDet
from .stage import DetectionStage
from .tta import DetTTAModel
from .ufpmp_det import UFPMPDet, UFPMPTrace

__all__ = [
    'ATSS', 'BaseDetector', 'CompositeDetector', 'DetTTAModel', 'DetectionStage', 'FCOS', 'FullResolutionPreprocessor', 'GFL',
    'KnowledgeDistillationSingleStageDetector', 'NanoDet', 'NanoDetPlus', 'RTMDet', 'RetinaNet', 'SingleStageDetector', 'SlicedDet', 'TOOD', 'UFPMPDet', 'UFPMPTrace',
    'VFNet',
]  # fmt: skip
