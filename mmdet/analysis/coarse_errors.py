"""How a coarse detector errs, in the terms of :class:`~mmdet.datasets.transforms.ForegroundMosaic`, which imitates it.

Letters: G ground-truth boxes and N detections of an image, P pairs of both in all images.
"""

from dataclasses import dataclass

import numpy as np

from ..core.ufp import AREA_LIMITS
from ..errors import ConfigError
from .confusion import overlaps_of, pair_boxes
from .predictions import ImagePredictions, PredictionSet

_SIZES = ('below 32 x 32', 'below 96 x 96', 'larger')


@dataclass(frozen=True)
class CoarseErrors:
    """The errors of a coarse detector over the images of a data set.

    Attributes:
        images: their number.
        objects: of each size: below 32 x 32 pixels, below 96 x 96, larger; without ignored ones.
        missed: of these, objects that no detection is paired with.
        shift: root mean square of the error of the centre, as a share of the object's width and height; NaN without pairs.
        stretch: root mean square of the logarithm of the width's and height's error.
        repeated: detections that lie on an object that another one is paired with.
        false_boxes: (images,) detections of each image that lie on no object and in no ignored region.
        true_scores, false_scores: scores of the paired detections, and of the false ones.
    """

    images: int
    objects: tuple[int, int, int]
    missed: tuple[int, int, int]
    shift: float
    stretch: float
    repeated: int
    false_boxes: np.ndarray
    true_scores: np.ndarray
    false_scores: np.ndarray

    @property
    def drop(self) -> tuple[float, ...]:
        """Share of missed objects by size; of a size that has none, that of all."""
        whole = sum(self.missed) / sum(self.objects) if sum(self.objects) else 0.0
        return tuple(missed / count if count else whole for missed, count in zip(self.missed, self.objects))

    def config(self) -> dict:
        """The arguments of ``ForegroundMosaic`` that imitate this detector; numbers and scores from their 10th to their 90th percentile.

        Raises:
            ConfigError: no object was found, so that there is nothing to imitate.
        """
        if not len(self.true_scores):
            raise ConfigError('no detection is paired with an object: lower the score threshold or the IoU')

        def middle(values: np.ndarray) -> tuple[float, float]:
            low, high = np.percentile(values, (10, 90)) if len(values) else (0.0, 1.0)
            return round(float(low), 3), round(float(high), 3)

        low, high = middle(self.false_boxes)
        return dict(
            drop=tuple(round(share, 3) for share in self.drop),
            shift=round(self.shift, 3),
            stretch=round(self.stretch, 3),
            false_boxes=(round(low), round(high)),
            true_scores=middle(self.true_scores),
            false_scores=middle(self.false_scores),
        )

    def __str__(self) -> str:
        rates = zip(_SIZES, self.missed, self.objects, self.drop)
        lines = [f'{self.images} images, {sum(self.objects)} objects']
        lines += [
            f'  missed {name}: {missed} of {count} ({share:.1%})' for name, missed, count, share in rates if count
        ]
        errors = (
            f'{self.shift:.1%} of the side, of width and height {self.stretch:.1%}; {self.repeated} repeated detections'
        )
        lines += [f'  error of the centre {errors}'] if len(self.true_scores) else []
        mean = self.false_boxes.mean() if self.images else 0.0
        lines.append(
            f'  false boxes: {mean:.1f} an image (median {np.median(self.false_boxes) if self.images else 0:.0f})'
        )
        return '\n'.join(lines)


def coarse_errors(predictions: PredictionSet, *, score_thr: float = 0.0, iou_thr: float = 0.3) -> CoarseErrors:
    """Compare the boxes that would be packed with the ground truth, whatever their classes.

    By descending score every detection takes the free object that it overlaps most, at ``IoU >= iou_thr``. Of the others, those that overlap
    an object as much are repeated ones, those of which a share of ``iou_thr`` lies in an ignored region do not count, the rest are false.

    Args:
        predictions: detections of the coarse stage and ground truth.
        score_thr: detections with a lower score are not packed.
        iou_thr: low, because a region needs a place and not an exact box.

    Raises:
        ConfigError: a threshold out of range.
    """
    if not 0 <= score_thr <= 1 or not 0 < iou_thr <= 1:
        message = 'score_thr must be in [0, 1], iou_thr in (0, 1]'
        raise ConfigError(message, field='score_thr, iou_thr', received=(score_thr, iou_thr))
    found = [_of_image(image, score_thr, iou_thr) for image in predictions.images]
    areas, missed, shifts, stretches, paired, stray = (
        np.concatenate([each[k] for each in found] or [np.zeros(0)]) for k in range(6)
    )
    sizes = np.searchsorted(AREA_LIMITS, areas, side='right')
    return CoarseErrors(
        images=len(found),
        objects=_counts(sizes),
        missed=_counts(sizes[missed.astype(bool)]),
        shift=_deviation(shifts),
        stretch=_deviation(stretches),
        repeated=sum(each[6] for each in found),
        false_boxes=np.array([len(each[5]) for each in found], np.int64),
        true_scores=paired,
        false_scores=stray,
    )


def _counts(sizes: np.ndarray) -> tuple[int, int, int]:
    small, middling, large = np.bincount(sizes, minlength=3).tolist()
    return small, middling, large


def _deviation(errors: np.ndarray) -> float:
    """Root of the mean square: a bias, such as boxes that are all too large, is an error as well."""
    return float(np.sqrt(np.square(errors).mean())) if len(errors) else float('nan')


def _of_image(image: ImagePredictions, score_thr: float, iou_thr: float) -> tuple:
    """Areas (G,), missed (G,), errors of centres (2P,) and sides (2P,), scores of pairs (P,) and of false boxes, repeated detections."""
    packed = image.scores >= score_thr
    boxes, scores, objects = image.bboxes[packed], image.scores[packed], image.gt_bboxes[~image.gt_ignored]
    overlaps = overlaps_of(boxes, objects)  # (N, G)
    overlaps[overlaps < iou_thr] = 0
    gt_of = pair_boxes(overlaps, np.full(len(boxes), -1))
    pairs = gt_of >= 0
    rest = ~pairs & ~(overlaps > 0).any(axis=1)
    repeated = int((~pairs).sum() - rest.sum())
    if image.gt_ignored.any() and rest.any():
        rest &= overlaps_of(boxes, image.gt_bboxes[image.gt_ignored], mode='iof').max(axis=1) < iou_thr
    sides = objects[:, 2:] - objects[:, :2]
    missed = ~np.isin(np.arange(len(objects)), gt_of)
    own, truth = boxes[pairs], objects[gt_of[pairs]]
    lengths = truth[:, 2:] - truth[:, :2]
    shifts = (own[:, :2] + own[:, 2:] - truth[:, :2] - truth[:, 2:]) / 2 / lengths
    stretches = np.log((own[:, 2:] - own[:, :2]) / lengths)
    return sides.prod(axis=1), missed, shifts.ravel(), stretches.ravel(), scores[pairs], scores[rest], repeated
