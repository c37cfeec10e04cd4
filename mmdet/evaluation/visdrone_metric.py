"""VisDroneMetric: the score of the official VisDrone toolkit, and that of COCO, during validation and test."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import MMLogger

from ..errors import ConfigError, DataError
from ..formats.coco import AnnFile, CocoAnnotations, CocoFile, ImageId, file_list, match_classes, read_coco
from ..formats.tables import Detections, GroundTruth, VisDroneTruth
from ..formats.visdrone import (
    VISDRONE_CLASSES,
    read_visdrone_rows,
    stack_rows,
    text_files,
    without_image_suffix,
    write_result_files,
)
from ..registry import METRICS
from .coco_metric import CocoMetric
from .predictions import ImageRecord
from .visdrone_eval import IGNORED_REGION, VisDroneResult, evaluate_visdrone
from .visdrone_report import toolkit_class_table, toolkit_summary, visdrone_values

_COCO = 'coco'


@dataclass
class _Extras:
    """What the toolkit needs beyond COCO's ground truth.

    Attributes:
        names: image names, for result files.
        uncounted: ignored regions and rows of categories that are never evaluated (label -1 or K); COCO's ground truth lacks them.
        counted: (N,) bool, whether the score column of a row of COCO's ground truth is not 0; None where all rows count.
        categories: category number of each label in result files.
    """

    names: list[str]
    uncounted: VisDroneTruth
    counted: np.ndarray | None = None
    categories: list[int] | None = None


@METRICS.register_module()
class VisDroneMetric(CocoMetric):
    """Average precision by the rules of the VisDrone-DET toolkit and by COCO's with maxDets 500, both in every result.

    Keys: ``visdrone/AP``, ``AP50``, ``AP75``, ``AR1``, ``AR10``, ``AR100``, ``AR500`` by the toolkit's rules,
    ``visdrone/AP_plain``, ... with the same weight for every class, ``visdrone/dropped_gt``, ``dropped_det``; and
    ``coco/bbox_mAP``, ... as of :class:`CocoMetric`. All values are in 0..1 (-1 without ground truth); the log shows
    those of the toolkit in percent. Detections are taken by descending score, as a proper result file lists them.

    The ignored regions are

    * those of the files, if ``ann_file`` is a folder of VisDrone's ``.txt`` files, exactly the toolkit's input. Images
      are matched by file name (``img_path`` must be among the meta keys); their size is ``ori_shape``.
    * the crowd boxes and the lists ``ignored_regions`` and ``others``, which ``VisDrone2COCO.py`` writes, if
      ``ann_file`` is a JSON file.
    * the crowds of the data samples, if ``ann_file`` is None. Samples do not distinguish ignored regions from other
      ignored boxes.

    Args:
        ann_file: see above.
        proposal_nums, max_dets: limits of COCO's figures.
        prefix: first part of the toolkit's keys; None means 'visdrone'. A prefix that is given also precedes ``coco/...``.
        **kwargs: further arguments of :class:`CocoMetric`. With ``outfile_prefix``, a toolkit result file for each image
            is also written, into the folder ``<prefix>_txt``.

    Raises:
        ConfigError, DataError: as :class:`CocoMetric`; also broken annotation files, naming the line.
    """

    default_prefix = 'visdrone'

    def __init__(
        self,
        ann_file: AnnFile | None = None,
        *,
        proposal_nums: Sequence[int] = (10, 100, 500),
        max_dets: int | None = 500,
        prefix: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(ann_file, proposal_nums=proposal_nums, max_dets=max_dets, prefix=prefix, **kwargs)
        self._bare_coco_keys = prefix is None
        files = [] if ann_file is None else file_list(ann_file)
        self._folders = [file for file in files if Path(file).is_dir()]
        if self._folders and len(self._folders) < len(files):
            raise ConfigError('must be files or folders, not both', field='ann_file', received=ann_file)
        self._from_folder = bool(self._folders)
        self._extras = _Extras([], VisDroneTruth([], [], []))

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """As :meth:`CocoMetric.process`; with a folder of annotations, or result files alone, the image id is the name of the image file."""
        if self._from_folder:
            data_samples = [dict(sample, img_id=_image_name(sample)) for sample in data_samples]
        elif self.ann_file is None and self.format_only:
            data_samples = [
                dict(sample, img_id=_image_name(sample)) if sample.get('img_path') else sample
                for sample in data_samples
            ]
        super().process(data_batch, data_samples)

    def _id_of_info(self, info: dict) -> Any:
        return _image_name(info) if self._from_folder else super()._id_of_info(info)

    def _file_names(self) -> dict[ImageId, str]:
        return {} if self._from_folder else super()._file_names()

    def evaluate(self, size: int) -> dict[str, float]:
        """See :meth:`CocoMetric.evaluate`; without a ``prefix`` of its own, the metric leaves COCO's keys as they are."""
        return self._with_bare_coco_keys(super().evaluate(size))

    def named(self, metrics: dict[str, float]) -> dict[str, float]:
        """Metrics under the names that :meth:`evaluate` gives them."""
        return self._with_bare_coco_keys(super().named(metrics))

    def _with_bare_coco_keys(self, metrics: dict[str, float]) -> dict[str, float]:
        if not self._bare_coco_keys:
            return metrics
        own = f'{self.prefix}/'
        return {key.removeprefix(own) if key.startswith(f'{own}{_COCO}/') else key: v for key, v in metrics.items()}

    def load_annotations(self, records: Sequence[ImageRecord] = ()) -> CocoAnnotations:
        """The ground truth for COCO's rules; what only the toolkit needs is kept in the metric."""
        annotations = super().load_annotations(records)
        if self.ann_file is not None:
            for record in records:  # the file may state the size before the photo was turned
                annotations.image_sizes[annotations.index_of(record.image_id)] = record.ori_shape
        elif self.ann_file is None:
            names = [str(image_id) for image_id in annotations.image_ids]
            known = [VISDRONE_CLASSES.index(name) + 1 for name in annotations.classes if name in VISDRONE_CLASSES]
            categories = known if len(known) == len(annotations.classes) else None
            self._extras = _Extras(names, VisDroneTruth([], [], []), categories=categories)
        return annotations

    def _load_annotations(self, ann_file: AnnFile) -> CocoAnnotations:
        if self._from_folder:
            annotations, self._extras = _read_folders(self._folders, self.classes)
        else:
            annotations = super()._load_annotations(ann_file)
            self._extras = _read_extras(ann_file, annotations, self.backend_args)
        return annotations

    def evaluate_detections(self, detections: Detections, annotations: CocoAnnotations) -> dict[str, float]:
        """Both scores of detections, however they were obtained; writes the files and the log."""
        logger = MMLogger.get_current_instance()
        coco = super().evaluate_detections(detections, annotations)
        if self.outfile_prefix is not None:
            folder = f'{self.outfile_prefix}_txt'
            write_result_files(folder, self._extras.names, detections, self._extras.categories)
            logger.info(f'VisDroneMetric: wrote {len(self._extras.names)} result files to {folder}')
        if self.format_only:
            return OrderedDict()
        result = self._evaluate_toolkit(detections, annotations)
        logger.info(toolkit_summary(result))
        metrics = OrderedDict(visdrone_values(result))
        if self.classwise:
            logger.info(toolkit_class_table(result, annotations.classes))
            metrics.update(zip((f'{name}_AP' for name in annotations.classes), result.class_ap().tolist()))
        metrics.update(dropped_gt=result.dropped_gt, dropped_det=result.dropped_det)
        metrics.update({f'{_COCO}/{name}': value for name, value in coco.items()})
        return metrics

    def _evaluate_toolkit(self, detections: Detections, annotations: CocoAnnotations) -> VisDroneResult:
        gt, extras = annotations.gt, self._extras
        counted = np.ones(len(gt), dtype=bool) if extras.counted is None else extras.counted
        truth = VisDroneTruth(
            np.concatenate([gt.image, extras.uncounted.image]),
            np.concatenate([np.where(gt.crowd, IGNORED_REGION, gt.label), extras.uncounted.label]),
            np.concatenate([gt.bbox, extras.uncounted.bbox]),
            counted=np.concatenate([counted, extras.uncounted.counted]),
        )
        found = detections[np.lexsort((-detections.score, detections.image))]  # stable
        sizes_wh = self._sizes_wh(annotations, truth)
        return evaluate_visdrone(truth, found, sizes_wh=sizes_wh, num_classes=len(annotations.classes))

    def _sizes_wh(self, annotations: CocoAnnotations, truth: VisDroneTruth) -> np.ndarray:
        """(I, 2) sizes. With a folder, an image without predictions has no known size: it ends where its annotations do."""
        sizes_wh = np.array([(w or 0, h or 0) for h, w in annotations.image_sizes], dtype=np.int64).reshape(-1, 2)
        if self._from_folder:
            ends = np.zeros((len(sizes_wh), 2))
            np.maximum.at(ends, truth.image, np.ceil(truth.bbox[:, :2] + truth.bbox[:, 2:]))
            sizes_wh = np.where(sizes_wh > 0, sizes_wh, np.maximum(ends, 1).astype(np.int64))
        return sizes_wh


def _image_name(sample: dict) -> str:
    if not sample.get('img_path'):
        message = "has no 'img_path', which finds its annotation file; PackDetInputs must keep it in meta_keys"
        raise DataError(message, record=f'image {sample.get("img_id")!r}')
    return without_image_suffix(Path(sample['img_path']).name)


def _read_folders(folders: Sequence, classes: Sequence[str] | None) -> tuple[CocoAnnotations, _Extras]:
    """Folders of VisDrone ``.txt`` files as COCO's ground truth, the rows of the classes, and the other rows."""
    classes = VISDRONE_CLASSES if classes is None else tuple(classes)
    folder = ', '.join(map(str, folders))
    label_of = match_classes(classes, VISDRONE_CLASSES, folder)
    files: dict[str, Path] = {}
    for each in folders:
        found = text_files(each, 'annotation', at_least_one=True)
        if shared := files.keys() & found.keys():
            message = 'another folder has an annotation file of this name; evaluate the folders one by one'
            raise DataError(message, file=each, received=f'{min(shared)}.txt')
        files |= found
    image, rows = stack_rows([read_visdrone_rows(path) for path in files.values()])
    # by category: ignored region, the ten classes, others
    labels = np.array([IGNORED_REGION, *np.where(label_of < 0, len(classes), label_of), len(classes)])
    label = labels[rows[:, 5].astype(np.int64)]
    categories = [VISDRONE_CLASSES.index(name) + 1 for name in classes]
    own = (label >= 0) & (label < len(classes))
    gt, rest = GroundTruth(image, label, rows[:, :4])[own], VisDroneTruth(image, label, rows[:, :4])[~own]
    annotations = CocoAnnotations(
        folder, [*files], [(None, None)] * len(files), classes, category_ids=[*categories], gt=gt
    )
    return annotations, _Extras([*files], rest, rows[own, 4] != 0, categories)


def _read_extras(ann_file: AnnFile, annotations: CocoAnnotations, backend_args: dict | None) -> _Extras:
    """The lists ``ignored_regions`` and ``others`` of a JSON file made by ``VisDrone2COCO.py``; other files have none."""
    table = read_coco(ann_file, backend_args)
    names = image_names(table)
    position_of = np.array([annotations.index_of(image_id) for image_id in table.image_ids], dtype=np.int64)
    regions, others = table.ignored_regions, table.others
    image = np.concatenate([regions.image, others.image])
    label = np.repeat([IGNORED_REGION, len(annotations.classes)], [len(regions.image), len(others.image)])
    return _Extras(
        [names[image_id] for image_id in annotations.image_ids],
        VisDroneTruth(position_of[image], label, np.concatenate([regions.bbox, others.bbox])),
        categories=toolkit_categories(annotations),
    )


def toolkit_categories(annotations: CocoAnnotations) -> list[int]:
    """Category number of each label in the toolkit's result files: ids from 0, as the converters write them, become 1..K.

    Raises:
        DataError: an id is a text.
    """
    ids = annotations.category_ids
    if wrong := [category_id for category_id in ids if isinstance(category_id, str)]:
        message = 'result files need whole numbers'
        raise DataError(message, file=annotations.source, field='category id', received=wrong[0])
    return [int(category_id) + (0 in ids) for category_id in ids]


def image_names(table: CocoFile, folders: bool = False) -> dict[ImageId, str]:
    """Image id -> name of its result file: the file name without suffix, or the id where there is no file name.

    The folders of the file names are kept if ``folders`` is set, or two images would have the same name without them (frames of sequences). Images of several
    annotation files that still have one name get the number of their file, from 0, as a folder.

    Raises:
        DataError: two images of one file have one name, or a name leads to another folder.
    """
    paths = {i: Path(name or str(i)) for i, name in zip(table.image_ids, table.file_names)}
    names = {key: without_image_suffix(path.name) for key, path in paths.items()}
    if folders or len(set(names.values())) < len(names):
        names = {key: without_image_suffix(path.as_posix()).lstrip('/') for key, path in paths.items()}
    if len(set(names.values())) < len(names) and table.images_of_files:
        files = np.repeat(np.arange(len(table.images_of_files)), table.images_of_files).tolist()
        names = {key: f'{file}/{names[key]}' for key, file in zip(names, files)}
    if len(set(names.values())) < len(names) or any('..' in Path(name).parts for name in names.values()):
        raise DataError('the file names must differ, and lead to no other folder', file=table.source, field='file_name')
    return names
