"""Conversion of COCO results (JSON) to the VisDrone toolkit's result files and back."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..formats.coco import CocoAnnotations, load_coco_annotations, read_coco, result_rows
from ..formats.predictions import read_results
from ..formats.tables import Detections
from ..formats.visdrone import read_toolkit_rows, read_visdrone_rows, text_files, write_result_files
from ..utils.files import write_json
from ..utils.outputs import refuse_inputs
from ..utils.progress import progress
from .predictions import detections_of_results
from .visdrone_metric import image_names, toolkit_categories


@dataclass
class ResultsReport:
    """What a conversion wrote and left out.

    Attributes:
        path: file or folder written.
        images: images of the annotation file.
        empty: of these, images without a detection.
        detections: rows written.
        left_out: rows of categories that the annotation file does not list (or does not evaluate).
        unused: result files that belong to none of the images.
    """

    path: Path
    images: int
    empty: int
    detections: int
    left_out: int
    unused: int = 0

    def __str__(self) -> str:
        text = f'{self.detections} detections of {self.images} images ({self.empty} without any) -> {self.path}'
        if self.left_out:
            text += f'\n  detections of other categories (left out): {self.left_out}'
        if self.unused:
            text += f'\n  result files of other images (left out): {self.unused}'
        return text


def results_to_txt(
    ann_file: str | os.PathLike, results: str | os.PathLike, out_dir: str | os.PathLike
) -> ResultsReport:
    """Write one toolkit file for every image of the annotation file, see :func:`~mmdet.formats.visdrone.write_result_files`.

    Args:
        ann_file: COCO annotation file with the names and ids of images and categories.
        results: COCO results, or a dump of ``tools/test.py --out`` (``.json`` or ``.pkl``).
        out_dir: folder; created where it is missing. Results of an earlier call are replaced, other files in it stay.

    Raises:
        DataError: broken files, unknown images or categories, or a file to be written is there and holds something else than results.
    """
    annotations, names, categories = _read_ann(ann_file)
    detections, left_out = detections_of_results(read_results(results), annotations, str(results))
    paths = [Path(out_dir) / f'{name}.txt' for name in names]
    refuse_inputs(paths, [ann_file, results])
    _refuse_annotations(paths)
    write_result_files(out_dir, names, detections, categories)
    empty = len(names) - len(np.unique(detections.image))
    return ResultsReport(Path(out_dir), len(names), empty, len(detections), left_out)


def _refuse_annotations(paths: Iterable[Path]) -> None:
    """Raise DataError for a file that holds no results: annotations have the same names, but a truncation and an occlusion of 0 or more."""
    for path in paths:
        if not path.is_file():
            continue
        try:
            results = bool((read_visdrone_rows(path)[:, 6:] == -1).all())
        except DataError:
            results = False
        if not results:
            raise DataError(
                'holds annotations, or something else than results, and is left as it is; choose another folder',
                file=path,
            )


def txt_to_results(
    ann_file: str | os.PathLike, txt_dir: str | os.PathLike, out_file: str | os.PathLike
) -> ResultsReport:
    """Write the toolkit files of a folder, separated by commas or blanks, as COCO results by descending score.

    A missing file means no detections. Rows of categories that the annotation file does not have are left out.

    Raises:
        DataError: a broken file (the error names the line), or none of the files belongs to an image.
    """
    annotations, names, categories = _read_ann(ann_file)
    txt_dir = Path(txt_dir)
    files = {path.relative_to(txt_dir).with_suffix('').as_posix(): path for path in sorted(txt_dir.rglob('*.txt'))}
    files = files or text_files(txt_dir, 'result')
    if not set(files) & set(names):
        message = f'no .txt file belongs to an image of {ann_file}, which has {names[:3]} ...'
        raise DataError(message, file=txt_dir, received=sorted(files)[:3])
    refuse_inputs([out_file], [ann_file, *files.values()])
    nothing = np.zeros((0, 6))
    tables = [read_toolkit_rows(files[name]) if name in files else nothing for name in progress(names, txt_dir.name)]
    rows = np.concatenate(tables)
    label_of = {number: label for label, number in enumerate(categories)}
    label = np.array([label_of.get(category, -1) for category in rows[:, 5].astype(np.int64).tolist()], dtype=np.int64)
    image = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    detections = Detections(image, label, rows[:, :4], score=rows[:, 4])[label >= 0]
    write_json(Path(out_file), result_rows(detections, annotations))
    empty, left_out = len(names) - len(np.unique(detections.image)), len(rows) - len(detections)
    unused = len(set(files) - set(names))
    return ResultsReport(Path(out_file), len(names), empty, len(detections), left_out, unused)


def _read_ann(ann_file: str | os.PathLike) -> tuple[CocoAnnotations, list[str], list[int]]:
    """Annotations, the name of each image's result file, and the toolkit's category number of each label."""
    annotations, names = load_coco_annotations(ann_file), image_names(read_coco(ann_file))
    return annotations, [names[image_id] for image_id in annotations.image_ids], toolkit_categories(annotations)
