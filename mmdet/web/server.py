"""The server of the page: files of the page, the list of models, and detection, one at a time.

A detection is answered by JSON lines, so that the page can show what is happening: ``waiting`` (how many are before), ``loading`` (a model),
``frame`` (size, time and, where asked for, a JPEG), ``look`` (what one look found in that frame), ``done``, or ``error``. Nothing is kept after
the answer: the page has the boxes of all scores, filters them and makes the files to download.
"""

import asyncio
import base64
import json
import logging
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from importlib import resources, util
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from mmdet_runtime.sources import VIDEO_SUFFIXES
from mmdet_runtime.suppression import Detections
from mmdet_runtime.tracking import Tracker, TrackSettings

from ..errors import ConfigError, MMDetError
from ..formats.pixels import ValueRange
from .looks import LOOKS, Found, Look, Model
from .media import Frame, read_frames, read_upload, to_jpeg
from .models import Models

try:
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import JSONResponse, Response, StreamingResponse
    from starlette.routing import Route
except ImportError as error:
    raise ConfigError("needs starlette and uvicorn: pip install 'mmdet-dense[web]'", field='mmdet web') from error

_log = logging.getLogger(__name__)
_FILES = {
    '': ('index.html', 'text/html'),
    'page.css': ('page.css', 'text/css'),
    'page.js': ('page.js', 'text/javascript'),
}
# The browser may ask nothing of other hosts, whatever a file name or a class name holds; no other page may show this one within itself.
_HEADERS = {
    'content-security-policy': "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-cache',
}
# Local addresses, by which no other name leads here (DNS rebinding).
LOCAL = ('localhost', '127.0.0.1', '::1', '[::1]')
_TRACK_RATE = 10.0  # frames a second that are looked at for tracks: objects overlap with where they were
_MOST_CONNECTIONS = 100  # further ones are answered by 503


class Refusal(Exception):
    """An answer of an error status with a sentence for the user."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


class Page:
    """The page as an ASGI application, ``app``.

    Args:
        models: what can be chosen.
        max_upload: largest file, in MB.
        max_frames: frames of a video that are looked at.
        max_waiting: requests that wait for their turn, each with its file in memory; further ones are refused.
        hosts: names by which the page may be called; None: any.
        patience: seconds that a browser may leave its upload or the answer where they are; then it has lost its turn.
        value_range: what pixels of more than 8 bits mean, see :mod:`~mmdet_runtime.pixels`; None refuses them.
    """

    def __init__(
        self, models: Models, *, max_upload: float = 50, max_frames: int = 60, max_waiting: int = 8, hosts: Sequence[str] | None = LOCAL,
        patience: float = 30, value_range: ValueRange = None,
    ):  # fmt: skip
        self.models = models
        self.max_upload, self.max_frames, self.max_waiting = max_upload, max_frames, max_waiting
        self.patience, self.value_range = patience, value_range
        self._turn = asyncio.Lock()  # first come, first served
        self._present = 0  # requests that wait, or have their turn
        middleware = (
            [] if hosts is None else [Middleware(TrustedHostMiddleware, allowed_hosts=[*hosts], www_redirect=False)]
        )
        self.app = Starlette(
            routes=[
                *(Route(f'/{path}', _file(*file)) for path, file in _FILES.items()),
                Route('/api/settings', self.settings),
                Route('/api/detect', self.detect, methods=['POST']),
            ],
            middleware=middleware,
            exception_handlers={Refusal: _refused},
        )

    async def settings(self, request: Request) -> Response:
        """What the page needs to know: models, looks and limits."""
        choices = [dict(name=choice.name, given=choice.given) for choice in self.models.choices.values()]
        return JSONResponse(
            dict(
                models=choices,
                looks=LOOKS,
                max_upload=self.max_upload,
                max_frames=self.max_frames,
                videos=VIDEO_SUFFIXES,
                tracking=util.find_spec('trackers') is not None,
            ),
            headers=_HEADERS,
        )

    async def detect(self, request: Request) -> Response:
        """Look at the file in the body; the query names ``model``, ``look`` (once for each), ``picture=1`` for JPEGs of the image, ``track=1`` for ids."""
        # A header of its own, which no page of another origin can send without asking first.
        name = request.headers.get('x-file-name')
        if name is None:
            raise Refusal(403, 'The header X-File-Name is missing.')
        name = Path(unquote(name)).name or 'file'
        looks = [look for look in LOOKS if look in request.query_params.getlist('look')]
        model = request.query_params.get('model', '')
        if not looks:
            raise Refusal(400, 'Choose at least one look: whole, tiled or packed.')
        if model not in self.models.choices:
            raise Refusal(404, f'No such model: {model}')
        if self._present > self.max_waiting:
            raise Refusal(503, f'{self._present} requests are waiting already. Try again in a minute.')
        self._present += 1
        try:
            data = await self._body(request)
        except BaseException:
            self._present -= 1
            raise
        flags = [bool(request.query_params.get(flag)) for flag in ('picture', 'track')]
        return _Lines(self._answer(request, _Work(self, model, looks, name, *flags), data), self._leave, self.patience)

    def _leave(self) -> None:
        self._present -= 1

    async def _body(self, request: Request) -> bytes:
        """The file.

        Raises:
            Refusal: it is empty, or larger than allowed; what is sent beyond is not kept.
        """
        limit = int(self.max_upload * 1e6)
        too_large = Refusal(
            413, f'The file is larger than {self.max_upload:g} MB, the limit of this page (mmdet web --max-upload).'
        )
        if int(request.headers.get('content-length') or 0) > limit:
            raise too_large
        data = bytearray()
        try:
            async with aclosing(request.stream()) as chunks:
                while (chunk := await asyncio.wait_for(anext(chunks, None), self.patience)) is not None:
                    data += chunk
                    if len(data) > limit:
                        raise too_large
        except TimeoutError as error:
            raise Refusal(408, f'Nothing of the file has arrived for {self.patience:g} s.') from error
        except ClientDisconnect as error:  # nobody reads this answer
            raise Refusal(400, 'The upload was cancelled.') from error
        if not data:
            raise Refusal(400, 'The file is empty.')
        return bytes(data)

    async def _answer(self, request: Request, work: '_Work', data: bytes) -> AsyncIterator[bytes]:
        """The lines of the answer. A computation that has begun runs to the end of its step, also when nobody waits for it any more."""
        if self._turn.locked():
            yield _line('waiting', before=self._present - 1)
        async with self._turn:
            if work.model not in self.models:
                yield _line('loading', model=work.model)
            with closing(work.steps(data)) as steps:
                while (line := await run_in_threadpool(next, steps, None)) is not None:
                    yield line
                    if await request.is_disconnected():
                        return


class _Work:
    """One detection, step by step, in a thread."""

    def __init__(self, page: Page, model: str, looks: Sequence[str], name: str, picture: bool, track: bool):
        self._page, self.model, self._looks, self._name, self._track = page, model, looks, name, track
        self._picture = picture or page.value_range is not None  # the browser does not know the range

    def steps(self, data: bytes) -> Generator[bytes, None, None]:
        """Lines of the answer; an error that the user can cause is the last of them."""
        try:
            model = self._page.models.get(self.model)
            looks = [look for look in self._looks if look in model.looks]
            if not looks:
                raise ConfigError(
                    f'this model can be looked with only by {", ".join(model.looks)}', received=list(self._looks)
                )
            yield _line(
                'model',
                classes=model.classes,
                colors=model.colors,
                looks=looks,
                missing=[look for look in self._looks if look not in looks],
            )
            if Path(self._name).suffix.lower() not in VIDEO_SUFFIXES:
                pixels = read_upload(data, self._name, self._page.value_range)
                yield from self._frame(model, looks, Frame(pixels), self._picture, {})
            else:
                with tempfile.TemporaryDirectory(prefix='mmdet-web-') as folder:
                    path = Path(folder, f'video{Path(self._name).suffix.lower()}')
                    path.write_bytes(data)
                    del data
                    rate = _TRACK_RATE if self._track else None
                    trackers = {look: Tracker(TrackSettings(), _TRACK_RATE) for look in looks if self._track}
                    for frame in read_frames(path, self._name, self._page.max_frames, rate):
                        yield from self._frame(model, looks, frame, True, trackers)
            yield _line('done')
        except MMDetError as error:
            yield _line('error', message=str(error))
        except Exception:  # of a model or a library: the page tells of it, and goes on for the others
            _log.exception('%s, %s', self.model, self._name)
            yield _line(
                'error',
                message='The detection failed for a reason that the page does not know; the terminal of mmdet web has the details.',
            )

    def _frame(
        self, model: Model, looks: Sequence[str], frame: Frame, picture: bool, trackers: Mapping[str, Tracker]
    ) -> Iterator[bytes]:
        height, width = frame.pixels.shape[:2]
        shown = dict(jpeg=_jpeg(frame.pixels)) if picture else {}
        yield _line('frame', width=width, height=height, number=frame.number, second=round(frame.second, 3), **shown)
        for way in looks:
            look = model.look(way, frame.pixels)
            if way in trackers:
                look.found = _tracked(trackers[way], look.found, frame)
            yield _line('look', look=way, **look_to_dict(look))


def look_to_dict(look: Look) -> dict[str, Any]:
    """A look as plain values: times in milliseconds, the mosaic as the address of a JPEG that holds its data."""
    plain: dict[str, Any] = dict(
        _boxes(look.found), times={name: round(1000 * value, 1) for name, value in look.seconds.items()}
    )
    for name in ('coarse', 'fine'):
        found = getattr(look, name)
        if found is not None:
            plain[name] = _boxes(found)
    if look.regions is not None:
        plain['regions'] = np.round(look.regions, 2).tolist()
    if look.mosaic is not None:
        height, width = look.mosaic.shape[:2]
        plain['mosaic'] = dict(width=width, height=height, jpeg=_jpeg(look.mosaic))
    return plain


def _tracked(tracker: Tracker, found: Found, frame: Frame) -> Found:
    """The boxes of a frame that belong to tracks, with their ids."""
    boxes = Detections(found.boxes.astype(np.float32), found.scores.astype(np.float32), found.labels.astype(np.int64))
    tracked = tracker.update(boxes, frame.pixels, frame.second)
    return Found(tracked.bboxes, tracked.scores, tracked.labels, tracked.ids)


def _boxes(found: Found) -> dict[str, list]:
    """Hundredths of a pixel, and scores of four digits: half the bytes."""
    ids = {} if found.ids is None else dict(ids=found.ids.tolist())
    return dict(
        **ids,
        bboxes=np.round(found.boxes.astype(float), 2).tolist(), scores=np.round(found.scores.astype(float), 4).tolist(), labels=found.labels.tolist()
    )  # fmt: skip


def _jpeg(pixels: np.ndarray) -> str:
    return 'data:image/jpeg;base64,' + base64.b64encode(to_jpeg(pixels)).decode()


def _line(event: str, **values: Any) -> bytes:
    return json.dumps(dict(event=event, **values), separators=(',', ':')).encode() + b'\n'


class _Lines(StreamingResponse):
    """Closes what it streams, and calls ``finished``, also when the browser has gone, or has read nothing for ``patience`` seconds."""

    def __init__(self, lines: AsyncIterator[bytes], finished: Callable[[], None], patience: float):
        super().__init__(lines, media_type='application/x-ndjson', headers=_HEADERS)
        self._finished, self._patience = finished, patience

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_in_time(message: Any) -> None:
            try:
                await asyncio.wait_for(send(message), self._patience)
            except TimeoutError as error:
                raise ClientDisconnect from error

        try:
            await super().__call__(scope, receive, send_in_time)
        except ClientDisconnect:
            _log.warning('a browser has left its answer')
        finally:
            self._finished()

    async def stream_response(self, send: Any) -> None:
        lines: Any = self.body_iterator  # the generator that __init__ was given
        async with aclosing(lines):
            await super().stream_response(send)


def _file(name: str, media_type: str) -> Callable:
    async def answer(request: Request) -> Response:
        content = resources.files(__package__).joinpath('page', name).read_bytes()
        return Response(content, media_type=media_type, headers=_HEADERS)

    return answer


async def _refused(request: Request, error: Exception) -> Response:
    status = error.status if isinstance(error, Refusal) else 500
    return JSONResponse(dict(error=str(error)), status_code=status, headers=_HEADERS)


def serve(page: Page, host: str, port: int) -> None:
    """Answer until the process is interrupted; prints the address.

    Raises:
        ConfigError: the address cannot be listened at.
    """
    import uvicorn

    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ':' in host else socket.AF_INET)
    except OSError as error:
        raise ConfigError(
            f'cannot listen there ({error.strerror or error})', field='--host, --port', received=f'{host}:{port}'
        ) from error
    with listener:
        shown = f'[{host}]' if ':' in host else host
        print(f'http://{shown}:{listener.getsockname()[1]}/ shows the page; Ctrl+C ends it', flush=True)
        # An answer that is under way when the process is ended is given up: its step in the thread ends by itself.
        config = uvicorn.Config(
            page.app, log_level='warning', timeout_graceful_shutdown=1, limit_concurrency=_MOST_CONNECTIONS
        )
        uvicorn.Server(config).run([listener])
