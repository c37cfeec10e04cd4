"""Structures: a searched network as a tuple of blocks.

A structure is a plain ``tuple`` of :class:`Block`, and a block is a ``NamedTuple`` of small integers; both can be hashed. A mutation replaces one
element. Scores and budgets keep what a block contributes in a dict whose keys are blocks (:class:`BlockMemo`), so that a candidate that differs
from its parent in two blocks costs two computations and a few lookups. Nothing here imports torch.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

MEMO_LIMIT = 1 << 17  # blocks a memo keeps: about 30 MB; a search of 500k evaluations sees a few 100k distinct ones


class Block(NamedTuple):
    """One block of a structure: a convolution (stem, head) or a super block of ``layers`` residual units.

    Unit 0 of a super block carries the stride and goes from ``in_channels`` to ``out_channels``; the others keep ``out_channels`` at stride 1.
    All units share kernel and bottleneck. ``bits_a``/``bits_w`` hold the bit widths of activations and weights per convolution, unit by unit
    (empty: full precision). ``act`` of None stands for the family's own activation.
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
    """A dict that computes a missing value from its key and keeps it. A full memo is emptied before the next value is kept.

    Args:
        compute: gives the value of a key (a block, or a tuple that holds one).
        limit: largest number of values kept.
    """

    __slots__ = ('compute', 'limit')

    def __init__(self, compute: Callable[[Any], Any], limit: int = MEMO_LIMIT):
        super().__init__()
        self.compute = compute
        self.limit = limit

    def __missing__(self, key: Hashable) -> Any:
        value = self.compute(key)
        if len(self) >= self.limit:
            self.clear()
        self[key] = value
        return value

    def __reduce__(self) -> tuple:  # a copy sent to another process starts empty
        return type(self), (self.compute, self.limit)


def stage_ends(structure: Sequence[Block]) -> list[int]:
    """Indices of the last block of each stage: those before a block of stride 2, and the last of the structure."""
    last = len(structure) - 1
    return [i for i in range(last + 1) if i == last or structure[i + 1].stride == 2]


def is_quantised(structure: Sequence[Block]) -> bool:
    """Whether any block has bit widths."""
    return any(block.bits_a for block in structure)


def describe(structure: Sequence[Block]) -> str:
    """A one-line summary, ``out/btn·kernel·units`` for each super block: ``32 | 256/64·k3·L2 | 512/64·k5·L1(s1) | 1280``.

    Super blocks of stride 1 are marked ``(s1)``; single convolutions give their output channels only.
    """
    parts = []
    for block in structure:
        if not block.btn:
            parts.append(str(block.out_channels))
            continue
        kernel = f'{block.kt}x{block.kernel}' if block.kt > 1 else str(block.kernel)
        mark = '' if block.stride == 2 else '(s1)'
        parts.append(f'{block.out_channels}/{block.btn}·k{kernel}·L{block.layers}{mark}')
    return ' | '.join(parts)
