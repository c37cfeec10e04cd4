"""Files that are written whole or not at all: to a temporary name, synced, and then put in place.

A full disk or a kill leaves the old file as it was.
"""

import contextlib
import json
import os
import pickle
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import DataError


def write_atomically(path: str | Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file whole or not at all: temporary name in the same folder, sync, replace.

    Args:
        path: file to write; its folder is made where it is missing.
        write: called with the open binary file.

    Raises:
        DataError: the file cannot be written (full disk, no permission); an older file of that name is left as it was.
    """
    path = Path(path)
    temporary = path.with_name(f'.{path.name}.{uuid.uuid4().hex}.tmp')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open('xb') as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f'could not be written ({reason}); an older file is left as it was', file=path) from error
    finally:
        with contextlib.suppress(OSError):  # gone once it is in place; nothing more to do where it cannot be removed
            temporary.unlink()


def write_json(path: str | Path, content: Any) -> None:
    """Write JSON by :func:`write_atomically`; NumPy numbers become plain ones.

    Raises:
        DataError: NaN, infinity, or an object that JSON does not know; see :func:`write_atomically`.
    """

    def plain(value):
        if isinstance(value, np.generic):
            return value.item()
        raise TypeError(f'{type(value).__name__} is not JSON')

    try:
        text = json.dumps(content, default=plain, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataError(f'cannot be written as JSON ({error})', file=path) from error
    write_atomically(path, lambda file: file.write(text.encode()))


def write_pickle(path: str | Path, content: Any) -> None:
    """Write a pickle by :func:`write_atomically`."""
    write_atomically(path, lambda file: pickle.dump(content, file))


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text by :func:`write_atomically`."""
    write_atomically(path, lambda file: file.write(text.encode()))
