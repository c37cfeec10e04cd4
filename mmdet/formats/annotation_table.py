"""What the readers of formats without ids share: columns of boxes out of the rows of each image, with ids given in the order of the images.

Letters: n boxes, I images, C classes.
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import ConfigError, DataError
from .coco import CocoFile, ImageId, Rectangles
from .images import BrokenImageError, image_size

_DECIMALS = 9


@dataclass
class ImageBoxes:
    """The boxes of one image, as a reader collects them.

    Attributes:
        file_name: of the image, relative to the image folder.
        size_wh: width and height in pixels; (0, 0) where they are not known.
        stated_wh: those that the file states; (0, 0) where it does not.
        labels: class of each box, from 0.
        boxes: (m, 4) left, top, width, height in pixels.
        crowd, ignore: of each box; empty where no box is one.
        visibility: truncation and occlusion of each box, -1 where not known; empty where nothing is known.
        ignored_regions, others: left, top, width, height of VisDrone's areas and objects without a class.
    """

    file_name: str
    size_wh: tuple[int, int]
    labels: list[int] = field(default_factory=list)
    boxes: list[Sequence[float]] = field(default_factory=list)
    crowd: list[bool] = field(default_factory=list)
    ignore: list[bool] = field(default_factory=list)
    visibility: list[Sequence[int]] = field(default_factory=list)
    ignored_regions: list[Sequence[float]] = field(default_factory=list)
    others: list[Sequence[float]] = field(default_factory=list)
    stated_wh: tuple[int, int] = (0, 0)


def make_table(
    images: Sequence[ImageBoxes],
    classes: Sequence[str],
    *,
    source: str | os.PathLike,
    kind: str,
    image_root: str | os.PathLike = '',
    first_id: int = 1,
    notes: Mapping[str, int] | None = None,
) -> CocoFile:
    """The columns of some images.

    Args:
        images: in their order; annotations keep the order of images and boxes.
        classes: C names, by label.
        source: file or folder that was read.
        kind: its format.
        image_root: folder of the images; '' where it is not known.
        first_id: id of the first image and of the first category.
        notes: see :class:`~mmdet.formats.coco.CocoFile`; reasons with a count of 0 are left out.
    """
    category_ids: list[ImageId] = list(range(first_id, first_id + len(classes)))
    image_ids: list[ImageId] = list(range(first_id, first_id + len(images)))
    bbox = _stacked([image.boxes for image in images])
    visibility = [row for image in images for row in image.visibility or [(-1, -1)] * len(image.boxes)]
    return CocoFile(
        source=str(source),
        image_ids=image_ids,
        file_names=[image.file_name for image in images],
        sizes_wh=np.array([image.size_wh for image in images], dtype=np.int64).reshape(-1, 2),
        categories=[dict(id=number, name=name, supercategory='none') for number, name in zip(category_ids, classes)],
        category_ids=category_ids,
        category_names=list(classes),
        annotated=True,
        image=np.repeat(np.arange(len(images)), [len(image.boxes) for image in images]),
        category=np.array([label for image in images for label in image.labels], dtype=np.int64),
        bbox=bbox,
        area=bbox[:, 2] * bbox[:, 3],
        crowd=_flags(images, 'crowd'),
        ignore=_flags(images, 'ignore'),
        ignored_regions=_rectangles([image.ignored_regions for image in images]),
        others=_rectangles([image.others for image in images]),
        rotation=np.zeros(len(bbox)),
        visibility=np.array(visibility, dtype=np.int64).reshape(-1, 2),
        kind=kind,
        image_root=str(image_root),
        notes={reason: count for reason, count in (notes or {}).items() if count},
        stated_wh=np.array([image.stated_wh for image in images], dtype=np.int64).reshape(-1, 2),
    )


def _stacked(groups: Sequence[Sequence[Sequence[float]]]) -> np.ndarray:
    return np.array([row for rows in groups for row in rows], dtype=np.float64).reshape(-1, 4)


def _flags(images: Sequence[ImageBoxes], name: str) -> np.ndarray:
    columns = [getattr(image, name) or [False] * len(image.boxes) for image in images]
    return np.array([flag for column in columns for flag in column], dtype=bool)


def _rectangles(groups: Sequence[Sequence[Sequence[float]]]) -> Rectangles:
    return Rectangles(np.repeat(np.arange(len(groups)), [len(rows) for rows in groups]), _stacked(groups))


def settled(values: np.ndarray) -> np.ndarray:
    """Pixels rounded to nine decimals.

    Formats that hold centres, edges or shares of the image make a computation necessary, which changes the last bits of a number. Rounded, a box
    comes back bit by bit as it was written if its numbers have at most nine decimals, otherwise within 1e-9 pixel.

    >>> float(0.1 + 1 - 1), float(settled(np.array(0.1 + 1 - 1)))
    (0.10000000000000009, 0.1)
    """
    return np.round(values, _DECIMALS) + 0.0  # no -0.0


def size_of(path: str | os.PathLike, stated: tuple[int, int] = (0, 0), notes: Counter | None = None) -> tuple[int, int]:
    """(width, height) of an image that lies there and has a header, else the stated one.

    ``notes`` counts the images without a header and those of another size than stated.
    """
    if not os.path.isfile(path):
        return stated
    try:
        found = image_size(path)
    except BrokenImageError:
        if notes is not None:
            known = 'the stated size counts' if min(stated) > 0 else 'their size is not known'
            notes[f'images that cannot be read ({known})'] += 1
        return stated
    if notes is not None and min(stated) > 0 and stated != found:
        notes['images whose size differs from the stated one (the size of the image counts)'] += 1
    return found


def inner_folder(folder: Path, name: str, *suffixes: str) -> Path:
    """The sub-folder ``name`` if there is one and the folder itself holds no file with one of the suffixes."""
    if not (folder / name).is_dir() or any(entry.suffix.lower() in suffixes for entry in folder.iterdir()):
        return folder
    return folder / name


def refuse_split(split: str | None, kind: str, path: str | os.PathLike) -> None:
    """ConfigError where a split is asked for that the format does not have."""
    if split is not None:
        message = f'the format {kind!r} has no splits in one place; give the folder or file of the split itself'
        raise ConfigError(message, file=path, field='split', received=split)


def require_sizes(table: CocoFile) -> None:
    """DataError for the first image whose size is not known."""
    unknown = np.flatnonzero((table.sizes_wh == 0).any(axis=1))
    if len(unknown):
        message = (
            'its width and height are needed, and neither the annotations nor a readable image says them: '
            'give the folder of the images (image_root, --images)'
        )
        raise DataError(
            message, file=table.source, record=f'image {table.file_names[unknown[0]] or table.image_ids[unknown[0]]}'
        )


def plain_number(value: float) -> int | float:
    """A number that is printed without ``.0`` where it is whole."""
    return int(value) if value.is_integer() and abs(value) < 1e15 else value
