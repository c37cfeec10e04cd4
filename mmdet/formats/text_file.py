"""Text files: lines, and rows of numbers separated by commas or blanks (VisDrone, UAVDT)."""

import contextlib
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import DataError


def read_lines(path: str | PathLike) -> list[str]:
    """Lines of a UTF-8 text file, with or without a byte order mark, of any line ending; DataError where it cannot be read."""
    return _read_text(path).split('\n')


def _read_text(path: str | PathLike) -> str:
    try:
        return Path(path).read_text(encoding='utf-8-sig')
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f'cannot be read as text ({getattr(error, "strerror", None) or error})', file=path) from error


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


def _is_plain(text: str) -> bool:
    """Without digits of other scripts and without underscores as in 1_000, which ``float`` would accept."""
    return text.isascii() and '_' not in text


def _is_row(row: list[str], least: int, most: int) -> bool:
    try:
        return least <= len(row) <= most and all(_is_plain(field) and np.isfinite(float(field)) for field in row)
    except ValueError:
        return False
