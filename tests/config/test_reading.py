import argparse
import os

import pytest
from mmengine.config import Config, ConfigDict

from mmdet.config import require_keys
from mmdet.config.config_files import require_data
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


def test_teachers_are_looked_up_in_and_above_the_folder_of_the_config(tmp_path, monkeypatch):
    (tmp_path / 'configs' / 'ld').mkdir(parents=True)
    (tmp_path / 'elsewhere').mkdir()
    path = tmp_path / 'configs' / 'ld' / 'student.py'
    path.write_text("model = dict(teacher_config='configs/teacher.py')")
    monkeypatch.chdir(tmp_path / 'elsewhere')
    assert load_config(path).model.teacher_config == 'configs/teacher.py'  # nowhere: said when the model is built
    teacher = tmp_path / 'configs' / 'teacher.py'
    teacher.write_text('model = dict()')
    assert load_config(path).model.teacher_config == str(teacher)
    assert load_config(path, {'model.teacher_config': 'student.py'}).model.teacher_config == str(path)
    monkeypatch.chdir(tmp_path)
    assert load_config(path).model.teacher_config == 'configs/teacher.py'


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


@pytest.mark.parametrize('value', ['model.depth', '=3', 'a=(1,', 'a=[1,[2,3]', 'a=dict(b=dict(c=1),d=2)'])
def test_options_need_key_and_value(value, capsys):
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=CfgOptions)
    assert parser.parse_args(['--cfg-options', 'a.b=[1,2]', 'c=x']).cfg_options == {'a.b': [1, 2], 'c': 'x'}
    with pytest.raises(SystemExit):
        parser.parse_args(['--cfg-options', value])
    error = capsys.readouterr().err
    assert 'key=value' in error or f'cannot read this value. Received: {value!r}' in error


def test_missing_file(tmp_path):
    with pytest.raises(ConfigError, match='no such config file'):
        load_config(tmp_path / 'none.py')


RUNS = '!!python/object/apply:os.mkdir [MADE]'


@pytest.mark.parametrize(
    ('files', 'message'),
    [
        ({'a.yaml': f'x: 1\ny: [{RUNS}]'}, r"a\.yaml: line 2: .*tag 'tag:yaml.org,2002:python/object/apply:os.mkdir'"),
        ({'a.yml': f'{RUNS}: 1'}, r'a\.yml: line 1: .*os\.mkdir'),
        ({'a.yaml': '_base_: b.yaml', 'b.yaml': f'\nx: {RUNS}'}, r'b\.yaml: line 2: .*os\.mkdir'),
        ({'a.py': '_base_ = ["b.yml"]', 'b.yml': f'x: {RUNS}'}, r'b\.yml: line 1: .*os\.mkdir'),
        ({'a.py': 'lr_config = {}\n_base_ = "b.yml"', 'b.yml': f'data: {RUNS}'}, r'b\.yml: line 1: .*os\.mkdir'),
        ({'a.json': '{"_base_": "b.py"}', 'b.py': '_base_ = "c.yaml"', 'c.yaml': RUNS}, r'c\.yaml: line 1: .*os\.mkdir'),
        ({'a.yaml': 'x: !!python/name:os.system'}, r"a\.yaml: line 1: .*python/name:os\.system"),
        ({'a.yaml': 'x: !!python/object/new:os.stat_result [1]'}, r"line 1: .*python/object/new"),
        ({'a.yaml': 'x: !!python/module:antigravity'}, r"line 1: .*python/module"),
        ({'a.yaml': 'x: !mine 3'}, r"line 1: .*tag '!mine'"),
        ({'a.yaml': 'x: [1\ny: 2'}, r'a\.yaml: line 2: '),
        ({'a.yaml': 'x: *b'}, r"a\.yaml: line 1: .*undefined alias 'b'"),
        ({'a.yaml': '- 1'}, r"a\.yaml: the top level must be a mapping\. Received: 'list'"),
        ({'a.yaml': ''}, r'a\.yaml: the top level must be a mapping'),
        ({'a.yaml': 'x: ' + '[' * 1500}, r'a\.yaml: '),
        ({'a.yaml': 'x: "\x07"'}, r'a\.yaml: is no YAML: unacceptable character'),
        ({'a.yaml': 'x: &a [*a]'}, r'a\.yaml: its aliases stand for 1000000 values or more'),
        ({'a.yaml': 'a: &a [1,1,1,1,1,1,1,1,1]\n' + ''.join(
            f'{n}: &{n} [{",".join(9 * [f"*{m}"])}]\n' for m, n in zip('abcdefgh', 'bcdefghi'))}, r'its aliases stand for'),
        ({'a.yaml': '_base_: ./a.yaml'}, r'a\.yaml: _base_: names the file itself, .*: a\.yaml -> a\.yaml$'),
        ({'a.yml': '_base_: b.py', 'b.py': '_base_ = "c.json"', 'c.json': '{"_base_": ["b.py"]}'},
            r'c\.json: _base_: names the file itself, .*: b\.py -> c\.json -> b\.py$'),
        ({'a.py': '_base_ = "a.py"'}, r'a\.py: _base_: names the file itself, .*: a\.py -> a\.py$'),
    ],
)  # fmt: skip
def test_yaml_runs_nothing(tmp_path, files, message):
    for name, content in files.items():
        (tmp_path / name).write_text(content.replace('MADE', str(tmp_path / 'made')))
    with pytest.raises(ConfigError, match=message) as error:
        load_config(tmp_path / next(iter(files)))
    assert not (tmp_path / 'made').exists() and '\n' not in str(error.value)


def test_yaml_and_json_read_as_data(tmp_path):
    (tmp_path / 'a.py').write_text('_base_ = ["b.yaml"]\nz = {{_base_.model.depth}}\n')
    (tmp_path / 'b.yaml').write_text(
        '_base_: c.json\nmodel: {depth: 18, range: !!python/tuple [1, 2]}\nlr: &l 0.1\nlr2: *l\n'
    )
    (tmp_path / 'c.json').write_text('{"model": {"type": "GFL"}}')
    cfg = load_config(tmp_path / 'a.py')
    assert cfg.to_dict() == dict(model=dict(type='GFL', depth=18, range=(1, 2)), lr=0.1, lr2=0.1, z=18)
    cfg.dump(tmp_path / 'd.yml')
    assert load_config(tmp_path / 'd.yml').to_dict() == cfg.to_dict()


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', None),
        ('"""Words."""\na = dict(b=[1, -2.0, (None, True)], c={1: "x", "d-e": {2}})\nf = a\ng = float("inf")\n', None),
        ('_base_ = ["plain.py"]\nb = {{_base_.a}}', None),
        ('_base_ = "gone.py"', None),
        ('import os', 'line 1: has a Import'),
        ('a = 1\nb = open("x", "w")', 'line 2: calls a function'),
        ('a = dict(type=open, file="x")', 'line 1: uses open'),
        ('a = [].__class__.__base__', 'line 1: uses an attribute'),
        ('a = __builtins__', 'line 1: uses __builtins__'),
        ('dict = 1\na = dict(b=1)', 'line 2: calls a function'),
        ('a = [b for b in (1,)]', 'has a ListComp'),
        ('a = "%s" % 1', 'has a BinOp'),
        ('a = lambda: 1', 'has a Lambda'),
        ('a = f"{1}"', 'has a JoinedStr'),
        ('def a(): pass', 'has a FunctionDef'),
        ('_base_ = ["plain.py", "program.py"]', r'program\.py: line 2: calls a function'),
        ('_base_ = "x.yaml"', 'has a base that is not known'),
        ('_base_ = "mmdet::x.py"', 'has a base that is not known'),
        ('_base_ = ["plain.py" ""][0]', 'has a Subscript'),
        ('a = (', r'beside\.py: line 1: syntax error'),
        ('a = "\\0"\n\0', r'beside\.py: '),
    ],
)
def test_a_config_of_values(tmp_path, text, message):
    (tmp_path / 'plain.py').write_text('a = 1\n')
    (tmp_path / 'program.py').write_text('_base_ = "plain.py"\na = print()\n')
    (tmp_path / 'beside.py').write_text(text)
    if message is None:
        require_data(tmp_path / 'beside.py')
    else:
        with pytest.raises(ConfigError, match=message):
            require_data(tmp_path / 'beside.py')


def test_configs_that_trainings_write_are_values(tmp_path, repository):
    for number, name in enumerate(('gfl/gfl_r50_fpn_1x_coco', 'demo/mp_det_demo', 'UFPMP-Det/ufpmp_det_res50')):
        load_config(repository / f'configs/{name}.py').dump(tmp_path / f'{number}.py')
        require_data(tmp_path / f'{number}.py')


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
