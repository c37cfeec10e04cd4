"""Detectors of one pass: backbone, neck, dense head."""

import logging
from collections.abc import Callable
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log
from torch import Tensor, nn

from mmdet.errors import ConfigError
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.models.dense_heads import BaseDenseHead
from mmdet.models.dense_heads.base_dense_head import Losses, to_config_dict
from mmdet.registry import MODELS
from mmdet.structures import OptSampleList, SampleList

from .base import BaseDetector
from .strides import check_strides


def _with_channels(neck: dict, backbone: nn.Module) -> dict:
    """The neck's config; its ``in_channels`` are set to the backbone's ``out_channels``, where it has such a list: no others work."""
    if not isinstance(neck, dict):
        return neck
    known, given, name = getattr(backbone, 'out_channels', None), neck.get('in_channels'), type(backbone).__name__
    if not isinstance(known, (list, tuple)):
        if given == 'auto':
            message = f'the channels must be given: {name} has no list out_channels'
            raise ConfigError(message, field='neck.in_channels', received=given)
        return neck
    # A number: the neck reads the last map only.
    known = known[-1] if isinstance(given, int) else list(known)
    if given not in (None, 'auto', known, tuple(known) if isinstance(known, list) else known):
        message = f'neck.in_channels {given} replaced by {known}, the channels of {name}'
        print_log(message, logger='current', level=logging.WARNING)
    return ConfigDict(neck, in_channels=known)


class PyramidDetector(BaseDetector):
    """Backbone and optional neck of the detectors; arguments as of :class:`SingleStageDetector`."""

    data_preprocessor: DetDataPreprocessor

    def __init__(
        self,
        backbone: dict,
        neck: dict | None = None,
        train_cfg: dict | Config | None = None,
        test_cfg: dict | Config | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(data_preprocessor, init_cfg)
        self.backbone = MODELS.build(backbone)
        if neck is not None:
            self.neck = MODELS.build(_with_channels(neck, self.backbone))
        self.train_cfg, self.test_cfg = to_config_dict(train_cfg), to_config_dict(test_cfg)

    def extract_feat(self, batch_inputs: Tensor) -> tuple[Tensor, ...]:
        """Feature maps (B, C_l, H_l, W_l) of (B, 3, H, W) images."""
        x = self.backbone(batch_inputs)
        return self.neck(x) if self.with_neck else x

    # The name of the dense head in this kind of detector, and in the other: those of one and of two stages may be initialised from each other.
    _dense_head_names = ('bbox_head', 'rpn_head')

    def adapt_state_dict(self, state_dict: dict, prefix: str) -> list[str]:
        """Give the dense head of a checkpoint of the other kind, under ``prefix``, its name here, in place; returns a sentence if there is one."""
        own, other = (f'{prefix}{name}.' for name in self._dense_head_names)
        found = [key for key in state_dict if key.startswith(other)]
        if not found or any(key.startswith(own) for key in state_dict):
            return []
        for key in found:
            state_dict[own + key.removeprefix(other)] = state_dict.pop(key)
        return [f'{other}* is read as {own}*: the checkpoint is of a detector with another number of stages']

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        self.adapt_state_dict(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)


@MODELS.register_module()
class SingleStageDetector(PyramidDetector):
    """Backbone, optional neck, dense head.

    Args:
        backbone: config of the backbone.
        neck: config of the neck. Where the backbone has a list ``out_channels``, the neck's ``in_channels`` may be left out or be
            ``'auto'``; other channels are replaced, with a warning.
        bbox_head: config of the head.
        train_cfg, test_cfg: those of the head.
        data_preprocessor, init_cfg: configs of the preprocessor and of the initialisation.
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict | None = None,
        bbox_head: dict | Config | None = None,
        train_cfg: dict | Config | None = None,
        test_cfg: dict | Config | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(backbone, neck, train_cfg, test_cfg, data_preprocessor, init_cfg)
        # A copy: the config a user passes in stays as it is.
        head = ConfigDict(to_config_dict(bbox_head), train_cfg=self.train_cfg, test_cfg=self.test_cfg)
        self.bbox_head: BaseDenseHead = MODELS.build(head)
        check_strides(self)
        # From images to the raw outputs, in evaluation mode, in the place of the modules: see mmdet.apis.backends.
        self.backend_network: nn.Module | None = None

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> Losses:
        """Losses of the head, scalars or lists over levels."""
        return self.bbox_head.loss(self.extract_feat(batch_inputs), batch_data_samples)

    def predict(self, batch_inputs: Tensor, batch_data_samples: SampleList, rescale: bool = True) -> SampleList:
        """The samples with ``pred_instances``, in original-image pixels when ``rescale``."""
        compute = self._substitute
        if compute is None:
            results = self.bbox_head.predict(self.extract_feat(batch_inputs), batch_data_samples, rescale=rescale)
        else:
            options: dict[str, Any] = dict(batch_img_metas=[s.metainfo for s in batch_data_samples], rescale=rescale)
            results = self.bbox_head.predict_by_feat(*compute(batch_inputs), **options)
        return self.add_pred_to_datasample(batch_data_samples, results)

    def raw_outputs(self, batch_inputs: Tensor) -> tuple:
        """The raw outputs of the head by the modules themselves, whatever else there is."""
        return self.bbox_head(self.extract_feat(batch_inputs))

    def _forward(self, batch_inputs: Tensor, batch_data_samples: OptSampleList = None) -> tuple:
        return (self._substitute or self.raw_outputs)(batch_inputs)

    @property
    def _substitute(self) -> Callable[[Tensor], Any] | None:
        """What computes the raw outputs in the place of the modules: another library, or ``torch.compile``."""
        return None if self.training else self.backend_network or self.compiled_network

    @property
    def predicts_from_raw_outputs(self) -> bool:
        """Whether no method between the images and the raw outputs, or between these and the boxes, is a subclass's own."""
        return self.own_steps() == []

    def own_steps(self) -> list[str]:
        """Methods of a subclass, or of the head's, which computing the raw outputs elsewhere would pass over."""
        kind = type(self)
        names = ('predict', '_forward', 'raw_outputs')
        own = [name for name in names if getattr(kind, name) is not getattr(SingleStageDetector, name)]
        return own + (['bbox_head.predict'] if type(self.bbox_head).predict is not BaseDenseHead.predict else [])


@MODELS.register_module()
class GFL(SingleStageDetector):
    """Generalized Focal Loss detector, V1 or V2 by its head (arXiv 2006.04388, 2011.12885)."""


@MODELS.register_module()
class ATSS(SingleStageDetector):
    """ATSS (arXiv 1912.02424); also the detector type that GFL's own repository names in its configs."""


@MODELS.register_module()
class RetinaNet(SingleStageDetector):
    """RetinaNet (arXiv 1708.02002)."""


@MODELS.register_module()
class FCOS(SingleStageDetector):
    """Fully convolutional one-stage detector (arXiv 1904.01355)."""


@MODELS.register_module()
class VFNet(SingleStageDetector):
    """VarifocalNet (arXiv 2008.13367)."""


@MODELS.register_module()
class TOOD(SingleStageDetector):
    """Task-aligned one-stage detector (arXiv 2108.07755)."""


@MODELS.register_module()
class YOLOV3(SingleStageDetector):
    """YOLOv3 (arXiv 1804.02767)."""


@MODELS.register_module()
class YOLOX(SingleStageDetector):
    """YOLOX (arXiv 2107.08430)."""


@MODELS.register_module()
class PAA(SingleStageDetector):
    """Probabilistic anchor assignment (arXiv 2007.08103)."""


@MODELS.register_module()
class FOVEA(SingleStageDetector):
    """FoveaBox (arXiv 1904.03797)."""


@MODELS.register_module()
class RepPointsDetector(SingleStageDetector):
    """Boxes as point sets (arXiv 1904.11490)."""


@MODELS.register_module()
class CenterNet(SingleStageDetector):
    """Objects as points (arXiv 1904.07850), or the first stage of CenterNet2 (arXiv 2103.07461), by its head."""
