from .backbones import *  # noqa: F403
from .classifiers import TinyNASClassifier
from .data_preprocessors import DetDataPreprocessor
from .dense_heads import GFLHead, GFocalHead, MPHead, RTMDetHead, RTMDetSepBNHead
from .detectors import ATSS, GFL, DetTTAModel, RTMDet, SingleStageDetector
from .losses import DistributionFocalLoss, GIoULoss, QualityFocalLoss
from .necks import FPN, CSPNeXtPAFPN

__all__ = [
    'ATSS', 'CSPNeXtPAFPN', 'DetDataPreprocessor', 'DetTTAModel', 'DistributionFocalLoss', 'FPN', 'GFL', 'GFLHead', 'GFocalHead', 'GIoULoss',
    'MPHead', 'QualityFocalLoss', 'RTMDet', 'RTMDetHead', 'RTMDetSepBNHead', 'SingleStageDetector', 'TinyNASClassifier',
]  # fmt: skip
