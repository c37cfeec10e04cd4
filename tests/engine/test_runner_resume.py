"""A resumed run gives the bits of the unbroken one: parameters, momentum, averaged model, schedule, batches, logs."""

import copy
import os
import shutil
import warnings

import pytest
import torch
from mmengine.config import Config

from mmdet.engine.checkpoint.saving import restore_history
from mmdet.errors import CheckpointError

from .toy import toy_config, toy_runner


class Killed(BaseException):
    """Stands for SIGKILL inside the process: nothing of the package may catch it."""


def same(one, other) -> bool:
    """Bitwise equality of nested plain containers."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def load(path):
    """As a stranger reads it, without any allow-list."""
    return torch.load(path, weights_only=True)


def assert_same_run(one, other):
    for key in ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers'):
        assert same(one[key], other[key]), key
    assert [one['meta'][key] for key in ('epoch', 'iter', 'seed')] == [
        other['meta'][key] for key in ('epoch', 'iter', 'seed')
    ]
    losses = [restore_history(run['message_hub']['log_scalars']['train/loss']).data[0].tolist() for run in (one, other)]
    assert losses[0] == losses[1]


def train_until(runner, iteration):
    """Train and be killed at the start of an iteration (0-based)."""
    hook = runner.hooks[0]
    original = type(hook).before_train_iter

    def before_train_iter(self, runner, *args, **kwargs):
        if runner.iter == iteration:
            raise Killed
        return original(self, runner, *args, **kwargs)

    hook.before_train_iter = before_train_iter.__get__(hook)
    with pytest.raises(Killed):
        runner.train()


@pytest.mark.parametrize(
    ('options', 'last', 'kill_at', 'resume_at'),
    [
        (dict(epochs=3), 'epoch_3.pth', 12, 10),  # 5 iterations an epoch
        (dict(epochs=3), 'epoch_3.pth', 3, 0),
        (dict(iters=13, **{'default_hooks.checkpoint.interval': 2}), 'iter_13.pth', 9, 8),
        (
            dict(
                iters=13, **{'default_hooks.checkpoint.interval': 3, 'train_dataloader.sampler.type': 'InfiniteSampler'}
            ),
            'iter_13.pth',
            11,
            9,
        ),
        # Checkpoints inside an epoch, and inside a gradient accumulation.
        (
            dict(epochs=3, **{'default_hooks.checkpoint': dict(type='CheckpointHook', interval=2, by_epoch=False)}),
            'iter_15.pth',
            9,
            8,
        ),
        (
            dict(
                epochs=3,
                **{
                    'default_hooks.checkpoint': dict(type='CheckpointHook', interval=2, by_epoch=False),
                    'optim_wrapper.accumulative_counts': 3,
                    'optim_wrapper.clip_grad': dict(max_norm=1.0),
                },
            ),
            'iter_15.pth',
            9,
            8,
        ),
        (
            dict(epochs=2, **{'train_dataloader.num_workers': 1, 'optim_wrapper.type': 'AmpOptimWrapper'}),
            'epoch_2.pth',
            7,
            5,
        ),
        (
            dict(epochs=2, **{'optim_wrapper.optimizer': dict(_delete_=True, type='AdamW', lr=0.01)}),
            'epoch_2.pth',
            7,
            5,
        ),
    ],
    ids=[
        'epoch',
        'before the first save',
        'iteration',
        'infinite sampler',
        'inside an epoch',
        'accumulation',
        'amp, worker',
        'adamw',
    ],
)
def test_resumed_run_equals_the_unbroken_one(tmp_path, options, last, kill_at, resume_at):
    unbroken = toy_runner(tmp_path / 'a', **copy.deepcopy(options))
    unbroken.train()
    train_until(toy_runner(tmp_path / 'b', **copy.deepcopy(options)), kill_at)
    resumed = toy_runner(tmp_path / 'b', resume='auto', **copy.deepcopy(options))
    resumed.train()
    assert_same_run(load(tmp_path / 'a' / last), load(tmp_path / 'b' / last))
    batches, again = unbroken.model.seen[resume_at:], resumed.model.seen
    assert len(again) == len(batches) and all(map(torch.equal, again, batches))


def test_a_drawn_seed_is_stored_and_used_again(tmp_path):
    train_until(toy_runner(tmp_path, epochs=2, randomness=dict(seed=None)), 7)
    stored = load(tmp_path / 'epoch_1.pth')['meta']['seed']
    resumed = toy_runner(tmp_path, epochs=2, randomness=dict(seed=None), resume=True)
    assert resumed.seed == stored and resumed.train_dataloader.sampler.seed == stored
    resumed.train()
    toy_runner(tmp_path / 'c', epochs=2, randomness=dict(seed=stored)).train()
    assert_same_run(load(tmp_path / 'epoch_2.pth'), load(tmp_path / 'c' / 'epoch_2.pth'))


def test_the_stored_seed_wins_over_another(tmp_path, capsys):
    toy_runner(tmp_path, epochs=1).train()
    assert toy_runner(tmp_path, epochs=1, randomness=dict(seed=8), resume=True).seed == 7
    assert 'seed of the checkpoint, 7, not 8' in capsys.readouterr().err


def test_resume_with_a_torn_newest_file(tmp_path):
    toy_runner(tmp_path / 'a', epochs=3).train()
    shutil.copytree(tmp_path / 'a', tmp_path / 'b', symlinks=True)
    torn = tmp_path / 'b' / 'epoch_3.pth'
    torn.write_bytes(torn.read_bytes()[:1000])
    (tmp_path / 'b' / 'last_checkpoint').write_text(str(torn))
    runner = toy_runner(tmp_path / 'b', epochs=3, resume='auto')
    assert runner._resume_path.endswith('epoch_2.pth')
    runner.train()
    assert_same_run(load(tmp_path / 'a' / 'epoch_3.pth'), load(torn))
    with pytest.raises(CheckpointError, match='truncated'):
        torn.write_bytes(torn.read_bytes()[:1000])
        toy_runner(tmp_path / 'b', resume=True, load_from=str(torn))


def test_resume_of_another_model_is_refused(tmp_path):
    toy_runner(tmp_path, epochs=1).train()
    with pytest.raises(CheckpointError, match=r'(?s)epoch_1\.pth.*3 class channels.*model 5') as caught:
        toy_runner(tmp_path, epochs=2, resume=True, **{'model.num_classes': 5}).train()
    assert 'bbox_head.gfl_cls.bias: checkpoint (3,), model (5,)' in str(caught.value)


def test_resume_from_weights_only_is_refused(tmp_path):
    toy_runner(tmp_path, epochs=1, **{'default_hooks.checkpoint.save_optimizer': False}).train()
    with pytest.raises(CheckpointError, match='lacks optimizer'):
        toy_runner(tmp_path, epochs=2, resume=True).train()


def test_resume_of_an_mmengine_checkpoint(tmp_path):
    """mmengine's own saver writes HistoryBuffers and numpy values."""
    from mmengine.runner import Runner

    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        cfg = toy_config(tmp_path, epochs=2, ema=False, **{'default_hooks.checkpoint.type': 'mmengine.CheckpointHook'})
        cfg.experiment_name = 'foreign'
        Runner.from_cfg(cfg).train()
    (tmp_path / 'epoch_2.pth').unlink()
    runner = toy_runner(tmp_path, epochs=2, ema=False, resume='auto')
    runner.train()
    history = restore_history(load(tmp_path / 'epoch_2.pth')['message_hub']['log_scalars']['train/loss'])
    assert len(history.data[0]) == 10


def test_load_from_starts_afresh_with_the_weights(tmp_path, monkeypatch):
    toy_runner(tmp_path / 'a', epochs=1).train()
    other = {'model.num_classes': 5, 'train_dataloader.dataset.metainfo': dict(classes=tuple('abcde'))}
    runner = toy_runner(tmp_path / 'b', epochs=1, load_from=str(tmp_path / 'a' / 'epoch_1.pth'), **other)
    messages = []
    monkeypatch.setattr(runner.logger, 'warning', lambda text, *_: messages.append(text))
    runner.train()
    (text,) = [text for text in messages if 'does not match the model' in text]
    assert text.count('shape differs') == 2 and runner.iter == 5


def test_evaluation_refuses_a_checkpoint_that_does_not_fit(tmp_path):
    toy_runner(tmp_path / 'a', epochs=1).train()
    path = str(tmp_path / 'a' / 'epoch_1.pth')
    assert toy_runner(tmp_path / 'b', val=True, load_from=path).val() == {'coco/bbox_mAP': 0.1}
    with pytest.raises(CheckpointError, match='class channels'):
        toy_runner(tmp_path / 'b', val=True, load_from=path, **{'model.num_classes': 5}).val()


def test_full_disk_stops_the_run_with_the_old_files_intact(tmp_path, monkeypatch):
    runner = toy_runner(tmp_path, epochs=3)
    replace = os.replace

    def full(source, target):
        if str(target).endswith('epoch_2.pth'):
            raise OSError(28, 'No space left on device')
        replace(source, target)

    monkeypatch.setattr(os, 'replace', full)
    with pytest.raises(CheckpointError, match=r'epoch_2\.pth.*No space left'):
        runner.train()
    monkeypatch.undo()
    assert not list(tmp_path.glob('.*.tmp'))
    assert toy_runner(tmp_path, epochs=3, resume='auto')._resume_path.endswith('epoch_1.pth')


def test_schedules_of_the_config_tree(repository):
    """Values of the 1x and 2x schedules of mmdetection (facts of the published configs)."""
    for name, epochs, milestones in (('1x', 12, [8, 11]), ('2x', 24, [16, 22])):
        cfg = Config.fromfile(repository / 'configs' / '_base_' / 'schedules' / f'schedule_{name}.py')
        assert cfg.train_cfg == dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_interval=1)
        assert cfg.param_scheduler[1].milestones == milestones and cfg.param_scheduler[1].end == epochs
        assert cfg.param_scheduler[0] == dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500)
        assert cfg.optim_wrapper.optimizer == dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0001)
        assert cfg.auto_scale_lr == dict(enable=False, base_batch_size=16)
