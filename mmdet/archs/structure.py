"""Structures: a network of the search as a tuple of blocks.

A structure is a plain ``tuple`` of :class:`Block`; a block is a ``NamedTuple`` of small integers. Both are immutable, hashable, comparable and
picklable, so a mutation replaces one element (``block._replace(layers=3)``), scores and budgets remember what a block contributes in a dict
keyed by the block itself (:class:`BlockMemo`), and a candidate that differs from its parent in two blocks costs two misses and a handful of
lookups. Nothing here imports torch.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

MEMO_LIMIT = 1 << 17  # blocks a memo keeps: about 30 MB; a search of 500k evaluations sees a few 100k distinct ones


class Block(NamedTuple):
    """One block of a structure: a convolution (stem, head) or a super block of ``layers`` residual units.

    Unit 0 of a super block carries the stride and goes from ``in_channels`` to ``out_channels``; the others keep ``out_channels`` at stride 1.
    All units share kernel and bottleneck. ``bits_a``/``bits_w`` hold the bit widths of activations and weights per convolution, unit by unit
    (empty: full precision). ``act`` of None is the family's own activation.
    """

    type: str
    in_channels: int
    out_channels: int
    kernel: int
    stride: int = 1
    layers: int = 1
    btn: int = 0
    kt: int = 1
    bits_a: tuple[int, ...] = ()
    bits_w: tuple[int, ...] = ()
    groups: int = 1
    act: str | None = None
    se_ratio: float = 0.25


Structure = tuple[Block, ...]


class BlockMemo(dict):
    """What ``compute`` gives for a key (a block, or a tuple that holds one), computed once; emptied when it has ``limit`` entries."""

    __slots__ = ('compute', 'limit')

    def __init__(self, compute: Callable, limit: int = MEMO_LIMIT):
        super().__init__()
        self.compute = compute
        self.limit = limit

    def __missing__(self, key):
        value = self.compute(key)
        if len(self) >= self.limit:
            self.clear()
        self[key] = value
        return value

    def __reduce__(self):  # a copy sent to another process starts empty
        return type(self), (self.compute, self.limit)


def stage_ends(structure: Sequence[Block]) -> list[int]:
    """Indices of the last block of each stage: the one before a block of stride 2, and the last of all."""
    last = len(structure) - 1
    return [i for i in range(last + 1) if i == last or structure[i + 1].stride == 2]


def is_quantised(structure: Sequence[Block]) -> bool:
    """Whether any block has bit widths."""
    return any(block.bits_a for block in structure)


def describe(structure: Sequence[Block]) -> str:
    """One line for people: ``32 | 256/64·k3·L2 ... | 1280``, stride 1 of super blocks marked ``(s1)``."""
    parts = []
    for block in structure:
        if not block.btn:
            parts.append(str(block.out_channels))
            continue
        kernel = f'{block.kt}x{block.kernel}' if block.kt > 1 else str(block.kernel)
        parts.append(
            f'{block.out_channels}/{block.btn}·k{kernel}·L{block.layers}' + ('' if block.stride == 2 else '(s1)')
        )
    return ' | '.join(parts)
