"""CocoMetric: COCO average precision and recall of boxes during validation and test."""

import dataclasses
import functools
import sys
import tempfile
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.fileio import get_local_path
from mmengine.logging import MMLogger

from mmdet.utils.checks import is_finite, is_int

from ..errors import ConfigError, DataError
from ..formats.coco import (
    AnnFile,
    CocoAnnotations,
    ImageId,
    annotations_of,
    detections_from_rows,
    file_list,
    ground_truth_json,
    read_coco,
    result_rows,
)
from ..formats.json_file import read_json
from ..formats.tables import Detections, GroundTruth
from ..registry import METRICS
from ..utils.files import write_json
from ..utils.outputs import refuse_closed_folder, refuse_inputs
from .coco_eval import COCO_IOU_THRS, CocoResult, evaluate_boxes
from .coco_report import AP_ITEMS, ar_items, class_table, format_value, item_value, summary
from .dataset_checks import check_images, check_truth, is_annotation_file_of
from .predictions import (
    ImageRecord,
    annotations_from_records,
    detections_from_records,
    keep_first,
    read_sample,
    with_distinct_ids,
)

_METRICS = ('bbox', 'proposal', 'proposal_fast')


class UnknownMetricError(ConfigError, KeyError):
    """A metric or metric item that does not exist. Also a KeyError, as callers of mmdetection expect."""

    __str__ = Exception.__str__  # KeyError would show the repr of the message


class MissingOutputError(ConfigError, AssertionError):
    """``format_only`` without a place to write to. Also an AssertionError, as callers of mmdetection expect."""


@METRICS.register_module()
class CocoMetric(BaseMetric):
    """COCO AP and AR of boxes, equal to pycocotools to the last digit (docs/evaluation.md).

    All six AP values (``mAP``, ``mAP_50``, ``mAP_75``, ``mAP_s``, ``mAP_m``, ``mAP_l``) and the table of classes are
    computed at one limit of detections per image and class, ``max_dets``, which every printed line names. (pycocotools
    prints the first at 100 whatever is set, the others at the last limit.) Label i is the category *named*
    ``classes[i]``.

    Args:
        ann_file: COCO annotation file, or a list of them, read as the data sets read a list; None collects the ground truth from the
            data samples, as :func:`~mmdet.evaluation.predictions.read_sample` describes.
        metric: 'bbox', 'proposal' (average recall, all classes as one), 'proposal_fast' (the same without the recalls
            by size), or a list of them.
        classwise: also print a table of classes and return ``<class>_precision``.
        proposal_nums: limits of the average recalls; those by size use the last one.
        iou_thrs: IoU thresholds; None means 0.50, 0.55, ... 0.95.
        metric_items: names to return; None means the six APs for 'bbox', all recalls for proposals.
        format_only: write the results and return {}; needs ``outfile_prefix``.
        outfile_prefix: write ``<prefix>.bbox.json`` (by descending score) and, without ``ann_file``,
            ``<prefix>.gt.json``. None writes nothing.
        file_client_args: older name of ``backend_args``.
        backend_args: arguments of an mmengine file backend, to read ``ann_file``.
        collect_device: 'cpu': processes exchange their results through files in ``collect_dir``; otherwise, and without that
            folder, through the process group. (mmengine's own folder would lie in the current one and survive a killed run.)
        prefix: first part of the returned keys; None means 'coco'.
        sort_categories: accepted, without effect: labels are matched to categories by name.
        use_mp_eval: accepted, without effect: the evaluator needs no processes.
        max_dets: limit of all AP values. None means COCO's 100 if ``proposal_nums`` contains it, otherwise the largest
            of ``proposal_nums``.
        count_ignored: boxes of the annotation file with ``ignore`` 1 count as objects, as in pycocotools. By default they
            are neither found nor missed, just as the datasets do not train on them.
        collect_dir: shared folder for ``collect_device='cpu'``.

    Raises:
        ConfigError: arguments out of range, an output that is ``ann_file``, or classes that the annotation file does not have.
        DataError: broken files, or one without ``annotations`` that is not for ``format_only``; predictions that are not finite, have unknown labels, or belong to unknown images.
    """

    default_prefix: str | None = 'coco'
    only_predicted = (
        False  # set for a pass over a part of the data: objects of images without predictions do not count as missed
    )

    def __init__(
        self,
        ann_file: AnnFile | None = None,
        metric: str | Sequence[str] = 'bbox',
        classwise: bool = False,
        proposal_nums: Sequence[int] = (100, 300, 1000),
        iou_thrs: float | Sequence[float] | None = None,
        metric_items: Sequence[str] | None = None,
        format_only: bool = False,
        outfile_prefix: str | None = None,
        file_client_args: dict | None = None,
        backend_args: dict | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        sort_categories: bool = False,
        use_mp_eval: bool = False,
        *,
        max_dets: int | None = None,
        count_ignored: bool = False,
        collect_dir: str | None = None,
    ):
        super().__init__(
            collect_device=collect_device if collect_dir else 'gpu', prefix=prefix, collect_dir=collect_dir
        )
        self.ann_file = ann_file
        self.count_ignored = count_ignored
        if not metric or not isinstance(metric, str | Sequence):
            raise ConfigError(
                f'must be one of {", ".join(_METRICS)}, or a list of them', field='metric', received=metric
            )
        self.metrics = [metric] if isinstance(metric, str) else list(metric)
        for name in self.metrics:
            if name not in _METRICS:
                raise UnknownMetricError(f'metric should be one of {", ".join(map(repr, _METRICS))}, but got {name}.')
        self.classwise = classwise
        self.proposal_nums = _limits(proposal_nums, 'proposal_nums')
        if max_dets is None:
            max_dets = 100 if 100 in self.proposal_nums else max(self.proposal_nums)
        self.max_dets = _limits([max_dets], 'max_dets')[0]
        if iou_thrs is None:
            iou_thrs = COCO_IOU_THRS.tolist()
        self.iou_thrs = [iou_thrs] if isinstance(iou_thrs, float) else np.asarray(iou_thrs).flatten().tolist()
        if not self.iou_thrs or not all(is_finite(each) and 0 <= each <= 1 for each in self.iou_thrs):
            raise ConfigError('must be numbers between 0 and 1', field='iou_thrs', received=iou_thrs)
        self.metric_items = metric_items
        allowed = [*(AP_ITEMS if 'bbox' in self.metrics else ()), *ar_items(self.proposal_nums)]
        for item in metric_items or ():
            if item not in allowed:
                raise UnknownMetricError(f'metric item "{item}" is not supported. Allowed: {allowed}')
        self.format_only = format_only
        if format_only and outfile_prefix is None:
            message = 'must be given with format_only=True, which only writes files'
            raise MissingOutputError(message, field='outfile_prefix')
        self.outfile_prefix = outfile_prefix
        if outfile_prefix is not None:
            written = [f'{outfile_prefix}{ending}' for ending in ('.bbox.json', '.gt.json', '_txt')]
            refuse_inputs(written, [] if ann_file is None else file_list(ann_file), field='outfile_prefix')
            refuse_closed_folder(written[0], field='outfile_prefix')
        if backend_args or file_client_args is None or file_client_args.get('backend') == 'disk':
            self.backend_args = backend_args or None
        else:
            self.backend_args = dict(file_client_args)
        if use_mp_eval:
            logger = MMLogger.get_current_instance()
            logger.info('CocoMetric: use_mp_eval has no effect; the evaluator needs no processes')
        self._annotations: CocoAnnotations | None = None

    @property
    def dataset_meta(self) -> dict | None:
        """Meta information of the dataset.

        The runner sets it when it builds its loops, on every process and before the first training step. The annotation file is read and
        its classes are checked then, so that a wrong file does not end the run at the first validation.
        """
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, dataset_meta: dict | None) -> None:
        self._dataset_meta = dataset_meta
        self._annotations = None
        for name in ('_coco_api', 'cat_ids', 'img_ids'):
            self.__dict__.pop(name, None)
        if self.ann_file is not None and self.classes is not None:
            self.load_annotations()

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Class names of the dataset, or None where it has none."""
        meta = self.dataset_meta or {}
        return meta.get('classes', meta.get('CLASSES'))

    def check_datasets(self, parts: Sequence[Any]) -> list[str]:
        """Compare the annotation file with the images of the data sets whose predictions will come, see :mod:`.dataset_checks`."""
        if self.ann_file is None:
            if not self.format_only:
                check_truth(parts)
            return []
        annotations = self.load_annotations()
        if len(parts) == 1 and is_annotation_file_of(parts[0], self.ann_file):
            return []
        return check_images(parts, annotations, self._id_of_info, self._file_names())

    def _id_of_info(self, info: dict) -> Any:
        """The id by which the annotation file knows the image of a record of a data set."""
        return info.get('img_id')

    def _file_names(self) -> dict[ImageId, str]:
        table = read_coco(self.ann_file, self.backend_args)  # type: ignore[arg-type]
        return dict(zip(table.image_ids, table.file_names))

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Check and keep the ``data_samples`` of a batch, see :func:`~mmdet.evaluation.predictions.read_sample`."""
        if self.ann_file is not None:
            self.load_annotations()
        num_classes = None if self.classes is None else len(self.classes)
        for sample in data_samples:
            # Result files alone need no ground truth: that of a test set may be kept back.
            truth = sample.get('gt_instances')
            given = 'instances' in sample or (truth is not None and 'bboxes' in truth)
            record = read_sample(sample, num_classes, with_gt=self.ann_file is None and (given or not self.format_only))
            if self._annotations is not None:
                self._annotations.index_of(record.image_id)
            self.results.append(record)

    def evaluate(self, size: int) -> dict[str, float]:
        """Gather the results of all processes and evaluate; see ``BaseMetric``.

        ``size`` is not used: mmengine would cut the gathered list there, which drops real images when processes hold
        shares of unequal length. Repeated images are recognised by their id instead.
        """
        return super().evaluate(sys.maxsize)

    def named(self, metrics: dict[str, float]) -> dict[str, float]:
        """Metrics under the names that :meth:`evaluate` gives them."""
        return {f'{self.prefix}/{name}': value for name, value in metrics.items()}

    def compute_metrics(self, results: list[ImageRecord]) -> dict[str, float]:
        """Compute the metrics of all records and write the result files.

        Returns:
            name, without the prefix -> value; -1 where there is no ground truth.
        """
        logger = MMLogger.get_current_instance()
        records = [each if isinstance(each, ImageRecord) else ImageRecord.from_pair(*each) for each in results]
        records = keep_first(records, lambda record: record.key)
        if self.ann_file is None:
            records = with_distinct_ids(records)
        if len(records) < len(results):
            logger.info(f'CocoMetric: {len(results) - len(records)} repeated images left out')
        annotations = self.load_annotations(records)
        missing = len(annotations.image_ids) - len(records)
        if missing > 0 and self.only_predicted:
            seen = [annotations.index_of(record.image_id) for record in records]
            gt = annotations.gt
            others = ~np.isin(gt.image, seen)  # as crowds, which are not missed
            annotations = dataclasses.replace(
                annotations, gt=GroundTruth(gt.image, gt.label, gt.bbox, gt.area, gt.crowd | others)
            )
        elif missing > 0:
            logger.warning(
                f'CocoMetric: there are no predictions for {missing} of the {len(annotations.image_ids)} images of '
                f'{annotations.source}; their objects count as missed'
            )
        if not self._writes_itself:
            return self.evaluate_detections(detections_from_records(records, annotations), annotations)
        with tempfile.TemporaryDirectory() as folder:
            files = self.results2json([pred for _, pred in records], self.outfile_prefix or f'{folder}/results')
            path = files.get('bbox') or files['proposal']
            detections, _ = detections_from_rows(read_json(path, top=list), annotations, path)
        return self.evaluate_detections(detections, annotations)

    @property
    def _writes_itself(self) -> bool:
        """Whether a subclass replaces :meth:`results2json`, whose file is evaluated then."""
        return type(self).results2json is not CocoMetric.results2json

    # What subclasses of mmdetection's metric read, set, call and override. ``results`` of compute_metrics are records that can be unpacked
    # into a dict of ground truth and one of predictions; where a subclass collects such pairs itself, they are taken too. If it overrides
    # results2json, its file is evaluated.

    @functools.cached_property
    def _coco_api(self) -> Any:
        """The annotation file as a :class:`~mmdet.formats.coco_api.COCO`; None without one."""
        if self.ann_file is None:
            return None
        from ..formats.coco_api import COCO

        with redirect_stdout(StringIO()):  # pycocotools prints its progress
            if len(file_list(self.ann_file)) > 1:
                api = COCO()
                api.dataset = ground_truth_json(self.load_annotations())
                api.createIndex()
                return api
            with get_local_path(file_list(self.ann_file)[0], backend_args=self.backend_args) as path:
                return COCO(path)

    @functools.cached_property
    def cat_ids(self) -> list[ImageId] | None:
        """Category ids by label; None without an annotation file."""
        return None if self.ann_file is None else list(self.load_annotations().category_ids)

    @functools.cached_property
    def img_ids(self) -> list[ImageId] | None:
        """Ids of the images; None without an annotation file."""
        return None if self.ann_file is None else list(self.load_annotations().image_ids)

    def xyxy2xywh(self, bbox: np.ndarray) -> list[float]:
        """[x1, y1, x2, y2] -> [x, y, width, height] as plain numbers."""
        x1, y1, x2, y2 = np.asarray(bbox).tolist()
        return [x1, y1, x2 - x1, y2 - y1]

    def results2json(self, results: Sequence[dict], outfile_prefix: str) -> dict[str, str]:
        """Write predictions (``img_id``, ``bboxes`` (n, 4) xyxy, ``scores`` (n,), ``labels`` (n,) per image) as COCO result rows.

        Returns ``dict(bbox=path, proposal=path)`` of the file ``<outfile_prefix>.bbox.json``.
        """
        records = [ImageRecord.from_pair({}, result) for result in results]
        annotations = self.load_annotations(records)
        path = f'{outfile_prefix}.bbox.json'
        write_json(path, result_rows(detections_from_records(records, annotations), annotations))
        return dict(bbox=path, proposal=path)

    def gt_to_coco_json(self, gt_dicts: Sequence[dict], outfile_prefix: str) -> str:
        """Write ground truth (``img_id``, ``width``, ``height``, ``anns`` with ``bbox`` xyxy, ``bbox_label``, ``ignore_flag``) as a COCO file.

        Returns its path, ``<outfile_prefix>.gt.json``.
        """
        empty = dict(bboxes=np.zeros((0, 4)), scores=np.zeros(0), labels=np.zeros(0))
        records = [ImageRecord.from_pair(gt, {'img_id': gt['img_id'], **empty}) for gt in gt_dicts]
        path = f'{outfile_prefix}.gt.json'
        write_json(path, ground_truth_json(annotations_from_records(records, self.classes or ())))
        return path

    def fast_eval_recall(
        self, results: Sequence[dict], proposal_nums: Sequence[int], iou_thrs: Sequence[float], logger: Any = None
    ) -> np.ndarray:
        """Average recall of predictions (as for :meth:`results2json`), all classes as one, at each limit of ``proposal_nums``: (P,)."""
        records = [ImageRecord.from_pair({}, result) for result in results]
        annotations = self.load_annotations(records)
        result = evaluate_boxes(
            annotations.gt, detections_from_records(records, annotations), num_images=len(annotations.image_ids),
            num_classes=len(annotations.classes), iou_thrs=list(iou_thrs), max_dets=list(proposal_nums), class_agnostic=True,
        )  # fmt: skip
        return np.array([item_value(result, f'AR@{limit}', limit) for limit in proposal_nums])

    def load_annotations(self, records: Sequence[ImageRecord] = ()) -> CocoAnnotations:
        """The ground truth: of the annotation file (read once), or of the records."""
        if self.ann_file is None:
            if self.classes is None:
                message = 'without ann_file, the metric needs the class names of the dataset'
                raise ConfigError(message, field='dataset_meta.classes')
            return annotations_from_records(records, self.classes)
        if self._annotations is None:
            self._annotations = self._load_annotations(self.ann_file)
        return self._annotations

    def _load_annotations(self, ann_file: AnnFile) -> CocoAnnotations:
        table = read_coco(ann_file, self.backend_args)
        if not (table.annotated or self.format_only):
            message = 'the file has no annotations to evaluate against; format_only=True with outfile_prefix writes the results alone'
            raise DataError(message, file=table.source, field='annotations')
        return annotations_of(table, self.classes, count_ignored=self.count_ignored)

    def evaluate_detections(self, detections: Detections, annotations: CocoAnnotations) -> dict[str, float]:
        """Metrics of detections, however they were obtained; writes the files and the log."""
        logger = MMLogger.get_current_instance()
        if self.outfile_prefix is not None and not self._writes_itself:
            self._write(detections, annotations)
        if self.format_only:
            return OrderedDict()
        if not len(detections):
            logger.warning('CocoMetric: there are no detections; every AP and AR is 0 where there is ground truth')
        if not np.count_nonzero(~annotations.gt.crowd):
            logger.warning(f'CocoMetric: {annotations.source} has no object to be found; every AP and AR is -1')

        @functools.cache
        def evaluate(class_agnostic: bool) -> CocoResult:
            return evaluate_boxes(
                annotations.gt, detections, num_images=len(annotations.image_ids), num_classes=len(annotations.classes),
                iou_thrs=self.iou_thrs, max_dets=[*self.proposal_nums, self.max_dets], class_agnostic=class_agnostic,
            )  # fmt: skip

        metrics = OrderedDict()
        for metric in self.metrics:
            if metric == 'bbox':
                metrics.update(self._bbox_metrics(evaluate(False), annotations.classes))
            else:
                metrics.update(self._proposal_metrics(evaluate(True), metric))
        return metrics

    def _bbox_metrics(self, result: CocoResult, classes: Sequence[str]) -> dict[str, float]:
        logger = MMLogger.get_current_instance()
        logger.info(f'COCO bbox, AP at maxDets={self.max_dets}\n' + summary(result, self.max_dets, self.proposal_nums))
        metrics = {f'bbox_{item}': item_value(result, item, self.max_dets) for item in self.metric_items or AP_ITEMS}
        if self.classwise:
            logger.info(class_table(result, classes, self.max_dets))
            for label, name in enumerate(classes):
                metrics[f'{name}_precision'] = result.ap(None, 'all', self.max_dets, label)
        headline = ' '.join(format_value(item_value(result, item, self.max_dets)) for item in AP_ITEMS)
        logger.info(f'bbox_mAP_copypaste: {headline}')
        return metrics

    def _proposal_metrics(self, result: CocoResult, metric: str) -> dict[str, float]:
        text = summary(result, self.max_dets, self.proposal_nums, with_ap=False)
        MMLogger.get_current_instance().info(f'COCO {metric}, all classes as one\n{text}')
        items = ar_items(self.proposal_nums)
        if metric == 'proposal_fast':
            items = items[: len(self.proposal_nums)]
        wanted = items if self.metric_items is None else [item for item in items if item in self.metric_items]
        return {item: item_value(result, item, self.max_dets) for item in wanted}

    def _write(self, detections: Detections, annotations: CocoAnnotations) -> None:
        paths = [f'{self.outfile_prefix}.bbox.json']
        write_json(paths[0], result_rows(detections, annotations))
        if self.ann_file is None:
            paths.append(f'{self.outfile_prefix}.gt.json')
            write_json(paths[1], ground_truth_json(annotations))
        MMLogger.get_current_instance().info(f'CocoMetric: wrote {" and ".join(paths)}')


def _limits(values: Sequence[int], name: str) -> tuple[int, ...]:
    limits = tuple(values) if isinstance(values, Sequence | np.ndarray) else ()
    if not limits or not all(is_int(value, 1) for value in limits):
        raise ConfigError('must be integers > 0', field=name, received=values)
    return limits
