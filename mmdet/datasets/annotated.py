"""Data sets in the formats of annotation tools, read without a conversion."""

from typing import Any

from ..errors import ConfigError
from ..formats.annotations import KINDS, kind_of, read_table
from ..formats.coco import CocoFile, file_list
from ..formats.joined_files import join_tables
from ..registry import DATASETS
from .coco import CocoDataset


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
                tables.append(read_table(self.ann_file, image_root, kind_of(self.ann_file, self.kind), self.split))
                self._roots[self.ann_file, prefix] = tables[-1].image_root
        return tables[0] if len(tables) == 1 else join_tables(tables)

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
