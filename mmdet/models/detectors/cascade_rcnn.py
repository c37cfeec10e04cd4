"""Cascade R-CNN (Cai and Vasconcelos, CVPR 2018, arXiv 1712.00726), without masks."""

from mmdet.registry import MODELS

from .two_stage import TwoStageDetector


@MODELS.register_module()
class CascadeRCNN(TwoStageDetector):
    """:class:`TwoStageDetector` with a ``CascadeRoIHead``."""
