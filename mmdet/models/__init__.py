from .backbones import *  # noqa: F403
from .classifiers import TinyNASClassifier
from .data_preprocessors import DetDataPreprocessor
from .dense_heads import *  # noqa: F403
from .detectors import *  # noqa: F403
from .losses import *  # noqa: F403
from .necks import FPN, CSPNeXtPAFPN

__all__ = ['CSPNeXtPAFPN', 'DetDataPreprocessor', 'FPN', 'TinyNASClassifier']
