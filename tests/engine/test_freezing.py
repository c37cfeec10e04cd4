"""Freezing by config: custom_keys with requires_grad, FreezeHook, and options that have no effect."""

import copy

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from mmdet.engine.freezing import freeze_norm, near_parts, release_norm
from mmdet.errors import ConfigError
from mmdet.ops.deform_conv import DeformConv2dPack

from .test_runner_resume import load
from .toy import toy_runner

KEYS = 'optim_wrapper.paramwise_cfg'


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 3), nn.BatchNorm1d(3, affine=False)
        )
        self.neck = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return self.neck(self.backbone(x)) * self.scale


def wrap(model, **paramwise):
    return build_optim_wrapper(
        model, dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, weight_decay=0.1), paramwise_cfg=paramwise)
    )


@pytest.mark.parametrize(
    ('keys', 'frozen', 'still'),
    [
        (dict(neck=dict(requires_grad=False)), ['neck.0.weight', 'neck.0.bias', 'neck.1.weight', 'neck.1.bias'], ['neck.1']),
        ({'neck.0': dict(requires_grad=False)}, ['neck.0.weight', 'neck.0.bias'], []),
        ({'neck.1.bias': dict(requires_grad=False)}, ['neck.1.bias'], []),
        (
            {'backbone': dict(requires_grad=False), 'backbone.2': dict(requires_grad=True)},
            ['backbone.0.weight', 'backbone.0.bias', 'backbone.1.weight', 'backbone.1.bias'],
            ['backbone.1', 'backbone.3'],
        ),
        ({'backbone': dict(requires_grad=False), 'backbone.0': dict(lr_mult=0.5)},
         ['backbone.1.weight', 'backbone.1.bias', 'backbone.2.weight', 'backbone.2.bias'], ['backbone.1', 'backbone.3']),
        ({'scale': dict(requires_grad=False)}, ['scale'], []),
    ],
)  # fmt: skip
def test_keys_freeze_weights_and_statistics(keys, frozen, still):
    model = Net()
    wrapper = wrap(model, custom_keys=keys)
    assert [name for name, parameter in model.named_parameters() if not parameter.requires_grad] == frozen
    assert all('requires_grad' not in group for group in wrapper.optimizer.param_groups)
    copies = copy.deepcopy(model)  # as of an EMA hook
    for each in (model, copies):
        before = copy.deepcopy(each.state_dict())
        each.train()
        assert [name for name, part in each.named_modules() if not part.training] == still
        for _ in range(2):
            loss = each(torch.randn(5, 2)).square().mean() + each.scale.sum()
            if each is model:
                wrapper.update_params(loss)
        statistics = [f'{name}.running_mean' for name in still]
        assert all(torch.equal(each.state_dict()[name], before[name]) for name in frozen + statistics)
        moved = [name for name in before if name.endswith('running_mean') and name not in statistics]
        assert all(not torch.equal(each.state_dict()[name], before[name]) for name in moved)


@pytest.mark.parametrize(
    ('paramwise', 'message'),
    [
        (dict(custom_keys=dict(nek=dict(lr_mult=0.1))), r'custom_keys\.nek: no parameter .* near names: neck'),
        (dict(custom_keys={'backbone.layer1': dict(decay_mult=0)}), 'no parameter of the model has this in its name'),
        (dict(custom_keys={'neck': dict(lr_mult=1, requires_grad=False)}), 'has no effect on parameters that are frozen'),
        (dict(custom_keys={'neck': dict(requires_grad='no')}), 'must be True or False'),
        (dict(custom_keys={'neck': dict(lr_mul=1)}), r'custom_keys\.neck: SGD has no option of this name; near names: lr_mult'),
        (dict(custom_keys={'neck': {}}), 'must be a dict of lr_mult'),
        (dict(custom_keys=['neck']), r'custom_keys: must be a dict, part of a name'),
        (dict(custom_keys={'neck': dict(lr_mult=-0.1)}), r'neck\.lr_mult: must be a number >= 0'),
        (dict(bias_lr_mult='2'), r'bias_lr_mult: must be a number >= 0'),
        (dict(custom_keys={'neck': dict(lr_mult=1), 'neck.0': dict(lr_mult=2), 'neck.1': dict(lr_mult=2)}), r'longer keys \(neck\.0, neck\.1\)'),
        (dict(custom_keys=dict(backbone=dict(requires_grad=False), neck=dict(requires_grad=False), scale=dict(requires_grad=False))), 'nothing of the model'),
        (dict(norm_decay_mul=0), r'no option of this name; near names: norm_decay_mult'),
        (dict(dcn_offset_lr_mult=0.1), 'has no deformable convolution'),
        (dict(dwconv_decay_mult=0), 'has no depthwise convolution'),
    ],
)  # fmt: skip
def test_what_has_no_effect_is_refused(paramwise, message):
    with pytest.raises(ConfigError, match=message):
        wrap(Net(), **paramwise)


def test_a_key_of_what_is_frozen_already():
    model = Net()
    model.neck.requires_grad_(False)
    with pytest.raises(ConfigError, match='its 4 parameters are frozen already'):
        wrap(model, custom_keys=dict(neck=dict(lr_mult=0.1)))
    wrap(model, custom_keys=dict(neck=dict(requires_grad=False)))


def test_rate_of_the_offsets_of_deformable_convolutions():
    model = nn.Sequential(DeformConv2dPack(2, 2, 3), nn.Conv2d(2, 2, 1))
    groups = wrap(model, dcn_offset_lr_mult=0.1).optimizer.param_groups
    rates = {id(parameter): group['lr'] for group in groups for parameter in group['params']}
    slow = [name for name, parameter in model.named_parameters() if rates[id(parameter)] == pytest.approx(0.01)]
    assert slow == ['0.conv_offset.weight', '0.conv_offset.bias']


@pytest.mark.parametrize(
    'norm', [nn.LayerNorm(2), nn.BatchNorm1d(2), nn.RMSNorm(2), type('TheirRMSNorm', (nn.RMSNorm,), {})(2)]
)
@pytest.mark.parametrize('keys, decay', [({}, 0.0), ({'0.weight': dict(lr_mult=2)}, 0.5)])
def test_decay_of_norms(norm, keys, decay):
    """As asked for norms of every kind, unless a key decides; that of the layer beside it stays."""
    model = nn.Sequential(copy.deepcopy(norm), nn.Linear(2, 2))
    cfg = dict(
        optimizer=dict(type='AdamW', lr=0.1, weight_decay=0.5), paramwise_cfg=dict(norm_decay_mult=0, custom_keys=keys)
    )
    groups = build_optim_wrapper(model, cfg).optimizer.param_groups
    decays = {id(parameter): group['weight_decay'] for group in groups for parameter in group['params']}
    assert decays[id(model[0].weight)] == decay and decays[id(model[1].weight)] == 0.5


@pytest.mark.parametrize('kind', [nn.BatchNorm2d, nn.SyncBatchNorm])
def test_a_norm_that_is_released(kind):
    norm = kind(2)
    freeze_norm(norm)
    freeze_norm(norm)
    assert not norm.train().training and isinstance(norm, kind) and repr(norm).startswith('Frozen')
    release_norm(norm, training=True)
    assert type(norm) is kind and norm.training


@pytest.mark.parametrize(
    ('key', 'hint'),
    [
        ('bakbone', 'near names: backbone'),
        ('bbox_head.gfl_clss', 'near names: bbox_head.gfl_cls'),
        ('qqq', 'the parts of the model are backbone, bbox_head'),
    ],
)
def test_hints(key, hint):
    assert hint in near_parts(key, ['backbone.layer1.weight', 'bbox_head.gfl_cls.weight', 'bbox_head.gfl_cls.bias'])


def test_the_hint_names_the_parts_of_a_model_of_the_library_transformers():
    names = ['model.vit.layer.0.weight', 'model.model.decoder.layers.0.weight', 'model.bbox_embed.0.weight']
    hint = 'the parts of the model are model.vit, model.model.decoder, model.bbox_embed'
    assert near_parts('qqq', iter(names)) == hint


def states(folder, last):
    return [load(folder / f'epoch_{number}.pth')['state_dict'] for number in range(1, last + 1)]


def moved(one, other, prefix):
    return {
        name
        for name in one
        if name.startswith(prefix) and not torch.equal(one[name], other[name]) and 'num_batches' not in name
    }


PARTS = {f'backbone.{name}' for name in ('0.weight', '0.bias', '1.weight', '1.bias', '1.running_mean', '1.running_var')}


@pytest.mark.parametrize(
    ('hook', 'changes'),
    [
        (dict(modules=['backbone']), [set(), set(), set()]),
        (dict(modules='backbone', end=2), [set(), PARTS, PARTS]),
        (dict(modules=['backbone'], begin=2), [PARTS, set(), set()]),
        (dict(modules=['backbone.1'], begin=2, end=3), [PARTS, {'backbone.0.weight', 'backbone.0.bias'}, PARTS]),
        (dict(modules=['backbone'], norms=False), [{name for name in PARTS if 'running' in name}] * 3),
        (dict(modules=['backbone'], begin=10, end=15, by_epoch=False), [PARTS, set(), PARTS]),
    ],
)  # fmt: skip
def test_hook(tmp_path, hook, changes):
    toy_runner(tmp_path, epochs=4, ema=False, custom_hooks=[dict(type='FreezeHook', **hook)]).train()
    found = states(tmp_path, 4)
    assert [moved(one, other, 'backbone') for one, other in zip(found, found[1:])] == changes


@pytest.mark.parametrize(
    ('hook', 'message'),
    [
        (dict(modules=[]), 'must be the names'),
        (dict(modules=3), 'must be the names'),
        (dict(modules='backbone', norms=None), 'norms: must be True or False'),
        (dict(modules=['backbon']), 'no part of this name; near names: backbone'),
        (dict(modules=['back']), 'no part of this name'),
        (dict(modules=['backbone'], begin=3, end=3), 'above begin, 3'),
        (dict(modules=['backbone'], begin=2), 'has no effect: the training has 2 epochs'),
        (dict(modules=['backbone', 'bbox_head']), 'nothing of the model is left'),
    ],
)
def test_hooks_that_are_refused(tmp_path, hook, message):
    with pytest.raises(ConfigError, match=message):
        toy_runner(tmp_path, epochs=2, ema=False, custom_hooks=[dict(type='FreezeHook', **hook)]).train()


def test_epochs_of_a_training_by_iterations_are_refused(tmp_path):
    options = dict(
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=2, val_interval=2, _delete_=True),
        custom_hooks=[dict(type='FreezeHook', modules=['backbone'], end=5)],
    )
    with pytest.raises(ConfigError, match='has one epoch.*by_epoch=False'):
        toy_runner(tmp_path, ema=False, **options).train()


@pytest.mark.parametrize(
    'options',
    [
        dict(custom_hooks=[dict(type='FreezeHook', modules=['backbone'], begin=1, end=4)]),
        {f'{KEYS}.custom_keys': dict(backbone=dict(requires_grad=False))},
    ],
)
def test_resumed_and_averaged(tmp_path, options):
    options = {**options, 'custom_hooks': [*options.get('custom_hooks', []), dict(type='EMAHook', momentum=0.2)]}
    toy_runner(tmp_path / 'whole', epochs=5, **options).train()
    toy_runner(tmp_path / 'cut', epochs=3, **options).train()
    toy_runner(tmp_path / 'cut', epochs=5, resume='auto', **options).train()
    one, other = (load(tmp_path / name / 'epoch_5.pth') for name in ('whole', 'cut'))
    for key in ('state_dict', 'ema_state_dict'):
        assert all(torch.equal(value, other[key][name]) for name, value in one[key].items())


class Tied(nn.Module):
    """A head and its copy in a decoder, one parameter under two names; as in the detectors of transformers."""

    def __init__(self):
        super().__init__()
        self.backbone, self.head, self.decoder = nn.Linear(2, 3), nn.Linear(3, 1), nn.Module()
        self.decoder.head = self.head


@pytest.mark.parametrize(
    ('paramwise', 'expected'),
    [
        (dict(bias_decay_mult=0), [(0.1, 0.1), (0.1, 0.0), (0.1, 0.1), (0.1, 0.0)]),
        (dict(bias_decay_mult=0, bypass_duplicate=True), [(0.1, 0.1), (0.1, 0.0), (0.1, 0.1), (0.1, 0.0)]),
        # The longest key of all its names decides, whichever of them comes first.
        (dict(custom_keys=dict(backbone=dict(lr_mult=0.5))), [(0.05, 0.1), (0.05, 0.1), (0.1, 0.1), (0.1, 0.1)]),
        (dict(custom_keys=dict(decoder=dict(lr_mult=2))), [(0.1, 0.1), (0.1, 0.1), (0.2, 0.1), (0.2, 0.1)]),
        (dict(custom_keys={'head': dict(lr_mult=3), 'decoder.head.bias': dict(decay_mult=0)}), [(0.1, 0.1), (0.1, 0.1), (0.3, 0.1), (0.1, 0.0)]),
        (dict(custom_keys=dict(decoder=dict(requires_grad=False))), [(0.1, 0.1), (0.1, 0.1)]),
    ],
)  # fmt: skip
@pytest.mark.parametrize('constructor', ['DefaultOptimWrapperConstructor', 'GroupedOptimWrapperConstructor'])
def test_a_shared_parameter_is_trained_once(constructor, paramwise, expected):
    model = Tied()
    optimizer = dict(type='SGD', lr=0.1, weight_decay=0.1)
    cfg = dict(type='OptimWrapper', optimizer=optimizer, paramwise_cfg=paramwise, constructor=constructor)
    groups = build_optim_wrapper(model, cfg).optimizer.param_groups
    found = {parameter: (group['lr'], group['weight_decay']) for group in groups for parameter in group['params']}
    assert sum(len(group['params']) for group in groups) == len(expected)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert [found[parameter] for parameter in trained] == [pytest.approx(one) for one in expected]


def test_a_key_that_loses_under_every_name():
    keys = {'head': dict(lr_mult=3), 'decoder.head': dict(lr_mult=2)}
    with pytest.raises(
        ConfigError, match=r'custom_keys\.head: has no effect: all its parameters follow longer keys \(decoder\.head\)'
    ):
        wrap(Tied(), custom_keys=keys)
