"""A search config, checked: which keys there are, and what is built from them before the first evaluation."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from mmdet.registry import NAS_SPACES, NAS_STRATEGIES

from ...archs.blocks.base import is_3d
from ...archs.files import build_structure
from ...archs.structure import Structure
from ...errors import ConfigError
from ..evaluator import Evaluator, class_of, unknown
from ..latency import MeasuredLatency
from ..measure import BlockMeasure
from ..scores import STEntropy

KEYS = ('image_size', 'frames', 'structure', 'budgets', 'score', 'space', 'search', 'latency', 'work_dir', 'task')
# Keys of LightNAS's own configs that have no bearing here; 'model' holds its start.
REFERENCE_KEYS = ('model', 'log_level', 'log_freq', 'enable_gpu', 'default_scope')
RUN_KEYS = dict(num_random_nets=100_000, num_network=5, min_distance=0.1, exchange_interval=None, emigrants=4)
IGNORED_SEARCH_KEYS = ('sync_size_ratio',)


@dataclass
class SearchSettings:
    """What a search needs, built.

    Attributes:
        start: the initial structure.
        evaluator: budgets and score.
        space: config of the space.
        strategy: config of the strategy, without what the runner adds.
        run: values of ``RUN_KEYS``.
        facts: image_size, frames and task, for the files written.
        fingerprint: the config as text: a search resumes only under the same.
    """

    start: Structure
    evaluator: Evaluator
    space: dict
    strategy: dict
    run: dict
    facts: dict = field(default_factory=dict)
    fingerprint: str = ''

    def build_strategy(self, seed: int):
        """A strategy with its space, ready for the start.

        Raises:
            ConfigError: unknown types or keys, or a start that is not of the space.
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
    """Check a search config and build what it names.

    Keys: ``structure`` (block dicts, or a file of structures), ``score``, ``budgets``, ``space``, and optionally ``search``, ``image_size``
    (224), ``frames``, ``latency``, ``task``, ``work_dir``. LightNAS's ``model=dict(structure_info=[...])`` stands for ``structure``.

    Raises:
        ConfigError: a key or type that does not exist (with the nearest one), or a value that cannot be.
    """
    cfg = dict(cfg)
    known = KEYS + REFERENCE_KEYS
    for key in cfg:
        if key not in known:
            raise ConfigError(unknown(key, known), field=key, received=cfg[key])
    for key in ('space', 'search', 'model'):
        if cfg.get(key) is not None and not isinstance(cfg[key], Mapping):
            raise ConfigError('must be a dict', field=key, received=cfg[key])
    structure = cfg.get('structure')
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
    evaluator = Evaluator(
        cfg['score'],
        budgets,
        image_size=image_size,
        frames=frames if is_3d(start) else None,
        predictor=cfg.get('latency'),
    )
    search = dict(cfg.get('search') or {})
    run = {key: search.pop(key, default) for key, default in RUN_KEYS.items()}
    for key in IGNORED_SEARCH_KEYS:
        search.pop(key, None)
    _check_run(run)
    if run['exchange_interval'] is None:
        # closed-form scores take 20 microseconds a candidate, networks that run a second
        runs = any(isinstance(budget.predictor, MeasuredLatency) for budget in evaluator.budgets)
        run['exchange_interval'] = 2048 if isinstance(evaluator.score, BlockMeasure | STEntropy) and not runs else 64
    space = dict(cfg['space'])
    space.setdefault('image_size', image_size)
    settings = SearchSettings(
        start, evaluator, space, {'type': 'evolution', **search}, run,
        facts=dict(image_size=image_size if isinstance(image_size, int) else None, frames=frames, task=cfg.get('task')),
        fingerprint=json.dumps({key: cfg[key] for key in KEYS if key in cfg and key != 'work_dir'}, sort_keys=True, default=str),
    )  # fmt: skip
    settings.build_strategy(0)
    return settings


def _check_run(run: dict) -> None:
    for key in ('num_random_nets', 'num_network', 'exchange_interval', 'emigrants'):
        value = run[key]
        if value is None and key == 'exchange_interval':
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigError('must be an integer >= 1', field=f'search.{key}', received=value)
    if not isinstance(run['min_distance'], int | float) or run['min_distance'] < 0:
        raise ConfigError('must be a number >= 0', field='search.min_distance', received=run['min_distance'])
