"""Functions of boxes under mmdetection's module path; they live in :mod:`mmdet.core.boxes`."""

from mmdet.core.boxes import (
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
    corner2bbox,
    distance2bbox,
    empty_box_as,
    find_inside_bboxes,
    get_box_tensor,
    get_box_wh,
    roi2bbox,
    scale_boxes,
    stack_boxes,
)

__all__ = [
    'bbox2corner', 'bbox2distance', 'bbox2result', 'bbox2roi', 'bbox_cxcyah_to_xyxy', 'bbox_cxcywh_to_xyxy', 'bbox_flip', 'bbox_mapping',
    'bbox_mapping_back', 'bbox_project', 'bbox_rescale', 'bbox_xyxy_to_cxcyah', 'bbox_xyxy_to_cxcywh', 'cat_boxes', 'corner2bbox',
    'distance2bbox', 'empty_box_as', 'find_inside_bboxes', 'get_box_tensor', 'get_box_wh', 'roi2bbox', 'scale_boxes', 'stack_boxes',
]  # fmt: skip
