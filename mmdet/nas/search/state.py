"""The saved state of a search, as JSON: everything that the rest of the run depends on."""

import json
from pathlib import Path

from ...archs import Block
from ...errors import CheckpointError
from .population import Member
from .strategies import Strategy

STATE_FILE = 'search_state.json'
VERSION = 1


def island_state(strategy: Strategy) -> dict:
    """The state of one process: populations, fronts, counters and random generator, as values that JSON can hold."""
    return dict(
        random=strategy.random.getstate(),
        evaluated=strategy.evaluated,
        feasible=strategy.feasible,
        populations=[list(population) for population in strategy.populations()],
        fronts={name: front.members() for name, front in strategy.fronts.items()},
    )


def restore_island(strategy: Strategy, state: dict) -> None:
    """Put the state that :func:`island_state` gave into a fresh strategy.

    Raises:
        CheckpointError: the state is another one.
    """
    try:
        version, numbers, gauss = state['random']
        strategy.random.setstate((version, tuple(numbers), gauss))
        strategy.evaluated, strategy.feasible = state['evaluated'], state['feasible']
        for population, members in zip(strategy.populations(), state['populations'], strict=True):
            for member in members:
                population.add(_member(member))
        for name, members in state['fronts'].items():
            for member in members:
                strategy.fronts[name].add(_member(member))
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise CheckpointError(f'holds no island of this search ({error!r})', file=STATE_FILE) from error


def read_state(work_dir: Path, *, fingerprint: str, world_size: int, seed: int | None) -> dict:
    """Read the state to resume from.

    Args:
        work_dir: folder of the search.
        fingerprint: the config as text (:class:`~mmdet.nas.search.settings.SearchSettings`).
        world_size: number of processes.
        seed: seed of the search; None for any.

    Raises:
        CheckpointError: there is none, it is broken, or it belongs to another config, number of processes or seed.
    """
    path = work_dir / STATE_FILE
    try:
        state = json.loads(path.read_text(encoding='utf-8'))
        pairs = (
            ('version', state['version'], VERSION), ('processes', state['world_size'], world_size),
            ('seed', state['seed'], state['seed'] if seed is None else seed), ('config', state['fingerprint'], fingerprint),
        )  # fmt: skip
        len(state['islands'])
    except OSError as error:
        raise CheckpointError(f'nothing to resume: {error.strerror}', file=path) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f'is not a search state: {error!r}', file=path) from error
    for what, there, here in pairs:
        if there != here:
            message = f'was written with another {what}; resume with the same, or start in another work dir'
            if what == 'config':  # too long to show
                raise CheckpointError(message, file=path)
            raise CheckpointError(f'{message}. The state has {there}', file=path, received=here)
    return state


def _member(plain: list) -> Member:
    """A member from JSON, which turns all tuples, those of bit widths among them, into lists."""
    blocks, score, values = plain
    structure = tuple(Block._make(tuple(v) if isinstance(v, list) else v for v in block) for block in blocks)
    return Member(structure, score, tuple(values))
