"""Annotation files and folders of any supported format: recognised, and read into the same columns."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import ConfigError, DataError
from ..utils.progress import progress
from .annotation_table import refuse_split, size_of
from .coco import CocoAnnotations, CocoFile, annotations_of, is_coco, read_coco
from .csv_file import csv_files, read_csv_table
from .image_files import ImageFolder
from .labelme import is_labelme, read_labelme_table
from .uavdt import is_uavdt, read_uavdt_table, uavdt_splits
from .visdrone import is_visdrone, read_visdrone_table
from .voc import is_voc, read_voc_table, voc_splits
from .yolo import is_yolo, read_yolo_table, yolo_splits


class _Format(NamedTuple):
    """How a format is recognised and read.

    Attributes:
        recognise: whether a path that exists has this format.
        read: columns of a path, of the images of a folder (None: where they usually are), and of a split (None: all), with options of the format.
        splits: names of the splits in a path.
        looks: what the format looks like, for messages.
    """

    recognise: Callable[[Path], bool]
    read: Callable[..., CocoFile]
    splits: Callable[[Path], list[str]]
    looks: str


def _no_splits(path: Path) -> list[str]:
    return []


_MOST_COCO_FILES = 50  # in one folder


def coco_files(path: Path) -> dict[str, Path]:
    """The COCO files that a path is or holds, by the name of their split.

    In a folder these are the ``.json`` files in it and in ``annotations``, as most tools write them (``instances_`` is no part of the
    name), and ``SPLIT/_annotations.coco.json``, as Roboflow does.
    """
    if path.is_file():
        return {'': path} if is_coco(path) else {}
    groups = [sorted(path.glob(name)) for name in ('*.json', 'annotations/*.json', '*/_annotations.coco.json')]
    # A folder of many such files has one an image (LabelMe), and they would all have to be read.
    files = sorted(file for group in groups if len(group) <= _MOST_COCO_FILES for file in group if is_coco(file))
    return {
        file.parent.name if file.stem == '_annotations.coco' else file.stem.removeprefix('instances_'): file
        for file in files
    }


def _coco_splits(path: Path) -> list[str]:
    return [name for name in coco_files(path) if path.is_dir()]


def _read_coco(
    path: str | PathLike,
    image_root: str | PathLike | None,
    split: str | None,
    *,
    unique_ids: bool = True,
    all_sizes: bool = True,
) -> CocoFile:
    if Path(path).is_file():
        refuse_split(split, 'coco', path)
    else:
        path = _chosen(path, coco_files(Path(path)), split)
    return locate_images(read_coco(path, unique_ids=unique_ids), image_root, all_sizes)


def _read_csv(path: str | PathLike, image_root: str | PathLike | None, split: str | None) -> CocoFile:
    if Path(path).is_file():
        refuse_split(split, 'csv', path)
        return read_csv_table(path, image_root)
    return read_csv_table(_chosen(path, csv_files(Path(path)), split), image_root)


def _csv_splits(path: Path) -> list[str]:
    return [name for name in csv_files(path) if path.is_dir()]


def _chosen(path: str | PathLike, files: Mapping[str, Path], split: str | None) -> Path:
    """The file or folder of a split in a folder; the only one where no split is named."""
    if not files:
        raise DataError('holds no file of this format', file=path, received=_content(Path(path)))
    if split is None and len(files) == 1:
        (split,) = files
    if split is None or split not in files:
        message = f'holds several splits, which are read one by one; name one of {", ".join(files)}'
        raise ConfigError(message, file=path, field='split', received=split)
    return files[split]


def _read_labelme(path: str | PathLike, image_root: str | PathLike | None, split: str | None) -> CocoFile:
    refuse_split(split, 'labelme', path)
    return read_labelme_table(path, image_root)


_FORMATS: Mapping[str, _Format] = {
    'coco': _Format(
        lambda path: bool(coco_files(path)),
        _read_coco,
        _coco_splits,
        'a .json file with "images" and "categories", or a folder with such files',
    ),
    'yolo': _Format(is_yolo, read_yolo_table, yolo_splits, 'data.yaml or obj.data, or a folder of images and labels'),
    'voc': _Format(is_voc, read_voc_table, voc_splits, 'a folder of .xml files, or one with Annotations'),
    'visdrone': _Format(
        is_visdrone, read_visdrone_table, _no_splits, 'a folder of .txt files x,y,w,h,score,category,..'
    ),
    'uavdt': _Format(is_uavdt, read_uavdt_table, uavdt_splits, 'a folder with files SEQUENCE_gt_whole.txt'),
    'csv': _Format(
        lambda path: bool(csv_files(path)), _read_csv, _csv_splits, 'a .csv or .tsv file, or a folder with such files'
    ),
    'labelme': _Format(is_labelme, _read_labelme, _no_splits, 'a folder of .json files with "shapes" and "imagePath"'),
}
KINDS = tuple(_FORMATS)


# Folders of splits, by what a split is called here.
_SPLIT_FOLDERS = {'train': 'train', 'val': 'val', 'valid': 'val', 'validation': 'val', 'test': 'test'}


def kind_of(path: str | PathLike, kind: str | None = None) -> str:
    """The format of a file or folder, one of :data:`KINDS`.

    Args:
        path: what an annotation tool wrote, or the folder that holds it, or a folder of folders train, val (valid), test of one format.
        kind: the format, where the caller knows it: then it is only checked that there are such a format and such a path.

    Raises:
        DataError: no such path, or none or several of the formats.
        ConfigError: ``kind`` is no format.
    """
    if kind is not None and kind not in _FORMATS:
        raise ConfigError(f'must be one of {", ".join(KINDS)}', field='kind', received=kind)
    if not Path(path).exists():
        raise DataError('no such file or folder', file=path)
    if kind is not None:
        return kind
    broken: list[DataError] = []
    found = _kinds(Path(path), broken)
    if not found:
        found = sorted({name for part in _split_folders(Path(path)).values() for name in _kinds(part, broken)})
    if not found and not broken and any(map(is_labelme, Path(path).glob('*/'))):
        return 'labelme'  # a folder for each scene
    if len(found) == 1:
        return found[0]
    if found:
        message = f'may be any of these formats: {", ".join(found)}; name the format (kind, --from), or give the path of the annotations alone'
        raise DataError(message, file=path, received=_content(Path(path)))
    if broken:
        raise broken[0]
    looks = '; '.join(f'{name}: {form.looks}' for name, form in _FORMATS.items())
    raise DataError(f'is of no known format. Known are {looks}', file=path, received=_content(Path(path)))


def _kinds(path: Path, broken: list[DataError]) -> list[str]:
    """The formats of a path. A file that cannot be read is noted: it may belong to something else."""
    found = []
    for name, form in _FORMATS.items():
        try:
            if form.recognise(path):
                found.append(name)
        except DataError as error:
            broken.append(error)
    return found


def _split_folders(path: Path, kind: str | None = None) -> dict[str, Path]:
    """The folders of splits in a folder, of one format where it is given; {} where the folder itself has that format."""
    if not path.is_dir() or (kind is not None and kind in _kinds(path, [])):
        return {}
    parts = {split: path / name for name, split in _SPLIT_FOLDERS.items() if (path / name).is_dir()}
    return {split: part for split, part in parts.items() if kind is None or kind in _kinds(part, [])}


def splits_of(path: str | PathLike, kind: str | None = None) -> list[str]:
    """Names of the splits (train, val, ...) that lie in one place, in the order of their file; [] where there are none. Errors as :func:`kind_of`."""
    kind = kind_of(path, kind)
    return list(_split_folders(Path(path), kind)) or _FORMATS[kind].splits(Path(path))


def read_table(
    path: str | PathLike,
    image_root: str | PathLike | None = None,
    kind: str | None = None,
    split: str | None = None,
    **options: Any,
) -> CocoFile:
    """The columns of annotations of any format; arguments and errors as :func:`read_annotations`.

    ``options`` are those of the format's own reader: ``unique_ids`` (:func:`~mmdet.formats.coco.read_coco`) and ``all_sizes``
    (:func:`locate_images`) of COCO, ``classes`` of YOLO, ``zero_based`` of VOC.
    """
    kind = kind_of(path, kind)
    if parts := _split_folders(Path(path), kind):
        path, split = _chosen(path, parts, split), None
    return _FORMATS[kind].read(path, image_root, split, **options)


def read_annotations(
    path: str | PathLike,
    image_root: str | PathLike | None = None,
    kind: str | None = None,
    split: str | None = None,
) -> CocoAnnotations:
    """The annotations in a file or folder of any supported format.

    Boxes are those of the files in pixels, neither clipped nor filtered; ``notes`` of the result says what was changed or left out.

    Args:
        path: file or folder.
        image_root: folder of the images; None looks where the format usually has them. Image names are completed to paths that lead
            from there to an image (see :class:`~mmdet.formats.image_files.ImageFolder`); names of images that are not there stay.
        kind: one of :data:`KINDS`; None recognises the format.
        split: one of :func:`splits_of`; None reads all of them together, each image once, where one file names them all
            (YOLO, VOC, UAVDT), and otherwise the only one.

    Raises:
        DataError: a missing or broken file, or a path of none or several of the formats; names file, record and field.
        ConfigError: ``kind`` is no format, or there is no such split.
    """
    return annotations_of(read_table(path, image_root, kind, split))


def locate_images(table: CocoFile, image_root: str | PathLike | None, all_sizes: bool = True) -> CocoFile:
    """The table with file names that lead from the folder of the images to the image files, and with the sizes of these.

    Args:
        table: of a COCO file, whose names may have been written for another folder or machine.
        image_root: the folder; None tries the folder of the file, ``images`` and ``data`` in it and beside it, and takes the first one that has
            the first image; where none has it, the names stay as they are and the folder stays unknown.
        all_sizes: False leaves the stated sizes to a later comparison, and reads the headers of the other images only.
    """
    if image_root is None:
        named = [name for name in table.file_names if name][:1]
        above = Path(table.source).resolve().parent
        places = [above, *(base / name for base in (above, above.parent) for name in ('images', 'data')), above.parent]
        folders = [ImageFolder(place) for place in places if named and place.is_dir()]
        finder = next((folder for folder in folders if folder.find_exactly(named[0])), None)
        below = [folder for folder in folders if folder.root.name in ('images', 'data')]  # images/train, images/val
        finder = finder or next((folder for folder in below if folder.find(named[0])), None)
        if finder is None:
            return table
    else:
        finder = ImageFolder(image_root)
    located = [name and finder.find(name) for name in table.file_names]
    root = finder.root
    # All names lie in one sub-folder (train2017/): then that is the folder of the images, and the names are right as they are.
    prefixes = {found.removesuffix(name) for found, name in zip(located, table.file_names) if found}
    if len(prefixes) == 1 and (prefix := prefixes.pop()).endswith('/'):
        root = root / prefix.rstrip('/')
        located = [found and found.removeprefix(prefix) for found in located]
    changed = sum(found not in (None, name) for found, name in zip(located, table.file_names))
    missing = sum(found is None for found in located)
    notes = Counter(table.notes)
    notes['image names completed to paths of image files'] += changed
    notes['images that are not there'] += missing
    sizes_wh = table.sizes_wh.copy()
    rows = np.flatnonzero((sizes_wh == 0).any(axis=1) | all_sizes).tolist()
    for row in progress(rows, f'{root.name}: image headers'):
        width, height = sizes_wh[row].tolist()
        sizes_wh[row] = size_of(root / (located[row] or ''), (width, height), notes)
    return replace(
        table,
        sizes_wh=sizes_wh,
        stated_wh=table.sizes_wh,
        file_names=[found or name for found, name in zip(located, table.file_names)],
        image_root=str(root),
        notes=dict(+notes),
    )


def _content(path: Path) -> str:
    """What a path is, for messages: a folder's first names, a file's first characters."""
    if path.is_dir():
        names = sorted(entry.name for entry in path.iterdir())
        return f'a folder of {len(names)} entries: {", ".join(names[:8])}{", ..." if len(names) > 8 else ""}'
    with open(path, 'rb') as file:
        return f'a file that begins with {file.read(16)!r}'
