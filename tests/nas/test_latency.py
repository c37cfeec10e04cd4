"""Latency: operators of blocks, library files, interpolation, the profiler."""

import math
import os

import pytest

from mmdet.errors import ConfigError, DataError
from mmdet.nas import Evaluator, OpLibrary, OpPredictor, parse_structure
from mmdet.nas.latency import MeasuredLatency, Op, block_ops, merge, op_line
from mmdet.nas.latency.predictor import OpTable, channel_ratio, extrapolate, interpolate
from mmdet.nas.latency.profiler import OpProfiler, log_spaced, op_grid
from mmdet.nas.latency.profiler import main as profiler_main
from mmdet.nas.latency.surface import Surface

from .cases import PUBLISHED, stem, super_block


def library(text: str, tmp_path) -> OpLibrary:
    path = tmp_path / 'conv_data.out'
    path.write_text(text)
    return OpLibrary.read(path)


def test_empty_library(tmp_path):
    with pytest.raises(DataError, match=r'conv_data\.out: holds no operator'):
        library('\n', tmp_path)


def test_library_file(tmp_path):
    found = library(
        '{Regular,32,3,320,320,256,3,2,1} 0.256671\n{Depthwise,1,16,80,80,16,5,1,0} 0.5\n'
        '{Regular,32,64,40,40,64,1,1,0} -1\n{Regular,32,64,4,4,64,1,1,0} 0.01\n',
        tmp_path,
    )
    assert found.times == {
        32: {Op('Regular', 2, 1, 3, 3, 320, 256): 0.256671},
        1: {Op('Depthwise', 1, 0, 5, 16, 80, 16): 0.5},
    }
    assert found.failed == 1
    found.write(tmp_path / 'again')
    assert OpLibrary.read(tmp_path / 'again').times == found.times
    assert merge([found, found]).times == found.times


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('Regular,32,3,32,32,8,3,2,1 0.1', 'must be {Type,batch'),
        ('{Regular,32,3,32,32,8,3,2} 0.1', 'must be {Type,batch'),
        ('{Regular,32,3,32,32,8,3,2,x} 0.1', 'with numbers'),
        ('{Regular,32,3,32,32,8,3,2,1}', 'with numbers'),
        ('{Grouped,32,3,32,32,8,3,2,1} 0.1', "Type: must be Regular or Depthwise. Received: 'Grouped'"),
        ('{Regular,32,3,32,16,8,3,2,1} 0.1', 'inW: inH and inW must be equal. Received: 16'),
        ('{Regular,32,3,32,32,8,3,2,2} 0.1', 'elmtfused 0 or 1'),
        ('{Regular,32,3,32,32,8,3,2,1} -2', 'ms: must be a time'),
        ('{Regular,32,3,32,32,8,3,2,1} nan', 'with numbers'),
    ],
)
def test_wrong_lines(tmp_path, line, message):
    with pytest.raises(DataError, match=r'conv_data\.out: line 2: ') as error:
        library(f'{{Regular,32,3,32,32,8,3,2,1}} 0.1\n{line}\n', tmp_path)
    assert message in str(error.value)


def test_operators_of_blocks():
    (block,) = parse_structure([super_block('SuperResK1KXK1', 8, 24, 16, 2)])
    assert block_ops(block, 40) == [
        Op('Regular', 1, 0, 1, 8, 40, 16), Op('Regular', 2, 0, 3, 16, 40, 16), Op('Regular', 1, 1, 1, 16, 20, 24),
        Op('Regular', 1, 0, 1, 8, 20, 24),
        Op('Regular', 1, 0, 1, 24, 20, 16), Op('Regular', 1, 0, 3, 16, 20, 16), Op('Regular', 1, 1, 1, 16, 20, 24),
    ]  # fmt: skip
    (block,) = parse_structure([super_block('SuperResK1DWSEK1', 8, 24, 32)])  # no skip path: nothing is fused
    assert block_ops(block, 40) == [
        Op('Regular', 1, 0, 1, 8, 40, 32), Op('Depthwise', 2, 0, 3, 32, 40, 32),
        Op('Regular', 1, 0, 1, 32, 1, 8), Op('Regular', 1, 0, 1, 8, 1, 32), Op('Regular', 1, 0, 1, 32, 20, 24),
    ]  # fmt: skip
    with pytest.raises(ConfigError, match='2-D convolutions only'):
        block_ops(PUBLISHED['E3D_S'].blocks[1], 40)


def test_surface():
    flat = Surface([(8, 10), (8, 20), (16, 10), (16, 20)], [1.0, 2.0, 3.0, 4.0])
    assert flat(8, 20) == 2.0  # measured
    assert flat(12, 10) == pytest.approx(2.0) and flat(12, 15) == pytest.approx(2.5)  # on the plane through all four
    assert flat(100, 19) == 4.0 and flat(1, 1) == 1.0  # outside: the nearest
    line = Surface([(8, 10), (8, 20)], [1.0, 2.0])
    assert line(8, 15) == 1.5 and line(8, 100) == 2.0 and line(9, 11) == 1.0
    assert Surface([(8, 10)], [3.0])(20, 20) == 3.0
    assert Surface([(8, 10), (16, 20), (24, 30)], [1.0, 2.0, 3.0])(15, 21) == 2.0  # an oblique line: the nearest


def test_extrapolate():
    """Proportional to the first point where there is one point, or where the line through the points falls below zero."""
    assert extrapolate([(2.0, 3.0)], 4.0) == 6.0
    assert [extrapolate([(2.0, 1.0), (3.0, 3.0)], x) for x in (2.5, 1.5, 1.0, 4.0)] == [2.0, 0.0, 0.5, 5.0]


def test_interpolate():
    points = [(1.0, 2.0), (2.0, 4.0), (4.0, 5.0)]
    assert [interpolate(points, x) for x in (1.5, 2.0, 3.0, 0.5, 6.0)] == [3.0, 4.0, 4.5, 1.0, 6.0]


def table(rows: list[tuple[int, int, float]]) -> OpTable:
    """1x1 convolutions at side 10 from (in, out, ms)."""
    return OpTable((Op('Regular', 1, 0, 1, i, 10, o), ms) for i, o, ms in rows)


def ask(rows, i: int, o: int) -> float | None:
    return table(rows)(Op('Regular', 1, 0, 1, i, 10, o))


def test_ratios():
    assert channel_ratio(Op('Regular', 1, 0, 1, 96, 10, 144)) == 0.66
    assert channel_ratio(Op('Regular', 1, 0, 1, 3, 10, 3)) == 0.0  # an image: a group of its own
    rows = [(3, 16, 9.0), (4, 16, 1.0), (8, 16, 2.0), (16, 16, 6.0)]
    assert ask(rows, 8, 16) == 2.0
    assert ask(rows, 3, 16) == 9.0
    assert ask(rows, 12, 16) == pytest.approx(4.0)  # 0.75 between 0.5 and 1
    assert ask(rows, 32, 16) == pytest.approx(14.0)  # the last piece prolonged
    assert ask(rows, 2, 16) == pytest.approx(0.5)  # 0.125, not 0.12: the first piece prolonged
    assert ask([(3, 16, 9.0)], 8, 16) is None  # nothing but images
    assert ask([(16, 16, 6.0)], 8, 16) == 3.0  # one ratio: proportional


def test_values_that_do_not_rise_are_noise():
    rows = [(4, 16, 1.0), (8, 16, 2.0), (16, 16, 1.5), (32, 16, 5.0)]
    assert ask(rows, 12, 16) == pytest.approx(2.0 + 3.0 * 0.25 / 1.5)  # from 0.5 straight to 2
    steep = [(8, 16, 1.0), (16, 16, 9.0)]  # prolonged below zero: proportional to the first
    assert ask(steep, 4, 16) == 0.5


def test_predictor_adds_up_operators(tmp_path):
    text = '{Regular,4,3,32,32,8,3,2,0} 1\n{Regular,4,8,16,16,8,1,1,0} 2\n{Regular,4,8,16,16,8,3,2,1} 4\n'
    structure = parse_structure([stem(8), super_block('SuperResK1KX', 8, 8, 8)])
    predictor = OpPredictor(library=library(text, tmp_path), batch_size=4, image_size=32)
    assert predictor(structure) == pytest.approx(7 / 4 / 1000)
    predictor.check(structure)


def test_batches(tmp_path):
    text = '{Regular,2,3,32,32,8,3,2,0} 1\n{Regular,4,3,32,32,8,3,2,0} 3\n'
    known, structure = library(text, tmp_path), parse_structure([stem(8)])
    times = [
        1000 * batch * OpPredictor(library=known, batch_size=batch, image_size=32)(structure)
        for batch in (2, 3, 4, 8, 1)
    ]
    assert times == pytest.approx([1, 2, 3, 7, 0])


def test_missing_operators(tmp_path):
    structure = parse_structure([stem(8), super_block('SuperResK1DWK1', 8, 8, 8, k=5)])
    predictor = OpPredictor(library=library('{Regular,4,3,32,32,8,3,2,0} 1\n', tmp_path), image_size=32)
    assert math.isinf(predictor(structure))
    with pytest.raises(
        ConfigError, match=r"lacks operators .*\('Depthwise', 2, 0, 5\).*it has \[\('Regular', 2, 0, 3\)\]"
    ):
        predictor.check(structure)
    evaluate = Evaluator(dict(type='random'), [dict(type='latency', budget=1e-3)], predictor=predictor)
    assert not evaluate(structure).feasible
    with pytest.raises(ConfigError, match='lacks operators'):
        evaluate.check(structure)


def test_profiler_writes_a_library_that_predicts(tmp_path):
    path = tmp_path / 'mine.out'
    ops = list(op_grid(channels=[8, 16], sides=[8, 16], kernels=[1, 3], ratios=[0.5, 1], batch_size=1))
    assert Op('Depthwise', 2, 0, 3, 16, 8, 16) in ops and Op('Regular', 1, 1, 1, 4, 16, 8) in ops
    profiler = OpProfiler(warmup=0, repeats=1)
    found = profiler.profile(ops[:10], 1, path)
    assert set(found.times[1]) == set(ops[:10])
    before = path.read_text()
    found = profiler.profile(ops, 1, path)  # continued
    assert path.read_text().startswith(before) and set(found.times[1]) == set(ops)
    structure = parse_structure([stem(16), super_block('SuperResK1DWK1', 16, 16, 24, 2)])
    predictor = OpPredictor(library=path, batch_size=1, image_size=32)
    predictor.check(structure)
    assert 0 < predictor(structure) < 1


def test_profiler_notes_failures_and_respects_other_files(tmp_path):
    profiler = OpProfiler(warmup=0, repeats=1)
    assert profiler.measure(Op('Regular', 1, 0, 3, 8, 8, -1), 1) == -1
    other = tmp_path / 'notes.txt'
    other.write_text('something else\n')
    with pytest.raises(DataError, match='notes.txt: line 1'):
        profiler.profile([], 1, other)
    assert other.read_text() == 'something else\n'
    with pytest.raises(ConfigError, match="dtype: must be 'float32'"):
        OpProfiler(dtype='int8')


def test_log_spaced():
    assert log_spaced(8, 64, per_octave=1) == [8, 16, 32, 64]
    assert log_spaced(8, 40) == [8, 16, 24, 32, 40]


def test_golden_latency():
    """LightNAS's printed latencies; its measurements are not ours to ship: point MMDET_OP_LIBRARY at its conv_data.out.fp16.damoyolo."""
    path = os.environ.get('MMDET_OP_LIBRARY')
    if not path:
        pytest.skip('MMDET_OP_LIBRARY is not set')
    predictor = OpPredictor(library=path, batch_size=32, image_size=320)
    assert predictor(PUBLISHED['tutorial_k1kx_small'].blocks) == pytest.approx(0.00011991791411210322, rel=1e-12)
    assert predictor(PUBLISHED['tinynas_L25_k1kx'].blocks) == pytest.approx(0.00011995575237058086, rel=1e-12)


def test_grid_of_operators():
    """In order of kernel, stride, side; 1x1 never strided; images of 3 channels and depthwise from 3x3 on; ratios that give whole widths."""
    grid = list(op_grid(channels=[8, 12], sides=[8], ratios=[0.25, 0.375], kernels=[1, 3], strides=[1, 2], fused=[0]))
    ones = [Op('Regular', 1, 0, 1, 2, 8, 8), Op('Regular', 1, 0, 1, 3, 8, 8), Op('Regular', 1, 0, 1, 3, 8, 12)]
    threes = [
        Op('Regular', 1, 0, 3, 2, 8, 8), Op('Regular', 1, 0, 3, 3, 8, 8), Op('Regular', 1, 0, 3, 3, 8, 12),
        Op('Regular', 1, 0, 3, 3, 8, 8), Op('Regular', 1, 0, 3, 3, 8, 12),
        Op('Depthwise', 1, 0, 3, 8, 8, 8), Op('Depthwise', 1, 0, 3, 12, 8, 12),
    ]  # fmt: skip
    assert grid == ones + threes + [op._replace(stride=2) for op in threes]
    assert not any(op.kind == 'Depthwise' for op in op_grid(channels=[8], sides=[8], depthwise=False))
    assert {op.fused for op in op_grid(channels=[8], sides=[8])} == {0, 1}


def test_limits_of_the_grid():
    """Tensors of at most 128 * 240 * 240 * 128 elements; 78^2 * 3072^2 * 4 multiply-adds an image."""

    def largest(batch_size: int, channels: int, kernel: int = 1, ratio: float = 1) -> int:
        options = dict(channels=[channels], ratios=[ratio], kernels=[kernel], strides=[1], fused=[0], depthwise=False)
        ops = op_grid(sides=[60, 120, 240, 241, 480], batch_size=batch_size, **options)
        return max((op.side for op in ops if op.in_channels != 3), default=0)

    assert largest(128, 128) == 240 and largest(64, 128) == 241 and largest(128, 129) == 120
    # 4096 * 4096 * side^2 <= 2.2966e11 up to a side of 117, with 3x3 up to 39
    assert largest(1, 4096) == 60 and largest(1, 2048) == 120 and largest(1, 2048, 3) == 60 and largest(1, 4096, 3) == 0


def test_heads_and_limits_of_log_spaced():
    assert log_spaced(5, 20, multiple=1) == [5, 7, 10, 14, 20]
    assert log_spaced(8, 8) == [8] and log_spaced(2, 8) == [8] and log_spaced(8, 20) == [8, 16, 20]


def test_median_of_the_measurements(monkeypatch, tmp_path):
    """Five runs of which the clock says 5, 1, 4, 2 and 9 ms."""
    profiler = OpProfiler(warmup=2, repeats=5)
    times, calls = iter([0.005, 0.001, 0.004, 0.002, 0.009]), []
    monkeypatch.setattr(profiler, '_timed', lambda run: calls.append(run().shape) or next(times))
    op = Op('Depthwise', 2, 1, 3, 8, 9, 8)
    assert profiler.measure(op, 2) == 4.0 and calls == [(2, 8, 5, 5)] * 5
    with pytest.raises(ConfigError, match='repeats must be >= 1'):
        OpProfiler(repeats=0)
    # failures are written, too, and not tried again
    monkeypatch.setattr(profiler, 'measure', lambda op, batch: -1.0)
    path = tmp_path / 'lib.out'
    assert profiler.profile([op], 2, path).failed == 1 and path.read_text() == '{Depthwise,2,8,9,9,8,3,2,1} -1\n'
    assert profiler.profile([op], 2, path).failed == 1
    assert profiler.profile([op], 4, path).failed == 2
    clock = iter([0.0, 5.0, 5.1])
    monkeypatch.setattr('mmdet.nas.latency.profiler.time.monotonic', lambda: next(clock))
    ops = [op._replace(side=side) for side in (10, 11, 12)]
    assert profiler.profile(ops, 2, path, time_limit=5.0).failed == 3  # the first at 5.0, none at 5.1


def test_main_of_the_profiler(tmp_path, monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(OpProfiler, 'measure', lambda self, op, batch: seen.append((op, batch)) or 0.5)
    out = tmp_path / 'lib.out'
    options = '--batch-sizes 1 2 --min-side 5 --max-side 5 --min-channels 8 --max-channels 8 --kernels 3 --no-depthwise'
    profiler_main([str(out), *options.split()])
    ops = list(op_grid(channels=[8], sides=[5], kernels=[3], depthwise=False))
    assert seen == [(op, batch) for batch in (1, 2) for op in ops]
    assert capsys.readouterr().out.splitlines() == [f'{out}: batch {b}: {len(ops)} operators' for b in (1, 2)]


def test_lines_of_a_library(tmp_path):
    op = Op('Regular', 2, 1, 3, 16, 80, 32)
    assert op_line(op, 4) == '{Regular,4,16,80,80,32,3,2,1}' and op_line(op, 4, 0.12345678).endswith('} 0.123457')
    text = '# remark\n\n{Regular,4,16,5,5,32,3,2,1} 0\n{Regular,4,16,5,5,32,3,2,1} 2\n{Regular,1,16,4,4,32,3,2,1} 2\n'
    found = library(text, tmp_path)
    assert found.times == {4: {op._replace(side=5): 2.0}}  # a side of 5 counts, of 4 not; the later line holds
    other = OpLibrary()
    other.add(op._replace(side=5), 4, 3.0)
    other.add(op, 8, 1.0)
    assert merge([found, other]).times == {4: {op._replace(side=5): 3.0}, 8: {op: 1.0}}
    assert found.times[4][op._replace(side=5)] == 2.0
    with pytest.raises(DataError, match='numbers must be >= 1'):
        library('{Regular,0,16,5,5,32,3,2,1} 1\n', tmp_path)
    with pytest.raises(DataError, match='no such file'):
        OpLibrary.read(tmp_path / 'none')
    (tmp_path / 'binary').write_bytes(b'\xff\xfe')
    with pytest.raises(DataError, match='cannot be read as text'):
        OpLibrary.read(tmp_path / 'binary')


def test_sides_of_a_network_are_rounded_down(tmp_path):
    """33 pixels: the stem's input is 33, the block's 16; squeeze and projections see what is left."""
    structure = parse_structure([stem(8), super_block('SuperResK1KX', 8, 16, 8, s=2)])
    text = (
        '{Regular,4,3,33,33,8,3,2,0} 1\n{Regular,4,8,16,16,8,1,1,0} 2\n{Regular,4,8,16,16,16,3,2,1} 4\n'
        '{Regular,4,8,8,8,16,1,1,0} 8\n'
    )
    predictor = OpPredictor(library=library(text, tmp_path), batch_size=4, image_size=33)
    assert predictor(structure) == pytest.approx(15 / 4 / 1000)
    assert predictor.missing_ops(structure) == []


def test_what_cannot_be_predicted(tmp_path):
    known = library('{Regular,4,3,32,32,8,3,2,0} 1\n', tmp_path)
    predictor = OpPredictor(library=known, batch_size=4, image_size=32)
    assert predictor.missing_ops(parse_structure([stem(8), super_block('SuperResK1KX', 8, 8, 8, 2)])) == [
        Op('Regular', 1, 0, 1, 8, 16, 8), Op('Regular', 2, 1, 3, 8, 16, 8), Op('Regular', 1, 1, 3, 8, 8, 8),
    ]  # fmt: skip
    assert predictor.op_ms(Op('Regular', 1, 0, 1, 8, 16, 8)) == math.inf
    (grouped,) = parse_structure([{**stem(8), 'in': 4, 'g': 2}])
    with pytest.raises(ConfigError, match='latency: grouped convolutions are not predicted'):
        block_ops(grouped, 8)
    for options in (dict(batch_size=0), dict(image_size=True)):
        with pytest.raises(ConfigError, match=f'OpPredictor.{next(iter(options))}: must be an integer >= 1'):
            OpPredictor(library=known, **options)


def test_batches_outside_of_the_measured_ones(tmp_path):
    """One batch: proportional. Two, prolonged below zero: proportional to the smaller."""
    op = Op('Regular', 2, 0, 3, 3, 32, 8)
    one = OpPredictor(library=library('{Regular,4,3,32,32,8,3,2,0} 3\n', tmp_path), batch_size=8)
    assert one.op_ms(op) == 6.0
    text = '{Regular,4,3,32,32,8,3,2,0} 3\n{Regular,2,3,32,32,8,3,2,0} 1\n'
    two = library(text, tmp_path)
    assert [OpPredictor(library=two, batch_size=batch).op_ms(op) for batch in (2, 3, 4, 1)] == [1.0, 2.0, 3.0, 0.0]
    steep = library(text.replace('} 3', '} 30'), tmp_path)
    assert OpPredictor(library=steep, batch_size=1).op_ms(op) == 0.5


def test_depthwise_operators_form_one_group():
    rows = [(Op('Depthwise', 1, 0, 3, c, 10, c), ms) for c, ms in ((8, 1.0), (16, 3.0))]
    assert OpTable(rows)(Op('Depthwise', 1, 0, 3, 12, 10, 12)) == 2.0
    assert (
        OpTable(rows)(Op('Depthwise', 1, 0, 5, 12, 10, 12)) is None
        and OpTable(rows)(Op('Depthwise', 2, 0, 3, 8, 10, 8)) is None
    )


def test_measured_latency(monkeypatch):
    """Median of the runs after the warm-up, per image; each structure once."""
    readings = iter([0, 90, 0, 50, 0, 3, 0, 9, 0, 6])  # two runs to warm up, then 3, 9 and 6 seconds
    monkeypatch.setattr('mmdet.nas.latency.measured.time.perf_counter', lambda: next(readings))
    structure = parse_structure([stem(8), super_block('SuperResK1KX', 8, 8, 8)])
    measured = MeasuredLatency(batch_size=2, image_size=16, warmup=2, repeats=3)
    assert measured(structure) == 3.0 == measured(structure)
    with pytest.raises(ConfigError, match='video networks need an OpPredictor'):
        measured.check(PUBLISHED['E3D_S'].blocks)
    with pytest.raises(ConfigError, match="latency.dtype: must be 'float32'"):
        MeasuredLatency(dtype='int8')
    with pytest.raises(ConfigError, match='latency.warmup: must be an integer >= 0'):
        MeasuredLatency(warmup=-1)


def test_measured_latency_says_what_cannot_run():
    structure = parse_structure([stem(8)])
    measured = MeasuredLatency(image_size=16)
    measured._known.compute = lambda key: (_ for _ in ()).throw(RuntimeError('out of memory'))
    with pytest.raises(ConfigError, match='latency: the initial structure cannot be run on cpu: out of memory'):
        measured.check(structure)
