"""Measures of a structure that are computed from one value for each block."""

from collections.abc import Sequence
from typing import Any

from ..archs import Block, BlockMemo, Structure


class BlockMeasure:
    """Base of scores and budgets that combine one value for each block.

    Subclasses write :meth:`block_value`, whose results are kept by block, and :meth:`combine` where the measure is not a sum; it must be cheap.
    Several measures can share one memo, so that a block is hashed once for all of them; :class:`~mmdet.nas.evaluator.Evaluator` does that.
    """

    _memo: BlockMemo | None = None

    def block_value(self, block: Block) -> Any:
        """What a block contributes; it must not depend on the blocks before and after it."""
        raise NotImplementedError

    def combine(self, values: Sequence) -> float:
        """The measure of a structure, from the values of its blocks in order: by default their sum."""
        return sum(values)

    def __call__(self, structure: Structure) -> float:
        if self._memo is None:
            self._memo = BlockMemo(self.block_value)
        return self.combine(tuple(map(self._memo.__getitem__, structure)))


class JointMemo(BlockMemo):
    """A memo of several measures: ``memo[block] == tuple(m.block_value(block) for m in measures)``."""

    __slots__ = ('measures',)

    def __init__(self, measures: Sequence[BlockMeasure]):
        super().__init__(self._values)
        self.measures = tuple(measures)

    def _values(self, block: Block) -> tuple:
        return tuple([measure.block_value(block) for measure in self.measures])

    def columns(self, structure: Structure) -> list[tuple]:
        """For each measure, the values of the structure's blocks."""
        return list(zip(*map(self.__getitem__, structure)))

    def __reduce__(self) -> tuple:
        return type(self), (self.measures,)
