"""Runs a search: rounds of evaluations, exchange between processes, progress lines, saved states, time limit, result files.

A round is ``exchange_interval`` evaluations on each process. At its end each process receives the best structures of the one before it in a ring,
and all learn how far the others are. The search changes at these fixed counts only, so the same seed and number of processes give the same
result, and a resumed run gives that of an uninterrupted one. Only a time limit cuts a round short.
"""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ...archs import Structure, describe
from ...errors import ConfigError
from ...utils.files import make_folder, write_json
from ..budgets import Budget
from .exchange import Alone
from .outputs import write_outputs
from .population import Member
from .settings import SearchSettings
from .state import STATE_FILE, VERSION, island_state, read_state, restore_island
from .strategies import Strategy

CLIMB_EVALUATIONS = 20_000
_UNITS = dict(s=1.0, m=60.0, h=3600.0, d=86400.0)


class RoundReport(NamedTuple):
    """What a process tells the others at the end of a round.

    Attributes:
        evaluated: number of structures that it has evaluated since the start.
        feasible: how many of them were within all budgets.
        emigrants: its best members, best first.
        late: whether its time limit has passed.
        due: whether progress is to be reported; only process 0 decides.
    """

    evaluated: int
    feasible: int
    emigrants: list[Member]
    late: bool
    due: bool


class SearchRunner:
    """Runs this process's share of a search.

    Args:
        settings: the checked config.
        work_dir: folder of the result files; created.
        group: the processes of the search; None for this one alone.
        seed: seed of the search; process r uses ``seed * 1000 + r``.
        time_limit: seconds of wall time; None for no limit.
        report_every: seconds between progress lines, and between saved states.
        log: receives progress lines; only process 0 calls it.

    Raises:
        ConfigError: the start violates an upper bound, or no structure within the lower bounds is found near it.
    """

    def __init__(
        self,
        settings: SearchSettings,
        work_dir: str | Path,
        *,
        group: Alone | None = None,
        seed: int = 1,
        time_limit: float | None = None,
        report_every: float = 10.0,
        log: Callable[[str], None] = print,
    ):
        self.settings, self.work_dir, self.group, self.seed = settings, Path(work_dir), group or Alone(), seed
        self.time_limit, self.report_every, self.log = time_limit, report_every, log
        self.budgets = settings.evaluator.budgets  # in the order of a member's values
        self.strategy = settings.build_strategy(seed * 1000 + self.group.rank)
        self.strategy.horizon = -(-settings.run['num_random_nets'] // self.group.world_size)
        self.history: list[dict] = []
        self.elapsed_before = 0.0
        self.start = find_start(self.strategy, settings.start)

    def resume(self) -> None:
        """Continue from the state saved in the work dir.

        Raises:
            CheckpointError: there is none, or it belongs to another search.
        """
        state = read_state(
            self.work_dir, fingerprint=self.settings.fingerprint, world_size=self.group.world_size, seed=self.seed
        )
        restore_island(self.strategy, state['islands'][self.group.rank])
        self.history, self.elapsed_before = state['history'], state['elapsed']

    def run(self) -> list[Member]:
        """Search to the end, write the files, and return the chosen structures, best first."""
        run, group, strategy = self.settings.run, self.group, self.strategy
        began = time.monotonic()
        deadline = None if self.time_limit is None else began + self.time_limit
        if not len(strategy.population):
            strategy.begin(self.start)
        make_folder(self.work_dir)
        reported = began - self.report_every  # the first round is reported
        total, share = run['num_random_nets'], -(-run['num_random_nets'] // group.world_size)
        while True:
            strategy.step(min(run['exchange_interval'], max(share - strategy.evaluated, 0)), deadline)
            now = time.monotonic()
            late = deadline is not None and now >= deadline
            due = group.rank == 0 and now - reported >= self.report_every
            reports = group.gather(
                RoundReport(strategy.evaluated, strategy.feasible, strategy.emigrants(run['emigrants']), late, due)
            )
            evaluated = sum(report.evaluated for report in reports)
            if group.world_size > 1:
                for member in reports[group.rank - 1].emigrants:
                    strategy.add(member)
            ended = evaluated >= total or any(report.late for report in reports)
            if reports[0].due or ended:
                reported = now
                best = max((report.emigrants[0] for report in reports), key=lambda member: member.score)
                elapsed = self.elapsed_before + now - began
                self._report(evaluated, sum(report.feasible for report in reports), elapsed, best)
                islands = group.gather(island_state(strategy))
                if group.rank == 0:
                    state = dict(
                        version=VERSION, seed=self.seed, world_size=group.world_size, fingerprint=self.settings.fingerprint,
                        elapsed=elapsed, history=self.history, islands=islands,
                    )  # fmt: skip
                    write_json(self.work_dir / STATE_FILE, state)
            if ended:
                return self._finish()

    def _report(self, evaluated: int, feasible: int, elapsed: float, best: Member) -> None:
        """Add a record to the history and print a progress line."""
        if self.history and self.history[-1]['evaluated'] == evaluated:
            return  # a search that had ended was resumed
        facts = dict(evaluated=evaluated, feasible=feasible, elapsed=round(elapsed, 3), score=best.score)
        self.history.append(facts | {budget.name: value for budget, value in zip(self.budgets, best.values)})
        if self.group.rank == 0:
            use = '  '.join(map(budget_use, self.budgets, best.values))
            rate = evaluated / max(elapsed, 1e-9)
            self.log(
                f'{evaluated}/{self.settings.run["num_random_nets"]} evaluated, {feasible / max(evaluated, 1):.0%} within budgets, '
                f'{elapsed:.0f} s, {rate:,.0f}/s  best {best.score:.6g}  {use}'
            )

    def _finish(self) -> list[Member]:
        """Join the structures of all processes; process 0 writes the files. All return the same members."""
        strategy, group = self.strategy, self.group
        # A copy of the population: processes that are threads would see it grow.
        found = [*strategy.population, *(member for front in strategy.fronts.values() for member in front.members())]
        for members in group.gather(found):
            for member in members:
                strategy.add(member)
        written = write_outputs(self.work_dir, self.settings, strategy, self.history) if group.rank == 0 else []
        chosen: list[Member] = group.gather(written)[0]
        if group.rank == 0:
            for member in chosen:
                self.log(f'{member.score:.6g}  {describe(member.structure)}')
        return chosen


def budget_use(budget: Budget, value: float) -> str:
    """``flops 4.09e+09 (99.8%)``: a value, and its share of the upper bound, or of the lower one where there is no upper bound."""
    bound = budget.upper if budget.upper is not None else budget.lower
    return f'{budget.name} {value:.4g}' + (f' ({value / bound:.1%})' if bound else '')


def find_start(strategy: Strategy, start: Structure) -> Structure:
    """A structure within all budgets: the start, or one near it if the start is below a lower bound.

    Raises:
        ConfigError: the start is above an upper bound, or no such structure is found.
    """
    budgets = strategy.evaluator.budgets
    strategy.evaluator.check_applies(start)
    values = [(budget, budget(start)) for budget in budgets]
    too_large = [b.describe(value) for b, value in values if b.upper is not None and not value <= b.upper]
    if too_large:
        raise ConfigError(
            f'the initial structure ({describe(start)}) violates {len(too_large)} of {len(values)} budgets: {"; ".join(too_large)}. '
            'Start smaller (fewer channels; L of 1), best below a quarter of each budget, or raise the budget', field='budgets',
        )  # fmt: skip

    def outside(structure: Structure) -> float:
        return sum(budget.violation(budget(structure)) for budget in budgets)

    best, rng = outside(start), strategy.random.random
    for _ in range(CLIMB_EVALUATIONS):
        if best <= 0:
            break
        child = strategy.space.child(start, rng)
        violation = outside(child)
        if violation <= best:
            start, best = child, violation
    if best <= 0:
        return start
    broken = [b.describe(b(start)) for b in budgets if not b.allows(b(start))]
    raise ConfigError(
        f'no structure within all budgets was found from the start in {CLIMB_EVALUATIONS} steps; the nearest, {describe(start)}, '
        f'has {"; ".join(broken)}. The space may not reach these bounds', field='budgets',
    )  # fmt: skip


def parse_duration(text: str | None) -> float | None:
    """Seconds of a duration such as '90', '90s', '30m', '1.5h', '1h30m' or '1d'; None for None.

    Raises:
        ConfigError: any other text, or a duration of 0.
    """
    if text is None:
        return None
    text = str(text).strip().lower()
    parts = re.findall(r'(\d+(?:\.\d+)?)([smhd]?)', text)
    seconds = sum(float(number) * _UNITS[unit or 's'] for number, unit in parts)
    if not parts or ''.join(number + unit for number, unit in parts) != text or not seconds > 0:
        raise ConfigError("must be a duration > 0 like '90s', '30m', '1h30m'", field='--time-limit', received=text)
    return seconds
