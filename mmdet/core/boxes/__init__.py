from .distances import DistancePointBBoxCoder, bbox2distance, clip_boxes, distance2bbox, get_box_wh, scale_boxes
from .overlaps import BboxOverlaps2D, bbox_overlaps, cat_boxes, get_box_tensor

__all__ = [
    'BboxOverlaps2D', 'DistancePointBBoxCoder', 'bbox2distance', 'bbox_overlaps', 'cat_boxes', 'clip_boxes', 'distance2bbox', 'get_box_tensor', 'get_box_wh',
    'scale_boxes',
]  # fmt: skip
