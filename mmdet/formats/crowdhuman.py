"""CrowdHuman: annotations with one JSON object an image (``.odgt``), and files of image sizes."""

import json
import math
from os import PathLike
from typing import NamedTuple

from ..errors import DataError
from ..utils.checks import is_number
from ..utils.reading import is_inner_path
from .json_file import read_json
from .text_file import read_lines

Corners = tuple[float, float, float, float]
_BOXES = ('fbox', 'hbox', 'vbox')


class CrowdHumanBox(NamedTuple):
    """One entry of ``gtboxes``.

    Attributes:
        tag: 'person' or 'mask'.
        ignored: whether it is marked to be ignored.
        boxes: of the whole body (``fbox``, always there), the head (``hbox``) and what is visible (``vbox``); xyxy in pixels. That of
            the whole body may reach out of the image.
    """

    tag: str
    ignored: bool
    boxes: dict[str, Corners]


class CrowdHumanImage(NamedTuple):
    """One line: the ID, which is the image's file name without ``.jpg``, and the boxes."""

    image_id: str
    boxes: list[CrowdHumanBox]


def read_odgt(path: str | PathLike) -> list[CrowdHumanImage]:
    """The images of an annotation file, in order.

    Raises:
        DataError: the file cannot be read, holds no image or one twice, or a line is not what is described above; it has the line's number.
    """
    images: dict[str, CrowdHumanImage] = {}
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        record = f'line {number}'
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f'broken JSON: {error}', file=path, record=record) from error
        name, entries = (row.get('ID'), row.get('gtboxes')) if isinstance(row, dict) else (None, None)
        if not isinstance(name, str) or not name or not is_inner_path(name):
            raise DataError('must be the name of an image', file=path, record=record, field='ID', received=name)
        if name in images:
            raise DataError('two lines are of one image', file=path, record=record, field='ID', received=name)
        if not isinstance(entries, list):
            raise DataError('must be a list', file=path, record=record, field='gtboxes', received=entries)
        place = f'{record} ({name})'
        boxes = [_read_box(entry, path, f'{place}: box {index}') for index, entry in enumerate(entries, 1)]
        images[name] = CrowdHumanImage(name, boxes)
    if not images:
        raise DataError('the file names no image', file=path)
    return list(images.values())


def _read_box(entry: object, path: str | PathLike, record: str) -> CrowdHumanBox:
    if not isinstance(entry, dict) or not isinstance(entry.get('tag'), str):
        raise DataError('a box needs a tag', file=path, record=record, field='tag', received=entry)
    corners: dict[str, Corners] = {}
    for name in _BOXES:
        box = entry.get(name)
        if box is None and name != 'fbox':
            continue
        if (
            not isinstance(box, list)
            or len(box) != 4
            or not all(is_number(value) and math.isfinite(value) and abs(value) < 1e9 for value in box)
        ):
            raise DataError('must be the finite numbers x, y, w, h', file=path, record=record, field=name, received=box)
        x, y, w, h = box
        corners[name] = (x, y, x + w, y + h)
    extra = entry.get('extra') or {}
    if not isinstance(extra, dict):
        raise DataError('must be an object', file=path, record=record, field='extra', received=extra)
    return CrowdHumanBox(entry['tag'], bool(extra.get('ignore', 0)), corners)


def read_id_hw(path: str | PathLike) -> dict[str, tuple[int, int]]:
    """(height, width) of each image by its ID, of a file ``id_hw_train.json``.

    Raises:
        DataError: the file cannot be read, or a size is not two positive whole numbers.
    """
    sizes = {}
    for name, size in read_json(path).items():
        if not isinstance(size, list) or len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size):
            raise DataError('must be [height, width]', file=path, record=name, received=size)
        sizes[name] = (size[0], size[1])
    return sizes
