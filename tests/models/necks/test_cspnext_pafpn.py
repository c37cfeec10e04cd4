import pytest
import torch

from mmdet.models.necks import CSPNeXtPAFPN
from tests.reference_fill import fill_state_dict, statistics, tensor


def maps(channels=(8, 12, 16), sizes=((16, 24), (8, 12), (4, 6))):
    return tuple(tensor((1, c, *size), 20 + i) for i, (c, size) in enumerate(zip(channels, sizes)))


@pytest.mark.parametrize(
    ('options', 'entries', 'expected'),
    [
        (dict(num_csp_blocks=1), 186, (-0.028128, 0.037061, -0.093618, 0.065707, 0.039677, -0.034877)),
        (
            dict(num_csp_blocks=2, use_depthwise=True),
            336,
            (-0.029246, 0.041754, -0.116555, 0.060302, -0.020852, -0.014358),
        ),
    ],
)
def test_outputs_of_mmdetection(options, entries, expected):
    neck = CSPNeXtPAFPN([8, 12, 16], 8, **options).eval()
    neck.load_state_dict(fill_state_dict(neck.state_dict()))
    assert len(neck.state_dict()) == entries
    with torch.no_grad():
        outs = neck(maps())
    assert [tuple(out.shape) for out in outs] == [(1, 8, 16, 24), (1, 8, 8, 12), (1, 8, 4, 6)]
    torch.testing.assert_close(torch.tensor(statistics(outs[-1])), torch.tensor(expected), rtol=1e-4, atol=1e-5)


def test_one_level():
    assert [tuple(out.shape) for out in CSPNeXtPAFPN([4], 6)((torch.zeros(1, 4, 5, 3),))] == [(1, 6, 5, 3)]


def test_four_levels_and_odd_sizes():
    sizes = [(25, 13), (13, 7), (7, 4), (4, 2)]
    outs = CSPNeXtPAFPN([4, 6, 8, 10], 5, num_csp_blocks=1)(maps((4, 6, 8, 10), sizes))
    assert [tuple(out.shape[1:]) for out in outs] == [(5, *size) for size in sizes]


def test_refuses_another_number_of_maps():
    with pytest.raises(AssertionError, match='3 feature maps'):
        CSPNeXtPAFPN([8, 12, 16], 8)(maps()[:2])
