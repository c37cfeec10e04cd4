import pytest
import torch

from mmdet.errors import ArgumentError
from mmdet.models.necks import YOLOXPAFPN, SSDNeck, YOLOV3Neck
from mmdet.models.necks.ssd_neck import L2Norm
from tests.reference_fill import fill_state_dict

SSD = dict(in_channels=(4, 8), out_channels=(4, 8, 6, 4), level_strides=(2, 1), level_paddings=(1, 0))


def zeros(channels, sizes):
    return tuple(torch.zeros(1, width, *size) for width, size in zip(channels, sizes))


class TestL2Norm:
    def test_by_hand(self):
        x = torch.tensor([3.0, 4, 0]).view(1, 3, 1, 1).expand(1, 3, 1, 2).clone()
        x[..., 1] = 0  # a location without features stays so
        norm = L2Norm(3, scale=10)
        norm.weight.data[1] = 5
        torch.testing.assert_close(norm(x)[0, :, 0], torch.tensor([[6.0, 0], [4, 0], [0, 0]]))

    def test_half_precision(self):
        found = L2Norm(2, scale=1)(torch.full((1, 2, 1, 1), 300.0, dtype=torch.float16))  # squares exceed 65,504
        assert found.dtype == torch.float16
        torch.testing.assert_close(found.flatten().float(), torch.full((2,), 0.5**0.5), rtol=1e-3, atol=0)


class TestSSDNeck:
    @pytest.mark.parametrize(
        ('sizes', 'extra'),
        [
            ([(12, 16), (6, 8)], [(3, 4), (1, 2)]),
            ([(8, 8), (4, 4)], [(2, 2), (1, 1)]),  # the last level needs 3 x 3 cells
            ([(2, 12), (1, 6)], [(1, 3), (1, 1)]),
            ([(1, 1), (1, 1)], [(1, 1), (1, 1)]),
        ],
    )
    def test_levels_of_small_and_narrow_images(self, sizes, extra):
        outs = SSDNeck(**SSD)(zeros((4, 8), sizes))
        assert [tuple(out.shape[1:]) for out in outs] == list(zip((4, 8, 6, 4), *zip(*sizes, *extra)))

    def test_padding_leaves_larger_maps_alone(self):
        neck = SSDNeck(**SSD, l2_norm_scale=None, last_kernel_size=4)
        neck.load_state_dict(fill_state_dict(neck.state_dict()))
        x = torch.rand(2, 8, 8, 8, generator=torch.Generator().manual_seed(0))
        first, last = neck.extra_layers
        *_, found = neck((torch.zeros(2, 4, 16, 16), x))
        torch.testing.assert_close(found, last(first(x)))
        assert 'l2_norm.weight' not in neck.state_dict() and found.shape == (2, 4, 1, 1)

    @pytest.mark.filterwarnings('ignore')
    def test_a_traced_neck_pads_by_the_size_that_it_gets(self):
        neck = SSDNeck(**SSD, last_kernel_size=4).eval()
        neck.load_state_dict(fill_state_dict(neck.state_dict()))
        generator = torch.Generator().manual_seed(0)
        large, small, narrow = (
            tuple(torch.rand(1, width, h * 2, w * 2, generator=generator) for width in (4, 8))
            for h, w in ((6, 8), (1, 2), (7, 1))
        )
        traced = torch.jit.trace(neck.requires_grad_(False), (large,), check_trace=False)
        for maps in (large, small, narrow):
            torch.testing.assert_close(traced(maps), neck(maps))

    def test_initialisation(self):
        neck = SSDNeck(**SSD, l2_norm_scale=7)
        neck.init_weights()
        assert neck.l2_norm.weight.tolist() == [7] * 4
        assert not any(layer.conv.bias.any() for pair in neck.extra_layers for layer in pair)

    @pytest.mark.parametrize(
        ('changes', 'field'),
        [
            (dict(out_channels=(4, 6, 6, 4)), 'out_channels'),
            (dict(out_channels=(4,)), 'out_channels'),
            (dict(level_strides=(2,)), 'level_strides'),
            (dict(level_paddings=(1, 0, 0)), 'level_paddings'),
        ],
    )
    def test_refuses(self, changes, field):
        with pytest.raises(ArgumentError, match=field):
            SSDNeck(**dict(SSD, **changes))


@pytest.mark.parametrize('sizes', [[(8, 12), (4, 6), (2, 3)], [(25, 13), (13, 7), (7, 4)]])
def test_yolov3_levels_come_coarsest_first(sizes):
    outs = YOLOV3Neck(3, [8, 6, 4], [5, 4, 3])(zeros((4, 6, 8), sizes))
    assert [tuple(out.shape[1:]) for out in outs] == [(c, *size) for c, size in zip((5, 4, 3), reversed(sizes))]


def test_yolov3_refuses():
    with pytest.raises(ArgumentError, match='in_channels'):
        YOLOV3Neck(3, [8, 6], [5, 4])


def test_yolox_levels_keep_odd_sizes():
    sizes = [(13, 7), (7, 4), (4, 2)]
    for depthwise in (False, True):
        outs = YOLOXPAFPN([4, 6, 8], 5, num_csp_blocks=1, use_depthwise=depthwise)(zeros((4, 6, 8), sizes))
        assert [tuple(out.shape[1:]) for out in outs] == [(5, *size) for size in sizes]


@pytest.mark.parametrize('neck', [SSDNeck(**SSD), YOLOV3Neck(2, [4, 4], [2, 2]), YOLOXPAFPN([4, 4], 2)])
def test_refuses_another_number_of_maps(neck):
    with pytest.raises(ArgumentError, match='2 feature maps'):
        neck(zeros((4,), [(4, 4)]))
