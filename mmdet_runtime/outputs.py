"""What a program writes: detections as JSON, JSON lines, COCO results and CSV, and pictures and videos with boxes.

Each file gets its name when it is complete; JSON lines grow while the program runs. Nothing that is an input is written to, and a file that gets
its name from an input gets a number where that name belongs to another one (:mod:`mmdet_runtime.names`).
"""

import csv
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np

from .counting import class_name
from .drawing import draw_boxes, picture_suffix, write_image
from .errors import DataError
from .files import LineFile, replacing, write_json
from .names import OutputNames, refuse_inputs, source_of
from .sources import Entry, Source, file_of, is_stream, is_video, stem_of
from .suppression import Detections
from .tracking import Tracked
from .videos import VideoFile

KINDS = ('json', 'jsonl', 'coco', 'csv', 'pictures', 'video')
JSONL, COCO, CSV, COCO_IMAGES = 'detections.jsonl', 'coco.json', 'detections.csv', 'coco_images.json'
UNITS = dict(
    json='json files', jsonl=f'lines of {JSONL}', coco=f'boxes in {COCO}', csv=f'boxes in {CSV}', pictures='pictures', video='videos', mot='MOT files'
)  # fmt: skip
_HEADER = ('image', 'frame', 'class', 'label', 'score', 'x1', 'y1', 'x2', 'y2')
_LEGEND_FROM = 128  # pixels of the shorter side, as in drawing


def read_json_file(path: str | os.PathLike) -> Any:
    """The content of a JSON file; DataError where it is missing or broken."""
    try:
        return json.loads(Path(path).read_text(encoding='utf-8-sig'))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f'cannot be read as JSON ({error})', file=path) from error


class CocoIds:
    """Ids of images and categories in COCO results.

    Without an annotation file, images are numbered from 1 as they come, and categories are labels plus 1; what the numbers mean is written to
    ``coco_images.json``. With one, they are its own: images by file name (or, where only one image has it, the last part of that), categories by name.

    Args:
        classes: names by label.
        annotations: a COCO annotation file.

    Raises:
        DataError: the file is none, or lacks one of the classes.
    """

    def __init__(self, classes: Sequence[str], annotations: str | os.PathLike | None = None):
        self._file = annotations
        self._numbered: dict[str, int] = {}
        self.images: list[dict] = []
        if annotations is None:
            self.categories = [*range(1, len(classes) + 1)]
            self.names = [dict(id=i, name=name) for i, name in zip(self.categories, classes)]
            return
        document = read_json_file(annotations)
        try:
            by_name = {str(one['name']): one['id'] for one in document['categories']}
            names = {str(one['file_name']): one['id'] for one in document['images']}
        except (KeyError, TypeError) as error:
            message = 'must be COCO annotations: "images" with id and file_name, "categories" with id and name'
            raise DataError(message, file=annotations) from error
        missing = [name for name in classes if name not in by_name]
        if missing:
            message = f'has no category of the names {missing}; it has {[*by_name]}'
            raise DataError(message, file=annotations, field='categories')
        self.categories = [by_name[name] for name in classes]
        counts = Counter(Path(name).name for name in names)
        self._ids = {Path(name).name: value for name, value in names.items() if counts[Path(name).name] == 1}
        self._ids.update(names)

    def of_image(self, source: Source, size_wh: tuple[int, int]) -> Any:
        """The id of a source; DataError where the annotation file has no such image."""
        name = str(source)
        if self._file is None:
            number = self._numbered.setdefault(name, len(self._numbered) + 1)
            if number > len(self.images):
                self.images.append(dict(id=number, file_name=name, width=size_wh[0], height=size_wh[1]))
            return number
        posix = Path(name).as_posix()
        parts = posix.split('/')
        found = next((end for k in range(len(parts)) if (end := '/'.join(parts[k:])) in self._ids), None)
        if found is None:
            raise DataError(f'no image of this name in {self._file}; its result is left out', file=name)
        return self._ids[found]


def as_json(source: Source, image: np.ndarray, found: Detections, classes: Sequence[str]) -> dict[str, Any]:
    """The detections of a source as plain values: ``image``, ``frame`` of a video, ``width``, ``height``, and for each box ``labels``, ``classes``, ``scores``
    and ``bboxes`` (xyxy in pixels); of tracked ones also their ``ids``, and what was counted."""
    content: dict[str, Any] = dict(image=str(source) if source.video is None else source.video)
    if source.frame is not None:
        content['frame'] = source.frame
    labels = found.labels.tolist()
    tracks = dict(ids=found.ids.tolist(), **found.details) if isinstance(found, Tracked) else {}
    return dict(
        **content, **tracks, width=image.shape[1], height=image.shape[0], labels=labels, classes=[class_name(classes, label) for label in labels],
        # float32 times a power of ten is exact in float64, so this is what Python's round gives.
        scores=np.round(found.scores.astype(np.float64), 6).tolist(),
        bboxes=np.round(found.bboxes.astype(np.float64), 3).tolist(),
    )  # fmt: skip


class Outputs:
    """The output files of one run; a context manager that completes them, and removes what is incomplete after a failure.

    Args:
        folder: where they go; it is made where it is missing.
        kinds: which of :data:`KINDS`: ``json`` (``json/NAME.json`` for each image; for videos and streams ``json/NAME.jsonl``), ``jsonl`` (one line for each
            image in ``detections.jsonl``), ``coco`` (``coco.json``), ``csv`` (``detections.csv``), ``pictures`` (``pictures/NAME.jpg``),
            ``video`` (``videos/NAME.mp4`` for each video or stream).
        classes: names by label.
        ids: for ``coco``.
        draw_thr: least score of the boxes in pictures and videos.

    Attributes:
        left_out: images that ``coco.json`` lacks, each with the reason.
        written: what was written, by kind: files; lines of ``jsonl``; boxes of ``coco`` and ``csv``.

    Raises:
        ConfigError: an output would be an input.
        DataError: an output cannot be written.
    """

    columns: tuple[str, ...] = _HEADER  # of the CSV file
    more_files: tuple[str, ...] = ()  # what a subclass writes into the folder

    def __init__(
        self, folder: str | os.PathLike, kinds: Iterable[str], classes: Sequence[str], ids: CocoIds | None = None, draw_thr: float = 0.0
    ):  # fmt: skip
        self.folder, self.kinds, self.classes, self.draw_thr = Path(folder), frozenset(kinds), tuple(classes), draw_thr
        self.ids = ids if ids is not None or 'coco' not in self.kinds else CocoIds(classes)
        self.left_out: list[tuple[str, str]] = []
        self.written: Counter[str] = Counter(dict.fromkeys(sorted(self.kinds), 0))
        self._names = OutputNames(self.folder, self.folder / 'sources' / 'names.jsonl')
        self._stack = ExitStack()
        self._clip = ExitStack()
        self._clip_stem: str | None = None
        self._video: VideoFile | None = None
        self._video_wh = (0, 0)
        self._clip_lines: IO[str] | None = None
        self._lines: LineFile | None = None
        self._coco: IO[str] | None = None
        self._rows: IO[str] | None = None

    def claim(self, entries: Sequence[Entry]) -> list[str]:
        """Names of the outputs of a run's inputs; nothing is written before this.

        Raises:
            ConfigError: the folder of an output is that of an input, or an output is an input.
        """
        files = [p for p in map(str, entries) if os.path.exists(p)]
        inputs = dict.fromkeys([*files, *(str(Path(file).parent) for file in files)])
        own = [self.folder / name for name in ('json', 'pictures', 'videos', 'mot')]
        refuse_inputs(
            [*own, *(self.folder / name for name in (JSONL, COCO, CSV, COCO_IMAGES, *self.more_files))],
            inputs,
            field='--out',
        )
        wanted: list[tuple[str | None, str, list[str]]] = []
        for entry in map(str, entries):
            moving = self._is_clip(entry)
            names = [f'json/{{}}.json{"l" if moving else ""}'] * ('json' in self.kinds)
            names += ['mot/{}.txt'] * ('mot' in self.kinds)
            names += ['videos/{}.mp4'] * (moving and 'video' in self.kinds)
            names += [f'pictures/{{}}{"" if moving else picture_suffix(file_of(entry))}'] * ('pictures' in self.kinds)
            wanted.append((source_of(entry) if not entry.isdigit() else f'camera:{entry}', stem_of(entry), names))
        return self._names.claim(wanted) if wanted else []

    def _is_clip(self, entry: str) -> bool:
        """Whether an input has several frames."""
        return is_video(entry) or is_stream(entry)

    def __enter__(self) -> 'Outputs':
        if 'jsonl' in self.kinds:
            self._lines = self._stack.enter_context(LineFile(self.folder / JSONL))
            self._lines.clear()
        if 'coco' in self.kinds:
            self._coco = self._open(self._stack, COCO)
            self._coco.write('[')
        if 'csv' in self.kinds:
            self._rows = self._open(self._stack, CSV)
            csv.writer(self._rows).writerow(self.columns)
        return self

    def _open(self, stack: ExitStack, name: str) -> IO[str]:
        """A text file that gets its name when the stack is left without an exception."""
        temporary = stack.enter_context(replacing(self.folder / name))
        return stack.enter_context(temporary.open('x', encoding='utf-8', newline=''))

    def write(self, source: Source, image: np.ndarray, found: Detections) -> None:
        """Write the detections of one source, in the order of the sources."""
        height, width = image.shape[:2]
        if source.video is not None:
            self._begin_clip(source.stem.rpartition('/')[0])
        if self.kinds & {'json', 'jsonl'}:
            self._write_json(source, image, found)
        if self._coco is not None:
            self._write_coco(source, (width, height), found)
        if self._rows is not None:
            rows = csv.writer(self._rows)
            start = (
                str(source) if source.video is None else source.video,
                '' if source.frame is None else source.frame,
            )
            ends = [(number,) for number in found.ids.tolist()] if isinstance(found, Tracked) else [()] * len(found)
            for box, score, label, end in zip(
                found.bboxes.tolist(), found.scores.tolist(), found.labels.tolist(), ends
            ):
                name = class_name(self.classes, label)
                rows.writerow((*start, name, label, round(score, 5), *(round(v, 2) for v in box), *end))
            self.written['csv'] += len(found)
        if 'pictures' in self.kinds or ('video' in self.kinds and source.video is not None):
            self._draw(source, image, found)

    def _write_json(self, source: Source, image: np.ndarray, found: Detections) -> None:
        content = as_json(source, image, found, self.classes)
        if self._lines is not None:
            self._lines.append(json.dumps(content))
            self.written['jsonl'] += 1
        if 'json' not in self.kinds:
            return
        if source.video is None:
            write_json(self.folder / 'json' / f'{source.stem}.json', content)
            self.written['json'] += 1
        elif self._clip_lines is not None:
            self._clip_lines.write(json.dumps(content) + '\n')

    def _write_coco(self, source: Source, size_wh: tuple[int, int], found: Detections) -> None:
        assert self._coco is not None and self.ids is not None
        try:
            image_id = self.ids.of_image(source, size_wh)
        except DataError as error:
            self.left_out.append((str(source), str(error)))
            return
        for (x1, y1, x2, y2), score, label in zip(found.bboxes.tolist(), found.scores.tolist(), found.labels.tolist()):
            row = dict(image_id=image_id, category_id=self.ids.categories[label], bbox=[x1, y1, x2 - x1, y2 - y1])
            self._coco.write(',\n' if self.written['coco'] else '\n')
            self._coco.write(json.dumps({**row, 'score': score}))
            self.written['coco'] += 1

    def _draw(self, source: Source, image: np.ndarray, found: Detections) -> None:
        picture = self._picture(source, cv2.cvtColor(image, cv2.COLOR_BGR2RGB), found)
        if 'pictures' in self.kinds:
            write_image(self.folder / 'pictures' / f'{source.stem}{source.suffix}', picture)
            self.written['pictures'] += 1
        if 'video' not in self.kinds or source.video is None:
            return
        if self._video is None:
            assert self._clip_stem is not None
            self._video_wh = (picture.shape[1], picture.shape[0])
            path = self.folder / 'videos' / f'{self._clip_stem}.mp4'
            self._video = self._clip.enter_context(VideoFile(path, source.fps, self._video_wh))
            self.written['video'] += 1
        if (picture.shape[1], picture.shape[0]) != self._video_wh:  # a stream that came back with another size
            picture = cv2.resize(picture, self._video_wh)
        self._video.write(picture)

    def _picture(self, source: Source, rgb: np.ndarray, found: Detections) -> np.ndarray:
        """An image (H, W, 3) RGB with its boxes; those of one video have one size."""
        legend = 1 if min(rgb.shape[:2]) >= _LEGEND_FROM else False
        shown = found.scores >= self.draw_thr
        boxes, labels, scores = found.bboxes[shown], found.labels[shown], found.scores[shown]
        return draw_boxes(rgb, boxes, labels, scores, self.classes, legend=legend)

    def _begin_clip(self, stem: str) -> None:
        """Complete the files of the video before, as the frames of a video are consecutive."""
        if stem != self._clip_stem:
            self._end_clip()
            self._clip_stem = stem
            if 'json' in self.kinds:
                self._clip_lines = self._open(self._clip, f'json/{stem}.jsonl')
                self.written['json'] += 1

    def _end_clip(self, *failure: Any) -> None:
        clip, self._clip = self._clip, ExitStack()
        self._clip_stem = self._video = self._clip_lines = None
        clip.__exit__(*(failure or (None, None, None)))

    def __exit__(self, *failure: Any) -> None:
        try:
            self._end_clip(*failure)
            if failure[0] is None and self._coco is not None and self.ids is not None:
                self._coco.write('\n]\n')
                if self.ids.images:
                    write_json(self.folder / COCO_IMAGES, dict(images=self.ids.images, categories=self.ids.names))
        except BaseException:
            self._stack.__exit__(*sys.exc_info())
            raise
        self._stack.__exit__(*failure)
