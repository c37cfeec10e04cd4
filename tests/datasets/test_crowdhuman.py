"""CrowdHuman as it is released: lines of JSON, boxes of three kinds, regions to ignore."""

import json

import numpy as np
import pytest

from mmdet.datasets import CrowdHumanDataset
from mmdet.errors import DataError
from mmdet.formats.images import BrokenImageError
from mmdet.registry import DATASETS

cv2 = pytest.importorskip('cv2')


def box(tag='person', fbox=(1, 2, 10, 20), extra=None, **more):
    return dict(tag=tag, fbox=list(fbox), extra=extra or {}, **more)


def write(root, rows, sizes=None, name='annotation_train.odgt'):
    (root / 'Images').mkdir(exist_ok=True)
    (root / name).write_text('\n'.join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    if sizes is not None:
        (root / 'id_hw_train.json').write_text(json.dumps(sizes))
    return dict(data_root=str(root), ann_file=name, data_prefix=dict(img='Images'), pipeline=[])


ROWS = [
    dict(ID='c,3', gtboxes=[]),
    dict(
        ID='a,1',
        gtboxes=[
            box(fbox=(-5, 2, 20, 30), vbox=[0, 2, 15, 30], hbox=[1, 2, 5, 5], extra=dict(box_id=0, occ=1)),
            box('mask', (10, 10, 20, 20), dict(ignore=1)),
            box(fbox=(30, 5, 10, 10), extra=dict(ignore=1)),
            box('mask', (5, 5, 6, 6)),
        ],
    ),
]


def test_records(tmp_path):
    """These are the records of mmdetection 3.3.0."""
    dataset = CrowdHumanDataset(**write(tmp_path, ROWS, {'a,1': [50, 60], 'c,3': [40, 30]}))
    assert dataset.metainfo == dict(classes=('person',), palette=[(220, 20, 60)])
    assert DATASETS.get('CrowdHumanDataset') is CrowdHumanDataset
    empty, record = (dataset.get_data_info(index) for index in range(len(dataset)))
    assert (empty['img_id'], empty['height'], empty['width'], empty['instances']) == ('c,3', 40, 30, [])
    assert record['img_path'] == str(tmp_path / 'Images' / 'a,1.jpg')
    found = [(item['bbox'], item['bbox_label'], item['ignore_flag']) for item in record['instances']]
    expected = [([-5, 2, 15, 32], 0, 0), ([10, 10, 30, 30], -1, 1), ([30, 5, 40, 15], -1, 1), ([5, 5, 11, 11], -1, 1)]
    assert found == expected
    first = record['instances'][0]
    assert (first['hbox'], first['vbox'], first['fbox']) == ([1, 2, 6, 7], [0, 2, 15, 32], first['bbox'])
    assert [dataset.get_cat_ids(index) for index in range(2)] == [[], [0]]


def test_pipeline_keeps_the_regions_apart(tmp_path):
    options = write(tmp_path, ROWS, {'a,1': [50, 60], 'c,3': [40, 30]})
    for name, (height, width) in {'a,1': (50, 60), 'c,3': (40, 30)}.items():
        cv2.imwrite(str(tmp_path / 'Images' / f'{name}.jpg'), np.zeros((height, width, 3), np.uint8))
    options['pipeline'] = [dict(type=name) for name in ('LoadImageFromFile', 'LoadAnnotations', 'PackDetInputs')]
    sample = CrowdHumanDataset(**options)[1]['data_samples']
    assert sample.gt_instances.labels.tolist() == [0]
    assert sample.ignored_instances.bboxes.tolist() == [[10, 10, 30, 30], [30, 5, 40, 15], [5, 5, 11, 11]]


def test_sizes_of_the_images(tmp_path):
    """From the file that is named or beside, else from the headers; nothing is written."""
    options = write(tmp_path, [dict(ID='x', gtboxes=[box()])])
    cv2.imwrite(str(tmp_path / 'Images' / 'x.jpg'), np.zeros((7, 9, 3), np.uint8))
    before = sorted(path.name for path in tmp_path.rglob('*'))
    assert CrowdHumanDataset(**options).get_sizes_wh().tolist() == [[9, 7]]
    assert sorted(path.name for path in tmp_path.rglob('*')) == before
    (tmp_path / 'sizes.json').write_text('{"x": [3, 4]}')
    for name in ('sizes.json', str(tmp_path / 'sizes.json')):
        assert CrowdHumanDataset(**options, extra_ann_file=name).get_sizes_wh().tolist() == [[4, 3]]


@pytest.mark.parametrize(
    ('rows', 'sizes', 'text'),
    [
        ([], None, 'names no image'),
        (['{"ID": "x", '], None, 'line 1: broken JSON'),
        (['[1]'], None, 'line 1: ID'),
        ([dict(ID='../x', gtboxes=[])], None, 'line 1: ID'),
        ([dict(ID='x', gtboxes=[]), '', dict(ID='x', gtboxes=[])], None, 'line 3: ID: two lines'),
        ([dict(ID='x')], None, 'line 1: gtboxes'),
        ([dict(ID='x', gtboxes=[box(), dict(fbox=[0, 0, 1, 1])])], None, r'line 1 \(x\): box 2: tag'),
        ([dict(ID='x', gtboxes=[dict(tag='person')])], None, r'box 1: fbox'),
        ([dict(ID='x', gtboxes=[box(fbox=(0, 0, float('nan'), 1))])], None, r'box 1: fbox'),
        ([dict(ID='x', gtboxes=[box(hbox=[1])])], None, r'box 1: hbox'),
        ([dict(ID='x', gtboxes=[box(extra=[1])])], None, r'box 1: extra'),
        ([dict(ID='x', gtboxes=[box()])], {'y': [1, 2]}, 'sizes of images are missing'),
        ([dict(ID='x', gtboxes=[box()])], {'x': [1, 0]}, 'x: must be'),
    ],
)
def test_broken_files(tmp_path, rows, sizes, text):
    with pytest.raises(DataError, match=text):
        CrowdHumanDataset(**write(tmp_path, rows, sizes))


def test_missing_files(tmp_path):
    options = write(tmp_path, [dict(ID='x', gtboxes=[box()])])
    with pytest.raises(BrokenImageError, match=r'x\.jpg'):
        CrowdHumanDataset(**options)
    for more in (dict(extra_ann_file='none.json'), dict(ann_file='none.odgt')):
        with pytest.raises(DataError, match='none'):
            CrowdHumanDataset(**{**options, **more})
