"""Figures of the benchmark on a clock of our own."""

import json
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from torch import nn

from mmdet.apis import benchmark
from mmdet.apis.benchmark import (
    BenchmarkResult,
    build_loader,
    measure,
    measure_parts,
    one_stage_detectors,
    synthetic_batches,
)
from mmdet.apis.composite_evaluation import EvaluationReport, comparison_table
from mmdet.utils import ConfigError
from mmdet.utils.timing import part_figures, parts_table, sizes_line, time_figures


@pytest.fixture
def clock(monkeypatch):
    """A clock that only moves when the test moves it."""
    clock = SimpleNamespace(now=0.0, waits=0)
    monkeypatch.setattr(benchmark, 'time', SimpleNamespace(perf_counter=lambda: clock.now))
    monkeypatch.setattr(benchmark, 'synchronise', lambda device: setattr(clock, 'waits', clock.waits + 1))
    return clock


def run(clock, stage, loads, steps, batch_size=2, **options):
    """Each batch takes ``loads[i]`` seconds to load and ``steps[i]`` to detect."""
    passed = []

    def batches():
        for seconds in loads:
            clock.now += seconds
            yield dict(inputs=[0] * batch_size)

    def step(batch):
        clock.now += steps[len(passed)]
        passed.append(batch)

    lines = []
    result = measure(batches(), None if stage == 'data' else step, stage=stage, log=lines.append, **options)
    return result, lines, len(passed)


LOADS, STEPS = [5.0, 1.0, 2.0, 3.0], [9.0, 0.1, 0.2, 0.6]


@pytest.mark.parametrize(
    'stage, p50, fps',
    [('step', 200, 6 / 0.9), ('data', 2000, 6 / 6), ('total', 2200, 6 / 6.9)],
)
def test_times_by_hand(clock, stage, p50, fps):
    """Three batches of two after one of warm-up."""
    result, lines, passed = run(clock, stage, LOADS, STEPS, num_warmup=1, log_interval=2)
    assert (result.stage, result.images, result.batch_size, result.processes) == (stage, 6, 2, 1)
    assert result.p50_ms == pytest.approx(p50) and result.fps == pytest.approx(fps)
    assert passed == (0 if stage == 'data' else 4)
    assert clock.waits == (4 if stage == 'data' else 8), 'before every step, and after it'
    assert len(lines) == 2 and lines[-1].startswith('Done image [6  / 3998], fps: ')


def test_last_line_of_the_log(clock):
    _, lines, _ = run(clock, 'step', [0, 0], [0.5, 0.25], num_warmup=0, log_interval=1, max_iter=2, batch_size=1)
    assert lines == [
        'Done image [1  / 2], fps: 2.00 img/s, 500.0 ms/img',
        'Done image [2  / 2], fps: 2.67 img/s, 375.0 ms/img',
    ]


def test_percentiles_and_limits(clock):
    result, lines, passed = run(clock, 'step', [0] * 200, [k / 1000 for k in range(200)], num_warmup=99, batch_size=1)
    assert (result.p50_ms, result.p95_ms) == (pytest.approx(149), pytest.approx(194)) and result.images == 101
    assert len(lines) == 3  # at 100, 150 and 200
    clock.now = 0
    result, _, passed = run(clock, 'step', [0] * 9, [1] * 9, max_iter=3, num_warmup=1)
    assert passed == 3 and result.images == 4
    for options in (dict(max_iter=2, num_warmup=2), dict(num_warmup=9)):
        with pytest.raises(ConfigError, match='no batch is left'):
            run(clock, 'step', [0] * 9, [1] * 9, **options)
    with pytest.raises(ConfigError, match='--stage'):
        measure([], None, stage='other')
    with pytest.raises(ConfigError, match='needs a step'):
        measure([], None)


def test_measuring_needs_no_gradients_and_autocasts_where_asked():
    seen = []
    for amp in (False, True):
        measure(
            [dict(inputs=[0])], lambda batch: seen.append((torch.is_grad_enabled(), torch.is_autocast_enabled('cpu'))),
            num_warmup=0, amp=amp,
        )  # fmt: skip
    assert seen == [(False, False), (False, True)]
    assert torch.get_autocast_dtype('cpu') == torch.bfloat16


def test_synthetic_batches():
    batches = synthetic_batches((4, 6), 3)
    first, second = next(batches), next(batches)
    assert len(first['inputs']) == 3 and first['inputs'][0].shape == (3, 4, 6)
    assert torch.equal(first['inputs'][0], second['inputs'][2]) and first['inputs'][0].dtype == torch.uint8
    meta = first['data_samples'][0]
    assert (meta.ori_shape, meta.img_shape, meta.scale_factor) == ((4, 6), (4, 6), (1.0, 1.0))


def test_loader_at_another_batch_size(monkeypatch):
    seen = []
    monkeypatch.setattr(benchmark.Runner, 'build_dataloader', lambda loader, seed: seen.append(dict(loader)))
    cfg = Config(dict(test_dataloader=dict(batch_size=1, num_workers=2, persistent_workers=True)))
    for workers in (None, 3, 0):
        build_loader(cfg, 4, workers)
    assert seen == [
        dict(batch_size=4, num_workers=2, persistent_workers=True),
        dict(batch_size=4, num_workers=3, persistent_workers=True),
        dict(batch_size=4, num_workers=0, persistent_workers=False),
    ]
    assert cfg.test_dataloader.batch_size == 1, 'the config is not changed'


class Composite(nn.Module):
    """Records what a composite detector records: one time a call and stage, one size an image."""

    def __init__(self):
        super().__init__()
        self.record_times, self.stage_times, self.stage_sizes = False, {}, {}

    def test_step(self, batch):
        if self.record_times:
            self.stage_times.setdefault('coarse', []).append(0.002)
            self.stage_sizes.setdefault('regions', []).extend([4, 8])


def test_parts_of_a_composite_detector():
    model = Composite()
    assert part_figures(model) == ({}, {}) == part_figures(nn.Identity())
    model.stage_times, model.stage_sizes = {'coarse': [1.0]}, {'regions': [1000]}  # of an earlier run
    parts, sizes = measure_parts(model, (dict(inputs=[0]) for _ in range(200)), max_iter=150)
    assert parts == {'coarse': dict(p50_ms=2.0, p95_ms=2.0, mean_ms=2.0)} and sizes == {'regions': 6.0}
    assert len(model.stage_times['coarse']) == 100 and model.record_times is False
    measure_parts(model, (dict(inputs=[0]) for _ in range(200)), max_iter=7)
    assert len(model.stage_times['coarse']) == 7


def test_detectors_with_a_backbone():
    outer, inner = nn.Module(), nn.Module()
    inner.backbone = nn.Identity()
    outer.first, outer.again = inner, inner
    assert one_stage_detectors(inner) == [inner] and one_stage_detectors(outer) == [inner]


def test_texts():
    result = BenchmarkResult('step', 6, 12.345, 20.04, 30.06, 99.6, 'CPU', 2)
    line = 'Overall fps: 12.35 img/s, p50 20.0 ms, p95 30.1 ms a batch of 2, peak memory 100 MB (6 images, stage step, CPU, 1 process)'
    assert str(result) in (line, line.replace('12.35', '12.34'))
    assert json.loads(result.to_json()) == dict(
        stage='step', images=6, fps=12.345, p50_ms=20.04, p95_ms=30.06, peak_memory_mb=99.6, device='CPU', batch_size=2,
        processes=1,
    )  # fmt: skip
    result.processes, result.sizes = 2, {'regions': 2.04, 'mosaic_w': 700.0}
    result.parts = {'coarse': time_figures([0.1, 0.3])}
    lines = str(result).splitlines()
    assert '2 processes' in lines[0] and lines[2].split() == ['coarse', '200.0', '290.0', '200.0']
    assert lines[3] == 'on average an image has regions 2.0, mosaic_w 700.0' == sizes_line(result.sizes)
    assert json.loads(result.to_json())['sizes'] == result.sizes
    assert parts_table(result.parts, 'an image').splitlines()[0].split() == [
        'stage',
        'p50',
        'p95',
        'mean',
        'ms',
        'an',
        'image',
    ]
    empty = time_figures([])
    assert all(value != value for value in empty.values()), 'nan'


def test_comparison_of_methods():
    latency = {'end to end': dict(p50_ms=1.0, p95_ms=2.0, mean_ms=71.25)}
    scores = {
        'visdrone/AP': 0.1734,
        'visdrone/AP50': 0.5,
        'coco/bbox_mAP': 0.2,
        'coco/bbox_mAP_50': 0.43,
        'coco/bbox_mAP_75': 0.0,
    }
    reports = {
        'coarse': EvaluationReport(scores, latency), 'UFPMP-Det': EvaluationReport({'coco/bbox_mAP_s': -1.0}, latency),
    }  # fmt: skip
    head, first, second = comparison_table(reports).splitlines()
    assert ' '.join(head.split()) == 'method VisDrone AP AP50 COCO AP AP50 AP75 AP small ms an image'
    assert first.split() == ['coarse', '17.34', '50.00', '20.00', '43.00', '0.00', '-', '71.2']
    assert second.split() == ['UFPMP-Det', *'------', '71.2'] and len(head) == len(first) == len(second)
    text = str(EvaluationReport(scores, latency, {'tiles': 9.0}, 'one thread')).splitlines()
    assert text[0] == 'VisDrone toolkit rules: AP 17.34, AP50 50.00'
    assert text[1] == 'COCO rules, maxDets 500: mAP 20.00, mAP_50 43.00, mAP_75 0.00'
    assert text[3] == 'Latency, one thread' and text[-1] == 'on average an image has tiles 9.0'
