"""A list of objects of a JSON file: whole columns are checked at once, and the record at fault is named.

n records.
"""

import math
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from ..errors import DataError
from ..utils.checks import is_finite
from .text_file import finite_number

ImageId = int | str
_INT64 = 2**63
_MAX_SIDE = 1e9  # pixels
_SINGULAR = {'images': 'image', 'annotations': 'annotation', 'categories': 'category'}


def plain_id(value: Any) -> ImageId | None:
    """An id as an int or a text, 3 for 3.0 and for NumPy's 3; None where the value cannot be an id.

    >>> plain_id(3.0), plain_id('3'), plain_id(3.5), plain_id(True)
    (3, '3', None, None)
    """
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is int and -_INT64 <= value < _INT64:
        return value
    return value if is_text(value) else None


class RepeatedIdError(DataError, AssertionError):
    """An id that occurs twice. Also an AssertionError, as callers of mmdetection expect."""


class Records:
    """One list of objects of a JSON file. The methods check a whole column at once, and look for the record only if a value is wrong."""

    def __init__(self, rows: Any, file: str, section: str):
        if not isinstance(rows, list):
            received = 'nothing' if rows is None else type(rows).__name__
            raise DataError('must be a list of objects', file=file, field=section, received=received)
        self.rows, self.file, self.section = rows, file, section
        if not set(map(type, rows)) <= {dict}:
            position, row = next((i, row) for i, row in enumerate(rows) if type(row) is not dict)
            raise DataError('must be a JSON object', file=file, record=f'{section}[{position}]', received=row)

    def fault(self, position: int, field: str, message: str, error: type[DataError] = DataError) -> DataError:
        """An error that names the record at a position, by its id where it has one."""
        row = self.rows[position]
        record_id = plain_id(row.get('id')) if self.section in _SINGULAR else None
        record = f'{self.section}[{position}]' if record_id is None else f'{_SINGULAR[self.section]} {record_id}'
        received = {'received': row[field]} if field in row else {}
        return error(message, file=self.file, record=record, field=field, **received)

    def check(self, field: str, values: list, fine: Callable[[Any], Any], message: str, optional: bool = False) -> None:
        """Raise for the first value that is not ``fine``; an ``optional`` value may be missing or null."""
        for position, value in enumerate(values):
            if not (optional and value is None) and not fine(value):
                raise self.fault(position, field, message if field in self.rows[position] else 'is missing')

    def values(self, field: str) -> list:
        """The values of a field, None where it is missing."""
        return [row.get(field) for row in self.rows]

    def ids(self, field: str, *, unique: bool = False, optional: bool = False) -> list:
        """Ids, None for ``optional`` ones that are missing or null."""
        values: list = self.values(field)
        kinds = set(map(type, values))
        if kinds != {int} or max(values) >= _INT64 or min(values) < -_INT64:
            self.check(field, values, lambda v: plain_id(v) is not None, 'must be a whole number or a text', optional)
            values = [plain_id(value) for value in values]
        if unique and len(set(values)) < len(values):
            seen: set = set()
            for position, value in enumerate(values):
                if value is not None and value in seen:
                    if self.section != 'annotations':
                        raise self.fault(position, field, 'the id is used twice')
                    # The first words are those that callers of mmdetection look for.
                    message = 'the id is used twice: annotation ids are not unique! Some tools start them anew for every image; number them again with: '
                    message += 'python tools/dataset_converters/convert.py SRC DST --to coco'
                    raise self.fault(position, field, message, RepeatedIdError)
                seen.add(value)
        return values

    def positions(self, field: str, known: Sequence[ImageId], section: str) -> np.ndarray:
        """(n,) int64 positions, among the ``known`` ids of another section, of the ids in a field."""
        values, position_of = self.ids(field), {known_id: position for position, known_id in enumerate(known)}
        try:
            return np.array([position_of[value] for value in values], dtype=np.int64)
        except KeyError as error:
            raise self.fault(values.index(error.args[0]), field, f'no such id among {section}') from None

    def numbers(self, field: str, *, optional: bool = False) -> np.ndarray:
        """(n,) float64, NaN for ``optional`` numbers that are missing or null."""
        values = self.values(field)
        array = _finite(values)
        if array is None:
            self.check(field, values, is_finite, 'must be a finite number', optional)
            array = np.array([math.nan if value is None else value for value in values], dtype=np.float64)
        return array

    def areas(self) -> np.ndarray:
        """(n,) float64 square pixels, NaN where missing, null or an empty text; a text of a number is that number."""
        values = self.values('area')
        if str not in set(map(type, values)):
            return self.numbers('area', optional=True)
        numbers = [area_of_text(value) for value in values]
        self.check('area', numbers, is_finite, 'must be a finite number', optional=True)
        return np.array([math.nan if value is None else value for value in numbers], dtype=np.float64)

    def boxes(self) -> np.ndarray:
        """(n, 4) float64, left, top, width, height."""
        values = self.values('bbox')
        of_four = set(map(type, values)) <= {list} and set(map(len, values)) <= {4}
        flat = _finite(list(chain.from_iterable(values))) if of_four else None
        if flat is None:
            self.check('bbox', values, _is_box, 'must be four finite numbers [x, y, width, height]')
            raise AssertionError('one of the boxes is not fine')
        return flat.reshape(-1, 4)

    def flags(self, field: str) -> np.ndarray:
        """(n,) bool, from 0 and 1 or false and true; False where missing or null."""
        values = self.values(field)
        if not set(map(type, values)) <= {int} or not set(values) <= {0, 1}:
            self.check(field, values, lambda v: type(v) in (int, bool, float) and v in (0, 1), 'must be 0 or 1', True)
        return np.array(values, dtype=bool)  # None is False

    def sides(self, field: str) -> np.ndarray:
        """(n,) int64 pixels, 0 where missing or null."""
        values = self.values(field)
        if set(map(type, values)) != {int} or min(values) < 1 or max(values) >= _MAX_SIDE:
            self.check(field, values, _is_side, 'must be a whole number of pixels > 0', True)
        return np.array([value or 0 for value in values], dtype=np.int64)

    def texts(self, field: str, *, optional: bool = False) -> list[str]:
        """Texts, '' for ``optional`` ones that are missing or null."""
        values = self.values(field)
        if not set(map(type, values)) <= {str} or not is_text(''.join(values)):
            self.check(field, values, is_text, 'must be a text that can be encoded', optional)
        return [value or '' for value in values]


def area_of_text(value: Any) -> Any:
    """A text of a number as that number, an empty text as None, and anything else as it is."""
    if type(value) is not str:
        return value
    if not value.strip():
        return None
    number = finite_number(value)
    return value if number is None else number


def is_text(value: Any) -> bool:
    """A text without lone surrogates, which cannot be written, and without NUL, which cannot be in a file name."""
    try:
        return type(value) is str and b'\0' not in value.encode()
    except UnicodeEncodeError:
        return False


def _finite(values: list) -> np.ndarray | None:
    """Finite numbers as float64; None where there is anything else among them."""
    try:
        array = np.array(values, dtype=np.float64) if set(map(type, values)) <= {int, float} else None
    except OverflowError:
        return None
    return array if array is not None and np.isfinite(array).all() else None


def _is_box(value: Any) -> bool:
    return type(value) is list and len(value) == 4 and all(map(is_finite, value))


def _is_side(value: Any) -> bool:
    return is_finite(value) and 0 < value < _MAX_SIDE and value == int(value)
