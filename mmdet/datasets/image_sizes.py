"""Sizes that an annotation file states, compared with those of the image files, of which only the headers are read."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import ConfigError
from ..formats.images import BrokenImageError, image_size
from ..utils.checks import is_int
from ..utils.progress import progress

# More threads than cores: on a network file system the time goes into waiting. (docs/data_pipeline.md has the measurements.)
_THREADS = 8
DEFAULT_SAMPLE = 1000


@dataclass
class SizeCheck:
    """What the headers of some images of a data set said.

    Attributes:
        sizes_wh: (N, 2) int64, those of the pixels where they were read, the stated ones elsewhere.
        read: how many headers were read.
        differing: rows of the images whose pixels have another size than the file states.
        exchanged: how many of these have width and height exchanged.
        unreadable: rows of the images whose file is missing or has no header.
        first: the first differing image in words.
        first_unreadable: path of the first unreadable one.
    """

    sizes_wh: np.ndarray
    read: int = 0
    differing: list[int] = field(default_factory=list)
    exchanged: int = 0
    unreadable: list[int] = field(default_factory=list)
    first: str = ''
    first_unreadable: str = ''

    @property
    def warnings(self) -> list[str]:
        """The sentences about images of another size, and about files that cannot be read."""
        texts = []
        if self.differing:
            texts.append(
                f'{len(self.differing)} of {self.read} images looked at have another size than the annotations say '
                f'({self.exchanged} with width and height exchanged, as in photos turned by EXIF), the first: {self.first}. The boxes are taken '
                'as coordinates in the pixels. If they were drawn in images of the stated size, scale or turn them '
                "(check_sizes='all' looks at every image)"
            )
        if self.unreadable:
            looked_at = self.read + len(self.unreadable)
            texts.append(
                f'{len(self.unreadable)} of {looked_at} image files looked at are missing or have no header, '
                f'the first: {self.first_unreadable}'
            )
        return texts


def check_choice_of_sizes(value: Any) -> int | None:
    """``check_sizes`` of a config as a number of images, None for all; ConfigError for anything else."""
    if value == 'all':
        return None
    if not is_int(value, 0):
        raise ConfigError("must be a number of images >= 0, or 'all'", field='check_sizes', received=value)
    return value


def compare_sizes(
    paths: Sequence[str],
    stated_wh: np.ndarray,
    suspects: np.ndarray,
    sample: int | None,
    read: Callable[[str], tuple[int, int]] = image_size,
) -> SizeCheck:
    """Read the headers of a sample of the images and of all suspects.

    Args:
        paths: N image files.
        stated_wh: (N, 2) int64 widths and heights as annotated.
        suspects: rows of images where a box would be left out because of the stated size.
        sample: how many images, at even distances over the data set, are looked at in any case; None means all.
        read: gives the size of an image file.
    """
    count = len(paths) if sample is None else min(sample, len(paths))
    rows = np.union1d(np.linspace(0, len(paths) - 1, count).astype(np.int64), suspects).tolist()

    def size_of(row: int) -> tuple[int, int] | None:
        try:
            return read(paths[row])
        except BrokenImageError:
            return None

    check = SizeCheck(stated_wh.copy())
    if not rows:
        return check
    with ThreadPoolExecutor(min(_THREADS, len(rows))) as pool:
        found = pool.map(size_of, rows)
        label = f'sizes in {os.path.dirname(paths[0])}'
        for row, size in zip(rows, progress(found, label, total=len(rows)) if len(rows) > DEFAULT_SAMPLE else found):
            if size is None:
                check.first_unreadable = check.first_unreadable or str(paths[row])
                check.unreadable.append(row)
                continue
            check.read += 1
            width, height = stated_wh[row].tolist()
            if size != (width, height):
                if not check.differing:
                    check.first = f'{paths[row]} is {size[0]} x {size[1]}, stated {width} x {height}'
                check.differing.append(row)
                check.exchanged += size == (height, width)
                check.sizes_wh[row] = size
    return check
