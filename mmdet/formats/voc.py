"""PASCAL VOC: annotations (one XML file an image) and lists of images."""

import math
import xml.etree.ElementTree as ElementTree
from os import PathLike
from typing import NamedTuple

from ..errors import DataError
from .text_file import read_lines

Corners = tuple[float, float, float, float]
_CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')


class VOCObject(NamedTuple):
    """An object: its class, ``xmin, ymin, xmax, ymax`` as in the file, and whether it is marked difficult."""

    name: str
    corners: Corners
    difficult: bool


class VOCImage(NamedTuple):
    """An annotation file: name of the image ('' where it is not given), stated (width, height) as text, and its objects."""

    file_name: str
    size_wh: tuple[str, str]
    objects: list[VOCObject]


def read_voc_xml(path: str | PathLike) -> VOCImage:
    """Read one annotation file.

    Raises:
        DataError: missing or broken XML, or an object without name or corners; the error names the object by its number, from 1.
    """
    try:
        tree = ElementTree.parse(path).getroot()
    except FileNotFoundError as error:
        raise DataError('a split names this annotation file, but there is no such file', file=path) from error
    except (ElementTree.ParseError, OSError, ValueError, LookupError) as error:
        raise DataError(f'broken XML: {error}', file=path) from error
    objects = [_read_object(element, path, number) for number, element in enumerate(tree.findall('object'), 1)]
    size_wh = tree.findtext('size/width', '').strip(), tree.findtext('size/height', '').strip()
    return VOCImage(tree.findtext('filename', '').strip(), size_wh, objects)


def _read_object(element: ElementTree.Element, path: str | PathLike, number: int) -> VOCObject:
    record = f'object {number}'
    name = element.findtext('name', '').strip()
    if not name:
        raise DataError('an object needs a name', file=path, record=record, field='name')
    texts = [element.findtext(f'bndbox/{corner}', '') for corner in _CORNERS]
    try:
        xmin, ymin, xmax, ymax = map(float, texts)
    except ValueError:
        xmin = ymin = xmax = ymax = math.nan
    corners = xmin, ymin, xmax, ymax
    if not all(abs(value) < 1e9 for value in corners):
        message = f'must hold the finite numbers {", ".join(_CORNERS)}'
        raise DataError(message, file=path, record=record, field='bndbox', received=texts)
    return VOCObject(name, corners, element.findtext('difficult', '0').strip() not in ('0', ''))


def read_voc_split(path: str | PathLike) -> list[str]:
    """Image names of a list in ``ImageSets/Main``, each once; the class-wise lists carry a second column, which is ignored.

    Raises:
        DataError: the file cannot be read, or names no image.
    """
    names = list(dict.fromkeys(line.split()[0] for line in read_lines(path) if line.strip()))
    if not names:
        raise DataError('the split names no image', file=path)
    return names
