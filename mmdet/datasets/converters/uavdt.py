"""UAVDT (UAV-benchmark-M) annotations, one file a sequence, to COCO JSON."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...errors import ConfigError, DataError
from ...formats.images import BrokenImageError, image_size
from ...formats.uavdt import read_uavdt_rows
from ...utils.files import write_json
from ...utils.progress import progress
from ..uavdt import UAVDTDataset
from .visdrone import box_annotation

UAVDT_CLASSES = UAVDTDataset.METAINFO['classes']
UAVDT_TEST_SEQUENCES = (
    'M0203', 'M0205', 'M0208', 'M0209', 'M0403', 'M0601', 'M0602', 'M0606', 'M0701', 'M0801',
    'M0802', 'M1001', 'M1004', 'M1007', 'M1009', 'M1101', 'M1301', 'M1302', 'M1303', 'M1401',
)  # fmt: skip
SPLITS = ('train', 'test')
IGNORED_MODES = ('crowd', 'flag', 'drop')
# Of the public frames; all boxes of the annotations lie inside.
_USUAL_SIZE_WH = (1024, 540)


@dataclass
class UAVDTSequence:
    """Files of one sequence. ``frame_dir`` is where its frames belong, ``prefix`` what stands before ``img%06d.jpg`` in the
    JSON file."""

    name: str
    objects: Path
    ignored: Path
    frame_dir: Path
    prefix: str

    @property
    def split(self) -> str:
        """'test' for the twenty test sequences, otherwise 'train'."""
        return 'test' if self.name in UAVDT_TEST_SEQUENCES else 'train'


@dataclass
class UAVDTReport:
    """What happened to the rows of one split.

    Attributes:
        split: 'train' or 'test'.
        path: the JSON file written.
        image_root: what the file names are relative to.
        sequences: number of sequences.
        images: frames with at least one object; others do not become images.
        objects: boxes of the three classes.
        ignored: boxes of ignored areas written.
        ignored_unlabelled: boxes of ignored areas on frames without any object; not written.
        assumed: names of sequences without frames, whose size was taken to be the usual one.
        per_class: boxes by class name.
    """

    split: str
    path: Path
    image_root: Path
    sequences: int = 0
    images: int = 0
    objects: int = 0
    ignored: int = 0
    ignored_unlabelled: int = 0
    assumed: list[str] = field(default_factory=list)
    per_class: Counter = field(default_factory=Counter)

    def __str__(self) -> str:
        lines = [
            f'{self.split}: {self.sequences} sequences, {self.images} images, {self.objects} objects -> {self.path}'
        ]
        lines += [f'  {name:<8} {self.per_class[name]:>7}' for name in UAVDT_CLASSES]
        lines.append(f'  ignored  {self.ignored:>7}')
        lines.append(f'  file names are relative to {self.image_root}')
        if self.ignored_unlabelled:
            lines.append(f'  ignored boxes on frames without an object (left out): {self.ignored_unlabelled}')
        if self.assumed:
            width, height = _USUAL_SIZE_WH
            names = ', '.join(self.assumed[:5]) + (', ...' if len(self.assumed) > 5 else '')
            lines.append(
                f'  WARNING: no frames of {len(self.assumed)} sequences ({names}): size taken as {width}x{height}'
            )
        return '\n'.join(lines)


def convert_uavdt(
    root: str | os.PathLike,
    out_files: Mapping[str, str | os.PathLike],
    *,
    image_dir: str | os.PathLike | None = None,
    size_wh: tuple[int, int] | None = None,
    ignored: str = 'crowd',
) -> list[UAVDTReport]:
    """Write one COCO JSON file a split.

    Two layouts are known, see :func:`find_sequences`. Images are sorted by sequence and frame and numbered from 0,
    annotations from 1; ``category_id`` 0 car, 1 truck, 2 bus. Only frames with an object become images. All files are read
    before the first is written; a file appears whole or not at all.

    Args:
        root: folder of the dataset.
        out_files: 'train' and / or 'test' -> path of the JSON file; folders are made.
        image_dir: folder of the sequences' frame folders, where it is not in the usual place.
        size_wh: size of the frames of sequences whose frames are not there; None means 1024x540, with a warning.
        ignored: what becomes of boxes of ignored areas. All modes but 'drop' write them as category 0 with ``ignore`` 1,
            which the datasets leave out. 'crowd' sets ``iscrowd`` 1 as well, so that any evaluation ignores cars there;
            'flag' does not, so that pycocotools counts them as cars to be found: what the reference does.

    Raises:
        DataError: missing or broken files, with the line; a frame missing in a folder that is there; no sequence of a
            split.
        ConfigError: arguments out of range.
    """
    if not out_files or any(split not in SPLITS for split in out_files):
        raise ConfigError(f'must name one or more of {SPLITS}', field='out_files', received=list(out_files))
    if ignored not in IGNORED_MODES:
        raise ConfigError(f'must be one of {IGNORED_MODES}', field='ignored', received=ignored)
    if size_wh is not None and (len(size_wh) != 2 or min(size_wh) < 1):
        raise ConfigError('must be width and height > 0', field='size_wh', received=size_wh)
    sequences, image_root = find_sequences(root, image_dir)
    finished = []
    for split, out_file in out_files.items():
        members = [sequence for sequence in sequences if sequence.split == split]
        if not members:
            names = [sequence.name for sequence in sequences]
            raise DataError(f'holds no sequence of the {split} split', file=root, received=names)
        report = UAVDTReport(split, Path(out_file), image_root, sequences=len(members))
        document = _document(members, report, size_wh, ignored)
        finished.append((document, report))
    for document, report in finished:
        write_json(report.path, document)
    return [report for _, report in finished]


def files_of_splits(
    root: str | os.PathLike,
    output: str | os.PathLike,
    split: str | None = None,
    *,
    image_dir: str | os.PathLike | None = None,
) -> dict[str, Path]:
    """Split -> the file to write: ``output`` itself where it ends in ``.json``, else ``UAVDT-<split>.json`` in it.

    Args:
        root, image_dir: see :func:`convert_uavdt`.
        output: a file, or a folder.
        split: one split; None takes 'train' for a file, and every split that exists for a folder.
    """
    output = Path(output)
    if output.suffix == '.json':
        return {split or 'train': output}
    present = {sequence.split for sequence in find_sequences(root, image_dir)[0]}
    splits = [split] if split else [name for name in SPLITS if name in present]
    return {name: output / f'UAVDT-{name}.json' for name in splits}


def find_sequences(
    root: str | os.PathLike, image_dir: str | os.PathLike | None = None
) -> tuple[list[UAVDTSequence], Path]:
    """The sequences of a folder by name, and the folder that the names of their frames are relative to.

    * MOT layout: ``<seq>/gt/gt_whole.txt``, ``<seq>/gt/gt_ignore.txt``, ``<seq>/img1/img000001.jpg``;
    * public release: ``<seq>_gt_whole.txt`` and ``<seq>_gt_ignore.txt`` in the folder, in ``GT`` or in
      ``UAV-benchmark-MOTD_v1.0/GT``; frames in ``UAV-benchmark-M/<seq>/img000001.jpg`` inside or beside it.

    Raises:
        DataError: neither is found, or a sequence lacks its file of ignored areas.
    """
    root = Path(root)
    nested = sorted(root.glob('*/gt/gt_whole.txt'))
    if nested:
        frames = root if image_dir is None else Path(image_dir)
        names = [path.parent.parent.name for path in nested]
        sequences = [
            UAVDTSequence(name, path, path.with_name('gt_ignore.txt'), frames / name / 'img1', f'{name}/img1')
            for name, path in zip(names, nested)
        ]
    else:
        folders = [root, root / 'GT', root / 'UAV-benchmark-MOTD_v1.0' / 'GT']
        flat = next((files for files in (sorted(folder.glob('*_gt_whole.txt')) for folder in folders) if files), [])
        if not flat:
            raise DataError(
                'holds neither <seq>/gt/gt_whole.txt nor [GT/]<seq>_gt_whole.txt of any sequence', file=root
            )
        if image_dir is None:
            places = [root / 'UAV-benchmark-M', root.resolve().parent / 'UAV-benchmark-M', root]
            first = flat[0].name.removesuffix('_gt_whole.txt')
            image_dir = next((place for place in places if (place / first).is_dir()), places[0])
        frames = Path(image_dir)
        sequences = []
        for path in flat:
            name = path.name.removesuffix('_gt_whole.txt')
            sequences.append(UAVDTSequence(name, path, path.with_name(f'{name}_gt_ignore.txt'), frames / name, name))
    for sequence in sequences:
        if not sequence.ignored.is_file():
            raise DataError(
                'the file of ignored areas is missing (it may be empty)', file=sequence.ignored, record=sequence.name
            )
    return sequences, frames


def _document(
    sequences: list[UAVDTSequence], report: UAVDTReport, size_wh: tuple[int, int] | None, ignored: str
) -> dict:
    images: list[dict] = []
    annotations: list[dict] = []
    for sequence in progress(sequences, report.split):
        objects, areas = (
            read_uavdt_rows(sequence.objects, labelled=True),
            read_uavdt_rows(sequence.ignored, labelled=False),
        )
        frames = np.unique(objects.frame)
        labelled = np.isin(areas.frame, frames)
        report.ignored_unlabelled += int(np.count_nonzero(~labelled))
        wanted = labelled if ignored != 'drop' else np.zeros_like(labelled)
        frame_of = np.concatenate([objects.frame, areas.frame[wanted]])
        boxes = np.concatenate([objects.bbox, areas.bbox[wanted]]).tolist()
        category_ids = (objects.category - 1).tolist() + [0] * int(wanted.sum())
        image_ids = {}
        for frame, (width, height) in _frame_sizes(sequence, frames, report, size_wh):
            image_ids[frame] = len(images)
            file_name = f'{sequence.prefix}/img{frame:06d}.jpg'
            images.append({'file_name': file_name, 'height': height, 'width': width, 'id': len(images)})
        for row in np.argsort(frame_of, kind='stable').tolist():  # of a frame, objects before ignored areas
            category_id, is_area = category_ids[row], row >= len(objects.frame)
            bbox = [int(value) if value.is_integer() else value for value in boxes[row]]
            annotation = box_annotation(
                bbox, image_ids[int(frame_of[row])], category_id, len(annotations) + 1, ignored=is_area
            )
            annotation['iscrowd'] = int(is_area and ignored == 'crowd')
            annotations.append(annotation)
            if is_area:
                report.ignored += 1
            else:
                report.objects += 1
                report.per_class[UAVDT_CLASSES[category_id]] += 1
    report.images = len(images)
    categories = [{'supercategory': 'none', 'id': number, 'name': name} for number, name in enumerate(UAVDT_CLASSES)]
    return {'images': images, 'type': 'instances', 'annotations': annotations, 'categories': categories}


def _frame_sizes(
    sequence: UAVDTSequence, frames: np.ndarray, report: UAVDTReport, size_wh: tuple[int, int] | None
) -> Iterator[tuple[int, tuple[int, int]]]:
    """Frame number and (width, height), from the headers of the frames where the sequence has any."""
    if not sequence.frame_dir.is_dir():
        if size_wh is None:
            report.assumed.append(sequence.name)
        width, height = size_wh or _USUAL_SIZE_WH
        yield from ((frame, (width, height)) for frame in frames.tolist())
        return
    for frame in frames.tolist():
        path = sequence.frame_dir / f'img{frame:06d}.jpg'
        try:
            yield frame, image_size(path)
        except BrokenImageError as error:
            raise DataError(
                f'frame {frame} of {sequence.objects.name} has no readable image', file=path, record=sequence.name
            ) from error


def parse_size(text: str) -> tuple[int, int]:
    """``'1024x540'`` -> (1024, 540)."""
    found = re.fullmatch(r'([1-9]\d*)x([1-9]\d*)', text.strip())
    if not found:
        raise ConfigError('must be WIDTHxHEIGHT, as 1024x540', field='size', received=text)
    return int(found[1]), int(found[2])
