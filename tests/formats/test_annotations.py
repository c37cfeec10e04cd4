"""Recognising formats, COCO's dialects, image names, CSV and LabelMe."""

import json

import pytest

from mmdet.formats.annotations import KINDS, kind_of, read_annotations, read_table, splits_of
from mmdet.formats.image_files import ImageFolder
from mmdet.utils import ConfigError, DataError

from .annotation_files import rows_of, write_files, write_images

COCO = dict(
    images=[dict(id=7, file_name='a.jpg')],
    annotations=[dict(id=1, image_id=7, category_id=0, bbox=[1, 2, 3, 4])],
    categories=[dict(id=0, name='cat')],
)
XML = '<annotation><filename>a.jpg</filename><object><name>cat</name><bndbox><xmin>2</xmin><ymin>3</ymin><xmax>4</xmax><ymax>6</ymax></bndbox></object></annotation>'
SHAPES = dict(imagePath='a.jpg', imageData='aGVsbG8=', shapes=[])
UAVDT = {'M0101_gt_whole.txt': '1,1,1,2,3,4,1,1,1\n', 'M0101_gt_ignore.txt': ''}
CSV = 'filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,64,48,cat,1,2,4,6\n'


def coco(**changes):
    return json.dumps({**COCO, **changes})


# ---- recognition


@pytest.mark.parametrize(
    ('kind', 'path', 'files'),
    [
        ('coco', 'x.json', {'x.json': coco()}),
        ('coco', '.', {'annotations/instances_default.json': coco()}),  # CVAT
        ('coco', '.', {'train/_annotations.coco.json': coco()}),  # Roboflow
        ('coco', '.', {'result.json': coco()}),  # Label Studio
        ('yolo', '.', {'data.yaml': 'train: images\nnames: [cat]\n'}),
        ('yolo', 'labels', {'labels/a.txt': '0 0.5 0.5 0.25 0.5', 'labels/classes.txt': 'cat\n'}),
        ('voc', '.', {'Annotations/a.xml': XML}),
        ('voc', '.', {'train/a.xml': XML, 'valid/a.xml': XML}),
        ('visdrone', '.', {'annotations/a.txt': '', 'annotations/b.txt': '1,2,3,4,1,4,0,0,\n'}),
        ('visdrone', 'annotations', {'annotations/b.txt': '1,2,3,4,1,4,0,0\n', 'image_sizes.txt': 'b 4 4'}),
        ('uavdt', '.', UAVDT),
        ('uavdt', '.', {f'GT/{name}': text for name, text in UAVDT.items()}),
        ('csv', 'x.csv', {'x.csv': CSV}),
        ('csv', '.', {'train/_annotations.csv': CSV, 'valid/_annotations.csv': CSV}),
        ('labelme', '.', {'a.json': json.dumps(SHAPES)}),
        (
            'coco',
            '.',
            {'x.json': coco(), 'compose.yaml': 'a: !tag [', 'latin.txt': 'x'},
        ),  # a broken file of something else
    ],
)
def test_kinds(kind, path, files, tmp_path):
    write_files(tmp_path, files)
    assert kind_of(tmp_path / path) == kind and kind in KINDS


@pytest.mark.parametrize(
    ('files', 'message'),
    [
        ({}, 'is of no known format. Known are coco: .*yolo: .*voc: .*visdrone: .*uavdt: .*csv: .*labelme: '),
        ({'readme.txt': 'hello'}, 'is of no known format'),
        ({'annotations.xml': '<annotations><image name="a.jpg"/></annotations>'}, 'is no annotation of PASCAL VOC.*<annotations>'),  # CVAT's own
        ({'data.yaml': 'names: [cat\n'}, r'data\.yaml: broken YAML'),
        ({'results.json': '[{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}]'}, 'no known format'),
        ({'a.json': coco(), 'a.xml': XML}, 'may be any of these formats: coco, voc; name the format'),
    ],
)  # fmt: skip
def test_unknown_and_ambiguous(files, message, tmp_path):
    with pytest.raises(DataError, match=message):
        read_annotations(write_files(tmp_path, files))


def test_wrong_names_of_formats_and_splits(tmp_path):
    with pytest.raises(DataError, match='no such file or folder'):
        kind_of(tmp_path / 'no')
    with pytest.raises(ConfigError, match='kind: must be one of coco, yolo'):
        kind_of(tmp_path, 'pascal')
    write_files(tmp_path, {'annotations/instances_train.json': coco(), 'annotations/instances_val.json': coco()})
    assert splits_of(tmp_path) == ['train', 'val']
    with pytest.raises(ConfigError, match='holds several splits.*one of train, val'):
        read_annotations(tmp_path)
    assert len(read_annotations(tmp_path, split='val').gt) == 1
    with pytest.raises(ConfigError, match="'coco' has no splits in one place"):
        read_annotations(tmp_path / 'annotations' / 'instances_val.json', split='val')


# ---- COCO's dialects


@pytest.mark.parametrize(
    ('document', 'count'),
    [
        (coco(annotations=[]), 0),
        (coco(licenses=[], info=None), 1),
        (coco(images=[dict(id=7.0, file_name='a.jpg', width=64.0, height=48, license=0, flickr_url='')]), 1),  # floats
        (coco(annotations=[dict(id=1, image_id=7, category_id=0, bbox=[1, 2, 3, 4], segmentation=dict(counts=[0, 3], size=[48, 64]))]), 1),  # RLE, no iscrowd
        (coco(annotations=[dict(COCO['annotations'][0], attributes=dict(occluded=True, rotation=0.0), ignored=0)]), 1),  # CVAT
    ],
)  # fmt: skip
def test_dialects(document, count, tmp_path):
    annotations = read_annotations(write_files(tmp_path, {'x.json': document}) / 'x.json')
    assert annotations.gt.bbox.tolist() == [[1, 2, 3, 4]] * count and annotations.category_ids == [0]
    assert annotations.image_ids == [7] and annotations.file_names == ['a.jpg']


def test_attributes_of_cvat(tmp_path):
    rows = [
        dict(id=i, image_id=7, category_id=0, bbox=[1, 2, 3, 4], **({} if attributes is None else dict(attributes=attributes)))
        for i, attributes in enumerate([None, {}, dict(occluded=True, rotation=30.5), dict(rotation='x', occlusion=2, truncation=1)])
    ]  # fmt: skip
    table = read_table(write_files(tmp_path, {'x.json': coco(annotations=rows)}))
    assert table.rotation.tolist() == [0, 0, 30.5, 0]
    assert table.visibility.tolist() == [[-1, -1], [-1, -1], [-1, 1], [1, 2]]
    assert read_annotations(tmp_path).rotation.tolist() == [0, 0, 30.5, 0]


def test_ids_that_start_anew_for_each_image(tmp_path):
    row = COCO['annotations'][0]
    path = write_files(tmp_path, {'x.json': coco(annotations=[row, row])}) / 'x.json'
    with pytest.raises(DataError, match=r'annotation 1: id: the id is used twice.*convert\.py SRC DST --to coco'):
        read_annotations(path)
    table = read_table(path, unique_ids=False)
    assert len(table.image) == 2 and table.notes == {'annotations whose id occurs before': 1}


# ---- names of images


@pytest.mark.parametrize(
    ('name', 'found'),
    [
        ('', None),
        ('a.jpg', 'a.jpg'),
        ('train/a b.jpg', 'train/a b.jpg'),
        ('images/a.jpg', 'a.jpg'),
        ('../train/a%20b.jpg', 'train/a b.jpg'),
        ('C:\\photos\\train\\a b.jpg', 'train/a b.jpg'),
        ('/data/upload/3/0a1b2c3d-a.jpg', 'a.jpg'),
        ('images/0a1b2c3d-a%20b.jpg', 'train/a b.jpg'),
        ('/data/local-files/?d=photos/train/a%20b.jpg', 'train/a b.jpg'),
        ('https://bucket.example/x/a.jpg?token=1', 'a.jpg'),
        ('c.jpg', None),  # in two folders
        ('x/val/c.jpg', 'val/c.jpg'),
        ('d.jpg', 'val/d.jpg'),
        ('nowhere.jpg', None),
        ('../../etc/passwd', None),
    ],
)
def test_names_of_images(name, found, tmp_path):
    write_images(tmp_path, ['a', 'train/a b', 'train/c', 'val/c', 'val/d'])
    assert ImageFolder(tmp_path).find(name) == found


def test_names_are_completed_and_counted(tmp_path):
    write_images(tmp_path / 'images', ['x/a', 'y/b'])
    images = [dict(id=i, file_name=f'/data/upload/1/00ff00ff-{name}.jpg') for i, name in enumerate('abc')]
    write_files(tmp_path, {'x.json': coco(images=images, annotations=[])})
    table = read_table(tmp_path / 'x.json')
    assert table.file_names == ['x/a.jpg', 'y/b.jpg', '/data/upload/1/00ff00ff-c.jpg']
    assert table.image_root == str(tmp_path / 'images')
    assert table.notes == {'image names completed to paths of image files': 2, 'images that are not there': 1}
    write_images(tmp_path / 'coco' / 'train2017', ['a'])  # one sub-folder for all: it is the folder of the images
    path = write_files(tmp_path, {'y.json': coco()}) / 'y.json'
    table = read_table(path, tmp_path / 'coco')
    assert (table.file_names, table.image_root, table.notes) == (['a.jpg'], str(tmp_path / 'coco' / 'train2017'), {})


# ---- CSV


@pytest.mark.parametrize(
    ('text', 'rows'),
    [
        ('image,x1,y1,x2,y2,class\n', None),
        ('image,x1,y1,x2,y2,class\na.jpg,,,,,\n', []),
        ('a.jpg,,,,,\n', []),  # without a header, as for RetinaNet
        ('a.jpg,1,2,4.5,6,cat\n', [('cat', [1, 2, 3.5, 4])]),
        ('Image;Label;X1;Y1;X2;Y2;extra\na.jpg;cat;1;2;4;6;?\n', [('cat', [1, 2, 3, 4])]),
        ('path\tx\ty\twidth\theight\tlabel\na.jpg\t1\t2\t3\t4\t7\n', [('7', [1, 2, 3, 4])]),
        ('image_name,image_width,image_height,bbox_x,bbox_y,bbox_width,bbox_height,label_name\na.jpg,64,48,1,2,3,4,cat\n', [('cat', [1, 2, 3, 4])]),
        ('image,x1,y1,x2,y2,class\n"a.jpg",1,2,4,6,"cat, big"\n', [('cat, big', [1, 2, 3, 4])]),
    ],
)  # fmt: skip
def test_tables(text, rows, tmp_path):
    write_images(tmp_path, ['a'])
    table = read_table(write_files(tmp_path, {'x.csv': text}) / 'x.csv')
    assert rows_of(table) == ({} if rows is None else {'a': rows})
    assert table.sizes_wh.tolist() == ([] if rows is None else [[64, 48]])


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'the table is empty'),
        ('image,x1,y1,class\na.jpg,1,2,cat\n', 'line 1: the header lacks columns'),
        ('image,x1,y1,x2,y2,class\na.jpg,1,2,4,cat\n', 'line 2: must have 6 cells'),
        ('image,x1,y1,x2,y2,class\na.jpg,1,2,4,six,cat\n', 'line 2: must be four finite numbers'),
        ('image,x1,y1,x2,y2,class\na.jpg,1,2,4,,cat\n', 'line 2: must be four finite numbers'),
        ('image,x1,y1,x2,y2,class\na.jpg,1,2,4,6,\n', 'line 2: class: must name the class'),
        ('image,x1,y1,x2,y2,class\n,1,2,4,6,cat\n', 'line 2: image: must name the image'),
        ('image,x1,y1,x2,y2,class\na.jpg,0.1,0.2,0.5,0.5,cat\n', 'shares of the image are no pixels'),
        ('filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,6.5,4,cat,1,2,4,6\n', 'line 2: image_width: must be a whole number'),
    ],
)  # fmt: skip
def test_broken_tables(text, message, tmp_path):
    with pytest.raises(DataError, match=message):
        read_table(write_files(tmp_path, {'x.csv': text}) / 'x.csv')


# ---- LabelMe


def shape(kind, *points, label='cat'):
    return dict(label=label, points=list(map(list, points)), shape_type=kind, group_id=None, flags={})


@pytest.mark.parametrize(
    ('shapes', 'boxes', 'notes'),
    [
        ([], [], {}),
        ([shape('rectangle', (20, 30), (3, 5))], [[3, 5, 17, 25]], {}),
        ([shape('rectangle', (3, 5), (20, 5), (20, 30), (3, 30))], [[3, 5, 17, 25]], {}),  # four corners (X-AnyLabeling)
        ([shape('polygon', (3, 5), (20, 8), (9, 30.5))], [[3, 5, 17, 25.5]], {'shapes of another kind: polygon (bounding boxes are taken)': 1}),
        ([shape('circle', (10, 10), (13, 14))], [[5, 5, 10, 10]], {'shapes of another kind: circle (bounding boxes are taken)': 1}),
        ([shape('mask', (3, 5), (20, 30))], [[3, 5, 18, 26]], {'shapes of another kind: mask (bounding boxes are taken)': 1}),
        ([shape('point', (3, 5)), shape('line', (3, 5), (4, 6))], [], {'shapes without an area: point (left out)': 1, 'shapes without an area: line (left out)': 1}),
    ],
)  # fmt: skip
def test_shapes(shapes, boxes, notes, tmp_path):
    write_images(tmp_path, ['a'])
    table = read_table(write_files(tmp_path, {'a.json': json.dumps(dict(SHAPES, shapes=shapes))}))
    assert table.bbox.tolist() == boxes and table.notes == notes and table.sizes_wh.tolist() == [[64, 48]]


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(shapes=[shape('star', (1, 2))]), 'shape 1: shape_type: must be one of rectangle'),
        (dict(shapes=[shape('rectangle', (1, 2))]), 'shape 1: points: must be a list of 2 points'),
        (dict(shapes=[shape('rectangle', (1, 2), (3, 'x'))]), 'shape 1: points'),
        (dict(shapes=[shape('rectangle', (1, 2), (3, 4), label='')]), 'shape 1: label: must be a name'),
        (dict(shapes=[[]]), 'shape 1: must be a JSON object'),
        (dict(imageWidth=0), 'imageWidth: must be a whole number of pixels'),
    ],
)
def test_broken_shapes(change, message, tmp_path):
    with pytest.raises(DataError, match=rf'a\.json: .*{message}|a\.json: {message}'):
        read_table(write_files(tmp_path, {'a.json': json.dumps({**SHAPES, **change})}))


def test_folders_of_labelme(tmp_path):
    write_images(tmp_path, ['s/a', 'b'])
    files = {
        's/a.json': json.dumps(dict(SHAPES, imagePath='a.jpg')),
        'b.json': json.dumps(dict(SHAPES, imagePath='..\\old\\b.jpg')),
    }
    assert sorted(read_table(write_files(tmp_path, files)).file_names) == ['b.jpg', 's/a.jpg']
    (tmp_path / 'b.json').unlink()
    assert read_table(tmp_path).file_names == ['s/a.jpg']
