"""Mosaics of the foreground during training, as UFPMP-Det sees them at test time (arXiv 2112.10415).

Letters: K objects of an image, N imitated coarse boxes, R regions, M copies of objects in the mosaic.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmcv.transforms.utils import cache_randomness

from mmdet.core.boxes import autocast_box_type
from mmdet.core.ufp import (
    AREA_LIMITS,
    UnifiedForegroundPacking,
    check_packing,
    move_objects,
    paint_black,
    render_mosaic,
)
from mmdet.errors import ConfigError, DataError
from mmdet.registry import TRANSFORMS
from mmdet.utils.checks import is_int

from .arguments import (
    OBJECT_KEYS,
    check_probability,
    check_range,
    clip_boxes,
    has_area,
    image_of,
    is_number,
    is_numbers,
)
from .base import GeometricTransform


@TRANSFORMS.register_module()
class ForegroundMosaic(GeometricTransform):
    """The regions around the objects of an image, zoomed and packed into one picture, as by a coarse detector of known quality.

    The objects are made imperfect: some are missed, the others displaced, and false boxes are added. From there on the code of inference
    packs the regions and cuts them out of the image, which must have full resolution: put this transform before any that resizes. A
    ``Resize`` behind it brings the mosaic to the size that the detector will see. An object belongs to a mosaic by the rule of the
    mosaics on disk (:func:`~mmdet.core.ufp.move_objects`): once for every region that it overlaps enough, cut at its edge. Ignored
    objects do, wherever a tile shows any part of them. An image whose boxes make no region, one without objects among them, stays as it is.

    ``tools/analysis_tools/coarse_errors.py`` measures the rates of a trained coarse detector.

    Args:
        prob: probability of a mosaic; otherwise the image stays as it is.
        ufp: arguments of :func:`~mmdet.core.ufp.UnifiedForegroundPacking`, those of the detector's ``ufp`` at test time.
        drop: probability that the coarse detector misses an object: one number, or three for those below 32 x 32 pixels, below 96 x 96,
            and larger ones.
        shift: standard deviation of the error of a box's centre, as a share of its width and of its height.
        stretch: standard deviation of the logarithm of the error of width and of height; 0.08 is about 8 %.
        false_boxes: how many boxes without an object are added, drawn uniformly from (low, high), both included; one number stands for
            (0, high). They have the sizes and classes of objects of the image, at random places.
        true_scores, false_scores: (low, high) from which confidences are drawn. They order the boxes of a class, and matter otherwise only
            where ``ufp`` leaves out regions by ``min_score``.
        min_overlap: as at test time; a box belongs to a region if they share more than this part of the smaller of the two.
        min_visible: copies of which the tile shows this share or less are left out.
        coarse_area: boxes of this area or more make no regions, as at test time with the detector's ``coarse_area``. None packs all.
        paint_ignored: paint ignored objects (``gt_ignore_flags``: VisDrone's ignored regions, COCO's crowds) black before they are cut out,
            because what they contain has no labels.

    Raises:
        ConfigError: an argument out of range.
        DataError: the sample has no boxes, not even an empty list.
    """

    def __init__(
        self,
        prob: float = 1.0,
        ufp: Mapping[str, Any] | None = None,
        drop: float | Sequence[float] = 0.15,
        shift: float = 0.08,
        stretch: float = 0.08,
        false_boxes: int | Sequence[int] = 4,
        true_scores: Sequence[float] = (0.0, 1.0),
        false_scores: Sequence[float] = (0.0, 1.0),
        min_overlap: float = 0.9,
        min_visible: float = 0.0,
        paint_ignored: bool = True,
        coarse_area: float | None = None,
    ):
        self.prob = check_probability('prob', prob)
        self.ufp = check_packing(ufp)  # now, not in a worker
        by_size = (drop,) * 3 if is_number(drop) else drop
        if not is_numbers(by_size, 3):
            raise ConfigError('must be a probability, or three by size', field='drop', received=drop)
        self.drop = tuple(check_probability('drop', value) for value in by_size)
        for field, value in (('shift', shift), ('stretch', stretch)):
            if not is_number(value) or not 0 <= value < np.inf:
                raise ConfigError('must be a number >= 0', field=field, received=value)
        self.shift, self.stretch = shift, stretch
        low, high = (0, false_boxes) if is_number(false_boxes) else check_range('false_boxes', false_boxes)
        if not (is_int(low, 0) and is_int(high, 0)):
            raise ConfigError('must be whole numbers >= 0', field='false_boxes', received=false_boxes)
        self.false_boxes = int(low), int(high)
        self.true_scores = check_range('true_scores', true_scores)
        self.false_scores = check_range('false_scores', false_scores)
        self.min_overlap = check_probability('min_overlap', min_overlap)
        self.min_visible = check_probability('min_visible', min_visible)
        self.paint_ignored = paint_ignored
        if coarse_area is not None and not (is_number(coarse_area) and coarse_area >= 0):
            raise ConfigError('must be None or a number >= 0', field='coarse_area', received=coarse_area)
        self.coarse_area = coarse_area

    @cache_randomness
    def imitate(self, boxes: np.ndarray, labels: np.ndarray, size_wh: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Boxes and confidences that a coarse detector might give.

        Args:
            boxes: (K, 4) xyxy of the objects.
            labels: (K,).
            size_wh: size of the image.

        Returns:
            (N, 4) xyxy on the image, float64, class after class by descending confidence, the order of inference; (N,).
        """
        if len(boxes) == 0:
            return np.zeros((0, 4)), np.zeros(0)
        boxes = boxes.astype(np.float64)
        sides, centres = boxes[:, 2:] - boxes[:, :2], (boxes[:, 2:] + boxes[:, :2]) / 2  # (K, 2)
        missed = np.asarray(self.drop)[np.searchsorted(AREA_LIMITS, sides.prod(axis=1), side='right')]  # (K,)
        seen = np.flatnonzero(np.random.rand(len(boxes)) >= missed)
        copied = np.random.randint(len(boxes), size=np.random.randint(self.false_boxes[0], self.false_boxes[1] + 1))
        origin = np.concatenate([seen, copied])  # (N,) the object whose size and class a box has
        centres = np.concatenate([centres[seen], np.random.rand(len(copied), 2) * size_wh])
        centres += np.random.normal(0, 1, (len(origin), 2)) * self.shift * sides[origin]
        half = sides[origin] * np.exp(np.random.normal(0, 1, (len(origin), 2)) * self.stretch) / 2
        drawn = [(self.true_scores, len(seen)), (self.false_scores, len(copied))]
        scores = np.concatenate([np.random.uniform(low, high, count) for (low, high), count in drawn])
        found = clip_boxes(np.concatenate([centres - half, centres + half], axis=1), (size_wh[1], size_wh[0]))
        order = np.lexsort((-scores, labels[origin]))
        order = order[has_area(found[order])]
        if self.coarse_area is not None:
            order = order[(found[order, 2:] - found[order, :2]).prod(axis=1) < self.coarse_area]
        return found[order], scores[order]

    @autocast_box_type()
    def transform(self, results: dict) -> dict:
        image, objects = image_of(results), results.get('gt_bboxes')
        if objects is None:
            message = 'the sample has no boxes; LoadAnnotations must stand before this transform in the pipeline'
            raise DataError(message, file=results.get('img_path'), field='gt_bboxes', received=sorted(results))
        if np.random.rand() >= self.prob:
            return results
        boxes, labels = objects.numpy(), np.asarray(results['gt_bboxes_labels'])
        flags = results.get('gt_ignore_flags')
        ignored = np.zeros(len(boxes), bool) if flags is None else np.asarray(flags, bool)
        height, width = image.shape[:2]
        found, scores = self.imitate(boxes[~ignored], labels[~ignored], (width, height))
        regions, mosaic_w, mosaic_h = UnifiedForegroundPacking(
            found, input_shape=(width, height), scores=scores, **self.ufp
        )
        if not (regions[:, 2:4] >= 1).all(axis=1).any():  # a region thinner than a pixel has no tile
            return results
        if self.paint_ignored and ignored.any():
            image = image.copy()
            paint_black(image, np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)[ignored].tolist())
        index, bboxes = self._copies(boxes, ignored, regions)
        mosaic = render_mosaic(image, regions, mosaic_w, mosaic_h)
        results.update(img=mosaic, img_shape=mosaic.shape[:2], gt_bboxes=type(objects)(bboxes.astype(np.float32)))
        for key in OBJECT_KEYS:
            if key != 'gt_bboxes' and results.get(key) is not None:
                results[key] = results[key][index]
        results.pop('homography_matrix', None)  # no single matrix maps an image to its mosaic
        return results

    def _copies(self, boxes: np.ndarray, ignored: np.ndarray, regions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which objects the mosaic shows (M,), and where (M, 4) xyxy."""
        indices, places = [], []
        for own, min_overlap, min_visible in ((~ignored, self.min_overlap, self.min_visible), (ignored, 0.0, 0.0)):
            moved = move_objects(boxes[own], regions, min_overlap)
            shown = moved.shown(min_visible)
            indices.append(np.flatnonzero(own)[moved.index[shown]])
            places.append(moved.bboxes[shown])
        return np.concatenate(indices), np.concatenate(places)
