"""The structure_info tool: its JSON, what is left out, errors."""

import json
import os
import subprocess

import pytest

from mmdet.nas import StructureEntry, parse_structure, structure_to_dicts
from mmdet.nas.report import structure_report, with_published_facts
from tests import processes

from .cases import FAMILIES, NUMBERS, PUBLISHED, R50_INITIAL, ROOT, five_stages, stem

KEYS = {
    'madnas_cls': 'score_cls_madnas',
    'madnas_det': 'score_det_madnas',
    'deepmad': 'score_deepmad',
    'deepmad_penalised': 'deepmad_minus_penalty',
    'qe': 'score_quant_madnas',
    'efficient': 'efficient_score',
}


def run(*args) -> subprocess.CompletedProcess:
    tool = ROOT / 'tools' / 'analysis_tools' / 'structure_info.py'
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    return processes.run([tool, *args], env=environment)


@pytest.mark.parametrize('name', sorted(NUMBERS))
def test_reports_equal_the_reference(name):
    report, numbers = structure_report(PUBLISHED[name]), NUMBERS[name]
    assert list(report) == ['name', 'image_size', 'flops', 'params', 'layers', 'scores']
    assert report['image_size'] == PUBLISHED[name].image_size
    assert report['flops'] == numbers['flops'] and report['layers'] == numbers['layers']
    assert report['params'] == numbers.get('model_size', numbers['torch_params'])
    for key, reference in KEYS.items():
        if reference in numbers:
            assert report['scores'][key] == pytest.approx(numbers[reference], rel=1e-12), key


def test_scores_that_do_not_apply_are_left_out():
    image = {'madnas_cls', 'madnas_det', 'deepmad', 'deepmad_penalised', 'efficient'}
    assert set(structure_report(PUBLISHED['maedet_s'])['scores']) == image
    assert set(structure_report(PUBLISHED['mixed7d0G'])['scores']) == {
        'deepmad',
        'deepmad_penalised',
        'qe',
        'efficient',
    }
    video = structure_report(PUBLISHED['E3D_S'])['scores']
    assert set(video) == image | {'stentr'}
    assert video['stentr'] == pytest.approx(202.85591463891626, rel=1e-12)
    short = StructureEntry('short', parse_structure([stem(8)]))
    assert set(structure_report(short)['scores']) == {'efficient'}
    for name, options in FAMILIES.items():
        entry = StructureEntry(name, parse_structure(five_stages(name, **options)))
        assert len(structure_report(entry)['scores']) >= 4


def test_image_size():
    entry = StructureEntry('initial', R50_INITIAL)
    assert structure_report(entry)['image_size'] == 224
    assert structure_report(entry, 480)['flops'] == 7745241600.0
    bare = StructureEntry('file', PUBLISHED['E3D_M'].blocks)
    known = with_published_facts(bare, PUBLISHED.values())
    assert (known.name, known.image_size, known.frames) == ('file', 224, 16)
    assert with_published_facts(entry, PUBLISHED.values()) is entry
    own = StructureEntry('own', bare.blocks, None, 5, 'mine', {'note': 'n'})  # own facts stay
    known = with_published_facts(own, PUBLISHED.values())
    assert (known.image_size, known.frames, known.task, known.info) == (224, 5, 'mine', {'note': 'n'})
    sized = StructureEntry('sized', bare.blocks, 96)
    assert with_published_facts(sized, PUBLISHED.values()) is sized


def test_tool(tmp_path):
    path, out = tmp_path / 'best.txt', tmp_path / 'out.json'
    path.write_text(
        repr({'space_arch': 'CnnNet', 'best_structures': [structure_to_dicts(PUBLISHED['maedet_m'].blocks)]})
    )
    done = run(path, '--json', out)
    assert done.returncode == 0, done.stderr
    assert 'layers 91' in done.stdout and '20.2999 G' in done.stdout
    (report,) = json.loads(out.read_text())
    assert report == {**structure_report(PUBLISHED['maedet_m']), 'name': 'best'}


def test_tool_explains_errors(tmp_path):
    path = tmp_path / 'wrong.json'
    path.write_text(json.dumps([{**stem(8), 'k': 2}]))
    done = run(path)
    assert done.returncode == 2
    assert (
        'wrong.json: structure 0 (wrong), block 0: k: must be one of' in done.stderr and 'Traceback' not in done.stderr
    )
