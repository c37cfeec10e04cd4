from .base import BaseDetector
from .composite import CompositeDetector, FullResolutionPreprocessor
from .kd_one_stage import KnowledgeDistillationSingleStageDetector
from .rtmdet import RTMDet
from .single_stage import (
    ATSS,
    FCOS,
    FOVEA,
    GFL,
    PAA,
    TOOD,
    YOLOV3,
    YOLOX,
    CenterNet,
    RepPointsDetector,
    RetinaNet,
    SingleStageDetector,
    VFNet,
)
from .sliced_det import SlicedDet
from .stage import DetectionStage
from .tta import DetTTAModel
from .ufpmp_det import UFPMPDet, UFPMPTrace

__all__ = [
    'ATSS', 'BaseDetector', 'CenterNet', 'CompositeDetector', 'DetTTAModel', 'DetectionStage', 'FCOS', 'FOVEA', 'FullResolutionPreprocessor',
    'GFL', 'KnowledgeDistillationSingleStageDetector', 'PAA', 'RTMDet', 'RepPointsDetector', 'RetinaNet', 'SingleStageDetector', 'SlicedDet',
    'TOOD', 'UFPMPDet', 'UFPMPTrace', 'VFNet', 'YOLOV3', 'YOLOX',
]  # fmt: skip
