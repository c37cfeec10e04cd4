"""What the steps of one call of an inferencer share, and what the call returns."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

import numpy as np

from .outputs import Writers
from .sources import Source


class InferenceResult(TypedDict):
    """What a call of :class:`DetInferencer` returns.

    Attributes:
        predictions: one per image that could be read, in order: ``dict(labels, scores, bboxes)`` with boxes xyxy in pixels, or data samples.
        visualization: one (H, W, 3) RGB picture per prediction; empty without ``return_vis``.
        inputs: name of the image of each prediction; frame 7 of a video is ``<stem>/000007``.
        skipped: name of each image that could not be read, and the reason.
    """

    predictions: list[Any]
    visualization: list[np.ndarray]
    inputs: list[str]
    skipped: list[tuple[str, str]]


@dataclass
class Call:
    """What the steps of one call share; the steps may also be called alone, then they use the defaults.

    Attributes:
        options: arguments of :func:`collect_inputs`.
        num_workers: threads that load images.
        skipped: where to list unreadable images; None makes them errors.
        pictures: the loaded images of the current batch, by path.
        sources: the sources of the current batch, by the id of their data samples.
        writers: the output files.
        pictures_wanted: whether pictures are returned, shown or written.
        advance: moves the progress bar.
        of_steps: arguments that a subclass's preprocess, forward, visualize and postprocess take.
    """

    options: dict[str, Any] = field(default_factory=dict)
    num_workers: int = 1
    skipped: list[tuple[str, str]] | None = None
    pictures: dict[str, np.ndarray] = field(default_factory=dict)
    sources: dict[int, Source] = field(default_factory=dict)
    writers: Writers | None = None
    pictures_wanted: bool = False
    advance: Callable[[int], Any] = lambda steps: None
    of_steps: tuple[dict, dict, dict, dict] = field(default_factory=lambda: ({}, {}, {}, {}))


def recorded(sources: Iterable[Source], queue: deque[Source]) -> Iterator[Source]:
    """The sources, each put into ``queue`` when it is taken."""
    for source in sources:
        queue.append(source)
        yield source


def next_sources(queue: deque[Source], originals: Sequence) -> tuple[list[Source], int]:
    """The sources of a batch, in order, and how many were taken from the queue; those between them are of images that were skipped.

    An original that a subclass put into the place of an input belongs to the next source.
    """
    found, taken = [], 0
    for original in originals:
        place = next((number for number, source in enumerate(queue) if source.image is original), 0)
        for _ in range(place):
            queue.popleft()
        found.append(queue.popleft())
        taken += place + 1
    return found, taken
