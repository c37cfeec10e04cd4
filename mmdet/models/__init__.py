from .backbones import *  # noqa: F403
from .classifiers import TinyNASClassifier
from .data_preprocessors import DetDataPreprocessor
from .dense_heads import GFLHead, GFocalHead, MPHead
from .detectors import ATSS, GFL, DetTTAModel, SingleStageDetector
from .losses import *  # noqa: F403
from .necks import FPN

__all__ = [
    'ATSS', 'DetDataPreprocessor', 'DetTTAModel', 'FPN', 'GFL', 'GFLHead', 'GFocalHead', 'MPHead',
    'SingleStageDetector', 'TinyNASClassifier',
]  # fmt: skip
