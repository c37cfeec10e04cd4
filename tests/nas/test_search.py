"""Searches: the same result from the same seed, after an interruption and in several processes; mistakes are explained before they start."""

import itertools
import json
import os
import socket
import subprocess
import sys
import threading

import pytest

from mmdet.nas import load_structures, structure_to_dicts
from mmdet.nas.search import Alone, Member, Population, SearchRunner, distance, diverse, parse_duration, read_settings
from mmdet.nas.search.population import Front
from mmdet.utils import CheckpointError, ConfigError, load_config
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
    with pytest.raises(CheckpointError, match='another seed'):
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


@pytest.mark.parametrize('text, seconds', [('90', 90), ('90s', 90), ('30m', 1800), ('1h30m', 5400), ('1.5h', 5400)])
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


def test_islands_give_the_same_result_each_time_and_under_torchrun(tmp_path):
    cfg = load_config(R50)
    cfg.search.update(num_random_nets=2000, exchange_interval=250)
    threads = two_islands(cfg.to_dict(), tmp_path / 'a')
    assert threads == two_islands(cfg.to_dict(), tmp_path / 'b')
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    subprocess.run(
        ['bash', str(ROOT / 'tools' / 'dist_search.sh'), str(R50), '2', '--work-dir', str(tmp_path / 'c'),
         '--cfg-options', 'search.num_random_nets=2000', 'search.exchange_interval=250'],
        check=True, timeout=120, capture_output=True,
        env={**os.environ, 'PORT': str(port), 'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1'},
    )  # fmt: skip
    assert (tmp_path / 'c' / 'best_structure.json').read_text() == threads
