"""The seven curves on a few boxes. Labels: 0 car, 1 bus (both vehicles), 2 dog."""

import json

import numpy as np
import pytest

from mmdet.analysis import analyze_error_files, analyze_errors, write_error_analysis
from mmdet.analysis.error_analysis import _with_others
from mmdet.analysis.error_plots import _file_stems
from mmdet.evaluation import Detections, GroundTruth
from mmdet.utils import ConfigError, DataError

from .cases import CLASSES, write_coco_folder, write_coco_results

CAR, BUS, DOG = range(3)
GROUPS = (0, 0, 1)
BOX = (0, 0, 40, 40)


def analyze(gt, dt, groups=GROUPS, **arguments):
    """``gt`` rows are (x, y, w, h, label), ``dt`` rows (x, y, w, h, score, label); one image."""
    gt, dt = np.asarray(gt, float).reshape(-1, 5), np.asarray(dt, float).reshape(-1, 6)
    return analyze_errors(
        GroundTruth(np.zeros(len(gt)), gt[:, 4], gt[:, :4]),
        Detections(np.zeros(len(dt)), dt[:, 5], dt[:, :4], score=dt[:, 4]),
        classes=CLASSES, num_images=1, groups=groups, **arguments,
    )  # fmt: skip


def test_nothing_at_all():
    analysis = analyze([], [])
    assert analysis.values() is None and analysis.curves('car') is None
    assert '-' in analysis.table()


# One car; a correct detection at score 0.5, and one mistake of each kind before it: average precision 1/2 until forgiven.
@pytest.mark.parametrize(
    'others, dt, expected',
    [
        ([], [(*BOX, 0.5, CAR)], dict(C75=1, C50=1, Loc=1, Sim=1, Oth=1, BG=1, FN=1)),
        ([], [], dict(C75=0, C50=0, Loc=0, Sim=0, Oth=0, BG=0, FN=1)),
        ([], [(0, 0, 40, 24, 0.5, CAR)], dict(C75=0, C50=1, Loc=1, Sim=1, Oth=1, BG=1, FN=1)),
        ([], [(0, 0, 40, 30, 0.5, CAR)], dict(C75=1, C50=1, Loc=1, Sim=1, Oth=1, BG=1, FN=1)),
        ([], [(0, 0, 40, 20, 0.5, CAR)], dict(C75=0, C50=1, Loc=1, Sim=1, Oth=1, BG=1, FN=1)),
        ([], [(0, 0, 40, 4, 0.5, CAR)], dict(C75=0, C50=0, Loc=1, Sim=1, Oth=1, BG=1, FN=1)),
        ([], [(0, 0, 40, 3.9, 0.5, CAR)], dict(C75=0, C50=0, Loc=0, Sim=0, Oth=0, BG=0, FN=1)),
        (
            [(100, 0, 40, 40, BUS)],
            [(*BOX, 0.5, CAR), (100, 0, 40, 40, 0.9, CAR)],
            dict(C75=0.5, C50=0.5, Loc=0.5, Sim=1, Oth=1, BG=1, FN=1),
        ),
        (
            [(100, 0, 40, 40, DOG)],
            [(*BOX, 0.5, CAR), (100, 0, 40, 40, 0.9, CAR)],
            dict(C75=0.5, C50=0.5, Loc=0.5, Sim=0.5, Oth=1, BG=1, FN=1),
        ),
        (
            [],
            [(*BOX, 0.5, CAR), (100, 0, 40, 40, 0.9, CAR)],
            dict(C75=0.5, C50=0.5, Loc=0.5, Sim=0.5, Oth=0.5, BG=1, FN=1),
        ),
    ],
)
def test_one_kind_of_mistake(others, dt, expected):
    assert analyze([(*BOX, CAR), *others], dt).values('car') == expected


def test_table_and_plain_values():
    analysis = analyze([(*BOX, CAR), (200, 200, 40, 40, CAR), (100, 100, 10, 10, DOG)], [(*BOX, 0.9, CAR)])
    rows = [line.split('|')[1:-1] for line in analysis.table().splitlines() if '|' in line]
    cells = [[cell.strip() for cell in row] for row in rows]
    assert cells[0] == ['class', 'C75', 'C50', 'Loc', 'Sim', 'Oth', 'BG', 'FN', 'objects']
    assert ['car', *['0.505'] * 6, '1.000', '2'] in cells and ['bus', *['-'] * 7, '0'] in cells
    assert cells[-1] == ['allclass', *['0.252'] * 6, '1.000', '3']
    content = analysis.as_dict()
    assert content['objects'] == dict(car=2, bus=0, dog=1) and list(content['values']) == [
        'all',
        'small',
        'medium',
        'large',
    ]
    assert content['values']['small']['dog']['FN'] == 1 and content['values']['large']['dog'] is None
    assert analysis.curves('car')[0].tolist() == [1.0] * 51 + [0.0] * 50


def test_crowds_and_limits():
    """A crowd is neither missed nor counted; of a class only the best detections count."""
    image, label, boxes = np.zeros(2), np.array([CAR, CAR]), np.array([[*BOX], [100, 0, 40, 40]], float)
    gt = GroundTruth(image, label, boxes, crowd=np.array([False, True]))
    dt = Detections(image, label, boxes, score=np.array([0.5, 0.9]))
    analysis = analyze_errors(gt, dt, classes=CLASSES, num_images=1, max_dets=2)
    assert analysis.gt_count.tolist() == [1, 0, 0] and set(analysis.values('car').values()) == {1.0}
    assert analyze_errors(gt, dt, classes=CLASSES, num_images=1, max_dets=1).values('car')['C50'] == 0


def test_names_of_files():
    assert list(_file_stems(['car', 'a b/c', 'a b c', 'a.b-c_d', 'é', 'a_b_c'])) == [
        'car', 'a_b_c', 'a_b_c_2', 'a.b-c_d', 'é', 'a_b_c_3',
    ]  # fmt: skip


@pytest.mark.parametrize(
    'group_of, rows, labels',
    [
        # Image 0 holds a dog (row 1) and a bus (row 3), image 1 a car (row 0), image 2 a dog (row 2).
        (None, [3, 1, 0], [DOG, BUS, DOG]),
        (np.array(GROUPS), [], []),
        (np.array([1, 0, 0]), [3, 1], [DOG, BUS]),
    ],
)
def test_objects_of_other_classes_become_crowds(group_of, rows, labels):
    """Only in images where the class was detected; each pair of image and class counts once."""
    boxes = np.arange(16.0).reshape(4, 4)
    gt = GroundTruth(np.array([1, 0, 2, 0]), np.array([CAR, DOG, DOG, BUS]), boxes)
    dt_images, dt_labels = np.array([1, 0, 0, 3, 0, 1]), np.array([DOG, BUS, DOG, CAR, BUS, CAR])
    dt = Detections(dt_images, dt_labels, np.ones((6, 4)), score=np.ones(6))
    found = _with_others(gt, dt, group_of)
    order = np.lexsort((found.label[4:], found.image[4:]))
    assert found.bbox[:4].tolist() == boxes.tolist() and found.crowd.tolist() == [False] * 4 + [True] * len(rows)
    expected = sorted(zip(gt.image[rows].tolist(), labels, boxes[rows].tolist()))
    added = zip(found.image[4:][order].tolist(), found.label[4:][order].tolist(), found.bbox[4:][order].tolist())
    assert list(added) == expected


def test_missed_object_costs_until_fn():
    analysis = analyze([(*BOX, CAR), (200, 200, 40, 40, CAR)], [(*BOX, 0.9, CAR)])
    values = analysis.values('car')
    assert values['C75'] == values['BG'] == round(51 / 101, 12)  # recall points 0, 0.01, ... 0.5 of 101
    assert values['FN'] == 1


def test_areas_and_mean_over_classes():
    analysis = analyze([(*BOX, CAR), (100, 100, 10, 10, DOG)], [(*BOX, 0.9, CAR)])
    assert analysis.areas == ('all', 'small', 'medium', 'large')
    assert analysis.values('car', 'small') is None and analysis.values('car', 'medium')['C75'] == 1
    assert analysis.values('dog', 'small')['C75'] == 0
    assert analysis.values()['C75'] == 0.5  # the bus has no object and does not count
    assert analysis.gt_count.tolist() == [1, 0, 1]


@pytest.mark.parametrize('seed', range(3))
def test_random_curves_are_nested_and_end_at_one(seed):
    rng = np.random.default_rng(seed)
    gt = np.column_stack([rng.integers(0, 200, (30, 2)), rng.integers(10, 60, (30, 2)), rng.integers(0, 3, 30)])
    noise = rng.normal(0, 6, (30, 4))
    dt = np.column_stack([gt[:, :4] + noise, rng.random(30), rng.integers(0, 3, 30)])
    dt[:, 2:4] = dt[:, 2:4].clip(min=2)
    analysis = analyze(gt, dt)
    # From Loc on, the same matches are kept and only false detections go: nested at every recall.
    curves = analysis.curves()[analysis.stages.index('Loc') :]
    assert (np.diff(curves, axis=0) >= -1e-12).all()
    for name in (*CLASSES, 'allclass'):
        values = list(analysis.values(name).values())
        assert values == sorted(values) and values[-1] == 1


def test_wrong_areas():
    with pytest.raises(ConfigError, match='ascending'):
        analyze([], [], areas=(9216, 1024, 1e10))


def test_files(tmp_path):
    _, annotations = write_coco_folder(tmp_path)
    results = write_coco_results(tmp_path)
    analysis = analyze_error_files(results, annotations)
    assert analysis.stages == ('C75', 'C50', 'Loc', 'Sim', 'Oth', 'BG', 'FN')
    assert analysis.values('car') == dict.fromkeys(analysis.stages, 1.0)  # found before the mistaken bus
    assert analysis.values('bus')['BG'] == 0 and analysis.values('dog')['BG'] == 0
    paths = write_error_analysis(analysis, tmp_path / 'out')
    assert [path.name for path in paths] == [
        'error_analysis.json', 'error_analysis.txt', 'bbox-allclass.png', 'bbox-car.png', 'bbox-bus.png', 'bbox-dog.png',
    ]  # fmt: skip
    content = json.loads(paths[0].read_text())
    assert content['values']['all']['allclass']['C75'] == pytest.approx(1 / 3)
    assert content['values']['large']['car'] is None
    assert content['objects'] == dict(car=1, bus=1, dog=1)
    assert paths[2].read_bytes()[:4] == b'\x89PNG'
    with pytest.raises(ConfigError, match='class names are not in the file'):
        analyze_error_files(results, annotations, classes=['horse'])


def test_without_supercategories_there_is_no_sim(tmp_path):
    _, annotations = write_coco_folder(tmp_path)
    document = json.loads(annotations.read_text())
    for category in document['categories']:
        category['supercategory'] = 'none'
    annotations.write_text(json.dumps(document))
    analysis = analyze_error_files(write_coco_results(tmp_path), annotations, classes=['dog', 'car'])
    assert analysis.stages == ('C75', 'C50', 'Loc', 'Oth', 'BG', 'FN') and analysis.classes == ('dog', 'car')
    (tmp_path / 'results.bbox.json').write_text('[{"image_id": 1}]')
    with pytest.raises(DataError, match='category_id'):
        analyze_error_files(tmp_path / 'results.bbox.json', annotations)
