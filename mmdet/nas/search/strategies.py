"""Search strategies, which make the next candidate: the package's evolution, and LightNAS's for comparison.

A strategy is the part of a search inside one process: a population, a random generator, and :meth:`Strategy.step`. Exchange between processes, time
limits and files are in :mod:`~mmdet.nas.search.runner`.
"""

import gc
import random
import time
from collections.abc import Sequence
from typing import Any

from mmdet.registry import NAS_BUDGETS, NAS_STRATEGIES
from mmdet.utils.checks import is_number

from ...archs import Structure
from ...errors import ConfigError
from ..checks import check_integers
from ..evaluator import Evaluation, Evaluator
from ..spaces import Space
from ..spaces.base import Random
from .population import Front, Member, Population


class Strategy:
    """Base of the strategies: evolution of one population.

    Args:
        evaluator: budgets and score.
        space: the space, after its :meth:`~mmdet.nas.spaces.Space.start`.
        seed: seed of this process.
        popu_size: number of structures kept.
        pareto: names of the budgets whose front against the score is kept; names of budgets that the search does not have are ignored.
        minor_mutation: whether mutations change channels only, once ``minor_iter`` candidates have been evaluated.
        minor_iter: number of candidates before minor mutations begin.
    """

    reference = False

    def __init__(
        self,
        *,
        evaluator: Evaluator,
        space: Space,
        seed: int,
        popu_size: int = 256,
        pareto: Sequence[str] = ('flops', 'latency'),
        minor_mutation: bool = False,
        minor_iter: int = 100_000,
    ):
        check_integers('search.', least=2, popu_size=popu_size)
        check_integers('search.', least=0, minor_iter=minor_iter)
        if isinstance(pareto, str) or not set(pareto) <= set(NAS_BUDGETS.module_dict):
            message = f'must be a list of budgets, of {sorted(NAS_BUDGETS.module_dict)}'
            raise ConfigError(message, field='search.pareto', received=pareto)
        self.evaluator, self.space = evaluator, space
        self.random = random.Random(seed)
        self.population = Population(popu_size)
        self._populations = [self.population]
        names = [budget.name for budget in evaluator.budgets]
        self.fronts = {name: Front(names.index(name)) for name in pareto if name in names}
        self.minor_from = minor_iter if minor_mutation else None
        self.evaluated = self.feasible = 0
        self.horizon = 100_000  # evaluations that this process will make; set by the runner

    def add(self, member: Member) -> None:
        """Add a feasible structure to the populations and fronts."""
        for population in self._populations:
            population.add(member)
        for front in self.fronts.values():
            front.add(member)

    def populations(self) -> list[Population]:
        """All populations, which a saved state must hold."""
        return self._populations

    def begin(self, structure: Structure) -> None:
        """Make a structure that is within the budgets the first member."""
        self.add(member_of(structure, self.evaluator(structure)))

    def step(self, count: int, deadline: float | None = None) -> int:
        """Evaluate ``count`` candidates, fewer if ``time.monotonic()`` passes ``deadline``; returns how many."""
        collecting = gc.isenabled()
        gc.disable()  # candidates make no cycles, and walking all known blocks again and again takes a sixth of the time
        evaluate, rng, add = self.evaluator, self.random.random, self.add
        try:
            for done in range(count):
                if deadline is not None and time.monotonic() >= deadline:
                    return done
                minor = self.minor_from is not None and self.evaluated >= self.minor_from
                child = self.propose(rng, minor)
                self.evaluated += 1
                evaluation = evaluate(child)
                if evaluation.feasible:
                    self.feasible += 1
                    add(member_of(child, evaluation))
            return count
        finally:
            if collecting:
                gc.enable()

    def propose(self, rng: Random, minor: bool) -> Structure:
        """Make the next candidate.

        Args:
            rng: gives uniform numbers in [0, 1).
            minor: whether to change channels only.
        """
        raise NotImplementedError

    def emigrants(self, count: int) -> list[Member]:
        """The members that are sent to another process: the ``count`` best."""
        return self.population.members[:count]


def member_of(structure: Structure, evaluation: Evaluation) -> Member:
    """A member from the evaluation of a feasible structure, in which no value is missing."""
    return Member(structure, evaluation.score, evaluation.values)  # type: ignore[arg-type]  # None only where infeasible


@NAS_STRATEGIES.register_module('evolution')
class Evolution(Strategy):
    """Evolution of two populations that see the same candidates: the best of all, and the best of each shape (depths of the blocks).

    The first population exploits good structures: the rank of a parent in it is ``size * u ** pressure`` with u uniform in [0, 1) (LightNAS:
    pressure 1). The second keeps other depths alive, so that a search can leave a local optimum; its parents are drawn uniformly. A child has 1 to
    ``2 * space.block_num`` block mutations, fewer being likelier: near a tight budget a single change is rarely allowed, but two that compensate
    each other are.

    Args:
        pressure: the exponent by which better parents are preferred, at least 1.
        shape_share: probability that the parent comes from the population of shapes; 0 in the last fifth of ``horizon``.
        kwargs: arguments of :class:`Strategy`.
    """

    def __init__(self, *, pressure: float = 2.0, shape_share: float = 0.5, **kwargs: Any):
        super().__init__(**kwargs)
        if not is_number(pressure) or not pressure >= 1:
            raise ConfigError('must be a number >= 1', field='search.pressure', received=pressure)
        if not is_number(shape_share) or not 0 <= shape_share <= 1:
            raise ConfigError('must be a number in [0, 1]', field='search.shape_share', received=shape_share)
        self.pressure, self.shape_share = pressure, shape_share
        self.shapes = Population(self.population.size, by_shape=True)
        self._populations.append(self.shapes)

    def propose(self, rng: Random, minor: bool) -> Structure:
        if rng() < self.shape_share and self.evaluated < 0.8 * self.horizon:
            members, rank = self.shapes.members, rng()
        else:
            members, rank = self.population.members, rng() ** self.pressure
        child, mutate = members[int(len(members) * rank)].structure, self.space.mutate
        for _ in range(1 + int(2 * self.space.block_num * rng() ** 1.5)):
            child = mutate(child, rng, minor)
        return child


@NAS_STRATEGIES.register_module('reference_evolution')
class ReferenceEvolution(Strategy):
    """LightNAS 2.0's evolution, for comparison: uniform parents, always ``block_num`` mutations, and a last block that never changes."""

    reference = True

    def propose(self, rng: Random, minor: bool) -> Structure:
        members = self.population.members
        return self.space.child(members[int(len(members) * rng())].structure, rng, minor)
