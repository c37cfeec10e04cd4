import pytest
import torch

from mmdet.core import MlvlPointGenerator, PointGenerator
from mmdet.core.priors import anchor_inside_flags, calc_region
from mmdet.errors import ArgumentError

POINTS = [[4, 4], [12, 4], [20, 4], [4, 12], [12, 12], [20, 12]]


def test_points_of_nothing():
    assert MlvlPointGenerator([8]).single_level_grid_priors((0, 3), 0, device='cpu').shape == (0, 2)


def test_points_by_hand():
    generator = MlvlPointGenerator([8, (16, 8)])
    assert generator.strides == [(8, 8), (16, 8)] and generator.num_base_priors == [1, 1]
    levels = generator.grid_priors([(2, 3), (1, 2)], device='cpu')
    assert levels[0].tolist() == POINTS and levels[1].tolist() == [[8, 4], [24, 4]]
    levels = generator.grid_priors([(2, 3), (1, 2)], device='cpu', with_stride=True)
    assert levels[0].tolist() == [[*point, 8, 8] for point in POINTS]
    assert levels[1].tolist() == [[8, 4, 16, 8], [24, 4, 16, 8]]
    corner = MlvlPointGenerator([8], offset=0).grid_priors([(1, 2)], device='cpu', with_stride=True)[0]
    assert corner.tolist() == [[0, 0, 8, 8], [8, 0, 8, 8]]
    assert generator.grid_priors([(2, 3), (1, 2)], torch.float16, 'cpu')[0].dtype == torch.float16


def test_flags_and_sparse_points():
    generator = MlvlPointGenerator([8, (16, 8)])
    flags = generator.valid_flags([(2, 3), (1, 2)], (8, 17), 'cpu')
    assert flags[0].tolist() == [True, True, True, False, False, False] and flags[1].tolist() == [True, True]
    assert generator.sparse_priors(torch.tensor([0, 4, 5]), (2, 3), 0, device='cpu').tolist() == [
        POINTS[i] for i in (0, 4, 5)
    ]
    assert generator.single_level_valid_flags((2, 3), (1, 2), 'cpu').tolist() == [
        True,
        True,
        False,
        False,
        False,
        False,
    ]
    with pytest.raises(ArgumentError, match='2'):
        generator.grid_priors([(2, 3)], device='cpu')


def test_points_of_one_map():
    generator = PointGenerator()
    assert generator.grid_points((1, 2), 8, 'cpu').tolist() == [[0, 0, 8], [8, 0, 8]]
    assert generator.valid_flags((2, 2), (1, 2), 'cpu').tolist() == [True, True, False, False]
    with pytest.raises(AssertionError):
        generator.valid_flags((2, 2), (3, 2), 'cpu')


@pytest.mark.parametrize(
    ('border', 'expected'), [(-1, [1, 1, 1, 0]), (0, [1, 0, 0, 0]), (1, [1, 0, 1, 0]), (5, [1, 1, 1, 0])]
)
def test_anchors_inside(border, expected):
    """The second exceeds the image (20, 30) by 5 on the left, the third ends exactly at its right border, the last is not valid."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [-5, 0, 5, 5], [10, 10, 30, 19], [0, 0, 10, 10]])
    valid = torch.tensor([True, True, True, False])
    assert anchor_inside_flags(boxes, valid, (20, 30, 3), border).int().tolist() == expected


def test_region():
    assert calc_region(torch.tensor([0.0, 0, 100, 60]), 0.2) == (20, 12, 80, 48)
    assert calc_region(torch.tensor([0.0, 0, 100, 60]), 0.2, (50, 60)) == (20, 12, 60, 48)
