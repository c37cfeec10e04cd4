"""COCO JSON: labels by name, the annotation rules, and what is said about every kind of broken file."""

import json
from pathlib import Path

import numpy as np
import pytest

from mmdet.datasets import CocoDataset
from mmdet.datasets.api_wrappers import COCO, COCOeval
from mmdet.datasets.coco import make_records, usable_boxes
from mmdet.registry import DATASETS
from mmdet.utils import ConfigError, DataError

from .coco_files import CATEGORIES, box, image, write_document, write_images

DOG_CAT = {'classes': ('dog', 'cat')}


def build(path, metainfo=DOG_CAT, **options) -> CocoDataset:
    return CocoDataset(ann_file=str(path), metainfo=metainfo, data_prefix={'img': 'images'}, **options)


def test_image_without_annotations(tmp_path):
    dataset = build(write_document(tmp_path, [image(1)], []))
    assert len(dataset) == 1
    assert dataset[0] == {
        'img_path': 'images/1.jpg', 'img_id': 1, 'height': 30, 'width': 40, 'instances': [], 'sample_idx': 0,
    }  # fmt: skip


def test_records_and_labels_follow_the_class_tuple(tmp_path):
    path = write_document(
        tmp_path,
        [image(5), image(2, 100, 50)],
        [
            box(1, 2, (1, 2, 30, 40), 3),
            box(2, 5, (0, 0, 4, 4), 1),
            box(3, 2, (5.5, 6, 7, 8), 1, iscrowd=1),
            box(4, 2, category_id=7),
        ],
    )
    dataset = build(path)
    assert (
        dataset.cat_ids == [1, 3] and dataset.cat2label == {1: 0, 3: 1} and dataset.cat_img_map == {1: [5, 2], 3: [2]}
    )
    assert dataset.get_data_info(1)['instances'] == [
        {'bbox': [1, 2, 31, 42], 'bbox_label': 1, 'ignore_flag': 0},
        {'bbox': [5.5, 6, 12.5, 14], 'bbox_label': 0, 'ignore_flag': 1},
    ]
    assert dataset.get_cat_ids(1) == [1, 0] and dataset.get_cat_ids(0) == [0]
    assert dataset.get_sizes_wh().tolist() == [[40, 30], [100, 50]]
    # The other order of names gives the other labels.
    swapped = build(path, {'classes': ('cat', 'dog')})
    assert swapped.get_cat_ids(1) == [0, 1] and swapped.metainfo['classes'] == ('cat', 'dog')
    unpacked = build(path, serialize_data=False)
    assert [unpacked.get_data_info(i) for i in range(2)] == [dataset.get_data_info(i) for i in range(2)]


@pytest.mark.parametrize(
    ('bbox', 'extra', 'kept'),
    [
        ((0, 0, 1, 1), {}, True),
        ((0, 0, 0.9, 5), {}, False),
        ((0, 0, 5, 0.9), {}, False),
        ((3, 3, -5, 5), {'area': 20}, False),
        ((0, 0, 5, 5), {'area': 0}, True),
        ((0, 0, 5, 5), {'area': 12.5}, True),
        ((0, 0, 5, 5), {'ignore': 1}, False),
        ((0, 0, 5, 5), {'ignore': 0}, True),
        ((40, 0, 5, 5), {}, False),
        ((39.5, 29.5, 5, 5), {}, True),
        ((0, 30, 5, 5), {}, False),
        ((-5, 0, 5, 5), {}, False),
        ((-4, 0, 5, 5), {}, True),
    ],
)
def test_annotation_rules(tmp_path, bbox, extra, kept):
    dataset = build(write_document(tmp_path, [image(1)], [box(1, 1, bbox, **extra)]))
    assert len(dataset[0]['instances']) == kept


def test_border_margin(tmp_path):
    path = write_document(
        tmp_path, [image(1)], [box(1, 1, (30, 0, 5, 5)), box(2, 1, (31, 0, 5, 5)), box(3, 1, (0, 21, 5, 5))]
    )
    assert len(build(path)[0]['instances']) == 3
    assert [i['bbox'][0] for i in build(path, border_margin=10)[0]['instances']] == [30]


def test_filter(tmp_path):
    path = write_document(
        tmp_path,
        [image(1, 64, 64), image(2, 64, 64), image(3, 64, 31), image(4, 64, 64), image(5, 64, 32)],
        [box(1, 1), box(2, 3), box(3, 4, category_id=7), box(4, 5, iscrowd=1)],
    )
    chosen = {'filter_cfg': {'filter_empty_gt': True, 'min_size': 32}}
    ids = lambda dataset: [dataset.get_data_info(i)['img_id'] for i in range(len(dataset))]  # noqa: E731
    assert ids(build(path)) == [1, 2, 3, 4, 5]
    assert ids(build(path, **chosen)) == [1, 5]
    assert ids(build(path, filter_cfg={'filter_empty_gt': False, 'min_size': 32})) == [1, 2, 4, 5]
    assert ids(build(path, test_mode=True, **chosen)) == [1, 2, 3, 4, 5]
    with pytest.raises(ConfigError, match='min_size'):
        build(path, filter_cfg={'minimum': 3})
    with pytest.raises(
        DataError, match=r'none of the 5 images.*3 with a side below 100 pixels; 2 without an annotation.*dog'
    ):
        build(path, filter_cfg={'filter_empty_gt': True, 'min_size': 100})


def test_indices_and_subsets(tmp_path):
    path = write_document(tmp_path, [image(i, 40 + i) for i in range(1, 7)], [])
    ids = lambda dataset: [dataset.get_data_info(i)['img_id'] for i in range(len(dataset))]  # noqa: E731
    for serialize in (True, False):
        assert ids(build(path, indices=2, serialize_data=serialize)) == [1, 2]
        assert ids(build(path, indices=-2, serialize_data=serialize)) == [5, 6]
        assert ids(build(path, indices=[4, -6], serialize_data=serialize)) == [5, 1]
        dataset = build(path, serialize_data=serialize)
        subset = dataset.get_subset([1, 3])
        assert ids(subset) == [2, 4] and subset.get_sizes_wh()[:, 0].tolist() == [42, 44]
        assert ids(dataset) == [1, 2, 3, 4, 5, 6]
        dataset.get_subset_(-1)
        assert ids(dataset) == [6] and dataset.get_sizes_wh().tolist() == [[46, 30]]
    with pytest.raises(ConfigError, match='within the 6 images'):
        build(path, indices=[7])
    with pytest.raises(DataError, match='selects none'):
        build(path, indices=0)


@pytest.mark.parametrize(
    ('metainfo', 'message'),
    [
        (None, r'79 of the 80 class names.*person.*The file has: .cat., .dog., .bird.'),
        (
            {'classes': ('dog', 'dgo', 'horse')},
            r"2 of the 3 class names.*'dgo', 'horse'.*The file has: 'cat', 'dog', 'bird'",
        ),
        ({'classes': 'dog'}, r"comma: \('name',\).*Received: 'dog'"),
        ({'classes': ()}, 'at least one'),
        ({'classes': ('dog', 'dog')}, 'different'),
        ({'classes': ('dog', 3)}, 'different strings'),
        ({'CLASSES': ('dog',)}, 'lower case'),
    ],
)
def test_wrong_class_names(tmp_path, metainfo, message):
    if metainfo is None:
        message = message.replace('79', '77')
    path = write_document(tmp_path, [image(1)], [])
    with pytest.raises(ConfigError, match=message):
        build(path, metainfo)


def test_missing_classes_on_request(tmp_path):
    path = write_document(tmp_path, [image(1)], [box(1, 1)])
    dataset = build(path, {'classes': ('horse', 'dog')}, allow_missing_classes=True)
    assert dataset.get_cat_ids(0) == [1] and dataset.cat_ids == [1]
    with pytest.raises(ConfigError, match='2 of the 2'):
        build(path, {'classes': ('horse', 'cow')}, allow_missing_classes=True)


def test_classes_from_a_file_and_palette(tmp_path):
    path = write_document(tmp_path, [image(1)], [])
    (tmp_path / 'names.txt').write_text('dog\ncat\n')
    meta = build(path, {'classes': str(tmp_path / 'names.txt')}).metainfo
    assert meta['classes'] == ('dog', 'cat')
    known = dict(zip(CocoDataset.METAINFO['classes'], CocoDataset.METAINFO['palette'], strict=True))
    assert meta['palette'] == [known['dog'], known['cat']]
    assert build(path, {'classes': ['bird'], 'palette': [(1, 2, 3)]}).metainfo['palette'] == [(1, 2, 3)]
    assert len(set(known.values())) == 80


GOOD = ([image(1), image(2)], [box(10, 1), box(11, 2)])


@pytest.mark.parametrize(
    ('annotation', 'message'),
    [
        ({'bbox': [1, 2, 3]}, r'annotation 12: bbox: must be four finite numbers.*\[1, 2, 3\]'),
        ({'bbox': [1, 2, 3, 4, 5]}, 'annotation 12: bbox'),
        ({'bbox': [1, 2, float('nan'), 4]}, 'annotation 12: bbox.*nan'),
        ({'bbox': [1, 2, float('inf'), 4]}, 'annotation 12: bbox'),
        ({'bbox': ['1', 2, 3, 4]}, 'annotation 12: bbox'),
        ({'bbox': [1, 2, None, 4]}, 'annotation 12: bbox'),
        ({'bbox': 'box'}, 'annotation 12: bbox'),
        ({'image_id': 99}, "annotation 12: image_id: no such id among 'images'.*99"),
        ({'image_id': [1]}, 'annotation 12: image_id'),
        ({'category_id': None}, 'annotation 12: category_id'),
        ({'area': 'big'}, 'annotation 12: area'),
        ({'area': True}, 'annotation 12: area'),
    ],
)
def test_broken_annotation_is_named(tmp_path, annotation, message):
    path = write_document(tmp_path, GOOD[0], [*GOOD[1], {**box(12, 1), **annotation}])
    with pytest.raises(DataError, match=r'annotations\.json: ' + message):
        build(path)


@pytest.mark.parametrize('key', ['image_id', 'category_id', 'bbox'])
def test_missing_annotation_key(tmp_path, key):
    annotation = box(12, 1)
    del annotation[key], annotation['id']
    with pytest.raises(DataError, match=rf'annotations\[2\]: {key}: is missing'):
        build(write_document(tmp_path, GOOD[0], [*GOOD[1], annotation]))


@pytest.mark.parametrize(
    ('images', 'message'),
    [
        ([image(1), image(1)], 'image 1: id: the id is used twice. Received: 1'),
        (
            [{'id': 3, 'file_name': 'a.jpg', 'width': 4}],
            'image 3: the file lacks its width or height, and its image cannot be read',
        ),
        ([{**image(3), 'width': 0}], 'image 3'),
        ([{**image(3), 'height': 'x'}], 'image 3'),
        ([{**image(3), 'height': float('nan')}], 'image 3'),
        ([{**image(3), 'file_name': None}], 'image 3'),
        ([{'file_name': 'a.jpg', 'width': 4, 'height': 4}], r'images\[0\]'),
        ([], 'hold no image'),
        (['x'], r"images\[0\]: must be a JSON object. Received: 'x'"),
    ],
)
def test_broken_images(tmp_path, images, message):
    with pytest.raises(DataError, match=message):
        build(write_document(tmp_path, images, []))


@pytest.mark.parametrize(
    'categories',
    [[*CATEGORIES, {'id': 1, 'name': 'cow'}], [*CATEGORIES, {'id': 9, 'name': 'cat'}], [{'id': 1}], [{'name': 'dog'}]],
)
def test_broken_categories(tmp_path, categories):
    with pytest.raises(DataError, match='categories'):
        build(write_document(tmp_path, [image(1)], [], categories))


def test_sizes_that_the_file_lacks_are_read_from_the_images(tmp_path):
    (tmp_path / 'images').mkdir()
    entries = write_images(tmp_path / 'images', [(50, 20), (60, 10)])
    del entries[0]['width'], entries[1]['height']
    path = write_document(tmp_path, entries, [box(1, 1, (45, 2, 10, 10))])
    dataset = CocoDataset(ann_file=path, metainfo=DOG_CAT, data_prefix={'img': str(tmp_path / 'images')})
    assert dataset.get_sizes_wh().tolist() == [[50, 20], [60, 10]] and len(dataset[0]['instances']) == 1


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('{"images": [', 'broken JSON.*'),
        ('', 'broken JSON'),
        ('[]', 'top level must be a JSON object.*list'),
        ('{"annotations": [], "categories": []}', "images: must be a list of objects. Received: 'nothing'"),
        ('{"images": [], "categories": []}', 'annotations'),
        ('{"images": [], "annotations": []}', 'categories'),
        ('{"images": {}, "annotations": [], "categories": []}', 'images.*dict'),
    ],
)
def test_broken_documents(tmp_path, text, message):
    path = tmp_path / 'broken.json'
    path.write_text(text)
    with pytest.raises(DataError, match=r'broken\.json.*' + message):
        build(path)


def test_broken_json_says_where(tmp_path):
    path = tmp_path / 'broken.json'
    path.write_text('{"images": [],\n"annotations": [{"segmentation": [[1, 2, 3]], "bbox" 3}]}')
    with pytest.raises(DataError, match='line 2 column 54'):
        build(path)


def test_binary_missing_and_unnamed_files(tmp_path):
    (tmp_path / 'binary.json').write_bytes(b'\xff\xfe\x00\x80' * 10)
    with pytest.raises(DataError, match='binary.json'):
        build(tmp_path / 'binary.json')
    with pytest.raises(DataError, match=r'nowhere\.json: no such file'):
        build(tmp_path / 'nowhere.json')
    with pytest.raises(DataError):
        build(tmp_path)
    with pytest.raises(ConfigError, match='ann_file'):
        CocoDataset()


def test_polygons_are_dropped_before_parsing_and_only_they(tmp_path):
    tricky = '"segmentation": [[1,2]], '
    path = write_document(
        tmp_path,
        [{**image(1), 'caption': tricky}],
        [
            box(1, 1, segmentation=[[1.5, 2, 3e-5], [-4, 5]]),
            box(2, 1, (1, 1, 9, 9), segmentation={'counts': [1, 2], 'size': [3, 4]}, iscrowd=1),
            {**box(3, 1, (2, 2, 9, 9)), 'segmentation': []},
        ],
    )
    assert [i['bbox'] for i in build(path)[0]['instances']] == [[2, 3, 12, 11], [1, 1, 10, 10], [2, 2, 11, 11]]


def test_test_images_without_annotations(tmp_path):
    path = tmp_path / 'info.json'
    path.write_text(json.dumps({'images': [image(1)], 'categories': CATEGORIES}))
    assert len(build(path, test_mode=True)) == 1


def test_lazy_init_and_registry(tmp_path):
    dataset = build(tmp_path / 'nowhere.json', lazy_init=True)
    assert dataset.metainfo['classes'] == ('dog', 'cat')
    path = write_document(tmp_path, [image(1)], [box(1, 1)])
    cfg = {
        'type': 'CocoDataset',
        'data_root': str(tmp_path),
        'ann_file': Path(path).name,
        'metainfo': DOG_CAT,
        'return_classes': True,
    }
    built = DATASETS.build(cfg)
    record = built.get_data_info(0)
    assert record['img_path'] == str(tmp_path / '1.jpg') and record['text'] == ('dog', 'cat')
    with pytest.raises(ConfigError, match='proposal_file'):
        DATASETS.build({**cfg, 'proposal_file': 'x.pkl'})


def test_boxes_of_an_image_keep_the_order_of_the_file(tmp_path):
    """Sixty boxes of two images in turn: more than a sort that happens to be stable for short lists would keep."""
    boxes = [box(k, 1 + k % 2, (k / 2, 1, 5, 5)) for k in range(60)]
    dataset = build(write_document(tmp_path, [image(2), image(1)], boxes))
    for position, first in ((0, 1), (1, 0)):
        lefts = [instance['bbox'][0] for instance in dataset[position]['instances']]
        assert lefts == [k / 2 for k in range(first, 60, 2)]


def test_sizes_and_boxes_of_a_record_belong_together():
    made = make_records(
        paths=['a', 'b', 'c'],
        image_ids=['x', 'y', 'z'],
        sizes_wh=np.array([[1, 2], [3, 4], [5, 6]]),
        rows=np.array([2, 0, 2]),
        bboxes_xywh=np.array([[1.0, 2, 3, 4], [5, 6, 7, 8], [0, 0, 1, 2]]),
        labels=np.array([4, 5, 6]),
        ignore=np.array([False, True, False]),
    )
    assert [(r['img_path'], r['img_id'], r['width'], r['height']) for r in made] == [
        ('a', 'x', 1, 2), ('b', 'y', 3, 4), ('c', 'z', 5, 6),
    ]  # fmt: skip
    assert made[1]['instances'] == []
    assert made[0]['instances'] == [{'bbox': [5, 6, 12, 14], 'bbox_label': 5, 'ignore_flag': 1}]
    assert [i['bbox'] for i in made[2]['instances']] == [[1, 2, 4, 6], [0, 0, 1, 2]]


@pytest.mark.parametrize(
    ('bbox', 'margin', 'usable'),
    [
        ((0, 0, 1, 1), None, True),
        ((0, 0, 0.99, 1), None, False),
        ((0, 0, 1, 0.99), None, False),
        ((-3, -3, 3, 5), None, False),  # touches the left edge only
        ((-3, -3, 5, 3), None, False),
        ((-3, -3, 3.5, 3.5), None, True),
        ((100, 0, 5, 5), None, False),
        ((0, 50, 5, 5), None, False),
        ((99.5, 49.5, 5, 5), None, True),
        ((90, 40, 5, 5), 10, True),
        ((90.5, 0, 5, 5), 10, False),
        ((0, 40.5, 5, 5), 10, False),
    ],
)
def test_usable_boxes(bbox, margin, usable):
    assert usable_boxes(np.array([bbox], dtype=float), np.array([[100, 50]]), margin).tolist() == [usable]


def test_masks_come_along_when_the_pipeline_loads_them(tmp_path):
    square, runs = [[1, 1, 4, 1, 4, 4, 1, 4]], {'size': [30, 40], 'counts': [5, 10, 1185]}
    annotations = [
        box(1, 2, segmentation=square),
        box(2, 1, category_id=7, segmentation=square),  # not among the classes
        box(3, 1, segmentation=runs, iscrowd=1),
        box(4, 2, segmentation=[]),
        box(5, 1, category_id=3, segmentation=[[0, 0, 3, 0, 3, 3]]),
    ]
    path = write_document(tmp_path, [image(1), image(2), image(3)], annotations)
    load = dict(type='LoadAnnotations', with_mask=True)
    for pipeline in ([load], [dict(type='RandomApply', transforms=[load], prob=1.0)]):
        dataset = build(path, pipeline=pipeline)
        masks = [[item.get('mask') for item in dataset.get_data_info(i)['instances']] for i in range(3)]
        assert masks == [[runs, [[0, 0, 3, 0, 3, 3]]], [square, None], []]
    assert dataset[0]['gt_masks'].areas.tolist() == [10, 3] and dataset[0]['gt_ignore_flags'].tolist() == [True, False]
    with pytest.raises(DataError, match='object 1: mask'):
        dataset[1]
    assert 'mask' not in build(path, pipeline=[dict(type='LoadAnnotations')]).get_data_info(0)['instances'][0]


def test_annotation_ids_occur_once(tmp_path):
    path = write_document(tmp_path, [image(1)], [box(3, 1), box(3, 1, (2, 2, 5, 5))])
    for error in (DataError, AssertionError):
        with pytest.raises(error, match='annotation 3: id: .* are not unique!'):
            build(path)

    class Repeated(CocoDataset):
        ANN_ID_UNIQUE = False

    assert len(Repeated(ann_file=str(path), metainfo=DOG_CAT)[0]['instances']) == 2


class Raw(CocoDataset):
    """A data set of a plug-in: it adds to the records of the base, and leaves an image out."""

    METAINFO = {'classes': ('dog', 'cat')}

    def parse_data_info(self, raw_data_info):
        assert set(self.coco.anns) == {1, 2, 3, 4}
        record = super().parse_data_info(raw_data_info)
        record['tag'] = raw_data_info['raw_img_info']['tag']
        return {'drop': None, 'twice': [record, dict(record)]}.get(record['tag'], record)


def test_a_subclass_that_parses_records(tmp_path):
    images = [{**image(5), 'tag': 'x'}, {**image(2, 100, 50), 'tag': 'twice'}, {**image(7), 'tag': 'drop'}]
    polygon = [[1, 2, 31, 2, 31, 42]]
    annotations = [
        box(1, 2, (1, 2, 30, 40), 3, segmentation=polygon),
        box(2, 5, (0, 0, 4, 4), 1),
        box(3, 2, (5.5, 6, 7, 8), 1, iscrowd=1),
        box(4, 2, (0, 0, 5, 5), 1, ignore=1),
    ]
    path = write_document(tmp_path, images, annotations)
    plain = build(path)
    dataset = Raw(ann_file=str(path), data_prefix={'img': 'images'}, return_classes=True)
    assert [dataset.get_data_info(i)['tag'] for i in range(len(dataset))] == ['x', 'twice', 'twice']
    assert (dataset.cat_ids, dataset.cat2label, dataset.cat_img_map) == (
        plain.cat_ids,
        plain.cat2label,
        plain.cat_img_map,
    )
    assert not hasattr(dataset, 'coco') and dataset.get_cat_ids(1) == [1, 0]
    ours, theirs = plain.get_data_info(1), dataset.get_data_info(1)
    assert theirs['instances'][0].pop('mask') == polygon
    assert theirs == {**ours, 'tag': 'twice', 'text': ('dog', 'cat'), 'custom_entities': True}
    path = write_document(tmp_path, images, [*annotations, box(4, 2)])
    with pytest.raises(AssertionError, match='not unique'):
        Raw(ann_file=str(path))


def test_the_api_of_pycocotools(tmp_path):
    path = write_document(tmp_path, [image(1), image(2)], [box(1, 2, category_id=3), box(2, 2), box(3, 1)])
    coco = CocoDataset.COCOAPI(str(path))
    assert CocoDataset.COCOAPI is COCO and issubclass(COCOeval, object)
    assert (
        coco.get_img_ids() == [1, 2] and coco.get_ann_ids(img_ids=2) == [1, 2] and coco.get_ann_ids(cat_ids=[3]) == [1]
    )
    names = {category['name']: category['id'] for category in CATEGORIES}
    assert coco.get_cat_ids(cat_names=['dog']) == [names['dog']]
    assert coco.load_imgs([2])[0]['id'] == 2 and coco.load_anns(3)[0]['image_id'] == 1
    assert coco.load_cats([1])[0]['name'] == {v: k for k, v in names.items()}[1]
    assert [row['id'] for row in coco.img_ann_map[2]] == [1, 2] and coco.cat_img_map[3] == [2]
    assert COCO().get_img_ids() == []


def test_arguments_of_mmdetection(tmp_path):
    path = write_document(tmp_path, [image(1)], [])
    dataset = build(
        path, seg_map_suffix='.jpg', proposal_file=None, file_client_args=dict(backend='local'), caption_prompt=None
    )
    assert dataset.seg_map_suffix == '.jpg' and dataset.backend_args == dict(backend='local')
