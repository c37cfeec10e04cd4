"""Scores of tracks whose values can be worked out by hand."""

import warnings
from pathlib import Path

import numpy as np
import pytest

from mmdet.datasets.drone_scenes.sequence import draw_sequence, generate_sequences
from mmdet.errors import ConfigError, DataError
from mmdet.evaluation.tracking import evaluate_tracks, score_notes, score_table
from mmdet.formats.tables import BoxTable
from mmdet.formats.tracks import TrackedSequence, Tracks, read_track_truth

pytestmark = pytest.mark.filterwarnings('ignore')


@pytest.fixture(scope='module', autouse=True)
def library():
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        pytest.importorskip('trackers', reason='scores of tracks need the extra "tracking"')


def table(rows):
    """Tracks of rows frame, number, x, label: boxes of 10 x 10."""
    rows = np.array(rows, np.float64).reshape(-1, 4)
    boxes = np.column_stack([rows[:, 2], np.zeros(len(rows)), np.full((len(rows), 2), 10)])
    return Tracks(rows[:, 0], rows[:, 3], boxes, rows[:, 1])


def sequence(rows, regions=(), classes=('car', 'bus'), name='s'):
    region = np.array(regions, np.float64).reshape(-1, 5)
    return TrackedSequence(
        name, table(rows), BoxTable(region[:, 0], -np.ones(len(region)), region[:, 1:]), (200, 20), classes
    )


# Two objects over ten frames, 100 pixels apart.
TWO = [(frame, number, 100 * number + frame, 0) for frame in range(10) for number in (0, 1)]
SWITCHED = [(f, n if f < 5 else 1 - n, x, k) for f, n, x, k in TWO]
THIRD = 1 / 3
# What is found, and MOTA, IDF1, HOTA, switches, FP, FN.
FOUND = {
    'nothing': ([], 0, 0, 0, 0, 0, 20),
    'everything, by other numbers': ([(f, n + 5, x, k) for f, n, x, k in TWO], 1, 1, 1, 0, 0, 0),
    # Each box is in one of two tracks that are right for 5 of their 10 boxes: AssA is 5 / (5 + 5 + 5), and DetA is 1.
    'numbers switched in the middle': (SWITCHED, 0.9, 0.5, THIRD**0.5, 2, 0, 0),
    'one object': (TWO[::2], 0.5, 2 * 10 / 30, 0.5**0.5, 0, 0, 10),
    'a box beside in every frame': (TWO + [(f, 9, 50, 0) for f in range(10)], 0.5, 2 * 20 / 50, (20 / 30) ** 0.5, 0, 10, 0),
}  # fmt: skip


@pytest.mark.parametrize('found', FOUND.values(), ids=FOUND)
def test_scores(found):
    rows, mota, idf1, hota, *counts = found
    scores = evaluate_tracks([sequence(TWO)], {'s': table(rows)})
    total = scores.total
    assert (total['MOTA'], total['IDF1'], total['HOTA']) == pytest.approx((mota, idf1, hota))
    assert [total[name] for name in ('IDSW', 'CLR_FP', 'CLR_FN')] == counts
    assert scores.classes['car'] == total == scores.sequences['s']


def test_no_ground_truth():
    scores = evaluate_tracks([sequence([])], {})
    assert scores.total['MOTA'] == 0 and scores.total['CLR_FN'] == 0 and scores.missing == ['s']


def test_ignored_regions():
    """What lies in them by half or more is neither right nor wrong; boxes beside them count."""
    regions = [(frame, 100, 0, 30, 20) for frame in range(10)]
    truth = sequence(TWO, regions)
    found = table([row for row in TWO if row[1] == 0] + [(f, 9, 105, 0) for f in range(10)] + [(f, 8, 122, 0) for f in range(4)] + [(0, 7, 127, 0)])  # fmt: skip
    scores = evaluate_tracks([truth], {'s': found})
    assert (scores.total['CLR_FP'], scores.total['CLR_FN'], scores.total['MOTA']) == (1, 0, 0.9)
    assert (scores.dropped_truth, scores.dropped_results) == (10, 14)
    assert score_notes(scores)[0] == '10 boxes of the ground truth lie in ignored regions and do not count'


def test_classes_and_sequences():
    """Classes are scored one by one, and the total is of their sums."""
    truth = [(f, n, x, n) for f, n, x, _ in TWO]
    found = [(f, n, x, 0) for f, n, x, _ in TWO] + [(30, 0, 0, 0), (2, 3, 50, 5)]
    scores = evaluate_tracks([sequence(truth), sequence(truth, name='t')], {'s': table(found)})
    assert scores.classes['car']['MOTA'] == pytest.approx(0) and scores.classes['bus']['MOTA'] == 0
    assert scores.total['MOTA'] == pytest.approx((10 - 10) / 40) and scores.sequences['t']['CLR_FN'] == 20
    assert (scores.late, scores.other, scores.missing) == (1, 1, ['t'])
    assert evaluate_tracks([sequence(truth)], {'s': table(found)}, agnostic=True).total['MOTA'] == 1
    only = evaluate_tracks([sequence(truth)], {'s': table(found)}, classes=['bus'])
    assert only.total['CLR_FN'] == 10 and only.other == 21
    text = score_table(scores)
    assert [line.split()[0] for line in text.splitlines()] == ['MOTA', 's', 't', 'class', 'class', 'all']


@pytest.mark.parametrize(
    ('truth', 'found', 'options', 'message'),
    [
        (sequence(TWO), [(0, 0, 0, -1)], {}, 'has no classes'),
        (sequence(TWO), TWO, dict(classes=['cat']), 'classes: must be some of'),
        (sequence(TWO, classes=()), TWO, dict(classes=['car']), 'has no classes'),
        (sequence(TWO), TWO, dict(iou_thr=0), 'iou_thr'),
    ],
)
def test_wrong_arguments(truth, found, options, message):
    with pytest.raises(ConfigError, match=message):
        evaluate_tracks([truth], {'s': table(found)}, **options)


@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    """A drawn video of small frames, in VisDrone's format."""
    root = tmp_path_factory.mktemp('videos')
    return generate_sequences(root, num_frames=12, size_wh=(320, 180), seed=2, fps=5.0)


def test_a_drawn_video_with_known_switches(drawn):
    (truth,) = read_track_truth(drawn)
    own = truth.tracks
    assert truth.size_wh == (320, 180) and truth.num_frames == 12 and len(own) > 30
    counts = np.bincount(own.number)
    first, second = np.flatnonzero(counts == 12)[:2]  # seen in every frame
    assert evaluate_tracks([truth], {truth.name: own}).total['HOTA'] == 1
    numbers = own.number.copy()
    late = own.image >= 6
    numbers[late & (own.number == first)], numbers[late & (own.number == second)] = second, first
    found = Tracks(own.image, own.label, own.bbox, numbers)
    total = evaluate_tracks([truth], {truth.name: found}, agnostic=True).total
    assert total['IDSW'] == 2 and total['MOTA'] == pytest.approx(1 - 2 / len(own))
    assert total['IDF1'] == pytest.approx(1 - 12 / len(own))  # half of the boxes of both are on the wrong track


def test_drawn_videos(drawn, tmp_path):
    """The same numbers draw the same frames; objects move along, and nothing is written over."""
    again = draw_sequence(np.random.default_rng(5), (320, 180), 3)
    first, *_, last = [(image, objects) for image, objects in again]
    assert first[0].shape == (180, 320, 3)
    image, objects = next(draw_sequence(np.random.default_rng(5), (320, 180), 3))
    assert (image == first[0]).all() and objects == first[1]
    both = set(first[1]) & set(last[1])
    assert both and all(first[1][k].label == last[1][k].label for k in both)
    assert any(first[1][k].bbox != last[1][k].bbox for k in both)
    with pytest.raises(DataError, match='is there already'):
        generate_sequences(drawn, num_frames=2, size_wh=(320, 180), seed=2)
    for wrong in (dict(num_frames=0), dict(num_sequences=0), dict(size_wh=(9, 9)), dict(seed=-1)):
        with pytest.raises(ConfigError):
            generate_sequences(tmp_path, **wrong)


def test_uavdt_replayed(sample_data):
    """Ground truth as its own result is without fault, with and without classes."""
    folder = Path(sample_data) / 'uavdt' / 'GT'
    for kind in ('uavdt', 'uavdt-whole'):
        truths = [truth for truth in read_track_truth(folder, kind) if truth.name == 'M0202']
        total = evaluate_tracks(truths, {truths[0].name: truths[0].tracks}).total
        assert total['MOTA'] == total['IDF1'] == total['HOTA'] == 1
