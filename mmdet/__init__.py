"""Detection toolbox for dense detectors and drone imagery.

Importing the package is cheap: models, datasets and hooks are imported by :func:`mmdet.utils.register_all_modules`, or by the
registries when a config first asks for one of their types.
"""

from .moved import serve_old_paths
from .version import __version__

serve_old_paths()

__all__ = ['__version__']
