"""TransformersDetector against the library itself, class by class."""

import pytest
import torch
from mmengine.structures import InstanceData

from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from tests.models.transformers_case import TINY, needs_transformers, tiny_detector

pytestmark = needs_transformers


def _sample(boxes: list, size_hw: tuple[int, int] = (100, 120)) -> DetDataSample:
    truth = InstanceData(bboxes=torch.tensor(boxes).reshape(-1, 4).float(), labels=torch.arange(len(boxes)) % 10)
    return DetDataSample(
        metainfo=dict(img_shape=size_hw, ori_shape=size_hw, scale_factor=(1.0, 1.0)), gt_instances=truth
    )


@pytest.mark.parametrize('kind', TINY)
def test_each_class_trains_and_predicts(kind):
    model = MODELS.build(tiny_detector(kind)).train()
    images = [torch.randint(0, 255, (3, 100, 120), dtype=torch.uint8) for _ in range(2)]
    samples = [_sample([]), _sample([[10, 20, 50, 60], [0, 0, 30, 10]])]
    losses = model(**model.data_preprocessor(dict(inputs=images, data_samples=samples), True), mode='loss')
    loss, logged = model.parse_losses(losses)
    loss.backward()
    assert torch.isfinite(loss) and [name for name in logged if 'loss' in name] == ['loss']

    found = model.eval()(**model.data_preprocessor(dict(inputs=images, data_samples=samples)), mode='predict')
    boxes = found[0].pred_instances.bboxes
    assert boxes.shape[1:] == (4,) and (boxes[:, [2, 3]] <= torch.tensor([120.0, 100.0])).all()
