"""Masks under the import path of mmdetection 3.x; they live in :mod:`mmdet.core.masks`."""

from mmdet.core.masks import (
    BaseInstanceMasks,
    BitmapMasks,
    PolygonMasks,
    bitmap_to_polygon,
    encode_mask_results,
    mask2bbox,
    polygon_to_bitmap,
    split_combined_polys,
)

__all__ = [
    'BaseInstanceMasks', 'BitmapMasks', 'PolygonMasks', 'bitmap_to_polygon', 'encode_mask_results', 'mask2bbox', 'polygon_to_bitmap',
    'split_combined_polys',
]  # fmt: skip
