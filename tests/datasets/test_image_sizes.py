"""Stated sizes against the pixels: photos turned by EXIF, exchanged sides, resized images; at the start and when an image is loaded."""

import json
import logging

import cv2
import numpy as np
import pytest
from mmengine.dataset import pseudo_collate
from PIL import Image
from torch.utils.data import DataLoader

from mmdet.datasets import CocoDataset, VOCDataset, account, base_det_dataset, decode_image, image_size
from mmdet.datasets.image_sizes import compare_sizes
from mmdet.datasets.transforms import LoadImageFromFile
from mmdet.evaluation import CocoMetric, VisDroneMetric
from mmdet.formats.images import BrokenImageError

from .coco_files import box, image, write_document

DOG = {'classes': ('dog',)}
LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)]
ANNOTATED = [
    *LOAD,
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'height', 'width')),
]
DIFFER = 'images of another size than stated (that of the pixels is taken)'
MET = 'images of another size than stated, found when they were loaded'


def write_photo(path, size_wh, orientation=1) -> None:
    """A picture of this stored size whose header says how it is to be turned."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.zeros((*size_wh[::-1], 3), np.uint8)).save(path, exif=exif)


# Stored size, orientation -> size of the pixels as they are loaded; the file states 60 x 40 each time.
KINDS = [
    ('a.jpg', (60, 40), 1, (60, 40)),
    ('a.jpg', (60, 40), 3, (60, 40)),
    ('a.jpg', (60, 40), 5, (40, 60)),
    ('a.jpg', (60, 40), 6, (40, 60)),
    ('a.jpg', (60, 40), 8, (40, 60)),
    ('a.png', (60, 40), 6, (40, 60)),
    ('a.tif', (60, 40), 6, (40, 60)),
    ('a.tif', (60, 40), 1, (60, 40)),
    ('a.webp', (60, 40), 6, (40, 60)),
    ('a.jpg', (40, 60), 1, (40, 60)),  # sides exchanged in the file
    ('a.jpg', (40, 60), 6, (60, 40)),  # the tool has turned it back
    ('a.jpg', (120, 80), 1, (120, 80)),  # the boxes are those of the larger image, the size of a smaller one
    ('a.jpg', (30, 20), 1, (30, 20)),
]


@pytest.fixture
def warnings(monkeypatch) -> list[str]:
    texts = []

    def print_log(text, logger=None, level=logging.INFO):
        texts.extend([text] if level == logging.WARNING else [])

    for module in (account, base_det_dataset):
        monkeypatch.setattr(module, 'print_log', print_log)
    return texts


@pytest.fixture
def folder(tmp_path):
    def write(name, size_wh, orientation=1, boxes=((1, 1, 8, 8), (5, 45, 9, 9), (45, 5, 9, 9), (500, 500, 9, 9))):
        write_photo(tmp_path / name, size_wh, orientation)
        entry = {**image(1, 60, 40), 'file_name': name}
        return write_document(tmp_path, [entry], [box(i, 1, each) for i, each in enumerate(boxes, 1)])

    return write


@pytest.mark.parametrize(('name', 'stored', 'orientation', 'pixels'), KINDS)
def test_boxes_are_judged_by_the_pixels(folder, tmp_path, name, stored, orientation, pixels):
    path = folder(name, stored, orientation)
    width, height = pixels
    assert image_size(tmp_path / name) == pixels == decode_image(tmp_path / name).shape[1::-1]
    corners = [(1, 1), (5, 45), (45, 5)]  # of the boxes of test data; the fourth lies outside of all images
    inside = [
        [x, y, x + (8 if x == 1 else 9), y + (8 if x == 1 else 9)] for x, y in corners if x < width and y < height
    ]
    for options in ({}, {'test_mode': True}, {'check_sizes': 0}, {'check_sizes': 'all'}, {'serialize_data': False}):
        dataset = CocoDataset(
            ann_file=path, metainfo=DOG, data_prefix={'img': str(tmp_path)}, pipeline=ANNOTATED, **options
        )
        sample = dataset[0]['data_samples']
        assert sample.gt_instances.bboxes.tolist() == inside
        assert (sample.height, sample.width) == sample.ori_shape == (height, width)
        said = dataset.account()
        assert (said.boxes, said.boxes_used) == (4, len(inside))
        assert said.left_out == {'outside the image': 4 - len(inside)}
        # A suspect box has its image looked at even if no sample is wanted.
        assert said.notes.get(DIFFER, 0) == (pixels != (60, 40)) and MET not in said.notes
        assert dataset.get_sizes_wh().tolist() == [list(pixels)]


def test_the_pipeline_decides_whether_photos_are_turned(folder, tmp_path):
    path = folder('a.jpg', (60, 40), 6)
    for color_type, pixels in (
        ('color', (40, 60)),
        ('grayscale', (40, 60)),
        ('color_ignore_orientation', (60, 40)),
        ('unchanged', (60, 40)),
    ):
        pipeline = [dict(type='LoadImageFromFile', color_type=color_type), *LOAD[1:]]
        dataset = CocoDataset(ann_file=path, metainfo=DOG, data_prefix={'img': str(tmp_path)}, pipeline=pipeline)
        assert dataset[0]['img'].shape[1::-1] == pixels == image_size(tmp_path / 'a.jpg', flag=color_type)
        assert dataset.account().notes.get(DIFFER, 0) == (pixels != (60, 40)) and MET not in dataset.account().notes


@pytest.mark.parametrize('workers', [0, 1])
def test_a_size_that_is_found_when_the_image_is_loaded(tmp_path, workers, warnings):
    """Nothing at the start asks for the size: the box lies within the stated one, but not within the pixels."""
    entries = [image(i, 60, 40) for i in (1, 2, 3)]
    for number in (1, 2, 3):
        write_photo(tmp_path / f'{number}.jpg', (60, 40) if number == 1 else (30, 40))
    boxes = [(1, 1, 8, 8), (45, 5, 9, 9), (25, 1, 10, 10)]
    annotations = [box(3 * i + j, i, each) for i in (1, 2, 3) for j, each in enumerate(boxes)]
    annotations.append(box(99, 3, (50, 1, 5, 5), iscrowd=1))
    path = write_document(tmp_path, entries, annotations)
    dataset = CocoDataset(
        ann_file=path, metainfo=DOG, data_prefix={'img': str(tmp_path)}, pipeline=LOAD, check_sizes=0, warn_left_out=1
    )
    assert dataset.account().boxes_used == 9 and MET not in dataset.account().notes
    loader = DataLoader(dataset, num_workers=workers, collate_fn=pseudo_collate)
    loaded = [batch['gt_bboxes'][0].tolist() for batch in loader]
    assert loaded == [[[1, 1, 9, 9], [45, 5, 54, 14], [25, 1, 35, 11]], *[[[1, 1, 9, 9], [25, 1, 35, 11]]] * 2]
    said = dataset.account()
    assert said.notes[MET] == 2 and said.left_out == {'ignored or crowd': 1, 'outside the image': 2}
    assert said.boxes_used == 7
    if not workers:
        assert len(warnings) == 1 and '2.jpg is 30 x 40, stated 60 x 40' in warnings[0]
    list(dataset)  # counted once
    assert dataset.account() == said


def test_a_sample_of_the_images(tmp_path, monkeypatch):
    stated = np.array([[10, 10]] * 100)
    looked = []

    def read(path):
        looked.append(int(path))
        if int(path) % 7 == 5:
            raise BrokenImageError('broken', file=path)
        return (10, 10) if int(path) != 99 else (20, 10)

    paths = [str(i) for i in range(100)]
    empty = compare_sizes([], np.zeros((0, 2), int), np.zeros(0, int), 10, read)
    assert empty.read == 0 and empty.warnings == [] and len(empty.sizes_wh) == 0
    none = compare_sizes(paths, stated, np.array([], int), 0, read)
    assert looked == [] and none.read == 0
    check = compare_sizes(paths, stated, np.array([50]), 10, read)
    assert sorted(looked) == [0, 11, 22, 33, 44, 50, 55, 66, 77, 88, 99]
    assert check.unreadable == [33] and check.differing == [99] and check.exchanged == 0 and check.read == 10
    assert check.sizes_wh[99].tolist() == [20, 10] and stated[99].tolist() == [10, 10]
    assert '99 is 20 x 10, stated 10 x 10' in check.warnings[0] and '1 of 11 image files' in check.warnings[1]
    assert compare_sizes(paths, stated, np.array([], int), None, read).read == 86
    assert compare_sizes(paths[:3], stated[:3], np.array([], int), 1000, read).read == 3


def test_warnings_at_the_start(folder, tmp_path, warnings):
    path = folder('a.jpg', (60, 40), 6)
    CocoDataset(ann_file=path, metainfo=DOG, data_prefix={'img': str(tmp_path)})
    CocoDataset(ann_file=path, metainfo=DOG, data_prefix={'img': 'nowhere'}, test_mode=True)
    assert any('1 of 1 images looked at have another size' in text for text in warnings)
    assert any('(1 with width and height exchanged, as in photos turned by EXIF)' in text for text in warnings)
    assert any('is 40 x 60, stated 60 x 40' in text for text in warnings)
    assert any('1 of 1 image files looked at are missing' in text and 'nowhere/a.jpg' in text for text in warnings)


def test_evaluation_by_the_pixels(folder, tmp_path):
    """All three sources of ground truth keep the box that only the pixels contain."""
    path = folder('a.jpg', (60, 40), 6, boxes=[(5, 45, 9, 9)])
    dataset = CocoDataset(
        ann_file=path, metainfo=DOG, data_prefix={'img': str(tmp_path)}, pipeline=ANNOTATED, test_mode=True
    )
    sample = dataset[0]['data_samples']
    found = dict(bboxes=np.array([[5, 45, 14, 54.0]]), scores=np.ones(1), labels=np.zeros(1, int))
    prediction = {**sample.to_dict(), 'pred_instances': found}
    for kind, ann_file, key in (
        (CocoMetric, path, 'coco/bbox_mAP'), (CocoMetric, None, 'coco/bbox_mAP'), (VisDroneMetric, path, 'visdrone/AP'),
        (VisDroneMetric, None, 'visdrone/AP'),
    ):  # fmt: skip
        metric = kind(ann_file)
        metric.dataset_meta = dataset.metainfo
        metric.process(None, [prediction])
        assert metric.evaluate(1)[key] == 1, (kind, ann_file)


def test_ignored_regions_of_a_turned_photo(folder, tmp_path):
    """The toolkit's rule of ignored regions needs the size of the image: it is that of the pixels."""
    path = folder('a.jpg', (60, 40), 6, boxes=[(5, 5, 9, 9)])
    document = json.loads((tmp_path / 'annotations.json').read_text())
    document['ignored_regions'] = [dict(image_id=1, bbox=[0, 45, 30, 15])]
    (tmp_path / 'annotations.json').write_text(json.dumps(document))
    metric = VisDroneMetric(path)
    metric.dataset_meta = dict(classes=('dog',))
    found = dict(
        bboxes=np.array([[5, 5, 14, 14], [5, 46, 14, 55.0]]), scores=np.array([0.9, 0.8]), labels=np.zeros(2, int)
    )
    metric.process(None, [dict(img_id=1, ori_shape=(60, 40), pred_instances=found)])
    result = metric.evaluate(1)
    assert result['visdrone/AP'] == 1 and result['visdrone/dropped_det'] == 1


def test_voc(tmp_path):
    for name in ('JPEGImages', 'Annotations'):
        (tmp_path / name).mkdir()
    write_photo(tmp_path / 'JPEGImages' / 'a.jpg', (60, 40), 6)
    (tmp_path / 'all.txt').write_text('a')
    corners = '<xmin>6</xmin><ymin>46</ymin><xmax>15</xmax><ymax>55</ymax>'
    size = '<size><width>60</width><height>40</height></size>'
    item = f'<object><name>dog</name><bndbox>{corners}</bndbox></object>'
    (tmp_path / 'Annotations' / 'a.xml').write_text(f'<annotation>{size}{item}</annotation>')
    dataset = VOCDataset(ann_file='all.txt', data_root=str(tmp_path), data_prefix=dict(sub_data_root=''), metainfo=DOG)
    assert [i['bbox'] for i in dataset[0]['instances']] == [[5, 45, 14, 54]] and dataset[0]['width'] == 40


def test_loader_alone(tmp_path):
    """A sample that states no size, or the right one, is left as it is."""
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((20, 30, 3), np.uint8))
    load = LoadImageFromFile()
    path = str(tmp_path / 'a.png')
    assert 'stated_shape' not in load(dict(img_path=path)) and 'stated_shape' not in load(
        dict(img_path=path, height=20, width=30)
    )
    instances = [
        dict(bbox=[29, 0, 40, 5]),
        dict(bbox=[30, 0, 40, 5]),
        dict(bbox=[31, 0, 40, 5], ignore_flag=1),
        dict(bbox='?'),
    ]
    results = load(dict(img_path=path, height=20, width=60, instances=instances))
    assert results['stated_shape'] == (20, 60) and (results['height'], results['width']) == (20, 30)
    assert results['instances'] == [instances[0], instances[3]] and results['num_outside'] == 1
