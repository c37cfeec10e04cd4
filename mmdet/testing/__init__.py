"""Inputs and configs for tests of plug-ins, under the names of mmdetection 3.x."""

from ._utils import demo_mm_inputs, demo_mm_proposals, get_detector_cfg, random_boxes

__all__ = ['demo_mm_inputs', 'demo_mm_proposals', 'get_detector_cfg', 'random_boxes']
