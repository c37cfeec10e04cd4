"""Base classes of the scores, and what the entropy scores share.

A score maps a structure to a number; larger is better. The closed-form scores add up one *log-term* for each residual unit: the logarithm of the
standard deviation that the unit's convolutions give to an input of unit variance with weights of unit variance, without batch norm, activation
and skip path. A convolution of kernel k over c input channels per group contributes 0.5 * ln(c * k^2).
"""

import math
from collections.abc import Callable, Iterable, Sequence

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

    def weighted_stages(self, values: Iterable[tuple[int, Sequence[float], float]]) -> float:
        """Sum over stages of weight * (log-terms of all units up to the stage's end + ln of its channels).

        Args:
            values: for each block its stride, the log-terms of its units, and the logarithm of its output channels.

        Raises:
            ConfigError: the number of stages is not that of the weights.
        """
        weights, last = self.multi_block_ratio, len(self.multi_block_ratio) - 1
        stage, total, score, log_channels = -1, 0.0, 0.0, 0.0
        for stride, terms, after in values:
            if stride == 2 or stage < 0:
                if stage >= last:
                    raise self._wrong_stages()
                if stage >= 0:
                    score += weights[stage] * (total + log_channels)
                stage += 1
            for term in terms:
                total += term
            log_channels = after
        if stage != last:
            raise self._wrong_stages()
        return score + weights[last] * (total + log_channels)

    def _wrong_stages(self) -> ConfigError:
        message = 'must have one weight per stage of the structure'
        return ConfigError(message, field='multi_block_ratio', received=self.multi_block_ratio)


# ln sqrt(fan-in), computed once for each fan-in.
HALF_LOG = BlockMemo(lambda fan_in: math.log(math.sqrt(fan_in)))


def log_terms(block: Block, conv_term: Callable[[Conv], float] | None = None) -> tuple[float, ...]:
    """The log-term of each unit of a block.

    Args:
        conv_term: log-term of a convolution; None for ln sqrt(input channels per group * taps).

    Terms are added one by one, those of a unit here and those of a structure in the scores: in LightNAS's order, which gives its printed scores
    to the last digit. (``sum`` does not: from Python 3.12 on it compensates rounding.)
    """
    terms: list[float] = []
    if conv_term is None:  # written out, because a search does this for every candidate
        for count, fan_ins in costs_of(block).fan_ins:
            total = 0.0
            for fan_in in fan_ins:
                total += HALF_LOG[fan_in]
            terms += [total] * count
        return tuple(terms)
    for unit, count in unit_runs(block):
        total = 0.0
        for conv in unit.convs:
            total += conv_term(conv)
        terms += [total] * count
    return tuple(terms)
