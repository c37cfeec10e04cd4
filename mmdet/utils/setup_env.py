"""Fill the registries and choose the default scope."""

import importlib

from mmengine.registry import DefaultScope

from ..registry import SCOPE

_PACKAGES = ('core', 'datasets', 'engine', 'evaluation', 'models', 'visualization')


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
