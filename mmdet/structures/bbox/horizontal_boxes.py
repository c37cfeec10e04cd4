"""Axis-aligned boxes under mmdetection's module path; they live in :mod:`mmdet.core.boxes`."""

from mmdet.core.boxes import HorizontalBoxes

__all__ = ['HorizontalBoxes']
