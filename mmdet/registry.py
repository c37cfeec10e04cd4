"""All registries of the package: children of mmengine's, in scope ``mmdet``.

``locations`` names the packages whose import fills a registry, so that ``MODELS.build(dict(type='GFL', ...))`` works without an explicit import.
"""

from typing import Any

from mmengine.registry import DATA_SAMPLERS as MMENGINE_DATA_SAMPLERS
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import EVALUATOR as MMENGINE_EVALUATOR
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import LOG_PROCESSORS as MMENGINE_LOG_PROCESSORS
from mmengine.registry import LOOPS as MMENGINE_LOOPS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODEL_WRAPPERS as MMENGINE_MODEL_WRAPPERS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.registry import OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS
from mmengine.registry import OPTIMIZERS as MMENGINE_OPTIMIZERS
from mmengine.registry import PARAM_SCHEDULERS as MMENGINE_PARAM_SCHEDULERS
from mmengine.registry import RUNNERS as MMENGINE_RUNNERS
from mmengine.registry import TASK_UTILS as MMENGINE_TASK_UTILS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import VISBACKENDS as MMENGINE_VISBACKENDS
from mmengine.registry import VISUALIZERS as MMENGINE_VISUALIZERS
from mmengine.registry import WEIGHT_INITIALIZERS as MMENGINE_WEIGHT_INITIALIZERS
from mmengine.registry import Registry

from .build_errors import build_errors_explained

SCOPE = 'mmdet'


class _Registry(Registry):
    """mmengine's registry, whose ``build`` explains unknown types and arguments by a ``ConfigError``."""

    def build(self, cfg: dict, *args: Any, **kwargs: Any) -> Any:
        with build_errors_explained(all_registries()):
            return super().build(cfg, *args, **kwargs)


def all_registries() -> list[Registry]:
    """The registries of this module and those of mmengine that are their parents."""
    return [value for value in globals().values() if isinstance(value, Registry)]


def _child(name: str, parent: Registry, *locations: str) -> Registry:
    return _Registry(name, parent=parent, scope=SCOPE, locations=list(locations))


MODELS = _child('model', MMENGINE_MODELS, 'mmdet.models')
TASK_UTILS = _child('task util', MMENGINE_TASK_UTILS, 'mmdet.core')
DATASETS = _child('dataset', MMENGINE_DATASETS, 'mmdet.datasets')
DATA_SAMPLERS = _child('data sampler', MMENGINE_DATA_SAMPLERS, 'mmdet.datasets')
TRANSFORMS = _child('transform', MMENGINE_TRANSFORMS, 'mmdet.datasets')
METRICS = _child('metric', MMENGINE_METRICS, 'mmdet.evaluation')
EVALUATOR = _child('evaluator', MMENGINE_EVALUATOR, 'mmdet.evaluation')
RUNNERS = _child('runner', MMENGINE_RUNNERS, 'mmdet.engine')
LOOPS = _child('loop', MMENGINE_LOOPS, 'mmdet.engine')
HOOKS = _child('hook', MMENGINE_HOOKS, 'mmdet.engine')
LOG_PROCESSORS = _child('log processor', MMENGINE_LOG_PROCESSORS, 'mmdet.engine')
OPTIMIZERS = _child('optimizer', MMENGINE_OPTIMIZERS, 'mmdet.engine')
OPTIM_WRAPPERS = _child('optimizer wrapper', MMENGINE_OPTIM_WRAPPERS, 'mmdet.engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child(
    'optimizer wrapper constructor', MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS, 'mmdet.engine'
)
PARAM_SCHEDULERS = _child('parameter scheduler', MMENGINE_PARAM_SCHEDULERS, 'mmdet.engine')
MODEL_WRAPPERS = _child('model wrapper', MMENGINE_MODEL_WRAPPERS, 'mmdet.engine')
WEIGHT_INITIALIZERS = _child('weight initializer', MMENGINE_WEIGHT_INITIALIZERS, 'mmdet.models')
VISUALIZERS = _child('visualizer', MMENGINE_VISUALIZERS, 'mmdet.visualization')
VISBACKENDS = _child('vis backend', MMENGINE_VISBACKENDS, 'mmdet.visualization')

# Architecture search has no counterpart in mmengine, so these have no parents. The registered names are those of the reference's configs ('madnas', 'flops', ...).
NAS_BLOCKS = Registry('block family', scope=SCOPE, locations=['mmdet.archs'])
NAS_SCORES = Registry('architecture score', scope=SCOPE, locations=['mmdet.nas'])
NAS_BUDGETS = Registry('architecture budget', scope=SCOPE, locations=['mmdet.nas'])
NAS_LATENCIES = Registry('latency predictor', scope=SCOPE, locations=['mmdet.nas'])
NAS_SPACES = Registry('architecture space', scope=SCOPE, locations=['mmdet.nas.spaces'])
NAS_STRATEGIES = Registry('search strategy', scope=SCOPE, locations=['mmdet.nas.search'])

__all__ = [
    'DATASETS', 'DATA_SAMPLERS', 'EVALUATOR', 'HOOKS', 'LOG_PROCESSORS', 'LOOPS', 'METRICS', 'MODELS', 'MODEL_WRAPPERS',
    'NAS_BLOCKS', 'NAS_BUDGETS', 'NAS_LATENCIES', 'NAS_SCORES', 'NAS_SPACES', 'NAS_STRATEGIES', 'OPTIMIZERS',
    'OPTIM_WRAPPERS', 'OPTIM_WRAPPER_CONSTRUCTORS', 'PARAM_SCHEDULERS', 'RUNNERS', 'TASK_UTILS', 'TRANSFORMS', 'VISBACKENDS',
    'VISUALIZERS', 'WEIGHT_INITIALIZERS',
]  # fmt: skip
