"""Text files of the VisDrone-DET toolkit: annotations and results in, results out.

One file an image; a row is ``left,top,width,height,score,category,truncation,occlusion``, separated by commas or blanks,
of which the first six count.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import ConfigError, DataError
from ..utils.files import write_atomically
from .images import image_size
from .tables import Detections, VisDroneTruth

_COLUMNS = 6
_IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp')
# The classes, categories 1..10 of the files; 0 are ignored regions, 11 others.
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
    """Rows of one annotation or result file.

    Returns:
        (n, 6) float64: left, top, width, height, score, category. An empty file gives no rows.

    Raises:
        DataError: unreadable, fewer than six columns, no finite number, or a category that is not whole; with the line.
    """
    try:
        text = Path(path).read_text(encoding='utf-8-sig')
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, 'strerror', None) or error
        raise DataError(f'cannot be read as text ({reason})', file=path) from error
    lines = text.replace(',', ' ').splitlines()
    rows = [line.split()[:_COLUMNS] for line in lines]
    try:
        if all(len(row) in (0, _COLUMNS) for row in rows):
            table = np.array([[float(value) for value in row] for row in rows if row]).reshape(-1, _COLUMNS)
            if np.isfinite(table).all() and (table[:, 5] % 1 == 0).all():
                return table
    except ValueError:
        pass  # the search below names the line
    wrong = next(number for number, row in enumerate(rows) if row and not _is_row(row))
    raise DataError(
        'must be left,top,width,height,score,category,... : at least six finite numbers, the sixth a whole one',
        file=path,
        record=f'line {wrong + 1}',
        received=text.splitlines()[wrong].strip()[:120],
    )


def _is_row(row: Sequence[str]) -> bool:
    try:
        values = np.array([float(value) for value in row])
    except ValueError:
        return False
    return len(values) == _COLUMNS and bool(np.isfinite(values).all()) and values[5] % 1 == 0


def read_image_sizes(path: str | os.PathLike) -> dict[str, tuple[int, int]]:
    """Sizes from lines ``name width height``; an image suffix of the name is taken off.

    Raises:
        DataError: unreadable, empty, a broken line or a name that occurs twice; with the line.
    """
    sizes = {}
    try:
        lines = Path(path).read_text(encoding='utf-8-sig').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f'cannot be read as text ({getattr(error, "strerror", None) or error})', file=path) from error
    for number, line in enumerate(lines, 1):
        where = dict(file=path, record=f'line {number}', received=line.strip()[:120])
        parts = line.replace(',', ' ').split()
        if not parts:
            continue
        if len(parts) != 3 or not all(part.isdecimal() and int(part) > 0 for part in parts[1:]):
            raise DataError('must be: name width height, the last two whole numbers > 0', **where)
        name = without_image_suffix(parts[0])
        if name in sizes:
            raise DataError('the name occurs a second time', **where)
        sizes[name] = int(parts[1]), int(parts[2])
    if not sizes:
        raise DataError('holds no line "name width height"', file=path)
    return sizes


def without_image_suffix(name: str) -> str:
    """``a.b.jpg`` -> ``a.b``; other endings stay, because names may hold dots."""
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in _IMAGE_SUFFIXES else name


def text_files(folder: str | os.PathLike, what: str) -> dict[str, Path]:
    """Name -> path of the ``.txt`` files of a folder, sorted by name."""
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f'no such folder of {what} files', file=folder)
    return {path.stem: path for path in sorted(folder.glob('*.txt'), key=lambda path: path.stem)}


def read_folders(
    annotation_dir: str | os.PathLike,
    prediction_dir: str | os.PathLike,
    *,
    sizes: Mapping[str, tuple[int, int]] | None = None,
    image_dir: str | os.PathLike | None = None,
) -> VisDroneInput:
    """Annotations, results and image sizes as the toolkit takes them.

    Args:
        annotation_dir: one ``.txt`` an image.
        prediction_dir: one ``.txt`` of the same name; none, or an empty one, means no detections.
        sizes: name -> (width, height); only these images count.
        image_dir: folder of the images, whose headers give the sizes. Without both, the folder ``images`` beside the
            annotations. A size is looked up only for images with ignored regions, which alone need it.

    Raises:
        DataError: broken or missing files.
        ConfigError: a size is needed and neither ``sizes`` nor images are there.
    """
    annotations, predictions = text_files(annotation_dir, 'annotation'), text_files(prediction_dir, 'result')
    if not annotations:
        raise DataError('holds no .txt file', file=annotation_dir)
    names = sorted(annotations if sizes is None else sizes)
    strangers = [name for name in names if name not in annotations]
    if strangers:
        raise DataError(
            f'{len(strangers)} of the {len(names)} images to score have no annotation file',
            file=annotation_dir,
            received=f'{strangers[0]}.txt',
        )
    truth = [read_toolkit_rows(annotations[name]) for name in names]
    found = [read_toolkit_rows(predictions[name]) if name in predictions else np.zeros((0, _COLUMNS)) for name in names]
    sizes_wh = np.zeros((len(names), 2), dtype=np.int64)
    for i, (name, rows) in enumerate(zip(names, truth)):
        if sizes is not None:
            sizes_wh[i] = sizes[name]
        elif (rows[:, 5] == 0).any():
            sizes_wh[i] = _size_of_image(name, Path(annotation_dir), image_dir)

    gt_image, gt_rows = _stack(truth)
    dt_image, dt_rows = _stack(found)
    return VisDroneInput(
        names=names,
        sizes_wh=sizes_wh,
        gt=VisDroneTruth(gt_image, gt_rows[:, 5] - 1, gt_rows[:, :4], counted=gt_rows[:, 4] != 0),
        dt=Detections(dt_image, dt_rows[:, 5] - 1, dt_rows[:, :4], score=dt_rows[:, 4]),
        missing=[name for name in names if name not in predictions],
        unused=len(set(predictions) - set(names)),
        unsorted=[name for name, rows in zip(names, found) if (np.diff(rows[:, 4]) > 0).any()],
    )


def _stack(tables: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    tables = list(tables)
    return np.repeat(np.arange(len(tables)), [len(table) for table in tables]), np.concatenate(tables)


def _size_of_image(name: str, annotation_dir: Path, image_dir: str | os.PathLike | None) -> tuple[int, int]:
    """(width, height) from the header of the image of this name, of any suffix."""
    folder = annotation_dir.resolve().parent / 'images' if image_dir is None else Path(image_dir)
    if not folder.is_dir():
        if image_dir is None:
            raise ConfigError(
                f'image {name} has ignored regions, whose rule needs the size of the image; there is no folder '
                f'{folder}: give the image folder or a file of sizes',
                field='image_dir',
            )
        raise DataError('no such image folder', file=folder)
    for suffix in (*_IMAGE_SUFFIXES, *(suffix.upper() for suffix in _IMAGE_SUFFIXES)):
        if (folder / f'{name}{suffix}').is_file():
            return image_size(folder / f'{name}{suffix}')
    raise DataError('no image of this name, whose size is needed', file=folder, received=name)


def write_result_files(
    folder: str | os.PathLike, names: Sequence[str], dt: Detections, categories: Sequence[int] | None = None
) -> None:
    """Write one result file an image, ``left,top,width,height,score,category,-1,-1``, by descending score (stable).

    Images without detections get an empty file, because the toolkit stops where one is missing. Numbers are written in
    full: fractions are allowed, and cutting them costs small boxes a good part of their overlap.

    Args:
        folder: made where it is missing.
        names: the I image names; a slash makes a sub-folder.
        dt: detections of these images.
        categories: number in the file of each label; None means label + 1.

    Raises:
        DataError: a file cannot be written.
    """
    numbers = dt.label + 1 if categories is None else np.asarray(categories, dtype=np.int64)[dt.label]
    order = np.lexsort((-dt.score, dt.image))  # stable
    edges = np.searchsorted(dt.image[order], np.arange(len(names) + 1))
    boxes, scores, numbers = dt.bbox[order].tolist(), dt.score[order].tolist(), numbers[order].tolist()
    for i, name in enumerate(names):
        lines = []
        for row in range(edges[i], edges[i + 1]):
            box = ','.join(_number(value) for value in boxes[row])
            lines.append(f'{box},{_number(scores[row])},{numbers[row]},-1,-1\n')
        content = ''.join(lines).encode()
        write_atomically(Path(folder) / f'{name}.txt', lambda file, content=content: file.write(content))


def _number(value: float) -> str:
    """The shortest text that reads back as this number, without a trailing ``.0``."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def read_visdrone_rows(path: str | os.PathLike, columns: int = 8) -> np.ndarray:
    """Rows of one VisDrone annotation file.

    Args:
        path: text file; a row is ``x,y,w,h,score,category,truncation,occlusion`` with an optional comma at its end, blank rows are skipped.
        columns: numbers that a row must have.

    Returns:
        (n, columns) float64.

    Raises:
        DataError: unreadable file, wrong number of columns, something else than finite numbers; with the line.
    """
    rows = []
    try:
        with open(path, encoding='utf-8-sig') as file:
            for number, line in enumerate(file, 1):
                fields = line.strip().rstrip(',')
                if not fields:
                    continue
                fields = fields.split(',')
                try:
                    row = [float(field) for field in fields]
                except ValueError as error:
                    raise DataError(
                        f'must be {columns} numbers', file=path, record=f'line {number}', received=line.strip()
                    ) from error
                if len(row) != columns:
                    raise DataError(
                        f'must be {columns} numbers', file=path, record=f'line {number}', received=line.strip()
                    )
                rows.append(row)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError('the annotation file cannot be read as text', file=path) from error
    table = np.array(rows, dtype=np.float64).reshape(-1, columns)
    if not np.isfinite(table).all():
        raise DataError(
            'the numbers must be finite', file=path, record=f'row {int(np.argwhere(~np.isfinite(table))[0, 0]) + 1}'
        )
    return table
