"""COCO JSON: annotations in; results and ground truth out and in."""

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ConfigError, DataError
from .json_file import _read_json
from .tables import Detections, GroundTruth


def id_order(image_id) -> tuple:
    """Sort key for image ids of any type: numbers, then the others by their text. Breaks ties between equal scores."""
    if isinstance(image_id, int | float | np.number):
        return (0, image_id, '')
    return (1, 0, str(image_id))


@dataclass
class CocoAnnotations:
    """Ground truth of a set of images, ready for :func:`~mmdet.evaluation.coco_eval.evaluate_boxes`.

    Attributes:
        source: where it came from, for messages.
        image_ids: the I image ids, in :func:`id_order`; their positions are the ``image`` indices of ``gt``.
        image_sizes: (height, width) of each image, or (None, None).
        classes: the K class names; their positions are the labels.
        category_ids: the K category ids of the file.
        gt: the boxes of these classes.
        other_category_ids: categories of the file that are not evaluated.
    """

    source: str
    image_ids: list
    image_sizes: list[tuple]
    classes: tuple[str, ...]
    category_ids: list[int]
    gt: GroundTruth
    other_category_ids: frozenset = frozenset()

    def __post_init__(self):
        self.image_index = {image_id: i for i, image_id in enumerate(self.image_ids)}

    def index_of(self, image_id) -> int:
        """Position of an image; DataError where the ground truth does not know it."""
        try:
            return self.image_index[image_id]
        except (KeyError, TypeError):
            raise DataError(
                f'the image is not among the {len(self.image_ids)} of the ground truth',
                file=self.source,
                field='image_id',
                received=image_id,
            ) from None


def load_coco_annotations(
    ann_file: str, classes: Sequence[str] | None = None, backend_args: dict | None = None
) -> CocoAnnotations:
    """Read the ground truth of a COCO annotation file.

    Args:
        ann_file: path or URL of the JSON file.
        classes: class names; label i is the category *named* ``classes[i]``, wherever the file lists it. None means all
            categories of the file in its order. Boxes of other categories are left out.
        backend_args: as in ``mmengine.fileio``.

    Raises:
        DataError: the file is missing, broken or inconsistent.
        ConfigError: a class name is not in the file.
    """
    content = _read_json(ann_file, backend_args)
    if not isinstance(content, dict):
        raise DataError(
            'must be a JSON object with images, annotations and categories',
            file=ann_file,
            received=type(content).__name__,
        )
    if 'annotations' not in content:  # a test set whose annotations are kept back: results can still be formatted
        content = dict(content, annotations=[])
    for name in ('images', 'annotations', 'categories'):
        if not isinstance(content.get(name), list):
            raise DataError('must be a list', file=ann_file, field=name, received=content.get(name))

    sizes = {}
    for position, image in enumerate(content['images']):
        image_id = _field(image, 'id', ann_file, f'image {position}')
        if image_id in sizes:
            raise DataError(
                'the id is used twice', file=ann_file, record=f'image {position}', field='id', received=image_id
            )
        sizes[image_id] = (image.get('height'), image.get('width'))
    image_ids = sorted(sizes, key=id_order)

    name_of = {}
    for position, category in enumerate(content['categories']):
        where = f'category {position}'
        name_of[_field(category, 'id', ann_file, where)] = str(_field(category, 'name', ann_file, where))
    classes, category_ids = _match_classes(name_of, classes, ann_file)

    image_index = {image_id: i for i, image_id in enumerate(image_ids)}
    label_of = {category_id: label for label, category_id in enumerate(category_ids)}
    rows = []
    for position, annotation in enumerate(content['annotations']):
        where = (
            f'annotation {annotation.get("id", f"at position {position}")}'
            if isinstance(annotation, dict)
            else f'annotation {position}'
        )
        image_id = _field(annotation, 'image_id', ann_file, where)
        category_id = _field(annotation, 'category_id', ann_file, where)
        if image_id not in image_index:
            raise DataError(
                'no such image in the file', file=ann_file, record=where, field='image_id', received=image_id
            )
        if category_id not in name_of:
            raise DataError(
                'no such category in the file', file=ann_file, record=where, field='category_id', received=category_id
            )
        if category_id in label_of:
            bbox = _box(_field(annotation, 'bbox', ann_file, where), ann_file, where)
            area = annotation.get('area')
            area = bbox[2] * bbox[3] if area is None else _number(area, ann_file, where, 'area')
            # A plain "ignore" flag is disregarded, as in pycocotools: only crowds are ignored.
            rows.append((image_index[image_id], label_of[category_id], bbox, area, bool(annotation.get('iscrowd', 0))))

    image, label, bbox, area, crowd = zip(*rows) if rows else ((),) * 5
    return CocoAnnotations(
        source=str(ann_file),
        image_ids=image_ids,
        image_sizes=[sizes[image_id] for image_id in image_ids],
        classes=classes,
        category_ids=category_ids,
        gt=GroundTruth(image, label, bbox, area=area, crowd=crowd),
        other_category_ids=frozenset(name_of) - set(category_ids),
    )


def _match_classes(
    name_of: Mapping[int, str], classes: Sequence[str] | None, ann_file: str
) -> tuple[tuple[str, ...], list[int]]:
    """Category ids in the order of the class names."""
    if classes is None:
        classes = list(name_of.values())
    if not classes:
        raise ConfigError('there is no class to evaluate', file=ann_file, field='classes')
    classes = (classes,) if isinstance(classes, str) else tuple(classes)
    id_of = {}
    for category_id, name in name_of.items():
        if name in id_of and name in classes:
            raise DataError('two categories have the same name', file=ann_file, field='categories', received=name)
        id_of[name] = category_id
    unknown = [name for name in classes if name not in id_of]
    if unknown:
        raise ConfigError(
            f'these {len(unknown)} of the {len(classes)} classes of the dataset are no categories of the file, '
            f'which has {sorted(id_of)}. Set metainfo=dict(classes=(...,)) of the dataset to names of the file',
            file=ann_file,
            field='classes',
            received=unknown,
        )
    return classes, [id_of[name] for name in classes]


def result_rows(detections: Detections, annotations: CocoAnnotations) -> list[dict]:
    """COCO result rows (``bbox`` xywh), by descending score; equal scores by image id, then in the order given."""
    order = np.lexsort((detections.image, -detections.score))
    images, labels = detections.image[order].tolist(), detections.label[order].tolist()
    return [
        {
            'image_id': annotations.image_ids[image],
            'category_id': annotations.category_ids[label],
            'bbox': bbox,
            'score': score,
        }
        for image, label, bbox, score in zip(
            images, labels, detections.bbox[order].tolist(), detections.score[order].tolist()
        )
    ]


def detections_from_rows(rows: Any, annotations: CocoAnnotations, source: str) -> tuple[Detections, int]:
    """Read COCO result rows back.

    Returns:
        the detections, and how many rows were left out because their category is in the annotation file but not
        evaluated.
    """
    if not isinstance(rows, list):
        raise DataError('must be a JSON list of results', file=source, received=type(rows).__name__)
    label_of = {category_id: label for label, category_id in enumerate(annotations.category_ids)}
    image, label, bbox, score, left_out = [], [], [], [], 0
    for position, row in enumerate(rows):
        where = f'result {position}'
        category_id = _field(row, 'category_id', source, where)
        if category_id in annotations.other_category_ids:
            left_out += 1
            continue
        if category_id not in label_of:
            raise DataError(
                f'is no category of {annotations.source}, whose ids are {annotations.category_ids}',
                file=source,
                record=where,
                field='category_id',
                received=category_id,
            )
        image.append(annotations.index_of(_field(row, 'image_id', source, where)))
        label.append(label_of[category_id])
        bbox.append(_box(_field(row, 'bbox', source, where), source, where))
        score.append(_number(_field(row, 'score', source, where), source, where, 'score'))
    return Detections(image, label, bbox, score=score), left_out


def ground_truth_json(annotations: CocoAnnotations) -> dict:
    """The ground truth as the content of a COCO annotation file; annotation ids start at 1."""
    gt = annotations.gt
    columns = zip(gt.image.tolist(), gt.label.tolist(), gt.bbox.tolist(), gt.area.tolist(), gt.crowd.tolist())
    return {
        'info': {'description': 'ground truth collected from the data samples of an evaluation'},
        'images': [
            {'id': image_id, 'file_name': '', 'height': height, 'width': width}
            for image_id, (height, width) in zip(annotations.image_ids, annotations.image_sizes)
        ],
        'categories': [{'id': i, 'name': name} for i, name in zip(annotations.category_ids, annotations.classes)],
        'annotations': [
            {
                'id': position,
                'image_id': annotations.image_ids[image],
                'category_id': annotations.category_ids[label],
                'bbox': bbox,
                'area': area,
                'iscrowd': int(crowd),
            }
            for position, (image, label, bbox, area, crowd) in enumerate(columns, start=1)
        ],
    }


def _field(record: Any, name: str, file: str, where: str) -> Any:
    if not isinstance(record, dict):
        raise DataError('must be a JSON object', file=file, record=where, received=record)
    if name not in record:
        raise DataError('is missing', file=file, record=where, field=name)
    value = record[name]
    if isinstance(value, list | dict) and name != 'bbox':
        raise DataError('must be a number or a text', file=file, record=where, field=name, received=value)
    return value


def _number(value: Any, file: str, where: str, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise DataError('must be a finite number', file=file, record=where, field=name, received=value)
    return float(value)


def _box(value: Any, file: str, where: str) -> tuple[float, ...]:
    if isinstance(value, list | tuple) and len(value) == 4:
        with contextlib.suppress(TypeError, ValueError):
            box = tuple(map(float, value))
            if all(map(math.isfinite, box)):
                return box
    raise DataError(
        'must be four finite numbers x, y, width, height', file=file, record=where, field='bbox', received=value
    )
