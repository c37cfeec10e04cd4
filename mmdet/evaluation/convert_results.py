"""COCO results (JSON) to the VisDrone toolkit's result files and back."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmdet.errors import DataError
from mmdet.evaluation.predictions import detections_from_records, keep_first, read_sample
from mmdet.evaluation.visdrone_metric import image_names
from mmdet.formats.coco import CocoAnnotations, detections_from_rows, load_coco_annotations, result_rows
from mmdet.formats.json_file import _read_json
from mmdet.formats.predictions import read_results
from mmdet.formats.tables import Detections
from mmdet.formats.visdrone import read_toolkit_rows, text_files, write_result_files
from mmdet.utils.files import write_json

from ..utils.progress import progress


@dataclass
class ResultsReport:
    """What a conversion did.

    Attributes:
        path: file or folder written.
        images: images of the annotation file.
        empty: of these, images without a detection.
        detections: rows written.
        left_out: rows of categories that the annotation file does not list (or does not evaluate).
        unused: result files that belong to none of the images.
    """

    path: Path
    images: int = 0
    empty: int = 0
    detections: int = 0
    left_out: int = 0
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
    """Write one toolkit file for every image of the annotation file, empty where nothing was detected.

    Rows are ``left,top,width,height,score,category,-1,-1`` by descending score, equal scores in the order given.

    Args:
        ann_file: COCO annotation file: names and ids of images and categories.
        results: COCO results, or a dump of ``tools/test.py --out`` (``.json`` or ``.pkl``).
        out_dir: folder; made where it is missing. Other files in it stay.

    Raises:
        DataError: broken files, unknown images or categories.
    """
    annotations, names, shift = _read_ann(ann_file)
    content, left_out = read_results(results), 0
    if Path(results).suffix == '.json':
        detections, left_out = detections_from_rows(content, annotations, str(results))
    else:
        records = [read_sample(sample, len(annotations.classes)) for sample in content]
        detections = detections_from_records(keep_first(records, lambda record: record.image_id), annotations)
    report = ResultsReport(Path(out_dir), len(names), len(names) - len(np.unique(detections.image)), len(detections))
    report.left_out = left_out
    write_result_files(out_dir, names, detections, [number + shift for number in annotations.category_ids])
    return report


def txt_to_results(
    ann_file: str | os.PathLike, txt_dir: str | os.PathLike, out_file: str | os.PathLike
) -> ResultsReport:
    """Write the toolkit files of a folder, separated by commas or blanks, as COCO results by descending score.

    A missing file means no detections. Rows of categories that the annotation file does not have are left out.

    Raises:
        DataError: broken files, with the line; no file at all that belongs to an image.
    """
    annotations, names, shift = _read_ann(ann_file)
    txt_dir = Path(txt_dir)
    files = {path.relative_to(txt_dir).with_suffix('').as_posix(): path for path in sorted(txt_dir.rglob('*.txt'))}
    files = files or text_files(txt_dir, 'result')
    if not set(files) & set(names):
        raise DataError(
            f'no .txt file belongs to an image of {ann_file}, which has {names[:3]} ...',
            file=txt_dir,
            received=sorted(files)[:3],
        )
    label_of = {number + shift: label for label, number in enumerate(annotations.category_ids)}
    images, labels, tables, left_out = [], [], [], 0
    for i, name in enumerate(progress(names, txt_dir.name)):
        if name not in files:
            continue
        rows = read_toolkit_rows(files[name])
        label = np.array([label_of.get(category, -1) for category in rows[:, 5].astype(np.int64).tolist()], dtype=int)
        left_out += int(np.count_nonzero(label < 0))
        rows, label = rows[label >= 0], label[label >= 0]
        images.append(np.full(len(rows), i))
        labels.append(label)
        tables.append(rows)
    table = np.concatenate(tables)
    detections = Detections(np.concatenate(images), np.concatenate(labels), table[:, :4], score=table[:, 4])
    report = ResultsReport(Path(out_file), len(names), len(names) - len(np.unique(detections.image)), len(detections))
    report.left_out, report.unused = left_out, len(set(files) - set(names))
    write_json(out_file, result_rows(detections, annotations))
    return report


def _read_ann(ann_file: str | os.PathLike) -> tuple[CocoAnnotations, list[str], int]:
    """Annotations, the name of each image's result file, and what makes a category id the toolkit's number (from 1)."""
    annotations = load_coco_annotations(str(ann_file))
    names = image_names(_read_json(str(ann_file), None)['images'], str(ann_file))
    return annotations, [names[image_id] for image_id in annotations.image_ids], int(0 in annotations.category_ids)
