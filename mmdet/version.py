"""Two versions: of mmdetection, whose import paths and behaviour this package offers, and of this package.

Plug-ins compare ``mmdet.__version__`` with the releases of mmdetection that they were written for.
"""

# The release of the distribution mmdet-dense, and of the smaller mmdet-dense-runtime.
try:
    from mmdet_runtime import __version__ as release
except ModuleNotFoundError as error:  # the last line is all that most people read
    if error.name == 'mmdet_runtime':
        error.msg += (
            ', which belongs to mmdet; bring it back: pip install --force-reinstall --no-deps mmdet-dense-runtime'
        )
    raise

__version__ = '3.3.0'
version_info = (3, 3, 0)

__all__ = ['__version__', 'release', 'version_info']
