"""LabelMe: one JSON file an image, with shapes drawn by hand; files are read and written."""

import math
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from ..utils.checks import is_finite, is_int
from ..utils.files import write_json
from ..utils.progress import progress
from .annotation_table import ImageBoxes, make_table, plain_number, settled, size_of
from .coco import CocoFile
from .image_files import ImageFolder, plain_name
from .json_file import has_keys, read_bytes, read_json

# Shapes that enclose an area, and how many points they have.
_CORNERS = {'rectangle': 2, 'polygon': 3, 'circle': 2, 'mask': 2, 'oriented_rectangle': 4, 'rotation': 3}
_OPEN_SHAPES = ('point', 'points', 'line', 'linestrip')


def is_labelme(path: Path) -> bool:
    """Whether a path is a ``.json`` file with ``shapes`` and ``imagePath``, or a folder with such a file."""
    if path.is_dir():
        first = next(iter(sorted(path.glob('*.json'))), None)
        return first is not None and is_labelme(first)
    return path.suffix.lower() == '.json' and has_keys(read_bytes(path), 'shapes', 'imagePath')


def read_labelme_table(path: str | os.PathLike, image_root: str | os.PathLike | None = None) -> CocoFile:
    """The files of a folder as columns; classes are sorted by name.

    A rectangle is the box of its corners, in any order. Polygons, circles, masks and turned rectangles become their bounding boxes; points
    and lines are left out. Both are counted in ``notes``. Pictures embedded in the files (``imageData``) are not read.

    Args:
        path: the folder, which is searched with all folders in it, or one file.
        image_root: folder of the images; None is the folder of the files. An image that is there gives its size, otherwise the size
            stated in the file is taken.

    Raises:
        DataError: a missing or broken file; names file, shape and field.
    """
    folder = Path(path)
    files = [folder] if folder.is_file() else sorted(folder.rglob('*.json'))
    if not files:
        raise DataError('holds no .json file', file=folder)
    base = folder.parent if folder.is_file() else folder
    root = base if image_root is None else Path(image_root)
    finder, notes = ImageFolder(root), Counter[str]()
    images, names = [], []
    for file in progress(files, base.name):
        document = read_json(file)
        if not isinstance(document.get('shapes'), list) or not isinstance(document.get('imagePath'), str):
            message = 'must be a file of LabelMe, with the keys shapes and imagePath'
            raise DataError(message, file=file, received=sorted(document))
        stated = []
        for key in ('imageWidth', 'imageHeight'):
            side = document.get(key)
            if side is not None and not is_int(side, 1):
                raise DataError('must be a whole number of pixels > 0', file=file, field=key, received=side)
            stated.append(side or 0)
        # The path of the image is relative to the file; under another image folder its end counts.
        beside = file.parent.relative_to(base).as_posix()
        name = plain_name(document['imagePath'])
        found = finder.find(f'{beside}/{name}' if beside != '.' else name)
        notes['images that are not there'] += found is None
        stated_wh = (stated[0], stated[1])
        image = ImageBoxes(found or name, size_of(root / (found or name), stated_wh, notes), stated_wh=stated_wh)
        own = []
        for number, shape in enumerate(document['shapes'], 1):
            box = _box(shape, file, f'shape {number}', notes)
            if box is not None:
                image.boxes.append(box)
                own.append(shape['label'])
        images.append(image)
        names.append(own)
    classes = sorted({name for own in names for name in own})
    for image, own in zip(images, names):
        image.labels = [classes.index(name) for name in own]
    return make_table(images, classes, source=path, kind='labelme', image_root=root, notes=notes)


def _box(shape: Any, file: Path, record: str, notes: Counter) -> list[float] | None:
    """Left, top, width, height; None for a shape without an area, which is counted."""
    if not isinstance(shape, dict):
        raise DataError('must be a JSON object', file=file, record=record, received=shape)
    label, points, kind = shape.get('label'), shape.get('points'), shape.get('shape_type') or 'polygon'
    if not isinstance(label, str) or not label.strip():
        raise DataError('must be a name', file=file, record=record, field='label', received=label)
    if kind in _OPEN_SHAPES:
        notes[f'shapes without an area: {kind} (left out)'] += 1
        return None
    if kind not in _CORNERS:
        known = ', '.join([*_CORNERS, *_OPEN_SHAPES])
        raise DataError(f'must be one of {known}', file=file, record=record, field='shape_type', received=kind)
    points = points if isinstance(points, list) else []
    fine = all(isinstance(point, list) and len(point) == 2 and all(map(is_finite, point)) for point in points)
    if not fine or len(points) < _CORNERS[kind]:
        message = f'must be a list of {_CORNERS[kind]} points [x, y] or more'
        raise DataError(message, file=file, record=record, field='points', received=points)
    if kind != 'rectangle':
        notes[f'shapes of another kind: {kind} (bounding boxes are taken)'] += 1
    x, y = np.array(points, dtype=np.float64).T
    if kind == 'circle':  # centre, and a point on the circle
        radius = math.dist(points[0], points[1])
        left, top, right, bottom = x[0] - radius, y[0] - radius, x[0] + radius, y[0] + radius
    else:
        left, top, right, bottom = x.min(), y.min(), x.max(), y.max()
        if kind == 'mask':  # its first and last column and row
            right, bottom = right + 1, bottom + 1
    return settled(np.array([left, top, right - left, bottom - top])).tolist()


def write_labelme(folder: str | os.PathLike, table: CocoFile) -> Counter:
    """Write one file for each image, ``NAME.json`` for ``NAME.jpg``; boxes are rectangles, and pictures are not embedded.

    Args:
        folder: a folder that is new or empty; LabelMe expects the images in it.
        table: the columns.

    Returns:
        Boxes that were left out, by reason: LabelMe knows neither crowds nor ignored boxes.

    Raises:
        DataError: an image without a name, two images that would share a file, or a file that cannot be written.
    """
    notes: Counter = Counter()
    shapes: list[list[dict]] = [[] for _ in table.image_ids]
    ends = settled(table.bbox[:, :2] + table.bbox[:, 2:])
    columns = (table.image, table.category, table.bbox[:, :2], ends, table.crowd, table.ignore)
    for image, label, start, end, crowd, ignore in zip(*(column.tolist() for column in columns)):
        if crowd or ignore:
            notes['crowds and ignored boxes (left out)'] += 1
            continue
        points = [list(map(plain_number, start)), list(map(plain_number, end))]
        name = table.category_names[label]
        shapes[image].append(dict(label=name, points=points, group_id=None, shape_type='rectangle', flags={}))
    written: set[str] = set()
    for name, (width, height), own in zip(table.require_file_names(inner=True), table.sizes_wh.tolist(), shapes):
        stem = os.path.splitext(name)[0]
        if stem in written:
            message = 'has the annotation file of another image; rename one of the two'
            raise DataError(message, file=table.source, record=f'image {name}')
        written.add(stem)
        document: dict[str, Any] = dict(
            version='5.0.0', flags={}, shapes=own, imagePath=os.path.basename(name), imageData=None
        )
        document |= dict(imageHeight=height or None, imageWidth=width or None)
        write_json(Path(folder, f'{stem}.json'), document)
    return notes
