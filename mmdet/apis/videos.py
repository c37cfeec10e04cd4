"""Running a detector on videos, cameras, streams and folders of frames, with tracks where they are wanted.

Decoding, detecting and writing run at the same time, by :mod:`mmdet_runtime.pipeline`; outputs, tracks and counts are those of ``mmdet-runtime``.
"""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from mmengine.logging import print_log
from mmengine.structures import InstanceData

from mmdet_runtime.clips import clip_sources, collect_clips, count_frames
from mmdet_runtime.outputs import Outputs
from mmdet_runtime.pipeline import process
from mmdet_runtime.progress import Progress
from mmdet_runtime.sources import Source, Stream, decode_source, stem_of
from mmdet_runtime.suppression import Detections
from mmdet_runtime.tracked_outputs import ClipTracks, TrackDrawing, TrackedOutputs, TrackOptions, summary_lines

from ..errors import ConfigError
from ..structures import DetDataSample
from ..utils.files import explained, temporary_folder
from ..utils.outputs import refuse_inputs
from .det_inferencer import DetInferencer
from .outputs import to_dict

KINDS = ('video', 'json', 'jsonl', 'csv', 'pictures', 'mot')


@dataclass
class VideoReport:
    """What became of some videos.

    Attributes:
        frames: how many frames were detected in.
        failed: the others, each with the reason.
        left_out: frames of streams that came too fast.
        stopped: whether the user stopped it before its end, by Ctrl-C or SIGTERM.
        status: the exit status of a command: 130 or 143 where it was stopped, 1 where some frames failed, otherwise 0.
        seconds: how long it took.
        written: files by kind.
        summaries: of tracks and counts, see :class:`~mmdet_runtime.tracked_outputs.ClipTracks`.
    """

    frames: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    left_out: int = 0
    stopped: bool = False
    status: int = 0
    seconds: float = 0.0
    written: dict[str, int] = field(default_factory=dict)
    summaries: list[dict] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The report as lines of text."""
        lines = [f'not done: {reason}' for _, reason in self.failed[:20]]
        lines += [f'... and {len(self.failed) - 20} more'] * (len(self.failed) > 20)
        lines += summary_lines(self.summaries)
        parts = [f'{self.frames} frames in {self.seconds:.1f} s, {self.frames / max(self.seconds, 1e-9):.1f} a second']
        parts += [f'{self.left_out} frames left out as they came too fast'] * bool(self.left_out)
        parts += [f'{len(self.failed)} failed'] * bool(self.failed)
        parts += ['stopped before the end'] * self.stopped
        return [*lines, '; '.join(parts)]


def detect_in_videos(
    inferencer: DetInferencer,
    inputs: str | os.PathLike | Sequence[str | os.PathLike],
    out: str | os.PathLike | None = None,
    *,
    kinds: Iterable[str] = ('video', 'json'),
    tracking: TrackOptions | None = None,
    score_thr: float = 0.3,
    batch_size: int = 1,
    show: bool = False,
    wait_time: float = 0.001,
    recursive: bool = False,
    max_frames: int | None = None,
    reconnects: int = 5,
    fps: float | None = None,
) -> VideoReport:
    """Detect objects in videos; a user who stops it (Ctrl-C, SIGTERM) gets complete files of what was done.

    Args:
        inferencer: the detector, of any kind and in any backend.
        inputs: see :func:`~mmdet_runtime.clips.collect_clips`.
        out: a folder, or, for one input, the ``.mp4`` file of the annotated video alone; None writes nothing.
        kinds: what to write into the folder, some of :data:`KINDS`; ``mot`` is for tracks. The files are those of ``mmdet-runtime``.
        tracking: give the objects ids, and count them; None does not.
        score_thr: without tracking, boxes with a score above this are drawn.
        batch_size: frames that go through the network together.
        show, wait_time: show the frames in a window, each so many seconds.
        recursive: search folders below folders.
        max_frames: stop after so many frames.
        reconnects: tries to open a broken stream again.
        fps: frames per second of folders of frames; None means 25.

    Raises:
        ConfigError: an impossible argument, or an output that is an input.
        DataError: there is nothing to read, a video cannot be read, or a file cannot be written.
    """
    wanted = frozenset(kinds)
    if wanted - {*KINDS} or (tracking is None and 'mot' in wanted):
        message = f'must be some of {KINDS}; mot needs tracking'
        raise ConfigError(message, field='kinds', received=sorted(wanted))
    for name, value in (('batch_size', batch_size), ('max_frames', max_frames)):
        if value is not None and value < 1:
            raise ConfigError('must be at least 1', field=name, received=value)
    entries = [inputs] if isinstance(inputs, str | os.PathLike) else [*inputs]
    clips = collect_clips(entries, recursive=recursive)
    file = Path(out) if out is not None and str(out).lower().endswith('.mp4') else None
    if file is not None and len(clips) != 1:
        message = f'is one file, and there are {len(clips)} videos; give a folder'
        raise ConfigError(message, file=file, field='out')
    meta = inferencer.model.dataset_meta or {}
    classes = tuple(meta.get('classes') or ())
    tracks = None if tracking is None else ClipTracks(tracking, classes)
    colors = meta.get('palette')
    draw: Callable[[Source, np.ndarray, Detections], np.ndarray] = (
        partial(_draw_plain, inferencer, score_thr) if tracks is None else TrackDrawing(tracks, classes, colors)
    )  # of the window; the outputs have their own
    streams: list[Stream] = []

    def open_stream(address: str, stem: str) -> Stream:
        streams.append(Stream(address, stem, reconnects=reconnects, say=_say))
        return streams[-1]

    def frames(stems: Sequence[str]) -> Iterator[Source]:
        # Closed by the thread that iterates: another one could not while a camera is silent.
        with closing(clip_sources(clips, stems, open_stream=open_stream, say=_say, fps=fps)) as found:
            yield from itertools.islice(found, max_frames)

    with ExitStack() as stack:
        folder = out
        if file is not None:
            refuse_inputs([file], [clip.entry for clip in clips], field='out')
            folder, wanted = stack.enter_context(temporary_folder(file)), frozenset({'video'})
        outputs: Outputs | None = None
        stems = [stem_of(clip.entry) for clip in clips]
        if folder is not None:
            outputs = (
                _PlainOutputs(folder, wanted, classes, draw)
                if tracks is None
                else TrackedOutputs(folder, wanted, classes, tracks, colors)
            )
            stems = outputs.claim([clip.entry for clip in clips])
        total = count_frames(clips)
        total = max_frames if total is None or (max_frames is not None and max_frames < total) else total
        bar = stack.enter_context(Progress('frames', total))

        def write(source: Source, image: np.ndarray, found: Detections) -> None:
            if tracks is not None:
                found = tracks(source, image, found)
            if outputs is not None:
                outputs.write(source, image, found)
            if show:
                picture = draw(source, np.ascontiguousarray(image[..., ::-1]), found)
                inferencer.visualizer.show(picture, win_name=str(source.video), wait_time=wait_time)
            bar.advance()

        # Without ``needed`` no image is read at a reduced size.
        decode = cast(Callable[[Source], np.ndarray], partial(decode_source, value_range=inferencer.value_range))
        with outputs if outputs is not None else ExitStack():
            done = process(
                frames(stems), decode,
                partial(_detect, inferencer), write, batch_size=batch_size, parallel=not show,
            )  # fmt: skip
        if file is not None:
            with explained(file):
                next((Path(str(folder)) / 'videos').iterdir()).replace(file)
    return VideoReport(
        done.done, [(str(source), reason) for source, reason in done.failed], sum(stream.left_out for stream in streams), done.stopped,
        done.status if done.stopped else int(bool(done.failed)), done.seconds, dict(outputs.written) if outputs is not None else {}, tracks.summaries if tracks is not None else [],
    )  # fmt: skip


def _say(line: str) -> None:
    print_log(line, logger='current', level=30)


def _detect(inferencer: DetInferencer, images: list[np.ndarray]) -> list[Detections]:
    """The detections of some images (H, W, 3) BGR."""
    samples = [
        sample
        for _, data in inferencer.preprocess(images, batch_size=len(images))
        for sample in inferencer.forward(data)
    ]
    plain = [to_dict(sample) for sample in samples]
    return [
        Detections(
            np.array(one['bboxes'], np.float32).reshape(-1, 4),
            np.array(one['scores'], np.float32),
            np.array(one['labels'], np.int64),
        )  # fmt: skip
        for one in plain
    ]


def _draw_plain(
    inferencer: DetInferencer, score_thr: float, source: Source, rgb: np.ndarray, found: Detections
) -> np.ndarray:
    """A frame with its boxes, as the visualizer of the config draws them."""
    instances = InstanceData(
        bboxes=torch.from_numpy(found.bboxes),
        scores=torch.from_numpy(found.scores),
        labels=torch.from_numpy(found.labels),
    )
    sample = DetDataSample(pred_instances=instances)
    return inferencer._draw(source, rgb[..., ::-1], sample, True, score_thr, False, 0)


class _PlainOutputs(Outputs):
    """Outputs of videos without tracks, their frames drawn by a function."""

    def __init__(
        self,
        folder: str | os.PathLike,
        kinds: Iterable[str],
        classes: Sequence[str],
        draw: Callable[[Source, np.ndarray, Detections], np.ndarray],
    ):
        super().__init__(folder, kinds, classes)
        self._drawn = draw

    def _is_clip(self, entry: str) -> bool:
        return True

    def _picture(self, source: Source, rgb: np.ndarray, found: Detections) -> np.ndarray:
        return self._drawn(source, rgb, found)
