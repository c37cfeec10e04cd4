"""Every public name of earlier versions is importable from where it was."""

import importlib
import inspect
import json
import pickle
import subprocess
import sys

import pytest

from mmdet.moved import MOVED, modules_of


@pytest.fixture(scope='module')
def old_names(repository) -> dict[str, list[str]]:
    """Module -> the public names that it defined, of the version before the packages were rearranged."""
    return json.loads((repository / 'tests' / 'data' / 'old_names.json').read_text(encoding='utf-8'))


def test_old_names_are_found_where_they_were(old_names):
    missing = []
    for path, names in old_names.items():
        module = importlib.import_module(path)
        missing += [f'{path}.{name}' for name in names if not hasattr(module, name)]
    assert len(old_names) > 200 and not missing


def test_old_names_are_the_same_objects(old_names):
    """A class or function of an old path is the one of its own module: no file is read a second time under another name."""
    copies, seen = [], 0
    for path, names in old_names.items():
        for name in names:
            value = getattr(importlib.import_module(path), name)
            if (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__.startswith(
                ('mmdet.', 'mmdet_runtime.')
            ):
                own = getattr(sys.modules[value.__module__], value.__name__, value)
                seen += 1
                copies += [f'{path}.{name}'] * (own is not value)
                copies += [f'{path}.{name} says {value.__module__}'] * bool(modules_of(value.__module__))
    assert seen > 500 and not copies


def test_an_old_path_is_the_module_of_today():
    old, new = (importlib.import_module(path) for path in ('mmdet.utils.legacy.files', 'mmdet.config.legacy.files'))
    assert old is new and new.__name__ == 'mmdet.config.legacy.files'


def test_old_pickles_are_read():
    from mmdet.archs import Block

    block = Block('SuperResK1KX', 8, 16, 3)
    now = pickle.dumps(block, protocol=0)
    old = now.replace(b'mmdet.archs.structure', b'mmdet.nas.structure')
    assert old != now and pickle.loads(old) == block


def test_the_table_is_read_with_the_first_submodule_only(repository):
    code = 'import sys, mmdet; before = "mmdet.moved" in sys.modules; import mmdet.version, mmdet.errors; print(before, "mmdet.moved" in sys.modules)'
    done = subprocess.run([sys.executable, '-c', code], cwd=repository, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ['False', 'True']


def test_a_path_of_several_modules_holds_the_names_of_all():
    module = importlib.import_module('mmdet.nas.structure')
    homes = [importlib.import_module(path) for path in MOVED['mmdet.nas.structure']]
    assert len(homes) == 3 and module not in homes and module.__name__ == 'mmdet.nas.structure'
    for home in homes:
        public = [name for name in vars(home) if not name.startswith('_')]
        assert public and all(hasattr(module, name) for name in public)


def test_the_table_names_modules_of_today():
    assert all(importlib.util.find_spec(module) for modules in MOVED.values() for module in modules)
    assert not any(modules_of(module) for modules in MOVED.values() for module in modules)
    assert not modules_of('mmdet') and not modules_of('mmdet.apis.testing') and not modules_of('mmdet.apis')
    with pytest.raises(ModuleNotFoundError, match='mmdet.config.legacy.nothing'):
        importlib.import_module('mmdet.utils.legacy.nothing')
