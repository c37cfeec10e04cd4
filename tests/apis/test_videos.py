"""The toolbox's detectors on videos: bright squares that move over a dark ground."""

import json
import warnings

import cv2
import numpy as np
import pytest

from mmdet.apis import DetInferencer
from mmdet.apis.videos import detect_in_videos
from mmdet.errors import ConfigError, DataError
from mmdet_runtime.counting import read_shapes
from mmdet_runtime.tracked_outputs import TrackOptions
from mmdet_runtime.tracking import TrackSettings

from .blob_detector import blob_config


@pytest.fixture(scope='module')
def inferencer():
    return DetInferencer(blob_config(), device='cpu', show_progress=False)


def frame(number):
    """A square that goes down, and one that goes to the right, by 6 pixels a frame."""
    image = np.zeros((96, 128, 3), np.uint8)
    for x, y in ((20, 10 + 6 * number), (40 + 6 * number, 20)):
        cv2.rectangle(image, (x, y), (x + 15, y + 15), (255, 255, 255), -1)
    return image


@pytest.fixture
def inputs(tmp_path):
    """A folder of frames, and a video of them."""
    (tmp_path / 'frames').mkdir()
    video = cv2.VideoWriter(str(tmp_path / 'clip.avi'), cv2.VideoWriter.fourcc(*'MJPG'), 10, (128, 96))
    for number in range(8):
        cv2.imwrite(str(tmp_path / 'frames' / f'{number + 1:04}.png'), frame(number))
        video.write(frame(number))
    video.release()
    return tmp_path


@pytest.mark.parametrize('name', ['frames', 'clip.avi'])
def test_tracks_and_counts(inferencer, inputs, name):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        pytest.importorskip('trackers', reason='tracking needs the extra "tracking"')
    lines, zones = read_shapes(['gate=0,0.4,1,0.4'], ['right=0.7,0,1,1'])
    out = inputs / 'out'
    report = detect_in_videos(
        inferencer, inputs / name, out, kinds=('video', 'json', 'mot'), batch_size=2,
        tracking=TrackOptions(TrackSettings(), lines, zones), fps=10,
    )  # fmt: skip
    assert report.frames == 8 and not report.failed and report.written == dict(video=1, json=1, mot=1)
    (summary,) = report.summaries
    assert summary['tracks']['all'] == 2
    assert summary['lines']['gate']['in']['all'] == 1 and summary['lines']['gate']['out']['all'] == 0
    assert summary['zones']['right']['visitors']['all'] == 1
    stem = name.partition('.')[0]
    rows = [line.split(',') for line in (out / f'mot/{stem}.txt').read_text().splitlines()]
    assert [row[:2] for row in rows] == [[str(number), track] for number in range(2, 9) for track in '12']
    assert len(json.loads((out / f'json/{stem}.jsonl').read_text().splitlines()[-1])['ids']) == 2
    video = cv2.VideoCapture(str(out / f'videos/{stem}.mp4'))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 8 and video.get(cv2.CAP_PROP_FPS) == 10
    assert '8 frames, 2 tracks' in report.lines()[0] and report.lines()[1] == '  line gate: 1 in, 0 out'


def test_without_tracks(inferencer, inputs):
    """One file, whole or in the limit; a broken frame is counted, and the others are written."""
    report = detect_in_videos(inferencer, inputs / 'clip.avi', inputs / 'made/a.mp4', max_frames=3)
    assert report.frames == 3 and cv2.VideoCapture(str(inputs / 'made/a.mp4')).get(cv2.CAP_PROP_FRAME_COUNT) == 3
    assert [path.name for path in (inputs / 'made').iterdir()] == ['a.mp4']
    (inputs / 'frames/0004.png').write_bytes(b'no picture')
    report = detect_in_videos(inferencer, inputs / 'frames', inputs / 'out')
    assert report.frames == 7 and '0004.png' in report.failed[0][0] and '1 failed' in report.lines()[-1]
    lines = (inputs / 'out/json/frames.jsonl').read_text().splitlines()
    assert [json.loads(line)['frame'] for line in lines] == [0, 1, 2, 4, 5, 6, 7]
    assert len(json.loads(lines[0])['scores']) == 2


@pytest.mark.parametrize(('end', 'status'), [(KeyboardInterrupt(), 130), (SystemExit(143), 143)])
def test_stopped(inferencer, inputs, monkeypatch, end, status):
    """Ctrl-C and SIGTERM leave whole files of what was done."""
    count = iter(range(99))
    forward = DetInferencer.forward

    def interrupted(self, data, **options):
        if next(count) == 4:
            raise end
        return forward(self, data, **options)

    monkeypatch.setattr(DetInferencer, 'forward', interrupted)
    report = detect_in_videos(inferencer, inputs / 'clip.avi', inputs / 'out')
    assert (
        report.status == status
        and report.stopped
        and report.frames == 4
        and 'stopped before the end' in report.lines()[-1]
    )
    assert len((inputs / 'out/json/clip.jsonl').read_text().splitlines()) == 4
    assert cv2.VideoCapture(str(inputs / 'out/videos/clip.mp4')).get(cv2.CAP_PROP_FRAME_COUNT) == 4


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        (dict(inputs='nowhere.mp4'), DataError, 'nowhere.mp4: no such file'),
        (dict(inputs='{}/clip.avi', kinds=['mot']), ConfigError, 'mot needs tracking'),
        (dict(inputs='{}/clip.avi', kinds=['gif']), ConfigError, 'must be some of'),
        (dict(inputs='{}/clip.avi', batch_size=0), ConfigError, 'batch_size'),
        (dict(inputs=['{}/clip.avi', '{}/frames'], out='{}/a.mp4'), ConfigError, 'there are 2 videos'),
        (dict(inputs='{}/frames/0001.png'), DataError, 'is one image'),
    ],
)
def test_wrong_arguments(inferencer, inputs, options, error, message):
    def filled(value):
        return value.format(inputs) if isinstance(value, str) else value

    options = {
        key: [*map(filled, value)] if isinstance(value, list) else filled(value) for key, value in options.items()
    }
    with pytest.raises(error, match=message):
        detect_in_videos(inferencer, **{'out': inputs / 'out', **options})
    assert not (inputs / 'out').exists() and not (inputs / 'a.mp4').exists()
