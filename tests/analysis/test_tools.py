"""The scripts from their command lines, in this process."""

import json
import runpy
import sys

import pytest

from .cases import write_coco_folder, write_coco_results
from .test_logs import new_log


@pytest.fixture
def tool(repository, monkeypatch, capsys):
    def run(script, *arguments):
        monkeypatch.setattr(sys, 'argv', [script, *map(str, arguments)])
        runpy.run_path(str(repository / 'tools' / script), run_name='__main__')
        return capsys.readouterr().out

    return run


def fails(tool, capsys, *command):
    with pytest.raises(SystemExit) as exit_info:
        tool(*command)
    assert exit_info.value.code == 2
    return capsys.readouterr().err


def test_get_flops(tool, repository, tmp_path, capsys):
    config = repository / 'configs/bccd/gfl_small_bccd.py'
    out = tmp_path / 'flops.json'
    text = tool('analysis_tools/get_flops.py', config, '--shape', '300', '400', '--per-part', '--json', out)
    assert 'padded to 320 x 416' in text and '| bbox_head |' in text
    content = json.loads(out.read_text())
    assert (
        content['total']['flops'] == 2 * content['total']['macs'] == 2 * sum(part['macs'] for part in content['parts'])
    )
    (tmp_path / 'empty.py').write_text('a = 1\n')
    assert 'has no model' in fails(tool, capsys, 'analysis_tools/get_flops.py', tmp_path / 'empty.py')


def test_print_config(tool, repository, tmp_path, capsys):
    config, saved = repository / 'configs/gfl/gfl_r50_fpn_1x_coco.py', tmp_path / 'new' / 'merged.json'
    text = tool('misc/print_config.py', config, '--save-path', saved, '--cfg-options', 'model.bbox_head.num_classes=3')
    assert 'num_classes=3' in text and 'base_batch_size' in text
    assert json.loads(saved.read_text())['model']['bbox_head']['num_classes'] == 3
    assert 'must end in' in fails(tool, capsys, 'misc/print_config.py', config, '--save-path', tmp_path / 'x.txt')


def test_browse_dataset(tool, tmp_path, monkeypatch, capsys):
    config, _ = write_coco_folder(tmp_path)
    text = tool(
        'analysis_tools/browse_dataset.py', config, '--output-dir', tmp_path / 'out', '--split', 'test', '--not-show'
    )
    assert '2 of 2 samples' in text
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['00000_1.jpg', '00001_2.jpg']
    assert '--output-dir' in fails(tool, capsys, 'analysis_tools/browse_dataset.py', config, '--not-show')


def test_analyze_logs(tool, tmp_path, capsys):
    new_log(tmp_path / 'run')
    svg = tmp_path / 'curves.svg'
    text = tool(
        'analysis_tools/analyze_logs.py',
        'plot_curve',
        tmp_path / 'run',
        '--keys',
        'loss',
        '--out',
        svg,
        '--legend',
        'mine',
    )
    assert 'mine: 4 values, last 2' in text and 'mine' in svg.read_text()
    assert 'mean: 0.6000' in tool('analysis_tools/analyze_logs.py', 'cal_train_time', tmp_path / 'run')
    assert 'Logged were train' in fails(
        tool, capsys, 'analysis_tools/analyze_logs.py', 'plot_curve', tmp_path / 'run', '--keys', 'x'
    )


def test_tools_on_predictions(tool, tmp_path):
    config, annotations = write_coco_folder(tmp_path)
    results, out = write_coco_results(tmp_path), tmp_path / 'out'
    text = tool('analysis_tools/analyze_results.py', config, results, out / 'ranking', '--topk', 1)
    assert 'AP 0.500, 2 objects' in text and (out / 'ranking' / 'ranking.json').is_file()
    text = tool('analysis_tools/confusion_matrix.py', config, results, out / 'confusion', '--normalize')
    assert '3 objects: 1 found, 1 missed, 1 taken for another class; 1 detections without an object' in text
    text = tool('analysis_tools/coco_error_analysis.py', results, out / 'errors', '--ann', annotations)
    assert 'allclass' in text and (out / 'errors' / 'bbox-allclass.png').is_file()
