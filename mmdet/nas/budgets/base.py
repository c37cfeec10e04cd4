"""Budgets: measures of a structure that must lie within an upper or a lower bound, or both."""

import sys
from collections.abc import Sequence
from typing import Protocol

from mmdet.utils.checks import is_number

from ...archs import Structure, is_3d
from ...errors import ConfigError
from ..checks import image_sides


class Predictor(Protocol):
    """A latency predictor."""

    def __call__(self, structure: Structure) -> float:
        """Seconds per image; infinite where they cannot be predicted."""

    def check(self, structure: Structure) -> None:
        """Raise ConfigError if the structure cannot be predicted."""


class Budget:
    """Base of the budgets.

    All have the same arguments, so that a search builds them from the same facts; each uses what it needs.

    Args:
        budget: upper bound, under LightNAS's name for ``upper``.
        upper: largest value allowed; None for no bound.
        lower: smallest value allowed; None for no bound.
        image_size: side of the input in pixels, or (height, width).
        frames: frames of a video network's input.
        predictor: latency predictor, for the budget ``latency``.
    """

    name: str

    def __init__(
        self,
        *,
        budget: float | None = None,
        upper: float | None = None,
        lower: float | None = None,
        image_size: int | Sequence[int] = 224,
        frames: int | None = None,
        predictor: Predictor | None = None,
    ):
        if budget is not None and upper is not None:
            both = dict(budget=budget, upper=upper)
            raise ConfigError('budget and upper are the same bound; give one', field=self.name, received=both)
        self.upper = budget if budget is not None else upper
        self.lower = lower
        for key, bound in (('upper', self.upper), ('lower', lower)):
            if bound is not None and (not is_number(bound) or bound != bound):
                raise ConfigError('must be a number', field=f'{self.name}.{key}', received=bound)
        if self.upper is not None and lower is not None and lower > self.upper:
            raise ConfigError(f'must be <= the upper bound {self.upper}', field=f'{self.name}.lower', received=lower)
        # The allowed values, both ends inclusive. Infinity, the latency that cannot be predicted, is never allowed.
        largest = sys.float_info.max
        self.bounds = -largest if lower is None else lower, largest if self.upper is None else min(self.upper, largest)
        self.image_hw = image_sides(image_size)
        self.frames = frames
        self.predictor = predictor

    def __call__(self, structure: Structure) -> float:
        """The value of a structure."""
        raise NotImplementedError

    def allows(self, value: float) -> bool:
        """Whether a value lies within the bounds (both inclusive)."""
        low, high = self.bounds
        return low <= value <= high

    def violation(self, value: float) -> float:
        """How far a value is outside the bounds, relative to the bound that it violates: 0 inside, infinite for infinity."""
        if value == float('inf'):
            return value
        if self.upper is not None and value > self.upper:
            return (value - self.upper) / abs(self.upper or 1)
        if self.lower is not None and not value >= self.lower:
            return (self.lower - value) / abs(self.lower or 1)
        return 0.0

    def describe(self, value: float) -> str:
        """A value with the bounds, for messages: ``flops 4.2e+09 (<= 4.1e+09: too large)``."""
        bounds = []
        if self.lower is not None:
            bounds.append(f'>= {self.lower:g}' + ('' if value >= self.lower else ': too small'))
        if self.upper is not None:
            bounds.append(f'<= {self.upper:g}' + (': too large' if value > self.upper else ''))
        return f'{self.name} {value:g} ({", ".join(bounds) or "no bound"})'

    def check(self, structure: Structure) -> None:
        """Check that this budget can be computed for a structure. A search asks once, before it starts.

        Raises:
            ConfigError: something that the budget needs is missing.
        """


def needs_frames(structure: Structure, frames: int | None, name: str) -> None:
    """Raise ConfigError if the structure is a video network and the number of frames is not known."""
    if frames is None and is_3d(structure):
        raise ConfigError('a video network needs frames', field=f'{name}.frames', received=frames)
