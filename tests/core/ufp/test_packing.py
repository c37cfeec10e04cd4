"""Regions, zooms and packing: golden rows, the original's output on real scenes, and properties."""

import importlib.util
import json

import numpy as np
import pytest
import torch

from mmdet.core.ufp import (
    UnifiedForegroundPacking,
    estimate_factors,
    fill_ratio,
    generate_regions,
    merge_boxes,
    pack_dense,
    pack_guillotine,
    pack_images,
    pack_maxrects,
    pack_strip,
    whole_image,
)  # fmt: skip
from mmdet.core.ufp.maxrects import _cut
from mmdet.core.ufp.packing import _pack_bounded
from mmdet.errors import ConfigError, ModelInputError

HD = (1920, 1080)
ALL_OPTIONS = [
    {},
    dict(mode='exact'),
    dict(packing='dense'),
    dict(mode='exact', max_side=700),
    dict(mode='exact', packing='dense', max_side=300),
]

GOLDEN = [
    ([(100, 100, 140, 130)], HD, [(90, 92.5, 60, 45, 0, 0, 2)], (120, 90)),
    ([(18 * k, 500, 18 * k + 20, 520) for k in range(106)], HD, [(0, 495, 1915, 30, 0, 0, 4)], (7660, 120)),
    ([(0, 0, 1900, 1000)], HD, [(0, 0, 1919, 1079, 0, 0, 1)], (1919, 1079)),
    ([(0, 0, 10, 10)] * 2, (100, 100), [(0, 0, 12.5, 12.5, 0, 0, 4)], (50, 50)),
    ([], HD, [], (0, 0)),
    (
        [(100, 100, 140, 130), (500, 500, 540, 530), (900, 200, 940, 230)], HD,
        [(90, 92.5, 60, 45, 0, 0, 2), (490, 492.5, 60, 45, 120, 0, 2), (890, 192.5, 60, 45, 0, 90, 2)], (240, 180),
    ),
    (
        [(100, 100, 130, 140), (120, 110, 150, 150), (600, 300, 700, 360), (1000, 50, 1300, 250), (640, 320, 720, 380), (10, 700, 22, 716),
         (400, 600, 460, 640)], (1360, 765),
        [(92.5, 90, 65, 70, 330, 300, 2), (575, 285, 165, 110, 0, 300, 2), (925, 0, 434, 300, 0, 0, 1), (7, 696, 18, 24, 434, 0, 4),
         (385, 590, 90, 60, 0, 520, 2)], (506, 640),
    ),
    (
        [(100, 100, 131, 131), (300, 300, 331, 330)], (1000, 1000),
        [(92.25, 92.25, 46.5, 46.5, 186, 0, 2), (292.25, 292.5, 46.5, 45, 0, 0, 4)], (279, 180),
    ),
    (
        [(100, 100, 195, 195), (500, 500, 595, 594)], (1000, 1000),
        [(76.25, 76.25, 142.5, 142.5, 0, 282, 1), (476.25, 476.5, 142.5, 141, 0, 0, 2)], (285, 424.5),
    ),
    ([(100, 100, 120, 120), (129, 100, 149, 120)], (1000, 1000), [(95, 95, 59, 30, 0, 0, 4)], (236, 120)),
    (  # the second box absorbs an older, already grown region
        [(100, 100, 120, 120), (132, 100, 140, 120), (118, 100, 160, 120)], (1000, 1000), [(95, 95, 75.5, 30, 0, 0, 4)], (302, 120),
    ),
    ([(132, 104, 148, 132), (132, 124, 160, 140), (144, 124, 164, 128)], (1000, 1000), [(125, 97, 44, 47, 0, 0, 4)], (176, 188)),
    (
        [(0, 0, 20, 10), (1340, 750, 1360, 765)], (1360, 765),
        [(0, 0, 25, 12.5, 96, 0, 4), (1335, 746.25, 24, 17.75, 0, 0, 4)], (196, 71),
    ),
]  # fmt: skip


def random_boxes(rng, count, input_shape=HD, whole=False):
    """Small boxes in clusters; whole numbers make equal sizes, edges and areas."""
    width, height = input_shape
    centres = rng.random((max(count // 12, 1), 2)) * input_shape
    centre = centres[rng.integers(len(centres), size=count)] + rng.normal(0, 60, (count, 2))
    half = rng.lognormal(2.6, 0.6, (count, 2)).clip(1, 200)
    boxes = np.hstack([centre - half, centre + half]).clip(0, [width - 1, height - 1] * 2)
    return (boxes / 8).round() * 8 if whole else boxes


def assert_sound(regions, width, height, input_shape):
    """Tiles lie in the mosaic and do not overlap; sources lie in the image."""
    regions = np.asarray(regions)
    assert (regions[:, :2] >= 0).all() and (regions[:, 2:4] > 0).all()
    assert (regions[:, :2] + regions[:, 2:4] <= np.array(input_shape) + 1e-9).all()
    tiles = np.hstack([regions[:, 4:6], regions[:, 4:6] + regions[:, 2:4] * regions[:, 6:]])  # (R, 4)
    assert (
        (tiles[:, :2] >= 0).all()
        and tiles[:, 2].max() == pytest.approx(width)
        and tiles[:, 3].max() == pytest.approx(height)
    )
    shared = np.minimum(tiles[:, None, 2:], tiles[:, 2:]) - np.maximum(tiles[:, None, :2], tiles[:, :2])  # (R, R, 2)
    overlap = (shared > 1e-6).all(-1)
    assert overlap.sum() == len(tiles), 'only each tile with itself'


@pytest.fixture(scope='module')
def plain(repository):
    """The nested-loop form of the same definition."""
    spec = importlib.util.spec_from_file_location('ufp_benchmark', repository / 'benchmarks' / 'ufp.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.plain_packing


@pytest.fixture(scope='module')
def plain_strip(repository):
    """Strip packing in nested loops."""
    spec = importlib.util.spec_from_file_location('ufp_benchmark', repository / 'benchmarks' / 'ufp.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.plain_strip


@pytest.mark.parametrize(('boxes', 'input_shape', 'rows', 'size'), GOLDEN)
def test_golden_rows(boxes, input_shape, rows, size):
    regions, width, height = UnifiedForegroundPacking(np.array(boxes, dtype=np.float64), 1.5, input_shape)
    np.testing.assert_allclose(regions, np.reshape(rows, (-1, 7)), atol=1e-9)
    assert (width, height) == pytest.approx(size)


def test_equal_areas_do_not_merge_and_refused_boxes_are_not_tried_again():
    assert len(generate_regions([(100, 100, 120, 120), (130, 100, 150, 120)], 1.5, (1000, 1000))[0]) == 2
    boxes = [(100, 128, 120, 148), (124, 136, 144, 152), (144, 128, 172, 152)]
    regions, width, height = UnifiedForegroundPacking(boxes, 1.5, (1000, 1000))
    np.testing.assert_array_equal(regions[:, [0, 1, 2, 3, 6]], [(95, 123, 30, 30, 4), (119, 122, 60, 36, 4)])
    assert (width, height) == (240, 264)


def test_order_of_the_boxes_matters():
    p, q, r = (132, 104, 148, 132), (132, 124, 160, 140), (144, 124, 164, 128)
    regions, width, height = UnifiedForegroundPacking([q, r, p], 1.5, (1000, 1000))
    np.testing.assert_array_equal(regions[:, :4], [(125, 120, 44, 24), (128, 97, 24, 42)])
    assert (width, height) == (272, 168)


def test_strips():
    sizes = [(60, 50), (40, 30), (30, 20), (35, 20), (20, 10), (5, 5)]
    height, positions = pack_strip(sizes, 100)
    assert height == 70 and positions.tolist() == [[0, 0], [60, 0], [60, 30], [0, 50], [35, 50], [90, 30]]
    height, positions = pack_strip([(60, 50), (40, 30), (10, 20)], 50)
    assert height == 80 and positions.tolist() == [[0, 0], [0, 50], [40, 50]]
    assert pack_strip([], 100)[0] == 0 and pack_guillotine(np.zeros((0, 2))).shape == (0, 2)


@pytest.mark.parametrize(
    ('sizes', 'width', 'height', 'positions'),
    [
        # A space right of the tallest: of those that fit, the exact size comes before the exact width, that before the exact height.
        ([(50, 50), (50, 40), (20, 50), (50, 50)], 100, 100, [(0, 0), (20, 50), (0, 50), (50, 0)]),
        ([(50, 50), (20, 50), (50, 40)], 100, 100, [(0, 0), (0, 50), (50, 0)]),
        ([(50, 50), (20, 30), (50, 20)], 100, 50, [(0, 0), (50, 20), (50, 0)]),
        # What is left below a rectangle, and right of it, is filled too.
        ([(50, 50), (30, 30), (30, 20), (20, 50)], 100, 50, [(0, 0), (70, 0), (70, 30), (50, 0)]),
        # The space right of the second is exactly as wide as the third, which is too high for the space below it.
        ([(50, 50), (30, 30), (20, 25)], 100, 50, [(0, 0), (50, 0), (80, 0)]),
        # Equal heights: the first of the input goes first.
        ([(10, 30), (20, 30), (30, 30)], 60, 30, [(0, 0), (10, 0), (30, 0)]),
        # Wider than the strip: on a row of its own.
        ([(150, 10), (20, 20)], 100, 30, [(0, 20), (0, 0)]),
    ],
)
def test_strips_by_hand(plain_strip, sizes, width, height, positions):
    received = pack_strip(sizes, width)
    assert (received[0], received[1].tolist()) == (height, [list(position) for position in positions])
    assert plain_strip(sizes, width) == (height, positions)


def test_factor_borders():
    assert estimate_factors(np.array([1023.9, 1024, 9215.9, 9216])).tolist() == [4, 2, 2, 1]


def assert_equals_the_original(path, count):
    """The regions, mosaic sizes and fill ratios that the original's code gave for jittered boxes of real scenes."""
    data = json.loads(path.read_text())
    assert len(data['cases']) == count
    for number, case in enumerate(data['cases']):
        regions, width, height = UnifiedForegroundPacking(np.array(case['boxes']), data['expand'], case['image_wh'])
        np.testing.assert_allclose(regions, case['regions'], atol=1e-3, err_msg=f'case {number}')
        np.testing.assert_allclose([width, height], case['mosaic_wh'], atol=1e-3)
        assert fill_ratio(regions, width, height) == pytest.approx(case['density'], abs=1e-5)


def test_original_on_small_scenes(repository):
    assert_equals_the_original(repository / 'tests' / 'data' / 'ufp_cases.json', 12)


def test_real_scenes(sample_data):
    """All cases of the original; and VisDrone validation, ground truth as boxes: about 42 regions, a mosaic of 1029 x 1036, 0.85 full."""
    assert_equals_the_original(sample_data / 'ufp_reference' / 'visdrone_cases.json', 40)
    folder = sample_data / 'visdrone_val_scored'
    records = []
    for line in (folder / 'image_sizes.txt').read_text().splitlines()[::4]:
        name, width, height = line.split()
        rows = [
            r.replace(',', ' ').split()[:6] for r in (folder / 'annotations' / f'{name}.txt').read_text().splitlines()
        ]
        rows = np.array(rows, dtype=np.float64)
        rows = rows[(rows[:, 5] > 0) & (rows[:, 5] < 11)]
        boxes = np.hstack([rows[:, :2], rows[:, :2] + rows[:, 2:4]])
        regions, mosaic_w, mosaic_h = UnifiedForegroundPacking(boxes, 1.5, (int(width), int(height)))
        records.append((len(regions), mosaic_w, mosaic_h, fill_ratio(regions, mosaic_w, mosaic_h)))
    np.testing.assert_allclose(np.mean(records, axis=0), [42, 1029, 1036, 0.85], rtol=0.04)


@pytest.mark.parametrize('whole', [False, True])
@pytest.mark.parametrize('count', [1, 2, 5, 30, 90])
def test_equals_the_nested_loops(plain, count, whole):
    rng = np.random.default_rng(count + 1000 * whole)
    for _ in range(6):
        boxes = random_boxes(rng, count, whole=whole)
        np.testing.assert_array_equal(UnifiedForegroundPacking(boxes, 1.5, HD)[0], plain(boxes.tolist(), HD))


def test_tiles_with_many_equal_sides_equal_the_nested_loops(plain):
    rng = np.random.default_rng(0)
    for _ in range(10):
        corner = rng.integers(0, 40, (60, 2)) * 40.0
        boxes = np.hstack([corner, corner + rng.integers(1, 4, (60, 2)) * 8.0])
        np.testing.assert_array_equal(
            UnifiedForegroundPacking(boxes, 1.5, (1640, 1640))[0], plain(boxes.tolist(), (1640, 1640))
        )


@pytest.mark.parametrize('options', ALL_OPTIONS, ids=str)
@pytest.mark.parametrize('count', [1, 7, 60, 200])
def test_properties(options, count):
    boxes = random_boxes(np.random.default_rng(count), count)
    before = boxes.copy()
    regions, width, height = UnifiedForegroundPacking(boxes, 1.5, HD, **options)
    assert_sound(regions, width, height, HD)
    again = UnifiedForegroundPacking(boxes, 1.5, HD, **options)
    np.testing.assert_array_equal(regions, again[0])
    np.testing.assert_array_equal(boxes, before)
    extents, _, member = generate_regions(
        boxes, 1.5, HD, mode=options.get('mode', 'reference'), max_tile=options.get('max_side')
    )
    np.testing.assert_array_equal(regions[:, :2], extents[:, :2])  # every region placed once, in order
    inside = member >= 0
    assert set(member[inside]) == set(range(len(regions)))
    # The last row and column of the image are outside in the reference mode.
    corners = np.minimum(boxes, [1919, 1079, 1919, 1079])[inside]
    assert (corners[:, :2] >= extents[member[inside], :2] - 1e-9).all() and (
        corners[:, 2:] <= extents[member[inside], 2:] + 1e-9
    ).all()
    if options.get('mode') == 'exact':
        assert (regions[:, :4] == regions[:, :4].round()).all()
    if 'max_side' in options:
        assert max(width, height) <= options['max_side']


def test_500_boxes():
    """A grid of 25 x 20 boxes of 20 x 10, none merged: 500 equal tiles of 120 x 60.

    16 columns, 32 rows would be square. The search ends at a strip of 1918.9, for 15 columns, and keeps it though it is higher than wide.
    """
    corner = np.stack(np.meshgrid(np.arange(25) * 70.0 + 50, np.arange(20) * 50.0 + 30), axis=-1).reshape(-1, 2)
    regions, width, height = UnifiedForegroundPacking(np.hstack([corner, corner + [20, 10]]), 1.5, HD)
    assert_sound(regions, width, height, HD)
    assert len(regions) == 500 and (regions[:, 2:4] == [30, 15]).all() and (regions[:, 6] == 4).all()
    assert (width, height) == (1800, 2040)


def test_dense_mosaic_is_never_larger():
    for seed in range(5):
        boxes = random_boxes(np.random.default_rng(seed), 50)
        long_side = [max(UnifiedForegroundPacking(boxes, 1.5, HD, packing=p)[1:]) for p in ('guillotine', 'dense')]
        assert long_side[1] <= long_side[0]


def test_maxrects_fills_holes():
    positions = pack_maxrects(np.array([(60, 50), (40, 30), (40, 20), (100, 10)], dtype=float), 100)
    assert positions.tolist() == [[0, 10], [60, 10], [60, 40], [0, 0]]
    with pytest.raises(ValueError, match='widest'):
        pack_maxrects(np.array([(60.0, 50.0)]), 50)
    # The longest side goes first, equal ones in input order, each to the highest place, of these to the leftmost.
    positions = pack_maxrects(np.array([(20, 10), (20, 30), (30, 20), (10, 10), (30, 30)], dtype=float), 60)
    assert positions.tolist() == [[0, 30], [0, 0], [20, 0], [50, 0], [20, 20]]
    # The 10 x 20 could begin at x = 30 or 40, both as high: it takes the first.
    positions = pack_maxrects(np.array([(30, 40), (10, 20), (40, 10), (10, 10), (20, 20)], dtype=float), 60)
    assert positions.tolist() == [[0, 0], [30, 0], [0, 40], [30, 20], [40, 0]]
    assert pack_maxrects(np.zeros((0, 2)), 50).shape == (0, 2)


@pytest.mark.parametrize(
    ('free', 'left'),
    [
        # A corner is cut off: no piece of no width on the sides that it shares with the free rectangle.
        ((4, 4, 10, 10), [(6, 4, 10, 10), (4, 6, 10, 10)]),
        ((0, 0, 6, 6), [(0, 0, 4, 6), (0, 0, 6, 4)]),
        # A free rectangle that only touches the one that is cut out stays as it is, and in its place.
        ((0, 4, 4, 6), None),
        ((6, 4, 9, 6), None),
        ((4, 0, 6, 4), None),
        ((4, 6, 6, 9), None),
    ],
)
def test_cut_out_of_the_free_rectangles(free, left):
    other = (20, 20, 30, 30)
    expected = [free, other] if left is None else [other, *left]
    assert _cut(np.array([free, other], float), 4, 4, 6, 6).tolist() == [list(row) for row in expected]


def test_bound_takes_equal_objects_in_input_order():
    """400 tiles of 40 x 40 at zoom 4. Every second object is twice as large: of these the first ones lose zoom."""
    sizes, mean_area = np.full((400, 2), 10.0), np.tile([100.0, 200.0], 200)
    factors, _ = _pack_bounded(sizes, np.full(400, 4.0), mean_area, 'guillotine', 760.0)
    small, large = factors[::2], factors[1::2]
    assert (small == 4).all() and set(large) == {2, 4} and (np.diff(large) >= 0).all()


def test_dense_packing_keeps_the_shortest_long_side():
    """Four squares of side 10 and strips from 20 to 21.8: two rows of two. A packing that is as good is kept, a worse one is replaced."""
    sizes = np.full((4, 2), 10.0)
    square = [[0, 0], [10, 0], [0, 10], [10, 10]]
    assert pack_dense(sizes).tolist() == square
    assert pack_dense(sizes, np.array([(10.0 * k, 0) for k in range(4)])).tolist() == square
    assert pack_dense(sizes, np.array(square[::-1], float)).tolist() == square[::-1]
    assert pack_dense(np.zeros((0, 2))).shape == (0, 2)


def test_bound_breaks_chains_and_lowers_the_zoom_of_large_objects_first():
    chain = [(18 * k, 500, 18 * k + 20, 520) for k in range(106)]
    regions, width, height = UnifiedForegroundPacking(chain, 1.5, HD, max_side=1333)
    assert len(regions) > 1 and max(width, height) <= 1333 and (regions[:, 6] == 4).all()
    small = [(100 + 40 * k, 100, 110 + 40 * k, 110) for k in range(4)]
    large = [(100 + 300 * k, 300 + 250 * j, 190 + 300 * k, 390 + 250 * j) for k in range(4) for j in range(2)]
    assert max(UnifiedForegroundPacking(small + large, 1.5, HD)[1:]) > 700
    regions, width, height = UnifiedForegroundPacking(small + large, 1.5, HD, max_side=700)
    assert max(width, height) <= 700 and (regions[:4, 6] == 4).all() and regions[4:, 6].min() == 1
    regions, width, height = UnifiedForegroundPacking([(0, 0, 1900, 1000)], 1.5, HD, mode='exact', max_side=960)
    np.testing.assert_allclose(regions, [(0, 0, 1920, 1080, 0, 0, 0.5)])


def test_exact_mode_keeps_the_last_row_and_column():
    regions, width, height = UnifiedForegroundPacking([(0, 0, 1900, 1000)], 1.5, HD, mode='exact')
    assert regions.tolist() == [[0, 0, 1920, 1080, 0, 0, 1]] and (width, height) == HD
    regions, *_ = UnifiedForegroundPacking([(100.2, 100, 140.3, 130)], 1.5, HD, mode='exact')
    assert regions.tolist() == [[90, 92, 61, 46, 0, 0, 2]]


@pytest.mark.parametrize('options', ALL_OPTIONS, ids=str)
@pytest.mark.parametrize(
    'boxes', [np.zeros((0, 4)), [], torch.zeros(0, 4), [(5, 5, 5, 9)], [(2000, 10, 2100, 50)]], ids=str
)
def test_nothing_to_pack(boxes, options):
    regions, width, height = UnifiedForegroundPacking(boxes, 1.5, HD, **options)
    assert tuple(regions.shape) == (0, 7) and (width, height) == (0.0, 0.0)
    assert (
        isinstance(regions, torch.Tensor) == isinstance(boxes, torch.Tensor) and fill_ratio(regions, width, height) == 0
    )


def test_boxes_without_area_are_left_out():
    boxes = [(100, 100, 140, 130), (500, 500, 500, 530), (900, 200, 940, 230)]
    regions, *_ = UnifiedForegroundPacking(boxes, 1.5, HD)
    assert regions[:, 0].tolist() == [90, 890]
    assert generate_regions(boxes, 1.5, HD)[2].tolist() == [0, -1, 1]


def test_whole_image():
    assert whole_image((64, 48)).tolist() == [[0, 0, 64, 48, 0, 0, 1]]


def test_tensors_equal_arrays():
    boxes = random_boxes(np.random.default_rng(3), 80).astype(np.float32)
    expected = UnifiedForegroundPacking(boxes, 1.5, HD)
    regions, width, height = UnifiedForegroundPacking(torch.from_numpy(boxes).requires_grad_(), 1.5, torch.tensor(HD))
    assert regions.dtype == torch.float64 and (width, height) == expected[1:]
    np.testing.assert_array_equal(regions.numpy(), expected[0])


def test_batch_equals_one_by_one():
    rng = np.random.default_rng(0)
    shapes = [HD, (960, 540), (640, 480)]
    boxes = [torch.from_numpy(random_boxes(rng, n, s)) for n, s in zip((40, 0, 7), shapes)]
    for got, b, s in zip(pack_images(boxes, shapes, 1.4, mode='exact'), boxes, shapes):
        expected = UnifiedForegroundPacking(b, 1.4, s, mode='exact')
        assert torch.equal(got[0], expected[0]) and got[1:] == expected[1:]
    mixed = [boxes[0].numpy(), boxes[0], boxes[0].tolist()]
    for (regions, *size), b in zip(pack_images(mixed, [HD] * 3, 1.4), mixed):
        expected = UnifiedForegroundPacking(b, 1.4, HD)
        assert type(regions) is type(expected[0]) and (regions == expected[0]).all() and tuple(size) == expected[1:]
    assert pack_images([], []) == []
    with pytest.raises(ModelInputError, match='3'):
        pack_images(boxes, shapes[:2])


def test_device_equals_host(device):
    rng = np.random.default_rng(0)
    boxes = [random_boxes(rng, n) for n in (40, 0, 7)]
    on_device = [torch.from_numpy(b).to(device) for b in boxes]
    for got, b in zip(pack_images(on_device, [HD] * 3), boxes):
        expected = UnifiedForegroundPacking(b, 1.5, HD)
        assert got[0].device.type == device and got[1:] == expected[1:]
        np.testing.assert_array_equal(got[0].cpu().numpy(), expected[0])
    assert UnifiedForegroundPacking(on_device[0], 1.5, HD)[0].device.type == device
    from_both = pack_images([torch.from_numpy(boxes[0]), on_device[0]], [HD] * 2)
    assert [regions.device.type for regions, *_ in from_both] == ['cpu', device]


@pytest.mark.parametrize(
    ('box', 'scale', 'input_shape', 'row'),
    [
        ((100, 100, 140, 130), 1.2, HD, (96, 97, 48, 36, 0, 0, 2)),
        ((200, 200, 280, 260), 1.5, HD, (180, 185, 120, 90, 0, 0, 2)),
        ((1000, 900, 1060, 1060), 1.5, HD, (985, 860, 90, 219, 0, 0, 1)),  # the bottom edge is at 1079
        ((1000, 900, 1060, 1060), 1.5, (1080, 1920), (985, 860, 90, 240, 0, 0, 1)),
        ((1000, 900, 1060, 1060), 1.5, (1060, 1920), (985, 860, 74, 240, 0, 0, 1)),  # the right edge is at 1059
    ],
)
def test_what_the_result_depends_on(box, scale, input_shape, row):
    assert UnifiedForegroundPacking([box], scale, input_shape)[0].tolist() == [list(row)]


def test_zoom_of_a_merger_comes_from_the_mean_of_all_members():
    """The third box would make the mean 1000 (zoom 4, a tile of 48), though that of the last two boxes alone is 1050 (zoom 2)."""
    boxes, areas = np.array([(0, 0, 10, 10), (1, 0, 11, 10), (2, 0, 12, 10)], float), np.array([900.0, 900.0, 1200.0])
    regions, mean_area, member = merge_boxes(boxes, areas, max_tile=48)
    assert (regions.tolist(), mean_area.tolist(), member.tolist()) == ([[0, 0, 12, 10]], [1000], [0, 0, 0])
    regions, mean_area, member = merge_boxes(boxes, areas, max_tile=47)
    assert regions.tolist() == [[0, 0, 11, 10], [2, 0, 12, 10]]
    assert mean_area.tolist() == [900, 1200] and member.tolist() == [0, 0, 1]
    # A region of two members that is absorbed counts twice: the mean is (900 + 900 + 1500) / 3.
    boxes = np.array([(3, 0, 8, 10), (4, 0, 12, 10), (0, 0, 10, 10)], float)
    regions, mean_area, member = merge_boxes(boxes, np.array([900.0, 900.0, 1500.0]))
    assert (regions.tolist(), mean_area.tolist(), member.tolist()) == ([[0, 0, 12, 10]], [1100], [0, 0, 0])


def test_bound_halves_the_zoom_of_the_largest_zoomed_objects():
    """Objects of 900 px^2 at zoom 4 appear larger (14,400) than those of 2,000 px^2 at zoom 2 (8,000): their zoom is halved first, once."""
    boxes = [(100, 100, 129, 129), (300, 300, 349, 339)]
    assert UnifiedForegroundPacking(boxes, 1.5, HD)[0][:, 6].tolist() == [4, 2]
    assert UnifiedForegroundPacking(boxes, 1.5, HD, max_side=250)[0][:, 6].tolist() == [2, 2]
    # A single long region of zoom 2, 3,000 long: zoom 1 makes it fit.
    assert UnifiedForegroundPacking([(300, 100, 1300, 108)], 1.5, HD, max_side=1600)[0][:, 6].tolist() == [1]
    # Of equal objects the first ones lose zoom.
    corner = np.stack(np.meshgrid(np.arange(10) * 100.0 + 50, np.arange(4) * 100.0 + 50), axis=-1).reshape(-1, 2)
    zooms = UnifiedForegroundPacking(np.hstack([corner, corner + 20]), 1.5, HD, max_side=700)[0][:, 6]
    assert set(zooms) == {2, 4} and (np.diff(zooms) >= 0).all()


def test_mosaic_as_high_as_wide_is_not_too_high():
    """At the first width of the search, 1483, two tiles fit beside each other, 1483 high in all: narrower strips are tried, none fits."""
    positions = pack_guillotine(np.array([(1483.0, 1000), (742, 483), (741, 483)]))
    assert positions.tolist() == [[0, 0], [0, 1000], [0, 1483]]


def test_bound_on_one_long_region_leaves_the_zoom_of_small_ones():
    tiles = [
        (100 + 170 * (k % 10), 300 + 200 * (k // 10), 200 + 170 * (k % 10), 400 + 200 * (k // 10)) for k in range(20)
    ]
    regions, width, height = UnifiedForegroundPacking([*tiles, (20, 900, 1820, 910)], 1.5, HD, max_side=1000)
    np.testing.assert_allclose(regions[:, 6], [1.0] * 20 + [1000 / 1919], rtol=1e-9)
    assert max(width, height) <= 1000


@pytest.mark.parametrize(
    ('boxes', 'max_side'),
    [
        ([(153, 249, 352, 405), (650, 324, 815, 475)], 207),  # the last edge would be at 207.00000000000003
        ([(795, 422, 908, 606), (194, 293, 391, 423), (388, 660, 577, 772)], 236),
        ([(24, 604, 151, 765), (282, 684, 397, 823), (749, 98, 882, 258)], 226),
    ],
)
def test_rounding_does_not_exceed_the_bound(boxes, max_side):
    _, width, height = UnifiedForegroundPacking(boxes, 1.5, (1100, 1100), max_side=max_side)
    assert max_side - 1e-6 < max(width, height) <= max_side


@pytest.mark.parametrize(
    ('boxes', 'message'),
    [
        ([(0, 0, 1, float('nan'))], 'finite'),
        ([(0, 0, 9, 9), (0, 0, float('inf'), 1)], 'box 1'),
        ([(10, 0, 9, 9)], 'x2 >= x1'),
        ([(0, 10, 9, 9)], 'y2 >= y1'),
        (np.zeros((3, 5)), r'\(N, 4\)'),
        (torch.zeros(4), r'\(N, 4\)'),
        ([(0, 0, 1)], r'\(N, 4\)'),
        ([(0, 0, 1, 'x')], 'numbers'),
    ],
)
def test_wrong_boxes(boxes, message):
    with pytest.raises(ModelInputError, match=message):
        UnifiedForegroundPacking(boxes, 1.5, HD)


@pytest.mark.parametrize(
    'arguments',
    [
        dict(input_shape=None), dict(input_shape=(0, 10)), dict(input_shape=(10.5, 10)), dict(input_shape=(10,)), dict(scale=0),
        dict(scale=float('nan')), dict(scale='1'), dict(mode='other'), dict(packing='other'), dict(max_side=0), dict(max_side=float('nan')),
    ],
    ids=str,
)  # fmt: skip
def test_wrong_arguments(arguments):
    with pytest.raises(ConfigError, match=next(iter(arguments))):
        UnifiedForegroundPacking([(0, 0, 9, 9)], **{'input_shape': HD, **arguments})


def test_regions_of_low_confidence_leave_no_gap(device):
    boxes = [[100, 100, 120, 120], [110, 100, 130, 120], [900, 500, 920, 520]]
    scores = [0.3, 0.2, 0.9]
    size = dict(input_shape=(1920, 1080))
    every, _, _ = UnifiedForegroundPacking(boxes, **size)
    assert len(every) == 2
    for rule, least, kept in (('max', 0.3, [0, 1]), ('max', 0.31, [1]), ('sum', 0.5, [0, 1]), ('sum', 0.51, [1])):
        found = UnifiedForegroundPacking(boxes, **size, scores=scores, min_score=least, score_rule=rule)[0]
        assert found[:, :4].tolist() == every[kept, :4].tolist(), (rule, least)
    alone = UnifiedForegroundPacking(boxes[2:], **size)
    (found, width, height) = pack_images(
        [torch.tensor(boxes).to(device)], [(1920, 1080)], scores=[torch.tensor(scores).to(device)], min_score=0.5
    )[0]
    assert found.tolist() == alone[0].tolist() and (width, height) == alone[1:], 'packed as if they had never been'
    assert UnifiedForegroundPacking([], **size, scores=[], min_score=0.5)[1:] == (0, 0)


def test_the_whole_image_is_packed_last():
    for mode, max_side in (('reference', None), ('exact', 300)):
        regions, width, height = UnifiedForegroundPacking(
            [[100, 100, 140, 130]], input_shape=(640, 480), mode=mode, max_side=max_side, whole_zoom=0.25
        )
        assert regions[-1, :4].tolist() == [0, 0, 640, 480] and len(regions) == 2
        assert regions[0, 6] == 2 and regions[1, 6] == pytest.approx(0.25) and max(width, height) <= (max_side or 640)
    assert len(UnifiedForegroundPacking([], input_shape=(640, 480), whole_zoom=0.25)[0]) == 0


@pytest.mark.parametrize(
    ('options', 'error', 'field'),
    [
        (dict(min_score=0.5), ConfigError, 'min_score'),
        (dict(min_score=0.5, scores=[1, 1]), ModelInputError, 'scores'),
        (dict(score_rule='mean'), ConfigError, 'score_rule'),
        (dict(whole_zoom=0), ConfigError, 'whole_zoom'),
    ],
)
def test_wrong_options_of_confidence_and_whole(options, error, field):
    with pytest.raises(error, match=field):
        UnifiedForegroundPacking([[0, 0, 9, 9]], input_shape=(64, 64), **options)
