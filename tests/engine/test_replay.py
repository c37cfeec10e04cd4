import re

import pytest
import torch
from mmengine.hooks import Hook

from mmdet.apis.training import configure_training
from mmdet.engine import DetRunner
from mmdet.engine.checkpoint.saving import save_atomically
from mmdet.engine.replay import replay_loss
from mmdet.errors import CheckpointError, NonFiniteLossError
from mmdet.utils import load_config
from tests.tools.tiny_project import fresh_instances, run_tool, write_project

from .toy import toy_config, toy_runner

NAN = float('nan')


class Plant(Hook):
    """Calls a function with the runner and the batch of the third iteration."""

    priority = 'VERY_LOW'

    def __init__(self, plant):
        self.plant = plant

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 2:
            self.plant(runner, data_batch)


def image(runner, batch):
    batch['inputs'][1] = batch['inputs'][1].float()
    batch['inputs'][1][0, 5, 5] = NAN


def box(runner, batch):
    sample = next(sample for sample in batch['data_samples'] if len(sample.gt_instances))
    sample.gt_instances.bboxes[0, 2] = float('inf')


def weight(runner, batch):
    with torch.no_grad():
        runner.model.neck.lateral_convs[1].conv.weight[0] = NAN


def bias(runner, batch):
    """The output of the convolution stays finite; its loss does not."""
    with torch.no_grad():
        runner.model.bbox_head.gfl_cls.bias.fill_(3e38)


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    return write_project(tmp_path_factory.mktemp('replay') / 'project')


def train(config, work_dir, plant, **changes):
    """Message of the error, and the files it left."""
    cfg = load_config(config, changes)
    cfg.visualizer = dict(type='DetLocalVisualizer', vis_backends=[])
    configure_training(cfg, work_dir=str(work_dir), validate=False, seed=3)
    with fresh_instances():
        runner = DetRunner.from_cfg(cfg)
        runner.register_hook(Plant(plant))
        with pytest.raises(NonFiniteLossError) as error:
            runner.train()
    return str(error.value), sorted(work_dir.glob('nonfinite*'))


@pytest.mark.parametrize(
    ('plant', 'inputs', 'weights', 'first'),
    [
        (image, ['inputs'], [], r'backbone\.stem|backbone\.conv1'),
        (box, [r'data_samples\.\d\.gt_instances\.bboxes'], [], r'bbox_head\.loss_'),
        (weight, [], [r'neck\.lateral_convs\.1\.conv\.weight'], r'neck\.lateral_convs\.1\.conv \(Conv2d\)'),
        (bias, [], [], r'bbox_head\.'),
    ],
)
@pytest.mark.parametrize('amp', [False, True])
def test_the_parts_of_the_loss_come_out_bit_for_bit(project, tmp_path, plant, inputs, weights, first, amp):
    changes = {'optim_wrapper.type': 'AmpOptimWrapper'} if amp else {}
    message, (path,) = train(project, tmp_path, plant, **changes)
    assert path.name == 'nonfinite_3_rank0.pth'
    assert re.search(rf'iteration 3: the loss is not finite.*python tools/misc/replay_loss\.py {path}$', message)
    replay = replay_loss(path)
    assert replay.same and {'loss_cls.0', 'loss_bbox.0', 'loss_dfl.0'} <= set(replay.recorded)
    assert not all(value.isfinite().all() for value in replay.recorded.values())
    for names, expected in ((replay.inputs, inputs), (replay.weights, weights), (replay.modules[:1], [first])):
        assert len(names) == len(expected) and all(map(re.match, expected, names)), names
    assert replay.meta['cfg']['model']['type'] == 'GFL' and replay.meta['iteration'] == 3


def test_tool(project, tmp_path, capsys):
    _, (path,) = train(project, tmp_path, weight)
    capsys.readouterr()
    with pytest.raises(SystemExit, match='0'):
        run_tool('misc/replay_loss.py', path)
    output = capsys.readouterr().out
    assert output.startswith('iteration 3, rank 0 of 1\nloss_cls.0: nan in the training, nan now\n')
    assert 'the parts of the loss are the same' in output
    assert output.endswith('first module whose output is not finite: neck.lateral_convs.1.conv (Conv2d)\n')


def test_dropout_and_counters_are_those_of_the_step(tmp_path):
    """The toy has a batch norm, a dropout, and a counter of calls that decides on the NaN; it knows no data samples."""
    with pytest.raises(NonFiniteLossError, match='nonfinite_4_rank0'):
        toy_runner(tmp_path, **{'model.poison_at': 4, 'default_hooks.reseed': None}).train()
    (path,) = tmp_path.glob('nonfinite*')
    replay = replay_loss(path)
    assert replay.same and replay.modules == [] and replay.recorded['loss_bbox.0'].isfinite()
    torch.rand(3)
    assert replay_loss(path, config=toy_config(tmp_path, **{'model.poison_at': 4})).same
    assert not replay_loss(path, config=toy_config(tmp_path, **{'model.plain': True})).same


def test_gradients(tmp_path):
    options = {'optim_wrapper.clip_grad': dict(max_norm=1, error_if_nonfinite=True)}
    runner = toy_runner(tmp_path, **options)

    def plant(runner, batch):
        head = runner.model.bbox_head.gfl_cls
        head.weight.register_hook(lambda gradient: gradient * NAN)

    runner.register_hook(Plant(plant))
    with pytest.raises(
        NonFiniteLossError, match='iteration 3: the norm of the gradients is not finite.*nonfinite_3_rank0'
    ):
        runner.train()
    replay = replay_loss(next(tmp_path.glob('nonfinite*')))
    assert replay.same and replay.gradients == []  # the hook is not in the file


def test_nothing_is_kept_of_a_step_that_went_well(tmp_path):
    runner = toy_runner(tmp_path, epochs=1)
    runner.train()
    assert runner.optim_wrapper.watch.given is None and not list(tmp_path.glob('nonfinite*'))


def test_a_full_disk_does_not_hide_the_loss(tmp_path, monkeypatch):
    def full(*_args):
        raise CheckpointError('could not be written', file='x.pth')

    monkeypatch.setattr('mmdet.engine.replay.save_atomically', full)
    with pytest.raises(NonFiniteLossError, match='loss=nan.*The step could not be kept: x.pth: could not be written'):
        toy_runner(tmp_path, **{'model.poison_at': 1}).train()


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (dict(), 'is no file of a training step'),
        (dict(step=3), 'is no file of a training step'),
        (dict(step=dict()), 'is damaged'),
        (dict(step=dict(batch=((), {}), parts=dict(a=torch.zeros(1))), meta=dict(cfg=dict())), 'is damaged'),
        (dict(step=dict(batch=dict(_element='Popen', metainfo={}, fields={}))), 'is damaged'),
    ],
)
def test_other_files(tmp_path, content, message):
    save_atomically(dict(state_dict=dict(a=torch.zeros(1)), **content), tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match=rf'a\.pth: {message}'):
        replay_loss(tmp_path / 'a.pth')
