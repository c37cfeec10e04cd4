"""Files with one JSON object a line: training logs."""

import json
import math
from os import PathLike

from ..errors import DataError
from ..utils.checks import is_number
from .text_file import read_lines

_COUNTERS = ('step', 'epoch', 'iter')
_LARGEST_COUNTER = 2**53  # beyond it floats skip whole numbers
_LARGEST_VALUE = 1e300  # float32 ends at 1e38; sums of smaller values stay finite


def read_json_lines(path: str | PathLike) -> list[dict]:
    """The objects of a file, in order. Empty lines are skipped, and so is a last line that is not complete (the run was killed).

    Raises:
        DataError: the file cannot be read, another line is not a JSON object, ``step``, ``epoch`` or ``iter`` is no finite number below 2**53, or
            another number is 1e300 or more (NaN and infinity are allowed); the message has the number of the line.
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
        for key, value in row.items():
            if key in _COUNTERS:
                allowed = is_number(value) and abs(value) < _LARGEST_COUNTER
            else:
                allowed = not is_number(value) or not _LARGEST_VALUE <= abs(value) < math.inf
            if not allowed:
                message = f'must be a finite number below {"2**53" if key in _COUNTERS else "1e300"}'
                raise DataError(message, file=path, record=f'line {number}', field=key, received=str(value)[:80])
        rows.append(row)
    return rows
