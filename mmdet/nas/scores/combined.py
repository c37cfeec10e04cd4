"""The sum of several scores, and a random score."""

import random
from collections.abc import Sequence

from mmdet.registry import NAS_SCORES

from ...archs import Structure
from ...errors import ConfigError
from .base import Score


@NAS_SCORES.register_module('ensemble')
class Ensemble(Score):
    """Sum of several scores, each with its own ``ratio``, times the outer one.

    Args:
        scores: the scores, or their configs; at least one.
        ratio: factor on the sum.
    """

    def __init__(self, *, scores: Sequence[Score | dict], ratio: float = 1.0):
        super().__init__(ratio=ratio)
        if not isinstance(scores, Sequence) or not scores:
            raise ConfigError('must be a list of score configs, not empty', field='scores', received=scores)
        self.members = [score if isinstance(score, Score) else NAS_SCORES.build(dict(score)) for score in scores]

    def __call__(self, structure: Structure) -> float:
        return self.ratio * sum(member(structure) for member in self.members)

    def why_not(self, structure: Structure) -> str | None:
        return next(filter(None, (member.why_not(structure) for member in self.members)), None)


@NAS_SCORES.register_module('random')
class RandomScore(Score):
    """A random number, uniform in [0, 100), whatever the structure: the baseline of a search without a score.

    Args:
        seed: seed of the score's own generator.
        ratio: factor on the result.
    """

    def __init__(self, *, seed: int = 0, ratio: float = 1.0):
        super().__init__(ratio=ratio)
        self._random = random.Random(seed)

    def __call__(self, structure: Structure) -> float:
        return self.ratio * 100 * self._random.random()
