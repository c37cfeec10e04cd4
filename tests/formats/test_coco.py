"""Annotation files, result files and dumps: what is read back, and what is refused."""

import json
import os
import pickle

import numpy as np
import pytest
import torch

from mmdet.evaluation import load_coco_annotations, read_results
from mmdet.formats.coco import detections_from_rows, ground_truth_json, id_order, result_rows
from mmdet.utils import ConfigError, DataError
from mmdet.utils.files import write_json, write_pickle

IMAGE = dict(id=4, height=10, width=20)
CATEGORY = dict(id=2, name='car')
ANNOTATION = dict(id=1, image_id=4, category_id=2, bbox=[1, 2, 3, 4])


def annotations(**changes):
    return {**dict(images=[IMAGE], categories=[CATEGORY], annotations=[ANNOTATION]), **changes}


def load(tmp_path, content, classes=None):
    path = tmp_path / 'ann.json'
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return load_coco_annotations(str(path), classes)


def test_empty_file(tmp_path):
    found = load(tmp_path, annotations(images=[], annotations=[]))
    assert (found.image_ids, found.classes, found.category_ids, len(found.gt)) == ([], ('car',), [2], 0)


def test_columns(tmp_path):
    content = annotations(
        images=[IMAGE, dict(id='b'), dict(id=-1)],
        categories=[CATEGORY, dict(id=9, name='bus'), dict(id=1, name='van')],
        annotations=[
            ANNOTATION,
            dict(id='x', image_id='b', category_id=1, bbox=[0, 0, 2, 2], area=3, iscrowd=1),
            dict(ANNOTATION, id=2, category_id=9),
        ],
    )
    found = load(tmp_path, content, ['van', 'car'])
    assert found.image_ids == [-1, 4, 'b'] and found.image_sizes[1] == (10, 20)
    assert found.category_ids == [1, 2] and found.other_category_ids == {9}
    assert found.gt.image.tolist() == [1, 2] and found.gt.label.tolist() == [1, 0]
    assert found.gt.area.tolist() == [12, 3] and found.gt.crowd.tolist() == [False, True]


@pytest.mark.parametrize(
    'content, message',
    [
        ('{"images": [', 'line 1 column 13: broken JSON'),
        ('[]', 'the top level must be a JSON object. Received: '),
        (annotations(images=None), 'images: must be a list of objects'),
        (annotations(images=[IMAGE, IMAGE]), 'image 4: id: the id is used twice. Received: 4'),
        (annotations(images=[{}]), 'images[0]: id: is missing'),
        (annotations(categories=['car']), 'categories[0]: must be a JSON object'),
        (annotations(categories=[CATEGORY, dict(id=3, name='car')]), 'categories: two categories have this name'),
        (
            annotations(annotations=[dict(ANNOTATION, image_id=5)]),
            "annotation 1: image_id: no such id among 'images'. Received: 5",
        ),
        (
            annotations(annotations=[dict(ANNOTATION, category_id=0)]),
            "annotation 1: category_id: no such id among 'categories'. Received: 0",
        ),
        (
            annotations(annotations=[dict(ANNOTATION, bbox=[1, 2, 3])]),
            'annotation 1: bbox: must be four finite numbers',
        ),
        (
            annotations(annotations=[dict(ANNOTATION, bbox=[1, 2, 3, float('nan')])]),
            'annotation 1: bbox: must be four finite numbers',
        ),
        (annotations(annotations=[dict(ANNOTATION, area='big')]), 'annotation 1: area: must be a finite number'),
        (annotations(annotations=[dict(image_id=4, category_id=2)]), 'annotations[0]: bbox: is missing'),
        (annotations(annotations=[7]), 'annotations[0]: must be a JSON object'),
    ],
)
def test_broken_annotations_are_named(tmp_path, content, message):
    with pytest.raises(DataError) as error:
        load(tmp_path, content)
    assert str(error.value).startswith(str(tmp_path / 'ann.json')) and message in str(error.value)


def test_missing_file_and_classes(tmp_path):
    with pytest.raises(DataError, match='no such file'):
        load_coco_annotations(str(tmp_path / 'nowhere.json'))
    with pytest.raises(ConfigError, match="1 of the 2 class names.*'person'. The file has: 'car'"):
        load(tmp_path, annotations(), ('car', 'person'))
    with pytest.raises(ConfigError, match='no class'):
        load(tmp_path, annotations(categories=[], annotations=[]))


def test_result_rows_come_back(tmp_path):
    found = load(tmp_path, annotations(images=[dict(id=7), dict(id=3)], annotations=[]))
    rows = [
        dict(image_id=7, category_id=2, bbox=[1, 2, 3, 4], score=0.5),
        dict(image_id=3, category_id=2, bbox=[1, 2, 3, 5], score=0.5),
        dict(image_id=3, category_id=2, bbox=[0.1, 0.2, 0.3, 0.4], score=1),
    ]
    detections, left_out = detections_from_rows(rows, found, 'r.json')
    assert left_out == 0 and detections.image.tolist() == [1, 0, 0]
    assert result_rows(detections, found) == [rows[2], rows[1], rows[0]]
    assert len(detections_from_rows([], found, 'r.json')[0]) == 0


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(image_id=5), "results[0]: image_id: no such id among 'images' of"),
        (dict(category_id=0), "results[0]: category_id: no such id among 'categories' of"),
        (dict(score=None), 'score: must be a finite number'),
        (dict(score=float('nan')), 'score: must be a finite number'),
        (dict(bbox='1 2 3 4'), 'bbox: must be four finite numbers'),
    ],
)
def test_broken_results_are_named(tmp_path, change, message):
    found = load(tmp_path, annotations())
    with pytest.raises(DataError) as error:
        detections_from_rows(
            [dict(image_id=4, category_id=2, bbox=[0, 0, 1, 1], score=0.5, **{}) | change], found, 'r.json'
        )
    assert message in str(error.value)
    with pytest.raises(DataError, match='must be a list of objects'):
        detections_from_rows({}, found, 'r.json')


def test_results_of_categories_that_are_not_evaluated_are_counted(tmp_path):
    found = load(tmp_path, annotations(categories=[CATEGORY, dict(id=5, name='bus')]), ['car'])
    row = dict(image_id=4, bbox=[0, 0, 1, 1], score=0.5)
    detections, left_out = detections_from_rows([dict(row, category_id=5), dict(row, category_id=2)], found, 'r.json')
    assert (len(detections), left_out) == (1, 1)


def test_ground_truth_json_round_trip(tmp_path):
    found = load(tmp_path, annotations())
    again = load(tmp_path, ground_truth_json(found))
    assert again.image_sizes == found.image_sizes and again.gt.bbox.tolist() == found.gt.bbox.tolist()


def test_id_order():
    assert sorted(['b', 10, 'a', 9, 2.5], key=id_order) == [2.5, 9, 10, 'a', 'b']


def test_write_and_read(tmp_path):
    path = tmp_path / 'new' / 'dump.pkl'
    content = [
        dict(
            img_id=1,
            name='a',
            size=(3, 4),
            box=torch.rand(2, 4),
            half=torch.rand(3).half(),
            array=np.arange(3),
            number=np.float32(1),
        )
    ]
    write_pickle(path, content)
    (read,) = read_results(path)
    assert torch.equal(read['box'], content[0]['box']) and torch.equal(read['half'], content[0]['half'])
    assert read['array'].tolist() == [0, 1, 2] and read['number'] == 1 and read['size'] == (3, 4)
    write_json(tmp_path / 'a.json', [dict(id=np.int64(3))])
    assert read_results(tmp_path / 'a.json') == [dict(id=3)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.json', 'new']
    with pytest.raises(DataError, match='cannot be written as JSON'):
        write_json(tmp_path / 'a.json', [{1}])
    with pytest.raises(DataError, match='b.json: could not be written'):
        write_json(tmp_path / 'a.json' / 'b.json', [])


class Attack:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.filterwarnings('ignore:Detected pickle protocol')
def test_pickles_run_nothing(tmp_path):
    path, made = tmp_path / 'attack.pkl', tmp_path / 'made'
    path.write_bytes(pickle.dumps([Attack(str(made))]))
    with pytest.raises(DataError, match=r'neither plain data, array nor tensor. Received: .*mkdir'):
        read_results(path)

    # nested: the bytes of a tensor's storage are a pickle of their own
    class Nested:
        def __reduce__(self):
            return torch.storage._load_from_bytes, (pickle.dumps(Attack(str(made))),)

    path.write_bytes(pickle.dumps([Nested()]))
    with pytest.raises(DataError, match='Received: .a storage in another format'):
        read_results(path)
    assert not made.exists()


@pytest.mark.parametrize(
    'name, content, message',
    [
        ('a.txt', b'', 'must be a .json, .pkl or .pickle file'),
        ('a.pkl', b'', 'broken pickle'),
        ('a.pkl', pickle.dumps([1, 2])[:-3], 'broken pickle'),
        ('a.pkl', pickle.dumps({}), 'must hold a list'),
        ('a.json', b'[1', 'line 1 column 3: broken JSON'),
        ('a.json', b'\xff\xfe\xfd', 'broken JSON'),
    ],
)
def test_broken_dumps(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as error:
        read_results(tmp_path / name)
    assert name in str(error.value) and message in str(error.value)
    with pytest.raises(DataError, match='no such file'):
        read_results(tmp_path / f'missing{(tmp_path / name).suffix.replace("txt", "pkl")}')
