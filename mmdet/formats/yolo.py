"""YOLO text files: one file for each image, one row for each box, ``class centre_x centre_y width height`` as shares of the image.

Read are data sets with a ``data.yaml`` (``path``, ``train``, ``val``, ``test``, ``names``, ``nc``), Darknet's ``obj.data``, and folders of ``images`` and
``labels`` with a ``classes.txt``. The labels of ``.../images/x.jpg`` lie in ``.../labels/x.txt``; without a folder ``images`` in the path, beside the image.
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from ..errors import ConfigError, DataError, one_line
from ..utils.checks import is_int
from ..utils.files import write_text
from ..utils.progress import progress
from ..utils.reading import read_file
from .annotation_table import ImageBoxes, make_table, require_sizes, settled, size_of
from .coco import CocoFile
from .image_files import images_below
from .images import IMAGE_SUFFIXES
from .tables import Detections
from .text_file import finite_number, read_lines

SPLITS = ('train', 'val', 'test')
_TOLERANCE = 0.01  # by which shares may leave 0..1, as rounding or a box over the border makes them
_NAMES = ('classes.txt', 'obj.names', 'labels/classes.txt')
_ROW = 'class centre_x centre_y width height, [confidence] after them, or class and the x and y of three points or more'


class _Layout(NamedTuple):
    """What a data set says of itself.

    Attributes:
        root: folder that the image paths are relative to.
        classes: names, by number; None where none are given.
        splits: name -> image folders, lists of images, or image files.
        keypoint_values: numbers of the key points behind each box, 0 in a data set without.
        labels: folder of the label files, where they do not lie by the rule.
    """

    root: Path
    classes: list[str] | None
    splits: dict[str, list[Path]]
    keypoint_values: int = 0
    labels: Path | None = None


def is_yolo(path: Path) -> bool:
    """Whether a path is a ``data.yaml`` or ``obj.data``, a folder with one, or folders of images and of label files of five numbers or more."""
    if path.is_file():
        return path.suffix in ('.yaml', '.yml', '.data') and _config_in(path) is not None
    if _config_in(path) is not None:
        return True
    folder = path / 'labels' if (path / 'labels').is_dir() else path
    texts = (file for file in sorted(folder.rglob('*.txt'))[:200] if file.name not in ('classes.txt', 'labels.txt'))
    first = next((line for file in texts for line in read_lines(file) if line.strip()), '')
    values = [finite_number(text) for text in first.split()]
    shares = [value for value in values[1:] if value is not None]
    return len(values) >= 5 and None not in values and _are_shares(shares)


def _are_shares(values: Sequence[float]) -> bool:
    return min(values) >= -_TOLERANCE and max(values) <= 1 + _TOLERANCE


def yolo_splits(path: Path) -> list[str]:
    """Names of the splits that have images."""
    layout = _read_layout(path, None, None)
    return [name for name, places in layout.splits.items() if name and any(place.exists() for place in places)]


def read_yolo_table(
    path: str | os.PathLike,
    image_root: str | os.PathLike | None = None,
    split: str | None = None,
    *,
    classes: Sequence[str] | None = None,
) -> CocoFile:
    """A YOLO data set as columns. Images are sorted by path within a split, and their sizes are read from their headers.

    A row of three points or more (segmentation, turned boxes) becomes the bounding box of its points; a confidence and key points are
    not read. An image without a label file has no objects; where no image has one, the images are not annotated. The boxes of an image that cannot be read are left out, as their pixels are not known. All
    of this is counted in ``notes``.

    Args:
        path: ``data.yaml``, ``obj.data``, or a folder: with one of them, with ``images`` and ``labels``, of images with their label files, or of label files.
        image_root: takes the place of ``path`` in ``data.yaml``; for a folder of label files, the folder of the images.
        split: one of :func:`yolo_splits`; None reads all of them, each image once.
        classes: names in the order of their numbers, for a data set that has none of its own.

    Raises:
        DataError: a missing or broken file, a row of another kind, a class that has no name, or coordinates that are no shares; names the line.
        ConfigError: no such split.
    """
    layout = _read_layout(Path(path), image_root, classes)
    if layout.classes is None:
        message = f'has no class names; they are read from data.yaml (names), {", ".join(_NAMES)}, or given by hand (classes, --classes)'
        raise DataError(message, file=path)
    wanted = layout.splits if split is None else {split: layout.splits.get(split, [])}
    if split is not None and not wanted[split]:
        message = f'must be one of {", ".join(map(repr, layout.splits))}'
        raise ConfigError(message, file=path, field='split', received=split)
    notes: Counter = Counter()
    files: dict[Path, None] = {}
    for name, places in layout.splits.items():
        notes[f'image folders or lists that are not there: {name} (left out)'] += sum(not p.exists() for p in places)
    for places in wanted.values():
        for place in places:
            if split is None and not place.exists():
                continue
            found = _images_of(place)
            notes['images named in several splits (read once)'] += sum(file in files for file in found)
            files.update(dict.fromkeys(found))
    if not files:
        named = {name: list(map(str, of)) for name, of in wanted.items()}
        there = any(place.exists() for of in wanted.values() for place in of)
        why = '' if there else ': none of the places that it names is there; write them relative to the file'
        raise DataError(f'holds no image{why}', file=path, received=named)
    root = layout.root
    if not all(file.is_relative_to(root) for file in files):
        root = Path(os.path.commonpath([file.parent for file in files]))
    labels = {file: _label_file(file, layout) for file in files}
    images = [_read_image(file, labels[file], root, layout, notes) for file in progress(list(files), root.name)]
    for folder, beside in {label.parent: image.parent for image, label in labels.items()}.items():
        stems = {os.path.splitext(entry)[0] for entry in os.listdir(beside) if entry.lower().endswith(IMAGE_SUFFIXES)}
        texts = [text for text in folder.glob('*.txt') if text.name not in _OTHER_TEXTS]
        notes['label files without an image (left out)'] += sum(text.stem not in stems for text in texts)
    table = make_table(images, layout.classes, source=path, kind='yolo', image_root=root, notes=notes)
    return replace(table, annotated=any(label.is_file() for label in labels.values()))


# Texts that lie among label files and are none.
_OTHER_TEXTS = (
    'classes.txt', 'labels.txt', 'train.txt', 'val.txt', 'test.txt', 'valid.txt', 'README.txt', 'README.roboflow.txt', 'README.dataset.txt',
)  # fmt: skip


def _config_in(path: Path) -> Path | None:
    """The data.yaml or obj.data that a path is, or that lies in a folder; None where there is none."""
    if path.is_dir():
        files = [*sorted(path.glob('*.yaml')), *sorted(path.glob('*.yml')), *sorted(path.glob('obj.data'))]
    else:
        files = [path]
    for file in files:
        if file.suffix == '.data':
            return file
        document = _read_yaml(file)
        if isinstance(document, dict) and ('names' in document or 'nc' in document):
            return file
    return None


def _read_yaml(file: Path) -> Any:
    try:
        return yaml.safe_load(read_file(file))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise DataError(f'broken YAML: {one_line(error)[:300]}', file=file) from error


def _read_layout(path: Path, image_root: str | os.PathLike | None, classes: Sequence[str] | None) -> _Layout:
    if not path.exists():
        raise DataError('no such file or folder', file=path)
    config = _config_in(path)
    if config is None:
        layout = _folder_layout(path, None if image_root is None else Path(image_root))
    elif config.suffix == '.data':
        layout = _darknet_layout(config)
    else:
        layout = _yaml_layout(config, image_root)
    return layout._replace(classes=list(classes)) if classes and layout.classes is None else layout


def _yaml_layout(file: Path, image_root: str | os.PathLike | None) -> _Layout:
    document = _read_yaml(file)
    if not isinstance(document, dict):
        raise DataError('must hold the keys train, val and names', file=file, received=type(document).__name__)
    given = document.get('path')
    if given is not None and not isinstance(given, str):
        raise DataError('must be a folder', file=file, field='path', received=given)
    beside = file.resolve().parent
    root = Path(image_root) if image_root is not None else beside / (given or '')
    if not root.is_dir() and image_root is None:
        # Files are moved: then the folder of the file itself is the root, as in downloads that name "../datasets/NAME".
        root = beside
    splits = {}
    for key in (*SPLITS, *(key for key in document if key == 'valid')):
        values = document.get(key)
        values = [values] if isinstance(values, str) else values
        if values is None or values == []:
            continue
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            message = 'must be a folder, a .txt list of images, or a list of these'
            raise DataError(message, file=file, field=key, received=values)
        splits['val' if key == 'valid' else key] = [_place(root, value) for value in values]
    if not splits and any((root / name).is_dir() for name in ('images', *SPLITS, 'valid')):
        splits = _folder_splits(root)  # supervision writes nothing but names
    if not splits:
        message = f'must name the images of one split at least: {", ".join(SPLITS)}'
        raise DataError(message, file=file, received=sorted(map(str, document)))
    shape = document.get('kpt_shape')
    if shape is not None and not (
        isinstance(shape, list) and len(shape) == 2 and all(is_int(side, 1) for side in shape)
    ):
        raise DataError('must be [number of key points, 2 or 3]', file=file, field='kpt_shape', received=shape)
    return _Layout(root.resolve(), _yaml_names(document, file), splits, shape[0] * shape[1] if shape else 0)


def _place(root: Path, value: str) -> Path:
    """A place below the root; downloads of Roboflow write ``../train/images`` for ``train/images``."""
    place = root / value
    if not place.exists() and value.startswith('../') and (root / value.removeprefix('../')).exists():
        place = root / value.removeprefix('../')
    return Path(os.path.normpath(place.absolute()))


def _yaml_names(document: dict, file: Path) -> list[str] | None:
    names, count = document.get('names'), document.get('nc')
    if names is None:
        return None
    if isinstance(names, dict):
        if sorted(map(str, names)) != sorted(map(str, range(len(names)))):
            message = f'the numbers must be 0 to {len(names) - 1}'
            raise DataError(message, file=file, field='names', received=list(names))
        by_number = {int(number): name for number, name in names.items()}
        names = [by_number[number] for number in range(len(names))]
    if not isinstance(names, list) or not names or not all(isinstance(name, str | int | float) for name in names):
        raise DataError('must be a list of names, or names by number', file=file, field='names', received=names)
    if any(isinstance(name, bool) for name in names):
        message = 'YAML takes yes, no, on and off for truth values; quote them'
        raise DataError(message, file=file, field='names', received=names)
    names = [str(name) for name in names]
    if repeated := [name for name, times in Counter(names).items() if times > 1]:
        raise DataError('two classes have one name', file=file, field='names', received=repeated[0])
    if count is not None and count != len(names):
        message = f'names has {len(names)} class{"es" if len(names) != 1 else ""}: the two must agree'
        raise DataError(message, file=file, field='nc', received=count)
    return names


def _darknet_layout(file: Path) -> _Layout:
    """Of ``obj.data``: rows ``train = data/train.txt``, as CVAT writes it; a leading ``data/`` is the folder of the file."""
    entries = dict(line.replace(' ', '').split('=', 1) for line in read_lines(file) if '=' in line)
    root = file.resolve().parent

    def place(value: str) -> Path:
        found = root / value
        return found if found.exists() else root / value.removeprefix('data/')

    names = _names_of(place(entries['names'])) if 'names' in entries else None
    keys = {'train': 'train', 'valid': 'val', 'test': 'test'}
    return _Layout(root, names, {split: [place(entries[key])] for key, split in keys.items() if key in entries})


def _folder_layout(path: Path, image_root: Path | None) -> _Layout:
    if path.is_file():
        raise DataError('must be data.yaml, obj.data, or a folder', file=path)
    path = path.resolve()
    places = [path / name for name in _NAMES] + [path.parent / 'classes.txt']
    names = next((_names_of(file) for file in places if file.is_file()), None)
    if image_root is not None:
        return _Layout(image_root.resolve(), names, {'': [image_root.resolve()]}, labels=path)
    if path.name == 'labels' and (path.parent / 'images').is_dir():
        path = path.parent
    return _Layout(path, names, _folder_splits(path))


def _folder_splits(path: Path) -> dict[str, list[Path]]:
    """The splits of a folder: ``images/train``, ``train/images``, ``images``, or all of it; '' where there is one only."""
    inner = (path / 'images') if (path / 'images').is_dir() else path
    found: dict[str, list[Path]] = {}
    for name, split in (('train', 'train'), ('val', 'val'), ('valid', 'val'), ('test', 'test')):
        if (inner / name).is_dir():
            found.setdefault(split, []).append(inner / name)
    return found or {'': [inner]}


def _names_of(file: Path) -> list[str]:
    names = [line.strip() for line in read_lines(file) if line.strip()]
    if not names or len(set(names)) < len(names):
        raise DataError('must hold different class names, one a line', file=file, received=names[:20])
    return names


def _images_of(place: Path) -> list[Path]:
    """The images of a folder and of those in it, or of a list of images, whose paths are relative to the list."""
    if place.is_dir():
        return images_below(place)
    if not place.exists():
        raise DataError('no such image folder or list of images', file=place)
    if place.suffix.lower() in IMAGE_SUFFIXES:
        return [place]
    found = []
    for number, line in enumerate(read_lines(place), 1):
        if name := line.strip():
            options = [place.parent / name, place.parent / name.removeprefix('data/')]
            file = next((Path(os.path.normpath(option)) for option in options if option.is_file()), None)
            if file is None:
                raise DataError('there is no such image', file=place, record=f'line {number}', received=name)
            found.append(file)
    return found


def _label_file(image: Path, layout: _Layout) -> Path:
    if layout.labels is not None:
        return (layout.labels / image.relative_to(layout.root)).with_suffix('.txt')
    parts = list(image.parts)
    if 'images' in parts[:-1]:
        last = len(parts) - 1 - parts[::-1].index('images', 1)
        parts[last] = 'labels'
    return Path(*parts).with_suffix('.txt')


def _read_image(file: Path, labels: Path, root: Path, layout: _Layout, notes: Counter) -> ImageBoxes:
    width, height = size_of(file)
    notes['images that cannot be read'] += not width
    image = ImageBoxes(file.relative_to(root).as_posix(), (width, height))
    if not labels.is_file():
        notes['images without a label file (no objects)'] += 1
        return image
    for number, line in enumerate(read_lines(labels), 1):
        if line.strip():
            label, (x, y, w, h) = _read_row(line, labels, number, layout, notes)
            if not width:  # shares of nothing
                notes['boxes left out with the images that cannot be read'] += 1
                continue
            image.labels.append(label)
            pixels = np.array([(x - w / 2) * width, (y - h / 2) * height, w * width, h * height])
            image.boxes.append(settled(pixels).tolist())
    return image


def _read_row(
    line: str, file: Path, number: int, layout: _Layout, notes: Counter
) -> tuple[int, tuple[float, float, float, float]]:
    """Class, and centre x and y, width and height as shares of the image."""
    texts, record = line.split(), f'line {number}'
    values = [value for text in texts if (value := finite_number(text)) is not None]
    keypoints = layout.keypoint_values
    count = len(values)
    fits = count == 5 + keypoints if keypoints else count in (5, 6) or (count >= 7 and count % 2 == 1)
    if count < len(texts) or not fits:
        wanted = f'class centre_x centre_y width height and {keypoints} numbers of key points' if keypoints else _ROW
        message = f'must be finite numbers separated by blanks: {wanted}'
        raise DataError(message, file=file, record=record, received=line.strip()[:120])
    label, shares = values[0], values[1:]
    assert layout.classes is not None
    if label % 1 or not 0 <= label < len(layout.classes):
        message = f'must be a whole number in 0..{len(layout.classes) - 1}: there are {len(layout.classes)} class names'
        raise DataError(message, file=file, record=record, field='class', received=texts[0])
    if keypoints or count == 6:
        notes['key points of boxes (not read)' if keypoints else 'confidences (not read)'] += 1
        shares = shares[:4]
    if not _are_shares(shares):
        message = 'must be shares of the width and height of the image, 0..1 (are these pixels?)'
        raise DataError(message, file=file, record=record, field='box', received=line.strip()[:120])
    if len(shares) == 4:
        notes['boxes with numbers just outside 0..1 (kept)'] += min(shares) < 0 or max(shares) > 1
        return int(label), (shares[0], shares[1], shares[2], shares[3])
    notes['polygons (their bounding boxes are taken)'] += 1
    left, top, right, bottom = min(shares[::2]), min(shares[1::2]), max(shares[::2]), max(shares[1::2])
    return int(label), ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)


def write_yolo(folder: str | os.PathLike, tables: Mapping[str, CocoFile]) -> dict[str, Counter]:
    """Write ``data.yaml`` and ``labels/SPLIT/NAME.txt``; the images belong into ``images/SPLIT/NAME.jpg``.

    The numbers are written with all their digits, so that the boxes come back as they were (see
    :func:`~mmdet.formats.annotation_table.settled`). YOLO knows neither crowds nor ignored boxes, and boxes must lie in the image:

    Args:
        folder: a folder that is new or empty.
        tables: of each split; all have the same classes.

    Returns:
        By split, boxes that were left out or changed, by reason: crowds, ignored ones, those without area or outside the image are left out; those
        whose centre or size leaves 0..1 are clipped to the image.

    Raises:
        DataError: an image without a size or name, two images that would share a label file, or a file that cannot be written.
    """
    notes: dict[str, Counter] = {split: Counter() for split in tables}
    classes: list[str] = []
    for split, table in tables.items():
        classes = table.category_names
        lines = _label_lines(table, notes[split])
        owner: dict[str, str] = {}
        for name, own in zip(table.require_file_names(inner=True), lines):
            stem = os.path.splitext(name)[0]
            if stem in owner:
                message = f'has the label file of {owner[stem]}; rename one of the two'
                raise DataError(message, file=table.source, record=f'image {name}')
            owner[stem] = name
            write_text(Path(folder, 'labels', split, f'{stem}.txt'), ''.join(own))
    document = {**{split: f'images/{split}' for split in tables}, 'nc': len(classes), 'names': dict(enumerate(classes))}
    write_text(Path(folder, 'data.yaml'), yaml.safe_dump(document, sort_keys=False, allow_unicode=True))
    return notes


def _label_lines(table: CocoFile, notes: Counter) -> list[list[str]]:
    lines: list[list[str]] = [[] for _ in table.image_ids]
    require_sizes(table)
    columns = (table.image, table.category, table.bbox, table.crowd, table.ignore)
    for image, label, (x, y, w, h), crowd, ignore in zip(*(column.tolist() for column in columns)):
        width, height = table.sizes_wh[image].tolist()
        shares = shares_of((x, y, w, h), width, height)
        if crowd or ignore:
            notes['crowds and ignored boxes (left out)'] += 1
            continue
        if w <= 0 or h <= 0:
            notes['boxes without area (left out)'] += 1
            continue
        if min(shares) < 0 or max(shares) > 1:
            x1, y1, x2, y2 = max(x, 0), max(y, 0), min(x + w, width), min(y + h, height)
            if x2 <= x1 or y2 <= y1:
                notes['boxes outside their image (left out)'] += 1
                continue
            notes['boxes clipped to their image'] += 1
            shares = shares_of((x1, y1, x2 - x1, y2 - y1), width, height)
        lines[image].append(f'{label} {" ".join(map(repr, shares))}\n')
    return lines


def shares_of(bbox: tuple[float, float, float, float], width: int, height: int) -> tuple[float, float, float, float]:
    """Centre x and y, width and height of a box x, y, w, h as shares of an image."""
    x, y, w, h = bbox
    return (x + w / 2) / width, (y + h / 2) / height, w / width, h / height


def write_yolo_results(folder: str | os.PathLike, names: Sequence[str], sizes_wh: np.ndarray, dt: Detections) -> None:
    """Write one file for each image: rows ``class centre_x centre_y width height confidence`` by descending confidence (stable).

    Args:
        folder: created where it is missing.
        names: the I image names without suffix; a slash in a name means a sub-folder. Images without detections get an empty file.
        sizes_wh: (I, 2) width and height of the images.
        dt: detections of these images.

    Raises:
        DataError: an image index is out of range, or a file cannot be written.
    """
    dt.check('detections', len(names))
    lines: list[list[str]] = [[] for _ in names]
    order = np.argsort(-dt.score, kind='stable')
    rows = zip(dt.image[order].tolist(), dt.label[order].tolist(), dt.bbox[order].tolist(), dt.score[order].tolist())
    for image, label, bbox, score in rows:
        width, height = sizes_wh[image].tolist()
        lines[image].append(f'{label} {" ".join(map(repr, (*shares_of(tuple(bbox), width, height), score)))}\n')
    for name, own in zip(names, lines):
        write_text(Path(folder) / f'{name}.txt', ''.join(own))
