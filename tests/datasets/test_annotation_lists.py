"""``ann_file`` as a list, for every data set and the metrics; images without annotations."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmdet.datasets import BaseDetDataset, CocoDataset, LVISV1Dataset, VisDroneDataset, XMLDataset
from mmdet.evaluation import CocoMetric, VisDroneMetric
from mmdet.utils import ConfigError, DataError

from .coco_files import box, image, write_images

DOG_CAT = {'classes': ('dog', 'cat')}
CATEGORIES = [[dict(id=1, name='dog'), dict(id=2, name='cat')], [dict(id=1, name='cat'), dict(id=2, name='dog')]]


@pytest.fixture
def folder(tmp_path):
    """Two files whose image ids and file names are the same, and whose category ids are exchanged; images in two folders."""
    for number, side in enumerate((40, 50)):
        (tmp_path / f'images{number}').mkdir()
        entries = write_images(tmp_path / f'images{number}', [(side, 30)] * 2)
        annotations = [box(1, 1, (1, 1, 5, 5), 1), box(2, 2, (2, 2, 5, 5), 2), box(3, 1, (0, 0, 0, 0))]
        document = dict(images=entries, annotations=annotations, categories=CATEGORIES[number])
        (tmp_path / f'{number}.json').write_text(json.dumps(document))
    return tmp_path


def options(folder, **more):
    prefix = {'img': ['images0/', 'images1/']}
    return dict(ann_file=['0.json', '1.json'], data_root=str(folder), data_prefix=prefix, metainfo=DOG_CAT, **more)


class Plugin(CocoDataset):
    def parse_data_info(self, raw_data_info):
        return super().parse_data_info(raw_data_info)


class Reader(CocoDataset):
    """Other code, which knows nothing of lists."""

    def load_data_list(self):
        document = json.loads(Path(self.ann_file).read_text())
        folder = self.data_prefix['img']
        labels = {each['id']: self.metainfo['classes'].index(each['name']) for each in document['categories']}
        self.cat_img_map = {1: [a['image_id'] for a in document['annotations']]}
        return [
            dict(
                img_path=f'{folder}{entry["file_name"]}', img_id=entry['id'], width=entry['width'], height=30,
                instances=[
                    dict(bbox=[1, 1, 6, 6], bbox_label=labels[a['category_id']], ignore_flag=0)
                    for a in document['annotations'] if a['image_id'] == entry['id'] and a['bbox'][2]
                ],
            )
            for entry in document['images']
        ]  # fmt: skip


@pytest.mark.parametrize('kind', [CocoDataset, Plugin, LVISV1Dataset, VisDroneDataset, Reader])
def test_coco_files(folder, kind):
    for more in ({}, dict(test_mode=True), dict(filter_cfg=dict(filter_empty_gt=True)), dict(lazy_init=True)):
        dataset = kind(**options(folder, **more))
        records = [dataset.get_data_info(i) for i in range(len(dataset))]
        assert [r['img_id'] for r in records] == [1, 2, 11, 12]
        assert [Path(r['img_path']).relative_to(folder).as_posix() for r in records] == [
            'images0/1.jpg', 'images0/2.jpg', 'images1/1.jpg', 'images1/2.jpg',
        ]  # fmt: skip
        assert [r['width'] for r in records] == [40, 40, 50, 50]
        # Labels by name, whatever the ids are in each file.
        assert [[i['bbox_label'] for i in r['instances']] for r in records] == [[0], [1], [1], [0]]
        account = dataset.account()
        assert account.images_used == 4 and account.boxes_used == 4
        if kind is not Reader:
            assert account.boxes == 6 and account.left_out == {'no area': 2}
        assert dataset.ann_file == [f'{folder}/0.json', f'{folder}/1.json']
        assert dataset.data_prefix['img'] == [f'{folder}/images0/', f'{folder}/images1/']


def test_equal_images_of_two_files_stay_apart_and_are_counted(folder):
    arguments = {**options(folder), 'data_prefix': {'img': 'images0/'}}
    dataset = CocoDataset(**arguments)
    assert len(dataset) == 4 and len({dataset.get_data_info(i)['img_path'] for i in range(4)}) == 2
    assert dataset.account().notes['images that an earlier annotation file names, too (each counts by itself)'] == 2
    one = CocoDataset(**{**arguments, 'ann_file': ['0.json']})
    assert len(one) == 2 and one.ann_file == f'{folder}/0.json'


def test_data_set_and_metric_agree(folder):
    dataset = CocoDataset(test_mode=True, **options(folder))
    metric = CocoMetric(dataset.ann_file)
    metric.dataset_meta = dataset.metainfo
    for record in (dataset.get_data_info(i) for i in range(4)):
        boxes = np.array([i['bbox'] for i in record['instances']], dtype=float)
        labels = np.array([i['bbox_label'] for i in record['instances']])
        found = dict(bboxes=boxes, labels=labels, scores=np.ones(len(boxes)))
        shape = record['height'], record['width']
        metric.process(None, [dict(img_id=record['img_id'], ori_shape=shape, pred_instances=found)])
    # Of each class, two of three objects are found (nobody finds the one without area): precision 1 at the recalls 0, 0.01 ... 0.66.
    assert metric.evaluate(4)['coco/bbox_mAP_50'] == pytest.approx(67 / 101, abs=1e-9)
    assert len(metric._coco_api.anns) == 6 and metric.img_ids == [1, 2, 11, 12]


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(ann_file=[]), 'ann_file: must be'),
        (dict(ann_file=5), 'ann_file: must be a text, or a list'),
        (dict(ann_file=['0.json', 3]), 'ann_file: must be a text, or a list'),
        (dict(ann_file=['0.json', '']), 'ann_file: the names in a list must not be empty'),
        (
            dict(data_prefix={'img': ['a/', 'b/', 'c/']}),
            'data_prefix.img: must be one folder, or one for each of the 2',
        ),
        (dict(data_prefix={'img': 3}), 'data_prefix.img: must be a text'),
    ],
)
def test_wrong_lists(folder, arguments, message):
    with pytest.raises(ConfigError, match=message):
        CocoDataset(**{**options(folder), **arguments})
    with pytest.raises(DataError, match=r'9\.json: no such file'):
        CocoDataset(**{**options(folder), 'ann_file': ['0.json', '9.json']})


def test_mmengine_format(tmp_path):
    for name in 'ab':
        record = dict(img_path=f'{name}.jpg', img_id=1, width=40, height=30)
        document = dict(metainfo=dict(classes=['dog']), data_list=[record])
        (tmp_path / f'{name}.json').write_text(json.dumps(document))
    dataset = BaseDetDataset(ann_file=['a.json', 'b.json'], data_root=str(tmp_path))
    assert [dataset[i]['img_id'] for i in range(2)] == [1, 11] and dataset[1]['img_path'].endswith('b.jpg')


@pytest.mark.parametrize(
    ('given', 'classes', 'labels'),
    [
        ({}, ('dog', 'cat', 'cow'), [[0, 1], [1, 2]]),
        (dict(classes=('cow', 'dog')), ('cow', 'dog'), [[1], [0]]),
        (dict(classes=('a', 'b')), ('a', 'b'), [[0, 1], [0, 1]]),  # new names for both
    ],
)
def test_labels_of_mmengine_format_go_by_name(tmp_path, given, classes, labels):
    for name, names in dict(a=['dog', 'cat'], b=['cat', 'cow']).items():
        instances = [dict(bbox=[1, 1, 9, 9], bbox_label=label) for label in (0, 1)]
        record = dict(img_path=f'{name}.jpg', img_id=1, width=40, height=30, instances=instances)
        (tmp_path / f'{name}.json').write_text(json.dumps(dict(metainfo=dict(classes=names), data_list=[record])))
    dataset = BaseDetDataset(ann_file=['a.json', 'b.json'], data_root=str(tmp_path), metainfo=given)
    assert tuple(dataset.metainfo['classes']) == classes
    assert [dataset.get_cat_ids(i) for i in range(2)] == labels
    left_out = 4 - len(sum(labels, []))
    assert dataset.account().left_out == ({'unknown class': left_out} if left_out else {})


def test_voc(tmp_path):
    size = '<size><width>40</width><height>30</height></size>'
    for year, names in (('VOC2007', ('a', 'b')), ('VOC2012', ('a',))):
        (tmp_path / year / 'Annotations').mkdir(parents=True)
        (tmp_path / year / 'all.txt').write_text('\n'.join(names))
        for name in names:
            (tmp_path / year / 'Annotations' / f'{name}.xml').write_text(f'<annotation>{size}</annotation>')
    dataset = XMLDataset(
        ann_file=['VOC2007/all.txt', 'VOC2012/all.txt'],
        data_root=str(tmp_path),
        data_prefix=dict(sub_data_root=['VOC2007/', 'VOC2012/']),
        metainfo=DOG_CAT,
    )
    assert [dataset[i]['img_id'] for i in range(3)] == ['a', 'b', '1/a']
    assert dataset[2]['img_path'] == f'{tmp_path}/VOC2012/JPEGImages/a.jpg'


def write_release(root, names, rows='1,1,9,9,1,4,0,0\n'):
    for sub in ('images', 'annotations'):
        (root / sub).mkdir(parents=True)
    for name in names:
        cv2.imwrite(str(root / 'images' / f'{name}.jpg'), np.zeros((30, 40, 3), np.uint8))
        if rows is not None:
            (root / 'annotations' / f'{name}.txt').write_text(rows)


def samples_of(dataset):
    for index in range(len(dataset)):
        record = dataset.get_data_info(index)
        found = dict(bboxes=np.array([[1, 1, 10, 10.0]]), scores=np.ones(1), labels=np.array([3]))
        shape = record['height'], record['width']
        yield dict(
            img_id=record['img_id'], img_path=record['img_path'], ori_shape=shape, pred_instances=found, gt_instances={}
        )


def test_visdrone_folders(tmp_path):
    write_release(tmp_path / 'a', ['x', 'y'])
    write_release(tmp_path / 'b', ['z'])
    folders = ['a/annotations', 'b/annotations']
    dataset = VisDroneDataset(ann_file=folders, data_root=str(tmp_path), filter_cfg=dict(filter_empty_gt=True))
    assert [dataset[i]['img_id'] for i in range(3)] == [0, 1, 10] and dataset.account().boxes_used == 3
    assert dataset[2]['img_path'] == str(tmp_path / 'b' / 'images' / 'z.jpg')
    metric = VisDroneMetric(dataset.ann_file)
    metric.dataset_meta = dataset.metainfo
    metric.process(None, list(samples_of(dataset)))
    assert metric.evaluate(3)['visdrone/AP'] == 1
    write_release(tmp_path / 'c', ['z'])
    metric = VisDroneMetric([*dataset.ann_file, str(tmp_path / 'c' / 'annotations')])
    with pytest.raises(DataError, match=r'another folder has an annotation file of this name.*z\.txt'):
        metric.dataset_meta = dataset.metainfo
    with pytest.raises(ConfigError, match='files or folders, not both'):
        VisDroneMetric([dataset.ann_file[0], str(tmp_path / 'x.json')])


@pytest.mark.parametrize('given', ['empty folder', 'no ann_file'])
def test_visdrone_without_annotations(tmp_path, given):
    """The test-challenge set: pictures alone give result files for the server, and no training."""
    write_release(tmp_path, ['y', 'x'], rows=None)
    arguments = dict(ann_file='annotations', data_root=str(tmp_path))
    if given == 'no ann_file':
        arguments = dict(data_root=str(tmp_path), data_prefix=dict(img='images'))
    dataset = VisDroneDataset(test_mode=True, **arguments)
    assert [Path(dataset[i]['img_path']).name for i in range(2)] == ['x.jpg', 'y.jpg']
    assert dataset[0]['instances'] == [] and (dataset[0]['width'], dataset[0]['height']) == (40, 30)
    assert dataset.account().text().endswith('uses 2 of 2 images and 0 of 0 boxes')
    metric = VisDroneMetric(format_only=True, outfile_prefix=str(tmp_path / 'out'))
    metric.dataset_meta = dataset.metainfo
    metric.process(None, list(samples_of(dataset)))
    assert metric.evaluate(2) == {}
    assert (tmp_path / 'out_txt' / 'x.txt').read_text() == '1,1,9,9,1,4,-1,-1\n'
    assert sorted(path.name for path in (tmp_path / 'out_txt').iterdir()) == ['x.txt', 'y.txt']
    # The numbers of VisDrone's classes, whichever of them the model knows.
    metric = VisDroneMetric(format_only=True, outfile_prefix=str(tmp_path / 'cars'))
    metric.dataset_meta = dict(classes=('van', 'car'))
    metric.process(
        None,
        [
            {**each, 'pred_instances': {**each['pred_instances'], 'labels': np.array([1])}}
            for each in samples_of(dataset)
        ],
    )
    metric.evaluate(2)
    assert (tmp_path / 'cars_txt' / 'x.txt').read_text() == '1,1,9,9,1,4,-1,-1\n'
    with pytest.raises((DataError, ConfigError), match=r'holds no \.txt file|an annotation file is needed'):
        VisDroneDataset(**arguments)


def test_coco_without_annotations(tmp_path):
    """COCO's test-dev file has images and categories only."""
    (tmp_path / 'test.json').write_text(json.dumps(dict(images=[image(7)], categories=CATEGORIES[0])))
    path = str(tmp_path / 'test.json')
    dataset = CocoDataset(ann_file=path, metainfo=DOG_CAT, test_mode=True)
    assert len(dataset) == 1 and dataset.account().boxes == 0
    metric = CocoMetric(path, format_only=True, outfile_prefix=str(tmp_path / 'out'))
    metric.dataset_meta = dataset.metainfo
    found = dict(bboxes=np.array([[1, 1, 10, 10.0]]), scores=np.ones(1), labels=np.array([1]))
    metric.process(None, [dict(img_id=7, ori_shape=(30, 40), pred_instances=found)])
    assert metric.evaluate(1) == {}
    assert json.loads((tmp_path / 'out.bbox.json').read_text()) == [
        {'image_id': 7, 'category_id': 2, 'bbox': [1, 1, 9, 9], 'score': 1}
    ]
    with pytest.raises(DataError, match='a training needs this list'):
        CocoDataset(ann_file=path, metainfo=DOG_CAT)
    with pytest.raises(DataError, match='a training needs this list'):
        CocoDataset(ann_file=[path, path], metainfo=DOG_CAT)
    write_images(tmp_path, [(40, 30)])
    pictures = CocoDataset(metainfo=DOG_CAT, data_prefix={'img': str(tmp_path)}, test_mode=True)
    assert pictures[0]['img_path'].endswith('1.jpg')
