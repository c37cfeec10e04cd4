"""Logs of both formats, written by hand."""

import json
import os
import xml.etree.ElementTree as ET

import pytest

from mmdet.analysis import TrainTime, collect_curves, find_log, read_log, train_time, write_curves
from mmdet.utils import ConfigError, DataError


def write_lines(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
    return path


def new_log(folder, run='20260101_000000', offset=0.0):
    """Two epochs of four iterations, logged every second; evaluated after each."""
    rows = []
    for epoch in (1, 2):
        for inside in (2, 4):
            step = 4 * (epoch - 1) + inside
            rows.append(
                dict(lr=0.1, loss=offset + 10 - step, time=step / 10, data_time=0.1, epoch=epoch, iter=step, step=step)
            )
        rows.append({'coco/bbox_mAP': offset + epoch / 10, 'time': 9.0, 'step': epoch})
    return write_lines(folder / run / 'vis_data' / 'scalars.json', *rows)


def old_log(folder):
    rows = [dict(env_info='...', config='...')]
    for epoch in (1, 2):
        rows += [dict(mode='train', epoch=epoch, iter=i, lr=0.1, loss=10 - epoch - i / 10, time=0.5) for i in (50, 100)]
        rows.append(dict(mode='val', epoch=epoch, iter=7, lr=0.1, bbox_mAP=epoch / 10, bbox_mAP_copypaste='0.1 0.2'))
    return write_lines(folder / '20200629_213802.log.json', *rows)


def test_empty_log_and_missing_files(tmp_path):
    (tmp_path / 'scalars.json').write_text('')
    with pytest.raises(DataError, match='holds no log'):
        read_log(tmp_path)
    with pytest.raises(DataError, match='no training or validation record'):
        read_log(tmp_path / 'scalars.json')
    with pytest.raises(DataError, match='no such log file or work dir'):
        read_log(tmp_path / 'nowhere')


def test_newest_run_that_trained(tmp_path):
    new_log(tmp_path, '20260101_000000')
    newest = new_log(tmp_path, '20260301_000000')
    write_lines(tmp_path / '20260401_000000' / 'vis_data' / 'scalars.json', {'coco/bbox_mAP': 0.5, 'step': 0})
    os.utime(newest, (0, 0))  # as after a copy: the name counts, not the time of the file
    assert find_log(tmp_path) == newest
    assert read_log(tmp_path).name == tmp_path.name


def test_records_of_mmengine(tmp_path):
    log = read_log(new_log(tmp_path))
    assert [(r.epoch, r.iteration) for r in log.train] == [(1, 2), (1, 4), (2, 6), (2, 8)]
    assert [(r.epoch, r.iteration) for r in log.val] == [(1, None), (2, None)]
    assert log.keys == dict(train=['data_time', 'loss', 'lr', 'time'], val=['coco/bbox_mAP', 'time'])
    assert log.iterations_per_epoch == 4


def test_iteration_based_run(tmp_path):
    rows = [dict(loss=1.0, iter=10, step=10), {'coco/bbox_mAP': 0.1, 'step': 10}, dict(loss=0.5, iter=20, step=20)]
    log = read_log(write_lines(tmp_path / 'scalars.json', *rows))
    label, curves = collect_curves([log], ['loss', 'bbox_mAP'])
    assert label == 'iteration'
    assert curves == [('loss', [10, 20], [1.0, 0.5]), ('coco/bbox_mAP', [10], [0.1])]


def test_records_of_2x(tmp_path):
    log = read_log(old_log(tmp_path))
    assert [(r.epoch, r.iteration) for r in log.train] == [(1, 50), (1, 100), (2, 150), (2, 200)]
    label, curves = collect_curves([log], ['bbox_mAP', 'loss'])
    assert label == 'epoch'
    assert curves[0] == ('bbox_mAP', [1, 2], [0.1, 0.2])
    assert curves[1][1] == [0.5, 1, 1.5, 2]


def test_curves_of_two_runs(tmp_path):
    logs = [read_log(new_log(tmp_path / 'a')), read_log(new_log(tmp_path / 'b', offset=1))]
    label, curves = collect_curves(logs, ['loss'])
    assert label == 'iteration'
    assert curves == [('a loss', [2, 4, 6, 8], [8, 6, 4, 2]), ('b loss', [2, 4, 6, 8], [9, 7, 5, 3])]
    label, curves = collect_curves(logs, ['bbox_mAP', 'loss'], ['w', 'x', 'y', 'z'], start_epoch=2)
    assert [name for name, _, _ in curves] == ['w', 'x', 'y', 'z']
    assert curves[:2] == [('w', [2], [0.2]), ('x', [1.5, 2], [4, 2])]
    with pytest.raises(ConfigError, match='must name 2 curves'):
        collect_curves(logs, ['loss'], ['only one'])
    with pytest.raises(DataError, match='from epoch 3 on'):
        collect_curves(logs, ['loss'], start_epoch=3)


def test_a_missing_metric_lists_what_is_there(tmp_path):
    log = read_log(new_log(tmp_path))
    with pytest.raises(
        DataError, match=r'not logged. Logged were train: data_time, loss, lr, time; val: coco/bbox_mAP, time'
    ):
        log.series('bbox_mAP_50')
    both = read_log(write_lines(tmp_path / 's.json', {'a/x': 1, 'b/x': 2, 'step': 1}))
    with pytest.raises(DataError, match='ambiguous: a/x, b/x'):
        both.series('x')


def test_torn_last_line_is_left_out_and_another_is_an_error(tmp_path):
    path = new_log(tmp_path)
    whole = path.read_text()
    path.write_text(whole + '{"loss": 1')
    assert len(read_log(path).train) == 4
    path.write_text('{"loss"\n' + whole)
    with pytest.raises(DataError, match='line 1'):
        read_log(path)


def test_train_time(tmp_path):
    log = read_log(new_log(tmp_path))  # 0.2, 0.4 in the first epoch, 0.6, 0.8 in the second
    time = train_time(log)
    assert time.epochs == {1: 0.4, 2: 0.8} and time.mean == pytest.approx(0.6)
    time = train_time(log, include_outliers=True)
    assert time.epochs == {1: pytest.approx(0.3), 2: pytest.approx(0.7)} and time.mean == pytest.approx(0.5)
    assert 'slowest epoch 2: 0.7000' in time.text() and 'waiting for data: 0.1000' in time.text()
    with pytest.raises(DataError, match='holds a time'):
        train_time(read_log(write_lines(tmp_path / 's.json', dict(loss=1.0, step=1))))


def test_text_of_times():
    lines = TrainTime('run', 0.5, None, {1: 0.2, 2: 0.6, 3: 0.6}).text().splitlines()
    assert lines == [
        '----- training time of run -----', 'slowest epoch 2: 0.6000 s/iter', 'fastest epoch 1: 0.2000 s/iter',
        'standard deviation over 3 epochs: 0.1886 s/iter', 'mean: 0.5000 s/iter',
    ]  # fmt: skip


def test_times_without_epochs(tmp_path):
    rows = [dict(loss=1.0, time=t, iter=i) for i, t in ((1, 9.0), (2, 0.5), (3, 1.5))] + [dict(loss=1.0, iter=4)]
    rows.append(dict(loss=1.0, time=float('nan'), iter=5))
    time = train_time(read_log(write_lines(tmp_path / 's.json', *rows)))
    assert time.epochs == {1: 1.0} and time.mean == 1.0 and time.data_mean is None
    alone = train_time(read_log(write_lines(tmp_path / 't.json', dict(loss=1.0, time=9.0, iter=1))))
    assert alone.mean == 9.0, 'a single record counts'


def test_what_counts_as_a_value(tmp_path):
    rows = [dict(loss=1.0, flag=True, note='x', step=3), dict(step=3), {'coco/bbox_mAP': 0.5, 'step': 3}]
    log = read_log(write_lines(tmp_path / 'run' / 'vis_data' / 'scalars.json', *rows))
    assert log.keys == dict(train=['loss'], val=['coco/bbox_mAP']) and [r.iteration for r in log.train] == [3]
    assert [(r.iteration, r.epoch) for r in log.val] == [(3, None)], 'no record has an epoch'
    assert log.resolve('bbox_mAP') == 'coco/bbox_mAP' and log.iterations_per_epoch is None
    assert log.name == tmp_path.name


def test_places_of_logs(tmp_path):
    """In a work dir, in the folder of a run, beside them; empty files do not count; of 2.x the newest."""
    assert find_log(new_log(tmp_path / 'a').parents[1]).parts[-2:] == ('vis_data', 'scalars.json')
    assert find_log(tmp_path / 'a' / '20260101_000000' / 'vis_data').name == 'scalars.json'
    old_log(tmp_path / 'b')
    newer = write_lines(tmp_path / 'b' / '20210101_000000.log.json', dict(mode='train', loss=1.0, iter=1))
    write_lines(tmp_path / 'b' / '20220101_000000.log.json')
    assert find_log(tmp_path / 'b') == newer and read_log(tmp_path / 'b').name == 'b'
    tests_only = write_lines(
        tmp_path / 'c' / '20260101_000000' / 'vis_data' / 'scalars.json', {'coco/bbox_mAP': 0.5, 'step': 0}
    )
    assert find_log(tmp_path / 'c') == tests_only


def test_iterations_where_the_axis_has_them(tmp_path):
    """A training record without an epoch length falls back on its epoch; one without anything is counted."""
    rows = [dict(loss=3.0, epoch=2), dict(loss=2.0), {'m': 0.5, 'step': 1}]
    log = read_log(write_lines(tmp_path / 's.json', *rows))
    label, curves = collect_curves([log], ['loss', 'm'])
    assert label == 'epoch' and curves == [('loss', [2.0, 2.0], [3.0, 2.0]), ('m', [1.0], [0.5])]


def test_files(tmp_path):
    curves = [('loss <a>', [1.0, 2.0, 3.0], [3.0, 2.0, 1.0])]
    svg = write_curves(tmp_path / 'new' / 'x.svg', curves, x_label='epoch', title='A & B')
    assert 'polyline' in svg.read_text()
    ET.parse(svg)
    png = write_curves(tmp_path / 'x.png', curves, x_label='epoch')
    assert png.read_bytes()[:4] == b'\x89PNG'
    with pytest.raises(ConfigError, match='must end in .svg, .png, .pdf, .jpg, .jpeg'):
        write_curves(tmp_path / 'x.txt', curves, x_label='epoch')
    with pytest.raises(ConfigError, match='style'):
        write_curves(tmp_path / 'x.png', curves, x_label='epoch', style='no such')
