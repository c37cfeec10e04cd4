"""A progress bar for converters: one line on a terminal, nothing in a log file."""

from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from mmdet_runtime.progress import Progress

Item = TypeVar('Item')


def progress(items: Iterable[Item], label: str, total: int | None = None) -> Iterator[Item]:
    """Pass the items on and draw a bar with rate and remaining time on stderr, where that is a terminal.

    Args:
        items: what to iterate.
        label: before the bar.
        total: number of items; ``len(items)`` by default.
    """
    with Progress(label, len(items) if total is None and isinstance(items, Sized) else total) as bar:
        for item in items:
            yield item
            bar.advance()
