from .backbones import *  # noqa: F403
from .classifiers import TinyNASClassifier
from .data_preprocessors import DetDataPreprocessor
from .dense_heads import GFLHead, GFocalHead, MPHead, RTMDetHead, RTMDetSepBNHead
from .detectors import ATSS, GFL, DetTTAModel, RTMDet, SingleStageDetector
from .layers import *  # noqa: F403
from .losses import *  # noqa: F403
from .necks import FPN, CSPNeXtPAFPN

__all__ = [
    'ATSS', 'CSPNeXtPAFPN', 'DetDataPreprocessor', 'DetTTAModel', 'FPN', 'GFL', 'GFLHead', 'GFocalHead',
    'MPHead', 'RTMDet', 'RTMDetHead', 'RTMDetSepBNHead', 'SingleStageDetector', 'TinyNASClassifier',
]  # fmt: skip
