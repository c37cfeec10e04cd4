from ..formats.images import BrokenImageError, decode_image, image_size
from . import transforms
from .base_det_dataset import BaseDetDataset
from .coco import CocoDataset
from .dataset_wrappers import ClassBalancedDataset, ConcatDataset, MultiImageMixDataset, RepeatDataset
from .drone_scenes.dataset import DroneScenesDataset, generate_drone_scenes
from .samplers import AspectRatioBatchSampler, DefaultSampler, InfiniteSampler, SeededIndex
from .uavdt import UAVDTDataset
from .visdrone import VisDroneDataset

__all__ = [
    'AspectRatioBatchSampler', 'BaseDetDataset', 'BrokenImageError', 'ClassBalancedDataset', 'CocoDataset', 'ConcatDataset',
    'DefaultSampler', 'DroneScenesDataset', 'InfiniteSampler', 'MultiImageMixDataset', 'RepeatDataset', 'SeededIndex', 'UAVDTDataset', 'VisDroneDataset',
    'decode_image', 'generate_drone_scenes', 'image_size', 'transforms',
]  # fmt: skip
