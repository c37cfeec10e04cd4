"""Conversion between all formats of annotations, through the columns of :func:`~mmdet.formats.annotations.read_table`."""

import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ConfigError, DataError
from ...formats.annotations import kind_of, read_table, splits_of
from ...formats.coco import CocoFile, Rectangles, coco_json, read_segmentations
from ...formats.csv_file import write_csv
from ...formats.labelme import write_labelme
from ...formats.visdrone import write_visdrone
from ...formats.voc import write_voc
from ...formats.yolo import write_yolo
from ...utils.files import explained, temporary_folder, write_json
from ...utils.outputs import refuse_closed_folder

TARGETS = ('coco', 'yolo', 'voc', 'visdrone', 'csv', 'labelme')
RESTS = ('drop', 'crowd')
IMAGE_MODES = ('leave', 'link', 'copy')
_IN_FILES = {'coco': '.json', 'csv': '.csv'}  # formats of one file for a split
_LEFT_OUT = '(left out)'


@dataclass
class ConversionReport:
    """What a conversion read, wrote and left out.

    ``found`` = ``written`` + the boxes left out, whose reasons in ``notes`` end with "(left out)".

    Attributes:
        path: file or folder written.
        kind, to: the formats.
        images, found, written: by split, images and boxes read and boxes written; '' where there are no splits.
        classes: names, in the order written.
        notes: boxes by the reason why they were left out or changed.
        read_notes: what the reader said of the source, see :class:`~mmdet.formats.coco.CocoFile`.
        image_dirs: by split, folder that the names of the images are relative to; '' where it is not known.
    """

    path: Path
    kind: str
    to: str
    images: dict[str, int] = field(default_factory=dict)
    found: dict[str, int] = field(default_factory=dict)
    written: dict[str, int] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    notes: Counter = field(default_factory=Counter)
    read_notes: Counter = field(default_factory=Counter)
    image_dirs: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f'{self.kind} -> {self.to}: {self.path}']
        for split in self.images:
            name = f'  {split}: ' if split else '  '
            boxes = f'{self.written[split]} of {self.found[split]} boxes'
            lines.append(
                f'{name}{self.images[split]} images, {boxes}; images in {self.image_dirs[split] or "unknown folder"}'
            )
        lines.append(
            f'  {len(self.classes)} class{"es" if len(self.classes) != 1 else ""}: {", ".join(self.classes[:20])}{", ..." if self.classes[20:] else ""}'
        )
        lines += [f'  read: {reason}: {count}' for reason, count in self.read_notes.items()]
        lines += [f'  written: {reason}: {count}' for reason, count in self.notes.items()]
        return '\n'.join(lines)


def convert(
    source: str | os.PathLike,
    target: str | os.PathLike,
    to: str,
    *,
    kind: str | None = None,
    image_root: str | os.PathLike | None = None,
    classes: Sequence[str] | None = None,
    split: str | None = None,
    images: str = 'leave',
    zero_based: bool = False,
    rename: Mapping[str, str] | None = None,
    rest: str = 'drop',
) -> ConversionReport:
    """Convert annotations of any format that is read to one of :data:`TARGETS`.

    Boxes are written as they were read; what the target cannot hold is left out or changed, and counted. The output appears whole or not at
    all, and nothing that exists is replaced.

    Args:
        source: file or folder.
        target: a file (``.json`` for COCO, ``.csv``) for one split or all of them together, or a folder: then each split gets a file or folder
            of its own.
        to: the format written.
        kind: the format read; None recognises it.
        image_root: folder of the images, see :func:`~mmdet.formats.annotations.read_annotations`.
        classes: names to keep, in this order, and the names of a YOLO data set that has none. None keeps all; a root category, which is
            the super-category of all others and has no box, goes.
        split: the one to convert.
        images: ``'leave'`` writes annotations alone, ``'link'`` and ``'copy'`` also put the images where the format has them.
        zero_based: corners in VOC files count from 0.
        rename: names of the source to names to write, several of which may be equal. ``classes`` are names after this.
        rest: what becomes of the boxes of other classes, of boxes with ``ignore`` set, and of VisDrone's ignored regions and others: with
            ``'drop'`` the first are left out and the others stay what they are; ``'crowd'``, for COCO, makes each a crowd of every class,
            inside which a detection is neither right nor wrong.

    Raises:
        ConfigError: a wrong argument, or a target that exists.
        DataError: the source cannot be read, or the target cannot hold it; names file, record and field.
    """
    target = Path(target)
    _check_target(target, to, images)
    if rest not in RESTS or (rest == 'crowd' and to != 'coco'):
        raise ConfigError(f'must be one of {", ".join(RESTS)}, crowd only for coco', field='rest', received=rest)
    kind = kind_of(source, kind)
    report = ConversionReport(target, kind, to)
    tables, segmentations = {}, {}
    for name, table in _read(source, kind, image_root, split, target, classes, zero_based).items():
        report.images[name], report.found[name] = len(table.image_ids), len(table.image)
        report.read_notes.update(table.notes)
        tables[name] = renamed(table, rename or {})
        if kind == to == 'coco' and rest == 'drop':
            segmentations[name] = read_segmentations(table.source)
    report.classes = _classes_of(tables, kind, classes, report.read_notes)
    for name, table in tables.items():
        if rest == 'crowd':
            tables[name], made = with_crowds(table, report.classes)
            report.notes[f'crowds, of each class, made of {made} boxes and regions without one of the classes'] += made
            report.found[name] = report.written[name] = len(tables[name].image)
            continue
        tables[name], rows = with_classes(table, report.classes)
        if name in segmentations:
            segmentations[name] = [segmentations[name][row] for row in rows.tolist()]
        if lost := report.found[name] - len(rows):
            report.notes[f'boxes of other classes {_LEFT_OUT}'] += lost
        report.written[name] = len(rows)
    named = {name: flattened(table, to) for name, table in tables.items()}
    with temporary_folder(target) as folder:
        finished = {name: table for name, (table, _) in named.items()}
        for name, notes in _write(folder, finished, to, segmentations).items():
            report.written[name] -= sum(count for reason, count in notes.items() if reason.endswith(_LEFT_OUT))
            report.notes.update(notes)
        for name, (table, sources) in named.items():
            report.image_dirs[name] = str(Path(table.image_root)) if table.image_root else ''
            if images != 'leave':
                missing = _place_images(_image_folder(folder, to, name), table, sources, copy=images == 'copy')
                report.read_notes['images that are not there and were not placed'] += missing
        _publish(folder, target, to)
    report.notes, report.read_notes = +report.notes, +report.read_notes
    return report


def _check_target(target: Path, to: str, images: str) -> None:
    if to not in TARGETS:
        raise ConfigError(f'must be one of {", ".join(TARGETS)}', field='to', received=to)
    if images not in IMAGE_MODES:
        raise ConfigError(f'must be one of {", ".join(IMAGE_MODES)}', field='images', received=images)
    if images != 'leave' and to in _IN_FILES:
        message = f'the format {to} has no place for images: it names them relative to their folder'
        raise ConfigError(message, field='images', received=images)
    if target.suffix and target.suffix != _IN_FILES.get(to, target.suffix) and to in _IN_FILES:
        raise ConfigError(f'must be a folder or end in {_IN_FILES[to]}', file=target, received=target.suffix)
    if target.is_dir() and not any(target.iterdir()):
        return
    if os.path.lexists(target):
        raise ConfigError('exists, and nothing is overwritten; choose another name', file=target)
    refuse_closed_folder(target)


def _read(
    source: str | os.PathLike,
    kind: str,
    image_root: str | os.PathLike | None,
    split: str | None,
    target: Path,
    classes: Sequence[str] | None,
    zero_based: bool,
) -> dict[str, CocoFile]:
    """The tables of the splits to write; one with the name '' where they are not written apart."""
    options: dict[str, Any] = {}
    if kind == 'coco':
        options['unique_ids'] = False
    elif kind == 'yolo' and classes:
        options['classes'] = classes
    elif kind == 'voc':
        options['zero_based'] = zero_based
    if split is None and target.suffix not in _IN_FILES.values():
        present = splits_of(source, kind)
        if kind == 'voc':  # other lists (trainval, car_train) repeat the images of these
            present = [name for name in ('train', 'val', 'test') if name in present]
        if present:
            return {name: read_table(source, image_root, kind, name, **options) for name in present}
    return {split or '': read_table(source, image_root, kind, split, **options)}


def _classes_of(
    tables: Mapping[str, CocoFile], kind: str, classes: Sequence[str] | None, notes: Counter
) -> tuple[str, ...]:
    """The class names of all splits."""
    found = list(dict.fromkeys(name for table in tables.values() for name in table.category_names))
    if kind in ('voc', 'csv', 'labelme') and len(tables) > 1:
        found = sorted(found)  # as within a split
    if classes is not None:
        unknown = [name for name in classes if name not in found]
        if unknown or not classes or len(set(classes)) < len(classes):
            message = f'must be different class names of the source: {", ".join(found)}'
            raise ConfigError(message, field='classes', received=unknown or list(classes))
        return tuple(classes)
    roots = {name for table in tables.values() for name in root_categories(table)}
    for table in tables.values():
        roots -= {table.category_names[category] for category in np.unique(table.category).tolist()}
    if roots:
        notes[f'root categories without boxes {_LEFT_OUT}: {", ".join(sorted(roots))}'] += len(roots)
    return tuple(name for name in found if name not in roots)


def renamed(table: CocoFile, rename: Mapping[str, str]) -> CocoFile:
    """The table with other names of categories; those that become equal are one, with the first one's id."""
    if unknown := [name for name in rename if name not in table.category_names]:
        message = f'must be class names of the source: {", ".join(table.category_names)}'
        raise ConfigError(message, field='rename', received=unknown)
    names = [rename.get(name, name) for name in table.category_names]
    # Only what was renamed becomes one: categories of one name are an error elsewhere.
    first = [names.index(name) if name in rename.values() else position for position, name in enumerate(names)]
    kept = sorted(set(first))
    return replace(
        table,
        categories=[dict(table.categories[position], name=names[position]) for position in kept],
        category_ids=[table.category_ids[position] for position in kept],
        category_names=[names[position] for position in kept],
        category=np.array([kept.index(position) for position in first], dtype=np.int64)[table.category],
    )


def with_crowds(table: CocoFile, classes: Sequence[str]) -> tuple[CocoFile, int]:
    """The table of these classes, with everything else as a crowd of each class; also how many boxes and regions became crowds."""
    chosen, rows = with_classes(table, classes)
    other = np.ones(len(table.image), dtype=bool)
    other[rows] = table.ignore[rows]
    own = ~chosen.ignore
    image = np.concatenate([table.image[other], table.ignored_regions.image, table.others.image])
    bbox = np.concatenate([table.bbox[other], table.ignored_regions.bbox, table.others.bbox])
    count, times = len(image), len(classes)
    nothing = Rectangles(image[:0], bbox[:0])

    def joined(column: str, added: np.ndarray) -> np.ndarray:
        return np.concatenate([getattr(chosen, column)[own], np.repeat(added, times, axis=0)])

    crowded = replace(
        chosen,
        image=joined('image', image),
        category=np.concatenate([chosen.category[own], np.tile(np.arange(times), count)]),
        bbox=joined('bbox', bbox),
        area=joined('area', bbox[:, 2] * bbox[:, 3]),
        crowd=joined('crowd', np.ones(count, dtype=bool)),
        ignore=joined('ignore', np.zeros(count, dtype=bool)),
        rotation=joined('rotation', np.zeros(count)),
        visibility=joined('visibility', np.full((count, 2), -1)),
        ignored_regions=nothing,
        others=nothing,
    )
    return crowded, count


def root_categories(table: CocoFile) -> list[str]:
    """Names of categories that have no box and are the super-category of all others, as Roboflow writes one."""
    used = set(np.unique(table.category).tolist())
    above = [row.get('supercategory') for row in table.categories]
    found = []
    for position, name in enumerate(table.category_names):
        others = above[:position] + above[position + 1 :]
        if position not in used and others and all(other == name for other in others):
            found.append(name)
    return found


def with_classes(table: CocoFile, classes: Sequence[str]) -> tuple[CocoFile, np.ndarray]:
    """The table with these categories in this order, and the rows that are left, those of other categories being dropped.

    Categories keep their ids; a class that the table does not have gets a new one.
    """
    position_of = {name: position for position, name in enumerate(table.category_names)}
    if repeated := [name for name, count in Counter(table.category_names).items() if count > 1 and name in classes]:
        message = 'two categories have this name; give the classes to keep (classes, --classes) or rename one'
        raise DataError(message, file=table.source, field='categories', received=repeated[0])
    numbers = [number for number in table.category_ids if isinstance(number, int)]
    free = max(numbers, default=0) + 1
    categories: list[dict] = []
    for name in classes:
        if name in position_of:
            categories.append(table.categories[position_of[name]])
        else:
            categories.append(dict(id=free, name=name, supercategory='none'))
            free += 1
    label_of = {name: label for label, name in enumerate(classes)}
    label = np.array([label_of.get(name, -1) for name in table.category_names], dtype=np.int64)[table.category]
    rows = np.flatnonzero(label >= 0)
    columns = {
        name: getattr(table, name)[rows]
        for name in ('image', 'bbox', 'area', 'crowd', 'ignore', 'rotation', 'visibility')
    }
    chosen = replace(
        table,
        categories=categories,
        category_ids=[row['id'] for row in categories],
        category_names=list(classes),
        category=label[rows],
        **columns,
    )
    return chosen, rows


def flattened(table: CocoFile, to: str) -> tuple[CocoFile, list[str]]:
    """The table with the names that its images get in a folder of the format, and their paths relative to the old image folder.

    The folder that all images share becomes part of the image folder. Folders that are left become part of the name where the
    format has one folder (VOC, VisDrone), or where one is called ``images``, which decides about the place of YOLO's labels.
    """
    sources = list(table.file_names)
    if to in _IN_FILES or '' in sources:
        return table, sources
    shared = os.path.commonpath([os.path.dirname(name) for name in sources]) if sources else ''
    names = [os.path.relpath(name, shared) if shared else name for name in sources]
    if to in ('voc', 'visdrone') or any('images' in Path(name).parts[:-1] for name in names):
        names = [name.replace('/', '_') for name in names]
    root = os.path.join(table.image_root, shared) if table.image_root else ''
    return replace(table, file_names=names, image_root=root), [os.path.relpath(name, shared or '.') for name in sources]


def _write(
    folder: Path, tables: Mapping[str, CocoFile], to: str, segmentations: Mapping[str, Sequence[Any]]
) -> dict[str, Counter]:
    """Write the splits into a folder; by split, the boxes that were left out or changed."""
    if to == 'yolo':
        notes = write_yolo(folder, {name or 'train': table for name, table in tables.items()})
        return {name: notes[name or 'train'] for name in tables}
    if to == 'voc':
        return write_voc(folder, tables)
    notes = {}
    for name, table in tables.items():
        if to == 'coco':
            write_json(folder / f'{name or "annotations"}.json', coco_json(table, segmentations.get(name)))
            notes[name] = Counter()
        elif to == 'csv':
            notes[name] = write_csv(folder / f'{name or "annotations"}.csv', table)
        elif to == 'labelme':
            notes[name] = write_labelme(folder / name, table)
        else:
            notes[name] = write_visdrone(folder / name / 'annotations', table)
    return notes


def _image_folder(folder: Path, to: str, split: str) -> Path:
    """Where the format has the images of a split."""
    if to == 'yolo':
        return folder / 'images' / (split or 'train')
    return folder / 'JPEGImages' if to == 'voc' else folder / split / ('images' if to == 'visdrone' else '')


def _place_images(folder: Path, table: CocoFile, sources: Sequence[str], *, copy: bool) -> int:
    """Copy or link the images; how many are not there."""
    missing = 0
    for name, source in zip(table.file_names, sources):
        path = Path(os.path.abspath(Path(table.image_root or '.', source)))
        if not path.is_file():
            missing += 1
            continue
        place = folder / name
        with explained(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            if copy:
                shutil.copyfile(path, place)
            else:
                place.symlink_to(path)
    return missing


def _publish(folder: Path, target: Path, to: str) -> None:
    """Give the finished output its name, unless something has got that name in the meantime."""
    with explained(target):
        if to in _IN_FILES and target.suffix == _IN_FILES[to]:
            (made,) = folder.iterdir()
            if os.path.lexists(target):
                raise ConfigError('exists, and nothing is overwritten; choose another name', file=target)
            made.rename(target)
            return
        if target.is_dir():
            target.rmdir()  # only an empty one can be removed
        folder.rename(target)
