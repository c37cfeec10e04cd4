"""How far a program is: a line on a terminal that is drawn again and again, nothing in a log file."""

import sys
import time
from typing import TextIO

_WIDTH = 30
_SECONDS_BETWEEN = 0.1


class Progress:
    """A bar with rate and remaining time, or the count and the rate where the end is not known. A context manager, which ends the line.

    Args:
        label: before the bar.
        total: how many steps there are; None where nobody knows.
        file: where to draw, if it is a terminal; stderr by default.
    """

    def __init__(self, label: str, total: int | None = None, file: TextIO | None = None):
        self._label, self._total, self._file = label, total, file or sys.stderr
        self._shown = self._file.isatty()
        self._start = self._drawn = time.monotonic() if self._shown else 0.0
        self.count = 0

    def advance(self, steps: int = 1) -> None:
        """Count steps that are done."""
        self.count += steps
        if not self._shown:
            return
        now = time.monotonic()
        if now - self._drawn >= _SECONDS_BETWEEN or self.count == self._total:
            self._drawn = now
            self._file.write(f'\r{self.text(now - self._start)} ')
            self._file.flush()

    def text(self, seconds: float) -> str:
        """The line after so many seconds."""
        rate = self.count / max(seconds, 1e-9)
        speed = f'{rate:.0f}/s' if rate >= 10 else f'{rate:.1f}/s'
        if self._total is None:
            return f'{self._label} {self.count}  {speed}'
        bar = '#' * min(_WIDTH * self.count // max(self._total, 1), _WIDTH)
        text = f'{self._label} [{bar:<{_WIDTH}}] {self.count}/{self._total}  {speed}'
        return f'{text}  {max(self._total - self.count, 0) / rate:.0f} s left' if self.count else text

    def __enter__(self) -> 'Progress':
        return self

    def __exit__(self, *failure: object) -> None:
        if self._shown:
            self._file.write('\n')
