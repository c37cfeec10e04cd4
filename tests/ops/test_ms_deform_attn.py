"""Multi-scale deformable attention against a literal loop, hand-made cases and numerical gradients."""

import math

import pytest
import torch

from mmdet.errors import ConfigError, ModelInputError
from mmdet.ops.ms_deform_attn import MSDeformAttn, ms_deform_attn
from tests.devices import tolerance

SHAPES = [(4, 6), (2, 3), (1, 2)]


def loop_attention(value, shapes, locations, weights):
    """Equation 3 of the paper, one sample and one grid cell at a time."""
    B, _, M, D = value.shape
    Q, L, K = locations.shape[1], locations.shape[3], locations.shape[4]
    output = torch.zeros(B, Q, M, D, dtype=value.dtype)
    for b in range(B):
        for q in range(Q):
            for m in range(M):
                start = 0
                for level in range(L):
                    H, W = shapes[level]
                    for k in range(K):
                        x = float(locations[b, q, m, level, k, 0]) * W - 0.5
                        y = float(locations[b, q, m, level, k, 1]) * H - 0.5
                        for row in range(H):
                            for column in range(W):
                                share = max(0.0, 1 - abs(x - column)) * max(0.0, 1 - abs(y - row))
                                cell = value[b, start + row * W + column, m]
                                output[b, q, m] += weights[b, q, m, level, k] * share * cell
                    start += H * W
    return output.flatten(2)


def random_case(*, B=2, Q=5, M=2, D=3, K=4, shapes=SHAPES, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    L, S = len(shapes), sum(h * w for h, w in shapes)
    value = torch.randn(B, S, M, D, generator=generator, dtype=dtype)
    locations = torch.rand(B, Q, M, L, K, 2, generator=generator, dtype=dtype) * 1.6 - 0.3  # a third of them outside
    weights = torch.rand(B, Q, M, L, K, generator=generator, dtype=dtype)
    return value, locations, weights


def test_no_queries():
    value, locations, weights = random_case(Q=0)
    assert ms_deform_attn(value, SHAPES, locations, weights).shape == (2, 0, 6)


@pytest.mark.parametrize('shapes', [SHAPES, [(3, 3)], [(1, 1), (5, 2)]])
def test_equals_the_loop(shapes):
    value, locations, weights = random_case(shapes=shapes)
    expected = loop_attention(value, shapes, locations, weights)
    torch.testing.assert_close(ms_deform_attn(value, shapes, locations, weights), expected, rtol=1e-5, atol=1e-5)


def test_equals_the_loop_to_rounding_in_float64():
    value, locations, weights = random_case(dtype=torch.float64)
    expected = loop_attention(value, SHAPES, locations, weights)
    torch.testing.assert_close(ms_deform_attn(value, SHAPES, locations, weights), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ('x', 'y', 'expected'),
    [
        (0.25, 0.25, 1.0),  # centre of the first cell of a 2 x 2 level
        (0.75, 0.25, 2.0),
        (0.25, 0.75, 3.0),
        (0.5, 0.5, 2.5),  # the mean of all four
        (0.0, 0.25, 0.5),  # half a cell outside: zeros are mixed in
        (1.25, 0.75, 0.0),  # a whole cell outside
        (-100.0, 1e30, 0.0),
    ],
)
def test_hand_made_samples(x, y, expected):
    value = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 4, 1, 1)
    location = torch.tensor([x, y]).view(1, 1, 1, 1, 1, 2)
    assert ms_deform_attn(value, [(2, 2)], location, torch.ones(1, 1, 1, 1, 1)).item() == pytest.approx(expected)


def test_nan_location_shows_in_the_output():
    location = torch.full((1, 1, 1, 1, 1, 2), float('nan'))
    assert ms_deform_attn(torch.ones(1, 4, 1, 1), [(2, 2)], location, torch.ones(1, 1, 1, 1, 1)).isnan().all()


def test_gradients():
    value, locations, weights = random_case(B=1, Q=2, D=2, K=2, dtype=torch.float64)
    inputs = [tensor.requires_grad_() for tensor in (value, locations, weights)]
    assert torch.autograd.gradcheck(lambda v, x, a: ms_deform_attn(v, SHAPES, x, a), inputs)


def test_wrong_sizes_are_refused():
    value, locations, weights = random_case()
    with pytest.raises(ModelInputError, match='24 cells'):
        ms_deform_attn(value, [(4, 4), (2, 3), (1, 2)], locations, weights)
    with pytest.raises(ModelInputError, match='3 levels'):
        ms_deform_attn(value, [(32, 1)], locations, weights)
    with pytest.raises(ConfigError, match='num_heads = 6'):
        MSDeformAttn(embed_dims=32, num_heads=6)
    with pytest.raises(ModelInputError, match='reference_points'):
        MSDeformAttn(embed_dims=8, num_heads=2)(
            torch.zeros(1, 3, 8), torch.zeros(1, 2, 1, 2), torch.zeros(1, 4, 8), [(2, 2)]
        )


def test_initial_directions():
    attention = MSDeformAttn(embed_dims=12, num_heads=6, num_levels=2, num_points=3)
    offsets = attention.sampling_offsets.bias.view(6, 2, 3, 2)
    tangent = math.tan(math.pi / 6)  # .577
    first = torch.tensor([[1, 0], [tangent, 1], [-tangent, 1], [-1, 0], [-tangent, -1], [tangent, -1]])
    torch.testing.assert_close(offsets[:, 0, 0], first, atol=1e-6, rtol=0)
    torch.testing.assert_close(offsets[:, 1, 2], first * 3, atol=1e-6, rtol=0)
    assert not attention.sampling_offsets.weight.any() and not attention.attention_weights.weight.any()


@pytest.mark.parametrize('reference_shape', [(1, 5, 1, 2), (2, 5, 3, 2)])
def test_module_follows_the_formula(reference_shape):
    torch.manual_seed(0)
    attention = MSDeformAttn(embed_dims=8, num_heads=2, num_levels=3, num_points=2, value_ratio=0.5)
    torch.nn.init.normal_(attention.sampling_offsets.weight)
    torch.nn.init.normal_(attention.attention_weights.weight)
    query, value, reference = torch.randn(2, 5, 8), torch.randn(2, 32, 8), torch.rand(reference_shape)
    sizes_wh = torch.tensor([(w, h) for h, w in SHAPES]).view(1, 1, 1, 3, 1, 2)
    offsets = attention.sampling_offsets(query).view(2, 5, 2, 3, 2, 2)
    locations = (reference[:, :, None, :, None] + offsets / sizes_wh).detach()
    weights = attention.attention_weights(query).view(2, 5, 2, 6).softmax(-1).view(2, 5, 2, 3, 2)
    sampled = loop_attention(attention.value_proj(value).view(2, 32, 2, 2), SHAPES, locations, weights)
    torch.testing.assert_close(
        attention(query, reference, value, SHAPES), attention.output_proj(sampled), rtol=1e-5, atol=1e-5
    )


def test_autocast_samples_in_float32():
    """Only value and output projections are rounded: where those are exact, nothing but the result is."""
    torch.manual_seed(0)
    attention = MSDeformAttn(embed_dims=4, num_heads=1, num_points=2)
    with torch.no_grad():
        attention.value_proj.weight.copy_(torch.eye(4))
        attention.output_proj.weight.copy_(torch.eye(4))
    attention.sampling_offsets.bias.data.mul_(0.123)
    query, value = torch.randn(1, 3, 4), torch.randint(-8, 8, (1, 3 * 257, 4)).float()
    reference = torch.rand(1, 3, 1, 2)
    expected = attention(query, reference, value, [(3, 257)])
    with torch.autocast('cpu', torch.bfloat16):
        received = attention(query, reference, value, [(3, 257)])
    assert received.dtype == torch.bfloat16
    torch.testing.assert_close(received.float(), expected, rtol=2**-8, atol=1e-6)  # rounding of the result itself


def test_cached_sizes_serve_training_after_inference():
    value, locations, weights = random_case(shapes=[(7, 5)])
    with torch.inference_mode():
        ms_deform_attn(value, [(7, 5)], locations, weights)
    ms_deform_attn(value, [(7, 5)], locations.requires_grad_(), weights).sum().backward()
    assert locations.grad.isfinite().all()


def test_gradients_are_those_of_the_cpu(device):
    value, locations, weights = random_case()
    results = []
    for place in ('cpu', device):
        inputs = [tensor.detach().to(place).requires_grad_() for tensor in (value, locations, weights)]
        output = ms_deform_attn(inputs[0], SHAPES, *inputs[1:])
        results.append([output, *torch.autograd.grad(output.square().sum(), inputs)])
    for expected, received in zip(*results, strict=True):
        assert received.device.type == device
        torch.testing.assert_close(received.cpu(), expected, **tolerance(device, rtol=1e-5, atol=1e-5))
