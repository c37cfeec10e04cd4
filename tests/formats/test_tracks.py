"""Text files of tracks: every format's columns, what is recognised, and what is refused with its line."""

import cv2
import numpy as np
import pytest

from mmdet.errors import ConfigError, DataError
from mmdet.formats.tracks import Tracks, read_track_results, read_track_truth, recognise, relabelled, write_tracks

VISDRONE = '1,0,592,449,42,48,1,4,0,0\n1,7,10,10,5,5,0,11,0,0\n2,0,590,440,42,48,1,9,0,1\n2,-1,0,0,99,99,0,0,0,0\n2,3,7,7,5,5,0,1,0,0\n'
UAVDT = dict(
    gt='1,1,71,44,119,94,1,1,-1\n',
    gt_whole='1,1,71,44,119,94,1,1,3\n2,2,5,5,9,9,1,1,1\n',
    gt_ignore='2,1,3,4,5,6,1,-1,-1\n',
)
MOT = '1,5,10,20,30,40,1,1,0.9\n1,6,10,20,30,40,0,8,1\n3,5,12,20,30,40\n'


@pytest.fixture
def folder(tmp_path):
    """A set of each format."""
    files = {
        'visdrone/annotations/uav1_v.txt': VISDRONE,
        'mot/s1/gt/gt.txt': MOT,
        'flat/s1.txt': MOT,
        'empty/e.txt': '',
    }
    files.update({f'uavdt/GT/M1_{kind}.txt': text for kind, text in UAVDT.items()})
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


# Folder, format, what is recognised; frames, numbers, labels and boxes of the objects; frames of the regions; size and classes.
READ = [
    ('empty', None, 'mot', [], [], [], [], [], (1, 1), 0),
    ('visdrone', None, 'visdrone', [0, 1], [0, 0], [3, 8], [[592, 449, 42, 48], [590, 440, 42, 48]], [0, 1, 1], (634, 497), 10),
    ('visdrone/annotations/uav1_v.txt', None, 'visdrone', [0, 1], [0, 0], [3, 8], [[592, 449, 42, 48], [590, 440, 42, 48]], [0, 1, 1], (634, 497), 10),
    ('uavdt', None, 'uavdt', [0], [1], [-1], [[71, 44, 119, 94]], [1], (1024, 540), 0),
    ('uavdt', 'uavdt-whole', 'uavdt', [0, 1], [1, 2], [2, 0], [[71, 44, 119, 94], [5, 5, 9, 9]], [1], (1024, 540), 3),
    ('mot', None, 'mot', [0, 2], [5, 5], [-1, -1], [[10, 20, 30, 40], [12, 20, 30, 40]], [], (42, 60), 0),
    ('flat', None, 'mot', [0, 2], [5, 5], [-1, -1], [[10, 20, 30, 40], [12, 20, 30, 40]], [], (42, 60), 0),
]  # fmt: skip


@pytest.mark.parametrize('row', READ, ids=[f'{row[0]} {row[1]}' for row in READ])
def test_ground_truth(folder, row):
    name, kind, recognised, frames, numbers, labels, boxes, regions, size_wh, classes = row
    assert recognise(folder / name) == recognised
    (truth,) = read_track_truth(folder / name, kind)
    assert truth.tracks.image.tolist() == frames and truth.tracks.number.tolist() == numbers
    assert truth.tracks.label.tolist() == labels and truth.tracks.bbox.tolist() == boxes
    assert truth.regions.image.tolist() == regions and truth.size_wh == size_wh and len(truth.classes) == classes


def test_the_size_of_the_frames_of_visdrone(folder):
    (folder / 'visdrone/sequences/uav1_v').mkdir(parents=True)
    cv2.imwrite(str(folder / 'visdrone/sequences/uav1_v/0000001.jpg'), np.zeros((500, 900, 3), np.uint8))
    assert read_track_truth(folder / 'visdrone')[0].size_wh == (900, 500)


# Files and what their error names.
BROKEN = [
    ('visdrone', '1,0,5,5,2,2,1,12,0,0\n', 'line 1: category: must be in 0..11'),
    ('visdrone', '1,0,5,5,2,2,1,4,0,0\n1,0,5,5,2,2,1,4,0,0\n', 'line 2: id: must be in a frame once'),
    ('visdrone', '0,0,5,5,2,2,1,4,0,0\n', 'line 1: frame: must be a whole number from 1'),
    ('mot', '1,0.5,5,5,2,2\n', 'line 1: id: must be a whole number'),
    ('mot', '\n1,1,5,5,2,-2\n', 'line 2: height: must be at least 0'),
    ('mot', '1,1,5,5\n', 'line 1: must be 6 to 10 finite numbers'),
    ('mot', '1,1,5,5,2,x\n', 'line 1: must be 6 to 10 finite numbers'),
]


@pytest.mark.parametrize(('kind', 'text', 'message'), BROKEN)
def test_broken_rows(tmp_path, kind, text, message):
    (tmp_path / 's.txt').write_text(text)
    with pytest.raises(DataError, match='s.txt') as caught:
        read_track_truth(tmp_path / 's.txt', kind)
    assert message in str(caught.value)
    with pytest.raises(ConfigError, match='format'):
        read_track_truth(tmp_path / 's.txt', 'kitti')
    with pytest.raises(DataError):
        read_track_truth(tmp_path / 'nowhere')


def test_classes_by_name():
    """Names of the results that the ground truth does not have, and numbers without a name, lie above its classes."""
    tracks = Tracks(range(5), [0, 1, 2, -1, 7], np.zeros((5, 4)), range(5))
    assert relabelled(tracks, ['bus', 'cat', 'car'], ('car', 'bus')).label.tolist() == [1, 3, 0, -1, 9]
    assert len(relabelled(Tracks([], [], [], []), ['bus'], ('car',))) == 0


def test_results_are_read_as_they_were_written(tmp_path):
    tracks = Tracks([4, 0], [2, -1], [[1.5, 2, 30.25, 40], [0, 0, 5, 5]], [7, 3], [0.5, 1])
    for with_classes, labels in ((True, [-1, 2]), (False, [-1, -1])):
        write_tracks(tmp_path / 'r.txt', tracks, with_classes=with_classes)
        read = read_track_results(tmp_path / 'r.txt')
        assert read.image.tolist() == [0, 4] and read.number.tolist() == [3, 7] and read.label.tolist() == labels
        assert read.bbox.tolist() == [[0, 0, 5, 5], [1.5, 2, 30.25, 40]] and read.score.tolist() == [1, 0.5]
    (tmp_path / 'r.txt').write_text('')
    assert len(read_track_results(tmp_path / 'r.txt')) == 0
