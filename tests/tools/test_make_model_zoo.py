"""The page of the model zoo is what the model index gives."""

import importlib.util
from pathlib import Path

import pytest

from mmdet.apis.known_models import KnownModel, indexed_models
from mmdet.errors import ConfigError


@pytest.fixture(scope='module')
def tool(repository):
    spec = importlib.util.spec_from_file_location('make_model_zoo', repository / 'tools/misc/make_model_zoo.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_index_gives(tool):
    text = tool.PAGE.read_text(encoding='utf-8')
    assert tool.updated(text) == text, 'run tools/misc/make_model_zoo.py'


def test_tables(tool):
    config = Path('a.py')
    assert tool.table([KnownModel('a', config)]) == '| config |\n| --- |\n| a |\n'
    models = [
        KnownModel(
            'a',
            config,
            'https://host/a-1.pth#sha256=12345678',
            40,
            3.5,
            aliases=('b', 'c'),
            macs=9.876,
            test_dev_ap=41.25,
        ),
        KnownModel('d', config, page='https://host/view', macs=12.34),
        KnownModel('e', config, hub='owner/e'),
    ]
    assert tool.table(models) == (
        '| config | also | AP | parameters | G MAC | file |\n| --- | --- | --: | --: | --: | --- |\n'
        '| a | b, c | 40.0 / 41.2 | 3.50 | 9.88 | [a-1.pth](https://host/a-1.pth#sha256=12345678) |\n'
        '| d | | | | 12.3 | [by hand](https://host/view) |\n'
        '| e | | | | | [owner/e](https://huggingface.co/owner/e) |\n'
    )


@pytest.mark.parametrize(
    'change',
    [('<!-- models: ATSS -->', '<!-- models: ATS -->'), ('<!-- models: ATSS -->', '<!-- models: PAA -->'), ('# Model zoo', '<!-- models: PAA -->\n<!-- end -->')],
)  # fmt: skip
def test_every_family_has_one_table(tool, change):
    text = tool.PAGE.read_text(encoding='utf-8').replace(*change)
    with pytest.raises(ConfigError, match='must have one table for each of'):
        tool.updated(text)


def test_facts_of_the_index():
    models = list(indexed_models())
    names = [name.lower() for model in models for name in (model.name, *model.aliases)]
    assert len(names) == len(set(names)) and len(models) > 200
    for model in models:
        assert model.config.is_file() and model.config.stem == model.name and model.family and model.parameters, model
        assert not (model.weights and model.page), model
        if model.weights:
            assert model.weights.startswith('https://') and model.weights.endswith(('.pth', '.ckpt', '.pth.tar')), model
            assert model.box_ap is not None, model
    # What a second file has under the same name would be taken for the first one.
    files = [model.file for model in models if model.file]
    assert len(files) == len(set(files))
