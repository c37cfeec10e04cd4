"""CSV tables of boxes: one row for each box, an image without boxes has one row of empty cells.

With a header, the columns are found by their names (:data:`COLUMNS`, in any order, other columns are passed over): this reads TensorFlow's object detection
tables (``filename,width,height,class,xmin,ymin,xmax,ymax``), which Roboflow exports, too. Without a header, the six columns are those of
RetinaNet's tables: ``path,x1,y1,x2,y2,class``. Corners are edges in pixels, counted from 0.
"""

import csv
import io
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..utils.files import write_text
from .annotation_table import ImageBoxes, inner_folder, make_table, plain_number, settled, size_of
from .coco import CocoFile
from .image_files import ImageFolder
from .images import IMAGE_SUFFIXES
from .text_file import finite_number, read_lines

# Names of the columns, in lower case. ``width`` and ``height`` are those of the image where the table has x2 and y2, otherwise of the box.
COLUMNS = {
    'image': ('image', 'filename', 'file_name', 'image_name', 'image_path', 'img_path', 'path', 'file', 'img', 'image_id'),
    'class': ('class', 'class_name', 'label', 'label_name', 'category', 'category_name', 'name'),
    'x1': ('x1', 'xmin', 'x_min', 'left', 'bbox_x', 'x'),
    'y1': ('y1', 'ymin', 'y_min', 'top', 'bbox_y', 'y'),
    'x2': ('x2', 'xmax', 'x_max', 'right'),
    'y2': ('y2', 'ymax', 'y_max', 'bottom'),
    'w': ('w', 'bbox_width', 'box_width', 'bbox_w', 'width'),
    'h': ('h', 'bbox_height', 'box_height', 'bbox_h', 'height'),
    'image_width': ('image_width', 'img_width', 'width'),
    'image_height': ('image_height', 'img_height', 'height'),
}  # fmt: skip
_BARE = ('image', 'x1', 'y1', 'x2', 'y2', 'class')
_WRITTEN = ('filename', 'width', 'height', 'class', 'xmin', 'ymin', 'xmax', 'ymax')


def csv_files(path: Path) -> dict[str, Path]:
    """The ``.csv`` and ``.tsv`` files that a path is or holds, by their names without suffix."""
    if path.is_file():
        return {'': path} if path.suffix.lower() in ('.csv', '.tsv') else {}
    return {file.stem: file for file in sorted([*path.glob('*.csv'), *path.glob('*.tsv')])}


def read_csv_table(path: str | os.PathLike, image_root: str | os.PathLike | None = None) -> CocoFile:
    """A table of boxes as columns. Images are in the order of their first rows, classes are sorted by name.

    Args:
        path: the file. Cells are separated by commas, semicolons or tabs.
        image_root: folder of the images; None looks in the folder of the file and in ``images`` there. An image that is there gives its size;
            otherwise the size stated in the table is taken, or stays unknown (0).

    Raises:
        DataError: a missing file, a column that is missing, or a row with a wrong cell; names line and column.
    """
    file = Path(path)
    header, rows = _rows_of(file)
    column_of = _columns(header, file) if header else {name: i for i, name in enumerate(_BARE)}
    root = inner_folder(file.resolve().parent, 'images', *IMAGE_SUFFIXES) if image_root is None else Path(image_root)
    finder, notes = ImageFolder(root), Counter[str]()
    images: dict[str, ImageBoxes] = {}
    names: dict[str, list[str]] = {}  # class of each box, by image
    for line, cells in rows:
        if len(cells) < len(header or _BARE):
            message = f'must have {len(header or _BARE)} cells, as {"the header has" if header else ", ".join(_BARE)}'
            raise DataError(message, file=file, record=f'line {line}', received=cells)
        row = {name: cells[column].strip() for name, column in column_of.items()}
        key = row['image']
        if not key:
            raise DataError('must name the image', file=file, record=f'line {line}', field='image', received=cells)
        if key not in images:
            images[key], names[key] = _image(key, row, root, finder, notes, file, line), []
        box = _box(row, file, line)
        if box is not None:
            if not row['class']:
                raise DataError(
                    'must name the class of the box', file=file, record=f'line {line}', field='class', received=cells
                )
            images[key].boxes.append(box)
            names[key].append(row['class'])
    classes = sorted({name for own in names.values() for name in own})
    for key, image in images.items():
        image.labels = [classes.index(name) for name in names[key]]
    boxes = np.array([box for image in images.values() for box in image.boxes]).reshape(-1, 4)
    if len(boxes) and (boxes[:, :2] + boxes[:, 2:]).max() <= 1:
        message = 'all corners lie in 0..1: shares of the image are no pixels; multiply them by its width and height'
        raise DataError(message, file=file, field='x1,y1,x2,y2', received=boxes[0].tolist())
    return make_table(list(images.values()), classes, source=path, kind='csv', image_root=root, notes=notes)


def _rows_of(file: Path) -> tuple[list[str] | None, list[tuple[int, list[str]]]]:
    """The header in lower case, None where there is none, and the rows with their line numbers; blank lines are passed over."""
    lines = read_lines(file)
    first = next((line for line in lines if line.strip()), '')
    delimiter = max(',;\t', key=first.count)
    reader = csv.reader(io.StringIO('\n'.join(lines)), delimiter=delimiter)
    try:
        rows = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise DataError(f'broken table: {error}', file=file, record=f'line {reader.line_num}') from error
    if not rows:
        raise DataError('the table is empty', file=file)
    start = rows[0][1]
    bare = len(start) == len(_BARE) and all(finite_number(cell) is not None or not cell.strip() for cell in start[1:5])
    return (None, rows) if bare else ([cell.strip().lower() for cell in start], rows[1:])


def _columns(header: Sequence[str], file: Path) -> dict[str, int]:
    """Position of each column that the table has."""
    corners = any(name in header for name in COLUMNS['x2'])
    wanted = [name for name in COLUMNS if name not in (('w', 'h') if corners else ('x2', 'y2'))]
    found: dict[str, int] = {}
    for name in wanted:
        for word in COLUMNS[name]:
            if word in header and header.index(word) not in found.values():
                found[name] = header.index(word)
                break
    needed = ('image', 'class', 'x1', 'y1', *(('x2', 'y2') if corners else ('w', 'h')))
    if missing := [name for name in needed if name not in found]:
        known = '; '.join(f'{name}: {" or ".join(COLUMNS[name])}' for name in missing)
        raise DataError(f'the header lacks columns ({known})', file=file, record='line 1', received=list(header))
    return found


def _image(
    key: str, row: dict[str, str], root: Path, finder: ImageFolder, notes: Counter, file: Path, line: int
) -> ImageBoxes:
    stated = []
    for name in ('image_width', 'image_height'):
        value = finite_number(row.get(name) or '0')
        if value is None or value % 1 or not 0 <= value < 1e9:
            message = 'must be a whole number of pixels'
            raise DataError(message, file=file, record=f'line {line}', field=name, received=row[name])
        stated.append(int(value))
    found = finder.find(key)
    notes['images that are not there'] += found is None
    stated_wh = (stated[0], stated[1])
    return ImageBoxes(found or key, size_of(root / (found or key), stated_wh, notes), stated_wh=stated_wh)


def _box(row: dict[str, str], file: Path, line: int) -> list[float] | None:
    """Left, top, width, height; None for an image without boxes."""
    ends = ('x2', 'y2') if 'x2' in row else ('w', 'h')
    texts = [row[name] for name in ('x1', 'y1', *ends)]
    if not any(texts):
        return None
    numbers = [value for text in texts if (value := finite_number(text)) is not None]
    if len(numbers) != 4:
        message = f'must be four finite numbers x1, y1, {", ".join(ends)}, or all empty for an image without boxes'
        raise DataError(message, file=file, record=f'line {line}', received=texts)
    x, y, right, bottom = numbers
    size = [right - x, bottom - y] if 'x2' in row else [right, bottom]
    return settled(np.array([x, y, *size])).tolist()


def write_csv(path: str | os.PathLike, table: CocoFile) -> Counter:
    """Write a table with the columns ``filename,width,height,class,xmin,ymin,xmax,ymax``; cells that are not known are empty.

    Returns:
        Boxes that were left out, by reason: the table knows neither crowds nor ignored boxes.

    Raises:
        DataError: an image without a name, or the file cannot be written.
    """
    notes: Counter = Counter()
    rows: list[list[list]] = [[] for _ in table.image_ids]
    columns = (
        table.image,
        table.category,
        settled(table.bbox[:, :2] + table.bbox[:, 2:]),
        table.bbox,
        table.crowd,
        table.ignore,
    )
    for image, label, (right, bottom), (x, y, _, _), crowd, ignore in zip(*(column.tolist() for column in columns)):
        if crowd or ignore:
            notes['crowds and ignored boxes (left out)'] += 1
        else:
            rows[image].append([table.category_names[label], *map(plain_number, (x, y, right, bottom))])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(_WRITTEN)
    for name, (width, height), own in zip(table.require_file_names(), table.sizes_wh.tolist(), rows):
        writer.writerows([name, width or '', height or '', *cells] for cells in own or [[''] * 5])
    write_text(Path(path), text.getvalue())
    return notes
