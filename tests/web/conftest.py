"""A server of the page with a model whose boxes are known."""

import asyncio
import socket
import threading
import time

import numpy as np
import pytest

from mmdet.web.looks import Found, Look, Model
from mmdet.web.models import Choice, Models


class Known(Model):
    """Finds the whole image (class 0, score 0.9), its upper left quarter (class 1, 0.4), and a tenth (class 0, 0.2); packs the quarter, doubled.

    ``<script>`` is in a class name, as nothing that comes from a model may be taken for a part of the page.
    """

    classes, colors, looks = ('car', '<script>x</script>'), [(255, 0, 0), (0, 0, 255)], ('whole', 'packed')
    running = most = 0
    wait, failure = 0.0, None

    def _look(self, way, image):
        cls = type(self)
        cls.running += 1
        cls.most = max(cls.most, cls.running)
        try:
            time.sleep(cls.wait)
            if cls.failure is not None:
                raise cls.failure
        finally:
            cls.running -= 1
        h, w = image.shape[:2]
        boxes = np.float32([[0, 0, w, h], [0, 0, w / 2, h / 2], [0, 0, w / 10, h / 10]])
        found = Found(boxes, np.float32([0.9, 0.4, 0.2]), np.array([0, 1, 0]))
        if way == 'whole':
            return Look(found, dict(network=0.25))
        regions = np.array([[0, 0, w / 2, h / 2, 0, 0, 2]])
        return Look(found, dict(coarse=0.1, fine=0.2), found, regions, np.full((h, w, 3), 90, np.uint8), found)


@pytest.fixture
def known(monkeypatch):
    """The model; what a test sets of it is undone."""
    for name in ('running', 'most', 'wait', 'failure'):
        monkeypatch.setattr(Known, name, getattr(Known, name))
    return Known


@pytest.fixture(scope='module')
def page():
    """The page of two models, ``known`` and ``missing``, and its ``port``."""
    pytest.importorskip('starlette', reason='the page needs the extra web')
    uvicorn = pytest.importorskip('uvicorn', reason='the page needs the extra web')
    from mmdet.errors import CheckpointError
    from mmdet.web.server import Page

    def load(choice):
        if choice.name == 'missing':
            raise CheckpointError('no such checkpoint file', file='missing.pth')
        return Known()

    page = Page(
        Models([Choice('known', ''), Choice('missing', '', given=False)], 1, load),
        max_upload=0.5,
        max_frames=3,
        max_waiting=1,
    )
    listener = socket.create_server(('127.0.0.1', 0))
    page.port = listener.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(page.app, log_level='warning', timeout_graceful_shutdown=1))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield page
    server.should_exit = True
    thread.join()
    listener.close()
