"""Dumps of predictions: COCO results, and pickles that can hold nothing but data."""

from os import PathLike
from pathlib import Path

from ..errors import DataError
from ..utils.reading import read_file
from .json_file import read_json
from .pickle_file import parse_pickle


def read_results(path: str | PathLike) -> list:
    """Read a dump of predictions: ``.json`` COCO results, or ``.pkl`` / ``.pickle`` with a list of dicts of tensors and
    plain values.

    A pickle may only hold lists, tuples, dicts, numbers, text, NumPy arrays and torch tensors; anything else is refused
    unexecuted, see :mod:`~mmdet.formats.pickle_file`.

    Raises:
        DataError: the file is missing, broken, or holds other objects.
    """
    path = Path(path)
    if path.suffix == '.json':
        return read_json(path, top=list)
    if path.suffix not in ('.pkl', '.pickle'):
        raise DataError('predictions must be a .json, .pkl or .pickle file', file=path)
    content = parse_pickle(read_file(path), path)
    if not isinstance(content, list):
        raise DataError('must hold a list with one dict an image', file=path, received=type(content).__name__)
    return content
