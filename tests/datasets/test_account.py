"""The account of a data set: one fate for every box, sums that agree with the file, what is logged."""

import json
import os
import re
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmdet.datasets import (
    BaseDetDataset,
    ClassBalancedDataset,
    CocoDataset,
    ConcatDataset,
    MultiImageMixDataset,
    RepeatDataset,
    VisDroneDataset,
    VOCDataset,
    XMLDataset,
    base_det_dataset,
)
from mmdet.datasets import account as account_module
from mmdet.datasets.account import REASONS, BoxAccount, account_of, count_cut, fates_of_boxes
from mmdet.datasets.converters import convert_voc
from mmdet.formats import read_visdrone_rows
from mmdet.utils import ConfigError

from ..conftest import REPOSITORY
from .coco_files import box, break_image, image, write_document, write_images

DOG_CAT = {'classes': ('dog', 'cat')}
_DATA = Path(os.environ.get('MMDET_SAMPLE_DATA', REPOSITORY.parent / 'shared' / 'data'))
needs_data = pytest.mark.skipif(not _DATA.is_dir(), reason=f'no sample data at {_DATA}; set MMDET_SAMPLE_DATA')


def build(folder, images, annotations, **options) -> CocoDataset:
    path = write_document(folder, images, annotations)
    return CocoDataset(ann_file=path, metainfo=DOG_CAT, data_prefix={'img': str(folder)}, **options)


def check_sums(dataset) -> BoxAccount:
    """The account agrees with the records, and its parts sum to the whole."""
    account = dataset.account()
    records = [dataset.get_data_info(i) for i in range(len(dataset))]
    assert account.images_used == len(records)
    assert account.boxes_used == sum(not i['ignore_flag'] for r in records for i in r['instances'])
    assert account.images_used + sum(account.images_left_out.values()) == account.images
    assert account.boxes_used + sum(account.left_out.values()) == account.boxes
    assert all(count > 0 for counts in (account.left_out, account.images_left_out) for count in counts.values())
    return account


def test_no_boxes(tmp_path):
    account = check_sums(build(tmp_path, [image(1)], []))
    assert (account.images, account.images_used, account.boxes, account.boxes_used) == (1, 1, 0, 0)
    assert account.share_left_out == 0 and account.left_out == {} and account.warning(0) is None
    assert BoxAccount().text() == 'uses 0 of 0 images and 0 of 0 boxes'


FATES = [
    ((0, 0, 5, 5), {}, 'used'),
    ((0, 0, 1, 1), {}, 'used'),
    ((-4, 0, 5, 5), {}, 'used'),
    ((0, 0, 0, 5), {}, 'no area'),
    ((3, 3, -5, 5), {'area': 20}, 'no area'),
    ((0, 0, 0.9, 5), {}, 'too small'),
    ((40, 0, 5, 5), {}, 'outside the image'),
    ((0, 30, 5, 5), {}, 'outside the image'),
    ((-5, 0, 5, 5), {}, 'outside the image'),
    ((0, 0, 5, 5), {'ignore': 1}, 'ignored or crowd'),
    ((0, 0, 5, 5), {'iscrowd': 1}, 'ignored or crowd'),
    ((0, 0, 0, 5), {'iscrowd': 1}, 'ignored or crowd'),
    ((0, 0, 5, 5), {'category_id': 7}, 'unknown class'),
    ((0, 0, 0, 0), {'category_id': 7, 'ignore': 1}, 'unknown class'),
    # The area of the file decides nothing.
    ((0, 0, 5, 5), {'area': 0}, 'used'),
    ((0, 0, 5, 5), {'area': -3}, 'used'),
    ((0, 0, 5, 5), {'area': None}, 'used'),
    ((0, 0, 5, 5), {'area': '25'}, 'used'),
    ((0, 0, 5, 5), {'area': '0'}, 'used'),
    ((0, 0, 5, 5), {'area': ''}, 'used'),
    ((0, 0, 5, 5), {'area': 0, 'segmentation': [[0, 0, 0, 0, 0, 0]]}, 'used'),
    ((0, 0, 0, 5), {'area': 25}, 'no area'),
]


@pytest.mark.parametrize(('bbox', 'extra', 'fate'), FATES)
def test_every_box_has_one_fate(tmp_path, bbox, extra, fate):
    for options in ({}, {'test_mode': True}, {'serialize_data': False}):
        account = check_sums(build(tmp_path, [image(1)], [box(1, 1, bbox, **extra)], **options))
        assert account.boxes == 1 and account.left_out == ({} if fate == 'used' else {fate: 1})

    class Plugin(CocoDataset):  # read record by record
        def parse_data_info(self, raw_data_info):
            return super().parse_data_info(raw_data_info)

    dataset = Plugin(ann_file=str(tmp_path / 'annotations.json'), metainfo=DOG_CAT)
    assert check_sums(dataset).left_out == account.left_out and dataset.account().images == 1


def test_all_fates_in_one_file(tmp_path):
    annotations = [box(number, 1, bbox, **extra) for number, (bbox, extra, _) in enumerate(FATES)]
    account = check_sums(build(tmp_path, [image(1)], annotations))
    expected = Counter(fate for *_, fate in FATES)
    assert account.boxes_used == expected.pop('used') and account.left_out == dict(expected)
    assert account.notes['boxes that reach beyond the border of their image (kept)'] == 1
    text = account.text()
    assert text.startswith('CocoDataset ') and f'uses 1 of 1 images and {account.boxes_used} of 22 boxes' in text
    assert '3 outside the image' in text and '3 no area' in text


def test_functions():
    none = np.zeros((0, 4)), np.zeros((0, 2))
    assert fates_of_boxes(*none).shape == (0,) and count_cut(*none) == 0
    boxes = np.array([[30, 0, 5, 5], [31, 0, 5, 5], [36, 0, 5, 5], [-0.001, 0, 5, 30.001]], dtype=float)
    sizes = np.array([[40, 30]] * 4)
    assert [REASONS[i] for i in fates_of_boxes(boxes, sizes, border_margin=10)] == [
        'used', 'within border_margin', 'within border_margin', 'used',
    ]  # fmt: skip
    assert count_cut(boxes, sizes) == 1  # rounding errors are none


def test_border_margin_and_filtered_images(tmp_path):
    images = [image(1), image(2), image(3, 64, 20), image(4)]
    annotations = [box(1, 1), box(2, 1, (35, 0, 5, 5)), box(3, 3), box(4, 3, iscrowd=1), box(5, 4, category_id=7)]
    options = dict(border_margin=10, filter_cfg=dict(filter_empty_gt=True, min_size=25))
    account = check_sums(build(tmp_path, images, annotations, **options))
    assert account.images_left_out == {
        "without an annotation of the 2 classes ('dog', 'cat')": 2,
        'with a side below 25 pixels': 1,
    }
    assert account.left_out == {
        'within border_margin': 1,
        'unknown class': 1,
        'ignored or crowd': 1,
        'in a filtered image': 1,
    }
    assert account.boxes_used == 1
    evaluation = check_sums(build(tmp_path, images, annotations, test_mode=True, **options))
    assert evaluation.images_used == 4 and evaluation.boxes_used == 2


def test_subsets(tmp_path):
    images, annotations = [image(i) for i in range(1, 5)], [box(i, i) for i in range(1, 5)]
    dataset = build(tmp_path, images, annotations, indices=3)
    assert check_sums(dataset).images_left_out == {'outside indices': 1}
    subset = dataset.get_subset([0])
    assert check_sums(subset).left_out == {'in an image outside indices': 3}
    assert check_sums(dataset).boxes_used == 3  # as before
    twice = check_sums(build(tmp_path, images, annotations, indices=[0, 0, 1, 2, 3, 3]))
    assert (twice.images_used, twice.boxes_used) == (6, 6)


def test_broken_images(tmp_path):
    images = write_images(tmp_path, [(40, 30)] * 4)
    annotations = [box(i, 1 + i % 4) for i in range(8)]
    load = [dict(type='LoadImageFromFile')]
    break_image(tmp_path, 2)
    (tmp_path / '3.jpg').unlink()
    dataset = build(tmp_path, images, annotations, pipeline=load)
    assert check_sums(dataset).boxes_used == 8  # the pixels are not decoded at the start
    for index in range(4):
        dataset[index]
    account = dataset.account()
    assert account.images_left_out == {'missing or broken image file': 2} and account.images_used == 2
    assert account.left_out == {'in an unreadable image': 4}
    skipping = build(tmp_path, images, annotations, pipeline=load, test_mode=True, skip_broken=True)
    assert check_sums(skipping).left_out == {'in an unreadable image': 4}


def test_masks(tmp_path):
    corner, line = [[1, 1, 4, 1, 4, 4]], [[1, 1, 4, 1]]
    runs = {'size': [30, 40], 'counts': [5, 10, 1185]}
    annotations = [box(i, 1, segmentation=each) for i, each in enumerate((corner, line, runs, [[]]), 1)]
    for bitmaps, left_out in ((True, 2), (False, 3)):
        pipeline = [dict(type='LoadAnnotations', with_mask=True, poly2mask=bitmaps)]
        dataset = build(tmp_path, [image(1)], annotations, pipeline=pipeline)
        assert dataset[0]['gt_ignore_flags'].sum() == left_out
        assert dataset.account().left_out == {'no mask': left_out}
    assert build(tmp_path, [image(1)], annotations).account().left_out == {}
    account = build(tmp_path, [image(1)], [box(1, 1), *annotations[1:]], pipeline=pipeline).account()
    assert account.notes['objects without a segmentation, whose masks cannot be loaded'] == 1


def test_data_sets_of_other_code(tmp_path):
    images, annotations = [image(1), image(2)], [box(1, 1), box(2, 2), box(3, 2, iscrowd=1)]

    class Picky(CocoDataset):
        def parse_data_info(self, raw_data_info):
            record = super().parse_data_info(raw_data_info)
            return None if record['img_id'] == 2 else record

    class Foreign(CocoDataset):
        def load_data_list(self):
            instances = [dict(bbox=[0, 0, 5, 5], bbox_label=0, ignore_flag=flag) for flag in (0, 1)]
            return [dict(img_path='a', img_id=i, width=9, height=9, instances=instances) for i in range(3)]

        def filter_data(self):
            return self.data_list[1:]

    path = write_document(tmp_path, images, annotations)
    account = check_sums(Picky(ann_file=path, metainfo=DOG_CAT))
    assert account.images_left_out == {'left out by Picky': 1}
    assert account.left_out == {'left out by Picky': 1, 'ignored or crowd': 1}
    account = check_sums(Foreign(ann_file=path, metainfo=DOG_CAT))
    assert account.images_left_out == {'filtered': 1} and account.boxes == 6
    assert account.left_out == {'ignored or crowd': 3, 'in a filtered image': 1}

    class Plain:  # of mmengine's kind
        def __len__(self):
            return 2

        def get_data_info(self, index):
            return dict(instances=[dict(ignore_flag=0), dict(ignore_flag=1)])

    assert account_of(Plain()).left_out == {'ignored or crowd': 2} and account_of([1, 2]).images == 2


def test_mmengine_format(tmp_path):
    boxes = [[0, 0, 5, 5], [3, 3, 3, 9], [50, 0, 60, 9], [0, 0, 5, 5]]
    instances = [dict(bbox=each, bbox_label=0, ignore_flag=int(i == 3)) for i, each in enumerate(boxes)]
    record = dict(img_path='1.jpg', img_id=1, width=40, height=30, instances=instances)
    document = dict(metainfo=dict(classes=['dog']), data_list=[record])
    (tmp_path / 'a.json').write_text(json.dumps(document))
    dataset = BaseDetDataset(ann_file=str(tmp_path / 'a.json'))
    assert check_sums(dataset).left_out == {'no area': 1, 'outside the image': 1, 'ignored or crowd': 1}
    assert [item['ignore_flag'] for item in dataset[0]['instances']] == [0, 1]


def test_visdrone(tmp_path):
    for name in ('annotations', 'images'):
        (tmp_path / name).mkdir()
    for stem in 'abc':
        cv2.imwrite(str(tmp_path / 'images' / f'{stem}.jpg'), np.zeros((100, 200, 3), np.uint8))
    rows = '100,50,30,20,1,4,0,1\n190,90,30,20,1,1,0,0\n0,0,50,50,0,0,0,0\n5,5,9,9,0,11,0,0\n1,2,3,4,0,2,0,0\n'
    (tmp_path / 'annotations' / 'a.txt').write_text(rows + '3,3,0,9,1,1,0,0\n300,3,9,9,1,1,0,0\n')
    (tmp_path / 'annotations' / 'b.txt').write_text('1,2,3,4,1,2,0,0\n')
    break_image(tmp_path / 'images', 'b')
    (tmp_path / 'images' / 'b.jpg').write_bytes(b'no image')
    for regions in ('ignore', 'drop'):
        dataset = VisDroneDataset(ann_file=str(tmp_path / 'annotations'), ignored_regions=regions)
        account = check_sums(dataset)
        assert (account.images, account.boxes, account.boxes_used) == (3, 8, 2)
        assert account.left_out == {
            'ignored or crowd': 3,
            'no area': 1,
            'outside the image': 1,
            'in an unreadable image': 1,
        }
        assert account.images_left_out == {'without an annotation file': 1, 'missing or broken image file': 1}
    cars = VisDroneDataset(ann_file=str(tmp_path / 'annotations'), metainfo=dict(classes=('car',)))
    assert check_sums(cars).left_out['unknown class'] == 3


def test_voc(tmp_path):
    for name in ('JPEGImages', 'Annotations', 'ImageSets'):
        (tmp_path / name).mkdir()
    (tmp_path / 'ImageSets' / 'all.txt').write_text('a\n')
    item = '<object><name>{}</name><difficult>{}</difficult><bndbox>{}</bndbox></object>'
    corners = ''.join(f'<{name}>{{}}</{name}>' for name in ('xmin', 'ymin', 'xmax', 'ymax'))
    objects = [
        ('dog', 0, (1, 1, 11, 11)), ('dog', 1, (1, 1, 11, 11)), ('cow', 0, (1, 1, 11, 11)), ('cat', 0, (5, 5, 5, 9)),
        ('cat', 0, (1, 1, 5, 5)), ('cat', 0, (90, 1, 95, 9)),
    ]  # fmt: skip
    body = ''.join(item.format(name, hard, corners.format(*box)) for name, hard, box in objects)
    size = '<size><width>40</width><height>30</height></size>'
    (tmp_path / 'Annotations' / 'a.xml').write_text(f'<annotation>{size}{body}</annotation>')
    options = dict(ann_file='ImageSets/all.txt', data_root=str(tmp_path), data_prefix=dict(sub_data_root=''))
    dataset = XMLDataset(metainfo=DOG_CAT, filter_cfg=dict(bbox_min_size=8), **options)
    assert check_sums(dataset).left_out == {
        'unknown class': 1, 'ignored or crowd': 1, 'no area': 1, 'too small': 1, 'outside the image': 1,
    }  # fmt: skip
    assert len(dataset[0]['instances']) == 3
    plain = check_sums(VOCDataset(metainfo=DOG_CAT, **options))
    assert plain.boxes_used == 2 and 'too small' not in plain.left_out


def test_wrappers_sum_over_their_parts(tmp_path):
    parts = []
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        annotations = [box(1, 1), box(2, 1, (0, 0, 0, 0)), *([box(3, 2, iscrowd=1)] if number == 2 else [])]
        parts.append(build(tmp_path / str(number), [image(1), image(2)], annotations))
    both = ConcatDataset(parts)
    for dataset in (
        both,
        RepeatDataset(both, 3),
        ClassBalancedDataset(both, 0.5),
        MultiImageMixDataset(RepeatDataset(both, 2), pipeline=[]),
    ):
        account = dataset.account()
        assert (account.images, account.images_used, account.boxes, account.boxes_used) == (4, 4, 5, 2)
        assert account.left_out == {'no area': 2, 'ignored or crowd': 1} and 'annotations.json' in account.source
    assert parts[0].account().boxes == 2  # as before


@pytest.fixture
def logged(monkeypatch) -> list[tuple[int, str]]:
    lines = []
    monkeypatch.setattr(account_module, 'print_log', lambda text, logger=None, level=20: lines.append((level, text)))
    return lines


def test_it_is_said_once(tmp_path, logged, monkeypatch):
    images = write_images(tmp_path, [(40, 30)])
    dataset = build(tmp_path, images, [box(1, 1)], lazy_init=True)
    assert logged == []
    dataset.full_init(), dataset.full_init(), len(dataset), dataset.get_subset(1)
    assert logged == [(20, dataset.account().text())]
    assert logged[0][1].endswith(
        'uses 1 of 1 images and 1 of 1 boxes\n  images whose size was compared with the annotations: 1'
    )
    monkeypatch.setattr(base_det_dataset, 'is_main_process', lambda: False)
    build(tmp_path, images, [box(1, 1)])
    assert len(logged) == 1


@pytest.mark.parametrize(
    ('annotations', 'options', 'warned'),
    [
        ([box(i, 1) for i in range(10)], {}, None),
        ([box(0, 1, (0, 0, 0, 0)), *(box(i, 1) for i in range(1, 20))], {}, None),  # just the share
        ([box(0, 1, (0, 0, 0, 0)), *(box(i, 1) for i in range(1, 19))], {}, r'1 of 19 boxes \(5.3%\) are left out'),
        (
            [box(i, 1, iscrowd=1) for i in range(2)] + [box(9, 1)],
            {},
            'more than warn_left_out=0.05: 2 ignored or crowd',
        ),
        ([box(1, 1, (0, 0, 0, 0)), box(2, 1)], {'warn_left_out': 0.5}, None),
        ([box(1, 1, (0, 0, 0, 0)), box(2, 1)], {'warn_left_out': 0.4}, '50.0%.*0.4: 1 no area'),
        ([], {}, 'there is no box to train on'),
        ([], {'test_mode': True}, None),
    ],
)
def test_warnings(tmp_path, logged, annotations, options, warned):
    build(tmp_path, write_images(tmp_path, [(40, 30)]), annotations, **options)
    warnings = [text for level, text in logged if level == 30]
    if warned is None:
        assert warnings == []
    else:
        assert len(warnings) == 1 and re.search(warned, warnings[0]) and 'annotations.json' in warnings[0]


@pytest.mark.parametrize(
    'options', [{'warn_left_out': 1.5}, {'warn_left_out': True}, {'check_sizes': -1}, {'check_sizes': 'some'}]
)
def test_wrong_options(tmp_path, options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        build(tmp_path, [image(1)], [], **options)


@needs_data
def test_blood_cells(tmp_path):
    root = _DATA / 'bccd' / 'BCCD'
    convert_voc(root, tmp_path)
    total = 0
    for split, images in (('train', 205), ('val', 87), ('test', 72)):
        names = (root / 'ImageSets/Main' / f'{split}.txt').read_text().split()
        own = sum((root / 'Annotations' / f'{name}.xml').read_text().count('<object>') for name in names)
        classes = dict(classes=('RBC', 'WBC', 'Platelets'))
        split_list = f'ImageSets/Main/{split}.txt'
        converted = dict(ann_file=str(tmp_path / f'{split}.json'), data_prefix={'img': str(root / 'JPEGImages')})
        for dataset in (
            XMLDataset(ann_file=split_list, data_root=str(root), data_prefix={'sub_data_root': ''}, metainfo=classes),
            CocoDataset(metainfo=classes, **converted),
        ):
            account = check_sums(dataset)
            assert account.images == account.images_used == images
            assert account.notes['images whose size was compared with the annotations'] == images
            if isinstance(dataset, XMLDataset):
                assert account.boxes == own
                total += account.boxes
                left_out = sum(account.left_out.values())
            else:  # the converter has left them out already
                assert account.boxes == own - left_out
    assert total == 4888


@needs_data
def test_real_visdrone():
    for split, images, rows in (('train', 68, 5522), ('val', 12, 1355)):
        root = _DATA / 'visdrone' / f'VisDrone2019-DET-{split}'
        raw = np.concatenate([read_visdrone_rows(path) for path in sorted((root / 'annotations').glob('*.txt'))])
        account = check_sums(VisDroneDataset(ann_file=str(root / 'annotations')))
        assert (account.images, account.images_used, account.boxes) == (images, images, rows) and len(raw) == rows
        assert account.left_out['ignored or crowd'] == np.count_nonzero((raw[:, 4] == 0) | np.isin(raw[:, 5], (0, 11)))


@needs_data
def test_real_coco():
    root = _DATA / 'coco_mini' / 'tinycoco'
    for split, images, boxes, crowds in (('train2017', 32, 288, 4), ('val2017', 6, 136, 1)):
        options = dict(data_root=str(root), data_prefix={'img': f'images/{split}'})
        account = check_sums(CocoDataset(ann_file=f'annotations/instances_{split}.json', **options))
        assert (account.images_used, account.boxes) == (images, boxes) and account.left_out == {
            'ignored or crowd': crowds
        }
        assert not any('another size' in text for text in account.notes)
