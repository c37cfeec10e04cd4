"""Every odd file is judged alike by all that read its format: accepted with the same boxes, or refused with the same words."""

import json

import cv2
import numpy as np
import pytest
import torch

from mmdet.analysis.error_analysis import analyze_error_files
from mmdet.datasets import CocoDataset, VisDroneDataset
from mmdet.datasets.converters import MosaicBuilder, MosaicOptions, convert_visdrone, results_to_txt, txt_to_results
from mmdet.evaluation import (
    CocoMetric,
    DumpDetResults,
    VisDroneMetric,
    evaluate_results,
    load_coco_annotations,
    read_folders,
)
from mmdet.utils import DataError, MMDetError

CLASSES = ('car', 'bus')
IMAGE = dict(id=1, file_name='a.jpg', width=40, height=30)
CAR, BUS = dict(id=3, name='car'), dict(id=8, name='bus')
BOX = dict(id=5, image_id=1, category_id=3, bbox=[1, 2, 3, 4])
SAME = [(0, [1, 2, 3, 4], 0)]  # label, xywh, ignored


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'images').mkdir()
    cv2.imwrite(str(tmp_path / 'images' / 'a.jpg'), np.zeros((30, 40, 3), np.uint8))
    (tmp_path / 'txt').mkdir()
    (tmp_path / 'txt' / 'a.txt').write_text('')
    (tmp_path / 'empty.json').write_text('[]')
    return tmp_path


# ---- COCO: what each reader makes of a file, as rows (label, xywh, ignored), or None where it does not tell


def by_dataset(folder, path, **options):
    dataset = CocoDataset(
        ann_file=path, metainfo=dict(classes=CLASSES), data_prefix=dict(img=str(folder / 'images')), **options
    )
    assert dataset.get_sizes_wh().tolist() == [[40, 30]]
    rows = dataset.get_data_info(0)['instances']
    corners = [[*row['bbox'][:2], row['bbox'][2] - row['bbox'][0], row['bbox'][3] - row['bbox'][1]] for row in rows]
    return [(row['bbox_label'], box, row['ignore_flag']) for row, box in zip(rows, corners)]


def by_metric(kind):
    def read(folder, path):
        metric = kind(ann_file=path)
        metric.dataset_meta = dict(classes=CLASSES)
        gt = metric.load_annotations().gt
        return [*zip(gt.label.tolist(), gt.bbox.tolist(), gt.crowd.tolist())]

    return read


def by_mosaics(folder, path):
    made = MosaicBuilder(path, folder / 'images', folder / 'mosaics', folder / 'mosaics.json')
    label_of = {row['id']: CLASSES.index(row['name']) for row in made.categories if row['name'] in CLASSES}
    (image,) = made.images
    boxes = np.hstack([image.boxes[:, :2], image.boxes[:, 2:] - image.boxes[:, :2]]).tolist()
    rows = zip(image.category_ids, boxes, (~image.counted).tolist())
    return [(label_of[category], box, ignored) for category, box, ignored in rows if category in label_of]


def by_dump(folder, path):
    metric = DumpDetResults(str(folder / 'dump.json'), ann_file=path)
    metric.dataset_meta = dict(classes=CLASSES)
    nothing = dict(bboxes=torch.zeros(0, 4), scores=torch.zeros(0), labels=torch.zeros(0).long())
    metric.process(None, [dict(img_id=1, pred_instances=nothing)])
    metric.evaluate(1)


COCO_READERS = dict(
    training=by_dataset,
    evaluation=lambda folder, path: by_dataset(folder, path, test_mode=True),
    coco_metric=by_metric(CocoMetric),
    visdrone_metric=by_metric(VisDroneMetric),
    mosaics=by_mosaics,
    dump=by_dump,
    offline=lambda folder, path: evaluate_results([], path, CLASSES) and None,
    errors=lambda folder, path: analyze_error_files(folder / 'empty.json', path, classes=CLASSES) and None,
    to_txt=lambda folder, path: results_to_txt(path, folder / 'empty.json', folder / 'out') and None,
    from_txt=lambda folder, path: txt_to_results(path, folder / 'txt', folder / 'out.json') and None,
)


def verdicts(readers, folder, path) -> dict:
    found = {}
    for name, read in readers.items():
        try:
            found[name] = read(folder, path)
        except MMDetError as error:
            found[name] = f'{type(error).__name__} {error}'
    return found


def document(annotations=(BOX,), images=(IMAGE,), categories=(CAR, BUS), **more) -> dict:
    return dict(images=list(images), annotations=list(annotations), categories=list(categories), **more)


def without(record, *keys):
    return {key: value for key, value in record.items() if key not in keys}


ACCEPTED = {
    'no annotation': (document([]), []),
    'plain': (document(), SAME),
    'float ids': (
        document([dict(BOX, image_id=1.0, category_id=3.0)], [dict(IMAGE, id=1.0)], [dict(CAR, id=3.0), BUS]), SAME,
    ),
    'annotation without id': (document([without(BOX, 'id'), dict(BOX, id=None)]), SAME * 2),
    'area null': (document([dict(BOX, area=None)]), SAME),
    'area missing': (document([without(BOX, 'area')]), SAME),
    'crowd': (document([dict(BOX, iscrowd=1)]), [(0, [1, 2, 3, 4], 1)]),
    'crowd true': (document([dict(BOX, iscrowd=True)]), [(0, [1, 2, 3, 4], 1)]),
    'crowd null': (document([dict(BOX, iscrowd=None, ignore=None)]), SAME),
    'unused repeated names': (document(categories=[CAR, BUS, dict(id=1, name='van'), dict(id=2, name='van')]), SAME),
    'other class': (document([BOX, dict(BOX, id=6, category_id=1)], categories=[dict(id=1, name='van'), BUS, CAR]), SAME),
    'float size': (document(images=[dict(IMAGE, width=40.0)]), SAME),
    'no size': (document(images=[without(IMAGE, 'width', 'height')]), SAME),
    'null width': (document(images=[dict(IMAGE, width=None)]), SAME),
    'NaN where nobody looks': (document([dict(BOX, score=float('nan'))], info=dict(x=float('inf'))), SAME),
    'polygons': (document([dict(BOX, segmentation=[[1, 2, 3.5, -4e1]])]), SAME),
}  # fmt: skip


@pytest.mark.parametrize('name', ACCEPTED)
def test_accepted_by_all_with_the_same_boxes(folder, name):
    content, expected = ACCEPTED[name]
    (folder / 'ann.json').write_text(json.dumps(content))
    readers = COCO_READERS
    if name == 'unused repeated names':  # these take all categories of the file
        readers = {key: COCO_READERS[key] for key in COCO_READERS if key not in ('to_txt', 'from_txt')}
    found = verdicts(readers, folder, str(folder / 'ann.json'))
    assert {key: rows for key, rows in found.items() if rows not in (None, expected)} == {}


@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16', 'utf-32'])
def test_byte_order_marks(folder, encoding):
    content = document(categories=[CAR, BUS, dict(id=9, name='Ärger')])
    (folder / 'ann.json').write_text(json.dumps(content, ensure_ascii=False), encoding=encoding)
    found = verdicts(COCO_READERS, folder, str(folder / 'ann.json'))
    assert all(rows in (None, SAME) for rows in found.values()), found


def test_ignored_boxes_are_neither_trained_on_nor_missed(folder):
    """The dataset leaves them out, metrics and mosaics know them as ignored."""
    (folder / 'ann.json').write_text(json.dumps(document([dict(BOX, ignore=1)])))
    found = verdicts(COCO_READERS, folder, str(folder / 'ann.json'))
    ignored = [(0, [1, 2, 3, 4], 1)]
    assert found['training'] == found['evaluation'] == []
    assert found['coco_metric'] == found['visdrone_metric'] == found['mosaics'] == ignored
    counted = load_coco_annotations(folder / 'ann.json', CLASSES, count_ignored=True)
    assert counted.gt.crowd.tolist() == [False]


def test_texts_are_ids_and_stay_texts(folder):
    content = document([dict(BOX, image_id='1', category_id='3')], [dict(IMAGE, id='1')], [dict(CAR, id='3'), BUS])
    (folder / 'ann.json').write_text(json.dumps(content))
    del (readers := dict(COCO_READERS))['dump'], readers['to_txt'], readers['from_txt']
    found = verdicts(readers, folder, str(folder / 'ann.json'))
    assert all(rows in (None, SAME) for key, rows in found.items() if key != 'visdrone_metric'), found
    assert 'result files need whole numbers' in found['visdrone_metric']
    (folder / 'ann.json').write_text(json.dumps(dict(content, annotations=[BOX])))
    found = set(verdicts(readers, folder, str(folder / 'ann.json')).values())
    assert len(found) == 1 and "image_id: no such id among 'images'. Received: 1" in found.pop()


HUGE = 10**400
REFUSED = {
    'empty': ('', 'line 1 column 1: broken JSON'),
    'cut': ('{"images": [', 'line 1 column 13: broken JSON'),
    'list': ('[]', 'the top level must be a JSON object. Received: \'list\''),
    'deep': ('[' * 200000, 'broken JSON: lists or objects are nested too deeply'),
    'long number': ('{"images": [' + '1' * 5000 + ']}', 'broken JSON: Exceeds the limit'),
    'no images': (without(document(), 'images'), "images: must be a list of objects. Received: 'nothing'"),
    'no categories': (without(document(), 'categories'), 'categories: must be a list of objects'),
    'annotations null': (document() | dict(annotations=None), 'annotations: must be a list of objects'),
    'annotation is a number': (document([7]), 'annotations[0]: must be a JSON object. Received: 7'),
    'image twice': (document(images=[IMAGE, IMAGE]), 'image 1: id: the id is used twice. Received: 1'),
    'image 1 and 1.0': (document(images=[IMAGE, dict(IMAGE, id=1.0)]), 'image 1: id: the id is used twice'),
    'annotation twice': (document([BOX, BOX]), 'annotation 5: id: the id is used twice: annotation ids are not unique!'),
    'category twice': (document(categories=[CAR, BUS, dict(id=3, name='van')]), 'category 3: id: the id is used twice'),
    'name twice': (document(categories=[CAR, BUS, dict(id=1, name='car')]), "categories: two categories have this name. Received: 'car'"),
    'stray image': (document([dict(BOX, image_id=2)]), "annotation 5: image_id: no such id among 'images'. Received: 2"),
    'stray category': (document([dict(BOX, category_id=4)]), "annotation 5: category_id: no such id among 'categories'. Received: 4"),
    'stray ignored category': (document([dict(BOX, category_id=0, ignore=1)]), 'annotation 5: category_id: no such id'),
    'id 3.5': (document([dict(BOX, category_id=3.5)]), 'annotation 5: category_id: must be a whole number or a text. Received: 3.5'),
    'id true': (document(images=[dict(IMAGE, id=True)]), 'images[0]: id: must be a whole number or a text. Received: True'),
    'id list': (document([dict(BOX, id=[1])]), 'annotations[0]: id: must be a whole number or a text'),
    'id huge': (document([dict(BOX, image_id=HUGE)]), 'annotation 5: image_id: must be a whole number or a text'),
    'id 2**63': (document([dict(BOX, id=2**63)]), 'annotations[0]: id: must be a whole number or a text'),
    'id infinite': ('{"images": [{"id": 1e999}], "categories": []}', 'images[0]: id: must be a whole number or a text'),
    'no image id': (document([without(BOX, 'image_id')]), 'annotation 5: image_id: is missing'),
    'no bbox': (document([without(BOX, 'bbox')]), 'annotation 5: bbox: is missing'),
    'bbox null': (document([BOX, dict(BOX, id=6, bbox=None)]), 'annotation 6: bbox: must be four finite numbers'),
    'bbox text': (document([dict(BOX, bbox='1 2 3 4')]), 'annotation 5: bbox: must be four finite numbers'),
    'bbox of texts': (document([dict(BOX, bbox=['1', 2, 3, 4])]), 'annotation 5: bbox: must be four finite numbers'),
    'bbox of booleans': (document([dict(BOX, bbox=[True, 2, 3, 4])]), 'annotation 5: bbox: must be four finite numbers'),
    'bbox of three': (document([dict(BOX, bbox=[1, 2, 3])]), 'annotation 5: bbox: must be four finite numbers'),
    'bbox NaN': (document([dict(BOX, bbox=[1, 2, float('nan'), 4])]), 'annotation 5: bbox: must be four finite numbers'),
    'bbox infinite': (document([dict(BOX, bbox=[1, 2, float('inf'), 4])]), 'annotation 5: bbox: must be four'),
    'bbox huge': (document([dict(BOX, bbox=[1, 2, HUGE, 4])]), 'annotation 5: bbox: must be four finite numbers'),
    'area text': (document([dict(BOX, area='big')]), 'annotation 5: area: must be a finite number'),
    'area NaN': (document([dict(BOX, area=float('nan'))]), 'annotation 5: area: must be a finite number. Received: nan'),
    'area huge': (document([dict(BOX, area=-HUGE)]), 'annotation 5: area: must be a finite number'),
    'crowd 2': (document([dict(BOX, iscrowd=2)]), 'annotation 5: iscrowd: must be 0 or 1. Received: 2'),
    'ignore text': (document([dict(BOX, ignore='0')]), "annotation 5: ignore: must be 0 or 1. Received: '0'"),
    'width 0': (document(images=[dict(IMAGE, width=0)]), 'image 1: width: must be a whole number of pixels > 0'),
    'height text': (document(images=[dict(IMAGE, height='30')]), 'image 1: height: must be a whole number of pixels'),
    'width 40.5': (document(images=[dict(IMAGE, width=40.5)]), 'image 1: width: must be a whole number of pixels'),
    'height NaN': (document(images=[dict(IMAGE, height=float('nan'))]), 'image 1: height: must be a whole number'),
    'height huge': (document(images=[dict(IMAGE, height=HUGE)]), 'image 1: height: must be a whole number of pixels'),
    'half a surrogate': (document(images=[dict(IMAGE, file_name='\ud800.jpg')]), 'image 1: file_name: must be a text that can be'),
    'surrogate in an id': (document(images=[dict(IMAGE, id='\udfff')]), 'images[0]: id: must be a whole number or a text'),
    'surrogate in a name': (document(categories=[CAR, BUS, dict(id=1, name='\ud800')]), 'category 1: name: must be a text that can'),
    'NUL in a file name': (document(images=[dict(IMAGE, file_name='a\0.jpg')]), 'image 1: file_name: must be a text that can'),
    'file name 3': (document(images=[dict(IMAGE, file_name=3)]), 'image 1: file_name: must be a text'),
    'category without name': (document(categories=[CAR, BUS, dict(id=1)]), 'category 1: name: is missing'),
    'ignored region': (document(ignored_regions=[dict(image_id=1, bbox=[1, 2])]), 'ignored_regions[0]: bbox: must be four'),
    'region of no image': (document(others=[dict(image_id=2, bbox=[1, 2, 3, 4])]), 'others[0]: image_id: no such id'),
}  # fmt: skip


@pytest.mark.parametrize('name', REFUSED)
def test_refused_by_all_with_the_same_words(folder, name):
    content, message = REFUSED[name]
    path = folder / 'ann.json'
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    readers = dict(COCO_READERS)
    if name == 'name twice':  # mosaics keep the categories as they are
        del readers['mosaics']
    found = verdicts(readers, folder, str(path))
    assert set(map(str, found.values())) == {found['training']}, found
    kind = 'RepeatedIdError' if 'not unique' in message else 'DataError'
    assert found['training'].startswith(f'{kind} {path}: {message}')
    found['training'].encode()  # can be printed


def test_missing_classes_are_named_alike(folder):
    (folder / 'ann.json').write_text(json.dumps(document(categories=[CAR])))
    names = [name for name in COCO_READERS if name not in ('mosaics', 'to_txt', 'from_txt')]  # which need no classes
    found = verdicts({name: COCO_READERS[name] for name in names}, folder, str(folder / 'ann.json'))
    assert len(set(found.values())) == 1
    assert "ann.json: metainfo.classes: 1 of the 2 class names are not in the file: 'bus'" in found['training']


def test_a_set_without_annotations_is_for_tests(folder):
    (folder / 'ann.json').write_text(json.dumps(without(document(), 'annotations')))
    found = verdicts(COCO_READERS, folder, str(folder / 'ann.json'))
    assert 'annotations: a training needs this list' in found.pop('training')
    for name in ('coco_metric', 'visdrone_metric', 'offline', 'errors'):
        assert 'no annotations to evaluate against' in found.pop(name)
    assert all(rows in (None, []) for rows in found.values()), found


def test_images_without_names_or_readable_size(folder):
    path = folder / 'ann.json'
    path.write_text(json.dumps(document(images=[without(IMAGE, 'file_name')])))
    found = verdicts(COCO_READERS, folder, str(path))
    assert found['training'] == found['mosaics'] == f'DataError {path}: image 1: file_name: is missing'
    assert found['coco_metric'] == SAME  # it reads no image
    (folder / 'images' / 'a.jpg').unlink()
    path.write_text(json.dumps(document(images=[without(IMAGE, 'height')])))
    found = verdicts(COCO_READERS, folder, str(path))
    assert f'{path}: image 1: the file lacks its width or height' in found['training'] and 'a.jpg' in found['training']


def test_a_file_is_parsed_once_for_data_set_and_metric(folder, monkeypatch):
    from mmdet.formats import coco

    parsed = []
    monkeypatch.setattr(coco, 'parse_json', lambda *args, **options: parsed.append(1) or parse_json(*args, **options))
    from mmdet.formats.json_file import parse_json

    path = str(folder / 'ann.json')
    (folder / 'ann.json').write_text(json.dumps(document()))
    by_dataset(folder, path), by_metric(CocoMetric)(folder, path)
    assert len(parsed) == 1
    (folder / 'ann.json').write_text(json.dumps(document([dict(BOX, bbox=[4, 3, 2, 1])])))  # of the same length
    assert by_metric(VisDroneMetric)(folder, path) == [(0, [4, 3, 2, 1], False)] and len(parsed) == 2
    (folder / 'copy.json').write_bytes((folder / 'ann.json').read_bytes())
    assert coco.read_coco(folder / 'copy.json').source == str(folder / 'copy.json')
    with pytest.raises(ValueError, match='read-only'):
        coco.read_coco(path).bbox[0] = 0


# ---- results


RESULT = dict(image_id=1, category_id=3, bbox=[1, 2, 3, 4], score=0.5)


def result_readers(folder, path):
    ann_file = str(folder / 'ann.json')
    (folder / 'ann.json').write_text(json.dumps(document()))
    return dict(
        offline=lambda: evaluate_results(path, ann_file, CLASSES) and None,
        errors=lambda: analyze_error_files(path, ann_file, classes=CLASSES) and None,
        to_txt=lambda: results_to_txt(ann_file, path, folder / 'out') and None,
    )


@pytest.mark.parametrize(
    ('rows', 'message'),
    [
        ([], None),
        ([RESULT, dict(RESULT, image_id=1.0, category_id=8.0, score=1)], None),
        ('[{', ': line 1 column 3: broken JSON'),
        (dict(), ": the top level must be a JSON list. Received: 'dict'"),
        ([dict(RESULT, image_id=2)], ": results[0]: image_id: no such id among 'images' of"),
        ([RESULT, dict(RESULT, image_id='1')], ": results[1]: image_id: no such id among 'images' of"),
        ([dict(RESULT, category_id=4)], ": results[0]: category_id: no such id among 'categories' of"),
        ([dict(RESULT, category_id=None)], ': results[0]: category_id: must be a whole number or a text'),
        ([dict(RESULT, bbox='1 2 3 4')], ': results[0]: bbox: must be four finite numbers'),
        ([dict(RESULT, bbox=[1, 2, HUGE, 4])], ': results[0]: bbox: must be four finite numbers'),
        ([dict(RESULT, score=float('nan'))], ': results[0]: score: must be a finite number'),
        ([dict(RESULT, score=True)], ': results[0]: score: must be a finite number'),
        ([without(RESULT, 'score')], ': results[0]: score: is missing'),
    ],
)
def test_results(folder, rows, message):
    path = folder / 'results.json'
    path.write_text(rows if isinstance(rows, str) else json.dumps(rows))
    found = {}
    for name, read in result_readers(folder, path).items():
        try:
            found[name] = read()
        except DataError as error:
            found[name] = str(error)
    assert len(set(found.values())) == 1, found
    assert found['offline'] is None if message is None else found['offline'].startswith(f'{path}{message}')


# ---- VisDrone's text files: rows of categories 1..10, as [left, top, width, height, category]

GOOD = '1,2,3,4,1,4,0,0'


def rows_of(table):
    own = (table.label >= 0) & (table.label < 10)
    return [[*box, label + 1] for box, label in zip(table.bbox[own].tolist(), table.label[own].tolist())]


def visdrone_dataset(folder):
    dataset = VisDroneDataset(ann_file=str(folder / 'txt'), test_mode=True)
    rows = [row for row in dataset.get_data_info(0)['instances'] if not row['ignore_flag']]
    return [[x, y, x2 - x, y2 - y, row['bbox_label'] + 1] for row in rows for x, y, x2, y2 in [row['bbox']]]


def visdrone_metric(folder):
    metric = VisDroneMetric(ann_file=str(folder / 'txt'))
    metric.dataset_meta = dict(classes=VisDroneDataset.METAINFO['classes'])
    return rows_of(metric.load_annotations().gt)


def visdrone_converter(folder):
    path = convert_visdrone(folder / 'images', folder / 'txt', folder / 'out.json').path
    return [[*row['bbox'], row['category_id'] + 1] for row in json.loads(path.read_text())['annotations']]


def visdrone_painting(folder):
    made = MosaicBuilder(
        folder / 'ann.json', folder / 'images', folder / 'mosaics', folder / 'mosaics.json',
        options=MosaicOptions(paint=str(folder / 'txt')),
    )  # fmt: skip
    made._ignored(made.images[0])


VISDRONE_READERS = dict(
    dataset=visdrone_dataset,
    metric=visdrone_metric,
    converter=visdrone_converter,
    tool=lambda folder: rows_of(read_folders(folder / 'txt', folder).gt),
    painting=visdrone_painting,
)
CAR_ROW = [[1, 2, 3, 4, 4]]


@pytest.mark.parametrize(
    ('text', 'rows'),
    [
        ('', []),
        (' \n\n', []),
        (GOOD, CAR_ROW),
        (f'{GOOD},\r\n', CAR_ROW),
        ('1,2,3,4,1,4', CAR_ROW),
        ('1,2,3,4,1,4,0', CAR_ROW),
        ('1 2 3 4 1 4 0 0 ', CAR_ROW),
        ('1\t2\t3\t4\t1\t4\t-1\t-1', CAR_ROW),
        ('1, 2 , 3,4,1,4.0,0,0', CAR_ROW),
        (f'\ufeff{GOOD}\n1 2 3 4 1 4', CAR_ROW * 2),
        (f'{GOOD}\xa0', CAR_ROW),
        ('1.5,2,3,4,1,10,0,0', [[1.5, 2, 3, 4, 10]]),
        ('1,2,3,4,0,0,0,0\n1,2,3,4,0,11,0,0', []),
    ],
)
def test_visdrone_rows_are_read_alike(folder, text, rows):
    (folder / 'ann.json').write_text(json.dumps(document()))
    (folder / 'txt' / 'a.txt').write_text(text, encoding='utf-8', newline='')
    found = {name: read(folder) for name, read in VISDRONE_READERS.items()}
    assert {name: value for name, value in found.items() if value not in (None, rows)} == {}


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('1,2,3,4,1', 'must be 6 to 8 finite numbers, left,top,width,height,score,category[,truncation,occlusion]'),
        ('1,2,3,4,1,4,0,0,0', 'must be 6 to 8 finite numbers'),
        ('1,2,3,4,1,4,0,0,,', 'must be 6 to 8 finite numbers'),
        ('1,2,,4,1,4,0,0', 'must be 6 to 8 finite numbers'),
        ('1,2 3,4,1,4,0,0', 'must be 6 to 8 finite numbers'),
        ('1;2;3;4;1;4;0;0', 'must be 6 to 8 finite numbers'),
        ('1,2,x,4,1,4,0,0', 'must be 6 to 8 finite numbers'),
        ('1,2,nan,4,1,4,0,0', 'must be 6 to 8 finite numbers'),
        ('1,2,1e999,4,1,4,0,0', 'must be 6 to 8 finite numbers'),
        ('1,2,1_0,4,1,4,0,0', 'must be 6 to 8 finite numbers'),
        ('1,2,\u0663,4,1,4,0,0', 'must be 6 to 8 finite numbers'),
        ('1,2,3,4,1,4.5,0,0', 'category: must be a whole number. Received: 4.5'),
        ('1,2,3,4,1,1e300,0,0', 'category: must be a whole number. Received: 1e+300'),
        ('1,2,3,4,1,12,0,0', 'category: must be in 0..11. Received: 12.0'),
        ('1,2,3,4,1,-1,0,0', 'category: must be in 0..11. Received: -1.0'),
    ],
)
def test_broken_visdrone_rows_are_refused_alike_by_their_line(folder, line, message):
    (folder / 'ann.json').write_text(json.dumps(document()))
    path = folder / 'txt' / 'a.txt'
    path.write_text(f'{GOOD}\n\n{line}\n', encoding='utf-8')
    found = set()
    for read in VISDRONE_READERS.values():
        with pytest.raises(DataError) as error:
            read(folder)
        found.add(str(error.value))
    assert len(found) == 1, found
    assert found.pop().startswith(f'{path}: line 3: {message}')


def test_files_that_are_no_text(folder):
    (folder / 'ann.json').write_text(json.dumps(document()))
    (folder / 'txt' / 'a.txt').write_bytes(b'\xff\xfe1,2')
    found = set()
    for read in VISDRONE_READERS.values():
        with pytest.raises(DataError, match='a.txt: cannot be read as text') as error:
            read(folder)
        found.add(str(error.value))
    assert len(found) == 1
