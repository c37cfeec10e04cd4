"""PASCAL VOC: annotations (one XML file an image) and lists of images are read and written.

VOC counts pixels from 1 and names the first and the last pixel of a box: ``xmin, ymin, xmax, ymax`` is the box with edges
``xmin - 1, ymin - 1, xmax, ymax``.
"""

import os
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import DataError
from ..utils.files import write_text
from ..utils.progress import progress
from ..utils.reading import is_inner_path, read_file
from .annotation_table import ImageBoxes, make_table, plain_number, require_sizes, settled, size_of
from .coco import CocoFile
from .image_files import ImageFolder
from .images import images_by_stem
from .text_file import finite_number, read_lines, whole_number

Corners = tuple[float, float, float, float]
_CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')


class VOCObject(NamedTuple):
    """An object: its class, ``xmin, ymin, xmax, ymax`` as in the file, and whether it is marked difficult."""

    name: str
    corners: Corners
    difficult: bool


class VOCImage(NamedTuple):
    """An annotation file.

    Attributes:
        file_name: name of the image, '' where it is not given.
        size_wh: stated width and height, as text.
        objects: in the order of the file.
        visibility: for each object 0 or 1 for truncated and for occluded, -1 where the file does not say.
    """

    file_name: str
    size_wh: tuple[str, str]
    objects: list[VOCObject]
    visibility: Sequence[tuple[int, int]] = ()


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
    if tree.tag != 'annotation' and tree.find('object') is None and tree.find('filename') is None:
        message = (
            'is no annotation of PASCAL VOC, whose top element is <annotation> (of CVAT, export VOC, YOLO or COCO)'
        )
        raise DataError(message, file=path, received=f'<{tree.tag}>')
    objects = [_read_object(element, path, number) for number, element in enumerate(tree.findall('object'), 1)]
    size_wh = tree.findtext('size/width', '').strip(), tree.findtext('size/height', '').strip()
    file_name = tree.findtext('filename', '').strip()
    if file_name and not is_inner_path(file_name):
        raise DataError('must lead into JPEGImages', file=path, field='filename', received=file_name)
    visibility = [(_flag(element, 'truncated'), _flag(element, 'occluded')) for element in tree.findall('object')]
    return VOCImage(file_name, size_wh, objects, visibility)


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


def _flag(element: ElementTree.Element, name: str) -> int:
    value = whole_number(element.findtext(name, '').strip(), 0, 1)
    return -1 if value is None else value


def read_voc_split(path: str | PathLike, notes: Counter | None = None) -> list[str]:
    """Image names of a list in ``ImageSets/Main``, each once; the class-wise lists carry a second column, which is ignored.

    ``notes`` counts the names that occur again.

    Raises:
        DataError: the file cannot be read, names no image, or a name leads out of its folder.
    """
    rows = [line.split()[0] for line in read_lines(path) if line.strip()]
    names = list(dict.fromkeys(rows))
    if notes is not None:
        notes['images that the list names again (read once)'] += len(rows) - len(names)
    if not names:
        raise DataError('the split names no image', file=path)
    if strangers := [name for name in names if not is_inner_path(name)]:
        raise DataError('must be names of files in Annotations and JPEGImages', file=path, received=strangers[0])
    return names


def is_voc(path: Path) -> bool:
    """Whether a folder holds ``.xml`` files, itself or in ``Annotations`` (``annotations``, ``labels``), or a file is a list in its ``ImageSets/Main``."""
    if path.is_file():
        return path.suffix == '.txt' and path.parent.name == 'Main' and (path.parents[2] / 'Annotations').is_dir()
    folder = _xml_folder(path)
    return next(folder.glob('*.xml') if folder == path else folder.rglob('*.xml'), None) is not None


def _xml_folder(root: Path) -> Path:
    """The folder of the ``.xml`` files of a data set; the data set's own folder where they lie in it."""
    for name in ('Annotations', 'annotations', 'labels'):
        if (root / name).is_dir() and next((root / name).rglob('*.xml'), None):
            return root / name
    return root


def voc_splits(path: Path) -> list[str]:
    """Names of the lists of images in ``ImageSets/Main``."""
    return sorted(file.stem for file in (path / 'ImageSets' / 'Main').glob('*.txt'))


def read_voc_table(
    path: str | PathLike,
    image_root: str | PathLike | None = None,
    split: str | None = None,
    *,
    zero_based: bool = False,
) -> CocoFile:
    """The ``.xml`` files of a folder as columns, boxes as they are: neither clipped nor filtered. Difficult objects are crowds.

    Classes are those of ``labelmap.txt`` (as CVAT writes it) or ``classes.txt`` where there is one, otherwise all that occur, by name.

    Args:
        path: folder with ``Annotations``; or of the ``.xml`` files; or the list of images in ``ImageSets/Main`` that is to be read.
        image_root: folder of the images; None looks for ``JPEGImages``, ``images``, ``data`` and the folder of the files itself. Images need not be there if the
            files state their sizes; where one is there, its own size counts.
        split: name of a list in ``ImageSets/Main``; None takes all files.
        zero_based: the corners are edges counted from 0.

    Raises:
        DataError: a missing or broken file, or a class that the list of classes does not have; names the file and the object.
    """
    root = Path(path)
    if root.is_file():
        root, split = root.parents[2], root.stem
    folder = _xml_folder(root)
    if not folder.is_dir():
        raise DataError('no such folder of .xml files', file=folder)
    notes: Counter = Counter()
    if split is not None:
        names = read_voc_split(root / 'ImageSets' / 'Main' / f'{split}.txt', notes)
        files = [folder / f'{name}.xml' for name in names]
    else:
        files = sorted(folder.rglob('*.xml'))
    if not files:
        raise DataError('the folder holds no .xml file', file=folder)
    if image_root is None:
        bases = (root, root.resolve().parent) if folder == root else (root,)
        places = [base / name for base in bases for name in ('JPEGImages', 'images', 'data')]
        image_root = next((place for place in places if place.is_dir()), folder)
        if image_root not in places[:3] and images_by_stem(folder).get(files[0].stem):
            image_root = folder  # images and annotations side by side
    finder, by_stem = ImageFolder(image_root), images_by_stem(image_root)
    found = [(file, read_voc_xml(file)) for file in progress(files, folder.name)]
    classes = _classes_of(root) or sorted({item.name for _, image in found for item in image.objects})
    label_of = {name: label for label, name in enumerate(classes)}
    images = []
    for file, image in found:
        # The image of the same name counts, as in the converter; then the one that the file names.
        name = by_stem[file.stem].name if file.stem in by_stem else finder.find(image.file_name or f'{file.stem}.jpg')
        stated = [whole_number(text, 0, 10**9) or 0 for text in image.size_wh]
        stated_wh = (stated[0], stated[1])
        boxes = ImageBoxes(name or image.file_name or f'{file.stem}.jpg', stated_wh, stated_wh=stated_wh)
        if name:
            boxes.size_wh = size_of(Path(image_root, name), stated_wh, notes)
        else:
            notes['annotation files whose image is not there'] += 1
        for number, item in enumerate(image.objects, 1):
            if item.name not in label_of:
                message = f'is not in the list of classes beside the annotations: {", ".join(classes)}'
                raise DataError(message, file=file, record=f'object {number}', field='name', received=item.name)
            first = 0 if zero_based else 1
            x1, y1, x2, y2 = item.corners
            boxes.labels.append(label_of[item.name])
            boxes.boxes.append(settled(np.array([x1 - first, y1 - first, x2 - x1 + first, y2 - y1 + first])).tolist())
            boxes.crowd.append(item.difficult)
            notes['difficult objects (crowds)'] += item.difficult
        boxes.visibility = list(image.visibility)
        images.append(boxes)
    return make_table(images, classes, source=path, kind='voc', image_root=image_root, notes=notes)


def _classes_of(root: Path) -> list[str]:
    """Names in ``labelmap.txt`` (``name:red,green,blue:parts:actions``; the background is no class) or ``classes.txt``, [] without these files."""
    for file, last in ((root / 'labelmap.txt', ':'), (root / 'classes.txt', '\n')):
        if file.is_file():
            lines = [line.strip() for line in read_lines(file) if line.strip() and not line.startswith('#')]
            names = [line.split(last)[0].strip() for line in lines]
            names = [name for name in names if not (last == ':' and name == 'background')]
            if len(set(names)) < len(names):
                raise DataError('a class occurs twice', file=file, received=names)
            return names
    return []


def write_voc(folder: str | PathLike, tables: Mapping[str, CocoFile]) -> dict[str, Counter]:
    """Write ``Annotations``, ``ImageSets/Main/SPLIT.txt`` and ``labelmap.txt``; the images belong into ``JPEGImages``.

    Crowds are written as difficult objects. A file gets the name of its image, below a folder where the name has one.

    Args:
        folder: a folder that is new or empty.
        tables: of each split; '' writes no list of images.

    Returns:
        By split, boxes that were left out, by reason: VOC knows no ignored boxes.

    Raises:
        DataError: an image without a size or name, two images that would share a file, or a file that cannot be written.
    """
    notes: dict[str, Counter] = {split: Counter() for split in tables}
    written: dict[str, tuple[str, str]] = {}  # split and text of each file
    for split, table in tables.items():
        require_sizes(table)
        objects: list[list[ElementTree.Element]] = [[] for _ in table.image_ids]
        columns = (table.image, table.category, table.bbox, table.crowd, table.ignore, table.visibility)
        for image, label, bbox, crowd, ignore, visibility in zip(*(column.tolist() for column in columns)):
            if ignore and not crowd:
                notes[split]['ignored boxes (left out)'] += 1
            else:
                objects[image].append(_object_element(table.category_names[label], bbox, crowd, visibility))
        names = table.require_file_names(inner=True)
        for name, size_wh, own in zip(names, table.sizes_wh.tolist(), objects):
            stem = os.path.splitext(name)[0]
            root = ElementTree.Element('annotation')
            _add(root, 'folder', 'JPEGImages')
            _add(root, 'filename', name)
            size = ElementTree.SubElement(root, 'size')
            for key, value in zip(('width', 'height', 'depth'), (*size_wh, 3)):
                _add(size, key, value)
            _add(root, 'segmented', 0)
            root.extend(own)
            ElementTree.indent(root)
            text = ElementTree.tostring(root, encoding='unicode') + '\n'
            # Two lists may name one image, with the same objects.
            if stem.split()[0] != stem or (stem in written and (written[stem][0] == split or written[stem][1] != text)):
                message = 'its annotation file cannot be named like it: VOC wants names without blanks, and one file for each image'
                raise DataError(message, file=table.source, record=f'image {name}', received=f'{stem}.xml')
            written[stem] = split, text
            write_text(Path(folder, 'Annotations', f'{stem}.xml'), text)
        if split:
            lines = [f'{os.path.splitext(name)[0]}\n' for name in names]
            write_text(Path(folder, 'ImageSets', 'Main', f'{split}.txt'), ''.join(lines))
        rows = [f'{name}:::\n' for name in table.category_names]
        write_text(Path(folder, 'labelmap.txt'), '# label:color_rgb:parts:actions\n' + ''.join(rows))
    return notes


def _object_element(name: str, bbox: list[float], crowd: bool, visibility: list[int]) -> ElementTree.Element:
    element = ElementTree.Element('object')
    x, y, w, h = bbox
    for key, value in (('name', name), ('pose', 'Unspecified'), ('difficult', int(crowd))):
        _add(element, key, value)
    for key, flag in zip(('truncated', 'occluded'), visibility):
        if flag >= 0:
            _add(element, key, min(flag, 1))
    box = ElementTree.SubElement(element, 'bndbox')
    corners = settled(np.array([x + 1, y + 1, x + w, y + h])).tolist()
    for key, value in zip(_CORNERS, corners):
        _add(box, key, plain_number(value))
    return element


def _add(parent: ElementTree.Element, key: str, value: object) -> None:
    ElementTree.SubElement(parent, key).text = str(value)
