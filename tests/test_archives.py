"""The archives that people install: what they hold, and that the wheels work in an environment and a folder of their own."""

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

SOURCES = (
    'LICENSE', 'MANIFEST.in', 'README.md', 'UFPMP-Det-Tools', 'configs', 'constraints.txt', 'mmdet', 'mmdet_runtime', 'model-index.yml',
    'pyproject.toml', 'requirements.txt', 'setup.py', 'tools',
)  # fmt: skip
# What lies about in a folder that somebody works in, and is in no archive.
LITTER = (
    'tests/test_x.py', 'docs/x.md', 'data/x.jpg', 'work_dirs/x.pth', 'mmdet/core/__pycache__/x.pyc', 'tools/__pycache__/x.pyc', 'configs/.x.swp',
    'mmdet_runtime/__pycache__/x.pyc', 'mmdet_runtime/build/x.py', 'build/lib/mmdet/x.py', 'build/lib/mmdet/.mim/configs/x.py',
)  # fmt: skip
# Of all hooks, only that of the source distribution runs in the tree: pip builds a wheel of it in a folder where PKG-INFO lies.
BUILD = 'import sys; from setuptools import build_meta; print(getattr(build_meta, sys.argv.pop(1))(sys.argv.pop(1)))'
USE = """
import json, os, sys
from pathlib import Path
import cv2, mmengine.hub, numpy
import mmdet, mmdet_runtime
from mmdet.apis import DetInferencer
from mmdet.apis.known_models import known_models
from mmdet.config import load_config

inside = Path(sys.prefix).resolve()
for package in (mmdet, mmdet_runtime):
    assert inside in Path(package.__file__).resolve().parents, package.__file__
model = mmengine.hub.get_model('mmdet::nanodet/nanodet_g_416_coco.py')
assert type(model).__name__ == 'GFL' or type(model).__module__.startswith('mmdet.'), type(model)
Path('mine.py').write_text("_base_ = 'mmdet::gfl/gfl_r50_fpn_1x_coco.py'\\nmodel = dict(bbox_head=dict(num_classes=3))\\n")
config = load_config('mine.py')
assert (config.model.bbox_head.type, config.model.bbox_head.num_classes) == ('GFLHead', 3)
assert mmengine.hub.get_config('mmdet::gfl/gfl_r50_fpn_1x_coco.py', pretrained=True).model_path.startswith('https://')
found = DetInferencer('gfl_small_bccd', weights=None, device='cpu', show_progress=False)('image.png', out_dir='out', pred_score_thr=0.0)
models = known_models()
print(json.dumps(dict(boxes=len(found['predictions'][0]['bboxes']), written=os.path.isfile('out/vis/image.png'), models=len(models),
                      configs=all(inside in model.config.parents for model in models.values()))))
"""


def run(*command: str | Path, folder: Path, python: str = sys.executable) -> str:
    """Output of Python, the variables that lead it to this repository left out."""
    env = {
        name: value for name, value in os.environ.items() if not name.startswith(('PYTHON', 'COV', 'PIP_', 'MMDET_'))
    }
    done = subprocess.run([python, *map(str, command)], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(hook: str, tree: Path, out: Path) -> Path:
    """The archive that a hook of the build backend makes, in a process of its own as installers run it."""
    return out / run('-c', BUILD, hook, out, folder=tree).splitlines()[-1]


def names(wheel: Path) -> set[str]:
    """Paths in a wheel, without its metadata."""
    return {name for name in zipfile.ZipFile(wheel).namelist() if '.dist-info/' not in name}


def metadata(wheel: Path, name: str = 'METADATA') -> str:
    with zipfile.ZipFile(wheel) as archive:
        return next((archive.read(p).decode() for p in archive.namelist() if p.endswith(f'.dist-info/{name}')), '')


def files_below(folder: Path, ending: str = '*') -> set[str]:
    """Relative paths of the files that belong to the project."""
    paths = (path.relative_to(folder) for path in folder.rglob(ending) if path.is_file())
    return {
        path.as_posix()
        for path in paths
        if not {'__pycache__', '.mim', 'build'} & set(path.parts) and path.name[0] != '.'
    }


@pytest.fixture(scope='module')
def tree(repository, tmp_path_factory):
    """The sources as unpacking a zip file leaves them, where links are small text files; and what lies about in a clone."""
    tree = tmp_path_factory.mktemp('sources')
    skip = shutil.ignore_patterns('__pycache__', '*.egg-info', 'build', '.mim')
    for name in SOURCES:
        source = repository / name
        shutil.copytree(source, tree / name, ignore=skip) if source.is_dir() else shutil.copy(source, tree / name)
    for name in LITTER:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text('litter')
    (tree / 'mmdet/.mim').mkdir()
    for link in (repository / 'mmdet/.mim').iterdir():
        (tree / 'mmdet/.mim' / link.name).write_text(os.readlink(link) if link.is_symlink() else f'../../{link.name}')
    return tree


@pytest.fixture(scope='module')
def archives(tree, tmp_path_factory):
    """The source distribution, the wheel made from it, and that of the runtime."""
    out = tmp_path_factory.mktemp('dist')
    sdist = build('build_sdist', tree, out)
    with tarfile.open(sdist) as archive:
        archive.extractall(out / 'unpacked', filter='data')
    (unpacked,) = (out / 'unpacked').iterdir()
    return sdist, build('build_wheel', unpacked, out), build('build_wheel', tree / 'mmdet_runtime', out)


def test_what_is_in_them(repository, archives):
    sdist, wheel, runtime = archives
    shipped = {
        f'{name}/{path}' for name in ('configs', 'tools', 'UFPMP-Det-Tools') for path in files_below(repository / name)
    }
    assert len(shipped) > 400
    packages = {f'mmdet/{path}' for path in files_below(repository / 'mmdet', '*.py')} | {'mmdet/py.typed'}
    packages |= {f'mmdet/web/page/page.{suffix}' for suffix in ('css', 'js')} | {'mmdet/web/page/index.html'}
    of_runtime = {f'mmdet_runtime/{path}' for path in files_below(repository / 'mmdet_runtime', '*.py')} | {
        'mmdet_runtime/py.typed'
    }
    assert names(wheel) == packages | {f'mmdet/.mim/{name}' for name in shipped | {'model-index.yml'}}
    assert names(runtime) == of_runtime  # no file has two owners
    with tarfile.open(sdist) as archive:
        inside = {member.name.partition('/')[2] for member in archive if member.isfile()}
        assert not [member.name for member in archive if member.issym() or member.islnk()]
    inside = {name for name in inside if '.egg-info/' not in name} - {'PKG-INFO', 'setup.cfg'}
    assert inside == packages | of_runtime | shipped | {
        'LICENSE', 'MANIFEST.in', 'README.md', 'constraints.txt', 'model-index.yml', 'pyproject.toml', 'requirements.txt', 'setup.py',
        'mmdet_runtime/LICENSE', 'mmdet_runtime/README.md', 'mmdet_runtime/pyproject.toml',
    }  # fmt: skip


def test_what_they_say(repository, archives):
    _, wheel, runtime = archives
    whole, small = email.message_from_string(metadata(wheel)), email.message_from_string(metadata(runtime))
    version = small['Version']
    assert whole['Version'] == version and whole['Requires-Python'] == small['Requires-Python'] == '>=3.11'
    assert whole['License-Expression'] == small['License-Expression'] == 'Apache-2.0'
    needed = whole.get_all('Requires-Dist')
    assert f'mmdet-dense-runtime=={version}' in needed
    # One OpenCV: the build that mmengine and mmcv-lite ask for; the runtime's own comes with its extras.
    assert [name for name in needed if 'opencv' in name or 'albumentations' in name] == ['opencv-python>=4.9']
    assert [name for name in small.get_all('Requires-Dist') if 'extra ==' not in name] == ['numpy>=1.26']
    assert {'cuda', 'onnx', 'openvino', 'transformers', 'tracking', 'web', 'loggers', 'docs', 'dev'} <= set(
        whole.get_all('Provides-Extra')
    )
    for text in (whole.get_payload(), small.get_payload()):
        # The package index shows the README without the files of the repository.
        assert len(text) > 500 and not re.findall(r'\]\((?!https?:|#)[^)]*\)', text)
    assert 'mmdet-runtime = mmdet_runtime.cli:main' in metadata(runtime, 'entry_points.txt')
    assert 'mmdet-runtime' not in metadata(wheel, 'entry_points.txt')


def test_the_extras_that_messages_name_exist(repository):
    declared = {
        name: set(tomllib.loads((repository / file).read_text(encoding='utf-8'))['project']['optional-dependencies'])
        | {'...'}
        for name, file in (('mmdet-dense', 'pyproject.toml'), ('mmdet-dense-runtime', 'mmdet_runtime/pyproject.toml'))
    }
    named = [
        (path.name, distribution, extra)
        for path in [*repository.glob('mmdet*/**/*.py'), *repository.glob('docs/*.md'), *repository.glob('*.md')]
        for distribution, extras in re.findall(
            r'(mmdet-dense(?:-runtime)?)\[([\w,.-]+)\]', path.read_text(encoding='utf-8')
        )
        for extra in extras.split(',')
    ]
    assert len(named) > 5 and not [found for found in named if found[2] not in declared[found[1]]]


def test_the_wheels_work_from_any_folder(repository, archives, tmp_path):
    _, wheel, runtime = archives
    venv.create(tmp_path / 'venv', symlinks=True, with_pip=False)
    python = str(tmp_path / 'venv/bin/python')
    pip = ('-m', 'pip', '--python', python, 'install', '--no-deps', '--no-index', '--no-compile', '--quiet')
    run(*pip, wheel, runtime, folder=tmp_path)
    (site,) = (tmp_path / 'venv').glob('lib/python*/site-packages')
    # The libraries of this environment; editable packages among them, as this repository, are found by .pth files, which are not read here.
    (site / 'libraries.pth').write_text(str(Path(torch.__file__).parents[1]))
    folder = tmp_path / 'elsewhere'
    folder.mkdir()
    cv2.imwrite(str(folder / 'image.png'), np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8))
    found = run('-c', USE, folder=folder, python=python).splitlines()[-1]
    count = len([path for path in (repository / 'configs').rglob('*.py') if '_base_' not in path.parts])
    assert re.fullmatch(r'{"boxes": \d+, "written": true, "models": (\d+), "configs": true}', found), found
    assert int(re.search(r'"models": (\d+)', found)[1]) >= count and int(re.search(r'"boxes": (\d+)', found)[1]) > 0


def test_a_source_tree_needs_no_second_distribution(tree, archives, tmp_path):
    _, wheel, runtime = archives
    whole = build('build_wheel', tree, tmp_path)
    assert names(whole) == names(wheel) | names(runtime)
    assert 'mmdet-dense-runtime' not in metadata(whole) and 'mmdet-runtime = ' in metadata(whole, 'entry_points.txt')


def test_an_editable_install_puts_links_in_their_place(tree, tmp_path):
    inside = tree / 'mmdet/.mim'
    assert (inside / 'configs').is_file()  # as the zip file left it
    build('build_editable', tree, tmp_path)
    for name in ('configs', 'tools', 'UFPMP-Det-Tools', 'model-index.yml'):
        assert (inside / name).is_symlink() and (inside / name).resolve() == (tree / name).resolve()
    (inside / 'configs').unlink()
    shutil.copytree(tree / 'configs/gfl', inside / 'configs')  # as a system without links has it; those of other times
    build('build_editable', tree, tmp_path)
    assert (inside / 'configs').is_symlink() and (tree / 'configs/gfl').is_dir()
