"""Boxes under the import path of mmdetection 3.x; they live in :mod:`mmdet.core.boxes`."""

from mmdet.core.boxes import (
    BaseBoxes,
    HorizontalBoxes,
    autocast_box_type,
    bbox2corner,
    bbox2distance,
    bbox2result,
    bbox2roi,
    bbox_cxcyah_to_xyxy,
    bbox_cxcywh_to_xyxy,
    bbox_flip,
    bbox_mapping,
    bbox_mapping_back,
    bbox_project,
    bbox_rescale,
    bbox_xyxy_to_cxcyah,
    bbox_xyxy_to_cxcywh,
    cat_boxes,
    convert_box_type,
    corner2bbox,
    distance2bbox,
    empty_box_as,
    find_inside_bboxes,
    get_box_tensor,
    get_box_type,
    get_box_wh,
    register_box,
    register_box_converter,
    roi2bbox,
    scale_boxes,
    stack_boxes,
)

# By its module, which would take the function's place in this package if it were imported later.
from .bbox_overlaps import bbox_overlaps

__all__ = [
    'BaseBoxes', 'HorizontalBoxes', 'autocast_box_type', 'bbox2corner', 'bbox2distance', 'bbox2result', 'bbox2roi', 'bbox_cxcyah_to_xyxy',
    'bbox_cxcywh_to_xyxy', 'bbox_flip', 'bbox_mapping', 'bbox_mapping_back', 'bbox_overlaps', 'bbox_project', 'bbox_rescale',
    'bbox_xyxy_to_cxcyah', 'bbox_xyxy_to_cxcywh', 'cat_boxes', 'convert_box_type', 'corner2bbox', 'distance2bbox', 'empty_box_as',
    'find_inside_bboxes', 'get_box_tensor', 'get_box_type', 'get_box_wh', 'register_box', 'register_box_converter', 'roi2bbox', 'scale_boxes',
    'stack_boxes',
]  # fmt: skip
