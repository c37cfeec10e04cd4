"""How detections become tracks. It imports no library, so that command lines can name the choices at once."""

import dataclasses

from .checks import is_finite, is_int
from .errors import ConfigError

METHODS = ('bytetrack', 'botsort', 'ocsort', 'cbiou', 'sort')
ANCHORS = ('centre', 'bottom')


@dataclasses.dataclass(frozen=True)
class TrackSettings:
    """How detections become tracks.

    Attributes:
        method: one of :data:`METHODS`. ``botsort`` estimates the motion of the camera from the frames; the others do not look at them.
        low: boxes with a score below this are not looked at.
        high: boxes from this score on are linked first; those below only continue tracks that found none. ``sort`` makes no difference.
        new: boxes from this score on start a track where they continue none. ``ocsort`` starts tracks from ``high`` on.
        iou: least overlap of a box with where its track is expected, in the first link; None takes the method's own.
        keep: seconds that a track without boxes is kept.
        min_frames: consecutive frames with a box after which a track counts; its boxes before are left out.
        per_class: link boxes of one class only. Otherwise a track may go on with a box of another class, as of a van that is a car in some frames.
        duplicates: without ``per_class``, the IoU above which the weaker of two boxes of different classes is left out; None keeps both.

    Raises:
        ConfigError: a value out of range.
    """

    method: str = 'bytetrack'
    low: float = 0.1
    high: float = 0.3
    new: float = 0.4
    iou: float | None = None
    keep: float = 1.0
    min_frames: int = 2
    per_class: bool = False
    duplicates: float | None = 0.7

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ConfigError(f'must be one of {METHODS}', field='track', received=self.method)
        for name in ('low', 'high', 'new', 'iou', 'duplicates'):
            value = getattr(self, name)
            if value is not None and not (is_finite(value) and 0 <= value <= 1):
                raise ConfigError('must be in [0, 1]', field=f'track-{name}', received=value)
        if self.low > self.high:
            message = f'must be at most track-high, {self.high}'
            raise ConfigError(message, field='track-low', received=self.low)
        if not (is_finite(self.keep) and 0 <= self.keep <= 3600):
            raise ConfigError('must be seconds in [0, 3600]', field='track-keep', received=self.keep)
        if not is_int(self.min_frames, 1):
            raise ConfigError('must be an integer of at least 1', field='track-min-frames', received=self.min_frames)
