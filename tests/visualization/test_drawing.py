import numpy as np
import pytest

from mmdet.utils import ModelInputError
from mmdet.visualization import draw_boxes, legend_strip, palette, side_by_side, write_image
from mmdet.visualization.labels import place_labels

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
    ],
)
def test_label_places(box, expected):
    sizes = [[(130, 10), (30, 10)]] if box[2] == 100 else [[(30, 10)]]
    assert place_labels(np.array([box]), sizes, image_wh=(100, 80)) == [expected]


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


def test_legend_counts(monkeypatch):
    written = []
    monkeypatch.setattr('mmdet.visualization.drawing.put_text', lambda image, text, *args: written.append(text))
    boxes = [[10, 10, 20, 20], [30, 10, 40, 20], [50, 10, 60, 20]]
    drawn = draw_boxes(
        grey(200, 400), boxes, [2, 0, 2], None, ['car', 'van', 'bus'], show_labels=False, ignored=[[1, 1, 9, 9]]
    )
    assert written == ['4 objects', 'car 1', 'bus 2', 'ignored 1']
    assert drawn.shape[0] > 200 and drawn.shape[1] == 400


def test_legend_sums_up_what_does_not_fit(monkeypatch):
    written = []
    monkeypatch.setattr('mmdet.visualization.drawing.put_text', lambda image, text, *args: written.append(text))
    entries = [(f'class {k}', 1, RED) for k in range(100)]
    strip = legend_strip(300, entries, text_px=8, max_rows=2)
    shown = [text for text in written if text.startswith('class')]
    assert written[0] == '100 objects' and written[-1] == f'+{100 - len(shown)} more' and 0 < len(shown) < 20
    assert strip.shape == (2 * 17, 300, 3)


def test_a_fixed_number_of_legend_rows_fixes_the_size():
    many = draw_boxes(grey(200, 300), [[10, 10, 20, 20]] * 30, list(range(30)), legend=1)
    none = draw_boxes(grey(200, 300), [], [], legend=1)
    assert many.shape == none.shape == (217, 300, 3)
    assert draw_boxes(grey(200, 300), [[1, 1, 5, 5]], [0], legend=False).shape == (200, 300, 3)


def test_side_by_side():
    left, right = grey(200, 300), draw_boxes(grey(200, 300), [[10, 10, 20, 20]], [0])
    joined = side_by_side(left, right)
    assert joined.shape[1] == 300 * 2 + 2 and joined.shape[0] > right.shape[0] > 200
    small = side_by_side(grey(10, 12), grey(10, 12))
    assert small.shape == (10, 24, 3)


def test_write_image(tmp_path):
    write_image(tmp_path / 'new' / 'x.png', grey())
    assert [p.name for p in (tmp_path / 'new').iterdir()] == ['x.png']
    with pytest.raises(ModelInputError, match='xyz'):
        write_image(tmp_path / 'x.xyz', grey())


def test_real_crowd(sample_data):
    """182 ground-truth rows of a real street scene: the sky stays untouched, boxes keep their interiors."""
    import cv2

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
