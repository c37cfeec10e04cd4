"""Panoptic quality; twelve random cases were compared with mmdetection 3.3.0 besides, equal to six digits."""

import numpy as np
import pytest
from mmengine.fileio import put
from PIL import Image

from mmdet.errors import DataError
from mmdet.evaluation.functional import PQStat, pq_compute_multi_core, pq_compute_single_core

CATEGORIES = {1: dict(isthing=1), 2: dict(isthing=0)}
BIG = 70000  # an id of three bytes


def draw(path, rows):
    ids = np.array(rows)
    Image.fromarray(np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)).save(path)


def segment(key, category, **extra):
    return dict(id=key, category_id=category, **extra)


@pytest.fixture
def pair(tmp_path):
    def make(truth, predicted, true_segments, segments):
        for folder, rows in (('gt', truth), ('pred', predicted)):
            (tmp_path / folder).mkdir(exist_ok=True)
            draw(tmp_path / folder / 'a.png', rows)
        annotations = (
            dict(file_name='a.png', segments_info=true_segments),
            dict(file_name='a.png', segments_info=segments),
        )
        return annotations, str(tmp_path / 'gt'), str(tmp_path / 'pred')

    return make


def sums(stat):
    return {key: (value.iou, value.tp, value.fp, value.fn) for key, value in stat.pq_per_cat.items()}


def test_nothing():
    assert pq_compute_multi_core([], '', '', CATEGORIES).pq_average(CATEGORIES, None) == (
        dict(pq=0, sq=0, rq=0, n=0), {1: dict(pq=0, sq=0, rq=0), 2: dict(pq=0, sq=0, rq=0)},
    )  # fmt: skip


def test_matches_surplus_and_missed(pair):
    # Segment 1 is found with 3 of 4 pixels, BIG is taken for another class; 9 lies mostly where the truth says nothing.
    truth = [[1, 1, 1, 1, BIG, BIG, 0, 0]]
    found = [[4, 4, 4, 5, 5, 5, 9, 9]]
    annotations, *folders = pair(
        truth, found, [segment(1, 1, area=4), segment(BIG, 1, area=2)], [segment(4, 1), segment(5, 2), segment(9, 2)]
    )
    stat = pq_compute_single_core(0, [annotations], *folders, CATEGORIES)
    assert sums(stat) == {1: (0.75, 1, 0, 1), 2: (0, 0, 1, 0)}
    means, classes = stat.pq_average(CATEGORIES, isthing=None)
    assert classes == {1: dict(pq=0.5, sq=0.75, rq=pytest.approx(2 / 3)), 2: dict(pq=0, sq=0, rq=0)}
    assert means == dict(pq=0.25, sq=0.375, rq=pytest.approx(1 / 3), n=2)
    assert stat.pq_average(CATEGORIES, isthing=True)[0]['n'] == 1
    both = pq_compute_multi_core([annotations] * 3, *folders, CATEGORIES, nproc=2)
    assert sums(both) == {1: (2.25, 3, 0, 3), 2: (0, 0, 3, 0)}
    assert isinstance(both, PQStat)


def test_crowds_are_neither_missed_nor_surplus(pair):
    annotations, *folders = pair([[1, 1, 1, 2]], [[4, 4, 4, 5]], [segment(1, 1, iscrowd=1), segment(2, 2)], [segment(4, 1), segment(5, 2)])  # fmt: skip
    assert sums(pq_compute_single_core(0, [annotations], *folders, CATEGORIES)) == {2: (1, 1, 0, 0)}


@pytest.mark.parametrize(
    ('found', 'segments', 'text'),
    [
        ([[4, 4]], [], 'in the picture only'),
        ([[4, 4]], [segment(4, 1), segment(5, 1)], 'not drawn'),
        ([[4, 4]], [segment(4, 3)], 'category_id'),
        ([[4, 4, 4]], [segment(4, 1)], 'size of its truth'),
    ],
)
def test_pictures_that_do_not_fit(pair, found, segments, text):
    annotations, *folders = pair([[1, 1]], found, [segment(1, 1)], segments)
    with pytest.raises(DataError, match=text):
        pq_compute_single_core(0, [annotations], *folders, CATEGORIES)


def test_a_file_that_is_no_picture(pair):
    annotations, *folders = pair([[1]], [[1]], [segment(1, 1)], [segment(1, 1)])
    put(b'no picture', f'{folders[1]}/a.png')
    with pytest.raises(DataError, match='a.png'):
        pq_compute_single_core(0, [annotations], *folders, CATEGORIES)
