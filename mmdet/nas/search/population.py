"""The structures that a search keeps: the best so far, and the best by cost."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from math import log
from typing import NamedTuple

from ...archs.structure import Structure

FRONT_STEPS = 50  # cells of the front per factor e of cost: 2 % each


class Member(NamedTuple):
    """A feasible structure with its score and its value of each budget."""

    structure: Structure
    score: float
    values: tuple[float, ...]


class Population:
    """The ``size`` best structures, without repeats, best first; with ``by_shape``, one of each shape.

    A shape is the depths of all blocks. Structures that differ in a few channels only would else fill a population, and a search that has lost
    its other depths does not come back. Equal scores keep the order of
    arrival, so that a run is a function of its seed.
    """

    def __init__(self, size: int, by_shape: bool = False):
        self.size = size
        self.members: list[Member] = []
        self._keys: list[float] = []  # minus the scores, ascending
        self._identity = shape_of if by_shape else itself
        self._known: dict[tuple, Member] = {}

    def __len__(self) -> int:
        return len(self.members)

    def __iter__(self) -> Iterator[Member]:
        return iter(self.members)

    @property
    def best(self) -> Member:
        return self.members[0]

    def add(self, member: Member) -> bool:
        """Keep a member if it is among the best; returns whether it was kept."""
        key, keys = -member.score, self._keys
        full = len(keys) >= self.size
        if (full and key >= keys[-1]) or key != key:
            return False
        identity = self._identity(member.structure)
        known = self._known.get(identity)
        if known is not None:
            if member.score <= known.score:
                return False
            at = bisect_left(keys, -known.score)
            while self.members[at] is not known:
                at += 1
            del keys[at], self.members[at]
        elif full:
            keys.pop()
            del self._known[self._identity(self.members.pop().structure)]
        at = bisect_right(keys, key)
        keys.insert(at, key)
        self.members.insert(at, member)
        self._known[identity] = member
        return True


def itself(structure: Structure) -> Structure:
    """Every structure is its own kind."""
    return structure


def shape_of(structure: Structure) -> tuple:
    """Depth of each block."""
    return tuple([block[5] for block in structure])  # a list is faster than a generator here


class Front:
    """The best member per cell of one cost; :meth:`members` leaves out those that a cheaper one beats.

    Args:
        column: of the cost among a member's values.
    """

    def __init__(self, column: int):
        self.column = column
        self._cells: dict[int, Member] = {}

    def add(self, member: Member) -> None:
        value = member.values[self.column]
        if not value > 0:
            return
        cell = int(log(value) * FRONT_STEPS + 1e6)  # one side of zero, where int() cuts downwards
        known = self._cells.get(cell)
        if known is None or member.score > known.score:
            self._cells[cell] = member

    def members(self) -> list[Member]:
        """Cheapest first, scores rising."""
        front: list[Member] = []
        for member in sorted(self._cells.values(), key=lambda m: (m.values[self.column], -m.score)):
            if not front or member.score > front[-1].score:
                front.append(member)
        return front


def distance(one: Structure, other: Structure) -> float:
    """How different two structures of one space are: mean over blocks of |ln| of the ratios of out, btn and depth, plus kernel changes.

    1 is about every block e times wider, or every kernel different.
    """
    total = 0.0
    for a, b in zip(one, other, strict=True):
        total += abs(log(a.out_channels / b.out_channels)) + abs(log(a.layers / b.layers))
        if a.btn:
            total += abs(log(a.btn / b.btn))
        total += 0.5 * ((a.kernel != b.kernel) + (a.kt != b.kt))
    return total / len(one)


def diverse(members: Iterable[Member], count: int, min_distance: float) -> list[Member]:
    """The best members, each at least ``min_distance`` from those before it; fewer than ``count`` if there are no more."""
    chosen: list[Member] = []
    for member in sorted(members, key=lambda m: -m.score):
        if len(chosen) >= count:
            break
        if all(distance(member.structure, other.structure) >= min_distance for other in chosen):
            chosen.append(member)
    return chosen
