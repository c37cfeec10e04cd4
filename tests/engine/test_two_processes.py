"""Two processes over gloo freeze as one process does, and evaluate several data sets as one process does."""

import pytest
import torch

from tests import processes
from tests.tools.tiny_project import environment

from .two_processes import OPTIONS

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def runs(tmp_path_factory, repository):
    folder = tmp_path_factory.mktemp('two')
    places = [{}, *processes.ranks()]
    command = ['-m', 'tests.engine.two_processes', folder]
    done = processes.run_together(command, [environment(**place) for place in places], cwd=repository)
    assert [process.returncode for process in done] == [0, 0, 0], done
    return [torch.load(folder / f'found_{name}.pt', weights_only=True) for name in ('1_0', '2_0', '2_1')]


@pytest.mark.parametrize('name', OPTIONS)
def test_frozen_parts(runs, name):
    one, *two = (run[name] for run in runs)
    for first, second, alone in zip(two[0], two[1], one, strict=True):
        for key, value in first.items():
            assert torch.equal(value, second[key]), key
            torch.testing.assert_close(value, alone[key], rtol=1e-4, atol=1e-5, msg=key)
    part = 'bbox_head' if name == 'unused' else 'backbone'
    moved = [
        any(not torch.equal(now[key], before[key]) for key in now if key.startswith(part))
        for before, now in zip(one, one[1:])
    ]
    assert moved == {'keys': [False, False], 'hook': [False, True], 'unused': [False, True]}[name]


def test_evaluation_of_two_data_sets(runs):
    one, two, other = (run['evaluation'] for run in runs)
    assert one == two == other
    assert one['a/coco/bbox_mAP_50'] == pytest.approx(67 / 101) and one['b/coco/bbox_mAP_50'] == pytest.approx(51 / 101)
