"""UAVDT (UAV-benchmark-M) annotations: one text file a sequence."""

import os
from collections import Counter
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import ConfigError, DataError
from .annotation_table import ImageBoxes, make_table, size_of
from .coco import CocoFile
from .text_file import read_number_rows

UAVDT_CLASSES = ('car', 'truck', 'bus')
UAVDT_TEST_SEQUENCES = (
    'M0203', 'M0205', 'M0208', 'M0209', 'M0403', 'M0601', 'M0602', 'M0606', 'M0701', 'M0801',
    'M0802', 'M1001', 'M1004', 'M1007', 'M1009', 'M1101', 'M1301', 'M1302', 'M1303', 'M1401',
)  # fmt: skip
# The size of the public frames; all boxes of the annotations lie inside.
USUAL_SIZE_WH = (1024, 540)

_NAMES = 'frame,target,left,top,width,height,out_of_view,occlusion,category'
_FRAME, _BOX, _CATEGORY, _COLUMNS = 0, slice(2, 6), 8, 9


@dataclass
class UAVDTSequence:
    """Files of one sequence."""

    name: str
    objects: Path
    ignored: Path
    frame_dir: Path  # folder of the frames; it may be missing
    prefix: str  # path of the frames in the JSON file, without ``/img000001.jpg``

    @property
    def split(self) -> str:
        """'test' for the twenty test sequences, otherwise 'train'."""
        return 'test' if self.name in UAVDT_TEST_SEQUENCES else 'train'


class UAVDTRows(NamedTuple):
    """Rows of a file, in its order.

    Attributes:
        frame: (n,) int64, number of the frame, from 1.
        bbox: (n, 4) float64, left, top, width, height in pixels.
        category: (n,) int64: 1 car, 2 truck, 3 bus; -1 in files of ignored areas.
    """

    frame: np.ndarray
    bbox: np.ndarray
    category: np.ndarray


def read_uavdt_rows(path: str | PathLike, *, labelled: bool) -> UAVDTRows:
    """Rows of ``gt_whole.txt`` (``labelled``) or of ``gt_ignore.txt``, whose category column has no meaning.

    Raises:
        DataError: the file cannot be read, a row is not nine finite numbers, or a frame or category is out of range; names the line.
    """
    rows = read_number_rows(path, _COLUMNS, _COLUMNS, _NAMES)
    frame, category = rows.values[:, _FRAME], rows.values[:, _CATEGORY]
    rows.refuse((frame < 1) | (frame % 1 != 0) | (frame >= 1e9), 'frame', _FRAME, 'a whole number from 1')
    if labelled:
        hint = '1 car, 2 truck or 3 bus (is this the tracking file _gt.txt, not _gt_whole.txt?)'
        rows.refuse(~np.isin(category, (1, 2, 3)), 'category', _CATEGORY, hint)
    else:
        category = np.full(len(category), -1)
    return UAVDTRows(frame.astype(np.int64), rows.values[:, _BOX], category.astype(np.int64))


def find_sequences(
    root: str | os.PathLike, image_dir: str | os.PathLike | None = None
) -> tuple[list[UAVDTSequence], Path]:
    """The sequences of a folder by name, and the folder that the paths of their frames are relative to.

    * MOT layout: ``<seq>/gt/gt_whole.txt``, ``<seq>/gt/gt_ignore.txt``, ``<seq>/img1/img000001.jpg``;
    * public release: ``<seq>_gt_whole.txt`` and ``<seq>_gt_ignore.txt`` in the folder, in ``GT`` or in
      ``UAV-benchmark-MOTD_v1.0/GT``; frames in ``UAV-benchmark-M/<seq>/img000001.jpg`` inside or beside it.

    Raises:
        DataError: neither layout is found, or a sequence lacks its file of ignored areas.
    """
    root = Path(root)
    found = sorted(root.glob('*/gt/gt_whole.txt'))
    nested = bool(found)
    for folder in (root, root / 'GT', root / 'UAV-benchmark-MOTD_v1.0' / 'GT'):
        found = found or sorted(folder.glob('*_gt_whole.txt'))
    if not found:
        raise DataError('holds neither <seq>/gt/gt_whole.txt nor [GT/]<seq>_gt_whole.txt of any sequence', file=root)
    names = [path.parent.parent.name if nested else path.name.removesuffix('_gt_whole.txt') for path in found]
    if image_dir is None:
        places = [root / 'UAV-benchmark-M', root.resolve().parent / 'UAV-benchmark-M', root]
        image_dir = root if nested else next((place for place in places if (place / names[0]).is_dir()), places[0])
    sequences = []
    for name, path in zip(names, found):
        ignored = path.with_name(path.name.replace('gt_whole.txt', 'gt_ignore.txt'))
        if not ignored.is_file():
            raise DataError('the file of ignored areas is missing (it may be empty)', file=ignored, record=name)
        prefix = f'{name}/img1' if nested else name
        sequences.append(UAVDTSequence(name, path, ignored, Path(image_dir, prefix), prefix))
    return sequences, Path(image_dir)


def is_uavdt(path: Path) -> bool:
    """Whether a folder has one of the layouts of :func:`find_sequences`."""
    places = (path.glob('*/gt/gt_whole.txt'), path.glob('*_gt_whole.txt'), path.glob('GT/*_gt_whole.txt'))
    deeper = path.glob('UAV-benchmark-MOTD_v1.0/GT/*_gt_whole.txt')
    return path.is_dir() and any(next(place, None) for place in (*places, deeper))


def uavdt_splits(path: Path) -> list[str]:
    """'train' and 'test', as far as there are sequences of them."""
    present = {sequence.split for sequence in find_sequences(path)[0]}
    return [split for split in ('train', 'test') if split in present]


def read_uavdt_table(
    path: str | PathLike, image_root: str | PathLike | None = None, split: str | None = None
) -> CocoFile:
    """The sequences of a folder as columns, as ``UAVDT2COCO.py`` writes them.

    Frames with an object become images; ids count from 0. Ignored areas on these frames are crowds of the first class with ``ignore`` set.

    Args:
        path: the folder, see :func:`find_sequences`.
        image_root: folder of the frame folders; None is their usual place. A sequence without frames has the size of the public ones.
        split: 'train' or 'test'; None reads both.

    Raises:
        DataError: a missing or broken file, with its line.
        ConfigError: no such split.
    """
    sequences, root = find_sequences(path, image_root)
    members = [sequence for sequence in sequences if split in (None, sequence.split)]
    if not members:
        present = uavdt_splits(Path(path))
        raise ConfigError(f'must be one of {", ".join(present)}', file=path, field='split', received=split)
    notes: Counter = Counter()
    images = []
    for sequence in members:
        objects = read_uavdt_rows(sequence.objects, labelled=True)
        areas = read_uavdt_rows(sequence.ignored, labelled=False)
        frames = np.unique(objects.frame)
        notes['ignored areas on frames without an object (left out)'] += int((~np.isin(areas.frame, frames)).sum())
        own_rows, area_rows = _rows_by_frame(objects.frame, frames), _rows_by_frame(areas.frame, frames)
        for frame, own, ignored in zip(frames.tolist(), own_rows, area_rows):
            boxes = np.concatenate([objects.bbox[own], areas.bbox[ignored]]).tolist()
            flags = [False] * len(own) + [True] * len(ignored)
            labels = (objects.category[own] - 1).tolist() + [0] * len(ignored)
            name = f'{sequence.prefix}/img{frame:06d}.jpg'
            notes['frames that are not there'] += not os.path.isfile(root / name)
            size_wh = size_of(root / name, notes=notes)
            size_wh = size_wh if all(size_wh) else USUAL_SIZE_WH
            images.append(ImageBoxes(name, size_wh, labels, boxes, crowd=flags, ignore=flags))
    notes['ignored areas (crowds)'] = sum(sum(image.ignore) for image in images)
    return make_table(images, UAVDT_CLASSES, source=path, kind='uavdt', image_root=root, first_id=0, notes=notes)


def _rows_by_frame(frame: np.ndarray, frames: np.ndarray) -> list[np.ndarray]:
    """Positions of the rows of each of some frames, in the order of the file."""
    order = np.argsort(frame, kind='stable')
    starts, ends = (np.searchsorted(frame[order], frames, side=side) for side in ('left', 'right'))
    return [order[start:end] for start, end in zip(starts.tolist(), ends.tolist())]
