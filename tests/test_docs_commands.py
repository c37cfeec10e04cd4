"""Commands of README and docs run, or a reason says why not (tests/docs_commands.py); Python blocks compile, and those of the tutorials run."""

import ast
import importlib.util
import json
import re
import shlex
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mmdet.commands import COMMANDS, command
from mmdet.commands.signature import parser_of

from .docs_commands import REASONS, RUN, Run, commands, pages, python_blocks
from .tools.tiny_project import REPOSITORY, run_tool

_RUN = {entry.command for entry in RUN}


def reason(line: str) -> str | None:
    return next((why for pattern, why in REASONS if re.match(pattern, line)), None)


def test_every_command_has_a_place(repository):
    found = {(page.name, line) for page in pages(repository) for line in commands(page)}
    assert len(found) > 100
    lost = [f'{page}: {line}' for page, line in sorted(found) if line not in _RUN and reason(line) is None]
    assert not lost, 'neither in RUN nor in REASONS of tests/docs_commands.py:\n' + '\n'.join(lost)
    gone = _RUN - {line for _, line in found}
    assert not gone, f'in RUN, but on no page: {sorted(gone)}'


def test_a_command_with_neither_is_found(tmp_path):
    page = tmp_path / 'page.md'
    page.write_text(
        '```shell\npython tools/no_such.py \\\n    --option   # why\n```\n\n    nothing of the kind\n\n```\nmake up\nit\n```\n'
    )
    assert list(commands(page)) == ['python tools/no_such.py --option', 'make up']
    assert [reason(line) for line in commands(page)] == [None, None]


def _words(line: str) -> list[str]:
    return [word for word in shlex.split(line) if not re.fullmatch(r'[\[\]|<>.]+', word)]


def test_arguments_of_commands_are_accepted(repository):
    """Also of those that are not run: as far as their parser is derived from a function."""
    parsed = 0
    for page in pages(repository):
        for line in commands(page):
            if '[' in line or '|' in line or '<' in line or '...' in line:  # a synopsis
                continue
            words = _words(line)
            name = Path(words[1]).stem if words[:1] == ['python'] and re.fullmatch(r'tools/\w+\.py', words[1]) else None
            if words[0] == 'mmdet' or words[:3] == ['python', '-m', 'mmdet']:
                words = words[words.index('mmdet') :]
                name = words[1]
            elif name and "run, '" not in (repository / words[1]).read_text():
                continue
            if name == 'export' and '--to' not in words:  # of a structure, which has another parser
                continue
            if name in COMMANDS:
                try:
                    parser_of(command(name), line).parse_args(words[2:])
                except SystemExit as end:
                    assert end.code == 0, f'{page.name}: {line}'
                parsed += 1
    assert parsed > 30


def test_python_blocks_compile(repository):
    for page in pages(repository):
        for block in python_blocks(page):
            # {{_base_.name}} is mmengine's, and not Python's.
            ast.parse(re.sub(r'\{\{.*?\}\}', 'None', block), f'{page.name}: {block[:60]}')


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    """A folder with what the commands read: a checkout's folders, five small scenes in several formats, a checkpoint, and the configs of the pages."""
    from mmdet.datasets import generate_drone_scenes
    from mmdet.registry import MODELS
    from mmdet.utils import load_config

    folder = tmp_path_factory.mktemp('docs')
    for name in ('configs', 'tools', 'UFPMP-Det-Tools', 'mmdet'):
        (folder / name).symlink_to(REPOSITORY / name)
    (folder / 'data/VisDrone2019-DET').mkdir(parents=True)
    scenes = generate_drone_scenes(folder / 'data/drone_scenes', num_train=3, num_val=2, size_wh=(192, 160), workers=1)
    mine = folder / 'data/mine'
    (mine / 'annotations').mkdir(parents=True)
    for split in ('train', 'val'):
        text = (scenes / 'annotations' / f'{split}.json').read_text().replace('"motor"', '"motorcycle"')
        for target in (mine, mine / 'annotations', folder):
            (target / f'{split}.json').write_text(text)
    (folder / 'photos').symlink_to(scenes / 'train/images')
    (folder / 'images').symlink_to(scenes / 'val/images')
    convert = ('dataset_converters/convert.py', scenes / 'annotations')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_tool(*convert, 'data/BCCD', '--to', 'voc', '--image-files', 'link', '--images', scenes)
        for split in ('train', 'val'):
            run_tool(
                *convert,
                f'data/{split}',
                '--to',
                'visdrone',
                '--image-files',
                'copy',
                '--images',
                scenes,
                '--split',
                split,
            )
            shutil.move(f'data/{split}/{split}', f'data/VisDrone2019-DET/VisDrone2019-DET-{split}')
    (folder / 'gfocal_r50_fpn_ms2x.py').write_text("_base_ = './gfl_r50_fpn_1x_coco.py'\ntotal_epochs = 24\n")
    model = MODELS.build(load_config(REPOSITORY / 'configs/demo/gfl_demo.py').model)
    names = [category['name'] for category in json.loads((scenes / 'annotations/val.json').read_text())['categories']]
    (folder / 'work_dirs/gfl_demo').mkdir(parents=True)
    meta = dict(dataset_meta=dict(classes=tuple(names)))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), folder / 'work_dirs/gfl_demo/epoch_9.pth')
    own, both = [block for block in python_blocks(REPOSITORY / 'docs/fine_tuning.md') if block.startswith('_base_')]
    plugin, config = python_blocks(REPOSITORY / 'docs/mmdetection_plugins.md')
    dfine = python_blocks(REPOSITORY / 'docs/transformers.md')[0]
    for name, text in (
        ('fine_tune', own),
        ('both', both),
        ('my_plugin', plugin),
        ('my_config', config),
        ('dfine_scenes', dfine),
    ):
        (folder / f'{name}.py').write_text(text)
    return SimpleNamespace(folder=folder, scenes=scenes)


def run(entry: Run) -> None:
    if entry.needs and importlib.util.find_spec(entry.needs) is None:
        return
    line = entry.command
    for old, new in entry.instead.items():
        line = line.replace(old, new)
    words = shlex.split(f'{line} {entry.more}')
    words = words[words.index('python') + 1 :]
    try:
        run_tool('../' + words[0], *words[1:])
    except SystemExit as end:
        assert not end.code, f'{line}: {end.code}'


def test_commands_run(project, monkeypatch, capsys):
    """In the order of the table: later ones read what earlier ones wrote."""
    monkeypatch.chdir(project.folder)
    monkeypatch.syspath_prepend(str(project.folder))
    for entry in RUN:
        run(entry)
    made = (
        'work_dirs/mine/epoch_2.pth',
        'work_dirs/both.pkl',
        'outputs/preds',
        'exported/searched/manifest.json',
        'NEW.safetensors',
        'new.py',
        'merged.json',
        'data/bccd_train.csv',
        'grid.jpg',
    )
    assert [path for path in made if not (project.folder / path).exists()] == []
