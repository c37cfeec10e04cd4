"""Several annotation files as one: ids, categories, ground truth, and the area of a box."""

import json

import numpy as np
import pytest

from mmdet.formats.coco import area_of, load_coco_annotations, read_coco, read_segmentations
from mmdet.formats.coco_api import COCO
from mmdet.formats.joined_files import distinct_ids, join_categories
from mmdet.utils import ConfigError, DataError


@pytest.mark.parametrize(
    ('groups', 'expected'),
    [
        ([], []),
        ([[], []], [[], []]),
        ([[1, 2], [3, 'x']], [[1, 2], [3, 'x']]),
        ([[1, 2], [2, 3]], [[1, 2], [12, 13]]),
        ([[0, 9], [0, 10], [5]], [[0, 9], [100, 110], [205]]),
        ([['a', 1], ['a']], [['a', 1], ['1/a']]),
        ([[-1], [-1]], [[-1], ['1/-1']]),
        ([['a', '1/a'], ['a']], [['a', '1/a'], ['1//a']]),
        ([[1], [1, '1']], [[1], ['1/1', "1/'1'"]]),
        ([[1, 1], [2]], [[1, 1], [2]]),  # listed twice in one file
        ([['a'], ['a', 'a']], [['a'], ['1/a', '1/a']]),
        ([[2**62], [2**62]], [[2**62], [f'1/{2**62}']]),
    ],
)
def test_distinct_ids(groups, expected):
    found = distinct_ids(groups)
    assert found == expected
    flat = [each for group in found for each in group]
    assert len(set(flat)) == sum(len(set(group)) for group in groups)


def test_categories_by_name():
    assert join_categories([]) == ([], [])
    joined, positions = join_categories(
        [
            [dict(id=1, name='car'), dict(id=2, name='bus', supercategory='vehicle')],
            [dict(id=2, name='car'), dict(id=1, name='van')],
            [dict(id='x', name='van')],
        ]
    )
    assert joined == [
        dict(id=1, name='car'), dict(id=2, name='bus', supercategory='vehicle'), dict(id=3, name='van'),
    ]  # fmt: skip
    assert [own.tolist() for own in positions] == [[0, 1], [0, 2], [2]]


def write(path, images, annotations, categories, **extra):
    categories = [dict(id=i, name=name) for i, name in categories]
    path.write_text(json.dumps(dict(images=images, annotations=annotations, categories=categories, **extra)))
    return str(path)


def picture(number, name, side=40):
    return dict(id=number, file_name=name, width=side, height=30)


def box(number, image, category, bbox=(1, 2, 3, 4), **extra):
    return dict(id=number, image_id=image, category_id=category, bbox=list(bbox), **extra)


@pytest.fixture
def files(tmp_path):
    square = [[0, 0, 3, 0, 3, 3]]
    return [
        write(
            tmp_path / 'a.json', [picture(1, 'x.jpg'), picture(2, 'y.jpg')], [box(1, 2, 1)], [(1, 'car'), (2, 'bus')]
        ),
        write(
            tmp_path / 'b.json',
            [picture(1, 'x.jpg', 50)],
            [box(1, 1, 1, (5, 5, 6, 6), segmentation=square), box(2, 1, 7, area=99, iscrowd=1)],
            [(1, 'bus'), (7, 'car')],
            ignored_regions=[dict(image_id=1, bbox=[0, 0, 2, 2])],
        ),
    ]


def test_read_as_one(files):
    table = read_coco(files)
    assert read_coco(files) is table and read_coco(files[:1]).image_ids == [1, 2]
    table = read_coco(files)
    assert table.source == ', '.join(files) and table.images_of_files == (2, 1)
    assert table.image_ids == [1, 2, 11] and table.file_names == ['x.jpg', 'y.jpg', 'x.jpg']
    assert table.category_names == ['car', 'bus'] and table.category_ids == [1, 2]
    assert table.image.tolist() == [1, 2, 2] and table.category.tolist() == [0, 1, 0]
    assert table.sizes_wh.tolist() == [[40, 30], [40, 30], [50, 30]]
    assert table.area.tolist() == [12, 36, 99] and table.crowd.tolist() == [False, False, True]
    assert table.ignored_regions.image.tolist() == [2] and len(table.others.image) == 0
    assert read_segmentations(files) == [None, [[0, 0, 3, 0, 3, 3]], None]
    with pytest.raises(ValueError, match='read-only'):
        table.bbox[0] = 0
    annotations = load_coco_annotations(files, ('bus', 'car'))
    assert annotations.image_ids == [1, 2, 11] and annotations.gt.label.tolist() == [1, 0, 1]
    assert annotations.category_ids == [2, 1]


def test_faults_name_their_file(files, tmp_path):
    broken = write(tmp_path / 'c.json', [picture(1, 'z.jpg')], [box(1, 5, 1)], [(1, 'car')])
    with pytest.raises(DataError, match=r'c\.json: annotation 1: image_id'):
        read_coco([*files, broken])
    with pytest.raises(ConfigError, match=r"1 of the 1 class names are not in the file: 'van'"):
        load_coco_annotations(files, ('van',))
    with pytest.raises(ConfigError, match='ann_file: must be a file, or a list of at least one'):
        read_coco([])


AREAS = [
    ({}, 12), ({'area': None}, 12), ({'area': 0}, 12), ({'area': 0.0}, 12), ({'area': -5}, 12), ({'area': ''}, 12),
    ({'area': '0'}, 12), ({'area': '7.5'}, 7.5), ({'area': 7}, 7), ({'area': 1e-9}, 1e-9),
    ({'area': 0, 'segmentation': [[0, 0, 0, 0, 0, 0]]}, 12),
]  # fmt: skip


@pytest.mark.parametrize(('extra', 'area'), AREAS)
def test_area(tmp_path, extra, area):
    """One rule for data sets, metrics and pycocotools' class."""
    path = write(tmp_path / 'a.json', [picture(1, 'x.jpg')], [box(1, 1, 1, **extra)], [(1, 'car')])
    assert read_coco(path).area.tolist() == [area] == load_coco_annotations(path).gt.area.tolist()
    assert COCO(path).anns[1]['area'] == area == area_of(box(1, 1, 1, **extra))
    counted = read_coco(path).notes.get('boxes with an area of 0 or less (that of the box is taken)', 0)
    assert counted == (str(extra.get('area')) in ('0', '0.0', '-5'))


@pytest.mark.parametrize('area', ['big', 'nan', '1_0', True, [], float('inf')])
def test_wrong_areas(tmp_path, area):
    path = write(tmp_path / 'a.json', [picture(1, 'x.jpg')], [box(5, 1, 1, area=area)], [(1, 'car')])
    with pytest.raises(DataError, match=r'annotation 5: area: must be a finite number\. Received'):
        read_coco(path)


def test_area_ranges_of_the_metric(tmp_path):
    """A box of 10 x 10 is a small object although the file says 0."""
    from mmdet.evaluation import CocoMetric

    path = write(tmp_path / 'a.json', [picture(1, 'x.jpg')], [box(1, 1, 1, (1, 1, 10, 10), area=0)], [(1, 'car')])
    metric = CocoMetric(path)
    metric.dataset_meta = dict(classes=('car',))
    found = dict(bboxes=np.array([[1, 1, 11, 11.0]]), scores=np.ones(1), labels=np.zeros(1, int))
    metric.process(None, [dict(img_id=1, ori_shape=(30, 40), pred_instances=found)])
    result = metric.evaluate(1)
    assert [result[f'coco/bbox_mAP{end}'] for end in ('', '_s', '_m', '_l')] == [1, 1, -1, -1]
