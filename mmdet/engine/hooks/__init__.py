from .broken_images_hook import BrokenImagesHook
from .checkloss_hook import CheckInvalidLossHook
from .checkpoint_hook import CheckpointHook
from .cost_hook import CostHook
from .freeze_hook import FreezeHook
from .inference_hook import InferenceHook
from .logger_hook import LoggerHook
from .num_class_check_hook import NumClassCheckHook
from .object_count_hook import ObjectCountHook
from .optimal_transport_hook import OptimalTransportHook
from .pipeline_switch_hook import PipelineSwitchHook
from .reseed_hook import ReseedHook
from .sync_norm_hook import SyncNormHook
from .utils import trigger_visualization_hook
from .visualization_hook import DetVisualizationHook
from .yolox_mode_switch_hook import YOLOXModeSwitchHook

__all__ = [
    'BrokenImagesHook',
    'CheckInvalidLossHook',
    'CheckpointHook',
    'CostHook',
    'DetVisualizationHook',
    'FreezeHook',
    'InferenceHook',
    'LoggerHook',
    'NumClassCheckHook',
    'ObjectCountHook',
    'OptimalTransportHook',
    'PipelineSwitchHook',
    'ReseedHook',
    'SyncNormHook',
    'YOLOXModeSwitchHook',
    'trigger_visualization_hook',
]
