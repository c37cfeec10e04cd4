"""The command line: outputs, exit statuses, and that nothing of it needs torch."""

import contextlib
import csv
import http.server
import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmdet_runtime.cli import main
from mmdet_runtime.errors import ConfigError, DataError
from mmdet_runtime.outputs import CocoIds, Outputs
from mmdet_runtime.sources import Source, Stream, collect, is_stream, iterate_sources
from mmdet_runtime.suppression import Detections

from .tiny import picture, write_folder

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    pytest.importorskip('onnxruntime')
    return str(write_folder(tmp_path_factory.mktemp('exported')))


@pytest.fixture
def images(tmp_path):
    """Two images, and a JPEG that ends too early."""
    (tmp_path / 'in').mkdir()
    for name, red in (('a.png', 204), ('b.png', 102)):
        cv2.imwrite(str(tmp_path / 'in' / name), picture(red))
    (tmp_path / 'in' / 'c.jpg').write_bytes(cv2.imencode('.jpg', picture(0))[1].tobytes()[:-20])
    return tmp_path / 'in'


def test_every_kind_of_output(folder, images, tmp_path, capsys):
    out = tmp_path / 'out'
    kinds = ['--json', '--jsonl', '--coco', '--csv', '--pictures']
    for _ in range(2):  # the second run replaces the files of the first
        assert main([folder, str(images), '--out', str(out), *kinds]) == 1  # one of three is broken
    said = capsys.readouterr().err
    assert 'c.jpg: truncated JPEG' in said and '2 images in' in said and '1 failed' in said
    assert (
        '4 boxes in coco.json, 4 boxes in detections.csv, 2 json files, 2 lines of detections.jsonl, 2 pictures' in said
    )
    assert sorted(str(p.relative_to(out)) for p in out.rglob('*') if p.is_file()) == [
        'coco.json', 'coco_images.json', 'detections.csv', 'detections.jsonl', 'json/a.json', 'json/b.json', 'pictures/a.png', 'pictures/b.png',
        'sources/names.jsonl',
    ]  # fmt: skip
    first = json.loads((out / 'json/a.json').read_text())
    assert first == dict(
        image=str(images / 'a.png'), width=40, height=20, labels=[0, 1], classes=['whole', 'quarter'], scores=[0.8, 0.4],
        bboxes=[[0, 0, 40, 20], [0, 0, 20, 10]],
    )  # fmt: skip
    lines = (out / 'detections.jsonl').read_text().splitlines()
    assert len(lines) == 2 and json.loads(lines[0]) == first
    coco = json.loads((out / 'coco.json').read_text())
    assert [(row['image_id'], row['category_id'], row['bbox']) for row in coco] == [
        (image, label, box) for image in (1, 2) for label, box in ((1, [0, 0, 40, 20]), (2, [0, 0, 20, 10]))
    ]
    assert [row['id'] for row in json.loads((out / 'coco_images.json').read_text())['images']] == [1, 2]
    table = [*csv.reader((out / 'detections.csv').open())]
    assert table[0][:3] == ['image', 'frame', 'class'] and table[1][1:] == [
        '',
        'whole',
        '0',
        '0.8',
        '0.0',
        '0.0',
        '40.0',
        '20.0',
    ]
    assert cv2.imread(str(out / 'pictures/a.png')).shape == (20, 40, 3)  # no legend below so small a picture


def test_lines_on_the_standard_output(folder, images, capsys):
    assert main([folder, str(images / '*.png'), '--classes', 'quarter', '--score-thr', '0.3', '--no-pipeline']) == 0
    assert [json.loads(line)['scores'] for line in capsys.readouterr().out.splitlines()] == [[0.4], []]


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['nowhere.jpg'], 'nowhere.jpg: no such file or folder'),
        (['{in}', '--pictures'], '--out: the kinds of outputs need a folder'),
        (['{in}', '--score-thr', '2'], '--score-thr: must be in'),
        (['{in}', '--classes', 'cat'], 'classes: must be some of'),
        (['{in}', '--threads', '0'], '--threads: must be at least 1'),
        (['{in}', '--value-range', '5'], "--value-range: must be 'full'"),
        (['{in}/a.png', '--out', '{in}/..', '--annotations', 'x.json'], '--annotations: is for --coco'),
        (['{in}/pictures/d.png', '--out', '{in}', '--pictures'], 'is an input of this call'),
    ],
)
def test_wrong_arguments(folder, images, capsys, arguments, message):
    (images / 'pictures').mkdir()
    cv2.imwrite(str(images / 'pictures' / 'd.png'), picture(9))
    assert main([folder, *(text.replace('{in}', str(images)) for text in arguments)]) == 2
    assert message in capsys.readouterr().err


def test_info_and_benchmark(folder, images, capsys):
    assert main(['info', folder]) == 0
    shown = capsys.readouterr().out
    assert 'detector of 2 classes: whole, quarter' in shown and 'image any x 3 x any x any' in shown
    assert main(['info', str(images)]) == 2
    assert main([folder, str(images / 'a.png'), '--benchmark', '3', '--pictures', '--coco']) == 0
    shown = capsys.readouterr().out
    for word in (
        'decode',
        'preprocess',
        'network',
        'nms',
        'write',
        'one after the other',
        'all steps at once',
        'peak memory',
    ):
        assert word in shown


def test_videos(folder, tmp_path, capsys):
    video = cv2.VideoWriter(str(tmp_path / 'v.mp4'), cv2.VideoWriter.fourcc(*'mp4v'), 5.0, (64, 48))
    for _ in range(4):
        video.write(picture(204, 64, 48))
    video.release()
    out = tmp_path / 'out'
    arguments = [folder, str(tmp_path / 'v.mp4'), '--out', str(out), '--json', '--video', '--csv']
    assert main([*arguments, '--max-frames', '3']) == 0
    assert [json.loads(line)['frame'] for line in (out / 'json/v.jsonl').read_text().splitlines()] == [0, 1, 2]
    assert [row[1] for row in csv.reader((out / 'detections.csv').open())][1::2] == ['0', '1', '2']
    made = cv2.VideoCapture(str(out / 'videos/v.mp4'))
    assert int(made.get(cv2.CAP_PROP_FRAME_COUNT)) == 3
    (tmp_path / 'bad.mp4').write_bytes(b'no video')
    assert main([folder, str(tmp_path / 'bad.mp4'), '--out', str(out), '--json']) == 1
    assert 'OpenCV cannot open this video' in capsys.readouterr().err


def test_ids_of_an_annotation_file(tmp_path):
    file = tmp_path / 'ids.json'
    document = dict(images=[dict(id=7, file_name='x/a.jpg'), dict(id=8, file_name='y/a.jpg'), dict(id='n', file_name='b.jpg')], categories=[dict(id=4, name='b'), dict(id=9, name='a')])  # fmt: skip
    file.write_text(json.dumps(document))
    ids = CocoIds(['a', 'b'], file)
    assert ids.categories == [9, 4]
    assert [ids.of_image(Source(name, 'n'), (1, 1)) for name in ('/data/x/a.jpg', 'y/a.jpg', 'z/b.jpg')] == [7, 8, 'n']
    with pytest.raises(DataError, match='no image of this name'):
        ids.of_image(Source('z/a.jpg', 'n'), (1, 1))  # two have this name
    with pytest.raises(DataError, match=r"no category of the names \['c'\]"):
        CocoIds(['c'], file)


def test_a_failure_leaves_no_half_files(tmp_path):
    (tmp_path / 'coco.json').write_text('of before')
    with pytest.raises(ZeroDivisionError), Outputs(tmp_path, ['coco', 'csv', 'json'], ['a']) as outputs:
        outputs.write(Source(picture(1), 'v/000000', video='v.mp4', fps=5), picture(1), Detections.empty())
        raise ZeroDivisionError
    assert [p.name for p in tmp_path.rglob('*') if p.is_file()] == ['coco.json'] and (
        tmp_path / 'coco.json'
    ).read_text() == 'of before'


def test_what_is_a_stream(tmp_path, monkeypatch):
    kinds = {
        '0': True,
        'rtsp://h/live': True,
        'http://h/video.mjpg': True,
        'http://h/a.jpg?x=1': False,
        'https://h/a.mp4': False,
        'a.mp4': False,
    }
    assert {entry: is_stream(entry) for entry in kinds} == kinds
    assert collect(['0', 'rtsp://h/live']) == ['0', 'rtsp://h/live']
    monkeypatch.chdir(tmp_path)
    (tmp_path / '0').mkdir()
    with pytest.raises(DataError, match='holds no images'):
        collect(['0'])


class _Camera(http.server.BaseHTTPRequestHandler):
    """Motion JPEG of three frames, after which the connection ends."""

    def do_GET(self):
        self.send_response(200)
        self.send_header('Content-Type', 'multipart/x-mixed-replace; boundary=x')
        self.end_headers()
        data = cv2.imencode('.jpg', picture(204, 64, 48))[1].tobytes()
        for _ in range(3):
            self.wfile.write(b'--x\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n' % (len(data), data))

    def log_message(self, *_):
        pass


def test_a_stream_that_breaks(monkeypatch):
    monkeypatch.setattr('mmdet_runtime.sources._WAITS', (0.01,))
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), _Camera)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    said, address = [], f'http://127.0.0.1:{server.server_port}/live.mjpg'
    stream = Stream(address, 'cam', reconnects=2, say=said.append)
    frames = iter(stream)
    first = next(frames)
    assert first.stem == 'cam/000000' and first.image.shape == (48, 64, 3) and first.video == address
    while not any('is back' in line for line in said):
        next(frames)
    assert 'the stream broke; try 1 of 2 in 0.01 s' in said[0]
    server.shutdown()
    server.server_close()
    with pytest.raises(DataError, match='2 tries to open it again failed'):
        for _ in frames:
            pass
    skipped = []
    assert [*iterate_sources([address], ['s'], skipped, open_stream=lambda *a: Stream(*a, reconnects=0))] == []
    assert 'cannot be opened, and 0 tries' in skipped[0][1]


_WITHOUT_TORCH = """
import sys
for name in ('torch', 'mmengine', 'mmcv', 'mmdet'):
    sys.modules[name] = None
from mmdet_runtime.cli import main
status = main(sys.argv[1:])
loaded = {name.partition('.')[0] for name in sys.modules if sys.modules[name] is not None}
assert not loaded & {'torch', 'mmengine', 'mmcv', 'mmdet', 'openvino', 'PIL', 'scipy'}, loaded
sys.exit(status)
"""


def test_nothing_needs_torch(folder, images, tmp_path):
    """Nor another backend than the one that is used."""
    command = [
        sys.executable,
        '-c',
        _WITHOUT_TORCH,
        folder,
        str(images / 'a.png'),
        '--out',
        str(tmp_path / 'out'),
        '--pictures',
        '--coco',
    ]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert ended.returncode == 0, ended.stderr
    assert len(json.loads((tmp_path / 'out/coco.json').read_text())) == 2


def test_out_may_not_replace_an_input(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), picture(1))
    with pytest.raises(ConfigError, match='is an input of this call'):
        Outputs(tmp_path.parent, ['json'], ['a']).claim(
            [str(tmp_path.parent / 'detections.csv'), *_touch(tmp_path.parent / 'detections.csv')]
        )


def _touch(path):
    np.savetxt(path, [1])
    return [str(path)]


class _Endless(_Camera):
    """The frames of ``_Camera``, again and again."""

    def do_GET(self):
        super().do_GET()
        data = cv2.imencode('.jpg', picture(204, 64, 48))[1].tobytes()
        with contextlib.suppress(OSError):  # the other end is gone
            while True:
                self.wfile.write(
                    b'--x\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n' % (len(data), data)
                )
                time.sleep(0.01)


@pytest.mark.parametrize(('number', 'status'), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopping_completes_the_files(folder, tmp_path, number, status):
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), _Endless)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    out, address = tmp_path / 'out', f'http://127.0.0.1:{server.server_port}/cam'
    command = [
        sys.executable,
        '-m',
        'mmdet_runtime',
        folder,
        address,
        '--out',
        str(out),
        '--jsonl',
        '--video',
        '--coco',
    ]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as running:
        end = time.monotonic() + 60
        while time.monotonic() < end and (
            not (lines := out / 'detections.jsonl').exists() or lines.read_bytes().count(b'\n') < 5
        ):
            time.sleep(0.02)
        running.send_signal(number)
        said = running.communicate(timeout=60)[1]
    server.shutdown()
    server.server_close()
    assert running.returncode == status, said
    assert 'stopped before the end' in said and 'Traceback' not in said
    frames = [json.loads(line)['frame'] for line in lines.read_text().splitlines()]
    assert frames == [*range(len(frames))] and len(json.loads((out / 'coco.json').read_text())) == 2 * len(frames)
    assert int(cv2.VideoCapture(str(out / 'videos/cam.mp4')).get(cv2.CAP_PROP_FRAME_COUNT)) == len(frames)
