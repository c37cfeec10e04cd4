"""The command line: ``mmdet-runtime FOLDER INPUT...`` and ``mmdet-runtime info FOLDER``.

Exit status: 0 all inputs were processed; 1 some were not, each is named; 2 the arguments, the folder or an output is wrong, or there is no input;
130 or 143 it was stopped by Ctrl-C or SIGTERM, with what was done until then written.
"""

import argparse
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

from .arguments import ArgumentParser
from .checks import check_opencv
from .errors import ConfigError, MMDetError

if TYPE_CHECKING:  # what takes time to import is imported when it is needed
    import numpy as np

    from .clips import Clip
    from .detector import Runtime
    from .images import ReducedImage
    from .outputs import Outputs
    from .pipeline import Report
    from .progress import Progress
    from .sources import Source, Stream
    from .suppression import Detections
    from .tracked_outputs import ClipTracks, TrackOptions

_WARM_UP = 5  # images before a measurement: libraries prepare themselves for new sizes
_SHOWN = 20  # failures that are printed


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    arguments = [*sys.argv[1:]] if argv is None else [*argv]
    try:
        if arguments[:1] == ['info']:
            return _info(arguments[1:])
        return _detect(_parser().parse_args(arguments))
    except MMDetError as error:
        print(f'{type(error).__name__}: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('Stopped.', file=sys.stderr)
        return 130
    except (
        BrokenPipeError
    ):  # whoever read the lines has had enough; the interpreter would complain once more when it flushes
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        'mmdet-runtime',
        description='Detect with an exported folder of mmdet-dense. "mmdet-runtime info FOLDER" says what a folder holds.',
        epilog='Without --out, one line of JSON for each image goes to the standard output. Exit status: 0 done; 1 some inputs failed; 2 wrong arguments, '
        'folder or outputs; 130 stopped by Ctrl-C, 143 by SIGTERM.',
    )
    parser.add_argument('folder', help='what tools/export.py wrote')
    parser.add_argument(
        'inputs',
        nargs='+',
        help='images, folders, patterns, videos, the number of a camera, rtsp:// and http:// addresses',
    )
    out = parser.add_argument_group('outputs')
    out.add_argument('--out', metavar='DIR', help='folder of the outputs')
    out.add_argument('--json', action='store_true', help='a JSON file for each image (default)')
    out.add_argument('--jsonl', action='store_true', help='one file with a line of JSON for each image')
    out.add_argument('--coco', action='store_true', help='one file of COCO results')
    out.add_argument('--annotations', metavar='JSON', help='COCO file with the ids of images and categories for --coco')
    out.add_argument('--csv', action='store_true', help='one table with a row for each box')
    out.add_argument('--pictures', action='store_true', help='pictures with boxes')
    out.add_argument('--video', action='store_true', help='videos with boxes, of videos and streams')
    out.add_argument(
        '--score-thr',
        type=float,
        metavar='T',
        help='leave out boxes with a score below this; default: none but in pictures and videos, which show those from 0.3 on',
    )
    out.add_argument('--classes', metavar='NAMES', help='report these classes only, separated by commas')
    from .track_arguments import add_track_arguments

    add_track_arguments(parser)
    take = parser.add_argument_group('inputs')
    take.add_argument('--recursive', action='store_true', help='search folders below folders')
    take.add_argument('--max-frames', type=int, metavar='N', help='stop after so many images')
    take.add_argument('--reconnects', type=int, default=5, metavar='N', help='tries to open a broken stream again (5)')
    take.add_argument(
        '--value-range',
        metavar='RANGE',
        help="for images of more than 8 bits: 'full', 'minmax', or what becomes 0 and 255, as 0,4095",
    )
    take.add_argument(
        '--jpeg',
        choices=('cv2', 'simplejpeg', 'simplejpeg-fast'),
        help='what decodes JPEGs: simplejpeg (default where it is installed) gives the pixels of cv2, simplejpeg-fast nearly so',
    )
    take.add_argument(
        '--reduce',
        action='store_true',
        help='decode JPEGs at a half, a quarter or an eighth of their sides where the network sees no more',
    )
    how = parser.add_argument_group('computation')
    how.add_argument('--backend', choices=('onnxruntime', 'openvino'), help='default: what the files are made for')
    how.add_argument('--device', default='CPU', help='CPU (default), CUDA, TensorRT, CoreML, GPU (of OpenVINO), ...')
    how.add_argument('--threads', type=int, metavar='N', help='of the network; default: all cores')
    how.add_argument('--precision', choices=('fp32', 'fp16', 'bf16', 'int8'), help='default: that of the folder')
    how.add_argument('--cache', metavar='DIR', help='where OpenVINO keeps compiled networks, to start faster')
    how.add_argument(
        '--mosaic',
        choices=('exact', 'rounded', 'direct'),
        help='of UFPMPDet: direct is five times as fast and a little sharper',
    )
    how.add_argument('--batch', type=int, default=1, metavar='N', help='images that are detected together (1)')
    how.add_argument('--decoders', type=int, default=2, metavar='N', help='threads that decode images (2)')
    how.add_argument('--no-pipeline', action='store_true', help='decode, detect and write one after the other')
    how.add_argument('--no-verify', action='store_true', help='do not compare the check sums of the files')
    how.add_argument(
        '--benchmark',
        nargs='?',
        type=int,
        const=50,
        metavar='N',
        help='print a table of times over N images (50), the inputs repeated',
    )
    return parser


def _info(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        'mmdet-runtime info', description='What an exported folder holds; the files are verified.'
    )
    parser.add_argument('folder')
    from .folder import read_folder

    folder = read_folder(parser.parse_args(arguments).folder)
    lines = [
        f'{folder.path}: {folder.kind} of {len(folder.classes)} classes: {", ".join(folder.classes)}',
        'all files are those that were exported',
    ]
    for name, entry in folder.networks.items():
        sizes = ' x '.join('any' if size is None else str(size) for size in entry['inputs']['image'])
        megabytes = sum((folder.path / file).stat().st_size for file in entry['sha256']) / 1e6
        lines.append(
            f'network {name}: {entry["file"]}, {entry["precision"]}, {entry["outputs"]}, image {sizes}, {megabytes:.1f} MB'
        )
    for name, entry in folder.stages.items():
        scales = ', '.join(f'{w:g} x {h:g}' for w, h in entry['scales'])
        test_cfg = ', '.join(f'{key} {value}' for key, value in entry['test_cfg'].items())
        lines.append(f'stage {name}: network {entry["network"]}, {scales}{", flipped too" * entry["flip"]}; {test_cfg}')
    for name in ('composite', 'source', 'versions', 'parity'):
        if folder.manifest.get(name):
            lines.append(f'{name}: {json.dumps(folder.manifest[name])}')
    print('\n'.join(lines))
    return 0


def _value_range(text: str | None) -> Any:
    from .pixels import check_value_range

    if text is None or text in ('full', 'minmax'):
        return text
    try:
        return check_value_range([float(part) for part in text.split(',')])
    except ValueError as error:
        raise ConfigError(
            "must be 'full', 'minmax' or two numbers low,high", field='--value-range', received=text
        ) from error


def _decoder(name: str | None) -> str | None:
    from .jpeg import check_decoder

    return None if name is None else check_decoder(name, '--jpeg')


def _check(args: argparse.Namespace) -> list[str]:
    """The kinds of outputs; ConfigError for options that do not go together."""
    from .outputs import KINDS

    kinds = [kind for kind in (*KINDS, 'mot') if getattr(args, kind)]
    for name, least in (
        ('threads', 1),
        ('batch', 1),
        ('decoders', 1),
        ('max_frames', 1),
        ('reconnects', 0),
        ('benchmark', 1),
    ):
        value = getattr(args, name)
        if value is not None and value < least:
            raise ConfigError(f'must be at least {least}', field=f'--{name.replace("_", "-")}', received=value)
    if args.score_thr is not None and not 0 <= args.score_thr <= 1:
        raise ConfigError('must be in [0, 1]', field='--score-thr', received=args.score_thr)
    if kinds and args.out is None and args.benchmark is None:
        raise ConfigError('the kinds of outputs need a folder', field='--out', received=kinds)
    if args.annotations is not None and 'coco' not in kinds:
        raise ConfigError('is for --coco', field='--annotations', received=args.annotations)
    if args.reduce and {'pictures', 'video'} & {*kinds}:
        raise ConfigError('leaves no pixels to draw on', field='--reduce', received=kinds)
    if args.benchmark is not None and (args.track or args.line or args.zone):
        raise ConfigError('times detection alone', field='--benchmark')
    return kinds or ['json']


def _detect(args: argparse.Namespace) -> int:
    check_opencv()
    import cv2

    cv2.setNumThreads(1)  # its threads would only take the network's cores
    kinds = _check(args)
    decoding = dict(value_range=_value_range(args.value_range), decoder=_decoder(args.jpeg))
    from .clips import Clip, collect_clips
    from .sources import collect
    from .track_arguments import read_track_arguments

    tracking = read_track_arguments(args)
    clips: list[Clip] | None = None
    if tracking is not None:
        clips = collect_clips(args.inputs, recursive=args.recursive)
        entries = [clip.entry for clip in clips]
    else:
        without = os.path.join(args.out, 'pictures') if args.out is not None else None
        entries = collect(args.inputs, recursive=args.recursive, without=without)
    from .detector import load

    runtime = load(
        args.folder, backend=args.backend, device=args.device, threads=args.threads, precision=args.precision, cache_dir=args.cache,
        score_thr=args.score_thr, classes=None if args.classes is None else args.classes.split(','), verify=not args.no_verify, mosaic=args.mosaic,
    )  # fmt: skip
    for line in runtime.describe():
        _say(line)
    if args.reduce:
        runtime.needed_wh((1, 1))  # refuses composite detectors
        decoding['needed'] = runtime.needed_wh
    run = _Run(args, runtime, entries, decoding, tracking, clips)
    if args.benchmark is not None:
        return run.benchmark(kinds)
    if args.out is None:
        return run.print_lines()
    return run.write_files(kinds)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class _Run:
    """One run of the command over its inputs."""

    def __init__(
        self,
        args: argparse.Namespace,
        runtime: 'Runtime',
        entries: list[str],
        decoding: dict[str, Any],
        tracking: 'TrackOptions | None' = None,
        clips: 'list[Clip] | None' = None,
    ) -> None:
        self.args, self.runtime, self.entries, self.decoding = args, runtime, entries, decoding
        self.tracking, self.clips = tracking, clips
        self.skipped: list[tuple[str, str]] = []
        self.streams: list[Stream] = []
        self.signal: int | None = None

    def sources(self, stems: Sequence[str]) -> Iterator['Source']:
        """The sources of the run, no more than ``--max-frames``."""
        import itertools

        from .drawing import picture_suffix
        from .sources import Stream, file_of, iterate_sources

        def open_stream(address: str, stem: str) -> Stream:
            self.streams.append(Stream(address, stem, reconnects=self.args.reconnects, say=_say))
            return self.streams[-1]

        if self.clips is not None:
            from .clips import clip_sources

            found = clip_sources(self.clips, stems, self.skipped, open_stream=open_stream, say=_say, fps=self.args.fps)
        else:
            found = iterate_sources(
                self.entries, stems, self.skipped, open_stream=open_stream, say=_say,
                suffix_of=lambda entry: picture_suffix(file_of(str(entry))),
            )  # fmt: skip
        with contextlib.closing(found):
            yield from itertools.islice(found, self.args.max_frames)

    def decode(self, source: 'Source') -> 'np.ndarray | ReducedImage':
        """The pixels of a source."""
        from .sources import decode_source

        return decode_source(source, **self.decoding)

    def process(self, sources: Iterator['Source'], write: Callable, parallel: bool | None = None) -> 'Report':
        """Run over the sources; signals end the run, not the program."""
        from .pipeline import process

        parallel = not self.args.no_pipeline if parallel is None else parallel
        own_thread = self.runtime.own_thread(self.args.threads) if parallel else contextlib.nullcontext()
        with self._stoppable(), own_thread:
            return process(
                sources, self.decode, self.runtime, write, batch_size=self.args.batch, decoders=self.args.decoders,
                detectors=2 if self.runtime.is_composite else 1, parallel=parallel,
            )  # fmt: skip

    @contextlib.contextmanager
    def _stoppable(self) -> Iterator[None]:
        def stop(number: int, frame: FrameType | None) -> None:
            if self.signal is None:  # the second one is for those who do not want to wait
                self.signal = number
            else:
                signal.signal(number, signal.SIG_DFL)
            raise KeyboardInterrupt

        before = {}
        with contextlib.suppress(ValueError):  # not in the main thread, as in tests
            before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def finish(self, report: 'Report', left_out: Sequence[tuple[str, str]] = ()) -> int:
        """Say what was done and what was not; returns the exit status."""
        failed = [*((str(source), reason) for source, reason in report.failed), *self.skipped, *left_out]
        for name, reason in failed[:_SHOWN]:
            _say(f'not done: {reason}' if name in reason else f'not done: {name}: {reason}')
        if len(failed) > _SHOWN:
            _say(f'... and {len(failed) - _SHOWN} more')
        late = sum(stream.left_out for stream in self.streams)
        parts = [f'{report.done} images in {report.seconds:.1f} s, {report.per_second:.1f} a second']
        parts += [f'{late} frames left out as they came too fast'] * bool(late)
        parts += [f'{len(failed)} failed'] * bool(failed)
        parts += ['stopped before the end'] * report.stopped
        _say('; '.join(parts))
        if report.stopped:
            return 128 + (self.signal or signal.SIGINT)
        return 1 if failed else 0

    def print_lines(self) -> int:
        """One line of JSON for each image on the standard output."""
        from .outputs import as_json
        from .sources import stem_of

        tracks = self.tracks()

        def write(source: 'Source', image: 'np.ndarray', found: 'Detections') -> None:
            found = found if tracks is None else tracks(source, image, found)
            print(json.dumps(as_json(source, image, found, self.runtime.classes)), flush=True)

        report = self.process(self.sources([*map(stem_of, self.entries)]), write)
        self.summarise(tracks)
        return self.finish(report)

    def tracks(self) -> 'ClipTracks | None':
        """What makes tracks of detections, if that is asked for."""
        from .tracked_outputs import ClipTracks

        return None if self.tracking is None else ClipTracks(self.tracking, self.runtime.classes)

    def summarise(self, tracks: 'ClipTracks | None') -> None:
        """Say what was counted."""
        from .tracked_outputs import summary_lines

        for line in summary_lines(tracks.summaries if tracks is not None else ()):
            _say(line)

    def write_files(self, kinds: list[str]) -> int:
        """The files of ``--out``."""
        from .outputs import UNITS, CocoIds, Outputs
        from .tracked_outputs import TrackedOutputs

        tracks = self.tracks()
        outputs: Outputs
        if tracks is None:
            ids = CocoIds(self.runtime.classes, self.args.annotations) if 'coco' in kinds else None
            drawn_from = 0.3 if self.args.score_thr is None else 0.0
            outputs = Outputs(self.args.out, kinds, self.runtime.classes, ids, drawn_from)
        else:
            outputs = TrackedOutputs(self.args.out, kinds, self.runtime.classes, tracks)
        stems = outputs.claim(self.entries)
        with outputs, self.progress() as bar:

            def write(source: 'Source', image: 'np.ndarray', found: 'Detections') -> None:
                outputs.write(source, image, found if tracks is None else tracks(source, image, found))
                bar.advance()

            report = self.process(self.sources(stems), write)
        self.summarise(tracks)
        _say(
            f'{self.args.out}: {", ".join(f"{count} {UNITS[kind]}" for kind, count in outputs.written.items()) or "nothing written"}'
        )
        return self.finish(report, outputs.left_out)

    def progress(self) -> 'Progress':
        """A bar with the remaining time; with streams, the rate."""
        from .clips import Clip, count_frames
        from .progress import Progress
        from .sources import is_stream, is_video

        clips = self.clips
        if clips is None:
            clips = [Clip(entry, () if is_video(entry) or is_stream(entry) else (entry,)) for entry in self.entries]
        total, most = count_frames(clips), self.args.max_frames
        return Progress(
            'images' if self.clips is None else 'frames',
            most if total is None or (most is not None and most < total) else total,
        )

    def benchmark(self, kinds: list[str]) -> int:
        """A table of times: first one image after the other, then all steps at once as a run does it. Outputs are written, and removed."""
        import tempfile

        from .outputs import CocoIds, Outputs

        ids = CocoIds(self.runtime.classes, self.args.annotations) if 'coco' in kinds else None
        with tempfile.TemporaryDirectory() as folder, Outputs(folder, kinds, self.runtime.classes, ids) as outputs:
            return self._measure(outputs)

    def _measure(self, outputs: 'Outputs') -> int:
        import itertools

        from .timing import parts_table, time_figures

        count = self.args.benchmark
        if self.args.max_frames is None or self.args.max_frames > count + _WARM_UP:
            self.args.max_frames = count + _WARM_UP
        kept = [*itertools.islice(self.sources(outputs.claim(self.entries)), count)]
        if not kept:
            raise ConfigError('no image among the inputs could be read', field='inputs', received=self.entries)
        warm = self.process(iter(kept[:_WARM_UP]), outputs.write, parallel=False)
        if not warm.done:
            return self.finish(warm)
        clock = self.runtime.clock
        clock.clear()
        repeated = [*itertools.islice(itertools.cycle(kept), count)]
        single = self.process(iter(repeated), outputs.write, parallel=False)
        parts = {
            'decode': time_figures(single.decode),
            **{name: time_figures(times) for name, times in clock.times.items()},
            'write': time_figures(single.write),
        }
        print(parts_table(parts, f'a call of {self.args.batch} images' if self.args.batch > 1 else 'an image'))
        for name, values in clock.sizes.items():
            print(f'{name}: {sum(values) / len(values):.1f} on average')
        print(f'one after the other: {single.per_second:.1f} images a second')
        if not self.args.no_pipeline and not single.stopped:
            many = self.process(iter(repeated), outputs.write, parallel=True)
            print(f'all steps at once:   {many.per_second:.1f} images a second')
        print(f'peak memory: {_peak_memory()}')
        return self.finish(single)


def _peak_memory() -> str:
    try:
        import resource  # Windows has none
    except ImportError:
        return 'unknown on this system'
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f'{peak / (2**20 if sys.platform == "darwin" else 2**10):.0f} MiB'
