"""Real annotations and predictions, which do not travel with the repository: the known counts and figures come out of them."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config

from mmdet.datasets import CocoDataset, UAVDTDataset, VisDroneDataset
from mmdet.datasets.converters import (
    UAVDT_TEST_SEQUENCES,
    convert_uavdt,
    convert_visdrone,
    convert_voc,
    results_to_txt,
    txt_to_results,
)
from mmdet.evaluation import (
    Detections,
    GroundTruth,
    VisDroneMetric,
    evaluate_boxes,
    read_image_sizes,
    read_toolkit_rows,
)
from mmdet.formats import read_visdrone_rows
from tests import processes

from ..conftest import REPOSITORY
from ..formats.test_visdrone import run_tool
from .test_dataset_configs import check, first_batches
from .test_visdrone import build
from .test_visdrone_converter import run_script

_FOLDER = Path(os.environ.get('MMDET_SAMPLE_DATA', REPOSITORY.parent / 'shared' / 'data'))
if not _FOLDER.is_dir():
    pytest.skip(f'no sample data at {_FOLDER}; set MMDET_SAMPLE_DATA', allow_module_level=True)

CLASSES = VisDroneDataset.METAINFO['classes']


def read_table(folder, separator):
    """Rows x, y, w, h, score, category of all files, with the file's number first; categories 1-10 only."""
    rows = []
    for number, path in enumerate(sorted(folder.glob('*.txt'))):
        for line in path.read_text().split('\n'):
            if line.strip():
                rows.append([number, *map(float, line.split(separator)[:6])])
    rows = np.array(rows)  # (N, 7)
    return rows[(rows[:, 6] >= 1) & (rows[:, 6] <= 10)]


@pytest.fixture(scope='module')
def tables(sample_data):
    folder = sample_data / 'visdrone_val_scored'
    gt, dt = read_table(folder / 'annotations', ','), read_table(folder / 'predictions', ' ')
    assert len(gt) == 38759 and len(dt) == 138939
    return GroundTruth(gt[:, 0], gt[:, 6] - 1, gt[:, 1:5]), Detections(
        dt[:, 0], dt[:, 6] - 1, dt[:, 1:5], score=dt[:, 5]
    )


def test_published_predictions(tables):
    result = evaluate_boxes(*tables, num_images=548, num_classes=10, max_dets=(10, 100, 500))

    def percent(value):
        return round(100 * value, 1)

    assert [percent(result.ap(thr)) for thr in (None, 0.5, 0.75)] == [35.6, 57.0, 37.7]
    assert [percent(result.ap(area=area)) for area in ('small', 'medium', 'large')] == [27.2, 46.8, 57.9]
    assert [percent(result.ar(max_dets=limit)) for limit in (10, 100, 500)] == [39.7, 50.9, 51.0]
    assert [round(100 * result.ap(max_dets=limit), 3) for limit in (500, 100)] == [35.590, 35.585]
    by_class = dict(zip(CLASSES, (percent(result.ap(label=label)) for label in range(10))))
    assert by_class == {
        'pedestrian': 33.7,
        'people': 24.2,
        'bicycle': 20.5,
        'car': 63.7,
        'van': 44.9,
        'truck': 36.9,
        'tricycle': 26.4,
        'awning-tricycle': 17.2,
        'bus': 55.8,
        'motor': 32.5,
    }


def test_author_predictions_by_the_tool(repository, sample_data, tmp_path):
    """The published predictions of UFPMP-Det on VisDrone val, scored by the official code."""
    folder = sample_data / 'visdrone_val_scored'
    run = run_tool(
        repository, folder / 'annotations', folder / 'predictions', '--sizes', folder / 'image_sizes.txt',
        '--json', tmp_path / 'out.json',
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    document = json.loads((tmp_path / 'out.json').read_text())
    expected = json.loads((folder / 'expected.json').read_text())['visdrone']
    assert document['visdrone'] == pytest.approx(expected, abs=1e-6)
    plain = document['visdrone_plain_mean']
    assert [round(plain[name], 2) for name in ('AP', 'AP50', 'AP75')] == [36.45, 58.83, 38.45]
    assert [round(document['coco'][name], 1) for name in ('AP', 'AP50', 'AP75')] == [35.6, 57.0, 37.7]
    weights = [row['images'] for row in document['per_class'].values()]
    assert weights == [520, 482, 364, 515, 421, 265, 337, 219, 130, 485]


def test_author_predictions_by_the_metric(sample_data, tmp_path):
    """The runner's metric gives the same figures as the files do (boxes go through corners, hence the tolerance)."""
    folder = sample_data / 'visdrone_val_scored'
    sizes = read_image_sizes(folder / 'image_sizes.txt')
    convert_visdrone(tmp_path, folder / 'annotations', tmp_path / 'val.json', sizes=sizes)
    metric = VisDroneMetric(str(tmp_path / 'val.json'))
    metric.dataset_meta = dict(classes=CLASSES)
    samples = []
    for img_id, (name, (width, height)) in enumerate(sorted(sizes.items())):
        rows = read_toolkit_rows(folder / 'predictions' / f'{name}.txt')
        boxes = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1)
        pred = dict(bboxes=boxes, scores=rows[:, 4], labels=rows[:, 5].astype(int) - 1)
        samples.append(dict(img_id=img_id, ori_shape=(height, width), pred_instances=pred))
    metric.process(None, samples)
    metrics = metric.evaluate(len(samples))
    expected = json.loads((folder / 'expected.json').read_text())['visdrone']
    for name, value in expected.items():
        scale = 1 if name.startswith('dropped') else 100
        assert scale * metrics[f'visdrone/{name}'] == pytest.approx(value, abs=1e-6)
    coco = [round(100 * metrics[f'coco/bbox_{name}'], 1) for name in ('mAP', 'mAP_50', 'mAP_75')]
    assert coco == [35.6, 57.0, 37.7]


def test_real_coco(sample_data):
    root = sample_data / 'coco_mini' / 'tinycoco'
    for split, images, annotations, crowds in (('train2017', 32, 288, 4), ('val2017', 6, 136, 1)):
        dataset = CocoDataset(
            ann_file=f'annotations/instances_{split}.json',
            data_root=str(root),
            data_prefix={'img': f'images/{split}'},
            test_mode=True,
        )
        instances = [i for n in range(len(dataset)) for i in dataset.get_data_info(n)['instances']]
        assert (len(dataset), len(instances), sum(i['ignore_flag'] for i in instances)) == (images, annotations, crowds)
        assert dataset.cat_ids == sorted(dataset.cat_ids) and len(dataset.cat_ids) == 80
        # Labels agree with the file's own names.
        document = json.loads((root / f'annotations/instances_{split}.json').read_text())
        names = {category['id']: category['name'] for category in document['categories']}
        expected = sorted(names[a['category_id']] for a in document['annotations'])
        assert sorted(dataset.metainfo['classes'][i['bbox_label']] for i in instances) == expected
        boxes = np.array([i['bbox'] for i in instances])
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert Path(dataset.get_data_info(0)['img_path']).is_file()


def test_coco_loads(repository, sample_data):
    config = Config.fromfile(repository / 'configs/_base_/datasets/coco_detection.py')
    root = str(sample_data / 'coco_mini/tinycoco')
    options = {
        f'{split}_dataloader': {'data_root': root, 'data_prefix': {'img': f'images/{split}2017'}}
        for split in ('train', 'val')
    }
    check(*first_batches(config, **options), 1333)


def test_visdrone_loads_from_the_original_layout(repository, sample_data):
    config = Config.fromfile(repository / 'configs/_base_/datasets/visdrone_detection.py')
    options = {
        f'{split}_dataloader': {
            'data_root': str(sample_data / 'visdrone'),
            'ann_file': f'VisDrone2019-DET-{split}/annotations',
        }
        for split in ('train', 'val')
    }
    check(*first_batches(config, **options), 1333)


def test_bccd_loads_after_conversion(repository, sample_data, tmp_path):
    config = Config.fromfile(repository / 'configs/_base_/datasets/bccd_detection.py')
    root = sample_data / 'bccd' / 'BCCD'
    convert_voc(root, tmp_path)
    options = {
        f'{split}_dataloader': {'data_root': str(root), 'ann_file': str(tmp_path / f'{split}.json')}
        for split in ('train', 'val')
    }
    check(*first_batches(config, **options), 640)


def test_real_sequences(sample_data, tmp_path):
    """M0101, M0202 of train; M0203, M0606, M1302, M1401 of test. Rows are those of the files."""
    root = sample_data / 'uavdt'
    train, test = convert_uavdt(root, {split: tmp_path / f'{split}.json' for split in ('train', 'test')})
    assert (train.sequences, train.images, train.objects, train.ignored) == (2, 698, 9231, 737)
    assert dict(train.per_class) == {'car': 8973, 'truck': 188, 'bus': 70}
    assert (test.sequences, test.images, test.objects, test.ignored) == (4, 4138, 59784, 12746)
    assert dict(test.per_class) == {'car': 58115, 'truck': 1210, 'bus': 459}
    assert len(UAVDT_TEST_SEQUENCES) == 20
    dataset = UAVDTDataset(ann_file=str(tmp_path / 'train.json'), test_mode=True, pipeline=[], lazy_init=True)
    records = dataset.load_data_list()
    assert len(records) == 698 and sum(len(record['instances']) for record in records) == 9231
    for report, split in ((train, 'train'), (test, 'test')):
        account = UAVDTDataset(ann_file=str(tmp_path / f'{split}.json'), test_mode=True).account()
        assert (account.images_used, account.boxes_used) == (report.images, report.objects)
        assert account.boxes == report.objects + report.ignored
        assert account.left_out == {'ignored or crowd': report.ignored}


def test_real_visdrone(sample_data):
    for split, images, rows in (('train', 68, 5522), ('val', 12, 1355)):
        root = sample_data / 'visdrone' / f'VisDrone2019-DET-{split}'
        dataset = build(root, test_mode=True)
        records = [dataset.get_data_info(i) for i in range(len(dataset))]
        raw = np.concatenate([read_visdrone_rows(path) for path in sorted((root / 'annotations').glob('*.txt'))])
        assert (len(records), len(raw)) == (images, rows)
        # The toolkit's rule: score 0 exactly where the category is 0 or 11.
        counted = np.isin(raw[:, 5], range(1, 11))
        labels = [i['bbox_label'] for r in records for i in r['instances'] if not i['ignore_flag']]
        assert np.array_equal(
            np.bincount(labels, minlength=10), np.bincount(raw[counted, 5].astype(int) - 1, minlength=10)
        )
        sizes = {(r['width'], r['height']) for r in records}
        assert sizes <= {(960, 540), (1360, 765), (1400, 788), (1400, 1050), (1920, 1080), (2000, 1500)}
        assert json.dumps(records[0]['instances'])  # plain Python values


def test_validation_set(repository, sample_data, tmp_path):
    """All of VisDrone val by the command line; sizes from the list, because few of the images are at hand."""
    folder = sample_data / 'visdrone_val_scored'
    run = run_script(
        repository, 'build_dataset/VisDrone2COCO.py', tmp_path, folder / 'annotations', tmp_path / 'val.json',
        '--sizes', folder / 'image_sizes.txt',
    )  # fmt: skip
    assert run.returncode == 0 and '548 images, 38759 objects' in run.stdout, run.stderr
    document = json.loads((tmp_path / 'val.json').read_text())
    counts = np.bincount([annotation['category_id'] for annotation in document['annotations']])
    assert counts.tolist() == [8844, 5125, 1287, 14064, 1975, 750, 1045, 532, 251, 4886]
    assert (len(document['ignored_regions']), len(document['others'])) == (1378, 32)
    dataset = VisDroneDataset(ann_file=str(tmp_path / 'val.json'), test_mode=True, pipeline=[], lazy_init=True)
    assert len(dataset.load_data_list()) == 548


def test_real_images(sample_data, tmp_path):
    split = sample_data / 'visdrone' / 'VisDrone2019-DET-val'
    report = convert_visdrone(split, split, tmp_path / 'val.json')
    assert report.images == 12 and report.objects + report.ignored_regions + report.others == 1355


def test_author_results_survive_the_round_trip(sample_data, tmp_path):
    folder = sample_data / 'visdrone_val_scored'
    names = sorted(read_image_sizes(folder / 'image_sizes.txt'))[:20]
    (tmp_path / 'p').mkdir()
    document = dict(
        images=[dict(id=i, file_name=f'{name}.jpg', width=9, height=9) for i, name in enumerate(names)],
        annotations=[],
        categories=[dict(id=i, name=name) for i, name in enumerate(CLASSES)],
    )
    (tmp_path / 'ann.json').write_text(json.dumps(document))
    for name in names:
        (tmp_path / 'p' / f'{name}.txt').write_bytes((folder / 'predictions' / f'{name}.txt').read_bytes())
    txt_to_results(tmp_path / 'ann.json', tmp_path / 'p', tmp_path / 'out.json')
    results_to_txt(tmp_path / 'ann.json', tmp_path / 'out.json', tmp_path / 'back')
    for name in names:
        before, after = (read_toolkit_rows(tmp_path / part / f'{name}.txt') for part in ('p', 'back'))
        np.testing.assert_array_equal(before, after)


def test_blood_cells(sample_data, tmp_path, repository):
    command = [
        'tools/dataset_converters/pascal_voc.py',
        str(sample_data / 'bccd' / 'BCCD'),
        str(tmp_path),
    ]
    done = processes.run(command, cwd=repository)
    assert done.returncode == 0, done.stderr
    totals = {'boxes': 0, 'images': 0}
    classes = ('RBC', 'WBC', 'Platelets')
    per_class = dict.fromkeys(classes, 0)
    for split, images in (('train', 205), ('val', 87), ('test', 72)):
        dataset = CocoDataset(ann_file=str(tmp_path / f'{split}.json'), metainfo={'classes': classes}, test_mode=True)
        assert len(dataset) == images
        for index in range(images):
            record = dataset.get_data_info(index)
            assert (record['width'], record['height']) == (640, 480)
            for instance in record['instances']:
                per_class[classes[instance['bbox_label']]] += 1
                x1, y1, x2, y2 = instance['bbox']
                assert 0 <= x1 < x2 <= 640 and 0 <= y1 < y2 <= 480
        totals['images'] += images
        totals['boxes'] += sum(len(dataset.get_data_info(i)['instances']) for i in range(images))
    assert totals == {'boxes': 4888 - 2, 'images': 364}
    assert sum(per_class.values()) == 4886 and per_class['WBC'] == 372
    assert done.stdout.count('degenerate') >= 1
    failed = processes.run([*command, '--splits', 'mini'], cwd=repository)
    assert failed.returncode == 2 and 'no such split' in failed.stderr
