"""Faster R-CNN (Ren et al., NeurIPS 2015, arXiv 1506.01497), in the configs with a feature pyramid."""

from mmdet.registry import MODELS

from .two_stage import TwoStageDetector


@MODELS.register_module()
class FasterRCNN(TwoStageDetector):
    """:class:`TwoStageDetector` under the name of the paper."""
