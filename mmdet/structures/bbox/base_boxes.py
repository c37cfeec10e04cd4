"""The base of boxes under mmdetection's module path; they live in :mod:`mmdet.core.boxes`."""

from mmdet.core.boxes import BaseBoxes

__all__ = ['BaseBoxes']
