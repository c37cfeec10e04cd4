"""Data sets as other libraries and tools write them, in our own values; each is written out with the name of its writer."""

import json

import numpy as np
import pytest

from mmdet.formats.annotations import read_annotations, read_table

from .annotation_files import BOXES, rows_of, write_files, write_images

# Each writer gives the same boxes; those that cut numbers give them within a pixel's hundredth.
VOC_HEAD = '<annotation><folder>VOC</folder><filename>{}.jpg</filename><size><width>{}</width><height>{}</height><depth>3</depth></size>'


def voc(name, size, *objects):
    rows = ''.join(
        f'<object><name>{label}</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>'
        for label, x1, y1, x2, y2 in objects
    )
    return VOC_HEAD.format(name, *size) + rows + '</annotation>'


def labelme(name, size, *shapes):
    rows = [dict(label=label, points=points, shape_type='rectangle') for label, *points in shapes]
    document = dict(imagePath=f'{name}.jpg', imageWidth=size[0], imageHeight=size[1], imageData=None, shapes=rows)
    return json.dumps(document)


COCO = json.dumps(
    dict(
        info={},
        licenses=[dict(id=1, url='x', name='y')],
        categories=[
            dict(id=1, name='cat', supercategory='common-objects'),
            dict(id=2, name='dog', supercategory='common-objects'),
        ],
        images=[
            dict(id=1, license=1, file_name='a.jpg', height=48, width=64, date_captured='11/29/2026,12:02:27'),
            dict(id=2, license=1, file_name='b.jpg', height=77, width=101, date_captured='11/29/2026,12:02:27'),
        ],
        annotations=[
            dict(id=1, image_id=1, category_id=1, bbox=[3.0, 5.0, 17.0, 25.0], area=425.0, segmentation=[], iscrowd=0),
            dict(id=2, image_id=1, category_id=2, bbox=[10.0, 4.0, 23.0, 13.0], area=299.0, segmentation=[], iscrowd=0),
            dict(
                id=3, image_id=2, category_id=2, bbox=[0.0, 0.0, 101.0, 77.0], area=7777.0, segmentation=[], iscrowd=0
            ),
        ],
    )
)
YOLO_EXACT = {
    'a': '0 0.1796875 0.3645833333333333 0.265625 0.5208333333333334\n1 0.3359375 0.21875 0.359375 0.2708333333333333\n',
    'b': '1 0.5 0.5 1.0 1.0\n',
}
YOLO_SIX = {
    'a': '0 0.179688 0.364583 0.265625 0.520833\n1 0.335938 0.218750 0.359375 0.270833',
    'b': '1 0.500000 0.500000 1.000000 1.000000',
}
YOLO_FIVE = {'a': '0 0.17969 0.36458 0.26562 0.52083\n1 0.33594 0.21875 0.35938 0.27083', 'b': '1 0.5 0.5 1.0 1.0'}

# writer -> kind, folder of the images, files, tolerance in pixels
WRITERS = {
    'supervision 0.31.2, as_yolo': (
        'yolo',
        'images',
        {'data.yaml': 'nc: 2\nnames: [cat, dog]\n', **{f'labels/{k}.txt': v for k, v in YOLO_FIVE.items()}},
        0.01,
    ),
    'supervision 0.31.2, as_pascal_voc': (
        'voc',
        'images',
        {
            'annotations/a.xml': voc('a', (64, 48), ('cat', 4, 6, 20, 30), ('dog', 11, 5, 33, 17)),
            'annotations/b.xml': voc('b', (101, 77), ('dog', 1, 1, 101, 77)),
        },
        0,
    ),
    'supervision 0.31.2, as_coco': ('coco', 'images', {'annotations.json': COCO}, 0),
    'fiftyone 1.22.1, YOLOv5Dataset': (
        'yolo',
        'images/val',
        {
            'dataset.yaml': 'names:\n  0: cat\n  1: dog\npath: /where/it/was/written\nval: ./images/val/\n',
            **{f'labels/val/{k}.txt': v for k, v in YOLO_SIX.items()},
        },
        0.001,
    ),
    'fiftyone 1.22.1, YOLOv4Dataset': (
        'yolo',
        'data',
        {
            'obj.names': 'cat\ndog',
            'images.txt': 'data/a.jpg\ndata/b.jpg',
            **{f'data/{k}.txt': v for k, v in YOLO_SIX.items()},
        },
        0.001,
    ),
    'fiftyone 1.22.1, COCODetectionDataset': ('coco', 'data', {'labels.json': COCO}, 0),
    'globox 2.9.0, save_labelme': (
        'labelme',
        '.',
        {
            'a.json': labelme('a', (64, 48), ('cat', [3.0, 5.0], [20.0, 30.0]), ('dog', [10.0, 4.0], [33.0, 17.0])),
            'b.json': labelme('b', (101, 77), ('dog', [0.0, 0.0], [101.0, 77.0])),
        },
        0,
    ),
    'ultralytics 8.4.190, convert_coco, with the data.yaml that its users write': (
        'yolo',
        'images/val2017',
        {
            'coco.yaml': 'path: /where/it/was/written\ntrain: images/val2017\nval: images/val2017\nnames:\n  0: cat\n  1: dog\n',
            'labels/val2017/a.txt': '0 0.179688 0.364583 0.265625 0.520833\n1 0.335938 0.21875 0.359375 0.270833\n',
            'labels/val2017/b.txt': '1 0.5 0.5 1 1\n',
        },
        0.001,
    ),
    'ultralytics 8.4.190, convert_coco(use_segments=True)': (
        'yolo',
        'images/val2017',
        {
            'coco.yaml': 'train: images/val2017\nval: images/val2017\nnames: {0: cat, 1: dog}\n',
            'labels/val2017/a.txt': (
                '0 0.046875 0.104167 0.3125 0.104167 0.3125 0.625 0.046875 0.625\n'
                '1 0.15625 0.354167 0.15625 0.0833333 0.515625 0.0833333 0.515625 0.354167\n'
            ),
            'labels/val2017/b.txt': '1 0 0 1 0 1 1 0 1\n',
        },
        0.001,
    ),
    'pylabel 0.1.55, ExportToYoloV5, with paths that are relative': (
        'yolo',
        'images',
        {
            'dataset.yaml': 'names:\n- cat\n- dog\nnc: 2\npath: .\ntrain: images\nval: images\n',
            'labels/a.txt': '0 0.1797 0.3646 0.2656 0.5208\n1 0.3359 0.2188 0.3594 0.2708',
            'labels/b.txt': '1 0.5 0.5 1.0 1.0',
        },
        0.01,
    ),
    'labelme 6.3.1, with a turned rectangle': (
        'labelme',
        '.',
        {
            'a.json': json.dumps(
                dict(
                    version='6.3.1',
                    flags={},
                    shapes=[
                        dict(
                            label=label,
                            points=points,
                            group_id=None,
                            description='',
                            shape_type=kind,
                            flags={},
                            mask=None,
                        )
                        for label, kind, points in (
                            ('cat', 'rectangle', [[20.0, 30.0], [3.0, 5.0]]),
                            ('dog', 'oriented_rectangle', [[10.0, 4.0], [33.0, 4.0], [33.0, 17.0], [10.0, 17.0]]),
                        )
                    ],
                    imagePath='a.jpg',
                    imageData=None,
                    imageHeight=48,
                    imageWidth=64,
                )
            ),
            'b.json': labelme('b', (101, 77), ('dog', [0.0, 0.0], [101.0, 77.0])),
        },
        0,
    ),
    'Roboflow, YOLOv8 export': (
        'yolo',
        'train/images',
        {
            'data.yaml': (
                "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\nnc: 2\nnames: ['cat', 'dog']\n\n"
                'roboflow:\n  workspace: w\n  license: CC BY 4.0\n'
            ),
            'README.roboflow.txt': 'exported\n',
            **{f'train/labels/{k}.txt': v for k, v in YOLO_EXACT.items()},
        },
        0,
    ),
    'Label Studio, YOLO export': (
        'yolo',
        'images',
        {
            'classes.txt': 'cat\ndog\n',
            'notes.json': '{"categories": [{"id": 0, "name": "cat"}], "info": {}}',
            **{f'labels/{k}.txt': v for k, v in YOLO_EXACT.items()},
        },
        0,
    ),
    'CVAT, YOLO 1.1 export': (
        'yolo',
        'obj_train_data',
        {
            'obj.data': 'classes = 2\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n',
            'obj.names': 'cat\ndog\n',
            'train.txt': 'data/obj_train_data/a.jpg\ndata/obj_train_data/b.jpg\n',
            **{f'obj_train_data/{k}.txt': v for k, v in YOLO_SIX.items()},
        },
        0.001,
    ),
    'Roboflow, TensorFlow object detection': (
        'csv',
        '.',
        {
            '_annotations.csv': (
                'filename,width,height,class,xmin,ymin,xmax,ymax\n'
                'a.jpg,64,48,cat,3,5,20,30\na.jpg,64,48,dog,10,4,33,17\nb.jpg,101,77,dog,0,0,101,77\n'
            )
        },
        0,
    ),
    'keras-retinanet csv': (
        'csv',
        '.',
        {'annotations.csv': 'a.jpg,3,5,20,30,cat\na.jpg,10,4,33,17,dog\nb.jpg,0,0,101,77,dog\n'},
        0,
    ),
}


@pytest.mark.parametrize('writer', WRITERS)
def test_files_of(writer, tmp_path):
    kind, image_dir, files, tolerance = WRITERS[writer]
    write_images(tmp_path / image_dir)
    table = read_table(write_files(tmp_path, files))
    assert (
        table.kind == kind
        and table.category_names == ['cat', 'dog']
        and table.sizes_wh.tolist() == [[64, 48], [101, 77]]
    )
    found = rows_of(table)
    assert {name: [label for label, _ in rows] for name, rows in found.items()} == {'a': ['cat', 'dog'], 'b': ['dog']}
    boxes = [box for name in BOXES for _, box in found[name]]
    wanted = [box for name in BOXES for _, box in BOXES[name]]
    assert np.abs(np.array(boxes) - wanted).max() <= tolerance
    assert all((tmp_path / table.image_root / name).is_file() for name in table.file_names)
    annotations = read_annotations(tmp_path, kind=kind)
    assert annotations.classes == ('cat', 'dog') and len(annotations.gt) == 3 and annotations.kind == kind


@pytest.mark.parametrize(
    ('corners', 'box'),
    [
        (
            ('3', '5', '20', '30'),
            [2, 4, 18, 26],
        ),  # pascal_voc_writer 0.1.4: corners as given, VOC's rule adds the first pixel
        (('3.0', '5.0', '20.0', '30.0'), [2, 4, 18, 26]),  # globox 2.9.0; pylabel 0.1.55 the same in whole numbers
    ],
)
def test_corners_of_voc_are_pixels_from_1(corners, box, tmp_path):
    """Writers that do not know the rule write edges from 0; ``zero_based`` reads those."""
    write_images(tmp_path, ['a'])
    write_files(tmp_path, {'a.xml': voc('a', (64, 48), ('cat', *corners))})
    assert rows_of(read_table(tmp_path)) == {'a': [('cat', box)]}
    assert rows_of(read_table(tmp_path, zero_based=True)) == {'a': [('cat', [3, 5, 17, 25])]}
