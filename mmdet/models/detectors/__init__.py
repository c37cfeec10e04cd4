from .base import BaseDetector
from .single_stage import ATSS, GFL, SingleStageDetector
from .tta import DetTTAModel

__all__ = ['ATSS', 'BaseDetector', 'DetTTAModel', 'GFL', 'SingleStageDetector']
