"""The ``mmdet`` command."""

import contextlib
import inspect
import json
import os
import shutil
import subprocess
import sys
from typing import get_args

import pytest

from mmdet.commands import COMMANDS, command, forms, main, run, summary
from mmdet.commands.signature import parameters_of, parser_of
from mmdet.config.reading import reports_user_errors
from mmdet.version import release
from tests import processes


def test_help_lists_every_command(capsys):
    assert main([]) == 0
    output = capsys.readouterr().out
    assert all(f'  {name} ' in output and summary(name) in output for name in COMMANDS)


def test_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main(['--version'])
    assert ended.value.code == 0 and capsys.readouterr().out.startswith(f'mmdet-dense {release}, ')


@pytest.mark.parametrize('name', COMMANDS)
def test_every_command_explains_all_its_arguments(name):
    assert summary(name) == inspect.getdoc(command(name)).partition('\n')[0].rstrip('.')
    for function in forms(name):
        assert not [parameter.name for parameter in parameters_of(function) if not parameter.help]
        parser_of(function, f'mmdet {name}').format_help()


@pytest.mark.parametrize(('words', 'status', 'message'), [
    (['trian'], 2, "mmdet: error: no such command: 'trian'; did you mean train?; see mmdet --help\n"),
    (['nothing'], 2, "no such command: 'nothing'; there are train, test, "),
    (['train'], 2, 'mmdet train: error: the following arguments are required: CONFIG; see mmdet train --help\n'),
    (['export', 'gfl_r50_fpn_1x_coc', 'w.pth'], 2, 'arguments are required: --to'),
    (['train', 'gfl_r50_fpn_1x_coc'], 2, 'no name of a model; near names: gfl_r50_fpn_1x_coco'),
    (['predict', 'a', 'image.jpg', '--max-frames', '3'], 2, 'ConfigError: --max-frames: is for videos, cameras and streams'),
    (['predict', 'gfl_r50_fpn_1x_coco', 'nowhere.jpg'], 2, 'DataError: nowhere.jpg: no such file or folder'),
    (['predict', 'gfl_r50_fpn_1x_coco', 'nowhere.mp4'], 2, 'DataError: nowhere.mp4: no such file or folder'),
    (['predict', 'a', '0', '--print-result'], 2, 'ConfigError: --print-result: is for images'),
    (['train', 'nowhere.py'], 2, 'ConfigError: nowhere.py: no such config file'),
    (['predict', __file__ + 'c', 'gfl_r50_fpn_1x_coco'], 2, 'MODEL: no config file, and no name of a model'),
    (['predict', 'LICENSE', 'gfl_r50_fpn_1x_coco'], 2, "MODEL: must be a config file (.py, .json, .yml, .yaml) or the name of a model; it is the first argument. Received: 'LICENSE'"),
    (['test', 'LICENSE', 'gfl_r50_fpn_1x_coco'], 2, 'CONFIG: must be a config file'),
    (['search', 'gfl_r50_fpn_1x_coco'], 2, 'gfl_r50_fpn_1x_coco.py: is no search config, which needs structure, score and space'),
    (['doctor', 'gfl_small_bccd', '--workers', '0'], 2, 'data/BCCD/annotations/train.json: no such file'),
    (['report', 'EMPTY'], 2, 'EMPTY: nothing to report: no <timestamp>/vis_data/scalars.json in it'),
    (['--completion', 'csh'], 2, "invalid choice: 'csh'"),
])  # fmt: skip
def test_errors_end_with_a_status(words, status, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'LICENSE').write_text('a file of another kind')
    (tmp_path / 'EMPTY').mkdir()
    (tmp_path / 'gfl_r50_fpn_1x_coco').mkdir()  # the name of a model stays one
    with pytest.raises(SystemExit) as ended:
        main(words)
    errors = capsys.readouterr().err
    assert ended.value.code == status and message in errors and errors.count('\n') == 1


def test_as_a_process():
    """Once as the shell sees it: help and usage errors import neither torch nor mmengine."""
    code = 'import sys; from mmdet.commands import main; main(["train", "--help"])'
    done = processes.run_fresh(['-X', 'importtime', '-c', code])
    assert done.returncode == 0 and 'usage: mmdet train' in done.stdout
    assert not [
        line for line in done.stderr.splitlines() if line.split('|')[-1].strip() in ('torch', 'mmengine', 'numpy')
    ]


@pytest.mark.parametrize('shell', ['bash', 'zsh', 'fish'])
def test_completion(shell, capsys, tmp_path):
    """Of commands, options, choices and files, as the shell itself gives them where it is installed."""
    pytest.importorskip('shtab', reason='completion of shells is written by shtab')
    assert main(['--completion', shell]) == 0
    script = capsys.readouterr().out
    assert 'mmdet' in script and '--work-dir' in script and 'doctor' in script
    ask = {
        'bash': 'source ./script; for line in "pre" "predict --sl" "convert --to co" "train im" "benchmark --batch-size im"; do words=(mmdet $line); '
        'COMP_WORDS=("${words[@]}"); COMP_CWORD=$((${#words[@]} - 1)); COMPREPLY=(); _shtab_mmdet mmdet "${words[-1]}" "${words[-2]}"; echo "${COMPREPLY[@]}"; done',
        'fish': 'source ./script; for line in pre "predict --sl" "convert --to co" "train im"; complete -C "mmdet $line" | string split -f1 \\t; end',
    }.get(shell)
    if ask and shutil.which(shell):
        (tmp_path / 'script').write_text(script)
        (tmp_path / 'image.jpg').touch()
        options = ['--norc'] if shell == 'bash' else ['--no-config']
        found = subprocess.run([shell, *options, '-c', ask], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert found.stdout.split() == ['predict', '--slice', 'coco', 'image.jpg'], found.stderr


@pytest.mark.skipif(sys.platform == 'win32', reason='a pipe without a reader is noticed by poll')
@pytest.mark.parametrize('lines', [0, 10_000])
def test_an_output_that_nobody_reads_ends_with_141(lines, capfd):
    """As ``mmdet models | head``: no line on the error stream, whether the output fills the buffer or not."""
    read, write = os.pipe()
    os.close(read)
    with open(write, 'w') as output, contextlib.redirect_stdout(output), pytest.raises(SystemExit) as ended:
        reports_user_errors(lambda: print('a line\n' * (lines + 1)))()
    assert ended.value.code == 141 and not capfd.readouterr().err


def test_models_say_which_licences_are_unknown(capsys):
    assert main(['models', 'gfl_r50']) == 0
    rows = {words[0]: words[1:] for words in map(str.split, capsys.readouterr().out.splitlines()) if words}
    assert (
        rows['gfl_r50_fpn_1x_coco'][2] == 'Apache-2.0' and rows['gfl_r50_1x'][2] == 'unknown'
    )  # a file without a stated licence
    assert rows['gfl_r50_fpn_1x_visdrone'] == []  # no file
    assert main(['models', 'ufpmp-det', '--json']) == 0
    assert {'ufpmp_det_res50', 'coarse_det', 'mp_det_res50'} <= {
        each['name'] for each in json.loads(capsys.readouterr().out)
    }


def test_choices_are_those_of_the_functions():
    from mmdet.datasets.converters.convert import IMAGE_MODES, RESTS, TARGETS

    hints = inspect.get_annotations(command('convert'))
    assert [get_args(hints[name]) for name in ('to', 'rest', 'image_files')] == [TARGETS, RESTS, IMAGE_MODES]


def test_statuses_are_given_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['report', str(tmp_path / 'nowhere')])
    with pytest.raises(SystemExit) as ended:
        run('report')
    assert ended.value.code == 2 and 'no such folder' in capsys.readouterr().err
