"""Unified foreground packing: cluster boxes, zoom and pack the regions into a mosaic, map boxes there and back."""

from .guillotine import pack_guillotine, pack_strip
from .mapping import (
    MovedBoxes,
    boxes_to_image,
    boxes_to_mosaic,
    image_to_mosaic,
    match_rects,
    mosaic_to_image,
    move_objects,
)
from .maxrects import pack_dense, pack_maxrects
from .mosaic import paint_black, pixel_regions, render_mosaic
from .packing import UnifiedForegroundPacking, check_packing, fill_ratio, pack_images, pack_tiles, whole_image
from .regions import AREA_LIMITS, estimate_factors, expand_boxes, generate_regions, merge_boxes, object_areas

__all__ = [
    'AREA_LIMITS', 'MovedBoxes', 'UnifiedForegroundPacking', 'boxes_to_image', 'boxes_to_mosaic', 'check_packing', 'estimate_factors', 'expand_boxes', 'fill_ratio', 'generate_regions',
    'image_to_mosaic', 'match_rects', 'merge_boxes', 'mosaic_to_image', 'move_objects', 'object_areas', 'pack_dense', 'pack_guillotine',
    'pack_images', 'pack_maxrects', 'pack_strip', 'pack_tiles', 'paint_black', 'pixel_regions', 'render_mosaic', 'whole_image',
]  # fmt: skip
