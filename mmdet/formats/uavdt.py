"""UAVDT (UAV-benchmark-M) annotations: one text file a sequence."""

from os import PathLike
from typing import NamedTuple

import numpy as np

from .text_file import read_number_rows

_NAMES = 'frame,target,left,top,width,height,out_of_view,occlusion,category'
_FRAME, _BOX, _CATEGORY, _COLUMNS = 0, slice(2, 6), 8, 9


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
