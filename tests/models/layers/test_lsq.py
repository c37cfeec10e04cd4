"""Learned step size quantisation: values, gradients by hand, first steps."""

import copy
import math

import pytest
import torch

from mmdet.errors import ConfigError
from mmdet.models.layers.lsq import LSQConv2d, LSQLinear, LSQQuantizer


def quantizer(bits, steps, **kwargs):
    layer = LSQQuantizer(bits, len(steps), **kwargs)
    layer.load_state_dict(dict(step=torch.tensor(steps)))
    return layer


@pytest.mark.parametrize('bits', [1, 17, 4.0, True, None])
def test_bits_out_of_range(bits):
    with pytest.raises(ConfigError, match='2..16'):
        LSQQuantizer(bits)


def test_values():
    x = torch.tensor([[-9.0, -1.1, -0.2, 0.3, 0.74, 9.0]])
    # 3 bits: levels -4 .. 3, steps of 0.5
    assert quantizer(3, [0.5])(x).tolist() == [[-2.0, -1.0, 0.0, 0.5, 0.5, 1.5]]
    assert quantizer(3, [0.5], symmetric=True)(x).tolist() == [[-2.0, -1.0, 0.0, 0.5, 0.5, 2.0]]


def test_one_step_a_channel():
    x = torch.tensor([[0.9, -0.6], [0.9, -0.6]])
    assert quantizer(4, [1.0, 0.25])(x).tolist() == [[1.0, -1.0], [1.0, -0.5]]


def test_gradients_by_hand():
    layer = quantizer(3, [0.5])
    x = torch.tensor([[-9.0, 0.3, 0.7, 9.0]], requires_grad=True)
    layer(x).sum().backward()
    assert x.grad.tolist() == [[0.0, 1.0, 1.0, 0.0]]
    # Outside the range the bound itself, inside round(x / s) - x / s; scaled by 1 / sqrt(4 elements * 3).
    expected = (-4 + (1 - 0.6) + (1 - 1.4) + 3) / math.sqrt(12)
    assert layer.step.grad.item() == pytest.approx(expected, rel=1e-5)


def test_first_training_batch_sets_the_step_and_eval_does_not():
    layer = LSQQuantizer(3)
    x = torch.tensor([[1.0, -3.0]])
    layer.eval()
    dynamic = layer(x)
    assert layer.step.item() == 0
    layer.train()
    assert torch.equal(layer(x), dynamic)
    assert layer.step.item() == pytest.approx(2 * 2 / math.sqrt(3))
    layer(10 * x)
    assert layer.step.item() == pytest.approx(2 * 2 / math.sqrt(3))


def test_a_copy_made_before_the_first_batch_follows_its_weights():
    layer = LSQQuantizer(4)
    average = copy.deepcopy(layer).eval()
    layer(torch.randn(4, 8))
    average.step.data.copy_(layer.step.data)
    x = torch.randn(4, 8)
    assert torch.equal(average(x), layer(x))


def test_layers_at_many_bits_are_close_to_plain_ones():
    torch.manual_seed(0)
    x = torch.randn(2, 6, 5, 5)
    conv = LSQConv2d(6, 4, 3, padding=1, groups=2, bias=False, bits_act=16, bits_weight=16)
    assert conv.weight_quantizer.step.shape == (4,) and conv.act_quantizer.step.shape == (1,)
    plain = torch.nn.Conv2d(6, 4, 3, padding=1, groups=2, bias=False)
    plain.weight.data.copy_(conv.weight)
    torch.testing.assert_close(conv(x), plain(x), atol=2e-2, rtol=0)
    linear = LSQLinear(6, 3, bits_act=16, bits_weight=16)
    expected = torch.nn.functional.linear(x[..., 0, 0], linear.weight, linear.bias)
    torch.testing.assert_close(linear(x[..., 0, 0]), expected, atol=2e-2, rtol=0)


def test_all_zero_input_stays_finite():
    layer = LSQQuantizer(4)
    x = torch.zeros(2, 3, requires_grad=True)
    layer(x).sum().backward()
    assert torch.isfinite(layer.step.grad).all() and torch.isfinite(x.grad).all()


def test_step_of_a_channel_starts_at_the_mean_of_that_channel():
    layer = LSQQuantizer(3, channels=2)
    layer(torch.tensor([[1.0, -3.0], [0.0, 0.0]]))
    # 2 mean / sqrt(3); a channel of zeros has the smallest step
    assert layer.step.tolist() == pytest.approx([4 / math.sqrt(3), 1e-8])


@pytest.mark.parametrize('batch', [1, 3])
def test_scale_of_the_step_s_gradient_does_not_depend_on_the_batch_size(batch):
    layer = quantizer(3, [0.5])
    layer(torch.tensor([[0.3, 9.0]]).repeat(batch, 1)).sum().backward()
    # (1 - 0.6) + 3 for each image, scaled by 1 / sqrt(2 elements * 3)
    assert layer.step.grad.item() == pytest.approx(batch * 3.4 / math.sqrt(6), rel=1e-5)


def test_a_negative_step_acts_as_its_magnitude():
    x = torch.tensor([[0.3, -0.8]])
    assert torch.equal(quantizer(3, [-0.5])(x), quantizer(3, [0.5])(x))


def test_loaded_zero_steps_are_set_again():
    layer = LSQQuantizer(3)
    layer(torch.ones(1, 2))
    layer.load_state_dict(dict(step=torch.zeros(1)))
    layer(torch.full((1, 2), 3.0))
    assert layer.step.item() == pytest.approx(6 / math.sqrt(3))


def test_layers_quantise_input_and_weight_with_their_own_bits():
    conv = LSQConv2d(1, 1, 1, bias=False, bits_act=2, bits_weight=3)
    conv.weight.data.fill_(0.9)
    conv.act_quantizer.load_state_dict(dict(step=torch.tensor([1.0])))
    conv.weight_quantizer.load_state_dict(dict(step=torch.tensor([0.5])))
    # inputs to -2, 1 (2 bits: -2 .. 1), the weight to 1.0
    assert conv(torch.tensor([[[[-5.0, 5.0]]]])).flatten().tolist() == [-2, 1]
    linear = LSQLinear(1, 1)
    assert linear.act_quantizer.bits == linear.weight_quantizer.bits == 8
    linear.weight.data.fill_(0.9)
    linear.bias.data.fill_(0.25)
    for part in (linear.act_quantizer, linear.weight_quantizer):
        part.load_state_dict(dict(step=torch.tensor([0.5])))
    assert linear(torch.tensor([[1.2]])).item() == 1.25


def test_first_step_of_half_precision_is_the_mean_in_float32():
    layer = LSQQuantizer(3)
    layer(torch.tensor([[1.0, 1.0078125]], dtype=torch.bfloat16))  # neighbours: their mean is no bfloat16
    assert layer.step.item() == pytest.approx(2 * 1.00390625 / math.sqrt(3), rel=1e-6)
    assert layer(torch.ones(1, 2, dtype=torch.bfloat16)).dtype == torch.bfloat16
