"""Checks a search config and builds the objects that it names before the first evaluation."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mmdet.registry import NAS_SPACES, NAS_STRATEGIES
from mmdet.utils.checks import is_number

from ...archs import Structure, build_structure, is_3d
from ...errors import ConfigError
from ..checks import check_integers
from ..evaluator import Evaluator, class_of, unknown
from ..latency import MeasuredLatency
from ..measure import BlockMeasure
from ..scores import STEntropy
from .strategies import Strategy

KEYS = ('image_size', 'frames', 'structure', 'budgets', 'score', 'space', 'search', 'latency', 'work_dir', 'task')
# Keys of LightNAS's own configs, accepted and without effect, except for 'model', which holds its initial structure.
# 'init_bit' and 'bits_list' are variables of the configs of quantised networks, whose values are in the structure already.
REFERENCE_KEYS = ('model', 'log_level', 'log_freq', 'enable_gpu', 'default_scope', 'init_bit', 'bits_list')
RUN_KEYS = dict(num_random_nets=100_000, num_network=5, min_distance=0.1, exchange_interval=None, emigrants=4)
IGNORED_SEARCH_KEYS = ('sync_size_ratio',)


@dataclass
class SearchSettings:
    """The checked contents of a search config, and the objects built from it.

    Attributes:
        start: the initial structure.
        evaluator: budgets and score.
        space: config of the space.
        strategy: config of the strategy, without the arguments that :meth:`build_strategy` adds.
        run: values of ``RUN_KEYS``.
        facts: image_size, frames and task, for the result files.
        fingerprint: the config as text; a search can only be resumed with the same.
    """

    start: Structure
    evaluator: Evaluator
    space: dict
    strategy: dict
    run: dict
    facts: dict = field(default_factory=dict)
    fingerprint: str = ''

    def build_strategy(self, seed: int) -> Strategy:
        """Build the strategy and its space, prepared for the initial structure.

        Raises:
            ConfigError: unknown types or keys, or an initial structure that does not belong to the space.
        """
        strategy_cls, strategy = class_of(
            NAS_STRATEGIES, self.strategy, 'search', given=('evaluator', 'space', 'seed'), others=tuple(RUN_KEYS)
        )
        space_cls, space = class_of(NAS_SPACES, self.space, 'space')
        if strategy_cls.reference:
            space.setdefault('reference', True)
        built = space_cls(**space)
        bounds = [budget.upper for budget in self.evaluator.budgets if budget.name == 'layers']
        built.start(self.start, bounds[0] if bounds else None)
        return strategy_cls(evaluator=self.evaluator, space=built, seed=seed, **strategy)


def read_settings(cfg: Mapping) -> SearchSettings:
    """Check a search config and build the objects that it names.

    Its keys are ``structure`` (as :func:`~mmdet.archs.files.build_structure` takes it), ``score`` and ``space``, and optionally ``budgets``,
    ``search``, ``image_size`` (224), ``frames``, ``latency``, ``task`` and ``work_dir``. LightNAS's ``model=dict(structure_info=[...])`` may stand
    for ``structure``.

    Raises:
        ConfigError: an unknown key or type (the message names the nearest one), or an impossible value.
        DataError: the structure is wrong, or its file cannot be read.
    """
    file, cfg = getattr(cfg, 'filename', None), dict(cfg)
    if not cfg.keys() & {'structure', 'score', 'space'}:
        raise ConfigError(
            'is no search config, which needs structure, score and space', file=file, received=sorted(cfg)
        )
    for key in cfg:
        if key not in KEYS + REFERENCE_KEYS:
            raise ConfigError(unknown(key, KEYS + REFERENCE_KEYS), field=key, received=cfg[key])
    for key in ('space', 'search', 'model'):
        if cfg.get(key) is not None and not isinstance(cfg[key], Mapping):
            raise ConfigError('must be a dict', field=key, received=cfg[key])
    structure: Any = cfg.get('structure')
    if structure is None:
        structure = (cfg.get('model') or {}).get('structure_info')
    for key, value in (('structure', structure), ('score', cfg.get('score')), ('space', cfg.get('space'))):
        if not value:
            raise ConfigError('missing; a search config needs structure, score and space', field=key, received=value)
    image_size, frames = cfg.get('image_size', 224), cfg.get('frames')
    start = build_structure(structure)
    budgets = cfg.get('budgets') or []
    if not isinstance(budgets, list | tuple):
        raise ConfigError('must be a list of budgets, dict(type=..., budget=...)', field='budgets', received=budgets)
    facts = dict(image_size=image_size, frames=frames if is_3d(start) else None, predictor=cfg.get('latency'))
    evaluator = Evaluator(cfg['score'], budgets, **facts)
    search = dict(cfg.get('search') or {})
    run = {key: search.pop(key, default) for key, default in RUN_KEYS.items()}
    for key in IGNORED_SEARCH_KEYS:
        search.pop(key, None)
    if run['exchange_interval'] is None:
        # A candidate takes 20 microseconds with closed-form measures, and up to a second where networks are run.
        measured = any(isinstance(budget.predictor, MeasuredLatency) for budget in evaluator.budgets)
        closed_form = isinstance(evaluator.score, BlockMeasure | STEntropy)
        run['exchange_interval'] = 2048 if closed_form and not measured else 64
    check_integers('search.', **{key: run[key] for key in RUN_KEYS if key != 'min_distance'})
    if not is_number(run['min_distance']) or run['min_distance'] < 0:
        raise ConfigError('must be a number >= 0', field='search.min_distance', received=run['min_distance'])
    settings = SearchSettings(
        start, evaluator, {'image_size': image_size, **cfg['space']}, {'type': 'evolution', **search}, run,
        facts=dict(image_size=image_size if isinstance(image_size, int) else None, frames=frames, task=cfg.get('task')),
        fingerprint=json.dumps({key: cfg[key] for key in KEYS if key in cfg and key != 'work_dir'}, sort_keys=True, default=str),
    )  # fmt: skip
    settings.build_strategy(0)  # so that mistakes in its settings are reported before the search starts
    return settings
