"""COCO-format annotations, read without pycocotools: one pass over the JSON, the checks and filters vectorised over all boxes.

n annotations in the file.
"""

import logging
import math
from collections import Counter

import numpy as np
from mmengine.logging import print_log

from mmdet.errors import ConfigError, DataError
from mmdet.registry import DATASETS

from ..formats.json_file import read_json
from .base_det_dataset import BaseDetDataset

_FILTER_KEYS = ('filter_empty_gt', 'min_size')


@DATASETS.register_module()
class CocoDataset(BaseDetDataset):
    """Detection dataset in COCO's JSON format.

    *Labels.* Label i is ``metainfo['classes'][i]``, found in the file by name, whatever the order of the file's categories. (The reference
    numbers labels in the file's order, so that a class tuple in another order silently gets wrong names. Where both orders agree, as for
    COCO itself, there is no difference.) A class name that the file does not know is an error.

    *Boxes.* ``[x, y, w, h]`` becomes xyxy. Dropped: ``ignore`` set, no intersection with the image, area <= 0, w < 1 or h < 1, a category
    outside the classes. ``iscrowd`` gives ``ignore_flag`` 1.

    *Images.* ``filter_cfg=dict(filter_empty_gt=True, min_size=32)`` drops, in training, those without any annotation of the classes and
    those whose shorter side is below 32 pixels.

    Attributes (after the annotations are read): ``cat_ids`` (category ids by label), ``cat2label``, ``cat_img_map`` (category id -> ids of
    the images with an annotation of it).

    Args:
        allow_missing_classes: a class name that the file does not know keeps its label and never occurs.
        border_margin: drop boxes that start closer than so many pixels to the right or lower edge (the UFPMP-Det reference uses 10, because
            such boxes collapse when they are clipped at the border of its mosaics). ``None``: off.
        **kwargs: see ``BaseDetDataset``.
    """

    METAINFO = {
        'classes': (
            'person', 'bicycle', 'car', 'motorcycle', 'airplane', 'bus', 'train', 'truck', 'boat', 'traffic light',
            'fire hydrant', 'stop sign', 'parking meter', 'bench', 'bird', 'cat', 'dog', 'horse', 'sheep', 'cow',
            'elephant', 'bear', 'zebra', 'giraffe', 'backpack', 'umbrella', 'handbag', 'tie', 'suitcase', 'frisbee',
            'skis', 'snowboard', 'sports ball', 'kite', 'baseball bat', 'baseball glove', 'skateboard', 'surfboard',
            'tennis racket', 'bottle', 'wine glass', 'cup', 'fork', 'knife', 'spoon', 'bowl', 'banana', 'apple',
            'sandwich', 'orange', 'broccoli', 'carrot', 'hot dog', 'pizza', 'donut', 'cake', 'chair', 'couch',
            'potted plant', 'bed', 'dining table', 'toilet', 'tv', 'laptop', 'mouse', 'remote', 'keyboard', 'cell phone',
            'microwave', 'oven', 'toaster', 'sink', 'refrigerator', 'book', 'clock', 'vase', 'scissors', 'teddy bear',
            'hair drier', 'toothbrush',
        ),
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

    def __init__(self, *args, allow_missing_classes: bool = False, border_margin: float | None = None, **kwargs):
        self.allow_missing_classes = allow_missing_classes
        self.border_margin = border_margin
        self.cat_ids: list[int] = []
        self.cat2label: dict[int, int] = {}
        self.cat_img_map: dict[int, list] = {}
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Records of the annotation file, in the order of its images.

        Raises:
            DataError: broken JSON, missing keys, an annotation of an unknown image, a box that is not four finite numbers, duplicate ids.
            ConfigError: class names that the file does not know.
        """
        if not self.ann_file:
            raise ConfigError('an annotation file is needed', field='ann_file', received=self.ann_file)
        document = read_json(self.ann_file, self.backend_args, drop_polygons=True)
        images = self._section(document, 'images')
        # The image lists of COCO's test sets come without annotations.
        annotations = self._section(document, 'annotations', optional=self.test_mode)
        known_ids = self._match_categories(self._section(document, 'categories'))

        image_ids, names, sizes_wh = self._read_images(images)
        rows, category_ids, bboxes_xywh, areas, crowd, dropped = self._read_annotations(
            annotations, image_ids, known_ids
        )
        labels = np.array([self.cat2label.get(category, -1) for category in category_ids], dtype=np.int64)  # (n,)
        self.cat_img_map = {category: [] for category in self.cat_ids}
        for category, label in self.cat2label.items():
            self.cat_img_map[category] = [image_ids[row] for row in np.unique(rows[labels == label])]

        keep = ~dropped & (labels >= 0) & (areas > 0) & usable_boxes(bboxes_xywh, sizes_wh[rows], self.border_margin)
        return make_records(
            paths=[self._image_path(name) for name in names],
            image_ids=image_ids,
            sizes_wh=sizes_wh,
            rows=rows[keep],
            bboxes_xywh=bboxes_xywh[keep],
            labels=labels[keep],
            ignore=crowd[keep],
        )

    def filter_data(self) -> list[dict]:
        """In training, drop the images that ``filter_cfg`` names, and count why."""
        if self.test_mode or self.filter_cfg is None:
            return self.data_list
        unknown = set(self.filter_cfg) - set(_FILTER_KEYS)
        if unknown:
            raise ConfigError(f'allowed keys: {", ".join(_FILTER_KEYS)}', field='filter_cfg', received=sorted(unknown))
        filter_empty = self.filter_cfg.get('filter_empty_gt', False)
        min_size = self.filter_cfg.get('min_size', 0)
        annotated = {image_id for image_ids in self.cat_img_map.values() for image_id in image_ids}
        kept = []
        empty = f'without an annotation of the {len(self.cat_ids)} classes {_shorten(self._metainfo["classes"])}'
        small = f'with a side below {min_size} pixels'
        for record in self.data_list:
            if filter_empty and record['img_id'] not in annotated:
                self._filtered[empty] += 1
            elif min(record['width'], record['height']) < min_size:
                self._filtered[small] += 1
            else:
                kept.append(record)
        return kept

    # ---- parts of load_data_list

    def _section(self, document: dict, key: str, optional: bool = False) -> list[dict]:
        if key not in document and optional:
            return []
        section = document.get(key)
        if not isinstance(section, list) or not all(isinstance(entry, dict) for entry in section):
            received = sorted(document) if key not in document else type(section).__name__
            raise DataError(
                'a COCO file holds a list of objects under this key', file=self.ann_file, field=key, received=received
            )
        return section

    def _match_categories(self, categories: list[dict]) -> set:
        """Fill ``cat_ids`` and ``cat2label`` by name; returns the ids that the file lists."""
        for number, category in enumerate(categories):
            if not isinstance(category.get('id'), int | str) or not isinstance(category.get('name'), str):
                raise DataError(
                    "needs 'id' and 'name'", file=self.ann_file, record=f'categories[{number}]', received=category
                )
        for key in ('id', 'name'):
            repeated = [
                value for value, count in Counter(category[key] for category in categories).items() if count > 1
            ]
            if repeated:
                raise DataError(
                    'occurs more than once', file=self.ann_file, record='categories', field=key, received=repeated
                )
        ids = {category['name']: category['id'] for category in categories}
        classes = self._metainfo.get('classes', ())
        unknown = [name for name in classes if name not in ids]
        if (unknown and not self.allow_missing_classes) or len(unknown) == len(classes):
            raise ConfigError(
                f'{len(unknown)} of the {len(classes)} class names are not in {self.ann_file}: {_shorten(unknown)}. The file has: '
                f'{_shorten(list(ids), 100)}. Set metainfo=dict(classes=(...)) (a one-class tuple needs its comma)'
                f'{"" if len(unknown) == len(classes) else ", or allow_missing_classes=True"}',
                field='metainfo.classes',
            )
        self.cat2label = {ids[name]: label for label, name in enumerate(classes) if name in ids}
        self.cat_ids = list(self.cat2label)
        return set(ids.values())

    def _read_images(self, images: list[dict]) -> tuple[list, list[str], np.ndarray]:
        """Ids, file names and (N, 2) int64 width/height of the images."""
        for number, image in enumerate(images):
            width, height = image.get('width'), image.get('height')
            fine = (
                isinstance(width, int | float)
                and isinstance(height, int | float)
                and 0 < width < 1e9
                and 0 < height < 1e9
            )
            if not fine or not isinstance(image.get('id'), int | str) or not isinstance(image.get('file_name'), str):
                raise DataError(
                    "needs 'id', 'file_name' and positive 'width' and 'height'",
                    file=self.ann_file,
                    record=f'image {image["id"]}' if 'id' in image else f'images[{number}]',
                    received={key: image[key] for key in ('id', 'file_name', 'width', 'height') if key in image},
                )
        image_ids = [image['id'] for image in images]
        if len(set(image_ids)) < len(image_ids):
            repeated = [image_id for image_id, count in Counter(image_ids).items() if count > 1]
            raise DataError(
                'image ids must differ',
                file=self.ann_file,
                record=f'image {repeated[0]}',
                field='id',
                received=repeated[:10],
            )
        sizes_wh = np.array([(image['width'], image['height']) for image in images], dtype=np.int64).reshape(-1, 2)
        return image_ids, [image['file_name'] for image in images], sizes_wh

    def _read_annotations(self, annotations: list[dict], image_ids: list, known_ids: set):
        """Columns: image row (n,), category ids, xywh boxes (n, 4), areas (n,), crowd (n,) and to-be-dropped (n,) flags."""
        position = {image_id: row for row, image_id in enumerate(image_ids)}
        try:
            rows = np.array([position[a['image_id']] for a in annotations], dtype=np.int64)
            category_ids = [a['category_id'] for a in annotations]
            category_set = set(category_ids)
            bboxes = np.array([a['bbox'] for a in annotations]) if annotations else np.zeros((0, 4))
            areas = np.array(
                [a['area'] if 'area' in a else a['bbox'][2] * a['bbox'][3] for a in annotations], dtype=np.float64
            )
            fine = bboxes.shape == (len(annotations), 4) and bboxes.dtype.kind in 'if' and np.isfinite(bboxes).all()
            fine = fine and np.isfinite(areas).all() and all(isinstance(c, int | str) for c in category_set)
        except (KeyError, TypeError, ValueError):
            fine = False
        if not fine:
            self._raise_annotation_fault(annotations, position)
        dropped = np.array([bool(a.get('ignore', 0)) for a in annotations], dtype=bool)
        crowd = np.array([bool(a.get('iscrowd', 0)) for a in annotations], dtype=bool)
        strangers = category_set - known_ids
        count = (
            sum(c in strangers and not ignored for c, ignored in zip(category_ids, dropped.tolist(), strict=True))
            if strangers
            else 0
        )
        if count:
            print_log(
                f'{self.ann_file}: {count} annotations are left out, their category_id is not among the categories: '
                f'{_shorten(strangers)}',
                logger='current',
                level=logging.WARNING,
            )
        return rows, category_ids, bboxes.astype(np.float64), areas, crowd, dropped

    def _raise_annotation_fault(self, annotations: list[dict], position: dict) -> None:
        """Find the first faulty annotation and name it."""
        for number, annotation in enumerate(annotations):
            where = {
                'file': self.ann_file,
                'record': f'annotation {annotation["id"]}' if 'id' in annotation else f'annotations[{number}]',
            }
            for key in ('image_id', 'category_id', 'bbox'):
                if key not in annotation:
                    raise DataError('the key is missing', field=key, received=sorted(annotation), **where)
            for key in ('image_id', 'category_id'):
                if not isinstance(annotation[key], int | str):
                    raise DataError('must be an integer or a string', field=key, received=annotation[key], **where)
            if annotation['image_id'] not in position:
                raise DataError("no such id among 'images'", field='image_id', received=annotation['image_id'], **where)
            bbox = annotation['bbox']
            if not isinstance(bbox, list) or len(bbox) != 4 or not all(map(_is_finite_number, bbox)):
                raise DataError(
                    'must be four finite numbers [x, y, width, height]', field='bbox', received=bbox, **where
                )
            if 'area' in annotation and not _is_finite_number(annotation['area']):
                raise DataError('must be a finite number', field='area', received=annotation['area'], **where)
        raise DataError('the annotations cannot be read as COCO boxes', file=self.ann_file)


def _is_finite_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def usable_boxes(bboxes_xywh: np.ndarray, sizes_wh: np.ndarray, border_margin: float | None = None) -> np.ndarray:
    """Which boxes can be trained on: at least one pixel wide and high, and meeting the image.

    Args:
        bboxes_xywh: (n, 4) float, left, top, width, height in pixels.
        sizes_wh: (n, 2) width and height of each box's image.
        border_margin: also refuse boxes that start closer than this to the right or lower edge.

    Returns:
        (n,) bool.
    """
    x1, y1, w, h = bboxes_xywh.T
    width, height = sizes_wh.T
    overlap_w = np.minimum(x1 + w, width) - np.maximum(x1, 0)
    overlap_h = np.minimum(y1 + h, height) - np.maximum(y1, 0)
    usable = (w >= 1) & (h >= 1) & (overlap_w > 0) & (overlap_h > 0)
    if border_margin is not None:
        usable &= (x1 <= width - border_margin) & (y1 <= height - border_margin)
    return usable


def make_records(*, paths, image_ids, sizes_wh, rows, bboxes_xywh, labels, ignore) -> list[dict]:
    """Records of N images out of the columns of their n boxes, the boxes of an image in the order given.

    Args:
        paths: N image paths.
        image_ids: N ids.
        sizes_wh: (N, 2) int.
        rows: (n,) position of each box's image.
        bboxes_xywh: (n, 4) float.
        labels: (n,) int.
        ignore: (n,) bool.
    """
    order = np.argsort(rows, kind='stable')
    bboxes = bboxes_xywh[order]
    bboxes[:, 2:] += bboxes[:, :2]  # xyxy
    instances = [
        {'bbox': bbox, 'bbox_label': label, 'ignore_flag': flag}
        for bbox, label, flag in zip(
            bboxes.tolist(), labels[order].tolist(), ignore[order].astype(int).tolist(), strict=True
        )
    ]
    ends = np.cumsum(np.bincount(rows, minlength=len(image_ids))).tolist()
    starts = [0, *ends][:-1]
    return [
        {'img_path': path, 'img_id': image_id, 'height': height, 'width': width, 'instances': instances[start:end]}
        for path, image_id, (width, height), start, end in zip(
            paths, image_ids, sizes_wh.tolist(), starts, ends, strict=True
        )
    ]


def _shorten(names, limit: int = 20) -> str:
    names = [repr(name) for name in names]
    return ', '.join(names[:limit]) + (f', ... ({len(names)} in all)' if len(names) > limit else '')
