"""Results of a test or an inference in the formats of other programs, and the VisDrone toolkit's result files back to COCO."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import ConfigError, DataError
from ..formats.annotation_table import require_sizes
from ..formats.annotations import read_table
from ..formats.coco import CocoAnnotations, annotations_of, load_coco_annotations, read_coco, result_rows
from ..formats.json_file import read_json
from ..formats.predictions import read_results
from ..formats.tables import Detections
from ..formats.visdrone import VISDRONE_CLASSES, read_toolkit_rows, read_visdrone_rows, text_files, write_result_files
from ..formats.yolo import write_yolo_results
from ..utils.files import explained, temporary_folder, write_json, write_text
from ..utils.outputs import refuse_closed_folder, refuse_inputs
from ..utils.progress import progress
from .predictions import detections_from_records, detections_of_results, read_sample
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
        below: detections left out because of their score.
        image_root: folder that the names of the images are relative to, where it is known.
    """

    path: Path
    images: int
    empty: int
    detections: int
    left_out: int
    unused: int = 0
    below: int = 0
    image_root: str = ''

    def __str__(self) -> str:
        text = f'{self.detections} detections of {self.images} images ({self.empty} without any) -> {self.path}'
        if self.left_out:
            text += f'\n  detections of other categories (left out): {self.left_out}'
        if self.unused:
            text += f'\n  result files of other images (left out): {self.unused}'
        if self.below:
            text += f'\n  detections below the score (left out): {self.below}'
        if self.image_root:
            text += f'\n  images in {self.image_root}'
        return text


RESULT_FORMATS = ('coco', 'yolo', 'visdrone', 'fiftyone')


def export_results(
    ann_file: str | os.PathLike,
    results: str | os.PathLike,
    target: str | os.PathLike,
    to: str,
    *,
    kind: str | None = None,
    image_root: str | os.PathLike | None = None,
    split: str | None = None,
    classes: Sequence[str] | None = None,
    min_score: float = 0.0,
) -> ResultsReport:
    """Write results in the format of another program. The output appears whole or not at all, and nothing that exists is replaced.

    =========  ======================================================================================================
    coco       COCO results, by descending score
    yolo       folder: ``NAME.txt`` of each image, ``class centre_x centre_y width height confidence``, and ``classes.txt``
    visdrone   folder: ``NAME.txt`` of each image, as the VisDrone server wants them
    fiftyone   labels of a ``FiftyOneImageDetectionDataset``, which FiftyOne reads beside the folder of the images
    =========  ======================================================================================================

    Args:
        ann_file: annotations of the images in any format, see :func:`~mmdet.formats.annotations.read_annotations`: names, sizes and ids. They
            may be without boxes (``tools/dataset_converters/images.py``).
        results: COCO results; a dump of ``tools/test.py --out`` (``.json`` or ``.pkl``); or the folder ``preds`` of an inference, with a file
            of ``labels``, ``scores`` and ``bboxes`` for each image.
        target: file (coco, fiftyone) or folder to write.
        to: one of :data:`RESULT_FORMATS`.
        kind, image_root, split: of the annotations, as in ``read_annotations``.
        classes: names of the labels in a dump or a folder, in their order; None takes the order of the annotations. COCO results name their
            categories by id.
        min_score: lower scores are left out, and counted.

    Raises:
        DataError: broken files, unknown images or categories, or images without a known size where it is needed.
        ConfigError: no such format, a class that the annotations do not have, or a target that exists.
    """
    target = Path(target)
    if to not in RESULT_FORMATS:
        raise ConfigError(f'must be one of {", ".join(RESULT_FORMATS)}', field='to', received=to)
    if os.path.lexists(target) and not (target.is_dir() and not any(target.iterdir())):
        raise ConfigError('exists, and nothing is overwritten; choose another name', file=target)
    if to in ('coco', 'fiftyone') and target.suffix != '.json':
        raise ConfigError('must end in .json', file=target, received=target.suffix)
    refuse_closed_folder(target)
    table = read_table(ann_file, image_root, kind, split)
    annotations = annotations_of(table, classes)
    names = [image_names(table)[image_id] for image_id in annotations.image_ids]
    if to in ('yolo', 'fiftyone'):
        require_sizes(table)
    if Path(results).is_dir():
        dt, unused = _detections_of_folder(Path(results), annotations, names)
        left_out = 0
    else:
        dt, left_out = detections_of_results(read_results(results), annotations, str(results))
        unused = 0
    kept = dt[dt.score >= min_score]
    if to == 'coco':
        write_json(target, result_rows(kept, annotations))
    elif to == 'fiftyone':
        write_json(target, fiftyone_labels(kept, annotations))
    else:
        with temporary_folder(target) as folder:
            if to == 'yolo':
                sizes_wh = np.array(annotations.image_sizes, dtype=np.int64)[:, ::-1]
                # labels/sub/x.txt belongs to images/sub/x.jpg; a folder that all images are in says nothing.
                path_of = image_names(table, folders=True)
                paths = [path_of[image_id] for image_id in annotations.image_ids]
                above = os.path.commonpath([os.path.dirname(path) for path in paths]) if paths else ''
                paths = [os.path.relpath(path, above or '.') for path in paths]
                write_yolo_results(folder, paths, sizes_wh, kept)
                write_text(folder / 'classes.txt', ''.join(f'{name}\n' for name in annotations.classes))
            else:
                write_result_files(folder, names, kept, _server_categories(annotations, table.kind))
            with explained(target):
                if target.is_dir():
                    target.rmdir()  # only an empty one can be removed
                folder.rename(target)
    empty = len(names) - len(np.unique(kept.image))
    below = len(dt) - len(kept)
    return ResultsReport(target, len(names), empty, len(kept), left_out, unused, below, table.image_root)


def _server_categories(annotations: CocoAnnotations, kind: str) -> list[int]:
    """Category number of each label for the VisDrone server: by name; of a COCO file with other classes, its ids.

    Raises:
        DataError: a class that VisDrone does not have, in a format whose numbers are the order of the names.
    """
    strangers = [name for name in annotations.classes if name not in VISDRONE_CLASSES]
    if not strangers:
        return [VISDRONE_CLASSES.index(name) + 1 for name in annotations.classes]
    if kind == 'coco':
        return toolkit_categories(annotations)
    message = f'must be classes of VisDrone ({", ".join(VISDRONE_CLASSES)})'
    raise DataError(message, file=annotations.source, field='categories', received=strangers)


def _detections_of_folder(folder: Path, annotations: CocoAnnotations, names: Sequence[str]) -> tuple[Detections, int]:
    """Detections of the ``.json`` files of an inference, and how many of these belong to none of the images."""
    files = {path.relative_to(folder).with_suffix('').as_posix(): path for path in sorted(folder.rglob('*.json'))}
    id_of = dict(zip(names, annotations.image_ids))
    if not set(files) & set(id_of):
        message = f'no .json file is named like an image of {annotations.source}, which has {list(names[:3])} ...'
        raise DataError(message, file=folder, received=sorted(files)[:3])
    records = []
    for name, path in files.items():
        if name in id_of:
            content = read_json(path)
            try:
                sample = dict(img_id=id_of[name], pred_instances=content)
                records.append(read_sample(sample, len(annotations.classes)))
            except DataError as error:
                raise DataError(str(error), file=path) from error
    return detections_from_records(records, annotations), len(set(files) - set(id_of))


def fiftyone_labels(dt: Detections, annotations: CocoAnnotations) -> dict:
    """The content of ``labels.json`` of a ``FiftyOneImageDetectionDataset``: boxes as shares of the image, by its path without suffix."""
    rows: list[list[dict]] = [[] for _ in annotations.image_ids]
    order = np.argsort(-dt.score, kind='stable')
    columns = zip(dt.image[order].tolist(), dt.label[order].tolist(), dt.bbox[order].tolist(), dt.score[order].tolist())
    for image, label, (x, y, w, h), score in columns:
        height, width = annotations.image_sizes[image]
        box = [x / width, y / height, w / width, h / height]
        rows[image].append(dict(label=annotations.classes[label], bounding_box=box, confidence=score))
    keys = [os.path.splitext(name)[0] for name in annotations.file_names]
    return dict(classes=list(annotations.classes), labels=dict(zip(keys, rows)))


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
