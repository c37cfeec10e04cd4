"""Two processes over gloo on the CPU train the small GFL as one process does at the same global batch."""

import json
from types import SimpleNamespace

import pytest
import torch

from tests import processes
from tests.tools.ddp_run import STEPS
from tests.tools.tiny_project import environment, write_project

pytestmark = pytest.mark.slow
SCENARIOS = ('plain', 'empty_rank', 'all_empty', 'nan')


@pytest.fixture(scope='module')
def runs(tmp_path_factory, repository):
    """Per scenario: what process 0 and 1 of two saw (``two``), and what a process alone saw (``one``)."""
    folder = tmp_path_factory.mktemp('ddp')
    config = write_project(folder / 'project')
    document = json.loads((folder / 'project' / 'train.json').read_text())
    even = [annotation for annotation in document['annotations'] if annotation['image_id'] % 2 == 0]
    for name, annotations in (('every_second_empty', even), ('all_empty', [])):
        (folder / 'project' / f'{name}.json').write_text(json.dumps({**document, 'annotations': annotations}))
    for scenarios, places in ((SCENARIOS[:-1], [{}]), (SCENARIOS, processes.ranks())):
        done = processes.run_together(
            ['-m', 'tests.tools.ddp_run', config, folder, *scenarios],
            [environment(**place) for place in places],
            cwd=repository,
        )
        assert [process.returncode for process in done] == [0] * len(places), done

    def load(scenario, world_size, rank):
        return SimpleNamespace(**torch.load(folder / f'{scenario}_{world_size}_{rank}.pt', weights_only=True))

    found = {
        scenario: SimpleNamespace(two=[load(scenario, 2, rank) for rank in range(2)], one=None)
        for scenario in SCENARIOS
    }
    for scenario in SCENARIOS[:-1]:
        found[scenario].one = load(scenario, 1, 0)
    return found


@pytest.mark.parametrize('scenario', ['plain', 'empty_rank', 'all_empty'])
def test_losses_equal_those_of_one_process(runs, scenario):
    """The mean over the processes, since DDP averages their gradients."""
    one, two = runs[scenario].one, runs[scenario].two
    assert len(one.losses) == len(two[0].losses) == len(two[1].losses) == STEPS
    for step in range(STEPS):
        assert set(one.losses[step]) == {'loss', 'loss_cls', 'loss_bbox', 'loss_dfl'}
        for name, expected in one.losses[step].items():
            found = (two[0].losses[step][name] + two[1].losses[step][name]) / 2
            torch.testing.assert_close(
                found, expected, rtol=1e-5, atol=1e-7, msg=f'step {step}: {name}: {found} != {expected}'
            )
    losses = [losses['loss'].item() for losses in one.losses]
    assert len(set(losses)) == STEPS  # the parameters did move between them


@pytest.mark.parametrize('scenario', ['plain', 'empty_rank', 'all_empty'])
def test_parameters_equal_those_of_one_process(runs, scenario):
    one, two = runs[scenario].one, runs[scenario].two
    assert list(one.parameters) == list(two[0].parameters)
    for name, expected in one.parameters.items():
        assert torch.equal(two[0].parameters[name], two[1].parameters[name]), name
        torch.testing.assert_close(two[0].parameters[name], expected, rtol=1e-4, atol=1e-6, msg=name)


def test_a_rank_without_objects_neither_hangs_nor_breaks(runs):
    with_objects, without = runs['empty_rank'].two
    assert without.objects == [0] * STEPS and all(with_objects.objects)
    for run in (with_objects, without):
        assert run.finite == [True] * STEPS
        assert all(value.isfinite() for losses in run.losses for value in losses.values())
    assert all(
        losses['loss_bbox'] == 0 and losses['loss_dfl'] == 0 and losses['loss_cls'] > 0 for losses in without.losses
    )


def test_no_objects_at_all(runs):
    for run in runs['all_empty'].two:
        assert run.objects == [0] * STEPS and run.finite == [True] * STEPS
        assert all(losses['loss'].isfinite() and losses['loss'] == losses['loss_cls'] for losses in run.losses)


def test_all_ranks_stop_at_the_nan_of_one(runs):
    """In the second iteration, before the optimizer moves there."""
    first, second = runs['nan'].two
    assert first.iterations == second.iterations == 1 and len(first.losses) == len(second.losses) == 1
    assert first.error.startswith('iteration 2, rank 0: the loss of another rank is not finite')
    assert second.error.startswith('iteration 2, rank 1: the loss is not finite') and 'loss_bbox=[nan' in second.error
    for name, value in first.parameters.items():
        assert value.isfinite().all() and torch.equal(value, second.parameters[name]), name
