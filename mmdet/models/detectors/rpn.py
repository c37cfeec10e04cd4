"""The region proposal network as a detector of its own, to train it alone and to measure its recall."""

from typing import Any

from mmengine.config import Config
from torch import Tensor

from mmdet.models.dense_heads.base_dense_head import Losses
from mmdet.registry import MODELS
from mmdet.structures import SampleList

from .single_stage import SingleStageDetector
from .two_stage import as_objects


@MODELS.register_module()
class RPN(SingleStageDetector):
    """Backbone, neck, ``rpn_head``; the detections are proposals of one class, the object.

    Args:
        backbone, neck: see :class:`SingleStageDetector`.
        rpn_head: config of the head.
        train_cfg, test_cfg: ``rpn``, the settings of the head.
        **kwargs: further arguments of :class:`SingleStageDetector`.
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict | None,
        rpn_head: dict | Config,
        train_cfg: dict | Config | None = None,
        test_cfg: dict | Config | None = None,
        **kwargs: Any,
    ):
        own = [None if cfg is None else cfg['rpn'] for cfg in (train_cfg, test_cfg)]
        super().__init__(backbone, neck, rpn_head, *own, **kwargs)

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> Losses:
        """``loss_rpn_cls`` and ``loss_rpn_bbox``, lists over the levels; the classes of the ground truth do not count."""
        return super().loss(batch_inputs, [as_objects(sample) for sample in batch_data_samples])
