"""Two ranks with unequal shares and one repeated image: every image counts once, none is lost."""

import json

import pytest
import torch
import torch.distributed as dist

from tests import processes

BOX = [10.0, 10.0, 50.0, 50.0]
SHARES = ((0, 1, 2, 3), (4, 0))  # image ids of each rank


def evaluate_share(ann_file, out_file):
    from mmdet.evaluation import CocoMetric

    dist.init_process_group('gloo')
    rank = dist.get_rank()
    metric = CocoMetric(ann_file=ann_file, collect_dir=f'{out_file}.parts')
    metric.dataset_meta = dict(classes=('car',))
    pred = dict(bboxes=torch.tensor([BOX]), scores=torch.tensor([0.5]), labels=torch.tensor([0]))
    metric.process(None, [dict(img_id=i, ori_shape=(64, 64), pred_instances=pred) for i in SHARES[rank]])
    with open(f'{out_file}.{rank}', 'w') as file:
        json.dump(metric.evaluate(5), file)
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_ranks(tmp_path):
    x, y, x2, y2 = BOX
    box = dict(category_id=1, bbox=[x, y, x2 - x, y2 - y], area=1600, iscrowd=0)
    content = dict(
        images=[dict(id=i, height=64, width=64) for i in range(5)],
        categories=[dict(id=1, name='car')],
        annotations=[dict(box, id=i, image_id=i) for i in range(5)],
    )
    (tmp_path / 'ann.json').write_text(json.dumps(content))
    processes.call_together(evaluate_share, tmp_path / 'ann.json', tmp_path / 'out')
    values = [json.loads((tmp_path / f'out.{rank}').read_text()) for rank in range(len(SHARES))]
    assert values[0] == values[1] and values[0]['coco/bbox_mAP'] == 1.0
