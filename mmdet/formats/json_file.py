"""JSON files, read into plain Python objects."""

import gc
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from typing import Any

from ..errors import DataError
from ..utils.reading import read_file

# A polygon list: numbers, commas, blanks and brackets, up to the last closing bracket before the next key or brace. (Inside a string the
# quotes would be escaped, so a caption cannot look like this.)
_POLYGONS = re.compile(rb'("segmentation"\s*:\s*)\[[0-9.,eE+\-\[\]\s]*\]')


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Parsing makes millions of live objects, and the cyclic collector would visit all of them again and again (COCO: +60 % time)."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def read_json(path: str | PathLike, backend_args: dict | None = None, *, top: type = dict) -> Any:
    """The document of a JSON file, see :func:`parse_json`; ``backend_args`` are the arguments of an mmengine file backend.

    Raises:
        DataError: as :func:`parse_json`; also a file that is missing or cannot be read.
        ConfigError: see :func:`~mmdet.utils.reading.read_file`.
    """
    return parse_json(read_bytes(path, backend_args), path, top=top)


def read_bytes(path: str | PathLike, backend_args: dict | None = None) -> bytes:
    """The content of an annotation file, by :func:`~mmdet.utils.reading.read_file` with its errors."""
    return read_file(path, backend_args, missing='no such file; in a config, check data_root and ann_file')


def has_keys(data: bytes, *keys: str) -> bool:
    """Whether the bytes of a JSON file begin with an object and hold these keys somewhere, found without parsing."""
    data = data.removeprefix(b'\xef\xbb\xbf')
    if data[:2] in (b'\xff\xfe', b'\xfe\xff') or b'\0' in data[:4]:  # UTF-16 or UTF-32
        data = data.replace(b'\0', b'').lstrip(b'\xff\xfe')
    return data[:64].lstrip()[:1] == b'{' and all(f'"{key}"'.encode() in data for key in keys)


def parse_json(data: bytes, path: str | PathLike, *, drop_polygons: bool = False, top: type = dict) -> Any:
    """The document in the bytes of a JSON file, in UTF-8, UTF-16 or UTF-32, with or without a byte order mark.

    Args:
        data: content of the file.
        path: its name, for messages.
        drop_polygons: empty the polygon lists of COCO's ``segmentation`` before parsing. They are three quarters of an instances file, and
            take most of the time and memory of reading it.
        top: type of the top level, ``dict`` or ``list``.

    Raises:
        DataError: broken JSON (with line and column), or another top level.
    """
    try:
        try:
            document = json.loads(_POLYGONS.sub(rb'\1[]', data) if drop_polygons else data)
        except json.JSONDecodeError:
            document = json.loads(data)  # for the right line and column
    except json.JSONDecodeError as error:
        record = f'line {error.lineno} column {error.colno}'
        raise DataError(f'broken JSON: {error.msg}', file=path, record=record) from error
    except UnicodeDecodeError as error:
        raise DataError('broken JSON: not a text file in UTF-8', file=path) from error
    except RecursionError as error:
        raise DataError('broken JSON: lists or objects are nested too deeply', file=path) from error
    except ValueError as error:  # a whole number of more digits than Python converts
        raise DataError(f'broken JSON: {error}', file=path) from error
    if not isinstance(document, top):
        kind = 'object' if top is dict else 'list'
        raise DataError(f'the top level must be a JSON {kind}', file=path, received=type(document).__name__)
    return document
