"""COCO-format annotations: the columns of :func:`~mmdet.formats.coco.read_coco`, filtered and cut into records, without pycocotools.

n annotations in the file, N images, C categories.
"""

import contextlib
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
from mmengine.fileio import get_local_path

from ..errors import ConfigError, DataError
from ..formats.class_names import COCO_CLASSES
from ..formats.coco import CocoFile, ImageId, match_classes, read_coco, read_segmentations
from ..formats.images import BrokenImageError
from ..formats.records import RepeatedIdError
from ..registry import DATASETS
from .account import CUT, IGNORED, NO_MASK, UNKNOWN_CLASS, USED, count_cut, fates_of_boxes, suspect_rows
from .base_det_dataset import BaseDetDataset
from .transforms.loading import lacks_mask


class _CocoAPI:
    """:class:`mmdet.formats.coco_api.COCO`, imported when it is first asked for."""

    def __get__(self, instance: object, owner: type) -> type:
        from ..formats.coco_api import COCO

        return COCO


_FILTER_KEYS = ('filter_empty_gt', 'min_size')


@DATASETS.register_module()
class CocoDataset(BaseDetDataset):
    """Detection dataset in COCO's JSON format.

    *Labels.* Label i is ``metainfo['classes'][i]``, found in the file by name, whatever the order of the file's categories. (The reference
    numbers labels in the order of the file, so that a class tuple in another order silently gets wrong names.) A subclass whose ``METAINFO`` has
    None for ``classes`` gets those of the file, in the order of their ids.

    *Boxes.* ``[x, y, w, h]`` becomes xyxy. Left out and counted: ``ignore`` set, no intersection with the image, w < 1 or h < 1, a category
    outside the classes. ``iscrowd`` gives ``ignore_flag`` 1. If the pipeline loads masks, each object has its ``segmentation`` as ``mask``. The
    ``area`` of the file plays no part.

    *Images.* ``filter_cfg=dict(filter_empty_gt=True, min_size=32)`` drops, in training, those without any annotation of the classes and
    those whose shorter side is below 32 pixels.

    *Subclasses* override ``load_data_list``, ``filter_data``, ``prepare_data``, or ``parse_data_info``; then the annotations are read record by
    record, with ``COCOAPI`` (``self.coco`` while they are read) and without the checks of ``read_coco``.

    Attributes (after the annotations are read): ``cat_ids`` (category ids by label), ``cat2label``, ``cat_img_map`` (category id -> ids of
    the images with an annotation of it).

    Args:
        allow_missing_classes: a class name that the file does not know is no error; it keeps its label and never occurs.
        border_margin: drop boxes whose left or upper edge is less than this many pixels from the right or lower edge of the image. (The
            UFPMP-Det reference uses 10, because such boxes collapse when they are clipped at the border of its mosaics.)
        **kwargs: see ``BaseDetDataset``.
    """

    METAINFO = {
        'classes': COCO_CLASSES,
        # The colours that COCO publishes: panopticapi's panoptic_coco_categories.json.
        'palette': [
            (220, 20, 60), (119, 11, 32), (0, 0, 142), (0, 0, 230), (106, 0, 228), (0, 60, 100), (0, 80, 100),
            (0, 0, 70), (0, 0, 192), (250, 170, 30), (100, 170, 30), (220, 220, 0), (175, 116, 175), (250, 0, 30),
            (165, 42, 42), (255, 77, 255), (0, 226, 252), (182, 182, 255), (0, 82, 0), (120, 166, 157), (110, 76, 0),
            (174, 57, 255), (199, 100, 0), (72, 0, 118), (255, 179, 240), (0, 125, 92), (209, 0, 151), (188, 208, 182),
            (0, 220, 176), (255, 99, 164), (92, 0, 73), (133, 129, 255), (78, 180, 255), (0, 228, 0), (174, 255, 243),
            (45, 89, 255), (134, 134, 103), (145, 148, 174), (255, 208, 186), (197, 226, 255), (171, 134, 1),
            (109, 63, 54), (207, 138, 255), (151, 0, 95), (9, 80, 61), (84, 105, 51), (74, 65, 105), (166, 196, 102),
            (208, 195, 210), (255, 109, 65), (0, 143, 149), (179, 0, 194), (209, 99, 106), (5, 121, 0), (227, 255, 205),
            (147, 186, 208), (153, 69, 1), (3, 95, 161), (163, 255, 0), (119, 0, 170), (0, 182, 199), (0, 165, 120),
            (183, 130, 88), (95, 32, 0), (130, 114, 135), (110, 129, 133), (166, 74, 118), (219, 142, 185),
            (79, 210, 114), (178, 90, 62), (65, 70, 15), (127, 167, 115), (59, 105, 106), (142, 108, 45), (196, 172, 0),
            (95, 54, 80), (128, 76, 255), (201, 57, 1), (246, 0, 122), (191, 162, 208),
        ],
    }  # fmt: skip

    COCOAPI: Any = _CocoAPI()
    ANN_ID_UNIQUE = True  # annotations of one id are an error

    def __init__(
        self, *args: Any, allow_missing_classes: bool = False, border_margin: float | None = None, **kwargs: Any
    ):
        self.allow_missing_classes = allow_missing_classes
        self.border_margin = border_margin
        self.cat_ids: list[ImageId] = []
        self.cat2label: dict[ImageId, int] = {}
        self.cat_img_map: dict[ImageId, list] = {}
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Records of the annotation file, in the order of its images.

        Raises:
            DataError: as ``read_coco``; an image without name, or without size if its file cannot be read; training without annotations.
            ConfigError: class names that the file does not know.
        """
        if not self.ann_file:
            raise ConfigError('an annotation file is needed', field='ann_file', received=self.ann_file)
        if type(self).parse_data_info is not CocoDataset.parse_data_info:
            return self._load_raw_records()
        table = self._read_table()
        if not (table.annotated or self.test_mode):
            message = 'a training needs this list; only test sets come without it'
            raise DataError(message, file=self._ann_name, field='annotations')
        classes = self._classes_in(table.category_ids, table.category_names)
        label_of = match_classes(
            classes, table.category_names, self._ann_name, allow_missing=self.allow_missing_classes
        )
        self._keep_categories(table.category_ids, label_of)
        paths = self._paths(table)
        labels = label_of[table.category]  # (n,)
        self.cat_img_map = {
            category: [table.image_ids[row] for row in np.unique(table.image[labels == label])]
            for category, label in self.cat2label.items()
        }
        fit = ~table.ignore & (labels >= 0)
        sizes_wh = self.settle_sizes(
            paths,
            self._complete_sizes(table, paths),
            lambda sizes: suspect_rows(table.bbox[fit], table.image[fit], sizes, self.border_margin),
        )
        shape = fates_of_boxes(table.bbox, sizes_wh[table.image], border_margin=self.border_margin)
        keep = fit & (shape == USED)
        fates = np.where(table.ignore | table.crowd, IGNORED, shape)
        fates[labels < 0] = UNKNOWN_CLASS
        masks = None
        if self.loads_masks:
            segmentations = read_segmentations(self.ann_file, self.backend_args)
            masks = [segmentations[row] for row in np.flatnonzero(keep).tolist()]
            maskless = np.array([lacks_mask(mask, self._bitmap_masks) for mask in masks], dtype=bool)
            fates[np.flatnonzero(fates == USED)[maskless[fates[keep] == USED]]] = NO_MASK
            self._account.note('objects without a segmentation, whose masks cannot be loaded', masks.count(None))
        used = fates == USED
        self._account.images += len(paths)
        self._account.add_fates(fates)
        self._account.note(CUT, count_cut(table.bbox[used], sizes_wh[table.image[used]]))
        for text, count in table.notes.items():
            self._account.note(text, count)
        regions = len(table.ignored_regions.image) + len(table.others.image)
        self._account.note('ignored regions and others beside the annotations (not trained on)', regions)
        return make_records(
            paths=paths,
            image_ids=table.image_ids,
            sizes_wh=sizes_wh,
            rows=table.image[keep],
            bboxes_xywh=table.bbox[keep],
            labels=labels[keep],
            ignore=table.crowd[keep],
            masks=masks,
        )

    def _read_table(self) -> CocoFile:
        """The columns of the annotation file; subclasses read other formats."""
        return read_coco(self.ann_file, self.backend_args, unique_ids=self.ANN_ID_UNIQUE)

    def _joins_files(self) -> bool:
        return type(self).parse_data_info is CocoDataset.parse_data_info

    def _paths(self, table: CocoFile) -> list[str]:
        """The image files; each annotation file may have a folder of its own."""
        names = table.require_file_names()
        paths: list[str] = []
        for number, count in enumerate(table.images_of_files or (len(names),)):
            with self._part(number):
                paths += [self._image_path(name) for name in names[len(paths) : len(paths) + count]]
        return paths

    def _load_raw_records(self) -> list[dict]:
        """Records of :meth:`parse_data_info`, which a subclass may return as one, as a list of them, or as None for an image to leave out."""
        # pycocotools prints its progress.
        with get_local_path(self.ann_file, backend_args=self.backend_args) as path, redirect_stdout(StringIO()):
            self.coco = self.COCOAPI(path)
        names = [category.get('name') for category in self.coco.dataset.get('categories', [])]
        category_ids = [category['id'] for category in self.coco.dataset.get('categories', [])]
        classes = self._classes_in(category_ids, names)
        label_of = match_classes(classes, names, self.ann_file, allow_missing=self.allow_missing_classes)
        self._keep_categories(category_ids, label_of)
        self.cat_img_map = {
            category: list(dict.fromkeys(self.coco.cat_img_map.get(category, ()))) for category in self.cat_ids
        }
        annotations = self.coco.dataset.get('annotations', [])
        if self.ANN_ID_UNIQUE and len(self.coco.anns) != len(annotations):
            raise RepeatedIdError('annotation ids are not unique!', file=self.ann_file, field='annotations')
        records: list[dict] = []
        judged = self._account.boxes
        for image_id in self.coco.get_img_ids():
            image = {**self.coco.imgs[image_id], 'img_id': image_id}
            found: Any = self.parse_data_info({'raw_ann_info': self.coco.img_ann_map[image_id], 'raw_img_info': image})
            records.extend(found if isinstance(found, list) else [] if found is None else [found])
        self._account.images += len(self.coco.imgs)
        if self._account.boxes == judged:
            # parse_data_info of other code, which did not call the one below: what it left out is not known box by box.
            self._account.boxes += len(annotations)
        del self.coco
        return records

    def parse_data_info(self, raw_data_info: dict) -> Any:
        """One record out of ``dict(raw_img_info=image, raw_ann_info=[annotation, ...])``, the objects of the file; ``img_id`` in the image.

        The annotations that the class names are kept, as described above; ``mask`` is their ``segmentation``.
        """
        image, annotations = raw_data_info['raw_img_info'], raw_data_info['raw_ann_info']
        path = self._image_path(image['file_name'])
        size_wh = np.array([image['width'], image['height']])
        known = [row for row in annotations if row.get('category_id') in self.cat2label]
        boxes = np.array([row['bbox'] for row in known], dtype=np.float64).reshape(-1, 4)
        ignored = np.array([bool(row.get('ignore', False)) for row in known], dtype=bool)
        crowd = np.array([bool(row.get('iscrowd', False)) for row in known], dtype=bool)
        rows = np.zeros(len(known), dtype=np.int64)
        fates = fates_of_boxes(boxes, size_wh[None][rows], border_margin=self.border_margin)
        if len(suspect_rows(boxes[~ignored], rows[~ignored], size_wh[None], self.border_margin)):
            with contextlib.suppress(BrokenImageError):  # then the stated size has to do
                size_wh = np.array(self.size_of_image(path))
                fates = fates_of_boxes(boxes, size_wh[None][rows], border_margin=self.border_margin)
        keep = ~ignored & (fates == USED)
        kept = [row for row, usable in zip(known, keep.tolist()) if usable]
        bboxes = boxes[keep]
        fates[ignored | crowd] = IGNORED
        self._account.add_fates(np.concatenate([fates, np.full(len(annotations) - len(known), UNKNOWN_CLASS)]))
        self._account.note(CUT, count_cut(boxes[fates == USED], size_wh[None][rows[fates == USED]]))
        (record,) = make_records(
            paths=[path],
            image_ids=[image['img_id']],
            sizes_wh=size_wh[None],
            rows=np.zeros(len(kept), dtype=np.int64),
            bboxes_xywh=bboxes,
            labels=np.array([self.cat2label[row['category_id']] for row in kept], dtype=np.int64),
            ignore=crowd[keep],
            masks=[row.get('segmentation') or None for row in kept],
        )
        if self.return_classes:
            record.update(text=self._metainfo['classes'], custom_entities=True)
        return record

    def filter_data(self) -> list[dict]:
        """In training, drop the images that ``filter_cfg`` names, and count why."""
        if self.test_mode or self.filter_cfg is None:
            return self.data_list
        unknown = set(self.filter_cfg) - set(_FILTER_KEYS)
        if unknown:
            raise ConfigError(f'allowed keys: {", ".join(_FILTER_KEYS)}', field='filter_cfg', received=sorted(unknown))
        min_size = self.filter_cfg.get('min_size', 0)
        annotated = set(chain.from_iterable(self.cat_img_map.values()))
        classes = self._metainfo['classes']
        names = ', '.join(map(repr, classes[:5])) + (', ...' if len(classes) > 5 else '')
        empty = f'without an annotation of the {len(classes)} classes ({names})'
        kept = []
        for record in self.data_list:
            if self.filter_cfg.get('filter_empty_gt', False) and record['img_id'] not in annotated:
                self._filtered[empty] += 1
            elif min(record['width'], record['height']) < min_size:
                self._filtered[f'with a side below {min_size} pixels'] += 1
            else:
                kept.append(record)
        return kept

    def _classes_in(self, category_ids: Sequence[ImageId], names: Sequence[str]) -> tuple[str, ...]:
        """The class names; where ``classes`` is None, all of the file in the order of their ids become the classes."""
        if self._metainfo.get('classes', ()) is None:
            self._metainfo['classes'] = tuple(name for _, name in sorted(zip(category_ids, names), key=itemgetter(0)))
        return self._metainfo.get('classes', ())

    def _keep_categories(self, category_ids: Sequence[ImageId], label_of: np.ndarray) -> None:
        """Set ``cat_ids`` and ``cat2label`` from the labels (C,) of the file's categories; -1 means: not among the classes."""
        pairs = sorted((label, position) for position, label in enumerate(label_of.tolist()) if label >= 0)
        self.cat2label = {category_ids[position]: label for label, position in pairs}
        self.cat_ids = list(self.cat2label)

    def _complete_sizes(self, table: CocoFile, paths: Sequence[str]) -> np.ndarray:
        """(N, 2) widths and heights; those that the file lacks are read from the images."""
        sizes_wh = table.sizes_wh.copy()
        for row in np.flatnonzero((sizes_wh == 0).any(axis=1)).tolist():
            try:
                sizes_wh[row] = self.size_of_image(paths[row])
            except BrokenImageError as error:
                message = f'the file lacks its width or height, and its image cannot be read: {error}'
                raise DataError(message, file=self._ann_name, record=f'image {table.image_ids[row]}') from error
        return sizes_wh


def usable_boxes(bboxes_xywh: np.ndarray, sizes_wh: np.ndarray, border_margin: float | None = None) -> np.ndarray:
    """Mask (n,) bool of the boxes that can be trained on: at least one pixel wide and high, and overlapping their image.

    Args:
        bboxes_xywh: (n, 4) float, left, top, width, height in pixels.
        sizes_wh: (n, 2) width and height of each box's image.
        border_margin: see :class:`CocoDataset`.
    """
    return fates_of_boxes(bboxes_xywh, sizes_wh, border_margin=border_margin) == USED


def make_records(
    *,
    paths: Sequence[str],
    image_ids: Sequence[ImageId],
    sizes_wh: np.ndarray,
    rows: np.ndarray,
    bboxes_xywh: np.ndarray,
    labels: np.ndarray,
    ignore: np.ndarray,
    masks: Sequence | None = None,
) -> list[dict]:
    """Records of N images out of the columns of their n boxes, the boxes of an image in the order given.

    Args:
        paths, image_ids, sizes_wh: of the images; sizes (N, 2) int.
        rows: (n,) position of each box's image.
        bboxes_xywh, labels, ignore: of the boxes: (n, 4) float, (n,) int and (n,) bool.
        masks: of the boxes, if they are needed: n polygon lists or run lengths; None where an object has neither.
    """
    order = np.argsort(rows, kind='stable')
    bboxes = bboxes_xywh[order]
    bboxes[:, 2:] += bboxes[:, :2]  # xyxy
    columns = bboxes.tolist(), labels[order].tolist(), ignore[order].astype(int).tolist()
    instances = [
        {'bbox': bbox, 'bbox_label': label, 'ignore_flag': flag} for bbox, label, flag in zip(*columns, strict=True)
    ]
    if masks is not None:
        for instance, row in zip(instances, order.tolist()):
            if masks[row] is not None:
                instance['mask'] = masks[row]
    ends = np.cumsum(np.bincount(rows, minlength=len(image_ids))).tolist()
    images = zip(paths, image_ids, sizes_wh.tolist(), [0, *ends][:-1], ends, strict=True)
    return [
        {'img_path': path, 'img_id': image_id, 'height': height, 'width': width, 'instances': instances[start:end]}
        for path, image_id, (width, height), start, end in images
    ]
