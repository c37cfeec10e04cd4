"""The three ways a detector is called."""

from abc import ABCMeta, abstractmethod
from typing import Any

from mmengine.model import BaseModel
from mmengine.structures import InstanceData

from mmdet.errors import ModelInputError
from mmdet.models.dense_heads.base_dense_head import Losses
from mmdet.models.utils.misc import samplelist_boxtype2tensor
from mmdet.structures import OptSampleList, SampleList


class BaseDetector(BaseModel, metaclass=ABCMeta):
    """Base of all detectors: ``detector(inputs, data_samples, mode)``; arguments are those of mmengine's ``BaseModel``."""

    def forward(self, inputs: Any, data_samples: OptSampleList = None, mode: str = 'tensor') -> Any:
        """Run the network.

        Args:
            inputs: (B, C, H, W) normalised images; of a composite detector, a list of (3, h, w) images.
            data_samples: one per image; needed for 'loss' and 'predict'.
            mode: ``'loss'`` gives a dict of losses, ``'predict'`` the samples with ``pred_instances``, ``'tensor'`` the head's
                raw outputs.

        Raises:
            ModelInputError: no samples where they are needed.
            RuntimeError: another mode.
        """
        if mode == 'tensor':
            return self._forward(inputs, data_samples)
        if mode not in ('loss', 'predict'):
            raise RuntimeError(f"mode must be 'loss', 'predict' or 'tensor'. Received: {mode!r}")
        if data_samples is None:
            raise ModelInputError(f'mode {mode!r} needs one sample per image', field='data_samples', received=None)
        return self.loss(inputs, data_samples) if mode == 'loss' else self.predict(inputs, data_samples)

    @abstractmethod
    def loss(self, batch_inputs: Any, batch_data_samples: SampleList) -> Losses:
        """Losses of a batch."""

    @abstractmethod
    def predict(self, batch_inputs: Any, batch_data_samples: SampleList, rescale: bool = True) -> SampleList:
        """The samples with their detections."""

    @abstractmethod
    def _forward(self, batch_inputs: Any, batch_data_samples: OptSampleList = None) -> Any:
        """Raw outputs of the head."""

    @staticmethod
    def add_pred_to_datasample(data_samples: SampleList, results: list[InstanceData]) -> SampleList:
        """Store each image's detections in its sample; boxes that are objects become tensors."""
        for sample, result in zip(data_samples, results):
            sample.pred_instances = result
        samplelist_boxtype2tensor(data_samples)
        return data_samples
