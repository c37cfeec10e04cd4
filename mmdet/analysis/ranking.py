"""The images that a detector handles best and worst, by their own average precision."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from ..datasets import decode_image
from ..errors import ConfigError
from ..evaluation.coco_eval import evaluate_boxes
from ..evaluation.coco_report import format_value
from ..evaluation.predictions import xyxy_to_xywh
from ..formats.tables import Detections, GroundTruth
from ..utils.files import write_json
from ..utils.outputs import refuse_inputs
from ..visualization import draw_boxes, side_by_side, write_image
from .predictions import ImagePredictions, PredictionSet

# With 80 classes in each image, the arrays of 10 thresholds and 101 recall points stay below 100 MB.
_IMAGES_AT_ONCE = 128


@dataclass
class ImageScore:
    """The average precision of one image.

    Attributes:
        image_id: id in the annotation file.
        path: image file.
        ap: mean over its classes and IoU 0.50:0.95; None without a ground-truth box (crowds do not count).
        ap_50: the same at IoU 0.5 alone.
        objects: number of ground-truth boxes, without crowds.
        detections: number of detections at or above the score threshold of the pictures.
    """

    image_id: Any
    path: str
    ap: float | None
    ap_50: float | None
    objects: int
    detections: int


class Ranking(TypedDict):
    """The content of ``ranking.json``: mean AP of the images with objects, ids of the best and worst, all :class:`ImageScore` as dicts."""

    mean_ap: float | None
    images_without_objects: int
    best: list
    worst: list
    images: list[dict[str, Any]]


def score_images(
    predictions: PredictionSet, *, max_dets: int = 100, score_thr: float = 0.0, backend: str = 'auto'
) -> list[ImageScore]:
    """COCO's AP of every image, in the order of the dataset, averaged over the classes that occur in the image.

    As in COCO, detections of classes without an object in the image do not lower its AP.

    Args:
        predictions: all images.
        max_dets: limit of detections per image and class.
        score_thr: least score of the detections that the result counts; the AP uses all.
        backend: evaluator, see :func:`~mmdet.evaluation.evaluate_boxes`.
    """
    images, size = predictions.images, _IMAGES_AT_ONCE
    blocks = (images[start : start + size] for start in range(0, len(images), size))
    return [score for block in blocks for score in _score(block, max_dets, score_thr, backend)]


def _score(images: list[ImagePredictions], max_dets: int, score_thr: float, backend: str) -> list[ImageScore]:
    """Evaluate all images at once: the evaluator sees each (image, class) pair with ground truth as a class."""
    rows = []
    for index, image in enumerate(images):
        for label in np.unique(image.gt_labels[~image.gt_ignored]):
            of_class, found = image.gt_labels == label, image.labels == label
            truth = image.gt_bboxes[of_class], image.gt_ignored[of_class]
            rows.append((index, *truth, image.bboxes[found], image.scores[found]))
    image_of = np.array([index for index, *_ in rows], dtype=np.int64)
    ap = ap_50 = np.zeros(0)
    if rows:
        _, gt_boxes, crowds, dt_boxes, dt_scores = zip(*rows)
        tables = []
        for boxes in (gt_boxes, dt_boxes):
            pair = np.repeat(np.arange(len(rows)), [len(part) for part in boxes])
            tables.append((image_of[pair], pair, xyxy_to_xywh(np.concatenate(boxes))))
        result = evaluate_boxes(
            GroundTruth(*tables[0], crowd=np.concatenate(crowds)), Detections(*tables[1], score=np.concatenate(dt_scores)),
            num_images=len(images), num_classes=len(rows), max_dets=[max_dets], area_ranges=dict(all=(0, 1e10)), backend=backend,
        )  # fmt: skip
        precision = result.precision[:, :, :, 0, 0].mean(axis=1)  # (T, pairs)
        ap, ap_50 = precision.mean(axis=0), precision[0]
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
    rated = [(score.ap, -score.objects, score) for score in scores if score.ap is not None]
    best = sorted(rated, key=lambda row: (-row[0], row[1]))[:topk]
    worst = sorted(rated, key=lambda row: row[:2])[:topk]
    return [score for *_, score in best], [score for *_, score in worst]


def write_ranking(
    predictions: PredictionSet,
    show_dir: str | Path,
    *,
    topk: int = 20,
    show_score_thr: float = 0.0,
    max_dets: int = 100,
) -> Ranking:
    """Write ``good/`` and ``bad/`` pictures (ground truth beside predictions) and ``ranking.json``; returns the content of the latter.

    Args:
        predictions: all images.
        show_dir: folder; pictures are named ``<rank>_<AP>_<file stem>.jpg``.
        topk: pictures of each kind.
        show_score_thr: least score of a drawn detection.
        max_dets: limit of detections per image and class.

    Raises:
        BrokenImageError: the image file of a picture is missing or broken.
        ConfigError: the images lie in ``good/`` or ``bad/``.
    """
    show_dir = Path(show_dir)
    scores = score_images(predictions, max_dets=max_dets, score_thr=show_score_thr)
    best, worst = best_and_worst(scores, topk)
    by_id = {image.image_id: image for image in predictions.images}
    folders = dict.fromkeys(Path(image.path).parent for image in predictions.images)
    refuse_inputs([show_dir / 'good', show_dir / 'bad'], folders, field='show_dir')
    for folder, chosen in (('good', best), ('bad', worst)):
        for rank, score in enumerate(chosen, 1):
            path = show_dir / folder / f'{rank:03d}_{score.ap:.3f}_{Path(score.path).stem}.jpg'
            write_image(path, draw_comparison(by_id[score.image_id], predictions, show_score_thr))
    rated = [score.ap for score in scores if score.ap is not None]
    content = Ranking(
        mean_ap=float(np.mean(rated)) if rated else None,
        images_without_objects=len(scores) - len(rated),
        best=[score.image_id for score in best],
        worst=[score.image_id for score in worst],
        images=[vars(score) for score in scores],
    )
    write_json(show_dir / 'ranking.json', content)
    return content


def ranking_text(ranking: Ranking) -> str:
    """The best and the worst images of a ranking, one per line, and the mean."""
    by_id = {row['image_id']: row for row in ranking['images']}
    lines = []
    for kind, image_ids in (('best', ranking['best']), ('worst', ranking['worst'])):
        lines.append(f'{kind}:')
        for image_id in image_ids:
            row = by_id[image_id]
            lines.append(f'  AP {format_value(row["ap"])}, {row["objects"]} objects: {row["path"]}')
    if ranking['mean_ap'] is not None:
        unrated = ranking['images_without_objects']
        lines.append(f"mean of the images' own AP: {ranking['mean_ap']:.3f}; images without objects: {unrated}")
    return '\n'.join(lines)


def draw_comparison(image: ImagePredictions, predictions: PredictionSet, score_thr: float) -> np.ndarray:
    """Ground truth on the left, detections of at least ``score_thr`` on the right: (H, W, 3) RGB uint8."""
    pixels = decode_image(image.path, value_range='minmax')[..., ::-1]
    shown, counted = image.scores >= score_thr, ~image.gt_ignored
    classes, colors = predictions.classes, predictions.palette
    left = draw_boxes(
        pixels, image.gt_bboxes[counted], image.gt_labels[counted], None, classes, colors=colors,
        ignored=image.gt_bboxes[image.gt_ignored],
    )  # fmt: skip
    right = draw_boxes(pixels, image.bboxes[shown], image.labels[shown], image.scores[shown], classes, colors=colors)
    return side_by_side(left, right)
