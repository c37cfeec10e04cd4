import copy
import pickle

import pytest
import torch

from mmdet.core import AnchorGenerator, LegacyAnchorGenerator
from mmdet.utils import ConfigError, ModelInputError

GFL = dict(ratios=[1.0], octave_base_scale=8, scales_per_octave=1, strides=[8, 16, 32, 64, 128])


def test_grid_of_nothing():
    assert AnchorGenerator([8], [1.0], [1.0]).single_level_grid_priors((0, 3), 0, device='cpu').shape == (0, 4)


def test_grid_by_hand():
    generator = AnchorGenerator(strides=[10], ratios=[1.0], scales=[1.0], base_sizes=[10])
    assert generator.grid_priors([(2, 2)], device='cpu')[0].tolist() == [
        [-5, -5, 5, 5], [5, -5, 15, 5], [-5, 5, 5, 15], [5, 5, 15, 15],
    ]  # fmt: skip


def test_unequal_strides():
    generator = AnchorGenerator(strides=[(10, 20)], ratios=[1.0], scales=[1.0], base_sizes=[10])
    assert generator.grid_priors([(2, 2)], device='cpu')[0].tolist() == [
        [-5, -5, 5, 5], [5, -5, 15, 5], [-5, 15, 5, 25], [5, 15, 15, 25],
    ]  # fmt: skip


def test_gfl_anchors_are_eight_strides_wide():
    first = [priors[0].tolist() for priors in AnchorGenerator(**GFL).grid_priors([(1, 1)] * 5, device='cpu')]
    assert first == [[-4 * s, -4 * s, 4 * s, 4 * s] for s in (8, 16, 32, 64, 128)]


def test_legacy_anchors_sit_on_pixel_centres():
    generator = LegacyAnchorGenerator(**GFL, center_offset=0.5)
    assert [anchors[0].tolist() for anchors in generator.base_anchors] == [
        [-28, -28, 35, 35], [-56, -56, 71, 71], [-112, -112, 143, 143], [-224, -224, 287, 287], [-448, -448, 575, 575],
    ]  # fmt: skip


def test_octaves_and_ratios():
    generator = AnchorGenerator(
        strides=[8], ratios=[0.5, 1.0, 2.0], octave_base_scale=4, scales_per_octave=3, scale_major=True
    )
    assert generator.num_base_priors == [9]
    expected = torch.tensor([-22.6274, -11.3137, 22.6274, 11.3137])
    torch.testing.assert_close(generator.base_anchors[0][0], expected, rtol=0, atol=1e-4)


def test_valid_flags_cut_the_padding():
    generator = AnchorGenerator(**GFL)
    sizes = [(16, 20), (8, 10), (4, 5), (2, 3), (1, 2)]
    flags = generator.valid_flags(sizes, (128, 128), 'cpu')
    assert [int(flag.sum()) for flag in flags] == [256, 64, 16, 4, 1]
    assert flags[3].tolist() == [True, True, False, True, True, False]


def test_grids_are_cached_and_copies_are_independent():
    generator = AnchorGenerator(**GFL)
    sizes = [(2, 2)] * 5
    assert generator.grid_priors(sizes, device='cpu')[0] is generator.grid_priors(sizes, device='cpu')[0]
    for other in (copy.deepcopy(generator), pickle.loads(pickle.dumps(generator))):
        other.base_anchors = [anchors + 1 for anchors in other.base_anchors]
        assert (
            other.grid_priors(sizes, device='cpu')[0][0, 0] == generator.grid_priors(sizes, device='cpu')[0][0, 0] + 1
        )


@pytest.mark.parametrize(
    'arguments',
    [
        dict(strides=[8], ratios=[1.0]),
        dict(strides=[8], ratios=[1.0], scales=[8], octave_base_scale=8, scales_per_octave=1),
        dict(strides=[8, 16], ratios=[1.0], scales=[8], base_sizes=[8]),
        dict(strides=[8], ratios=[1.0], scales=[8], center_offset=2),
    ],
)
def test_refuses(arguments):
    with pytest.raises(ConfigError):
        AnchorGenerator(**arguments)


def test_refuses_another_number_of_levels():
    with pytest.raises(ModelInputError, match='5'):
        AnchorGenerator(**GFL).grid_priors([(1, 1)], device='cpu')
