import argparse

import pytest

from mmdet.utils import CfgOptions, ConfigError, load_config, resolve_work_dir


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
