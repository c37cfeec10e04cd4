"""Saved predictions: COCO results, and pickles that may hold nothing but data."""

import io
import pickle
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import torch

from ..errors import DataError
from .json_file import read_json


def read_results(path: str | PathLike) -> list:
    """Read a dump of predictions: ``.json`` COCO results, or ``.pkl`` / ``.pickle`` with a list of dicts of tensors and
    plain values.

    A pickle may only hold containers, numbers, text, NumPy arrays and torch tensors; anything else in it is not
    executed, but refused.

    Raises:
        DataError: the file is missing, broken, or holds other objects.
    """
    path = Path(path)
    if path.suffix == '.json':
        return read_json(path, top=list)
    if path.suffix not in ('.pkl', '.pickle'):
        raise DataError('predictions must be a .json, .pkl or .pickle file', file=path)
    try:
        with path.open('rb') as file:
            content = _DataUnpickler(file, path).load()
    except FileNotFoundError:
        raise DataError('no such file', file=path) from None
    except DataError:
        raise
    except Exception as error:  # a torn pickle raises nearly anything
        raise DataError(f'broken pickle ({type(error).__name__}: {error})', file=path) from error
    if not isinstance(content, list):
        raise DataError('must hold a list with one dict for each image', file=path, received=type(content).__name__)
    return content


class _DataUnpickler(pickle.Unpickler):
    """Reads tensors, arrays and plain containers; nothing in the file can run code."""

    _ALLOWED = {
        ('collections', 'OrderedDict'),
        ('torch._utils', '_rebuild_tensor_v2'),
        ('numpy', 'dtype'),
        ('numpy', 'ndarray'),
        *((f'numpy.{core}.multiarray', name) for core in ('core', '_core') for name in ('_reconstruct', 'scalar')),
        *((f'numpy.{core}.numeric', '_frombuffer') for core in ('core', '_core')),
    }

    def __init__(self, file: BinaryIO, path: Path):
        super().__init__(file)
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ('torch.storage', '_load_from_bytes'):
            return _load_storage
        if (module, name) not in self._ALLOWED:
            message = 'the pickle holds an object that is neither plain data, array nor tensor'
            raise DataError(message, file=self._path, received=f'{module}.{name}')
        return super().find_class(module, name)


def _load_storage(content: bytes) -> Any:
    """Takes the place of torch's own ``_load_from_bytes``, which would unpickle anything."""
    return torch.load(io.BytesIO(content), map_location='cpu', weights_only=True)
