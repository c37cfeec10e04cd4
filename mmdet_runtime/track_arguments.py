"""Command-line options of tracking and counting, the same for ``mmdet-runtime`` and the toolbox."""

import argparse
from typing import TYPE_CHECKING

from .errors import ConfigError
from .track_settings import ANCHORS, METHODS, TrackSettings

if TYPE_CHECKING:  # help and usage errors need no OpenCV
    from .tracked_outputs import TrackOptions

_SETTINGS = ('low', 'high', 'new', 'iou', 'keep', 'min_frames', 'duplicates')


def add_track_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--track``, ``--line``, ``--zone`` and what belongs to them."""
    default = TrackSettings()
    group = parser.add_argument_group(
        'tracking', 'of videos, streams and folders of frames; needs the extra "tracking"'
    )
    group.add_argument(
        '--track', nargs='?', const='bytetrack', metavar='METHOD', choices=METHODS,
        help=f'give objects an id over the frames: {", ".join(METHODS)} (bytetrack); botsort follows a moving camera',
    )  # fmt: skip
    group.add_argument(
        '--line', action='append', default=[], metavar='NAME=X1,Y1,X2,Y2',
        help='count what crosses this line, in pixels, or in fractions of the frame where no number is above 1; may be repeated',
    )  # fmt: skip
    group.add_argument(
        '--zone', action='append', default=[], metavar='NAME=X1,Y1,X2,Y2[,...]',
        help='count what is inside this rectangle, or a polygon of three points or more; may be repeated',
    )  # fmt: skip
    group.add_argument('--anchor', choices=ANCHORS, help='point of a box that crosses lines and lies in zones (centre)')
    group.add_argument('--mot', action='store_true', help='write a MOT challenge text file for each video')
    group.add_argument('--mot-classes', action='store_true', help='with the class, from 1, in its eighth column')
    numbers = (
        ('low', f'boxes with a lower score are not looked at ({default.low})'),
        ('high', f'boxes from this score on are linked first ({default.high})'),
        ('new', f'boxes from this score on may start a track ({default.new})'),
        ('iou', "least overlap of a box with its track (the method's own)"),
        ('keep', f'seconds that a track without boxes is kept ({default.keep:g})'),
        ('duplicates', f'leave out the weaker of two boxes, of whatever classes, that overlap by more ({default.duplicates})'),
    )  # fmt: skip
    for name, text in numbers:
        group.add_argument(f'--track-{name}', type=float, metavar='T', help=text)
    group.add_argument('--track-min-frames', type=int, metavar='N', help=f'frames with a box until a track counts ({default.min_frames})')  # fmt: skip
    group.add_argument('--track-per-class', action='store_true', help='link boxes of one class only')
    group.add_argument('--fps', type=float, metavar='N', help='frames per second of folders of frames (25)')


def read_track_arguments(
    args: argparse.Namespace, *, clips: bool = False, **defaults: float | None
) -> 'TrackOptions | None':
    """What the options ask for; None where nothing is to be tracked. Lines and zones ask for tracks, too.

    Args:
        args: parsed arguments.
        clips: folders of frames are videos without tracking, too.
        defaults: settings that another option gives, where those of :func:`add_track_arguments` do not; None gives none.

    Raises:
        ConfigError: a value out of range, an option without tracking, or the package ``trackers`` is missing.
    """
    from .counting import read_shapes
    from .tracked_outputs import TrackOptions
    from .tracking import check_library

    if args.fps is not None and not 0 < args.fps <= 1000:
        raise ConfigError('must be above 0, at most 1000', field='--fps', received=args.fps)
    lines, zones = read_shapes(args.line, args.zone)
    given = {name: value for name in _SETTINGS if (value := getattr(args, f'track_{name}')) is not None}
    if args.track is None and not lines and not zones:
        others = dict(mot=args.mot, mot_classes=args.mot_classes, anchor=args.anchor, track_per_class=args.track_per_class, fps=args.fps and not clips)  # fmt: skip
        asked = [f'track_{name}' for name in given] + [name for name, value in others.items() if value]
        if asked:
            raise ConfigError('needs --track, --line or --zone', field=f'--{asked[0].replace("_", "-")}')
        return None
    settings = {**{name: value for name, value in defaults.items() if value is not None}, **given}
    if 'high' in settings and 'new' not in settings:
        settings['new'] = max(settings['high'], TrackSettings.new)
    options = TrackOptions(
        TrackSettings(method=args.track or 'bytetrack', per_class=args.track_per_class, **settings),
        lines, zones, args.anchor or 'centre', args.mot_classes,
    )  # fmt: skip
    check_library()
    return options
