"""Libraries of measured operators, in LightNAS's text format.

Each line holds one operator, ``{Type,batch,inC,inH,inW,outC,k,stride,elmtfused} ms``, for example ``{Regular,32,64,80,80,128,3,2,1} 0.41``. A time
of -1 marks a measurement that failed.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import DataError
from ...formats.text_file import finite_number, read_lines, whole_number
from ...utils.files import write_text
from .ops import DEPTHWISE, REGULAR, Op

_FIELDS = '{Type,batch,inC,inH,inW,outC,k,stride,elmtfused} ms'
SMALLEST_SIDE = 5  # smaller sides take too little time to be measured well; LightNAS drops them, too


@dataclass
class OpLibrary:
    """Milliseconds of operators, by batch size.

    Attributes:
        times: ``{batch: {op: ms}}``, in the order of the file.
        source: file name, for error messages.
        failed: number of lines with a failed measurement.
    """

    times: dict[int, dict[Op, float]] = field(default_factory=dict)
    source: str = 'library'
    failed: int = 0

    @classmethod
    def read(cls, path: str | os.PathLike) -> 'OpLibrary':
        """Read a library file. Failed lines and those of sides below 5 are left out; a repeated line replaces the earlier one.

        Raises:
            DataError: the file cannot be read, or a line is not an operator with its time; the text names file, line and field.
        """
        library = cls(source=str(path))
        for number, line in enumerate(read_lines(path), start=1):
            if line.strip() and not line.strip().startswith('#'):
                library._add_line(line.strip(), number)
        if not library.times and not library.failed:
            raise DataError(f'holds no operator; a line is {_FIELDS}', file=path)
        return library

    def write(self, path: str | os.PathLike) -> None:
        """Write the library. The file appears as a whole or not at all."""
        lines = [op_line(op, batch, ms) for batch, rows in self.times.items() for op, ms in rows.items()]
        write_text(Path(path), '\n'.join(lines) + '\n')

    def add(self, op: Op, batch: int, ms: float) -> None:
        """Add one measurement, which replaces an earlier one of the same operator and batch."""
        self.times.setdefault(batch, {})[op] = ms

    def _add_line(self, line: str, number: int) -> None:
        where = dict(file=self.source, record=f'line {number}')
        head, brace, tail = line.partition('}')
        parts = [part.strip() for part in head.removeprefix('{').split(',')]
        if not line.startswith('{') or not brace or len(parts) != 9:
            raise DataError(f'must be {_FIELDS}', received=line, **where)
        numbers = [value for part in parts[1:] if (value := whole_number(part, 0, 10**9)) is not None]
        ms = finite_number(tail)
        if ms is None or len(numbers) != 8:
            raise DataError(f'must be {_FIELDS} with numbers', received=line, **where)
        batch, in_channels, height, width, out_channels, kernel, stride, fused = numbers
        if parts[0] not in (REGULAR, DEPTHWISE):
            raise DataError(f'must be {REGULAR} or {DEPTHWISE}', field='Type', received=parts[0], **where)
        if min(batch, in_channels, height, width, out_channels, kernel, stride) < 1 or fused not in (0, 1):
            raise DataError('numbers must be >= 1, elmtfused 0 or 1', received=line, **where)
        if height != width:
            raise DataError('inH and inW must be equal', field='inW', received=width, **where)
        if ms == -1:
            self.failed += 1
            return
        if ms < 0:
            message = 'must be a time in ms >= 0, or -1 for a failure'
            raise DataError(message, field='ms', received=tail.strip(), **where)
        if height >= SMALLEST_SIDE:
            self.add(Op(parts[0], stride, fused, kernel, in_channels, height, out_channels), batch, ms)


def op_line(op: Op, batch: int, ms: float | None = None) -> str:
    """An operator as a line of a library file, without a time where ``ms`` is None."""
    numbers = (batch, op.in_channels, op.side, op.side, op.out_channels, op.kernel, op.stride, op.fused)
    head = f'{{{op.kind},{",".join(map(str, numbers))}}}'
    return head if ms is None else f'{head} {ms:.6g}'


def merge(libraries: Iterable[OpLibrary]) -> OpLibrary:
    """Join several libraries; later measurements replace earlier ones."""
    merged = OpLibrary()
    for library in libraries:
        for batch, rows in library.times.items():
            merged.times.setdefault(batch, {}).update(rows)
    return merged
