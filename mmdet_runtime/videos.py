"""Videos, by OpenCV."""

import os
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from .errors import DataError
from .files import replacing


def open_video(source: str | os.PathLike | int) -> cv2.VideoCapture:
    """OpenCV's reader of a video, an address or the camera of a number; whether OpenCV could open it, ``isOpened()`` tells, and no line on the terminal.

    Raises:
        DataError: a name that OpenCV cannot take.
    """
    name = source if isinstance(source, int) else _checked_name(source)
    os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')  # silent; read when OpenCV opens its first video
    logs, level = cv2.utils.logging, cv2.utils.logging.getLogLevel()
    logs.setLogLevel(logs.LOG_LEVEL_SILENT)
    try:
        return cv2.VideoCapture(name)
    finally:
        logs.setLogLevel(level)


def _checked_name(path: str | os.PathLike) -> str:
    """The path as text. Names that are no text crash OpenCV."""
    name = os.fspath(path)
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise DataError('OpenCV takes no video whose path is not valid UTF-8; rename it', file=name) from error
    return name


class VideoFile:
    """An mp4 video that is written frame by frame; a context manager, which gives it its name when the block ends without an exception.

    OpenCV does not tell whether a frame could be written. So the finished file is opened, and its frames are counted, before it replaces an
    older one.

    Args:
        path: the file, ending in ``.mp4``; its folder is made where it is missing.
        fps: frames per second.
        size_wh: width and height of all frames.

    Raises:
        DataError: OpenCV cannot write such a video, or, at the end of the block, the file lacks frames (a full disk).
    """

    def __init__(self, path: str | os.PathLike, fps: float, size_wh: tuple[int, int]):
        self._path, self._fps, self._size_wh = Path(path), fps, size_wh
        self._count = 0

    def __enter__(self) -> 'VideoFile':
        with ExitStack() as stack:
            temporary = stack.enter_context(
                replacing(self._path, keep_suffix=True)
            )  # OpenCV takes a path, no open file
            self._writer = cv2.VideoWriter(
                _checked_name(temporary), cv2.VideoWriter.fourcc(*'mp4v'), self._fps, self._size_wh
            )
            stack.callback(self._writer.release)
            if not self._writer.isOpened():
                size = ' x '.join(map(str, self._size_wh))
                raise OSError(
                    f'OpenCV cannot write an mp4 video of {size} pixels here; is the disk full, or the picture tiny?'
                )
            self._temporary = str(temporary)
            self._stack = stack.pop_all()
        return self

    def write(self, picture: np.ndarray) -> None:
        """Add a frame, (H, W, 3) RGB uint8."""
        self._writer.write(cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2BGR))
        self._count += 1

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if value is not None:
            self._stack.__exit__(kind, value, traceback)
            return
        with self._stack:
            self._writer.release()
            video = open_video(self._temporary)
            found = int(video.get(cv2.CAP_PROP_FRAME_COUNT)) if video.isOpened() else 0
            video.release()
            if found < self._count:
                raise OSError(f'only {found} of its {self._count} frames arrived in the file')
