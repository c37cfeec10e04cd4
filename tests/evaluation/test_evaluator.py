"""Evaluators of data sets: classes by name, parts of a concatenation, files that belong to other data sets."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.structures import InstanceData

from mmdet.analysis.predictions import pair_with_dataset
from mmdet.datasets import CocoDataset, ConcatDataset, RepeatDataset
from mmdet.errors import ConfigError, DataError
from mmdet.evaluation import (
    CocoMetric,
    DumpDetResults,
    Evaluator,
    MultiDatasetsEvaluator,
    VOCMetric,
    evaluate_by_config,
    evaluate_results,
    read_results,
)
from mmdet.evaluation.predictions import parts_of, results_by_name
from mmdet.registry import METRICS
from mmdet.structures import DetDataSample

CAR, BUS, VAN = (np.array([[x, 10.0, x + 30, 40]]) for x in (10, 60, 110))
BOXES = {'car': CAR, 'bus': BUS, 'van': VAN, 'Bus ': BUS}


def coco_file(path, names=('car', 'bus'), ids=(1, 2), prefix='a', ann_names=None):
    """A file whose image k has one box of each of ``ann_names`` (default all), each at a place of its own."""
    images = [dict(id=i, file_name=f'{prefix}{i}.jpg', width=200, height=100) for i in ids]
    rows = [(i, name) for i in ids for name in ann_names or names]
    annotations = [
        dict(
            id=k,
            image_id=i,
            category_id=7 + names.index(name),
            bbox=[*BOXES[name][0, :2].tolist(), 30, 30],
            area=900,
            iscrowd=0,
        )
        for k, (i, name) in enumerate(rows, 1)
    ]
    categories = [dict(id=7 + k, name=name) for k, name in enumerate(names)]
    path.write_text(json.dumps(dict(images=images, annotations=annotations, categories=categories)))
    return str(path)


def dataset(file, classes=('car', 'bus'), keys=('img_id', 'ori_shape', 'instances')):
    pipeline = [dict(type='PackDetInputs', meta_keys=keys)]
    return CocoDataset(ann_file=file, metainfo=dict(classes=classes), test_mode=True, pipeline=pipeline)


def prediction(image_id, found, part=None):
    """A sample with boxes of (label, box) at score 0.9, 0.8, ..."""
    labels = [label for label, _ in found]
    boxes = np.concatenate([box for _, box in found]) if found else np.zeros((0, 4))
    instances = InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32),
        scores=torch.linspace(0.9, 0.8, len(labels)),
        labels=torch.tensor(labels, dtype=torch.long),
    )
    meta = dict(img_id=image_id, ori_shape=(100, 200)) | ({} if part is None else dict(dataset_part=part))
    return DetDataSample(metainfo=meta, pred_instances=instances)


@pytest.mark.parametrize(
    ('trained', 'wanted', 'ap50', 'said'),
    [
        (None, ('car', 'bus'), 1.0, []),
        (('car', 'bus'), ('car', 'bus'), 1.0, []),
        (('car', 'bus'), ('bus', 'car'), 1.0, ['mapped by name']),
        (
            ('van', 'car', 'bus'),
            ('bus', 'car'),
            1.0,
            ['mapped by name', "lacks 1 of the 3 classes of the model; their detections are left out: 'van'"],
        ),
        (
            ('car', 'van'),
            ('bus', 'car'),
            0.5,
            ['mapped by name', "left out: 'van'", "the model does not know, whose objects are all missed: 'bus'"],
        ),
        (('Car', 'BUS '), ('bus', 'car'), 1.0, ['mapped by name', "'bus' for 'BUS '"]),
        (('auto', 'omnibus'), ('car', 'bus'), 1.0, ['no name is the same, so labels are taken by position']),
        (('auto', 'omnibus', 'x'), ('car', 'bus'), None, 'no name is the same, and the numbers of classes differ'),
        (('x', 'y', 'z'), ('BUS', 'car'), None, 'not in the file'),
    ],
)
def test_labels_by_name(tmp_path, trained, wanted, ap50, said):
    file = coco_file(tmp_path / 'ann.json')
    evaluator = Evaluator(CocoMetric(file))
    places = dict(zip((name.strip().lower() for name in trained or ('car', 'bus')), range(3)))
    places = {{'auto': 'car', 'omnibus': 'bus'}.get(name, name): label for name, label in places.items()}
    if ap50 is None:
        with pytest.raises(ConfigError, match=said):
            evaluator.dataset_meta = dict(classes=wanted)
            evaluator.bind(dataset(file, wanted))
            evaluator.match_classes(trained)
        return
    evaluator.dataset_meta = dict(classes=wanted)
    evaluator.bind(dataset(file, wanted))
    notes = evaluator.match_classes(trained)
    assert len(notes) == len(said) and all(part in note for part, note in zip(said, notes)), notes
    evaluator.process(
        [prediction(i, [(label, BOXES[name]) for name, label in places.items() if name in BOXES]) for i in (1, 2)]
    )
    assert evaluator.evaluate(2)['coco/bbox_mAP_50'] == ap50


def test_pictures_and_dumps_have_the_labels_of_the_data_set(tmp_path):
    file = coco_file(tmp_path / 'ann.json')
    evaluator = Evaluator([CocoMetric(file), DumpDetResults(str(tmp_path / 'out.pkl'))])
    evaluator.dataset_meta = dict(classes=('bus', 'car'))
    evaluator.bind(dataset(file, ('bus', 'car')))
    evaluator.match_classes(('car', 'van', 'bus'))
    sample = prediction(1, [(0, CAR), (1, VAN), (2, BUS)])
    evaluator.process([sample, prediction(2, [])])
    assert sample.pred_instances.labels.tolist() == [1, 0] and len(sample.pred_instances.bboxes) == 2
    evaluator.evaluate(2)
    dumped = read_results(tmp_path / 'out.pkl')
    assert dumped[0]['classes'] == ('bus', 'car') and 'classes' not in dumped[1]
    assert dumped[0]['pred_instances']['labels'].tolist() == [1, 0]
    # The dump names its classes: another order later gives the same figures.
    one, other = (evaluate_results(dumped, file, classes=names) for names in (('car', 'bus'), ('bus', 'car')))
    assert one == other and one['coco/bbox_mAP_50'] == pytest.approx(51 / 101)


def two(tmp_path, names=(('car', 'bus'), ('car', 'bus')), ids=((1, 2), (1, 2)), **options):
    files = [
        coco_file(tmp_path / f'{k}.json', own, part, prefix='ab'[k]) for k, (own, part) in enumerate(zip(names, ids))
    ]
    return files, ConcatDataset([dataset(file, own) for file, own in zip(files, names)], **options)


def with_truth(sample, boxes):
    sample.set_metainfo(
        dict(instances=[dict(bbox=box[0].tolist(), bbox_label=label, ignore_flag=0) for label, box in boxes])
    )
    return sample


def test_whole_concatenation_counts_images_of_one_id_apart(tmp_path):
    _, concat = two(tmp_path)
    evaluator = Evaluator(CocoMetric(outfile_prefix=str(tmp_path / 'out')))
    evaluator.dataset_meta = concat.metainfo
    assert evaluator.bind(concat) == [] and evaluator.match_classes(('bus', 'car'))
    both = [(0, CAR), (1, BUS)]
    found = {
        (0, 1): [(1, CAR)],
        (0, 2): [],
        (1, 1): [(1, CAR), (0, BUS)],
        (1, 2): [(1, CAR)],
    }  # 3 of 4 cars, 1 of 4 buses
    evaluator.process([with_truth(prediction(i, boxes, part), both) for (part, i), boxes in found.items()])
    assert evaluator.evaluate(4)['coco/bbox_mAP_50'] == pytest.approx((76 + 26) / 2 / 101)
    ids = [image['id'] for image in json.loads((tmp_path / 'out.gt.json').read_text())['images']]
    assert ids == [1, 2, 11, 12]  # as those of a list of the two annotation files


@pytest.mark.parametrize('names', [(('car', 'bus'), ('car', 'bus')), (('car', 'bus'), ('van', 'car'))])
def test_metrics_of_each_part(tmp_path, names):
    files, concat = two(tmp_path, names, ignore_keys='classes')
    assert [concat.get_data_info(k)['dataset_part'] for k in range(4)] == [0, 0, 1, 1]
    out = str(tmp_path / 'out.pkl')
    evaluator = MultiDatasetsEvaluator(
        [CocoMetric(file) for file in files], ['a', 'b'], whole=dict(type='DumpDetResults', out_file_path=out)
    )
    evaluator.dataset_meta = concat.metainfo
    evaluator.bind(concat)
    evaluator.match_classes(('bus', 'van', 'car'))
    labels = dict(bus=0, van=1, car=2)
    a, b = ([(labels[name], BOXES[name]) for name in own] for own in names)
    evaluator.process([prediction(1, a, 0), prediction(2, a, 0), prediction(1, b, 1)])
    evaluator.process([prediction(2, [], 1)])
    results = evaluator.evaluate(4)
    assert (results['a/coco/bbox_mAP_50'], round(results['b/coco/bbox_mAP_50'], 3)) == (1.0, 0.505)
    dumped = read_results(out)
    assert [(row['dataset_part'], row['img_id']) for row in dumped] == [(0, 1), (0, 2), (1, 1), (1, 2)]


def test_analysis_of_saved_predictions_of_two_data_sets(tmp_path):
    _, concat = two(tmp_path, (('car', 'bus'), ('van', 'car')), ignore_keys='classes')
    named = dict(pred_instances=dict(bboxes=CAR, scores=[0.5], labels=[1]), classes=('van', 'car'))
    results = [{**named, 'img_id': 1, 'dataset_part': part} for part in (0, 1)]
    found = pair_with_dataset(concat, results)
    assert found.classes == ('car', 'bus', 'van') and found.missing == 2
    assert [(image.image_id, image.gt_labels.tolist(), image.labels.tolist()) for image in found.images] == [
        (1, [0, 1], [0]), (2, [0, 1], []), (11, [2, 0], [0]), (12, [2, 0], []),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(metrics=[], dataset_prefixes=['a']), 'one for each entry'),
        (dict(metrics=[dict(type='CocoMetric')] * 2, dataset_prefixes=['a', 'a']), 'different names'),
        (dict(metrics=dict(type='CocoMetric'), dataset_prefixes=['a']), 'must be lists'),
        (dict(metrics=None, dataset_prefixes=['a']), 'must be lists'),
        (dict(metrics=[None], dataset_prefixes=['a']), 'must be a metric'),
    ],
)
def test_arguments_of_the_evaluator_of_parts(arguments, message):
    with pytest.raises(ConfigError, match=message):
        MultiDatasetsEvaluator(**arguments)


def test_a_concatenation_inside_another_counts_its_parts_one_by_one(tmp_path):
    _, inner = two(tmp_path)
    outer = ConcatDataset([inner, inner.datasets[0], RepeatDataset(inner, 1)])
    assert [outer.get_data_info(k)['dataset_part'] for k in range(10)] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert [part.ann_file for part in parts_of(outer)] == [
        part.ann_file for part in (*inner.datasets, inner.datasets[0], *inner.datasets)
    ]


def test_saved_predictions_of_a_concatenation_with_different_classes(tmp_path):
    names = (('car', 'bus'), ('van', 'car'))
    files, concat = two(tmp_path, names, ids=((1, 2), (3, 4)), ignore_keys='classes')
    out = str(tmp_path / 'out.pkl')
    evaluator = Evaluator([CocoMetric(files), DumpDetResults(out)])
    evaluator.dataset_meta = concat.metainfo
    evaluator.bind(concat)
    evaluator.process([prediction(i, [(0, CAR), (1, BUS)], 0) for i in (1, 2)])
    evaluator.process([prediction(i, [(2, VAN), (0, CAR)], 1) for i in (3, 4)])
    online = evaluator.evaluate(4)
    parts = [
        dict(type='CocoDataset', ann_file=file, metainfo=dict(classes=own), test_mode=True)
        for file, own in zip(files, names)
    ]
    dataset = dict(type='ConcatDataset', ignore_keys='classes', datasets=parts)
    cfg = Config(dict(test_dataloader=dict(dataset=dataset), test_evaluator=dict(type='CocoMetric', ann_file=files)))
    assert evaluate_by_config(out, cfg) == online and online['coco/bbox_mAP'] == 1


def test_a_file_without_annotations_is_for_result_files_only(tmp_path):
    coco_file(tmp_path / 'a.json')
    content = json.loads((tmp_path / 'a.json').read_text())
    (tmp_path / 'empty.json').write_text(json.dumps({**content, 'annotations': []}))
    del content['annotations']
    (tmp_path / 'test.json').write_text(json.dumps(content))
    with pytest.raises(DataError, match='no annotations to evaluate against'):
        CocoMetric(str(tmp_path / 'test.json')).dataset_meta = dict(classes=('car', 'bus'))
    CocoMetric(str(tmp_path / 'test.json'), format_only=True, outfile_prefix=str(tmp_path / 'out')).dataset_meta = dict(
        classes=('car', 'bus')
    )
    assert evaluate_results([], str(tmp_path / 'empty.json'))['coco/bbox_mAP'] == -1


def test_a_dump_of_one_data_set_of_several_names_its_classes(tmp_path):
    files, concat = two(tmp_path)
    out = str(tmp_path / 'out.pkl')
    evaluator = MultiDatasetsEvaluator(
        [CocoMetric(files[0]), dict(type='DumpDetResults', out_file_path=out)], ['a', 'b']
    )
    evaluator.dataset_meta = concat.metainfo
    evaluator.bind(concat)
    evaluator.process([prediction(1, [], 0), prediction(1, [], 1)])
    evaluator.evaluate(2)
    assert [row.get('classes') for row in read_results(out)] == [('car', 'bus')]


def test_labels_above_the_names_of_a_dump_are_an_error():
    columns = dict(bboxes=torch.zeros(1, 4), scores=torch.zeros(1), labels=torch.tensor([2]))
    rows = [dict(img_id=7, pred_instances=columns, classes=('car', 'bus'))]
    with pytest.raises(DataError, match='image 7.*labels: must be whole numbers below 2'):
        results_by_name(rows, ('a', 'b', 'car'))
    columns['labels'] = torch.tensor([1])
    (row,), _, left_out = results_by_name(rows, ('a', 'b', 'car'))
    assert left_out == 1 and len(row['pred_instances']['labels']) == 0
    columns.update(bboxes=[], scores=[], labels=[])
    assert results_by_name(rows, ('a', 'b', 'car'))[2] == 0


@pytest.mark.parametrize(
    ('arguments', 'field'),
    [
        (dict(iou_thrs=[]), 'iou_thrs'),
        (dict(iou_thrs='x'), 'iou_thrs'),
        (dict(iou_thrs=2.0), 'iou_thrs'),
        (dict(metric=[]), 'metric'),
        (dict(metric=5), 'metric'),
        (dict(proposal_nums=5), 'proposal_nums'),
        (dict(ann_file=5), 'ann_file'),
    ],
)
def test_arguments_of_a_metric_are_checked_before_the_first_image(arguments, field):
    with pytest.raises(ConfigError, match=f'{field}: must be'):
        CocoMetric(**arguments).dataset_meta = dict(classes=('car',))


def test_number_of_parts(tmp_path):
    files, concat = two(tmp_path)
    with pytest.raises(ConfigError, match='ConcatDataset of 1 data sets'):
        MultiDatasetsEvaluator([CocoMetric(files[0])], ['a']).bind(concat)
    evaluator = MultiDatasetsEvaluator([CocoMetric(file) for file in files], ['a', 'b'])
    evaluator.bind(concat)
    with pytest.raises(DataError, match='dataset_part'):
        evaluator.process([prediction(1, [])])


@METRICS.register_module(force=True)
class _ForeignMetric(BaseMetric):
    default_prefix = 'x'
    ann_file = 'absent.json'

    def process(self, data_batch, data_samples):
        self.results += data_samples

    def compute_metrics(self, results):
        return dict(n=len(results))


def test_files_of_other_data_sets_are_found_before_the_first_image(tmp_path):
    file = coco_file(tmp_path / 'ann.json')
    own = dataset(file)

    def notes(metric, data=own):
        evaluator = Evaluator(metric)
        evaluator.dataset_meta = data.metainfo
        return evaluator.bind(data)

    assert notes(CocoMetric(file)) == [] and notes(CocoMetric()) == []
    without = dataset(file, keys=('img_id',))
    assert notes(CocoMetric(format_only=True, outfile_prefix=str(tmp_path / 'out')), without) == []
    for metric in (CocoMetric(), VOCMetric()):
        with pytest.raises(DataError, match='image 1: .* no ground truth: put LoadAnnotations'):
            notes(metric, without)
    with pytest.raises(ConfigError, match='two CocoMetric would give results of the same names'):
        notes([CocoMetric(file), CocoMetric(file, metric=['proposal', 'bbox'])])
    assert notes([CocoMetric(file), CocoMetric(file, metric='proposal'), CocoMetric(file, prefix='b')]) == []
    with pytest.raises(ConfigError, match=r'outfile_prefix: cannot be written'):
        CocoMetric(file, outfile_prefix=f'{file}/out')
    assert notes(CocoMetric(coco_file(tmp_path / 'copy.json'))) == []
    assert (
        '1 of its 3 images are not in the data set'
        in notes(CocoMetric(coco_file(tmp_path / 'more.json', ids=(1, 2, 3))))[0]
    )
    assert 'other file names' in notes(CocoMetric(coco_file(tmp_path / 'names.json', prefix='z')))[0]
    with pytest.raises(DataError, match=r'1 of the 2 images .* not in the annotation file'):
        notes(CocoMetric(coco_file(tmp_path / 'ids.json', ids=(1, 3))))
    with pytest.raises(ConfigError, match='class names are not in the file'):
        notes(CocoMetric(coco_file(tmp_path / 'classes.json', names=('car', 'van'))))
    with pytest.raises(ConfigError, match="'bus' is 'Bus ' there"):
        notes(CocoMetric(coco_file(tmp_path / 'case.json', names=('car', 'Bus '))))
    with pytest.raises(DataError, match='absent'):
        notes(_ForeignMetric())
    with pytest.raises(DataError, match=r'none\.json'):
        notes(DumpDetResults(str(tmp_path / 'o.json'), ann_file=str(tmp_path / 'none.json')))
    files, concat = two(tmp_path)
    with pytest.raises(ConfigError, match=r'data sets 1 and 2 both have an image of this id.*MultiDatasetsEvaluator'):
        notes(CocoMetric(files[0]), concat)
    with pytest.raises(ConfigError, match=r'both have an image of this id; write a \.pkl'):
        notes(DumpDetResults(str(tmp_path / 'o.json')), concat)


def test_a_label_beyond_the_names(tmp_path):
    file = coco_file(tmp_path / 'ann.json')
    evaluator = Evaluator(CocoMetric(file))
    evaluator.dataset_meta = dict(classes=('bus', 'car'))
    evaluator.bind(dataset(file, ('bus', 'car')))
    evaluator.match_classes(('car', 'bus'))
    with pytest.raises(DataError, match='must be below 2'):
        evaluator.process([prediction(1, [(2, CAR)])])


def test_data_sets_without_names():
    evaluator = Evaluator([])
    assert evaluator.bind(SimpleNamespace(metainfo={})) == [] and evaluator.match_classes(('a', 'b')) == []
