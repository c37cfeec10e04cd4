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


def test_other_options():
    assert FPN(CHANNELS, 8, 4, upsample_cfg=dict(mode='bilinear', align_corners=True))(maps())[0].shape[-1] == 64
    assert FPN(CHANNELS, 8, 4, upsample_cfg=dict(scale_factor=2))(maps())[0].shape[-1] == 64
    neck = FPN(
        CHANNELS,
        8,
        5,
        norm_cfg=dict(type='BN'),
        no_norm_on_lateral=True,
        add_extra_convs='on_lateral',
        relu_before_extra_convs=True,
    )
    assert neck.lateral_convs[0].norm_cfg is None
    assert neck.fpn_convs[0].norm_cfg == dict(type='BN')
    assert len(neck(maps())) == 5


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
