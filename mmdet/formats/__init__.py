"""Files, read and written: one module for each format, which gives typed tables.

Data sets, metrics, converters and tools read through this package; it knows none of them.
"""

from .coco import CocoAnnotations, load_coco_annotations
from .images import BrokenImageError, decode_image, image_size
from .predictions import read_results
from .tables import BoxTable, Detections, GroundTruth, VisDroneTruth
from .visdrone import VisDroneInput, read_folders, read_image_sizes, read_toolkit_rows, write_result_files

__all__ = [
    'BoxTable', 'BrokenImageError', 'CocoAnnotations', 'Detections', 'GroundTruth', 'VisDroneInput', 'VisDroneTruth', 'decode_image',
    'image_size', 'load_coco_annotations', 'read_folders', 'read_image_sizes', 'read_results', 'read_toolkit_rows', 'write_result_files',
]  # fmt: skip
