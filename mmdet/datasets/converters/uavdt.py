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
from ...formats.uavdt import (
    UAVDT_CLASSES,
    UAVDT_TEST_SEQUENCES,
    USUAL_SIZE_WH,
    UAVDTSequence,
    find_sequences,
    read_uavdt_rows,
)
from ...utils.files import write_json
from ...utils.outputs import refuse_inputs
from ...utils.progress import progress
from .visdrone import box_annotation, coco_document, plain_numbers

__all__ = [
    'UAVDT_CLASSES', 'UAVDT_TEST_SEQUENCES', 'UAVDTReport', 'UAVDTSequence', 'convert_uavdt', 'files_of_splits', 'find_sequences', 'parse_size',
]  # fmt: skip
SPLITS = ('train', 'test')
IGNORED_MODES = ('crowd', 'flag', 'drop')


@dataclass
class UAVDTReport:
    """How many rows of a split were converted, and what was noticed about them."""

    split: str  # 'train' or 'test'
    path: Path  # of the JSON file written
    image_root: Path  # folder that the file names are relative to
    sequences: int = 0
    images: int = 0  # frames with at least one object; others do not become images
    objects: int = 0  # boxes of the three classes
    ignored: int = 0  # boxes of ignored areas written
    ignored_unlabelled: int = 0  # boxes of ignored areas on frames without any object; not written
    assumed: list[str] = field(default_factory=list)  # sequences without frames, taken to be of the usual size
    per_class: Counter = field(default_factory=Counter)  # boxes by class name

    def __str__(self) -> str:
        counts = f'{self.sequences} sequences, {self.images} images, {self.objects} objects'
        lines = [f'{self.split}: {counts} -> {self.path}']
        lines += [f'  {name:<8} {self.per_class[name]:>7}' for name in UAVDT_CLASSES]
        lines += [f'  ignored  {self.ignored:>7}', f'  file names are relative to {self.image_root}']
        if self.ignored_unlabelled:
            lines.append(f'  ignored boxes on frames without an object (left out): {self.ignored_unlabelled}')
        if self.assumed:
            names = ', '.join(self.assumed[:5]) + (', ...' if len(self.assumed) > 5 else '')
            size = 'x'.join(map(str, USUAL_SIZE_WH))
            lines.append(f'  WARNING: no frames of {len(self.assumed)} sequences ({names}): size taken as {size}')
        return '\n'.join(lines)


def convert_uavdt(
    root: str | os.PathLike,
    out_files: Mapping[str, str | os.PathLike],
    *,
    image_dir: str | os.PathLike | None = None,
    size_wh: tuple[int, int] | None = None,
    ignored: str = 'crowd',
) -> list[UAVDTReport]:
    """Write one COCO JSON file for each split.

    Images are sorted by sequence and frame and numbered from 0, annotations are numbered from 1; ``category_id`` 0 is car,
    1 truck, 2 bus. Only frames with an object become images. All files are read before the first one is written; a file
    appears whole or not at all.

    Args:
        root: folder of the dataset, in one of the layouts of :func:`find_sequences`.
        out_files: 'train', 'test' or both -> path of the JSON file; its folder is made where it is missing.
        image_dir: folder of the frame folders, if it is not in the usual place.
        size_wh: frame size of the sequences whose frames are missing; None means 1024x540, with a warning.
        ignored: ``'drop'`` leaves out the boxes of ignored areas. ``'crowd'`` and ``'flag'`` write them as category 0 with
            ``ignore`` 1, which the datasets leave out. ``'crowd'`` also sets ``iscrowd`` 1, so that every evaluation ignores
            cars there; with ``'flag'``, as in the reference, pycocotools counts them as cars to be found.

    Raises:
        DataError: a missing or broken file (with the line), a missing frame in an existing folder, or a split without
            sequences.
        ConfigError: a wrong argument, or an output that is one of the files read.
    """
    if not out_files or any(split not in SPLITS for split in out_files):
        raise ConfigError(f'must name one or more of {SPLITS}', field='out_files', received=list(out_files))
    if ignored not in IGNORED_MODES:
        raise ConfigError(f'must be one of {IGNORED_MODES}', field='ignored', received=ignored)
    if size_wh is not None and (len(size_wh) != 2 or min(size_wh) < 1):
        raise ConfigError('must be width and height > 0', field='size_wh', received=size_wh)
    sequences, image_root = find_sequences(root, image_dir)
    refuse_inputs(out_files.values(), [path for each in sequences for path in (each.objects, each.ignored)])
    finished = []
    for split, out_file in out_files.items():
        members = [sequence for sequence in sequences if sequence.split == split]
        if not members:
            names = [sequence.name for sequence in sequences]
            raise DataError(f'holds no sequence of the {split} split', file=root, received=names)
        report = UAVDTReport(split, Path(out_file), image_root, sequences=len(members))
        finished.append((report, _document(members, report, size_wh, ignored)))
    for report, document in finished:
        write_json(report.path, document)
    return [report for report, _ in finished]


def files_of_splits(
    root: str | os.PathLike,
    output: str | os.PathLike,
    split: str | None = None,
    *,
    image_dir: str | os.PathLike | None = None,
) -> dict[str, Path]:
    """Split -> the file to write: ``output`` if it ends in ``.json``, else ``UAVDT-<split>.json`` in that folder.

    Without a ``split``, a file is that of 'train', and a folder gets every split that exists below ``root``.
    """
    output = Path(output)
    if output.suffix == '.json':
        return {split or 'train': output}
    present = {sequence.split for sequence in find_sequences(root, image_dir)[0]}
    splits = [split] if split else [name for name in SPLITS if name in present]
    return {name: output / f'UAVDT-{name}.json' for name in splits}


def _document(
    sequences: list[UAVDTSequence], report: UAVDTReport, size_wh: tuple[int, int] | None, ignored: str
) -> dict:
    document = coco_document(UAVDT_CLASSES)
    images, annotations = document['images'], document['annotations']
    for sequence in progress(sequences, report.split):
        objects = read_uavdt_rows(sequence.objects, labelled=True)
        areas = read_uavdt_rows(sequence.ignored, labelled=False)
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
        for row in np.argsort(frame_of, kind='stable').tolist():  # objects of a frame stay before its ignored areas
            category_id, is_area = category_ids[row], row >= len(objects.frame)
            bbox, image_id = plain_numbers(boxes[row]), image_ids[int(frame_of[row])]
            annotation = box_annotation(bbox, image_id, category_id, len(annotations) + 1, ignored=is_area)
            annotation['iscrowd'] = int(is_area and ignored == 'crowd')
            annotations.append(annotation)
            if is_area:
                report.ignored += 1
            else:
                report.objects += 1
                report.per_class[UAVDT_CLASSES[category_id]] += 1
    report.images = len(images)
    return document


def _frame_sizes(
    sequence: UAVDTSequence, frames: np.ndarray, report: UAVDTReport, size_wh: tuple[int, int] | None
) -> Iterator[tuple[int, tuple[int, int]]]:
    """Frame numbers and (width, height), from the image headers if the folder of frames exists."""
    if not sequence.frame_dir.is_dir():
        if size_wh is None:
            report.assumed.append(sequence.name)
        width, height = size_wh or USUAL_SIZE_WH
        yield from ((frame, (width, height)) for frame in frames.tolist())
        return
    for frame in frames.tolist():
        path = sequence.frame_dir / f'img{frame:06d}.jpg'
        try:
            yield frame, image_size(path)
        except BrokenImageError as error:
            message = f'frame {frame} of {sequence.objects.name} has no readable image'
            raise DataError(message, file=path, record=sequence.name) from error


def parse_size(text: str) -> tuple[int, int]:
    """``'1024x540'`` -> (1024, 540)."""
    found = re.fullmatch(r'([1-9]\d*)x([1-9]\d*)', text.strip())
    if not found:
        raise ConfigError('must be WIDTHxHEIGHT, for example 1024x540', field='size', received=text)
    return int(found[1]), int(found[2])
