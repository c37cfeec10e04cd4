"""Base classes of the scores, and what the entropy scores share.

A score maps a structure to a number; larger is better. The closed-form scores add up one *log-term* for each residual unit: the logarithm of the
standard deviation that the unit's convolutions give to an input of unit variance with weights of unit variance, without batch norm, activation
and skip path. A convolution of kernel k over c input channels per group contributes 0.5 * ln(c * k^2).
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ...archs import Block, BlockMemo, Conv, Structure, costs_of, stage_ends, unit_runs
from ...errors import ConfigError


class Score:
    """Base of the scores.

    Args:
        ratio: factor on the result.
    """

    def __init__(self, *, ratio: float = 1.0):
        self.ratio = ratio

    def __call__(self, structure: Structure) -> float:
        """The score of a structure."""
        raise NotImplementedError

    def why_not(self, structure: Structure) -> str | None:
        """Why this score does not apply to a structure; None if it does. A search asks once, before it starts."""
        return None

    def check(self, structure: Structure) -> None:
        """Check that this score applies to a structure.

        Raises:
            ConfigError: it does not, for the reason that :meth:`why_not` gives.
        """
        reason = self.why_not(structure)
        if reason:
            raise ConfigError(reason, field=f'score {type(self).__name__}')


class StageScore(Score):
    """Base of the scores that are a weighted sum over stages of the log-terms up to there.

    Args:
        multi_block_ratio: one weight for each stage.
        ratio: factor on the result.
    """

    def __init__(self, *, multi_block_ratio: Sequence[float], ratio: float = 1.0):
        super().__init__(ratio=ratio)
        good = isinstance(multi_block_ratio, Sequence)
        if not good or not all(isinstance(weight, int | float) for weight in multi_block_ratio):
            message = 'must be a list of numbers, one per stage'
            raise ConfigError(message, field='multi_block_ratio', received=multi_block_ratio)
        self.multi_block_ratio = tuple(map(float, multi_block_ratio))

    def why_not(self, structure: Structure) -> str | None:
        ends = len(stage_ends(structure))
        if ends != len(self.multi_block_ratio):
            return f'multi_block_ratio has {len(self.multi_block_ratio)} weights, the structure has {ends} stages'
        return None

    def stage_totals(self, values: Iterable[tuple[int, Sequence[float], Any]]) -> list[tuple[float, Any]]:
        """For each stage the sum of the log-terms of all units up to its end, and the last value of its last block.

        Args:
            values: for each block its stride, the log-terms of its units, and any value.

        Raises:
            ConfigError: the number of stages is not that of the weights.
        """
        total = 0.0
        found: list[tuple[float, Any]] = []
        for stride, terms, after in values:
            for term in terms:
                total += term
            if stride != 2 and found:  # the stage goes on
                found[-1] = (total, after)
            else:
                found.append((total, after))
        if len(found) != len(self.multi_block_ratio):
            message = 'must have one weight per stage of the structure'
            raise ConfigError(message, field='multi_block_ratio', received=self.multi_block_ratio)
        return found

    def weighted_stages(self, values: Iterable[tuple[int, Sequence[float], float]]) -> float:
        """Sum over stages of weight * (log-terms of all units up to the stage's end + ln of its channels).

        The ``values`` and errors are those of :meth:`stage_totals`; the last value of a block is the logarithm of its output channels.
        """
        score = 0.0
        for weight, (total, log_channels) in zip(self.multi_block_ratio, self.stage_totals(values)):
            score += weight * (total + log_channels)
        return score


# ln sqrt(fan-in), computed once for each fan-in.
HALF_LOG = BlockMemo(lambda fan_in: math.log(math.sqrt(fan_in)))


def log_terms(block: Block, conv_term: Callable[[Conv], float] | None = None) -> tuple[float, ...]:
    """The log-term of each unit of a block.

    Args:
        conv_term: log-term of a convolution; None for ln sqrt(input channels per group * taps).

    Terms are added one by one, those of a unit here and those of a structure in the scores: in LightNAS's order, which gives its printed scores
    to the last digit. (``sum`` does not: from Python 3.12 on it compensates rounding.)
    """
    runs: Iterable[tuple[int, Iterable[float]]]
    if conv_term is None:
        runs = [(count, map(HALF_LOG.__getitem__, fan_ins)) for count, fan_ins in costs_of(block).fan_ins]
    else:
        runs = [(count, map(conv_term, unit.convs)) for unit, count in unit_runs(block)]
    terms: list[float] = []
    for count, summands in runs:
        total = 0.0
        for summand in summands:
            total += summand
        terms += [total] * count
    return tuple(terms)
