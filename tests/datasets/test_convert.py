"""The converter of all formats, and that of images without annotations."""

import json
import os

import numpy as np
import pytest

from mmdet.datasets.converters.convert import TARGETS, convert
from mmdet.datasets.converters.images import convert_images, named_classes
from mmdet.formats.annotations import read_table
from mmdet.formats.coco import read_coco
from mmdet.formats.voc import write_voc
from mmdet.utils import ConfigError, DataError

from ..formats.annotation_files import BOXES, SIZES_WH, rows_of, write_files, write_images

IMAGES = [dict(id=i, file_name=f'{n}.jpg', width=w, height=h) for i, (n, (w, h)) in enumerate(SIZES_WH.items(), 5)]
CATEGORIES = [dict(id=3, name='dog'), dict(id=1, name='cat')]
ROWS = [
    dict(id=1, image_id=image['id'], category_id=dict(dog=3, cat=1)[label], bbox=box, area=12.5, iscrowd=0)
    for image in IMAGES
    for label, box in BOXES[image['file_name'][0]]
]


def source(root, rows=ROWS, images=IMAGES, categories=CATEGORIES):
    write_images(root / 'images')
    document = dict(images=images, annotations=rows, categories=categories)
    return write_files(root, {'x.json': json.dumps(document)}) / 'x.json'


def target_of(root, to):
    return root / 'out' / f'made{dict(coco=".json", csv=".csv").get(to, "")}'


@pytest.mark.parametrize('to', [name for name in TARGETS if name != 'visdrone'])
def test_both_ways(to, tmp_path):
    """COCO (ids used twice, categories in any order) to each format and back: the same boxes, bit by bit."""
    path, target = source(tmp_path), target_of(tmp_path, to)
    report = convert(path, target, to, images='leave' if to in ('coco', 'csv') else 'copy')
    assert report.found == report.written == {'': 3} and not report.notes and report.images == {'': 2}
    assert report.read_notes == {'annotations whose id occurs before': 2}
    table = read_table(target, tmp_path / 'images' if to in ('coco', 'csv') else None, to)
    assert rows_of(table) == BOXES and table.sizes_wh.tolist() == [[64, 48], [101, 77]]
    back = tmp_path / 'back.json'
    convert(target, back, 'coco', kind=to, image_root=tmp_path / 'images' if to in ('coco', 'csv') else None)
    assert (
        rows_of(read_coco(back)) == BOXES
        and len({row['id'] for row in json.loads(back.read_text())['annotations']}) == 3
    )
    assert set(table.category_names) == {'cat', 'dog'}


@pytest.mark.parametrize('to', ['yolo', 'voc', 'csv', 'labelme'])
def test_boxes_lie_where_the_pixels_say(to, tmp_path):
    """A file whose sizes are exchanged, as of photos turned by EXIF: the boxes are pixels of the images."""
    path = source(tmp_path, images=[dict(i, width=i['height'], height=i['width']) for i in IMAGES])
    target = target_of(tmp_path, to)
    report = convert(path, target, to, images='leave' if to == 'csv' else 'copy')
    assert report.read_notes['images whose size differs from the stated one (the size of the image counts)'] == 2
    table = read_table(target, tmp_path / 'images' if to == 'csv' else None, to)
    assert rows_of(table) == BOXES and not table.notes


def test_coco_keeps_what_it_knows(tmp_path):
    rows = [dict(ROWS[0], segmentation=[[1, 2, 3, 4, 5, 6]], attributes=dict(rotation=30.0)), dict(ROWS[1], iscrowd=1), dict(ROWS[2], ignore=1)]  # fmt: skip
    convert(source(tmp_path, rows), tmp_path / 'y.json', 'coco', classes=['cat', 'dog'])
    first, second, third = json.loads((tmp_path / 'y.json').read_text())['annotations']
    assert (first['segmentation'], first['attributes'], first['area']) == (
        [[1, 2, 3, 4, 5, 6]],
        dict(rotation=30.0),
        12.5,
    )
    assert (second['iscrowd'], third['ignore'], first['image_id'], second['category_id']) == (1, 1, 5, 3)
    table = read_coco(tmp_path / 'y.json')
    assert (table.category_names, table.category_ids) == (['cat', 'dog'], [1, 3])


@pytest.mark.parametrize(
    ('to', 'notes'),
    [
        ('coco', {}),
        ('yolo', {'crowds and ignored boxes (left out)': 2}),
        ('csv', {'crowds and ignored boxes (left out)': 2}),
        ('labelme', {'crowds and ignored boxes (left out)': 2}),
        ('voc', {'ignored boxes (left out)': 1}),
    ],
)
def test_every_box_is_accounted_for(to, notes, tmp_path):
    rows = [ROWS[0], dict(ROWS[1], iscrowd=1), dict(ROWS[2], ignore=1)]
    report = convert(source(tmp_path, rows), target_of(tmp_path, to), to)
    assert report.notes == notes and report.written[''] == 3 - sum(notes.values())
    assert str(report.written['']) in str(report) and all(
        f'{reason}: {count}' in str(report) for reason, count in notes.items()
    )


def test_classes(tmp_path):
    path = source(tmp_path)
    report = convert(path, tmp_path / 'one', 'yolo', classes=['dog'], images='link')
    assert report.notes == {'boxes of other classes (left out)': 1} and report.written == {'': 2}
    assert (tmp_path / 'one' / 'data.yaml').read_text() == 'train: images/train\nnc: 1\nnames:\n  0: dog\n'
    assert os.path.islink(tmp_path / 'one' / 'images' / 'train' / 'a.jpg')
    with pytest.raises(
        ConfigError, match="classes: must be different class names of the source: dog, cat. Received: .'horse'"
    ):
        convert(path, tmp_path / 'two', 'yolo', classes=['horse'])
    assert not (tmp_path / 'two').exists()


def test_the_root_category_of_roboflow(tmp_path):
    categories = [dict(id=0, name='pets', supercategory='none')]
    categories += [dict(id=i, name=name, supercategory='pets') for i, name in ((1, 'cat'), (3, 'dog'))]
    report = convert(source(tmp_path, categories=categories), tmp_path / 'made', 'yolo')
    assert report.classes == ('cat', 'dog') and 'root categories without boxes (left out): pets: 1' in str(report)


def test_nothing_is_overwritten(tmp_path):
    path = source(tmp_path)
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full' / 'mine.txt').write_text('mine')
    (tmp_path / 'empty').mkdir()
    for target, to in (('full', 'yolo'), ('x.json', 'coco'), ('full', 'coco')):
        before = path.read_text()
        with pytest.raises(ConfigError, match='exists, and nothing is overwritten'):
            convert(path, tmp_path / target, to)
        assert path.read_text() == before and [file.name for file in (tmp_path / 'full').iterdir()] == ['mine.txt']
    assert convert(path, tmp_path / 'empty', 'voc').written == {'': 3}
    with pytest.raises(ConfigError, match='has no place for images'):
        convert(path, tmp_path / 'n.json', 'coco', images='copy')
    with pytest.raises(DataError, match='must be classes of VisDrone'):
        convert(path, tmp_path / 'vd', 'visdrone')
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ['empty', 'full', 'images', 'x.json']


def test_visdrone_rows_come_back_as_they_were(tmp_path):
    """With truncation and occlusion, objects of score 0, others and ignored regions."""
    rows = '1,2,3,4,1,4,0,2\n5,6.5,7,8,0,1,1,0\n10,10,5,5,0,11,0,0\n20,20,9,9,0,0,0,0\n'
    write_images(tmp_path / 'vd' / 'images')
    write_files(tmp_path / 'vd', {'annotations/a.txt': rows, 'annotations/b.txt': ''})
    report = convert(tmp_path / 'vd', tmp_path / 'made', 'visdrone')
    assert (tmp_path / 'made' / 'annotations' / 'a.txt').read_text() == rows
    assert (tmp_path / 'made' / 'annotations' / 'b.txt').read_text() == '' and report.written == {'': 2}
    convert(tmp_path / 'vd', tmp_path / 'x.json', 'coco')
    convert(tmp_path / 'x.json', tmp_path / 'again', 'visdrone')
    assert (tmp_path / 'again' / 'annotations' / 'a.txt').read_text() == rows


def test_splits_and_folders_of_names(tmp_path):
    """Each split of a YOLO set becomes a file; folders named images do not confuse the layout that is written."""
    root = tmp_path / 'set'
    write_images(root / 'train' / 'images', ['a'])
    write_images(root / 'valid' / 'images', ['b'])
    labels = {'train/labels/a.txt': '0 0.5 0.5 0.25 0.5', 'valid/labels/b.txt': ''}
    write_files(root, {'data.yaml': 'train: ../train/images\nval: ../valid/images\nnames: [cat]\n', **labels})
    report = convert(root, tmp_path / 'coco', 'coco')
    assert sorted(file.name for file in (tmp_path / 'coco').iterdir()) == ['train.json', 'val.json']
    assert report.found == {'train': 1, 'val': 0}
    convert(root, tmp_path / 'again', 'yolo', images='copy')
    assert rows_of(read_table(tmp_path / 'again', split='train')) == {'a': [('cat', [24, 12, 16, 24])]}
    one = convert(root, tmp_path / 'all.json', 'coco')
    assert one.images == {'': 2} and read_coco(tmp_path / 'all.json').file_names == [
        'train/images/a.jpg',
        'valid/images/b.jpg',
    ]


# ---- images without annotations


def test_images_without_annotations(tmp_path):
    write_images(tmp_path / 'p', ['b', 'x/a'])
    write_images(tmp_path / 'p', ['c'], '.png')
    (tmp_path / 'p' / 'broken.jpg').write_bytes(b'no image')
    report = convert_images(tmp_path / 'p', tmp_path / 'o.json', ('car', 'bus'), exclude=['png'])
    document = json.loads((tmp_path / 'o.json').read_text())
    assert document['images'] == [
        dict(id=0, file_name='b.jpg', height=77, width=101),
        dict(id=1, file_name='x/a.jpg', height=6, width=8),
    ]
    assert [(row['id'], row['name']) for row in document['categories']] == [
        (0, 'car'),
        (1, 'bus'),
    ] and 'annotations' not in document
    assert (report.images, report.excluded, len(report.broken)) == (2, 1, 1) and 'broken.jpg' in str(report)
    assert not read_coco(tmp_path / 'o.json').annotated
    with pytest.raises(ConfigError, match='nothing is overwritten'):
        convert_images(tmp_path / 'p', tmp_path / 'o.json')
    with pytest.raises(DataError, match='holds no image'):
        convert_images(tmp_path, tmp_path / 'q.json', exclude=['jpg', 'png'])


def test_lists_of_classes(tmp_path):
    with pytest.raises(ConfigError, match='must be names'):
        named_classes(['car', ' '])
    (tmp_path / 'names.txt').write_text('car\n\nbus\n')
    assert named_classes([]) == () and named_classes([str(tmp_path / 'names.txt')]) == ('car', 'bus')
    assert (
        len(named_classes(['coco'])) == 80
        and named_classes(['visdrone'])[3] == 'car'
        and named_classes(['a', 'b']) == ('a', 'b')
    )
    with pytest.raises(ConfigError, match='occurs twice'):
        named_classes(['a', 'a'])


# ---- real annotations


@pytest.mark.parametrize('to', TARGETS)
def test_real_visdrone_boxes_come_back(to, sample_data, tmp_path):
    folder = sample_data / 'visdrone' / 'VisDrone2019-DET-val'
    table = read_table(folder)
    target = target_of(tmp_path, to)
    report = convert(folder, target, to, images='leave' if to in ('coco', 'csv') else 'link')
    assert report.found == report.written == {'': 1307} and not report.notes
    back = read_table(target, table.image_root if to in ('coco', 'csv') else None)
    assert [os.path.basename(name) for name in back.file_names] == table.file_names
    assert back.bbox.tolist() == table.bbox.tolist() and np.array_equal(back.image, table.image)
    names = [[each.category_names[i] for i in each.category.tolist()] for each in (table, back)]
    assert names[0] == names[1]


def test_sizes_come_from_the_images_where_coco_states_none(tmp_path):
    images = [{key: image[key] for key in ('id', 'file_name')} for image in IMAGES]
    convert(source(tmp_path, images=images), tmp_path / 'out', 'yolo', images='copy')
    assert rows_of(read_table(tmp_path / 'out')) == BOXES


def test_an_image_named_twice_gets_no_file_twice(tmp_path):
    """Its second annotation file would replace the first; two lists may name one image with the same objects."""
    twice = [IMAGES[0], dict(IMAGES[0], id=9), IMAGES[1]]
    with pytest.raises(DataError, match=r'image a\.jpg: its annotation file cannot be named'):
        convert(source(tmp_path, images=twice), tmp_path / 'out', 'voc')
    assert not (tmp_path / 'out').exists()
    table = read_table(source(tmp_path), kind='coco', unique_ids=False)
    write_voc(tmp_path / 'lists', {'train': table, 'val': table})
    assert rows_of(read_table(tmp_path / 'lists', tmp_path / 'images', split='val')) == BOXES


def test_classes_that_become_one_and_a_rest_that_becomes_crowds(tmp_path):
    rows = '1,1,9,9,1,1,0,0\n2,2,9,9,1,2,0,0\n3,3,9,9,1,4,0,0\n4,4,9,9,0,4,0,0\n5,5,9,9,1,7,0,0\n0,0,30,30,0,0,0,0\n7,7,9,9,1,11,0,0\n'
    write_images(tmp_path / 'images')
    write_files(tmp_path / 'annotations', {'a.txt': rows})
    options = dict(classes=['person', 'car'], rename=dict(pedestrian='person', people='person'))
    report = convert(tmp_path, tmp_path / 'x.json', 'coco', kind='visdrone', rest='crowd', **options)
    found = json.loads((tmp_path / 'x.json').read_text())
    names = {row['id']: row['name'] for row in found['categories']}
    boxes = [(names[row['category_id']], row['bbox'][0], row['iscrowd']) for row in found['annotations']]
    assert list(names.values()) == ['person', 'car']
    assert boxes[:3] == [('person', 1, 0), ('person', 2, 0), ('car', 3, 0)]
    # The row of score 0, the tricycle, the ignored region and the object of no class.
    assert boxes[3:] == [(name, x, 1) for x in (4, 5, 0, 7) for name in ('person', 'car')]
    assert report.notes == {'crowds, of each class, made of 4 boxes and regions without one of the classes': 4}
    convert(tmp_path, tmp_path / 'y.json', 'coco', kind='visdrone', **options)
    kept = json.loads((tmp_path / 'y.json').read_text())
    assert [row['ignore'] for row in kept['annotations']] == [0, 0, 0, 1] and len(kept['ignored_regions']) == 1


@pytest.mark.parametrize(
    'field, options',
    [('rest', dict(rest='crowd', to='yolo')), ('rest', dict(rest='all')), ('rename', dict(rename=dict(cow='dog')))],
)
def test_classes_that_cannot_be_changed(field, options, tmp_path):
    with pytest.raises(ConfigError, match=field):
        convert(source(tmp_path), tmp_path / 'out', **dict(dict(to='coco'), **options))
