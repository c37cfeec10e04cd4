"""Files with one JSON object a line, such as training logs."""

import json
from pathlib import Path

from ..errors import DataError


def read_json_lines(path: str | Path) -> list[dict]:
    """The objects of a file, in order. Empty lines are passed over, and so is a last line that a kill has torn.

    Raises:
        DataError: the file cannot be read, or another line is not a JSON object; the message has its number.
    """
    try:
        lines = Path(path).read_text(encoding='utf-8-sig').splitlines()
    except OSError as error:
        raise DataError(f'cannot be read ({error.strerror or error})', file=path) from error
    except UnicodeDecodeError as error:
        raise DataError('is not a text file in UTF-8', file=path) from error
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            if number == len(lines):
                break
            row = None
        if not isinstance(row, dict):
            raise DataError('must be a JSON object', file=path, record=f'line {number}', received=line[:80])
        rows.append(row)
    return rows
