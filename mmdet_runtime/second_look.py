"""What UFPMP-Det decides between and after its two passes, for the toolbox's detector and for the exported one.

Detections have ``bboxes`` (n, 4), ``scores`` (n,) and ``labels`` (n,), and are indexed as one: arrays (:class:`~mmdet_runtime.suppression.Detections`)
or tensors, on whatever device.

Naming: B images, R regions of one image, n detections of one image.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from .arrays import float64_like, like, namespace, stable_order
from .checks import is_number
from .errors import ConfigError
from .ufp import boxes_to_image, check_packing, pack_images, whole_image

_ON_EMPTY = ('skip', 'whole')


class SecondLook(ABC):
    """The settings of UFPMP-Det beside its stages, which :class:`mmdet.models.detectors.UFPMPDet` describes, and the steps that they decide."""

    coarse: Any  # the first stage, with ``scales``, ``input_size_hw`` and ``end_to_end``
    fine: Any  # the second
    coarse_area: float | None = None
    look_below: float | None = None

    def set_looks(
        self,
        *,
        ufp: Mapping | None = None,
        nms: Mapping | None = None,
        max_per_img: int = 500,
        min_overlap: float = 0.9,
        coarse_weight: float = 0.0,
        on_empty: str = 'skip',
        coarse_area: float | None = None,
        look_below: float | None = None,
        look_score: float = 0.0,
        fine_labels: Sequence[int] | None = None,
    ) -> None:
        """Check the settings and keep them. ``fine_labels``: the fine stage's label of each coarse one, -1 for none; None where they are the same.

        Raises:
            ConfigError: one of them is out of range.
        """
        if on_empty not in _ON_EMPTY:
            raise ConfigError(f'must be one of {_ON_EMPTY}', field='on_empty', received=on_empty)
        shares = dict(coarse_weight=coarse_weight, min_overlap=min_overlap, look_score=look_score)
        for name, share in shares.items():
            if not is_number(share) or not 0 <= share <= 1:
                raise ConfigError('must be in [0, 1]', field=name, received=share)
        for name, value in (('coarse_area', coarse_area), ('look_below', look_below)):
            if value is not None and not (is_number(value) and value >= 0):
                raise ConfigError('must be None or a number >= 0', field=name, received=value)
        self.ufp = check_packing(ufp)
        self.nms = nms or dict(type='nms', iou_threshold=0.6, offset=1)
        self.max_per_img, self.min_overlap = max_per_img, min_overlap
        self.coarse_weight, self.on_empty = coarse_weight, on_empty
        self.coarse_area, self.look_below, self.look_score = coarse_area, look_below, look_score
        self._fine_labels = None if fine_labels is None else tuple(fine_labels)

    @staticmethod
    @abstractmethod
    def detections(bboxes: Any, scores: Any, labels: Any) -> Any:
        """Detections of these three."""

    @staticmethod
    @abstractmethod
    def merge_views(views: list[Any], nms: Any, max_per_img: int, end_to_end: list[bool]) -> Any:
        """The detections of several views, at least one, through one NMS; each may be of a detector that needs none among its own."""

    def to_image(self, bboxes: Any, regions: Any) -> tuple[Any, Any, Any]:
        """Boxes of the mosaic in pixels of the image, once for every tile that they belong to; the index of each, and that of its tile, rising."""
        return boxes_to_image(bboxes, regions, self.min_overlap)

    def looks_again(self, coarse: Any, size_wh: tuple[int, int]) -> bool:
        """Whether an image gets a second look, by its coarse detections and ``look_below``."""
        if self.look_below is None or len(coarse) == 0:
            return self.look_below != 0
        seen = max(self.coarse.input_size_hw(size_wh[::-1], scale)[1] / size_wh[0] for scale in self.coarse.scales)
        sides = _areas(coarse.bboxes) ** 0.5 * seen
        return bool(((sides < self.look_below) & (coarse.scores >= self.look_score)).any())

    def pack(
        self, coarse: list[Any], sizes_wh: list[tuple[int, int]], looks: list[bool] | None = None
    ) -> list[tuple[Any, float, float]]:
        """Regions (R, 7), mosaic width and height of each image; no regions where ``looks`` says not to look again."""
        # Class after class, by descending score within a class: the clustering is one greedy pass over this order.
        packable = [found[stable_order(found.labels)] for found in coarse]
        if self.coarse_area is not None:
            packable = [found[_areas(found.bboxes) < self.coarse_area] for found in packable]
        if looks is not None:
            packable = [found if again else found[:0] for found, again in zip(packable, looks)]
        options = dict(self.ufp)
        if 'min_score' in options:
            options['scores'] = [found.scores for found in packable]
        packed = pack_images([found.bboxes for found in packable], sizes_wh, **options)
        if self.on_empty == 'whole':
            for i, ((regions, _, _), (width, height)) in enumerate(zip(packed, sizes_wh)):
                if len(regions) == 0 and len(packable[i]) == len(coarse[i]) and (looks is None or looks[i]):
                    packed[i] = (float64_like(whole_image((width, height)), regions), float(width), float(height))
        return packed

    def merge(self, coarse: Any, fine: Any | None, regions: Any, looked: bool = True) -> Any:
        """Boxes of the mosaic back in the image, with the coarse ones where asked for, through one NMS per class.

        The tiles overlap in the image, so that each of them is a view. Of an image that was not ``looked`` at again, the coarse detections as they
        are: their stage's NMS has seen them.
        """
        labels = coarse.labels
        if self._fine_labels is not None:
            labels = like(self._fine_labels, labels)[labels]
        if not looked:
            known = self.detections(coarse.bboxes, coarse.scores, labels)[labels >= 0]
            return known[: self.max_per_img] if self.max_per_img >= 0 else known
        views = [self.detections(coarse.bboxes[:0], coarse.scores[:0], coarse.labels[:0])]
        if fine is not None:
            bboxes, index, tile = self.to_image(fine.bboxes, regions)
            own = self.detections(bboxes, fine.scores[index], fine.labels[index])
            if self.coarse_area is not None:
                small = _areas(bboxes) < self.coarse_area
                own, tile = own[small], tile[small]
            views += _parted(own, tile) if self.fine.end_to_end else [own]
        end_to_end = [self.fine.end_to_end] * len(views)
        if self.coarse_weight > 0 or self.coarse_area is not None:
            weights = namespace(coarse.scores).full_like(coarse.scores, self.coarse_weight)
            if self.coarse_area is not None:
                weights[_areas(coarse.bboxes) >= self.coarse_area] = 1
            kept = (labels >= 0) & (weights > 0)
            views.append(self.detections(coarse.bboxes[kept], (coarse.scores * weights)[kept], labels[kept]))
            end_to_end.append(self.coarse.end_to_end)
        return self.merge_views(views, self.nms, self.max_per_img, end_to_end)


def _parted(found: Any, groups: Any) -> list[Any]:
    """The detections of each group, whose numbers (n,) rise."""
    numbers = groups.tolist()
    starts = [i for i, number in enumerate(numbers) if i == 0 or number != numbers[i - 1]]
    return [found[start:stop] for start, stop in zip(starts, [*starts[1:], len(numbers)])]


def _areas(bboxes: Any) -> Any:
    """Areas (n,) of boxes (n, 4) xyxy."""
    return namespace(bboxes).prod(bboxes[:, 2:] - bboxes[:, :2], -1)
