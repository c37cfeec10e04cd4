"""Files with one JSON object a line, such as training logs."""

import json
from os import PathLike

from ..errors import DataError
from .text_file import read_lines


def read_json_lines(path: str | PathLike) -> list[dict]:
    """The objects of a file, in order. Empty lines are skipped, and so is a last line that is not complete (the run was killed).

    Raises:
        DataError: the file cannot be read, or another line is not a JSON object; the error names its number.
    """
    lines = [(number, line) for number, line in enumerate(read_lines(path), 1) if line.strip()]
    rows = []
    for number, line in lines:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            if number == lines[-1][0]:
                break
            row = None
        if not isinstance(row, dict):
            raise DataError('must be a JSON object', file=path, record=f'line {number}', received=line[:80])
        rows.append(row)
    return rows
