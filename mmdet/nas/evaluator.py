"""A candidate's budgets and score in one call: the inner loop of a search.

Design: what a block contributes to each measure is remembered by block in one joint memo, so that a structure costs one dict lookup for each of
its five to eight blocks and a few additions. A child that differs from its parent in two blocks computes at most those two; blocks recur, so most
are known. No network is built and no array allocated. Timings: docs/tinynas_scores.md.
"""

import difflib
import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from mmdet.registry import NAS_BUDGETS, NAS_LATENCIES, NAS_SCORES

from ..archs.structure import Structure
from ..errors import ConfigError
from .budgets import Budget
from .measure import BlockMeasure, JointMemo
from .scores import Score


class Evaluation(NamedTuple):
    """What an evaluator says of a structure.

    Attributes:
        feasible: whether all budgets hold.
        score: the score; None where a budget does not hold (scores are computed for feasible structures only).
        values: one value per budget, in the evaluator's order; None after the first that does not hold, unless all were asked for.
    """

    feasible: bool
    score: float | None
    values: tuple[float | None, ...]


class Evaluator:
    """Budgets first, the score only where they hold.

    Args:
        score: a score or its config.
        budgets: budgets, built, or as :func:`build_budgets` takes them.
        image_size: side of the input in pixels, or (height, width), for budgets given as configs.
        frames: frames of a video network's input, for budgets given as configs.
        predictor: latency predictor, or its config, for budgets given as configs.
    """

    def __init__(
        self,
        score: Score | dict,
        budgets: Sequence[Budget | dict] = (),
        *,
        image_size: int | Sequence[int] = 224,
        frames: int | None = None,
        predictor=None,
    ):
        self.score = score if isinstance(score, Score) else _build(NAS_SCORES, score, 'score')
        self.budgets = build_budgets(budgets, image_size=image_size, frames=frames, predictor=predictor)
        shared = [measure for measure in (*self.budgets, self.score) if isinstance(measure, BlockMeasure)]
        self._memo = JointMemo(shared)
        # Per budget how it is computed, its column in the joint memo (None for those that need more than blocks by themselves), and its bounds.
        self._plan = [
            (budget.combine, shared.index(budget), *budget.bounds)
            if budget in shared
            else (budget, None, *budget.bounds)
            for budget in self.budgets
        ]
        self._score_column = shared.index(self.score) if self.score in shared else None

    def __call__(self, structure: Structure) -> Evaluation:
        """Stop at the first budget that does not hold."""
        columns = self._memo.columns(structure)
        values = []
        for compute, column, low, high in self._plan:
            value = compute(structure if column is None else columns[column])
            values.append(value)
            if not low <= value <= high:
                return Evaluation(False, None, (*values, *(None,) * (len(self.budgets) - len(values))))
        score = self.score(structure) if self._score_column is None else self.score.combine(columns[self._score_column])
        return Evaluation(True, score, tuple(values))

    def full(self, structure: Structure) -> Evaluation:
        """As a call, but with every budget's value and the score in any case."""
        values = tuple(budget(structure) for budget in self.budgets)
        feasible = all(budget.allows(value) for budget, value in zip(self.budgets, values))
        return Evaluation(feasible, self.score(structure), values)

    def check(self, structure: Structure) -> Evaluation:
        """To be asked of the initial structure, before a search: can everything be computed, and do the budgets hold?

        Raises:
            ConfigError: the score or a budget does not apply, or budgets do not hold; all of those are listed.
        """
        self.score.check(structure)
        for budget in self.budgets:
            budget.check(structure)
        evaluation = self.full(structure)
        if not evaluation.feasible:
            pairs = zip(self.budgets, evaluation.values)
            broken = [budget.describe(value) for budget, value in pairs if not budget.allows(value)]
            raise ConfigError(
                f'the initial structure violates {len(broken)} of {len(self.budgets)} budgets: ' + '; '.join(broken)
            )
        return evaluation


def build_budgets(
    budgets: Sequence[Budget | dict],
    *,
    image_size: int | Sequence[int] = 224,
    frames: int | None = None,
    predictor=None,
) -> list[Budget]:
    """Budgets from configs as the reference writes them, ``dict(type='flops', budget=4.1e9)``; ``upper`` and ``lower`` are keys, too.

    A config's own ``image_size`` and ``frames`` come before the arguments.

    Raises:
        ConfigError: an unknown type or key, or a type given twice.
    """
    if isinstance(predictor, dict):
        predictor = _build(NAS_LATENCIES, predictor, 'latency')
    built = []
    for index, budget in enumerate(budgets):
        if not isinstance(budget, Budget):
            facts = dict(image_size=image_size, frames=frames, predictor=predictor)
            budget = _build(NAS_BUDGETS, budget, f'budgets[{index}]', facts)
        if any(budget.name == other.name for other in built):
            raise ConfigError(
                'each budget once; use lower and upper for two bounds', field=f'budgets[{index}]', received=budget.name
            )
        built.append(budget)
    return built


def class_of(
    registry, cfg: Mapping, where: str, *, given: Sequence[str] = (), others: Sequence[str] = ()
) -> tuple[type, dict]:
    """Class and arguments that a config names.

    Args:
        registry: where the class is.
        cfg: dict with ``type``.
        where: the config's key, for messages.
        given: arguments that do not come from the config.
        others: keys to name besides the arguments in the message about an unknown one.

    Raises:
        ConfigError: unknown type or argument, with the nearest one.
    """
    if not isinstance(cfg, Mapping) or 'type' not in cfg:
        raise ConfigError('must be a dict with type', field=where, received=cfg)
    cfg = dict(cfg)
    kind = cfg.pop('type')
    cls = registry.get(kind) if isinstance(kind, str) else kind
    if not inspect.isclass(cls):
        raise ConfigError(unknown(kind, sorted(registry.module_dict)), field=f'{where}.type', received=kind)
    signatures = [inspect.signature(base.__init__) for base in cls.__mro__ if '__init__' in vars(base)]
    names = {name for signature in signatures for name in signature.parameters}
    known = sorted(names - {'self', 'args', 'kwargs', *given}) + list(others)
    for key in cfg:
        if key not in known:
            raise ConfigError(unknown(key, known), field=f'{where}.{key}', received=cfg[key])
    return cls, cfg


def unknown(key, known: Iterable[str]) -> str:
    """What to say of a key or type that does not exist."""
    near = difflib.get_close_matches(str(key), list(known), n=1)
    return f'unknown; there are {sorted(known)}' + (f'; did you mean {near[0]!r}?' if near else '')


def _build(registry, cfg: dict, where: str, facts: dict | None = None):
    """Build from a registry, with the package's errors for unknown types and keys; ``facts`` fill what the config leaves open."""
    cls, cfg = class_of(registry, cfg, where)
    try:
        return cls(**{**(facts or {}), **cfg})
    except TypeError as error:
        raise ConfigError(f'{cls.__name__}: {error}', field=where, received=cfg) from error
