"""A search from start to files: rounds of evaluations, exchange, progress, state, limits.

A round is ``exchange_interval`` evaluations on each process; at its end every process sends its best structures to the next one in a ring, and
says how far it is. Everything that changes the search happens at these fixed counts, so the same seed and number of processes give the
same result, and so does a run that was stopped and resumed. Only a time limit cuts a round short.
"""

import re
import time
from collections.abc import Callable
from pathlib import Path

from ...archs.structure import Structure, describe
from ...errors import ConfigError
from ...utils.files import write_json
from .exchange import Alone
from .outputs import write_outputs
from .population import Member
from .settings import SearchSettings
from .state import STATE_FILE, VERSION, island_state, read_state, restore_island
from .strategies import Strategy

CLIMB_EVALUATIONS = 20_000
_UNITS = dict(s=1.0, m=60.0, h=3600.0, d=86400.0)


class SearchRunner:
    """Runs a search on this process's island.

    Args:
        settings: the config, read.
        work_dir: where files go; created.
        group: the processes.
        seed: of the search; process r uses ``seed * 1000 + r``.
        time_limit: seconds of wall time; None for no limit.
        report_every: seconds between progress lines, and between saved states.
        log: takes progress lines; only process 0 reports.

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
        self.strategy = settings.build_strategy(seed * 1000 + self.group.rank)
        self.strategy.horizon = -(-settings.run['num_random_nets'] // self.group.world_size)
        self.history: list[dict] = []
        self.elapsed_before = 0.0
        self.start = find_start(self.strategy, settings.start)

    @property
    def budgets(self):
        return self.settings.evaluator.budgets

    def resume(self) -> None:
        """Continue from the work dir's state.

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
        self.work_dir.mkdir(parents=True, exist_ok=True)
        reported = began - self.report_every
        total, share = run['num_random_nets'], -(-run['num_random_nets'] // group.world_size)
        while True:
            strategy.step(min(run['exchange_interval'], max(share - strategy.evaluated, 0)), deadline)
            now = time.monotonic()
            late = deadline is not None and now >= deadline
            due = group.rank == 0 and now - reported >= self.report_every
            packets = group.gather(
                (strategy.evaluated, strategy.feasible, strategy.emigrants(run['emigrants']), late, due)
            )
            evaluated = sum(packet[0] for packet in packets)
            if group.world_size > 1:
                for member in packets[group.rank - 1][2]:
                    strategy.add(member)
            ended = evaluated >= total or all(packet[0] >= share for packet in packets) or any(p[3] for p in packets)
            if due or packets[0][4] or ended:
                reported = now
                best = max((packet[2][0] for packet in packets), key=lambda member: member.score)
                elapsed = self.elapsed_before + now - began
                self._report(evaluated, sum(packet[1] for packet in packets), elapsed, best)
                islands = group.gather(island_state(strategy))
                if group.rank == 0:
                    self._save(islands, elapsed)
            if ended:
                break
        return self._finish()

    def _report(self, evaluated: int, feasible: int, elapsed: float, best: Member) -> None:
        names = [budget.name for budget in self.budgets]
        record = dict(
            evaluated=evaluated,
            feasible=feasible,
            elapsed=round(elapsed, 3),
            score=best.score,
            **dict(zip(names, best.values)),
        )
        if self.history and self.history[-1]['evaluated'] == evaluated:
            return
        self.history.append(record)
        if self.group.rank == 0:
            use = '  '.join(map(budget_use, self.budgets, best.values))
            rate = evaluated / max(elapsed, 1e-9)
            self.log(
                f'{evaluated}/{self.settings.run["num_random_nets"]} evaluated, {feasible / max(evaluated, 1):.0%} within budgets, '
                f'{elapsed:.0f} s, {rate:,.0f}/s  best {best.score:.6g}  {use}'
            )

    def _save(self, islands: list[dict], elapsed: float) -> None:
        settings = self.settings
        state = dict(
            version=VERSION, seed=self.seed, world_size=self.group.world_size, fingerprint=settings.fingerprint,
            elapsed=elapsed, history=self.history, islands=islands,
        )  # fmt: skip
        write_json(self.work_dir / STATE_FILE, state)

    def _finish(self) -> list[Member]:
        """Every island's structures to process 0, which writes them; all return the same."""
        strategy = self.strategy
        fronts = {name: front.members() for name, front in strategy.fronts.items()}
        for population, others in self.group.gather((strategy.population.members, fronts)):
            for member in population:
                strategy.add(member)
            for members in others.values():
                for member in members:
                    strategy.add(member)
        chosen = write_outputs(self.work_dir, self.settings, strategy, self.history) if self.group.rank == 0 else None
        chosen = self.group.gather(chosen)[0]
        if self.group.rank == 0:
            for member in chosen:
                self.log(f'{member.score:.6g}  {describe(member.structure)}')
        return chosen


def budget_use(budget, value: float) -> str:
    """As ``flops 4.09e+09 (99.8%)``, in parts of the upper bound, or of the lower one."""
    bound = budget.upper if budget.upper is not None else budget.lower
    return f'{budget.name} {value:.4g}' + (f' ({value / bound:.1%})' if bound else '')


def find_start(strategy: Strategy, start: Structure) -> Structure:
    """The start, or where lower bounds do not hold for it a structure near it for which all do.

    Raises:
        ConfigError: an upper bound does not hold for the start, or nothing is found.
    """
    evaluator = strategy.evaluator
    evaluator.score.check(start)
    for budget in evaluator.budgets:
        budget.check(start)
    values = [budget(start) for budget in evaluator.budgets]
    too_large = [
        budget.describe(value)
        for budget, value in zip(evaluator.budgets, values)
        if budget.upper is not None and not value <= budget.upper
    ]
    if too_large:
        raise ConfigError(
            f'the initial structure ({describe(start)}) violates {len(too_large)} of {len(values)} budgets: {"; ".join(too_large)}. '
            'Start smaller (fewer channels; L of 1), best below a quarter of each, or raise the budget',
            field='budgets',
        )
    for budget in evaluator.budgets:
        if budget.upper is not None and budget.upper < 0:
            raise ConfigError('no structure has less than 0', field=f'budgets.{budget.name}', received=budget.upper)

    def outside(structure: Structure) -> float:
        return sum(budget.violation(budget(structure)) for budget in evaluator.budgets)

    best, rng = outside(start), strategy.random.random
    for _ in range(CLIMB_EVALUATIONS):
        if best <= 0:
            return start
        child = strategy.space.child(start, rng)
        violation = outside(child)
        if violation <= best:
            start, best = child, violation
    if best <= 0:
        return start
    broken = [b.describe(b(start)) for b in evaluator.budgets if not b.allows(b(start))]
    raise ConfigError(
        f'no structure within all budgets was found from the start in {CLIMB_EVALUATIONS} steps; the nearest, {describe(start)}, '
        f'has {"; ".join(broken)}. The space may not reach these bounds', field='budgets',
    )  # fmt: skip


def parse_duration(text: str | None) -> float | None:
    """Seconds of '90', '90s', '30m', '1.5h', '1h30m', '1d'.

    Raises:
        ConfigError: anything else.
    """
    if text is None:
        return None
    text = str(text).strip().lower()
    parts = re.findall(r'(\d+(?:\.\d+)?)([smhd]?)', text)
    seconds = sum(float(number) * _UNITS[unit or 's'] for number, unit in parts)
    if not parts or ''.join(number + unit for number, unit in parts) != text or not seconds > 0:
        raise ConfigError("must be a duration > 0 like '90s', '30m', '1h30m'", field='--time-limit', received=text)
    return seconds
