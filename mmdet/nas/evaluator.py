"""Evaluation of candidates, the inner loop of a search: budgets and score in one call.

What a block contributes to each measure is kept by block in one joint memo, so a structure costs one dict lookup for each of its five to eight
blocks and a few additions. No network is built and no array allocated. Timings are in docs/tinynas_scores.md.
"""

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from mmengine.registry import Registry

from mmdet.registry import NAS_BUDGETS, NAS_LATENCIES, NAS_SCORES

from ..archs import Structure
from ..errors import ConfigError
from .budgets import Budget
from .budgets.base import Predictor
from .measure import BlockMeasure, JointMemo
from .scores import Score


class Evaluation(NamedTuple):
    """Score and budgets of a structure.

    Attributes:
        feasible: whether all budgets hold.
        score: the score; None where :meth:`Evaluator.__call__` found a budget that does not hold.
        values: the value of each budget, in the evaluator's order; :meth:`Evaluator.__call__` leaves None after the first that does not hold.
    """

    feasible: bool
    score: float | None
    values: tuple[float | None, ...]


class Evaluator:
    """Computes the budgets of a structure, and its score if they hold.

    Args:
        score: a score or its config.
        budgets, image_size, frames, predictor: as in :func:`build_budgets`.
    """

    def __init__(
        self,
        score: Score | dict,
        budgets: Sequence[Budget | dict] = (),
        *,
        image_size: int | Sequence[int] = 224,
        frames: int | None = None,
        predictor: Predictor | dict | None = None,
    ):
        self.score: Score = score if isinstance(score, Score) else _build(NAS_SCORES, score, 'score')
        self.budgets = build_budgets(budgets, image_size=image_size, frames=frames, predictor=predictor)
        shared = [measure for measure in (*self.budgets, self.score) if isinstance(measure, BlockMeasure)]
        self._memo = JointMemo(shared)

        def plan(measure: Budget | Score) -> tuple[Callable[..., float], int | None]:
            """How a measure is computed, and its column in the joint memo: None where it is computed from the structure."""
            return (measure.combine, shared.index(measure)) if isinstance(measure, BlockMeasure) else (measure, None)

        self._plan = [(*plan(budget), *budget.bounds) for budget in self.budgets]
        self._compute_score, self._score_column = plan(self.score)

    def __call__(self, structure: Structure) -> Evaluation:
        """Evaluate a structure, up to the first budget that does not hold."""
        columns = self._memo.columns(structure)
        values: list[float] = []
        for compute, column, low, high in self._plan:
            value = compute(structure if column is None else columns[column])
            values.append(value)
            if not low <= value <= high:
                return Evaluation(False, None, (*values, *(None,) * (len(self.budgets) - len(values))))
        column = self._score_column
        return Evaluation(True, self._compute_score(structure if column is None else columns[column]), tuple(values))

    def full(self, structure: Structure) -> Evaluation:
        """Evaluate a structure with the value of every budget and the score, feasible or not."""
        values = tuple(budget(structure) for budget in self.budgets)
        feasible = all(budget.allows(value) for budget, value in zip(self.budgets, values))
        return Evaluation(feasible, self.score(structure), values)

    def check_applies(self, structure: Structure) -> None:
        """Raise a ConfigError if the score or a budget cannot be computed for a structure."""
        self.score.check(structure)
        for budget in self.budgets:
            budget.check(structure)

    def check(self, structure: Structure) -> Evaluation:
        """Evaluate the initial structure of a search.

        Raises:
            ConfigError: the score or a budget does not apply to it, or budgets do not hold; all of those are listed.
        """
        self.check_applies(structure)
        values = tuple(budget(structure) for budget in self.budgets)
        broken = [budget.describe(value) for budget, value in zip(self.budgets, values) if not budget.allows(value)]
        if broken:
            count = f'{len(broken)} of {len(values)}'
            raise ConfigError(f'the initial structure violates {count} budgets: ' + '; '.join(broken))
        return Evaluation(True, self.score(structure), values)


def build_budgets(
    budgets: Sequence[Budget | dict],
    *,
    image_size: int | Sequence[int] = 224,
    frames: int | None = None,
    predictor: Predictor | dict | None = None,
) -> list[Budget]:
    """Build budgets from configs such as ``dict(type='flops', budget=4.1e9)`` or ``dict(type='flops', lower=3e9, upper=4.1e9)``.

    Args:
        budgets: configs, or budgets, which are taken as they are.
        image_size: side of the input in pixels, or (height, width), for configs that do not give it.
        frames: frames of a video network's input, for configs that do not give it.
        predictor: latency predictor or its config, for configs that do not give it.

    Raises:
        ConfigError: an unknown type or key, or a type given twice.
    """
    if isinstance(predictor, dict):
        predictor = _build(NAS_LATENCIES, predictor, 'latency')
    built: list[Budget] = []
    for index, budget in enumerate(budgets):
        if not isinstance(budget, Budget):
            facts = dict(image_size=image_size, frames=frames, predictor=predictor)
            budget = _build(NAS_BUDGETS, budget, f'budgets[{index}]', facts)
        if any(budget.name == other.name for other in built):
            message = 'a budget may be given once only; use lower and upper for two bounds'
            raise ConfigError(message, field=f'budgets[{index}]', received=budget.name)
        built.append(budget)
    return built


def class_of(
    registry: Registry, cfg: Mapping, where: str, *, given: Sequence[str] = (), others: Sequence[str] = ()
) -> tuple[type[Any], dict]:
    """The class that a config names, and the arguments for it.

    Args:
        registry: registry of the class.
        cfg: dict with ``type``.
        where: key of the config, for error messages.
        given: arguments that the caller adds and the config must not have.
        others: keys that the caller has already taken out of the config; error messages list them as known.

    Raises:
        ConfigError: unknown type or argument; the message names the nearest known one.
    """
    if not isinstance(cfg, Mapping) or 'type' not in cfg:
        raise ConfigError('must be a dict with type', field=where, received=cfg)
    cfg = dict(cfg)
    kind = cfg.pop('type')
    cls = registry.get(kind) if isinstance(kind, str) else kind
    if not inspect.isclass(cls):
        raise ConfigError(unknown(kind, sorted(registry.module_dict)), field=f'{where}.type', received=kind)
    makers = [vars(base)['__init__'] for base in cls.__mro__ if '__init__' in vars(base)]
    names = {name for maker in makers for name in inspect.signature(maker).parameters}
    known = sorted(names - {'self', 'args', 'kwargs', *given}) + list(others)
    for key in cfg:
        if key not in known:
            raise ConfigError(unknown(key, known), field=f'{where}.{key}', received=cfg[key])
    return cls, cfg


def unknown(key: object, known: Iterable[str]) -> str:
    """Error text for an unknown key or type: the known ones, and the one that is spelt most like it."""
    near = difflib.get_close_matches(str(key), list(known), n=1)
    return f'unknown; there are {sorted(known)}' + (f'; did you mean {near[0]!r}?' if near else '')


def _build(registry: Registry, cfg: Any, where: str, facts: dict | None = None) -> Any:
    """Build an object from a registry; ``facts`` are arguments that the config may replace."""
    cls, cfg = class_of(registry, cfg, where)
    try:
        return cls(**{**(facts or {}), **cfg})
    except TypeError as error:
        raise ConfigError(f'{cls.__name__}: {error}', field=where, received=cfg) from error
