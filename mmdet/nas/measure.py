"""Measures of a structure that come from what its blocks contribute each by itself."""

from collections.abc import Sequence
from typing import Any

from ..archs.structure import Block, BlockMemo, Structure


class BlockMeasure:
    """Base of scores and budgets that are made of one value per block.

    Subclasses write :meth:`block_value`, which is remembered by block, and :meth:`combine`, which must be cheap. Several measures can share one
    memo, so that a block is hashed once for all of them (:class:`~mmdet.nas.evaluator.Evaluator` does that).
    """

    _memo: BlockMemo | None = None

    def block_value(self, block: Block) -> Any:
        """What a block contributes, whatever stands before and after it."""
        raise NotImplementedError

    def combine(self, values: Sequence) -> float:
        """The measure, from the blocks' values in order."""
        raise NotImplementedError

    def __call__(self, structure: Structure) -> float:
        if self._memo is None:
            self._memo = BlockMemo(self.block_value)
        return self.combine(tuple(map(self._memo.__getitem__, structure)))


class JointMemo(BlockMemo):
    """The values of several measures per block: ``memo[block] == tuple(m.block_value(block) for m in measures)``."""

    __slots__ = ('measures',)

    def __init__(self, measures: Sequence[BlockMeasure]):
        super().__init__(self._values)
        self.measures = tuple(measures)

    def _values(self, block: Block) -> tuple:
        return tuple([measure.block_value(block) for measure in self.measures])

    def columns(self, structure: Structure) -> list[tuple]:
        """Per measure, the values of the structure's blocks."""
        return list(zip(*map(self.__getitem__, structure)))

    def __reduce__(self):
        return type(self), (self.measures,)
