"""Tracks and counts of moving boxes whose answers can be worked out by hand."""

import csv
import json
import warnings
from contextlib import nullcontext

import cv2
import numpy as np
import pytest

from mmdet_runtime.cli import main
from mmdet_runtime.clips import Clip, clip_sources, collect_clips, count_frames
from mmdet_runtime.counting import Counts, read_shapes
from mmdet_runtime.errors import ConfigError, DataError
from mmdet_runtime.progress import Progress
from mmdet_runtime.sources import Source, Stream
from mmdet_runtime.suppression import Detections
from mmdet_runtime.tracked_outputs import ClipTracks, TrackDrawing, TrackedOutputs, TrackOptions, summary_lines
from mmdet_runtime.tracking import METHODS, Tracked, Tracker, TrackSettings, check_library

from .tiny import picture, write_folder

BLACK = np.zeros((100, 200, 3), np.uint8)


@pytest.fixture(scope='module')
def library():
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        pytest.importorskip('trackers', reason='tracking needs the extra "tracking"')


def boxes(*rows):
    """Detections of rows x, y, score, label: squares of 20 pixels around these centres."""
    table = np.array(rows, np.float32).reshape(-1, 4)
    half = np.array([-10, -10, 10, 10], np.float32)
    return Detections(np.tile(table[:, :2], 2) + half, table[:, 2], table[:, 3].astype(np.int64))


def tracked(*rows):
    """Tracked boxes of rows x, y, id, label."""
    table = np.array(rows, np.float32).reshape(-1, 4)
    found = boxes(*([x, y, 0.9, label] for x, y, _, label in rows))
    return Tracked(found.bboxes, found.scores, found.labels, table[:, 2].astype(np.int64))


# Lines and zones: the text, and its points in an image of 200 x 100.
SHAPES = {
    'line': [
        ('a=0,0.5,1,0.5', 'a', [[0, 50], [200, 50]]),
        ('10,20,30,40', 'line 1', [[10, 20], [30, 40]]),
        ('the gate = 0,0,1,1', 'the gate', [[0, 0], [200, 100]]),
    ],
    'zone': [
        ('z=0.1,0.2,0.5,0.6', 'z', [[20, 20], [100, 20], [100, 60], [20, 60]]),
        ('0,0,90,0,0,90', 'zone 1', [[0, 0], [90, 0], [0, 90]]),
    ],
}


@pytest.mark.parametrize(
    ('kind', 'text', 'name', 'points'), [(kind, *row) for kind, rows in SHAPES.items() for row in rows]
)
def test_lines_and_zones_of_the_command_line(kind, text, name, points):
    lines, zones = read_shapes(*([text] if kind == own else [] for own in ('line', 'zone')))
    shape = (lines + zones)[0]
    assert shape.name == name and shape.in_pixels((200, 100)).tolist() == points


@pytest.mark.parametrize(
    ('lines', 'zones'),
    [
        (['a=1,2,3'], []), (['a=1,2,3,4,5,6'], []), (['a=5,5,5,5'], []), (['a=x,2,3,4'], []), (['=1,2,3,4'], []), (['a=nan,2,3,4'], []),
        (['a=-1,2,3,4'], []), (['a=0,0,9,9', 'a=0,0,5,5'], []), ([], ['z=1,2']), ([], ['z=0,0,9,0,5,0']), ([], ['z=0,0,0,9']), ([''], []),
    ],
)  # fmt: skip
def test_wrong_lines_and_zones(lines, zones):
    with pytest.raises(ConfigError, match='--line' if lines else '--zone'):
        read_shapes(lines, zones)


# Ways of one object's centre past the line from (50, 50) to (150, 50), and what is counted. In is downwards.
WAYS = [
    ('nothing', [], 0, 0),
    ('once is nowhere', [(100, 20)], 0, 0),
    ('down', [(100, 20), (100, 40), (100, 60)], 1, 0),
    ('up', [(100, 60), (100, 20)], 0, 1),
    ('there and back', [(100, 20), (100, 80), (100, 20)], 1, 1),
    ('past the end', [(160, 20), (160, 80)], 0, 0),
    ('around the end', [(100, 20), (30, 40), (30, 60), (100, 80)], 0, 0),
    ('at an angle, from beside the line', [(40, 30), (80, 70)], 1, 0),
    ('trembling on the line', [(100, 20), (100, 49), (100, 51), (100, 49), (100, 51)], 0, 0),
    ('trembling, then on', [(100, 20), (100, 49), (100, 51), (100, 49), (100, 60)], 1, 0),
    ('along the line', [(60, 50), (140, 50)], 0, 0),
    ('lost for three frames', [(100, 20), None, None, None, (100, 80)], 1, 0),
]


@pytest.mark.parametrize(('way', 'ins', 'outs'), [row[1:] for row in WAYS], ids=[row[0] for row in WAYS])
def test_crossings(way, ins, outs):
    counts = Counts(read_shapes(['l=50,50,150,50'], [])[0], [], (200, 100))
    found = []
    for point in way:
        found += counts.update(tracked() if point is None else tracked((*point, 7, 1)), alive={7})
    assert counts.crossed['l']['in', 1] == ins and counts.crossed['l']['out', 1] == outs
    assert [one.id for one in found] == [7] * (ins + outs)


@pytest.mark.parametrize(('lines', 'zones', 'outside'), [
    (['l=1,0,1,1'], ['z=150,50,900,900'], False),  # on the edge, and in part
    (['l=201,0,300,50'], [], True),
    ([], ['z=0,101,200,300'], True),
])  # fmt: skip
def test_shapes_outside_the_frames(lines, zones, outside):
    """They would never count anything."""
    with pytest.raises(ConfigError, match='lies outside the frames, which are 200 x 100') if outside else nullcontext():
        Counts(*read_shapes(lines, zones), (200, 100))


def test_counts_by_class_and_zone():
    lines, zones = read_shapes(['l=0,50,200,50'], ['left=0,0,100,100', 'all=0,0,1,1'])
    counts = Counts(lines, zones, (200, 100))
    counts.update(tracked((20, 20, 1, 0), (150, 20, 2, 1)), {1, 2})
    counts.update(tracked((20, 80, 1, 0), (90, 80, 2, 1)), {1, 2})
    counts.update(tracked((150, 80, 1, 0)), {1})
    assert counts.as_json(['car', 'bus']) == dict(
        lines={'l': {'in': dict(all=2, car=1, bus=1), 'out': dict(all=0)}},
        zones={
            'left': dict(now=dict(all=0), visitors=dict(all=2, car=1, bus=1)),
            'all': dict(now=dict(all=1, car=1), visitors=dict(all=2, car=1, bus=1)),
        },
    )
    assert set(counts._clear['l']) == {1}  # what cannot come again is forgotten


def test_the_anchor_of_a_box():
    shapes = read_shapes([], ['z=0,50,200,100'])[1]
    for anchor, inside in (('centre', 0), ('bottom', 1)):
        counts = Counts([], shapes, (200, 100), anchor)
        counts.update(tracked((50, 45, 1, 0)), {1})
        assert counts.now['z'].total() == inside
    with pytest.raises(ConfigError, match='anchor'):
        Counts([], [], (9, 9), 'top')


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('per_class', [False, True])
def test_two_objects_keep_their_ids(library, method, per_class):
    """They meet on two lanes, one is lost for two frames, and the other changes its class for one."""
    tracker = Tracker(TrackSettings(method=method, per_class=per_class), 10.0)
    seen = []
    assert len(tracker.update(boxes(), BLACK, 0.0)) == 0
    for frame in range(1, 13):
        rows = [(20 + 5 * frame, 20, 0.9, 0), (180 - 5 * frame, 60, 0.8, 0 if frame == 9 else 1)]
        found = tracker.update(boxes(*(rows[:1] if frame in (6, 7) else rows)), BLACK, frame / 10)
        seen.append(dict(zip(found.ids.tolist(), found.labels.tolist())))
    assert seen[1] == {1: 0, 2: 1} and seen[5] == {1: 0} and seen[-1] == {1: 0, 2: 1}
    assert seen[8] == ({1: 0} if per_class else {1: 0, 2: 1})
    assert tracker.totals() == {0: 1, 1: 1} and tracker.count == 2


def test_boxes_that_are_left_out(library):
    tracker = Tracker(TrackSettings(), 10.0)
    for frame in range(4):
        twice = [(50, 50, 0.9, 0), (51, 50, 0.6, 1)]  # a car that is a van, too
        found = tracker.update(boxes(*twice, (150, 50, 0.35, 0), (100, 90, 0.05, 0)), BLACK, frame / 10)
    assert found.ids.tolist() == [1] and found.labels.tolist() == [0]
    assert tracker.left_out == 5  # the first box of the track, and the four that are too weak to start one
    both = Tracker(TrackSettings(duplicates=None, min_frames=1), 10.0)
    assert max(len(both.update(boxes(*twice), BLACK, frame / 10)) for frame in range(4)) == 2


def test_a_stream_forgets_what_cannot_come_again(library):
    tracker = Tracker(TrackSettings(keep=0.5), 10.0)
    for frame in range(60):
        tracker.update(boxes((20 + 100 * (frame // 20 % 2), 50, 0.9, frame // 20)), BLACK, frame / 10)
    assert tracker.alive == {3} and len(tracker._votes) == 1
    assert tracker.totals() == {0: 1, 1: 1, 2: 1}


@pytest.mark.parametrize(
    'values',
    [dict(method='x'), dict(low=2.0), dict(low=0.5, high=0.3), dict(iou=-1.0), dict(keep=-1.0), dict(min_frames=0), dict(new=float('nan'))],
)  # fmt: skip
def test_wrong_settings(values):
    with pytest.raises(ConfigError, match='track'):
        TrackSettings(**values)


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'trackers', None)
    with pytest.raises(ConfigError, match=r"needs the package trackers .*pip install 'mmdet-dense\[tracking\]'"):
        check_library()


@pytest.fixture
def frames(tmp_path):
    """Folders of frames that start at 1 and at 0, and a folder of both."""
    for folder, first in (('seq/a', 1), ('seq/b', 0)):
        (tmp_path / folder).mkdir(parents=True)
        for number in range(first, first + 3):
            cv2.imwrite(str(tmp_path / folder / f'img{number:04}.png'), BLACK)
    (tmp_path / 'seq/empty').mkdir()
    return tmp_path / 'seq'


def test_clips(frames):
    clips = collect_clips([frames])
    assert [clip.entry for clip in clips] == [str(frames / 'a'), str(frames / 'b')]
    assert [clip.numbers() for clip in clips] == [[0, 1, 2], [0, 1, 2]]
    assert Clip('x', ('p4.png', 'p7.png')).numbers() == [3, 6]
    assert Clip('x', ('p7.png', 'q4.png')).numbers() == Clip('x', ('p.png', 'q.png')).numbers() == [0, 1]
    assert [clip.frames for clip in collect_clips([frames / 'a/*.png'])] == [clips[0].frames]
    assert collect_clips(['0', 'rtsp://x/y']) == [Clip('0'), Clip('rtsp://x/y')]
    assert count_frames(clips) == 6 and count_frames([*clips, Clip('0')]) is None
    sources = [*clip_sources(clips, ['a', 'b'], fps=5)]
    assert [(source.stem, source.frame, source.seconds) for source in sources[1:3]] == [
        ('a/000001', 1, 0.2),
        ('a/000002', 2, 0.4),
    ]
    for wrong in (frames / 'empty', frames / 'a/img0001.png', frames / 'nothing'):
        with pytest.raises(DataError):
            collect_clips([wrong])


def test_output_files(library, frames, tmp_path):
    lines, zones = read_shapes(['gate=0,50,200,50'], ['z=0,0,1,1'])
    options = TrackOptions(TrackSettings(min_frames=2), lines, zones, mot_classes=True)
    clips = collect_clips([frames])
    for _ in range(2):  # the second run replaces the files of the first
        tracks = ClipTracks(options, ['car', 'bus'])
        outputs = TrackedOutputs(tmp_path / 'out', ('json', 'csv', 'mot', 'video'), ['car', 'bus'], tracks)
        stems = outputs.claim([clip.entry for clip in clips])
        assert stems == ['a', 'b']
        with outputs:
            for source in clip_sources(clips, stems):
                found = boxes((100, 35 + 12 * source.frame, 0.75, 1))
                outputs.write(source, BLACK, tracks(source, BLACK, found))
    out = tmp_path / 'out'
    assert sorted(str(path.relative_to(out)) for path in out.rglob('*') if path.is_file()) == [
        'counts.json', 'crossings.csv', 'detections.csv', 'json/a.jsonl', 'json/b.jsonl', 'mot/a.txt', 'mot/b.txt', 'mot/classes.json', 'sources/names.jsonl',
        'videos/a.mp4', 'videos/b.mp4',
    ]  # fmt: skip
    assert (
        out / 'mot/a.txt'
    ).read_text() == '2,1,90.00,37.00,20.00,20.00,0.7500,2,-1,-1\n3,1,90.00,49.00,20.00,20.00,0.7500,2,-1,-1\n'
    last = json.loads((out / 'json/b.jsonl').read_text().splitlines()[-1])
    assert (
        last['ids'] == [1]
        and last['in_zones'] == {'z': 1}
        and last['frame'] == 2
        and last['image'] == str(frames / 'b')
    )
    assert last['crossings'] == [{'line': 'gate', 'direction': 'in', 'id': 1, 'class': 'bus'}]
    assert [row[1:] for row in csv.reader((out / 'crossings.csv').open())][1:] == [
        ['2', '0.08', 'gate', 'in', '1', 'bus']
    ] * 2
    assert [row[-1] for row in csv.reader((out / 'detections.csv').open())] == ['id', '1', '1', '1', '1']
    counts = json.loads((out / 'counts.json').read_text())['videos']
    assert [one['tracks'] for one in counts] == [dict(all=1, bus=1)] * 2 and counts[0]['boxes_without_track'] == 1
    assert summary_lines(counts)[1:3] == ['  line gate: 1 in, 0 out', '  zone z: 1 in it at the end, 1 in all']
    video = cv2.VideoCapture(str(out / 'videos/a.mp4'))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 3
    with pytest.raises(ConfigError, match='COCO'):
        TrackedOutputs(out, ['coco'], [], ClipTracks(options, []))
    with pytest.raises(ConfigError, match='takes videos'):
        ClipTracks(options, [])(Source('a.jpg', 'a'), BLACK, boxes())


def test_drawing(library):
    """Frames of one size, with and without objects; trails follow their objects, and the drawing leaves the frame alone."""
    lines, zones = read_shapes(['gate=0,90,200,90'], ['z=150,10,190,50'])
    tracks = ClipTracks(TrackOptions(lines=lines, zones=zones), ['car'])
    draw = TrackDrawing(tracks, ['car'], [(255, 0, 0)])
    image = np.zeros((140, 200, 3), np.uint8)
    pictures = []
    for frame in range(4):
        source = Source(image, f'v/{frame:06}', video='v', fps=10.0)
        found = tracks(source, image, boxes() if frame == 3 else boxes((40 + 15 * frame, 60, 0.9, 0)))
        pictures.append(draw(source, image, found))
    assert len({picture.shape for picture in pictures}) == 1 and not image.any()
    assert pictures[2][60, 60, 0] > 200 and not pictures[0][60, 60].any()  # the trail
    assert pictures[0][90, 150].min() > 200  # the line
    assert 0 < pictures[0][30, 185, 0] < 100  # inside the zone


def test_progress():
    assert Progress('frames', 4).text(1.0) == f'frames [{"":30}] 0/4  0.0/s'
    known, unknown = Progress('frames', 4), Progress('frames')
    for bar in (known, unknown):
        bar.advance()
    assert known.text(0.5) == f'frames [{"#" * 7:30}] 1/4  2.0/s  2 s left'
    assert unknown.text(0.5) == 'frames 1  2.0/s'


def test_a_stream_has_times_of_its_own(library, frames, tmp_path):
    video = cv2.VideoWriter(str(tmp_path / 'v.mp4'), cv2.VideoWriter.fourcc(*'mp4v'), 5.0, (200, 100))
    for _ in range(5):
        video.write(BLACK)
    video.release()
    arrived = []
    with pytest.raises(DataError, match='the stream broke'):
        for source in Stream(str(tmp_path / 'v.mp4'), 'cam', reconnects=0):
            arrived.append(source.seconds)
    assert arrived == sorted(arrived) and arrived[0] > 0
    found = [*clip_sources([Clip('0')], ['cam'], open_stream=late_frames)]
    assert [source.seconds for source in found] == [100.0, 100.1, 104.0]
    tracks = ClipTracks(TrackOptions(TrackSettings(min_frames=1, keep=1.0)), ['car'])
    for source in found:
        last = tracks(source, BLACK, boxes((50, 50, 0.9, 0)))
    assert len(last) == 0 and tracks.tracker.alive == set()  # four seconds later it is another object


def late_frames(address, stem):
    """Frames of a stream that was silent for some seconds."""
    return [
        Source(BLACK, f'{stem}/{k:06}', video=address, fps=10.0, arrived=seconds)
        for k, seconds in enumerate((100.0, 100.1, 104.0))
    ]


def test_the_command(library, frames, tmp_path, capsys):
    pytest.importorskip('onnxruntime')
    folder = str(write_folder(tmp_path / 'exported'))
    for number in range(4):
        cv2.imwrite(str(frames / 'a' / f'img{number + 1:04}.png'), picture(204, 64, 48))
    command = [folder, str(frames / 'a'), '--track', '--track-min-frames', '1', '--zone', 'z=0,0,1,1']
    assert main([*command, '--out', str(tmp_path / 'out'), '--mot', '--mot-classes', '--json']) == 0
    said = capsys.readouterr().err
    assert '4 frames, 2 tracks: whole 1, quarter 1' in said and '  zone z: 2 in it at the end, 2 in all' in said
    rows = (tmp_path / 'out/mot/a.txt').read_text().splitlines()
    assert rows[0] == '2,1,0.00,0.00,64.00,48.00,0.8000,1,-1,-1' and len(rows) == 6
    assert json.loads((tmp_path / 'out/mot/classes.json').read_text()) == ['whole', 'quarter']
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])['in_zones'] == {'z': 2}
    for wrong, message in (
        (['--mot', '--out', str(tmp_path / 'out')], '--mot: needs --track'),
        (['--track-high', '0.5'], '--track-high: needs --track'),
        (['--line', 'a=1,2'], '--line: must be'),
        (['--track', '--fps', '0'], '--fps: must be above 0'),
        (['--track', '--benchmark'], '--benchmark: times detection alone'),
        (['--track', '--coco', '--out', str(tmp_path / 'out')], '--coco: COCO results have no place'),
    ):
        assert main([folder, str(frames / 'a'), *wrong]) == 2
        assert message in capsys.readouterr().err
