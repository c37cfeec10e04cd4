"""Two versions: of mmdetection, whose import paths and behaviour this package offers, and of this package.

Plug-ins compare ``mmdet.__version__`` with the releases of mmdetection that they were written for.
"""

__version__ = '3.3.0'
version_info = (3, 3, 0)
# The release of this distribution, mmdet-dense.
release = '0.1.0'
