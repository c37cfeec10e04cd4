"""Videos as inputs: files, cameras, streams, and folders of frames."""

import os
import re
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import cv2

from .errors import DataError
from .sources import Source, collect, collect_path, is_stream, is_video, iterate_sources
from .videos import open_video

_FPS = 25.0  # of a folder of frames, where nobody says


@dataclass(frozen=True)
class Clip:
    """One video.

    Attributes:
        entry: its file or folder, the number of a camera, or an address.
        frames: the images of a folder, in order; empty for the others.
    """

    entry: str
    frames: tuple[str, ...] = ()

    def numbers(self) -> list[int]:
        """The number of each image of a folder, from 0: what ends its name, less one (``img000001.jpg`` is frame 0), where all names end in different numbers
        from 1 on that rise; the position otherwise."""
        ends = [re.search(r'(\d+)$', Path(frame).stem) for frame in self.frames]
        numbers = [int(end[1]) for end in ends if end is not None]
        rising = len(numbers) == len(ends) and all(a < b for a, b in zip(numbers, numbers[1:]))
        return [number - 1 for number in numbers] if rising and numbers[0] > 0 else [*range(len(ends))]


def collect_clips(inputs: Iterable[str | os.PathLike], *, recursive: bool = False) -> list[Clip]:
    """The videos that a command line's inputs stand for.

    Args:
        inputs: video files, patterns of them, folders of frames, folders of such folders, cameras and addresses. The images of a pattern are frames, those
            of each folder of one video.
        recursive: search folders below folders for frames, too.

    Raises:
        DataError: nothing there, or an image file where a video is needed.
    """
    clips: list[Clip] = []
    for entry in [os.fspath(each) for each in inputs]:
        if os.path.isdir(entry):
            clips += _folder_clips(entry, recursive)
            continue
        found = collect([entry])
        moving = [path for path in found if is_stream(path) or is_video(path) or len(found) == 1]
        if len(found) == 1 and os.path.isfile(entry) and not is_video(entry) and cv2.haveImageReader(entry):
            raise DataError('is one image; give the folder of the frames, or a pattern', file=entry)
        clips += [Clip(path) for path in moving]
        clips += _grouped([path for path in found if path not in moving])
    return clips


def _grouped(images: Sequence[str]) -> list[Clip]:
    """A clip for each folder of some images."""
    return [Clip(folder, tuple(own)) for folder, own in groupby(sorted(images, key=_by_folder), os.path.dirname)]


def _by_folder(path: str) -> tuple[str, str]:
    return os.path.split(path)


def _folder_clips(folder: str, recursive: bool) -> list[Clip]:
    try:
        return _grouped(collect_path(folder, recursive))
    except DataError:  # no images in the folder itself: a folder of sequences?
        inner = sorted(path for path in Path(folder).iterdir() if path.is_dir() and path.name[0] != '.')
        clips = []
        for path in inner:
            try:
                clips += _grouped(collect_path(str(path)))
            except DataError:  # a folder without frames beside those that have some
                continue
        videos = [Clip(str(path)) for path in sorted(Path(folder).iterdir()) if is_video(str(path)) and path.is_file()]
        if not clips + videos:
            raise
        return clips + videos


def clip_sources(
    clips: Iterable[Clip],
    stems: Iterable[str],
    skipped: list[tuple[str, str]] | None = None,
    *,
    open_stream: Callable[[str, str], Iterable[Source]] | None = None,
    say: Callable[[str], object] = print,
    fps: float | None = None,
) -> Generator[Source, None, None]:
    """The frames of some videos, with the arguments of :func:`~mmdet_runtime.sources.iterate_sources`; ``fps`` is that of folders, by default 25."""
    for clip, stem in zip(clips, stems):
        if clip.frames:
            for number, frame in zip(clip.numbers(), clip.frames):
                yield Source(frame, f'{stem}/{number:06}', video=clip.entry, fps=fps or _FPS)
        else:
            yield from iterate_sources([clip.entry], [stem], skipped, open_stream=open_stream, say=say)


def count_frames(clips: Iterable[Clip]) -> int | None:
    """How many frames some videos should have, by their headers; None where one of them is a stream, or does not say."""
    total = 0
    for clip in clips:
        if not clip.frames and is_stream(clip.entry):
            return None
        video = None if clip.frames else open_video(clip.entry)
        number = len(clip.frames) if video is None else int(video.get(cv2.CAP_PROP_FRAME_COUNT))
        if video is not None:
            video.release()
        if number < 1:
            return None
        total += number
    return total
