"""Detection toolbox for dense detectors and drone imagery.

Importing the package is cheap: models, datasets and hooks are imported by :func:`mmdet.utils.register_all_modules`, or by the
registries when a config first asks for one of their types.
"""

import sys

from .version import __version__, version_info


class _OldPaths:
    """Import finder for the module paths of earlier versions; :mod:`mmdet.moved` is read with the first submodule, not with the package."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if not name.startswith('mmdet.') or name == 'mmdet.moved':
            return None
        from .moved import find_old_path

        return find_old_path(name)


# Before all other finders, because an old path may lie in a package that moved together with its modules.
sys.meta_path.insert(0, _OldPaths)


def __getattr__(name: str) -> object:
    # Of mmengine, which takes most of a second to import.
    if name == 'digit_version':
        from mmengine.utils import digit_version

        return digit_version
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


__all__ = ['__version__', 'digit_version', 'version_info']
