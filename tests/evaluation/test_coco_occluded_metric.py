"""Recall on occluded and separated objects; the cases were tried on mmdetection 3.3.0's metric, which agrees."""

import json
import pickle

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from mmdet.errors import ConfigError, DataError
from mmdet.evaluation import CocoOccludedSeparatedMetric


def block(height):
    """A mask of 20 x 20 with 8 columns and so many rows: 8 rows against 6 have an IoU of 0.75."""
    mask = np.zeros((20, 20), dtype=np.uint8)
    mask[1 : 1 + height, 1:9] = 1
    return mask


def row(height=8, cls='car', name='a.jpg'):
    return (name, cls, 7, [1, 1, 8, 8], coco_mask.encode(np.asfortranarray(block(height))))


@pytest.fixture
def make(tmp_path):
    def build(occluded, separated=(), **options):
        paths = {}
        for name, rows in dict(occluded_ann=list(occluded), separated_ann=list(separated)).items():
            paths[name] = str(tmp_path / f'{name}.pkl')
            (tmp_path / f'{name}.pkl').write_bytes(pickle.dumps(rows))
        truth = dict(id=1, image_id=5, category_id=9, bbox=[1, 1, 8, 8], area=64, iscrowd=0)
        content = dict(
            images=[dict(id=5, file_name='a.jpg', height=20, width=20)],
            annotations=[truth],
            categories=[dict(id=9, name='car'), dict(id=2, name='bus')],
        )
        (tmp_path / 'ann.json').write_text(json.dumps(content))
        metric = CocoOccludedSeparatedMetric(ann_file=str(tmp_path / 'ann.json'), **paths, **options)
        metric.dataset_meta = dict(classes=('car', 'bus'))
        return metric

    return build


def sample(masks, scores, labels=None):
    boxes = torch.tensor([[1.0, 1, 9, 9]]).repeat(len(scores), 1)
    labels = torch.zeros(len(scores), dtype=torch.long) if labels is None else torch.tensor(labels)
    found = dict(bboxes=boxes, scores=torch.tensor(scores), labels=labels, masks=masks)
    return dict(img_id=5, ori_shape=(20, 20), pred_instances=found)


@pytest.mark.parametrize(
    ('rows', 'found', 'recall'),
    [
        ([], [(0.9, 'car', 8)], (0, -1)),
        ([row()], [], (0, 0)),
        ([row()], [(0.9, 'car', 6)], (1, 100)),
        ([row()], [(0.9, 'car', 4)], (0, 0)),
        ([row()], [(0.3, 'car', 8)], (1, 100)),
        ([row()], [(0.29, 'car', 8)], (0, 0)),
        ([row()], [(0.9, 'bus', 8)], (0, 0)),
        ([row()], [(0.9, 'car', 4), (0.8, 'car', 8)], (1, 100)),
        ([row(), row(4), row(6)], [(0.9, 'car', 8)], (2, 200 / 3)),
    ],
)
def test_recall(make, rows, found, recall):
    detections = [(score, cls, block(height)) for score, cls, height in found]
    assert make([]).compute_recall({'a.jpg': detections}, gt_ann=rows) == pytest.approx(recall)


def test_whole_evaluation(make):
    metric = make([row(), row(4)], [row(cls='bus')])
    masks = torch.from_numpy(np.stack([block(8), block(8)])).bool()
    metric.process({}, [sample(masks, [0.9, 0.2], [0, 1])])
    found = metric.evaluate(1)
    assert (found['coco/occluded_recall'], found['coco/separated_recall']) == (50, 0)
    assert found['coco/bbox_mAP'] == pytest.approx(1)
    alone = make([row()], metric=[])
    alone.process({}, [sample([coco_mask.encode(np.asfortranarray(block(8)))], [0.9])])
    assert alone.evaluate(1) == {'coco/occluded_recall': 100, 'coco/separated_recall': -1}
    assert alone.mask_iou(block(8), block(6)) == 0.75 and alone.mask_iou(block(0), block(0)) == 0


def test_what_cannot_be(make):
    with pytest.raises(ConfigError, match='ann_file'):
        CocoOccludedSeparatedMetric(occluded_ann='x.pkl')
    with pytest.raises(ConfigError, match='iou_thr'):
        make([], iou_thr=2)
    with pytest.raises(DataError, match='occluded_ann.pkl: row 0'):
        make([('a.jpg', 'car')])
    with pytest.raises(DataError, match='masks'):
        make([]).process({}, [sample(None, [0.9])])
    with pytest.raises(DataError, match='2 boxes'):
        make([]).process({}, [sample(torch.zeros(1, 20, 20), [0.9, 0.8])])
    with pytest.raises(DataError, match='no image'):
        make([]).compute_recall({}, gt_ann=[row(name='b.jpg')])
