"""Convolutions from configs, averaged weights, and the mean of a distribution: small tables."""

import math

import pytest
import torch
from torch import nn

from mmdet.errors import ConfigError
from mmdet.models.layers import ExpMomentumEMA, Integral
from mmdet.models.layers.conv import build_conv, has_deform_conv
from mmdet.ops import DeformConv2dPack


class TestBuildConv:
    @pytest.mark.parametrize('cfg', [None, {}, dict(type='Conv2d'), dict(type='Conv'), dict(type=nn.Conv2d)])
    def test_plain(self, cfg):
        conv = build_conv(cfg, 4, 6, 3, stride=2, padding=1, bias=False)
        assert type(conv) is nn.Conv2d and conv.weight.shape == (6, 4, 3, 3)
        assert (conv.stride, conv.padding, conv.bias) == ((2, 2), (1, 1), None)

    def test_options_of_the_config_reach_the_layer_and_the_config_stays(self):
        cfg = dict(type='DCN', deform_groups=2)
        conv = build_conv(cfg, 4, 6, 3, padding=1)
        assert type(conv) is DeformConv2dPack and conv.deform_groups == 2
        assert cfg == dict(type='DCN', deform_groups=2)

    def test_unknown(self):
        with pytest.raises(ConfigError, match='conv_cfg.type.*NoSuchConv'):
            build_conv(dict(type='NoSuchConv'), 4, 6, 3)


@pytest.mark.parametrize(
    ('dcn', 'expected'),
    [
        (None, (None, False)),
        (dict(type='DCN'), (dict(type='DCN'), True)),
        (dict(type='DCN', fallback_on_stride=False), (dict(type='DCN'), True)),
        (dict(type='DCN', fallback_on_stride=True), (dict(type='DCN'), False)),
    ],
)
def test_deformable_config(dcn, expected):
    before = dcn and dict(dcn)
    assert has_deform_conv(dcn) == expected and dcn == before


class TestExpMomentumEMA:
    def test_values(self):
        """Momentum at step s is (1 - m) exp(-(1 + s) / gamma) + m."""
        model = nn.Linear(1, 1, bias=False)
        model.weight.data.fill_(1)
        average = ExpMomentumEMA(model, momentum=0.1, gamma=4)
        weight = average.module.weight
        assert weight.item() == 1
        expected = 3.0  # the first update copies
        for step, value in enumerate([3.0, 5.0, -2.0]):
            model.weight.data.fill_(value)
            average.update_parameters(model)
            if step > 0:
                momentum = 0.9 * math.exp(-(1 + step) / 4) + 0.1
                expected += momentum * (value - expected)
            assert weight.item() == pytest.approx(expected, rel=1e-6)

    @pytest.mark.parametrize('options', [{}, dict(update_buffers=True), dict(update_buffers=True, interval=2)])
    def test_one_call_for_all_tensors_gives_the_bits_of_one_for_each(self, options):
        class OneByOne(ExpMomentumEMA):
            def avg_func(self, averaged_param, source_param, steps):
                super().avg_func(averaged_param, source_param, steps)

        model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5))
        averages = [kind(model, momentum=0.1, gamma=4, **options) for kind in (ExpMomentumEMA, OneByOne)]
        for _ in range(4):
            for value in (*model.parameters(), *model.buffers()):
                value.data += torch.rand(value.shape) if value.is_floating_point() else 1
            for average in averages:
                average.update_parameters(model)
            for (name, value), other in zip(averages[0].state_dict().items(), averages[1].state_dict().values()):
                assert torch.equal(value, other), name
        assert not torch.equal(averages[0].module[1].running_mean, model[1].running_mean) or not options

    def test_defaults(self):
        average = ExpMomentumEMA(nn.Linear(1, 1))
        assert (average.momentum, average.gamma) == (0.0002, 2000)

    @pytest.mark.parametrize('gamma', [0, -1])
    def test_refuses(self, gamma):
        with pytest.raises(ConfigError, match='gamma'):
            ExpMomentumEMA(nn.Linear(1, 1), gamma=gamma)


class TestIntegral:
    def test_sides_in_order(self):
        """One bin of each side holds nearly all the mass: the distance is its number."""
        logits = torch.full((4, 3), -1000.0)
        logits[torch.arange(4), torch.tensor([2, 0, 1, 2])] = 0
        assert Integral(reg_max=2)(logits.flatten()[None]).tolist() == [[2, 0, 1, 2]]

    def test_mean_of_a_distribution(self):
        logits = torch.tensor([1.0, 2.0, 5.0]).log().repeat(2, 3, 4)  # mean (0 * 1 + 1 * 2 + 2 * 5) / 8
        torch.testing.assert_close(Integral(reg_max=2)(logits), torch.full((2, 3, 4), 1.5))

    def test_no_locations_and_half_precision(self):
        assert Integral()(torch.zeros(0, 68)).shape == (0, 4)
        distances = Integral()(torch.zeros(1, 68, dtype=torch.bfloat16))
        assert distances.dtype == torch.bfloat16 and distances.tolist() == [[8, 8, 8, 8]]

    def test_bins_are_in_the_checkpoint(self):
        assert Integral(3).state_dict()['project'].tolist() == [0, 1, 2, 3]


def test_a_tensor_with_two_names_is_averaged_once():
    model = nn.ModuleDict(dict(first=nn.Linear(1, 1, bias=False), norm=nn.BatchNorm1d(1)))
    model['second'] = model['first']
    average = ExpMomentumEMA(model, momentum=0.1, gamma=4, update_buffers=True)
    assert sorted(average.avg_parameters) == ['first.weight', *(f'norm.{name}' for name in (
        'bias', 'num_batches_tracked', 'running_mean', 'running_var', 'weight'))]  # fmt: skip
    nn.init.zeros_(model['first'].weight)
    average.update_parameters(model)  # a copy
    nn.init.ones_(model['first'].weight)
    average.update_parameters(model)
    torch.testing.assert_close(average.module['second'].weight.item(), 0.9 * math.exp(-2 / 4) + 0.1)
