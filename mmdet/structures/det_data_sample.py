"""The data element that accompanies an image: its ground truth, metadata and, later, predictions."""

from operator import attrgetter
from typing import Any

from mmengine.structures import BaseDataElement, InstanceData


def _instances(name: str) -> Any:
    """A property that keeps an ``InstanceData`` in the field ``name`` of its data element."""

    def set_instances(element: BaseDataElement, value: InstanceData) -> None:
        element.set_field(value, name, dtype=InstanceData)

    return property(attrgetter(name), set_instances, lambda element: delattr(element, name))


class DetDataSample(BaseDataElement):
    """One image's annotations and predictions.

    ``gt_instances`` and ``ignored_instances`` hold ``bboxes`` (N, 4) float32 xyxy in pixels of the network's input image and ``labels``
    (N,) int64, 0-based. ``pred_instances`` holds ``bboxes`` (n, 4), ``scores`` (n,) and ``labels`` (n,), sorted by score, in pixels of the
    original image unless prediction ran with ``rescale=False``.

    Metainfo: ``img_id``, ``img_path``, ``ori_shape`` (h, w), ``img_shape`` (h, w) after resizing, ``scale_factor`` (w, h), ``flip``,
    ``flip_direction``, ``pad_shape`` (h, w), ``batch_input_shape`` (h, w).
    """

    gt_instances: InstanceData = _instances('_gt_instances')
    ignored_instances: InstanceData = _instances('_ignored_instances')
    pred_instances: InstanceData = _instances('_pred_instances')


SampleList = list[DetDataSample]
OptSampleList = list[DetDataSample] | None
