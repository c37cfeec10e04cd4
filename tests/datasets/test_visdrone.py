"""VisDrone in both layouts, UAVDT, and the tolerance and strictness of the text format."""

import cv2
import numpy as np
import pytest

from mmdet.datasets import BrokenImageError, UAVDTDataset, VisDroneDataset
from mmdet.formats.visdrone import read_visdrone_rows
from mmdet.utils import ConfigError, DataError

from .coco_files import box, image, write_document


@pytest.fixture
def release(tmp_path):
    """Two images in the original layout."""
    for name in ('annotations', 'images'):
        (tmp_path / name).mkdir()
    for stem, size_wh in (('b', (60, 40)), ('a', (200, 100))):
        cv2.imwrite(str(tmp_path / 'images' / f'{stem}.jpg'), np.zeros((*size_wh[::-1], 3), np.uint8))
    (tmp_path / 'annotations' / 'a.txt').write_text(
        '100,50,30,20,1,4,0,1,\n\n10,10,8,8,1,1,0,0\r\n0,0,50,50,0,0,0,0\n5,5,9,9,0,11,0,0\n1,2,3,4,0,2,0,0\n3,3,0,9,1,1,0,0\n'
    )
    (tmp_path / 'annotations' / 'b.txt').write_text('')
    return tmp_path


def build(folder, **options):
    return VisDroneDataset(ann_file='annotations', data_root=str(folder), data_prefix={'img': 'images'}, **options)


def test_rows(release):
    assert read_visdrone_rows(release / 'annotations' / 'b.txt').shape == (0, 8)
    rows = read_visdrone_rows(release / 'annotations' / 'a.txt')
    assert rows.shape == (6, 8) and rows[0].tolist() == [100, 50, 30, 20, 1, 4, 0, 1]


@pytest.mark.parametrize(
    ('row', 'message'),
    [
        ('1,2,3,4,1', 'line 3: must be 6 to 8 finite numbers.*Received: .1,2,3,4,1'),
        ('1,2,3,4,1,1,0,0,0', 'line 3: must be 6 to 8'),
        ('1,2,3,x,1,1,0,0', 'line 3: must be 6 to 8'),
        ('1,2,,4,1,1,0,0', 'line 3'),
        ('1,2,nan,4,1,1,0,0', 'line 3: .*finite'),
        ('1,2,3,4,1,12,0,0', r'line 3: category: must be in 0..11. Received: 12\.0'),
        ('1,2,3,4,1,-1,0,0', 'line 3: category'),
        ('1,2,3,4,1,1.5,0,0', r'line 3: category: must be a whole number. Received: 1\.5'),
    ],
)
def test_broken_rows_are_named(release, row, message):
    (release / 'annotations' / 'a.txt').write_text(f'1,2,3,4,1,1,0,0\n\n{row}\n')
    with pytest.raises(DataError, match=r'a\.txt: .*' + message):
        build(release)


def test_original_layout(release):
    dataset = build(release)
    record = dataset[0]
    assert (record['img_id'], record['width'], record['height']) == (0, 200, 100) and record['img_path'].endswith(
        'images/a.jpg'
    )
    assert record['instances'] == [
        {'bbox': [100, 50, 130, 70], 'bbox_label': 3, 'ignore_flag': 0},
        {'bbox': [10, 10, 18, 18], 'bbox_label': 0, 'ignore_flag': 0},
        {'bbox': [0, 0, 50, 50], 'bbox_label': 0, 'ignore_flag': 1},
        {'bbox': [5, 5, 14, 14], 'bbox_label': 0, 'ignore_flag': 1},
        {'bbox': [1, 2, 4, 6], 'bbox_label': 1, 'ignore_flag': 1},
    ]
    assert dataset[1]['instances'] == []
    dropped = build(release, ignored_regions='drop', filter_cfg={'filter_empty_gt': True})
    assert len(dropped) == 1 and dropped.get_cat_ids(0) == [3, 0]
    cars = build(release, metainfo={'classes': ('car',)}, ignored_regions='drop')
    assert cars.get_cat_ids(0) == [0]
    # The images are found beside the annotations without being told.
    assert VisDroneDataset(ann_file=str(release / 'annotations'))[0]['img_path'] == str(release / 'images' / 'a.jpg')
    with pytest.raises(ConfigError, match='ignored_regions'):
        build(release, ignored_regions='maybe')
    with pytest.raises(ConfigError, match='wagon'):
        build(release, metainfo={'classes': ('car', 'wagon')})


def test_missing_parts(release):
    (release / 'images' / 'a.jpg').unlink()
    with pytest.raises(BrokenImageError, match=r'a\.jpg'):
        build(release, test_mode=True)
    training = build(release)
    assert len(training) == 1 and training.broken_images == [str(release / 'images' / 'a.jpg')]
    for path in (release / 'annotations').glob('*.txt'):
        path.unlink()
    with pytest.raises(DataError, match=r'holds no \.txt file'):
        build(release)
    with pytest.raises(DataError, match='no such image folder'):
        VisDroneDataset(ann_file='annotations', data_root=str(release), data_prefix={'img': 'pictures'})


def test_json_layout_and_uavdt(tmp_path):
    for kind, classes in ((VisDroneDataset, 10), (UAVDTDataset, 3)):
        names = kind.METAINFO['classes']
        assert len(names) == len(set(names)) == len(kind.METAINFO['palette']) == classes
        categories = [{'id': number, 'name': name} for number, name in enumerate(names)]
        path = write_document(
            tmp_path, [image(0)], [box(1, 0, category_id=2), box(2, 0, category_id=0, ignore=1)], categories
        )
        assert kind(ann_file=path).get_cat_ids(0) == [2]
    assert UAVDTDataset.METAINFO['classes'] == ('car', 'truck', 'bus')
    assert names == ('car', 'truck', 'bus')
