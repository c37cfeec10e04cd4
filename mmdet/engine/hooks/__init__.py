from .broken_images_hook import BrokenImagesHook
from .checkpoint_hook import CheckpointHook
from .num_class_check_hook import NumClassCheckHook
from .optimal_transport_hook import OptimalTransportHook
from .pipeline_switch_hook import PipelineSwitchHook
from .reseed_hook import ReseedHook
from .visualization_hook import DetVisualizationHook

__all__ = [
    'BrokenImagesHook',
    'CheckpointHook',
    'DetVisualizationHook',
    'NumClassCheckHook',
    'OptimalTransportHook',
    'PipelineSwitchHook',
    'ReseedHook',
]
