"""Camera, meshes, sprites and layout of the drone scenes against values worked out by hand, and whole scenes by checksum."""

import hashlib
import math

import cv2
import numpy as np
import pytest

from mmdet.datasets.drone_scenes.drawing import (
    Camera,
    Light,
    Mesh,
    SceneObject,
    Sprite,
    fill,
    rectangle,
    render,
    resolve_visibility,
)
from mmdet.datasets.drone_scenes.layout import LANE, Plan, Road, draw_scene

SIZE = (320, 240)
STEEP = Camera(SIZE, focal=400.0, distance=50.0, pitch=math.asin(0.8))  # sine 0.8, cosine 0.6


# ---- camera and light


def test_camera_by_hand():
    assert STEEP.position == pytest.approx([0.0, -30.0, 40.0])
    assert STEEP.nearest == pytest.approx(15.0)
    points = np.array([[0.0, 0, 0], [0, 10, 0], [7, 0, 5], [1, -10, 20]])
    assert STEEP.depth(points) == pytest.approx([50.0, 56.0, 46.0, 28.0])  # 0.6 y - 0.8 z + 50
    assert STEEP.depth(points[:2, :2]) == pytest.approx([50.0, 56.0])
    # x * 400 / depth + 160, 120 - (0.8 y + 0.6 z) * 400 / depth
    expected = [
        [160, 120],
        [160, 120 - 3200 / 56],
        [160 + 2800 / 46, 120 - 1200 / 46],
        [160 + 400 / 28, 120 - 1600 / 28],
    ]
    np.testing.assert_allclose(STEEP.project(points), expected)
    assert STEEP.project_ground_point(0.0, 10.0) == pytest.approx((160, 120 - 3200 / 56))
    assert STEEP.project_ground_point(7.0, 0.0) == pytest.approx((160 + 56, 120))
    np.testing.assert_allclose(STEEP.to_ground(np.array([216.0, 120.0])), [7.0, 0.0], atol=1e-12)


def test_what_is_behind_the_camera_is_projected_as_from_one_metre():
    assert STEEP.project(np.array([0.0, -1000.0])).tolist() == pytest.approx([160.0, 120 + 800 * 400])
    assert STEEP.project_ground_point(2.0, -1000.0) == pytest.approx((160 + 800, 120 + 800 * 400))


def test_polygons_are_cut_at_the_nearest_depth():
    # Depth is 0.6 y + 50 on the ground, so that the cut is at y = -35 / 0.6.
    limit = -35 / 0.6
    whole = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 2.0]])
    np.testing.assert_array_equal(STEEP.in_front(whole), whole)
    cut = STEEP.in_front(np.array([[0.0, limit + 10], [2.0, limit - 10], [4.0, limit + 10]]))
    np.testing.assert_allclose(cut, [[0, limit + 10], [1, limit], [3, limit], [4, limit + 10]])
    assert STEEP.in_front(whole - [0, 100]).shape == (0, 2)


def test_shadow_by_hand():
    light = Light((0.6, 0.0, 0.8), ambient=0.5)
    points = np.array([[1.0, 2.0, 0.0], [1.0, 2.0, 4.0]])
    np.testing.assert_allclose(light.shadow_of(points), [[1, 2], [-2, 2]])  # 4 * 0.6 / 0.8 metres away from the sun


# ---- polygons and meshes


def test_rectangle_by_hand():
    corners = [[-2, -1], [2, -1], [2, 1], [-2, 1]]
    np.testing.assert_allclose(rectangle((3.0, 5.0), 0.0, 4.0, 2.0), np.add(corners, [3, 5]))
    turned = [[1, -2], [1, 2], [-1, 2], [-1, -2]]  # by a quarter: length along y
    np.testing.assert_allclose(rectangle((3.0, 5.0), math.pi / 2, 4.0, 2.0), np.add(turned, [3, 5]), atol=1e-12)
    many = rectangle(np.array([[3.0, 5.0], [0.0, 0.0]]), math.pi / 2, 4.0, np.array([2.0, 6.0]))
    np.testing.assert_allclose(many[0], np.add(turned, [3, 5]), atol=1e-12)
    np.testing.assert_allclose(many[1], [[3, -2], [3, 2], [-3, 2], [-3, -2]], atol=1e-12)


def test_fill_covers_the_pixels_inside_and_blends_those_around():
    canvas = np.zeros((9, 10), np.uint8)
    fill(canvas, np.array([[2.0, 3.0], [6.0, 3.0], [6.0, 5.0], [2.0, 5.0]]), 200)
    assert (canvas[3:5, 2:6] == 200).all() and (canvas == 200).sum() <= 12
    canvas[2:6, 1:7] = 0
    assert canvas.max() <= 4
    both = np.zeros((8, 20), np.uint8)
    square = np.array([[2.0, 3.0], [6.0, 3.0], [6.0, 5.0], [2.0, 5.0]])
    fill(both, np.stack([square, square + [10, 0]]), 200)
    assert (both[3:5, 2:6] == 200).all() and (both[3:5, 12:16] == 200).all()
    untouched = np.zeros((8, 10), np.uint8)
    fill(untouched, np.zeros((0, 4, 2)), 200)
    fill(untouched, square + [0, 1e6], 200)
    assert not untouched.any()


def test_mesh_by_hand():
    mesh = Mesh().box(
        (-2, 3), (-1, 1), (0, 4), (10, 20, 30), taper=(0.5, 1.5, 0.25), roof=(1, 2, 3), front=(4, 5, 6), level=2
    )
    floor = [[-2, -1, 0], [3, -1, 0], [-2, 1, 0], [3, 1, 0]]
    top = [[-1.5, -0.75, 4], [1.5, -0.75, 4], [-1.5, 0.75, 4], [1.5, 0.75, 4]]
    assert mesh.vertices().tolist() == [floor + top]
    assert mesh.levels == [2]
    side = (10, 20, 30)
    assert mesh.colours == [(side, side, (4, 5, 6), side, (1, 2, 3))]  # left, right, front, rear, roof


def test_faces_get_their_own_light():
    # Seen from straight above with a sun in the east: the roof of a flat box has ambient + (1 - ambient) * 0.8.
    above = Camera(SIZE, focal=400.0, distance=50.0, pitch=math.pi / 2)
    mesh = Mesh().box((-2, 2), (-1, 1), (0, 0.001), (100, 200, 50))
    sprite = render(mesh, above, Light((0.6, 0.0, 0.8), 0.5), centre=(1.0, 0.0), yaw=0.0, label='car')
    middle = sprite.bgr[sprite.bgr.shape[0] // 2, sprite.bgr.shape[1] // 2].tolist()
    assert middle == pytest.approx([90, 180, 45], abs=1)
    assert (sprite.label, sprite.ignored) == ('car', False) and sprite.depth == pytest.approx(50.0)
    assert cv2.countNonZero(cv2.inRange(sprite.alpha, 128, 255)) == pytest.approx(32 * 16, abs=50)


# ---- sprites and visibility


def square(left, top, size, *, depth=1.0, label='car', ignored=False, value=90, alpha=255):
    coverage = np.full((size, size), alpha, np.uint8)
    return Sprite(np.full((size, size, 3), value, np.uint8), coverage, left, top, depth, label, ignored)


def test_paste_blends_and_cuts():
    canvas = np.full((4, 5, 3), 100, np.uint8)
    square(-1, 2, 3, value=60, alpha=128).paste(canvas)
    # 60 + 100 * (255 - 128) / 255 = 109.8
    assert canvas[:, :, 0].tolist() == [[100] * 5, [100] * 5, [110, 110, 100, 100, 100], [110, 110, 100, 100, 100]]
    square(0, 0, 1, value=250, alpha=0).paste(canvas)
    assert canvas[0, 0].tolist() == [255] * 3  # saturated
    before = canvas.copy()
    for left, top in ((5, 0), (0, 4), (-3, 0), (0, -3)):
        square(left, top, 3).paste(canvas)
    assert np.array_equal(canvas, before)
    square(4, 3, 3, value=7).paste(canvas)
    assert canvas[3, 4].tolist() == [7] * 3 and canvas[3, 3].tolist() == [100] * 3


def hide(columns, of=20, **kwargs):
    """Objects of a scene in which the right ``columns`` of an object of ``of`` columns are hidden."""
    sprites = [square(10, 10, of, depth=9)]
    if columns:
        sprites.append(square(10 + of - columns, 0, 60, depth=5, label=None))
    return resolve_visibility(sprites, SIZE)[0]


@pytest.mark.parametrize(
    ('columns', 'occlusion'),
    [(0, 0), (1, 1), (10, 1), (11, 2), (13, 2), (14, None)],  # 20 columns: 95 %, 50 %, 45 %, 35 % and 30 % are visible
)
def test_limits_of_the_occlusion(columns, occlusion):
    assert [item.occlusion for item in hide(columns)] == ([] if occlusion is None else [occlusion])


def test_limits_of_the_size_and_of_the_part_inside():
    assert hide(0, of=3) == [SceneObject('car', (10, 10, 3, 3), 0, 0)]
    assert hide(0, of=2) == []
    inside, _, _ = resolve_visibility([square(-13, 50, 20)], SIZE)  # 7 of 20 columns are in the image: 35 %
    assert inside == [SceneObject('car', (0, 50, 7, 20), 1, 0)]
    assert resolve_visibility([square(-14, 50, 20)], SIZE)[0] == []
    for left, top, box in ((310, 50, (310, 50, 10, 20)), (100, -8, (100, 0, 20, 12)), (100, 228, (100, 228, 20, 12))):
        assert resolve_visibility([square(left, top, 20)], SIZE)[0] == [SceneObject('car', box, 1, 0)]


def test_coverage_of_one_half_counts():
    assert len(resolve_visibility([square(10, 10, 5, alpha=128)], SIZE)[0]) == 1
    assert resolve_visibility([square(10, 10, 5, alpha=127)], SIZE)[0] == []


def test_sprites_are_painted_from_far_to_near():
    sprites = [square(10 * i, 10, 5, depth=depth) for i, depth in enumerate((3.0, 9.0, 5.0))]
    _, kept, _ = resolve_visibility(sprites, SIZE)
    assert [sprite.depth for sprite in kept] == [9.0, 5.0, 3.0]
    assert kept == [sprites[1], sprites[2], sprites[0]]


@pytest.mark.parametrize(('left', 'kept'), [(60, 0), (65, 1), (66, 1)])
def test_objects_more_than_half_inside_an_ignored_region_are_not_annotated(left, kept):
    sprites = [square(10, 10, 10, ignored=True, depth=5), square(60, 40, 10, ignored=True, depth=5)]
    # The region is (10, 10, 60, 40); the object stands 10, 5 or 4 of its 10 columns inside.
    objects, _, ignored = resolve_visibility([*sprites, square(left, 20, 10, label='van', depth=2)], SIZE)
    assert ignored == [(10, 10, 60, 40)]
    assert [item.label for item in objects] == ['van'] * kept


# ---- layout


def test_road_by_hand():
    road = Road(np.array([1.0, 2.0]), yaw=math.pi / 2, lanes=2)
    assert road.half_width == pytest.approx(2 * LANE + 0.4)
    assert road.at(5.0, 3.0) == pytest.approx((-2.0, 7.0))  # along y; left of it is -x
    along, across = road.at(np.array([0.0, 5.0]), np.array([0.0, -1.0]))
    np.testing.assert_allclose([along, across], [[1, 2], [2, 7]])


def test_plan_marks_quarter_metres():
    plan = Plan(STEEP)
    view = STEEP.to_ground(np.array([[0, 0], [320, 0], [0, 240], [320, 240]], float))
    np.testing.assert_allclose(plan.low, view.min(0) - 12)
    np.testing.assert_allclose(plan.zones.shape[::-1], np.ceil((view.max(0) - view.min(0) + 24) * 4))
    plan.mark(plan.taken, rectangle((0.0, 0.0), 0.0, 4.0, 2.0))
    assert plan.taken.sum() == pytest.approx(17 * 9, abs=26) and not plan.zones.any()
    assert not plan.is_free(plan.taken, rectangle((3.0, 0.0), 0.0, 2.0, 2.0))  # they touch
    assert plan.is_free(plan.taken, rectangle((3.6, 0.0), 0.0, 2.0, 2.0))
    assert plan.is_free(plan.zones, rectangle((0.0, 0.0), 0.0, 4.0, 2.0))
    # The bounding boxes overlap, the turned rectangles do not.
    assert plan.is_free(plan.taken, rectangle((2.6, 1.6), -math.pi / 4, 3.0, 0.2))
    for far in ((1e4, 0.0), (-1e4, 0.0), (0.0, 1e4), (0.0, -1e4)):
        assert plan.is_free(plan.taken, rectangle(far, 0.0, 2.0, 2.0))


# ---- whole scenes


@pytest.mark.parametrize(
    ('seed', 'size_wh', 'objects', 'checksum'),
    [
        (0, (480, 270), 80, '10d7f7e6e05fc6b6'),
        (1, (321, 242), 107, '6ff3cad1c98f4a92'),
        (2, (640, 360), 54, '8258c0e6000b1ace'),
        (3, (480, 270), 51, '504535795bb11639'),
        (5, (640, 360), 0, '72e141ee8cc54e80'),  # empty
        (7, (321, 242), 66, 'b4711d7bf1c26613'),
        (11, (640, 360), 42, '7565c3ae7bcb9086'),
        (103, (321, 242), 62, '9b7291b7f748f2c1'),  # with an ignored region
        (120, (480, 270), 8, '3d91e698855c9930'),  # with an ignored region
        (122, (640, 360), 55, '3d4cd64d0b81bd65'),  # with an ignored region
    ],
)
def test_scenes_stay_as_they_are(seed, size_wh, objects, checksum):
    """A scene is a function of its seed. Whoever changes the drawing on purpose raises ``dataset.VERSION``."""
    rng = np.random.default_rng([seed, 0, 3 * seed])
    scene = draw_scene(rng, size_wh, empty=seed == 5)
    digest = hashlib.sha256(scene.image.tobytes())
    digest.update(repr([(o.label, o.bbox, o.truncation, o.occlusion) for o in scene.objects]).encode())
    digest.update(repr(scene.ignored).encode())
    digest.update(repr(rng.random()).encode())  # as many random numbers were drawn
    assert (len(scene.objects), digest.hexdigest()[:16]) == (objects, checksum)
