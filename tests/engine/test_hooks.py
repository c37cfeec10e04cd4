import contextlib
import hashlib
import json
import logging
import math
import os
import re
from types import SimpleNamespace

import pytest
import torch

from mmdet.engine.hooks import BrokenImagesHook, LoggerHook, NumClassCheckHook, ObjectCountHook, ReseedHook
from mmdet.errors import ConfigError
from mmdet.registry import HOOKS
from mmdet.utils.files import temporary_path
from tests.models.pair_detector import PairDetector
from tests.utils.test_files import ended_process

from .test_runner_resume import Killed, load
from .toy import toy_runner


def checkpoints(folder):
    return sorted(path.name for path in folder.glob('*.pth') if not path.is_symlink())


def test_keeps_the_newest_and_the_best(tmp_path):
    options = {'default_hooks.checkpoint.save_best': 'auto', 'default_hooks.checkpoint.max_keep_ckpts': 1}
    toy_runner(tmp_path, epochs=3, val=True, **options).train()
    assert checkpoints(tmp_path) == ['best_coco_bbox_mAP_epoch_2.pth', 'epoch_3.pth']
    assert (tmp_path / 'latest.pth').resolve().name == 'epoch_3.pth'
    assert (tmp_path / 'last_checkpoint').read_text().endswith('epoch_3.pth')
    assert (tmp_path / 'best_checkpoint').read_text().endswith('best_coco_bbox_mAP_epoch_2.pth')
    info = load(tmp_path / 'epoch_3.pth')['message_hub']['runtime_info']
    assert info['best_score'] == 0.3 and 'optimizer' not in load(tmp_path / 'best_coco_bbox_mAP_epoch_2.pth')


def test_a_new_best_score_removes_no_checkpoint_too_many(tmp_path):
    # The second epoch is the best, and its checkpoint is written once more with the score: it counts as one of the two.
    options = {'default_hooks.checkpoint.save_best': 'auto', 'default_hooks.checkpoint.max_keep_ckpts': 2}
    toy_runner(tmp_path, epochs=2, val=True, **options).train()
    assert checkpoints(tmp_path) == ['best_coco_bbox_mAP_epoch_2.pth', 'epoch_1.pth', 'epoch_2.pth']


def test_new_file_is_written_before_the_old_one_is_removed(tmp_path, monkeypatch):
    runner = toy_runner(tmp_path, epochs=2, **{'default_hooks.checkpoint.max_keep_ckpts': 1})
    save = type(runner).save_checkpoint
    before = []

    def spy(self, out_dir, filename, **kwargs):
        before.append((filename, checkpoints(tmp_path)))
        save(self, out_dir, filename, **kwargs)

    monkeypatch.setattr(type(runner), 'save_checkpoint', spy)
    runner.train()
    assert before == [('epoch_1.pth', []), ('epoch_2.pth', ['epoch_1.pth'])] and checkpoints(tmp_path) == [
        'epoch_2.pth'
    ]


def test_resumed_run_finishes_an_interrupted_removal(tmp_path, monkeypatch):
    from mmdet.engine.hooks import CheckpointHook

    runner = toy_runner(tmp_path, epochs=3, **{'default_hooks.checkpoint.max_keep_ckpts': 1})

    def killed(self):
        if (tmp_path / 'epoch_2.pth').exists():
            raise Killed

    monkeypatch.setattr(CheckpointHook, '_remove_outdated', killed)
    with pytest.raises(Killed):
        runner.train()
    monkeypatch.undo()
    assert checkpoints(tmp_path) == ['epoch_1.pth', 'epoch_2.pth']
    toy_runner(tmp_path, epochs=3, resume='auto', **{'default_hooks.checkpoint.max_keep_ckpts': 1}).train()
    assert checkpoints(tmp_path) == ['epoch_3.pth']


def test_a_missed_validation_is_made_up_for(tmp_path):
    options = {'default_hooks.checkpoint.save_best': 'coco/bbox_mAP'}
    runner = toy_runner(tmp_path, epochs=2, val=True, **options)

    def killed():
        raise Killed

    runner._val_loop = runner.build_val_loop(runner._val_loop)
    runner._val_loop.run = killed
    with pytest.raises(Killed):
        runner.train()
    assert checkpoints(tmp_path) == ['epoch_1.pth']
    toy_runner(tmp_path, epochs=2, val=True, resume='auto', **options).train()
    assert checkpoints(tmp_path) == ['best_coco_bbox_mAP_epoch_2.pth', 'epoch_1.pth', 'epoch_2.pth']


def test_validation_alone_with_save_best(tmp_path):
    runner = toy_runner(tmp_path, val=True, **{'default_hooks.checkpoint.save_best': 'auto'})
    assert runner.val() == {'coco/bbox_mAP': 0.1} and checkpoints(tmp_path) == []


def test_two_best_scores_have_files_and_pointers_of_their_own(tmp_path):
    options = {'save_best': ['coco/high', 'low'], 'rule': ['greater', 'less'], 'published_keys': ['state_dict']}
    runner = toy_runner(tmp_path, epochs=1, **{f'default_hooks.checkpoint.{k}': v for k, v in options.items()})
    runner.train()
    (hook,) = [hook for hook in runner.hooks if type(hook).__name__ == 'CheckpointHook']
    best = ['best_coco_high_epoch_1.pth', 'best_low_epoch_1.pth']
    for high, low, expected in ((0.5, 3.0, (0.5, 3.0)), (0.5, 2.0, (0.5, 2.0)), (0.4, 4.0, (0.5, 2.0))):
        hook.after_val_epoch(runner, {'coco/high': high, 'low': low})
        info = runner.message_hub.runtime_info
        assert (info['best_score_coco/high'], info['best_score_low']) == expected
    assert [name for name in checkpoints(tmp_path) if name.startswith('best')] == best
    for name, file in zip(('best_checkpoint_coco_high', 'best_checkpoint_low'), best):
        assert (tmp_path / name).read_text().endswith(file)
    hook.after_train(runner)
    assert sum(name.startswith(('best_coco_high_epoch_1-', 'best_low_epoch_1-')) for name in checkpoints(tmp_path)) == 2


def test_unknown_metric_of_save_best(tmp_path):
    with pytest.raises(ConfigError, match=r"must be one of \['coco/bbox_mAP'\]. Received: 'coco/mAP'"):
        toy_runner(tmp_path, epochs=1, val=True, **{'default_hooks.checkpoint.save_best': 'coco/mAP'}).train()


def test_published_checkpoints(tmp_path):
    """The last and the best one; the hash is that of the file, as torch hub checks it, and keys that a file lacks are passed over."""
    keys = ['meta', 'state_dict', 'optimizer']
    options = {'default_hooks.checkpoint.published_keys': keys, 'default_hooks.checkpoint.save_best': 'auto'}
    toy_runner(tmp_path, epochs=1, val=True, **options).train()
    last, best = [path for pattern in ('epoch_1-*.pth', 'best_*-*.pth') for path in tmp_path.glob(pattern)]
    assert set(load(last)) == set(keys) and set(load(best)) == {'meta', 'state_dict'}
    for path in (last, best):
        assert path.stem.rpartition('-')[2] == hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    assert checkpoints(tmp_path) == sorted([last.name, best.name, 'epoch_1.pth', 'best_coco_bbox_mAP_epoch_1.pth'])


def test_leftover_of_a_killed_save_is_removed(tmp_path):
    leftover = temporary_path(tmp_path / 'epoch_9.pth')
    leftover = leftover.with_name(leftover.name.replace(f'-{os.getpid()}-', f'-{ended_process()}-'))
    leftover.write_bytes(b'half')
    toy_runner(tmp_path, epochs=1).train()
    assert not leftover.exists() and checkpoints(tmp_path) == ['epoch_1.pth']


@pytest.mark.parametrize('named', [False, True])
def test_own_hooks_are_not_added_twice(tmp_path, named):
    """Whether the config has them by name or as classes, as dicts or objects, as custom hooks or under another name."""
    kinds = (NumClassCheckHook, ReseedHook, BrokenImagesHook)
    number, reseed, broken = (f'mmdet.{kind.__name__}' if named else kind for kind in kinds)
    runner = toy_runner(tmp_path, ema=False)
    runner._hooks.clear()
    runner.register_hooks(dict(mine=dict(type=number)), [dict(type=reseed, priority='LOW'), BrokenImagesHook()])
    found = [type(hook) for hook in runner.hooks]
    assert [found.count(kind) for kind in kinds] == [1, 1, 1]
    assert runner.hooks[[kind.__name__ for kind in found].index('ReseedHook')].priority == 'LOW'


def test_own_hooks_are_added_and_can_be_taken_out(tmp_path):
    runner = toy_runner(tmp_path, ema=False)
    runner._hooks.clear()
    runner.register_hooks(dict(reseed=None))
    found = {type(hook).__name__ for hook in runner.hooks}
    assert {'NumClassCheckHook', 'BrokenImagesHook', 'CheckpointHook'} <= found and 'ReseedHook' not in found


@pytest.mark.parametrize(
    ('overrides', 'message'),
    [
        (
            {'model.num_classes': 5},
            r'model\.bbox_head\.num_classes: the ToyHead has num_classes=5.*ToyDataset.*3 classes',
        ),
        ({'train_dataloader.dataset.metainfo': dict(classes='car')}, r"must be a tuple.*Received: 'car'"),
    ],
)
def test_class_count(tmp_path, overrides, message):
    with pytest.raises((ConfigError, TypeError), match=message):
        toy_runner(tmp_path, ema=False, custom_hooks=[dict(type='NumClassCheckHook')], **overrides).train()


def test_class_count_that_fits(tmp_path):
    toy_runner(tmp_path, epochs=1, ema=False, custom_hooks=[dict(type='NumClassCheckHook')]).train()


def test_broken_images_are_counted(tmp_path, caplog):
    runner = toy_runner(tmp_path, epochs=2, ema=False, custom_hooks=[dict(type='BrokenImagesHook')])
    runner.train_dataloader.dataset.broken_images = ['a.jpg', 'b.jpg']
    warnings = []
    runner.logger.warning = warnings.append
    runner.train()
    assert [text.split(':')[0] for text in warnings if 'broken' in text] == [
        '2 broken images were skipped for the first time',
        'Training skipped 2 broken images',
    ]


def test_broken_images_of_later_epochs_are_new_ones(capsys):
    warnings = []
    dataset = SimpleNamespace(broken_images=[f'{i}.jpg' for i in range(12)])
    runner = SimpleNamespace(
        train_dataloader=SimpleNamespace(dataset=dataset), logger=SimpleNamespace(warning=warnings.append)
    )
    hook = BrokenImagesHook()
    hook.after_train_epoch(runner)
    hook.after_train_epoch(runner)
    dataset.broken_images.append('new.jpg')
    hook.after_train_epoch(runner)
    named = ', '.join(f'{i}.jpg' for i in range(10))
    assert warnings == [
        f'12 broken images were skipped for the first time: {named} and 2 more',
        '1 broken images were skipped for the first time: new.jpg',
    ]
    dataset.broken_images.clear()
    hook.after_train(runner)
    assert len(warnings) == 2


@pytest.mark.parametrize(
    ('name', 'attributes', 'refused'),
    [
        ('bbox_head', dict(num_classes=3), True),
        ('bbox_head', dict(num_classes=2), False),
        ('rpn_head', dict(num_classes=1), False),
        ('backbone', dict(num_classes=3), False),
        ('bbox_head', dict(num_classes=3, check_num_classes=False), False),
        ('bbox_head', dict(num_classes='3'), False),
    ],
)
def test_which_heads_are_checked(name, attributes, refused):
    model, head = torch.nn.Module(), torch.nn.Linear(1, 1)
    vars(head).update(attributes)
    model.add_module(name, head)
    loader = SimpleNamespace(dataset=SimpleNamespace(metainfo=dict(classes=('a', 'b'))))
    runner = SimpleNamespace(model=model, train_dataloader=loader, val_dataloader=loader)
    for check in (NumClassCheckHook().before_train_epoch, NumClassCheckHook().before_val_epoch):
        with pytest.raises(AssertionError, match=f'model.{name}.num_classes') if refused else contextlib.nullcontext():
            check(runner)
    loader.dataset.metainfo = {}
    NumClassCheckHook().before_train_epoch(runner)


def test_reseeding_depends_on_iteration_and_seed(tmp_path):
    runner = toy_runner(tmp_path)
    hook = next(hook for hook in runner.hooks if type(hook).__name__ == 'ReseedHook')
    drawn = []
    for iteration in (0, 1, 0):
        runner.train_loop._iter = iteration
        hook.before_train_iter(runner, 0)
        drawn.append(torch.rand(3))
    assert torch.equal(drawn[0], drawn[2]) and not torch.equal(drawn[0], drawn[1])


def test_hooks_may_leave_objects_out_of_a_checkpoint(tmp_path):
    from mmengine.hooks import Hook

    class Stranger(Hook):
        def before_save_checkpoint(self, runner, checkpoint):
            checkpoint['mine'] = dict(thing=object(), number=3)

    runner = toy_runner(tmp_path, epochs=1)
    runner.register_hook(Stranger())
    runner.train()
    assert load(tmp_path / 'epoch_1.pth')['mine'] == dict(thing=None, number=3)


@pytest.mark.parametrize('main', [True, False])
def test_results_of_a_test_are_written_by_one_process(main, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr('mmdet.engine.hooks.logger_hook.is_main_process', lambda: main)
    results = {'coco/bbox_mAP': torch.tensor(0.5), 'nothing': float('nan')}
    log = SimpleNamespace(get_log_after_epoch=lambda *_, **__: (results, 'a line'))
    runner = SimpleNamespace(test_dataloader=[0], log_processor=log, logger=logging.getLogger(), log_dir=str(tmp_path))
    hook = HOOKS.build(dict(type='LoggerHook'))
    assert type(hook) is LoggerHook
    hook.json_log_path = 'results.json'
    with caplog.at_level(logging.INFO):
        hook.after_test_epoch(runner)
    assert caplog.messages == ['a line']
    found = {path.name: json.loads(path.read_text()) for path in tmp_path.iterdir()}
    assert list(found) == (['results.json'] if main else [])
    assert all(content['coco/bbox_mAP'] == 0.5 and math.isnan(content['nothing']) for content in found.values())


class Counted:
    """A data set of images with these numbers of objects, beside one that is ignored in each."""

    def __init__(self, *counts):
        self.counts = counts

    def __len__(self):
        return len(self.counts)

    def get_data_info(self, index):
        return dict(instances=[{}] * self.counts[index] + [dict(ignore_flag=1)])


@pytest.mark.parametrize(
    ('counts', 'queries', 'said'),
    [
        ((), 3, ''),
        ((3, 0, 2), 3, ''),
        ((9, 9), None, ''),
        ((4, 0, 9, 3), 3, '2 of 4 training images have more objects than the 3 that .*: 7 of 16 objects .* (up to 9 in an image)'),
    ],
)  # fmt: skip
def test_objects_beyond_the_queries(counts, queries, said):
    model = torch.nn.Module()
    model.detector = PairDetector(num_queries=queries)
    texts = []
    loader, logger = SimpleNamespace(dataset=Counted(*counts)), SimpleNamespace(warning=texts.append)
    ObjectCountHook().before_train(SimpleNamespace(model=model, train_dataloader=loader, logger=logger))
    assert len(texts) == bool(said) and all(
        re.search(said.replace('(', r'\(').replace(')', r'\)'), text) for text in texts
    )
