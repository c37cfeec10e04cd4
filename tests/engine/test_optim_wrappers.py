import pytest
import torch
from torch import nn

from mmdet.engine import AmpOptimWrapper, OptimWrapper
from mmdet.errors import ConfigError, NonFiniteLossError
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.registry import OPTIM_WRAPPERS

from .toy import toy_runner


def wrapper_of(module, kind=OptimWrapper, lr=0.5, **options):
    return kind(optimizer=torch.optim.SGD(module.parameters(), lr=lr), **options)


@pytest.mark.parametrize('kind', ['OptimWrapper', 'AmpOptimWrapper'])
def test_names_build_the_own_classes(kind):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    assert type(OPTIM_WRAPPERS.build(dict(type=kind, optimizer=optimizer))).__module__ == 'mmdet.engine.optim_wrappers'


def test_non_finite_loss_does_not_move_the_optimizer():
    layer = nn.Linear(2, 1)
    wrapper = wrapper_of(layer)
    before = layer.weight.clone()
    for value in (float('nan'), float('inf')):
        with pytest.raises(NonFiniteLossError, match=r'iteration 1: the loss is not finite.*Parts: loss=(nan|-?inf)'):
            wrapper.update_params(layer.weight.sum() * value)
    assert torch.equal(layer.weight, before) and layer.weight.grad is None


@pytest.mark.parametrize('kind', ['OptimWrapper', 'AmpOptimWrapper'])
def test_training_stops_and_shows_the_parts(tmp_path, kind):
    runner = toy_runner(tmp_path, **{'model.poison_at': 4, 'optim_wrapper.type': kind})
    with pytest.raises(
        NonFiniteLossError, match=r'iteration 4: .*loss=nan, loss_cls=nan, loss_bbox=\[0\.\d+, 0\.\d+\]'
    ):
        runner.train()
    assert runner.iter == 3 and all(torch.isfinite(value).all() for value in runner.model.state_dict().values())


def test_accumulation_and_clipping_by_hand():
    """Loss w * 3 and w * 5, accumulated twice: gradient (3 + 5) / 2 = 4, clipped to norm 1, lr 0.5: w = 0 - 0.5."""
    weight = nn.Parameter(torch.zeros(1))
    wrapper = OptimWrapper(
        optimizer=torch.optim.SGD([weight], lr=0.5), accumulative_counts=2, clip_grad=dict(max_norm=1.0)
    )
    wrapper.initialize_count_status(nn.Module(), 0, 4)
    wrapper.update_params((weight * 3).sum())
    assert weight.item() == 0 and wrapper.state_dict()['accumulated_gradients'][0].item() == 1.5
    wrapper.update_params((weight * 5).sum())
    assert weight.item() == pytest.approx(-0.5) and 'accumulated_gradients' not in wrapper.state_dict()


def test_last_incomplete_accumulation_steps():
    weight = nn.Parameter(torch.zeros(1))
    wrapper = OptimWrapper(optimizer=torch.optim.SGD([weight], lr=1.0), accumulative_counts=2)
    wrapper.initialize_count_status(nn.Module(), 2, 3)
    wrapper.update_params((weight * 3).sum())
    assert weight.item() == -3


def test_amp_on_the_cpu_computes_in_bfloat16():
    layer = nn.Linear(4, 4)
    wrapper = wrapper_of(layer, AmpOptimWrapper)
    with wrapper.optim_context(layer):
        output = layer(torch.ones(1, 4))
    assert output.dtype is torch.bfloat16 and wrapper.loss_scaler.is_enabled() is False
    before = layer.weight.clone()
    wrapper.update_params(output.float().sum())
    assert layer.weight.dtype is torch.float32 and not torch.equal(layer.weight, before)
    wrapper.load_state_dict(wrapper.state_dict())


@pytest.mark.parametrize(
    ('given', 'channels', 'dtype', 'amx', 'layout'),
    [
        (None, 16, 'bfloat16', True, torch.channels_last),
        (None, 16, 'bfloat16', False, torch.contiguous_format),
        (None, 16, 'float16', True, torch.contiguous_format),
        (None, 12, 'bfloat16', True, torch.contiguous_format),
        (False, 16, 'bfloat16', True, torch.contiguous_format),
        (True, 12, 'bfloat16', False, torch.channels_last),
    ],
)
def test_amp_on_the_cpu_chooses_the_layout(monkeypatch, given, channels, dtype, amx, layout):
    monkeypatch.setattr(torch.cpu, '_is_amx_tile_supported', lambda: amx)
    model = nn.Sequential(nn.Conv2d(3, channels, 3), nn.Conv2d(channels, 2, 3))
    model.data_preprocessor = DetDataPreprocessor(channels_last=given)
    before = model[0].weight.clone()
    wrapper_of(model, AmpOptimWrapper, dtype=dtype).initialize_count_status(model, 0, 1)
    assert model.data_preprocessor.memory_format is layout
    # Who chooses the layout of the batches chooses that of the weights.
    chosen = given is None and layout is torch.channels_last
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last) is chosen
    assert torch.equal(model[0].weight, before)


def test_amp_float16_scales_and_unscales():
    weight = nn.Parameter(torch.zeros(1))
    wrapper = AmpOptimWrapper(
        optimizer=torch.optim.SGD([weight], lr=0.5), dtype='float16', loss_scale=1024.0, clip_grad=dict(max_norm=1.0)
    )
    wrapper.update_params((weight * 4).sum())
    assert weight.item() == pytest.approx(-0.5) and wrapper.loss_scaler.get_scale() == 1024
    state = wrapper.state_dict()
    assert state['loss_scaler']['scale'] == 1024
    wrapper.load_state_dict(state)
    with pytest.raises(NonFiniteLossError):
        wrapper.update_params((weight * float('inf')).sum())


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(dtype='float64'), r"dtype: must be one of \['bfloat16', 'float16'\]. Received: 'float64'"),
        (dict(loss_scale='static'), 'loss_scale'),
        (dict(loss_scale=-1.0), 'loss_scale'),
        (dict(use_fsdp=True), 'FSDP'),
    ],
)
def test_amp_arguments(options, message):
    with pytest.raises(ConfigError, match=message):
        wrapper_of(nn.Linear(1, 1), AmpOptimWrapper, **options)


def test_auto_scale_lr(tmp_path):
    runner = toy_runner(tmp_path, epochs=1, param_scheduler=[], auto_scale_lr=dict(enable=True, base_batch_size=16))
    runner.train()
    assert runner.optim_wrapper.get_lr()['lr'] == [pytest.approx(0.1 * 4 / 16)]
    with pytest.raises(ConfigError, match='base_batch_size'):
        toy_runner(tmp_path, epochs=1, auto_scale_lr=dict(enable=True)).train()


@pytest.mark.parametrize('dtype', [None, 'bfloat16'])
def test_amp_step(device, dtype):
    layer = nn.Linear(4, 4).to(device)
    wrapper = wrapper_of(layer, AmpOptimWrapper, dtype=dtype, clip_grad=dict(max_norm=1.0))
    with wrapper.optim_context(layer):
        output = layer(torch.ones(1, 4, device=device))
    assert output.dtype is (torch.float16 if device == 'cuda' and dtype is None else torch.bfloat16)
    before = layer.weight.clone()
    wrapper.update_params(output.float().mean())  # the gradient of a sum, times the first scale, is no float16
    assert not torch.equal(layer.weight, before) and layer.weight.isfinite().all()
    wrapper.load_state_dict(wrapper.state_dict())
