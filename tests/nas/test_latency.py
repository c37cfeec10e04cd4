"""Latency: operators of blocks, library files, interpolation, the profiler."""

import math
import os

import pytest

from mmdet.errors import ConfigError, DataError
from mmdet.nas import Evaluator, OpLibrary, OpPredictor, parse_structure
from mmdet.nas.latency import Op, block_ops, merge
from mmdet.nas.latency.predictor import OpTable, channel_ratio, interpolate
from mmdet.nas.latency.profiler import OpProfiler, log_spaced, op_grid
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
        ('{Regular,32,3,32,32,8,3,2,1} nan', 'ms: must be a time'),
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
