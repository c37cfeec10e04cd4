"""The data element that accompanies an image: its ground truth, metadata and, later, predictions."""

from operator import attrgetter
from typing import Any

from mmengine.structures import BaseDataElement, InstanceData, PixelData


def _field(name: str, kind: type) -> Any:
    """A property that keeps an object of ``kind`` in the field ``name`` of its data element; AssertionError for other objects."""

    def set_value(element: BaseDataElement, value: BaseDataElement) -> None:
        element.set_field(value, name, dtype=kind)

    return property(attrgetter(name), set_value, lambda element: delattr(element, name))


class DetDataSample(BaseDataElement):
    """One image's annotations and predictions.

    ``gt_instances`` and ``ignored_instances`` hold ``bboxes`` (N, 4) float32 xyxy in pixels of the network's input image and ``labels``
    (N,) int64, 0-based. ``pred_instances`` holds ``bboxes`` (n, 4), ``scores`` (n,) and ``labels`` (n,), sorted by score, in pixels of the
    original image unless prediction ran with ``rescale=False``. ``gt_instances.bboxes`` may be ``HorizontalBoxes`` and have ``masks`` beside it
    until the data preprocessor. The other fields are for plug-ins; the toolbox fills none of them.

    Metainfo: ``img_id``, ``img_path``, ``ori_shape`` (h, w), ``img_shape`` (h, w) after resizing, ``scale_factor`` (w, h), ``flip``,
    ``flip_direction``, ``pad_shape`` (h, w), ``batch_input_shape`` (h, w).
    """

    proposals: InstanceData = _field('_proposals', InstanceData)
    gt_instances: InstanceData = _field('_gt_instances', InstanceData)
    ignored_instances: InstanceData = _field('_ignored_instances', InstanceData)
    pred_instances: InstanceData = _field('_pred_instances', InstanceData)
    pred_track_instances: InstanceData = _field('_pred_track_instances', InstanceData)
    gt_panoptic_seg: PixelData = _field('_gt_panoptic_seg', PixelData)
    pred_panoptic_seg: PixelData = _field('_pred_panoptic_seg', PixelData)
    gt_sem_seg: PixelData = _field('_gt_sem_seg', PixelData)
    pred_sem_seg: PixelData = _field('_pred_sem_seg', PixelData)


SampleList = list[DetDataSample]
OptSampleList = list[DetDataSample] | None
