"""Images without annotations as a COCO JSON file."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...errors import ConfigError, DataError
from ...formats.annotation_table import ImageBoxes, make_table
from ...formats.class_names import COCO_CLASSES, VOC_CLASSES
from ...formats.coco import coco_json
from ...formats.image_files import images_below
from ...formats.images import IMAGE_SUFFIXES, BrokenImageError, image_size
from ...formats.text_file import read_lines
from ...formats.visdrone import VISDRONE_CLASSES
from ...utils.files import write_json
from ...utils.outputs import refuse_closed_folder
from ...utils.progress import progress

_LISTS = {'coco': COCO_CLASSES, 'voc': VOC_CLASSES, 'visdrone': VISDRONE_CLASSES}


@dataclass
class ImagesReport:
    """What was written: the file, images in it, its classes, images left out by suffix and because they are broken."""

    path: Path
    images: int
    classes: tuple[str, ...]
    excluded: int
    broken: list[str]

    def __str__(self) -> str:
        lines = [f'{self.images} images without annotations, {len(self.classes)} classes -> {self.path}']
        if self.excluded:
            lines.append(f'  images of an excluded type (left out): {self.excluded}')
        if self.broken:
            lines.append(f'  images that cannot be read (left out): {len(self.broken)}, the first: {self.broken[0]}')
        return '\n'.join(lines)


def named_classes(words: Sequence[str]) -> tuple[str, ...]:
    """Class names out of names, the word coco, voc or visdrone, or a file with one name a line."""
    if len(words) == 1 and words[0] in _LISTS:
        return _LISTS[words[0]]
    if len(words) == 1 and os.path.isfile(words[0]):
        words = [line.strip() for line in read_lines(words[0]) if line.strip()]
    if not all(word.strip() for word in words):
        raise ConfigError('must be names', field='classes', received=list(words))
    if repeated := [name for name, count in Counter(words).items() if count > 1]:
        raise ConfigError('occurs twice', field='classes', received=repeated[0])
    return tuple(words)


def convert_images(
    folder: str | os.PathLike, out_file: Path, classes: Sequence[str] = (), *, exclude: Sequence[str] = ()
) -> ImagesReport:
    """Write the images of a folder and of all folders below it as a COCO file without the key ``annotations``.

    Ids of images and categories count from 0, in the order of paths and names. Images whose header cannot be read are left out.

    Args:
        folder: of the images; names in the file are relative to it.
        out_file: the JSON file; it must not exist.
        classes: names of the categories.
        exclude: suffixes of images to leave out, with or without a dot.

    Raises:
        DataError: no such folder, or no image in it.
        ConfigError: the file exists, or a suffix is none of an image.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError('no such image folder', file=folder)
    if os.path.lexists(out_file):
        raise ConfigError('exists, and nothing is overwritten; choose another name', file=out_file)
    refuse_closed_folder(out_file)
    left_out = {f'.{suffix.lstrip(".").lower()}' for suffix in exclude}
    if strangers := sorted(left_out - set(IMAGE_SUFFIXES)):
        raise ConfigError(f'must be among {", ".join(IMAGE_SUFFIXES)}', field='exclude', received=strangers[0])
    paths = images_below(folder)
    own = [path for path in paths if path.suffix.lower() not in left_out]
    images, broken = [], []
    for path in progress(own, folder.name):
        try:
            images.append(ImageBoxes(path.relative_to(folder).as_posix(), image_size(path)))
        except BrokenImageError:
            broken.append(str(path))
    if not images:
        raise DataError(f'holds no image that can be read ({", ".join(IMAGE_SUFFIXES)})', file=folder)
    table = make_table(images, classes, source=folder, kind='images', image_root=folder, first_id=0)
    write_json(out_file, coco_json(replace(table, annotated=False)))
    return ImagesReport(out_file, len(images), tuple(classes), len(paths) - len(own), broken)
