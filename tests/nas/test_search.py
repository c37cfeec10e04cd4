"""Searches: the same result from the same seed, after an interruption and in several processes; mistakes are explained before they start."""

import itertools
import json
import math
import os
import random
import threading
import time

import pytest

from mmdet.nas import Evaluator, Score, build_budgets, load_structures, structure_to_dicts
from mmdet.nas.search import (
    Alone,
    Evolution,
    Member,
    Population,
    ReferenceEvolution,
    SearchRunner,
    distance,
    diverse,
    join,
    parse_duration,
    read_settings,
)
from mmdet.nas.search.population import FRONT_STEPS, Front
from mmdet.nas.search.runner import RoundReport, budget_use
from mmdet.nas.search.state import island_state, restore_island
from mmdet.utils import CheckpointError, ConfigError, load_config
from tests import processes
from tests.nas.cases import R50_INITIAL, ROOT

CONFIGS = sorted(path for path in (ROOT / 'configs' / 'tinynas').glob('*/*.py') if path.parent.name != '_base_')
R50 = ROOT / 'configs' / 'tinynas' / 'classification' / 'R50_FLOPs.py'


def cls_config(**changes) -> dict:
    return (
        dict(
            structure=structure_to_dicts(R50_INITIAL),
            budgets=[dict(type='flops', budget=4.1e9), dict(type='layers', budget=49)],
            score=dict(type='madnas', multi_block_ratio=[0, 0, 0, 0, 1]),
            space=dict(type='space_k1kxk1'),
            search=dict(num_random_nets=3000, popu_size=32, exchange_interval=500),
        )
        | changes
    )


def search(tmp_path, cfg=None, **kwargs):
    runner = SearchRunner(read_settings(cfg or cls_config()), tmp_path, log=lambda line: None, **kwargs)
    return runner, runner.run()


def member(score: float, **fields) -> Member:
    return Member((R50_INITIAL[0], R50_INITIAL[1]._replace(**fields)), score, (score,))


def test_variables_of_the_published_quantised_configs():
    bits = dict(nbitsA=[4] * 3, nbitsW=[4] * 3)
    blocks = [
        {'class': 'ConvKXBNRELU', 'in': 3, 'out': 16, 's': 2, 'k': 3, 'nbitsA': 8, 'nbitsW': 8},
        {'class': 'SuperQuantResK1DWK1', 'in': 16, 'out': 24, 's': 2, 'k': 3, 'L': 1, 'btn': 48, **bits},
    ]
    settings = read_settings(
        dict(
            init_bit=4,
            bits_list=[4] * 3,
            model=dict(type='CnnNet', structure_info=blocks),
            score=dict(type='madnas', multi_block_ratio=[0, 1], init_std=4, init_std_act=5),
            space=dict(type='space_quant_k1dwk1'),
        )
    )
    assert settings.start[1].bits_a == (4, 4, 4)


def test_population_keeps_the_best_of_each_kind():
    plain, shapes = Population(2), Population(2, by_shape=True)
    for one in (member(1, btn=8), member(3, btn=16), member(2, btn=24), member(2, btn=24)):
        plain.add(one)
        shapes.add(one)
    assert [m.score for m in plain] == [3, 2] and [m.score for m in shapes] == [3]
    shapes.add(member(1, layers=2))
    assert [m.score for m in shapes] == [3, 1]
    assert not shapes.add(member(0.5, layers=3))


def test_front_and_diverse_choice():
    front = Front(0)
    for value, score in ((1.0, 1.0), (2.0, 0.5), (3.0, 4.0)):
        front.add(member(score)._replace(values=(value,)))
    assert [m.values[0] for m in front.members()] == [1.0, 3.0]
    near, far = member(2, btn=64), member(1, layers=3)
    assert distance(near.structure, near.structure) == 0
    assert [m.score for m in diverse([far, near, member(1.9, btn=72)], 3, 0.1)] == [2, 1]


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_every_config_starts(path):
    cfg = load_config(path)
    if 'latency' in cfg:
        cfg.pop('latency')  # needs a library of measurements
        cfg.budgets = [budget for budget in cfg.budgets if budget.type != 'latency']
    runner = SearchRunner(read_settings(cfg), '.', log=lambda line: None)
    runner.strategy.begin(runner.start)
    first = runner.strategy.population.best.score
    runner.strategy.step(300)
    assert runner.strategy.population.best.score > first


def test_configs_with_a_latency_budget_name_the_missing_library():
    cfg = load_config(ROOT / 'configs' / 'tinynas' / 'damoyolo' / 'damoyolo_k1kx_tiny.py')
    cfg.latency.library = 'nowhere.out'
    with pytest.raises(Exception, match='nowhere.out'):
        read_settings(cfg)


def test_latency_can_be_measured_by_running(tmp_path):
    cfg = cls_config(
        budgets=[dict(type='latency', budget=10.0), dict(type='layers', budget=20)],
        latency=dict(type='MeasuredLatency', image_size=32, repeats=1, warmup=0),
        search=dict(num_random_nets=6, popu_size=4),
    )
    runner, chosen = search(tmp_path, cfg)
    assert runner.settings.run['exchange_interval'] == 64
    assert all(0 < member.values[0] < 10 for member in chosen)
    with pytest.raises(ConfigError, match='latency.repeats'):
        read_settings(cls_config(budgets=cfg['budgets'], latency=dict(type='MeasuredLatency', repeats=0)))


def write_op_library(path) -> None:
    """Every operator of dense networks: 1 ms for each 10 MFLOPs, in a batch of 32."""
    lines = []
    for k, s, fused, ratio in itertools.product((1, 3, 5), (1, 2), (0, 1), (0.25, 1, 4)):
        for out, side in itertools.product((8, 64, 512), (8, 64, 320)):
            ms = ratio * (out * k * side / s) ** 2 / 1e7
            lines.append(f'{{Regular,32,{int(ratio * out)},{side},{side},{out},{k},{s},{fused}}} {ms}')
    path.write_text('\n'.join(lines) + '\n')


@pytest.mark.parametrize('name', ['damoyolo/damoyolo_k1kx_tiny', 'damoyolo/damoyolo_kxkx_medium'])
def test_latency_configs_beat_the_reference_on_a_hand_made_library(tmp_path, name):
    write_op_library(tmp_path / 'ops.out')
    cfg = load_config(ROOT / 'configs' / 'tinynas' / f'{name}.py').to_dict()
    cfg['latency']['library'] = str(tmp_path / 'ops.out')
    cfg['budgets'] = [dict(type='layers', budget=25), dict(type='latency', budget=0.06)]
    scores = []
    for kind in ('evolution', 'reference_evolution'):
        cfg['search'] = dict(type=kind, num_random_nets=4000, popu_size=64)
        runner = SearchRunner(read_settings(cfg), tmp_path, log=lambda line: None)
        runner.strategy.begin(runner.start)
        runner.strategy.step(4000)
        scores.append(runner.strategy.population.best.score)
    assert scores[0] > scores[1]


def test_same_seed_same_result_and_files(tmp_path):
    _, one = search(tmp_path / 'a', seed=1)
    runner, other = search(tmp_path / 'b', seed=1)
    assert one == other and one != search(tmp_path / 'c', seed=2)[1]
    assert (tmp_path / 'a' / 'best_structure.json').read_text() == (tmp_path / 'b' / 'best_structure.json').read_text()
    entries = load_structures(tmp_path / 'a' / 'best_structure.json')
    assert entries[0].blocks == one[0].structure and entries[0].image_size == 224
    scores = [
        json.loads(json.dumps(entry.info))['score'] for entry in load_structures(tmp_path / 'a' / 'pareto_front.json')
    ]
    assert len(scores) > 3 and scores == sorted(scores)
    assert '<svg' in (tmp_path / 'a' / 'search.svg').read_text()
    assert all(runner.settings.evaluator(m.structure).feasible for m in one)


def test_resumed_run_equals_an_uninterrupted_one(tmp_path):
    _, whole = search(tmp_path / 'whole')
    short = cls_config()
    runner = SearchRunner(read_settings(short), tmp_path / 'cut', log=lambda line: None, report_every=0)
    runner.settings.run['num_random_nets'] = 1500  # the horizon stays that of 3000
    runner.run()
    again = SearchRunner(read_settings(cls_config()), tmp_path / 'cut', log=lambda line: None)
    again.resume()
    assert again.strategy.evaluated == 1500
    assert again.run() == whole


def test_resume_refuses_another_search(tmp_path):
    with pytest.raises(CheckpointError, match='nothing to resume'):
        SearchRunner(read_settings(cls_config()), tmp_path / 'none').resume()
    search(tmp_path)
    other = cls_config(score=dict(type='madnas', multi_block_ratio=[0, 0, 1, 1, 6]))
    with pytest.raises(CheckpointError, match='another config'):
        SearchRunner(read_settings(other), tmp_path).resume()
    with pytest.raises(CheckpointError, match='another seed; .* The state has 1. Received: 2'):
        SearchRunner(read_settings(cls_config()), tmp_path, seed=2).resume()


def test_time_limit(tmp_path):
    runner, chosen = search(tmp_path, cls_config(search=dict(num_random_nets=10**9)), time_limit=0.3)
    assert chosen and runner.strategy.evaluated < 10**6


def test_lower_bounds_are_climbed_to(tmp_path):
    cfg = cls_config(budgets=[dict(type='flops', lower=3.5e9, upper=4.1e9)])
    _, chosen = search(tmp_path, cfg)
    assert all(3.5e9 <= m.values[0] <= 4.1e9 for m in chosen)


@pytest.mark.parametrize(
    'changes, message',
    [
        (dict(budget=[]), "did you mean 'budgets'"),
        (dict(structure=None), 'structure: missing'),
        (dict(space=dict(type='space_k1kxk2')), "did you mean 'space_k1kxk1'"),
        (dict(space=dict(type='space_k1kxk1', blocknum=3)), "did you mean 'block_num'"),
        (dict(space=dict(type='space_k1dwk1')), 'block 1: class'),
        (dict(search=dict(popsize=3)), "did you mean 'popu_size'"),
        (dict(search=dict(num_random_nets=0)), 'num_random_nets: must be an integer >= 1'),
        (dict(score=dict(type='madnass')), "score.type: unknown.*did you mean 'madnas'"),
        (dict(score=dict(type='madnas', multi_ratio=[1])), "did you mean 'multi_block_ratio'"),
        (dict(budgets=[dict(type='flops', buget=4e9)]), "did you mean 'budget'"),
        (dict(space='space_k1kxk1'), 'space: must be a dict'),
        (dict(search=dict(pareto=['flop'])), 'search.pareto: must be a list of budgets'),
        (dict(search=dict(minor_iter='x')), 'search.minor_iter: must be an integer'),
        (dict(score=dict(type='madnas', multi_block_ratio=[1])), '1 weights, the structure has 5 stages'),
        (dict(budgets=[dict(type='flops', budget=1e9)]), 'Start smaller'),
        (dict(budgets=[dict(type='flops', budget=-1)]), 'too large'),
        (dict(budgets=[dict(type='layers', lower=9000)]), 'no structure within all budgets'),
    ],
)
def test_mistakes_are_explained_before_the_first_evaluation(tmp_path, monkeypatch, changes, message):
    monkeypatch.setattr('mmdet.nas.search.runner.CLIMB_EVALUATIONS', 200)
    with pytest.raises(ConfigError, match=message.replace('[', r'\[')):
        SearchRunner(read_settings(cls_config(**changes)), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    'text, seconds', [(' 90 ', 90), ('90s', 90), ('2d', 172800), ('30m', 1800), ('1h30m', 5400), ('1.5h', 5400)]
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize('text', ['', 'm', '0', '5x', '-3m', '3m!'])
def test_durations_that_are_none(text):
    with pytest.raises(ConfigError, match='--time-limit'):
        parse_duration(text)


class Threads(Alone):
    """Islands as threads of one process."""

    world_size = 2

    def __init__(self, rank: int, shared: dict, barrier: threading.Barrier):
        self.rank, self.shared, self.barrier = rank, shared, barrier

    def gather(self, packet):
        self.shared[self.rank] = packet
        self.barrier.wait(60)
        packets = [self.shared[rank] for rank in range(self.world_size)]
        self.barrier.wait(60)
        return packets


def two_islands(cfg: dict, folder) -> str:
    """The best structures' file of a search on two threads."""
    shared, barrier = {}, threading.Barrier(2)
    settings = [read_settings(cfg) for _ in range(2)]
    runners = [
        SearchRunner(settings[rank], folder, group=Threads(rank, shared, barrier), log=lambda line: None)
        for rank in range(2)
    ]
    threads = [threading.Thread(target=runner.run) for runner in runners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert runners[0].strategy.population.best == runners[1].strategy.population.best
    return (folder / 'best_structure.json').read_text()


def test_islands_give_the_same_result_in_two_processes(tmp_path):
    cfg = load_config(R50)
    cfg.search.update(num_random_nets=1000, exchange_interval=125)
    threads = two_islands(cfg.to_dict(), tmp_path / 'a')
    options = ['search.num_random_nets=1000', 'search.exchange_interval=125']
    command = [
        ROOT / 'tools' / 'search.py',
        R50,
        '--launcher',
        'pytorch',
        '--work-dir',
        tmp_path / 'c',
        '--cfg-options',
        *options,
    ]
    done = processes.run_together(command, [{**os.environ, **rank} for rank in processes.ranks()])
    assert [process.returncode for process in done] == [0, 0], done
    assert (tmp_path / 'c' / 'best_structure.json').read_text() == threads


# -- expectations written by hand ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('scores', 'kept', 'order'),
    [
        ([], [], []),
        ([1.0, 2.0, 3.0, 4.0], [True] * 4, [4.0, 3.0, 2.0]),
        ([4.0, 3.0, 2.0, 1.0], [True, True, True, False], [4.0, 3.0, 2.0]),
        ([4.0, 3.0, 2.0, 2.0], [True, True, True, False], [4.0, 3.0, 2.0]),  # equal to the last: not better
        ([1.0, float('nan'), 2.0], [True, False, True], [2.0, 1.0]),
    ],
)
def test_population_of_three(scores, kept, order):
    population = Population(3)
    assert [population.add(member(score, btn=8 * i)) for i, score in enumerate(scores, start=1)] == kept
    assert [m.score for m in population] == order and len(population) == len(order)


def test_equal_scores_keep_the_order_of_arrival():
    population = Population(3)
    for score, btn in ((1, 8), (2, 16), (1, 24), (2, 32)):
        population.add(member(score, btn=btn))
    assert [m.structure[1].btn for m in population] == [16, 32, 8]
    # what was dropped may come again, what is there may not
    assert not population.add(member(2, btn=16)) and population.add(member(3, btn=24))
    assert [m.structure[1].btn for m in population] == [24, 16, 32] and population.best.score == 3


def test_a_shape_is_replaced_by_its_better_member_only():
    shapes = Population(2, by_shape=True)
    one, two, three = member(2, layers=1, btn=8), member(2, layers=2, btn=8), member(5, layers=1, btn=16)
    assert shapes.add(one) and shapes.add(two)
    assert not shapes.add(member(2, layers=1, btn=24))  # as good: the first one stays
    assert shapes.add(three) and shapes.members == [three, two]
    assert shapes.add(member(3, layers=3)) and [m.score for m in shapes] == [5, 3]
    assert shapes.add(member(4, layers=2)) and [m.score for m in shapes] == [5, 4]  # shape 2 had been dropped


def test_cells_of_a_front():
    """Costs within 2 % share a cell, in which the better one stays; dearer and not better is left out; 0 has no place."""
    front = Front(1)

    def add(cost: float, score: float) -> None:
        front.add(member(score)._replace(values=(0.0, cost)))

    for cost, score in (
        (1.001, 1.0),
        (1.01, 3.0),
        (1.005, 2.0),
        (1.03, 3.0),
        (2.0, 3.5),
        (0.5, 0.1),
        (0.0, 9.0),
        (-1.0, 9.0),
    ):
        add(cost, score)
    assert [(m.values[1], m.score) for m in front.members()] == [(0.5, 0.1), (1.01, 3.0), (2.0, 3.5)]
    assert FRONT_STEPS == 50


def test_distance_by_hand():
    one = (R50_INITIAL[0], R50_INITIAL[1])
    wider = R50_INITIAL[1]._replace(out_channels=512, btn=32, layers=3, kernel=5, kt=3)
    expected = (math.log(2) + math.log(2) + math.log(3) + 0.5 + 0.5) / 2
    assert distance(one, (one[0], wider)) == distance((one[0], wider), one) == pytest.approx(expected)
    assert distance(one, (one[0]._replace(out_channels=16), one[1])) == pytest.approx(math.log(2) / 2)


def test_diverse_choice_is_sorted_and_limited():
    members = [member(1, layers=4), member(3, layers=1), member(2, layers=2), member(4, layers=1, btn=64)]
    assert [m.score for m in diverse(members, 5, 0.1)] == [4, 2, 1]  # 3 differs from 4 in nothing
    assert [m.score for m in diverse(members, 2, 0.1)] == [4, 2] and diverse(members, 0, 0.1) == []
    assert [m.score for m in diverse(members, 5, 0.0)] == [4, 3, 2, 1]  # the bound itself is far enough
    assert [m.score for m in diverse(members, 5, math.log(2) / 2)] == [4, 2, 1]
    assert [m.score for m in diverse(members, 5, math.log(2) / 2 + 1e-9)] == [4, 1]


class Fixed:
    """A space whose mutation adds one unit to block 1 and counts its calls."""

    block_num = 2

    def __init__(self):
        self.minor: list[bool] = []

    def mutate(self, structure, rng, minor=False):
        self.minor.append(minor)
        return (structure[0], structure[1]._replace(layers=structure[1].layers + 1))

    def child(self, structure, rng, minor=False):
        return self.mutate(structure, rng, minor)


class Depth(Score):
    """Units of block 1."""

    def __call__(self, structure):
        return float(structure[1].layers)


def evolution(cls=Evolution, **options):
    evaluator = Evaluator(Depth(), [dict(type='layers', upper=1 + 3 * 6)])
    strategy = cls(evaluator=evaluator, space=Fixed(), seed=0, **options)
    for layers in (1, 2, 3, 4):
        strategy.begin((R50_INITIAL[0], R50_INITIAL[1]._replace(layers=layers)))
    return strategy


@pytest.mark.parametrize(
    ('options', 'evaluated', 'numbers', 'parent', 'mutations'),
    [
        # first draw: which population (0.5 and more: the best of all); second: the rank; third: how many mutations
        ({}, 0, [0.5, 0.99, 0.0], 1, 1),  # the last of four: 4, 3, 2, 1 units
        ({}, 0, [0.5, 0.7, 0.0], 3, 1),  # 4 * 0.7 ** 2 = 1.96
        ({}, 0, [0.5, 0.71, 0.0], 2, 1),  # 2.02
        (dict(pressure=1.0), 0, [0.5, 0.7, 0.0], 2, 1),  # 2.8
        ({}, 0, [0.49, 0.7, 0.0], 2, 1),  # of the shapes, uniformly
        (dict(shape_share=0), 0, [0.0, 0.7, 0.0], 3, 1),
        ({}, 79, [0.49, 0.7, 0.0], 2, 1),
        ({}, 80, [0.49, 0.7, 0.0], 3, 1),  # the last fifth of 100
        ({}, 0, [0.5, 0.0, 0.39], 4, 1),  # 1 + int(4 * 0.39 ** 1.5 = 0.97)
        ({}, 0, [0.5, 0.0, 0.4], 4, 2),
        ({}, 0, [0.5, 0.0, 0.999], 4, 4),
    ],
)
def test_parents_and_mutations(options, evaluated, numbers, parent, mutations):
    strategy = evolution(**options)
    strategy.horizon, strategy.evaluated = 100, evaluated
    child = strategy.propose(iter(numbers).__next__, False)
    assert len(strategy.space.minor) == mutations and child[1].layers == parent + mutations


def test_the_reference_draws_parents_uniformly():
    strategy = evolution(ReferenceEvolution)
    assert strategy.propose(iter([0.7]).__next__, False)[1].layers == 2 + 1
    assert strategy.populations() == [strategy.population]
    assert [m.score for m in strategy.emigrants(2)] == [4.0, 3.0]


def test_steps_count_and_keep_what_is_feasible():
    """From 4 units 5, 6, and then 7, which the budget does not allow."""
    strategy = evolution(ReferenceEvolution, popu_size=2, minor_mutation=True, minor_iter=3)
    strategy.random = type('Best', (), {'random': staticmethod(lambda: 0.0)})
    assert strategy.step(4) == 4
    assert (strategy.evaluated, strategy.feasible) == (4, 2)
    assert [m.score for m in strategy.population] == [6.0, 5.0]
    assert [m.values for m in strategy.population] == [(19,), (16,)]
    assert strategy.space.minor == [False, False, False, True]  # evaluated, not feasible, structures count
    assert strategy.step(3, deadline=time.monotonic() - 1) == 0 and strategy.evaluated == 4
    assert evolution(minor_iter=0).minor_from is None


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(popu_size=1), 'search.popu_size: must be an integer >= 2. Received: 1'),
        (dict(minor_iter=-1), 'search.minor_iter: must be an integer >= 0. Received: -1'),
        (dict(pareto='flops'), "search.pareto: must be a list of budgets.*Received: 'flops'"),
        (dict(pressure=0.9), 'search.pressure: must be a number >= 1. Received: 0.9'),
        (dict(shape_share=1.1), r'search.shape_share: must be a number in \[0, 1\]. Received: 1.1'),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(ConfigError, match=message):
        evolution(**options)


def entry(score: float, layers: int, btn: int = 64) -> Member:
    """A member of the R50 space with values for flops and layers."""
    structure = (*R50_INITIAL[:1], R50_INITIAL[1]._replace(layers=layers, btn=btn), *R50_INITIAL[2:])
    return Member(structure, score, (1e9 + btn, layers))


class Script(Alone):
    """Process 1 of 3; the reports and results of the other two are given, one list for each gathering."""

    rank, world_size = 1, 3

    def __init__(self, *others):
        self.others, self.sent = list(others), []

    def gather(self, packet):
        self.sent.append(packet)
        before, after = self.others.pop(0)
        return [before, packet, after]


def test_islands_exchange_in_a_ring(tmp_path):
    """One round of 500 on each: what process 0 sends arrives here, what process 2 sends does not; at the end all come together."""
    mine, theirs, others = entry(900.0, 1), entry(1000.0, 2), entry(1100.0, 3)
    last = [entry(2000.0, 2, 72), entry(950.0, 3, 80)]
    reports = [RoundReport(500, 400, [theirs], False, True), RoundReport(400, 90, [others], False, False)]
    finals = [[last[0]], [last[1]]]
    group = Script(reports, ({}, {}), finals, ([others], []))
    cfg = cls_config(search=dict(num_random_nets=1400, popu_size=8, exchange_interval=500, emigrants=1))
    lines = []
    runner = SearchRunner(read_settings(cfg), tmp_path, group=group, seed=7, log=lines.append)
    assert runner.strategy.horizon == 467  # a third, rounded up
    assert runner.strategy.random.getstate() == random.Random(7001).getstate()
    runner.strategy.add(mine)
    runner.strategy.step = lambda count, deadline: steps.append((count, deadline))
    runner.strategy.evaluated, runner.strategy.feasible = 500, 300
    steps: list = []
    assert runner.run() == [others]  # what process 0 has chosen
    assert steps == [(0, None)]  # 500 of a share of 467 are made
    report, state, result, chosen = group.sent
    assert report == RoundReport(500, 300, [mine], False, False) and chosen == []
    assert state['evaluated'] == 500 and result == [theirs, mine, theirs]  # population, front of flops
    assert [m.score for m in runner.strategy.population] == [2000.0, 1000.0, 950.0, 900.0]
    # the round's total, and the best that was sent; only process 0 prints and writes
    (record,) = runner.history
    assert {**record, 'elapsed': 0} == dict(
        evaluated=1400, feasible=790, elapsed=0, score=1100.0, flops=1e9 + 64, layers=3
    )
    assert lines == [] and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    'rounds',
    [
        # evaluated by processes 0, 1 and 2 at the end of each round, and whether process 2 is late; the total is 2000
        [(500, 500, 500, False), (500, 1000, 500, False)],
        [(500, 500, 500, False), (500, 999, 500, False), (501, 999, 500, False)],
        [(667, 667, 665, False), (667, 667, 666, False)],
        [(500, 500, 500, True)],
    ],
)
def test_islands_end_together(tmp_path, rounds):
    """When the total is reached, or one process is late; not before."""
    best, empty = [entry(1.0, 1)], []
    script = [
        (RoundReport(first, 1, best, False, False), RoundReport(last, 1, best, late, False))
        for first, _, last, late in rounds
    ]
    group = Script(*script, ({}, {}), (empty, empty), ([], []))
    cfg = cls_config(search=dict(num_random_nets=2000, popu_size=8, exchange_interval=500))
    runner = SearchRunner(read_settings(cfg), tmp_path, group=group, log=lambda line: None)
    runner.strategy.add(best[0])
    own = iter([own for _, own, _, _ in rounds])
    runner.strategy.step = lambda count, deadline: setattr(runner.strategy, 'evaluated', next(own))
    runner.run()
    assert [type(packet) for packet in group.sent] == [RoundReport] * len(rounds) + [dict, list, list]


def test_time_before_a_resume_counts(tmp_path, monkeypatch):
    """Readings of the clock: 100 at the start, 107 after the first of two rounds, 119 after the second; then 1000 and 1003."""
    clock = iter([100.0, 107.0, 119.0, 1000.0, 1003.0])
    monkeypatch.setattr(
        'mmdet.nas.search.runner.time', type('Clock', (), {'monotonic': staticmethod(lambda: next(clock))})
    )
    cfg = cls_config(search=dict(num_random_nets=200, popu_size=8, exchange_interval=100))
    lines = []
    runner = SearchRunner(read_settings(cfg), tmp_path, report_every=10, log=lines.append)
    runner.run()
    assert [(record['evaluated'], record['elapsed']) for record in runner.history] == [(100, 7.0), (200, 19.0)]
    assert lines[1].startswith('200/200 evaluated, ') and ' 19 s, 11/s  best ' in lines[1]
    assert json.loads((tmp_path / 'search_state.json').read_text())['elapsed'] == 19.0
    runner = SearchRunner(read_settings(cfg), tmp_path, log=lines.append)
    runner.resume()
    runner.settings.run['num_random_nets'] = 300
    runner.run()
    assert [(record['evaluated'], record['elapsed']) for record in runner.history] == [
        (100, 7.0),
        (200, 19.0),
        (300, 22.0),
    ]


def test_reports_are_not_more_frequent_than_asked(tmp_path, monkeypatch):
    """Rounds end at 1, 5, 12 and 21 seconds: the first, those 10 seconds after a report, and the last are reported."""
    clock = iter([0.0, 1.0, 5.0, 12.0, 21.0])
    monkeypatch.setattr(
        'mmdet.nas.search.runner.time', type('Clock', (), {'monotonic': staticmethod(lambda: next(clock))})
    )
    cfg = cls_config(search=dict(num_random_nets=200, popu_size=8, exchange_interval=50))
    runner = SearchRunner(read_settings(cfg), tmp_path, log=lambda line: None)
    runner.run()
    assert [record['evaluated'] for record in runner.history] == [50, 150, 200]


def test_budget_use():
    upper, lower, both, none = (
        build_budgets([dict(type='flops', **bounds)])[0]
        for bounds in (dict(upper=4e9), dict(lower=2e9), dict(lower=1e9, upper=5e9), {})
    )
    assert [budget_use(budget, 1e9) for budget in (upper, lower, both, none)] == [
        'flops 1e+09 (25.0%)', 'flops 1e+09 (50.0%)', 'flops 1e+09 (20.0%)', 'flops 1e+09',
    ]  # fmt: skip


def test_state_there_and_back():
    """Bits come back as tuples, populations in their order, the generator at its place."""
    strategy = evolution()
    quantised = R50_INITIAL[1]._replace(bits_a=(4, 4, 4), bits_w=(5, 5, 5), layers=5)
    strategy.add(Member((R50_INITIAL[0], quantised), 9.0, (19,)))
    strategy.evaluated, strategy.feasible = 7, 6
    strategy.random.random()
    strategy.random.gauss(0, 1)
    state = json.loads(json.dumps(island_state(strategy)))
    fresh = Evolution(evaluator=strategy.evaluator, space=Fixed(), seed=1)
    restore_island(fresh, state)
    assert (fresh.evaluated, fresh.feasible) == (7, 6)
    assert fresh.population.members == strategy.population.members and fresh.shapes.members == strategy.shapes.members
    assert fresh.random.gauss(0, 1) == strategy.random.gauss(0, 1) and fresh.random.random() == strategy.random.random()
    assert fresh.population.best.structure[1] == quantised and isinstance(
        fresh.population.best.structure[1].bits_a, tuple
    )


def test_settings_are_handed_on(tmp_path):
    cfg = cls_config(
        image_size=96, task='detection', frames=5, search=dict(num_random_nets=7, num_network=2, min_distance=0.3, emigrants=9),
    )  # fmt: skip
    settings = read_settings(cfg)
    assert settings.run == dict(num_random_nets=7, num_network=2, min_distance=0.3, exchange_interval=2048, emigrants=9)
    assert settings.facts == dict(image_size=96, frames=5, task='detection') and settings.space['image_size'] == 96
    strategy = settings.build_strategy(0)
    assert strategy.space.max_units == (49 - 1) // 3 and strategy.space.side == 96
    assert [budget.image_hw for budget in settings.evaluator.budgets] == [(96, 96)] * 2
    assert settings.evaluator.budgets[0].frames is None  # an image network
    reference = read_settings(cls_config(search=dict(type='reference_evolution'))).build_strategy(0)
    assert reference.space.reference and not strategy.space.reference
    assert read_settings(cls_config(score=dict(type='zen'), search={})).run['exchange_interval'] == 64
    assert read_settings(cls_config()).fingerprint != read_settings(cls_config(image_size=96)).fingerprint
    assert read_settings(cls_config(work_dir='a')).fingerprint == read_settings(cls_config(work_dir='b')).fingerprint


def test_launchers(monkeypatch):
    assert join('none').gather('x') == ['x']
    with pytest.raises(ConfigError, match="--launcher: must be 'none' or 'pytorch'. Received: 'mpi'"):
        join('mpi')
    for key in ('RANK', 'MASTER_PORT'):
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv('WORLD_SIZE', '2')
    monkeypatch.setenv('MASTER_ADDR', 'localhost')
    with pytest.raises(ConfigError, match='the environment lacks RANK, MASTER_PORT. Received'):
        join('pytorch')
