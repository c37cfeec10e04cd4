# Types that are not defined here (KeyMapper, CenterCrop, ...) resolve to mmcv's, which only its import registers.
import mmcv.transforms  # noqa: F401

from .albu import Albu
from .color import Normalize, PhotoMetricDistortion
from .crop import Expand, FilterAnnotations, MinIoURandomCrop, RandomCrop
from .formatting import PackDetInputs
from .geometric import Pad, RandomFlip
from .loading import InferencerLoader, LoadAnnotations, LoadImageFromFile, LoadImageFromNDArray
from .resize import FixShapeResize, RandomChoiceResize, RandomResize, Resize
from .wrappers import Compose, RandomApply, RandomChoice, TestTimeAug

__all__ = [
    'Albu', 'Compose', 'Expand', 'FilterAnnotations', 'FixShapeResize', 'InferencerLoader', 'LoadAnnotations', 'LoadImageFromFile',
    'LoadImageFromNDArray', 'MinIoURandomCrop', 'Normalize', 'PackDetInputs', 'Pad', 'PhotoMetricDistortion',
    'RandomApply', 'RandomChoice', 'RandomChoiceResize', 'RandomCrop', 'RandomFlip', 'RandomResize', 'Resize',
    'TestTimeAug',
]  # fmt: skip
