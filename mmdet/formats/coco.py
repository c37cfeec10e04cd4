"""COCO JSON: annotation files are read, results and ground truth are read and written.

:func:`read_coco` is the one reader of annotation files: datasets, metrics, converters and tools take its columns, so that all of them
accept the same files and refuse the others with the same words.

Letters: n annotations, I images, C categories of the file; K classes.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import ConfigError, DataError
from ..utils.checks import is_finite, is_int
from ..utils.class_names import near_names, shown
from ..utils.reading import is_inner_path
from .joined_files import join_tables
from .json_file import has_keys, no_garbage_collection, parse_json, read_bytes, read_json
from .records import ImageId, Records, area_of_text, is_text, plain_id
from .tables import Detections, GroundTruth

NO_AREA_GIVEN = 'boxes with an area of 0 or less (that of the box is taken)'


def id_order(image_id: ImageId | float) -> tuple:
    """Sort key for image ids of any type: numbers first, then the others by their text. It decides between equal scores."""
    if isinstance(image_id, int | float | np.number):
        return (0, image_id, '')
    return (1, 0, str(image_id))


class Rectangles(NamedTuple):
    """Rectangles without a class: ``image`` (r,) int64 positions of the images, ``bbox`` (r, 4) float64 xywh."""

    image: np.ndarray
    bbox: np.ndarray


@dataclass(frozen=True)
class CocoFile:
    """An annotation file as columns, in the order of the file; the arrays are read-only.

    Attributes:
        source: the file.
        image_ids: I ids.
        file_names: I names, '' where the file has none.
        sizes_wh: (I, 2) int64 widths and heights in pixels, 0 where the file has none.
        categories: C objects of the file.
        category_ids: C ids.
        category_names: C names.
        annotated: False for a file without the key ``annotations`` (a test set whose annotations are kept back).
        image: (n,) int64, position of the image.
        category: (n,) int64, position of the category.
        bbox: (n, 4) float64, left, top, width, height in pixels.
        area: (n,) float64; width * height where the file has none, or one that is not above 0 (exporters without masks write 0).
        crowd: (n,) bool, ``iscrowd``.
        ignore: (n,) bool, ``ignore``: neither trained on, nor found or missed in evaluation.
        ignored_regions, others: what ``VisDrone2COCO.py`` writes beside the annotations; empty in other files.
        rotation: (n,) float64, degrees by which an annotation tool turned the rectangle (CVAT's ``attributes.rotation``), 0 where it is upright.
        visibility: (n, 2) int64, truncation and occlusion: 0 none, 1 partly, 2 heavily (VisDrone; the other formats know 0 and 1), -1 not known.
        kind: format that the columns were read from, one of :data:`~mmdet.formats.annotations.KINDS`.
        image_root: folder that the file names are relative to; '' where it is not known.
        images_of_files: of columns that were read from several files, how many images each of them has; empty for one file.
        notes: what the reader changed or left out, by reason, with how many rows that concerns.
        stated_wh: (I, 2) int64 widths and heights as the file states them, 0 where it does not; None: those of ``sizes_wh``.
    """

    source: str
    image_ids: list[ImageId]
    file_names: list[str]
    sizes_wh: np.ndarray
    categories: list[dict]
    category_ids: list[ImageId]
    category_names: list[str]
    annotated: bool
    image: np.ndarray
    category: np.ndarray
    bbox: np.ndarray
    area: np.ndarray
    crowd: np.ndarray
    ignore: np.ndarray
    ignored_regions: Rectangles
    others: Rectangles
    rotation: np.ndarray
    visibility: np.ndarray
    kind: str = 'coco'
    image_root: str = ''
    images_of_files: tuple[int, ...] = ()
    notes: Mapping[str, int] = field(default_factory=dict)
    stated_wh: np.ndarray | None = None

    def require_file_names(self, *, inner: bool = False) -> list[str]:
        """The file names, for callers that read the images.

        Args:
            inner: they must stay inside the image folder, because files are written under them in another folder.

        Raises:
            DataError: an image has no file name, or there is no image at all, or a name leads out of the folder.
        """
        if not self.image_ids:
            raise DataError('the annotations hold no image', file=self.source, field='images')
        if '' in self.file_names:
            image_id = self.image_ids[self.file_names.index('')]
            raise DataError('is missing', file=self.source, record=f'image {image_id}', field='file_name')
        for image_id, name in zip(self.image_ids, self.file_names) if inner else ():
            if not is_inner_path(name):
                place = dict(file=self.source, record=f'image {image_id}', field='file_name')
                raise DataError('must lead into the image folder', **place, received=name)
        return self.file_names


def match_classes(
    classes: Sequence[str], names: Sequence[str], file: str | PathLike, *, allow_missing: bool = False
) -> np.ndarray:
    """Label of each category of a file.

    Args:
        classes: K names; label i is the category *named* ``classes[i]``, wherever the file lists it.
        names: C category names of the file.
        file: the file, for messages.
        allow_missing: class names that the file lacks keep their label and never occur; at least one class must be in the file.

    Returns:
        (C,) int64, -1 for categories of other names.

    Raises:
        DataError: a class is the name of two categories.
        ConfigError: the file lacks a class, or no class is given.
    """
    if not classes:
        message = 'there is no class; formats without a list of classes have those of their boxes, and here is no box'
        raise ConfigError(message if not names else 'there is no class', file=file, field='metainfo.classes')
    known = Counter(names)
    if repeated := [name for name in classes if known[name] > 1]:
        raise DataError('two categories have this name', file=file, field='categories', received=repeated[0])
    unknown = [name for name in classes if name not in known]
    if (unknown and not allow_missing) or len(unknown) == len(classes):
        near = near_names(unknown, names)
        hint = (
            f' (near names: {", ".join(f"{name!r} is {other!r} there" for name, other in near.items())})'
            if near
            else ''
        )
        message = (
            f'{len(unknown)} of the {len(classes)} class names are not in the file: {shown(unknown)}{hint}. The file has: '
            f'{shown(names, 100)}. Set metainfo=dict(classes=(...)) of the dataset; a one-class tuple needs its comma'
        )
        raise ConfigError(message, file=file, field='metainfo.classes')
    label_of = {name: label for label, name in enumerate(classes)}
    return np.array([label_of.get(name, -1) for name in names], dtype=np.int64)


AnnFile = str | PathLike | Sequence[str | PathLike]
_last: tuple[tuple, CocoFile] | None = None


def read_coco(path: AnnFile, backend_args: dict | None = None, *, unique_ids: bool = True) -> CocoFile:
    """Read and check a COCO annotation file, or several as one.

    The columns of the last call are kept, because a validation set and its metric read the same file one after the other.

    What is accepted: ids are whole numbers (3.0 is 3) or texts, matched as they are; ``height``, ``width``, ``file_name``, ``area``,
    ``iscrowd``, ``ignore``, an annotation's ``id`` and ``supercategory`` may be missing or null; categories that no class uses may share
    a name. The image of every annotation and its category must be in the file, and no id may occur twice. An area that is missing, null,
    an empty text, or not above 0 is that of the box.

    Args:
        path: path or URL of the file; a list of them is read as one file, see :func:`~mmdet.formats.joined_files.join_tables`.
        backend_args: arguments of an mmengine file backend.
        unique_ids: annotations of one file may not share an id.

    Raises:
        DataError: a file is missing, broken or inconsistent; the error names file, record and field. For an id that occurs twice
            it is also an AssertionError.
        ConfigError: an empty list.
    """
    global _last
    paths = file_list(path)
    contents = [read_bytes(each, backend_args) for each in paths]
    key = (unique_ids, *((str(each), hashlib.sha256(data).digest()) for each, data in zip(paths, contents)))
    if _last is None or _last[0] != key:
        _last = None  # frees the file before, while this one is being read
        tables = []
        with no_garbage_collection():
            for each in paths:
                document = parse_json(contents.pop(0), each, drop_polygons=True)
                tables.append(columns_of(document, str(each), unique_ids))
        _last = key, tables[0] if len(tables) == 1 else _frozen(join_tables(tables))
    return _last[1]


def is_coco(path: Path) -> bool:
    """Whether a ``.json`` file names ``images`` and ``categories``; it is not parsed, so that a damaged one is recognised, too."""
    if not (path.is_file() and path.suffix.lower() == '.json'):
        return False
    return has_keys(read_bytes(path), 'images', 'categories')


def file_list(path: AnnFile) -> list[str | PathLike]:
    """The annotation files that a config names, one or a list of them; ConfigError for an empty list."""
    paths = [path] if isinstance(path, str | PathLike) else list(path) if isinstance(path, Sequence) else []
    if not paths:
        raise ConfigError('must be a file, or a list of at least one', field='ann_file', received=path)
    return paths


def read_segmentations(path: AnnFile, backend_args: dict | None = None) -> list:
    """The ``segmentation`` (polygons, run lengths, or None) of each annotation of files that :func:`read_coco` has accepted, in its order.

    They are three quarters of such a file, so that only who needs masks reads them.
    """
    found: list = []
    with no_garbage_collection():
        for each in file_list(path):
            document = parse_json(read_bytes(each, backend_args), each)
            found += [row.get('segmentation') or None for row in document.get('annotations', [])]
    return found


def columns_of(document: dict, source: str, unique_ids: bool = True) -> CocoFile:
    """The columns of a parsed annotation file; ``source`` is its name in errors. See :func:`read_coco`."""
    images, categories = (Records(document.get(key), source, key) for key in ('images', 'categories'))
    annotations = Records(document.get('annotations', []), source, 'annotations')
    image_ids, category_ids = images.ids('id', unique=True), categories.ids('id', unique=True)
    own_ids = [each for each in annotations.ids('id', unique=unique_ids, optional=True) if each is not None]
    image = annotations.positions('image_id', image_ids, "'images'")
    category = annotations.positions('category_id', category_ids, "'categories'")
    bbox = annotations.boxes()
    area = annotations.areas()
    useless = int(np.count_nonzero(area <= 0))
    area = np.where(area > 0, area, bbox[:, 2] * bbox[:, 3])
    notes = {NO_AREA_GIVEN: useless, 'annotations whose id occurs before': len(own_ids) - len(set(own_ids))}
    rotation, visibility = _attributes(annotations)
    rectangles = []
    for key in ('ignored_regions', 'others'):
        rows = Records(document.get(key, []), source, key)
        rectangles.append(Rectangles(rows.positions('image_id', image_ids, "'images'"), rows.boxes()))
    table = CocoFile(
        source=source,
        image_ids=image_ids,
        file_names=images.texts('file_name', optional=True),
        sizes_wh=np.stack([images.sides('width'), images.sides('height')], axis=1),
        categories=[{**row, 'id': category_id} for row, category_id in zip(categories.rows, category_ids)],
        category_ids=category_ids,
        category_names=categories.texts('name'),
        annotated='annotations' in document,
        image=image,
        category=category,
        bbox=bbox,
        area=area,
        crowd=annotations.flags('iscrowd'),
        ignore=annotations.flags('ignore'),
        ignored_regions=rectangles[0],
        others=rectangles[1],
        rotation=rotation,
        visibility=visibility,
        notes={reason: count for reason, count in notes.items() if count},
    )
    return _frozen(table)


def _frozen(table: CocoFile) -> CocoFile:
    """The same table, its arrays made read-only: callers share it."""
    for column in (*vars(table).values(), *table.ignored_regions, *table.others):
        if isinstance(column, np.ndarray):
            column.flags.writeable = False
    return table


def _attributes(annotations: 'Records') -> tuple[np.ndarray, np.ndarray]:
    """Rotation (n,) and visibility (n, 2) out of the ``attributes`` that CVAT writes; what is missing or of another kind is not known."""
    rows = [each if type(each) is dict else {} for each in annotations.values('attributes')]
    degrees = [row.get('rotation') for row in rows]
    rotation = np.array([float(value) if is_finite(value) else 0.0 for value in degrees], dtype=np.float64)
    visibility = np.full((len(rows), 2), -1, dtype=np.int64)
    for column, names in enumerate((('truncation', 'truncated'), ('occlusion', 'occluded'))):
        for number, row in enumerate(rows):
            value = next((row[name] for name in names if name in row), None)
            if type(value) in (int, bool) and value in (0, 1, 2):
                visibility[number, column] = value
    return rotation, visibility


def read_data_list(path: str | PathLike, backend_args: dict | None = None) -> tuple[dict, list[dict]]:
    """``metainfo`` and ``data_list`` of a JSON file in mmengine's own format.

    Records hold ``img_path``, ``height`` and ``width``, and may hold ``img_id`` and ``instances``, a list of objects with ``bbox`` (xyxy in
    pixels) and ``bbox_label``; other keys are kept as they are.

    Raises:
        DataError: the file is missing, broken, or a value is wrong; names the record and the field.
    """
    document = read_json(path, backend_args)
    for key, kind in (('metainfo', dict), ('data_list', list)):
        if not isinstance(document.get(key), kind):
            received = sorted(document)
            raise DataError(f'the key must hold a {kind.__name__}', file=path, field=key, received=received)
    classes = document['metainfo'].get('classes', [])
    if type(classes) is not list or not all(map(is_text, classes)) or len(set(classes)) < len(classes):
        raise DataError('must be a list of different names', file=path, field='metainfo.classes', received=classes)
    records = Records(document['data_list'], str(path), 'data_list')
    records.texts('img_path')
    records.sides('width')
    records.sides('height')
    records.check('img_id', records.values('img_id'), lambda v: plain_id(v) is not None, 'must be an id', optional=True)
    groups = records.values('instances')
    records.check('instances', groups, lambda v: type(v) is list, 'must be a list of objects', optional=True)
    instances = Records(list(chain.from_iterable(group or [] for group in groups)), str(path), 'instances')
    instances.boxes()
    labels = instances.values('bbox_label')
    instances.check('bbox_label', labels, lambda v: is_int(v, 0) and v < 2**63, 'must be a whole number >= 0')
    return document['metainfo'], records.rows


def area_of(annotation: Mapping) -> float:
    """The area of an annotation by the rule of :func:`read_coco`, without its checks.

    >>> box = dict(bbox=[0, 0, 4, 5])
    >>> [area_of(dict(box, area=area)) for area in (12, 0, -1, None, '12', '')]
    [12, 20, 20, 20, 12.0, 20]
    """
    area = area_of_text(annotation.get('area'))
    return area if is_finite(area) and area > 0 else annotation['bbox'][2] * annotation['bbox'][3]


@dataclass
class CocoAnnotations:
    """Ground truth of a set of images, ready for :func:`~mmdet.evaluation.coco_eval.evaluate_boxes`.

    Attributes:
        source: the file it was read from, for messages.
        image_ids: the I image ids, in :func:`id_order`; their positions are the ``image`` indices of ``gt``.
        image_sizes: (height, width) of each image, or (None, None).
        classes: the K class names; their positions are the labels.
        category_ids: the K category ids of the file.
        gt: the boxes of these classes.
        other_category_ids: categories of the file that are not evaluated.
        file_names: of each image; '' where the file has none, and empty where the ground truth does not come from a file.
        image_root: folder that the file names are relative to; '' where it is not known.
        kind: format of the file, one of :data:`~mmdet.formats.annotations.KINDS`.
        rotation: degrees of each row of ``gt``, see :class:`CocoFile`; None where the ground truth does not come from a file.
        notes: what the reader changed or left out, by reason, with how many rows that concerns.
    """

    source: str
    image_ids: list[ImageId]
    image_sizes: list[tuple]
    classes: tuple[str, ...]
    category_ids: list[ImageId]
    gt: GroundTruth
    other_category_ids: frozenset = frozenset()
    file_names: list[str] = field(default_factory=list)
    image_root: str = ''
    kind: str = 'coco'
    rotation: np.ndarray | None = None
    notes: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.image_index = {image_id: i for i, image_id in enumerate(self.image_ids)}

    def index_of(self, image_id: ImageId) -> int:
        """Position of an image; DataError where the ground truth does not have it."""
        try:
            return self.image_index[image_id]
        except (KeyError, TypeError):
            message = f'the image is not among the {len(self.image_ids)} of the ground truth'
            raise DataError(message, file=self.source, field='image_id', received=image_id) from None


def load_coco_annotations(
    ann_file: AnnFile,
    classes: Sequence[str] | None = None,
    backend_args: dict | None = None,
    *,
    count_ignored: bool = False,
) -> CocoAnnotations:
    """The ground truth of a COCO annotation file, or of several, by :func:`read_coco`.

    Args:
        ann_file: path or URL of the JSON file, or a list of them.
        classes: as in :func:`match_classes`; None means all categories of the file in its order. Boxes of other categories are left out.
        backend_args: arguments of an mmengine file backend.
        count_ignored: boxes with ``ignore`` count as objects, as in pycocotools. False makes them crowds, neither found nor missed,
            just as the datasets do not train on them.

    Raises:
        DataError: the file is missing, broken or inconsistent.
        ConfigError: a class name is not in the file, or there is no class.
    """
    return annotations_of(read_coco(ann_file, backend_args), classes, count_ignored=count_ignored)


def annotations_of(
    table: CocoFile, classes: Sequence[str] | None = None, *, count_ignored: bool = False
) -> CocoAnnotations:
    """The ground truth in the columns of an annotation file of any format; arguments and errors as :func:`load_coco_annotations`."""
    if classes is None:
        classes = table.category_names
    classes = (classes,) if isinstance(classes, str) else tuple(classes)
    label_of = match_classes(classes, table.category_names, table.source)
    id_of = {label: table.category_ids[position] for position, label in enumerate(label_of.tolist())}
    order = sorted(range(len(table.image_ids)), key=lambda position: id_order(table.image_ids[position]))
    label = label_of[table.category]
    crowd = table.crowd if count_ignored else table.crowd | table.ignore
    own = label >= 0
    return CocoAnnotations(
        source=table.source,
        image_ids=[table.image_ids[position] for position in order],
        image_sizes=[(height or None, width or None) for width, height in table.sizes_wh[order].tolist()],
        classes=classes,
        category_ids=[id_of[label] for label in range(len(classes))],
        gt=GroundTruth(np.argsort(order)[table.image], label, table.bbox, table.area, crowd)[own],
        other_category_ids=frozenset(table.category_ids[position] for position in np.flatnonzero(label_of < 0)),
        file_names=[table.file_names[position] for position in order],
        image_root=table.image_root,
        kind=table.kind,
        rotation=table.rotation[own],
        notes=table.notes,
    )


def result_rows(detections: Detections, annotations: CocoAnnotations) -> list[dict]:
    """COCO result rows (``bbox`` xywh), by descending score; equal scores by image id, then in the order given."""
    dt, image_ids, category_ids = detections, annotations.image_ids, annotations.category_ids
    dt = dt[np.lexsort((dt.image, -dt.score))]
    columns = zip(dt.image.tolist(), dt.label.tolist(), dt.bbox.tolist(), dt.score.tolist())
    return [
        {'image_id': image_ids[image], 'category_id': category_ids[label], 'bbox': bbox, 'score': score}
        for image, label, bbox, score in columns
    ]


def detections_from_rows(rows: Any, annotations: CocoAnnotations, source: str) -> tuple[Detections, int]:
    """Detections of COCO result rows, and how many rows were left out: those of the file's categories that are not evaluated.

    Raises:
        DataError: no list of objects, an image or a category that the annotation file does not have, or numbers that are not finite.
    """
    results = Records(rows, source, 'results')
    category_ids = [*annotations.category_ids, *annotations.other_category_ids]
    label = results.positions('category_id', category_ids, f"'categories' of {annotations.source}")
    image = results.positions('image_id', annotations.image_ids, f"'images' of {annotations.source}")
    own = label < len(annotations.category_ids)
    detections = Detections(image, label, results.boxes(), results.numbers('score'))
    return detections[own], int(np.count_nonzero(~own))


def coco_json(table: CocoFile, segmentations: Sequence[Any] | None = None) -> dict:
    """The columns of an annotation file as the content of a COCO annotation file; annotation ids start at 1.

    Args:
        table: of a file in any format. Sizes that are not known are left out, and so is ``ignore`` where no annotation has it.
        segmentations: of each annotation, see :func:`read_segmentations`.
    """
    any_ignored, turned, visibility = bool(table.ignore.any()), table.rotation.tolist(), table.visibility.tolist()
    columns = (table.image, table.category, table.bbox, table.area, table.crowd, table.ignore)
    annotations = []
    for row, (image, category, bbox, area, crowd, ignore) in enumerate(zip(*(column.tolist() for column in columns))):
        annotation = dict(
            id=row + 1,
            image_id=table.image_ids[image],
            category_id=table.category_ids[category],
            bbox=bbox,
            area=area,
            iscrowd=int(crowd),
        )
        if any_ignored:
            annotation['ignore'] = int(ignore)
        known = dict(zip(('truncation', 'occlusion'), visibility[row]))
        attributes = {name: value for name, value in known.items() if value >= 0}
        if turned[row]:
            attributes['rotation'] = turned[row]
        if attributes:
            annotation['attributes'] = attributes
        if segmentations is not None and segmentations[row] is not None:
            annotation['segmentation'] = segmentations[row]
        annotations.append(annotation)
    images = []
    for image_id, name, (width, height) in zip(table.image_ids, table.file_names, table.sizes_wh.tolist()):
        size = dict(height=height, width=width) if width and height else {}
        images.append(dict(id=image_id, file_name=name, **size))
    document = dict(images=images, annotations=annotations, categories=table.categories)
    for key, rectangles in (('ignored_regions', table.ignored_regions), ('others', table.others)):
        if len(rectangles.image):
            rows = zip(rectangles.image.tolist(), rectangles.bbox.tolist())
            document[key] = [dict(image_id=table.image_ids[image], bbox=bbox) for image, bbox in rows]
    if not table.annotated:
        del document['annotations']
    return document


def ground_truth_json(annotations: CocoAnnotations) -> dict:
    """The ground truth as the content of a COCO annotation file; annotation ids start at 1."""
    gt, image_ids, category_ids = annotations.gt, annotations.image_ids, annotations.category_ids
    columns = zip(gt.image.tolist(), gt.label.tolist(), gt.bbox.tolist(), gt.area.tolist(), gt.crowd.tolist())
    return {
        'info': {'description': 'ground truth collected from the data samples of an evaluation'},
        'images': [
            {'id': image_id, 'file_name': '', 'height': height, 'width': width}
            for image_id, (height, width) in zip(image_ids, annotations.image_sizes)
        ],
        'categories': [{'id': i, 'name': name} for i, name in zip(category_ids, annotations.classes)],
        'annotations': [
            dict(
                id=i,
                image_id=image_ids[image],
                category_id=category_ids[label],
                bbox=bbox,
                area=area,
                iscrowd=int(crowd),
            )
            for i, (image, label, bbox, area, crowd) in enumerate(columns, start=1)
        ],
    }
