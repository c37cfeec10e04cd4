import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.structures import InstanceData

from mmdet.models.detectors.tta import DetTTAModel, flip_boxes
from mmdet.structures import DetDataSample
from mmdet.utils import ModelInputError


def view(bboxes, scores, **meta):
    sample = DetDataSample(metainfo=dict(ori_shape=(10, 20), **meta))
    bboxes = torch.tensor(bboxes, dtype=torch.float32).reshape(-1, 4)
    sample.pred_instances = InstanceData(
        bboxes=bboxes,
        scores=torch.tensor(scores, dtype=torch.float32),
        labels=torch.zeros(len(bboxes), dtype=torch.long),
    )
    return sample


class Detector(BaseModel):
    def forward(self, inputs, data_samples=None, mode='tensor'):
        return data_samples


@pytest.fixture
def tta():
    return DetTTAModel(module=Detector())


@pytest.mark.parametrize(
    ('direction', 'expected'),
    [('horizontal', [16, 2, 19, 8]), ('vertical', [1, 2, 4, 8]), ('diagonal', [16, 2, 19, 8])],
)
def test_flip_by_hand(direction, expected):
    assert flip_boxes(torch.tensor([[1.0, 2, 4, 8]]), (10, 20), direction).tolist() == [expected]
    assert flip_boxes(torch.zeros(0, 4), (10, 20), direction).shape == (0, 4)


def test_unknown_direction():
    with pytest.raises(ModelInputError, match='direction'):
        flip_boxes(torch.zeros(1, 4), (10, 20), 'left')


def test_no_detections(tta):
    merged = tta.merge_preds([[view([], [], flip=False), view([], [], flip=True, flip_direction='horizontal')]])
    assert len(merged[0].pred_instances) == 0


def test_views_are_mapped_back_and_merged(tta, device):
    plain = view([[1, 2, 4, 8], [10, 0, 14, 4]], [0.5, 0.3], flip=False)
    flipped = view([[16, 2, 19, 8]], [0.9], flip=True, flip_direction='horizontal')
    merged = tta.merge_preds([[plain.to(device), flipped.to(device)]])[0].pred_instances
    assert merged.bboxes.tolist() == [[1, 2, 4, 8], [10, 0, 14, 4]]
    torch.testing.assert_close(merged.scores.cpu(), torch.tensor([0.9, 0.3]))


@pytest.mark.parametrize('direction', ['horizontal', 'vertical', 'diagonal'])
def test_every_direction_is_mapped_back(tta, direction):
    where = flip_boxes(torch.tensor([[1.0, 2, 4, 8]]), (10, 20), direction).tolist()
    plain, flipped = view([[1, 2, 4, 8]], [0.5], flip=False), view(where, [0.9], flip=True, flip_direction=direction)
    (merged,) = tta.merge_preds([[flipped, plain]])
    assert merged.pred_instances.bboxes.tolist() == [[1, 2, 4, 8]]
    assert merged is plain  # its ground truth is that of the unflipped image
    (merged,) = tta.merge_preds([[flipped]])
    assert merged is flipped


def test_settings_of_the_merge():
    boxes = [[0, 0, 10, 10], [0, 0, 10, 5.1], [0, 5.1, 10, 10]]
    cases = [
        (None, [0.9, 0.7]),  # 0.5 by default
        (dict(nms=dict(type='nms', iou_threshold=0.6)), [0.9, 0.8, 0.7]),
        (dict(nms=dict(type='nms', iou_threshold=0.6), max_per_img=2), [0.9, 0.8]),
        (Config(dict(nms=dict(type='nms', iou_threshold=0.6), max_per_img=2)), [0.9, 0.8]),
    ]
    for cfg, scores in cases:
        (merged,) = DetTTAModel(module=Detector(), tta_cfg=cfg).merge_preds([[view(boxes, [0.9, 0.8, 0.7])]])
        assert merged.pred_instances.scores.tolist() == pytest.approx(scores)
    many = [[20 * k, 0, 20 * k + 9, 9] for k in range(101)]
    (merged,) = DetTTAModel(module=Detector()).merge_preds([[view(many, [0.5] * 101)]])
    assert len(merged.pred_instances) == 100


def test_limit(tta):
    tta.tta_cfg = dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=1)
    merged = tta.merge_preds([[view([[1, 2, 4, 8], [10, 0, 14, 4]], [0.5, 0.6], flip=False)]])[0].pred_instances
    assert merged.bboxes.tolist() == [[10, 0, 14, 4]]
