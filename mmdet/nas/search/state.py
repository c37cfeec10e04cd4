"""The saved state of a search, as JSON: everything that the rest of the run depends on."""

import json
from pathlib import Path

from ...archs.structure import Block
from ...errors import CheckpointError
from .population import Member
from .strategies import Strategy

STATE_FILE = 'search_state.json'
VERSION = 1


def island_state(strategy: Strategy) -> dict:
    """The state of one process: populations, fronts, counters and random generator, as plain JSON values."""
    version, numbers, gauss = strategy.random.getstate()
    return dict(
        random=[version, list(numbers), gauss],
        evaluated=strategy.evaluated,
        feasible=strategy.feasible,
        populations=[[_plain(member) for member in population] for population in strategy.populations()],
        fronts={name: [_plain(member) for member in front.members()] for name, front in strategy.fronts.items()},
    )


def restore_island(strategy: Strategy, state: dict) -> None:
    """Put the state that :func:`island_state` gave into a fresh strategy."""
    version, numbers, gauss = state['random']
    strategy.random.setstate((version, tuple(numbers), gauss))
    strategy.evaluated, strategy.feasible = state['evaluated'], state['feasible']
    for population, members in zip(strategy.populations(), state['populations'], strict=True):
        for member in members:
            population.add(_member(member))
    for name, members in state['fronts'].items():
        for member in members:
            strategy.fronts[name].add(_member(member))


def read_state(work_dir: Path, *, fingerprint: str, world_size: int, seed: int | None) -> dict:
    """Read the state to resume from.

    Args:
        work_dir: folder of the search.
        fingerprint: the config as text (:class:`~mmdet.nas.search.settings.SearchSettings`).
        world_size: number of processes.
        seed: seed of the search; None accepts any.

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
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f'is not a search state: {error!r}', file=path) from error
    for what, there, here in pairs:
        if there != here:
            raise CheckpointError(
                f'was written with another {what}; resume with the same, or start in another work dir.'
                + ('' if what == 'config' else f' There: {there}'), file=path, received=None if what == 'config' else here,
            )  # fmt: skip
    return state


def _plain(member: Member) -> list:
    return [[list(block) for block in member.structure], member.score, list(member.values)]


def _member(plain: list) -> Member:
    blocks, score, values = plain
    # JSON turns the tuples of bit widths into lists.
    structure = tuple(Block._make(tuple(v) if isinstance(v, list) else v for v in block) for block in blocks)
    return Member(structure, score, tuple(values))
