"""Text files of VisDrone-DET: annotations and results are read, results are written.

One file for each image; a row is ``left,top,width,height,score,category,truncation,occlusion``. The last two may be missing (they decide
nothing). Commas or blanks separate the numbers, and a comma may end the row: annotations are published with commas, results often with
blanks.
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import ConfigError, DataError
from ..utils.files import write_text
from ..utils.progress import progress
from .annotation_table import ImageBoxes, inner_folder, make_table, refuse_split, size_of
from .coco import CocoFile
from .images import IMAGE_SUFFIXES, image_size, images_by_stem
from .tables import Detections, VisDroneTruth
from .text_file import NumberRows, finite_number, read_lines, read_number_rows, whole_number

_COLUMNS = 6  # of a row, those that matter to an evaluation
# Categories of the files: 0 ignored region, 1..10 the classes, 11 others.
IGNORED_REGION, OTHERS = 0, 11
VISDRONE_CLASSES = (
    'pedestrian', 'people', 'bicycle', 'car', 'van', 'truck', 'tricycle', 'awning-tricycle', 'bus', 'motor',
)  # fmt: skip


@dataclass
class VisDroneInput:
    """What the toolkit reads for a set of images.

    Attributes:
        names: the I image names, sorted; their positions are the ``image`` indices.
        sizes_wh: (I, 2) int64 width and height; zeros where the size is neither known nor needed.
        gt: all annotation rows; label = category - 1.
        dt: all result rows in file order; label = category - 1.
        missing: names without a result file (their objects count as missed).
        unused: how many result files belong to none of the images.
        unsorted: names whose results are not by descending score.
    """

    names: list[str]
    sizes_wh: np.ndarray
    gt: VisDroneTruth
    dt: Detections
    missing: list[str] = field(default_factory=list)
    unused: int = 0
    unsorted: list[str] = field(default_factory=list)


def read_toolkit_rows(path: str | os.PathLike) -> np.ndarray:
    """Rows (n, 6) float64 of one result file: left, top, width, height, score, category. An empty file has no rows.

    Raises:
        DataError: the file cannot be read, or a row is not six to eight finite numbers with a whole category; names the line.
    """
    return _read_rows(path).values[:, :_COLUMNS]


def read_visdrone_rows(path: str | os.PathLike) -> np.ndarray:
    """Rows (n, 8) float64 of one annotation file: those of :func:`read_toolkit_rows`, then truncation and occlusion, -1 where missing.

    Raises:
        DataError: as :func:`read_toolkit_rows`, and for a category outside 0..11.
    """
    rows = _read_rows(path)
    category = rows.values[:, 5]
    rows.refuse((category < IGNORED_REGION) | (category > OTHERS), 'category', 5, 'in 0..11')
    return rows.values


def _read_rows(path: str | os.PathLike) -> NumberRows:
    rows = read_number_rows(path, _COLUMNS, 8, 'left,top,width,height,score,category[,truncation,occlusion]')
    category = rows.values[:, 5]
    rows.refuse((category % 1 != 0) | (abs(category) >= 2**31), 'category', 5, 'a whole number')
    return rows


def read_image_sizes(path: str | os.PathLike) -> dict[str, tuple[int, int]]:
    """Name -> (width, height) from lines ``name width height``; an image suffix is removed from the name.

    Raises:
        DataError: the file cannot be read, is empty, has a broken line or a name that occurs twice; names the line.
    """
    sizes: dict[str, tuple[int, int]] = {}
    for number, line in enumerate(read_lines(path), 1):
        parts = line.replace(',', ' ').split()
        if not parts:
            continue
        name, *sides = parts
        name, message = without_image_suffix(name), None
        pair = [side for text in sides if (side := whole_number(text, 1, 10**9)) is not None]
        if len(sides) != 2 or len(pair) != 2:
            message = 'must be: name width height, the last two whole numbers > 0'
        elif name in sizes:
            message = 'the name occurs a second time'
        if message:
            raise DataError(message, file=path, record=f'line {number}', received=line.strip()[:120])
        sizes[name] = pair[0], pair[1]
    if not sizes:
        raise DataError('has no line "name width height"', file=path)
    return sizes


def without_image_suffix(name: str) -> str:
    """``a.b.jpg`` -> ``a.b``; other endings stay, because names may hold dots."""
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in IMAGE_SUFFIXES else name


def text_files(folder: str | os.PathLike, what: str, *, at_least_one: bool = False) -> dict[str, Path]:
    """Name -> path of the ``.txt`` files of a folder, sorted by name; ``what`` they hold is named in messages.

    Raises:
        DataError: no such folder; with ``at_least_one``, also a folder without such files.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f'no such folder of {what} files', file=folder)
    found = {path.stem: path for path in sorted(folder.glob('*.txt'), key=lambda path: path.stem)}
    if at_least_one and not found:
        raise DataError(f'the folder of {what} files holds no .txt file', file=folder)
    return found


def read_folders(
    annotation_dir: str | os.PathLike,
    prediction_dir: str | os.PathLike,
    *,
    sizes: Mapping[str, tuple[int, int]] | None = None,
    image_dir: str | os.PathLike | None = None,
) -> VisDroneInput:
    """Annotations, results and image sizes as the toolkit takes them.

    Args:
        annotation_dir: one ``.txt`` for each image.
        prediction_dir: one ``.txt`` of the same name; a missing or empty one means no detections.
        sizes: name -> (width, height); only these images count.
        image_dir: without ``sizes``, the folder of the images, whose headers give the sizes; None means the folder
            ``images`` beside the annotations. Only the sizes of images with ignored regions are needed and looked up.

    Raises:
        DataError: broken or missing files.
        ConfigError: a size is needed, and there are neither ``sizes`` nor images.
    """
    annotations = text_files(annotation_dir, 'annotation', at_least_one=True)
    predictions = text_files(prediction_dir, 'result')
    names = sorted(annotations if sizes is None else sizes)
    if strangers := [name for name in names if name not in annotations]:
        message = f'{len(strangers)} of the {len(names)} images to score have no annotation file'
        raise DataError(message, file=annotation_dir, received=f'{strangers[0]}.txt')
    truth = [read_visdrone_rows(annotations[name]) for name in names]
    found = [read_toolkit_rows(predictions[name]) if name in predictions else np.zeros((0, _COLUMNS)) for name in names]
    sizes_wh = np.zeros((len(names), 2), dtype=np.int64)
    if sizes is not None:
        sizes_wh[:] = [sizes[name] for name in names]
    else:
        with_regions = [i for i, rows in enumerate(truth) if (rows[:, 5] == IGNORED_REGION).any()]
        images = _images(Path(annotation_dir), image_dir, names[with_regions[0]]) if with_regions else {}
        for i in with_regions:
            if names[i] not in images:
                message = 'its ignored regions need the size of the image, but there is no image of this name'
                raise DataError(message, file=annotations[names[i]])
            sizes_wh[i] = image_size(images[names[i]])

    gt_image, gt_rows = stack_rows(truth)
    dt_image, dt_rows = stack_rows(found)
    return VisDroneInput(
        names=names,
        sizes_wh=sizes_wh,
        gt=VisDroneTruth(gt_image, gt_rows[:, 5] - 1, gt_rows[:, :4], counted=gt_rows[:, 4] != 0),
        dt=Detections(dt_image, dt_rows[:, 5] - 1, dt_rows[:, :4], score=dt_rows[:, 4]),
        missing=[name for name in names if name not in predictions],
        unused=len(set(predictions) - set(names)),
        unsorted=[name for name, rows in zip(names, found) if (np.diff(rows[:, 4]) > 0).any()],
    )


def stack_rows(tables: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The number of the table of each row, and the rows of all tables."""
    return np.repeat(np.arange(len(tables)), [len(table) for table in tables]), np.concatenate(tables)


def is_visdrone(path: Path) -> bool:
    """Whether a folder has the layout of VisDrone-DET: ``.txt`` files of six to eight numbers with a comma, itself or in ``annotations``."""
    folder = _annotation_folder(path)
    if not folder.is_dir():
        return False
    # An image without objects has an empty file, and the first ones of a folder may be such.
    lines = (line for file in sorted(folder.glob('*.txt'))[:20] for line in read_lines(file))
    row = next((line.strip().rstrip(',').split(',') for line in lines if line.strip()), [])
    return _COLUMNS <= len(row) <= 8 and None not in map(finite_number, row)


def _annotation_folder(path: Path) -> Path:
    return path / 'annotations' if next((path / 'annotations').glob('*.txt'), None) else path


def read_visdrone_table(
    path: str | os.PathLike, image_root: str | os.PathLike | None = None, split: str | None = None
) -> CocoFile:
    """A folder of VisDrone-DET annotations as columns: image ids and category ids from 0, as ``VisDrone2COCO.py`` writes them.

    Ignored regions and others are lists of their own. Boxes of score 0 have ``ignore`` set.

    Args:
        path: folder of the ``.txt`` files, or the folder that holds it as ``annotations``.
        image_root: folder of the images; None looks for ``images`` beside the annotations. Images need not be there: then their
            sizes are 0.
        split: there are none in this format.

    Raises:
        DataError: a folder is missing, or a row is broken; names the file and the line.
    """
    refuse_split(split, 'visdrone', path)
    annotation_dir = _annotation_folder(Path(path))
    files = text_files(annotation_dir, 'annotation', at_least_one=True)
    if image_root is None:
        beside = annotation_dir.resolve().parent / 'images'
        image_root = beside if beside.is_dir() else None
    else:
        image_root = inner_folder(Path(image_root), 'images', *IMAGE_SUFFIXES)
    found = {} if image_root is None else images_by_stem(image_root)
    notes: Counter = Counter({'images without an annotation file (not read)': len(set(found) - set(files))})
    images = []
    for name, file in progress(list(files.items()), annotation_dir.name):
        rows = read_visdrone_rows(file)
        size_wh = size_of(found[name], notes=notes) if name in found else (0, 0)
        notes['annotation files whose image is not there'] += name not in found
        category = rows[:, 5].astype(int)
        own = (category != IGNORED_REGION) & (category != OTHERS)
        notes['boxes of score 0 (ignored)'] += int((own & (rows[:, 4] == 0)).sum())
        images.append(
            ImageBoxes(
                file_name=found[name].name if name in found else f'{name}.jpg',
                size_wh=size_wh,
                labels=(category[own] - 1).tolist(),
                boxes=rows[own, :4].tolist(),
                ignore=(rows[own, 4] == 0).tolist(),
                visibility=np.where(np.isin(rows[own, 6:], (0, 1, 2)), rows[own, 6:], -1).astype(int).tolist(),
                ignored_regions=rows[category == IGNORED_REGION, :4].tolist(),
                others=rows[category == OTHERS, :4].tolist(),
            )
        )
    return make_table(
        images, VISDRONE_CLASSES, source=path, kind='visdrone', image_root=image_root or '', first_id=0, notes=notes
    )


def _images(annotation_dir: Path, image_dir: str | os.PathLike | None, name: str) -> dict[str, Path]:
    """The images by name; ``name`` is one that has ignored regions."""
    folder = annotation_dir.resolve().parent / 'images' if image_dir is None else Path(image_dir)
    if image_dir is None and not folder.is_dir():
        message = (
            f'image {name} has ignored regions, whose rule needs the size of the image; there is no folder {folder}'
        )
        raise ConfigError(f'{message}: give the image folder or a file of sizes', field='image_dir')
    return images_by_stem(folder)


def write_visdrone(folder: str | os.PathLike, table: CocoFile) -> Counter:
    """Write one annotation file for each image: rows ``left,top,width,height,score,category,truncation,occlusion``.

    Truncation and occlusion that are not known become 0. The objects of an image come first, then its others and its ignored regions. Objects with ``ignore`` set have score 0. A crowd is
    an ignored region: inside it, nothing is found or missed.

    Args:
        folder: a folder that is new or empty.
        table: its classes are matched with VisDrone's by name.

    Returns:
        What was changed, by reason.

    Raises:
        DataError: a class that VisDrone does not have, an image without a name, two that would share a file, or a file that cannot be written.
    """
    notes: Counter = Counter()
    known = {name: number for number, name in enumerate(VISDRONE_CLASSES, IGNORED_REGION + 1)}
    if strangers := [name for name in table.category_names if name not in known]:
        message = f'must be classes of VisDrone ({", ".join(VISDRONE_CLASSES)}); choose those that are (--classes)'
        raise DataError(message, file=table.source, field='categories', received=strangers)
    lines: list[list[str]] = [[] for _ in table.image_ids]
    columns = (table.image, table.category, table.bbox, table.crowd, table.ignore, table.visibility)
    for image, label, bbox, crowd, ignore, visibility in zip(*(column.tolist() for column in columns)):
        notes['crowds (written as ignored regions)'] += crowd
        number = IGNORED_REGION if crowd else known[table.category_names[label]]
        lines[image].append(_annotation_row(bbox, int(not (crowd or ignore)), number, visibility))
    for number, rectangles in ((OTHERS, table.others), (IGNORED_REGION, table.ignored_regions)):
        for image, bbox in zip(rectangles.image.tolist(), rectangles.bbox.tolist()):
            lines[image].append(_annotation_row(bbox, 0, number))
    written: set[str] = set()
    for name, own in zip(table.require_file_names(inner=True), lines):
        stem = os.path.splitext(name)[0]
        if '/' in stem or stem in written:
            message = 'must be in one folder with the others, each with a name of its own'
            raise DataError(message, file=table.source, record=f'image {name}', field='file_name')
        written.add(stem)
        write_text(Path(folder) / f'{stem}.txt', ''.join(own))
    return Counter({reason: count for reason, count in notes.items() if count})


def _annotation_row(bbox: Sequence[float], score: int, category: int, visibility: Sequence[int] = (0, 0)) -> str:
    # -1 would say that these are results, which may be replaced (results_to_txt).
    truncation, occlusion = (max(value, 0) for value in visibility)
    return f'{",".join(map(_number, bbox))},{score},{category},{truncation},{occlusion}\n'


def write_result_files(
    folder: str | os.PathLike, names: Sequence[str], dt: Detections, categories: Sequence[int] | None = None
) -> None:
    """Write one result file for each image: rows ``left,top,width,height,score,category,-1,-1`` by descending score (stable).

    Images without detections get an empty file, because the toolkit stops where one is missing. Numbers keep their
    fractions, which the toolkit accepts and without which small boxes would lose a good part of their overlap.

    Args:
        folder: created where it is missing.
        names: the I image names; a slash in a name means a sub-folder.
        dt: detections of these images.
        categories: category number of each label; None means label + 1.

    Raises:
        DataError: an image index is out of range, or a file cannot be written.
    """
    dt.check('detections', len(names))
    numbers = dt.label + 1 if categories is None else np.asarray(categories, dtype=np.int64)[dt.label]
    lines: list[list[str]] = [[] for _ in names]
    order = np.argsort(-dt.score, kind='stable')
    values = np.column_stack([dt.bbox, dt.score])[order].tolist()
    for image, row, number in zip(dt.image[order].tolist(), values, numbers[order].tolist()):
        lines[image].append(f'{",".join(map(_number, row))},{number},-1,-1\n')
    for name, own in zip(names, lines):
        write_text(Path(folder) / f'{name}.txt', ''.join(own))


def _number(value: float) -> str:
    """The shortest text that reads back as this number, without a trailing ``.0``."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
