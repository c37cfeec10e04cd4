"""Tracks of videos as columns: text files of the MOT challenge, of VisDrone-MOT (and VID) and of UAVDT."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import ConfigError
from ..utils.files import write_text
from .images import image_size, images_by_stem
from .tables import BoxTable
from .text_file import NumberRows, read_number_rows
from .uavdt import UAVDT_CLASSES, USUAL_SIZE_WH, find_sequences, is_uavdt
from .visdrone import IGNORED_REGION, OTHERS, VISDRONE_CLASSES, text_files

FORMATS = ('visdrone', 'uavdt', 'uavdt-whole', 'mot')
# What the MOT challenge of VisDrone scores, by name; the others of its classes are annotated and not scored.
VISDRONE_MOT_CLASSES = ('pedestrian', 'car', 'van', 'truck', 'bus')
UNKNOWN = -1  # label of boxes without a class
_RESULT_COLUMNS = 'frame,id,left,top,width,height[,score,category,-1,-1]'


class Tracks(BoxTable):
    """Boxes of one video, with two columns beside those of :class:`~mmdet.formats.tables.BoxTable`.

    Attributes:
        image: (N,) int64, the frame, from 0; files count from 1.
        label: (N,) int64, class index, or -1 where the class is not known.
        number: (N,) int64, the id of the track.
        score: (N,) float64.
    """

    def __init__(
        self, image: Sequence, label: Sequence, bbox: Sequence, number: Sequence, score: Sequence | None = None
    ):
        super().__init__(image, label, bbox)
        self.number = self._column('number', number, np.int64)
        self.score = self._column('score', np.ones(len(self)) if score is None else score, np.float64)


@dataclass
class TrackedSequence:
    """Ground truth of one video.

    Attributes:
        name: of the sequence.
        tracks: the objects.
        regions: what is ignored: boxes mostly inside are neither right nor wrong.
        size_wh: width and height of the frames.
        classes: names by label; empty where there is only one kind of object.
        source: the file of the objects.
    """

    name: str
    tracks: Tracks
    regions: BoxTable
    size_wh: tuple[int, int]
    classes: tuple[str, ...] = ()
    source: Path = field(default_factory=Path)

    @property
    def num_frames(self) -> int:
        """The number of the last frame that has an object or a region."""
        return int(max(self.tracks.image.max(initial=-1), self.regions.image.max(initial=-1))) + 1


def read_track_truth(path: str | os.PathLike, kind: str | None = None) -> list[TrackedSequence]:
    """Ground truth of the videos of a folder.

    Args:
        path: of VisDrone the folder that holds ``annotations``, or that folder; of UAVDT see :func:`~mmdet.formats.uavdt.find_sequences`; otherwise a folder
            of ``<sequence>/gt/gt.txt`` or ``<sequence>.txt`` with the rows ``frame,id,left,top,width,height[,counted[,class[,visibility]]]``. One file is
            one sequence.
        kind: one of :data:`FORMATS`; None recognises it. ``uavdt`` reads the tracking files ``_gt.txt``, in which all vehicles are of one class,
            ``uavdt-whole`` reads ``_gt_whole.txt``, which has classes, and in test sequences more objects.

    Raises:
        DataError: nothing there, or a broken row, with its line.
        ConfigError: another format.
    """
    path = Path(path)
    kind = recognise(path) if kind is None else kind
    if kind not in FORMATS:
        raise ConfigError(f'must be one of {FORMATS}', field='format', received=kind)
    if kind.startswith('uavdt'):
        return [_uavdt(*item, whole=kind == 'uavdt-whole') for item in _uavdt_files(path, kind)]
    read = _visdrone if kind == 'visdrone' else _mot
    if path.is_file():
        return [read(path.stem, path)]
    nested = {file.parent.parent.name: file for file in sorted(path.glob('*/gt/gt.txt'))} if kind == 'mot' else {}
    files = nested or text_files(_annotations(path), 'annotation', at_least_one=True)
    return [read(name, file) for name, file in files.items()]


def recognise(path: Path) -> str:
    """The format of a folder or file: 'uavdt' by its names, 'visdrone' by ten numbers in a row, 'mot' otherwise."""
    if path.is_dir() and is_uavdt(path):
        return 'uavdt'
    if path.is_file() or not next(path.glob('*/gt/gt.txt'), None):
        files = (
            [path] if path.is_file() else [*text_files(_annotations(path), 'annotation', at_least_one=True).values()]
        )
        rows = next(
            (rows for file in files if len(rows := read_number_rows(file, 6, 10, _RESULT_COLUMNS).values)), None
        )
        if rows is not None and (rows[:, 9] >= 0).any():
            return 'visdrone'
    return 'mot'


def _annotations(path: Path) -> Path:
    return path / 'annotations' if next((path / 'annotations').glob('*.txt'), None) else path


def _checked(rows: NumberRows) -> NumberRows:
    """Rows whose first six columns are a frame from 1, an id, and a box."""
    values = rows.values
    rows.refuse(
        (values[:, 0] < 1) | (values[:, 0] % 1 != 0) | (values[:, 0] >= 1e9), 'frame', 0, 'a whole number from 1'
    )
    rows.refuse((values[:, 1] % 1 != 0) | (np.abs(values[:, 1]) >= 2**31), 'id', 1, 'a whole number')
    for column, name in ((4, 'width'), (5, 'height')):
        rows.refuse(values[:, column] < 0, name, column, 'at least 0')
    return rows


def _table(values: np.ndarray, label: np.ndarray, score: np.ndarray | None = None) -> Tracks:
    return Tracks(values[:, 0] - 1, label, values[:, 2:6], values[:, 1], score)  # type: ignore[arg-type]


def _refuse_twice(rows: NumberRows, own: np.ndarray, tracks: Tracks) -> Tracks:
    """The tracks, unless an id has two boxes in one frame; ``own`` are the rows (n,) of the table in the file."""
    keys = tracks.image * (1 << 32) + tracks.number
    first = np.zeros(len(keys), bool)
    first[np.unique(keys, return_index=True)[1]] = True
    wrong = np.zeros(len(rows.values), bool)
    wrong[np.flatnonzero(own)[~first]] = True
    rows.refuse(wrong, 'id', 1, 'in a frame once')
    return tracks


def _visdrone(name: str, file: Path) -> TrackedSequence:
    """Objects of the ten classes; ignored regions are those of category 0, others, and objects of score 0."""
    columns = 'frame,id,left,top,width,height,score,category,truncation,occlusion'
    rows = _checked(read_number_rows(file, 8, 10, columns))
    values, category = rows.values, rows.values[:, 7]
    rows.refuse((category % 1 != 0) | (category < IGNORED_REGION) | (category > OTHERS), 'category', 7, 'in 0..11')
    own = (category != IGNORED_REGION) & (category != OTHERS) & (values[:, 6] != 0)
    tracks = _refuse_twice(rows, own, _table(values[own], category[own] - 1))
    frames = file.resolve().parent.parent / 'sequences' / name
    found = images_by_stem(frames) if frames.is_dir() else {}
    size_wh = image_size(next(iter(found.values()))) if found else _extent(values)
    return TrackedSequence(name, tracks, _table(values[~own], category[~own]), size_wh, VISDRONE_CLASSES, file)


def _mot(name: str, file: Path) -> TrackedSequence:
    """Objects of one kind; rows whose seventh number is 0 do not count, and there are no regions."""
    rows = _checked(read_number_rows(file, 6, 10, 'frame,id,left,top,width,height[,counted[,class[,visibility]]]'))
    values = rows.values
    own = values[:, 6] != 0
    tracks = _refuse_twice(rows, own, _table(values[own], np.full(own.sum(), UNKNOWN)))
    return TrackedSequence(name, tracks, BoxTable([], [], []), _extent(values), (), file)


def _uavdt_files(path: Path, kind: str) -> list[tuple[str, Path, Path]]:
    """Name, file of the objects, and file of the ignored areas of each sequence."""
    found = []
    for sequence in find_sequences(path)[0]:
        objects = sequence.objects
        if kind == 'uavdt':
            objects = objects.with_name(objects.name.replace('gt_whole.txt', 'gt.txt'))
        found.append((sequence.name, objects, sequence.ignored))
    return found


def _uavdt(name: str, objects: Path, ignored: Path, *, whole: bool) -> TrackedSequence:
    columns = 'frame,target,left,top,width,height,out_of_view,occlusion,category'
    rows, areas = (_checked(read_number_rows(file, 9, 9, columns)) for file in (objects, ignored))
    category = rows.values[:, 8]
    if whole:
        rows.refuse(~np.isin(category, (1, 2, 3)), 'category', 8, '1 car, 2 truck or 3 bus')
    label = category - 1 if whole else np.full(len(category), UNKNOWN)
    tracks = _refuse_twice(rows, np.ones(len(category), bool), _table(rows.values, label))
    regions = _table(areas.values, np.full(len(areas.values), UNKNOWN))
    return TrackedSequence(name, tracks, regions, USUAL_SIZE_WH, UAVDT_CLASSES if whole else (), objects)


def _extent(values: np.ndarray) -> tuple[int, int]:
    """Width and height that hold all boxes of rows, where no image says more; at least 1."""
    right_bottom = (values[:, 2:4] + values[:, 4:6]).max(axis=0, initial=1)
    return int(np.ceil(right_bottom[0])), int(np.ceil(right_bottom[1]))


def read_track_results(path: str | os.PathLike) -> Tracks:
    """Tracks of one result file, rows ``frame,id,left,top,width,height[,score[,category]]``; an empty file has none.

    The category is the class from 1, as in VisDrone-MOT; -1, as in the MOT challenge, says nothing.

    Raises:
        DataError: the file cannot be read, a row is broken, or an id has two boxes in one frame; names the line.
    """
    rows = _checked(read_number_rows(path, 6, 10, _RESULT_COLUMNS))
    values, category = rows.values, rows.values[:, 7]
    rows.refuse((category % 1 != 0) | (np.abs(category) >= 2**31), 'category', 7, 'a whole number')
    label = np.where(category > 0, category - 1, UNKNOWN)
    return _refuse_twice(rows, np.ones(len(values), bool), _table(values, label, values[:, 6]))


def relabelled(tracks: Tracks, names: Sequence[str], classes: Sequence[str]) -> Tracks:
    """Tracks whose labels count in ``names``, with labels that count in ``classes``; those of other names lie above them all."""
    places = [classes.index(name) if name in classes else len(classes) + k for k, name in enumerate(names)]
    known = (tracks.label >= 0) & (tracks.label < len(names))
    label = np.where(tracks.label >= len(names), tracks.label + len(classes), tracks.label)
    label[known] = np.array([*places, UNKNOWN], np.int64)[tracks.label[known]]
    return Tracks(tracks.image, label, tracks.bbox, tracks.number, tracks.score)  # type: ignore[arg-type]


def write_tracks(path: str | os.PathLike, tracks: Tracks, *, with_classes: bool = True) -> None:
    """Write tracks as a file that :func:`read_track_results` reads: ``frame,id,left,top,width,height,score,category,-1,-1``.

    Args:
        path: the file.
        tracks: in any order; rows are written by frame and id.
        with_classes: False writes -1 for every category, as the MOT challenge has it.
    """
    lines = []
    for row in np.lexsort((tracks.number, tracks.image)).tolist():
        box = ','.join(f'{value:.6g}' for value in tracks.bbox[row].tolist())
        category = int(tracks.label[row]) + 1 if with_classes and tracks.label[row] != UNKNOWN else -1
        lines.append(f'{tracks.image[row] + 1},{tracks.number[row]},{box},{tracks.score[row]:.6g},{category},-1,-1\n')
    write_text(Path(path), ''.join(lines))
