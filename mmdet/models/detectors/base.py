"""The three ways a detector is called."""

from abc import ABCMeta, abstractmethod
from typing import Any, TypeAlias

from mmengine.config import ConfigDict
from mmengine.model import BaseDataPreprocessor, BaseModel
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet.errors import ModelInputError
from mmdet.models.dense_heads.base_dense_head import Losses
from mmdet.models.inference import InferenceNetwork
from mmdet.models.utils.misc import samplelist_boxtype2tensor
from mmdet.structures import DetDataSample, OptSampleList, SampleList

# What forward() returns: losses, predictions or raw outputs, depending on its mode.
ForwardResults: TypeAlias = dict[str, Tensor] | list[DetDataSample] | tuple[Tensor, ...] | Tensor


class BaseDetector(InferenceNetwork, BaseModel, metaclass=ABCMeta):
    """Base of all detectors: ``detector(inputs, data_samples, mode)``; arguments are those of mmengine's ``BaseModel``.

    The modes ``'predict'`` and ``'tensor'`` run in the precision that :func:`mmdet.models.inference.prepare_networks` set.
    """

    data_preprocessor: BaseDataPreprocessor
    dataset_meta: dict[str, Any]  # class names and colours; set with the weights

    @property
    def with_neck(self) -> bool:
        """Whether there is a neck."""
        return getattr(self, 'neck', None) is not None

    @property
    def with_bbox(self) -> bool:
        """Whether there is a head that predicts boxes; one of two stages is looked for in ``roi_head``."""
        return self._has_head('bbox_head')

    @property
    def with_mask(self) -> bool:
        """Whether there is a head that predicts masks."""
        return self._has_head('mask_head')

    @property
    def with_shared_head(self) -> bool:
        """Whether ``roi_head`` has a part that its heads share."""
        return getattr(getattr(self, 'roi_head', None), 'shared_head', None) is not None

    def _has_head(self, name: str) -> bool:
        return any(getattr(owner, name, None) is not None for owner in (self, getattr(self, 'roi_head', None)))

    @property
    def detection_head(self) -> Any:
        """The head that the detections come from, with ``num_classes`` and, in ``test_cfg``, the settings of the last NMS."""
        return self.bbox_head

    def candidates(
        self, batch_inputs: Tensor, batch_img_metas: list[dict], test_cfg: ConfigDict | None = None
    ) -> list[InstanceData]:
        """What the last NMS would get: ``bboxes`` (n, 4) in pixels of the original images, ``scores`` (n,) and ``labels`` (n,).

        A larger detector merges the candidates of several views or detectors by an NMS of its own.

        Args:
            batch_inputs: (B, 3, H, W) normalised images.
            batch_img_metas: B dicts with ``img_shape`` and ``scale_factor``.
            test_cfg: settings instead of those of the head.
        """
        outputs = self(batch_inputs, mode='tensor')
        # The same rule for all detectors, whatever the head's test_cfg says: 'priors' may give all classes of a prior, many more candidates,
        # to the NMS that the views share.
        cfg = dict(test_cfg or self.detection_head.test_cfg, nms_pre_rule='pairs')
        options: dict[str, Any] = dict(batch_img_metas=batch_img_metas, cfg=cfg, rescale=True, with_nms=False)
        return self.detection_head.predict_by_feat(*outputs, **options)

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
            with self.inference_context(inputs):
                return self._forward(inputs, data_samples)
        if mode not in ('loss', 'predict'):
            raise RuntimeError(f"mode must be 'loss', 'predict' or 'tensor'. Received: {mode!r}")
        if data_samples is None:
            raise ModelInputError(f'mode {mode!r} needs one sample per image', field='data_samples', received=None)
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        with self.inference_context(inputs):
            return self.predict(inputs, data_samples)

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
    def add_pred_to_datasample(data_samples: SampleList, results_list: list[InstanceData]) -> SampleList:
        """Store each image's detections in its sample; boxes that are objects become tensors."""
        for sample, result in zip(data_samples, results_list):
            sample.pred_instances = result
        samplelist_boxtype2tensor(data_samples)
        return data_samples
