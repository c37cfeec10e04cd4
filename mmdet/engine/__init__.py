from .checkpoint.loading import LoadReport, load_into
from .checkpoint.names import rename_reference_keys
from .checkpoint.reading import load_checkpoint_file
from .checkpoint.sources import resolve_checkpoint
from .dist import init_dist, locked_for_all
from .hooks import (
    BrokenImagesHook,
    CheckpointHook,
    DetVisualizationHook,
    FreezeHook,
    NumClassCheckHook,
    PipelineSwitchHook,
    ReseedHook,
)
from .layer_decay import GroupedOptimWrapperConstructor, LayerDecayOptimizerConstructor
from .loops import EpochBasedTrainLoop, IterBasedTrainLoop
from .optim_wrappers import AmpOptimWrapper, OptimWrapper
from .paramwise import DefaultOptimWrapperConstructor
from .runner import DetRunner
from .schedulers import QuadraticWarmupLR, QuadraticWarmupMomentum, QuadraticWarmupParamScheduler

__all__ = [
    'AmpOptimWrapper', 'BrokenImagesHook', 'CheckpointHook', 'DefaultOptimWrapperConstructor', 'DetRunner', 'DetVisualizationHook', 'EpochBasedTrainLoop', 'FreezeHook',
    'GroupedOptimWrapperConstructor', 'IterBasedTrainLoop', 'LayerDecayOptimizerConstructor', 'LoadReport', 'NumClassCheckHook', 'OptimWrapper',
    'PipelineSwitchHook', 'QuadraticWarmupLR', 'QuadraticWarmupMomentum', 'QuadraticWarmupParamScheduler', 'ReseedHook', 'init_dist',
    'load_checkpoint_file', 'load_into', 'locked_for_all', 'rename_reference_keys', 'resolve_checkpoint',
]  # fmt: skip
