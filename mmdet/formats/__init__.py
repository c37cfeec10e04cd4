"""Files, read and written: one module for each format, which gives typed tables.

Datasets, metrics, converters and tools read through this package; it knows none of them.
"""

from .annotations import read_annotations, read_table
from .coco import CocoAnnotations, CocoFile, load_coco_annotations, read_coco
from .images import BrokenImageError, decode_image, image_size
from .json_file import read_json
from .predictions import read_results
from .tables import BoxTable, Detections, GroundTruth, VisDroneTruth
from .uavdt import UAVDTRows, read_uavdt_rows
from .visdrone import (
    VisDroneInput,
    read_folders,
    read_image_sizes,
    read_toolkit_rows,
    read_visdrone_rows,
    write_result_files,
)  # fmt: skip
from .voc import VOCImage, read_voc_split, read_voc_xml

__all__ = [
    'BoxTable', 'BrokenImageError', 'CocoAnnotations', 'CocoFile', 'Detections', 'GroundTruth', 'UAVDTRows', 'VOCImage',
    'VisDroneInput', 'VisDroneTruth', 'decode_image', 'image_size', 'load_coco_annotations', 'read_coco', 'read_annotations', 'read_folders',
    'read_image_sizes', 'read_json', 'read_results', 'read_table', 'read_toolkit_rows', 'read_uavdt_rows', 'read_visdrone_rows',
    'read_voc_split', 'read_voc_xml', 'write_result_files',
]  # fmt: skip
