"""What a resume says of the differences between the checkpoint and the run, and what it refuses."""

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import nn

from mmdet.datasets.dataset_wrappers import ConcatDataset, RepeatDataset
from mmdet.engine.checkpoint.resuming import (
    annotations_of,
    changes,
    check_averages,
    optimizer_types,
    settings,
    settings_change,
)
from mmdet.errors import CheckpointError

from ..test_runner import messages_of
from ..test_runner_resume import load
from ..toy import ToyDataset, toy_runner


class Annotated(ToyDataset):
    METAINFO = dict(classes=('car',))


def test_annotations_of_wrapped_datasets(tmp_path):
    (tmp_path / 'a.json').write_bytes(b'123456789')
    folder = tmp_path / 'folder'
    folder.mkdir()
    (folder / '1.txt').write_text('1')
    one, two = (Annotated(length, ann_file=str(tmp_path / file)) for length, file in ((4, 'a.json'), (5, 'folder')))
    found = annotations_of(ConcatDataset([RepeatDataset(one, 2), two]))
    assert found[0] == dict(file=str(tmp_path / 'a.json'), images=4, crc32=0xCBF43926)
    assert found[1]['images'] == 5 and found[1]['crc32'] is not None
    (folder / '1.txt').write_text('12')
    assert annotations_of(two)[0]['crc32'] != found[1]['crc32']
    for absent in ('', 's3://bucket/a.json', str(tmp_path / 'gone.json')):
        assert annotations_of(Annotated(ann_file=absent)) == [dict(file=absent, images=20, crc32=None)]


def test_a_list_of_annotation_files_says_which_file_changed(tmp_path):
    files = [str(tmp_path / name) for name in ('a.json', 'b.json')]
    for file in files:
        Path(file).write_text('1')
    seven, eight = Annotated(7), Annotated(8)
    seven.ann_file = eight.ann_file = files
    before = annotations_of(seven)
    Path(files[1]).write_text('2')
    now = annotations_of(eight)
    of_all, content = changes(dict(annotations=before), dict(annotations=now))
    assert f'{files[0]} differ' in of_all and 'counted over the 2 files of its list, 7 before and now 8' in of_all
    assert f'{files[1]} differ from those of the checkpoint in its content.' in content


OLD = dict(file='a.json', images=3, crc32=1)


@pytest.mark.parametrize(
    ('stored', 'now', 'said'),
    [
        ({}, dict(world_size=1, batch_size=2, annotations=[OLD], dataset_meta=dict(classes=('a',))), []),
        (dict(world_size=2, annotations=[]), {}, []),
        (dict(annotations=[OLD]), dict(annotations=[OLD]), []),
        (dict(annotations=[OLD]), dict(annotations=[{**OLD, 'crc32': None}]), []),
        (dict(world_size=2), dict(world_size=1), ['from 2 processes, this run has 1']),
        (dict(batch_size=8), dict(batch_size=4), ['with 8 images a batch, this run has 4']),
        (dict(dataset_meta=dict(classes=['a'])), dict(dataset_meta=dict(classes=('b',))), [r"on the classes \('a',\)"]),
        (dict(annotations=[OLD]), dict(annotations=[{**OLD, 'crc32': 2}]), ['annotations a.json differ .* in its content']),
        (dict(annotations=[OLD]), dict(annotations=[{**OLD, 'images': 4}]), ['images in use, 3 before and now 4']),
        (dict(annotations=[OLD]), dict(annotations=[{**OLD, 'file': 'b'}]), ['b differ .* a.json before, of the same content']),
        (dict(annotations=[OLD]), dict(annotations=[{**OLD, 'file': 'b', 'crc32': 2}]), ['a.json before; its content']),
        (dict(annotations=[OLD]), dict(annotations=[{**OLD, 'file': 'b', 'crc32': None}]), [r'a.json before\.$']),
        (dict(annotations=[OLD]), dict(annotations=[OLD, OLD]), ['on 1 annotation files, this run has 2']),
    ],
)  # fmt: skip
def test_each_difference_is_one_sentence(stored, now, said):
    found = list(changes(stored, now))
    assert len(found) == len(said)
    for sentence, pattern in zip(found, said):
        with pytest.raises(AssertionError, match=pattern):
            raise AssertionError(sentence)


def test_optimizers_and_their_settings():
    def wrapper(kind, **options):
        return OptimWrapper(kind(nn.Linear(1, 1).parameters(), **options))

    first, second = wrapper(torch.optim.SGD, lr=0.1, momentum=0.9), wrapper(torch.optim.AdamW, lr=torch.tensor(0.5))
    both = OptimWrapperDict(one=first, two=second)
    assert optimizer_types(first) == 'SGD' and optimizer_types(both) == dict(one='SGD', two='AdamW')
    assert settings(both)['one.0.momentum'] == 0.9 and settings(both)['two.0.lr'] == 0.5
    other = wrapper(torch.optim.SGD, lr=0.01, momentum=0.9)
    other.optimizer.param_groups[0]['initial_lr'] = 0.1
    assert list(settings_change(settings(first), settings(other))) == []  # the schedule is at 0.01
    other.optimizer.param_groups[0].update(initial_lr=0.2, momentum=0.8)
    assert list(settings_change(settings(first), settings(other))) == [
        "The optimizer keeps the checkpoint's settings, not the config's: lr 0.2 and not 0.1, momentum 0.8 and not 0.9."
    ]


STATE = OrderedDict(w=torch.ones(2))


@pytest.mark.parametrize(
    'averages',
    [
        [1],
        {},
        {'module.w': torch.ones(3)},
        {'module.w': 1},
        {'module.v': torch.ones(2)},
        {'module.w': torch.tensor([1, float('nan')])},
    ],
)
def test_averages_that_do_not_fit(averages):
    checkpoint = dict(state_dict=STATE, ema_state_dict=averages)
    with pytest.raises(CheckpointError, match=r'a\.pth: ema_state_dict'):
        list(check_averages(checkpoint, True, 'a.pth'))
    assert len(list(check_averages(checkpoint, False, 'a.pth'))) == 1


# -- whole runs ------------------------------------------------------------------------------------


def resumed(tmp_path, monkeypatch, change=lambda content: None, *, ema=False, **options):
    """Warnings of a run that resumes an epoch of the toy training, after ``change`` of the checkpoint."""
    path = tmp_path / 'epoch_1.pth'
    content = load(path)
    change(content)
    torch.save(content, path)
    runner = toy_runner(tmp_path, epochs=2, ema=ema, resume=True, load_from=str(path), **options)
    warnings = messages_of(runner, monkeypatch)
    runner.train()
    return warnings


@pytest.fixture(scope='module')
def first_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp('first') / 'run'
    folder.mkdir()
    (folder / 'a.json').write_text('{}')
    toy_runner(folder, epochs=1, ema=False, **{'train_dataloader.dataset.ann_file': str(folder / 'a.json')}).train()
    return folder


@pytest.fixture
def trained(first_run):
    """The first run, whose checkpoint and annotation file are put back afterwards."""
    kept = {name: (first_run / name).read_bytes() for name in ('a.json', 'epoch_1.pth')}
    yield first_run
    for name, content in kept.items():
        (first_run / name).write_bytes(content)


def test_a_run_like_the_first_says_nothing(trained, monkeypatch):
    file = {'train_dataloader.dataset.ann_file': str(trained / 'a.json')}
    assert resumed(trained, monkeypatch, **file) == []
    meta = load(trained / 'epoch_1.pth')['meta']
    assert (meta['optimizer_type'], meta['batch_size']) == ('SGD', 4)
    assert meta['annotations'] == [dict(file=str(trained / 'a.json'), images=20, crc32=2745614147)]


def test_a_checkpoint_of_earlier_versions_says_nothing(trained, monkeypatch):
    def older(content):
        for key in ('optimizer_type', 'batch_size', 'annotations'):
            del content['meta'][key]

    assert resumed(trained, monkeypatch, older) == []


def test_changes_of_the_config_are_said(trained, monkeypatch):
    (trained / 'a.json').write_text('{"changed": 1}')
    options = {
        'train_dataloader.dataset.ann_file': str(trained / 'a.json'),
        'train_dataloader.dataset.length': 16,
        'train_dataloader.batch_size': 2,
        'optim_wrapper.optimizer.lr': 0.5,
    }
    found = resumed(trained, monkeypatch, **options)
    assert len(found) == 3
    assert 'with 4 images a batch, this run has 2' in found[0]
    assert 'differ from those of the checkpoint in its content; the number of its images in use, 20' in found[1]
    assert 'lr 0.1 and not 0.5' in found[2]


def test_another_optimizer_is_refused(trained, monkeypatch):
    options = {'optim_wrapper.optimizer': dict(_delete_=True, type='AdamW', lr=0.1)}
    with pytest.raises(CheckpointError, match=r'epoch_1\.pth: its optimizer is SGD, that of the config AdamW'):
        resumed(trained, monkeypatch, **options)


def spoil(*keys, value=float('nan')):
    def change(content):
        for key in keys[:-1]:
            content = content[key]
        if isinstance(content[keys[-1]], torch.Tensor) and not isinstance(value, str):
            content[keys[-1]].flatten()[0] = value
        else:
            content[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (spoil('state_dict', 'bbox_head.gfl_cls.bias'), r'gfl_cls\.bias: is not finite'),
        (spoil('optimizer', 'state', 0, 'momentum_buffer'), r'optimizer\.state\.0\.momentum_buffer: is not finite'),
        (spoil('optimizer', value=[1]), 'cannot be resumed'),
        (spoil('optimizer', 'param_groups', value='x'), 'cannot be resumed'),
        (spoil('meta', 'epoch', value='x'), r'meta\.epoch: must be an integer from 0'),
        (spoil('meta', 'iter', value=2**31), r'meta\.iter: must be an integer from 0'),
        (spoil('meta', 'iter', value=-1), r'meta\.iter: must be an integer from 0'),
        (spoil('meta', 'iters_in_epoch', value=1.5), r'meta\.iters_in_epoch: must be'),
        (spoil('meta', 'seed', value='7'), r'meta\.seed: must be an integer'),
        (spoil('meta', 'seed', value=2**32), r'meta\.seed: must be an integer'),
        (spoil('optimizer', 'param_groups', 0, 'lr', value='x'), r'optimizer\.lr: must be a finite number'),
        (
            spoil('optimizer', 'param_groups', 0, 'weight_decay', value='x'),
            r'optimizer\.weight_decay: must be a finite',
        ),
        (
            spoil('optimizer', 'param_groups', 0, 'momentum', value=float('nan')),
            r'optimizer\.momentum: must be a finite',
        ),
        (spoil('param_schedulers', 0, 'last_step', value='x'), r'param_schedulers\.last_step: must be a number'),
        (spoil('meta', 'annotations', value=[3]), 'cannot be resumed'),
        (spoil('meta', 'dataset_meta', value='x'), 'cannot be resumed'),
        (spoil('message_hub', value=[1]), 'cannot be resumed'),
        (spoil('param_schedulers', value=['x', 'y']), 'cannot be resumed'),
    ],
)
def test_damaged_entries_are_refused(trained, monkeypatch, change, message):
    with pytest.raises(CheckpointError, match=rf'(?s)epoch_1\.pth.*{message}'):
        resumed(trained, monkeypatch, change)


def test_averages_missing_or_left_over_or_not_finite(tmp_path, monkeypatch):
    toy_runner(tmp_path, epochs=1).train()
    found = resumed(tmp_path, monkeypatch)
    assert len(found) == 1 and 'averaged weights, but the config has no EMAHook' in found[0]
    with pytest.raises(
        CheckpointError, match=r'^[^:]*: ema_state_dict\.module\.bbox_head\.gfl_cls\.bias: is not finite'
    ):
        resumed(tmp_path, monkeypatch, spoil('ema_state_dict', 'module.bbox_head.gfl_cls.bias'), ema=True)
    said = []
    monkeypatch.setattr('mmengine.hooks.ema_hook.print_log', lambda text, *_: said.append(text))
    resumed(tmp_path, monkeypatch, lambda content: content.pop('ema_state_dict'), ema=True)
    assert len(said) == 1 and 'There is no `ema_state_dict` in checkpoint' in said[0]


def test_the_precision_of_the_weights_is_said(trained, monkeypatch):
    def halve(content):
        content['state_dict'] = {
            name: value.half() if value.is_floating_point() else value for name, value in content['state_dict'].items()
        }

    found = resumed(trained, monkeypatch, halve, **{'train_dataloader.dataset.ann_file': str(trained / 'a.json')})
    assert len(found) == 1 and 'stores 8 tensors in float16, the model has float32' in found[0]
