"""JSON files."""

import json
import re
from typing import Any

from mmengine import fileio
from mmengine.fileio import get_local_path

from mmdet.errors import DataError

# A polygon list: numbers, commas, blanks and brackets up to the last closing bracket before the next key or brace. (Inside a string the
# quotes would be escaped, so a caption cannot look like this.)
_POLYGONS = re.compile(rb'("segmentation"\s*:\s*)\[[0-9.,eE+\-\[\]\s]*\]')


def read_json(path: str, backend_args: dict | None = None, drop_polygons: bool = False) -> dict:
    """A JSON document whose top level is an object.

    Args:
        path: the file.
        backend_args: arguments of an mmengine file backend.
        drop_polygons: empty the polygon lists of COCO's ``segmentation`` before parsing. They are three quarters of an instances file, and
            most of the time and memory of reading it.

    Raises:
        DataError: missing or unreadable file, broken JSON (with line and column), another top level.
    """
    try:
        text = fileio.get(str(path), backend_args=backend_args)
        try:
            document = json.loads(_POLYGONS.sub(rb'\1[]', text) if drop_polygons else text)
        except json.JSONDecodeError:
            document = json.loads(text)  # for the right line and column
    except FileNotFoundError as error:
        raise DataError('no such annotation file; check data_root and ann_file', file=path) from error
    except OSError as error:
        raise DataError(f'the annotation file cannot be read ({error.strerror or error})', file=path) from error
    except json.JSONDecodeError as error:
        raise DataError(
            f'broken JSON: {error.msg}', file=path, record=f'line {error.lineno} column {error.colno}'
        ) from error
    except UnicodeDecodeError as error:
        raise DataError('not a JSON text file (no UTF-8)', file=path) from error
    if not isinstance(document, dict):
        raise DataError('the top level must be a JSON object', file=path, received=type(document).__name__)
    return document


def _read_json(path: str, backend_args: dict | None) -> Any:
    try:
        with (
            get_local_path(str(path), backend_args=backend_args) as local_path,
            open(local_path, encoding='utf-8') as file,
        ):
            return json.load(file)
    except OSError as error:
        raise DataError(f'cannot be read ({error.strerror or error})', file=path) from error
    except ValueError as error:  # both UnicodeDecodeError and JSONDecodeError
        raise DataError(f'is no valid JSON ({error})', file=path) from error
