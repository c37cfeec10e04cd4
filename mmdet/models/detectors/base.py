"""The three ways a detector is called."""

from abc import ABCMeta, abstractmethod

from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet.structures import OptSampleList, SampleList


class BaseDetector(BaseModel, metaclass=ABCMeta):
    """Base of all detectors: ``detector(inputs, data_samples, mode)``.

    Args:
        data_preprocessor: config of the preprocessor.
        init_cfg: initialisation.
    """

    def __init__(self, data_preprocessor: dict | None = None, init_cfg: dict | None = None):
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)

    def forward(self, inputs: Tensor, data_samples: OptSampleList = None, mode: str = 'tensor'):
        """Run the network.

        Args:
            inputs: (B, C, H, W) normalised images.
            data_samples: one per image; needed for 'loss' and 'predict'.
            mode: ``'loss'`` gives a dict of losses, ``'predict'`` the samples with ``pred_instances``, ``'tensor'`` the head's
                raw outputs.

        Raises:
            RuntimeError: another mode.
        """
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'tensor':
            return self._forward(inputs, data_samples)
        raise RuntimeError(f"mode must be 'loss', 'predict' or 'tensor'. Received: {mode!r}")

    @abstractmethod
    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict[str, Tensor | list[Tensor]]:
        """Losses of a batch."""

    @abstractmethod
    def predict(self, batch_inputs: Tensor, batch_data_samples: SampleList, rescale: bool = True) -> SampleList:
        """The samples with their detections."""

    @abstractmethod
    def _forward(self, batch_inputs: Tensor, batch_data_samples: OptSampleList = None):
        """Raw outputs of the head."""

    @staticmethod
    def add_pred_to_datasample(data_samples: SampleList, results: list[InstanceData]) -> SampleList:
        """Store each image's detections in its sample."""
        for sample, result in zip(data_samples, results):
            sample.pred_instances = result
        return data_samples
