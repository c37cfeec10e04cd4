"""Exported detectors without torch: NumPy, OpenCV, and onnxruntime or openvino.

What the toolbox ``mmdet`` and this package both need lies here, once. Nothing here imports ``mmdet``, ``mmengine`` or ``torch``; functions that
also take tensors find torch among the modules that are already imported, as a tensor cannot exist without it.
"""

# The release of both distributions, mmdet-dense and mmdet-dense-runtime; their build scripts read this line.
__version__ = '0.1.0'

__all__ = ['Detections', 'Runtime', '__version__', 'load']
_PLACES = {'Detections': 'suppression', 'Runtime': 'detector', 'load': 'detector'}


def __getattr__(name: str) -> object:
    """The names that users need, imported when they are: the toolbox imports this package for its smallest modules."""
    if name not in _PLACES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    import importlib

    from .checks import check_opencv

    check_opencv()
    return getattr(importlib.import_module(f'.{_PLACES[name]}', __name__), name)
