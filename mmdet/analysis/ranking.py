"""The images that a detector handles best and worst, by their own average precision."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets import decode_image
from ..errors import ConfigError
from ..evaluation.coco_eval import evaluate_boxes
from ..evaluation.coco_report import format_value
from ..evaluation.predictions import xyxy_to_xywh
from ..formats.tables import Detections, GroundTruth
from ..utils.files import write_json
from ..visualization import draw_boxes, side_by_side, write_image
from .predictions import ImagePredictions, PredictionSet

# (image, class) pairs evaluated at once: the arrays of 10 thresholds and 101 recall points stay below 100 MB.
_PAIRS_AT_ONCE = 4000
_AREA = {'all': (0, 1e10)}


@dataclass
class ImageScore:
    """How well one image went.

    Attributes:
        image_id: id in the annotation file.
        path: image file.
        ap: mean over its classes and IoU 0.50:0.95; None without a ground-truth box (crowds do not count).
        ap_50: the same at IoU 0.5.
        objects: ground-truth boxes.
        detections: detections at or above the score threshold of the pictures.
    """

    image_id: Any
    path: str
    ap: float | None
    ap_50: float | None
    objects: int
    detections: int


def score_images(
    predictions: PredictionSet, *, max_dets: int = 100, score_thr: float = 0.0, backend: str = 'auto'
) -> list[ImageScore]:
    """AP of every image on its own: COCO's, averaged over the classes that occur in the image.

    As in COCO, detections of classes without an object in the image do not lower its AP.

    Args:
        predictions: images with ground truth and detections.
        max_dets: limit of detections an image and class.
        score_thr: counts ``detections`` of the result; the AP uses all of them.
        backend: evaluator, see :func:`~mmdet.evaluation.evaluate_boxes`.

    Returns:
        one entry an image, in the order of the dataset.
    """
    scores, waiting, pairs = [], [], 0
    for image in predictions.images:
        waiting.append(image)
        pairs += len(np.unique(image.gt_labels[~image.gt_ignored]))
        if pairs >= _PAIRS_AT_ONCE:
            scores += _score(waiting, max_dets, score_thr, backend)
            waiting, pairs = [], 0
    return scores + _score(waiting, max_dets, score_thr, backend)


def _score(images: list[ImagePredictions], max_dets: int, score_thr: float, backend: str) -> list[ImageScore]:
    """One evaluation for all: each (image, class) pair with ground truth takes the place of a class."""
    image_of, gt_parts, dt_parts, owners = [], [], [], []
    for index, image in enumerate(images):
        for label in np.unique(image.gt_labels[~image.gt_ignored]):
            of_class, found = image.gt_labels == label, image.labels == label
            gt_parts.append((image.gt_bboxes[of_class], image.gt_ignored[of_class]))
            dt_parts.append((image.bboxes[found], image.scores[found]))
            image_of.append(index)
            owners.append(len(owners))
    ap = ap_50 = np.zeros(0)
    if owners:
        gt_counts, dt_counts = [len(boxes) for boxes, _ in gt_parts], [len(boxes) for boxes, _ in dt_parts]
        gt = GroundTruth(
            np.repeat(image_of, gt_counts), np.repeat(owners, gt_counts),
            xyxy_to_xywh(np.concatenate([boxes for boxes, _ in gt_parts])),
            crowd=np.concatenate([ignored for _, ignored in gt_parts]),
        )  # fmt: skip
        dt = Detections(
            np.repeat(image_of, dt_counts), np.repeat(owners, dt_counts),
            xyxy_to_xywh(np.concatenate([boxes for boxes, _ in dt_parts])),
            score=np.concatenate([scores for _, scores in dt_parts]),
        )  # fmt: skip
        result = evaluate_boxes(
            gt, dt, num_images=len(images), num_classes=len(owners), max_dets=[max_dets], area_ranges=_AREA,
            backend=backend,
        )  # fmt: skip
        precision = result.precision[:, :, :, 0, 0].mean(axis=1)  # (T, pairs)
        ap, ap_50 = precision.mean(axis=0), precision[0]
    image_of = np.asarray(image_of, dtype=np.int64)
    scored = []
    for index, image in enumerate(images):
        mine = image_of == index
        has_objects = bool(mine.any())
        scored.append(ImageScore(
            image_id=image.image_id, path=image.path,
            ap=round(float(ap[mine].mean()), 12) if has_objects else None,
            ap_50=round(float(ap_50[mine].mean()), 12) if has_objects else None,
            objects=int((~image.gt_ignored).sum()),
            detections=int((image.scores >= score_thr).sum()),
        ))  # fmt: skip
    return scored


def best_and_worst(scores: list[ImageScore], topk: int) -> tuple[list[ImageScore], list[ImageScore]]:
    """The ``topk`` images of highest and of lowest AP; among equals those with more objects come first.

    Raises:
        ConfigError: ``topk`` is not positive.
    """
    if topk < 1:
        raise ConfigError('must be positive', field='topk', received=topk)
    rated = [score for score in scores if score.ap is not None]
    best = sorted(rated, key=lambda score: (-score.ap, -score.objects))[:topk]
    worst = sorted(rated, key=lambda score: (score.ap, -score.objects))[:topk]
    return best, worst


def write_ranking(
    predictions: PredictionSet,
    show_dir: str | Path,
    *,
    topk: int = 20,
    show_score_thr: float = 0.0,
    max_dets: int = 100,
) -> dict:
    """Write ``good/`` and ``bad/`` pictures (ground truth beside predictions) and ``ranking.json`` of all images.

    Args:
        predictions: images with ground truth and detections.
        show_dir: folder; pictures are named ``<rank>_<AP>_<file stem>.jpg``.
        topk: pictures of each kind.
        show_score_thr: least score of a drawn detection.
        max_dets: limit of detections an image and class.

    Returns:
        the content of ``ranking.json``: ``mean_ap`` (of the images with objects), ``best``, ``worst``, ``images``.

    Raises:
        BrokenImageError: a picture's image file is missing or broken.
    """
    show_dir = Path(show_dir)
    scores = score_images(predictions, max_dets=max_dets, score_thr=show_score_thr)
    best, worst = best_and_worst(scores, topk)
    by_id = {image.image_id: image for image in predictions.images}
    for folder, chosen in (('good', best), ('bad', worst)):
        for rank, score in enumerate(chosen, 1):
            path = show_dir / folder / f'{rank:03d}_{score.ap:.3f}_{Path(score.path).stem}.jpg'
            write_image(path, draw_comparison(by_id[score.image_id], predictions, show_score_thr))
    rated = [score.ap for score in scores if score.ap is not None]
    content = dict(
        mean_ap=float(np.mean(rated)) if rated else None,
        images_without_objects=len(scores) - len(rated),
        best=[score.image_id for score in best],
        worst=[score.image_id for score in worst],
        images=[vars(score) for score in scores],
    )
    write_json(show_dir / 'ranking.json', content)
    return content


def ranking_text(ranking: dict) -> str:
    """What :func:`write_ranking` found, in lines."""
    by_id = {row['image_id']: row for row in ranking['images']}
    lines = []
    for kind in ('best', 'worst'):
        lines.append(f'{kind}:')
        for image_id in ranking[kind]:
            row = by_id[image_id]
            lines.append(f'  AP {format_value(row["ap"])}, {row["objects"]} objects: {row["path"]}')
    if ranking['mean_ap'] is not None:
        lines.append(
            f"mean of the images' own AP: {ranking['mean_ap']:.3f}; images without objects: {ranking['images_without_objects']}"
        )
    return '\n'.join(lines)


def draw_comparison(image: ImagePredictions, predictions: PredictionSet, score_thr: float) -> np.ndarray:
    """Ground truth at the left, detections of at least ``score_thr`` at the right: (H, W, 3) RGB uint8."""
    pixels = np.ascontiguousarray(decode_image(image.path)[..., ::-1])
    shown, counted = image.scores >= score_thr, ~image.gt_ignored
    style = dict(classes=predictions.classes, colors=predictions.palette)
    left = draw_boxes(
        pixels, image.gt_bboxes[counted], image.gt_labels[counted], ignored=image.gt_bboxes[image.gt_ignored], **style
    )
    right = draw_boxes(pixels, image.bboxes[shown], image.labels[shown], image.scores[shown], **style)
    return side_by_side(left, right)
