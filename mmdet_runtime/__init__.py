"""Exported detectors without torch: NumPy, OpenCV, and onnxruntime or openvino.

What the toolbox ``mmdet`` and this package both need lies here, once. Nothing here imports ``mmdet``, ``mmengine`` or ``torch``; functions that
also take tensors find torch among the modules that are already imported, as a tensor cannot exist without it.
"""

# The release of both distributions, mmdet-dense and mmdet-dense-runtime; their build scripts read this line.
__version__ = '0.1.0'

__all__ = ['__version__']
