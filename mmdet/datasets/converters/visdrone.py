"""VisDrone-DET annotations (one ``.txt`` an image) to COCO JSON."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...errors import DataError
from ...formats.annotation_table import inner_folder
from ...formats.coco import ImageId
from ...formats.images import IMAGE_SUFFIXES, image_size, images_by_stem
from ...formats.visdrone import IGNORED_REGION, OTHERS, VISDRONE_CLASSES, read_visdrone_rows, text_files
from ...utils.files import write_json
from ...utils.outputs import refuse_inputs
from ...utils.progress import progress


@dataclass
class VisDroneReport:
    """How many rows and images were converted, and what was noticed about them."""

    path: Path  # of the JSON file written
    images: int = 0  # in the file
    empty: int = 0  # of these, images without an object of the classes
    objects: int = 0  # boxes written
    ignored_regions: int = 0  # rows of category 0, written to a list of their own
    others: int = 0  # rows of category 11, written to a list of their own
    degenerate: int = 0  # boxes written although a side is not above 0; the datasets of this package leave them out
    outside: int = 0  # boxes written that extend beyond the image
    score_zero: int = 0  # boxes written although their score is 0
    unannotated: int = 0  # images of the folder without an annotation file; not written
    annotated: bool = True  # False for a set without any annotation file
    per_class: Counter = field(default_factory=Counter)  # boxes by class name

    def __str__(self) -> str:
        if not self.annotated:
            return f'{self.images} images without annotations (no .txt file), for a test or the server -> {self.path}'
        lines = [f'{self.images} images, {self.objects} objects -> {self.path}']
        lines += [f'  {name:<16} {self.per_class[name]:>7}' for name in VISDRONE_CLASSES]
        lines.append(f'  apart: {self.ignored_regions} ignored regions, {self.others} others')
        notes = {
            'images without an object': self.empty,
            'boxes without area (kept)': self.degenerate,
            'boxes over the border (kept)': self.outside,
            'boxes of score 0 (kept)': self.score_zero,
            'images without annotation file (left out)': self.unannotated,
        }
        lines += [f'  {name}: {count}' for name, count in notes.items() if count]
        return '\n'.join(lines)


def convert_visdrone(
    image_dir: str | os.PathLike,
    annotation_dir: str | os.PathLike,
    out_file: str | os.PathLike,
    *,
    sizes: Mapping[str, tuple[int, int]] | None = None,
) -> VisDroneReport:
    """Write one COCO JSON file for a folder of VisDrone annotations.

    Images are sorted by name and numbered from 0; annotations are numbered from 1, because pycocotools takes a match with
    annotation 0 for none. ``category_id`` = category - 1. Boxes are neither clipped nor filtered. Ignored regions
    (category 0) and others (11) do not become annotations: they form the lists ``ignored_regions`` and ``others``, of
    entries ``{'image_id', 'bbox'}``, which COCO tools skip and :class:`~mmdet.evaluation.VisDroneMetric` needs. A folder without any
    ``.txt`` file (test-challenge) gives a file of all images without the key ``annotations``.

    Args:
        image_dir: folder of the images, or the folder that holds it as ``images``.
        annotation_dir: folder of the ``.txt`` files, or the folder that holds it as ``annotations``.
        out_file: the JSON file; its folder is made where it is missing. It appears whole or not at all.
        sizes: name -> (width, height). The images named here need not exist; all other sizes come from the image headers.

    Raises:
        DataError: a folder or image is missing, or a row is broken; names the file and the line.
        ConfigError: ``out_file`` is one of the files read.
    """
    annotation_dir = inner_folder(Path(annotation_dir), 'annotations', '.txt')
    files = text_files(annotation_dir, 'annotation')
    sizes = sizes or {}
    image_dir = inner_folder(Path(image_dir), 'images', *IMAGE_SUFFIXES)
    if not image_dir.is_dir() and any(name not in sizes for name in files):
        raise DataError('no such image folder, and not all images have a size given', file=image_dir)
    images = images_by_stem(image_dir) if image_dir.is_dir() else {}
    if not files and not images:
        raise DataError(
            'the folder of annotation files holds no .txt file, and that of the images no image', file=annotation_dir
        )

    refuse_inputs([out_file], [*files.values(), *images.values()])
    out_file = Path(out_file)
    report = VisDroneReport(out_file, unannotated=sum(name not in files for name in images))
    document = {**coco_document(VISDRONE_CLASSES), 'ignored_regions': [], 'others': []}
    # Without a single file this is a set whose annotations are kept back (test-challenge): all its images, for a test and the server.
    chosen: dict[str, Path | None] = {**files} if files else dict.fromkeys(images)
    for image_id, (name, path) in enumerate(progress(list(chosen.items()), annotation_dir.name)):
        rows = np.zeros((0, 8)) if path is None else read_visdrone_rows(path)
        if name in sizes:
            width, height = sizes[name]
        elif name in images:
            width, height = image_size(images[name])
        else:
            raise DataError('there is no image for this annotation file', file=path, received=f'{image_dir / name}.jpg')
        file_name = images[name].name if name in images else f'{name}.jpg'
        document['images'].append({'file_name': file_name, 'height': height, 'width': width, 'id': image_id})
        _add_rows(document, rows, image_id, (width, height), report)
    if not files:
        del document['annotations']  # a training then refuses the file
        report.annotated, report.unannotated = False, 0
    write_json(out_file, document)
    return report


def _add_rows(
    document: dict, rows: np.ndarray, image_id: int, size_wh: tuple[int, int], report: VisDroneReport
) -> None:
    report.images += 1
    count = 0
    for row in rows.tolist():
        category = int(row[5])
        bbox = plain_numbers(row[:4])
        if category in (IGNORED_REGION, OTHERS):
            section = 'ignored_regions' if category == IGNORED_REGION else 'others'
            document[section].append({'image_id': image_id, 'bbox': bbox})
            continue
        count += 1
        number = len(document['annotations']) + 1
        document['annotations'].append(box_annotation(bbox, image_id, category - 1, number))
        x, y, w, h = bbox
        report.degenerate += w <= 0 or h <= 0
        report.outside += x < 0 or y < 0 or x + w > size_wh[0] or y + h > size_wh[1]
        report.score_zero += row[4] == 0
        report.per_class[VISDRONE_CLASSES[category - 1]] += 1
    report.objects += count
    report.empty += not count
    report.ignored_regions, report.others = len(document['ignored_regions']), len(document['others'])


def coco_document(classes: Sequence[str]) -> dict:
    """A COCO document without images; the ids of its categories are the positions of the class names."""
    categories = [{'supercategory': 'none', 'id': number, 'name': name} for number, name in enumerate(classes)]
    return {'images': [], 'type': 'instances', 'annotations': [], 'categories': categories}


def plain_numbers(values: list[float]) -> list[float]:
    """The numbers, whole ones as integers: JSON writes these without ``.0``."""
    return [int(value) if value.is_integer() else value for value in values]


def box_annotation(
    bbox: list, image_id: ImageId, category_id: ImageId, annotation_id: int, ignored: bool = False
) -> dict:
    """A COCO annotation of a box x, y, width, height; the polygon follows its corners from the upper left to the lower left."""
    x, y, w, h = bbox
    return {
        'area': w * h,
        'iscrowd': 0,
        'image_id': image_id,
        'bbox': bbox,
        'category_id': category_id,
        'id': annotation_id,
        'ignore': int(ignored),
        'segmentation': [[x, y, x, y + h, x + w, y + h, x + w, y]],
    }
