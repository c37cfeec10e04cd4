"""The three ways a detector is called, and what composite detectors, exports and tools ask of it."""

from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.model import BaseDataPreprocessor, BaseModel
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdet.errors import ModelInputError
from mmdet.models.dense_heads.base_dense_head import Losses
from mmdet.models.inference import InferenceNetwork
from mmdet.models.utils.misc import samplelist_boxtype2tensor
from mmdet.structures import DetDataSample, OptSampleList, SampleList
from mmdet_runtime.resizing import model_size_hw

# What forward() returns: losses, predictions or raw outputs, depending on its mode.
ForwardResults: TypeAlias = dict[str, Tensor] | list[DetDataSample] | tuple[Tensor, ...] | Tensor


class _Otherwise:
    """What an attribute is where neither the class of a detector nor its ``__init__`` sets it: unlike a property, it can be set."""

    def __init__(self, function: Callable[[Any], Any]):
        self._function = function

    def __get__(self, detector: Any, owner: type) -> Any:
        return self if detector is None else self._function(detector)


def _of_head(name: str, default: Any) -> Callable[[Any], Any]:
    return lambda detector: getattr(getattr(detector, 'detection_head', None), name, default)


class BaseDetector(InferenceNetwork, BaseModel, metaclass=ABCMeta):
    """Base of all detectors: ``detector(inputs, data_samples, mode)``; arguments are those of mmengine's ``BaseModel``.

    The modes ``'predict'`` and ``'tensor'`` run in the precision that :func:`mmdet.models.inference.prepare_networks` set.

    What a stage of a composite detector, an export and the tools ask of a detector is :meth:`candidates`, ``data_preprocessor`` with its
    ``pad_size_divisor``, and the attributes below. Where a detector does not set them, they are those of its :attr:`detection_head`; a
    detector without such a head sets the first two.

    Attributes:
        num_classes: C, of the detections.
        detection_cfg: settings of the last step: ``score_thr``, ``max_per_img``, ``nms`` ... (``test_cfg`` of the head).
        end_to_end: the candidates of one view have one box for each object, and need no NMS (the head's ``suppresses`` is False). ``nms`` of
            ``detection_cfg`` is then for several views, whose boxes do not suppress others of their own view.
        clips_boxes: boxes end at the border of the image (the head's ``clips_boxes``; True if it has none).
        class_agnostic: the one class is any object, as of an ``RPN`` (the head's ``class_agnostic``).
        max_objects: the most objects that one view can give; None if nothing limits them but the settings. A detector that finds each object by
            a query has ``num_queries``.
        input_rule: arguments of :func:`mmdet_runtime.resizing.model_size_hw`, where the detector itself enlarges its inputs; None where it takes them
            as they are.
        raw_kind: what its raw outputs are, which exports and backends ask (the head's): ``'maps'``, lists of the maps of all levels; ``'regions'``,
            those of regions that a first stage found (:meth:`TwoStageDetector.batch_outputs`); ``'queries'``, logits (B, Q, K) and boxes (B, Q, 4),
            xyxy in pixels of the input. None for a detector that is not exported.
        backend_network: a network of another library that computes the raw outputs in evaluation mode, or None. Only a detector that calls it has
            the attribute.
    """

    data_preprocessor: BaseDataPreprocessor
    input_rule: Mapping[str, Any] | None = None
    backend_network: nn.Module | None
    dataset_meta: dict[str, Any]  # class names and colours; set with the weights

    num_classes: Any = _Otherwise(lambda detector: detector.detection_head.num_classes)
    detection_cfg: Any = _Otherwise(lambda detector: detector.detection_head.test_cfg)
    end_to_end: Any = _Otherwise(lambda detector: not _of_head('suppresses', True)(detector))
    clips_boxes: Any = _Otherwise(_of_head('clips_boxes', True))
    class_agnostic: Any = _Otherwise(_of_head('class_agnostic', False))
    max_objects: Any = _Otherwise(lambda detector: getattr(detector, 'num_queries', None))
    raw_kind: Any = _Otherwise(_of_head('raw_kind', None))

    @classmethod
    def max_objects_of(cls, cfg: Mapping) -> int | None:
        """``max_objects`` of the detector of a config, which is not built for it."""
        return cfg.get('num_queries')

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

        Of an ``end_to_end`` detector, its best ``max_per_img`` detections.

        A larger detector merges the candidates of several views or detectors by an NMS of its own.

        Args:
            batch_inputs: (B, 3, H, W) normalised images.
            batch_img_metas: B dicts with ``img_shape`` and ``scale_factor``.
            test_cfg: settings instead of ``detection_cfg``.
        """
        outputs = self(batch_inputs, mode='tensor')
        # The same rule for all detectors, whatever the head's test_cfg says: 'priors' may give all classes of a prior, many more candidates,
        # to the NMS that the views share.
        cfg = dict(test_cfg or self.detection_cfg, nms_pre_rule='pairs')
        options: dict[str, Any] = dict(batch_img_metas=batch_img_metas, cfg=cfg, rescale=True, with_nms=False)
        return self.detection_head.predict_by_feat(*outputs, **options)

    def input_size_hw(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Height and width to which the detector itself pads images, see ``input_rule``."""
        return size_hw if self.input_rule is None else model_size_hw(size_hw, **self.input_rule)

    def padded(self, images: Tensor) -> Tensor:
        """The images (B, 3, H, W), padded at the right and at the bottom as ``input_rule`` says."""
        height, width = images.shape[-2:]
        needed_h, needed_w = self.input_size_hw((height, width))
        if (needed_h, needed_w) == (height, width):
            return images
        value = getattr(self.data_preprocessor, 'pad_value', 0)
        return F.pad(images, (0, needed_w - width, 0, needed_h - height), value=value)

    def check_exportable(self) -> None:
        """Raise a ConfigError where :meth:`traced_outputs` is not possible."""

    def traced_outputs(self, images: Tensor, sizes_hw: Tensor | None = None) -> Any:
        """The raw outputs, by operations that exporters can write.

        Args:
            images: (B, 3, H, W), padded.
            sizes_hw: (B, 2) height and width of each image before padding, where ``raw_kind`` is ``'regions'``.
        """
        return self._forward(images)

    def own_steps(self) -> list[str]:
        """Methods of a subclass between the images and the boxes, which computing the raw outputs elsewhere would pass over."""
        return []

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
