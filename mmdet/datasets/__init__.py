from . import transforms
from .base_det_dataset import BaseDetDataset
from .coco import CocoDataset
from .dataset_wrappers import ClassBalancedDataset, ConcatDataset, RepeatDataset
from .image_io import BrokenImageError, decode_image, image_size
from .samplers import AspectRatioBatchSampler, DefaultSampler, InfiniteSampler, SeededIndex
from .synthetic import DroneScenesDataset, generate_drone_scenes
from .uavdt import UAVDTDataset
from .visdrone import VisDroneDataset

__all__ = [
    'AspectRatioBatchSampler', 'BaseDetDataset', 'BrokenImageError', 'ClassBalancedDataset', 'CocoDataset', 'ConcatDataset',
    'DefaultSampler', 'DroneScenesDataset', 'InfiniteSampler', 'RepeatDataset', 'SeededIndex', 'UAVDTDataset', 'VisDroneDataset',
    'decode_image', 'generate_drone_scenes', 'image_size', 'transforms',
]  # fmt: skip
