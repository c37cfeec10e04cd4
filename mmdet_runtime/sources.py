"""What a program runs on: image files, folders, patterns, addresses, videos, cameras and streams, as one sequence of sources.

A source that is a file is decoded later, by the thread that needs it. The frames of a video or a stream are decoded where they are requested.
"""

import glob
import itertools
import logging
import os
import re
import threading
import time
import urllib.request
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import cv2
import numpy as np

from .errors import DataError
from .images import IMAGE_SUFFIXES, BrokenImageError, ReducedImage, decode_image, read_image
from .pixels import ValueRange
from .videos import open_video

Entry = str | np.ndarray  # path or address of an image, path of a video, a camera, or a BGR array

VIDEO_SUFFIXES = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg')
_STREAM = re.compile(r'(rtsps?|rtmps?|rtp|udp|tcp|srt|https?)://', re.IGNORECASE)
_ADDRESS_SECONDS = 30  # until an address counts as silent
_LARGEST_ADDRESS = 1 << 28  # bytes of an image behind an address
_WAITS = (0.5, 1.0, 2.0, 4.0, 8.0)  # seconds before the tries to open a stream again
_log = logging.getLogger('mmdet_runtime')


@dataclass(frozen=True)
class Source:
    """One image to run on.

    Attributes:
        image: path, address, or BGR array.
        stem: name of the outputs, different for all sources of a call; frame 7 of a video is ``<stem of the video>/000007``.
        suffix: file name extension of its picture.
        video, fps: for a frame, the file or address and the frames per second of its video.
        arrived: for a frame of a stream, seconds on a clock that only rises.
    """

    image: Entry
    stem: str
    suffix: str = '.jpg'
    video: str | None = None
    fps: float = 0.0
    arrived: float | None = None

    def __str__(self) -> str:
        return self.image if isinstance(self.image, str) else self.stem

    @property
    def frame(self) -> int | None:
        """Number of a frame in its video, from 0; None for an image."""
        return None if self.video is None else int(self.stem.rpartition('/')[2])

    @property
    def seconds(self) -> float:
        """When a frame was taken: its place in the video, or when it arrived; 0 for an image."""
        if self.arrived is not None:
            return self.arrived
        return 0.0 if self.frame is None else self.frame / (self.fps or 25.0)


def is_video(entry: Entry) -> TypeGuard[str]:
    """True for a path with the extension of a video."""
    return isinstance(entry, str) and Path(entry).suffix.lower() in VIDEO_SUFFIXES


def is_stream(entry: Entry) -> bool:
    """True for the number of a camera, and for an address that is not that of an image or a video file."""
    if not isinstance(entry, str):
        return False
    if entry.isascii() and entry.isdigit():
        return True
    return bool(_STREAM.match(entry)) and Path(file_of(entry)).suffix.lower() not in IMAGE_SUFFIXES + VIDEO_SUFFIXES


def file_of(entry: str) -> str:
    """The path of a file, or of an address without its query."""
    return entry if os.path.isfile(entry) else entry.split('?')[0].rstrip('/')


def collect_path(path: str, recursive: bool = False, without: str | os.PathLike | None = None) -> list[str]:
    """The images and videos that a path, a folder (its images, sorted) or a glob pattern stands for.

    Args:
        path: an existing file is taken whatever its name.
        recursive: search folders below a folder, too.
        without: a folder whose images do not count, such as that of the pictures of an earlier call, unless it is the folder itself.

    Raises:
        DataError: nothing there, a pattern that matches nothing, or a folder without images.
    """
    if os.path.isfile(path):
        return [path]
    if os.path.isdir(path):
        walk = Path(path).rglob('*') if recursive else Path(path).iterdir()
        # Hidden files do not count: macOS leaves some that are no images ('._a.jpg').
        found = sorted(str(p) for p in walk if p.suffix.lower() in IMAGE_SUFFIXES and p.name[0] != '.' and p.is_file())
        if recursive and without is not None:
            own = os.path.realpath(without)
            if own != os.path.realpath(path):
                found = [p for p in found if os.path.realpath(os.path.dirname(p)) != own]
        if not found:
            hint = '' if recursive else '; search recursively if they lie in folders below'
            raise DataError(f'the folder holds no images ({", ".join(IMAGE_SUFFIXES[:4])}, ...){hint}', file=path)
        return found
    if glob.has_magic(path):
        found = sorted(p for p in glob.glob(path, recursive=True) if os.path.isfile(p))
        found = [p for p in found if Path(p).suffix.lower() in IMAGE_SUFFIXES + VIDEO_SUFFIXES]
        if not found:
            raise DataError('no image or video matches the pattern', file=path)
        return found
    raise DataError('no such file or folder', file=path)


def collect(
    inputs: Iterable[str | os.PathLike], *, recursive: bool = False, without: str | os.PathLike | None = None
) -> list[str]:
    """What a command line's inputs stand for: as :func:`collect_path`, and the numbers of cameras and addresses as they are.

    Raises:
        DataError: as :func:`collect_path`.
    """
    found: list[str] = []
    for entry in [os.fspath(each) for each in inputs]:
        as_is = _STREAM.match(entry) or (is_stream(entry) and not os.path.exists(entry))
        found += [entry] if as_is else collect_path(entry, recursive, without)
    return found


def decode_source(source: Source, value_range: ValueRange = None, **options: Any) -> np.ndarray | ReducedImage:
    """The pixels of a source, (H, W, 3) uint8 BGR; an address is fetched. ``options``: see :func:`~mmdet_runtime.images.read_image`.

    Raises:
        BrokenImageError: the file or address cannot be read, or is no complete image.
        DataError: see :func:`~mmdet_runtime.images.read_image`.
    """
    if not isinstance(source.image, str):
        return source.image
    if not _STREAM.match(source.image):
        return read_image(source.image, value_range, **options)
    try:
        with urllib.request.urlopen(source.image, timeout=_ADDRESS_SECONDS) as answer:
            data = answer.read(_LARGEST_ADDRESS)
    except (OSError, ValueError) as error:
        raise BrokenImageError(f'cannot be fetched ({error})', file=source.image) from error
    return decode_image(data, source.image, value_range, **options)


def iterate_sources(
    entries: Iterable[Entry],
    stems: Iterable[str],
    skipped: list[tuple[str, str]] | None = None,
    *,
    suffix_of: Callable[[Entry], str] = lambda entry: '.jpg',
    open_stream: Callable[[str, str], Iterable[Source]] | None = None,
    say: Callable[[str], object] = _log.warning,
) -> Generator[Source, None, None]:
    """One ``Source`` per image, with the stems of its entries; a video yields its frames, each decoded only when it is requested.

    Args:
        entries, stems: the inputs and the names of their outputs.
        skipped: where to list videos that cannot be read, with the reason; None makes them errors.
        suffix_of: file name extension of the picture of an image.
        open_stream: makes the frames of a camera or stream and its stem; None takes none.
        say: called with a line about a video that is shorter than its header says.

    Raises:
        DataError: a video that cannot be opened or holds no frame.
    """
    for entry, stem in zip(entries, stems):
        streamed = open_stream is not None and is_stream(entry)
        if not (streamed or is_video(entry)):
            yield Source(entry, stem, suffix_of(entry))
            continue
        try:
            if open_stream is not None and streamed:
                yield from open_stream(str(entry), stem)
            else:
                yield from video_frames(str(entry), stem, say)
        except DataError as error:
            if skipped is None:
                raise
            skipped.append((str(entry), str(error)))


def video_frames(path: str, stem: str, say: Callable[[str], object] = _log.warning) -> Iterator[Source]:
    """The frames of a video file; DataError where OpenCV can decode none."""
    video = open_video(path)
    try:
        if not video.isOpened():
            raise DataError('OpenCV cannot open this video', file=path)
        expected = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
        fps = video.get(cv2.CAP_PROP_FPS) or 25.0
        number = 0
        while (frame := video.read()[1]) is not None:
            yield Source(frame, f'{stem}/{number:06}', video=path, fps=fps)
            number += 1
    finally:
        video.release()
    if number == 0:
        raise DataError('the video holds no frame that OpenCV can decode', file=path)
    # Some containers overstate their length by a frame.
    if number < expected - 1:
        say(f'{path}: its header promises {expected} frames, {number} could be decoded')


class Stream:
    """The frames of a camera or of an address, always the newest: those that come while the program works on another one are left out, and counted.

    A thread reads, so that neither the driver's nor the network's buffer grows old. A stream that breaks is opened again, ``reconnects`` times
    without a frame between, with longer and longer waits. An iterable of :class:`Source`, to be iterated once; closing the iterator ends the thread.

    Args:
        address: number of a camera, or an address that OpenCV opens (rtsp, http, ...).
        stem: name of its outputs.
        reconnects: how often it is opened again.
        say: called with a line when the stream breaks and when it is back.

    Attributes:
        left_out: frames that came while the program was busy.

    Raises:
        DataError: by the iteration: it cannot be opened, or broke and did not come back.
    """

    def __init__(
        self, address: str, stem: str, *, reconnects: int = 5, say: Callable[[str], object] = _log.warning
    ) -> None:
        self.address, self.stem, self.left_out = address, stem, 0
        self._reconnects, self._say = reconnects, say
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._newest: np.ndarray | None = None
        self._failure: DataError | None = None
        self._fps = 25.0

    def __iter__(self) -> Iterator[Source]:
        thread = threading.Thread(target=self._read, name=f'stream {self.address}', daemon=True)
        thread.start()
        try:
            for number in itertools.count():
                with self._changed:
                    self._changed.wait_for(lambda: self._newest is not None or self._failure is not None)
                    if self._newest is None:
                        assert self._failure is not None
                        raise self._failure
                    frame, self._newest = self._newest, None
                yield Source(
                    frame, f'{self.stem}/{number:06}', video=self.address, fps=self._fps, arrived=time.monotonic()
                )
        finally:
            self._stopped.set()
            thread.join(timeout=5)  # a read of a silent address may take its time; the thread ends with the process

    def _read(self) -> None:
        """Read until the consumer stops, or the stream stays broken."""
        tries, total = 0, 0
        try:
            while not self._stopped.is_set():
                video = open_capture(self.address)
                count = 0
                try:
                    self._fps = video.get(cv2.CAP_PROP_FPS) or 25.0
                    while not self._stopped.is_set() and (frame := video.read()[1]) is not None:
                        if tries and not count:
                            self._say(f'{self.address}: the stream is back')
                        count, total, tries = count + 1, total + 1, 0
                        with self._changed:
                            self.left_out += self._newest is not None
                            self._newest = frame
                            self._changed.notify()
                finally:
                    video.release()
                if self._stopped.is_set():
                    return
                if self.address.isdigit() and not total:
                    raise DataError('there is no camera of this number, or another program has it', file=self.address)
                what = 'the stream broke' if count else 'it cannot be opened'
                if tries >= self._reconnects:
                    raise DataError(f'{what}, and {tries} tries to open it again failed', file=self.address)
                wait = _WAITS[min(tries, len(_WAITS) - 1)]
                tries += 1
                self._say(f'{self.address}: {what}; try {tries} of {self._reconnects} in {wait:g} s')
                self._stopped.wait(wait)
        except Exception as error:  # handed to the consumer, whose thread reports it
            failure = (
                error if isinstance(error, DataError) else DataError(f'cannot be read ({error})', file=self.address)
            )
            with self._changed:
                self._failure = failure
                self._changed.notify()


def open_capture(address: str) -> cv2.VideoCapture:
    """OpenCV's reader of a camera (by its number) or an address; it gives no frames where it cannot be opened."""
    return open_video(int(address) if address.isdigit() else address)


def stem_of(entry: str) -> str:
    """The name that outputs of an entry should have.

    >>> stem_of('a/b.jpg'), stem_of('0'), stem_of('rtsp://10.0.0.1:554/live/main?x=1')
    ('b', 'camera_0', 'main')
    """
    if entry.isdigit():
        return f'camera_{entry}'
    return re.sub(r'[^\w.-]', '_', Path(file_of(entry)).stem) if _STREAM.match(entry) else Path(entry).stem or 'image'
