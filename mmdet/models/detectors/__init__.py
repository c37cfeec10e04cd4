from .base import BaseDetector
from .cascade_rcnn import CascadeRCNN
from .composite import CompositeDetector, FullResolutionPreprocessor
from .faster_rcnn import FasterRCNN
from .kd_one_stage import KnowledgeDistillationSingleStageDetector
from .nanodet import NanoDet, NanoDetPlus
from .rpn import RPN
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
from .transformers_det import TransformersDetector
from .tta import DetTTAModel
from .two_stage import TwoStageDetector
from .ufpmp_det import UFPMPDet, UFPMPTrace

__all__ = [
    'ATSS', 'BaseDetector', 'CascadeRCNN', 'CenterNet', 'CompositeDetector', 'DetTTAModel', 'DetectionStage', 'FCOS', 'FOVEA', 'FasterRCNN',
    'FullResolutionPreprocessor', 'GFL', 'KnowledgeDistillationSingleStageDetector', 'NanoDet', 'NanoDetPlus', 'PAA', 'RPN', 'RTMDet',
    'RepPointsDetector', 'RetinaNet', 'SingleStageDetector', 'SlicedDet', 'TOOD', 'TransformersDetector', 'TwoStageDetector', 'UFPMPDet', 'UFPMPTrace', 'VFNet', 'YOLOV3',
    'YOLOX',
]  # fmt: skip
