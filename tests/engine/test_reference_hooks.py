"""Hooks, schedulers and colours under the names of mmdetection 3.x."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmdet.engine.hooks import CheckInvalidLossHook, SyncNormHook, YOLOXModeSwitchHook, trigger_visualization_hook
from mmdet.engine.hooks.sync_norm_hook import get_norm_states
from mmdet.engine.schedulers import QuadraticWarmupLR, QuadraticWarmupMomentum
from mmdet.errors import NonFiniteLossError
from mmdet.models.test_time_augs import merge_aug_bboxes, merge_aug_masks, merge_aug_results, merge_aug_scores
from mmdet.visualization import palette
from mmdet.visualization.palette import _get_adaptive_scales, get_palette, jitter_color, palette_val


def arguments(**changed):
    return SimpleNamespace(**dict(dict(show=False, wait_time=2, show_dir=None), **changed))


@pytest.mark.parametrize(
    ('args', 'added'),
    [({}, {}), (dict(show=True), dict(show=True, wait_time=2)), (dict(show_dir='out'), dict(test_out_dir='out'))],
)
def test_visualization_is_triggered(args, added):
    cfg = Config(dict(default_hooks=dict(visualization=dict(type='DetVisualizationHook'))))
    assert trigger_visualization_hook(cfg, arguments(**args)) is cfg
    assert cfg.default_hooks.visualization == dict(type='DetVisualizationHook', draw=True, **added)


def test_visualization_needs_its_hook():
    with pytest.raises(RuntimeError, match='visualization'):
        trigger_visualization_hook(Config(dict(default_hooks={})), arguments())


def test_invalid_losses_stop_the_run():
    lines = []
    runner = SimpleNamespace(iter=9, logger=SimpleNamespace(info=lines.append))
    hook = CheckInvalidLossHook(interval=10)
    hook.after_train_iter(runner, 9, outputs=dict(loss=torch.tensor(2.0)))
    for kind in (AssertionError, NonFiniteLossError):
        with pytest.raises(kind, match='NaN'):
            hook.after_train_iter(runner, 9, outputs=dict(loss=torch.tensor(float('nan'))))
    runner.iter = 8
    hook.after_train_iter(runner, 8, outputs=dict(loss=torch.tensor(float('inf'))))
    assert len(lines) == 2


def test_states_of_norms():
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.BatchNorm2d(2))
    assert list(get_norm_states(model)) == [
        '1.weight',
        '1.bias',
        '1.running_mean',
        '1.running_var',
        '1.num_batches_tracked',
    ]
    assert list(get_norm_states(model[1]))[0] == 'weight'
    SyncNormHook().before_val_epoch(SimpleNamespace(model=None))  # alone there is nothing to do


@pytest.mark.parametrize('epoch', [5, 7])
def test_yolox_mode_switch(epoch):
    skipped = []
    loader = SimpleNamespace(
        dataset=SimpleNamespace(update_skip_type_keys=skipped.append), persistent_workers=True, _iterator='workers'
    )
    model = torch.nn.Module()
    model.bbox_head = SimpleNamespace(use_l1=False)
    runner = SimpleNamespace(
        epoch=3, max_epochs=8, train_dataloader=loader, model=model, logger=SimpleNamespace(info=print)
    )
    hook = YOLOXModeSwitchHook(num_last_epochs=2, skip_type_keys=('Mosaic',))
    hook.before_train_epoch(runner)
    assert not skipped and not model.bbox_head.use_l1
    runner.epoch = epoch  # the first of the last epochs, or a training resumed later
    hook.before_train_epoch(runner)
    hook.before_train_epoch(runner)
    assert skipped == [('Mosaic',)] and model.bbox_head.use_l1 and loader._iterator is None


def rates(scheduler, steps, name='lr', **options):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.4, momentum=0.9)
    schedule, found = scheduler(optimizer, **options), []
    for _ in range(steps):
        found.append(optimizer.param_groups[0][name])
        optimizer.step()
        schedule.step()
    return found


def test_quadratic_warmup():
    assert rates(QuadraticWarmupLR, 7, end=5) == pytest.approx([0.016, 0.064, 0.144, 0.256, 0.4, 0.4, 0.4])
    assert rates(QuadraticWarmupLR, 7, begin=2, end=6) == pytest.approx([0.4, 0.4, 0.025, 0.1, 0.225, 0.4, 0.4])
    assert rates(QuadraticWarmupMomentum, 3, 'momentum', end=2) == pytest.approx([0.225, 0.9, 0.9])
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.4)
    assert QuadraticWarmupLR.build_iter_from_epoch(optimizer, end=2, epoch_length=5).end == 10
    for wrong in (dict(by_epoch=False, epoch_length=5), dict(epoch_length=0), dict()):
        with pytest.raises(AssertionError):
            QuadraticWarmupLR.build_iter_from_epoch(optimizer, end=2, **wrong)
    with pytest.raises(ValueError, match='larger'):
        QuadraticWarmupLR(optimizer, begin=3, end=3)


def test_palettes():
    state = np.random.get_state()[1].copy()
    assert get_palette('random', 2) == get_palette(None, 2) == [(102, 179, 92), (14, 106, 71)]
    assert (np.random.get_state()[1] == state).all()
    assert get_palette([(1, 2, 3), (4, 5, 6)], 1) == [(1, 2, 3), (4, 5, 6)]
    assert get_palette((1, 2, 3), 2) == [(1, 2, 3)] * 2 and get_palette('red', 2) == [(255, 0, 0)] * 2
    assert get_palette('coco', 80)[1] == (119, 11, 32) and get_palette('citys', 8)[2] == (0, 0, 142)
    assert get_palette('voc', 20)[:3] == [(128, 0, 0), (0, 128, 0), (128, 128, 0)]
    with pytest.raises(AssertionError, match='at least 2'):
        get_palette([(1, 2, 3)], 2)
    with pytest.raises(TypeError, match='int'):
        get_palette(3, 2)
    assert palette_val([(255, 0, 51)]) == [(1, 0, 0.2)]
    assert _get_adaptive_scales(np.array([10.0, 29999, 30000, 90000])).tolist() == [0.5, 0.5, 1, 1]
    np.random.seed(3)
    assert tuple(map(int, jitter_color((10, 200, 250)))) == (20, 231, 225)
    assert palette(2)[0] != palette(2)[1]  # the function, not the module of the same name


def test_views_are_brought_together():
    from mmengine.structures import InstanceData

    plain = dict(img_shape=(10, 20), scale_factor=(2.0, 2.0, 2.0, 2.0), flip=False, flip_direction=None)
    mirrored = dict(plain, flip=True, flip_direction='horizontal')
    box, flipped = torch.tensor([[2.0, 2, 6, 8]]), torch.tensor([[14.0, 2, 18, 8]])
    assert merge_aug_bboxes([box, flipped], None, [[plain], [mirrored]]).tolist() == [[1, 1, 3, 4]]
    bboxes, scores = merge_aug_bboxes([box, flipped], [torch.zeros(1, 2), torch.ones(1, 2)], [[plain], [mirrored]])
    assert scores.tolist() == [[0.5, 0.5]]
    (together,) = merge_aug_results([[InstanceData(bboxes=box)], [InstanceData(bboxes=flipped)]], [[plain], [mirrored]])
    assert together.bboxes.tolist() == [[1, 1, 3, 4]] * 2 and flipped[0, 0] == 14
    assert (
        merge_aug_scores([torch.zeros(2), torch.ones(2)]).tolist()
        == merge_aug_scores([[0, 0], [1, 1]]).tolist()
        == [0.5, 0.5]
    )
    masks = [torch.tensor([[[0.0, 1], [2, 3]]]), torch.ones(1, 2, 2)]
    assert merge_aug_masks(masks, dict(flip=False), weights=[1, 3]).tolist() == [[[0.75, 1], [1.25, 1.5]]]
    assert merge_aug_masks(masks[:1], mirrored).tolist() == [[[1, 0], [3, 2]]]
