"""Kinds of boxes under mmdetection's module path; they live in :mod:`mmdet.core.boxes`."""

from mmdet.core.boxes import autocast_box_type, convert_box_type, get_box_type, register_box, register_box_converter

__all__ = ['autocast_box_type', 'convert_box_type', 'get_box_type', 'register_box', 'register_box_converter']
