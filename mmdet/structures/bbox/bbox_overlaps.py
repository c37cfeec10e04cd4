"""Overlaps under mmdetection's module path; they live in :mod:`mmdet.core.boxes`."""

from mmdet.core.boxes import bbox_overlaps

__all__ = ['bbox_overlaps']
