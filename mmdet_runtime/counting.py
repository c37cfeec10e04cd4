"""Counting tracked objects that cross lines, or are in zones of the picture.

An object stands for one point of its box. It crosses a line when the way of that point from one side to the other meets the line between its ends, also
where the track was lost meanwhile. A point nearer to the line than a tenth of the box's shorter side is on neither side, so that an object that stands on
the line and trembles is not counted again and again.
"""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from .errors import ConfigError
from .track_settings import ANCHORS
from .tracking import Tracked

_CLEAR = 0.1  # of the box's shorter side: how far from the line a point is on a side of it


@dataclasses.dataclass(frozen=True)
class Shape:
    """A line or a zone of the command line.

    Attributes:
        name: what it is called in the picture and the files.
        points: (2, 2) ends of a line, (n, 2) corners of a zone: x and y.
        fractions: whether the points are fractions of width and height; otherwise they are pixels.
    """

    name: str
    points: np.ndarray
    fractions: bool

    def in_pixels(self, size_wh: tuple[int, int]) -> np.ndarray:
        """The points (n, 2) float64 in pixels of an image."""
        return self.points * np.array(size_wh if self.fractions else (1, 1), np.float64)


def read_line(text: str, number: int = 1) -> Shape:
    """The line of ``NAME=x1,y1,x2,y2`` or ``x1,y1,x2,y2``; see :func:`read_zone`."""
    shape = _read(text, 'line', number)
    if len(shape.points) != 2 or (shape.points[0] == shape.points[1]).all():
        raise ConfigError('must be NAME=x1,y1,x2,y2, two different ends', field='--line', received=text)
    return shape


def read_zone(text: str, number: int = 1) -> Shape:
    """The zone of ``NAME=x1,y1,x2,y2``, a rectangle, or ``NAME=x1,y1,x2,y2,x3,y3,...``, a polygon.

    Args:
        text: numbers that all lie in 0..1 are fractions of width and height, others pixels.
        number: of those without a name.

    Raises:
        ConfigError: another text, or a zone without area.
    """
    shape = _read(text, 'zone', number)
    points = shape.points
    if len(points) == 2:
        (x1, y1), (x2, y2) = points
        points = np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)])
    if cv2.contourArea(points.astype(np.float32)) == 0:
        message = 'must be NAME=x1,y1,x2,y2, opposite corners, or NAME=x1,y1,x2,y2,x3,y3,..., corners of a polygon'
        raise ConfigError(message, field='--zone', received=text)
    return dataclasses.replace(shape, points=points)


def read_shapes(lines: Sequence[str], zones: Sequence[str]) -> tuple[list[Shape], list[Shape]]:
    """Lines and zones of a command line; ConfigError also where two have one name."""
    shapes = (
        [read_line(text, k) for k, text in enumerate(lines, 1)],
        [read_zone(text, k) for k, text in enumerate(zones, 1)],
    )
    for option, group in zip(('--line', '--zone'), shapes):
        names = [shape.name for shape in group]
        if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
            raise ConfigError('must have a name of its own', field=option, received=twice[0])
    return shapes


def _read(text: str, kind: str, number: int) -> Shape:
    name, named, coordinates = text.rpartition('=')
    try:
        values = [float(part) for part in coordinates.split(',')]
        points = np.array(values).reshape(-1, 2)
    except ValueError as error:
        raise ConfigError(
            f'must be NAME=x1,y1,x2,y2{",..." * (kind == "zone")}', field=f'--{kind}', received=text
        ) from error
    if not (
        np.isfinite(points).all()
        and points.min() >= 0
        and points.max() < 1e6
        and len(points) >= 2
        and (name or not named)
    ):
        raise ConfigError('must be two points or more, of coordinates from 0 on', field=f'--{kind}', received=text)
    return Shape(name.strip() or f'{kind} {number}', points, bool(points.max() <= 1))


@dataclasses.dataclass(frozen=True)
class Crossing:
    """One object that crossed one line.

    Attributes:
        line, id, label: of the line, of the track, and the class of the track then.
        direction: 'in' or 'out'.
    """

    line: str
    id: int
    label: int
    direction: str


class Counts:
    """What crosses the lines and is in the zones of one video.

    In is towards the right hand of who walks from the first end of a line to the second: from above to below for ``0,0.5,1,0.5``.

    Args:
        lines, zones: where to count.
        size_wh: width and height of the frames.
        anchor: the point of a box, its 'centre' or the middle of its 'bottom'.

    Raises:
        ConfigError: a line or a zone of which no part is in the frames, so that it would never count anything.

    Attributes:
        crossed: by line, how often objects of a class crossed it in a direction: ``{(direction, label): count}``.
        now: by zone, how many objects of a class are in it in the last frame.
        visitors: by zone, how many objects of a class have been in it, each once.
    """

    def __init__(
        self, lines: Sequence[Shape], zones: Sequence[Shape], size_wh: tuple[int, int], anchor: str = 'centre'
    ) -> None:
        if anchor not in ANCHORS:
            raise ConfigError(f'must be one of {ANCHORS}', field='anchor', received=anchor)
        self.anchor = anchor
        for option, shapes in (('--line', lines), ('--zone', zones)):
            for shape in shapes:
                if (shape.in_pixels(size_wh).min(axis=0) > size_wh).any():
                    message = f'{shape.name} lies outside the frames, which are {size_wh[0]} x {size_wh[1]} pixels'
                    raise ConfigError(message, field=option, received=shape.points.tolist())
        self.lines = {shape.name: shape.in_pixels(size_wh) for shape in lines}
        self.zones = {shape.name: shape.in_pixels(size_wh) for shape in zones}
        self.crossed: dict[str, Counter[tuple[str, int]]] = {name: Counter() for name in self.lines}
        self.now: dict[str, Counter[int]] = {name: Counter() for name in self.zones}
        self.visitors: dict[str, Counter[int]] = {name: Counter() for name in self.zones}
        # By line, then by id: where the point was when it was last clear of the line, and on which side.
        self._clear: dict[str, dict[int, tuple[np.ndarray, bool]]] = {name: {} for name in self.lines}
        self._known: dict[str, set[int]] = {name: set() for name in self.zones}

    def update(self, tracked: Tracked, alive: set[int]) -> list[Crossing]:
        """Count the objects of the next frame; returns what crossed a line.

        Args:
            tracked: the objects.
            alive: ids that may come again; what is known of the others is forgotten.
        """
        points = anchor_points(tracked.bboxes, self.anchor)
        clear = _CLEAR * (tracked.bboxes[:, 2:] - tracked.bboxes[:, :2]).min(axis=1, initial=np.inf).astype(np.float64)
        ids, labels = tracked.ids.tolist(), tracked.labels.tolist()
        crossings = [
            Crossing(name, ids[row], labels[row], direction)
            for name, ends in self.lines.items()
            for row, direction in self._crossed(ends, self._clear[name], points, clear, ids)
        ]
        for crossing in crossings:
            self.crossed[crossing.line][crossing.direction, crossing.label] += 1
        for name, corners in self.zones.items():
            outline = corners.astype(np.float32)
            inside = [cv2.pointPolygonTest(outline, (x, y), False) >= 0 for x, y in points.tolist()]
            self.now[name] = Counter(label for label, is_in in zip(labels, inside) if is_in)
            for number, label, is_in in zip(ids, labels, inside):
                if is_in and number not in self._known[name]:
                    self._known[name].add(number)
                    self.visitors[name][label] += 1
            self._known[name] &= alive
        for known in self._clear.values():
            for number in known.keys() - alive:
                del known[number]
        return crossings

    @staticmethod
    def _crossed(
        ends: np.ndarray,
        known: dict[int, tuple[np.ndarray, bool]],
        points: np.ndarray,
        clear: np.ndarray,
        ids: Sequence[int],
    ) -> list[tuple[int, str]]:
        """Rows of the points that crossed a line, each with the direction."""
        start, along = ends[0], ends[1] - ends[0]
        sides = _cross(along, points - start)  # positive to the right hand, as y points down
        found = []
        for row in np.flatnonzero(np.abs(sides) > clear * np.hypot(*along)).tolist():
            before = known.get(ids[row])
            known[ids[row]] = points[row], bool(sides[row] > 0)
            if before is None or before[1] == (sides[row] > 0):
                continue
            way = points[row] - before[0]
            share = _cross(before[0] - start, way) / _cross(along, way)  # of the line, where the way meets it
            if 0 <= share <= 1:
                found.append((row, 'in' if sides[row] > 0 else 'out'))
        return found

    def as_json(self, classes: Sequence[str]) -> dict[str, Any]:
        """All counts so far as plain values, with the classes by name."""
        lines = {
            name: {
                direction: _by_name({label: n for (way, label), n in counts.items() if way == direction}, classes)
                for direction in ('in', 'out')
            }
            for name, counts in self.crossed.items()
        }
        zones = {
            name: dict(now=_by_name(self.now[name], classes), visitors=_by_name(self.visitors[name], classes))
            for name in self.zones
        }
        return dict(lines=lines, zones=zones)


def anchor_points(boxes: np.ndarray, anchor: str) -> np.ndarray:
    """(n, 2) float64 x and y of the points that stand for boxes (n, 4) xyxy: their 'centre', or the middle of their 'bottom'."""
    points = (boxes[:, :2].astype(np.float64) + boxes[:, 2:]) / 2
    if anchor == 'bottom':
        points[:, 1] = boxes[:, 3]
    return points


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def class_name(classes: Sequence[str], label: int) -> str:
    """The name of a class, or 'class 7' for a label without one."""
    return classes[label] if 0 <= label < len(classes) else f'class {label}'


def _by_name(counts: dict[int, int], classes: Sequence[str]) -> dict[str, int]:
    """Counts with names for labels, by rising labels, and their sum as ``all``."""
    named = {class_name(classes, label): counts[label] for label in sorted(counts) if counts[label]}
    return dict(all=sum(named.values()), **named)
