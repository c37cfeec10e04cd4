"""What travels beside an image: its ground truth, its metadata and, later, its predictions."""

from mmengine.structures import BaseDataElement, InstanceData


class DetDataSample(BaseDataElement):
    """One image's annotations and predictions.

    ``gt_instances`` and ``ignored_instances`` hold ``bboxes`` (N, 4) float32 xyxy in pixels of the network's input image and ``labels``
    (N,) int64, 0-based. ``pred_instances`` holds ``bboxes`` (n, 4), ``scores`` (n,) and ``labels`` (n,), sorted by score, in pixels of the
    original image unless prediction ran with ``rescale=False``.

    Metainfo: ``img_id``, ``img_path``, ``ori_shape`` (h, w), ``img_shape`` (h, w) after resizing, ``scale_factor`` (w, h), ``flip``,
    ``flip_direction``, ``pad_shape`` (h, w), ``batch_input_shape`` (h, w).
    """

    gt_instances = property(lambda self: self._gt_instances)
    ignored_instances = property(lambda self: self._ignored_instances)
    pred_instances = property(lambda self: self._pred_instances)

    @gt_instances.setter
    def gt_instances(self, value: InstanceData):
        self.set_field(value, '_gt_instances', dtype=InstanceData)

    @gt_instances.deleter
    def gt_instances(self):
        del self._gt_instances

    @ignored_instances.setter
    def ignored_instances(self, value: InstanceData):
        self.set_field(value, '_ignored_instances', dtype=InstanceData)

    @ignored_instances.deleter
    def ignored_instances(self):
        del self._ignored_instances

    @pred_instances.setter
    def pred_instances(self, value: InstanceData):
        self.set_field(value, '_pred_instances', dtype=InstanceData)

    @pred_instances.deleter
    def pred_instances(self):
        del self._pred_instances


SampleList = list[DetDataSample]
OptSampleList = list[DetDataSample] | None
