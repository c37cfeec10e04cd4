"""Which models the page offers, and which of them are in memory."""

import pytest

from mmdet.commands import main
from mmdet.errors import ConfigError, MMDetError
from mmdet.web.models import Choice, Models, choices_of
from tests.runtime.tiny import write_folder


def test_the_last_used_stay(monkeypatch):
    loaded = []
    models = Models([Choice(name, name) for name in 'abc'], 2, lambda choice: loaded.append(choice.name) or object())
    first = models.get('a')
    assert models.get('a') is first and 'a' in models and loaded == ['a']
    models.get('b'), models.get('a'), models.get('c')
    assert [name in models for name in 'abc'] == [True, False, True]
    assert models.get('a') is first and loaded == ['a', 'b', 'c']
    with pytest.raises(ConfigError, match="none of the models of this page.*Received: 'd'"):
        models.get('d')


def test_names_of_choices(tmp_path, repository):
    pytest.importorskip('onnx', reason='the folder holds a network made with onnx')
    config = str(repository / 'configs/demo/gfl_demo.py')
    folder = str(write_folder(tmp_path / 'exported'))
    runs = []
    for run in ('run_a', 'run_b'):
        (tmp_path / run).mkdir()
        (tmp_path / run / 'x.py').write_text('model = dict()')
        (tmp_path / run / 'epoch_1.pth').write_bytes(b'')
        runs.append(str(tmp_path / run / 'epoch_1.pth'))
    found = choices_of([config, config, folder, folder + '/manifest.json', *runs], ['a.pth', 'b.pth'], named=False)
    names = ['gfl_demo', 'gfl_demo (2)', 'exported', 'exported (4)', 'run_a/epoch_1', 'run_b/epoch_1']
    assert [choice.name for choice in found] == names and [choice.weights for choice in found[:3]] == [
        'a.pth',
        'b.pth',
        None,
    ]
    published = choices_of(['gfl_r50_fpn_1x_coco'])
    assert [choice.name for choice in published].count('gfl_r50_fpn_1x_coco') == 1
    assert published[0].given and not any(choice.given for choice in published[1:]) and len(published) > 3


@pytest.mark.parametrize(('models', 'weights', 'message'), [
    ([], [], 'name a model'),
    (['no_such_model'], [], 'no config file, and no name of a model'),
    (['nowhere/epoch_1.pth'], [], 'epoch_1.pth'),
    (['gfl_r50_fpn_1x_coco'], ['a.pth', 'b.pth'], r"--weights.*at most one for each of the 1 models.*'b.pth'"),
])  # fmt: skip
def test_models_that_cannot_be_offered(models, weights, message):
    with pytest.raises(MMDetError, match=message):
        choices_of(models, weights, named=False)


@pytest.mark.parametrize(('words', 'message'), [
    (['--value-range', '9', '1'], 'value_range: must be None'),
    (['--no-named'], 'MODEL: name a model'),
    (['--max-upload', '0'], '--max-upload: must be greater than 0'),
    (['--kept-models', '-1'], '--kept-models: must be greater than 0'),
    (['--tile', '640x'], 'must be a size in pixels'),
    (['--overlap', '1'], 'overlap'),
])  # fmt: skip
def test_command_lines_that_are_wrong(words, message, capsys):
    with pytest.raises(SystemExit) as ended:
        main(['web', *words])
    assert ended.value.code == 2 and message in capsys.readouterr().err
