"""What the runner makes of its arguments, of its config and of checkpoints."""

import os
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.dist import get_rank

from mmdet.engine import DetRunner, EpochBasedTrainLoop, IterBasedTrainLoop
from mmdet.engine.checkpoint.saving import pair_schedulers, scheduler_states
from mmdet.engine.hooks import ReseedHook
from mmdet.errors import CheckpointError, ConfigError

from .test_runner_resume import load
from .toy import toy_config, toy_runner


def messages_of(runner, monkeypatch, level='warning'):
    found = []
    monkeypatch.setattr(runner.logger, level, lambda text, *_: found.append(text))
    return found


@pytest.mark.parametrize('kind', [dict, ConfigDict, Config])
def test_arguments_may_be_any_kind_of_config(tmp_path, kind):
    cfg = toy_config(tmp_path, epochs=1, val=True).to_dict()
    names = ('model', 'train_dataloader', 'train_cfg', 'val_cfg', 'val_dataloader', 'val_evaluator', 'optim_wrapper', 'visualizer')  # fmt: skip
    runner = DetRunner(
        work_dir=str(tmp_path), default_scope='mmdet', log_level='ERROR', experiment_name=f'kinds {kind.__name__}',
        default_hooks=kind(cfg['default_hooks']), cfg=Config(cfg), **{name: kind(cfg[name]) for name in names},
    )  # fmt: skip
    runner.train()
    assert isinstance(runner.train_loop, EpochBasedTrainLoop) and runner.iter == 5
    assert load(tmp_path / 'epoch_1.pth')['meta']['epoch'] == 1


@pytest.mark.parametrize(
    ('train_cfg', 'kind', 'iters'),
    [
        (dict(max_epochs=1), EpochBasedTrainLoop, 5),
        (dict(by_epoch=True, max_epochs=2), EpochBasedTrainLoop, 10),
        (dict(by_epoch=False, max_iters=3), IterBasedTrainLoop, 3),
        (dict(type='IterBasedTrainLoop', max_iters=4), IterBasedTrainLoop, 4),
    ],
)
def test_training_loops(tmp_path, train_cfg, kind, iters):
    loop = toy_runner(tmp_path).build_train_loop(dict(train_cfg))
    assert type(loop) is kind and loop.max_iters == iters


def test_work_dirs_that_cannot_be_used(tmp_path, monkeypatch):
    (tmp_path / 'file').touch()
    with pytest.raises(ConfigError, match=r"work_dir: cannot be made \(.*\)\. Received: '.*file/work'"):
        toy_runner(tmp_path / 'file' / 'work')
    monkeypatch.setattr(os, 'access', lambda *_: False)
    with pytest.raises(ConfigError, match='work_dir: cannot be written to'):
        toy_runner(tmp_path / 'work')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'optim_wrapper.optimizer.lr': -1.0}, r'optim_wrapper: cannot be built \(Invalid learning rate'),
        (
            {'optim_wrapper.paramwise_cfg': dict(norm_decay_mult=0.0), 'optim_wrapper.optimizer.weight_decay': None},
            r'optim_wrapper: cannot be built \(base_wd should',
        ),
        ({'optim_wrapper.optimizer': ['SGD', 'lr']}, r"optim_wrapper\.optimizer: must be a dict\. Received: \['SGD'"),
    ],
)
def test_optimizers_that_cannot_be_built(tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        toy_runner(tmp_path, epochs=1, **options).train()


def test_resume_takes_four_values(tmp_path):
    with pytest.raises(ConfigError, match="resume: must be True, False or 'auto'. Received: 'yes'"):
        toy_runner(tmp_path, resume='yes')
    assert toy_runner(tmp_path, resume=None)._resume_path is None


def test_auto_with_load_from_starts_from_it_only_without_checkpoints(tmp_path):
    toy_runner(tmp_path / 'a', epochs=1).train()
    other = tmp_path / 'a' / 'epoch_1.pth'
    fresh = toy_runner(tmp_path / 'b', epochs=1, resume='auto', load_from=str(other))
    assert fresh._resume_path is None and fresh._resume is False
    fresh.train()
    assert fresh.iter == 5
    again = toy_runner(tmp_path / 'b', epochs=1, resume='auto', load_from=str(other))
    assert again._resume_path == str(tmp_path / 'b' / 'epoch_1.pth') and again._resume is True
    assert toy_runner(tmp_path / 'b', resume=True, load_from=str(other))._resume_path == str(other)


def test_what_a_checkpoint_says_of_its_run(tmp_path):
    hook = {'default_hooks.checkpoint': dict(type='CheckpointHook', interval=2, by_epoch=False)}
    toy_runner(tmp_path, epochs=2, **hook).train()
    found = [load(tmp_path / f'iter_{i}.pth')['meta'] for i in (2, 4, 6, 10)]
    assert [(meta['epoch'], meta['iter'], meta['iters_in_epoch']) for meta in found] == [
        (0, 2, 2), (0, 4, 4), (1, 6, 1), (1, 10, 5)
    ]  # fmt: skip
    toy_runner(tmp_path / 'b', epochs=2).train()
    meta = load(tmp_path / 'b' / 'epoch_2.pth')['meta']
    assert (meta['epoch'], meta['iter'], meta['iters_in_epoch']) == (2, 10, 0)
    assert (meta['seed'], meta['world_size'], meta['dataset_meta']) == (7, 1, dict(classes=('car', 'van', 'bus')))
    assert "type='ToyDetector'" in meta['cfg'] and meta['mmdet_version'] and meta['mmengine_version']


def test_resuming_with_other_processes_or_classes_is_said(tmp_path, monkeypatch):
    toy_runner(tmp_path, epochs=1, ema=False).train()
    path = tmp_path / 'epoch_1.pth'
    content = load(path)
    content['meta'].update(world_size=2, dataset_meta=dict(classes=('car', 'van', 'tram')))
    torch.save(content, path)
    runner = toy_runner(tmp_path, epochs=2, ema=False, resume=True)
    warnings = messages_of(runner, monkeypatch)
    runner.train()
    assert runner.iter == 10
    assert any(text.startswith('The checkpoint comes from 2 processes, this run has 1') for text in warnings)
    assert any("('car', 'van', 'tram'), the dataset has ('car', 'van', 'bus')" in text for text in warnings)


def test_unknown_logs_of_a_checkpoint_are_left_out(tmp_path):
    runner = toy_runner(tmp_path)
    history = dict(log_history=torch.tensor([1.0, 2.0]), count_history=torch.tensor([1, 1]), max_length=10)
    runner._resume_message_hub(
        dict(log_scalars=dict(loss=history, odd=3), runtime_info=dict(epoch=4), resumed_keys=dict(loss=True, odd=True, epoch=True, gone=True))
    )  # fmt: skip
    assert runner.message_hub.get_scalar('loss').data[0].tolist() == [1, 2]
    assert runner.message_hub.get_info('epoch') == 4 and 'odd' not in runner.message_hub.log_scalars


def test_weights_are_counted_and_renamed_when_loaded(tmp_path, monkeypatch):
    toy_runner(tmp_path, epochs=1, ema=False).train()
    content = load(tmp_path / 'epoch_1.pth')
    state = {f'module.{name}': torch.ones_like(value) for name, value in content['state_dict'].items()}
    state['module.extra'] = torch.zeros(1)
    torch.save(dict(state_dict=state), tmp_path / 'a.pth')
    runner = toy_runner(tmp_path / 'b', ema=False)
    information, warnings = (messages_of(runner, monkeypatch, level) for level in ('info', 'warning'))
    checkpoint = runner.load_checkpoint(str(tmp_path / 'a.pth'))
    assert information == [f'Loaded {len(state) - 1} tensors from {tmp_path / "a.pth"}, {len(state)} of them renamed']
    assert warnings == ['The checkpoint does not match the model in:\n  not in the model: extra']
    assert 'extra' in checkpoint['state_dict'] and all((p == 1).all() for p in runner.model.parameters())
    with pytest.raises(CheckpointError, match=r'(?s)a\.pth: the checkpoint does not fit.*not in the model: extra'):
        runner.load_checkpoint(str(tmp_path / 'a.pth'), strict=True)
    runner.load_checkpoint(str(tmp_path / 'a.pth'), complete=True)


def test_the_averaged_weights_are_swapped_on_a_resume_only(tmp_path):
    toy_runner(tmp_path, epochs=2).train()
    saved = load(tmp_path / 'epoch_2.pth')
    name = 'bbox_head.gfl_cls.weight'
    averaged, own = saved['state_dict'][name], saved['ema_state_dict'][f'module.{name}']
    assert not torch.equal(averaged, own)
    resumed = toy_runner(tmp_path, epochs=2, resume=True)
    resumed.train()  # nothing is left to do
    assert torch.equal(resumed.model.state_dict()[name], own)
    fresh = toy_runner(tmp_path / 'b', val=True, load_from=str(tmp_path / 'epoch_2.pth'))
    fresh.val()
    assert torch.equal(fresh.model.state_dict()[name], averaged)


def scheduler(value):
    return SimpleNamespace(state_dict=lambda: value)


def test_schedulers_are_paired_with_their_states():
    several = dict(a=[scheduler(1)], b=[scheduler(2), scheduler(3)])
    states = scheduler_states(several)
    assert states == dict(a=[1], b=[2, 3]) and scheduler_states(several['b']) == [2, 3]
    pairs = list(pair_schedulers(several, dict(b=[dict(x=2), dict(x=3)], a=[dict(x=1)], c=[]), 'a.pth'))
    assert [(one.state_dict(), state) for one, state in pairs] == [(1, dict(x=1)), (2, dict(x=2)), (3, dict(x=3))]
    assert list(pair_schedulers([], [], 'a.pth')) == []
    for own, other in ((several, dict(a=[1], b=[2])), (several, [1]), ([scheduler(1)], dict(a=[1])), ([], [1])):
        with pytest.raises(CheckpointError, match=r'a\.pth: has \d parameter schedulers, this config \d'):
            list(pair_schedulers(own, other, 'a.pth'))
    with pytest.raises(
        CheckpointError, match=r'a\.pth: param_schedulers: cannot be resumed: a state must be a dict. Received: 1'
    ):
        list(pair_schedulers([scheduler(1)], [1], 'a.pth'))


def test_reseeding_depends_on_the_rank(monkeypatch):
    runner, drawn = SimpleNamespace(seed=7, iter=0), []
    assert get_rank() == 0
    for rank in (0, 1):
        monkeypatch.setattr('mmdet.engine.hooks.reseed_hook.get_rank', lambda rank=rank: rank)
        ReseedHook().before_train_iter(runner, 0)
        drawn.append((torch.initial_seed(), torch.rand(1).item()))
    assert drawn[0][0] == (7 + 0x9E3779B1) % 2**32 and drawn[1][0] == (7 + 0x9E3779B1 + 0x85EBCA77) % 2**32
    assert drawn[0][1] != drawn[1][1]


def test_deterministic_kernels_set_what_cublas_needs(tmp_path, monkeypatch):
    try:
        for value, expected in ((None, ':4096:8'), (':16:8', ':16:8')):
            monkeypatch.delenv('CUBLAS_WORKSPACE_CONFIG', raising=False)
            if value:
                monkeypatch.setenv('CUBLAS_WORKSPACE_CONFIG', value)
            toy_runner(tmp_path, randomness=dict(seed=1, deterministic=True))
            assert os.environ['CUBLAS_WORKSPACE_CONFIG'] == expected and torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.deterministic = False
