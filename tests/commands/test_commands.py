"""The ``mmdet`` command."""

import inspect
import sys
from typing import get_args

import pytest

from mmdet.commands import COMMANDS, command, forms, main, run, summary
from mmdet.commands.signature import parameters_of, parser_of
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
    (['--completion', 'fish'], 2, "invalid choice: 'fish'"),
])  # fmt: skip
def test_errors_end_with_a_status(words, status, message, capsys):
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


@pytest.mark.parametrize('shell', ['bash', 'zsh'])
def test_completion(shell, capsys):
    pytest.importorskip('shtab', reason='completion of shells is written by shtab')
    assert main(['--completion', shell]) == 0
    script = capsys.readouterr().out
    assert 'mmdet' in script and '--work-dir' in script and 'doctor' in script


def test_choices_are_those_of_the_functions():
    from mmdet.datasets.converters.convert import IMAGE_MODES, RESTS, TARGETS

    hints = inspect.get_annotations(command('convert'))
    assert [get_args(hints[name]) for name in ('to', 'rest', 'image_files')] == [TARGETS, RESTS, IMAGE_MODES]


def test_statuses_are_given_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['report', str(tmp_path / 'nowhere')])
    with pytest.raises(SystemExit) as ended:
        run('report')
    assert ended.value.code == 2 and 'no such folder' in capsys.readouterr().err
