from .structures import (
    BaseInstanceMasks,
    BitmapMasks,
    PolygonMasks,
    bitmap_to_polygon,
    mask_to_bitmap,
    polygon_to_bitmap,
)
from .utils import encode_mask_results, mask2bbox, split_combined_polys

__all__ = [
    'BaseInstanceMasks', 'BitmapMasks', 'PolygonMasks', 'bitmap_to_polygon', 'encode_mask_results', 'mask2bbox', 'mask_to_bitmap', 'polygon_to_bitmap',
    'split_combined_polys',
]  # fmt: skip
