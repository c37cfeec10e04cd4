# Types that are not defined here (KeyMapper, CenterCrop, ...) resolve to mmcv's, which only its import registers.
import mmcv.transforms  # noqa: F401

from .albu import Albu
from .color import Normalize, PhotoMetricDistortion, YOLOXHSVRandomAug
from .crop import Expand, FilterAnnotations, MinIoURandomCrop, RandomCrop
from .erasing import CutOut, RandomErasing
from .formatting import PackDetInputs
from .geometric import Pad, RandomFlip
from .loading import LoadAnnotations, LoadImageFromFile, LoadImageFromNDArray
from .mixing import CachedMixUp, CachedMosaic, CopyPaste, MixUp, Mosaic, RandomAffine
from .resize import FixScaleResize, FixShapeResize, RandomChoiceResize, RandomResize, Resize, ResizeShortestEdge
from .wrappers import Compose, RandomApply, RandomChoice, TestTimeAug

__all__ = [
    'Albu', 'CachedMixUp', 'CachedMosaic', 'Compose', 'CopyPaste', 'CutOut', 'Expand', 'FilterAnnotations', 'FixScaleResize', 'FixShapeResize',
    'LoadAnnotations', 'LoadImageFromFile', 'LoadImageFromNDArray', 'MinIoURandomCrop', 'MixUp', 'Mosaic', 'Normalize', 'PackDetInputs', 'Pad',
    'PhotoMetricDistortion', 'RandomAffine', 'RandomApply', 'RandomChoice', 'RandomChoiceResize', 'RandomCrop', 'RandomErasing', 'RandomFlip',
    'RandomResize', 'Resize', 'ResizeShortestEdge', 'TestTimeAug', 'YOLOXHSVRandomAug',
]  # fmt: skip
