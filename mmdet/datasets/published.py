"""Published data sets: COCO files with class lists of their own, and PASCAL VOC as it is released.

Objects365 and LVIS take the names of their many classes from the annotation file, in the order of the data set's category ids.
"""

import os
from collections import Counter
from typing import Any

import numpy as np

from ..errors import ConfigError
from ..formats.class_names import CITYSCAPES_CLASSES, VOC_CLASSES
from ..formats.voc import VOCImage, read_voc_split, read_voc_xml
from ..registry import DATASETS
from .account import CUT, IGNORED, TOO_SMALL, UNKNOWN_CLASS, USED, count_cut, fates_of_boxes, suspect_rows
from .base_det_dataset import BaseDetDataset
from .coco import CocoDataset, make_records


@DATASETS.register_module()
class Objects365V1Dataset(CocoDataset):
    """Objects365, version 1, with 365 classes. Shao et al., ICCV 2019."""

    METAINFO = {'classes': None}


@DATASETS.register_module()
class Objects365V2Dataset(CocoDataset):
    """Objects365, version 2, with 365 classes. Of the file names (``images/v1/patch8/x.jpg``) the last folder counts, as the images are stored."""

    METAINFO = {'classes': None}

    def _image_path(self, name: str) -> str:
        return super()._image_path('/'.join(name.split('/')[-2:]))


@DATASETS.register_module()
class LVISV05Dataset(CocoDataset):
    """LVIS v0.5 with 1230 classes, on images of COCO 2017. Gupta et al., CVPR 2019."""

    METAINFO = {'classes': None}

    def parse_data_info(self, raw_data_info: dict) -> Any:
        """As the base; images are named by ``coco_url`` (``train2017/000000000009.jpg``), or as COCO 2014 named them."""
        image = dict(raw_data_info['raw_img_info'])
        if not image.get('file_name'):
            image['file_name'] = '/'.join(image['coco_url'].split('/')[-2:])
        elif image['file_name'].startswith('COCO_'):
            image['file_name'] = image['file_name'].rpartition('_')[2]
        return super().parse_data_info({**raw_data_info, 'raw_img_info': image})


LVISDataset = LVISV05Dataset
DATASETS.register_module(name='LVISDataset', module=LVISV05Dataset)


@DATASETS.register_module()
class LVISV1Dataset(LVISV05Dataset):
    """LVIS v1 with 1203 classes."""


@DATASETS.register_module()
class CityscapesDataset(CocoDataset):
    """Cityscapes instances in COCO JSON. Cordts et al., CVPR 2016. With ``filter_empty_gt``, images of nothing but crowds go, too."""

    METAINFO = {
        'classes': CITYSCAPES_CLASSES,
        'palette': [
            (220, 20, 60), (255, 0, 0), (0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32),
        ],
    }  # fmt: skip

    def filter_data(self) -> list[dict]:
        """In training, drop the images that ``filter_cfg`` names, and count why."""
        records = super().filter_data()
        if self.test_mode or not (self.filter_cfg or {}).get('filter_empty_gt', False):
            return records
        kept = [r for r in records if not all(item['ignore_flag'] for item in r['instances'])]
        self._filtered['with crowds only'] += len(records) - len(kept)
        return kept


@DATASETS.register_module()
class DeepFashionDataset(CocoDataset):
    """DeepFashion's in-shop clothes in COCO JSON. Liu et al., CVPR 2016."""

    METAINFO = {
        'classes': (
            'top', 'skirt', 'leggings', 'dress', 'outer', 'pants', 'bag', 'neckwear', 'headwear', 'eyeglass', 'belt',
            'footwear', 'hair', 'skin', 'face',
        ),
    }  # fmt: skip


@DATASETS.register_module()
class XMLDataset(BaseDetDataset):
    """Data set in the layout of PASCAL VOC: a list of images, and one XML file for each.

    ``ann_file`` is the list (``VOC2007/ImageSets/Main/trainval.txt``); images and annotations lie in subfolders of
    ``data_prefix['sub_data_root']``. Corners are counted from 1 in the files and from 0 in the records. Objects marked difficult get
    ``ignore_flag`` 1; those of other names, without area or outside the image are left out.

    Args:
        img_subdir, ann_subdir: the subfolders.
        **kwargs: see ``BaseDetDataset``. ``filter_cfg`` may hold ``filter_empty_gt``, ``min_size`` (of images) and ``bbox_min_size``:
            smaller boxes get ``ignore_flag`` 1 in training.
    """

    def __init__(self, *args: Any, img_subdir: str = 'JPEGImages', ann_subdir: str = 'Annotations', **kwargs: Any):
        self.img_subdir, self.ann_subdir = img_subdir, ann_subdir
        super().__init__(*args, **kwargs)

    @property
    def sub_data_root(self) -> str:
        """Folder of the images and annotations."""
        return self.data_prefix.get('sub_data_root', '')

    def load_data_list(self) -> list[dict]:
        """Records in the order of the list.

        Raises:
            DataError: the list or an XML file is missing or broken.
        """
        if not self._metainfo.get('classes'):
            raise ConfigError('there is no class', field='metainfo.classes')
        self.cat2label = {name: label for label, name in enumerate(self._metainfo['classes'])}
        smallest = 0 if self.test_mode else (self.filter_cfg or {}).get('bbox_min_size') or 0
        notes = Counter[str]()
        names = read_voc_split(self.ann_file, notes)
        paths = [os.path.join(self.sub_data_root, self.img_subdir, f'{name}.jpg') for name in names]
        tables = [read_voc_xml(os.path.join(self.sub_data_root, self.ann_subdir, f'{name}.xml')) for name in names]
        stated_wh = np.array([self._size_of(table, path) for table, path in zip(tables, paths)], dtype=np.int64)
        objects = [
            (row, self.cat2label.get(item.name, -1), *item.corners, item.difficult)
            for row, table in enumerate(tables)
            for item in table.objects
        ]
        columns = np.array(objects, dtype=np.float64).reshape(-1, 7)
        rows, labels, difficult = columns[:, 0].astype(np.int64), columns[:, 1].astype(np.int64), columns[:, 6] > 0
        boxes = np.concatenate([columns[:, 2:4] - 1, columns[:, 4:6] - columns[:, 2:4]], axis=1)  # xywh
        known = labels >= 0
        sizes_wh = self.settle_sizes(paths, stated_wh, lambda sizes: suspect_rows(boxes[known], rows[known], sizes))
        shape = fates_of_boxes(boxes, sizes_wh[rows])
        keep = known & (shape == USED)
        below = (boxes[:, 2] < smallest) | (boxes[:, 3] < smallest)
        fates = np.where(difficult, IGNORED, np.where((shape == USED) & below, TOO_SMALL, shape))
        fates[~known] = UNKNOWN_CLASS
        used = fates == USED
        self._account.images += len(paths)
        self._account.add_fates(fates)
        self._account.note(CUT, count_cut(boxes[used], sizes_wh[rows[used]]))
        for text, count in notes.items():
            self._account.note(text, count)
        return make_records(
            paths=paths,
            image_ids=names,
            sizes_wh=sizes_wh,
            rows=rows[keep],
            bboxes_xywh=boxes[keep],
            labels=labels[keep],
            ignore=(difficult | below)[keep],
        )

    def _size_of(self, table: VOCImage, path: str) -> tuple[int, int]:
        """(width, height) as the XML file states it, or else of the image file."""
        width, height = (int(text) if text.isdigit() else 0 for text in table.size_wh)
        return (width, height) if width and height else self.size_of_image(path)

    def filter_data(self) -> list[dict]:
        """In training, drop the images that ``filter_cfg`` names, and count why."""
        if self.test_mode or self.filter_cfg is None:
            return self.data_list
        min_size, kept = self.filter_cfg.get('min_size', 0), []
        for record in self.data_list:
            if self.filter_cfg.get('filter_empty_gt', False) and not record['instances']:
                self._filtered['without an object of the classes'] += 1
            elif min(record['width'], record['height']) < min_size:
                self._filtered[f'with a side below {min_size} pixels'] += 1
            else:
                kept.append(record)
        return kept


@DATASETS.register_module()
class VOCDataset(XMLDataset):
    """PASCAL VOC 2007 or 2012. Everingham et al., IJCV 2010. ``metainfo['dataset_type']`` is 'VOC2007' or 'VOC2012', by the folder's name."""

    METAINFO = {'classes': VOC_CLASSES}

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        roots = self.sub_data_root if isinstance(self.sub_data_root, list) else [self.sub_data_root]
        years = {next((year for year in ('VOC2007', 'VOC2012') if year in root), None) for root in roots}
        self._metainfo['dataset_type'] = years.pop() if len(years) == 1 else None
