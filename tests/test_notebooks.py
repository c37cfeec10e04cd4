"""The notebooks run from top to bottom, each in an empty folder, with a shorter training."""

import ast
import json
import os
from pathlib import Path

import pytest
from PIL import Image

from .tools.tiny_project import fresh_instances

REPOSITORY = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((REPOSITORY / 'docs' / 'notebooks').glob('*.ipynb'))


def code_cells(notebook: Path) -> list[str]:
    cells = json.loads(notebook.read_text(encoding='utf-8'))['cells']
    return [''.join(cell['source']) for cell in cells if cell['cell_type'] == 'code']


def run_cells(notebook: Path, **instead) -> list:
    """What each cell shows. The first cell holds the settings, of which ``instead`` replaces some."""
    names, shown = dict(__name__='__main__'), []
    for number, cell in enumerate(code_cells(notebook)):
        body = ast.parse(cell).body
        last = body.pop().value if isinstance(body[-1], ast.Expr) else None
        place = f'{notebook.name}, cell {number}'
        exec(compile(ast.Module(body, []), place, 'exec'), names)
        shown.append(None if last is None else eval(compile(ast.Expression(last), place, 'eval'), names))
        if number == 0:
            assert set(instead) <= set(names), 'the first cell holds the settings'
            names.update(instead)
    return shown


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '-1')
    monkeypatch.setenv('LOCAL_RANK', '0')

    def run(name, **instead):
        with fresh_instances():
            return run_cells(REPOSITORY / 'docs' / 'notebooks' / name, **instead)

    return run


def test_files_hold_no_outputs():
    assert len(NOTEBOOKS) == 2
    for path in NOTEBOOKS:
        cells = json.loads(path.read_text(encoding='utf-8'))['cells']
        kept = [cell for cell in cells if cell['cell_type'] == 'code' and (cell['outputs'] or cell['execution_count'])]
        assert not kept and path.stat().st_size < 20_000, path.name


def test_first_prediction(run):
    shown = run('first_prediction.ipynb', epochs=2)
    pictures = [value for value in shown if isinstance(value, Image.Image)]
    assert [picture.width for picture in pictures[:4]] == [640] * 4 and len(pictures) == 5
    for folder in ('whole', 'tiles', 'packed'):
        (written,) = Path(folder, 'preds').glob('*.json')
        assert set(json.loads(written.read_text())) == {'bboxes', 'labels', 'scores'}


def test_your_own_data(run):
    pytest.importorskip('onnxruntime')
    pytest.importorskip('onnx')
    run('your_own_data.ipynb', epochs=1)
    assert len(json.loads(Path('squares/coco/val.json').read_text())['images']) == 6
    assert json.loads(Path('doctor/dataset_doctor.json').read_text())
    manifest = json.loads(Path('exported/manifest.json').read_text())
    assert manifest['classes'] == ['bright', 'dark'] and manifest['kind'] == 'detector'
    assert {'run', 'tested', 'outputs'} <= set(os.listdir())
