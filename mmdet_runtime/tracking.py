"""Identities of objects over the frames of a video: the package ``trackers`` links the detections of any detector.

What is added to it: boxes of several classes on one object are taken as one, numbers of tracks count from 1 over all classes, a track has one class
(the one that its boxes' scores speak for), and frames that are missing or late count as the time that they take.
"""

import dataclasses
import warnings
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from .errors import ConfigError
from .suppression import Detections, batched_nms
from .track_settings import METHODS, TrackSettings

_CLASSES = ('ByteTrackTracker', 'BoTSORTTracker', 'OCSORTTracker', 'CBIoUTracker', 'SORTTracker')
_REFERENCE_FPS = 30  # the library counts the frames that a lost track is kept at this rate, whatever the video's


@dataclasses.dataclass(frozen=True)
class Tracked(Detections):
    """Boxes of one frame that belong to tracks, by their ids.

    Attributes:
        labels: (n,) int64, the class of the track so far, which the box's own may differ from.
        ids: (n,) int64, numbers of the tracks, from 1.
        details: what else is known of the frame, as plain values: lines that were crossed, objects in zones.
    """

    ids: np.ndarray
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __getitem__(self, index: Any) -> 'Tracked':
        """The boxes that a mask (n,), indices or a slice selects."""
        columns = (self.bboxes[index], self.scores[index], self.labels[index], self.ids[index])
        return Tracked(*columns, self.details)


class Tracker:
    """The tracks of one video.

    Args:
        settings: how they are made.
        fps: frames per second of the video.

    Attributes:
        alive: numbers of the tracks that may still go on.
        left_out: boxes from the score ``high`` on that belong to no track, or to one that does not count yet.
        count: how many tracks there were.

    Raises:
        ConfigError: the package ``trackers`` is missing.
    """

    def __init__(self, settings: TrackSettings, fps: float) -> None:
        self.settings, self.fps = settings, fps if fps > 0 else float(_REFERENCE_FPS)
        self.left_out = self.count = 0
        self._makers = _library()
        self._of_class: dict[int, Any] = {}
        self._numbers: dict[tuple[int, int], int] = {}  # (class or -1, number of the library) -> our number
        self._votes: dict[int, dict[int, float]] = {}  # by number: sums of scores by class
        self._seen: dict[int, tuple[float, tuple[int, int]]] = {}
        self._finished: Counter[int] = Counter()
        self._now = -np.inf

    @property
    def alive(self) -> set[int]:
        """Numbers of the tracks that may still go on."""
        return set(self._seen)

    def totals(self) -> Counter[int]:
        """How many tracks of each class there were."""
        return self._finished + Counter(map(_winner, self._votes.values()))

    def update(self, found: Detections, image: np.ndarray, seconds: float) -> Tracked:
        """Link the boxes of the next frame.

        Args:
            found: boxes of the frame.
            image: (H, W, 3) uint8 BGR; only ``botsort`` looks at it.
            seconds: time of the frame; a time that is not later than the last one's counts as one frame later.

        Returns:
            The boxes that belong to tracks, by rising numbers.
        """
        settings = self.settings
        self._now = seconds if seconds > self._now else self._now + 1 / self.fps
        found = found[(found.scores >= settings.low) & np.isfinite(found.bboxes).all(axis=1)]
        if not settings.per_class:
            found = _without_duplicates(found, settings.duplicates)
        groups = sorted({*self._of_class, *found.labels.tolist()}) if settings.per_class else [-1]
        rows, ids = [], []
        for group in groups:
            own = np.flatnonzero(found.labels == group) if settings.per_class else np.arange(len(found))
            for row, number in self._linked(group, found, own, image):
                rows.append(row)
                ids.append(self._number(group, number, int(found.labels[row]), float(found.scores[row])))
        self.left_out += int((found.scores >= settings.high).sum() - (found.scores[rows] >= settings.high).sum())
        self._forget()
        order = np.argsort(ids, kind='stable')
        kept, numbers = found[np.asarray(rows, np.int64)[order]], np.asarray(ids, np.int64)[order]
        labels = np.array([_winner(self._votes[number]) for number in numbers.tolist()], np.int64)
        return Tracked(kept.bboxes, kept.scores, labels, numbers)

    def _linked(self, group: int, found: Detections, own: np.ndarray, image: np.ndarray) -> list[tuple[int, int]]:
        """Rows of ``found`` among ``own`` that belong to tracks, with the library's numbers of these."""
        if group not in self._of_class:
            self._of_class[group] = self._make()
        boxes = self._makers['Detections'](
            xyxy=found.bboxes[own].astype(np.float64), confidence=found.scores[own], class_id=found.labels[own], data=dict(row=own)
        )  # fmt: skip
        frame = dict(frame=image) if self.settings.method == 'botsort' else {}
        linked = self._of_class[group].update(boxes, timestamp=self._now, **frame)
        numbers = linked.tracker_id
        if numbers is None or not len(numbers):
            return []
        return [(int(row), int(number)) for row, number in zip(linked.data['row'], numbers) if number >= 0]

    def _make(self) -> Any:
        settings = self.settings
        options: dict[str, Any] = dict(
            lost_track_buffer=round(settings.keep * _REFERENCE_FPS), frame_rate=self.fps, minimum_consecutive_frames=settings.min_frames
        )  # fmt: skip
        if settings.method != 'ocsort':
            options['track_activation_threshold'] = settings.new
        if settings.method != 'sort':
            options['high_conf_det_threshold'] = settings.high
        if settings.method in ('botsort', 'cbiou'):
            # Their default lets the tracks of the first frame count at once, whatever min_frames says.
            options['instant_first_frame_activation'] = settings.min_frames == 1
        if settings.iou is not None:
            first = settings.method in ('botsort', 'cbiou')
            options['minimum_iou_threshold_first_assoc' if first else 'minimum_iou_threshold'] = settings.iou
        return self._makers[settings.method](**options)

    def _number(self, group: int, number: int, label: int, score: float) -> int:
        key = (group, number)
        if key not in self._numbers:
            self.count += 1
            self._numbers[key] = self.count
            self._votes[self.count] = {}
        own = self._numbers[key]
        self._votes[own][label] = self._votes[own].get(label, 0.0) + score
        self._seen[own] = (self._now, key)
        return own

    def _forget(self) -> None:
        """Drop what is known of tracks that the library has given up, so that a stream may run for months."""
        last = self._now - 2 * self.settings.keep - 10 / self.fps
        for number in [number for number, (seconds, _) in self._seen.items() if seconds < last]:
            del self._numbers[self._seen.pop(number)[1]]
            self._finished[_winner(self._votes.pop(number))] += 1


def _winner(votes: dict[int, float]) -> int:
    return max(votes, key=lambda label: votes[label])


def _library() -> dict[str, Any]:
    """The classes of ``trackers`` by method, and ``Detections`` of ``supervision``, which they take.

    Raises:
        ConfigError: one of the two is missing or cannot be loaded.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # deprecations inside the library
            import supervision
            import trackers
    except Exception as error:  # a broken installation raises what it likes
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        message = f"tracking needs the package trackers ({reason}): pip install 'mmdet-dense[tracking]' or 'mmdet-dense-runtime[tracking]'"
        raise ConfigError(message, field='track') from error
    makers = {method: getattr(trackers, name) for method, name in zip(METHODS, _CLASSES)}
    return {**makers, 'Detections': supervision.Detections}


def check_library() -> None:
    """Raise the ConfigError of :class:`Tracker` where the package is missing, before a model is loaded."""
    _library()


def _without_duplicates(found: Detections, iou: float | None) -> Detections:
    """The boxes without those that overlap a better one by more than ``iou``, whatever their classes; by falling score."""
    if iou is None or len(found) < 2:
        return found
    nms = dict(type='nms', iou_threshold=iou, class_agnostic=True)
    return found[batched_nms(found.bboxes, found.scores, found.labels, nms)[1]]
