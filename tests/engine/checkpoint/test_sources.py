"""Files from a server: what arrives is compared with its length and its hash, and so is what lies in the cache."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mmdet.engine import resolve_checkpoint
from mmdet.engine.checkpoint import sources
from mmdet.errors import CheckpointError

CONTENT = b'the published file'
DIGITS = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Sends CONTENT; the folder of the path says what goes wrong."""

    def do_GET(self):
        self.server.asked.append(self.path)
        kind = self.path.split('/')[1]
        if kind == 'missing':
            self.send_error(404)
            return
        if kind == 'silent':
            self.server.released.wait(10)
        self.send_response(200)
        self.send_header('Content-Type', 'text/html; charset=utf-8' if kind == 'page' else 'application/octet-stream')
        if kind != 'unsized':
            self.send_header('Content-Length', str(len(CONTENT) + (kind == 'cut')))
        self.end_headers()
        self.wfile.write(CONTENT)

    def log_message(self, *_):
        pass


@pytest.fixture(scope='module')
def server():
    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    server.asked, server.released = [], threading.Event()
    thread = threading.Thread(target=server.serve_forever, kwargs=dict(poll_interval=0.01))
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def address(server, monkeypatch, tmp_path):
    monkeypatch.setenv('MMDET_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    server.asked.clear()
    return f'http://127.0.0.1:{server.server_port}'


@pytest.mark.parametrize(
    'location',
    [
        'whole/a.pth', 'unsized/a.pth', f'whole/a-{DIGITS[:8]}.pth', f'unsized/a-{DIGITS[:8]}.pth', f'whole/a-{DIGITS}.pth.tar', f'whole/a.ckpt#sha256={DIGITS}',
        f'whole/a-{DIGITS[:8]}.pth?token=1',
    ],
)  # fmt: skip
def test_whole_files(location, address, server, tmp_path):
    name = location.split('/')[1].split('#')[0].split('?')[0]
    for _ in range(2):
        assert resolve_checkpoint(f'{address}/{location}') == tmp_path / 'cache' / name
    assert (tmp_path / 'cache' / name).read_bytes() == CONTENT
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ('location', 'message'),
    [
        ('missing/a.pth', 'HTTP Error 404'),
        ('cut/a.pth', 'the connection ended after 18 of 19 bytes'),
        (f'cut/a-{DIGITS[:8]}.pth', 'the connection ended after 18 of 19 bytes'),
        ('whole/a-00000000.pth', f'must begin with 00000000; that of the 18 bytes received begins with {DIGITS[:8]}'),
        ('unsized/a-00000000.pth', 'must begin with 00000000'),
        ('whole/a.ckpt#sha256=' + '0' * 64, 'must begin with 00000000'),
        ('page/a.pth', 'a page to be read, not a file'),
        ('silent/a.pth', 'no answer within 0.2 s'),
    ],
)
def test_what_is_no_whole_file_leaves_nothing(location, message, address, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, 'ANSWER_SECONDS', 0.2)
    name = location.split('/')[1].split('#')[0]
    place = tmp_path / 'cache' / name
    with pytest.raises(CheckpointError, match='cannot download') as raised:
        resolve_checkpoint(f'{address}/{location}')
    assert message in str(raised.value) and f'put the file {name} at {place}' in str(raised.value)
    assert not list(tmp_path.rglob('*.*'))


def test_without_a_server(monkeypatch, tmp_path):
    monkeypatch.setenv('MMDET_CACHE', str(tmp_path))
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    with pytest.raises(
        CheckpointError, match=r'http://127\.0\.0\.1:9/a\.pth: cannot download it .*put the file a\.pth at'
    ):
        resolve_checkpoint('http://127.0.0.1:9/a.pth')
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ('location', 'content', 'right'),
    [
        ('a.pth', b'', True),  # nothing is known of it
        (f'a-{DIGITS[:8]}.pth', CONTENT, True),
        (f'a-{DIGITS[:8]}.pth', CONTENT[:-1], False),
        (f'a-{DIGITS[:8]}.pth', b'', False),
        (f'a.ckpt#sha256={DIGITS}', CONTENT, True),
        (f'a.ckpt#sha256={DIGITS}', b'another', False),
    ],
)
def test_files_put_there_by_hand_are_compared_too(location, content, right, address, server, tmp_path):
    place = tmp_path / 'cache' / location.split('#')[0]
    place.parent.mkdir()
    place.write_bytes(content)
    if right:
        assert resolve_checkpoint(f'{address}/whole/{location}') == place
    else:
        with pytest.raises(
            CheckpointError,
            match=rf'is not the published file \({len(content)} bytes\): its SHA-256 must begin with {DIGITS[:8]}',
        ):
            resolve_checkpoint(f'{address}/whole/{location}')
    assert place.read_bytes() == content and not server.asked


def test_a_file_that_is_replaced_is_compared_again(address, tmp_path):
    place = tmp_path / 'cache' / f'a-{DIGITS[:8]}.pth'
    place.parent.mkdir()
    place.write_bytes(b'damaged')
    with pytest.raises(CheckpointError, match='Remove it'):
        resolve_checkpoint(f'{address}/whole/{place.name}')
    place.write_bytes(CONTENT)
    assert resolve_checkpoint(f'{address}/whole/{place.name}') == place
