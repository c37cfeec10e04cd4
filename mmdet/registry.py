"""All registries of the package: children of mmengine's, in scope ``mmdet``.

``locations`` names the packages whose import fills a registry, so that ``MODELS.build(dict(type='GFL', ...))`` works without an explicit import.

A config may also name a type by its path, as in ``dict(type='torch.optim.SGD')``. mmengine takes any callable that is found there, ``os.system`` too;
importing this module limits it to what is registered, and to classes that inherit from a class of mmengine, mmcv, this package, ``torch.nn``,
``torch.optim`` or ``torch.utils.data``.
"""

import contextlib
import inspect
from typing import Any

import mmengine.registry.registry as mmengine_registry
from mmengine import registry as root
from mmengine.registry import Registry
from mmengine.utils import get_object_from_string

from .build_errors import build_errors_explained

SCOPE = 'mmdet'


class _Registry(Registry):
    """mmengine's registry, whose ``build`` explains unknown types and arguments by a ``ConfigError``."""

    def build(self, cfg: dict, *args: Any, **kwargs: Any) -> Any:
        with build_errors_explained(all_registries()):
            return super().build(cfg, *args, **kwargs)


def all_registries() -> list[Registry]:
    """The registries of this module."""
    return [value for value in globals().values() if isinstance(value, Registry)]


_PARENTS = ('mmengine.', 'mmcv.', 'mmdet.', 'torch.nn.', 'torch.optim.', 'torch.utils.data.')


def _type_of_path(path: str) -> Any:
    """The object at a path like ``torch.optim.SGD``; None for one that no config may build."""
    found = None
    with contextlib.suppress(Exception):  # whatever the import of a module raises: there is no such type
        found = get_object_from_string(path)
    parents = inspect.getmro(found)[1:] if inspect.isclass(found) else ()
    if any(f'{parent.__module__}.'.startswith(_PARENTS) for parent in parents):
        return found
    registries = [value for value in vars(root).values() if isinstance(value, Registry)] + all_registries()
    known = (value for registry in registries for value in registry.module_dict.values())
    return found if any(found is value for value in known) else None


mmengine_registry.get_object_from_string = _type_of_path


def _child(name: str, parent: Registry, *locations: str) -> Registry:
    return _Registry(name, parent=parent, scope=SCOPE, locations=list(locations))


MODELS = _child('model', root.MODELS, 'mmdet.models')
# mmdet.core itself imports none of its packages, so that its ufp works without torch.
_TASK_UTILS = [f'mmdet.core.{package}' for package in ('assigners', 'boxes', 'priors', 'samplers')]
TASK_UTILS = _child('task util', root.TASK_UTILS, *_TASK_UTILS)
DATASETS = _child('dataset', root.DATASETS, 'mmdet.datasets')
DATA_SAMPLERS = _child('data sampler', root.DATA_SAMPLERS, 'mmdet.datasets')
TRANSFORMS = _child('transform', root.TRANSFORMS, 'mmdet.datasets')
METRICS = _child('metric', root.METRICS, 'mmdet.evaluation')
EVALUATOR = _child('evaluator', root.EVALUATOR, 'mmdet.evaluation')
RUNNERS = _child('runner', root.RUNNERS, 'mmdet.engine')
LOOPS = _child('loop', root.LOOPS, 'mmdet.engine')
HOOKS = _child('hook', root.HOOKS, 'mmdet.engine')
LOG_PROCESSORS = _child('log processor', root.LOG_PROCESSORS, 'mmdet.engine')
OPTIMIZERS = _child('optimizer', root.OPTIMIZERS, 'mmdet.engine')
OPTIM_WRAPPERS = _child('optimizer wrapper', root.OPTIM_WRAPPERS, 'mmdet.engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child('optimizer wrapper constructor', root.OPTIM_WRAPPER_CONSTRUCTORS, 'mmdet.engine')
PARAM_SCHEDULERS = _child('parameter scheduler', root.PARAM_SCHEDULERS, 'mmdet.engine')
MODEL_WRAPPERS = _child('model wrapper', root.MODEL_WRAPPERS, 'mmdet.engine')
WEIGHT_INITIALIZERS = _child('weight initializer', root.WEIGHT_INITIALIZERS, 'mmdet.models')
VISUALIZERS = _child('visualizer', root.VISUALIZERS, 'mmdet.visualization')
VISBACKENDS = _child('vis backend', root.VISBACKENDS, 'mmdet.visualization')

# Architecture search has no counterpart in mmengine, so these have no parents. The registered names are those of the reference's configs ('madnas', 'flops', ...).
NAS_BLOCKS = Registry('block family', scope=SCOPE, locations=['mmdet.archs'])
NAS_SCORES = Registry('architecture score', scope=SCOPE, locations=['mmdet.nas'])
NAS_BUDGETS = Registry('architecture budget', scope=SCOPE, locations=['mmdet.nas'])
NAS_LATENCIES = Registry('latency predictor', scope=SCOPE, locations=['mmdet.nas'])
NAS_SPACES = Registry('architecture space', scope=SCOPE, locations=['mmdet.nas.spaces'])
NAS_STRATEGIES = Registry('search strategy', scope=SCOPE, locations=['mmdet.nas.search'])

# Classes of boxes by lower-case name. A plain table, because boxes are made of data and never built from configs; it lies here because boxes and
# masks each look up the other's counterpart.
BOX_TYPES: dict[str, type] = {}
