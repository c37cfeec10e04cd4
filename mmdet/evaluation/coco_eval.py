"""COCO box evaluation on plain arrays: one function, :func:`evaluate_boxes`, with a fast evaluator behind it.

The protocol is that of pycocotools (https://github.com/cocodataset/cocoapi, ``COCOeval``), which needs about 40 s for a
VisDrone validation. ``hotcoco`` does the work where it is installed: its precision, recall and score arrays are
bit-identical to those of pycocotools, in a seventieth of the CPU time (``benchmarks/coco_eval.py`` measures both,
``tests/evaluation/test_coco_eval.py`` compares them on random cases). pycocotools itself is used otherwise.

Letters: N boxes, I images, K classes, T IoU thresholds, R = 101 recall points, A area ranges, M limits of detections
per image and class.
"""

import contextlib
import importlib.util
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ConfigError
from ..formats.tables import BoxTable, Detections, GroundTruth

# Bounds in square pixels, both ends included (COCO: small < 32^2, large > 96^2).
COCO_AREA_RANGES = {'all': (0, 1e10), 'small': (0, 32**2), 'medium': (32**2, 96**2), 'large': (96**2, 1e10)}

# The expression of pycocotools: that of arange or n / 20 differs in the last bit, and boxes with integer sides do reach
# an IoU of exactly 3/4.
COCO_IOU_THRS = np.linspace(0.5, 0.95, 10)


@dataclass
class CocoResult:
    """Results of an evaluation; -1 marks entries without ground truth, as in pycocotools.

    Attributes:
        precision: (T, R, K, A, M) float64, precision at each recall point, made monotone from the right.
        recall: (T, K, A, M) float64, the highest recall reached.
        scores: (T, R, K, A, M) float64, the score at which each recall point is reached.
        iou_thrs: (T,) float64.
        areas: A names of area ranges.
        max_dets: M limits, ascending.
        gt_count: (K,) int64, ground-truth boxes of each class, without crowds.
    """

    precision: np.ndarray
    recall: np.ndarray
    scores: np.ndarray
    iou_thrs: np.ndarray
    areas: tuple[str, ...]
    max_dets: tuple[int, ...]
    gt_count: np.ndarray

    def ap(
        self, iou_thr: float | None = None, area: str = 'all', max_dets: int | None = None, label: int | None = None
    ) -> float:
        """Average precision: the mean over recall points, thresholds and classes that have ground truth.

        Args:
            iou_thr: one IoU threshold; None means all of them.
            area: name of an area range.
            max_dets: one of ``self.max_dets``; None means the largest.
            label: one class index; None means all classes.

        Returns:
            AP in 0..1, or -1 where no class has ground truth in the range or ``iou_thr`` was not evaluated.
        """
        return self._mean(self.precision.transpose(0, 2, 3, 4, 1), iou_thr, area, max_dets, label)  # (T, K, A, M, R)

    def ar(
        self, iou_thr: float | None = None, area: str = 'all', max_dets: int | None = None, label: int | None = None
    ) -> float:
        """Average recall, the mean of the highest recalls; arguments and result as for :meth:`ap`."""
        return self._mean(self.recall[..., None], iou_thr, area, max_dets, label)  # (T, K, A, M, 1)

    def _mean(
        self, values: np.ndarray, iou_thr: float | None, area: str, max_dets: int | None, label: int | None
    ) -> float:
        """Mean of the entries of (T, K, A, M, any) that are not -1."""
        if area not in self.areas:
            raise ConfigError(f'must be one of {list(self.areas)}', field='area', received=area)
        limit = self.max_dets[-1] if max_dets is None else max_dets
        if limit not in self.max_dets:
            message = f'must be one of the evaluated limits {list(self.max_dets)}'
            raise ConfigError(message, field='max_dets', received=limit)
        values = values[:, :, self.areas.index(area), self.max_dets.index(limit)]  # (T, K, any)
        if iou_thr is not None:
            values = values[np.isclose(self.iou_thrs, iou_thr, rtol=0, atol=1e-9)]
        if label is not None:
            values = values[:, label]
        values = values[values > -1]
        # pycocotools adds 2^-52 to each denominator, so that perfect boxes get a precision of 0.9999999999999998;
        # rounding to twelve digits makes it 1, and keeps every digit that anyone compares.
        return round(float(values.mean()), 12) if values.size else -1.0


def evaluate_boxes(
    gt: GroundTruth,
    dt: Detections,
    *,
    num_images: int,
    num_classes: int,
    iou_thrs: Sequence[float] | None = None,
    max_dets: Sequence[int] = (1, 10, 100),
    area_ranges: Mapping[str, tuple[float, float]] = COCO_AREA_RANGES,
    class_agnostic: bool = False,
    backend: str = 'auto',
) -> CocoResult:
    """Match detections to ground truth as pycocotools does and return precision and recall.

    Detections are taken by descending score (stable), up to ``max_dets`` for each image *and class*; each takes the free
    ground-truth box of highest IoU at or above the threshold. Boxes outside the area range and crowds are ignored, and
    so are detections matched to them.

    Args:
        gt: ground truth of all images.
        dt: detections of all images.
        num_images: I.
        num_classes: K.
        iou_thrs: (T,) IoU thresholds; None means 0.50, 0.55, ... 0.95.
        max_dets: limits of detections for each image and class; the result has them ascending and without repeats.
        area_ranges: name -> (lowest, highest) area in square pixels, both included.
        class_agnostic: take all boxes as one class (proposal recall); the result then has K = 1.
        backend: 'hotcoco', 'pycocotools', or 'auto' for the first that is installed.

    Raises:
        DataError: image or class indices out of range, or values that are not finite.
        ConfigError: arguments out of range, or no evaluator installed.
    """
    thrs, limits = check_settings(COCO_IOU_THRS if iou_thrs is None else iou_thrs, max_dets, num_classes)
    gt.check('ground truth', num_images, num_classes)
    dt.check('detections', num_images, num_classes)
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        evaluation = _evaluator(backend)(gt, dt, num_images, num_classes)
        params = evaluation.params
        params.iouThrs, params.maxDets, params.useCats = thrs, list(limits), int(not class_agnostic)
        params.areaRng, params.areaRngLbl = [list(bounds) for bounds in area_ranges.values()], list(area_ranges)
        evaluation.evaluate()
        evaluation.accumulate()
    names = ('precision', 'recall', 'scores')
    precision, recall, scores = (np.asarray(evaluation.eval[name], np.float64) for name in names)
    counted = np.bincount(gt.label[~gt.crowd], minlength=num_classes)
    if class_agnostic:
        counted = counted.sum(keepdims=True)
    return CocoResult(precision, recall, scores, thrs, tuple(area_ranges), limits, counted)


def check_settings(
    iou_thrs: ArrayLike, max_dets: Sequence[int], num_classes: int
) -> tuple[np.ndarray, tuple[int, ...]]:
    """The thresholds as (T,) float64, and the limits ascending without repeats.

    Raises:
        ConfigError: one of them is out of range.
    """
    thrs = np.asarray(iou_thrs, dtype=np.float64).reshape(-1)
    if not len(thrs) or not ((thrs > 0) & (thrs <= 1)).all():
        raise ConfigError('must be one or more numbers in (0, 1]', field='iou_thrs', received=thrs.tolist())
    limits = tuple(sorted({int(limit) for limit in max_dets}))
    if not limits or limits[0] < 1:
        raise ConfigError('must be one or more integers > 0', field='max_dets', received=limits)
    if num_classes < 1:
        raise ConfigError('must be > 0', field='num_classes', received=num_classes)
    return thrs, limits


def _evaluator(backend: str) -> Callable[[GroundTruth, Detections, int, int], Any]:
    """What makes the object that evaluates; both kinds have the interface of pycocotools' ``COCOeval``."""
    makers = {'hotcoco': _hotcoco, 'pycocotools': _pycocotools}
    if backend not in ('auto', *makers):
        raise ConfigError(f"must be 'auto' or one of {list(makers)}", field='backend', received=backend)
    wanted = list(makers) if backend == 'auto' else [backend]
    for name in wanted:
        if importlib.util.find_spec(name) is not None:
            return makers[name]
    message = f'COCO evaluation needs one of {wanted}: pip install {wanted[0]}'
    raise ConfigError(message, field='backend', received=backend)


# Ids start at 1 in both: pycocotools takes a match with annotation id 0 for no match.
def _hotcoco(gt: GroundTruth, dt: Detections, num_images: int, num_classes: int) -> Any:
    import hotcoco  # optional: there is no wheel for every platform

    images = [{'id': i + 1} for i in range(num_images)]
    categories = [{'id': k + 1, 'name': str(k)} for k in range(num_classes)]
    columns: dict[str, Any] = dict(ids=np.arange(1, len(gt) + 1), area=gt.area, iscrowd=gt.crowd.astype(np.int64))
    truth = hotcoco.COCO.from_arrays(images, categories, gt.image + 1, gt.label + 1, gt.bbox, **columns)
    found = np.column_stack([dt.image + 1, dt.bbox, dt.score, dt.label + 1]).astype(np.float64)  # (N, 7)
    return hotcoco.COCOeval(truth, truth.load_res(found), 'bbox')


def _pycocotools(gt: GroundTruth, dt: Detections, num_images: int, num_classes: int) -> Any:
    from pycocotools.coco import COCO  # heavy (matplotlib): only where hotcoco is missing
    from pycocotools.cocoeval import COCOeval

    images = [{'id': i + 1} for i in range(num_images)]
    categories = [{'id': k + 1} for k in range(num_classes)]

    def indexed(table: BoxTable, **columns: np.ndarray) -> COCO:
        """A COCO object of the table's rows, without the copies that loading from a file makes."""
        shared = {'image_id': table.image + 1, 'category_id': table.label + 1, 'bbox': table.bbox, **columns}
        lists = [values.tolist() for values in shared.values()]
        rows = [dict(zip(shared, row), id=i) for i, row in enumerate(zip(*lists), start=1)]
        coco = COCO()
        coco.dataset = {'images': images, 'categories': categories, 'annotations': rows}
        coco.createIndex()
        return coco

    truth = indexed(gt, area=gt.area, iscrowd=gt.crowd.astype(np.int64))
    area = dt.bbox[:, 2] * dt.bbox[:, 3]
    found = indexed(dt, area=area, iscrowd=np.zeros(len(dt), dtype=np.int64), score=dt.score)
    return COCOeval(truth, found, 'bbox')
