"""CocoMetric: the upstream cases, the numbers it names, its files, and what it refuses."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmengine.structures import InstanceData

from mmdet.evaluation import CocoMetric
from mmdet.registry import METRICS
from mmdet.structures import DetDataSample
from mmdet.utils import ConfigError, DataError

CLASSES = ('car', 'bicycle')
# 20^2 and 30^2 are small, 40^2 is medium, 100^2 is large.
BOXES = [[50, 60, 70, 80], [100, 120, 130, 150], [150, 160, 190, 200], [250, 260, 350, 360]]
LABELS = [0, 0, 1, 0]
PERFECT = dict(
    bboxes=torch.tensor(BOXES, dtype=torch.float32),
    scores=torch.tensor([0.98, 0.95, 0.9, 0.99]),
    labels=torch.tensor(LABELS),
)
NOTHING = dict(bboxes=torch.zeros(0, 4), scores=torch.zeros(0), labels=torch.zeros(0, dtype=torch.long))
SIX = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')


@pytest.fixture
def log(monkeypatch):
    """Everything that is logged, as one list of texts."""
    texts = []

    class Keep(logging.Handler):
        def emit(self, record):
            texts.append(record.getMessage())

    handler, logger = Keep(), MMLogger.get_current_instance()
    monkeypatch.setattr(logger, 'handlers', [handler])
    return texts


def write_annotations(path, image_ids=(0,), categories=((0, 'car'), (1, 'bicycle')), **changes):
    """The four boxes on the first image; the others are empty."""
    ids = [categories[label][0] for label in LABELS] if len(categories) > 1 else [categories[0][0]] * 4
    content = dict(
        images=[dict(id=i, height=640, width=640, file_name=f'{i}.jpg') for i in image_ids],
        categories=[dict(id=i, name=name) for i, name in categories],
        annotations=[
            dict(
                id=n,
                image_id=image_ids[0],
                category_id=c,
                bbox=[x, y, x2 - x, y2 - y],
                area=(x2 - x) * (y2 - y),
                iscrowd=0,
            )
            for n, (c, (x, y, x2, y2)) in enumerate(zip(ids, BOXES))
        ],
    )
    content.update(changes)
    path.write_text(json.dumps(content))
    return str(path)


@pytest.fixture
def ann_file(tmp_path):
    return write_annotations(tmp_path / 'ann.json')


def sample(img_id=0, pred=PERFECT, **more):
    return dict(img_id=img_id, ori_shape=(640, 640), pred_instances=dict(pred), **more)


def run(metric, samples, classes=CLASSES, size=None):
    metric.dataset_meta = dict(classes=classes)
    metric.process({}, samples)
    return metric.evaluate(size=len(samples) if size is None else size)


def test_no_results_at_all(ann_file, log):
    assert run(CocoMetric(ann_file=ann_file), []) == {f'coco/bbox_{item}': 0.0 for item in SIX}
    assert any('no predictions for 1 of the 1 images' in text for text in log)
    assert any('there are no detections' in text for text in log)
    assert set(run(CocoMetric(), []).values()) == {-1.0}


def test_empty_predictions(ann_file):
    assert run(CocoMetric(ann_file=ann_file), [sample(pred=NOTHING)]) == {f'coco/bbox_{item}': 0.0 for item in SIX}


def test_perfect_predictions(ann_file, log):
    metric = METRICS.build(dict(type='CocoMetric', ann_file=ann_file, classwise=True, prefix='test'))
    assert run(metric, [sample()]) == {
        **{f'test/bbox_{item}': 1.0 for item in SIX},
        'test/car_precision': 1.0,
        'test/bicycle_precision': 1.0,
    }
    text = '\n'.join(log)
    assert 'bbox_mAP_copypaste: 1.000 1.000 1.000 1.000 1.000 1.000' in text
    assert 'IoU=0.50:0.95 | area=   all | maxDets= 100 ] = 1.000' in text
    assert text.count('Average') == 12
    assert '| bicycle  | 1.000 |  1.000 |  1.000 |     - | 1.000 |     - |  1.000 |  1 |' in text
    assert '| car      | 1.000 |  1.000 |  1.000 | 1.000 |     - | 1.000 |  1.000 |  3 |' in text


def test_absent_sizes_are_minus_one_in_the_result_and_a_dash_in_the_log(tmp_path, log):
    ann_file = write_annotations(tmp_path / 'a.json', categories=((0, 'car'),))
    content = json.loads((tmp_path / 'a.json').read_text())
    content['annotations'] = content['annotations'][:1]
    (tmp_path / 'a.json').write_text(json.dumps(content))
    pred = {key: value[:1] for key, value in PERFECT.items()}
    values = run(CocoMetric(ann_file=ann_file), [sample(pred=pred)], classes=('car',))
    assert [values[f'coco/bbox_{item}'] for item in SIX] == [1, 1, 1, 1, -1, -1]
    assert 'bbox_mAP_copypaste: 1.000 1.000 1.000 1.000 - -' in log


def test_metric_items_and_iou_thrs(ann_file):
    assert run(CocoMetric(ann_file=ann_file, metric_items=['mAP_m']), [sample()]) == {'coco/bbox_mAP_m': 1.0}
    assert run(CocoMetric(ann_file=ann_file, metric_items=['AR@300', 'AR_s@1000']), [sample()]) == {
        'coco/bbox_AR@300': 1.0,
        'coco/bbox_AR_s@1000': 1.0,
    }
    metric = CocoMetric(ann_file=ann_file, iou_thrs=[0.3, 0.6])
    assert metric.iou_thrs == [0.3, 0.6]
    values = run(metric, [sample()])
    assert values['coco/bbox_mAP'] == 1 and values['coco/bbox_mAP_50'] == -1
    assert CocoMetric(ann_file=ann_file, iou_thrs=0.5).iou_thrs == [0.5]


def test_proposals(ann_file):
    wrong_class = {**PERFECT, 'labels': torch.tensor([1, 1, 0, 1])}
    fast = {f'coco/AR@{k}': 1.0 for k in (100, 300, 1000)}
    by_size = {f'coco/AR_{size}@1000': 1.0 for size in 'sml'}
    assert run(CocoMetric(ann_file=ann_file, metric='proposal_fast'), [sample(pred=wrong_class)]) == fast
    assert run(CocoMetric(ann_file=ann_file, metric=['proposal']), [sample(pred=wrong_class)]) == {**fast, **by_size}
    metric = CocoMetric(ann_file=ann_file, metric='proposal_fast', proposal_nums=(2, 4))
    assert run(metric, [sample()]) == {'coco/AR@2': 0.5, 'coco/AR@4': 1.0}
    both = run(CocoMetric(ann_file=ann_file, metric=['bbox', 'proposal']), [sample()])
    assert len(both) == 12 and set(both.values()) == {1.0}


@pytest.mark.parametrize(
    'arguments, limit, points',
    [
        (dict(), 100, 67),
        (dict(proposal_nums=(10, 100, 500)), 100, 67),
        (dict(proposal_nums=(10, 100, 500), max_dets=500), 500, 101),
        (dict(proposal_nums=(1, 10, 50)), 50, 34),
        (dict(max_dets=7), 7, 5),
    ],
)
def test_one_limit_for_every_ap(tmp_path, log, arguments, limit, points):
    """150 objects, all found: recall ends at limit / 150, so precision is 1 at that many of the 101 recall points."""
    left = np.arange(150) * 30
    boxes = np.stack([left, left * 0, left + 20, left * 0 + 20], axis=1).astype(float)
    rows = [
        dict(id=i, image_id=1, category_id=1, bbox=[b[0], b[1], 20, 20], area=400, iscrowd=0)
        for i, b in enumerate(boxes)
    ]
    ann_file = write_annotations(tmp_path / 'a.json', image_ids=(1,), categories=((1, 'car'),), annotations=rows)
    pred = dict(
        bboxes=torch.tensor(boxes), scores=torch.linspace(1, 0.1, 150), labels=torch.zeros(150, dtype=torch.long)
    )
    metric = CocoMetric(ann_file=ann_file, classwise=True, **arguments)
    values = run(metric, [sample(1, pred)], classes=('car',))
    assert metric.max_dets == limit
    for key in ('bbox_mAP', 'bbox_mAP_50', 'bbox_mAP_75', 'bbox_mAP_s', 'car_precision'):
        assert values[f'coco/{key}'] == pytest.approx(points / 101)
    assert any(f'maxDets={limit:>4} ]' in text and f'AP at maxDets={limit}' in text for text in log)


def test_labels_are_matched_to_categories_by_name(tmp_path):
    """Ids with gaps, in another order than the classes, and one category that is not evaluated."""
    ann_file = write_annotations(tmp_path / 'a.json', categories=((7, 'car'), (3, 'bicycle'), (5, 'bus')))
    swapped = {**PERFECT, 'labels': 1 - PERFECT['labels']}
    values = run(CocoMetric(ann_file=ann_file), [sample(pred=swapped)], classes=('bicycle', 'car'))
    assert values['coco/bbox_mAP'] == 1.0
    only_car = {key: value[torch.tensor(LABELS) == 0] for key, value in PERFECT.items()}
    by_class = run(CocoMetric(ann_file=ann_file, classwise=True), [sample(pred=only_car)])
    assert (by_class['coco/car_precision'], by_class['coco/bicycle_precision']) == (1, 0)
    assert run(CocoMetric(ann_file=ann_file), [sample(pred=only_car)], classes=('car',))['coco/bbox_mAP'] == 1.0


def test_crowd_and_ignore_flags_of_the_file(tmp_path):
    """Neither is missed, as the data sets do not train on them; on request a plain ignore flag changes nothing, as in pycocotools."""
    # 2 of 3 cars found: precision 1 at the 67 recall points up to 2/3; the bicycle is found.
    missed = pytest.approx((67 / 101 + 1) / 2)
    for flag, counted, expected in (
        ('iscrowd', False, 1.0), ('iscrowd', True, 1.0), ('ignore', False, 1.0), ('ignore', True, missed)
    ):  # fmt: skip
        ann_file = write_annotations(tmp_path / 'a.json')
        content = json.loads((tmp_path / 'a.json').read_text())
        content['annotations'][0][flag] = 1
        (tmp_path / 'a.json').write_text(json.dumps(content))
        pred = {key: value[1:] for key, value in PERFECT.items()}
        assert (
            run(CocoMetric(ann_file=ann_file, count_ignored=counted), [sample(pred=pred)])['coco/bbox_mAP'] == expected
        )


def test_repeated_and_missing_images(tmp_path, log):
    """Samplers repeat images: the first one counts, once. Images that were not predicted count as missed."""
    ann_file = write_annotations(tmp_path / 'a.json', image_ids=('a', 'b', 'c'))
    values = run(CocoMetric(ann_file=ann_file), [sample('a'), sample('b', NOTHING), sample('a', NOTHING)], size=2)
    assert values['coco/bbox_mAP'] == 1.0
    assert any('1 repeated' in text for text in log) and any('1 of the 3 images' in text for text in log)
    values = run(CocoMetric(ann_file=ann_file), [sample('b', NOTHING)])
    assert values['coco/bbox_mAP'] == 0.0
    part = CocoMetric(ann_file=ann_file)
    part.only_predicted = True
    assert run(part, [sample('b', NOTHING)])['coco/bbox_mAP'] == -1  # nothing to be found in it


def test_size_does_not_cut_results(tmp_path):
    """mmengine cuts the gathered list at ``size``, which loses real images when ranks hold unequal shares."""
    ann_file = write_annotations(tmp_path / 'a.json', image_ids=(5, 6))
    assert (
        run(CocoMetric(ann_file=ann_file), [sample(6, NOTHING), sample(6, NOTHING), sample(5)], size=2)['coco/bbox_mAP']
        == 1.0
    )


def test_files(tmp_path, ann_file):
    prefix = str(tmp_path / 'out' / 'run')
    metric = CocoMetric(ann_file=ann_file, format_only=True, outfile_prefix=prefix)
    assert run(metric, [sample()]) == {}
    rows = json.loads((tmp_path / 'out' / 'run.bbox.json').read_text())
    assert [round(row['score'], 2) for row in rows] == [0.99, 0.98, 0.95, 0.9]
    assert rows[0]['bbox'] == [250.0, 260.0, 100.0, 100.0] and rows[0]['image_id'] == 0 and rows[0]['category_id'] == 0
    assert rows[3]['category_id'] == 1
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['run.bbox.json']


def test_equal_scores_are_written_by_image_id(tmp_path):
    ann_file = write_annotations(tmp_path / 'a.json', image_ids=(10, 9, 'b', 'a'))
    metric = CocoMetric(ann_file=ann_file, format_only=True, outfile_prefix=str(tmp_path / 'x'))
    pred = dict(
        bboxes=torch.tensor([[0.0, 0, 1, 1], [0, 0, 2, 2]]),
        scores=torch.tensor([0.5, 0.5]),
        labels=torch.tensor([1, 0]),
    )
    run(metric, [sample(image_id, pred) for image_id in ('b', 10, 'a', 9)])
    rows = json.loads((tmp_path / 'x.bbox.json').read_text())
    assert [(row['image_id'], row['category_id']) for row in rows] == [
        (i, c) for i in (9, 10, 'a', 'b') for c in (1, 0)
    ]


def test_full_disk_keeps_the_old_file(tmp_path, ann_file, monkeypatch):
    import os

    old = tmp_path / 'run.bbox.json'
    old.write_text('old')

    def full(descriptor):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full)
    metric = CocoMetric(ann_file=ann_file, outfile_prefix=str(tmp_path / 'run'))
    with pytest.raises(
        DataError, match=r'run.bbox.json: could not be written \(No space left on device\); an older file'
    ):
        run(metric, [sample()])
    assert old.read_text() == 'old'
    assert sorted(path.name for path in tmp_path.iterdir()) == ['ann.json', 'run.bbox.json']


def instance_data(boxes, labels):
    return InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), labels=torch.tensor(labels, dtype=torch.long)
    )


def test_ground_truth_from_data_samples(tmp_path):
    """Through mmengine's Evaluator; the ground truth is in original pixels whatever the network's input was."""
    data_sample = DetDataSample(
        metainfo=dict(img_id=3, ori_shape=(640, 640), img_shape=(1280, 320), scale_factor=(0.5, 2.0))
    )
    data_sample.gt_instances = instance_data(BOXES[:3], LABELS[:3])
    data_sample.ignored_instances = instance_data(BOXES[3:], LABELS[3:])
    data_sample.pred_instances = InstanceData(**PERFECT)
    evaluator = Evaluator([dict(type='CocoMetric', outfile_prefix=str(tmp_path / 'run'))])
    evaluator.dataset_meta = dict(classes=CLASSES)
    evaluator.process([data_sample])
    values = evaluator.evaluate(1)
    assert values['coco/bbox_mAP'] == 1.0 and values['coco/bbox_mAP_l'] == -1.0
    gt = json.loads((tmp_path / 'run.gt.json').read_text())
    assert [row['bbox'] for row in gt['annotations']] == [
        [50, 60, 20, 20],
        [100, 120, 30, 30],
        [150, 160, 40, 40],
        [250, 260, 100, 100],
    ]
    assert [row['iscrowd'] for row in gt['annotations']] == [0, 0, 0, 1]
    assert gt['annotations'][0]['id'] == 1 and gt['images'] == [dict(id=3, file_name='', height=640, width=640)]
    assert [row['name'] for row in gt['categories']] == list(CLASSES)

    # the files that were written give the same numbers
    again = CocoMetric(ann_file=str(tmp_path / 'run.gt.json'))
    assert run(again, [sample(3)]) == values


def test_ground_truth_from_dataset_records(tmp_path):
    instances = [dict(bbox=box, bbox_label=label, ignore_flag=0) for box, label in zip(BOXES, LABELS)]
    samples = [sample(instances=instances), sample(1, NOTHING, instances=[])]
    values = run(CocoMetric(outfile_prefix=str(tmp_path / 'run')), samples)
    assert values == {f'coco/bbox_{item}': 1.0 for item in SIX}
    assert (tmp_path / 'run.bbox.json').exists() and (tmp_path / 'run.gt.json').exists()


@pytest.mark.parametrize(
    'arguments, error, builtin, message',
    [
        (
            dict(metric='unknown'),
            ConfigError,
            KeyError,
            "metric should be one of 'bbox', 'proposal', 'proposal_fast', but got unknown",
        ),
        (dict(metric_items=['invalid']), ConfigError, KeyError, 'metric item "invalid" is not supported'),
        (dict(metric='proposal', metric_items=['mAP']), ConfigError, KeyError, 'metric item "mAP" is not supported'),
        (dict(format_only=True), ConfigError, AssertionError, 'outfile_prefix: must be given'),
        (dict(proposal_nums=()), ConfigError, ValueError, 'proposal_nums: must be integers > 0'),
        (dict(max_dets=0), ConfigError, ValueError, 'max_dets: must be integers > 0'),
    ],
)
def test_bad_arguments(ann_file, arguments, error, builtin, message):
    with pytest.raises(error) as caught:
        CocoMetric(ann_file=ann_file, **arguments)
    assert isinstance(caught.value, builtin) and message in str(caught.value)


def test_accepted_without_effect(ann_file):
    metric = CocoMetric(
        ann_file=ann_file, file_client_args=dict(backend='disk'), use_mp_eval=True, sort_categories=True
    )
    assert metric.backend_args is None
    assert run(metric, [sample()])['coco/bbox_mAP'] == 1.0


def changed(**columns):
    return {**PERFECT, **columns}


@pytest.mark.parametrize(
    'data_sample, message',
    [
        (dict(ori_shape=(3, 4), pred_instances=PERFECT), "has no 'img_id'"),
        (dict(img_id=0, ori_shape=(3, 4)), 'image 0: pred_instances: has no predictions'),
        (sample(pred=dict(bboxes=torch.zeros(0, 4))), 'image 0: pred_instances.labels: is missing'),
        (sample(pred=changed(bboxes=torch.zeros(4, 5))), 'image 0: pred_instances.bboxes: must have shape (n, 4)'),
        (sample(pred=changed(scores=torch.zeros(3))), 'image 0: pred_instances.scores: must have shape (4,)'),
        (
            sample(pred=changed(scores=torch.tensor([0.1, np.nan, 0.2, np.nan]))),
            '2 of 4 rows are not finite, the first is row 1',
        ),
        (
            sample(pred=changed(bboxes=PERFECT['bboxes'] / 0)),
            'image 0: pred_instances.bboxes: 4 of 4 rows are not finite',
        ),
        (sample(pred=changed(labels=torch.tensor([0, 1, 2, 79]))), 'must be 0..1: the dataset has 2 classes'),
        (sample(pred=changed(labels=torch.tensor([0, 1, 0, -1]))), 'Received: -1'),
        (sample('elsewhere.jpg'), "the image is not among the 1 of the ground truth. Received: 'elsewhere.jpg'"),
    ],
)
def test_bad_predictions_are_named(ann_file, data_sample, message):
    with pytest.raises(DataError) as error:
        run(CocoMetric(ann_file=ann_file), [data_sample])
    assert message in str(error.value)


@pytest.mark.parametrize(
    'more, message',
    [
        (dict(), 'image 0: gt_instances: has no ground truth: put LoadAnnotations'),
        (
            dict(gt_instances=dict(bboxes=np.zeros((1, 4)), labels=np.array([9]))),
            'image 0: gt_instances.labels: must be 0..1',
        ),
        (
            dict(gt_instances=dict(bboxes=np.zeros((0, 4)), labels=np.zeros(0)), flip=True),
            'image 0: flip: the ground truth of a flipped',
        ),
    ],
)
def test_bad_ground_truth_in_data_samples(more, message):
    with pytest.raises(DataError) as error:
        run(CocoMetric(), [sample(**more)])
    assert message in str(error.value)


def test_files_and_classes_are_checked_when_the_dataset_is_known(ann_file, tmp_path):
    """The runner sets dataset_meta when it builds its loops: before the first training step, on every rank."""
    evaluator = Evaluator([dict(type='CocoMetric', ann_file=ann_file)])
    with pytest.raises(ConfigError) as error:
        evaluator.dataset_meta = dict(classes=('car', 'Bicycle', 'lorry'))
    assert "2 of the 3 class names are not in the file: 'Bicycle', 'lorry'" in str(error.value)
    evaluator.dataset_meta = dict(classes=('bicycle', 'car'))
    (metric,) = evaluator.metrics
    assert metric.load_annotations().classes == ('bicycle', 'car')
    evaluator.dataset_meta = dict(classes=('car',))  # another data set: nothing is kept of the first
    assert metric.load_annotations().classes == ('car',)
    with pytest.raises(DataError, match=r'nowhere\.json: no such file'):
        CocoMetric(ann_file=str(tmp_path / 'nowhere.json')).dataset_meta = dict(classes=('car',))
    CocoMetric(ann_file=str(tmp_path / 'nowhere.json')).dataset_meta = {}
    with pytest.raises(ConfigError, match='dataset_meta.classes'):
        CocoMetric().evaluate(0)


def test_a_training_checks_the_file_of_its_validation_before_the_first_step(ann_file):
    from types import SimpleNamespace

    from mmengine.runner import ValLoop

    class Lorries(torch.utils.data.Dataset):
        metainfo = dict(classes=('lorry',))

        def __len__(self):
            return 1

    loader = torch.utils.data.DataLoader(Lorries())
    with pytest.raises(ConfigError, match="'lorry'"):  # built before the training loop runs
        ValLoop(SimpleNamespace(), loader, Evaluator([dict(type='CocoMetric', ann_file=ann_file)]))


# What plug-ins written for mmdetection's metric do with it.


def test_tools_of_subclasses(ann_file, tmp_path):
    metric = evaluator(ann_file, prefix=None)
    assert metric.cat_ids == [0, 1] and metric.img_ids == [0] and metric._coco_api.get_cat_ids() == [0, 1]
    assert metric.xyxy2xywh(torch.tensor([1.0, 2.0, 4.0, 8.0])) == [1, 2, 3, 6]
    pred = dict(img_id=0, **{key: value.numpy() for key, value in PERFECT.items()})
    files = metric.results2json([pred], str(tmp_path / 'r'))
    assert files == dict(bbox=str(tmp_path / 'r.bbox.json'), proposal=str(tmp_path / 'r.bbox.json'))
    assert json.loads((tmp_path / 'r.bbox.json').read_text())[0]['bbox'] == [250, 260, 100, 100]
    anns = [dict(bbox=box, bbox_label=label, ignore_flag=0) for box, label in zip(BOXES, LABELS)]
    path = metric.gt_to_coco_json([dict(img_id=7, width=640, height=640, anns=anns)], str(tmp_path / 'g'))
    written = json.loads((tmp_path / 'g.gt.json').read_text())
    assert path == str(tmp_path / 'g.gt.json') and [row['category_id'] for row in written['annotations']] == LABELS
    # Of four objects the limit of two proposals finds two, and a shifted box none.
    proposals = dict(img_id=0, bboxes=np.array(BOXES[:3] + [[0, 0, 5, 5]]), scores=np.array([0.5, 0.9, 0.8, 0.7]))
    assert metric.fast_eval_recall([proposals], [1, 2, 4], [0.5, 0.75]).tolist() == [0.25, 0.5, 0.75]
    metric.cat_ids = [5]
    assert metric.cat_ids == [5]
    metric.dataset_meta = dict(classes=CLASSES)
    assert metric.cat_ids == [0, 1]
    assert evaluator(None, prefix=None)._coco_api is None


def evaluator(ann_file, kind=CocoMetric, **options):
    metric = kind(ann_file=ann_file, **options)
    metric.dataset_meta = dict(classes=CLASSES)
    return metric


class OwnPairs(CocoMetric):
    """It collects pairs of dicts itself, and unpacks those of the base."""

    def process(self, data_batch, data_samples):
        super().process(data_batch, data_samples)
        gt, pred = self.results.pop()
        assert gt == dict(width=640, height=640, img_id=0, anns=[]) and pred['labels'].tolist() == LABELS
        self.results.append((gt, pred))

    def compute_metrics(self, results):
        gts, preds = zip(*results)
        assert len(gts) == len(preds) == 1
        return super().compute_metrics(results)


class OwnFile(CocoMetric):
    """It writes result rows of its own: everything is a car."""

    def results2json(self, results, outfile_prefix):
        files = super().results2json(results, outfile_prefix)
        rows = json.loads(Path(files['bbox']).read_text())
        Path(files['bbox']).write_text(json.dumps([{**row, 'category_id': 0} for row in rows]))
        return files


def test_subclasses(ann_file, tmp_path):
    metric = evaluator(ann_file, OwnPairs)
    metric.process({}, [sample()])
    assert metric.evaluate(1)['coco/bbox_mAP'] == 1
    for prefix in (None, str(tmp_path / 'own')):
        metric = evaluator(ann_file, OwnFile, classwise=True, outfile_prefix=prefix)
        metric.process({}, [sample()])
        result = metric.evaluate(1)
        assert result['coco/bicycle_precision'] == 0 and 0 < result['coco/car_precision'] <= 1
    assert {row['category_id'] for row in json.loads((tmp_path / 'own.bbox.json').read_text())} == {0}


def test_import_paths():
    from mmdet.evaluation.metrics import CocoMetric as of_package
    from mmdet.evaluation.metrics.coco_metric import CocoMetric as of_module
    from mmdet.evaluation.metrics.dump_det_results import DumpDetResults

    assert of_package is of_module is CocoMetric and METRICS.get('DumpDetResults') is DumpDetResults
