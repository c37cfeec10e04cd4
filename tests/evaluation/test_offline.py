"""Dumps of predictions and their evaluation later: the same numbers as online, through every kind of file."""

import json
import runpy
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.structures import InstanceData

from mmdet.evaluation import DumpDetResults, evaluate_by_config, evaluate_results, metric_args_of_config, read_results
from mmdet.evaluation.predictions import ImageRecord, annotations_from_records
from mmdet.registry import METRICS
from mmdet.structures import DetDataSample
from mmdet.utils import ConfigError, DataError

CLASSES = ('bus', 'car')
CATEGORY_IDS = {'car': 3, 'bus': 8}


def write_annotations(path):
    rng = np.random.default_rng(0)
    rows = []
    for n in range(60):
        x, y, w, h = rng.integers(5, 100, 4).tolist()
        rows.append(
            dict(
                id=n, image_id=n % 5, category_id=(3, 8)[n % 2], bbox=[x, y, w, h], area=w * h, iscrowd=int(n % 11 == 0)
            )
        )
    images = [dict(id=i, height=200, width=300, file_name=f'{i}.jpg') for i in range(5)]
    content = dict(
        images=images, annotations=rows, categories=[dict(id=i, name=name) for name, i in CATEGORY_IDS.items()]
    )
    path.write_text(json.dumps(content))
    return str(path), rows


def noisy_samples(rows):
    rng = np.random.default_rng(1)
    samples = []
    for image_id in range(5):
        mine = [row for row in rows if row['image_id'] == image_id]
        boxes = np.array([row['bbox'] for row in mine], dtype=float)
        boxes[:, 2:] += boxes[:, :2]
        sample = DetDataSample(
            metainfo=dict(img_id=image_id, img_path=f'{image_id}.jpg', ori_shape=(200, 300), scale_factor=(1.0, 1.0))
        )
        sample.gt_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
        sample.pred_instances = InstanceData(
            bboxes=torch.tensor(boxes + rng.normal(0, 3, boxes.shape), dtype=torch.float32),
            scores=torch.tensor(rng.choice([0.3, 0.5, 0.8], len(mine)), dtype=torch.float32),
            labels=torch.tensor([{3: 1, 8: 0}[row['category_id']] for row in mine]),
        )
        samples.append(sample)
    return samples


@pytest.fixture
def run(tmp_path):
    """One test run with every kind of output: (values, annotation file, folder)."""
    ann_file, rows = write_annotations(tmp_path / 'ann.json')
    evaluator = Evaluator(
        [
            dict(type='CocoMetric', ann_file=ann_file, outfile_prefix=str(tmp_path / 'metric'), classwise=True),
            dict(type='DumpDetResults', out_file_path=str(tmp_path / 'dump.pkl')),
            dict(type='DumpDetResults', out_file_path=str(tmp_path / 'dump.json'), ann_file=ann_file),
        ]
    )
    evaluator.dataset_meta = dict(classes=CLASSES)
    samples = noisy_samples(rows)
    evaluator.process(samples[:3])
    evaluator.process(samples[3:] + samples[:1])  # a repeated image, as samplers make them
    return evaluator.evaluate(5), ann_file, tmp_path


def test_every_file_gives_the_numbers_of_the_run(run):
    values, ann_file, folder = run
    assert 0.1 < values['coco/bbox_mAP'] < 0.9 and {'coco/car_precision', 'coco/bus_precision'} < set(values)
    for name in ('dump.pkl', 'dump.json', 'metric.bbox.json'):
        assert evaluate_results(folder / name, ann_file, CLASSES, classwise=True) == values
    assert (folder / 'dump.json').read_bytes() == (folder / 'metric.bbox.json').read_bytes()
    assert evaluate_results(read_results(folder / 'dump.pkl'), ann_file, CLASSES, classwise=True) == values


def test_dump_holds_predictions_only(run):
    _, _, folder = run
    samples = read_results(folder / 'dump.pkl')
    assert [sample['img_id'] for sample in samples] == [0, 1, 2, 3, 4]
    assert sorted(samples[0]) == ['img_id', 'img_path', 'ori_shape', 'pred_instances', 'scale_factor']
    assert sorted(samples[0]['pred_instances']) == ['bboxes', 'labels', 'scores']
    assert samples[0]['pred_instances']['bboxes'].dtype == torch.float32


def test_dump_keeps_no_more_than_the_view(tmp_path):
    metric = DumpDetResults(str(tmp_path / 'a.pkl'))
    view = torch.zeros(100000, 4)[:1]
    metric.process(
        None, [dict(img_id=1, pred_instances=dict(bboxes=view, scores=view[:, 0], labels=view[:, 0].long()))]
    )
    assert metric.evaluate(1) == {}
    assert (tmp_path / 'a.pkl').stat().st_size < 5000


def test_dump_keeps_plain_values_only(tmp_path):
    metric = DumpDetResults(str(tmp_path / 'a.pkl'))
    more = dict(
        scale_factor=np.array([0.5, 2.0]),
        size=torch.Size([3, 4]),
        flip=None,
        names=['a'],
        instances=[dict(bbox=[0, 0, 1, 1])],
    )
    metric.process(
        None, [dict(img_id=np.int64(1), pred_instances=dict(scores=torch.zeros(1)), transform=object(), **more)]
    )
    metric.evaluate(1)
    (sample,) = read_results(tmp_path / 'a.pkl')
    assert sample.pop('pred_instances')['scores'].tolist() == [0]
    assert sample == dict(img_id=1, scale_factor=(0.5, 2.0), size=(3, 4), flip=None, names=('a',))
    with pytest.raises(DataError, match='image 3: pred_instances: has no predictions'):
        metric.process(None, [dict(img_id=3)])


def test_json_without_annotations_has_labels_for_category_ids(tmp_path):
    metric = DumpDetResults(str(tmp_path / 'a.json'))
    pred = dict(bboxes=torch.tensor([[1.0, 2, 4, 6]]), scores=torch.tensor([0.5]), labels=torch.tensor([7]))
    metric.process(None, [dict(img_id='x', pred_instances=pred)])
    metric.evaluate(1)
    assert read_results(tmp_path / 'a.json') == [dict(image_id='x', category_id=7, bbox=[1, 2, 3, 4], score=0.5)]
    with pytest.raises(ConfigError, match='must end with .pkl, .pickle or .json'):
        DumpDetResults('a.txt')


def test_empty_results(run, tmp_path):
    _, ann_file, _ = run
    assert evaluate_results([], ann_file)['coco/bbox_mAP'] == 0.0
    metric = DumpDetResults(str(tmp_path / 'empty.pkl'))
    metric.evaluate(0)
    assert read_results(tmp_path / 'empty.pkl') == []


def test_classes_default_to_the_file_and_are_checked(run):
    _, ann_file, folder = run
    by_id = evaluate_results(folder / 'dump.json', ann_file)
    assert by_id == evaluate_results(folder / 'dump.json', ann_file, CLASSES)
    only_car = evaluate_results(folder / 'dump.json', ann_file, ['car'], classwise=True)
    assert only_car['coco/bbox_mAP'] == only_car['coco/car_precision']
    with pytest.raises(DataError, match='the dataset has 1 classes'):
        evaluate_results(folder / 'dump.pkl', ann_file, ['car'])
    with pytest.raises(DataError, match='list of dicts'):
        evaluate_results([1], ann_file)


def test_arguments_of_a_config(run):
    _, ann_file, _ = run
    evaluator = dict(type='CocoMetric', ann_file=ann_file, max_dets=300)
    assert metric_args_of_config(Config(dict(test_evaluator=evaluator))) == dict(ann_file=ann_file, max_dets=300)
    assert metric_args_of_config(Config(dict(test_evaluator=[dict(type='Other'), evaluator])))['ann_file'] == ann_file
    for config in (dict(), dict(test_evaluator=dict(type='CocoMetric'))):
        with pytest.raises(ConfigError, match='has no CocoMetric with an ann_file'):
            metric_args_of_config(Config(config))


@METRICS.register_module()
class CountingMetric(BaseMetric):
    """A metric of a user: boxes an image; ``field`` is read from the samples, too."""

    default_prefix = 'mine'

    def __init__(self, field='img_id'):
        super().__init__()
        self.field = field

    def process(self, data_batch, data_samples):
        self.results += [(sample[self.field], len(sample['pred_instances']['scores'])) for sample in data_samples]

    def compute_metrics(self, results):
        return dict(boxes=sum(count for _, count in results) / len(results), classes=len(self.dataset_meta['classes']))


EXTRA_ROWS = dict(
    ignored_regions=[dict(image_id=0, bbox=[0, 0, 60, 60])], others=[dict(image_id=1, bbox=[5, 5, 50, 50])]
)
METRIC_CONFIGS = dict(
    visdrone=[dict(type='VisDroneMetric', ann_file='extra.json', classwise=True)],
    prefixed=[dict(type='VisDroneMetric', ann_file='extra.json', prefix='val', proposal_nums=(5, 50), max_dets=50)],
    several=[dict(type='CocoMetric', ann_file='ann.json'), dict(type='mmdet.VisDroneMetric', ann_file='extra.json', prefix='vd', iou_thrs=[0.5])],
    folder=[dict(type='VisDroneMetric', ann_file='txt')],
    others=[dict(type='CountingMetric'), dict(type='CocoMetric', ann_file='ann.json', metric='proposal')],
)  # fmt: skip


@pytest.mark.parametrize('name', METRIC_CONFIGS)
def test_every_metric_of_a_config_gives_the_numbers_of_the_run(tmp_path, name):
    ann_file, rows = write_annotations(tmp_path / 'ann.json')
    content = json.loads((tmp_path / 'ann.json').read_text())
    (tmp_path / 'extra.json').write_text(json.dumps(content | EXTRA_ROWS))
    (tmp_path / 'txt').mkdir()
    for index in range(5):
        mine = (row for row in rows if row['image_id'] == index)
        lines = [','.join(map(str, [*row['bbox'], 1, {3: 4, 8: 9}[row['category_id']], 0, 0])) for row in mine]
        (tmp_path / f'txt/{index}.txt').write_text('\n'.join([*lines, '0,0,40,40,0,0,0,0']))
    evaluators = [dict(entry) for entry in METRIC_CONFIGS[name]]
    for entry in evaluators:
        if 'ann_file' in entry:
            entry['ann_file'] = str(tmp_path / entry['ann_file'])
    dumps = [
        dict(type='DumpDetResults', out_file_path=str(tmp_path / 'dump.pkl')),
        dict(type='DumpDetResults', out_file_path=str(tmp_path / 'dump.json'), ann_file=ann_file),
    ]
    online = Evaluator([*map(dict, evaluators), *dumps])
    online.dataset_meta = dict(classes=CLASSES)
    online.process(noisy_samples(rows))
    values = online.evaluate(5)
    config = Config(dict(test_evaluator=[*evaluators, dumps[0]]))
    assert evaluate_by_config(tmp_path / 'dump.pkl', config, CLASSES) == values
    if name in ('folder', 'others'):
        with pytest.raises(DataError, match=r'dump\.json: (result 0|row 0|.*|COCO result rows are for)'):
            evaluate_by_config(tmp_path / 'dump.json', config, CLASSES)
    else:
        assert evaluate_by_config(tmp_path / 'dump.json', config, CLASSES) == values


def test_classes_are_those_of_the_dataset(run):
    values, ann_file, folder = run
    dataset = dict(
        type='RepeatDataset', times=2, dataset=dict(type='CocoDataset', ann_file='none', metainfo=dict(classes=CLASSES))
    )
    config = Config(
        dict(test_evaluator=dict(type='CocoMetric', ann_file=ann_file), test_dataloader=dict(dataset=dataset))
    )
    assert evaluate_by_config(folder / 'dump.pkl', config, classwise=True) == values
    config.pop('test_dataloader')
    assert evaluate_by_config(folder / 'dump.pkl', config, CLASSES, classwise=True) == values


@pytest.mark.parametrize(
    ('evaluator', 'error', 'message'),
    [
        ([], ConfigError, 'test_evaluator: has no metric'),
        (dict(type='DumpDetResults', out_file_path='never.pkl'), ConfigError, 'test_evaluator: has no metric'),
        (dict(type='CocoMetric'), DataError, 'has no ground truth: put LoadAnnotations'),
        (dict(type='VisDroneMetric'), DataError, 'has no ground truth: put LoadAnnotations'),
        ([dict(type='CountingMetric')] * 2, ConfigError, "two metrics .*Received: 'mine/boxes'"),
        (dict(type='NoMetric'), ConfigError, "Received: 'NoMetric'"),
        (dict(ann_file='x'), ConfigError, "needs the key 'type'"),
        (
            dict(type='CountingMetric', field='depth'),
            DataError,
            r"dump\.pkl: CountingMetric needs more .*KeyError: 'depth'",
        ),
    ],
)
def test_metrics_that_cannot_be_evaluated(run, evaluator, error, message):
    with pytest.raises(error, match=message):
        evaluate_by_config(run[2] / 'dump.pkl', Config(dict(test_evaluator=evaluator)), CLASSES)


def test_tool(run, repository, monkeypatch, capsys):
    values, ann_file, folder = run
    config = folder / 'config.py'
    config.write_text(f'test_evaluator = dict(type="CocoMetric", ann_file={ann_file!r}, metric="proposal")')
    tool = str(repository / 'tools' / 'analysis_tools' / 'eval_metric.py')
    visdrone, as_json = folder / 'visdrone.py', folder / 'config.json'
    visdrone.write_text(
        f'test_evaluator = dict(type="VisDroneMetric", ann_file={ann_file!r}, max_dets=100, proposal_nums=(100,))'
    )
    as_json.write_text(json.dumps(dict(test_evaluator=dict(type='CocoMetric', ann_file=ann_file))))
    for source, more in (
        (ann_file, ['--classwise']), (config, ['--eval', 'bbox']), (visdrone, []), (as_json, []),
    ):  # fmt: skip
        monkeypatch.setattr(sys, 'argv', [tool, str(source), str(folder / 'dump.pkl'), '--classes', *CLASSES, *more])
        runpy.run_path(tool, run_name='__main__')
        assert f'coco/bbox_mAP: {values["coco/bbox_mAP"]:.4f}' in capsys.readouterr().out
    monkeypatch.setattr(sys, 'argv', [tool, str(folder / 'none.py'), str(folder / 'dump.pkl')])
    with pytest.raises(SystemExit, match='2'):
        runpy.run_path(tool, run_name='__main__')
    assert 'none.py: no such config file' in capsys.readouterr().err


def test_images_without_an_annotation_file_are_ordered_by_number():
    """As in an annotation file: ties in score are broken by this order, in which 2 comes before 10, and numbers before texts."""
    boxes = dict(bboxes=np.zeros((0, 4)), scores=np.zeros(0), labels=np.zeros(0, int))
    truth = dict(gt_bboxes=np.zeros((0, 4)), gt_labels=np.zeros(0, int), gt_crowd=np.zeros(0, bool))
    records = [ImageRecord(image_id, (4, 4), **boxes, **truth) for image_id in ('a', 10, 2)]
    assert annotations_from_records(records, ['x']).image_ids == [2, 10, 'a']
