"""Megapixels through the network and CPU seconds of an image, counted by hand."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmdet.engine.hooks import CostHook, cost_hook


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Identity()


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(cost_hook, 'time', SimpleNamespace(process_time=lambda: now.seconds))
    return now


def test_pixels_of_every_pass_and_seconds(clock):
    """Two batches, of two images and one; the detector looks twice at the second one, with another detector and with itself."""
    first, second = Detector(), Detector()
    runner = SimpleNamespace(model=nn.ModuleList([first, second, nn.ModuleList([first])]))
    hook, metrics = CostHook(), {'AP': 0.5}
    hook.before_test(runner)
    first.backbone(torch.empty((1, 3, 64, 64), device='meta'))  # a trial before the first batch does not count
    batches = (
        ([(first, (2, 3, 1000, 500))], 2),
        ([(first, (1, 3, 1000, 500)), (second, (1, 3, 400, 500))], 1),
    )
    for index, (passes, images) in enumerate(batches):
        hook.before_test_iter(runner, index)
        for detector, shape in passes:
            detector.backbone(torch.empty(shape, device='meta'))
        clock.seconds += 3
        hook.after_test_iter(runner, index, outputs=[None] * images)
        clock.seconds += 100  # loading
    hook.after_test_epoch(runner, metrics)
    hook.after_test(runner)
    assert metrics == {'AP': 0.5, 'cost/megapixels': pytest.approx(1.7 / 3), 'cost/cpu_seconds': 2}
    assert not first.backbone._forward_pre_hooks and hook.priority == 'HIGHEST'


def test_no_images(clock):
    hook, metrics = CostHook(), {}
    hook.before_test(SimpleNamespace(model=Detector()))
    hook.after_test_epoch(SimpleNamespace(), metrics)
    assert metrics == {}
