"""Where average precision is lost: the seven nested precision-recall curves of the COCO analysis.

After Hoiem et al., "Diagnosing Error in Object Detectors" (ECCV 2012), in COCO's form (https://cocodataset.org/#detection-eval).
For each class, each curve forgives one more kind of mistake than the one before:

========  ==============================================================================================
C75, C50  nothing: as evaluated, at IoU 0.75 and 0.5
Loc       localisation: IoU 0.1 is enough
Sim       also detections on an object of another class of the same supercategory, which are left out
Oth       also detections on an object of any other class
BG        also all other false detections: precision 1 up to the highest recall
FN        also missed objects: precision 1 everywhere
========  ==============================================================================================

A detection is "on" an object by the evaluator's rule for crowd regions: at least 0.1 of its area is inside the object.
The area under a curve is its average precision; the area between two neighbouring curves is the cost of that mistake.

Letters: S stages, R = 101 recall points, K classes, A area ranges.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import ConfigError, DataError
from ..evaluation.coco_eval import evaluate_boxes
from ..evaluation.coco_report import format_table, format_value
from ..formats.coco import CocoAnnotations, detections_from_rows, load_coco_annotations, read_coco
from ..formats.predictions import read_results
from ..formats.tables import Detections, GroundTruth

_LOC_IOU = 0.1
DEFAULT_AREAS = (32**2, 96**2, 1e10)
ALL_CLASSES = 'allclass'


@dataclass
class ErrorAnalysis:
    """Curves of all classes.

    Attributes:
        stages: S names, C75 to FN; Sim is missing where the annotations have no supercategories.
        classes: K names.
        areas: A names of area ranges, 'all' first.
        precision: (S, R, K, A) float64; NaN where a class has no ground truth in the range.
        gt_count: (K,) int64, number of objects of each class, without crowds.
    """

    stages: tuple[str, ...]
    classes: tuple[str, ...]
    areas: tuple[str, ...]
    precision: np.ndarray
    gt_count: np.ndarray

    def curves(self, class_name: str = ALL_CLASSES, area: str = 'all') -> np.ndarray | None:
        """(S, R) precision at recall 0, 0.01, ... 1; ``'allclass'`` is the mean of the classes. None without ground truth."""
        found = self.precision[..., self.areas.index(area)]
        if class_name != ALL_CLASSES:
            found = found[..., [self.classes.index(class_name)]]
        found = found[..., ~np.isnan(found[0, 0])]
        return found.mean(axis=-1) if found.shape[-1] else None

    def values(self, class_name: str = ALL_CLASSES, area: str = 'all') -> dict[str, float] | None:
        """Area under each curve: stage -> 0..1; None without ground truth."""
        curves = self.curves(class_name, area)
        if curves is None:
            return None
        # mean() of 101 ones may be a rounding step off 1
        return {stage: round(float(value), 12) for stage, value in zip(self.stages, curves.mean(axis=1))}

    def table(self, area: str = 'all') -> str:
        """A text table of the areas under the curves: a row for each class and one for their mean."""
        rows = [['class', *self.stages, 'objects']]
        for name in (*self.classes, ALL_CLASSES):
            values = self.values(name, area) or dict.fromkeys(self.stages, -1.0)
            count = self.gt_count.sum() if name == ALL_CLASSES else self.gt_count[self.classes.index(name)]
            rows.append([name, *(format_value(values[stage]) for stage in self.stages), str(count)])
        return format_table(rows)

    def as_dict(self) -> dict:
        """Plain values for a JSON file: area -> class -> stage -> value; null without ground truth."""
        return dict(
            stages=list(self.stages),
            objects={name: int(count) for name, count in zip(self.classes, self.gt_count)},
            values={
                area: {name: self.values(name, area) for name in (ALL_CLASSES, *self.classes)} for area in self.areas
            },
        )


def analyze_errors(
    gt: GroundTruth,
    dt: Detections,
    *,
    classes: Sequence[str],
    num_images: int,
    groups: Sequence[int] | None = None,
    areas: Sequence[float] = DEFAULT_AREAS,
    max_dets: int = 100,
    backend: str = 'auto',
) -> ErrorAnalysis:
    """Compute the curves of all classes.

    Args:
        gt, dt: ground truth and detections of all ``num_images`` images.
        classes: K names by label.
        groups: supercategory of each class, as K integers; None leaves ``Sim`` out.
        areas: upper bounds, in square pixels, of small, of medium and of all objects.
        max_dets: limit of detections per image and class.
        backend: see :func:`~mmdet.evaluation.evaluate_boxes`.

    Raises:
        ConfigError: ``areas`` are not three ascending numbers.
    """
    if len(areas) != 3 or not 0 < areas[0] < areas[1] < areas[2]:
        message = 'must be three ascending bounds: of small, medium and all objects'
        raise ConfigError(message, field='areas', received=list(areas))
    small, medium, top = areas
    ranges = {'all': (0, top), 'small': (0, small), 'medium': (small, medium), 'large': (medium, top)}

    def precision_of(truth: GroundTruth, iou_thrs: list[float]) -> np.ndarray:
        result = evaluate_boxes(
            truth, dt, num_images=num_images, num_classes=len(classes), iou_thrs=iou_thrs, max_dets=[max_dets],
            area_ranges=ranges, backend=backend,
        )  # fmt: skip
        return result.precision[..., 0]  # (T, R, K, A)

    found = precision_of(gt, [0.75, 0.5, _LOC_IOU])
    stages = {'C75': found[0], 'C50': found[1], 'Loc': found[2]}
    if groups is not None:
        stages['Sim'] = precision_of(_with_others(gt, dt, np.asarray(groups)), [_LOC_IOU])[0]
    stages['Oth'] = precision_of(_with_others(gt, dt, None), [_LOC_IOU])[0]
    stages['BG'] = np.where(stages['Oth'] > 0, 1.0, stages['Oth'])
    stages['FN'] = np.where(stages['Oth'] > -1, 1.0, -1.0)
    # Rounded as in CocoResult.ap, because perfect precision is 1 - 2^-52 in pycocotools.
    precision = np.round(np.stack([*stages.values()]), 12)  # (S, R, K, A)
    precision[precision == -1] = np.nan
    counts = np.bincount(gt.label[~gt.crowd], minlength=len(classes))
    return ErrorAnalysis(tuple(stages), tuple(classes), tuple(ranges), precision, counts)


def _with_others(gt: GroundTruth, dt: Detections, group_of: np.ndarray | None) -> GroundTruth:
    """``gt`` and, for every image and every class detected in it, the objects of other classes as crowds of that class.

    Only classes of the same group are added, where ``group_of`` gives a group to each class; None adds all.
    """
    images, labels = np.unique(np.stack([dt.image, dt.label], axis=1), axis=0).T  # (P,) pairs
    by_image = np.argsort(gt.image, kind='stable')
    first, end = (np.searchsorted(gt.image[by_image], images, side) for side in ('left', 'right'))
    counts = end - first  # objects in the image of each pair
    # Each pair is joined with all objects of its image, then those of its own class (or another group) are dropped.
    rows = by_image[np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts - first, counts)]
    labels = np.repeat(labels, counts)
    other = gt.label[rows] != labels
    if group_of is not None:
        other &= group_of[gt.label[rows]] == group_of[labels]
    rows, labels = rows[other], labels[other]
    return GroundTruth(
        image=np.concatenate([gt.image, gt.image[rows]]),
        label=np.concatenate([gt.label, labels]),
        bbox=np.concatenate([gt.bbox, gt.bbox[rows]]),
        area=np.concatenate([gt.area, gt.area[rows]]),
        crowd=np.concatenate([gt.crowd, np.ones(len(rows), bool)]),
    )


def analyze_error_files(
    results: str | Path,
    ann_file: str | Path,
    *,
    classes: Sequence[str] | None = None,
    areas: Sequence[float] = DEFAULT_AREAS,
    max_dets: int = 100,
) -> ErrorAnalysis:
    """:func:`analyze_errors` of a COCO results file.

    Args:
        results: ``*.bbox.json``.
        ann_file: COCO annotation file.
        classes: the classes to evaluate, objects of others counting as background; None takes all.
        areas, max_dets: as for :func:`analyze_errors`.

    Raises:
        DataError: a file is missing or broken, has no annotations, or the two do not belong together.
        ConfigError: a class that the annotation file does not have.
    """
    table = read_coco(ann_file)
    if not table.annotated:
        raise DataError('the file has no annotations to evaluate against', file=ann_file, field='annotations')
    annotations = load_coco_annotations(str(ann_file), classes)
    detections, _ = detections_from_rows(read_results(results), annotations, str(results))
    return analyze_errors(
        annotations.gt, detections, classes=annotations.classes, num_images=len(annotations.image_ids),
        groups=_supercategories(table.categories, annotations), areas=areas, max_dets=max_dets,
    )  # fmt: skip


def _supercategories(categories: Sequence[dict], annotations: CocoAnnotations) -> list[int] | None:
    """A number for each class; None where a class has no supercategory or all have the same."""
    names = {row['id']: row.get('supercategory') for row in categories}
    found = [str(names[category_id] or '') for category_id in annotations.category_ids]
    distinct = sorted(set(filter(None, found)))
    if len(distinct) < 2 or not all(found):
        return None
    return [distinct.index(name) for name in found]
