import argparse
import os

import pytest
from mmengine.config import Config, ConfigDict

from mmdet.config import require_keys
from mmdet.config.launcher import launcher_in_use, starts_as_main_process
from mmdet.config.reading import type_name
from mmdet.utils import (
    CfgOptions,
    ConfigError,
    DataError,
    add_common_arguments,
    load_config,
    reports_user_errors,
    resolve_work_dir,
    set_local_rank,
)


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'small.py'
    path.write_text('model = dict(depth=18)\nwork_dir = None\n')
    return path


def test_no_overrides(config, capsys):
    assert load_config(config).model.depth == 18
    assert load_config(config, {}).model.depth == 18
    assert capsys.readouterr().err == ''


def test_overrides(config, capsys):
    assert load_config(config, {'model.depth': 50}).model.depth == 50
    assert capsys.readouterr().err == ''
    assert load_config(config, {'modle.depth': 50}).modle.depth == 50
    assert "did you mean 'model'?" in capsys.readouterr().err


def test_work_dir_precedence(config):
    cfg = load_config(config)
    assert resolve_work_dir(cfg, config) == 'work_dirs/small'
    cfg.work_dir = 'mine'
    assert resolve_work_dir(cfg, config) == 'mine'
    assert resolve_work_dir(cfg, config, 'cli') == 'cli'


@pytest.mark.parametrize('value', ['model.depth', '=3'])
def test_options_need_key_and_value(value, capsys):
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=CfgOptions)
    assert parser.parse_args(['--cfg-options', 'a.b=[1,2]']).cfg_options == {'a.b': [1, 2]}
    with pytest.raises(SystemExit):
        parser.parse_args(['--cfg-options', value])
    assert 'key=value' in capsys.readouterr().err


def test_missing_file(tmp_path):
    with pytest.raises(ConfigError, match='no such config file'):
        load_config(tmp_path / 'none.py')


@pytest.mark.parametrize(
    ('environment', 'first'),
    [
        ({}, True),
        (dict(RANK='0'), True),
        (dict(RANK='1'), False),
        (dict(SLURM_PROCID='3'), False),
        (dict(OMPI_COMM_WORLD_RANK='2'), False),
    ],
)
def test_only_the_first_process_warns(config, capsys, monkeypatch, environment, first):
    for name in ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK'):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert starts_as_main_process() == first
    load_config(config, {'other': 1})
    assert bool(capsys.readouterr().err) == first


def test_errors_of_configs_name_file_and_line(tmp_path):
    path = tmp_path / 'wrong.py'
    path.write_text('a = 1\nb = (\n')
    with pytest.raises(ConfigError, match=r'wrong\.py: line 2: syntax error'):
        load_config(path)
    path.write_text('model = dict(depth=18)\na = 1 / 0\n')
    with pytest.raises(ConfigError, match=r'wrong\.py: cannot be read: ZeroDivisionError'):
        load_config(path)
    path.write_text('model = [1]\n')
    with pytest.raises(ConfigError, match=r'wrong\.py: --cfg-options: does not fit this config'):
        load_config(path, {'model.depth.x': 3})


@pytest.mark.parametrize(
    ('arguments', 'options'),
    [
        ([], None),
        (['--verbose'], {'verbose': True}),
        (['--verbose', '--cfg-options', 'a=1'], {'verbose': True, 'a': 1}),
        (['--cfg-options', 'a=1', 'b=x', '--verbose'], {'verbose': True, 'a': 1, 'b': 'x'}),
    ],
)
def test_verbose_is_an_option_of_the_config(config, capsys, arguments, options):
    parser = argparse.ArgumentParser()
    add_common_arguments(parser)
    args = parser.parse_args(arguments)
    assert args.cfg_options == options and args.launcher is None and args.trust_checkpoint is False
    assert load_config(config, args.cfg_options).get('verbose', False) == ('--verbose' in arguments)
    assert 'verbose' not in capsys.readouterr().err  # although the config does not have it


def test_type_names():
    assert [type_name(dict(type=kind)) for kind in ('GFL', 'mmdet.GFL', ConfigDict, None)] == [
        'GFL',
        'GFL',
        'ConfigDict',
        'None',
    ]
    assert type_name(ConfigError('x')) == 'ConfigError'


def test_required_keys():
    cfg = Config(dict(model=dict(), train_cfg=None))
    require_keys(cfg, ('model',), 'training')
    with pytest.raises(
        ConfigError, match=r'train_cfg: missing \(and optim_wrapper, data\): training needs model, train_cfg'
    ):
        require_keys(cfg, ('model', 'train_cfg', 'optim_wrapper', 'data'), 'training')
    with pytest.raises(ConfigError, match='^train_cfg: missing: testing needs train_cfg$'):
        require_keys(cfg, ('train_cfg',), 'testing')


def test_local_rank_of_old_launchers(monkeypatch):
    monkeypatch.delenv('LOCAL_RANK', raising=False)
    set_local_rank(argparse.Namespace(local_rank=3, launcher='slurm'))
    assert os.environ['LOCAL_RANK'] == '3'
    set_local_rank(argparse.Namespace(local_rank=4, launcher='slurm'))
    assert os.environ['LOCAL_RANK'] == '3'
    monkeypatch.delenv('LOCAL_RANK')


TORCHRUN = dict(RANK='1', WORLD_SIZE='2', LOCAL_RANK='1', MASTER_ADDR='127.0.0.1', MASTER_PORT='29500')


@pytest.mark.parametrize(
    ('asked', 'variables', 'launcher'),
    [
        (None, {}, 'none'),
        (None, TORCHRUN, 'pytorch'),
        ('none', TORCHRUN, 'none'),
        ('slurm', TORCHRUN, 'slurm'),
        *((None, {key: value for key, value in TORCHRUN.items() if key != absent}, 'none') for absent in TORCHRUN),
        (None, dict(TORCHRUN, RANK=''), 'none'),
        (None, dict(SLURM_PROCID='1', SLURM_NTASKS='2'), 'none'),
    ],
)
def test_torchrun_is_noticed_by_all_of_its_variables(monkeypatch, asked, variables, launcher):
    for name in TORCHRUN:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert launcher_in_use(asked) == launcher
    args = argparse.Namespace(local_rank=0, launcher=asked)
    monkeypatch.setenv('LOCAL_RANK', variables.get('LOCAL_RANK', ''))  # so that it is taken back
    set_local_rank(args)
    assert args.launcher == launcher


def test_user_errors_are_one_line(monkeypatch, capsys):
    @reports_user_errors
    def main(error=None, *, value=1):
        if error is not None:
            raise error
        return value

    assert main(value=2) == 2
    monkeypatch.delenv('MMDET_TRACEBACK', raising=False)
    with pytest.raises(SystemExit) as stop:
        main(DataError('is empty', file='a.json'))
    assert stop.value.code == 2 and capsys.readouterr().err == 'DataError: a.json: is empty\n'
    with pytest.raises(ZeroDivisionError):
        main(ZeroDivisionError())
    monkeypatch.setenv('MMDET_TRACEBACK', '1')
    with pytest.raises(DataError):
        main(DataError('is empty'))
