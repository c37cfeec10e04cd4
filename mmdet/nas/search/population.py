"""The structures that a search keeps: the best so far, and the best for each cost."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from math import floor, log
from typing import NamedTuple

from ...archs import Structure

FRONT_STEPS = 50  # cells of a front per factor e of cost, so that a cell spans 2 %


class Member(NamedTuple):
    """A feasible structure with its score and the value of each budget, in the order of the evaluator's budgets."""

    structure: Structure
    score: float
    values: tuple[float, ...]


class Population:
    """The ``size`` best structures that were added, best first, without repeats.

    Equal scores keep the order of arrival, so that a search is determined by its seed.

    Args:
        size: number of members kept.
        by_shape: keep only the best member of each shape, which is the depths of all blocks. Otherwise structures that differ in a few channels
            fill a population, and depths that are lost rarely come back.
    """

    def __init__(self, size: int, by_shape: bool = False):
        self.size = size
        self.members: list[Member] = []
        self._keys: list[float] = []  # minus the scores, ascending
        self._identity: Callable[[Structure], tuple] = shape_of if by_shape else itself
        self._known: dict[tuple, Member] = {}

    def __len__(self) -> int:
        return len(self.members)

    def __iter__(self) -> Iterator[Member]:
        return iter(self.members)

    @property
    def best(self) -> Member:
        """The member of the highest score."""
        return self.members[0]

    def add(self, member: Member) -> bool:
        """Keep a member if it is among the best. Returns whether it was kept; a score of NaN never is."""
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
    """The identity of a member where every structure counts: the structure itself."""
    return structure


def shape_of(structure: Structure) -> tuple:
    """The identity of a member where only the shape counts: the depth of each block."""
    return tuple([block.layers for block in structure])  # a list is faster than a generator here


class Front:
    """The best member for each cost, where costs within about 2 % share a cell.

    Args:
        column: position of the cost among a member's values.
    """

    def __init__(self, column: int):
        self.column = column
        self._cells: dict[int, Member] = {}

    def add(self, member: Member) -> None:
        """Keep a member if it is the best of its cell; a cost of 0 or less is passed over."""
        value = member.values[self.column]
        if not value > 0:
            return
        cell = floor(log(value) * FRONT_STEPS)
        known = self._cells.get(cell)
        if known is None or member.score > known.score:
            self._cells[cell] = member

    def members(self) -> list[Member]:
        """The Pareto front, cheapest first: members that a cheaper one equals or beats are left out."""
        front: list[Member] = []
        for member in sorted(self._cells.values(), key=lambda m: (m.values[self.column], -m.score)):
            if not front or member.score > front[-1].score:
                front.append(member)
        return front


def distance(one: Structure, other: Structure) -> float:
    """How different two structures of one space are, averaged over blocks.

    Each block adds the absolute logarithms of the ratios of output channels, bottleneck channels and units, and 0.5 for a changed kernel side and
    for a changed temporal kernel.
    """
    total = 0.0
    for a, b in zip(one, other, strict=True):
        total += abs(log(a.out_channels / b.out_channels)) + abs(log(a.layers / b.layers))
        if a.btn:
            total += abs(log(a.btn / b.btn))
        total += 0.5 * ((a.kernel != b.kernel) + (a.kt != b.kt))
    return total / len(one)


def diverse(members: Iterable[Member], count: int, min_distance: float) -> list[Member]:
    """Up to ``count`` of the best members, best first, each at least ``min_distance`` from those before it."""
    chosen: list[Member] = []
    for member in sorted(members, key=lambda m: -m.score):
        if len(chosen) >= count:
            break
        if all(distance(member.structure, other.structure) >= min_distance for other in chosen):
            chosen.append(member)
    return chosen
