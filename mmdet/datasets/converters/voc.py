"""PASCAL VOC annotations (one XML an image) to COCO JSON."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from ...errors import ConfigError, DataError
from ...formats.class_names import VOC_CLASSES
from ...formats.images import image_size, images_by_stem
from ...formats.voc import VOCObject, read_voc_split, read_voc_xml
from ...utils.files import write_json
from ...utils.outputs import refuse_inputs


@dataclass
class SplitReport:
    """How many objects of a split were converted, and why others were left out.

    ``found`` = ``kept`` + ``degenerate`` + ``outside`` + ``duplicates`` + ``other_classes``.
    """

    split: str
    path: Path  # of the JSON file written
    images: int = 0  # in the file
    found: int = 0  # objects in the XML files
    kept: int = 0  # boxes written
    degenerate: int = 0  # left out: xmax <= xmin or ymax <= ymin
    outside: int = 0  # left out: no overlap with the image
    duplicates: int = 0  # left out: same class and corners as an earlier object of the image
    other_classes: int = 0  # left out: not of the wanted classes
    clipped: int = 0  # kept, but clipped to the image
    difficult: int = 0  # kept, with ``iscrowd`` 1
    repeated: int = 0  # names that the list holds again; they are read once
    resized: int = 0  # images whose XML states another size than the image file has; the latter is written
    per_class: Counter = field(default_factory=Counter)  # kept boxes by class name

    def __str__(self) -> str:
        notes = ('degenerate', 'outside', 'duplicates', 'other_classes', 'clipped', 'difficult', 'repeated', 'resized')
        noted = ', '.join(f'{name.replace("_", " ")} {getattr(self, name)}' for name in notes if getattr(self, name))
        classes = ', '.join(f'{name} {count}' for name, count in sorted(self.per_class.items()))
        text = f'{self.split}: {self.images} images, {self.kept} of {self.found} boxes ({classes}) -> {self.path}'
        return f'{text}\n  {noted}' if noted else text


@dataclass
class _Image:
    file_name: str
    width: int
    height: int
    resized: bool
    objects: list[VOCObject]


def convert_voc(
    root: str | os.PathLike,
    out_dir: str | os.PathLike,
    *,
    splits: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    zero_based: bool = False,
) -> list[SplitReport]:
    """Write ``out_dir/{split}.json`` for each split of a VOC folder.

    VOC counts pixels from 1 and names the first and the last pixel of a box, so ``xmin, ymin, xmax, ymax`` becomes the box with edges
    ``xmin - 1, ymin - 1, xmax, ymax``, clipped to the image. Difficult objects are written with ``iscrowd`` 1: they are not trained on,
    and are neither hits nor misses in evaluation. All splits are read before the first file is written; a file appears whole or not at all.

    Args:
        root: folder with ``Annotations``, ``ImageSets/Main`` and ``JPEGImages``.
        out_dir: folder of the JSON files; made where it is missing. ``file_name`` is relative to ``JPEGImages``.
        splits: names of lists in ``ImageSets/Main``; ``None`` takes those of train, val, test that exist.
        classes: classes to keep, in the order of the category ids 1, 2, ...; ``None``: the twenty of VOC if no other class occurs,
            otherwise all that occur, sorted by name.
        zero_based: the corners are edges counted from 0, and are not shifted.

    Raises:
        DataError: a missing folder, split, image or XML, or XML without the needed fields; names the file and the object.
        ConfigError: a class that occurs nowhere, or occurs twice in ``classes``; an output that is one of the files read.
    """
    root, out_dir = Path(root), Path(out_dir)
    for name in ('Annotations', 'ImageSets/Main', 'JPEGImages'):
        if not (root / name).is_dir():
            message = 'no such folder; a VOC folder holds Annotations, ImageSets/Main and JPEGImages'
            raise DataError(message, file=root / name)
    lists = root / 'ImageSets' / 'Main'
    available = sorted(path.stem for path in lists.glob('*.txt'))
    if splits is None:
        splits = [name for name in ('train', 'val', 'test') if name in available]
    missing = [name for name in splits if name not in available]
    if missing or not splits:
        raise DataError(f'no such split; there are {available}', file=lists, received=missing or splits)

    inputs = [*lists.glob('*.txt'), *(root / 'Annotations').glob('*.xml')]
    refuse_inputs([out_dir / f'{split}.json' for split in splits], inputs)
    notes: dict[str, Counter] = {split: Counter() for split in splits}
    names = {split: read_voc_split(lists / f'{split}.txt', notes[split]) for split in splits}
    files = images_by_stem(root / 'JPEGImages')
    images = {name: _read_image(root, name, files) for name in dict.fromkeys(chain.from_iterable(names.values()))}
    found = {item.name for image in images.values() for item in image.objects}
    if classes is None:
        classes = VOC_CLASSES if found <= set(VOC_CLASSES) else sorted(found)
    elif not set(classes) <= found or len(set(classes)) < len(classes):
        unknown = [name for name in classes if name not in found]
        message = f'must be different names that occur in {root}: {sorted(found)}'
        raise ConfigError(message, field='classes', received=unknown or list(classes))

    reports = []
    for split in splits:
        report = SplitReport(split, out_dir / f'{split}.json', repeated=notes[split].total())
        chosen = [images[name] for name in names[split]]
        write_json(report.path, _coco_document(chosen, classes, report, 0 if zero_based else 1))
        reports.append(report)
    return reports


def _read_image(root: Path, name: str, files: Mapping[str, Path]) -> _Image:
    path = root / 'Annotations' / f'{name}.xml'
    found = read_voc_xml(path)
    stated = root / 'JPEGImages' / found.file_name
    image = files.get(name, stated if found.file_name and os.path.isfile(stated) else None)
    if image is None:
        raise DataError('no image of this name in JPEGImages', file=path, received=name)
    width, height = image_size(image)
    return _Image(image.name, width, height, found.size_wh != (str(width), str(height)), found.objects)


def _coco_document(images: list[_Image], classes: Sequence[str], report: SplitReport, first_pixel: int) -> dict:
    category_ids = {name: number for number, name in enumerate(classes, 1)}
    records: list[dict] = []
    annotations: list[dict] = []
    for image_id, image in enumerate(images, 1):
        records.append({'id': image_id, 'file_name': image.file_name, 'width': image.width, 'height': image.height})
        report.images += 1
        report.resized += image.resized
        seen = set()
        for item in image.objects:
            report.found += 1
            xmin, ymin, xmax, ymax = item.corners
            x1, y1 = max(xmin - first_pixel, 0), max(ymin - first_pixel, 0)
            x2, y2 = min(xmax, image.width), min(ymax, image.height)
            if item.name not in category_ids:
                report.other_classes += 1
            elif xmax <= xmin or ymax <= ymin:
                report.degenerate += 1
            elif x2 <= x1 or y2 <= y1:
                report.outside += 1
            elif (item.name, item.corners) in seen:
                report.duplicates += 1
            else:
                report.kept += 1
                report.per_class[item.name] += 1
                report.clipped += (x1, y1, x2, y2) != (xmin - first_pixel, ymin - first_pixel, xmax, ymax)
                report.difficult += item.difficult
                annotations.append({
                    'id': len(annotations) + 1,  # from 1: pycocotools takes a match with annotation 0 for none
                    'image_id': image_id,
                    'category_id': category_ids[item.name],
                    'bbox': [x1, y1, x2 - x1, y2 - y1],
                    'area': (x2 - x1) * (y2 - y1),
                    'iscrowd': int(item.difficult),
                })  # fmt: skip
            seen.add((item.name, item.corners))
    categories = [{'id': number, 'name': name, 'supercategory': 'none'} for name, number in category_ids.items()]
    return {'images': records, 'annotations': annotations, 'categories': categories}
