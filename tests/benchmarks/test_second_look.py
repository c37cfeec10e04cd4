"""The measurement of the second look: its folds, files, methods and table, on inputs written by hand. Its trainings and tests are the tools'."""

import json
from copy import deepcopy

import cv2
import numpy as np
import pytest
from mmengine.config import Config


@pytest.fixture
def second_look(monkeypatch, repository):
    monkeypatch.syspath_prepend(str(repository / 'benchmarks'))
    import second_look

    return second_look


def image(number: int, scene: str, rows=()) -> dict:
    entry = dict(id=number, file_name=f'/{scene}_{number}.jpg', width=64, height=48)
    return dict(entry=entry, scene=scene, rows=np.array(rows, dtype=np.float64).reshape(-1, 8))


# ---------------------------------------------------------------------------------------------------------------- files


def test_no_images_are_refused_and_those_of_both_splits_read(second_look, tmp_path):
    with pytest.raises(SystemExit, match='no images in VisDrone2019-DET-train or -val'):
        second_look.read_images(tmp_path)
    rows = {
        'train/0000007_1': '1,2,10,20,1,4,0,0,\n',  # some of VisDrone's rows end with a comma
        'train/0000002_1': '',
        'val/0000001_9': '5,6,7,8,0,0,0,0\n1,1,3,3,1,1,0,2\n',
    }
    for name, text in rows.items():
        split, stem = name.split('/')
        for kind in ('images', 'annotations'):
            (tmp_path / f'VisDrone2019-DET-{split}' / kind).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / f'VisDrone2019-DET-{split}/images/{stem}.jpg'), np.zeros((48, 64, 3), np.uint8))
        (tmp_path / f'VisDrone2019-DET-{split}/annotations/{stem}.txt').write_text(text)
    images = second_look.read_images(tmp_path)
    assert [each['scene'] for each in images] == ['0000002', '0000007', '0000001']
    assert [each['entry']['id'] for each in images] == [1, 2, 3]
    path = tmp_path.resolve() / 'VisDrone2019-DET-val/images/0000001_9.jpg'
    assert images[2]['entry'] == dict(id=3, file_name=str(path), width=64, height=48)
    assert [each['rows'].tolist() for each in images] == [
        [], [[1, 2, 10, 20, 1, 4, 0, 0]], [[5, 6, 7, 8, 0, 0, 0, 0], [1, 1, 3, 3, 1, 1, 0, 2]],
    ]  # fmt: skip


@pytest.mark.parametrize(
    'scenes, folds, expected',
    [
        ('', 3, []),
        ('a', 3, [0]),
        ('aaabbc', 2, [0, 0, 0, 1, 1, 1]),
        # The largest scene first, then those of one image by name, each to the smallest fold, the first of equal ones.
        ('dcbaa', 3, [1, 2, 1, 0, 0]),
        ('abcabca', 1, [0] * 7),
    ],
)
def test_folds(second_look, scenes, folds, expected):
    assert second_look.divide([image(i, scene) for i, scene in enumerate(scenes)], folds) == expected


def test_a_scene_is_never_on_both_sides(second_look, tmp_path, monkeypatch):
    names = [str(number) for number in np.random.default_rng(0).integers(0, 12, 60)]
    images = [image(number + 1, name) for number, name in enumerate(names)]
    monkeypatch.setattr(second_look, 'read_images', lambda root: images)
    counts = second_look.write_files(tmp_path, tmp_path, 3)
    assert sum(counts) == 60 and max(counts) - min(counts) < max(names.count(name) for name in names)
    files = {path.stem: json.loads(path.read_text()) for path in tmp_path.glob('*.json')}
    assert len(files) == 7 and len(files['all']['images']) == 60
    tested = []
    for fold, count in enumerate(counts):
        own, others = ([entry['id'] for entry in files[f'{part}_{fold}']['images']] for part in ('test', 'train'))
        assert len(own) == count and sorted(own + others) == list(range(1, 61))
        assert not {names[number - 1] for number in own} & {names[number - 1] for number in others}
        tested += own
    assert sorted(tested) == list(range(1, 61))


def test_annotations(second_look):
    assert second_look.annotations([], truth=True)['annotations'] == []
    rows = [
        (0, 0, 4, 6, 1, 1, 0, 0), (1, 1, 2, 3, 1, 2, 0, 0),  # pedestrian and people: persons
        (2, 2, 5, 5, 1, 5, 0, 0), (3, 3, 9, 9, 1, 10, 0, 0),  # van: car; motor: motorcycle
        (4, 4, 8, 8, 1, 7, 0, 0), (5, 5, 30, 20, 0, 0, 0, 0), (6, 6, 7, 7, 1, 0, 0, 0), (7, 7, 3, 3, 0, 4, 0, 0),  # no class
    ]  # fmt: skip
    for truth, ignored in ((True, [1, 2, 3, 4, 5, 6] * 4), (False, [1] * 4)):
        content = second_look.annotations([image(5, 'a', rows)], truth=truth)
        found = content['annotations']
        assert [(row['category_id'], row['bbox'], row['area'], row['iscrowd']) for row in found[:4]] == [
            (1, [0, 0, 4, 6], 24, 0), (1, [1, 1, 2, 3], 6, 0), (3, [2, 2, 5, 5], 25, 0), (4, [3, 3, 9, 9], 81, 0),
        ]  # fmt: skip
        assert [row['category_id'] for row in found[4:]] == ignored and all(row['iscrowd'] for row in found[4:])
        assert [(row['id'], row['image_id']) for row in found] == [(number, 5) for number in range(1, len(found) + 1)]
        assert [category['name'] for category in content['categories']] == list(second_look.CLASSES)


# -------------------------------------------------------------------------------------------------------------- methods


def test_methods_differ_in_their_names_and_are_known_to_the_composites(second_look):
    found = list(second_look.methods())
    names = [(family, setting) for family, setting, _, _ in found]
    assert len(set(names)) == len(names) > 20
    assert {detector for _, _, detectors, _ in found for detector in detectors} == set(second_look.DETECTORS)
    families = [name for name, _ in names if name != 'one model, 832 and 1333']
    assert all(families.count(name) >= 3 for name in families)  # budgets of each


STAGE = dict(detector=dict(type='GFL'), scale=(832, 832), flip=False, test_cfg=dict(nms=dict(class_agnostic=True)))


@pytest.mark.parametrize(
    'detectors, change, expected',
    [
        (('one',), {}, dict(type='UFPMPDet', coarse=STAGE, fine=dict(scale=(1333, 1333)), ufp=dict(scale=1.5))),
        (
            ('one',),
            dict(fine=dict(max_zoom=1.0), ufp=dict(min_score=0.1), look_below=16.0),
            dict(type='UFPMPDet', coarse=STAGE, fine=dict(scale=(1333, 1333), max_zoom=1.0), ufp=dict(scale=1.5, min_score=0.1), look_below=16.0),
        ),
        # Two detectors: the second is the first's twin, with the settings of its own stage and the head's own test_cfg.
        (
            ('coarse', 'fine'),
            dict(fine=dict(scale=(640, 640))),
            dict(type='UFPMPDet', coarse=STAGE, fine=dict(STAGE, scale=(640, 640), test_cfg=None), ufp=dict(scale=1.5)),
        ),
        (
            ('whole',),
            dict(tile_wh=(640, 640), stage=dict(scale=(832, 832)), whole=dict(scale=(320, 320))),
            dict(type='SlicedDet', max_per_img=500, tile_wh=(640, 640), whole=dict(scale=(320, 320)),
                 stage=dict(detector=dict(type='GFL'), flip=False, scale=(832, 832))),
        ),
    ],
)  # fmt: skip
def test_model_of_a_method(second_look, detectors, change, expected):
    cfg = Config(dict(model=dict(type='UFPMPDet', coarse=STAGE, fine=dict(scale=(1333, 1333)), ufp=dict(scale=1.5))))
    before = deepcopy(cfg.model.to_dict())
    assert second_look.model_of(cfg, detectors, change) == expected
    assert cfg.model.to_dict() == before


# --------------------------------------------------------------------------------------------------------------- output


def result(ap: float, megapixels: float) -> dict:
    sizes = {f'mAP_{size}': ap + offset for size, offset in zip('sml', (-10, 5, 10))}
    return {'mAP': ap, 'mAP_50': 2 * ap, **sizes, 'cost/megapixels': megapixels, 'cost/cpu_seconds': megapixels / 2}


def test_report(second_look, tmp_path, capsys):
    rows = [
        ('whole images', '832', [result(20, 0.5), result(21, 0.5)]), ('whole images', '1333', [result(24, 1.2), result(25, 1.4)]),
        ('one model, 832 and 1333', 'coarse boxes kept', [result(30, 2), result(31, 2)]),
    ]  # fmt: skip
    second_look.report(tmp_path, rows)
    table = (tmp_path / 'table.md').read_text()
    assert table.splitlines() == [
        '| method | setting | Mpx | CPU s | AP, 2 seeds | AP50 | S / M / L |',
        '|---|---|---|---|---|---|---|',
        '| whole images | 832 | 0.50 | 0.25 | 20.5 (20.0, 21.0) | 41.0 | 10.5 / 25.5 / 30.5 |',
        '| whole images | 1333 | 1.30 | 0.65 | 24.5 (24.0, 25.0) | 49.0 | 14.5 / 29.5 / 34.5 |',
        '| one model, 832 and 1333 | coarse boxes kept | 2.00 | 1.00 | 30.5 (30.0, 31.0) | 61.0 | 20.5 / 35.5 / 40.5 |',
    ]
    assert table in capsys.readouterr().out
    for name, label in (('megapixels', 'megapixels'), ('cpu_seconds', 'cpu seconds')):
        picture = (tmp_path / f'{name}.svg').read_text()
        assert f'{label} an image' in picture and 'whole images' in picture
        assert 'one model, 832' not in picture  # the options are no curve
