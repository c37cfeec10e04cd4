"""The synthetic drone scenes: boxes against pixels, reproducibility, and what happens to folders and to several processes."""

import json
import multiprocessing
import sys

import cv2
import numpy as np
import pytest

from mmdet.datasets.drone_scenes import dataset as synthetic
from mmdet.datasets.drone_scenes.dataset import (
    CATEGORY_IDS,
    DroneScenesDataset,
    generate_drone_scenes,
    summarise_drone_scenes,
)
from mmdet.datasets.drone_scenes.drawing import (
    Camera,
    Light,
    Mesh,
    SceneObject,
    Sprite,
    rectangle,
    render,
    render_tree,
    resolve_visibility,
)
from mmdet.datasets.drone_scenes.layout import Plan, Scene, draw_scene
from mmdet.datasets.drone_scenes.objects import BUILDERS
from mmdet.errors import ConfigError, DataError
from mmdet.registry import DATASETS

SIZE = (480, 270)
SMALL = dict(num_train=3, num_val=2, size_wh=SIZE, workers=1)


@pytest.fixture
def camera() -> Camera:
    return Camera((320, 240), focal=400.0, distance=50.0, pitch=0.9)  # 8 pixels a metre in the middle


LIGHT = Light((0.5, 0.3, 0.81), ambient=0.6)


def _square(left: int, top: int, size: int, *, depth: float, label=None, ignored=False) -> Sprite:
    alpha = np.full((size, size), 255, np.uint8)
    return Sprite(np.full((size, size, 3), 90, np.uint8), alpha, left, top, depth, label, ignored)


def _files(root) -> dict:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob('*')) if path.is_file()}


# ---- one object


def test_empty_scene_has_no_objects():
    scene = draw_scene(np.random.default_rng(3), SIZE, empty=True)
    assert scene.objects == [] and scene.ignored == []
    assert scene.image.shape == (270, 480, 3) and scene.image.dtype == np.uint8
    assert scene.image.std() > 5  # there is ground to look at
    assert resolve_visibility([], SIZE) == ([], [], [])


def test_camera_maps_ground_to_image_and_back(camera):
    assert camera.project(np.zeros(3)).tolist() == [160.0, 120.0]
    points = np.array([[0.0, 0.0], [3.0, -7.0], [-11.0, 15.0]])
    np.testing.assert_allclose(camera.to_ground(camera.project(points)), points, atol=1e-9)
    for point in points:
        np.testing.assert_allclose(camera.project_ground_point(*point), camera.project(point))
        many = rectangle(np.stack([point, point + 1]), 0.7, 4.0, np.array([2.0, 3.0]))  # (2, 4, 2)
        np.testing.assert_allclose(many[0], rectangle(point, 0.7, 4.0, 2.0))
    assert camera.project(np.array([0.0, 0.0, 2.0]))[1] < 120  # what is high appears higher in the image
    cut = camera.in_front(rectangle((0.0, 0.0), 0.0, 10.0, 1000.0))
    assert len(cut) == 4 and camera.depth(cut).min() == pytest.approx(camera.nearest)


@pytest.mark.parametrize('label', BUILDERS)
def test_box_is_tight_around_the_pixels_that_the_object_changes(camera, label):
    rng = np.random.default_rng(5)
    for yaw in np.linspace(0, 2 * np.pi, 7):
        mesh, length, width = BUILDERS[label](rng)
        assert 0 < width <= length < 14
        sprite = render(mesh, camera, LIGHT, centre=rng.uniform(-4, 4, 2), yaw=yaw, label=label)
        (item,), kept, ignored = resolve_visibility([sprite], camera.size_wh)
        assert (item.label, item.truncation, item.occlusion, ignored) == (label, 0, 0, [])
        assert kept == [sprite]
        canvas = np.full((240, 320, 3), (255, 0, 255), np.uint8)
        sprite.paste(canvas)
        ys, xs = np.nonzero((canvas != (255, 0, 255)).any(-1))
        x, y, w, h = item.bbox
        changed = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
        np.testing.assert_allclose((x, y, x + w, y + h), changed, atol=1)


def test_size_in_the_image_follows_from_the_camera(camera):
    mesh = Mesh().box((-2, 2), (-1, 1), (0, 0.01), (200, 200, 200))
    sprite = render(mesh, camera, LIGHT, centre=(0.0, 0.0), yaw=0.0, label='car')
    (item,), _, _ = resolve_visibility([sprite], camera.size_wh)
    # 4 m at 8 pixels a metre; 2 m are foreshortened by the sine of the pitch
    assert item.bbox[2] == pytest.approx(32, abs=1) and item.bbox[3] == pytest.approx(16 * np.sin(0.9), abs=1.5)


def test_shadow_falls_away_from_the_sun_and_is_not_part_of_the_sprite(camera):
    mesh = Mesh().box((-0.5, 0.5), (-0.5, 0.5), (0, 4), (200, 200, 200))
    sprite = render(mesh, camera, Light((0.7, 0.0, 0.71), 0.6), centre=(0.0, 0.0), yaw=0.0)
    assert sprite.shadow[:, 0].min() < 160 - 8 * 4 < sprite.left


# ---- what is visible


def test_truncated_object_keeps_the_part_inside_and_gets_the_flag():
    objects, _, _ = resolve_visibility([_square(-8, 50, 20, depth=1, label='car')], SIZE)
    assert [(o.bbox, o.truncation, o.occlusion) for o in objects] == [((0, 50, 12, 20), 1, 0)]


def test_mostly_outside_or_outside_or_tiny_objects_are_taken_out():
    sprites = [
        _square(-15, 50, 20, depth=1, label='car'),
        _square(-40, 50, 20, depth=1, label='car'),
        _square(100, 100, 2, depth=1, label='car'),
    ]
    assert resolve_visibility(sprites, SIZE) == ([], [], [])


@pytest.mark.parametrize(
    ('cover_left', 'bbox', 'occlusion'),
    [(30, (10, 10, 20, 20), 0), (26, (10, 10, 16, 20), 1), (19, (10, 10, 9, 20), 2), (14, None, None)],
)
def test_box_covers_the_visible_part_of_an_occluded_object(cover_left, bbox, occlusion):
    cover = _square(cover_left, 0, 40, depth=5)
    objects, kept, _ = resolve_visibility([cover, _square(10, 10, 20, depth=9, label='van')], SIZE)
    assert [(o.bbox, o.occlusion) for o in objects] == ([] if bbox is None else [(bbox, occlusion)])
    assert len(kept) == 1 + len(objects)  # a hidden object is not drawn either


def test_taking_out_a_hidden_object_uncovers_what_is_behind_it():
    far = _square(10, 10, 20, depth=9, label='car')
    middle = _square(22, 10, 20, depth=6, label='car')  # hides two fifths of the far one, is hidden itself
    near = _square(24, 0, 60, depth=3)
    objects, kept, _ = resolve_visibility([near, middle, far], SIZE)
    assert [o.bbox for o in objects] == [(10, 10, 14, 20)]
    assert kept == [far, near]


def test_ignored_objects_become_one_region_and_swallow_others_inside_it():
    sprites = [_square(x, 10, 10, depth=5, label='car', ignored=True) for x in (10, 50)]
    sprites += [_square(30, 12, 6, depth=4, label='pedestrian'), _square(200, 12, 6, depth=4, label='pedestrian')]
    objects, kept, ignored = resolve_visibility(sprites, SIZE)
    assert ignored == [(10, 10, 50, 10)]
    assert [o.bbox for o in objects] == [(200, 12, 6, 6)]
    assert len(kept) == 4


def test_tree_covers_pixels_and_has_no_label(camera):
    tree = render_tree(np.random.default_rng(0), camera, LIGHT, centre=(0.0, 0.0), radius=3.0)
    assert tree.label is None and 800 < np.count_nonzero(tree.alpha > 127) < 3.2 * 31**2  # blobs reach 1.18 radii
    assert render_tree(np.random.default_rng(0), camera, LIGHT, centre=(0.0, 0.0), radius=0.1) is None


def test_plan_refuses_taken_ground(camera):
    plan = Plan(camera)
    plan.mark(plan.taken, rectangle((0.0, 0.0), 0.5, 5.0, 2.0))
    assert not plan.is_free(plan.taken, rectangle((1.0, 0.5), 0.0, 2.0, 2.0))
    assert plan.is_free(plan.taken, rectangle((0.0, 4.0), 0.5, 5.0, 2.0))
    assert plan.is_free(plan.taken, rectangle((1e4, 0.0), 0.5, 5.0, 2.0))


# ---- whole scenes


def test_objects_of_scenes_lie_in_the_image_and_are_mostly_small():
    sides = []
    for index in range(6):
        scene = draw_scene(np.random.default_rng([1, index]), (960, 540))
        for item in scene.objects:
            x, y, w, h = item.bbox
            assert x >= 0 and y >= 0 and x + w <= 960 and y + h <= 540 and min(w, h) >= 3
            assert item.truncation in (0, 1) and item.occlusion in (0, 1, 2) and item.label in CATEGORY_IDS
            sides.append((w * h) ** 0.5 / 2)
    assert len(sides) > 100
    assert 6 < np.median(sides) < 16 and max(sides) > 30


def test_drawing_does_not_depend_on_the_threads_of_opencv():
    threads = cv2.getNumThreads()
    images = []
    try:
        for count in (1, 4):
            cv2.setNumThreads(count)
            images.append(draw_scene(np.random.default_rng(7), SIZE).image)
    finally:
        cv2.setNumThreads(threads)
    assert np.array_equal(*images)


# ---- files


@pytest.fixture(scope='module')
def generated(tmp_path_factory):
    root = tmp_path_factory.mktemp('scenes') / 'set'
    return generate_drone_scenes(root, num_train=20, num_val=4, size_wh=SIZE, seed=1, workers=2)


def test_layout_and_agreement_of_txt_and_json(generated):
    assert sorted(path.name for path in generated.iterdir()) == ['annotations', 'manifest.json', 'train', 'val']
    for split, count in (('train', 20), ('val', 4)):
        document = json.loads((generated / 'annotations' / f'{split}.json').read_text())
        assert {c['name']: c['id'] for c in document['categories']} == CATEGORY_IDS
        assert [image['id'] for image in document['images']] == list(range(count))
        assert len({a['id'] for a in document['annotations']}) == len(document['annotations'])
        for image in document['images']:
            picture = cv2.imread(str(generated / split / 'images' / image['file_name']))
            assert picture.shape == (image['height'], image['width'], 3) == (270, 480, 3)
            text = (generated / split / 'annotations' / image['file_name']).with_suffix('.txt').read_text()
            rows = [[int(field) for field in line.split(',')] for line in text.splitlines()]
            mine = [a for a in document['annotations'] if a['image_id'] == image['id']]
            expected = [
                [*a['bbox'], 1, a['category_id'], a['truncation'], a['occlusion']] for a in mine if not a['iscrowd']
            ]
            assert [row for row in rows if row[5] != 0] == expected
            regions = [[*row[:4], category] for row in rows if row[5] == 0 for category in CATEGORY_IDS.values()]
            assert regions == [[*a['bbox'], a['category_id']] for a in mine if a['iscrowd']]
            assert all(row[4] == (row[5] != 0) and len(row) == 8 for row in rows)


def test_coco_document_by_hand():
    rows = [SceneObject('car', (3, 4, 10, 20), 1, 2), SceneObject('bus', (5, 6, 7, 8), 0, 0)]
    document = synthetic._coco_document('val', [([], []), (rows, [(1, 2, 30, 40)])], (480, 270))
    assert document['images'] == [
        {'id': 0, 'file_name': 'val_00000.jpg', 'width': 480, 'height': 270},
        {'id': 1, 'file_name': 'val_00001.jpg', 'width': 480, 'height': 270},
    ]
    first, second, *regions = document['annotations']
    assert first == {
        'id': 1, 'image_id': 1, 'category_id': 4, 'bbox': [3, 4, 10, 20], 'area': 200, 'iscrowd': 0,
        'truncation': 1, 'occlusion': 2,
    }  # fmt: skip
    assert (second['id'], second['category_id'], second['area'], second['iscrowd']) == (2, 9, 56, 0)
    assert [(item['id'], item['category_id']) for item in regions] == [(3, 1), (4, 4), (5, 5), (6, 6), (7, 9), (8, 10)]
    assert all(item['iscrowd'] == 1 and item['bbox'] == [1, 2, 30, 40] and item['area'] == 1200 for item in regions)
    assert document['categories'][0] == {'id': 1, 'name': 'pedestrian', 'supercategory': 'none'}


def test_txt_by_hand(tmp_path, monkeypatch):
    scene = Scene(
        np.zeros((4, 6, 3), np.uint8), [SceneObject('bus', (1, 2, 3, 4), 1, 2)], [(5, 6, 7, 8)]
    )  # fmt: skip
    monkeypatch.setattr(synthetic, '_scene', lambda *arguments: scene)
    for folder in ('images', 'annotations'):
        (tmp_path / 'train' / folder).mkdir(parents=True)
    rows, ignored = synthetic._write_image((tmp_path, 0, 'train', 12, (480, 270)))
    assert rows == scene.objects and ignored == [(5, 6, 7, 8)]
    text = (tmp_path / 'train' / 'annotations' / 'train_00012.txt').read_text()
    assert text == '5,6,7,8,0,0,0,0\n1,2,3,4,1,9,1,2\n'
    assert cv2.imread(str(tmp_path / 'train' / 'images' / 'train_00012.jpg')).shape == (4, 6, 3)


def test_one_scene_in_twenty_is_empty():
    assert synthetic.EMPTY_SHARE == 0.05
    seen = []
    for index in range(200):
        first = np.random.default_rng([3, 1, index]).random()
        seen.append(first < 0.05)
    index = seen.index(True)
    assert synthetic._scene(3, 'val', index, [160, 160]).objects == []
    assert any(synthetic._scene(3, 'val', seen.index(False) + i, [160, 160]).objects for i in range(3))


def test_summary_by_hand(tmp_path):
    boxes = {0: [(1, 16, 0), (4, 64, 0), (4, 999, 1)], 1: [], 2: [(4, 100, 0)]}
    annotations = [
        {'image_id': image, 'category_id': category, 'area': area, 'iscrowd': crowd}
        for image, rows in boxes.items()
        for category, area, crowd in rows
    ]
    categories = [{'id': number, 'name': name} for name, number in CATEGORY_IDS.items()]
    (tmp_path / 'annotations').mkdir()
    for split, width in (('train', 960), ('val', 240)):
        document = dict(
            images=[{'id': i, 'width': width} for i in range(3)], annotations=annotations, categories=categories
        )
        (tmp_path / 'annotations' / f'{split}.json').write_text(json.dumps(document))
    summary = summarise_drone_scenes(tmp_path)
    expected = dict(images=3, empty=1, objects=3, per_image=[0, 1, 2])
    expected['classes'] = dict(pedestrian=1, car=2, van=0, truck=0, bus=0, motor=0)
    # Sides of 4, 8 and 10 pixels, halved (doubled) by the resize to a width of 480.
    assert summary['train'] == expected | dict(side=[2.4, 3.0, 4.0, 4.5, 4.8])
    assert summary['val'] == expected | dict(side=[9.6, 12.0, 16.0, 18.0, 19.2])
    assert synthetic.summary_text(summary).splitlines()[:2] == [
        'train: 3 images (1 empty), 3 objects',
        '  objects an image, min / median / max: [0.0, 1.0, 2.0]',
    ]
    (tmp_path / 'annotations' / 'val.json').write_text(json.dumps(dict(images=[], annotations=[], categories=[])))
    assert summarise_drone_scenes(tmp_path)['val'] | dict(classes=None) == dict(
        images=0, empty=0, objects=0, per_image=[], classes=None, side=[]
    )


def test_preview_shows_boxes_and_regions(monkeypatch):
    scene = Scene(np.zeros((270, 480, 3), np.uint8), [SceneObject('car', (10, 20, 30, 40), 0, 0)], [(100, 50, 20, 10)])
    asked = []

    def fake(seed, split, index, size_wh):
        asked.append((seed, split, index, size_wh))
        return Scene(scene.image.copy(), scene.objects, scene.ignored)

    monkeypatch.setattr(synthetic, '_scene', fake)
    picture = synthetic.draw_preview(SIZE, seed=4, indices=(5, 6, 7, 8))
    assert asked == [(4, 'train', index, SIZE) for index in (5, 6, 7, 8)] and picture.shape == (540, 960, 3)
    green = synthetic.PALETTE[1][::-1]  # BGR
    assert tuple(picture[19, 9]) == tuple(picture[60, 40]) == tuple(picture[19 + 270, 9 + 480]) == green
    assert not picture[20:60, 10:40].any() and (picture[50, 100:120] == 255).all()


def test_summary_counts_what_is_there(generated):
    summary = summarise_drone_scenes(generated)
    assert summary['train']['images'] == 20 and summary['val']['images'] == 4
    assert summary['train']['objects'] == sum(summary['train']['classes'].values()) > 100
    assert set(summary['train']['classes']) == set(CATEGORY_IDS)


def test_bytes_depend_on_seed_split_and_index_only(generated, tmp_path):
    same = _files(generate_drone_scenes(tmp_path / 'same', num_train=2, num_val=1, size_wh=SIZE, seed=1, workers=1))
    files = _files(generated)
    for name in ('train/images/train_00000.jpg', 'train/images/train_00001.jpg', 'val/images/val_00000.jpg'):
        assert same[name] == files[name]
    assert files['train/images/train_00000.jpg'] != files['val/images/val_00000.jpg']
    other = _files(generate_drone_scenes(tmp_path / 'other', num_train=1, num_val=0, size_wh=SIZE, seed=2, workers=1))
    assert other['train/images/train_00000.jpg'] != files['train/images/train_00000.jpg']


def test_complete_set_is_used_again(tmp_path, monkeypatch):
    root = generate_drone_scenes(tmp_path / 'set', **SMALL)
    monkeypatch.setattr(synthetic, '_write_dataset', lambda *args: pytest.fail('generated twice'))
    assert generate_drone_scenes(root, **SMALL) == root


def test_missing_file_is_made_again_with_the_same_bytes(tmp_path):
    root = generate_drone_scenes(tmp_path / 'set', **SMALL)
    before = _files(root)
    (root / 'train' / 'images' / 'train_00001.jpg').unlink()
    generate_drone_scenes(root, **SMALL)
    assert _files(root) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ['.set.lock', 'set']


def test_set_with_other_arguments_is_refused_or_replaced_on_demand(tmp_path):
    root = generate_drone_scenes(tmp_path / 'set', **SMALL)
    with pytest.raises(DataError, match=r'seed.*overwrite=True'):
        generate_drone_scenes(root, **SMALL, seed=8)
    generate_drone_scenes(root, **SMALL, seed=8, overwrite=True)
    assert json.loads((root / 'manifest.json').read_text())['seed'] == 8


@pytest.mark.parametrize(
    'name', ['train/images/train_00001.jpg', 'train/annotations/train_00002.txt', 'annotations/val.json', 'more']
)
def test_incomplete_sets_are_noticed(tmp_path, name):
    root = generate_drone_scenes(tmp_path / 'set', **SMALL)
    request = synthetic._checked_request(num_train=3, num_val=2, size_wh=SIZE, seed=0)
    assert json.loads((root / 'manifest.json').read_text()).items() >= request.items()
    (root / 'train' / 'annotations' / 'train_00000.txt').write_text('')  # an image without objects
    assert synthetic._is_complete(root, request)
    if name == 'more':
        (root / 'val' / 'images' / 'val_00002.jpg').write_bytes(b'x')
    elif name.endswith('.jpg'):
        (root / name).write_bytes(b'')
    else:
        (root / name).unlink()
    assert not synthetic._is_complete(root, request)


@pytest.mark.parametrize('change', [dict(version=1), dict(size_wh=[480, 272]), dict(num_val=3), dict(generator='x')])
def test_sets_of_another_version_or_size_are_not_taken_for_this_one(tmp_path, change):
    root = generate_drone_scenes(tmp_path / 'set', **SMALL)
    manifest = json.loads((root / 'manifest.json').read_text())
    assert manifest['version'] == synthetic.VERSION == 2 and manifest['content']['train']['images'] == 3
    (root / 'manifest.json').write_text(json.dumps(manifest | change))
    with pytest.raises(DataError, match='left alone' if 'generator' in change else next(iter(change))):
        generate_drone_scenes(root, **SMALL)


@pytest.mark.parametrize('with_manifest', [False, True])
def test_folder_of_somebody_else_is_left_alone(tmp_path, with_manifest):
    root = tmp_path / 'set'
    if with_manifest:
        generate_drone_scenes(root, **SMALL)
    root.mkdir(exist_ok=True)
    (root / 'thesis.tex').write_text('precious')
    with pytest.raises(DataError, match='left alone'):
        generate_drone_scenes(root, **SMALL, seed=9, overwrite=True)
    assert (root / 'thesis.tex').read_text() == 'precious'


def test_failure_midway_leaves_nothing_behind(tmp_path, monkeypatch):
    draw, root = synthetic._write_image, tmp_path / 'set'

    def fail_at_the_third(job):
        if job[3] == 2:
            raise OSError('disk full')
        return draw(job)

    monkeypatch.setattr(synthetic, '_write_image', fail_at_the_third)
    with pytest.raises(OSError, match='disk full'):
        generate_drone_scenes(root, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ['.set.lock']
    (tmp_path / '.set.tmp-123').mkdir()  # as a killed process leaves it
    monkeypatch.undo()
    generate_drone_scenes(root, **SMALL)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['.set.lock', 'set']


@pytest.mark.skipif(sys.platform == 'win32', reason='needs fork')
def test_several_processes_at_once_generate_once(tmp_path, monkeypatch):
    write, log = synthetic._write_dataset, tmp_path / 'log'

    def logged(*args):
        with open(log, 'a') as file:
            file.write('x')
        write(*args)

    monkeypatch.setattr(synthetic, '_write_dataset', logged)
    context = multiprocessing.get_context('fork')
    processes = [
        context.Process(target=generate_drone_scenes, args=(tmp_path / 'set',), kwargs=SMALL) for _ in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert log.read_text() == 'x'


@pytest.mark.parametrize(
    ('arguments', 'field'),
    [
        (dict(num_train=-1), 'num_train'),
        (dict(num_val=2.5), 'num_val'),
        (dict(num_train=100000), 'num_train'),
        (dict(num_val=100000), 'num_val'),
        (dict(num_val=True), 'num_val'),
        (dict(seed='a'), 'seed'),
        (dict(seed=-1), 'seed'),
        (dict(size_wh=(960,)), 'size_wh'),
        (dict(size_wh=(159, 160)), 'size_wh'),
        (dict(size_wh=(160, 4097)), 'size_wh'),
        (dict(size_wh=(160.0, 160)), 'size_wh'),
        (dict(size_wh=960), 'size_wh'),
        (dict(workers=0), 'workers'),
        (dict(workers='all'), 'workers'),
    ],
)
def test_impossible_arguments_are_named(tmp_path, arguments, field):
    with pytest.raises(ConfigError, match=field):
        generate_drone_scenes(tmp_path / 'set', **arguments)
    assert not list(tmp_path.iterdir())


def test_limits_of_the_arguments_are_inclusive():
    request = synthetic._checked_request(num_train=99999, num_val=0, size_wh=[160, 4096], seed=0)
    expected = dict(generator='drone_scenes', version=2, num_train=99999, num_val=0, size_wh=[160, 4096], seed=0)
    assert request == expected


@pytest.mark.parametrize('workers', [1, 3, None])
def test_results_come_in_the_order_of_the_jobs(workers):
    threads = cv2.getNumThreads()
    assert synthetic._map(abs, list(range(-20, 0)), workers) == list(range(20, 0, -1))
    assert cv2.getNumThreads() == threads
    assert synthetic._map(abs, [], workers) == []


# ---- dataset


def test_dataset_generates_on_first_use_and_reads_the_boxes(tmp_path):
    root = tmp_path / 'data' / 'set'
    config = dict(
        type='DroneScenesDataset',
        data_root=str(root),
        ann_file='annotations/train.json',
        data_prefix=dict(img='train/images/'),
        generate=SMALL,
        pipeline=[],
    )
    assert DATASETS.build(dict(config, lazy_init=True)).metainfo['classes'] == tuple(CATEGORY_IDS)
    assert not root.exists()
    dataset = DATASETS.build(config)
    assert isinstance(dataset, DroneScenesDataset) and len(dataset) == 3
    document = json.loads((root / 'annotations' / 'train.json').read_text())
    for index in range(3):
        record = dataset.get_data_info(index)
        mine = [a for a in document['annotations'] if a['image_id'] == index]
        assert (record['width'], record['height']) == SIZE
        assert [i['ignore_flag'] for i in record['instances']] == [a['iscrowd'] for a in mine]
        names = [list(CATEGORY_IDS.values())[i['bbox_label']] for i in record['instances']]
        assert names == [a['category_id'] for a in mine]
    assert (
        len(DroneScenesDataset('annotations/val.json', data_root=str(root), generate=dict(SMALL), test_mode=True)) == 2
    )


def test_dataset_names_unknown_keys_and_missing_files(tmp_path):
    with pytest.raises(ConfigError, match='num_test'):
        DroneScenesDataset('annotations/val.json', generate=dict(num_test=3))
    with pytest.raises(DataError, match='no such file'):
        DroneScenesDataset('annotations/val.json', data_root=str(tmp_path / 'set'))


def test_base_config_holds_together(repository):
    from mmengine.config import Config

    config = Config.fromfile(repository / 'configs' / '_base_' / 'datasets' / 'drone_scenes.py')
    train, val = config.train_dataloader.dataset, config.val_dataloader.dataset
    assert train.type == val.type == 'DroneScenesDataset' and train.generate == val.generate
    assert config.val_evaluator.ann_file == val.data_root + val.ann_file


def test_command_line_makes_a_set_and_a_picture(tmp_path, capsys, repository):
    import runpy

    main = runpy.run_path(str(repository / 'tools' / 'misc' / 'make_drone_scenes.py'))['main']
    arguments = [str(tmp_path / 'set'), '--num-train', '1', '--num-val', '1', '--size', '480', '270', '--workers', '1']
    main([*arguments, '--preview', str(tmp_path / 'new' / 'grid.jpg')])
    assert 'train: 1 images' in capsys.readouterr().out
    assert cv2.imread(str(tmp_path / 'new' / 'grid.jpg')) is not None
    with pytest.raises(SystemExit, match='2'):
        main([*arguments, '--seed', '4'])
    assert 'other arguments' in capsys.readouterr().err
