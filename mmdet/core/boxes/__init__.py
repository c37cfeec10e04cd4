from .base_bbox_coder import BaseBBoxCoder
from .base_boxes import BaseBoxes
from .box_type import autocast_box_type, convert_box_type, get_box_type, register_box, register_box_converter
from .delta_xywh_bbox_coder import DeltaXYWHBBoxCoder, bbox2delta, delta2bbox
from .distances import DistancePointBBoxCoder, bbox2distance, clip_boxes, distance2bbox
from .horizontal_boxes import HorizontalBoxes
from .overlaps import BboxOverlaps2D, bbox_overlaps
from .tblr_bbox_coder import TBLRBBoxCoder, bboxes2tblr, tblr2bboxes
from .transforms import (
    bbox2corner,
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
    corner2bbox,
    empty_box_as,
    find_inside_bboxes,
    get_box_tensor,
    get_box_wh,
    roi2bbox,
    scale_boxes,
    stack_boxes,
)
from .yolo_bbox_coder import YOLOBBoxCoder

__all__ = [
    'BaseBBoxCoder', 'BaseBoxes', 'BboxOverlaps2D', 'DeltaXYWHBBoxCoder', 'DistancePointBBoxCoder', 'HorizontalBoxes', 'TBLRBBoxCoder',
    'autocast_box_type', 'bbox2corner', 'bbox2delta', 'bbox2distance', 'bbox2result', 'bbox2roi', 'bbox_cxcyah_to_xyxy',
    'bbox_cxcywh_to_xyxy', 'bbox_flip', 'bbox_mapping', 'bbox_mapping_back', 'bbox_overlaps', 'bbox_project', 'bbox_rescale',
    'bbox_xyxy_to_cxcyah', 'bbox_xyxy_to_cxcywh', 'bboxes2tblr', 'cat_boxes', 'clip_boxes', 'convert_box_type', 'corner2bbox', 'delta2bbox',
    'distance2bbox', 'empty_box_as', 'find_inside_bboxes', 'get_box_tensor', 'get_box_type', 'get_box_wh', 'register_box',
    'register_box_converter', 'roi2bbox', 'scale_boxes', 'stack_boxes', 'tblr2bboxes',
    'YOLOBBoxCoder',
]  # fmt: skip
