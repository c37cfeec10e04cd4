from ..formats.images import BrokenImageError, decode_image, image_size
from . import transforms
from .annotated import AnnotatedDataset, CSVDataset, LabelMeDataset, YOLODataset
from .base_det_dataset import BaseDetDataset
from .coco import CocoDataset
from .dataset_wrappers import ClassBalancedDataset, ConcatDataset, MultiImageMixDataset, RepeatDataset
from .drone_scenes.dataset import DroneScenesDataset, generate_drone_scenes
from .published import (
    CityscapesDataset,
    DeepFashionDataset,
    LVISDataset,
    LVISV05Dataset,
    LVISV1Dataset,
    Objects365V1Dataset,
    Objects365V2Dataset,
    VOCDataset,
    XMLDataset,
)
from .samplers import (
    AspectRatioBatchSampler,
    ClassAwareSampler,
    DefaultSampler,
    GroupMultiSourceSampler,
    InfiniteSampler,
    MultiSourceSampler,
    SeededIndex,
)
from .uavdt import UAVDTDataset
from .utils import get_loading_pipeline
from .visdrone import VisDroneDataset

__all__ = [
    'AnnotatedDataset', 'CSVDataset', 'LabelMeDataset', 'YOLODataset',
    'AspectRatioBatchSampler', 'BaseDetDataset', 'BrokenImageError', 'CityscapesDataset', 'ClassAwareSampler', 'ClassBalancedDataset', 'CocoDataset', 'ConcatDataset',
    'DeepFashionDataset', 'DefaultSampler', 'DroneScenesDataset', 'GroupMultiSourceSampler', 'InfiniteSampler', 'LVISDataset', 'LVISV05Dataset', 'LVISV1Dataset',
    'MultiImageMixDataset', 'MultiSourceSampler', 'Objects365V1Dataset', 'Objects365V2Dataset', 'RepeatDataset', 'SeededIndex', 'UAVDTDataset', 'VOCDataset',
    'VisDroneDataset', 'XMLDataset', 'decode_image', 'generate_drone_scenes', 'get_loading_pipeline', 'image_size', 'transforms',
]  # fmt: skip
