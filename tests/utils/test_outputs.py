"""No output takes the place of an input, or of the result for another input."""

import json
import os
import runpy
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import mmdet
from mmdet.engine.checkpoint.converting import join_checkpoints
from mmdet.evaluation import CocoMetric, DumpDetResults, VisDroneMetric
from mmdet.utils import ConfigError
from mmdet.utils.outputs import OutputNames, refuse_closed_folder, refuse_inputs
from mmdet.visualization.report import write_report

ROOT = Path(mmdet.__file__).resolve().parents[1]


@pytest.mark.parametrize('way', ['same', 'dots', 'symbolic link', 'hard link', 'linked folder', 'relative'])
def test_one_file_under_two_names(tmp_path, monkeypatch, way):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'a').mkdir()
    file = tmp_path / 'a/x.json'
    file.write_text('{}')
    other = {
        'same': file, 'dots': tmp_path / 'a/../a/./x.json', 'symbolic link': tmp_path / 's.json', 'hard link': tmp_path / 'h.json',
        'linked folder': tmp_path / 'b/x.json', 'relative': 'a/x.json',
    }[way]  # fmt: skip
    (tmp_path / 's.json').symlink_to(file)
    (tmp_path / 'h.json').hardlink_to(file)
    (tmp_path / 'b').symlink_to(tmp_path / 'a')
    with pytest.raises(ConfigError, match=r'json: --out: is an input of this call \(.*x.json\)'):
        refuse_inputs([tmp_path / 'free', None, other], [None, 'https://host/x', 'a\0b', file], field='--out')
    refuse_inputs([other], [tmp_path / 'none.json', tmp_path / 'a'])
    with pytest.raises(ConfigError, match='two outputs'):
        refuse_inputs(['a/new.json', 'b/new.json'], [])


def arguments_of_tools(folder):
    """Command lines whose output is one of their inputs; ``{}`` is the file."""
    common = dict(ann=folder / 'ann.json', config=folder / 'config.py', csv=folder / 'x.txt')
    lines = """
        tools/analysis_tools/structure_info.py {ann} --json {ann}
        tools/analysis_tools/get_flops.py {config} --json {config}
        tools/analysis_tools/eval_tracking.py {csv} {csv} --json {csv}
        tools/analysis_tools/eval_visdrone.py {folder} {folder} --json {csv}
        tools/analysis_tools/analyze_logs.py plot_curve {log} --out {log}
        tools/analysis_tools/coco_error_analysis.py {folder}/error_analysis.json {folder} --ann {ann}
        tools/analysis_tools/confusion_matrix.py {config} {folder}/confusion_matrix.json {folder}
        tools/analysis_tools/analyze_results.py {config} {folder}/ranking.json {folder}
        tools/analysis_tools/eval_metric.py {ann} {folder}/x.bbox.json --outfile-prefix {folder}/x
        tools/misc/print_config.py {config} --save-path {config}
        tools/misc/make_report.py {folder} --metrics {ann} --out {ann}
        tools/model_converters/upgrade_config.py {config} {config} --force
        tools/model_converters/upgrade_checkpoint.py {folder}/a.pth {folder}/a.pth
        tools/export.py {folder}/structure.json {folder}
        tools/video_demo.py {folder}/a.mp4 {config} {folder}/a.pth --out {folder}/a.mp4
        tools/search.py {config} --work-dir {folder} --cfg-options structure={folder}/best_structure.json
        tools/benchmark.py {config} --json {config}
        tools/test.py {config} {folder}/a.pth --out {ann}
        UFPMP-Det-Tools/build_dataset/VisDrone2COCO.py {folder} {folder} {csv}
        UFPMP-Det-Tools/eval_script/coco2VisDrone.py {ann} {folder}/x.bbox.json {folder}
        UFPMP-Det-Tools/eval_script/coco2VisDrone.py {ann} {folder} {ann}
    """
    log = folder / 'scalars.json'
    return [line.strip().format(folder=folder, log=log, **common).split() for line in lines.strip().splitlines()]


@pytest.mark.parametrize('number', range(len(arguments_of_tools(Path()))))
def test_tools_do_not_write_to_their_inputs(tmp_path, monkeypatch, capsys, number):
    image = dict(id=1, file_name='x.jpg', width=9, height=9)
    coco = json.dumps(dict(images=[image], annotations=[], categories=[dict(id=1, name='pedestrian')]))
    (tmp_path / 'ann.json').write_text(coco)
    for name in ('x.bbox.json', 'ranking.json', 'confusion_matrix.json', 'error_analysis.json', 'structure.json'):
        (tmp_path / name).write_text('[]')
    for name in ('a.pth', 'a.mp4', 'best_structure.json'):
        (tmp_path / name).write_text('')
    (tmp_path / 'x.txt').write_text('1,1,2,2,1,1,0,0\n')
    (tmp_path / 'scalars.json').write_text('{"bbox_mAP": 0.1, "step": 1, "epoch": 1}\n')
    (tmp_path / 'config.py').write_text(
        f"model = dict(type='x')\ntest_dataloader = dict(dataset=dict(ann_file={str(tmp_path / 'ann.json')!r}))\n"
        "test_cfg = dict()\ntest_evaluator = dict(type='CocoMetric')\n"
    )
    before = {path: path.read_bytes() for path in tmp_path.rglob('*')}
    command = arguments_of_tools(tmp_path)[number]
    # A folder of toolkit files holds x.txt already: the results file is reached by a link.
    if 'coco2VisDrone' in command[0] and command[2].endswith('.json'):
        (tmp_path / 'x.txt').unlink()
        (tmp_path / 'x.txt').hardlink_to(tmp_path / 'x.bbox.json')
        before = {path: path.read_bytes() for path in tmp_path.rglob('*')}
    monkeypatch.setattr(sys, 'argv', command)
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(ROOT / command[0]), run_name='__main__')
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and 'is an input of this call' in error, error
    assert {path: path.read_bytes() for path in tmp_path.rglob('*')} == before


def test_functions_do_not_write_to_their_inputs(tmp_path):
    for name in ('a.pth', 'ann.json', 'p.png', 'r.bbox.json'):
        (tmp_path / name).write_text('')
    (tmp_path / 'gt_txt').mkdir()
    calls = [
        lambda: join_checkpoints(tmp_path / 'a.pth', tmp_path / 'b.pth', tmp_path / 'a.pth'),
        lambda: CocoMetric(str(tmp_path / 'r.bbox.json'), outfile_prefix=str(tmp_path / 'r')),
        lambda: VisDroneMetric(str(tmp_path / 'gt_txt'), outfile_prefix=str(tmp_path / 'gt')),
        lambda: DumpDetResults(str(tmp_path / 'ann.json'), ann_file=str(tmp_path / 'ann.json')),
        lambda: write_report(None, tmp_path / 'p.png', pictures=[(tmp_path / 'p.png', 'caption')]),
    ]
    for call in calls:
        with pytest.raises(ConfigError, match='is an input of this call'):
            call()


def test_many_equal_names(tmp_path):
    """Quadratic work would take a minute."""
    names = OutputNames(tmp_path / 'vis')
    wanted = [(f'/{i}/x.jpg', 'x', ['{}.jpg']) for i in range(5000)]
    first = names.claim(wanted)
    assert first[:2] == ['x', 'x_2'] and len(set(first)) == 5000
    assert OutputNames(tmp_path / 'vis').claim(wanted[::-1]) == first[::-1]
    with open(tmp_path / 'vis_sources.jsonl', 'a') as file:
        file.write('{"name": "cut')
    assert OutputNames(tmp_path / 'vis').claim([('/5000/x.jpg', 'x', ['{}.jpg'])]) == ['x_5001']
    names.start_call()
    assert names.claim([('/new/x.jpg', 'x', ['{}.jpg']), wanted[9]]) == ['x_5002', 'x_10']
    (tmp_path / 'vis_sources.jsonl').unlink()
    names.start_call()
    assert names.claim([('/new/x.jpg', 'x', ['{}.jpg'])]) == ['x'], 'the record is gone, and so are its names'


def test_several_at_once_share_a_folder(tmp_path):
    """As processes do: each has its own file handle, and the lock is between these."""

    def claim(number):
        return OutputNames(tmp_path / 'vis').claim([(f'/{number}/x.jpg', 'x', ['{}.jpg'])])[0]

    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(claim, range(60)))
    assert sorted(names) == sorted({'x', *(f'x_{i}' for i in range(2, 61))})


def test_one_source_with_several_names(tmp_path):
    """An image that is drawn twice, links to one image: a name never stands for another one of the same source."""
    for wanted in (['a', 'b'], ['a', 'b'], ['b', 'c', 'a']):
        assert OutputNames(tmp_path / 'vis').claim([('/x.jpg', name, ['{}.jpg']) for name in wanted]) == wanted


def test_the_record_of_a_deleted_folder_counts_no_more(tmp_path):
    folder = tmp_path / 'vis'
    for source in ('/a/x.jpg', '/b/x.jpg'):
        assert OutputNames(folder).claim([(source, 'x', ['{}.jpg'])]) == ['x']
        folder.rmdir()


@pytest.mark.parametrize('why', ['closed', 'mount'])
def test_the_record_lies_in_the_folder_where_the_place_beside_it_is_not_ours(tmp_path, monkeypatch, why):
    """A folder mounted into a container would lose its record with the container."""
    if why == 'closed':
        monkeypatch.setattr('os.access', lambda path, mode: Path(path) != tmp_path)
    else:
        monkeypatch.setattr(Path, 'is_mount', lambda path: path == tmp_path / 'vis')
    (tmp_path / 'vis').mkdir()
    assert OutputNames(tmp_path / 'vis').claim([('/a/x.jpg', 'x', ['{}.jpg'])]) == ['x']
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob('*.*')] == ['vis/.sources.jsonl']
    monkeypatch.undo()
    assert OutputNames(tmp_path / 'vis').claim([('/b/x.jpg', 'x', ['{}.jpg'])]) == ['x_2']


def test_a_damaged_record_is_passed_over(tmp_path):
    (tmp_path / 'vis').mkdir()
    (tmp_path / 'vis_sources.jsonl').write_bytes(
        b'\xff[\n' + b'[' * 100_000 + b'\n{"name": "x", "source": "/a/x.jpg"}\n'
    )
    assert OutputNames(tmp_path / 'vis').claim([('/b/x.jpg', 'x', ['{}.jpg'])]) == ['x_2']


def test_names_that_differ_in_case(tmp_path):
    wanted = [('/a.jpg', 'a', ['{}.jpg']), ('/A.jpg', 'A', ['{}.jpg'])]
    assert OutputNames(tmp_path / 'x').claim(wanted) == ['a', 'A_2']
    assert OutputNames(tmp_path / 'y', exact=True).claim(wanted) == ['a', 'A']


@pytest.mark.parametrize(
    ('output', 'message'),
    [
        ('open/r.json', None),
        ('open/new/deep/r.json', None),
        ('closed/r.json', 'closed is no folder that may be written to'),
        ('closed/new/r.json', 'closed is no folder that may be written to'),
        ('file/r.json', 'file is no folder that may be written to'),
    ],
)
def test_closed_folders_are_refused_before_the_work(tmp_path, monkeypatch, output, message):
    (tmp_path / 'open').mkdir()
    (tmp_path / 'closed').mkdir()
    (tmp_path / 'file').touch()
    monkeypatch.setattr(os, 'access', lambda path, mode: Path(path).name != 'closed')  # root may write anywhere
    if message is None:
        refuse_closed_folder(tmp_path / output)
    else:
        with pytest.raises(ConfigError, match=rf'json: --out: cannot be written: .*{message}'):
            refuse_closed_folder(tmp_path / output, field='--out')
    assert sorted(path.name for path in tmp_path.rglob('*')) == ['closed', 'file', 'open']
