"""VisDroneMetric: the three sources of ground truth, both scores in every result, result files, two ranks."""

import json

import pytest
import torch
import torch.distributed as dist

from mmdet.datasets import VisDroneDataset
from mmdet.datasets.converters import convert_visdrone
from mmdet.evaluation import VisDroneMetric
from mmdet.registry import METRICS
from mmdet.utils import ConfigError, DataError
from tests import processes

CLASSES = VisDroneDataset.METAINFO['classes']
# The two-image case of the toolkit, rows as in the files.
ANNOTATIONS = {
    'a': [
        (60, 10, 30, 30, 0, 0), (10, 10, 20, 20, 1, 4), (40, 10, 20, 10, 1, 4), (12, 50, 5, 10, 1, 1),
        (64, 14, 5, 10, 1, 1), (70, 50, 10, 10, 0, 11),
    ],
    'b': [(10, 10, 40, 20, 1, 4), (60, 40, 20, 20, 1, 4)],
}  # fmt: skip
DETECTIONS = {
    'a': [
        (10, 10, 20, 20, 0.9, 4), (40, 10, 20, 15, 0.8, 4), (12, 50, 5, 12, 0.7, 1), (65, 15, 6, 10, 0.6, 1),
        (11, 11, 20, 20, 0.5, 4), (70, 50, 10, 10, 0.4, 4), (12, 51, 5, 10, 0.3, 1),
    ],
    'b': [(60, 40, 20, 20, 0.95, 1), (12, 10, 40, 20, 0.85, 4), (60, 40, 20, 16, 0.8, 4), (100, 70, 10, 10, 0.2, 4)],
}  # fmt: skip
SIZES = {'a': (100, 80), 'b': (120, 90)}
EXPECTED = {
    'visdrone/AP': 0.60416667, 'visdrone/AP50': 0.83333333, 'visdrone/AP75': 0.625, 'visdrone/AR1': 0.16666667,
    'visdrone/AR10': 0.73333333, 'visdrone/AR100': 0.73333333, 'visdrone/AR500': 0.73333333,
    'visdrone/AP_plain': 0.540625, 'visdrone/AP50_plain': 0.75, 'visdrone/AP75_plain': 0.59375,
    'visdrone/dropped_gt': 1, 'visdrone/dropped_det': 1,
}  # fmt: skip


@pytest.fixture
def annotation_dir(tmp_path):
    folder = tmp_path / 'annotations'
    folder.mkdir()
    for name, rows in ANNOTATIONS.items():
        text = ''.join(','.join(map(str, (*row, 0, 0))) + '\n' for row in rows)
        (folder / f'{name}.txt').write_text(text)
    return folder


def sample(name, img_id, detections=DETECTIONS, **more):
    rows = torch.tensor(detections[name], dtype=torch.float64).reshape(-1, 6)
    pred = dict(
        bboxes=torch.cat([rows[:, :2], rows[:, :2] + rows[:, 2:4]], dim=1),
        scores=rows[:, 4],
        labels=rows[:, 5].long() - 1,
    )
    width, height = SIZES[name]
    return dict(img_id=img_id, img_path=f'somewhere/{name}.jpg', ori_shape=(height, width), pred_instances=pred, **more)


def evaluate(metric, samples):
    metric.dataset_meta = dict(classes=CLASSES)
    metric.process(None, samples)
    return metric.evaluate(len(samples))


def check(metrics):
    assert {name: metrics[name] for name in EXPECTED} == pytest.approx(EXPECTED, abs=1e-7)
    assert {'coco/bbox_mAP', 'coco/bbox_mAP_50', 'coco/bbox_mAP_75', 'coco/bbox_mAP_s'} <= set(metrics)


def test_folder(annotation_dir, tmp_path):
    metric = METRICS.build(
        dict(type='VisDroneMetric', ann_file=str(annotation_dir), classwise=True, outfile_prefix=f'{tmp_path}/out/run')
    )
    metrics = evaluate(metric, [sample('b', 7), sample('a', 3)])  # ids do not matter, names do
    check(metrics)
    assert metrics['visdrone/car_AP'] == pytest.approx(0.73125) and 0 < metrics['coco/bbox_mAP'] < 1
    lines = (tmp_path / 'out' / 'run_txt' / 'a.txt').read_text().splitlines()
    assert lines[0] == '10,10,20,20,0.9,4,-1,-1' and len(lines) == 7
    assert (tmp_path / 'out' / 'run.bbox.json').is_file()


def test_json(annotation_dir, tmp_path):
    convert_visdrone(tmp_path, annotation_dir, tmp_path / 'ann.json', sizes=SIZES)
    metric = VisDroneMetric(str(tmp_path / 'ann.json'), outfile_prefix=f'{tmp_path}/run', format_only=True)
    assert evaluate(metric, [sample('a', 0), sample('b', 1)]) == {}
    assert (tmp_path / 'run_txt' / 'b.txt').read_text().startswith('60,40,20,20,0.95,1,')
    check(evaluate(VisDroneMetric(str(tmp_path / 'ann.json')), [sample('b', 1), sample('a', 0)]))


def test_data_samples():
    """Ignored boxes of the samples are regions; 'others' would become regions too, so they are left out here."""
    samples = []
    for img_id, name in enumerate('ab'):
        instances = [
            dict(bbox=[x, y, x + w, y + h], bbox_label=max(category - 1, 0), ignore_flag=int(category == 0))
            for x, y, w, h, _, category in ANNOTATIONS[name]
            if category != 11
        ]
        samples.append(sample(name, img_id, instances=instances))
    check(evaluate(VisDroneMetric(), samples))


def test_detections_need_not_be_sorted(annotation_dir):
    turned = {name: rows[::-1] for name, rows in DETECTIONS.items()}
    check(evaluate(VisDroneMetric(str(annotation_dir)), [sample('a', 0, turned), sample('b', 1, turned)]))


def test_nothing_detected(annotation_dir):
    nothing = {'a': [], 'b': []}
    metrics = evaluate(VisDroneMetric(str(annotation_dir)), [sample('a', 0, nothing), sample('b', 1, nothing)])
    assert metrics['visdrone/AP'] == metrics['coco/bbox_mAP'] == 0 and metrics['visdrone/dropped_gt'] == 1


def test_image_that_was_not_predicted(annotation_dir):
    metrics = evaluate(VisDroneMetric(str(annotation_dir)), [sample('b', 1)])
    assert metrics['visdrone/dropped_gt'] == 1 and 0 < metrics['visdrone/AR500'] < 0.7


def test_a_part_of_the_images_is_evaluated_as_if_there_were_no_others(annotation_dir):
    part = VisDroneMetric(str(annotation_dir))
    part.only_predicted = True
    found = evaluate(part, [sample('b', 1)])
    (annotation_dir / 'a.txt').unlink()
    expected = evaluate(VisDroneMetric(str(annotation_dir)), [sample('b', 1)])
    assert {**found, 'visdrone/dropped_gt': 0} == pytest.approx(expected) and expected[
        'visdrone/AR500'
    ] == pytest.approx(0.8)


def test_prefix(annotation_dir):
    metrics = evaluate(VisDroneMetric(str(annotation_dir), prefix='val'), [sample('a', 0), sample('b', 1)])
    assert {'val/AP', 'val/coco/bbox_mAP'} <= set(metrics)


def test_some_of_the_classes(annotation_dir):
    metric = VisDroneMetric(str(annotation_dir))
    metric.dataset_meta = dict(classes=('car',))
    cars = {name: [(*row[:5], 1) for row in rows if row[5] == 4] for name, rows in DETECTIONS.items()}
    metric.process(None, [sample('a', 0, cars), sample('b', 1, cars)])
    assert metric.evaluate(2)['visdrone/AP'] == pytest.approx(0.73125)


def test_errors(annotation_dir, tmp_path):
    metric = VisDroneMetric(str(annotation_dir))
    with pytest.raises(ConfigError, match="'boat'"):
        metric.dataset_meta = dict(classes=('car', 'boat'))
    metric.dataset_meta = dict(classes=CLASSES)
    with pytest.raises(DataError, match='img_path'):
        metric.process(None, [dict(sample('a', 0), img_path=None)])
    with pytest.raises(DataError, match="image_id.*Received: 'q'"):
        metric.process(None, [dict(sample('a', 0), img_path='q.jpg')])
    document = dict(
        images=[dict(id=0, file_name='a.jpg', width=9, height=9)],
        annotations=[],
        categories=[dict(id=0, name='car')],
        ignored_regions=[dict(image_id=0, bbox=[1, 2])],
    )
    (tmp_path / 'ann.json').write_text(json.dumps(document))
    metric = VisDroneMetric(str(tmp_path / 'ann.json'))
    with pytest.raises(DataError, match=r'ignored_regions\[0\]'):
        metric.dataset_meta = dict(classes=('car',))


def evaluate_share(folder, out_file):
    dist.init_process_group('gloo')
    rank = dist.get_rank()
    metric = VisDroneMetric(folder, collect_dir=f'{out_file}.parts')
    metric.dataset_meta = dict(classes=CLASSES)
    metric.process(None, [sample(name, 0) for name in (('a',), ('b', 'a'))[rank]])  # 'a' twice: padding
    with open(f'{out_file}.{rank}', 'w') as file:
        json.dump(metric.evaluate(2), file)
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_ranks(annotation_dir, tmp_path):
    processes.call_together(evaluate_share, annotation_dir, tmp_path / 'out')
    for rank in range(2):
        check(json.loads((tmp_path / f'out.{rank}').read_text()))


@pytest.mark.parametrize(('found', 'expected'), [(0, 0.0), (1, 0.5)])
def test_objects_of_score_zero_do_not_count_and_those_of_other_scores_do(tmp_path, found, expected):
    """Of two cars one has score 0: to find it is neither right nor wrong, and it stays among the objects to find."""
    (tmp_path / 'a.txt').write_text('10,10,20,20,0,4,0,0\n60,40,20,20,2,4,0,0\n')
    detections = {'a': [((10, 10), (60, 40))[found] + (20, 20, 0.9, 4)]}
    assert evaluate(VisDroneMetric(str(tmp_path)), [sample('a', 0, detections)])['visdrone/AP'] == expected
