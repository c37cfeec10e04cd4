"""Text files: lines, and rows of numbers separated by commas or blanks (VisDrone, UAVDT)."""

import contextlib
import math
from itertools import chain
from os import PathLike
from typing import NamedTuple

import numpy as np

from ..errors import DataError
from ..utils.reading import read_file


def read_lines(path: str | PathLike) -> list[str]:
    """Lines of a UTF-8 text file, with or without a byte order mark, of any line ending; DataError where it cannot be read."""
    return _read_text(path).split('\n')


def _read_text(path: str | PathLike) -> str:
    try:
        return read_file(path).decode('utf-8-sig').replace('\r\n', '\n').replace('\r', '\n')
    except UnicodeDecodeError as error:
        raise DataError(f'cannot be read as text ({error})', file=path) from error


class NumberRows(NamedTuple):
    """Rows of numbers of a text file.

    Attributes:
        values: (n, columns) float64.
        lines: n line numbers of the file, from 1.
        file: the file.
    """

    values: np.ndarray
    lines: list[int]
    file: str | PathLike

    def refuse(self, wrong: np.ndarray, field: str, column: int, allowed: str) -> None:
        """DataError for the first row of a mask (n,), naming its line, the field, and the value in the column."""
        if wrong.any():
            row = int(wrong.argmax())
            record, received = f'line {self.lines[row]}', float(self.values[row, column])
            raise DataError(f'must be {allowed}', file=self.file, record=record, field=field, received=received)


def read_number_rows(path: str | PathLike, least: int, most: int, columns: str) -> NumberRows:
    """Rows of ``least`` to ``most`` finite numbers. Blank lines are skipped; a number that a row lacks at its end becomes -1.

    The numbers are separated either by commas (blanks around them are allowed) or by blanks or tabs; a comma may end the row.

    Args:
        path: the file.
        least, most: how many numbers a row may have.
        columns: their names, for messages.

    Raises:
        DataError: the file cannot be read, or a row is of another kind; the error names its line.
    """
    text = _read_text(path)
    lines = [line.strip().removesuffix(',') for line in text.split('\n')]
    rows = [line.split(',') if ',' in line else line.split() for line in lines]
    numbers = [number for number, row in enumerate(rows, 1) if row]
    own = [row for row in rows if row]
    counts = set(map(len, own))
    plain = _is_plain(text) or all(_is_row(row, least, most) for row in own)
    if plain and (not counts or least <= min(counts) <= max(counts) <= most):
        if counts != {most}:
            own = [row + ['-1'] * (most - len(row)) for row in own]
        with contextlib.suppress(ValueError):
            values = np.fromiter(map(float, chain.from_iterable(own)), np.float64, most * len(own)).reshape(-1, most)
            if np.isfinite(values).all():
                return NumberRows(values, numbers, path)
    wrong = next(number for number in numbers if not _is_row(rows[number - 1], least, most))
    count = str(most) if least == most else f'{least} to {most}'
    message = f'must be {count} finite numbers, {columns}, separated by commas or blanks'
    raise DataError(message, file=path, record=f'line {wrong}', received=lines[wrong - 1][:120])


def whole_number(text: str, least: int, most: int) -> int | None:
    """The number that a text of ASCII digits stands for; None where it is another text or out of range.

    >>> whole_number('012', 1, 99), whole_number('100', 1, 99), whole_number('1_0', 1, 99), whole_number('', 1, 99)
    (12, None, None, None)
    """
    # Python refuses, by an error of its own, to convert texts of more than 4300 digits.
    if not (text.isascii() and text.isdecimal() and len(text) <= 30):
        return None
    return int(text) if least <= int(text) <= most else None


def finite_number(text: str) -> float | None:
    """The number that a text stands for; None where it stands for none, or is not plain ASCII, NaN or infinite.

    >>> finite_number(' -1.5e3'), finite_number('nan'), finite_number('1e999'), finite_number('1_0')
    (-1500.0, None, None, None)
    """
    try:
        value = float(text) if _is_plain(text) else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _is_plain(text: str) -> bool:
    """Without digits of other scripts and without underscores as in 1_000, which ``float`` would accept."""
    return text.isascii() and '_' not in text


def _is_row(row: list[str], least: int, most: int) -> bool:
    return least <= len(row) <= most and None not in map(finite_number, row)
