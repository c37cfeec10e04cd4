"""VOC to COCO: coordinates, counts, errors, and the real blood cells."""

import json

import cv2
import numpy as np
import pytest

from mmdet.datasets import CocoDataset
from mmdet.datasets.converters import convert_voc
from mmdet.utils import ConfigError, DataError


def voc_object(name='dog', corners=(11, 6, 20, 15), difficult='0') -> str:
    box = ''.join(
        f'<{key}>{value}</{key}>' for key, value in zip(('xmin', 'ymin', 'xmax', 'ymax'), corners, strict=True)
    )
    return f'<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{box}</bndbox></object>'


def write_voc(root, annotations: dict[str, str], split='train', size_wh=(60, 40)):
    """Images 60 x 40 and one XML each, all in one split."""
    for name in ('Annotations', 'ImageSets/Main', 'JPEGImages'):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name, objects in annotations.items():
        cv2.imwrite(str(root / 'JPEGImages' / f'{name}.jpg'), np.zeros((40, 60, 3), np.uint8))
        size = f'<size><width>{size_wh[0]}</width><height>{size_wh[1]}</height></size>'
        (root / 'Annotations' / f'{name}.xml').write_text(f'<annotation>{size}{objects}</annotation>')
    (root / 'ImageSets' / 'Main' / f'{split}.txt').write_text('\n'.join(annotations) + '\n')
    return root


def convert(root, **options):
    reports = convert_voc(root, root / 'out', **options)
    return reports, json.loads((root / 'out' / f'{reports[0].split}.json').read_text())


def test_image_without_objects(tmp_path):
    (report,), document = convert(write_voc(tmp_path, {'a': ''}))
    assert document['annotations'] == [] and document['images'] == [
        {'id': 1, 'file_name': 'a.jpg', 'width': 60, 'height': 40}
    ]
    assert report.images == 1 and report.found == 0


@pytest.mark.parametrize(
    ('corners', 'bbox'),
    [
        ((11, 6, 20, 15), [10, 5, 10, 10]),  # ten pixels, the first one being number 11
        ((1, 1, 60, 40), [0, 0, 60, 40]),
        ((0, 0, 70, 50), [0, 0, 60, 40]),
        ((5.5, 6, 8.25, 9), [4.5, 5, 3.75, 4]),
    ],
)
def test_coordinates(tmp_path, corners, bbox):
    _, document = convert(write_voc(tmp_path, {'a': voc_object(corners=corners)}))
    (annotation,) = document['annotations']
    assert annotation['bbox'] == bbox and annotation['area'] == bbox[2] * bbox[3] and annotation['id'] == 1


def test_zero_based(tmp_path):
    _, document = convert(write_voc(tmp_path, {'a': voc_object()}), zero_based=True)
    assert document['annotations'][0]['bbox'] == [11, 6, 9, 9]


def test_counts(tmp_path):
    objects = (
        voc_object() + voc_object() + voc_object('cat') + voc_object(difficult='1', corners=(1, 1, 5, 5))
        + voc_object(corners=(7, 7, 7, 9)) + voc_object(corners=(7, 9, 8, 7)) + voc_object(corners=(61, 1, 70, 9))
        + voc_object(corners=(50, 30, 61, 41)) + voc_object('cow')
    )  # fmt: skip
    (report,), document = convert(
        write_voc(tmp_path, {'a': objects, 'b': ''}, size_wh=(50, 40)), classes=['dog', 'cat']
    )
    assert [c['name'] for c in document['categories']] == ['dog', 'cat']
    assert (report.found, report.kept, report.degenerate, report.outside, report.duplicates) == (9, 4, 2, 1, 1)
    assert (report.clipped, report.difficult, report.other_classes, report.resized) == (1, 1, 1, 2)
    assert dict(report.per_class) == {'dog': 3, 'cat': 1} and 'degenerate 2' in str(report)
    assert [a['iscrowd'] for a in document['annotations']] == [0, 0, 1, 0]
    assert document['images'][0]['width'] == 60  # the file's, not the XML's
    dataset = CocoDataset(ann_file=str(report.path), metainfo={'classes': ('dog', 'cat')})
    assert [i['ignore_flag'] for i in dataset.get_data_info(0)['instances']] == [0, 0, 1, 0]


def test_errors(tmp_path):
    with pytest.raises(DataError, match='Annotations'):
        convert(tmp_path)
    root = write_voc(tmp_path, {'a': voc_object()})
    with pytest.raises(DataError, match=r"no such split; there are \['train'\].*'test'"):
        convert(root, splits=['test'])
    with pytest.raises(ConfigError, match=r"\['dog'\].*'horse'"):
        convert(root, classes=['dog', 'horse'])
    with pytest.raises(ConfigError, match='different'):
        convert(root, classes=['dog', 'dog'])
    for content, message in (
        ('<annotation><object>', r'a\.xml: broken XML'),
        ('', r'a\.xml: broken XML'),
        ('<annotation><object><bndbox/></object></annotation>', 'object 1: name'),
        ('<annotation><object><name>dog</name></object></annotation>', 'object 1: bndbox'),
        (f'<annotation>{voc_object()}{voc_object(corners=(1, "x", 3, 4))}</annotation>', "object 2: bndbox.*'x'"),
        (f'<annotation>{voc_object("a" + chr(10) + "b")}</annotation>', 'object 1: name: must be one line'),
        (f'<annotation>{voc_object(corners=(1, "nan", 3, 4))}</annotation>', 'object 1: bndbox.*finite'),
    ):
        (root / 'Annotations' / 'a.xml').write_text(content)
        with pytest.raises(DataError, match=message):
            convert(root)
    (root / 'ImageSets' / 'Main' / 'train.txt').write_text('nowhere\n')
    with pytest.raises(DataError, match=r'nowhere\.xml: a split names this annotation file, but there is no such file'):
        convert(root)
    (root / 'ImageSets' / 'Main' / 'train.txt').write_text('\n')
    with pytest.raises(DataError, match='names no image'):
        convert(root)
    write_voc(root, {'a': voc_object()})
    (root / 'JPEGImages' / 'a.jpg').unlink()
    (root / 'Annotations' / 'a.xml').write_text(f'<annotation><filename>{"a" * 5000}.jpg</filename></annotation>')
    with pytest.raises(DataError, match='no image of this name'):
        convert(root)
    assert not (root / 'out').exists()
