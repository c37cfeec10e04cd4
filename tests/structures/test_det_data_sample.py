import pytest
import torch
from mmengine.structures import InstanceData, PixelData

from mmdet.core.boxes import HorizontalBoxes
from mmdet.models.utils import samplelist_boxtype2tensor
from mmdet.structures import DetDataSample

INSTANCES = ('proposals', 'gt_instances', 'ignored_instances', 'pred_instances', 'pred_track_instances')
PIXELS = ('gt_panoptic_seg', 'pred_panoptic_seg', 'gt_sem_seg', 'pred_sem_seg')


@pytest.mark.parametrize('name', INSTANCES + PIXELS)
def test_typed_fields(name):
    right, wrong = (InstanceData(), PixelData()) if name in INSTANCES else (PixelData(), InstanceData())
    sample = DetDataSample()
    assert name not in sample
    with pytest.raises(AttributeError):
        getattr(sample, name)
    for value in (wrong, {}, torch.zeros(1)):
        with pytest.raises(AssertionError):
            setattr(sample, name, value)
    setattr(sample, name, right)
    assert name in sample and getattr(sample, name) is sample.get(name) is right
    delattr(sample, name)
    assert name not in sample and sample.keys() == []


def test_values_of_instances_follow_the_device_and_dtype():
    sample = DetDataSample(gt_instances=InstanceData(bboxes=HorizontalBoxes([[0.0, 1, 2, 3]])))
    moved = sample.to(torch.float64)
    assert type(moved.gt_instances.bboxes) is HorizontalBoxes and moved.gt_instances.bboxes.dtype == torch.float64


def test_boxes_to_tensors_in_place():
    empty = DetDataSample()
    boxes = HorizontalBoxes([[0.0, 1, 2, 3]])
    sample = DetDataSample(gt_instances=InstanceData(bboxes=boxes), pred_instances=InstanceData(labels=torch.ones(1)))
    sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4))
    assert samplelist_boxtype2tensor([empty, sample]) is None
    assert sample.gt_instances.bboxes is boxes.tensor and sample.ignored_instances.bboxes.shape == (0, 4)
    assert 'bboxes' not in sample.pred_instances and empty.keys() == []
