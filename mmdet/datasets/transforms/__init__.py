# Types that are not defined here (KeyMapper, CenterCrop, ...) resolve to mmcv's, which only its import registers.
import mmcv.transforms  # noqa: F401

from .albu import Albu
from .auto_augment import (
    AutoAugment,
    AutoContrast,
    Brightness,
    Color,
    ColorTransform,
    Contrast,
    Equalize,
    GeomTransform,
    Invert,
    Posterize,
    RandAugment,
    Rotate,
    Sharpness,
    ShearX,
    ShearY,
    Solarize,
    SolarizeAdd,
    TranslateX,
    TranslateY,
)
from .color import Normalize, PhotoMetricDistortion, YOLOXHSVRandomAug
from .crop import Expand, FilterAnnotations, MinIoURandomCrop, RandomCrop
from .erasing import CutOut, RandomErasing
from .foreground import ForegroundMosaic
from .formatting import PackDetInputs
from .geometric import Pad, RandomFlip
from .loading import InferencerLoader, LoadAnnotations, LoadImageFromFile, LoadImageFromNDArray
from .mixing import CachedMixUp, CachedMosaic, CopyPaste, MixUp, Mosaic, RandomAffine
from .resize import FixScaleResize, FixShapeResize, RandomChoiceResize, RandomResize, Resize, ResizeShortestEdge
from .warp import WarpResize
from .wrappers import Compose, RandomApply, RandomChoice, TestTimeAug

__all__ = [
    'Albu', 'AutoAugment', 'AutoContrast', 'Brightness', 'CachedMixUp', 'CachedMosaic', 'Color', 'ColorTransform', 'Compose', 'Contrast',
    'CopyPaste', 'CutOut', 'Equalize', 'Expand', 'FilterAnnotations', 'FixScaleResize', 'FixShapeResize', 'ForegroundMosaic', 'GeomTransform', 'InferencerLoader',
    'Invert', 'LoadAnnotations', 'LoadImageFromFile', 'LoadImageFromNDArray', 'MinIoURandomCrop', 'MixUp', 'Mosaic', 'Normalize', 'PackDetInputs',
    'Pad', 'PhotoMetricDistortion', 'Posterize', 'RandAugment', 'RandomAffine', 'RandomApply', 'RandomChoice', 'RandomChoiceResize', 'RandomCrop',
    'RandomErasing', 'RandomFlip', 'RandomResize', 'Resize', 'ResizeShortestEdge', 'Rotate', 'Sharpness', 'ShearX', 'ShearY', 'Solarize',
    'SolarizeAdd', 'TestTimeAug', 'TranslateX', 'TranslateY', 'WarpResize', 'YOLOXHSVRandomAug',
]  # fmt: skip
