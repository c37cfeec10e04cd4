"""What the server answers, without a browser."""

import http.client
import json
import re
import socket
import threading
import time
from urllib.parse import quote

import cv2
import numpy as np
import pytest

from mmdet.web.looks import Found, Look


def ask(page, method='GET', path='/', body=None, **headers):
    connection = http.client.HTTPConnection('127.0.0.1', page.port, timeout=30)
    connection.request(method, path, body, {key.replace('_', '-'): value for key, value in headers.items()})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer, content


def detect(page, data, name='a.png', query='model=known&look=whole'):
    answer, content = ask(page, 'POST', f'/api/detect?{query}', data, x_file_name=quote(name))
    assert answer.status == 200, content
    return [json.loads(line) for line in content.splitlines()]


def assert_empty(page):
    """An answer has its last byte before the server has left it."""
    end = time.monotonic() + 10
    while page._present and time.monotonic() < end:
        time.sleep(0.01)
    assert page._present == 0


def encoded(suffix='.png', size=(20, 40, 3)):
    return cv2.imencode(suffix, np.full(size, 200, np.uint8))[1].tobytes()


def clip(folder, frames=8):
    path = folder / 'clip.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), 4, (32, 24))
    for number in range(frames):
        writer.write(np.full((24, 32, 3), 20 * number, np.uint8))
    writer.release()
    return path.read_bytes()


def test_the_page_asks_nobody_else(page):
    for path, kind in (('/', 'text/html'), ('/page.css', 'text/css'), ('/page.js', 'text/javascript')):
        answer, content = ask(page, path=path)
        assert answer.status == 200 and answer.headers['content-type'].startswith(kind)
        policy = answer.headers['content-security-policy']
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and b'http' not in content
    settings = json.loads(ask(page, path='/api/settings')[1])
    assert settings['models'] == [dict(name='known', given=True), dict(name='missing', given=False)]
    assert (settings['max_upload'], settings['max_frames'], settings['looks']) == (0.5, 3, ['whole', 'tiled', 'packed'])


def test_an_image(page):
    start, frame, whole, packed, done = [
        line
        for line in detect(page, encoded(), 'é.png', 'model=known&look=packed&look=whole&look=tiled')
        if line['event'] != 'loading'
    ]
    assert start == dict(
        event='model', classes=['car', '<script>x</script>'], colors=[[255, 0, 0], [0, 0, 255]], looks=['whole', 'packed'], missing=['tiled']
    )  # fmt: skip
    assert frame == dict(event='frame', width=40, height=20, number=0, second=0.0) and done == dict(event='done')
    assert whole['bboxes'] == [[0, 0, 40, 20], [0, 0, 20, 10], [0, 0, 4, 2]] and whole['labels'] == [0, 1, 0]
    assert whole['scores'] == [0.9, 0.4, 0.2] and whole['times']['network'] == 250 and 'regions' not in whole
    assert packed['regions'] == [[0, 0, 20, 10, 0, 0, 2]] and packed['coarse'] == packed['fine']
    assert (packed['mosaic']['width'], packed['mosaic']['height']) == (40, 20)
    assert packed['mosaic']['jpeg'].startswith('data:image/jpeg;base64,/9j/')


def test_a_picture_where_the_browser_has_none(page):
    frame = detect(page, encoded('.tiff'), 'a.tif', 'model=known&look=whole&picture=1')[1]
    assert frame['jpeg'].startswith('data:image/jpeg;base64,')


def test_frames_of_a_video(page, tmp_path):
    lines = detect(page, clip(tmp_path), 'clip.AVI')
    frames = [line for line in lines if line['event'] == 'frame']
    assert [(frame['number'], frame['second']) for frame in frames] == [(0, 0), (3, 0.75), (6, 1.5)]
    assert [line['event'] for line in lines[-2:]] == ['look', 'done'] and all('jpeg' in frame for frame in frames)


SIXTEEN = cv2.imencode('.png', np.array([[0, 1000], [2000, 4000]], np.uint16))[1].tobytes()
HUGE = (
    b'\x89PNG\r\n\x1a\n\0\0\0\rIHDR'
    + (20000).to_bytes(4, 'big') * 2
    + b'\x08\x02\0\0\0'
    + b'\0' * 40
    + b'IEND\xaeB`\x82'
)


@pytest.mark.parametrize(('name', 'data', 'message'), [
    ('a.jpg', b'no image', 'a.jpg: not a complete image of a supported format'),
    ('a.jpg', encoded('.jpg')[:-9], 'a.jpg: truncated JPEG'),
    ('a.png', SIXTEEN, 'a.png: has more than 8 bits a pixel; start the page with mmdet web --value-range'),
    ('huge.png', HUGE, 'huge.png: the page takes images of up to 67 million pixels.*20000 x 20000'),
    ('a.mp4', b'no video', 'a.mp4: the video cannot be opened: it is incomplete'),
    ('../../a.jpg', b'no image', '^a.jpg: '),
])  # fmt: skip
def test_files_that_cannot_be_read(page, name, data, message):
    last = detect(page, data, name)[-1]
    assert last['event'] == 'error' and re.search(message, last['message']), last


@pytest.mark.parametrize(('query', 'size', 'header', 'status', 'message'), [
    ('model=known&look=whole', 0, True, 400, 'The file is empty'),
    ('model=known&look=whole', 500_001, True, 413, 'larger than 0.5 MB, the limit of this page'),
    ('model=known', 9, True, 400, 'at least one look'),
    ('model=other&look=whole', 9, True, 404, 'No such model: other'),
    ('model=known&look=whole', 9, False, 403, 'X-File-Name is missing'),  # what a page of another origin can send
])  # fmt: skip
def test_requests_that_are_refused(page, query, size, header, status, message):
    headers = dict(x_file_name='a.png') if header else {}
    answer, content = ask(page, 'POST', f'/api/detect?{query}', b'x' * size, **headers)
    assert answer.status == status and message in json.loads(content)['error']


def test_other_names_of_this_machine(page):
    assert ask(page, host='evil.example')[0].status == 400


def test_a_body_of_unknown_length(page):
    chunks = iter([b'x' * 300_000] * 2)
    assert ask(page, 'POST', '/api/detect?model=known&look=whole', chunks, x_file_name='a')[0].status == 413


def test_a_model_that_cannot_be_loaded(page):
    lines = detect(page, encoded(), query='model=missing&look=whole')
    assert [line['event'] for line in lines] == ['loading', 'error'] and 'missing.pth: no such checkpoint' in lines[1][
        'message'
    ]
    assert detect(page, encoded(), query='model=known&look=tiled')[-1]['message'].startswith(
        'this model can be looked with only by whole, packed'
    )


def test_unexpected_errors_end_the_answer_only(page, known, monkeypatch, caplog):
    monkeypatch.setattr(known, 'failure', RuntimeError('out of memory'))
    last = detect(page, encoded())[-1]
    assert last['event'] == 'error' and 'the terminal' in last['message'] and 'out of memory' in caplog.text
    monkeypatch.setattr(known, 'failure', None)
    assert detect(page, encoded())[-1]['event'] == 'done'


def test_one_at_a_time(page, known, monkeypatch):
    monkeypatch.setattr(known, 'wait', 0.3)
    known.most = 0
    answers = []

    def send():
        answers.append(ask(page, 'POST', '/api/detect?model=known&look=whole', encoded(), x_file_name='a.png'))

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    statuses = sorted(answer.status for answer, _ in answers)
    assert known.most == 1 and statuses == [200, 200, 503, 503]  # one works, one waits
    waited = [content for answer, content in answers if answer.status == 200 and b'"waiting","before":1' in content]
    assert len(waited) == 1 and any(b'Try again' in content for _, content in answers)
    assert_empty(page)


def test_a_browser_that_leaves_makes_room(page, known, monkeypatch, tmp_path):
    monkeypatch.setattr(known, 'wait', 0.15)
    connection = http.client.HTTPConnection('127.0.0.1', page.port, timeout=30)
    connection.request('POST', '/api/detect?model=known&look=whole', clip(tmp_path), {'x-file-name': 'clip.avi'})
    connection.getresponse().readline()
    connection.close()
    monkeypatch.setattr(known, 'wait', 0.0)
    assert detect(page, encoded())[-1]['event'] == 'done'
    assert_empty(page)


def half_sent(page, body, length):
    """A connection that has sent a part of a request, and reads nothing more."""
    connection = socket.create_connection(('127.0.0.1', page.port), timeout=10)
    head = f'POST /api/detect?model=known&look=whole HTTP/1.1\r\nHost: localhost\r\nX-File-Name: clip.avi\r\nContent-Length: {length}\r\n\r\n'
    connection.sendall(head.encode() + body)
    return connection


def test_an_upload_that_stands_still_loses_its_place(page, monkeypatch):
    monkeypatch.setattr(page, 'patience', 0.2)
    with half_sent(page, b'x', 100) as connection:
        assert b'408' in connection.recv(4000)
    assert_empty(page)


def test_an_upload_that_is_cancelled(page, caplog):
    half_sent(page, b'x', 100).close()
    assert_empty(page)
    assert detect(page, encoded())[-1]['event'] == 'done' and 'Traceback' not in caplog.text


def test_a_browser_that_does_not_read_makes_room(page, monkeypatch, tmp_path):
    """Else all others would wait for it."""
    monkeypatch.setattr(page, 'patience', 0.2)
    monkeypatch.setattr('mmdet.web.server._jpeg', lambda pixels: 'x' * 10_000_000)
    data = clip(tmp_path)
    with half_sent(page, data, len(data)):
        end = time.monotonic() + 10
        while not page._present and time.monotonic() < end:
            time.sleep(0.01)
        assert_empty(page)
        assert detect(page, encoded())[-1]['event'] == 'done'


def test_tracks(page, tmp_path):
    pytest.importorskip('trackers', reason='ids need the extra tracking')
    lines = detect(page, clip(tmp_path), 'clip.avi', 'model=known&look=whole&track=1')
    ids = [line['ids'] for line in lines if line['event'] == 'look']
    assert [line['number'] for line in lines if line['event'] == 'frame'] == [0, 1, 2]  # 4 a second are fewer than 10
    assert ids[-1] == [1, 2]
    assert 'ids' not in detect(page, encoded(), 'a.png', 'model=known&look=whole&track=1')[-2]


def test_a_value_range(page, known, monkeypatch):
    """The picture that the model sees is sent: the browser would show another one."""
    monkeypatch.setattr(page, 'value_range', (0.0, 4000.0))
    seen = []
    monkeypatch.setattr(
        known, '_look', lambda self, way, image: seen.append(image) or Look(Found(*np.zeros((3, 0))), {})
    )
    frame = detect(page, SIXTEEN)[-3]
    assert seen[0][..., 0].tolist() == [[0, 64], [128, 255]] and frame['jpeg'].startswith('data:image/jpeg')


def test_a_port_that_is_taken(page):
    from mmdet.errors import ConfigError
    from mmdet.web.server import serve

    with pytest.raises(ConfigError, match=f'cannot listen there.*127.0.0.1:{page.port}'):
        serve(page, '127.0.0.1', page.port)
