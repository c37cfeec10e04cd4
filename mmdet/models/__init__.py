from .backbones import *  # noqa: F403
from .data_preprocessors import DetDataPreprocessor
from .dense_heads import GFLHead, GFocalHead
from .detectors import ATSS, GFL, DetTTAModel, SingleStageDetector
from .losses import DistributionFocalLoss, GIoULoss, QualityFocalLoss
from .necks import FPN

__all__ = [
    'ATSS', 'DetDataPreprocessor', 'DetTTAModel', 'DistributionFocalLoss', 'FPN', 'GFL', 'GFLHead', 'GFocalHead', 'GIoULoss', 'QualityFocalLoss',
    'SingleStageDetector',
]  # fmt: skip
