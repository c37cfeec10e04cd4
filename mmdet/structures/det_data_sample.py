"""The data element that accompanies an image: its ground truth, metadata and, later, predictions."""

from mmengine.structures import BaseDataElement, InstanceData


class DetDataSample(BaseDataElement):
    """One image's annotations and predictions.

    ``gt_instances`` and ``ignored_instances`` hold ``bboxes`` (N, 4) float32 xyxy in pixels of the network's input image and ``labels``
    (N,) int64, 0-based. ``pred_instances`` holds ``bboxes`` (n, 4), ``scores`` (n,) and ``labels`` (n,), sorted by score, in pixels of the
    original image unless prediction ran with ``rescale=False``.

    Metainfo: ``img_id``, ``img_path``, ``ori_shape`` (h, w), ``img_shape`` (h, w) after resizing, ``scale_factor`` (w, h), ``flip``,
    ``flip_direction``, ``pad_shape`` (h, w), ``batch_input_shape`` (h, w).
    """

    @property
    def gt_instances(self) -> InstanceData:
        """Annotated objects."""
        return self._gt_instances

    @gt_instances.setter
    def gt_instances(self, value: InstanceData) -> None:
        self.set_field(value, '_gt_instances', dtype=InstanceData)

    @gt_instances.deleter
    def gt_instances(self) -> None:
        del self._gt_instances

    @property
    def ignored_instances(self) -> InstanceData:
        """Regions whose detections count neither as right nor as wrong."""
        return self._ignored_instances

    @ignored_instances.setter
    def ignored_instances(self, value: InstanceData) -> None:
        self.set_field(value, '_ignored_instances', dtype=InstanceData)

    @ignored_instances.deleter
    def ignored_instances(self) -> None:
        del self._ignored_instances

    @property
    def pred_instances(self) -> InstanceData:
        """Detected objects."""
        return self._pred_instances

    @pred_instances.setter
    def pred_instances(self, value: InstanceData) -> None:
        self.set_field(value, '_pred_instances', dtype=InstanceData)

    @pred_instances.deleter
    def pred_instances(self) -> None:
        del self._pred_instances


SampleList = list[DetDataSample]
OptSampleList = list[DetDataSample] | None
