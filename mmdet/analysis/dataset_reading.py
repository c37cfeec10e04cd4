"""Data sets as :mod:`~mmdet.analysis.dataset_doctor` examines them: every row of the files, the faulty ones too.

Datasets leave out boxes that cannot be trained on, and refuse files with inconsistent records. Here the boxes are kept as they are written, and
records that a dataset would refuse are set aside and counted.

Letters: I images, n boxes, C categories of a part.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError, DataError
from ..formats.annotation_table import inner_folder
from ..formats.annotations import coco_files, kind_of, read_table, splits_of
from ..formats.coco import CocoFile, columns_of, plain_id
from ..formats.json_file import no_garbage_collection, parse_json, read_bytes
from ..formats.visdrone import without_image_suffix
from ..utils.checks import is_finite

SPLITS = ('train', 'val', 'test')
_NAMES_TRIED = 20  # file names that are looked for in a folder to tell whether it is the image folder
# Names that tools give every file or folder: the folder above tells more.
_GENERIC = ('annotations', 'Annotations', '_annotations.coco', 'labels', 'instances_default', 'result', 'images')
# Formats whose classes have a name and no number.
_NAMES_ALONE = ('voc', 'csv', 'labelme')
_LEFT_OUT = ('(left out)', '(read once)')  # ends of the reasons that are findings
_MAX_SIDE = 1e9  # pixels; the limit of the readers


@dataclass
class DatasetPart:
    """One annotation file (or folder) with its images.

    Attributes:
        name: 'train', 'val', the name of a file: unique among the parts.
        source: the file or folder.
        file_names: I names as in the file, '' where there is none.
        sizes_wh: (I, 2) int64 widths and heights as the file states them, 0 where it does not.
        class_names: C names of the file's categories.
        image: (n,) int64, position of each box's image.
        label: (n,) int64, position of its category; -1 for regions without one.
        bbox: (n, 4) float64, left, top, width, height in pixels, as written.
        ignored: (n,) bool: crowds, ignored regions, VOC's difficult objects.
        split: parts of one split are trained or tested on together.
        image_root: folder of the images; None where there is none at hand.
        category_ids, supercategories: C ids (None where a format has none) and names of the super-categories ('' where there is none).
        rotation: (n,) float64, degrees, of boxes that CVAT or Label Studio rotated; 0 for others.
        annotated: False for a test set whose annotations are kept back.
        classes: names in the config, None without a config.
        pipeline: transform configs, empty without a config.
        faults: records that a dataset would refuse, by the kind of fault: descriptions of them.
        left_out: what the reader left out, by reason.
        account: lines about what the dataset of the config uses and leaves out.
        refusal: the error with which the dataset of the config refuses the part, '' if it does not.
    """

    name: str
    source: str
    file_names: list[str]
    sizes_wh: np.ndarray
    class_names: list[str]
    image: np.ndarray
    label: np.ndarray
    bbox: np.ndarray
    ignored: np.ndarray
    split: str = ''
    image_root: str | None = None
    category_ids: list = field(default_factory=list)
    supercategories: list[str] = field(default_factory=list)
    rotation: np.ndarray = field(default_factory=lambda: np.zeros(0))
    annotated: bool = True
    classes: tuple[str, ...] | None = None
    pipeline: list[dict] = field(default_factory=list)
    faults: dict[str, list[str]] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    account: list[str] = field(default_factory=list)
    refusal: str = ''

    def __post_init__(self) -> None:
        boxes, categories = len(self.image), len(self.class_names)
        self.split = self.split or self.name
        self.category_ids = self.category_ids or list(range(categories))
        self.supercategories = self.supercategories or [''] * categories
        self.rotation = self.rotation if len(self.rotation) == boxes else np.zeros(boxes)

    @property
    def counted(self) -> np.ndarray:
        """(n,) bool, boxes of objects: neither ignored nor without a class."""
        return ~self.ignored & (self.label >= 0)

    def path_of(self, image: int) -> str | None:
        """The path of an image, whether there is such a file or not; None where the folder is not known."""
        name = self.file_names[image]
        return os.path.join(self.image_root, name) if self.image_root is not None and name else None

    def box_name(self, row: int) -> str:
        """How a box is named in lists: its image and its class."""
        label = self.label[row]
        return f'{self.image_name(self.image[row])}: {self.class_names[label] if label >= 0 else "ignored region"}'

    def image_name(self, image: int) -> str:
        """The file name of an image, or its number where it has none."""
        return self.file_names[image] or f'image {image + 1}'


def read_parts(
    paths: Sequence[str | os.PathLike],
    images: str | os.PathLike | None = None,
    sizes: Mapping[str, tuple[int, int]] | None = None,
) -> list[DatasetPart]:
    """Read annotation files and folders, each of which is a part, or several (a VOC folder has its lists, a Roboflow folder its splits).

    Args:
        paths: files and folders of the formats of :mod:`mmdet.formats.annotations`.
        images: folder of the images. None looks at the usual places beside the annotations; where no image is found, none is examined.
        sizes: name without suffix -> (width, height), where files state none and there are no images.

    Raises:
        DataError: a file cannot be read, or its format is not known.
    """
    sources = [source for path in map(Path, paths) for source in _sources_in(path)]
    parts: list[DatasetPart] = []
    for (kind, path, split), name in zip(sources, _part_names([(path, split) for _, path, split in sources])):
        if kind == 'coco':
            part = coco_part(parse_document(path), path, name)
            part.image_root = image_root_of(path, part.file_names) if images is None else str(images)
        else:
            part = table_part(read_table(path, images, kind, split), name)
            if images is None and not any(os.path.isfile(part.path_of(k) or '') for k in range(len(part.file_names))):
                part.image_root = None
        parts.append(part)
    for part in parts if sizes else ():
        for row in np.flatnonzero((part.sizes_wh == 0).any(axis=1)).tolist():
            part.sizes_wh[row] = (sizes or {}).get(without_image_suffix(part.file_names[row]), (0, 0))
    return parts


def _sources_in(path: Path) -> list[tuple[str, Path, str | None]]:
    """Kind, place and split of each part that a path holds."""
    if path.is_file() and path.suffix.lower() == '.json':
        return [('coco', path, None)]  # one that is broken is an error of this reader, which says where
    kind = kind_of(path)
    if kind == 'coco':
        return [(kind, file, None) for file in coco_files(path).values()]
    if kind == 'visdrone':
        return [(kind, inner_folder(path, 'annotations', '.txt'), None)]
    splits: list[str | None] = [*splits_of(path, kind)]
    if kind == 'voc':  # other lists (trainval, car_train) repeat the images of these
        splits = [split for split in SPLITS if split in splits]
    return [(kind, path, split) for split in splits or [None]]


def table_part(table: CocoFile, name: str) -> DatasetPart:
    """A part of a format whose reader keeps all boxes as they are.

    Sizes are those that the files state, where they do: the images are compared with them later.
    """
    stated_wh = table.sizes_wh if table.stated_wh is None else table.stated_wh
    ignored = (table.ignored_regions, table.others)
    return DatasetPart(
        name=name,
        source=table.source,
        image_root=table.image_root or None,
        file_names=list(table.file_names),
        sizes_wh=np.where((stated_wh > 0).all(axis=1, keepdims=True), stated_wh, table.sizes_wh),
        class_names=list(table.category_names),
        category_ids=[None] * len(table.category_ids) if table.kind in _NAMES_ALONE else list(table.category_ids),
        image=np.concatenate([table.image, *(rows.image for rows in ignored)]),
        label=np.concatenate([table.category, *(np.full(len(rows.image), -1) for rows in ignored)]),
        bbox=np.concatenate([table.bbox, *(rows.bbox for rows in ignored)]),
        ignored=np.concatenate([table.crowd | table.ignore, *(np.ones(len(rows.image), bool) for rows in ignored)]),
        rotation=np.concatenate([table.rotation, *(np.zeros(len(rows.image)) for rows in ignored)]),
        annotated=table.annotated,
        left_out={reason: count for reason, count in table.notes.items() if reason.endswith(_LEFT_OUT)},
    )


def _part_names(sources: Sequence[tuple[Path, str | None]]) -> list[str]:
    """A short name for each source, different from the others: its split, or its stem, with as many folders as it takes."""
    chains = []
    for path, split in sources:
        parts = _telling_parts(path)
        chains.append([*parts, split] if split else parts)
    depths = [1] * len(chains)
    while True:
        shown = ['/'.join(parts[-depth:]) for parts, depth in zip(chains, depths)]
        repeated = {name for name in shown if shown.count(name) > 1}
        longer = [
            depth + (name in repeated and depth < len(parts)) for name, parts, depth in zip(shown, chains, depths)
        ]
        if longer == depths:
            return [f'{name} {i + 1}' if name in repeated else name for i, name in enumerate(shown)]
        depths = longer


def _telling_parts(path: Path) -> list[str]:
    """The parts of a path up to the last one that is not the same for every data set."""
    full = path.resolve()
    parts = [*full.parts[1:-1], full.stem if full.is_file() else full.name]
    while parts[-1] in _GENERIC and len(parts) > 1:
        parts = parts[:-1]
    return parts


def title_of(paths: Sequence[str | os.PathLike]) -> str:
    """A name for what lies at some paths."""
    return ', '.join(dict.fromkeys(_telling_parts(Path(path))[-1] for path in paths))


# ------------------------------------------------------------------------------------------------------- formats


def parse_document(path: str | os.PathLike) -> dict:
    with no_garbage_collection():
        return parse_json(read_bytes(path), path, drop_polygons=True)


def coco_part(document: dict, path: str | os.PathLike, name: str) -> DatasetPart:
    """A COCO file, without its inconsistent records; these are the ``faults`` of the part.

    Raises:
        DataError: the lists of COCO are missing, or a record has a value that cannot be read.
    """
    faults: dict[str, list[str]] = {}
    groups: list[Any] = [document.get('images'), document.get('categories'), document.get('annotations', [])]
    images, categories, rows = groups
    if all(isinstance(group, list) and all(type(row) is dict for row in group) for group in groups):
        images, categories = _sound_images(images, faults), _once(categories, 'repeated_category_ids', faults)
        rows = _sound_annotations(rows, images, categories, faults)
    sound = dict(images=images, categories=categories, annotations=rows)
    table = columns_of(sound, str(path), unique_ids=False)  # refuses lists of anything but objects
    return DatasetPart(
        name=name,
        source=str(path),
        file_names=list(table.file_names),
        sizes_wh=table.sizes_wh.copy(),
        class_names=list(table.category_names),
        category_ids=list(table.category_ids),
        supercategories=[str(category.get('supercategory') or '') for category in categories],
        image=table.image,
        label=table.category,
        bbox=table.bbox,
        ignored=table.crowd | table.ignore,
        rotation=np.array([_rotation(row) for row in rows], dtype=np.float64),
        annotated='annotations' in document,
        faults=faults,
    )


def _once(rows: list[dict], code: str, faults: dict[str, list[str]]) -> list[dict]:
    """The records whose id occurs for the first time; the others become faults."""
    seen: set = set()
    kept = []
    for row in rows:
        record_id = plain_id(row.get('id'))
        if record_id is not None and record_id in seen:
            faults.setdefault(code, []).append(f'id {record_id}')
            continue
        seen.add(record_id)
        kept.append(row)
    return kept


def _sound_images(rows: list[dict], faults: dict[str, list[str]]) -> list[dict]:
    kept = []
    for row in _once(rows, 'repeated_image_ids', faults):
        sides = [row.get('width'), row.get('height')]
        if any(
            side is not None and not (is_finite(side) and 0 < side < _MAX_SIDE and side == int(side)) for side in sides
        ):
            faults.setdefault('impossible_sizes', []).append(f'{row.get("file_name") or row.get("id")}: {sides}')
            row = {**row, 'width': None, 'height': None}
        kept.append(row)
    return kept


def _sound_annotations(rows: list[dict], images: list[dict], categories: list[dict], faults: dict) -> list[dict]:
    image_ids, category_ids = ({plain_id(row.get('id')) for row in group} for group in (images, categories))
    seen: set = set()
    kept = []
    for position, row in enumerate(rows):
        box, record_id = row.get('bbox'), plain_id(row.get('id'))
        code = None
        if record_id is not None and record_id in seen:
            faults.setdefault('repeated_annotation_ids', []).append(f'id {record_id}')
        seen.add(record_id)
        if plain_id(row.get('image_id')) not in image_ids:
            code, value = 'unknown_images', row.get('image_id')
        elif plain_id(row.get('category_id')) not in category_ids:
            code, value = 'unknown_categories', row.get('category_id')
        elif not (type(box) is list and len(box) == 4 and all(map(is_finite, box))):
            code, value = 'impossible_boxes', box
        if code is None:
            kept.append(row)
        else:
            name = f'annotation {record_id}' if record_id is not None else f'annotations[{position}]'
            faults.setdefault(code, []).append(f'{name}: {str(value)[:80]}')
    return kept


def _rotation(row: dict) -> float:
    """Degrees by which the exporting tool had rotated a box: CVAT's ``attributes.rotation``, or ``rotation`` itself (Label Studio)."""
    attributes = row.get('attributes')
    value = attributes.get('rotation') if isinstance(attributes, dict) else None
    value = row.get('rotation') if value is None else value
    try:
        angle = 0.0 if value is None else float(value)  # CVAT writes numbers, older exports texts
    except (TypeError, ValueError):
        return 0.0
    return angle if np.isfinite(angle) else 0.0


def image_root_of(path: str | os.PathLike, names: Sequence[str]) -> str | None:
    """The folder, beside the annotations, that holds images of these names; None if there is none."""
    folder, split = Path(path).parent, Path(path).stem.removeprefix('instances_')
    above = folder.parent
    places = [
        folder, folder / 'images', folder / split, folder / 'images' / split, above / 'images', above / split, above / 'images' / split,
        above / split / 'images', above / 'JPEGImages', above,
    ]  # fmt: skip
    tried = [name for name in names if name][:_NAMES_TRIED]
    hits = [sum(os.path.isfile(place / name) for name in tried) for place in places]
    return str(places[int(np.argmax(hits))]) if max(hits, default=0) else None


def split_arguments(arguments: Sequence[str], images: str | None = None) -> tuple[list[str], str | None]:
    """Arguments of the tool as configs or annotations, and the folder of the images: ``images``, or the last argument if it holds images.

    Raises:
        ConfigError: a config beside annotations or another config, or two image folders.
    """
    paths = list(arguments)
    if len(paths) > 1 and os.path.isdir(paths[-1]) and not _is_annotated(Path(paths[-1])):
        if images is not None:
            raise ConfigError('the image folder is given twice', field='--images', received=(paths[-1], images))
        images = paths.pop()
    if len(paths) > 1 and any(Path(path).suffix == '.py' for path in paths):
        raise ConfigError('a config is given alone, or with the folder of the images', received=paths)
    return paths, images


def _is_annotated(folder: Path) -> bool:
    """Whether a folder holds annotations of a known format; images may lie beside them."""
    try:
        kind_of(folder)
    except DataError:
        return False
    return True
