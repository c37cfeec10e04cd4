"""Fill the registries and choose the default scope."""

import importlib
import os

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import DefaultScope

from ..registry import SCOPE

# The models import the task utilities of mmdet.core.
_PACKAGES = ('datasets', 'engine', 'evaluation', 'models', 'visualization')


def register_all_modules(init_default_scope: bool = True) -> None:
    """Import every package that registers types, and make ``mmdet`` the default scope.

    Args:
        init_default_scope: make ``mmdet`` the current default scope, so that type names without a prefix are looked up here first.
    """
    for name in _PACKAGES:
        importlib.import_module(f'mmdet.{name}')
    if init_default_scope:
        current = DefaultScope.get_current_instance()
        if current is None or current.scope_name != SCOPE:
            # The newest instance is the current one, and a name can be used once: number them.
            number = sum(name.split('-')[0] == SCOPE for name in DefaultScope._instance_dict)
            DefaultScope.get_instance(f'{SCOPE}-{number}', scope_name=SCOPE)


def setup_cache_size_limit_of_dynamo() -> None:
    """Let ``torch.compile`` keep as many versions of a function as the environment variable ``DYNAMO_CACHE_SIZE_LIMIT`` says, if it is set."""
    limit = os.environ.get('DYNAMO_CACHE_SIZE_LIMIT')
    if limit is None:
        return
    # Imported here: torch._dynamo takes seconds.
    import torch._dynamo

    torch._dynamo.config.cache_size_limit = int(limit)
    print_log(f'torch.compile keeps up to {limit} versions of a function', logger='current')


def setup_multi_processes(cfg: Config) -> None:
    """Set how processes start and how many threads they use, from ``mp_start_method`` ('fork') and ``opencv_num_threads`` (0) of a config.

    ``OMP_NUM_THREADS`` and ``MKL_NUM_THREADS`` become 1 where they are not set and a data loader has several workers, which would otherwise
    compete with each other.
    """
    from mmengine.utils.dl_utils import set_multi_processing

    set_multi_processing(cfg.get('mp_start_method', 'fork'), cfg.get('opencv_num_threads', 0))
    workers = [
        cfg.get(name, {}).get('num_workers', 0) for name in ('train_dataloader', 'val_dataloader', 'test_dataloader')
    ]
    if max(workers) > 1:
        for name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS'):
            os.environ.setdefault(name, '1')
