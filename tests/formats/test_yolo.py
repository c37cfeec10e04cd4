"""YOLO text: rows, layouts, errors, and exact round trips."""

from dataclasses import replace

import numpy as np
import pytest

from mmdet.formats.annotations import read_table, splits_of
from mmdet.formats.tables import Detections
from mmdet.formats.yolo import write_yolo, write_yolo_results
from mmdet.utils import ConfigError, DataError

from .annotation_files import rows_of, write_files, write_images

YAML = 'train: images\nnames: [cat, dog]\n'


def read(root, labels, yaml=YAML, **options):
    write_images(root / 'images', ['a'])
    return read_table(write_files(root, {'data.yaml': yaml, 'labels/a.txt': labels}), **options)


@pytest.mark.parametrize(
    ('row', 'rows', 'note'),
    [
        ('', [], None),
        ('1 0.5 0.5 0.25 0.5\n\n', [('dog', [24, 12, 16, 24])], None),
        ('0.000000 0.5 0.5 0.25 0.5', [('cat', [24, 12, 16, 24])], None),  # as numpy.savetxt prints the class
        ('0 0.5 0.5 0.25 0.5 0.875', [('cat', [24, 12, 16, 24])], 'confidences (not read)'),
        ('0 0.25 0.5 0.5 0.25 0.75 1', [('cat', [16, 12, 32, 36])], 'polygons (their bounding boxes are taken)'),
        ('0 0.25 0.25 0.75 0.25 0.75 0.5 0.25 0.5', [('cat', [16, 12, 32, 12])], 'polygons (their bounding boxes are taken)'),
        ('0 0.0 0.5 0.25 0.5', [('cat', [-8, 12, 16, 24])], None),  # over the border
        ('0 -0.00125 0.5 0.25 0.5', [('cat', [-8.08, 12, 16, 24])], 'boxes with numbers just outside 0..1 (kept)'),
    ],
)  # fmt: skip
def test_rows(row, rows, note, tmp_path):
    table = read(tmp_path, row)
    assert rows_of(table) == {'a': rows}
    assert dict(table.notes) == ({note: 1} if note else {})


@pytest.mark.parametrize(
    ('row', 'message'),
    [
        ('0 0.5 0.5 0.25', 'line 1: must be finite numbers separated by blanks'),
        ('0 0.5 0.5 0.25 0.5 0.9 0.9 0.8', 'line 1: must be finite numbers'),
        ('0,0.5,0.5,0.25,0.5', 'line 1: must be finite numbers'),
        ('0 0.5 0.5 0.25 0.5\n2 0.5 0.5 0.25 0.5', r'line 2: class: must be a whole number in 0..1: there are 2 class names'),
        ('0.5 0.5 0.5 0.25 0.5', 'line 1: class'),
        ('-1 0.5 0.5 0.25 0.5', 'line 1: class'),
        ('0 32 24 16 24', 'are these pixels'),
        ('0 0.5 nan 0.25 0.5', 'line 1: must be finite numbers'),
    ],
)  # fmt: skip
def test_broken_rows(row, message, tmp_path):
    with pytest.raises(DataError, match=rf'a\.txt: .*{message}|a\.txt: {message}'):
        read(tmp_path, row)


@pytest.mark.parametrize(
    ('yaml', 'message'),
    [
        ('names: [cat, dog]\ntrain: nowhere\n', 'no image|no such'),
        ('train: images\nnc: 2\n', 'has no class names'),
        ('train: images\nnc: 3\nnames: [cat, dog]\n', 'nc: names has 2 classes'),
        ('train: images\nnames: {0: cat, 2: dog}\n', 'the numbers must be 0 to 1'),
        ('train: images\nnames: [cat, cat]\n', 'two classes have one name'),
        ('train: images\nnames: [yes, no]\n', 'quote them'),
        ('train: 3\nnames: [cat]\n', 'train: must be a folder'),
        ('train: [images\nnames: [cat]\n', 'broken YAML'),
    ],
)
def test_broken_yaml(yaml, message, tmp_path):
    with pytest.raises(DataError, match=message):
        read(tmp_path, '', yaml, kind='yolo')


@pytest.mark.parametrize(
    ('yaml', 'files'),
    [
        ('path: ..\ntrain: data/images/train\nval: data/images/val\nnames: {0: cat, 1: dog}\n', {}),
        ('train: [images/train]\nvalid: images/val\nnames: [cat, dog]\nnc: 2\n', {}),
        ('train: train.txt\nval: val.txt\nnames: [cat, dog]\n', {'train.txt': './images/train/a.jpg\n', 'val.txt': 'images/val/b.jpg'}),
        ('train: ../images/train\nval: ../images/val\ntest: ../images/test\nnames: [cat, dog]\n', {}),
    ],
)  # fmt: skip
def test_layouts(yaml, files, tmp_path):
    root = tmp_path / 'data'
    write_images(root / 'images' / 'train', ['a'])
    write_images(root / 'images' / 'val', ['b'])
    write_files(root, {'data.yaml': yaml, 'labels/train/a.txt': '0 0.5 0.5 0.25 0.5', **files})
    assert splits_of(root) == ['train', 'val']
    assert rows_of(read_table(root, split='train')) == {'a': [('cat', [24, 12, 16, 24])]}
    both = read_table(root / 'data.yaml')
    assert [name.rpartition('/')[2] for name in both.file_names] == ['a.jpg', 'b.jpg'] and len(both.image) == 1
    assert both.notes['images without a label file (no objects)'] == 1
    with pytest.raises(ConfigError, match='split: must be one of'):
        read_table(root, split='other')


def test_key_points_are_passed_over(tmp_path):
    table = read(tmp_path, '1 0.5 0.5 0.25 0.5 0.1 0.2 2 0.3 0.4 0', 'kpt_shape: [2, 3]\n' + YAML)
    assert rows_of(table) == {'a': [('dog', [24, 12, 16, 24])]} and table.notes == {'key points of boxes (not read)': 1}


def test_labels_without_an_image_are_counted(tmp_path):
    write_files(tmp_path, {'labels/ghost.txt': '0 0.5 0.5 0.25 0.5'})
    assert read(tmp_path, '').notes == {'label files without an image (left out)': 1}


def test_names_given_by_hand(tmp_path):
    write_images(tmp_path / 'pictures', ['a'])
    write_files(tmp_path, {'texts/a.txt': '1 0.5 0.5 0.25 0.5'})
    with pytest.raises(DataError, match='has no class names'):
        read_table(tmp_path / 'texts', tmp_path / 'pictures')
    table = read_table(tmp_path / 'texts', tmp_path / 'pictures', 'yolo', classes=['x', 'y'])
    assert rows_of(table) == {'a': [('y', [24, 12, 16, 24])]}


def test_boxes_come_back_bit_by_bit(tmp_path):
    """Random pixels with up to nine decimals, in images of odd sizes; written, read, and written again."""
    rng = np.random.default_rng(0)
    table = read(tmp_path, '0 0.5 0.5 0.25 0.5')
    count = 2000
    size = np.array([1919, 1081])
    start = np.round(rng.random((count, 2)) * (size - 20), 9)
    bbox = np.concatenate([start, np.round(rng.random((count, 2)) * (size - start), 9)], axis=1)
    bbox[::3] = np.round(bbox[::3])
    bbox[:, 2:] = np.minimum(np.maximum(bbox[:, 2:], 1), np.floor(size - start))
    many = replace(
        table, sizes_wh=size[None], image=np.zeros(count, np.int64), category=np.arange(count) % 2, bbox=bbox,
        area=bbox[:, 2] * bbox[:, 3], crowd=np.zeros(count, bool), ignore=np.zeros(count, bool),
        rotation=np.zeros(count), visibility=np.full((count, 2), -1), file_names=['a.jpg'],
    )  # fmt: skip
    assert write_yolo(tmp_path / 'new', {'train': many}) == {'train': {}}
    lines = (tmp_path / 'new' / 'labels' / 'train' / 'a.txt').read_text().splitlines()
    labels, x, y, w, h = np.array([line.split() for line in lines], dtype=np.float64).T
    assert labels.tolist() == (np.arange(count) % 2).tolist()
    back = np.stack([(x - w / 2) * 1919, (y - h / 2) * 1081, w * 1919, h * 1081], axis=1)
    assert np.abs(back - bbox).max() < 1e-9  # any reader
    from mmdet.formats.annotation_table import settled

    assert settled(back).tolist() == bbox.tolist()  # ours


def test_what_yolo_cannot_hold_is_counted(tmp_path):
    table = read(tmp_path, '0 0.5 0.5 0.25 0.5\n' * 6)
    bbox = np.array([[0, 0, 9, 9], [0, 0, 9, 9], [1, 1, 0, 5], [70, 1, 9, 9], [-20, 0, 30, 9], [1, 2, 3, 4]], float)
    flags = np.eye(6, dtype=bool)
    table = replace(table, bbox=bbox, crowd=flags[0], ignore=flags[1])
    notes = write_yolo(tmp_path / 'new', {'train': table})['train']
    assert notes == {
        'crowds and ignored boxes (left out)': 2,
        'boxes without area (left out)': 1,
        'boxes outside their image (left out)': 1,
        'boxes clipped to their image': 1,
    }
    written = (tmp_path / 'new' / 'labels' / 'train' / 'images' / 'a.txt').read_text().splitlines()
    assert written[0] == '0 0.078125 0.09375 0.15625 0.1875' and len(written) == 2


def test_images_that_would_share_a_label_file(tmp_path):
    table = read(tmp_path, '')
    two = replace(table, image_ids=[1, 2], file_names=['a.jpg', 'a.png'], sizes_wh=np.array([[8, 6], [8, 6]]))
    with pytest.raises(DataError, match='has the label file of a.jpg'):
        write_yolo(tmp_path / 'new', {'train': two})


def test_results_are_sorted_by_confidence(tmp_path):
    dt = Detections([0, 0], [1, 0], [[24, 12, 16, 24], [0, 0, 64, 48]], [0.25, 0.75])
    write_yolo_results(tmp_path, ['x/a', 'b'], np.array([[64, 48], [9, 9]]), dt)
    assert (tmp_path / 'x' / 'a.txt').read_text() == '0 0.5 0.5 1.0 1.0 0.75\n1 0.5 0.5 0.25 0.5 0.25\n'
    assert (tmp_path / 'b.txt').read_text() == ''
