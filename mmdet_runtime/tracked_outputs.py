"""Videos with tracks: the frames of each video go through a tracker and the counts, and into the files."""

import csv
import dataclasses
import os
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import IO, Any

import cv2
import numpy as np

from .counting import ANCHORS, Counts, Shape, anchor_points, class_name
from .drawing import RGB, as_rgb, draw_boxes, palette
from .errors import ConfigError
from .files import write_json
from .labels import font_scale, put_text, text_height_px, text_size_wh
from .outputs import _LEGEND_FROM, KINDS, Outputs
from .sources import Source
from .suppression import Detections
from .tracking import Tracked, Tracker, TrackSettings

TRACK_KINDS = (*KINDS, 'mot')
COUNTS, CROSSINGS, MOT_CLASSES = 'counts.json', 'crossings.csv', 'mot/classes.json'
_TRAIL_SECONDS = 2.0
_WHITE, _DARK = (255, 255, 255), (20, 20, 20)
_ZONE_ALPHA = 0.18


@dataclasses.dataclass(frozen=True)
class TrackOptions:
    """What is done with the detections of a video.

    Attributes:
        settings: how they become tracks.
        lines, zones: where to count.
        anchor: the point that stands for an object, one of :data:`~mmdet_runtime.counting.ANCHORS`.
        mot_classes: write the class, from 1, into the eighth column of MOT files, and the names into ``mot/classes.json``; -1 otherwise, as in the MOT
            challenge.
    """

    settings: TrackSettings = dataclasses.field(default_factory=TrackSettings)
    lines: Sequence[Shape] = ()
    zones: Sequence[Shape] = ()
    anchor: str = 'centre'
    mot_classes: bool = False

    def __post_init__(self) -> None:
        if self.anchor not in ANCHORS:
            raise ConfigError(f'must be one of {ANCHORS}', field='anchor', received=self.anchor)


class ClipTracks:
    """Tracks and counts of some videos, one after the other; called with the frames in their order.

    Args:
        options: what is done.
        classes: names by label.

    Attributes:
        counts: of the video that runs.
        summaries: one for each video, the last one up to where it is: ``video``, ``frames``, ``tracks`` by class, ``lines``, ``zones``, and ``boxes_without_track``.
    """

    def __init__(self, options: TrackOptions, classes: Sequence[str]) -> None:
        self.options, self.classes = options, tuple(classes)
        self._stem: str | None = None
        self._finished: list[dict[str, Any]] = []
        self._video, self._frames = '', 0
        self.tracker: Tracker | None = None
        self.counts: Counts | None = None

    def __call__(self, source: Source, image: np.ndarray, found: Detections) -> Tracked:
        """The tracked boxes of the next frame; lines that were crossed and objects in zones are in its ``details``.

        Raises:
            ConfigError: the source is no frame of a video.
        """
        if source.video is None:
            raise ConfigError(
                'tracking takes videos, streams and folders of frames', field='track', received=str(source)
            )
        stem = source.stem.rpartition('/')[0]
        if stem != self._stem or self.tracker is None or self.counts is None:
            self._finished = self.summaries
            options = self.options
            self._stem, self._video, self._frames = stem, source.video, 0
            self.tracker = Tracker(options.settings, source.fps)
            self.counts = Counts(options.lines, options.zones, image.shape[1::-1], options.anchor)
        self._frames += 1
        tracked = self.tracker.update(found, image, source.seconds)
        details: dict[str, Any] = {}
        if self.options.lines or self.options.zones:
            crossings = self.counts.update(tracked, self.tracker.alive)
            details['crossings'] = [
                dict(line=one.line, direction=one.direction, id=one.id, **{'class': class_name(self.classes, one.label)}) for one in crossings
            ]  # fmt: skip
            details['in_zones'] = {name: sum(now.values()) for name, now in self.counts.now.items()}
        return dataclasses.replace(tracked, details=details)

    @property
    def summaries(self) -> list[dict[str, Any]]:
        """See the class."""
        if self.tracker is None or self.counts is None:
            return self._finished
        totals = self.tracker.totals()
        tracks = {class_name(self.classes, label): totals[label] for label in sorted(totals)}
        own = dict(video=self._video, frames=self._frames, tracks=dict(all=sum(totals.values()), **tracks))
        counts = self.counts.as_json(self.classes)
        return [*self._finished, dict(**own, **counts, boxes_without_track=self.tracker.left_out)]


def summary_lines(summaries: Iterable[dict[str, Any]]) -> list[str]:
    """Summaries of :class:`ClipTracks` as lines of text.

    >>> summary_lines([dict(video='a.mp4', frames=9, tracks={'all': 2, 'car': 2}, lines={'gate': {'in': {'all': 1}, 'out': {'all': 0}}}, zones={})])
    ['a.mp4: 9 frames, 2 tracks: car 2', '  line gate: 1 in, 0 out']
    """
    lines = []
    for one in summaries:
        classes = ', '.join(f'{name} {count}' for name, count in one['tracks'].items() if name != 'all')
        lines.append(
            f'{one["video"]}: {one["frames"]} frames, {one["tracks"]["all"]} tracks{": " * bool(classes)}{classes}'
        )
        lines += [
            f'  line {name}: {ways["in"]["all"]} in, {ways["out"]["all"]} out' for name, ways in one['lines'].items()
        ]
        lines += [
            f'  zone {name}: {zone["now"]["all"]} in it at the end, {zone["visitors"]["all"]} in all'
            for name, zone in one['zones'].items()
        ]
    return lines


class TrackedOutputs(Outputs):
    """The output files of one run over videos with tracks; see :class:`~mmdet_runtime.outputs.Outputs`.

    ``mot`` writes ``mot/NAME.txt``, rows ``frame,id,left,top,width,height,score,-1,-1,-1`` with frames from 1. JSON and CSV have the ids; ``counts.json`` has the
    summaries of all videos, and ``crossings.csv`` a row for each object that crosses a line.

    Args:
        folder, kinds, classes: as of ``Outputs``; kinds of :data:`TRACK_KINDS` without ``coco``.
        tracks: what makes the tracks; the frames go through it before they are written.
        colors: RGB by class; None takes those of the palette.
    """

    columns = (*Outputs.columns, 'id')
    more_files = (COUNTS, CROSSINGS)

    def __init__(
        self,
        folder: str | os.PathLike,
        kinds: Iterable[str],
        classes: Sequence[str],
        tracks: ClipTracks,
        colors: Sequence[Sequence[int]] | None = None,
    ):
        super().__init__(folder, kinds, classes)
        if 'coco' in self.kinds:
            raise ConfigError('COCO results have no place for tracks; choose other outputs', field='--coco')
        self.tracks = tracks
        self._drawing = TrackDrawing(tracks, classes, colors)
        self._mot: IO[str] | None = None
        self._crossings: IO[str] | None = None

    def _is_clip(self, entry: str) -> bool:
        return True

    def __enter__(self) -> 'TrackedOutputs':
        super().__enter__()
        if self.tracks.options.lines:
            self._crossings = self._open(self._stack, CROSSINGS)
            csv.writer(self._crossings).writerow(('video', 'frame', 'seconds', 'line', 'direction', 'id', 'class'))
        return self

    def write(self, source: Source, image: np.ndarray, found: Detections) -> None:
        """Write what the detections of a frame were tracked to, a result of :class:`ClipTracks`."""
        assert isinstance(found, Tracked)
        super().write(source, image, found)
        if self._mot is not None and source.frame is not None:
            self._mot.write(mot_rows(source.frame, found, self.tracks.options.mot_classes))
        if self._crossings is not None:
            start = (source.video, source.frame, round(source.seconds, 3))
            rows = csv.writer(self._crossings)
            for one in found.details['crossings']:
                rows.writerow((*start, one['line'], one['direction'], one['id'], one['class']))

    def _begin_clip(self, stem: str) -> None:
        new = stem != self._clip_stem
        super()._begin_clip(stem)
        if new and 'mot' in self.kinds:
            self._mot = self._open(self._clip, f'mot/{stem}.txt')
            self.written['mot'] += 1

    def _end_clip(self, *failure: Any) -> None:
        self._mot = None
        super()._end_clip(*failure)

    def _picture(self, source: Source, rgb: np.ndarray, found: Detections) -> np.ndarray:
        return self._drawing(source, rgb, found)

    def __exit__(self, *failure: Any) -> None:
        super().__exit__(*failure)
        if failure[0] is None:
            write_json(self.folder / COUNTS, dict(videos=self.tracks.summaries))
            if 'mot' in self.kinds and self.tracks.options.mot_classes:
                write_json(self.folder / MOT_CLASSES, self.classes)


def mot_rows(frame: int, tracked: Tracked, with_classes: bool) -> str:
    """Lines of a MOT file: ``frame,id,left,top,width,height,score,class,-1,-1``; frames from 1, the class from 1, or -1."""
    lines = []
    columns = (tracked.ids.tolist(), tracked.bboxes.tolist(), tracked.scores.tolist(), tracked.labels.tolist())
    for number, (x1, y1, x2, y2), score, label in zip(*columns):
        box = ','.join(f'{value:.2f}' for value in (x1, y1, x2 - x1, y2 - y1))
        lines.append(f'{frame + 1},{number},{box},{score:.4f},{label + 1 if with_classes else -1},-1,-1\n')
    return ''.join(lines)


class TrackDrawing:
    """Draws tracks: boxes with their ids, the ways of the last seconds, lines and zones with their counts.

    Args:
        tracks: what counts.
        classes: names by label.
        colors: RGB by class; None takes those of :func:`~mmdet_runtime.drawing.palette`.
    """

    def __init__(self, tracks: ClipTracks, classes: Sequence[str], colors: Sequence[Sequence[int]] | None = None):
        self.tracks, self.classes = tracks, tuple(classes)
        self._colors = [as_rgb(color) for color in colors or ()]
        self._trails: dict[int, deque[tuple[float, float, float]]] = defaultdict(deque)
        self._counts: Counts | None = None

    def __call__(self, source: Source, rgb: np.ndarray, tracked: Detections) -> np.ndarray:
        """A frame (H, W, 3) RGB with all that; a strip with counts below it where it has room, so (H + strip, W, 3)."""
        assert isinstance(tracked, Tracked)
        counts = self.tracks.counts
        if counts is None or counts is not self._counts:
            self._trails.clear()
            self._counts = counts
        top = int(tracked.labels.max(initial=-1)) + 1
        colors = self._colors + palette(max(top, len(self.classes)))[len(self._colors) :]
        canvas = rgb.copy()
        if counts is not None:
            _draw_zones(canvas, counts)
            _draw_lines(canvas, counts)
        self._draw_trails(canvas, source.seconds, tracked, colors)
        names = [class_name(self.classes, label) for label in tracked.labels.tolist()]
        texts = [[f'{name} {number}', f'{number}'] for name, number in zip(names, tracked.ids.tolist())]
        return draw_boxes(
            canvas, tracked.bboxes, tracked.labels, classes=self.classes, colors=colors, texts=texts,
            legend=1 if min(rgb.shape[:2]) >= _LEGEND_FROM else False,
        )  # fmt: skip

    def _draw_trails(self, canvas: np.ndarray, seconds: float, tracked: Tracked, colors: Sequence[RGB]) -> None:
        points = anchor_points(tracked.bboxes, self.tracks.options.anchor)
        for number, (x, y) in zip(tracked.ids.tolist(), points.tolist()):
            self._trails[number].append((seconds, x, y))
        color_of = dict(zip(tracked.ids.tolist(), (colors[label] for label in tracked.labels.tolist())))
        for number, trail in list(self._trails.items()):
            while trail and trail[0][0] < seconds - _TRAIL_SECONDS:
                trail.popleft()
            if not trail:
                del self._trails[number]
            elif number in color_of and len(trail) > 1:
                way = np.round([(x, y) for _, x, y in trail]).astype(np.int32)
                cv2.polylines(canvas, [way], False, color_of[number], _width_of(canvas), cv2.LINE_AA)


def _width_of(canvas: np.ndarray) -> int:
    return max(1, round((canvas.shape[0] * canvas.shape[1]) ** 0.5 / 700))


def _draw_zones(canvas: np.ndarray, counts: Counts) -> None:
    if not counts.zones:
        return
    filled = canvas.copy()
    for corners in counts.zones.values():
        cv2.fillPoly(filled, [np.round(corners).astype(np.int32)], _WHITE)
    cv2.addWeighted(filled, _ZONE_ALPHA, canvas, 1 - _ZONE_ALPHA, 0, dst=canvas)
    for name, corners in counts.zones.items():
        outline = np.round(corners).astype(np.int32)
        cv2.polylines(canvas, [outline], True, _WHITE, _width_of(canvas), cv2.LINE_AA)
        now, visitors = sum(counts.now[name].values()), sum(counts.visitors[name].values())
        x, y = outline[np.lexsort((outline[:, 0], outline[:, 1]))[0]]
        _draw_note(canvas, f'{name}: {now} now, {visitors} in all', (int(x), int(y)))


def _draw_lines(canvas: np.ndarray, counts: Counts) -> None:
    for name, ends in counts.lines.items():
        start, end = (tuple(point) for point in np.round(ends).astype(int).tolist())
        for color, width in ((_DARK, 2 * _width_of(canvas) + 1), (_WHITE, _width_of(canvas))):
            cv2.line(canvas, start, end, color, width, cv2.LINE_AA)
        along = ends[1] - ends[0]
        middle = ends.mean(axis=0)
        tip = middle + np.array([-along[1], along[0]]) / np.hypot(*along) * 3 * text_height_px(*canvas.shape[:2])
        arrow = [tuple(np.round(point).astype(int).tolist()) for point in (middle, tip)]
        cv2.arrowedLine(canvas, arrow[0], arrow[1], _WHITE, _width_of(canvas) + 1, cv2.LINE_AA, tipLength=0.4)
        ways = {way: sum(n for (own, _), n in counts.crossed[name].items() if own == way) for way in ('in', 'out')}
        _draw_note(canvas, f'{name}: {ways["in"]} in, {ways["out"]} out', start)


def _draw_note(canvas: np.ndarray, text: str, at_xy: tuple[int, int]) -> None:
    """A text on a dark ground, beside a point and inside the picture."""
    height, width = canvas.shape[:2]
    text_px = text_height_px(height, width)
    scale, pad = font_scale(text_px), max(2, text_px // 3)
    text_w = text_size_wh(text, scale)[0]
    left = min(max(at_xy[0] + pad, 0), max(width - text_w - 2 * pad, 0))
    top = min(max(at_xy[1] + pad, 0), max(height - text_px - 2 * pad, 0))
    cv2.rectangle(canvas, (left, top), (left + text_w + 2 * pad, top + text_px + 2 * pad), _DARK, cv2.FILLED)
    put_text(canvas, text, (left + pad, top + pad + text_px), scale, _WHITE)
