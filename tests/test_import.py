"""What importing costs: heavy packages, and the order of imports."""

import ast
import json
import pkgutil
import subprocess
import sys

import pytest

import mmdet

HEAVY = ('albumentations', 'matplotlib', 'nltk', 'pandas', 'pycocotools', 'scipy', 'sklearn')
MODULES = sorted(module.name for module in pkgutil.walk_packages(mmdet.__path__, 'mmdet.'))

# A process that has imported nothing of mmdet, only the large packages that mmdet imports, forks children: each starts afresh and costs milliseconds.
# `import a.b.c` imports a, then a.b, then a.b.c. A child that has imported a.b therefore stands for all the modules of a.b that came with it (to
# import one of these first is to import a.b), and is where a child for each of the others goes on.
FRESH = """
import gc, importlib, json, os, sys, traceback
import cv2, mmcv.cnn, mmcv.transforms, mmengine.runner, mmengine.visualization, numpy, torch
gc.disable()
def fork(function, *args):
    reader, writer = os.pipe()
    if os.fork() == 0:
        try:
            output = function(*args)
        except BaseException:
            output = {'a child': traceback.format_exc()[-4000:]}
        with os.fdopen(writer, 'w') as stream:
            json.dump(output, stream)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        output = json.load(stream)
    os.wait()
    return output
def look(name):
    return go_on(name) if name in sys.modules else fork(go_on, name)
def go_on(name):
    try:
        importlib.import_module(name)
    except BaseException:
        return {inner: traceback.format_exc()[-4000:] for inner in names if f'{inner}.'.startswith(f'{name}.')}
    found = {name: None}
    for inner in names:
        if inner.rpartition('.')[0] == name:
            found.update(look(inner))
    return found
def run(code):
    exec(code, {})
    return {}
names, code = json.loads(sys.stdin.read())
assert 'mmdet' not in sys.modules
print(json.dumps({**fork(go_on, 'mmdet'), **fork(run, code)}))
"""

FIND_TYPES = """
from mmdet.registry import DATASETS, HOOKS, METRICS, MODELS, TRANSFORMS, VISUALIZERS
names = {MODELS: 'GFL', DATASETS: 'CocoDataset', TRANSFORMS: 'PackDetInputs', METRICS: 'CocoMetric', HOOKS: 'CheckpointHook',
         VISUALIZERS: 'DetLocalVisualizer'}
for registry, name in names.items():
    found = registry.get(name)
    assert found is not None and found.__module__.startswith('mmdet.'), (registry.name, name, found)
"""


def run(code: str, repository, text: str = '') -> str:
    """Output of a fresh interpreter."""
    env = {'PYTHONPATH': str(repository), 'OMP_NUM_THREADS': '1', 'PATH': '/usr/bin:/bin', 'HOME': '/tmp'}
    done = subprocess.run(
        [sys.executable, '-c', code], env=env, input=text, capture_output=True, text=True, timeout=480
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_imports_are_cheap(repository):
    code = f"""
import sys, json
heavy = {HEAVY!r}
found = {{}}
def note(step):
    found[step] = [name for name in heavy if name in sys.modules]
import mmdet
note('mmdet')
found['torch with mmdet'] = ['torch'] if 'torch' in sys.modules else []
import mmdet.registry
note('mmdet.registry')
from mmdet.utils import register_all_modules
register_all_modules()
note('register_all_modules')
import mmdet.apis
note('mmdet.apis')
print(json.dumps(found))
"""
    found = json.loads(run(code, repository))
    assert found == {step: [] for step in found}


@pytest.mark.slow
def test_every_module_can_be_imported_first(repository):
    """No module leans on another one having been imported before; and a registry imports its own modules when it is first asked."""
    assert len(MODULES) > 100
    faults = json.loads(run(FRESH, repository, json.dumps([MODULES, FIND_TYPES])))
    assert set(faults) >= {'mmdet', *MODULES}
    assert not any(faults.values()), '\n\n'.join(f'{name}:\n{text}' for name, text in faults.items() if text)


def test_no_module_imports_from_the_tests_or_the_tools(repository):
    wrong = []
    for path in sorted((repository / 'mmdet').rglob('*.py')):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            wrong += [
                f'{path.name}: {name}' for name in names if name.split('.')[0] in ('tests', 'tools', 'benchmarks')
            ]
    assert not wrong


def test_core_imports_neither_models_nor_datasets(repository):
    """The layering that docs and readers count on: detection maths stands alone."""
    wrong = []
    for path in sorted((repository / 'mmdet' / 'core').rglob('*.py')):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            module = node.module if isinstance(node, ast.ImportFrom) else None
            if module and module.startswith(('mmdet.models', 'mmdet.datasets', 'mmdet.engine', 'mmdet.apis')):
                wrong.append(f'{path.name}: {module}')
    assert not wrong


def test_every_name_of_the_apis_has_its_home():
    import mmdet.apis

    assert set(mmdet.apis.__all__) == set(mmdet.apis._HOMES) <= set(dir(mmdet.apis))
    assert all(getattr(mmdet.apis, name).__name__ == name for name in mmdet.apis.__all__)
    with pytest.raises(AttributeError, match='nothing'):
        mmdet.apis.nothing  # noqa: B018
