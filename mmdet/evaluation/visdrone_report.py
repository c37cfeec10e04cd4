"""The scores of VisDrone results by the toolkit's and by COCO's rules, as one document and as text."""

from collections.abc import Sequence

import numpy as np

from ..formats.tables import GroundTruth
from ..formats.visdrone import VisDroneInput
from .coco_eval import CocoResult, evaluate_boxes
from .coco_report import format_table, summary
from .visdrone_eval import VisDroneResult, evaluate_visdrone

COCO_MAX_DETS = (10, 100, 500)
TOOLKIT_RULES = (
    'VisDrone toolkit rules: ignored regions dropped, 500 detections an image, all-point AP, '
    'classes weighted by the images that contain them'
)
COCO_RULES = (
    'COCO rules: maxDets 500 an image and class, 101-point AP, classes weighted equally, ignored regions not handled'
)


def visdrone_values(result: VisDroneResult) -> dict[str, float]:
    """Name -> value in 0..1 (-1 without ground truth): the toolkit's ``AP``, ``AP50``, ``AP75``, ``AR<k>``, and
    ``AP_plain``, ``AP50_plain``, ``AP75_plain`` with the same weight for every class."""
    thrs = {'AP': None, 'AP50': 0.5, 'AP75': 0.75}
    values = {name: result.mean_ap(thr) for name, thr in thrs.items()}
    values.update({f'AR{limit}': result.mean_recall(limit) for limit in result.max_dets})
    values.update({f'{name}_plain': result.mean_ap(thr, plain=True) for name, thr in thrs.items()})
    return values


def evaluate_both(data: VisDroneInput, classes: Sequence[str]) -> tuple[VisDroneResult, CocoResult]:
    """Scores of one set of files by both rules. COCO's rules count the rows of the classes, also those inside ignored regions."""
    K = len(classes)
    toolkit = evaluate_visdrone(data.gt, data.dt, sizes_wh=data.sizes_wh, num_classes=K)
    gt = data.gt[(data.gt.label >= 0) & (data.gt.label < K)]
    dt = data.dt[(data.dt.label >= 0) & (data.dt.label < K)]
    truth = GroundTruth(gt.image, gt.label, gt.bbox)
    return toolkit, evaluate_boxes(truth, dt, num_images=len(data.names), num_classes=K, max_dets=COCO_MAX_DETS)


def report_document(data: VisDroneInput, toolkit: VisDroneResult, coco: CocoResult, classes: Sequence[str]) -> dict:
    """A JSON document of all figures, in percent (-1 without ground truth)."""
    values = {name: percent(value) for name, value in visdrone_values(toolkit).items()}
    plain = {name.removesuffix('_plain'): values.pop(name) for name in list(values) if name.endswith('_plain')}
    coco_values = {'AP': coco.ap(), 'AP50': coco.ap(0.5), 'AP75': coco.ap(0.75)}
    coco_values.update({f'AP_{area}': coco.ap(area=area) for area in ('small', 'medium', 'large')})
    coco_values.update({f'AR{limit}': coco.ar(max_dets=limit) for limit in coco.max_dets})
    per_class = {}
    for label, name in enumerate(classes):
        ap, ap50 = (_class_ap(toolkit, label, iou_thr) for iou_thr in (None, 0.5))
        per_class[name] = {
            'visdrone_AP': percent(ap), 'visdrone_AP50': percent(ap50), 'coco_AP': percent(coco.ap(label=label)),
            'images': int(toolkit.image_count[label]), 'objects': int(toolkit.gt_count[label]),
        }  # fmt: skip
    return {
        'visdrone': {**values, 'dropped_gt': toolkit.dropped_gt, 'dropped_det': toolkit.dropped_det},
        'visdrone_plain_mean': plain,
        'coco': {name: percent(value) for name, value in coco_values.items()},
        'per_class': per_class,
        'images': len(data.names),
        'images_without_result_file': len(data.missing),
        'rules': {'visdrone': TOOLKIT_RULES, 'coco': COCO_RULES},
    }


def _class_ap(result: VisDroneResult, label: int, iou_thr: float | None) -> float:
    """The toolkit's AP of a class, -1 without an image that contains it."""
    return result.class_ap(iou_thr)[label] if result.image_count[label] else -1


def input_warnings(data: VisDroneInput) -> list[str]:
    """Faults of the files that change the figures: missing, unused and unsorted result files."""
    missing, unsorted = len(data.missing), len(data.unsorted)
    counts = (
        (missing, f'images have no result file, their objects count as missed: {data.missing[:3]} ...'),
        (data.unused, 'result files belong to none of the images and are left out'),
        (unsorted, f'result files are not by descending score; the first 500 rows count: {data.unsorted[:3]}'),
    )
    return [f'{count} {text}' for count, text in counts if count]


def report_text(data: VisDroneInput, toolkit: VisDroneResult, coco: CocoResult, classes: Sequence[str]) -> str:
    """Both scores for people: the summary of each, the table of classes, and the most important figures in percent."""
    objects = int(((data.gt.label >= 0) & (data.gt.label < len(classes))).sum())
    lines = [
        f'{len(data.names)} images, {objects} objects, {len(data.dt)} detections\n',
        toolkit_summary(toolkit),
        f'\n{COCO_RULES}',
        summary(coco, COCO_MAX_DETS[-1], COCO_MAX_DETS),
        f'\n{toolkit_class_table(toolkit, classes, coco)}',
    ]
    document = report_document(data, toolkit, coco, classes)
    for name in ('visdrone', 'coco'):
        row = document[name]
        lines.append(f'{name:<8} AP {row["AP"]:.2f}  AP50 {row["AP50"]:.2f}  AP75 {row["AP75"]:.2f}  (percent)')
    return '\n'.join(lines)


def percent(value: float) -> float:
    """0..1 -> percent with six decimals; -1, which means that there is no ground truth, stays."""
    return -1.0 if value <= -1 else round(100 * float(value), 6)


def toolkit_summary(result: VisDroneResult) -> str:
    """The lines of the toolkit's summary, in percent; each names its IoU and its limit of detections."""
    thrs, limit = result.iou_thrs, result.max_dets[-1]
    every = f'{thrs.min():.2f}:{thrs.max():.2f}'
    lines = [TOOLKIT_RULES]
    for iou, thr in ((every, None), ('0.50', 0.5), ('0.75', 0.75)):
        value, plain = result.mean_ap(thr), result.mean_ap(thr, plain=True)
        lines.append(
            f' Average Precision (AP) @[ IoU={iou:<9} | maxDets={limit:>4} ] = {_text(value)}   '
            f'(plain mean over classes {_text(plain)})'
        )
    for k in result.max_dets:
        lines.append(f' Average Recall    (AR) @[ IoU={every:<9} | maxDets={k:>4} ] = {_text(result.mean_recall(k))}')
    lines.append(f' in ignored regions: {result.dropped_gt} objects and {result.dropped_det} detections dropped')
    return '\n'.join(lines)


def toolkit_class_table(result: VisDroneResult, classes: Sequence[str], coco: CocoResult | None = None) -> str:
    """One row for each class, in percent: AP, AP50, AP75 by the toolkit's rules, with ``coco`` also COCO's AP, and what the
    ignore rule leaves of the images that contain the class (its weight) and of its objects."""
    rows = [['class', 'AP', 'AP50', 'AP75', *(['COCO AP'] if coco else []), 'images', 'objects']]
    for label, name in enumerate(classes):
        values = [_class_ap(result, label, iou_thr) for iou_thr in (None, 0.5, 0.75)]
        values += [coco.ap(label=label)] if coco else []
        rows.append([name, *map(_text, values), str(result.image_count[label]), str(result.gt_count[label])])
    return f'by class, AP by the VisDrone toolkit rules\n{format_table(rows)}'


def _text(value: float) -> str:
    return '    -' if value <= -1 else f'{100 * np.float64(value):5.2f}'
