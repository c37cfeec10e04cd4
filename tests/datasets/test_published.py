"""Published data sets: class lists, names of images, and what each leaves out."""

import pytest

from mmdet import datasets
from mmdet.datasets import (
    CityscapesDataset,
    LVISV05Dataset,
    LVISV1Dataset,
    Objects365V2Dataset,
    VOCDataset,
    XMLDataset,
    get_loading_pipeline,
)  # fmt: skip
from mmdet.registry import DATASETS
from mmdet.utils import ConfigError, DataError

from .coco_files import box, image, write_document


@pytest.mark.parametrize(
    'name, count, first, last',
    [
        ('CityscapesDataset', 8, 'person', 'bicycle'), ('DeepFashionDataset', 15, 'top', 'face'),
        ('VOCDataset', 20, 'aeroplane', 'tvmonitor'),
    ],
)  # fmt: skip
def test_classes(name, count, first, last):
    kind = DATASETS.get(name)
    classes = kind.METAINFO['classes']
    assert kind is getattr(datasets, name) and (len(set(classes)), len(classes)) == (count, count)
    assert (classes[0], classes[-1]) == (first, last)


@pytest.mark.parametrize('name', ['Objects365V1Dataset', 'Objects365V2Dataset', 'LVISV05Dataset', 'LVISV1Dataset'])
def test_classes_of_the_file(name, tmp_path):
    path = write_document(
        tmp_path, [image(1)], [box(1, 1, category_id=7)], [dict(id=7, name='b'), dict(id=2, name='a')]
    )
    dataset = DATASETS.build(dict(type=name, ann_file=path, lazy_init=True))
    assert dataset.metainfo['classes'] is None
    dataset.full_init()
    assert dataset.metainfo['classes'] == ('a', 'b') and dataset.get_cat_ids(0) == [1]


def test_names_of_lvis_images(tmp_path):
    url = 'http://images.cocodataset.org/train2017/000000000009.jpg'
    images = [
        dict(id=1, width=40, height=30, coco_url=url),
        dict(id=2, width=40, height=30, file_name='COCO_val2014_000000000010.jpg'),
    ]
    names = [dict(id=2, name='airplane'), dict(id=1, name='aerosol_can')]
    path = write_document(tmp_path, images, [box(1, 1), box(2, 1, category_id=2)], names)
    for kind in (LVISV1Dataset, LVISV05Dataset):
        dataset = kind(
            ann_file=path, metainfo=dict(classes=('airplane', 'aerosol_can')), data_prefix=dict(img='images')
        )
        paths = [dataset.get_data_info(i)['img_path'] for i in range(2)]
        assert paths == ['images/train2017/000000000009.jpg', 'images/000000000010.jpg']
        assert dataset.get_cat_ids(0) == [1, 0] and dataset.cat_ids == [2, 1]


def test_patches_of_objects365(tmp_path):
    path = write_document(
        tmp_path, [dict(image(1), file_name='images/v1/patch8/x.jpg')], [], [dict(id=1, name='Person')]
    )
    dataset = Objects365V2Dataset(ann_file=path, metainfo=dict(classes=('Person',)), data_prefix=dict(img='train'))
    assert dataset.get_data_info(0)['img_path'] == 'train/patch8/x.jpg'


def test_cityscapes_leaves_crowds_out(tmp_path):
    path = write_document(
        tmp_path, [image(1), image(2), image(3)], [box(1, 1), box(2, 2, iscrowd=1)], [dict(id=1, name='car')]
    )
    options = dict(ann_file=path, metainfo=dict(classes=('car',)))
    ids = lambda dataset: [dataset.get_data_info(i)['img_id'] for i in range(len(dataset))]  # noqa: E731
    assert ids(CityscapesDataset(**options, filter_cfg=dict(filter_empty_gt=True))) == [1]
    assert ids(CityscapesDataset(**options)) == ids(CityscapesDataset(**options, test_mode=True)) == [1, 2, 3]


VOC_XML = """<annotation><size><width>40</width><height>30</height><depth>3</depth></size>
<object><name>dog</name><difficult>0</difficult><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>11</xmax><ymax>22</ymax></bndbox></object>
<object><name>boat</name><difficult>1</difficult><bndbox><xmin>5</xmin><ymin>5</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>
<object><name>ufo</name><bndbox><xmin>5</xmin><ymin>5</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object></annotation>"""


@pytest.fixture
def voc(tmp_path):
    root = tmp_path / 'VOCdevkit' / 'VOC2007'
    for folder in ('ImageSets/Main', 'Annotations', 'JPEGImages'):
        (root / folder).mkdir(parents=True)
    (root / 'ImageSets/Main/train.txt').write_text('000005\n000007\n')
    (root / 'Annotations/000005.xml').write_text(VOC_XML)
    (root / 'Annotations/000007.xml').write_text(
        '<annotation><size><width>20</width><height>30</height></size></annotation>'
    )
    return dict(
        data_root=str(tmp_path / 'VOCdevkit/'),
        ann_file='VOC2007/ImageSets/Main/train.txt',
        data_prefix=dict(sub_data_root='VOC2007/'),
    )


def test_voc(voc):
    """Corners are counted from 1 there: as of mmdetection 3.3, which gave these records."""
    dataset = VOCDataset(**voc)
    assert len(dataset) == 2 and dataset.metainfo['dataset_type'] == 'VOC2007'
    record = dataset.get_data_info(0)
    assert record['img_id'] == '000005' and (record['width'], record['height']) == (40, 30)
    assert record['img_path'] == f'{voc["data_root"]}/VOC2007/JPEGImages/000005.jpg'
    assert record['instances'] == [
        dict(bbox=[0, 1, 10, 21], bbox_label=11, ignore_flag=0),
        dict(bbox=[4, 4, 8, 8], bbox_label=3, ignore_flag=1),
    ]
    assert dataset.get_data_info(1)['instances'] == [] and dataset.get_cat_ids(0) == [11, 3]
    assert dataset.get_sizes_wh().tolist() == [[40, 30], [20, 30]]


def test_filters_of_voc(voc):
    def flags(**options):
        dataset = VOCDataset(**voc, **options)
        return [[item['ignore_flag'] for item in dataset.get_data_info(i)['instances']] for i in range(len(dataset))]

    assert flags(filter_cfg=dict(filter_empty_gt=True)) == [[0, 1]]
    assert flags(filter_cfg=dict(bbox_min_size=11)) == [[1, 1], []]
    assert flags(filter_cfg=dict(bbox_min_size=11), test_mode=True) == [[0, 1], []]
    with pytest.raises(DataError, match='2 with a side below 100 pixels'):
        flags(filter_cfg=dict(min_size=100))
    with pytest.raises(DataError, match='no such annotation file|there is no such file'):
        XMLDataset(**voc, metainfo=dict(classes=('dog',)), ann_subdir='nowhere')
    with pytest.raises(ConfigError, match='no class'):
        XMLDataset(**voc)


def test_loading_part_of_a_pipeline():
    steps = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='Resize', scale=(8, 8)),
        dict(type='PackDetInputs'),
    ]
    assert get_loading_pipeline(steps) == steps[:2]
    for wrong in ([], steps[1:], [steps[0], *steps]):
        with pytest.raises(AssertionError, match='must load the image'):
            get_loading_pipeline(wrong)


def test_import_paths():
    from mmdet.datasets.lvis import LVISV1Dataset as of_lvis
    from mmdet.datasets.transforms.colorspace import PhotoMetricDistortion
    from mmdet.datasets.transforms.formatting import PackDetInputs
    from mmdet.datasets.transforms.transforms import RandomFlip, Resize
    from mmdet.datasets.voc import VOCDataset as of_voc

    assert (of_lvis, of_voc) == (LVISV1Dataset, VOCDataset)
    for kind in (PhotoMetricDistortion, PackDetInputs, RandomFlip, Resize):
        assert kind is getattr(datasets.transforms, kind.__name__)
