"""Box functions under the import path of mmdetection 3.x; they live in :mod:`mmdet.core.boxes`."""

from mmdet.core.boxes import bbox2distance, bbox_overlaps, distance2bbox, get_box_wh, scale_boxes

__all__ = ['bbox2distance', 'bbox_overlaps', 'distance2bbox', 'get_box_wh', 'scale_boxes']
