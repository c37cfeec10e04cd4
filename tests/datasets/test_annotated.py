"""Data sets that are read in the formats of annotation tools."""

import json

import cv2
import numpy as np
import pytest

from mmdet.datasets import AnnotatedDataset, CocoDataset, CSVDataset, LabelMeDataset, YOLODataset
from mmdet.datasets.converters.convert import convert
from mmdet.registry import DATASETS
from mmdet.utils import ConfigError, DataError

from ..formats.annotation_files import BOXES, SIZES_WH, write_files, write_images

CLASSES = ('dog', 'cat')


@pytest.fixture
def root(tmp_path):
    write_images(tmp_path / 'images')
    images = [dict(id=i, file_name=f'{n}.jpg', width=w, height=h) for i, (n, (w, h)) in enumerate(SIZES_WH.items(), 1)]
    rows = [
        dict(id=len(name) * 10 + i, image_id=1 + 'ab'.index(name), category_id=CLASSES.index(label), bbox=box)
        for name in BOXES
        for i, (label, box) in enumerate(BOXES[name])
    ]
    rows = [{**row, 'id': number} for number, row in enumerate(rows, 1)]
    document = dict(images=images, annotations=rows, categories=[dict(id=i, name=n) for i, n in enumerate(CLASSES)])
    write_files(tmp_path, {'x.json': json.dumps(document)})
    return tmp_path


def records(dataset):
    return [
        {key: info[key] for key in ('img_id', 'width', 'height', 'instances')}
        for info in map(dataset.get_data_info, range(len(dataset)))
    ]


@pytest.mark.parametrize(
    ('kind', 'to', 'target'),
    [(YOLODataset, 'yolo', 'made'), (CSVDataset, 'csv', 'made.csv'), (LabelMeDataset, 'labelme', 'made'), (AnnotatedDataset, 'voc', 'made')],
)  # fmt: skip
def test_the_same_records_as_of_coco(kind, to, target, root):
    convert(root / 'x.json', root / target, to, images='leave' if to == 'csv' else 'copy')
    wanted = CocoDataset(
        ann_file='x.json', data_root=str(root), data_prefix=dict(img='images/'), metainfo=dict(classes=CLASSES)
    )
    own = DATASETS.build(
        dict(
            type=kind.__name__,
            ann_file=target,
            data_root=str(root),
            metainfo=dict(classes=CLASSES),
            **(dict(data_prefix=dict(img='images')) if to == 'csv' else {}),
        )
    )
    assert records(own) == records(wanted) and own.metainfo['classes'] == CLASSES
    assert [info['img_path'].rpartition('/')[2] for info in map(own.get_data_info, range(2))] == ['a.jpg', 'b.jpg']
    assert own[0]['img_id'] == 1 and not own.broken_images
    plain = kind(ann_file=target, data_root=str(root), data_prefix=dict(img='images' if to == 'csv' else ''))
    assert set(plain.metainfo['classes']) == {'cat', 'dog'} and len(plain) == 2


def test_a_list_of_files_and_the_account(root):
    convert(root / 'x.json', root / 'made', 'yolo', images='copy')
    convert(root / 'x.json', root / 'made.csv', 'csv')
    one = YOLODataset(ann_file='made', data_root=str(root))
    two = AnnotatedDataset(
        ann_file=['made', 'made.csv'],
        data_root=str(root),
        data_prefix=dict(img=['', 'images']),
        metainfo=dict(classes=CLASSES),
    )
    assert len(two) == 4 and len({two.get_data_info(i)['img_id'] for i in range(4)}) == 4
    assert [r['instances'] for r in records(two)][:2] == [r['instances'] for r in records(one)]
    assert two.get_data_info(2)['img_path'] == str(root / 'images' / 'a.jpg')
    for dataset, boxes in ((one, 3), (two, 6)):
        account = dataset.account()
        assert (account.boxes, account.boxes_used, sum(account.left_out.values())) == (boxes, boxes, 0)


def test_a_list_has_the_classes_of_all_its_files(root):
    for name, classes in dict(a='cat dog', b='cow cat').items():
        for part in ('images', 'labels'):
            (root / name / part).mkdir(parents=True)
        cv2.imwrite(str(root / name / 'images' / '1.png'), np.zeros((50, 100, 3), np.uint8))
        (root / name / 'labels' / '1.txt').write_text('0 0.5 0.5 0.2 0.2\n1 0.3 0.3 0.1 0.1\n')
        (root / name / 'data.yaml').write_text(f'train: images\nnames: [{", ".join(classes.split())}]\n')
    dataset = YOLODataset(ann_file=['a/data.yaml', 'b/data.yaml'], data_root=str(root), split='train')
    assert dataset.metainfo['classes'] == ('cat', 'dog', 'cow')
    infos = [dataset.get_data_info(i) for i in range(2)]
    assert [info['img_path'] for info in infos] == [str(root / name / 'images' / '1.png') for name in 'ab']
    assert [sorted(dataset.get_cat_ids(i)) for i in range(2)] == [[0, 1], [0, 2]] and infos[1]['img_id'] == 11


@pytest.mark.parametrize('kind', [YOLODataset, CSVDataset, LabelMeDataset, AnnotatedDataset])
def test_paths_without_annotations(kind, tmp_path):
    with pytest.raises(DataError, match='nothing: no such file or folder'):
        kind(ann_file='nothing', data_root=str(tmp_path))
    (tmp_path / 'empty').mkdir()
    with pytest.raises(DataError, match='empty: (holds no|is of no known format|has no class names)'):
        kind(ann_file='empty', data_root=str(tmp_path))


def test_splits_and_errors(root):
    convert(root / 'x.json', root / 'made', 'yolo', images='copy')
    assert len(YOLODataset(ann_file=str(root / 'made'), split='train')) == 2
    with pytest.raises(ConfigError, match="split: must be one of 'train'"):
        YOLODataset(ann_file=str(root / 'made'), split='val')
    with pytest.raises(ConfigError, match='kind: must be yolo'):
        YOLODataset(ann_file=str(root / 'made'), kind='csv')
    with pytest.raises(ConfigError, match='kind: must be coco, yolo'):
        AnnotatedDataset(ann_file=str(root / 'made'), kind='pascal')
    pipeline = [dict(type='LoadAnnotations', with_bbox=True, with_mask=True)]
    with pytest.raises(ConfigError, match='only COCO files have masks'):
        YOLODataset(ann_file=str(root / 'made'), pipeline=pipeline)


@pytest.mark.parametrize(('kind', 'boxes'), [('yolo', 1), ('csv', 3)])
def test_a_broken_image_of_unknown_size_is_counted_in_training_and_an_error_in_a_test(kind, boxes, root):
    (root / 'images/b.jpg').write_bytes(b'no image')
    rows = [f'{name}.jpg,{label},1,1,9,9' for name in BOXES for label, _ in BOXES[name]]
    rows = {'csv': {'made.csv': '\n'.join(['filename,class,xmin,ymin,xmax,ymax', *rows])}}.get(
        kind, {'classes.txt': 'x\n', 'labels/a.txt': '0 .5 .5 .5 .5\n', 'labels/b.txt': '0 .5 .5 .5 .5\n'}
    )
    write_files(root / 'of_tool', rows)
    (root / 'images').rename(root / 'of_tool/images')
    options = dict(ann_file=str(root / 'of_tool' / ('made.csv' if kind == 'csv' else '')), pipeline=[])
    if kind == 'csv':
        options['data_prefix'] = dict(img=str(root / 'of_tool/images'))
    dataset = AnnotatedDataset(**options)
    account = dataset.account()
    assert len(dataset) == 1 and account.images_left_out == {'missing or broken image file': 1}
    assert account.boxes == boxes and [path[-5:] for path in dataset.broken_images] == ['b.jpg']
    with pytest.raises(DataError, match='its image cannot be read'):
        AnnotatedDataset(**options, test_mode=True)
