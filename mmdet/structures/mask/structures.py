"""The masks under mmdetection's module path; they live in :mod:`mmdet.core.masks`."""

from mmdet.core.masks import BaseInstanceMasks, BitmapMasks, PolygonMasks, bitmap_to_polygon, polygon_to_bitmap

__all__ = ['BaseInstanceMasks', 'BitmapMasks', 'PolygonMasks', 'bitmap_to_polygon', 'polygon_to_bitmap']
