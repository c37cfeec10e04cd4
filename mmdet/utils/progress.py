"""A progress bar for converters: one line on a terminal, nothing in a log file."""

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar, cast

Item = TypeVar('Item')

_WIDTH = 30
_SECONDS_BETWEEN = 0.1


def progress(items: Iterable[Item], label: str, total: int | None = None) -> Iterator[Item]:
    """Pass the items on and draw a bar with rate and remaining time on stderr, where that is a terminal.

    Args:
        items: what to iterate.
        label: before the bar.
        total: number of items; ``len(items)`` by default.
    """
    if not sys.stderr.isatty():
        yield from items
        return
    if total is None:
        total = len(cast(Sized, items))
    start = drawn = time.monotonic()
    count = 0
    try:
        for item in items:
            yield item
            count += 1
            now = time.monotonic()
            if now - drawn >= _SECONDS_BETWEEN or count == total:
                drawn = now
                rate = count / max(now - start, 1e-9)
                bar = '#' * (_WIDTH * count // max(total, 1))
                left = max(total - count, 0) / rate
                sys.stderr.write(f'\r{label} [{bar:<{_WIDTH}}] {count}/{total}  {rate:.0f}/s  {left:.0f} s left ')
                sys.stderr.flush()
    finally:
        sys.stderr.write('\n')
