import copy
import pickle

import pytest
import torch

from mmdet.core import AnchorGenerator, LegacyAnchorGenerator, SSDAnchorGenerator, YOLOAnchorGenerator
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


def sizes_wh(generator):
    anchors = generator.base_anchors[0]
    return (anchors[:, 2:] - anchors[:, :2]).tolist()


def test_order_of_the_base_anchors():
    """Ratios are height / width; the area is that of the square of the same scale."""
    arguments = dict(strides=[8], ratios=[0.25, 1.0, 4.0], scales=[1.0, 2.0, 4.0])
    by_ratio = [[16, 4], [32, 8], [64, 16], [8, 8], [16, 16], [32, 32], [4, 16], [8, 32], [16, 64]]
    assert sizes_wh(AnchorGenerator(**arguments)) == by_ratio
    by_scale = [[16, 4], [8, 8], [4, 16], [32, 8], [16, 16], [8, 32], [64, 16], [32, 32], [16, 64]]
    generator = AnchorGenerator(**arguments, scale_major=False)
    assert sizes_wh(generator) == by_scale and generator.num_base_priors == [9]
    grid = generator.single_level_grid_priors((2, 2), 0, device='cpu')
    assert grid[:9].tolist() == generator.base_anchors[0].tolist()
    assert torch.equal(grid[9:18], grid[:9] + torch.tensor([8, 0, 8, 0]))  # the next location, not the next anchor


def test_octaves():
    generator = AnchorGenerator(strides=[8], ratios=[0.5, 1.0, 2.0], octave_base_scale=4, scales_per_octave=3)
    sides = [32.0, 40.317474, 50.796833]  # 8 * 4 * 2^(0, 1/3, 2/3)
    root = 2**0.5
    expected = [[s * root, s / root] for s in sides] + [[s, s] for s in sides] + [[s / root, s * root] for s in sides]
    torch.testing.assert_close(torch.tensor(sizes_wh(generator)), torch.tensor(expected), rtol=0, atol=1e-4)


def test_sizes_and_centres_that_are_not_given():
    """The base size is the smaller stride; centres are on the corner, at an offset of the base size, or where ``centers`` says."""
    arguments = dict(strides=[(10, 20), (40, 30)], ratios=[1.0], scales=[1.0])
    assert AnchorGenerator(**arguments).base_sizes == [10, 30]
    placed = [
        (dict(), [[-5, -5, 5, 5], [-15, -15, 15, 15]]),
        (dict(center_offset=0.5), [[0, 0, 10, 10], [0, 0, 30, 30]]),
        (dict(centers=[(1, 2), (3, 4)]), [[-4, -3, 6, 7], [-12, -11, 18, 19]]),
    ]
    for options, expected in placed:
        assert [anchors[0].tolist() for anchors in AnchorGenerator(**arguments, **options).base_anchors] == expected


def test_dtype_and_device_of_the_grid(device):
    priors = AnchorGenerator(strides=[10], ratios=[1.0], scales=[1.0]).grid_priors([(1, 2)], torch.float64, device)[0]
    assert priors.dtype == torch.float64 and priors.device.type == device
    assert priors.tolist() == [[-5, -5, 5, 5], [5, -5, 15, 5]]
    flags = AnchorGenerator(**GFL).valid_flags([(1, 2)] * 5, (8, 8), device)
    assert all(flag.device.type == device and flag.dtype == torch.bool for flag in flags)


def test_valid_flags_cut_the_padding():
    generator = AnchorGenerator(**GFL)
    sizes = [(16, 20), (8, 10), (4, 5), (2, 3), (1, 2)]
    flags = generator.valid_flags(sizes, (128, 128), 'cpu')
    assert [int(flag.sum()) for flag in flags] == [256, 64, 16, 4, 1]
    assert flags[3].tolist() == [True, True, False, True, True, False]


def test_valid_flags_count_cells_that_begin_inside():
    """33 rows of pixels at stride 16 are 3 rows of cells, 40 columns at stride 20 are 2; every anchor of a cell is alike."""
    generator = AnchorGenerator(strides=[(20, 16)], ratios=[0.5, 1.0], scales=[1.0])
    flags = generator.valid_flags([(4, 3)], (33, 40, 3), 'cpu')[0].view(4, 3, 2)
    rows = [[1, 1, 0]] * 3 + [[0, 0, 0]]
    assert flags[..., 0].int().tolist() == flags[..., 1].int().tolist() == rows
    assert generator.valid_flags([(4, 3)], (32, 41), 'cpu')[0].view(4, 3, 2)[..., 0].int().tolist() == [
        [1, 1, 1], [1, 1, 1], [0, 0, 0], [0, 0, 0],
    ]  # fmt: skip


def test_grids_are_cached_and_copies_are_independent():
    generator = AnchorGenerator(**GFL)
    sizes = [(2, 2)] * 5
    assert generator.grid_priors(sizes, device='cpu')[0] is generator.grid_priors(sizes, device='cpu')[0]
    assert generator.grid_priors([(2, 3)] * 5, device='cpu')[0].shape == (6, 4)
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
        dict(strides=[8], ratios=[1.0], scales=[8], center_offset=0.5, centers=[(0, 0)]),
        dict(strides=[8], ratios=[1.0], octave_base_scale=8),
    ],
)
def test_refuses(arguments):
    with pytest.raises(ConfigError):
        AnchorGenerator(**arguments)


def test_a_stride_has_one_or_two_sides():
    with pytest.raises(ValueError, match='unpack'):
        AnchorGenerator(strides=[(8, 8, 8)], ratios=[1.0], scales=[1.0])


def test_refuses_another_number_of_levels():
    with pytest.raises(ModelInputError, match='5'):
        AnchorGenerator(**GFL).grid_priors([(1, 1)], device='cpu')


def test_sparse_priors_are_rows_of_the_grid():
    generator = AnchorGenerator(strides=[16], ratios=[1.0], scales=[1])
    rows = generator.sparse_priors(torch.tensor([4, 0]), (2, 3), 0, device='cpu')  # row 1, column 1; row 0, column 0
    assert rows.tolist() == [[8, 8, 24, 24], [-8, -8, 8, 8]]


def test_golden_base_anchors_of_retinanet():
    generator = AnchorGenerator(strides=[8], ratios=[0.5, 1.0, 2.0], octave_base_scale=4, scales_per_octave=3)
    expected = [
        [-22.6274, -11.3137, 22.6274, 11.3137], [-28.5088, -14.2544, 28.5088, 14.2544], [-35.9188, -17.9594, 35.9188, 17.9594],
        [-16, -16, 16, 16], [-20.1587, -20.1587, 20.1587, 20.1587], [-25.3984, -25.3984, 25.3984, 25.3984],
        [-11.3137, -22.6274, 11.3137, 22.6274], [-14.2544, -28.5088, 14.2544, 28.5088], [-17.9594, -35.9188, 17.9594, 35.9188],
    ]  # fmt: skip
    torch.testing.assert_close(generator.base_anchors[0], torch.tensor(expected), rtol=0, atol=1e-4)
    assert torch.equal(generator.gen_base_anchors()[0], generator.base_anchors[0])
    assert generator.num_base_anchors == generator.num_base_priors == [9]


def test_earlier_names_of_the_grid():
    generator = AnchorGenerator(strides=[8, (16, 8)], ratios=[0.5, 1.0], scales=[2.0])
    sizes = [(2, 3), (1, 2)]
    for old, new in zip(generator.grid_anchors(sizes, 'cpu'), generator.grid_priors(sizes, device='cpu')):
        assert torch.equal(old, new) and old is not new
    one = generator.single_level_grid_anchors(torch.tensor([[0.0, 0, 4, 4]]), (2, 2), (16, 8), 'cpu')
    assert one.tolist() == [[0, 0, 4, 4], [16, 0, 20, 4], [0, 8, 4, 12], [16, 8, 20, 12]]
    flags = generator.single_level_valid_flags((2, 3), (1, 2), 2, 'cpu')
    assert flags.int().tolist() == [1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]
    anchors = generator.gen_single_level_base_anchors(8, torch.tensor([1.0]), torch.tensor([4.0]), center=(3.0, 4.0))
    assert anchors.tolist() == [[1, -4, 5, 12]]


def test_anchors_as_objects():
    from mmdet.core.boxes import HorizontalBoxes

    level = AnchorGenerator([8], [1.0], [1.0], use_box_type=True).grid_priors([(1, 2)], device='cpu')[0]
    assert isinstance(level, HorizontalBoxes) and level.tensor.tolist() == [[-4, -4, 4, 4], [4, -4, 12, 4]]


@pytest.mark.parametrize(
    ('input_size', 'smallest', 'strides', 'sizes'),
    [
        (300, 0.15, [8, 16, 32, 64, 100, 300], [21, 45, 99, 153, 207, 261]),
        (300, 0.2, [8, 16, 32, 64, 100, 300], [30, 60, 111, 162, 213, 264]),
        (512, 0.1, [8, 16, 32, 64, 128, 256, 512], [20, 51, 133, 215, 296, 378, 460]),
    ],
)
def test_golden_ssd_sizes(input_size, smallest, strides, sizes):
    options = dict(input_size=input_size, basesize_ratio_range=(smallest, 0.9))
    generator = SSDAnchorGenerator(strides, [[2]] + [[2, 3]] * (len(strides) - 1), **options)
    assert generator.base_sizes == sizes and generator.num_base_priors == [4] + [6] * (len(strides) - 1)
    assert all(anchors[0].tolist() == [(s - size) / 2, (s - size) / 2, (s + size) / 2, (s + size) / 2]
               for anchors, s, size in zip(generator.base_anchors, strides, sizes))  # fmt: skip


def test_golden_ssd_anchors():
    generator = SSDAnchorGenerator(
        [16, 32], [[2, 3], [2]], min_sizes=[48, 100], max_sizes=[100, 150], scale_major=False
    )
    expected = [
        [-34, -34, 66, 66], [-45.237247, -45.237247, 77.237247, 77.237247], [-54.710678, -19.355339, 86.710678, 51.355339],
        [-19.355339, -54.710678, 51.355339, 86.710678],
    ]  # fmt: skip
    torch.testing.assert_close(generator.base_anchors[1], torch.tensor(expected))
    with pytest.raises(ConfigError, match='input_size'):
        SSDAnchorGenerator([8, 16], [[2], [2]], input_size=320)
    with pytest.raises(AssertionError):
        SSDAnchorGenerator([16, 32], [[2]], min_sizes=[48, 100], max_sizes=[100, 150])


def test_yolo_anchors():
    generator = YOLOAnchorGenerator(strides=[32, 16], base_sizes=[[(116, 90)], [(30, 61), (62, 45)]])
    assert generator.num_base_priors == [1, 2] and generator.base_anchors[0].tolist() == [[-42, -29, 74, 61]]
    assert generator.grid_priors([(1, 2), (1, 1)], device='cpu')[0].tolist() == [
        [-42, -29, 74, 61],
        [-10, -29, 106, 61],
    ]
    with pytest.raises(ValueError, match='base_sizes'):
        YOLOAnchorGenerator(strides=[32, 16], base_sizes=[[(116, 90)]])
