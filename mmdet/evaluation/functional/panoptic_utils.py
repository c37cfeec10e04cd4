"""Panoptic quality (Kirillov et al., "Panoptic Segmentation", CVPR 2019, arXiv 1801.00868).

A picture of segments is a PNG file whose colour is the id of a segment, R + 256 G + 256^2 B; id 0 is no segment. A pair of segments of one class
with an IoU above 0.5 is a match. PQ = (sum of the IoUs of matches) / (TP + FP / 2 + FN / 2).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os import PathLike
from os.path import join

import numpy as np
from mmengine.logging import print_log as log

from mmdet.errors import DataError
from mmdet.formats.images import decode_image

# In a panoptic label map: class + INSTANCE_OFFSET * number of the object.
INSTANCE_OFFSET = 1000
_VOID, _IDS = 0, 256**3
Folder = str | PathLike


@dataclass
class PQStatCat:
    """Sums of one class: the IoUs of its matches, and numbers of matched, surplus and missed segments."""

    iou: float = 0.0
    tp: int = 0
    fp: int = 0
    fn: int = 0

    def __iadd__(self, other: 'PQStatCat') -> 'PQStatCat':
        self.iou, self.tp = self.iou + other.iou, self.tp + other.tp
        self.fp, self.fn = self.fp + other.fp, self.fn + other.fn
        return self


class PQStat:
    """Sums by class id, ``pq_per_cat``; two of them add up with ``+=``."""

    def __init__(self) -> None:
        self.pq_per_cat: dict[int, PQStatCat] = defaultdict(PQStatCat)

    def __getitem__(self, category_id: int) -> PQStatCat:
        return self.pq_per_cat[category_id]

    def __iadd__(self, other: 'PQStat') -> 'PQStat':
        for category_id, sums in other.pq_per_cat.items():
            self.pq_per_cat[category_id] += sums
        return self

    def pq_average(self, categories: Mapping[int, dict], isthing: bool | None) -> tuple[dict, dict]:
        """Means over the classes that occur.

        Args:
            categories: classes by id, each with ``isthing`` 0 or 1.
            isthing: only classes with this ``isthing``; None: all.

        Returns:
            ``pq``, ``sq`` (mean IoU of matches), ``rq`` (F1 score of matches) and ``n``, the number of classes; and ``pq``, ``sq``, ``rq`` by class
            id, 0 for classes that do not occur.
        """
        per_class, means, n = {}, np.zeros(3), 0
        for category_id, category in categories.items():
            if isthing is not None and bool(category['isthing']) != isthing:
                continue
            sums = self.pq_per_cat.get(category_id, PQStatCat())
            total = sums.tp + 0.5 * sums.fp + 0.5 * sums.fn
            if total == 0:
                per_class[category_id] = dict(pq=0.0, sq=0.0, rq=0.0)
                continue
            values = (sums.iou / total, sums.iou / sums.tp if sums.tp else 0, sums.tp / total)
            per_class[category_id] = dict(zip(('pq', 'sq', 'rq'), values))
            means, n = means + values, n + 1
        return dict(zip(('pq', 'sq', 'rq'), (means / max(n, 1)).tolist()), n=n), per_class


def _ids(folder: Folder, name: str, backend_args: dict | None) -> np.ndarray:
    picture = decode_image(join(folder, name), backend_args=backend_args)  # BGR
    return picture.astype(np.int64) @ np.array([256**2, 256, 1])


def _segments(annotation: dict, categories: Mapping[int, dict], ids: np.ndarray, path: str) -> dict[int, dict]:
    """Segments by id, checked: their classes exist, and they have pixels, as all pixels have segments."""
    found = {segment['id']: segment for segment in annotation['segments_info']}
    drawn = dict(zip(*(values.tolist() for values in np.unique(ids, return_counts=True))))
    for what, where in (
        (set(drawn) - set(found) - {_VOID}, 'in the picture only'),
        (set(found) - set(drawn), 'not drawn'),
    ):
        if what:
            raise DataError(f'segments {where}', file=path, field='segments_info', received=sorted(what))
    for key, segment in found.items():
        if segment['category_id'] not in categories:
            message = f'must be one of {sorted(categories)}'
            raise DataError(
                message, file=path, record=f'segment {key}', field='category_id', received=segment['category_id']
            )
    return {key: dict(segment, pixels=drawn[key]) for key, segment in found.items()}


def _add_image(stat: PQStat, truth: dict, predicted: dict, pairs: dict[tuple[int, int], int]) -> None:
    """Add the matches of an image; ``pairs`` are the pixels by true and predicted id."""
    matched_truth, matched = set(), set()
    for (true_id, predicted_id), common in pairs.items():
        if true_id not in truth or predicted_id not in predicted:
            continue
        true, found = truth[true_id], predicted[predicted_id]
        if true.get('iscrowd') or true['category_id'] != found['category_id']:
            continue
        # Predicted pixels where the truth says nothing do not count.
        union = found['pixels'] + true.get('area', true['pixels']) - common - pairs.get((_VOID, predicted_id), 0)
        if common / union > 0.5:
            stat.pq_per_cat[true['category_id']] += PQStatCat(iou=common / union, tp=1)
            matched_truth.add(true_id)
            matched.add(predicted_id)
    crowds = {segment['category_id']: key for key, segment in truth.items() if segment.get('iscrowd')}
    for key, segment in truth.items():
        if key not in matched_truth and not segment.get('iscrowd'):
            stat[segment['category_id']].fn += 1
    for key, segment in predicted.items():
        if key in matched:
            continue
        free = pairs.get((_VOID, key), 0)
        if segment['category_id'] in crowds:
            free += pairs.get((crowds[segment['category_id']], key), 0)
        if (
            free / segment['pixels'] <= 0.5
        ):  # most of it lies neither in a crowd of its class nor where the truth says nothing
            stat[segment['category_id']].fp += 1


def pq_compute_single_core(
    proc_id: int,
    annotation_set: Sequence[tuple[dict, dict]],
    gt_folder: Folder,
    pred_folder: Folder,
    categories: Mapping[int, dict],
    backend_args: dict | None = None,
    print_log: bool = False,
) -> PQStat:
    """Sums of panoptic quality over pairs of pictures.

    Args:
        proc_id: number of this part, for the log.
        annotation_set: pairs of annotations, truth and prediction, each with ``file_name`` and ``segments_info``: ``id``, ``category_id``, of the
            truth also ``area`` in pixels and ``iscrowd``.
        gt_folder, pred_folder: where the files lie.
        categories: classes by id.
        backend_args: arguments of an mmengine file backend.
        print_log: log every hundredth image.

    Raises:
        DataError: a file that is no picture, pictures of two sizes, or segments that picture and annotation do not share.
    """
    stat = PQStat()
    for index, (true, predicted) in enumerate(annotation_set):
        if print_log and index % 100 == 0:
            log(f'part {proc_id}: {index} of {len(annotation_set)} images', 'current')
        true_ids = _ids(gt_folder, true['file_name'], backend_args)
        predicted_ids = _ids(pred_folder, predicted['file_name'], backend_args)
        path = join(pred_folder, predicted['file_name'])
        if true_ids.shape != predicted_ids.shape:
            message = f'must have the size of its truth, {true_ids.shape}'
            raise DataError(message, file=path, received=predicted_ids.shape)
        # The truth may mention segments that other ones cover.
        truth = {segment['id']: dict(segment, pixels=0) for segment in true['segments_info']}
        segments = _segments(predicted, categories, predicted_ids, path)
        keys, counts = np.unique(true_ids * _IDS + predicted_ids, return_counts=True)
        pairs = {(int(key) // _IDS, int(key) % _IDS): int(count) for key, count in zip(keys, counts)}
        for (true_id, _), count in pairs.items():
            if true_id in truth:
                truth[true_id]['pixels'] += count
        _add_image(stat, truth, segments, pairs)
    return stat


def pq_compute_multi_core(
    matched_annotations_list: Sequence[tuple[dict, dict]],
    gt_folder: Folder,
    pred_folder: Folder,
    categories: Mapping[int, dict],
    backend_args: dict | None = None,
    nproc: int = 32,
) -> PQStat:
    """:func:`pq_compute_single_core` in ``nproc`` threads: reading and counting leave Python's lock."""
    parts = [
        matched_annotations_list[start::nproc] for start in range(max(min(nproc, len(matched_annotations_list)), 1))
    ]
    total = PQStat()
    with ThreadPoolExecutor(len(parts)) as pool:
        jobs = [(i, part, gt_folder, pred_folder, categories, backend_args) for i, part in enumerate(parts)]
        for stat in pool.map(lambda job: pq_compute_single_core(*job), jobs):
            total += stat
    return total
