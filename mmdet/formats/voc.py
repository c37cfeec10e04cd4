"""PASCAL VOC: annotations (one XML file an image) and lists of images."""

import xml.etree.ElementTree as ElementTree
from os import PathLike
from typing import NamedTuple

from ..errors import DataError
from ..utils.reading import is_inner_path, read_file
from .text_file import finite_number, read_lines

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
        DataError: missing or broken XML, a file name that leads out of its folder, or an object without name or corners; the error names the object by its number, from 1.
    """
    data = read_file(path, missing='a split names this annotation file, but there is no such file')
    try:
        tree = ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise DataError(f'broken XML: {error}', file=path) from error
    objects = [_read_object(element, path, number) for number, element in enumerate(tree.findall('object'), 1)]
    size_wh = tree.findtext('size/width', '').strip(), tree.findtext('size/height', '').strip()
    file_name = tree.findtext('filename', '').strip()
    if file_name and not is_inner_path(file_name):
        raise DataError('must lead into JPEGImages', file=path, field='filename', received=file_name)
    return VOCImage(file_name, size_wh, objects)


def _read_object(element: ElementTree.Element, path: str | PathLike, number: int) -> VOCObject:
    record = f'object {number}'
    name = element.findtext('name', '').strip()
    if not name:
        raise DataError('an object needs a name', file=path, record=record, field='name')
    if not name.isprintable():
        raise DataError('must be one line', file=path, record=record, field='name', received=name)
    texts = [element.findtext(f'bndbox/{corner}', '') for corner in _CORNERS]
    corners = [value for text in texts if (value := finite_number(text)) is not None and abs(value) < 1e9]
    if len(corners) != 4:
        message = f'must hold the finite numbers {", ".join(_CORNERS)}'
        raise DataError(message, file=path, record=record, field='bndbox', received=texts)
    return VOCObject(
        name,
        (corners[0], corners[1], corners[2], corners[3]),
        element.findtext('difficult', '0').strip() not in ('0', ''),
    )


def read_voc_split(path: str | PathLike) -> list[str]:
    """Image names of a list in ``ImageSets/Main``, each once; the class-wise lists carry a second column, which is ignored.

    Raises:
        DataError: the file cannot be read, names no image, or a name leads out of its folder.
    """
    names = list(dict.fromkeys(line.split()[0] for line in read_lines(path) if line.strip()))
    if not names:
        raise DataError('the split names no image', file=path)
    if strangers := [name for name in names if not is_inner_path(name)]:
        raise DataError('must be names of files in Annotations and JPEGImages', file=path, received=strangers[0])
    return names
