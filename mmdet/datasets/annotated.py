"""Data sets in the formats of annotation tools, read without a conversion."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.logging import print_log

from ..errors import ConfigError
from ..formats.annotations import KINDS, kind_of, read_table
from ..formats.coco import CocoFile, file_list
from ..formats.images import BrokenImageError
from ..formats.joined_files import join_tables
from ..registry import DATASETS
from .account import UNREADABLE, UNREADABLE_IMAGE, used_boxes
from .coco import CocoDataset

_UNKNOWN = 2**30  # a side of an image that cannot be read, within which every box lies


@DATASETS.register_module()
class AnnotatedDataset(CocoDataset):
    """Detection data set in any format of :func:`~mmdet.formats.annotations.read_annotations`: COCO, YOLO, VOC, VisDrone, UAVDT, CSV, LabelMe.

    ``ann_file`` is the file or folder, and ``data_prefix['img']`` the folder of the images where it is not the usual one of the format. Boxes,
    labels and images are treated as by ``CocoDataset``; objects that are difficult (VOC) get ``ignore_flag`` 1. Classes are those of the
    annotations unless ``metainfo`` names them. Image ids are those of ``read_annotations``. There are no masks.

    A metric takes the ground truth from the samples: ``CocoMetric`` without ``ann_file``.

    Args:
        kind: the format, one of :data:`~mmdet.formats.annotations.KINDS`; None recognises it.
        split: the part that is read (``'train'``), in formats that have several in one place.
        **kwargs: see ``CocoDataset``.
    """

    METAINFO: dict = {'classes': None}
    KIND: str | None = None  # the format that a subclass reads

    def __init__(self, *args: Any, kind: str | None = None, split: str | None = None, **kwargs: Any):
        if kind is not None and (kind not in KINDS or self.KIND not in (None, kind)):
            allowed = ', '.join(KINDS) if self.KIND is None else self.KIND
            raise ConfigError(f'must be {allowed}', field='kind', received=kind)
        self.kind, self.split = kind or self.KIND, split
        self._roots: dict[tuple, str] = {}  # annotation file, folder in the config -> folder of its images
        super().__init__(*args, **kwargs)

    def _read_table(self) -> CocoFile:
        if self.loads_masks:
            message = 'only COCO files have masks here; set with_mask=False, or convert and use CocoDataset'
            raise ConfigError(message, field='pipeline.LoadAnnotations', received=True)
        tables = []
        for number in range(len(file_list(self.ann_file))):
            with self._part(number):
                prefix = self.image_prefix
                image_root = prefix if prefix and prefix.rstrip('/') != self.data_root.rstrip('/') else None
                kind = kind_of(self.ann_file, self.kind)
                options = (
                    dict(all_sizes=False) if kind == 'coco' else {}
                )  # they are compared with the pixels afterwards
                tables.append(read_table(self.ann_file, image_root, kind, self.split, **options))
                self._roots[self.ann_file, prefix] = tables[-1].image_root
        return tables[0] if len(tables) == 1 else join_tables(tables)

    def _complete_sizes(self, table: CocoFile, paths: Sequence[str]) -> np.ndarray:
        if not self.skip_broken:
            return super()._complete_sizes(table, paths)
        sizes_wh = table.sizes_wh.copy()
        for row in np.flatnonzero((sizes_wh == 0).any(axis=1)).tolist():
            try:
                sizes_wh[row] = self.size_of_image(paths[row])
            except BrokenImageError as error:
                sizes_wh[row] = _UNKNOWN
                self._dropped_images.append(paths[row])
                print_log(f'Skipped a broken image: {error}', logger='current', level=logging.WARNING)
        return sizes_wh

    def load_data_list(self) -> list[dict]:
        """Records; in training without the images whose size is neither stated nor to be read, which are counted."""
        records = super().load_data_list()
        lost = [record for record in records if record['width'] == _UNKNOWN]
        self._account.leave_out_images(UNREADABLE, len(lost))
        self._account.leave_out(UNREADABLE_IMAGE, sum(used_boxes(lost)))
        return [record for record in records if record['width'] != _UNKNOWN]

    def _image_path(self, name: str) -> str:
        root = self._roots.get((self.ann_file, self.image_prefix))
        return f'{root.rstrip("/")}/{name}' if root else super()._image_path(name)


@DATASETS.register_module()
class YOLODataset(AnnotatedDataset):
    """YOLO text files: ``ann_file`` is ``data.yaml`` or a folder, ``split`` one of train, val, test."""

    KIND = 'yolo'


@DATASETS.register_module()
class CSVDataset(AnnotatedDataset):
    """A CSV table of boxes; ``ann_file`` is the table."""

    KIND = 'csv'


@DATASETS.register_module()
class LabelMeDataset(AnnotatedDataset):
    """Files of LabelMe; ``ann_file`` is their folder."""

    KIND = 'labelme'
