import cv2
import numpy as np
import pytest

from mmdet.utils import ModelInputError
from mmdet.visualization import draw_boxes, legend_strip, palette, side_by_side, write_image
from mmdet.visualization.labels import font_scale, place_labels, text_height_px, text_size_wh
from mmdet_runtime.drawing import _ink_on, _line_width

RED, GREEN = (255, 0, 0), (0, 255, 0)


def grey(height=100, width=120):
    return np.full((height, width, 3), 90, np.uint8)


def test_no_boxes_leaves_the_image_as_it_is():
    image = grey(200, 300)
    drawn = draw_boxes(image, np.zeros((0, 4)), np.zeros(0, int), np.zeros(0))
    assert (drawn == image).all() and drawn is not image
    assert draw_boxes(image, [], []).shape == (200, 300, 3)


def test_one_box_pixel_by_pixel():
    image = grey()
    drawn = draw_boxes(image, [[10, 20, 30, 40]], [0], colors=[RED], show_labels=False, line_width=1)
    expected = grey()
    # The outline is the ring of pixels just outside the half-open box.
    expected[19, 9:31] = expected[40, 9:31] = RED
    expected[19:41, 9] = expected[19:41, 30] = RED
    np.testing.assert_array_equal(drawn, expected)
    assert (image == 90).all(), 'the input must not change'


def test_wider_lines_grow_outwards():
    drawn = draw_boxes(grey(), [[10, 20, 30, 40]], [0], colors=[RED], show_labels=False, line_width=3)
    assert (drawn[30, 7:10] == RED).all() and (drawn[30, 30:33] == RED).all()
    assert (drawn[20:40, 10:30] == 90).all()
    assert (drawn[30, 6] == 90).all() and (drawn[30, 33] == 90).all()


@pytest.mark.parametrize('order', [[0, 1], [1, 0]])
def test_small_boxes_keep_their_outlines(order):
    """A large and a small box share part of a column; the small one is drawn later, whatever the order."""
    boxes, labels = np.array([[10, 10, 60, 60], [10, 20, 20, 30]]), np.array([0, 1])
    drawn = draw_boxes(grey(), boxes[order], labels[order], colors=[RED, GREEN], show_labels=False, line_width=1)
    assert (drawn[19:31, 9] == GREEN).all()
    assert (drawn[9:19, 9] == RED).all() and (drawn[31:61, 9] == RED).all()
    # Of equally large ones the later is on top.
    drawn = draw_boxes(grey(), [[10, 10, 20, 20]] * 2, [0, 1], colors=[RED, GREEN], show_labels=False, line_width=1)
    assert (drawn[9:21, 9] == GREEN).all()


@pytest.mark.parametrize(
    'size_hw, short_side, line_width, expected',
    [
        ((1000, 1000), 900, None, 1),
        ((1080, 1920), 24, None, 2),
        ((1080, 1920), 23, None, 1),  # a wider line would swamp it
        ((2000, 2000), 36, None, 3),
        ((2000, 2000), 35, None, 1),
        ((1080, 1920), 5, 2.6, 3),
        ((1080, 1920), 500, 0.2, 1),
    ],
)
def test_line_widths(size_hw, short_side, line_width, expected):
    assert _line_width(np.array([0, 0, short_side, 1000]), *size_hw, line_width) == expected
    assert _line_width(np.array([0, 0, 1000, short_side]), *size_hw, line_width) == expected


def test_ignored_regions_are_dashed():
    drawn = draw_boxes(grey(), [], [], ignored=[[10, 20, 50, 60]], line_width=1)
    is_grey = (drawn == 170).all(-1)
    # Dashes of 4 pixels and as much between them, on the ring around the region.
    dashes = [9 <= x <= 50 and ((x - 9) % 8 <= 4) for x in range(120)]
    assert is_grey[19].tolist() == is_grey[60].tolist() == dashes
    assert (
        is_grey[:, 9].tolist() == is_grey[:, 50].tolist() == [19 <= y <= 60 and (y - 19) % 8 <= 4 for y in range(100)]
    )
    assert (drawn[20:60, 10:50] == 90).all()


@pytest.fixture
def written(monkeypatch):
    """The texts that are drawn, with their colours."""
    written = []
    for module in ('mmdet_runtime.drawing', 'mmdet.visualization.ufp'):
        monkeypatch.setattr(
            f'{module}.put_text',
            lambda image, text, origin, scale, color: written.append((text, tuple(color))),
        )
    return written


BLACK, WHITE = (0, 0, 0), (255, 255, 255)


@pytest.mark.parametrize(
    'scores, classes, options, expected',
    [
        (None, ['car'], {}, [('car', BLACK)]),
        ([0.876], ['car'], {}, [('car 0.88', BLACK)]),
        (None, None, {}, [('class 0', BLACK)]),
        (None, [], dict(colors=[RED]), [('class 0', WHITE)]),
        (None, ['car'], dict(text_color=(1, 2, 3)), [('car', (1, 2, 3))]),
        (None, ['car'], dict(show_labels=False), []),
    ],
)
def test_texts_of_labels(written, scores, classes, options, expected):
    draw_boxes(grey(), [[10, 50, 80, 90]], [0], scores, classes, legend=False, **{'colors': [GREEN], **options})
    assert written == expected


def test_class_of_a_label(written):
    draw_boxes(
        grey(300, 300), [[10, 50, 90, 90], [10, 150, 90, 190]], [-1, 2], None, ['car'], colors=[RED], legend=False
    )
    assert [text for text, _ in written] == ['car', 'class 2']
    drawn = draw_boxes(grey(), [[10, 20, 30, 40], [50, 20, 70, 40]], [0, 1], colors=[RED], show_labels=False)
    assert (drawn[30, 9] == RED).all() and (drawn[30, 49] == palette(2)[1]).all(), 'further classes take the palette'


@pytest.mark.parametrize('color, ink', [((110, 110, 110), WHITE), ((111, 111, 111), BLACK), ((0, 255, 0), BLACK), ((255, 0, 0), WHITE), ((0, 0, 255), WHITE)])  # fmt: skip
def test_ink(color, ink):
    assert _ink_on(color) == ink


def test_box_reaching_over_the_border_shows_at_the_border():
    drawn = draw_boxes(grey(), [[-50, 20, 200, 40]], [0], colors=[RED], show_labels=False, line_width=1)
    assert (drawn[30, 0] == RED).all() and (drawn[30, 119] == RED).all()


def test_alpha_blends():
    drawn = draw_boxes(
        grey(), [[10, 20, 30, 40]], [0], colors=[(190, 90, 90)], show_labels=False, line_width=1, alpha=0.5
    )
    assert drawn[30, 9].tolist() == [140, 90, 90]


def test_boxes_that_are_not_finite_are_left_out():
    drawn = draw_boxes(grey(), [[np.nan, 0, 5, 5], [np.inf, 0, 5, 5]], [0, 0], [0.5, 0.5])
    assert (drawn == 90).all()


@pytest.mark.parametrize(
    'image, boxes, labels, scores',
    [
        (np.zeros((10, 10), np.uint8), [], [], None),
        (np.zeros((10, 10, 3), np.float32), [], [], None),
        (np.zeros((0, 10, 3), np.uint8), [], [], None),
        (np.zeros((10, 10, 3), np.uint8), [[0, 0, 1, 1]], [], None),
        (np.zeros((10, 10, 3), np.uint8), [[0, 0, 1, 1]], [0], [0.5, 0.6]),
    ],
)
def test_bad_input(image, boxes, labels, scores):
    with pytest.raises(ModelInputError, match='Received'):
        draw_boxes(image, boxes, labels, scores)


def test_label_is_drawn_in_the_class_colour_above_the_box():
    drawn = draw_boxes(grey(), [[10, 50, 80, 90]], [0], [0.9], ['car'], colors=[GREEN], line_width=1)
    assert ((drawn[38:49, 10:40] == GREEN).all(axis=-1)).mean() > 0.4
    assert (drawn[:30] == 90).all()


def test_labels_never_overlap_nor_hide_other_boxes():
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, [940, 520], (500, 2))
    boxes = np.hstack([corner, corner + rng.uniform(8, 20, (500, 2))])
    sizes = [[(50, 12), (24, 12)]] * 500
    places = place_labels(boxes, sizes, image_wh=(960, 540))
    rectangles = np.array(
        [(x, y, x + sizes[i][k][0], y + sizes[i][k][1]) for i, p in enumerate(places) if p for k, x, y in [p]], float
    )
    assert len(rectangles) < 250, 'a crowd leaves most boxes without a label'
    lower = np.maximum(rectangles[:, None, :2], rectangles[None, :, :2])
    upper = np.minimum(rectangles[:, None, 2:], rectangles[None, :, 2:])
    shared = (upper - lower).clip(0).prod(-1)
    assert (shared - np.diag(np.diag(shared)) == 0).all()
    assert (rectangles >= 0).all() and (rectangles[:, 2] <= 960).all() and (rectangles[:, 3] <= 540).all()
    owners = [i for i, p in enumerate(places) if p]
    hidden = (
        (np.minimum(rectangles[:, None, 2:], boxes[:, 2:]) - np.maximum(rectangles[:, None, :2], boxes[:, :2]))
        .clip(0)
        .prod(-1)
    )
    hidden[np.arange(len(owners)), owners] = 0
    assert (hidden <= 0.1 * (boxes[:, 2:] - boxes[:, :2]).prod(-1) + 1e-9).all()


@pytest.mark.parametrize(
    'box, expected',
    [
        ([20, 30, 60, 60], (0, 19, 20)),  # above, left-aligned with the outline
        ([20, 5, 60, 45], (0, 19, 45)),  # no room above: below
        ([0, 0, 100, 80], (1, 0, 0)),  # fills the image: inside, with the shorter text
        ([75, 30, 95, 60], (0, 66, 20)),  # no room to the right: right-aligned with the outline
        ([30, 1, 46, 79], (0, 30, 1)),  # no room above and below: inside
        ([30, 1, 45, 79], None),  # where it would hide more than a quarter
    ],
)
def test_label_places(box, expected):
    sizes = [[(130, 10), (30, 10)]] if box[2] == 100 else [[(30, 10)]]
    assert place_labels(np.array([box]), sizes, image_wh=(100, 80)) == [expected]


@pytest.mark.parametrize(
    'other, expected',
    [
        ([0, 0, 100, 80], (0, 19, 20)),  # a tenth and less may be hidden
        ([19, 10, 31, 30], (0, 31, 20)),  # above, left-aligned, it would hide more: right-aligned
        ([19, 10, 61, 30], (0, 19, 50)),  # neither: below
        ([19, 15, 61, 75], None),  # nowhere
    ],
)
def test_labels_keep_other_boxes_visible(other, expected):
    places = place_labels(np.array([[20, 30, 60, 50], other]), [[(30, 10)], []], image_wh=(100, 80))
    assert places == [expected, None]


def test_a_small_box_is_named_only_where_it_stands_alone():
    """Smaller than 0.6 of its label of 30 x 10: no other box may be nearer to the label than its height."""
    for x2, other_x1, expected in ((30, 59, (0, 19, 20)), (30, 58, (0, 1, 20)), (38, 58, (0, 19, 20))):
        boxes = np.array([[20, 30, x2, 40], [other_x1, 25, other_x1 + 4, 50]])
        assert place_labels(boxes, [[(30, 10)], []], image_wh=(100, 80)) == [expected, None]


@pytest.mark.parametrize(
    'height, width, expected', [(100, 120, 8), (1080, 1920, 12), (2160, 3840, 24), (9000, 9000, 60)]
)
def test_text_grows_with_the_picture(height, width, expected):
    assert text_height_px(height, width) == expected
    assert text_size_wh('H', font_scale(expected))[1] == pytest.approx(expected, abs=1)


def test_no_label_places_for_no_boxes():
    assert place_labels(np.zeros((0, 4)), [], image_wh=(10, 10)) == []


@pytest.mark.parametrize('count', [0, 1, 10, 80, 400])
def test_palette_is_distinct_and_fixed(count):
    colors = palette(count)
    assert len(colors) == len(set(colors)) == count
    assert colors == palette(400)[:count]
    assert all(len(color) == 3 and all(0 <= channel <= 255 for channel in color) for color in colors)


def to_lab(rgb, matrix=None):
    """CIELAB (D65) of (N, 3) sRGB bytes, as seen through a linear-RGB colour-vision matrix."""
    linear = rgb / 255
    linear = np.where(linear <= 0.04045, linear / 12.92, ((linear + 0.055) / 1.055) ** 2.4)
    if matrix is not None:
        linear = (linear @ np.array(matrix).T).clip(0, 1)
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    xyz = linear @ np.array(to_xyz).T / [0.95047, 1, 1.08883]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)


@pytest.mark.parametrize(
    'matrix, smallest',
    [
        (None, 46),
        ([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]], 22),
        ([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]], 22),
    ],
    ids=['normal', 'protan', 'deutan'],
)
def test_first_ten_colours_differ_to_colour_blind_readers(matrix, smallest):
    lab = to_lab(np.array(palette(10), float), matrix)
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=-1) + 1e9 * np.eye(10)
    assert distance.min() > smallest


def test_legend_counts(written):
    boxes = [[10, 10, 20, 20], [30, 10, 40, 20], [50, 10, 60, 20]]
    drawn = draw_boxes(
        grey(200, 400), boxes, [2, 0, 2], None, ['car', 'van', 'bus'], show_labels=False, ignored=[[1, 1, 9, 9]]
    )
    assert [text for text, _ in written] == ['4 objects', 'car 1', 'bus 2', 'ignored 1']
    assert drawn.shape[0] > 200 and drawn.shape[1] == 400


def test_legend_sums_up_what_does_not_fit(written):
    entries = [(f'class {k}', 1, RED) for k in range(100)]
    strip = legend_strip(300, entries, text_px=8, max_rows=2)
    texts = [text for text, _ in written]
    shown = [text for text in texts if text.startswith('class')]
    assert texts[0] == '100 objects' and texts[-1] == f'+{100 - len(shown)} more' and 0 < len(shown) < 20
    assert strip.shape == (2 * 17, 300, 3)


def test_a_fixed_number_of_legend_rows_fixes_the_size():
    many = draw_boxes(grey(200, 300), [[10, 10, 20, 20]] * 30, list(range(30)), legend=1)
    none = draw_boxes(grey(200, 300), [], [], legend=1)
    assert many.shape == none.shape == (217, 300, 3)
    assert draw_boxes(grey(200, 300), [[1, 1, 5, 5]], [0], legend=False).shape == (200, 300, 3)
    assert (
        draw_boxes(grey(200, 300), many_boxes := [[10, 10, 20, 20]] * 30, list(range(30)), legend=3).shape[0]
        == 200 + 3 * 17
    )
    # A picture with a side below 128 pixels has no room for a legend, nor has one without boxes any need.
    assert [draw_boxes(grey(height, 300), many_boxes, [0] * 30).shape[0] for height in (127, 128)] == [127, 145]
    assert draw_boxes(grey(200, 300), [], [], ignored=[[1, 1, 9, 9]]).shape[0] == 217


def test_legend_entries_carry_their_colours(written):
    strip = legend_strip(300, [('a', 1, RED), ('b', 2, GREEN)], text_px=8, noun='region')
    assert [text for text, _ in written] == ['3 regions', 'a 1', 'b 2']
    assert strip.shape == (17, 300, 3)
    left = {color: np.argwhere((strip == color).all(-1))[:, 1] for color in (RED, GREEN)}
    assert all(len(columns) == 9 * 9 for columns in left.values()), 'a square of 1.1 letter heights each'
    assert left[RED].max() < left[GREEN].min()
    assert legend_strip(300, [('a', 1, RED)], text_px=8).shape[0] == 17 and written[3][0] == '1 object'


def test_side_by_side():
    left, right = grey(200, 300), draw_boxes(grey(200, 300), [[10, 10, 20, 20]], [0])
    joined = side_by_side(left, right)
    assert joined.shape == (right.shape[0] + 22, 300 * 2 + 2, 3) and right.shape[0] == 217, (
        'titles of 2.8 letter heights'
    )
    assert (joined[:, 300:302] == 255).all() and (joined[22:222, :300] == 90).all()
    assert (joined[222:, :300] == [28, 28, 30]).all(), 'the lower picture is filled up'
    assert side_by_side(left, right, None).shape[0] == 217
    small = side_by_side(grey(10, 12), grey(10, 12) + 1)
    assert small.shape == (10, 24, 3) and (small[:, :12] == 90).all() and (small[:, 12:] == 91).all()


def test_titles(written):
    side_by_side(grey(200, 300), grey(200, 300), ('left', 'right'))
    side_by_side(grey(200, 300), grey(200, 300))
    assert [text for text, _ in written] == ['left', 'right', 'ground truth', 'predictions']


def test_write_image(tmp_path):
    write_image(tmp_path / 'new' / 'x.png', grey())
    assert [p.name for p in (tmp_path / 'new').iterdir()] == ['x.png']
    ramp = np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3)
    write_image(tmp_path / 'new' / 'x.png', ramp)
    assert (cv2.imread(str(tmp_path / 'new' / 'x.png'))[..., ::-1] == ramp).all()
    sizes = []
    for name, quality in (('a.jpg', 20), ('b.JPEG', 92)):
        write_image(
            tmp_path / name, np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8), jpeg_quality=quality
        )
        sizes.append((tmp_path / name).stat().st_size)
    assert sizes[0] * 2 < sizes[1]
    with pytest.raises(ModelInputError, match=r'x\.xyz: cannot be encoded \(.*; use \.jpg or \.png'):
        write_image(tmp_path / 'x.xyz', grey())


def test_real_crowd(sample_data):
    """182 ground-truth rows of a real street scene: the sky stays untouched, boxes keep their interiors."""
    folder = sample_data / 'visdrone' / 'VisDrone2019-DET-val'
    name = '0000291_00001_d_0000868'
    image = cv2.imread(str(folder / 'images' / f'{name}.jpg'))[..., ::-1]
    rows = [line.strip(',').split(',') for line in (folder / 'annotations' / f'{name}.txt').read_text().split()]
    rows = np.array([[int(value) for value in row[:6]] for row in rows])
    boxes = np.hstack([rows[:, :2], rows[:, :2] + rows[:, 2:4]])
    counted = (rows[:, 5] > 0) & (rows[:, 5] < 11)
    drawn = draw_boxes(image, boxes[counted], rows[counted, 5] - 1, None, [f'c{k}' for k in range(10)])
    height = image.shape[0]
    changed = (drawn[:height] != image).any(-1)
    assert not changed[:380].any()
    assert changed.mean() < 0.05
