"""What is sent to the page: images and videos, with limits that keep the memory bounded."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from ..errors import DataError, MMDetError
from ..formats.image_headers import read_header
from ..formats.images import decode_image
from ..formats.pixels import ValueRange
from ..formats.videos import open_video
from ..formats.windows import WHOLE_PIXELS


class Frame(NamedTuple):
    """An image, or a frame of a video with its number and its time in seconds; ``pixels`` are (H, W, 3) uint8 BGR."""

    pixels: np.ndarray
    number: int = 0
    second: float = 0.0


def read_upload(data: bytes, name: str, value_range: ValueRange = None) -> np.ndarray:
    """The pixels of an image file that was sent, (H, W, 3) uint8 BGR.

    Args:
        data, name: the file.
        value_range: what pixels of more than 8 bits mean, see :mod:`~mmdet_runtime.pixels`; None refuses them.

    Raises:
        DataError: no complete image, one of more than 2**26 pixels, which is told from its header, or pixels of an unknown range.
    """
    header = read_header(data)
    if header is not None:
        _check_size(header.size_wh, name)
    try:
        return decode_image(data, name=name, value_range=value_range)
    except MMDetError as error:
        if error.field != 'value_range':
            raise
        message = 'has more than 8 bits a pixel; start the page with mmdet web --value-range, which says what values are black and white'
        raise DataError(message, file=name) from error


def read_frames(path: Path, name: str, limit: int, rate: float | None = None) -> Iterator[Frame]:
    """Frames of a video, ``limit`` of them at most: evenly spaced over all of it, or about ``rate`` a second from its start; those between are skipped.

    Args:
        path: the file.
        name: what an error calls it.
        limit: largest number of frames.
        rate: frames a second, for tracks, which need frames that are near to each other.

    Raises:
        DataError: no video, or none with frames.
    """
    video = open_video(path)
    try:
        if not video.isOpened():
            message = 'the video cannot be opened: it is incomplete, no video, or of a kind that OpenCV does not read'
            raise DataError(message, file=name)
        size_wh = (int(video.get(cv2.CAP_PROP_FRAME_WIDTH)), int(video.get(cv2.CAP_PROP_FRAME_HEIGHT)))
        _check_size(size_wh, name)
        fps = video.get(cv2.CAP_PROP_FPS) or 25.0
        step = frame_step(video, limit) if rate is None else max(round(fps / rate), 1)
        number = given = 0
        while given < limit and video.grab():
            if number % step == 0:
                done, pixels = video.retrieve()
                if not done:
                    break
                yield Frame(pixels, number, number / fps)
                given += 1
            number += 1
        if not given:
            raise DataError('no frame of the video can be read', file=name)
    finally:
        video.release()


def frame_step(video: cv2.VideoCapture, limit: int) -> int:
    """Every how many frames one is looked at; 1 where the header does not say how many there are."""
    return max(-(-int(video.get(cv2.CAP_PROP_FRAME_COUNT)) // limit), 1)


def to_jpeg(pixels: np.ndarray, longest: int = 1600, quality: int = 85) -> bytes:
    """(H, W, 3) BGR pixels as a JPEG whose longer side is ``longest`` at most."""
    factor = longest / max(pixels.shape[:2])
    if factor < 1:
        size_wh = tuple(max(round(side * factor), 1) for side in pixels.shape[1::-1])
        pixels = cv2.resize(pixels, size_wh, interpolation=cv2.INTER_AREA)
    return cv2.imencode('.jpg', pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def _check_size(size_wh: tuple[int, int], name: str) -> None:
    if size_wh[0] * size_wh[1] > WHOLE_PIXELS:
        message = f'the page takes images of up to {WHOLE_PIXELS // 10**6} million pixels; mmdet predict --slice reads larger ones by tiles'
        raise DataError(message, file=name, received=f'{size_wh[0]} x {size_wh[1]}')
