"""What a score is, and the parts that the entropy scores share.

A score maps a structure to a number, the larger the better. The closed-form ones add up one *log-term* per residual unit: the logarithm of the
standard deviation that the unit's convolutions give to a unit-variance input with unit-variance weights, without batch norm, activation and
residual. A convolution of kernel k over c input channels per group contributes 0.5 * ln(c * k^2), so any family has every score.
"""

import math
from collections.abc import Callable, Iterable, Sequence

from ...archs.blocks import Conv, unit_runs
from ...archs.blocks.costs import costs_of
from ...archs.structure import Block, BlockMemo, Structure, stage_ends
from ...errors import ConfigError


class Score:
    """Base of the scores.

    Args:
        ratio: factor on the result.
    """

    def __init__(self, *, ratio: float = 1.0):
        self.ratio = ratio

    def __call__(self, structure: Structure) -> float:
        raise NotImplementedError

    def why_not(self, structure: Structure) -> str | None:
        """Why this score does not apply to a structure; None if it does. To be asked once, before a search."""
        return None

    def check(self, structure: Structure) -> None:
        """Raise what :meth:`why_not` says.

        Raises:
            ConfigError: the score does not apply to the structure.
        """
        reason = self.why_not(structure)
        if reason:
            raise ConfigError(reason, field=f'score {type(self).__name__}')


class StageScore(Score):
    """A weighted sum over stages of the log-terms accumulated so far.

    Args:
        multi_block_ratio: one weight per stage.
        ratio: factor on the result.
    """

    def __init__(self, *, multi_block_ratio: Sequence[float], ratio: float = 1.0):
        super().__init__(ratio=ratio)
        good = isinstance(multi_block_ratio, Sequence) and not isinstance(multi_block_ratio, str)
        if not good or not all(isinstance(weight, int | float) for weight in multi_block_ratio):
            raise ConfigError(
                'must be a list of numbers, one per stage', field='multi_block_ratio', received=multi_block_ratio
            )
        self.multi_block_ratio = tuple(map(float, multi_block_ratio))

    def why_not(self, structure: Structure) -> str | None:
        ends = len(stage_ends(structure))
        if ends != len(self.multi_block_ratio):
            return f'multi_block_ratio has {len(self.multi_block_ratio)} weights, the structure has {ends} stages'
        return None

    def weighted_stages(self, values: Iterable[tuple[int, tuple[float, ...], float]]) -> float:
        """Sum over stages of weight * (log-terms of all units up to the stage's end + ln of its channels).

        Args:
            values: per block its stride, its units' log-terms and the logarithm of its output channels.

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
        return ConfigError(
            'must have one weight per stage of the structure',
            field='multi_block_ratio',
            received=self.multi_block_ratio,
        )


# ln sqrt(fan-in), for every fan-in that has been seen
HALF_LOG = BlockMemo(lambda fan_in: math.log(math.sqrt(fan_in)))


def log_terms(block: Block, conv_term: Callable[[Conv], float] | None = None) -> tuple[float, ...]:
    """The log-term of each unit of a block.

    Args:
        block: the block.
        conv_term: log-term of a convolution; None for ln sqrt(input channels per group * taps).

    Terms of a unit are added one by one here, and those of a structure in the scores: the order of the reference, which makes its printed scores
    come out to the last digit. (``sum`` would not do: it compensates rounding from Python 3.12 on.)
    """
    terms: list[float] = []
    if conv_term is None:
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
