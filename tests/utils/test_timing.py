"""Statistics of measured times, by hand."""

import math
from types import SimpleNamespace

import torch

from mmdet.utils.timing import part_figures, parts_table, synchronise, time_figures


def test_no_times():
    assert all(math.isnan(value) for value in time_figures([]).values())
    assert part_figures(torch.nn.Linear(1, 1)) == ({}, {})
    assert parts_table({}) == f'{"stage":<12} {"p50":>10} {"p95":>10} {"mean":>10}   ms a batch'


def test_time_figures():
    """0, 10, ..., 200 ms and one of 2 s: the median and the 95th percentile of 22 values lie between two of them."""
    times = [0.01 * i for i in range(21)] + [2.0]
    assert time_figures(times) == dict(p50_ms=105.0, p95_ms=199.5, mean_ms=round(4100 / 22, 6))


def test_figures_of_a_composite_detector():
    model = SimpleNamespace(stage_times=dict(coarse=[0.002, 0.004]), stage_sizes=dict(regions=[2, 5]))
    assert part_figures(model) == (dict(coarse=dict(p50_ms=3.0, p95_ms=3.9, mean_ms=3.0)), dict(regions=3.5))


def test_table():
    row = dict(p50_ms=1.25, p95_ms=22.0, mean_ms=3.04)
    lines = parts_table({'a very long stage': row, 'b': row}, unit='an image').splitlines()
    assert lines[0].endswith('   ms an image') and lines[0].startswith('stage' + ' ' * 12)
    assert lines[1] == f'a very long stage {"1.2":>10} {"22.0":>10} {"3.0":>10}'
    assert lines[2].startswith('b' + ' ' * 16 + ' ')


def test_only_a_gpu_is_waited_for(monkeypatch):
    waited = []
    monkeypatch.setattr(torch.cuda, 'synchronize', waited.append)
    synchronise('cpu')
    assert waited == []
    synchronise('cuda:1')
    assert waited == ['cuda:1']
