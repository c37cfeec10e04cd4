"""The pyramid's levels, by hand: one channel, constant maps, kernels of one number."""

import pytest
import torch

from mmdet.models.necks import FPN

CHANNELS, SIZES = [8, 16, 32, 64], [64, 32, 16, 8]


def maps(sizes=SIZES):
    return tuple(torch.rand(1, channels, size, size) for channels, size in zip(CHANNELS, sizes))


@pytest.mark.parametrize('extra', [False, True, 'on_input', 'on_lateral', 'on_output'])
@pytest.mark.parametrize('start', [0, 1])
def test_output_sizes(extra, start):
    neck = FPN(CHANNELS, 8, 5, start_level=start, add_extra_convs=extra)
    assert [tuple(out.shape[1:]) for out in neck(maps())] == [
        (8, 64 >> (i + start), 64 >> (i + start)) for i in range(5)
    ]
    assert neck.add_extra_convs == ('on_input' if extra is True else extra)


def test_names_and_bias_of_the_published_models():
    neck = FPN([256, 512, 1024, 2048], 256, 5, start_level=1, add_extra_convs='on_output')
    shapes = {name: tuple(value.shape) for name, value in neck.state_dict().items()}
    assert len(shapes) == 16
    assert shapes['lateral_convs.0.conv.weight'] == (256, 512, 1, 1)
    assert shapes['lateral_convs.2.conv.bias'] == (256,)
    assert shapes['fpn_convs.4.conv.weight'] == (256, 256, 3, 3)


def test_odd_sizes_take_the_nearest_of_the_exact_size():
    neck = FPN(CHANNELS, 8, 4)
    outs = neck(maps([25, 13, 7, 4]))
    assert [out.shape[-1] for out in outs] == [25, 13, 7, 4]


def test_merge_by_hand():
    neck = FPN([1, 1], 1, 2)
    for conv in neck.lateral_convs:
        conv.conv.weight.data.fill_(1)
    for conv in neck.fpn_convs:
        conv.conv.weight.data.zero_()
        conv.conv.weight.data[0, 0, 1, 1] = 1
    fine, coarse = torch.zeros(1, 1, 3, 3), torch.tensor([[[[1.0, 2], [3, 4]]]])
    fine_out, coarse_out = neck((fine, coarse))
    assert coarse_out[0, 0].tolist() == [[1, 2], [3, 4]]
    assert fine_out[0, 0].tolist() == [[1, 1, 2], [1, 1, 2], [3, 3, 4]]


def test_end_level_minus_one_is_the_last():
    assert FPN(CHANNELS, 8, 4, end_level=3).end_level == FPN(CHANNELS, 8, 4).end_level == 3
    assert len(FPN(CHANNELS, 8, 2, start_level=0, end_level=1)(maps())) == 2


def unit_neck(num_ins: int, num_outs: int, **options) -> FPN:
    """One channel everywhere; lateral convolutions multiply by 1, those of the outputs pass the middle pixel on."""
    neck = FPN([1] * num_ins, 1, num_outs, **options)
    for conv in neck.lateral_convs:
        conv.conv.weight.data.fill_(1)
    for conv in neck.fpn_convs:
        conv.conv.weight.data.zero_()
        conv.conv.weight.data[0, 0, 1, 1] = 1
    return neck


def constant(*values: float, side: int = 8) -> tuple[torch.Tensor, ...]:
    return tuple(torch.full((1, 1, side >> i, side >> i), float(value)) for i, value in enumerate(values))


def only_value(outs) -> list[float]:
    assert all(out.min() == out.max() for out in outs)
    return [out[0, 0, 0, 0].item() for out in outs]


def test_finer_levels_sum_up_all_coarser_ones():
    assert only_value(unit_neck(3, 3)(constant(1, 10, 100))) == [111, 110, 100]


@pytest.mark.parametrize(
    ('start', 'end', 'expected'),
    [(0, -1, [1111, 1110, 1100, 1000]), (1, -1, [1110, 1100, 1000]), (0, 2, [111, 110, 100]), (1, 1, [10])],
)
def test_used_levels(start, end, expected):
    neck = unit_neck(4, len(expected), start_level=start, end_level=end)
    assert only_value(neck(constant(1, 10, 100, 1000))) == expected


class TestExtraLevels:
    """Outputs are 3 times, extra levels 7 times what they are convolved from; the last lateral is 2 times its input."""

    @staticmethod
    def outputs(value: float, **options) -> list[float]:
        neck = unit_neck(1, 4, **options)
        neck.lateral_convs[0].conv.weight.data.fill_(2)
        neck.fpn_convs[0].conv.weight.data *= 3
        for conv in neck.fpn_convs[1:]:
            conv.conv.weight.data *= 7
        return only_value(neck(constant(value)))

    @pytest.mark.parametrize(
        ('extra', 'expected'),
        [
            (False, [6, 6, 6, 6]),
            (True, [6, 7, 49, 343]),
            ('on_input', [6, 7, 49, 343]),
            ('on_lateral', [6, 14, 98, 686]),
            ('on_output', [6, 42, 294, 2058]),
        ],
    )
    def test_source(self, extra, expected):
        assert self.outputs(1, add_extra_convs=extra) == expected

    def test_relu_comes_after_the_first_extra_level(self):
        options = dict(add_extra_convs='on_input', relu_before_extra_convs=True)
        assert self.outputs(-1, **options) == [-6, -7, 0, 0]
        assert self.outputs(1, **options) == [6, 7, 49, 343]

    def test_without_convolutions_every_second_pixel(self):
        neck = unit_neck(1, 2)
        image = torch.arange(9.0).view(1, 1, 3, 3)
        assert neck((image,))[1][0, 0].tolist() == [[0, 2], [6, 8]]

    def test_with_convolutions_stride_two(self):
        neck = unit_neck(1, 2, add_extra_convs='on_output')
        image = torch.arange(9.0).view(1, 1, 3, 3)
        assert neck((image,))[1][0, 0].tolist() == [[0, 2], [6, 8]]


def test_channels_of_the_first_extra_level():
    """On the input it has the last used stage's channels, otherwise the neck's."""
    for extra, channels in (('on_input', 64), ('on_lateral', 8), ('on_output', 8)):
        neck = FPN(CHANNELS, 8, 6, start_level=1, add_extra_convs=extra)
        assert [conv.conv.in_channels for conv in neck.fpn_convs[3:]] == [channels, 8, 8]
        assert all(conv.conv.stride == (2, 2) for conv in neck.fpn_convs[3:])


@pytest.mark.parametrize(
    ('upsample_cfg', 'expected'),
    [
        (None, [[1, 1, 2, 2]] * 2 + [[3, 3, 4, 4]] * 2),
        (dict(scale_factor=2), [[1, 1, 2, 2]] * 2 + [[3, 3, 4, 4]] * 2),
        (
            dict(mode='bilinear', align_corners=False),
            [[1, 1.25, 1.75, 2], [1.5, 1.75, 2.25, 2.5], [2.5, 2.75, 3.25, 3.5], [3, 3.25, 3.75, 4]],
        ),
    ],
)
def test_upsampling(upsample_cfg, expected):
    neck = unit_neck(2, 2, upsample_cfg=upsample_cfg)
    coarse = torch.tensor([[[[1.0, 2], [3, 4]]]])
    assert neck((torch.zeros(1, 1, 4, 4), coarse))[0][0, 0].tolist() == expected


def test_norms_and_activations():
    options = dict(norm_cfg=dict(type='BN'), act_cfg=dict(type='ReLU'))
    neck = FPN(CHANNELS, 8, 5, no_norm_on_lateral=True, add_extra_convs='on_lateral', **options)
    for conv in neck.lateral_convs:
        assert not conv.with_norm and conv.conv.bias is not None and conv.with_activation
    for conv in neck.fpn_convs:
        assert conv.with_norm and conv.conv.bias is None and conv.with_activation
    neck = FPN(CHANNELS, 8, 4, **options)
    assert all(conv.with_norm for conv in (*neck.lateral_convs, *neck.fpn_convs))
    neck = FPN(CHANNELS, 8, 4)
    assert not any(conv.with_norm or conv.with_activation for conv in (*neck.lateral_convs, *neck.fpn_convs))


def test_inputs_are_not_changed_and_default_weights_are_xavier():
    neck, inputs = FPN(CHANNELS, 8, 4), maps()
    before = [x.clone() for x in inputs]
    neck(inputs)
    assert all(torch.equal(a, b) for a, b in zip(inputs, before))
    neck.init_weights()
    weight = neck.fpn_convs[0].conv.weight
    bound = (6 / (2 * 9 * 8)) ** 0.5  # uniform in +- sqrt(6 / (fan in + fan out))
    assert 0.97 * bound < weight.abs().max() <= bound and (neck.fpn_convs[0].conv.bias == 0).all()


@pytest.mark.parametrize(
    'arguments',
    [
        dict(num_outs=3, start_level=1, end_level=2),
        dict(num_outs=2, start_level=1),
        dict(num_outs=4, end_level=4),
        dict(num_outs=1, start_level=1, end_level=2),
        dict(num_outs=5, add_extra_convs='on_xxx'),
    ],
)
def test_refuses(arguments):
    with pytest.raises(AssertionError):
        FPN(CHANNELS, 8, **arguments)
    with pytest.raises(AssertionError, match='feature maps'):
        FPN(CHANNELS, 8, 4)(maps()[:2])
